"""Areas database and trading on a real PostgreSQL."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import database, sql, trading
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from psycopg2.sql import SQL, Identifier, Literal

from tests.conftest import Sandbox

#: A database and a role whose names need quoting everywhere.
NAME = 'checks "of" it\'s %s größe'
PASSWORD = "hush %s ' \\ secret"
VALUES = {"role": Identifier(NAME), "name": Identifier(NAME), "password": Literal(PASSWORD)}


def measure(area: Any, address: dict[str, Any], timeout: int = 10, **limits: Any) -> dict[str, Check]:
    """An area's checks by id."""
    spec = {database: database.CHECKS_SPEC, trading: getattr(trading, "TRADING_SPEC", {})}[area]
    result = ArgumentSpecValidator(spec).validate({"database": address, "timeout": timeout, "thresholds": limits})
    assert not result.error_messages
    options = result.validated_parameters
    checks = area.measure(options["database"], options["thresholds"], options["timeout"])
    checks = checks[0] if area is database else checks
    found = {check.id: check for check in checks}
    assert len(found) == len(checks), "two checks with one id"
    json.dumps([check.as_dict() for check in checks])
    return found


class Server:
    """A database of the test's own on the sandbox's server, as its superuser, and a role that may only log in."""

    def __init__(self, platform: Sandbox) -> None:
        self.postgres = platform.state["postgres"]

    def connect(self, name: str) -> Any:
        keys = {"host": "host", "port": "port", "user": "superuser", "password": "superuser_password"}
        connection = psycopg2.connect(
            dbname=name, sslmode="disable", **{key: self.postgres[value] for key, value in keys.items()}
        )
        connection.autocommit = True
        return connection

    def __call__(self, *statements: str, name: str = NAME) -> None:
        connection = self.connect(name)
        try:
            for statement in statements:
                connection.cursor().execute(SQL(statement).format(**VALUES))
        finally:
            connection.close()

    def rows(self, statement: str) -> list[Any]:
        connection = self.connect(NAME)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    @property
    def address(self) -> dict[str, Any]:
        return {
            "host": self.postgres["host"],
            "port": self.postgres["port"],
            "name": NAME,
            "user": NAME,
            "password": PASSWORD,
            "sslmode": "disable",
        }


VIEWS = (
    "CREATE TABLE s (strategy text, expected_state text, observed_state text, heartbeat_interval_seconds numeric,"
    " last_heartbeat_at timestamptz, calendar text)",
    "CREATE TABLE h (instance text, beat_at timestamptz, interval_seconds int)",
    "CREATE SCHEMA maintenance",
    "CREATE VIEW maintenance.strategies AS SELECT * FROM s",
    "CREATE VIEW maintenance.heartbeat AS SELECT * FROM h",
    "GRANT USAGE ON SCHEMA maintenance TO {role}",
    "GRANT SELECT ON ALL TABLES IN SCHEMA maintenance TO {role}",
    "INSERT INTO s VALUES ('momentum %s', 'running', 'running', 10, clock_timestamp(), '24/7')",
    "INSERT INTO h VALUES ('app-1', clock_timestamp(), 30)",
)


@pytest.fixture
def server(platform: Sandbox) -> Iterator[Server]:
    running = Server(platform)
    drop = ("DROP DATABASE IF EXISTS {name} WITH (FORCE)", "DROP ROLE IF EXISTS {role}")
    for statement in (*drop, "CREATE ROLE {role} LOGIN PASSWORD {password}", "CREATE DATABASE {name}"):
        running(statement, name="postgres")
    running("CREATE EXTENSION pg_stat_statements")
    yield running
    for statement in drop:
        running(statement, name="postgres")


def test_healthy_platform_is_green(platform: Sandbox) -> None:
    found = measure(database, platform.database) | measure(trading, platform.database)
    assert {check.id: check.message for check in found.values() if check.status != "ok"} == {}
    assert len([id for id in found if id.startswith("trading.strategy_heartbeat:")]) >= 10


def test_sessions_cannot_write(platform: Sandbox) -> None:
    with sql.reading(platform.database, 5) as cursor, pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        cursor.execute("CREATE TABLE public.x ()")


def assert_down(address: dict[str, Any], because: str) -> None:
    found = measure(database, address)
    assert found["database.answers"].status == "critical"
    assert because in found["database.answers"].message
    assert found["database.answers"].remedy
    probed = {id for probe in database.PROBES for id, _ in probe.checks} | {"database.clock_skew"}
    assert found.keys() == {*probed, "database.answers", "database.latency"}
    assert {check.status for id, check in found.items() if id != "database.answers"} == {"unknown"}
    traded = measure(trading, address)
    assert traded.keys() == {id for probe in trading.PROBES for id, _ in probe.checks}
    assert {check.status for check in traded.values()} == {"unknown"}
    assert PASSWORD not in str(found) + str(traded)
    assert "hush" not in str(found) + str(traded)


def test_wrong_password(server: Server) -> None:
    assert_down({**server.address, "password": "hush, another"}, "password authentication failed")


def test_database_that_is_not_there(server: Server) -> None:
    assert_down({**server.address, "name": 'no "such" %s ü'}, "does not exist")


def test_server_that_is_down(server: Server) -> None:
    # A port on which nothing listens: the highest that is never handed out.
    assert_down({**server.address, "port": 1}, "refused")


def test_names_that_need_quoting(server: Server) -> None:
    found = measure(database, server.address)
    assert found["database.answers"].status == "ok"
    assert NAME in found["database.answers"].message


def test_role_without_rights_gets_unknown_only_where_it_may_not_look(server: Server) -> None:
    # The sandbox's app holds sessions of another role, which this one may not see.
    found = measure(database, server.address)
    hidden = {"database.longest_transaction", "database.connections", "database.slow_statements"}
    hidden |= {"database.archive_waiting", "database.archive_age"}
    assert {id for id, check in found.items() if check.status == "unknown"} == hidden
    assert all("pg_monitor" in found[id].remedy for id in hidden)
    server("GRANT pg_monitor TO {role}")
    assert {check.status for check in measure(database, server.address).values()} == {"ok"}


def eventually(found: Callable[[], dict[str, Check]], id: str, status: str) -> Check:
    """The check once it has this status, at most 20 s later."""
    end = time.monotonic() + 300
    while True:
        check = found()[id]
        if check.status == status or time.monotonic() > end:
            assert check.status == status
            return check
        time.sleep(0.2)


@contextmanager
def blocked(server: Server) -> Iterator[int]:
    """A session that waits for a lock, and another whose process id is given and that holds it."""
    holder, waiter = (
        server.connect(NAME),
        psycopg2.connect(
            host=server.postgres["host"],
            port=server.postgres["port"],
            dbname=NAME,
            user=server.postgres["superuser"],
            password=server.postgres["superuser_password"],
            sslmode="disable",
            options="-c lock_timeout=30000",
        ),
    )
    holder.autocommit = False
    holder.cursor().execute("LOCK TABLE s")

    def wait() -> None:
        waiter.cursor().execute("SELECT * FROM s")

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield holder.info.backend_pid
    finally:
        holder.close()
        thread.join()
        waiter.close()


def test_blocked_session_and_long_transaction(server: Server) -> None:
    server(*VIEWS, "GRANT pg_monitor TO {role}")
    with blocked(server) as pid:

        def found() -> dict[str, Check]:
            return measure(database, server.address, longest_transaction={"critical": 1})

        check = eventually(found, "database.blocked_sessions", "warning")
        assert check.details["blockers"] == [pid]
        oldest = eventually(found, "database.longest_transaction", "critical")
        assert oldest.details["pid"] == pid
    assert measure(database, server.address)["database.blocked_sessions"].status == "ok"


def test_replication_slot_that_nobody_reads(server: Server) -> None:
    server("SELECT pg_create_physical_replication_slot('checks_idle', true)", name="postgres")
    try:
        check = measure(database, server.address, replication_slots={"critical": 0})["database.replication_slots"]
        assert check.status == "critical"
        assert "checks_idle" in check.details["inactive"]
    finally:
        server("SELECT pg_drop_replication_slot('checks_idle')", name="postgres")


def test_prepared_transaction_holds_a_lock(server: Server) -> None:
    (most,) = (row[0] for row in server.rows("SHOW max_prepared_transactions"))
    if most == "0":
        with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState):
            server("BEGIN; CREATE TABLE p (); PREPARE TRANSACTION 'x'")
        assert measure(database, server.address)["database.prepared_transactions"].value == 0
        return
    server("BEGIN; CREATE TABLE p (); PREPARE TRANSACTION 'orphan'")
    try:
        check = measure(database, server.address, prepared_transactions={"critical": 0})[
            "database.prepared_transactions"
        ]
        assert (check.status, "orphan" in check.message) == ("critical", True)
    finally:
        server("ROLLBACK PREPARED 'orphan'")


def test_limits_of_a_role_and_a_database(server: Server) -> None:
    server("GRANT pg_monitor TO {role}", "ALTER ROLE {role} CONNECTION LIMIT 1")
    check = measure(database, server.address)["database.connections"]
    assert (check.status, check.value) == ("critical", 100.0)
    assert "the role checks" in check.message
    server("ALTER ROLE {role} CONNECTION LIMIT -1", "ALTER DATABASE {name} CONNECTION LIMIT 1")
    check = measure(database, server.address)["database.connections"]
    assert (check.status, "the database checks" in check.message) == ("critical", True)
    server("ALTER DATABASE {name} CONNECTION LIMIT 0")


def test_writes_that_are_refused_by_default(server: Server) -> None:
    def found() -> Check:
        return measure(database, server.address)["database.writable"]

    assert found().status == "ok"
    server("ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert found().status == "critical"
    server("SET default_transaction_read_only = off", "ALTER DATABASE {name} RESET default_transaction_read_only")
    server("ALTER ROLE {role} SET default_transaction_read_only = on")
    assert (found().status, found().remedy.startswith("Take it from the maintenance role")) == ("unknown", True)
    server("CREATE TABLE owned ()", "ALTER TABLE owned OWNER TO {role}")
    assert found().status == "warning"


def test_sequence_without_an_owner_fills_an_integer(server: Server) -> None:
    server(
        "CREATE SEQUENCE big AS bigint START 2000000000",
        "CREATE TABLE t (id integer DEFAULT nextval('big'))",
        "INSERT INTO t DEFAULT VALUES",
        "GRANT SELECT, USAGE ON SEQUENCE big TO {role}",
    )
    check = measure(database, server.address)["database.sequences"]
    assert (check.status, check.value) == ("critical", 93.1)


def test_invalid_index(server: Server) -> None:
    server("CREATE TABLE t AS SELECT 1 AS a FROM generate_series(1, 2)")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        server('CREATE UNIQUE INDEX CONCURRENTLY "broken %s ü" ON t (a)')
    check = measure(database, server.address)["database.invalid_indexes"]
    assert (check.status, check.details["indexes"]) == ("warning", ["public.broken %s ü"])


def test_table_that_autovacuum_leaves_behind(server: Server) -> None:
    server(
        "CREATE TABLE t (a int) WITH (autovacuum_enabled = off)",
        "INSERT INTO t SELECT generate_series(1, 20000)",
        "DELETE FROM t",
    )

    def found() -> dict[str, Check]:
        return measure(database, server.address)

    check = eventually(found, "database.autovacuum_behind", "warning")
    assert check.details["dead_rows"] == {"public.t": 20000}
    server("VACUUM t")
    eventually(found, "database.autovacuum_behind", "ok")


def test_statement_that_runs_into_the_timeout_is_unknown(server: Server) -> None:
    probe = sql.Probe((("x.y", "Y"),), "s", "SELECT pg_sleep(20)", lambda rows, limits: iter(()))
    with sql.reading(server.address, 1) as cursor:
        (check,) = sql.ask(cursor, probe, {}, "")
        assert (check.status, "timeout" in check.message) == ("unknown", True)
        # The session goes on.
        cursor.execute("SELECT 1")


def test_connection_lost_on_the_way_leaves_what_was_measured(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    suicide = sql.Probe(
        (("database.lost", "Lost"),),
        "s",
        "SELECT pg_terminate_backend(pg_backend_pid())",
        lambda rows, limits: iter(()),
    )
    ages = [probe for probe in database.PROBES if probe.checks[0][0] == "database.xid_age"]
    monkeypatch.setattr(database, "PROBES", (*ages, suicide, *database.PROBES[:2]))
    found = measure(database, server.address)
    assert found["database.answers"].status == "critical"
    assert found["database.xid_age"].status == found["database.latency"].status == "ok"
    assert {found[id].status for id in ("database.lost", "database.connections")} == {"unknown"}


ALL = {"trading.strategies", "trading.strategy_heartbeat", "trading.strategy_state"}


def test_trading_on_views_of_another_platform(server: Server) -> None:
    server(*VIEWS)
    found = measure(trading, server.address)
    # What else the contract promises is not there, and leaves these alone.
    lacking = {check.id: check.message for check in found.values() if check.status != "ok"}
    assert "no column max_order_gap_seconds" in lacking["trading.orders_due"]
    for name in ("disabled_limits", "unlimited_strategies"):
        assert "no column account" in lacking[f"trading.{name}"]
    views = {id: text for id, text in lacking.items() if "there is no view maintenance." in text}
    assert len(lacking) == len(views) + 3
    assert {check.status for check in found.values()} == {"ok", "unknown"}
    names = "strategies strategy_heartbeat strategy_state platform_heartbeat duplicates:strategies duplicates:heartbeat"
    alive = tuple(f"trading.{name}" for name in names.split())
    assert {id for id in found if id.startswith(alive)} == found.keys() - lacking.keys()
    assert found["trading.strategies"].value == 1
    assert found["trading.strategy_heartbeat:momentum %s"].value < 10


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("DROP SCHEMA maintenance CASCADE", "no view maintenance.strategies"),
        ("DROP VIEW maintenance.strategies", "no view maintenance.strategies"),
        ("ALTER VIEW maintenance.strategies RENAME COLUMN expected_state TO x", "no column expected_state"),
        ("REVOKE SELECT ON maintenance.strategies FROM {role}", "may not read"),
        ("REVOKE USAGE ON SCHEMA maintenance FROM {role}", "may not read"),
        (
            "DROP VIEW maintenance.strategies; ALTER TABLE s ALTER last_heartbeat_at TYPE timestamp;"
            " CREATE VIEW maintenance.strategies AS SELECT * FROM s;"
            " GRANT SELECT ON maintenance.strategies TO {role}",
            "timestamp without time zone",
        ),
        (
            "CREATE OR REPLACE VIEW maintenance.strategies AS SELECT strategy, expected_state, observed_state,"
            " heartbeat_interval_seconds / 0 AS heartbeat_interval_seconds, last_heartbeat_at, calendar FROM s",
            "division by zero",
        ),
        ("DELETE FROM s", "no strategy is defined"),
    ],
)
def test_contract_that_is_not_kept_is_unknown_and_says_what_to_define(server: Server, change: str, text: str) -> None:
    server(*VIEWS)
    server(change)
    found = measure(trading, server.address)
    assert {id for id, check in found.items() if check.status != "ok"} >= ALL
    assert {found[id].status for id in ALL} == {"unknown"}
    assert all(text in found[id].message and found[id].remedy for id in ALL)
    if "SCHEMA" not in change:
        assert found["trading.platform_heartbeat"].status == "ok"


@pytest.mark.parametrize(
    ("change", "pulse", "state"),
    [
        ("UPDATE s SET last_heartbeat_at = now() - interval '1 h'", "critical", "unknown"),
        ("UPDATE s SET last_heartbeat_at = now() + interval '1 h'", "unknown", "unknown"),
        ("UPDATE s SET last_heartbeat_at = 'infinity'", "unknown", "unknown"),
        ("UPDATE s SET last_heartbeat_at = NULL, observed_state = NULL", "critical", "unknown"),
        ("UPDATE s SET heartbeat_interval_seconds = 'NaN'", "unknown", "unknown"),
        ("UPDATE s SET observed_state = 'halted'", "ok", "critical"),
        ("INSERT INTO s SELECT * FROM s", "unknown", "unknown"),
    ],
)
def test_strategy_in_trouble(server: Server, change: str, pulse: str, state: str) -> None:
    server(*VIEWS, change)
    found = measure(trading, server.address)
    assert found["trading.strategy_heartbeat:momentum %s"].status == pulse
    assert found["trading.strategy_state:momentum %s"].status == state


def test_platform_that_fell_silent(server: Server) -> None:
    server(*VIEWS, "UPDATE h SET beat_at = now() - interval '1 h'")
    found = measure(trading, server.address)
    assert found["trading.platform_heartbeat"].status == "critical"
    assert found["trading.strategy_heartbeat:momentum %s"].status == "ok"


def test_runner_whose_clock_is_wrong_sees_it_and_judges_heartbeats_all_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server(*VIEWS)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    found = measure(database, server.address)
    assert found["database.clock_skew"].status == "critical"
    assert found["database.clock_skew"].value == pytest.approx(3600, abs=5)
    assert measure(trading, server.address)["trading.strategy_heartbeat:momentum %s"].status == "ok"
