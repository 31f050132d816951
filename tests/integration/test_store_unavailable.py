"""A store that is overloaded, restarting or breaks off: tried again until a deadline, and told from a refusal."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import (
    _storage_retry,
    ledger,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files import restic
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import messages
from ansible_collections.tradingflow.maintenance.plugins.module_utils._storage import read, upload
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    BackupError,
    MaintenanceError,
    StorageError,
)

from tests.conftest import Sandbox, left_out
from tests.store_proxy import Fault, Proxy, proxy_of

BUSY = (503, "SlowDown")


@pytest.fixture
def proxy(platform: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    # The pauses are for real stores.
    monkeypatch.setattr(_storage_retry, "_LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(_storage_retry, "_answered", {})
    with proxy_of(platform.storage["endpoint"], platform.storage["ca_file"]) as running:
        yield running


@pytest.fixture
def storage(platform: Sandbox, proxy: Proxy) -> dict[str, Any]:
    """The sandbox's store behind the proxy, with the deadline that an inventory has by default."""
    changes = {"endpoint": proxy.endpoint, "ca_file": None, "max_attempts": 0, "prefix": secrets.token_hex(4)}
    return {**platform.storage, **changes}


def first(count: int, fault: Fault, method: str = "") -> Callable[[str, str], Fault]:
    """A fault that the first so many requests of a method meet."""
    left = [count]

    def ask(asked: str, _path: str) -> Fault:
        if method not in ("", asked) or not left[0]:
            return None
        left[0] -= 1
        return fault

    return ask


def put(storage: dict[str, Any], body: bytes) -> str:
    """Uploads an object as a backup does."""
    s3, key = s3_storage.client(storage), f"{storage['prefix']}/object"
    with upload.Uploader(s3, storage, threads=2, part_size=5 << 20) as uploader:
        uploader.put(key, body, "data")
    return key


@pytest.mark.parametrize("fault", [BUSY, (500, "InternalError"), (503, "ServiceUnavailable"), (502, "x"), "reset"])
def test_a_store_that_comes_back_fails_nothing(proxy: Proxy, storage: dict[str, Any], fault: Fault) -> None:
    proxy.fault = first(12, fault)
    key = put(storage, b"abc")
    s3 = s3_storage.client(storage)
    proxy.fault = first(12, fault)
    body = read.fetch(s3, storage, key)
    assert body.read() == b"abc"
    proxy.fault = first(12, fault)
    head = read.head(s3, storage, key)
    assert head
    assert head["ContentLength"] == 3


def test_an_answer_that_breaks_off_is_gone_on_with(proxy: Proxy, storage: dict[str, Any]) -> None:
    content = os.urandom(3 << 20)
    key = put(storage, content)
    proxy.seen.clear()
    proxy.fault = first(5, "cut", "GET")
    body = read.fetch(s3_storage.client(storage), storage, key)
    found = b""
    while piece := body.read(100_000):
        found += piece
    assert found == content
    # By parts, and not from the beginning each time.
    assert [method for method, _path in proxy.seen].count("GET") == 6


def test_an_object_that_was_replaced_in_between_is_not_mixed(proxy: Proxy, storage: dict[str, Any]) -> None:
    key = put(storage, b"a" * 100_000)
    proxy.fault = first(1, "cut", "GET")
    body = read.fetch(s3_storage.client(storage), storage, key)
    assert body.read(1000) == b"a" * 1000
    put(storage, b"b" * 100_000)
    with pytest.raises(StorageError, match=r"PreconditionFailed|412"), s3_storage.storage_errors(storage, "reading"):
        body.read()


def test_many_parts_through_a_bad_hour(proxy: Proxy, storage: dict[str, Any]) -> None:
    content, turn = os.urandom(23 << 20), [0]

    def every_second(method: str, _path: str) -> Fault:
        turn[0] += 1
        return (None, BUSY, None, "reset")[turn[0] % 4] if method in ("PUT", "POST") else None

    proxy.fault = every_second
    key = put(storage, content)
    proxy.fault = first(0, None)
    assert read.fetch(s3_storage.client(storage), storage, key).read() == content


def test_a_lost_answer_to_the_end_of_an_upload(proxy: Proxy, storage: dict[str, Any]) -> None:
    def last(method: str, path: str) -> Fault:
        if method == "POST" and "uploadId" in path:
            proxy.fault = first(0, None)
            return "lost"
        return None

    proxy.fault = last
    content = os.urandom(6 << 20)
    key = put(storage, content)
    assert read.fetch(s3_storage.client(storage), storage, key).read() == content


def test_a_record_is_not_lost_by_a_store_that_restarts(
    platform: Sandbox, proxy: Proxy, storage: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody has heard of the store yet, and would not wait for anything less.
    monkeypatch.setattr(_storage_retry, "FIRST", 0)
    proxy.fault = first(12, "reset")
    keys = platform.state["evidence"]
    record = ledger.append(
        *(storage, "env", "review"),
        actor="ada",
        run_id="r",
        subjects=[],
        content={},
        signing_key=keys["signing_key_file"],
    )
    assert record["number"] == 1
    proxy.fault = first(3, "lost", "PUT")
    record = ledger.append(
        *(storage, "env", "review"),
        actor="ada",
        run_id="r",
        subjects=[],
        content={},
        signing_key=keys["signing_key_file"],
    )
    assert record["number"] == 2


def test_the_deadline_ends_it_and_says_what_it_is(proxy: Proxy, storage: dict[str, Any]) -> None:
    short = {**storage, "retry_seconds": 1}
    proxy.fault = lambda _method, _path: BUSY
    with pytest.raises(StorageError, match=r"is overloaded or down, while uploading .*: SlowDown") as caught:
        put(short, b"abc")
    assert "tried again for up to 1 s" in caught.value.message
    for wrong in ("rights of", "access key", "secret key", "Grant"):
        assert wrong not in str(caught.value)
    assert "change none of them" in caught.value.remedy
    # Once waited for in vain, the next request of the same process does not wait again.
    proxy.seen.clear()
    with pytest.raises(StorageError):
        read.head(s3_storage.client(short), short, "x")
    assert len(proxy.seen) == 1
    # Until it is back.
    proxy.fault = first(0, None)
    assert read.head(s3_storage.client(short), short, "x") is None
    proxy.fault = first(3, BUSY)
    assert read.head(s3_storage.client(short), short, "x") is None


def test_a_refusal_is_said_at_once_and_only_that_names_the_rights(proxy: Proxy, storage: dict[str, Any]) -> None:
    for fault, rights in (
        ((403, "AccessDenied"), True),
        ((400, "InvalidRequest"), False),
        ((404, "NoSuchBucket"), False),
    ):
        proxy.seen.clear()
        proxy.fault = lambda _method, _path, fault=fault: fault  # type: ignore[misc]
        with pytest.raises(StorageError) as caught:
            put(storage, b"abc")
        assert len(proxy.seen) == 1
        assert ("the rights listed" in caught.value.remedy) is rights


def test_nobody_waits_long_for_an_address_never_heard_of(
    storage: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_storage_retry, "FIRST", 0)
    away = {**storage, "endpoint": "http://127.0.0.1:9"}
    with pytest.raises(StorageError, match="cannot be reached"):
        read.head(s3_storage.client(away), away, "x")


def test_work_that_ends_anyway_does_not_wait(proxy: Proxy, storage: dict[str, Any]) -> None:
    proxy.fault = lambda method, _path: BUSY if method == "PUT" else None
    uploader = upload.Uploader(s3_storage.client(storage), storage, threads=2)
    with uploader:
        uploader.stream("x", "data").close()
        while not proxy.seen:
            time.sleep(0.01)
        uploader.__exit__(BackupError)
    # To its deadline it would have tried thousands of times.
    assert len(proxy.seen) < 200


def failed(storage: dict[str, Any], said: str, tmp_path: Path) -> MaintenanceError:
    if not shutil.which("restic"):
        left_out("restic is not installed")
    s3 = s3_storage.client(storage)
    return restic.Restic(s3, storage, f"{storage['prefix']}/files", "secret", tmp_path / "scratch").failed(1, said)


OPEN = "Fatal: unable to open config file: Stat: {} Is there a repository at the following location? s3:http://h/b/x"


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (OPEN.format("Please reduce your request rate."), "Change nothing in the repository"),
        (OPEN.format('Get "http://h/": dial tcp h: connect: connection refused'), "Change nothing in the repository"),
        (OPEN.format("503 Service Unavailable"), "Change nothing in the repository"),
        (OPEN.format("Access Denied."), "Correct the key, or grant it its rights"),
        (OPEN.format("x509: certificate signed by unknown authority"), "Check the store's certificate"),
        (OPEN.format("The specified key does not exist."), "from older versions"),
    ],
)
def test_what_restic_says_is_told_apart(storage: dict[str, Any], tmp_path: Path, said: str, remedy: str) -> None:
    assert remedy in failed(storage, said, tmp_path).remedy


def test_a_config_that_is_there_is_not_to_be_restored(storage: dict[str, Any], tmp_path: Path) -> None:
    s3 = s3_storage.client(storage)
    s3.put_object(Bucket=storage["bucket"], Key=f"{storage['prefix']}/files/config", Body=b"x")
    error = failed(storage, OPEN.format("something odd"), tmp_path)
    assert "could not be opened, though its config is there" in error.message
    assert "older versions" not in error.remedy


def test_restic_begins_once_the_store_answers(proxy: Proxy, storage: dict[str, Any], tmp_path: Path) -> None:
    if not shutil.which("restic"):
        left_out("restic is not installed")
    s3 = s3_storage.client(storage)
    ours = restic.Restic(s3, storage, f"{storage['prefix']}/files", "secret", tmp_path / "scratch")
    ours.text("init")
    proxy.fault = first(6, BUSY)
    assert ours.snapshots() == []


@pytest.mark.parametrize("status", ["503 (Service Unavailable)", "500 (Internal Server Error)"])
def test_what_pgbackrest_says_of_a_store_that_is_down(status: str) -> None:
    error = messages.failure("backup", 39, f"ERROR: [039]: HTTP request failed with {status}")
    assert isinstance(error, StorageError)
    assert "overloaded or down" in error.remedy
    assert "rights" not in error.remedy


def test_a_report_of_what_was_tried_holds_no_secret(proxy: Proxy, storage: dict[str, Any]) -> None:
    proxy.fault = lambda _method, _path: "reset"
    with pytest.raises(StorageError) as caught:
        put({**storage, "retry_seconds": 1}, b"abc")
    assert storage["secret_key"] not in json.dumps(str(caught.value))
