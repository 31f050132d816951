"""Role database_tuning on Debian's PostgreSQL 15, with HypoPG: the oldest server that is looked after."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres.instance import Instance, account
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning import engine, plans
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import left_out

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
HYPOPG = Path("/usr/share/postgresql/15/extension/hypopg.control")

SCHEMA = """
CREATE EXTENSION pgstattuple; CREATE EXTENSION pg_stat_statements;
CREATE SCHEMA "what if"; CREATE EXTENSION hypopg SCHEMA "what if";
CREATE ROLE watcher LOGIN PASSWORD 'watcher'; GRANT pg_monitor, pg_read_all_data TO watcher;
CREATE TABLE fills (id bigint PRIMARY KEY, day date, symbol text, price numeric);
INSERT INTO fills SELECT n, current_date - n % 1000, 's' || n % 500, n FROM generate_series(1, 30000) n;
CREATE TABLE calls (id bigint);
CREATE FUNCTION counted(bigint) RETURNS bigint LANGUAGE plpgsql AS
    'BEGIN INSERT INTO calls VALUES ($1); RETURN $1; END';
CREATE FUNCTION tame(bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE VIEW sly AS SELECT counted(id) AS id FROM fills;
"""
#: No constant in it: before PostgreSQL 16 nobody can plan what is recorded of a statement that has one.
WANTING = "SELECT count(*) FROM fills WHERE day = CURRENT_DATE"


class Server:
    """A database on it."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    def __call__(self, *statements: str) -> list[Any]:
        """The rows of the last statement, as the superuser."""
        one = self.instance
        connection = psycopg2.connect(
            host="127.0.0.1", port=one.port, dbname="postgres", user=one.superuser, password=one.password
        )
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def analyse(self, **more: Any) -> dict[str, Check]:
        """Checks by id, as a role that may only look."""
        database = {**self.instance.database("postgres"), "user": "watcher", "password": "watcher"}
        found = ArgumentSpecValidator(SPEC).validate({"database": database, **more})
        assert not found.error_messages
        return {check.id: check for check in engine.analyse(found.validated_parameters, lambda id: {}).checks}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if not PROGRAMS.is_dir() or not HYPOPG.exists():
        left_out("PostgreSQL 15 and HypoPG are not installed (apt-get install postgresql-15 postgresql-15-hypopg)")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
        folder = Path(scratch)
        folder.chmod(0o711)
        (folder / "server").mkdir(mode=0o711)
        programs = {name: str(PROGRAMS / name) for name in ("initdb", "postgres")}
        settings = {"shared_preload_libraries": "pg_stat_statements", "autovacuum": "off"}
        with Instance(folder / "server", programs, account(None), settings) as instance:
            instance.start(lambda: None)
            made = Server(instance)
            made(SCHEMA, "VACUUM ANALYZE")
            yield made


def test_an_analysis_on_the_oldest_server(server: Server) -> None:
    found = server.analyse(cycle_days=0)
    strange = {id: check.message for id, check in found.items() if "failed" in check.message or "rror" in check.message}
    assert not strange
    for name in ("duplicate_indexes", "invalid_indexes", "table_bloat", "xid_age", "sequences", "statements"):
        assert found[f"tuning.{name}"].status == "ok", found[f"tuning.{name}"].message


def test_a_missing_index_is_tried_by_hypopg(server: Server) -> None:
    server("SELECT pg_stat_statements_reset()", *[WANTING] * 20)
    found = server.analyse()["tuning.missing_indexes"]
    assert found.status == "warning", found.message
    (advice,) = found.details["advice"]
    assert (advice["verdict"], advice["table"]) == ("review", "public.fills")
    assert advice["statement"] == 'CREATE INDEX CONCURRENTLY ON "public"."fills" ("day")'
    evidence = advice["evidence"]
    # What the planner says with the index itself.
    server("CREATE INDEX fills_day ON fills (day)")
    ((told,),) = server(f"EXPLAIN (FORMAT JSON) {WANTING}")
    server("DROP INDEX fills_day")
    assert evidence["cost_with_it"] == pytest.approx(told[0]["Plan"]["Total Cost"], rel=0.2)
    assert evidence["cost_with_it"] < evidence["cost"] / 3


def test_what_hypopg_made_is_gone_however_it_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    real = plans.planned

    def planned(cursor: Any, *args: Any, **more: Any) -> plans.Plan:
        # Hypothetical indexes are of the session, not of the transaction: another's plan would have them.
        cursor.execute('SELECT count(*) AS count FROM "what if".hypopg_list_indexes')
        left.append(cursor.fetchone()["count"])
        if left[-1]:
            cursor.execute("SELECT 1 / 0")
        return real(cursor, *args, **more)

    monkeypatch.setattr(plans, "planned", planned)
    second = "SELECT count(*) FROM fills WHERE symbol = CURRENT_USER"
    server("SELECT pg_stat_statements_reset()", *[WANTING, second] * 20)
    found = server.analyse()["tuning.missing_indexes"]
    assert found.status == "unknown"
    assert {one["reason"] for one in found.details["advice"]} == {"HypoPG could not try it"}
    assert sum(left) == 2


def test_what_nobody_can_plan_there_is_unknown(server: Server) -> None:
    server("SELECT pg_stat_statements_reset()", *["SELECT count(*) FROM fills WHERE day = '2026-01-01'"] * 20)
    found = server.analyse()["tuning.missing_indexes"]
    assert (found.status, found.value) == ("unknown", None)
    assert "PostgreSQL 16" in found.remedy


def test_explain_analyze_of_a_statement_that_only_reads(server: Server) -> None:
    sql = (
        "WITH lately AS (SELECT symbol, price FROM fills WHERE day >= CURRENT_DATE - INTERVAL '30 days') "
        "SELECT symbol, count(*), round(avg(price), 2) FROM lately WHERE price BETWEEN 1 AND 20000 "
        "GROUP BY symbol HAVING count(*) > 0 ORDER BY 2 DESC, symbol LIMIT 7"
    )
    found = server.analyse(queries=[{"name": "lately", "sql": sql, "analyze": True}])["tuning.plan:lately"]
    assert found.status == "warning", found.message
    assert found.details["rows"] == 7
    assert 0 < found.details["seconds"] < 60
    assert found.details["blocks"] > 100
    assert "7 rows in" in found.message
    # Planned alone, nothing was measured.
    found = server.analyse(queries=[{"name": "lately", "sql": sql}])["tuning.plan:lately"]
    assert "seconds" not in found.details


#: What must not be carried out, and a word of why.
REFUSED = {
    "WITH gone AS (DELETE FROM calls RETURNING id) SELECT * FROM gone": "it writes",
    "SELECT * INTO copy FROM calls": "writes into a table of its own",
    "SELECT * FROM fills FOR UPDATE": "locks rows",
    "SELECT counted(id) FROM fills": "public.counted",
    "SELECT fills.id FROM fills WHERE public.tame(id) = 1": "public.tame",
    # One of a row, in the clothes of a column.
    "SELECT fills.whole FROM fills": "public.whole",
    "SELECT (fills).whole FROM fills": "public.whole",
    "SELECT * FROM sly": "is a view",
    "SELECT * FROM far": "no table of this server",
    "SELECT * FROM parted": "no table of this server",
    "SELECT * FROM closed": "has policies",
    "SELECT * FROM moody": "has a type",
    "SELECT id FROM fills WHERE id === 1": "public.===",
    "SELECT 1::mood": "the type mood",
    "SELECT random()": "pg_catalog.random",
    "SELECT pg_sleep(30)": "pg_catalog.pg_sleep",
    "SELECT pg_advisory_lock(1)": "pg_catalog.pg_advisory_lock",
    "SELECT nothing(1)": "which is not there",
    "SELECT count(*) FROM nowhere": "nowhere is not there",
    "SELECT id FROM fills TABLESAMPLE bernoulli (10)": "not known to only read",
    "SELECT id FROM fills WHERE symbol = E'\\x'": "backslash",
    "SELECT id FROM fills WHERE id = $1": "PostgreSQL 16",
    "SELECT 1; SELECT 2": "semicolon",
    "DELETE FROM calls": "it writes",
    "SELECT FROM FROM": "cannot be read",
}
OWN = """
CREATE FUNCTION whole(fills) RETURNS bigint LANGUAGE sql AS 'INSERT INTO calls VALUES ($1.id) RETURNING id';
CREATE FUNCTION beside(bigint, text) RETURNS boolean LANGUAGE sql AS 'SELECT counted($1) IS NULL';
CREATE FUNCTION alike(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT counted($1) IS NULL';
CREATE FUNCTION spelled(bigint) RETURNS text LANGUAGE sql AS 'SELECT ''s'' || counted($1)';
CREATE OPERATOR === (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = alike);
CREATE DOMAIN mood AS int CHECK (counted(VALUE) IS NOT NULL);
CREATE TABLE moody (id mood);
CREATE TABLE closed (id int); ALTER TABLE closed ENABLE ROW LEVEL SECURITY;
CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far;
CREATE FOREIGN TABLE far (id int) SERVER far;
CREATE TABLE parted (id int) PARTITION BY LIST (id);
CREATE FOREIGN TABLE parted_1 PARTITION OF parted FOR VALUES IN (1) SERVER far;
"""
IMPLIED = "CREATE OPERATOR = (LEFTARG = bigint, RIGHTARG = text, FUNCTION = beside)"
CAST = "CREATE CAST (bigint AS text) WITH FUNCTION spelled (bigint) AS IMPLICIT"


def test_what_is_not_proven_to_only_read_is_not_carried_out(server: Server) -> None:
    server(OWN)
    asked: list[dict[str, Any]] = [
        {"name": str(number), "sql": sql, "analyze": True} for number, sql in enumerate(REFUSED)
    ]
    ids = [f"tuning.plan:{one['name']}" for one in asked]

    found = server.analyse(queries=asked)
    assert {found[id].status for id in ids} == {"unknown"}
    told = {one["sql"]: found[id].message for id, one in zip(ids, asked, strict=True)}
    assert not {sql: text for sql, text in told.items() if REFUSED[sql] not in text}
    # What compares, sorts or casts is not always written.
    for own, word in ((IMPLIED, "public.="), (CAST, "cast")):
        server(own)
        plain = {"name": "plain", "sql": "SELECT count(*) FROM fills ORDER BY 1", "analyze": True}
        assert word in server.analyse(queries=[plain])["tuning.plan:plain"].message
        server("DROP OPERATOR = (bigint, text)" if word != "cast" else "DROP CAST (bigint AS text)")
    assert server("SELECT count(*) FROM calls") == [(0,)]
    assert server("SELECT to_regclass('copy')") == [(None,)]
