"""Retention of the application's files in a real repository: with their recovery points, and never more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files import restic as restic_module
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import engine as retention
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import BackupError

from tests.integration import files_fixtures, retention_fixtures, test_backup
from tests.integration.files_fixtures import PASSWORD, Build, back_up, lock_names, of_kind, prefix_of, restic_of, stored
from tests.integration.retention_fixtures import Points
from tests.integration.test_backup import damage, fetch
from tests.integration.test_backup_trouble import wait_for
from tests.integration.test_files import intact, verified

backup_options, database, scratch = test_backup.backup_options, test_backup.database, test_backup.scratch
restic, tree, options_of = files_fixtures.restic, files_fixtures.tree, files_fixtures.options_of
begun = files_fixtures.begun
points = retention_fixtures.points


class Kept:
    """Recovery points of real files, recorded, and retention of them."""

    def __init__(self, points: Points, chosen: dict[str, Any]) -> None:
        self.points, self.chosen = points, chosen
        points.environment, points.prefix = chosen["environment_name"], points.prefix.rsplit("/", 1)[0]
        points.prefix += f"/{chosen['environment_name']}"

    def make(self) -> dict[str, Any]:
        point = back_up(self.chosen)
        self.points.record("backup", point["id"], {"id": point["id"], "verified": True})
        return point

    def retain(self, **changes: Any) -> tuple[dict[str, Any], Any, Any]:
        given = {"rules": {"keep_last": 1}, "require": "verified", "files_password": PASSWORD, **changes}
        return self.points.retain(**given)

    def packs(self) -> int:
        return sum(size for name, size in stored(self.chosen).items() if name.startswith("data/"))


@pytest.fixture
def kept(points: Points, options_of: Build, tree: Path) -> Kept:
    return Kept(points, options_of(tree, verify="none"))


def test_files_go_with_their_recovery_points(kept: Kept, tree: Path) -> None:
    first = kept.make()
    (tree / "big").write_bytes(os.urandom(1 << 20))
    second = kept.make()
    before = kept.packs()
    plan = kept.points.options(rules={"keep_last": 1}, require="verified", files_password=PASSWORD)
    decided = retention.decide(plan)
    assert findings.described(decided, plan)["snapshots"] == [
        {
            "repository": prefix_of(kept.chosen),
            "snapshot": first["application"]["snapshot"],
            "id": first["id"],
            "why": "deleted",
        }
    ]
    assert any("its files, snapshot" in line for line in findings.lines(findings.described(decided, plan)))
    assert kept.packs() == before
    _plan, done, check = kept.retain()
    assert (done.deleted, done.forgotten) == ([first["id"]], [first["application"]["snapshot"]])
    assert check.status == "ok", check.message
    assert before - kept.packs() > 2 << 20
    # On the ledger before it was done, and what is kept is whole.
    record = kept.points.records()[-1]["content"]
    assert record["snapshots"][0]["snapshot"] == first["application"]["snapshot"]
    assert verified(kept.chosen, second) == []
    assert intact(kept.chosen).status == "ok"
    _plan, done, check = kept.retain()
    assert (done.deleted, done.forgotten, done.records, check.status) == ([], [], [], "ok")
    # What was taken out is no loss; what is lost afterwards is one.
    damage(kept.chosen, of_kind(kept.chosen, "data/")[0], None)
    assert intact(kept.chosen).status == "critical"


def test_snapshots_of_nobody(kept: Kept, tree: Path, tmp_path: Path) -> None:
    kept.make()
    opened = restic_of(kept.chosen, tmp_path / "by hand")
    tags = {"old": "20250101T000000Z-abcdef", "young": kept.points.id(1), "other": "20250101T000000Z-aaaaaa"}
    for name, tag in tags.items():
        host = "elsewhere" if name == "other" else kept.chosen["environment_name"]
        opened.text("backup", str(tree / name) if (tree / name).exists() else str(tree), "--host", host, "--tag", tag)
    opened.text("backup", str(tree), "--host", kept.chosen["environment_name"], "--tag", "somebody")
    _plan, done, check = kept.retain()
    assert check.status == "ok", check.message
    assert len(done.forgotten) == 1
    left = {tag for each in opened.snapshots() for tag in each["tags"]}
    assert tags["old"] not in left
    assert {tags["young"], tags["other"], "somebody"} <= left
    assert intact(kept.chosen).status == "ok"


def test_lock_and_password_are_waited_for(kept: Kept, tmp_path: Path) -> None:
    kept.make()
    second = kept.make()
    _plan, done, check = kept.retain(files_password=None)
    assert (len(done.deleted), done.forgotten) == (1, [])
    assert (check.status, "no password" in check.message) == ("warning", True), check.message
    with holding(kept.chosen, tmp_path):
        _plan, done, check = kept.retain()
        assert (done.deleted, done.forgotten) == ([], [])
        assert (check.status, "Another restic is at work" in check.message) == ("warning", True), check.message
    # The one that was deleted left its files, which the next run remembers.
    _plan, done, check = kept.retain()
    assert len(done.forgotten) == 1, check.message
    assert check.status == "ok"
    assert verified(kept.chosen, second) == []


@contextmanager
def holding(chosen: dict[str, Any], tmp_path: Path) -> Iterator[None]:
    """restic at work on the repository, until the context ends."""
    opened = restic_of(chosen, tmp_path / "holding")
    with subprocess.Popen(
        opened.command("backup", "--stdin", "--host", "elsewhere"),
        env=opened.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_for(lambda: lock_names(chosen))
        yield
        assert process.stdin is not None
        process.stdin.close()


def test_ended_before_it_was_done_goes_on(kept: Kept, monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    kept.make()
    (tree / "big").write_bytes(os.urandom(1 << 20))
    kept.make()
    before, text = kept.packs(), restic_module.Restic.text

    def broken(self: restic_module.Restic, *arguments: str, **how: Any) -> str:
        if arguments[0] == "prune":
            raise BackupError("broke off")
        return text(self, *arguments, **how)

    with monkeypatch.context() as patch:
        patch.setattr(restic_module.Restic, "text", broken)
        _plan, done, check = kept.retain()
    assert check.status == "unknown"
    assert kept.packs() == before
    assert "was started and never finished" in intact(kept.chosen).message
    _plan, done, check = kept.retain()
    assert (done.deleted, check.status) == ([], "ok"), check.message
    assert before - kept.packs() > 2 << 20
    assert intact(kept.chosen).status == "ok"


def test_nothing_is_forgotten_where_something_is_lost(kept: Kept) -> None:
    first, second = kept.make(), kept.make()
    victim = f"{prefix_of(kept.chosen)}/snapshots/{second['application']['snapshot']}"
    body, before = fetch(kept.chosen, victim), kept.packs()
    damage(kept.chosen, victim, None)
    _plan, done, check = kept.retain()
    # The newest is damaged: neither it nor what it might be repaired from goes.
    assert (done.deleted, done.forgotten) == ([], []), check.message
    assert kept.packs() == before
    third = kept.make()
    _plan, done, check = kept.retain(rules={"keep_last": 2})
    assert done.deleted == [first["id"]]
    assert (done.forgotten, "is missing" in check.message) == ([], True), check.message
    assert kept.packs() >= before
    # Brought back, it is as good as before, and the files that wait go.
    damage(kept.chosen, victim, body)
    assert verified(kept.chosen, second) == verified(kept.chosen, third) == []
    _plan, done, check = kept.retain(rules={"keep_last": 2})
    assert (len(done.forgotten), check.status) == (1, "ok"), check.message


def test_what_somebody_took_out_by_hand(kept: Kept, tree: Path, tmp_path: Path) -> None:
    opened = restic_of(kept.chosen, tmp_path / "by hand")
    kept.make()
    opened.text("backup", str(tree), "--host", "elsewhere")
    point = kept.make()
    (other,) = [each for each in opened.snapshots() if each["hostname"] == "elsewhere"]
    opened.text("forget", other["id"], "--prune")
    # Nobody put down that it was to go. Retention asks restic whether anything of ours needed it.
    assert intact(kept.chosen).status == "critical"
    _plan, _done, check = kept.retain(rules={"keep_last": 2})
    assert check.status == "ok", check.message
    assert intact(kept.chosen).status == "ok"
    assert verified(kept.chosen, point) == []
    # What something needs is never taken for taken out, and what was changed neither.
    victim = of_kind(kept.chosen, "data/")[0]
    body = fetch(kept.chosen, victim)
    for damaged in (None, body[:-1] + bytes([body[-1] ^ 1])):
        damage(kept.chosen, victim, damaged)
        plan, done, _check = kept.retain(rules={"keep_last": 1})
        assert ("are damaged" in plan["stopped"], done.deleted) == (True, [])
        assert intact(kept.chosen).status == "critical"
