"""Clients of the store: each with the keys of now, the SDK's own description of services read once."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils.storage import client, prepare
from botocore.loaders import Loader

STORE: dict[str, Any] = {"bucket": "b", "endpoint": "https://127.0.0.1:1", "access_key": "one", "secret_key": "x"}


def credentials(s3: Any) -> tuple[str, str]:
    found = s3._request_signer._credentials
    return found.access_key, found.secret_key


def test_descriptions_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare()
    read: list[str] = []
    own = Loader.FILE_LOADER_CLASS.load_file

    def load(self: Any, path: str) -> Any:
        read.append(path)
        return own(self, path)

    monkeypatch.setattr(Loader.FILE_LOADER_CLASS, "load_file", load)
    first, second = client(STORE), client({**STORE, "access_key": "two", "region": "eu-central-1"})
    assert read == []
    assert (credentials(first), credentials(second)) == (("one", "x"), ("two", "x"))
    assert (first.meta.region_name, second.meta.region_name) == ("us-east-1", "eu-central-1")


def test_keys_of_the_environment_are_those_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = {"bucket": "b", "endpoint": "https://127.0.0.1:1"}
    for key in ("first", "second"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{key} secret")
        assert credentials(client(bare)) == (key, f"{key} secret")
