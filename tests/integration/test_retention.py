"""Retention on a real store and a real ledger: what goes, and what never does."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup.lock import lock_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import store
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._storage.upload import Uploader
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    EvidenceError,
)
from botocore.exceptions import ClientError

from tests.conftest import Playbook
from tests.integration import retention_fixtures
from tests.integration.retention_fixtures import Points, locked, why
from tests.unit.ledger_fixtures import make_key

points, unversioned = retention_fixtures.points, retention_fixtures.unversioned


def test_what_goes_is_on_the_ledger_first_and_nothing_of_it_is_left(points: Points) -> None:
    made = [points.make(days, proven=days == 1) for days in (0.5, 1, 2, 3)]
    other = points.make(50, system="8")
    seen: list[dict[str, int]] = []

    def append(subjects: list[dict[str, Any]], content: dict[str, Any]) -> int:
        seen.append(points.listed())
        return points.append(subjects, content)

    plan, done, check = points.retain(append=append)
    assert done.deleted == [made[3], made[2]]
    assert seen == [{**dict.fromkeys(made, 3), other: 3}]
    assert points.listed() == {made[0]: 3, made[1]: 3, other: 3}
    assert not points.versions(made[2])
    assert not points.versions(made[3])
    assert why(plan, other) == "keep_last, newest of its series, newest verified"
    assert (check.status, check.value) == ("ok", 3), check
    assert plan["oldest_reachable"][:10] == f"{datetime.now(UTC) - timedelta(days=50):%Y-%m-%d}"
    (record,) = points.records()
    assert record["content"]["state"] == "begun"
    assert [each["id"] for each in record["content"]["recovery_points"]] == [made[3], made[2]]
    assert record["content"]["recovery_points"][0]["why"] == f"no rule keeps it; {made[1]} is newer and proven"
    assert done.freed == sum(each["bytes"] for each in record["content"]["recovery_points"]) > 0
    # Once more: nothing to do, and nothing more on the ledger.
    plan, done, check = points.retain()
    assert (plan["deleted"], done.deleted, len(points.records())) == (0, [], 1)


def test_without_rules_proof_or_ledger_nothing_goes(points: Points) -> None:
    made = [points.make(days) for days in (0.5, 1, 2, 3)]
    for changes, status, text in (
        ({"rules": {}}, "ok", "No rule is set"),
        ({}, "warning", "no newer one is proven"),
        ({"require": "verified", "evidence": None}, "warning", "no ledger is configured"),
        ({"require": "verified", "hold": made[2:]}, "ok", "4 recovery points"),
    ):
        _plan, done, check = points.retain(**changes)
        assert (done.deleted, check.status) == ([], status), check
        assert text in check.message
    assert points.listed() == dict.fromkeys(made, 3)
    assert points.retain(require="verified")[1].deleted == [made[3], made[2]]


def test_one_changed_since_it_was_recorded_is_never_deleted(points: Points) -> None:
    """Whoever may write may not make retention delete: not by an older time in a recovery point."""
    made = [points.make(days, proven=days == 1) for days in (1, 2, 3)]
    content = json.loads(points.read(f"{points.prefix}/{made[1]}/{store.NAME}"))
    points.seal(made[1], {**content, "created_at": "2020-01-01T00:00:00Z"})
    _plan, done, check = points.retain(rules={"keep_last": 1})
    assert done.deleted == [made[2]]
    assert check.status == "warning"
    assert f"{made[1]} was changed since it was recorded" in check.message


def test_locks_and_legal_holds_are_honoured(points: Points) -> None:
    newest = points.make(0.5, proven=True)
    free, kept = points.make(4), points.make(2, **locked())
    held = points.make(3)
    points.s3.put_object_legal_hold(
        Bucket=points.bucket, Key=f"{points.prefix}/{held}/{store.NAME}", LegalHold={"Status": "ON"}
    )
    # One object alone, which recovery-point.json does not show.
    partly = points.make(5)
    points.put(partly, "database/toc.dat", **locked())
    plan, done, check = points.retain(rules={"keep_last": 1})
    assert done.deleted == [free]
    assert set(points.listed()) == {newest, kept, held, partly}
    assert check.status == "ok", check
    assert check.details["locked"] == [kept, partly]
    assert why(plan, held) == "held by a legal hold"
    points.s3.put_object_legal_hold(
        Bucket=points.bucket, Key=f"{points.prefix}/{held}/{store.NAME}", LegalHold={"Status": "OFF"}
    )
    assert points.retain(rules={"keep_last": 1})[1].deleted == [held]


def test_versions_delete_markers_and_uploads_go_too(points: Points) -> None:
    newest, old = points.make(0.5, proven=True), points.make(2)
    place = f"{points.prefix}/{old}/"
    body = points.read(place + store.NAME)
    points.put(old, store.NAME, b"{}")
    points.s3.delete_object(Bucket=points.bucket, Key=place + store.NAME)
    points.put(old, store.NAME, body)
    points.put(old, "database/toc.dat")
    points.put(old, "gone")
    points.s3.delete_object(Bucket=points.bucket, Key=place + "gone")
    points.s3.create_multipart_upload(Bucket=points.bucket, Key=place + "half")
    assert len(points.versions(old)) == 4 + 2 + 1 + 2
    plan, done, _check = points.retain(rules={"keep_last": 1})
    assert done.deleted == [old]
    assert plan["freed_bytes"] == 2 * len(body) + 2 + 4 * 3
    assert not points.versions(old)
    assert not points.s3.list_multipart_uploads(Bucket=points.bucket, Prefix=place).get("Uploads")
    assert points.listed() == {newest: 3}


def test_versions_may_be_kept(points: Points) -> None:
    newest, old = points.make(0.5, proven=True), points.make(2)
    assert points.retain(rules={"keep_last": 1}, keep_versions=True)[1].deleted == [old]
    assert points.listed() == {newest: 3}
    assert len(points.versions(old)) == 6
    # Ours to hide, not somebody else's deed; and nothing more to do, in either way.
    for keep_versions in (True, False):
        plan, done, check = points.retain(rules={"keep_last": 1}, keep_versions=keep_versions)
        assert (plan["removed_by_others"], done.deleted, check.status) == ([], [], "ok")
    assert len(points.versions(old)) == 6
    # What the bucket's lifecycle leaves at the end are markers.
    for each in points.versions(old):
        if "Size" in each:
            points.s3.delete_object(Bucket=points.bucket, Key=each["Key"], VersionId=each["VersionId"])
    points.retain(rules={"keep_last": 1}, keep_versions=True)
    assert not points.versions(old)


def test_what_somebody_else_deleted_can_still_be_brought_back(points: Points, unversioned: Points) -> None:
    for chosen in (points, unversioned):
        newest, gone, hidden = chosen.make(0.5, proven=True), chosen.make(30), chosen.make(40, verified=None)
        for run_id in (gone, hidden) if chosen is points else (gone,):
            chosen.s3.delete_object(Bucket=chosen.bucket, Key=f"{chosen.prefix}/{run_id}/{store.NAME}")
        before = len(chosen.versions(gone))
        plan, done, check = chosen.retain(rules={"keep_days": 100})
        assert not done.deleted
        assert gone in plan["removed_by_others"]
        assert (hidden in plan["removed_by_others"]) == (chosen is points)
        assert check.status == "warning"
        assert "deleted by somebody else" in check.message
        assert len(chosen.versions(gone)) == before
        assert chosen.listed()[gone] == 2
        held = [gone, hidden]
        assert chosen.retain(rules={"keep_days": 100}, hold=held)[2].status == "ok"
        assert newest in chosen.listed()


def test_unfinished_ones_go_when_they_are_old(points: Points) -> None:
    points.make(0.5, proven=True)
    old, young, today = points.id(9), points.id(5), points.id(0.01)
    for run_id in (old, young, today):
        points.put(run_id, "database/toc.dat")
        points.s3.create_multipart_upload(Bucket=points.bucket, Key=f"{points.prefix}/{run_id}/database/1.dat")
    # Nothing is removed without rules, nor while the newest is not known to be good.
    assert not points.retain(rules={})[1].deleted
    plan, done, _check = points.retain()
    assert (plan["unfinished"], done.deleted) == ([young, today], [old])
    assert not points.versions(old)
    assert points.listed()[young] == 1
    bad = points.make(0.1, verified=False)
    _plan, done, check = points.retain(unfinished_days=1)
    assert not done.deleted
    assert bad in check.message


def test_objects_that_another_recovery_point_refers_to_stay(points: Points) -> None:
    old = points.make(5)
    shared = points.put(old, "database/shared.dat")
    newest = points.make(0.5, proven=True, also=(shared,))
    _plan, done, _check = points.retain(rules={"keep_last": 1})
    assert done.deleted == [old]
    assert points.listed() == {newest: 3, old: 1}
    assert not points.retain(rules={"keep_last": 1})[1].error
    assert points.listed() == {newest: 3, old: 1}
    assert points.read(shared["key"]) == b"abc"


def test_what_does_not_prove(points: Points, tmp_path: Path) -> None:
    """A drill that failed, one of another recovery-point.json, and one that a stranger signed."""
    made = [points.make(days) for days in (0.5, 1, 2)]
    proof = {"recovery_point": made[0], "worst_status": "ok"}
    name = f"{points.prefix}/{made[0]}/{store.NAME}"
    points.record("drill", made[0], {**proof, "worst_status": "critical"})
    points.append([{"name": name, "digest": {"sha256": "0" * 64}}], proof, kind="drill")
    _plan, done, check = points.retain()
    assert (done.deleted, check.status) == ([], "warning")
    private, public = make_key(tmp_path)
    trusted = [str(public), points.keys["public_key_file"]]
    points.append([], proof, kind="drill", signing_key=private, trusted_keys=trusted)
    assert not points.retain()[1].deleted
    both = {"signing_key_file": points.keys["signing_key_file"], "trusted_key_files": trusted}
    # Nor is anything put onto a ledger whose newest record is a stranger's.
    assert isinstance(points.retain(evidence=both)[1].error, EvidenceError)
    append = partial(points.append, trusted_keys=trusted)
    assert points.retain(evidence=both, append=append)[1].deleted == [made[2]]


def test_nothing_due_is_quickly_said(points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    points.make(0.5, verified=False)
    monkeypatch.setattr(engine, "look_up", lambda *_: pytest.fail("the ledger was read"))
    plan, _done, check = points.retain()
    assert (plan["stopped"], check.status) == ("", "ok")
    points.put(points.make(1), store.NAME, b"{}")
    assert points.retain()[2].status == "warning"


def test_what_is_uploaded_can_be_locked(points: Points, unversioned: Points) -> None:
    now = datetime.now(UTC)
    chosen = {"storage": points.storage, "environment_name": points.environment, "lock_mode": "governance"}
    given = lock_of({**chosen, "lock_days": 2}, now)
    with Uploader(points.s3, points.storage, lock=given) as uploader:
        uploader.put(f"{points.prefix}/small", b"abc", "data")
        stream = uploader.stream(f"{points.prefix}/large", "data")
        stream.write(bytes(17 << 20))
        stream.close()
        uploader.settle()
    assert len(uploader.objects) == 2
    for entry in uploader.objects:
        answer = points.s3.head_object(Bucket=points.bucket, Key=entry["key"])
        assert answer["ObjectLockMode"] == "GOVERNANCE"
        assert answer["ObjectLockRetainUntilDate"] == (now + timedelta(days=2)).replace(microsecond=0)
        with pytest.raises(ClientError, match="AccessDenied"):
            points.s3.delete_object(Bucket=points.bucket, Key=entry["key"], VersionId=entry["version_id"])
    assert lock_of({**chosen, "lock_mode": "none", "lock_days": 0}, now) == {}
    with pytest.raises(ConfigurationError, match="makes no sense"):
        lock_of({**chosen, "lock_days": 0}, now)
    with pytest.raises(ConfigurationError, match="no object lock"):
        lock_of({**chosen, "storage": unversioned.storage, "lock_days": 1}, now)


def test_through_ansible(points: Points, play: Callable[..., Playbook]) -> None:
    made = [points.make(days, proven=days == 1) for days in (0.5, 1, 2)]
    given = {"backup_environment": points.environment, "backup_retention": {"keep_last": 2}}
    arguments = ("--tags", "retention", "-e", json.dumps(given))
    preview = play("daily", *arguments, "--check", "--diff")
    assert preview.returncode == 0, preview.output
    assert f"delete {made[2]}" in preview.output
    assert f"keep   {made[1]}" in preview.output
    assert points.listed() == dict.fromkeys(made, 3)
    assert not points.records()
    done = play("daily", *arguments)
    assert done.returncode == 0, done.output
    assert "WARNING" not in done.output
    report = done.report()
    assert {check["id"]: check["status"] for check in report["checks"]} == {"retention.recovery_points": "ok"}
    (action,) = report["actions"]
    assert (action["status"], action["changed"], action["details"]["deleted"]) == ("ok", True, 1)
    assert points.listed() == {made[0]: 3, made[1]: 3}
    (record,) = points.records()
    assert record["run_id"] == report["run_id"]
