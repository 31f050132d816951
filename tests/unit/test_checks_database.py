"""What is judged from the rows PostgreSQL gives, without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import database, sql, upkeep
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
    row = {"used": used, "hidden": 0, "max_connections": 100, "reserved": 3, "idle_in_transaction": 0}
    assert judged(database.connections, row).status == status


OPEN = {"pid": 7, "usename": "o'brien %s ü", "state": "active", "seconds": 1000.0, "hidden": 0}


def test_long_transaction() -> None:
    assert judged(database.transactions, OPEN).status == "warning"
    assert judged(database.transactions, {**OPEN, "seconds": 3600.0}).status == "critical"
    nothing = {**dict.fromkeys(OPEN), "hidden": 0}
    assert (judged(database.transactions, nothing).status, judged(database.transactions, nothing).value) == ("ok", 0)


def test_hidden_sessions_make_the_longest_transaction_unknown_unless_a_visible_one_is_critical() -> None:
    with pytest.raises(sql.NotMeasured, match="hidden"):
        judged(database.transactions, {**OPEN, "hidden": 3})
    assert judged(database.transactions, {**OPEN, "hidden": 3, "seconds": 9999.0}).status == "critical"


def test_blocked_sessions_name_who_holds_the_locks() -> None:
    rows = [{"pid": pid, "seconds": 2.5 * pid, "blockers": [99, 98]} for pid in range(1, 6)]
    check = judged(database.blocked, *rows)
    assert (check.status, check.value) == ("critical", 5)
    assert check.details["blockers"] == [98, 99]
    assert judged(database.blocked, rows[0]).status == "warning"
    assert judged(database.blocked).value == 0


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


LAG = {"standby": False, "replicas": 0, "hidden": 0, "seconds": 0.0}


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({}, "ok"),
        ({"replicas": 2, "seconds": 59.0}, "ok"),
        ({"replicas": 2, "seconds": 61.0}, "warning"),
        ({"standby": True, "seconds": 400.0}, "critical"),
        ({"standby": True, "seconds": None}, "unknown"),
        ({"replicas": 2, "seconds": float("nan")}, "unknown"),
    ],
)
def test_replication_lag(row: dict[str, Any], status: str) -> None:
    assert judged(database.lag, {**LAG, **row}).status == status


def test_replicas_that_are_hidden_are_unknown() -> None:
    with pytest.raises(sql.NotMeasured, match="hidden"):
        judged(database.lag, {**LAG, "replicas": 1, "hidden": 1})


@pytest.mark.parametrize(("age", "status"), [(200_000_000, "ok"), (5 * 10**8, "warning"), (10**9, "critical")])
def test_xid_age(age: int, status: str) -> None:
    assert judged(database.ages, {"datname": "x", "age": age}).status == status


@pytest.mark.parametrize(("clock", "status"), [(100.5, "ok"), (105, "warning"), (93, "warning"), (0, "critical")])
def test_clock_skew(clock: float, status: str) -> None:
    assert database.clock_skew(thresholds(), clock, 100, 101).status == status


def test_multixact_age() -> None:
    assert judged(upkeep.multixacts, {"datname": "x", "age": 6 * 10**8}).status == "warning"


def test_tables_that_autovacuum_leaves_behind() -> None:
    rows = [{"schemaname": "s", "relname": f"größe %s {number}", "dead": 99999} for number in range(10)]
    assert judged(upkeep.vacuum).status == "ok"
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
    ],
)
def test_archive(row: dict[str, Any], status: str, value: str) -> None:
    check = judged(upkeep.archive, {**ARCHIVE, **row})
    assert (check.status, check.value) == (status, value)


def test_archive_that_has_never_worked_is_unknown() -> None:
    with pytest.raises(sql.NotMeasured):
        judged(upkeep.archive, {**ARCHIVE, "last_archived_wal": None})


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
