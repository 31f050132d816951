"""What is collected of a real database: tables against the checkpoints of daily runs, settings, roles."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import configuration
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import tables as tables_module
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.checkpoints import Checkpoint, gaps
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import Period, Source
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.packing import Scratch
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.tables import tables
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.audited import audited
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.sql import reading
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import connected
from psycopg2.sql import SQL, Identifier, Literal

from tests.conftest import Sandbox

#: A database, a role, a schema, a table and columns whose names need quoting everywhere.
NAME = 'audit "of" it\'s %s größe'
PASSWORD = "hush %s ' \\ secret"
VALUES = {"name": Identifier(NAME), "password": Literal(PASSWORD)}
TABLE = {"name": "odd", "relation": f"{NAME}.{NAME}", "time": "at %s", "key": 'key "k"'}
COLLECTED = {
    "name": "odd",
    "relation": TABLE["relation"],
    "time": TABLE["time"],
    "order": [TABLE["key"]],
    "empty_ok": False,
}


class Server:
    """A database of the test's own on the sandbox's server, and a role that may only log in and read."""

    def __init__(self, platform: Sandbox) -> None:
        self.postgres = platform.state["postgres"]

    def __call__(self, *statements: str, name: str = NAME) -> None:
        keys = {"host": "host", "port": "port", "user": "superuser", "password": "superuser_password"}
        connection = psycopg2.connect(
            dbname=name, sslmode="disable", **{key: self.postgres[value] for key, value in keys.items()}
        )
        connection.autocommit = True
        try:
            for statement in statements:
                connection.cursor().execute(SQL(statement).format(**VALUES))
        finally:
            connection.close()

    @property
    def address(self) -> dict[str, Any]:
        given = {name: self.postgres[name] for name in ("host", "port")}
        return {**given, "name": NAME, "user": NAME, "password": PASSWORD, "sslmode": "disable"}


@pytest.fixture(scope="module")
def server(platform: Sandbox) -> Iterator[Server]:
    running = Server(platform)
    drop = ("DROP DATABASE IF EXISTS {name} WITH (FORCE)", "DROP ROLE IF EXISTS {name}")
    for statement in (*drop, "CREATE ROLE {name} LOGIN PASSWORD {password}", "CREATE DATABASE {name}"):
        running(statement, name="postgres")
    running(
        "GRANT pg_read_all_settings TO {name}",
        "CREATE SCHEMA {name}",
        'CREATE TABLE {name}.{name} ("at %s" timestamptz, "key ""k""" bigint, "the ""text""" text, secret text)',
        "GRANT USAGE ON SCHEMA {name} TO {name}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {name}",
    )
    yield running
    for statement in drop:
        running(statement, name="postgres")


def checks(server: Server, earlier: list[Check] | None = None, **table: Any) -> list[Check]:
    found = [check.as_dict() for check in earlier or []]
    with reading(server.address, 60) as cursor:
        return list(audited(cursor, [{**TABLE, **table}], lambda id: [each for each in found if each["id"] == id]))


def test_rows_that_go_missing_are_missed_by_the_next_run(server: Server) -> None:
    server(
        "TRUNCATE {name}.{name}",
        "INSERT INTO {name}.{name} SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
        " - d * interval '1 day' + i * interval '1 minute', d * 1000 + i"
        " FROM generate_series(0, 4) d, generate_series(0, 9) i",
    )
    (first,) = checks(server)
    assert (first.id, first.status, first.value) == ("database.audited:odd", "ok", 10)
    days = first.details["days"]
    today = datetime.now(UTC).date()
    assert set(days) == {str(today - timedelta(days=back)) for back in (1, 2, 3)}
    assert {each["rows"] for each in days.values()} == {10}
    assert days[str(today - timedelta(days=1))]["highest"] == "1009"
    assert checks(server, [first])[0].status == "ok"
    # More rows of a past day may still come; fewer, or others in their place, may not.
    server('INSERT INTO {name}.{name} SELECT "at %s", 3500 FROM {name}.{name} WHERE "key ""k""" = 3000')
    (more,) = checks(server, [first])
    assert more.status == "ok"
    server('DELETE FROM {name}.{name} WHERE "key ""k""" IN (2003, 2004)')
    (less,) = checks(server, [first, more])
    assert less.status == "critical"
    assert less.message.endswith(f"are missing: of {today - timedelta(days=2)} 2 rows.")
    server('UPDATE {name}.{name} SET "key ""k""" = 9999 WHERE "key ""k""" = 1009')
    assert f"of {today - timedelta(days=1)} the row with the highest key" in checks(server, [first, more])[0].message


def test_what_cannot_be_counted_is_unknown_or_not_there(server: Server) -> None:
    (first,) = checks(server)
    assert checks(server, relation="public.nothing") == []
    gone = Check("database.audited:odd", "", "ok", 1)
    assert [check.status for check in checks(server, [gone], relation="public.nothing")] == ["unknown"]
    for wrong in ({"time": "no such"}, {"key": "no such"}, {"relation": "without a dot"}):
        assert [check.status for check in checks(server, [first], **wrong)] == ["unknown"], wrong
    server("REVOKE SELECT ON ALL TABLES IN SCHEMA {name} FROM {name}")
    try:
        assert [check.status for check in checks(server)] == ["unknown"]
    finally:
        server("GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {name}")


PERIOD = Period("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")


def collected(server: Server, staging: Path, then: dict[str, list[Checkpoint]]) -> Source:
    options = {"database": server.address, "tables": [COLLECTED]}
    (source,) = tables(options, Scratch(str(staging), 1 << 30), PERIOD, {TABLE["relation"]: then} if then else {})
    return Source.from_dict(source.to_dict())


def test_a_table_of_a_month_against_what_daily_runs_counted(server: Server, tmp_path: Path) -> None:
    """Summer time begins in that month, and its ends are to the microsecond."""
    server(
        "TRUNCATE {name}.{name}",
        "INSERT INTO {name}.{name} VALUES ('2026-02-28 23:59:59.999999Z', 1), ('2026-03-01 00:00:00Z', 2),"
        " ('2026-03-29 02:30:00+01', 3), ('2026-03-29 03:30:00+02', 4),"
        " ('2026-03-31 23:59:59.999999Z', 5), ('2026-04-01 00:00:00Z', 6)",
        'UPDATE {name}.{name} SET "the ""text""" = E\'a,"b"\\nc\' WHERE "key ""k""" = 2',
    )
    source = collected(server, tmp_path, {})
    assert (source.outcome, source.records, source.gaps) == ("complete", 4, [])
    with gzip.open(tmp_path / source.files[0].path, "rt", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row['key "k"'] for row in rows] == ["2", "3", "4", "5"]
    assert rows[0]['the "text"'] == 'a,"b"\nc'
    then = {"2026-03-01": [Checkpoint(1, "2", 7)], "2026-03-29": [Checkpoint(2, "4", 8)]}
    source = collected(server, tmp_path, then)
    assert source.outcome == "complete"
    assert source.counts[0].by.endswith("2 days also by the checkpoints of daily runs")
    then["2026-03-30"] = [Checkpoint(2, "44", 9), Checkpoint(3, "44", 10)]
    then["2026-03-31"] = [Checkpoint(1, "55", 11)]
    source = collected(server, tmp_path, then)
    assert source.outcome == "partial"
    assert [(gap.begin, gap.end) for gap in source.gaps] == [
        ("2026-03-30T00:00:00Z", "2026-03-31T00:00:00Z"),
        ("2026-03-31T00:00:00Z", "2026-04-01T00:00:00Z"),
    ]
    assert source.gaps[0].reason == "3 rows are missing: record 10 of the ledger has 3 of that day, there are 0"
    assert source.gaps[1].reason.startswith("rows were replaced")


def test_rows_that_may_still_come_and_rows_of_no_time(server: Server, tmp_path: Path) -> None:
    server(
        "TRUNCATE {name}.{name}",
        "INSERT INTO {name}.{name} VALUES ('2026-03-01Z', 1), ('infinity', 2), (NULL, 3)",
    )
    assert collected(server, tmp_path, {}).reason.startswith("2 rows have no time in at %s")
    with connected(server.address, statement_timeout=0) as one, connected(server.address, statement_timeout=0) as other:
        begun = one.cursor()
        begun.execute("BEGIN")
        begun.execute("SELECT 1")
        late = Period(PERIOD.begin, "2999-01-01T00:00:00Z")
        reason = tables_module._unsettled(other.cursor(), late)
        assert reason == "a transaction of before the period's end is open: what it commits is not here"
        assert tables_module._unsettled(other.cursor(), PERIOD) == ""


def test_days_that_are_only_partly_of_the_period_prove_nothing() -> None:
    period = Period("2026-03-01T12:00:00Z", "2026-03-03T12:00:00Z")
    then = {day: [Checkpoint(5, None, 1)] for day in ("2026-03-01", "2026-03-02", "2026-03-03")}
    found, proven = gaps({"2026-03-02": (4, None)}, then, period)
    assert ([gap.begin for gap in found], proven) == (["2026-03-02T00:00:00Z"], 1)


def test_settings_and_roles(server: Server, tmp_path: Path) -> None:
    def sources() -> dict[str, Source]:
        found = configuration.sources({"database": server.address}, Scratch(str(tmp_path), 1 << 30))
        return {each.name: Source.from_dict(each.to_dict()) for each in found}

    found = sources()
    assert {name: (each.outcome, each.reason) for name, each in found.items()} == {
        "configuration": ("complete", ""),
        "roles": ("complete", ""),
    }
    text = {name: gzip.decompress((tmp_path / each.files[0].path).read_bytes()) for name, each in found.items()}
    rows = [json.loads(line) for line in text["configuration"].splitlines()]
    assert {row["of"] for row in rows} >= {"setting", "database", "extension"}
    assert "max_connections" in {row.get("name") for row in rows}
    assert not any("pg_hba" in query for query in found["configuration"].command)
    assert NAME in {json.loads(line).get("rolname") for line in text["roles"].splitlines()}
    for secret in (PASSWORD.encode(), b"SCRAM-SHA-256", b"rolpassword"):
        assert secret not in text["roles"]
    server("REVOKE pg_read_all_settings FROM {name}")
    try:
        assert "is left out" in sources()["configuration"].reason
    finally:
        server("GRANT pg_read_all_settings TO {name}")
    nobody = {"database": {**server.address, "port": 1}}
    assert {each.outcome for each in configuration.sources(nobody, Scratch(str(tmp_path), 1 << 30))} == {"failed"}


def test_a_time_without_a_zone_needs_one(server: Server, tmp_path: Path) -> None:
    """Summer time begins in that month: its begin is of winter time, its end of summer time."""
    server(
        "DROP TABLE IF EXISTS {name}.local",
        "CREATE TABLE {name}.local (at timestamp, on_day date, n int)",
        "INSERT INTO {name}.local SELECT at::timestamp, at::date, n FROM (VALUES ('2026-03-01 00:59:59', 1),"
        " ('2026-03-01 01:00:00', 2), ('2026-04-01 01:59:59', 3), ('2026-04-01 02:00:00', 4)) v (at, n)",
        "GRANT SELECT ON {name}.local TO {name}",
    )

    def collect(period: Period = PERIOD, **table: Any) -> Source:
        given = {**COLLECTED, "relation": f"{NAME}.local", "time": "at", "order": ["n"], "timezone": "", **table}
        options = {"database": server.address, "tables": [given]}
        (source,) = tables(options, Scratch(str(tmp_path), 1 << 30), period, {})
        return Source.from_dict(source.to_dict())

    def numbers(source: Source) -> list[str]:
        with gzip.open(tmp_path / source.files[0].path, "rt", newline="", encoding="utf-8") as stream:
            return [row["n"] for row in csv.DictReader(stream)]

    for column in ("at", "on_day"):
        source = collect(time=column)
        assert (source.outcome, source.files) == ("failed", []), column
        assert f"{column} has no time zone" in source.reason
    assert numbers(collect(timezone="Europe/Berlin")) == ["2", "3"]
    assert numbers(collect(timezone="UTC")) == ["1", "2"]
    assert collect(timezone="Europe/Berlin").outcome == "complete"
    assert "is no time zone" in collect(timezone="Mars/Olympus").reason
    # An end that such a time tells twice.
    source = collect(Period("2025-10-26T00:30:00Z", PERIOD.end), timezone="Europe/Berlin")
    assert source.outcome == "partial"
    assert "2025-10-26T00:30:00Z is an hour that Europe/Berlin has twice" in source.reason


def test_a_database_that_is_down_and_a_disk_that_is_full(server: Server, tmp_path: Path) -> None:
    """Each table says why, and leaves nothing half written; another one goes on."""
    server(
        "TRUNCATE {name}.{name}",
        "INSERT INTO {name}.{name} SELECT '2026-03-02Z', n, md5(n::text), md5((-n)::text)"
        " FROM generate_series(1, 60000) n",
    )
    small = {**COLLECTED, "name": "few", "order": []}
    down: dict[str, Any] = {"database": {**server.address, "port": 1}, "tables": [COLLECTED, small]}
    for source in tables(down, Scratch(str(tmp_path), 1 << 30), PERIOD, {}):
        assert (source.outcome, source.files) == ("failed", [])
        assert "Cannot connect" in source.reason
    options = {"database": server.address, "tables": [COLLECTED, {**small, "relation": f"{NAME}.few", "time": ""}]}
    server(
        "DROP TABLE IF EXISTS {name}.few",
        "CREATE TABLE {name}.few AS SELECT 1 AS n",
        "GRANT SELECT ON {name}.few TO {name}",
    )
    scratch = Scratch(str(tmp_path), 1_500_000)
    full, few = (Source.from_dict(each.to_dict()) for each in tables(options, scratch, PERIOD, {}))
    assert (full.outcome, full.files) == ("failed", [])
    assert "more than the" in full.reason
    assert "COPY" not in full.reason
    assert (few.outcome, few.reason, few.records) == ("complete", "", 1)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["few.csv.gz"]
