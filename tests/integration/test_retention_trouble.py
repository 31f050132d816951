"""Retention in trouble: killed, refused, store gone, clock wrong, two at once; nothing is lost and all is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.action import recovery_point_retention as action
from ansible_collections.tradingflow.maintenance.plugins.module_utils import lock
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import store
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import deletion, engine, inventory
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    EvidenceError,
    LockedError,
    MaintenanceError,
    StorageError,
)
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.integration import retention_fixtures
from tests.integration.retention_fixtures import Points, locked

points, unversioned = retention_fixtures.points, retention_fixtures.unversioned


def with_store(
    points: Points, monkeypatch: pytest.MonkeyPatch, other: Callable[..., Any], call: str = "delete_object"
) -> None:
    """Lets something else answer a call of the store."""

    class Other:
        def __getattr__(self, name: str) -> Any:
            return other if name == call else getattr(points.s3, name)

    monkeypatch.setattr(engine, "client", lambda storage, pool=10: Other())


@pytest.mark.parametrize("harm", ["object", "altered", "unreadable", "unverified"])
def test_what_is_wrong_stops_it(points: Points, harm: str) -> None:
    made = [points.make(days, proven=days == 2) for days in (1, 2, 3, 4)]
    place = f"{points.prefix}/{made[0]}/"
    if harm == "object":
        points.s3.delete_object(Bucket=points.bucket, Key=f"{place}database/toc.dat")
    elif harm == "altered":
        content = json.loads(points.read(place + store.NAME))
        points.seal(made[0], {**content, "finished_at": "2026-01-01T00:00:00Z"})
    elif harm == "unreadable":
        points.put(made[3], store.NAME, b"{}")
    else:
        made.insert(0, points.make(0.5, verified=False))
    plan, done, check = points.retain(rules={"keep_last": 1})
    assert not done.deleted
    assert not points.records()
    assert plan["stopped"]
    assert check.status == "warning"
    assert set(points.listed()) == set(made)


@pytest.mark.parametrize("kind", ["versioned", "plain"])
def test_killed_after_the_recovery_point_then_run_again(
    points: Points, unversioned: Points, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    chosen = points if kind == "versioned" else unversioned
    made = [chosen.make(days, proven=days == 1) for days in (0.5, 1, 2)]
    whole = deletion._delete

    def killed(s3: Any, storage: Any, version: Any) -> None:
        if not version.key.endswith(store.NAME):
            raise KeyboardInterrupt
        whole(s3, storage, version)

    monkeypatch.setattr(deletion, "_delete", killed)
    with pytest.raises(KeyboardInterrupt):
        chosen.retain()
    monkeypatch.setattr(deletion, "_delete", whole)
    # It no longer looks like a recovery point, its objects are there, and why is on the ledger.
    assert chosen.listed() == {made[0]: 3, made[1]: 3, made[2]: 2}
    assert len(chosen.records()) == 1
    plan, done, check = chosen.retain()
    assert [(each["id"], each["why"]) for each in plan["rests"]] == [(made[2], "left_over")]
    assert (done.deleted, check.status) == ([made[2]], "ok")
    assert chosen.listed() == {made[0]: 3, made[1]: 3}
    assert [each["content"]["recovery_points"][0]["why"] for each in chosen.records()][1:] == ["left_over"]
    assert not chosen.retain()[1].deleted


def test_killed_anywhere_it_is_whole_or_no_recovery_point(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when its recovery-point.json was replaced: the one before must not come to light."""
    newest, old = points.make(0.5, proven=True), points.make(2)
    key = f"{points.prefix}/{old}/{store.NAME}"
    body = points.read(key)
    for other in (b"{}", body):
        points.put(old, store.NAME, other)
    whole = deletion._delete

    def killed(s3: Any, storage: Any, version: Any) -> None:
        monkeypatch.setattr(deletion, "_delete", dead)
        whole(s3, storage, version)

    def dead(*_: Any) -> None:
        raise KeyboardInterrupt

    left = [len(points.versions(old))]
    while left[-1]:
        monkeypatch.setattr(deletion, "_delete", killed)
        with suppress(KeyboardInterrupt):
            points.retain(rules={"keep_last": 1})
        left.append(len(points.versions(old)))
        found = points.listed().get(old, 0)
        if found == 3:
            assert points.read(key) == body
        else:
            with pytest.raises(ClientError, match="NoSuchKey"):
                points.read(key)
    assert left == [5, 4, 3, 2, 1, 0]
    assert points.listed() == {newest: 3}


def test_a_lock_that_was_not_seen_costs_nothing(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    newest, kept = points.make(0.5, proven=True), points.make(2, **locked())
    facts = inventory._facts
    monkeypatch.setattr(
        inventory, "_facts", lambda run, body, answer: facts(run, body, {**answer, "ObjectLockRetainUntilDate": None})
    )
    monkeypatch.setattr(engine, "locks", lambda *_: (False, None))
    _plan, done, check = points.retain(rules={"keep_last": 1})
    assert (done.deleted, list(done.refused)) == ([], [kept])
    assert points.listed() == {newest: 3, kept: 3}
    assert check.status == "warning"
    assert "refused 1 deletion:" in check.message
    assert [each["content"]["state"] for each in points.records()] == ["begun", "incomplete"]


def test_rights_that_are_missing_are_a_finding(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [points.make(days, proven=days == 1) for days in (0.5, 1, 2)]

    def denied(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DeleteObject")

    with_store(points, monkeypatch, denied)
    _plan, done, check = points.retain()
    assert (done.deleted, list(done.refused), done.error) == ([], [made[2]], None)
    assert check.status == "warning"
    assert "AccessDenied" in check.message
    assert points.action["status"] == "skipped"
    assert points.listed() == dict.fromkeys(made, 3)


def test_store_goes_down_half_way(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [points.make(days, proven=days == 1) for days in (0.5, 1, 2, 3)]

    def gone(**arguments: Any) -> Any:
        if made[2] in arguments["Key"]:
            raise EndpointConnectionError(endpoint_url="https://localhost:9")
        return points.s3.delete_object(**arguments)

    with_store(points, monkeypatch, gone)
    _plan, done, check = points.retain()
    assert done.deleted == [made[3]]
    assert isinstance(done.error, MaintenanceError)
    assert check.status == "unknown"
    assert "1 were deleted before" in check.message
    assert points.records()[-1]["content"]["deleted"] == [made[3]]
    monkeypatch.setattr(engine, "client", lambda storage, pool=10: points.s3)
    assert points.retain()[1].deleted == [made[2]]


def test_without_a_record_nothing_goes(points: Points) -> None:
    made = [points.make(days, proven=days == 1) for days in (0.5, 1, 2)]

    def refuses(*_: Any) -> int:
        raise EvidenceError("The ledger is full.", "Begin another one.")

    _plan, done, check = points.retain(append=refuses)
    assert not done.deleted
    assert points.listed() == dict.fromkeys(made, 3)
    assert (check.status, check.remedy) == ("unknown", "Begin another one.")
    assert "Nothing was deleted" in check.message


def test_clock_that_is_not_the_stores(points: Points) -> None:
    """A runner in 2030 sees only old recovery points."""
    for days in (0.5, 1, 2):
        points.make(days, proven=True)
    decided = engine.decide(points.options(rules={"keep_days": 30}), datetime.now(UTC) + timedelta(days=365))
    assert not decided.going
    assert "clock" in decided.plan.stopped


def test_nobody_pulls_it_from_under_a_restore(points: Points) -> None:
    made = [points.make(days, proven=days == 1) for days in (0.5, 1, 2)]
    key = f"locks/{points.environment}/restore.json"
    points.s3.put_object(Bucket=points.bucket, Key=key, Body=b"{}")
    _plan, done, check = points.retain()
    assert not done.deleted
    assert check.status == "warning"
    assert "a restore is under way" in check.message
    points.s3.delete_object(Bucket=points.bucket, Key=key)
    assert points.retain()[1].deleted == [made[2]]


def test_locks_that_may_not_be_seen(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    for days in (0.5, 1):
        points.make(days, proven=True)

    def denied(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObjectLegalHold")

    with_store(points, monkeypatch, denied, "get_object_legal_hold")
    _plan, done, check = points.retain(rules={"keep_last": 1})
    assert (done.deleted, check.status) == ([], "warning")
    assert "s3:GetObjectLegalHold" in check.message


def test_two_at_once(points: Points, tmp_path: Path) -> None:
    first = action._lock(points.options(), tmp_path, "r1")
    with pytest.raises(LockedError, match="run r1"):
        action._lock(points.options(), tmp_path / "another", "r2")
    lock.release(first, storage=points.storage)
    lock.release(action._lock(points.options(), tmp_path, "r3"), storage=points.storage)
    gone = {**points.options(), "storage": {**points.storage, "endpoint": "https://localhost:9"}}
    with pytest.raises(StorageError, match="Only this controller"):
        action._lock(gone, tmp_path, "r4")
