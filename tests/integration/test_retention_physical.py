"""Retention of physical recovery points: decided on the runner, carried out by pgBackRest, proven by listings.

The tests work on one repository one after another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options as backup_options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import expire
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import (
    engine,
    expired,
    findings,
    options,
    physical,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._wal.repository import Repository, look
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import OK

from tests.integration.wal_fixtures import REPOSITORY, Archiving, archiving

WHERE = {"stanza": "local", "repository_path": REPOSITORY}


class Retained(Archiving):
    """The sandbox, with retention on it."""

    def made(self, kind: str, **changes: Any) -> dict[str, Any]:
        """A recovery point, with the ledger's record of it."""
        result = self.backup(kind, **changes)
        about = backup_options.summary(result)
        self.append([{"name": result["key"], "digest": {"sha256": result["sha256"]}}], about, kind="backup")
        point: dict[str, Any] = result["recovery_point"]
        return point

    def append(self, subjects: list[dict[str, Any]], content: dict[str, Any], *, kind: str = "deletion") -> int:
        record = ledger.append(
            *(self.sandbox.storage, "local", kind),
            actor="ada",
            run_id="r1",
            subjects=subjects,
            content=content,
            signing_key=self.sandbox.state["evidence"]["signing_key_file"],
        )
        return int(record["number"])

    def retention(self, **changes: Any) -> dict[str, Any]:
        given = {
            "storage": self.sandbox.storage,
            "environment_name": "local",
            "evidence": {"signing_key_file": self.sandbox.state["evidence"]["signing_key_file"]},
            "rules": {"keep_last": 1},
            "require": "verified",
            "repository": WHERE,
            **changes,
        }
        result = ArgumentSpecValidator(options.SPEC).validate(given)
        assert not result.error_messages
        validated: dict[str, Any] = result.validated_parameters
        return validated

    def decided(self, **changes: Any) -> dict[str, Any]:
        """The plan."""
        chosen = self.retention(**changes)
        return findings.described(engine.decide(chosen), chosen)

    def expiry(self, *labels: str, check: bool = False) -> dict[str, Any]:
        """What pgBackRest's expiry says."""
        given = {**self.pgbackrest, "backups": list(labels), "remove_wal": True}
        return expire.Expiry(given, check).run().as_dict(False)

    def listed(self) -> Repository:
        return look(self.s3, self.sandbox.storage, REPOSITORY, "local")


@pytest.fixture(scope="module")
def source() -> Iterator[Retained]:
    with archiving() as made:
        yield Retained(made.sandbox)


@pytest.fixture(scope="module")
def points(source: Retained) -> list[dict[str, Any]]:
    """Two chains of a full and an incremental backup, oldest first."""
    return [source.made(kind) for kind in ("full", "incr", "full", "incr")]


def fates(plan: dict[str, Any]) -> dict[str, tuple[bool, str]]:
    return {each["id"]: (each["kept"], each["reasons"][0]) for each in plan["recovery_points"]}


def label(point: dict[str, Any]) -> str:
    return str(point["engine"]["label"])


def test_what_a_chain_needs_stays(source: Retained, points: list[dict[str, Any]]) -> None:
    first, second, third, fourth = points
    plan = source.decided()
    found = fates(plan)
    assert not found[first["id"]][0]
    assert not found[second["id"]][0]
    assert found[third["id"]] == (True, f"needed by {fourth['id']}")
    assert [(each["label"], each["kept"]) for each in plan["backups"]] == [
        (label(first), False),
        (label(second), False),
    ]
    # Every moment since the first could be restored; then since the third.
    for reach, point in (("reachable_now", first), ("reachable_then", third)):
        (window,) = plan[reach]
        assert window["from"] == f"{point['engine']['restore_point_at'][:19]}Z"
        assert window["to"] >= plan["recovery_points"][0]["created_at"]
    held = fates(source.decided(hold=[second["id"]]))
    assert held[first["id"]] == (True, f"needed by {second['id']}")
    # Rules of its own; and none of them; and nobody who would delete the backup itself.
    assert source.decided(repository=None)["deleted"] == 0
    assert source.decided(repository={**WHERE, "stanza": "other"})["deleted"] == 0
    assert source.decided(rules_by_engine={"pgbackrest": {"keep_last": 3}})["deleted"] == 0
    assert source.decided(rules_by_engine={"pgbackrest": {}}, rules={"keep_last": 1})["deleted"] == 0
    assert source.decided(rules={}, rules_by_engine={"pgbackrest": {"keep_last": 1}})["deleted"] == 2


def test_a_gap_divides_what_is_reachable(source: Retained, points: list[dict[str, Any]]) -> None:
    first, second, third = (point["engine"] for point in points[:3])
    lost = source.segment(second["target_wal"])
    with source.replaced(lost, lambda body: None):
        before, after = source.decided()["reachable_now"]
        # The second cannot even be brought to its own restore point.
        assert before["from"] == f"{first['restore_point_at'][:19]}Z"
        assert before["to"] <= f"{second['restore_point_at'][:19]}Z" <= after["from"]
        assert after["from"] == f"{third['restore_point_at'][:19]}Z"
    assert len(source.decided()["reachable_now"]) == 1


def test_exactly_that_goes(source: Retained, points: list[dict[str, Any]]) -> None:
    first, second, third, fourth = map(label, points)
    id = points[0]["engine"]["archive_id"]
    refused = source.expiry(first, check=True)
    assert (refused["expired"], refused["refused"]) == ([], {first: f"{second} needs it"})
    before = source.listed()
    chosen = {"backup_retention": {"keep_last": 1}, "backup_engines": ["pgbackrest"]}
    arguments = ("--tags", "retention", "-e", json.dumps(chosen))
    planned = source.expiry(first, second, check=True)
    assert (set(planned["expired"]), planned["refused"], planned["wal"]) == ({first, second}, {}, [])
    assert planned["wal_needed"] == {id: points[2]["engine"]["wal_start"]}
    assert source.listed().objects == before.objects
    done = source.play("daily", *arguments, "--diff")
    assert done.returncode == 0, done.output
    checks = {check["id"]: check for check in done.report()["checks"]}
    assert {name: check["status"] for name, check in checks.items()} == {
        "retention.recovery_points": OK,
        "retention.repository": OK,
    }, done.output
    after = source.listed()
    assert after.labels == {third, fourth}
    # WAL that no backup needs has gone, too, and none that one does.
    needed = points[2]["engine"]["wal_start"]
    assert min(before.archives[id].segments) < min(after.archives[id].segments) == needed
    assert set(before.archives[id].segments) - set(after.archives[id].segments) == {
        name for name in before.archives[id].segments if name < needed
    }
    found = source.watched()
    assert {found[name].status for name in ("wal_gaps", "wal_of_backups")} == {OK}
    assert found["wal_of_backups"].value == 2
    # Once more: nothing to do.
    plan = source.decided()
    assert (plan["deleted"], plan["backups"]) == (0, [])
    # Its last full backup pgBackRest does not give up.
    refused = source.expiry(third, fourth, check=True)
    assert "cannot be expired until another full backup" in refused["refused"][third]


def test_what_has_gone_besides_is_found(source: Retained, points: list[dict[str, Any]]) -> None:
    said: dict[str, Any] = {"expired": [], "refused": {}, "wal": [], "wal_refused": "", "wal_needed": {}}
    before = source.listed()
    lost = [f"{before.backup(label(points[3]))}backup.manifest", source.segment(points[3]["engine"]["wal_stop"])]
    for key in lost:
        with source.replaced(key, lambda body: None):
            ((check,), _actions) = expired.findings(before, source.listed(), said, [], False, "2026-11-24T00:00:00Z")
        assert check.status == "critical"
        assert len(check.details["wrong"]) == 1
    gone = {**said, "expired": [label(points[3])]}
    ((check,), _actions) = expired.findings(before, source.listed(), gone, [], False, "2026-11-24T00:00:00Z")
    assert (check.status, check.details["refused"]) == (
        "warning",
        {label(points[3]): "the store still has objects of it"},
    )


def test_what_somebody_else_deleted_stays(source: Retained, points: list[dict[str, Any]]) -> None:
    last = points[3]
    with source.replaced(f"backups/local/{last['id']}/recovery-point.json", lambda body: None):
        plan = source.decided()
        assert plan["removed_by_others"] == [last["id"]]
        assert {each["label"]: each["kept"] for each in plan["backups"]}[label(last)]


@pytest.mark.usefixtures("points")
def test_what_was_never_finished(source: Retained, monkeypatch: pytest.MonkeyPatch) -> None:
    source.tool().checked("backup", "--type=incr")
    (orphan,) = [each for each in source.decided()["backups"] if each["why"] == "it may still be under way"]
    assert orphan["kept"]
    real = physical.made_at

    def earlier(of: str) -> datetime:
        return real(of) - timedelta(days=8)

    monkeypatch.setattr(physical, "made_at", earlier)
    (found,) = [each for each in source.decided()["backups"] if each["label"] == orphan["label"]]
    assert (found["kept"], found["why"]) == (False, physical.UNFINISHED)
