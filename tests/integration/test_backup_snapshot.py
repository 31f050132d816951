"""What a backup sees while others change the schema, and what it does with tables that no query can read."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import dump, engine, options, standby
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import (
    instance,
    measuring,
    snapshot,
    table_locks,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import connected, quoted
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import DatabaseError

from tests.conftest import Sandbox, left_out
from tests.integration import test_backup
from tests.integration.test_backup import Make, connect, run_sql

backup_options, database, scratch = test_backup.backup_options, test_backup.database, test_backup.scratch

FILLS = "CREATE TABLE fills AS SELECT i AS id, i::numeric AS price FROM generate_series(1, 500) i"
#: What is not MVCC-safe: a snapshot older than its commit sees the table empty. VACUUM FULL and CLUSTER are.
REWRITES = {
    "type": "ALTER TABLE fills ALTER price TYPE float8",
    "reload": "CREATE TEMP TABLE aside AS TABLE fills; TRUNCATE fills; INSERT INTO fills TABLE aside",
    "access": "ALTER TABLE fills SET UNLOGGED",
}


def rows(result: dict[str, Any]) -> dict[str, int]:
    return {table["name"]: table["rows"] for table in result["recovery_point"]["database"]["tables"]}


@contextmanager
def committing(database: dict[str, Any], text: str) -> Iterator[None]:
    """A transaction that is open when the context begins, and commits as soon as somebody waits for it."""
    session = connect(database)
    session.autocommit = False
    session.cursor().execute(text)
    done = threading.Event()

    def commit() -> None:
        watching = connect(database)
        try:
            with watching.cursor() as cursor:
                while not done.wait(0.05):
                    cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
                    if cursor.fetchone():
                        break
            # It is waited for by whoever wants the lock; a while, so that nothing depends on the first attempt.
            time.sleep(1)
            session.commit()
        finally:
            watching.close()

    thread = threading.Thread(target=commit)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        session.close()


@pytest.mark.parametrize("name", REWRITES)
def test_rewrite_after_the_snapshot_waits(
    backup_options: Make, database: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    chosen = backup_options(database=database(FILLS))
    real: Callable[..., None] = dump.dump_globals
    waited = []

    def meanwhile(*arguments: Any) -> None:
        real(*arguments)
        try:
            run_sql(chosen["database"], f"SET lock_timeout = '2s'; {REWRITES[name]}")
        except psycopg2.errors.LockNotAvailable:
            waited.append(name)

    monkeypatch.setattr(engine, "dump_globals", meanwhile)
    result = engine.create(chosen, Progress())
    assert result["verification"]["ok"], result["verification"]["problems"]
    assert rows(result) == {"fills": 500}
    assert waited == [name]


@pytest.mark.parametrize("name", ["type", "reload", "access"])
def test_rewrite_under_way_is_waited_for(backup_options: Make, database: Make, name: str) -> None:
    chosen = backup_options(database=database(FILLS))
    with committing(chosen["database"], REWRITES[name]):
        result = engine.create(chosen, Progress())
    assert result["verification"]["ok"], result["verification"]["problems"]
    assert rows(result) == {"fills": 500}


def test_table_that_is_being_dropped(backup_options: Make, database: Make) -> None:
    chosen = backup_options(database=database(FILLS + "; CREATE TABLE old AS TABLE fills"))
    with committing(chosen["database"], "DROP TABLE old"):
        result = engine.create(chosen, Progress())
    assert result["verification"]["ok"], result["verification"]["problems"]
    assert rows(result) == {"fills": 500}


def test_locks_are_given_up_after_a_while_and_new_tables_are_noticed(database: Make) -> None:
    place = database(FILLS + "; CREATE TABLE parts (i int) PARTITION BY LIST (i); CREATE VIEW v AS TABLE fills")
    migration = connect(place)
    migration.autocommit = False
    migration.cursor().execute("ALTER TABLE fills ADD note text")
    with connected(place) as connection, connection.cursor() as cursor:
        cursor.execute(snapshot.SETTINGS)
        with pytest.raises(DatabaseError, match=r"locked within 0 s: .*lock timeout"):
            table_locks.begin(cursor, snapshot.MODE, seconds=0)
        migration.rollback()
        table_locks.begin(cursor, "READ ONLY")
        assert table_locks.missing(cursor) == []
        run_sql(place, "CREATE TABLE made (i int); CREATE TEMP TABLE t (i int)")
        assert table_locks.missing(cursor) == ["public.made"]
        cursor.execute("ROLLBACK")
    with snapshot.locked(place) as taken:
        assert taken.unlocked() == []
    migration.close()


UNFINDABLE = """
CREATE FUNCTION inner_of(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i + 1';
CREATE FUNCTION outer_of(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i + 1';
CREATE TABLE orders AS SELECT i, E'a\\nb' AS note FROM generate_series(1, 40) i;
CREATE INDEX ON orders (outer_of(i));
CREATE OR REPLACE FUNCTION outer_of(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT inner_of(i)';
"""


def test_table_that_no_query_can_read_is_dumped_and_named(backup_options: Make, database: Make) -> None:
    chosen = backup_options(database=database(FILLS + ";" + UNFINDABLE))
    result = engine.create(chosen, Progress())
    assert result["verification"]["ok"], result["verification"]["problems"]
    tables = {table["name"]: table for table in result["recovery_point"]["database"]["tables"]}
    # As for pg_dump, nothing is planned for a COPY: it tells the rows, and no digest.
    assert (tables["orders"]["rows"], tables["orders"]["digest"]) == (40, None)
    assert "inner_of" in tables["orders"]["unmeasured"]
    assert "unmeasured" not in tables["fills"]
    assert tables["fills"]["digest"]
    check = next(each for each in options.findings(result, "2026-01-01T00:00:00Z")[0] if each.id == "backup.contents")
    assert check.status == "unknown"
    assert "public.orders" in check.message
    assert "public.fills" not in check.message


def test_unreadable_is_unknown_and_damaged_is_an_error(database: Make) -> None:
    place = database(
        FILLS + "; CREATE FUNCTION fail(state text) RETURNS bigint LANGUAGE plpgsql AS"
        " $$BEGIN RAISE 'bad' USING ERRCODE = state; END$$"
    )
    with snapshot.locked(place) as taken:
        (fills,) = taken.tables()
    with connected(place) as connection, connection.cursor() as cursor:
        cursor.execute(f"BEGIN {snapshot.MODE}")
        failing = {**fills, "expression": "public.fail('22003')"}
        found = measuring.measured(connection, failing, True)
        assert (found["rows"], found["digest"], found["algorithm"], found["unmeasured"][:3]) == (500, None, None, "bad")
        gone = measuring.measured(connection, {**fills, "name": "gone"}, True)
        assert (gone["rows"], gone["digest"]) == (None, None)
        assert "does not exist" in gone["unmeasured"]
        for state in ("XX001", "58030", "57014"):
            with pytest.raises(DatabaseError, match=r"public\.fills could not be read: bad"):
                measuring.measured(connection, {**fills, "expression": f"public.fail('{state}')"}, True)
            cursor.execute("ROLLBACK; BEGIN")


def test_tables_of_extensions_and_in_their_schemas(backup_options: Make, database: Make) -> None:
    """pg_dump writes the rows of both; an extension's own rows come with the extension."""
    place = database(
        FILLS + "; CREATE EXTENSION amcheck; CREATE SCHEMA parts; ALTER EXTENSION amcheck ADD SCHEMA parts;"
        "CREATE TABLE parts.orders_p1 AS SELECT i FROM generate_series(1, 30) i;"
        "CREATE TABLE parts.config AS SELECT i, i > 10 AS ours FROM generate_series(1, 25) i;"
        "CREATE TABLE parts.internal AS SELECT 1 AS i;"
        "ALTER EXTENSION amcheck ADD TABLE parts.config; ALTER EXTENSION amcheck ADD TABLE parts.internal;"
        "UPDATE pg_extension SET extconfig = ARRAY['parts.config'::regclass::oid], extcondition = ARRAY['WHERE ours']"
        " WHERE extname = 'amcheck'"
    )
    result = engine.create(backup_options(database=place), Progress())
    assert result["verification"]["ok"], result["verification"]["problems"]
    assert rows(result) == {"fills": 500, "orders_p1": 30, "config": 15}


def test_settings_of_role_and_database_do_not_matter(backup_options: Make, database: Make) -> None:
    place = database(
        FILLS + "; CREATE SCHEMA evil; CREATE FUNCTION evil.count(anyelement) RETURNS bigint LANGUAGE sql"
        " AS 'SELECT 0::bigint'"
    )
    admin = {**place, "name": "postgres"}
    for setting in (
        "search_path = evil, pg_catalog, public",
        "transaction_timeout = '1s'",
        "statement_timeout = '1s'",
        "default_transaction_isolation = 'serializable'",
        "idle_in_transaction_session_timeout = '1s'",
    ):
        run_sql(admin, f"ALTER DATABASE {quoted(place['name'])} SET {setting}")
    chosen = backup_options(database=place)
    result = engine.create(chosen, Progress())
    assert result["verification"]["ok"], result["verification"]["problems"]
    assert rows(result) == {"fills": 500}
    with snapshot.locked(place) as taken:
        time.sleep(2)
        assert taken.value("SELECT count(*) FROM public.fills") == 500


@pytest.fixture
def place() -> Iterator[Path]:
    """Where a server of another user can be."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("major", ["older", "newest"])
def test_a_standby_says_how_old_its_data_are(backup_options: Make, platform: Sandbox, place: Path, major: str) -> None:
    programs = [str(path.parent) for path in sorted(Path("/usr/lib/postgresql").glob("1[0-7]/bin/postgres"))[-1:]]
    if major == "older" and not programs:
        left_out("no server of PostgreSQL below 18 in /usr/lib/postgresql: apt-get install postgresql")
    directory = programs[0] if major == "older" else platform.state["postgres"]["bin_dir"]
    user, settings = instance.account(None), {"wal_level": "replica", "hot_standby": "on"}
    paths = {name: f"{directory}/{name}" for name in ("initdb", "postgres")}
    with instance.Instance(place, paths, user, settings) as server:
        server.start(lambda: None)
        run_sql(server.database("postgres"), f"{FILLS}; CREATE UNLOGGED TABLE t AS TABLE fills; CHECKPOINT")
        server.stop(signal.SIGINT)
        (place / "data/standby.signal").touch()
        server._spawn({})
        assert server._ready(lambda: None), server.last_words()
        chosen = backup_options(database=server.database("postgres"), pg_bin_dir=directory)
        result = engine.create(chosen, Progress())
        assert result["verification"]["ok"], result["verification"]["problems"]
        # There are no rows of an unlogged table on a standby, and none in its dump.
        assert rows(result) == {"fills": 500}
        assert result["notes"]["standby"]["receiving"] is None
        (check,) = standby.findings(result["notes"]["standby"], "")
        assert check.status == "unknown"
        run_sql(server.database("postgres"), "SELECT pg_wal_replay_pause()")
        with snapshot.locked(server.database("postgres")) as taken:
            (check,) = standby.findings(standby.state(taken), "")
        assert (check.status, check.value) == ("critical", None)


CAST = """
CREATE TYPE pair AS (a int, b text); CREATE DOMAIN paired AS pair;
CREATE FUNCTION shown(pair) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it ran'; END $$;
CREATE CAST (pair AS text) WITH FUNCTION shown(pair);
CREATE TABLE p1 (i int, p pair); INSERT INTO p1 VALUES (1, '(1,x)'), (2, NULL), (3, '(,)'), (4, '(,"")');
CREATE TABLE p2 AS SELECT i, p::paired FROM p1; CREATE TABLE p3 AS SELECT i, CASE i WHEN 3 THEN NULL ELSE p END FROM p1;
CREATE TABLE p4 AS SELECT i, CASE i WHEN 1 THEN '(1,y)' ELSE p END AS p FROM p1;
"""


def test_no_cast_of_others_runs_for_a_digest_or_hides_a_difference(database: Make) -> None:
    place = database(CAST)
    with snapshot.opened(place) as taken:
        results = measuring.Measuring(taken, taken.tables(), digests=True, sessions=1).results()
    found = {each["name"]: each for each in results}
    assert [found[name]["rows"] for name in ("p1", "p2", "p3", "p4")] == [4] * 4
    assert found["p1"]["digest"] == found["p2"]["digest"]
    assert len({found[name]["digest"] for name in ("p1", "p3", "p4")}) == 3
    assert not any("unmeasured" in each for each in found.values())
