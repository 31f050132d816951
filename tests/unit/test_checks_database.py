"""What is judged from the rows PostgreSQL gives, without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import (
    database,
    replication,
    sessions,
    sql,
    upkeep,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

ADDRESS = {"host": "localhost", "name": "x", "user": "x"}
Judge = Callable[[list[dict[str, Any]], dict[str, Any]], Iterator[Check]]


def thresholds(**given: Any) -> dict[str, Any]:
    options = {"database": ADDRESS, "thresholds": given}
    result = ArgumentSpecValidator(database.CHECKS_SPEC).validate(options)
    assert not result.error_messages
    limits: dict[str, Any] = result.validated_parameters["thresholds"]
    return limits


def judged(judge: Judge, *rows: dict[str, Any], **given: Any) -> Check:
    return next(iter(judge(list(rows), thresholds(**given))))


@pytest.mark.parametrize(("used", "status"), [(77, "ok"), (78, "warning"), (88, "critical"), (100, "critical")])
def test_connections_are_counted_against_those_that_users_can_have(used: int, status: str) -> None:
    assert judged(sessions.connections, {**CONNECTIONS, "used": used}).status == status


CONNECTIONS: dict[str, Any] = {
    "used": 5,
    "hidden": 0,
    "max_connections": 100,
    "reserved": 3,
    "idle_in_transaction": 0,
    "roles": None,
    "databases": None,
}


def test_connections_of_a_role_or_database_with_a_limit_of_its_own() -> None:
    check = judged(sessions.connections, {**CONNECTIONS, "roles": [{"name": "app", "used": 10, "most": 10}]})
    assert (check.status, check.value) == ("critical", 100.0)
    assert "10 of 10 connections that the role app may have" in check.message
    check = judged(sessions.connections, {**CONNECTIONS, "databases": [{"name": "x", "used": 17, "most": 20}]})
    assert (check.status, check.value) == ("warning", 85.0)


def test_prepared_transaction_that_nobody_ends() -> None:
    row = {"gid": "xa-7", "owner": "app", "database": "x", "seconds": 301.0}
    assert judged(sessions.prepared).value == 0
    check = judged(sessions.prepared, row)
    assert (check.status, "xa-7 of app in x" in check.message) == ("warning", True)
    assert judged(sessions.prepared, {**row, "seconds": 9999.0}).status == "critical"
    held = judged(sessions.blocked, {"pid": 5, "seconds": 2.0, "blockers": [0, 7]})
    assert "held by process 7, a prepared transaction" in held.message
    assert "process 0" not in held.message


OPEN = {"pid": 7, "usename": "o'brien %s ü", "state": "active", "seconds": 1000.0, "hidden": 0}


def test_long_transaction() -> None:
    assert judged(sessions.transactions, OPEN).status == "warning"
    assert judged(sessions.transactions, {**OPEN, "seconds": 3600.0}).status == "critical"
    nothing = {**dict.fromkeys(OPEN), "hidden": 0}
    assert (judged(sessions.transactions, nothing).status, judged(sessions.transactions, nothing).value) == ("ok", 0)


def test_hidden_sessions_make_the_longest_transaction_unknown_unless_a_visible_one_is_critical() -> None:
    with pytest.raises(sql.NotMeasured, match="hidden"):
        judged(sessions.transactions, {**OPEN, "hidden": 3})
    assert judged(sessions.transactions, {**OPEN, "hidden": 3, "seconds": 9999.0}).status == "critical"


def test_blocked_sessions_name_who_holds_the_locks() -> None:
    rows = [{"pid": pid, "seconds": 2.5 * pid, "blockers": [99, 98]} for pid in range(1, 6)]
    check = judged(sessions.blocked, *rows)
    assert (check.status, check.value) == ("critical", 5)
    assert check.details["blockers"] == [98, 99]
    assert judged(sessions.blocked, rows[0]).status == "warning"
    assert judged(sessions.blocked).value == 0


SLOT = {"slot_name": "replica_1", "active": True, "wal_status": "reserved", "retained": 5}


def test_replication_slots() -> None:
    assert judged(database.slots).value == 0
    assert judged(database.slots, SLOT).status == "ok"
    full = {**SLOT, "slot_name": "dead", "active": False, "retained": 20_000_000_000}
    check = judged(database.slots, SLOT, full)
    assert (check.status, check.details["inactive"]) == ("critical", ["dead"])
    assert "dead" in check.message


def test_slot_that_lost_its_wal_is_critical_although_it_holds_back_nothing() -> None:
    check = judged(database.slots, SLOT, {**SLOT, "slot_name": "lost", "wal_status": "lost", "retained": None})
    assert check.status == "critical"
    assert "lost" in check.message


LAG: dict[str, Any] = {
    "standby": False,
    "replicas": 0,
    "hidden": 0,
    "seconds": 0.0,
    "streams": False,
    "receivers": 0,
    **dict.fromkeys(("receiving", "silent", "replayed", "behind")),
}
STANDBY: dict[str, Any] = {
    **LAG,
    "standby": True,
    "streams": True,
    "receivers": 1,
    "receiving": "streaming",
    "silent": 3.0,
    "replayed": 5000.0,
    "behind": 0.0,
}


def replicated(row: dict[str, Any], replicas: int = -1, *before: dict[str, Any]) -> Check:
    return next(iter(replication.lag([row], thresholds(), lambda _id: list(before), {"replicas": replicas})))


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({}, "ok"),
        ({"replicas": 2, "seconds": 59.0}, "ok"),
        ({"replicas": 2, "seconds": 61.0}, "warning"),
        ({**STANDBY, "behind": 400.0}, "critical"),
        ({**STANDBY, "behind": None, "replayed": None}, "unknown"),
        # Nothing is left to replay of what came, and nothing comes any more.
        ({**STANDBY, "receivers": 0, "receiving": None, "silent": None}, "critical"),
        ({**STANDBY, "silent": 900.0}, "critical"),
        (STANDBY, "ok"),
        # Fed from an archive.
        ({**STANDBY, "streams": False, "receivers": 0, "replayed": 20.0}, "ok"),
        ({**STANDBY, "streams": False, "receivers": 0}, "critical"),
        ({"replicas": 2, "seconds": float("nan")}, "unknown"),
    ],
)
def test_replication_lag(row: dict[str, Any], status: str) -> None:
    assert replicated({**LAG, **row}).status == status


def test_replica_that_is_gone() -> None:
    had = replicated({**LAG, "replicas": 2}).as_dict()
    lost = replicated(LAG, -1, had)
    assert (lost.status, lost.message) == ("critical", "No replica is connected, 2 expected.")
    # It stays so until it is back, or the operator says that it will not be.
    assert replicated({**LAG, "replicas": 1}, -1, had, lost.as_dict()).status == "critical"
    assert replicated({**LAG, "replicas": 2}, -1, had, lost.as_dict()).status == "ok"
    assert replicated(LAG, 0, had).status == "ok"
    assert replicated(LAG, 1).status == "critical"


def test_replicas_that_are_hidden_are_unknown() -> None:
    with pytest.raises(sql.NotMeasured, match="hidden"):
        replicated({**LAG, "replicas": 1, "hidden": 1})
    for hidden in ({"streams": None}, {"receiving": None}):
        with pytest.raises(sql.NotMeasured, match="hidden"):
            replicated({**STANDBY, **hidden})


@pytest.mark.parametrize(("age", "status"), [(200_000_000, "ok"), (5 * 10**8, "warning"), (10**9, "critical")])
def test_xid_age(age: int, status: str) -> None:
    assert judged(database.ages, {"datname": "x", "age": age}).status == status


@pytest.mark.parametrize(("clock", "status"), [(100.5, "ok"), (105, "warning"), (93, "warning"), (0, "critical")])
def test_clock_skew(clock: float, status: str) -> None:
    assert database.clock_skew(thresholds(), clock, 100, 101).status == status


def test_clocks_are_not_compared_by_a_slow_answer() -> None:
    check = database.clock_skew(thresholds(), 105, 100, 110)
    assert (check.status, "took 10 s" in check.message) == ("unknown", True)
    assert database.clock_skew(thresholds(), 130, 100, 110).status == "critical"


def test_multixact_age() -> None:
    assert judged(upkeep.multixacts, {"datname": "x", "age": 6 * 10**8}).status == "warning"


RUNS = {"autovacuum": "on", "track_counts": "on"}


def test_tables_that_autovacuum_leaves_behind() -> None:
    rows = [{"schemaname": "s", "relname": f"größe %s {number}", "dead": 99999} for number in range(10)]
    rows = [{**RUNS, **row} for row in rows]
    assert judged(upkeep.vacuum, {**RUNS, "relname": None}).status == "ok"
    off = judged(upkeep.vacuum, {**RUNS, "relname": None, "autovacuum": "off"})
    assert (off.status, off.message) == ("warning", "autovacuum is off, so that autovacuum does not run.")
    assert judged(upkeep.vacuum, {**RUNS, "relname": None, "track_counts": "off"}).status == "unknown"
    assert judged(upkeep.vacuum, rows[0]).status == "warning"
    check = judged(upkeep.vacuum, *rows)
    assert (check.status, check.details["dead_rows"]["s.größe %s 9"]) == ("critical", 99999)


ARCHIVE = {
    "mode": "on",
    "standby": False,
    "failed_count": 0,
    "last_archived_wal": "000000010000000000000001",
    "last_failed_wal": None,
    "failing": False,
    "command": "cp %p /x/%f",
    "library": "",
}


@pytest.mark.parametrize(
    ("row", "status", "value"),
    [
        ({}, "ok", "works"),
        ({"mode": "off"}, "ok", "off"),
        ({"failing": True, "failed_count": 3, "last_failed_wal": "00"}, "critical", "failing"),
        # It failed once, and has worked again since.
        ({"failed_count": 3, "last_failed_wal": "00"}, "ok", "works"),
        ({"standby": True, "last_archived_wal": None}, "ok", "on the primary"),
        # It worked once.
        ({"command": ""}, "critical", "nothing to archive with"),
        ({"command": "", "library": "basic_archive"}, "ok", "works"),
    ],
)
def test_archive(row: dict[str, Any], status: str, value: str) -> None:
    check = judged(replication.archive, {**ARCHIVE, **row})
    assert (check.status, check.value) == (status, value)


def test_archive_that_has_never_worked_is_unknown() -> None:
    with pytest.raises(sql.NotMeasured):
        judged(replication.archive, {**ARCHIVE, "last_archived_wal": None})
    with pytest.raises(sql.NotMeasured, match="hidden"):
        judged(replication.archive, {**ARCHIVE, "command": None})


@pytest.mark.parametrize(
    ("waiting", "seconds", "status"),
    [(0, None, ("ok", "ok")), (1, 20.0, ("ok", "ok")), (3, 4000.0, ("ok", "critical")), (150, 1.0, ("critical", "ok"))],
)
def test_wal_that_waits_for_a_command_that_hangs(waiting: int, seconds: float | None, status: tuple[str, str]) -> None:
    checks = list(replication.waiting([{"waiting": waiting, "seconds": seconds}], thresholds()))
    assert (checks[0].status, checks[1].status) == status


WRITABLE = {
    "synchronous": False,
    "in_step": False,
    "standby": False,
    "default": "off",
    "database": False,
    "own": False,
    "roles": [],
}


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({}, "ok"),
        ({"default": "on"}, "critical"),
        ({"synchronous": True}, "critical"),
        ({"synchronous": True, "in_step": True}, "ok"),
        ({"database": True}, "critical"),
        ({"database": True, "standby": True}, "ok"),
        ({"roles": ["owner"]}, "warning"),
        ({"default": "on", "own": True, "roles": ["owner"]}, "warning"),
    ],
)
def test_read_only_by_default(row: dict[str, Any], status: str) -> None:
    assert judged(replication.writable, {**WRITABLE, **row}).status == status


def test_read_only_role_of_our_own_hides_the_servers_value() -> None:
    with pytest.raises(sql.NotMeasured, match="set for this role"):
        judged(replication.writable, {**WRITABLE, "default": "on", "own": True})


def test_cache() -> None:
    row = {"hit": 5000, "read": 5000}
    limit = {"warning": 90}
    assert judged(upkeep.cache, row).status == "ok"
    assert judged(upkeep.cache, row, cache_hit=limit).status == "warning"
    assert judged(upkeep.cache, {**row, "hit": 5}, cache_hit=limit).status == "ok", "too few to judge"
    assert judged(upkeep.cache, {**row, "hit": 0, "read": 0}).value == 0


class Cursor:
    """A cursor whose statement fails."""

    def __init__(self, error: Exception, closed: bool = False) -> None:
        self.error = error
        self.connection = self
        self.closed = closed

    def execute(self, statement: str, parameters: object = None) -> None:
        # The savepoint around it fails only where all does.
        if "SAVEPOINT" not in statement or self.closed:
            raise self.error


def test_statement_that_fails_leaves_its_checks_unknown() -> None:
    probe = sql.Probe((("x.a", "A"), ("x.b", "B")), "s", "SELECT", lambda rows, limits: iter(()))
    for error, text in (
        (psycopg2.errors.InsufficientPrivilege("permission denied for view x\nLINE 1: SELECT"), "permission denied"),
        (psycopg2.errors.QueryCanceled("canceling statement"), "timeout"),
        (psycopg2.errors.UndefinedColumn('column "y" does not exist'), "does not exist"),
    ):
        checks = sql.ask(Cursor(error), probe, {}, "grant it")
        assert [(check.id, check.status) for check in checks] == [("x.a", "unknown"), ("x.b", "unknown")]
        assert text in checks[0].message
        assert "LINE" not in checks[0].message
        assert checks[0].remedy


def test_lost_connection_ends_the_round() -> None:
    probe = sql.Probe((), "s", "SELECT", lambda rows, limits: iter(()))
    with pytest.raises(psycopg2.OperationalError):
        sql.ask(Cursor(psycopg2.OperationalError("server closed the connection"), closed=True), probe, {}, "")


def test_options_that_make_no_sense() -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        database.measure(ADDRESS, thresholds(), 0)
    with pytest.raises(ConfigurationError, match=r"size\.warning"):
        database.measure(ADDRESS, thresholds(size={"warning": float("nan")}), 5)


def test_ids_are_unique() -> None:
    ids = [id for probe in database.PROBES for id, _ in probe.checks]
    assert len(ids) == len(set(ids))
