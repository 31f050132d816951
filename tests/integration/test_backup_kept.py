"""All kept recovery points: what is missing, cut, changed or unexpected by listing, and what reading back finds."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import backups as checks
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import depth, kept
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import anomaly, store
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.integration.retention_fixtures import Points, points
from tests.unit.ledger_fixtures import shared_client

__all__ = ["points"]

INTACT, READ, AGE = "backups.kept_intact", "backups.kept_read", "backups.newest_age"


@pytest.fixture(autouse=True)
def one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (checks, store, anomaly):
        monkeypatch.setattr(module, "client", shared_client)


def measured(
    points: Points, earlier: list[dict[str, Any]] | None = None, *, ledger: bool = True, **changes: Any
) -> dict[str, Check]:
    """The checks of an environment by id; earlier ones as reports have them."""
    given = {"storage": points.storage, "environment_name": points.environment, **changes}
    if ledger:
        given["evidence"] = {"trusted_key_files": [points.keys["public_key_file"]]}
    result = ArgumentSpecValidator(checks.CHECKS_SPEC).validate(given)
    assert not result.error_messages
    before = earlier or []
    found = checks.measure(result.validated_parameters, lambda id: [each for each in before if each["id"] == id])
    return {check.id: check for check in found}


def recorded(points: Points, days: float, body: bytes = b"abc", **how: Any) -> str:
    """A recovery point whose digests are right."""
    run_id = points.id(days)
    made = points.put(run_id, "database/3456.dat.gz", body)
    content = json.loads(json.dumps(POINT))
    content.update(
        id=run_id, created_at=f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}", objects=[made]
    )
    points.seal(run_id, content)
    points.record("backup", run_id, {"id": run_id, "verified": True, **how})
    return run_id


POINT = {
    "schema_version": 1,
    "engine": {"name": "logical", "format": "directory", "compression": "gzip", "level": 1},
    "database": {"name": "tf", "system_identifier": "7", "tables": []},
    "application": {},
    "finished_at": "2026-01-01T00:00:00Z",
    "totals": {"objects": 1, "bytes": 3, "rows": 0},
}


def key_of(points: Points, run_id: str, name: str = "database/3456.dat.gz") -> str:
    return f"{points.prefix}/{run_id}/{name}"


def test_an_older_point_that_lost_an_object_is_missed(points: Points) -> None:
    old, middle, new = (recorded(points, days) for days in (20, 9, 0.1))
    assert measured(points)[INTACT].status == "ok"
    points.s3.delete_object(Bucket=points.bucket, Key=key_of(points, old))
    points.s3.put_object(Bucket=points.bucket, Key=key_of(points, middle), Body=b"ab")
    found = measured(points)
    assert found["backups.newest_intact"].status == "ok"
    check = found[INTACT]
    assert check.status == "critical"
    assert f"{old}: {key_of(points, old)} is missing" in check.message
    assert f"{middle}: {key_of(points, middle)} has 2 bytes instead of 3" in check.message
    assert new not in check.message


def test_a_deleted_manifest_of_a_verified_point_is_no_unfinished_backup(points: Points) -> None:
    old, new = recorded(points, 0.5), recorded(points, 0.1)
    points.s3.delete_object(Bucket=points.bucket, Key=key_of(points, new, store.NAME))
    found = measured(points)
    assert found[INTACT].status == "critical"
    assert f"{new}: {key_of(points, new, store.NAME)} is missing, and the ledger says that it was verified" in (
        found[INTACT].message
    )
    assert old in found[AGE].message
    assert "never finished" not in found[AGE].message
    assert f"of {new}, which is later, the recovery-point.json is missing" in found[AGE].message
    # The only one: there is none, and not merely an unfinished one.
    points.s3.delete_object(Bucket=points.bucket, Key=key_of(points, old, store.NAME))
    message = measured(points)[AGE].message
    assert "unfinished" not in message
    assert old in message
    assert new in message


def test_a_point_removed_as_a_whole_is_missed_and_one_that_retention_deleted_is_not(points: Points) -> None:
    gone, retained, _new = (recorded(points, days) for days in (40, 30, 0.1))
    for run_id in (gone, retained):
        for name in ("database/3456.dat.gz", store.NAME):
            points.s3.delete_object(Bucket=points.bucket, Key=key_of(points, run_id, name))
    points.append([], {"reason": "retention", "state": "begun", "recovery_points": [{"id": retained}]})
    check = measured(points)[INTACT]
    assert check.status == "critical"
    assert list(check.details["problems"]) == [gone]
    # An operator's own record says that it is lost, and by whom it was found out.
    points.append([], {"reason": "lost with the old disk", "recovery_points": [{"id": gone}]})
    assert measured(points)[INTACT].status == "ok"


def test_another_manifest_than_recorded_is_critical(points: Points) -> None:
    run_id = recorded(points, 3)
    recorded(points, 0.1)
    content = json.loads(points.read(key_of(points, run_id, store.NAME)))
    content["totals"]["rows"] = 5
    points.seal(run_id, content)
    check = measured(points)[INTACT]
    assert check.status == "critical"
    assert f"{run_id}: recovery-point.json is not the one that the ledger recorded" in check.message


def test_what_nobody_recorded_is_a_warning(points: Points) -> None:
    run_id = recorded(points, 0.1)
    points.put(run_id, "database/surprise.dat")
    planted = points.make(2, verified=None)
    points.s3.put_object(Bucket=points.bucket, Key=f"{points.prefix}/notes.txt", Body=b"x")
    points.s3.put_object(Bucket=points.bucket, Key=f"{points.prefix}/{run_id}", Body=b"x")
    check = measured(points)[INTACT]
    assert check.status == "warning"
    assert sorted(check.details["unexpected"]) == sorted(
        [
            f"{run_id} does not name {key_of(points, run_id, 'database/surprise.dat')}",
            f"{planted} is not in the ledger",
            f"{points.prefix}/notes.txt belongs to no recovery point",
            f"{points.prefix}/{run_id} belongs to no recovery point",
        ]
    )


def test_without_a_ledger_that_can_be_read_nothing_is_called_whole(points: Points) -> None:
    run_id = recorded(points, 0.1)
    check = measured(points, ledger=False)[INTACT]
    assert (check.status, "No ledger is configured" in check.message) == ("unknown", True)
    key = f"evidence/{points.environment}/00000001.json"
    points.s3.put_object(Bucket=points.bucket, Key=key, Body=b"{}")
    check = measured(points)[INTACT]
    assert (check.status, "1 record of the ledger does not verify (1)" in check.message) == ("unknown", True)
    # Damage is said all the same.
    points.s3.delete_object(Bucket=points.bucket, Key=key_of(points, run_id))
    assert measured(points, ledger=False)[INTACT].status == "critical"


def test_reading_back_takes_turns_and_finds_rot(points: Points) -> None:
    rotten, sound, young = (recorded(points, days) for days in (40, 35, 1))
    # The listing knows size and ETag of what is there: as after rot, only the bytes differ from what was recorded.
    content = json.loads(points.read(key_of(points, rotten, store.NAME)))
    content["objects"][0]["sha256"] = hashlib.sha256(b"abd").hexdigest()
    points.seal(rotten, content)
    there, now = kept.take(points.s3, points.storage, points.environment), datetime.now(UTC)
    assert not there.points[rotten].wrong
    reports: list[dict[str, Any]] = []

    def on(day: int, size: int = 3) -> list[str]:
        """What is read on a day."""
        check = depth.measure(
            *(points.s3, points.storage, there, None, {"bytes": size, "seconds": 60, "days": 30}),
            *({"warning": 90, "critical": None}, now + timedelta(days=day), lambda _id: reports),
        )
        reports.append(check.as_dict())
        return [each["name"] for each in check.details["today"]]

    assert on(0) == [rotten]
    assert reports[-1]["status"] == "critical"
    assert f"{rotten}: {key_of(points, rotten)} has another SHA-256 than recorded" in reports[-1]["message"]
    # It is read again each day, and takes no turn from the others.
    assert on(1) == [rotten, sound]
    assert on(2) == [rotten]
    assert on(29) == [rotten, young]
    assert on(30, size=0) == []
    assert reports[-1]["status"] == "critical"
    assert "Nothing is read in this run" in reports[-1]["message"]
    content["objects"][0]["sha256"] = hashlib.sha256(b"abc").hexdigest()
    points.seal(rotten, content)
    assert on(31) == [rotten, sound]
    assert (reports[-1]["status"], reports[-1]["value"]) == ("ok", 2.0)


def test_a_point_larger_than_the_budget_goes_on_in_the_next_run(points: Points) -> None:
    run_id = points.id(40)
    entries = [points.put(run_id, f"database/{number}.dat", b"0123456789") for number in range(9)]
    content = {**json.loads(json.dumps(POINT)), "id": run_id, "objects": entries}
    content["created_at"] = f"{datetime.now(UTC) - timedelta(days=40):%Y-%m-%dT%H:%M:%SZ}"
    points.seal(run_id, content)
    turn = {"bytes": 15, "seconds": 60, "days": 30}
    reports: list[dict[str, Any]] = []
    for _day in range(4):
        reports.append(measured(points, reports, kept_read=turn)[READ].as_dict())
    today = [report["details"]["today"] for report in reports]
    assert [(each["objects"], each["whole"]) for (each,) in today[:3]] == [(4, False), (4, False), (1, True)]
    assert today[3] == []
    assert "goes on in the next run" in reports[0]["message"]
    assert reports[0]["value"] >= 39.9
    assert reports[2]["value"] < 1
    # Never read, and nobody reads: a warning in the end.
    check = measured(points, kept_read={"bytes": 0}, thresholds={"kept_read": {"warning": 39}})[READ]
    assert (check.status, run_id in check.message) == ("warning", True)


def test_a_report_that_makes_no_sense_is_as_good_as_none(points: Points) -> None:
    run_id = recorded(points, 50)
    odd = [{"id": READ, "details": {"read_at": {run_id: "yesterday", "x": 5}, "reached": [], "damaged": {"y": 7}}}]
    check = measured(points, odd, kept_read={"days": 40})[READ]
    # The ledger's record says that it was read when it was verified, just now.
    assert (check.status, check.details["today"]) == ("ok", [])
    odd = [{"id": READ, "details": {"read_at": None}}, {"id": READ}]
    assert measured(points, odd)[READ].status == "ok"
