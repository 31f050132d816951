"""Whether a backup is of the environment's database, and a restore of the right one."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import contents, identity, standby
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import guards
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import BackupError

from tests.unit.test_backup_judgement import STORAGE, Store, point

FOUND: dict[str, Any] = {"name": "tradingflow", "system_identifier": "71", "schema_head": ["b2"]}
EARLIER: dict[str, Any] = {**FOUND, "id": "20261123T204030Z-3fa9c1", "rows": 1000, "files": 3, "held_by": "x"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "postgres"}, "its name is postgres, not tradingflow"),
        ({"system_identifier": "72"}, "system identifier is 72, not 71"),
        ({"schema_head": None}, "no schema head .*b2"),
        ({"name": "postgres", "schema_head": None}, "postgres.*; it has no schema head"),
    ],
)
def test_another_database_is_refused_until_it_is_declared(change: dict[str, Any], words: str) -> None:
    found = {**FOUND, **change}
    with pytest.raises(BackupError, match=words) as refused:
        identity.judged(found, EARLIER, "")
    declared = f"{found['name']}@{found['system_identifier']}"
    # It says what to write, and that is what it takes.
    assert refused.value.remedy.endswith(f"backup_database_identity: {declared}")
    note = identity.judged(found, EARLIER, declared)
    check = contents.identity(note, "", ":x")
    assert (check.id, check.status, check.value) == ("backup.identity:x", "warning", declared)
    with pytest.raises(BackupError, match="backup_database_identity says tradingflow@7: nothing"):
        identity.judged(found, EARLIER, "tradingflow@7")


def test_the_same_database_migrated_or_not_is_ok_and_an_unknown_cluster_unknown() -> None:
    for found in (FOUND, {**FOUND, "schema_head": ["c3"]}):
        for earlier in (EARLIER, {**EARLIER, "schema_head": None}, None):
            assert contents.identity(identity.judged(found, earlier, ""), "", "").status == "ok"
    # A declaration holds without any earlier recovery point, too.
    with pytest.raises(BackupError, match="says"):
        identity.judged(FOUND, None, "postgres@71")
    nameless = {**FOUND, "system_identifier": None}
    for found, earlier in ((nameless, EARLIER), (FOUND, {**EARLIER, "system_identifier": None})):
        assert contents.identity(identity.judged(found, earlier, ""), "", "").status == "unknown"
    with pytest.raises(BackupError, match="its name"):
        identity.judged({**nameless, "name": "postgres"}, EARLIER, "")


def test_the_newest_that_can_be_read_is_compared_with() -> None:
    fake = Store()
    prefix = "p/backups/env"
    assert identity.newest(fake, STORAGE, prefix, "logical") is None
    made = point()
    made["database"]["system_identifier"] = "71"
    fake.add(made)
    fake.bodies[f"{prefix}/20271123T204030Z-000000/recovery-point.json"] = b"{"
    fake.heads[f"{prefix}/20281123T204030Z-000000/database/toc.dat"] = {"ContentLength": 1}
    found = {"id": made["id"], "name": "tf", "system_identifier": "71", "schema_head": None}
    held = {"rows": 2, "files": 1, "held_by": made["id"]}
    assert identity.newest(fake, STORAGE, prefix, "logical") == {**found, **held}
    # Rows of the other engine are not compared: it has those of unlogged tables, or has not.
    assert identity.newest(fake, STORAGE, prefix, "pgbackrest") == {**found, **dict.fromkeys(held)}


@pytest.mark.parametrize(
    ("rows", "files", "status", "more"),
    [
        (1000, 3, "ok", []),
        (500, 1, "ok", []),
        (499, 3, "warning", []),
        (99, 3, "critical", []),
        (0, 3, "critical", []),
        (1000, 0, "ok", ["backup.files:x"]),
        (None, 3, "unknown", []),
    ],
)
def test_much_less_than_before_is_a_finding(rows: int | None, files: int, status: str, more: list[str]) -> None:
    made = point()
    made["database"]["tables"][0].update(rows=rows, **({"unmeasured": "why"} if rows is None else {}))
    made["totals"]["rows"], made["application"]["files"] = rows or 0, files
    first, *others = contents.held(made, identity.judged(FOUND, EARLIER, ""), "", ":x")
    assert (first.id, first.status) == ("backup.contents:x", status)
    assert [each.id for each in others] == more
    assert all(each.status == "critical" for each in others)
    # Of few rows, or without any recovery point before it, a share says nothing.
    for earlier in (None, {**EARLIER, "rows": 99, "files": 0}):
        first, *others = contents.held(made, identity.judged(FOUND, earlier, ""), "", "")
        assert (first.status, others) == ({None: "unknown", 0: "critical"}.get(rows, "ok"), [])


def test_a_restore_of_another_database_or_of_nothing_is_refused() -> None:
    made = point()
    options = {"environment_name": "env", "database": {"name": "tf", "user": "u"}}
    facts = {"superuser": True, "recovering": False, "version": 180006, "system_identifier": "71"}
    made["database"]["system_identifier"] = "71"

    def words(options: dict[str, Any]) -> list[str]:
        found = [*guards.of_environment(options, made), *guards.of_server(options, facts, made)]
        assert all(f"restore_overrides: [{each.word}]" in each.remedy for each in found)
        return [each.word for each in found]

    assert words(options) == []
    assert words({**options, "database": {"name": "tradingflow", "user": "u"}}) == ["other_database"]
    # Of another environment it is said anyway; its database may have any name.
    elsewhere = {"environment_name": "staging", "source_environment": "env", "database": {"name": "x", "user": "u"}}
    assert words(elsewhere) == ["other_environment"]
    made["database"]["tables"][0]["rows"] = None
    assert words(options) == []
    made["database"]["tables"][0]["rows"] = 0
    assert words(options) == ["empty"]
    made["database"]["tables"] = []
    assert words(options) == ["empty"]


@pytest.mark.parametrize(
    ("paused", "replayed", "receiving", "behind", "status"),
    [
        (False, True, "streaming", 86400.0, "ok"),
        (False, True, "streaming", None, "ok"),
        (False, False, "streaming", 60.0, "ok"),
        (False, False, "streaming", 900.0, "warning"),
        (False, False, "streaming", 3600.0, "critical"),
        (False, False, "streaming", None, "unknown"),
        (True, True, "streaming", 1.0, "critical"),
        (False, True, "stopping", 86400.0, "unknown"),
        (False, None, None, 60.0, "ok"),
        (False, None, None, 86400.0, "unknown"),
        (False, None, None, None, "unknown"),
    ],
)
def test_a_standby_is_as_new_as_what_it_replayed(
    paused: bool, replayed: bool | None, receiving: str | None, behind: float | None, status: str
) -> None:
    found = {"paused": paused, "replayed": replayed, "receiving": receiving, "behind": behind}
    (check,) = standby.findings(found, "")
    assert (check.id, check.status) == ("backup.standby", status)
    assert standby.findings(None, "") == []
