"""The store, and with it the ledger, gone in the middle of a change of the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Sandbox
from tests.end_to_end.test_daily import storage
from tests.store_proxy import Fault, Proxy, proxy_of


@pytest.fixture
def proxy(platform: Sandbox) -> Iterator[Proxy]:
    with proxy_of(platform.storage["endpoint"], platform.storage["ca_file"]) as running:
        yield running


def behind(proxy: Proxy) -> tuple[str, str]:
    """Has the store behind the proxy, and does not wait for it; the backup before is of the database only."""
    away = storage(endpoint=proxy.endpoint, ca_file=None, max_attempts=1)
    return "-e", json.dumps({**away, "backup_data_directory": ""})


def gone_once(platform: Sandbox, begun: str) -> Callable[[str, str], Fault]:
    """A store that answers nobody any more once the database says so."""
    gone: list[bool] = []

    def fault(_method: str, _path: str) -> Fault:
        if not gone and platform.sql("superuser", begun) == [(True,)]:
            gone.append(True)
        return "reset" if gone else None

    return fault
