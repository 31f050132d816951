"""Judgements of a migration on plain data: whose tables changed, what is refused, what a report says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import engine, findings, outcome, rows
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.project import Answers
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import recent
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points.fetch import Chosen
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import filled, placeholders
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

ENTRY = {"rows": 1, "digest": "5", "algorithm": "h", "columns": "a"}
SESSION = {"event": "session", "pid": 7}


def commit(name: str, mode: str, written: bool = False) -> dict[str, Any]:
    return {
        "event": "commit",
        "autocommit": False,
        "held": [{"schema": "s", "name": name, "kind": "r", "mode": mode}],
        "written": [{"schema": "s", "name": name, "inserted": 1, "updated": 0, "deleted": 0}] if written else [],
    }


def alone(number: int, tag: str) -> list[dict[str, Any]]:
    return [
        {"event": "statement", "number": number, "sql": "", "autocommit": True},
        {"event": "done", "number": number, "seconds": 0.1, "tag": tag, "rows": -1},
    ]


@pytest.mark.parametrize(
    ("before", "after", "events", "verdict"),
    [
        (ENTRY, ENTRY, [], "unchanged"),
        (ENTRY, {**ENTRY, "rows": 2}, [], "by_others"),
        (ENTRY, {**ENTRY, "digest": "6"}, [commit("t", "AccessShareLock")], "by_others"),
        (ENTRY, {**ENTRY, "digest": "6"}, [commit("t", "RowExclusiveLock")], "touched"),
        (ENTRY, {**ENTRY, "digest": "6"}, [commit("t", "AccessShareLock", written=True)], "touched"),
        (ENTRY, {**ENTRY, "columns": "b"}, [commit("t", "AccessExclusiveLock")], "touched"),
        (ENTRY, {**ENTRY, "columns": "b"}, [], "by_others"),
        # Outside a transaction nobody can say, but of what changes no rows.
        (ENTRY, {**ENTRY, "digest": "6"}, [SESSION, *alone(1, "UPDATE 5")], "unexplained"),
        (ENTRY, {**ENTRY, "digest": "6"}, [SESSION, *alone(1, "CREATE INDEX")], "by_others"),
        (ENTRY, {**ENTRY, "digest": "6"}, [SESSION, *alone(1, "")], "unexplained"),
        (ENTRY, {**ENTRY, "digest": "6"}, [SESSION, *alone(1, "SET"), *alone(2, "DO")], "unexplained"),
        (ENTRY, {**ENTRY, "unmeasured": "no rights"}, [], "unmeasured"),
        (None, ENTRY, [], "made"),
        (ENTRY, None, [], "gone"),
    ],
)
def test_whose_change_it_was(before: Any, after: Any, events: list[dict[str, Any]], verdict: str) -> None:
    name = ("s", "t")
    found = rows.compare({name: before} if before else {}, {name: after} if after else {}, events)
    assert {key for key, names in found.items() if names} == {verdict}
    assert found[verdict] == ["s.t"]


def test_alembics_own_table_is_not_compared() -> None:
    assert not any(rows.compare({("s", "alembic_version"): ENTRY}, {}, []).values())


DIED = {"event": "error", "kind": "OperationalError", "message": "deadlock detected", "code": "40P01"}
BEGIN = {"event": "begin", "autocommit": True}


def outside(sql: str, tag: str | None, number: int = 1) -> list[dict[str, Any]]:
    begun = {"event": "statement", "number": number, "sql": sql, "autocommit": True}
    return (
        [begun] if tag is None else [begun, {"event": "done", "number": number, "seconds": 0.1, "tag": tag, "rows": 1}]
    )


@pytest.mark.parametrize(
    ("events", "kept"),
    [
        (
            [
                commit("t", "AccessShareLock", written=True),
                BEGIN,
                *outside("CREATE INDEX CONCURRENTLY i ON t (a)", None),
            ],
            1,
        ),
        # The server may count nothing.
        ([commit("t", "RowExclusiveLock"), BEGIN], 1),
        ([commit("t", "AccessExclusiveLock"), BEGIN], 1),
        ([commit("alembic_version", "RowExclusiveLock", written=True), BEGIN], 0),
        ([commit("t", "AccessShareLock"), BEGIN], 0),
        # The commit was what failed.
        ([commit("t", "RowExclusiveLock", written=True), {"event": "rollback"}], 0),
        (outside("UPDATE t SET a = a * 10", "UPDATE 3"), 1),
        (outside("CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX"), 0),
        (outside("UPDATE t SET a = a * 10; SET x = 1", "SET"), 1),
        (outside("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID", "ALTER TABLE"), 0),
        (outside("ALTER TABLE ONLY t VALIDATE CONSTRAINT c", "ALTER TABLE"), 0),
        (outside("ALTER TABLE t VALIDATE CONSTRAINT c, ALTER a TYPE int USING a * 10", "ALTER TABLE"), 1),
        (outside("ALTER TABLE t ALTER a TYPE int USING a * 10", "ALTER TABLE"), 1),
        (outside("ALTER TYPE e ADD VALUE IF NOT EXISTS 'x'", "ALTER TYPE"), 0),
        (outside("SELECT moved()", "SELECT 1"), 1),
        (outside("UPDATE t SET a = a * 10", None), 0),
        (outside("CALL moved()", None), 1),
        (outside("DO 'that does not end", None), 1),
    ],
)
def test_what_is_committed_is_not_done_again(events: list[dict[str, Any]], kept: int) -> None:
    answers = Answers()
    for event in [SESSION, *events, DIED]:
        answers.add(event)
    assert len(outcome.unrepeatable(answers)) == kept


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, None),
        ({"created_at": 3700}, "is 62 min old; 60 min are allowed"),
        ({"created_at": -400}, "old"),
        ({"name": "other"}, "of another database"),
        ({"system_identifier": "8"}, "of another database"),
        ({"system_identifier": None}, None),
        ({"unreadable": {"p": "no"}}, "cannot be read: p"),
    ],
)
def test_what_there_is_to_go_back_to(
    change: dict[str, Any], wrong: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = datetime.now(UTC) - timedelta(seconds=change.get("created_at", 60))
    point = {
        "id": "20261129T170152Z-8b9bdd",
        "created_at": f"{made:%Y-%m-%dT%H:%M:%SZ}",
        "database": {"name": "tf", "system_identifier": "7", **change},
    }
    chosen = Chosen(point, "key", "0" * 64, change.get("unreadable", {}))
    monkeypatch.setattr(recent, "client", lambda storage: None)
    monkeypatch.setattr(recent, "choose", lambda *arguments, **others: chosen)
    options = {"storage": {}, "environment_name": "e", "recovery_point_age": 3600}
    database = {"name": "tf", "system_identifier": "7"}
    if wrong is None:
        assert engine.recovery_point(options, database)["id"] == point["id"]
        return
    with pytest.raises(recent.NoRecoveryPointError, match=wrong):
        engine.recovery_point(options, database)


def test_without_limits_nothing_is_begun() -> None:
    options = {"lock_timeout": 3.0, "statement_timeout": 0.0, "concurrent_deadline": 1.0, "attempts": 1}
    with pytest.raises(ConfigurationError, match="migration_statement_timeout is 0"):
        engine._check(options)


def test_an_address_survives_its_characters() -> None:
    database: dict[str, Any] = {
        "host": "::1",
        "port": 5432,
        "name": "a b/c",
        "user": "ü@x",
        "password": "p:/@?",
        "sslmode": None,
        "sslrootcert": "/etc/ca file.pem",
    }
    assert filled("x{database_address}", placeholders(database)) == (
        "x%C3%BC%40x:p%3A%2F%40%3F@[::1]:5432/a%20b%2Fc?sslmode=verify-full&sslrootcert=%2Fetc%2Fca%20file.pem"
    )


RESULT: dict[str, Any] = {
    "database": {"name": "tf", "system_identifier": "7"},
    "current": ["a"],
    "target": ["b"],
    "digest": "d",
    "refusals": [],
    "pending": [
        {"revision": "b", "title": "B", "sql": None, "digest": "x", "digest_of": "source", "source_sha256": "x"}
    ],
    "done": [{"revision": "b", "seconds": 1.0, "attempts": 2, "statements": [], "held": []}],
    "tables": {name: [] for name in ("unchanged", "touched", "made", "gone", "by_others", "unexplained", "unmeasured")},
    "timeline": [],
    "waits": [],
    "current_after": ["b"],
    "recovery_point": {"id": "p", "created_at": "now"},
    "changed": True,
    "problem": None,
    "invalid_indexes": [],
    "dropped_indexes": [],
    "resumed": [],
    "phases": {},
    "seconds": 2.0,
}
PROBLEM = {"phase": "revision b", "kind": "MigrationError", "message": "It failed.", "remedy": "r", "state": "At a."}


@pytest.mark.parametrize(
    ("change", "statuses"),
    [
        ({}, {}),
        ({"current_after": ["a"]}, {"migration.revision": "critical"}),
        ({"current_after": None}, {"migration.revision": "unknown"}),
        ({"invalid_indexes": ["s.i"]}, {"migration.invalid_indexes": "warning"}),
        ({"problem": PROBLEM}, {"migration.failed": "critical"}),
        ({"problem": {**PROBLEM, "kind": "DatabaseError"}}, {"migration.failed": "unknown"}),
        ({"tables": {**RESULT["tables"], "gone": ["s.t"]}}, {"migration.untouched_tables": "warning"}),
        ({"tables": {**RESULT["tables"], "unexplained": ["s.t"]}}, {"migration.untouched_tables": "unknown"}),
        ({"tables": {**RESULT["tables"], "unmeasured": ["s.t"]}}, {"migration.untouched_tables": "unknown"}),
    ],
)
def test_what_the_report_says(change: dict[str, Any], statuses: dict[str, str]) -> None:
    checks, (action,), summary = findings.findings({**RESULT, **change}, None, "now")
    assert {check.id: check.status for check in checks if check.status != "ok"} == statuses
    assert action["status"] == ("failed" if change.get("problem") else "ok")
    assert summary["state"] == "ended"
    assert summary["worst_status"] == max(statuses.values(), default="ok")


def test_the_plan_tells_of_a_migration_that_did_not_end() -> None:
    earlier = {"run_id": "r", "actor": "ada", "recorded_at": "t", "from": ["0"], "to": ["b"]}
    checks, _ = findings.planned({**RESULT, "holder": None}, earlier, "now")
    (found,) = [check for check in checks if check.id == "migration.found"]
    assert "(r, ada) from 0 to b did not end. The database is at a now" in found.message


@pytest.mark.parametrize("error", [KeyError("at"), ConfigurationError("no", "")])
def test_what_was_begun_has_a_result_whatever_is_raised(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(options: dict[str, Any], progress: Any, result: dict[str, Any]) -> None:
        result.update({**RESULT, "begun": True})
        raise error

    monkeypatch.setattr(engine, "_run", run)
    options = {"lock_timeout": 3.0, "statement_timeout": 1.0, "concurrent_deadline": 1.0, "attempts": 1}
    result = engine.run(options, Progress())
    assert result["problem"]["kind"] == ("unexpected" if isinstance(error, KeyError) else "ConfigurationError")
    _, _, summary = findings.findings(result, None, "now")
    assert (summary["state"], [each["revision"] for each in summary["done"]]) == ("ended", ["b"])


def test_what_ended_without_a_result_has_an_end_in_the_ledger() -> None:
    begun = findings.intent(RESULT)
    ended = {**begun, **findings.broken("It broke.", "unexpected", "critical")}
    assert (ended["state"], ended["changed"], ended["problem"]) == ("ended", None, "It broke.")
    assert (ended["database"], ended["revisions"]) == (begun["database"], begun["revisions"])
    # That nothing was begun is known.
    assert findings.broken("No.", "LockedError", "unknown")["changed"] is False


EARLIER: dict[str, Any] = {
    "run_id": "r",
    "actor": "ada",
    "recorded_at": "t",
    "state": "begun",
    "from": ["a"],
    "to": ["b"],
    "revisions": [{"revision": "b", "digest": "x", "digest_of": "source"}],
}


def test_a_late_end_is_recorded_only_where_the_migration_was_to_go() -> None:
    plan = {**RESULT, "pending": [], "holder": None, "current": ["b"]}
    late = findings.late(plan, EARLIER, "ok")
    assert late is not None
    assert (late["state"], late["reached"], late["worst_status"]) == ("ended", ["b"], "warning")
    assert late["done"] == [{"revision": "b"}]
    # It was killed before anything was committed, and the release was taken back: nothing is pending, or done.
    assert findings.late({**plan, "current": ["a"], "target": ["a"]}, EARLIER, "ok") is None
    assert findings.late({**plan, "current": ["b", "c"]}, EARLIER, "ok") is None
    assert findings.late({**plan, "current": []}, {**EARLIER, "to": None}, "ok") is None
    assert findings.late({**plan, "current": ["c", "b"]}, {**EARLIER, "to": ["b", "c"]}, "ok") is not None
    for name, value in (("pending", RESULT["pending"]), ("refusals", [{"name": "heads"}]), ("holder", "ada")):
        assert findings.late({**plan, name: value}, EARLIER, "ok") is None
