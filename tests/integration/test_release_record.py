"""The record of a release in a real S3 store: who writes without having read is refused."""

from __future__ import annotations

import secrets
import threading
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import record
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ReleaseError, StorageError

from tests.conftest import Sandbox

GOOD = record.LastGood(
    "sha256:" + "1" * 64, "registry/app:v1", {"spec": {"containers": []}}, {"ConfigMap/a": "ab"}, 3, "0003"
)


@pytest.fixture
def store(platform: Sandbox) -> record.Store:
    return record.Store({**platform.storage, "prefix": f"tést {secrets.token_hex(4)}"}, "local")


def release(tag: str = "v1.2.1") -> record.Release:
    return record.new(
        "local",
        "tradingflow app",
        "staging",
        "tradingflow-app",
        "tradingflow-app",
        tag=tag,
        image="registry/app",
        digest="sha256:" + "2" * 64,
        previous=GOOD,
        actor="ops",
        run_id="run 1",
    )


def load(store: record.Store, id: str = "") -> record.Stored | None:
    return record.load(store, "tradingflow app", "staging", id)


def test_it_comes_back_as_it_was_written(store: record.Store) -> None:
    assert load(store) is None
    written = record.begin(store, release(), None)
    assert load(store) == written
    assert written.release.previous == GOOD
    written.release.becomes(record.SOAKING, "It is verified.")
    again = record.save(store, written.release, written.etag)
    assert load(store) == again
    assert again.release.revision == 2


def test_who_has_not_read_the_newest_writes_nothing(store: record.Store) -> None:
    first = record.begin(store, release(), None)
    mine, others = load(store), load(store)
    assert mine
    assert others
    others.release.becomes(record.FAILED, "It answers with errors.")
    kept = record.save(store, others.release, others.etag)
    mine.release.becomes(record.SOAKING, "It is verified.")
    with pytest.raises(record.ConflictError, match="written the record"):
        record.save(store, mine.release, mine.etag)
    with pytest.raises(record.ConflictError):
        record.save(store, mine.release, first.etag)
    with pytest.raises(record.ConflictError):
        record.save(store, mine.release, None)
    assert load(store) == kept


def test_of_several_who_begin_at_once_one_does(store: record.Store) -> None:
    begun: list[record.Stored] = []
    refused: list[Exception] = []
    start = threading.Barrier(4)

    def run(number: int) -> None:
        start.wait()
        try:
            begun.append(record.begin(store, release(f"v{number}"), None))
        except ReleaseError as error:
            refused.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1
    assert len(refused) == 3
    assert load(store) == begun[0]


def test_an_ended_one_is_kept_when_the_next_begins_and_one_under_way_stands_in_the_way(store: record.Store) -> None:
    first = record.begin(store, release("v1"), None)
    with pytest.raises(ReleaseError, match="still being rolled out, by run run 1"):
        record.begin(store, release("v2"), first)
    first.release.becomes(record.SOAKING, "It is verified.")
    soaking = record.save(store, first.release, first.etag)
    second = record.begin(store, release("v2"), soaking)
    found = load(store, soaking.release.id)
    assert found
    assert found.release == soaking.release
    assert load(store) == second


def test_a_run_that_died_between_keeping_and_beginning_stands_in_nobodys_way(store: record.Store) -> None:
    first = record.begin(store, release("v1"), None)
    first.release.becomes(record.UNDONE, "It was undone.")
    ended = record.save(store, first.release, first.etag)
    record._keep(store, ended.release)
    assert record.begin(store, release("v2"), ended).release.tag == "v2"


def test_what_was_kept_by_a_run_that_died_is_replaced_by_what_became_of_it(store: record.Store) -> None:
    first = record.begin(store, release("v1"), None)
    first.release.becomes(record.SOAKING, "It is verified.")
    soaking = record.save(store, first.release, first.etag)
    record._keep(store, soaking.release)
    # The run that wanted to begin v2 has died, and the soak went on.
    soaking.release.becomes(record.FAILED, "Errors.")
    failed = record.save(store, soaking.release, soaking.etag)
    record.begin(store, release("v2"), failed)
    found = load(store, failed.release.id)
    assert found
    assert found.release == failed.release


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "cannot be understood"),
        (b"[]", "not of version 1"),
        (b'{"version": 2}', "not of version 1"),
        (b'{"version": 1, "state": "eligible"}', "not as this version writes it"),
    ],
)
def test_what_is_not_understood_is_not_taken_for_none(store: record.Store, data: bytes, why: str) -> None:
    store.s3.put_object(Bucket=store.bucket, Key=store.key("tradingflow app", "staging"), Body=data)
    with pytest.raises(ReleaseError, match=why):
        load(store)


def test_a_record_of_another_namespace_is_none_of_ours(store: record.Store) -> None:
    record.begin(store, release(), None)
    place = {"Bucket": store.bucket, "Key": store.key("tradingflow app", "staging")}
    store.s3.copy_object(
        Bucket=store.bucket,
        Key=store.key("tradingflow app", "production"),
        CopySource=place,
    )
    with pytest.raises(ReleaseError, match="another application, namespace or environment"):
        record.load(store, "tradingflow app", "production")


def test_a_store_that_does_not_answer_has_not_none(store: record.Store) -> None:
    record.begin(store, release(), None)
    gone: dict[str, Any] = {**store.storage, "endpoint": "http://127.0.0.1:9", "max_attempts": 1}
    away = record.Store(gone, "local")
    with pytest.raises(StorageError):
        record.load(away, "tradingflow app", "staging")
    with pytest.raises(StorageError):
        record.begin(away, release(), None)
    assert storage.describe(gone)


@pytest.mark.parametrize("state", [record.FAILED, record.UNDONE])
def test_what_has_failed_never_soaks_again(state: str) -> None:
    made = release()
    made.becomes(state, "It failed.")
    for after in (record.SOAKING, record.ROLLING_OUT, record.PROMOTED):
        with pytest.raises(ReleaseError, match=f"cannot become {record.said(after)}"):
            made.becomes(after, "Never.")


def test_many_events_keep_the_first_and_the_last() -> None:
    made = release()
    for number in range(1000):
        made.happened("hold", f"tick {number}")
    assert made.events[0].kind == "began"
    assert made.events[-1].text == "tick 999"
    assert len(made.events) + made.events_left_out == 1001
