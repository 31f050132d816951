"""Migrations of a small alembic project: well, in others' way, failed, killed and refused."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._gates import windows
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import engine, rows, session
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import filled, placeholders
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    LockedError,
    MigrationError,
)

from tests.integration import migration_fixtures
from tests.integration.migration_fixtures import Project, migrated, until
from tests.integration.restore_fixtures import bad
from tests.integration.workers import started_by

project = migration_fixtures.project


@contextmanager
def released(project: Project, cursor: Any, locktype: str) -> Iterator[None]:
    """Ends a session's transaction once somebody has waited for it twice as long as lock_timeout, or has given up."""
    waiting = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = '{locktype}'"

    def release() -> None:
        until(lambda: project.run_sql(waiting) != [(0,)])
        seen = time.monotonic()
        until(lambda: project.run_sql(waiting) == [(0,)] or time.monotonic() > seen + 1)
        cursor.connection.rollback()

    thread = threading.Thread(target=release)
    thread.start()
    yield
    thread.join()


def test_a_project_from_nothing_and_again(project: Project) -> None:
    project.python = sys.executable
    plan = engine.plan(project.options())
    assert (plan["current"], plan["target"], plan["refusals"]) == ([], ["b2"], [])
    assert 'ALTER TABLE "user" ADD COLUMN "order" INTEGER' in plan["pending"][1]["sql"]
    assert project.run_sql("SELECT count(*) FROM pg_class WHERE relname = 'alembic_version'") == [(0,)]

    checks, result = migrated(project.options(target="a1"))
    assert bad(checks) == {}
    assert project.at() == result["current_after"] == ["a1"]
    assert result["tables"]["made"] == ['public."odd ""table"', "public.user"]

    # The table that is changed, the one that is not, and one that others write to.
    project.run_sql("CREATE TABLE heartbeat (at timestamptz); INSERT INTO heartbeat VALUES (now())")
    real = rows.measure
    counted = []

    def measure(*arguments: object) -> object:
        counted.append(real(*arguments))  # type: ignore[arg-type]
        project.run_sql("INSERT INTO heartbeat VALUES (now())")
        return counted[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "measure", measure)
        checks, result = migrated(project.options(expected_digest=engine.plan(project.options())["digest"]))
    assert bad(checks) == {}
    assert project.at() == ["b2"]
    assert result["tables"]["touched"] == ["public.user"]
    assert result["tables"]["by_others"] == ["public.heartbeat"]
    assert len(result["tables"]["unchanged"]) == 1
    assert result["changed"]
    held = {(each["name"], each["mode"]) for each in result["done"][0]["held"]}
    assert ("user", "AccessExclusiveLock") in held
    (altered,) = [each for each in result["timeline"] if each["sql"].startswith("ALTER TABLE")]
    assert (altered["mode"], altered["ended"], altered["waited"]) == ("AccessExclusiveLock", "done", 0)
    (locked,) = [each for each in result["done"][0]["locks"] if each["on"] == "public.user"]
    assert locked["mode"] == "AccessExclusiveLock"

    checks, result = migrated(project.options())
    assert bad(checks) == {}
    assert (result["pending"], result["changed"]) == ([], False)
    (refusal,) = engine.plan(project.options(expected_digest="0" * 64))["refusals"]
    assert refusal["name"] == "digest"


def test_others_in_the_way_are_named_and_not_ended(project: Project) -> None:
    migrated(project.options(target="a1"))
    with project.session() as cursor:
        cursor.execute('SELECT count(*) FROM "user"')
        checks, result = migrated(project.options(attempts=2))
        assert set(bad(checks)) == {"migration.failed", "migration.revision"}
        message = checks["migration.failed"].message
        assert "lock timeout" in message
        assert f"process {cursor.connection.info.backend_pid} of" in message
        assert "somebody" in message
        assert message.endswith("The database is at a1, where it was.")
        assert [wait["on"] for wait in result["waits"]] == ["public.user"] * 2
        gave_up = [each for each in result["timeline"] if each["ended"] == "failed"]
        assert [(each["attempt"], each["mode"]) for each in gave_up] == [
            (1, "AccessExclusiveLock"),
            (2, "AccessExclusiveLock"),
        ]
        assert all(each["waits"][0]["on"] == "public.user" and each["waited"] > 0 for each in gave_up)
        assert not result["changed"]
        # It is still there, and nobody waits.
        cursor.execute('SELECT count(*) FROM "user"')
        assert cursor.fetchone() == (100,)
        with released(project, cursor, "relation"):
            checks, result = migrated(project.options(attempts=200))
    assert bad(checks) == {}
    assert result["done"][0]["attempts"] > 1
    assert project.at() == ["b2"]


def test_it_waits_for_others_to_end_out_of_the_line(project: Project) -> None:
    """While a long transaction goes on, one short attempt is all that others wait behind."""
    migrated(project.options(target="a1"))
    with project.session() as cursor:
        cursor.execute('SELECT count(*) FROM "user"')
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
        seen: list[float] = []

        def release() -> None:
            until(lambda: project.run_sql(waiting) != [(0,)])
            until(lambda: project.run_sql(waiting) == [(0,)])
            end = time.monotonic() + 4
            while time.monotonic() < end:
                seen.extend([time.monotonic()] if project.run_sql(waiting) != [(0,)] else [])
                time.sleep(0.05)
            cursor.connection.rollback()

        thread = threading.Thread(target=release)
        thread.start()
        checks, result = migrated(project.options(lock_timeout=5.0, blocker_wait=300.0))
        thread.join()
    assert bad(checks) == {}
    assert result["done"][0]["attempts"] == 2
    assert seen == []


def test_the_market_opens_in_between(project: Project) -> None:
    """What has begun ends; nothing else begins; the next run goes on."""
    ends = "2026-12-06T02:00:00+00:00"
    opens = datetime.fromisoformat(ends).timestamp()
    # Closed before the first revision, and open before the second.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows.over, "__defaults__", (iter((opens - 1, opens)).__next__,))
        checks, result = migrated(project.options(window_ends=ends))
    assert set(bad(checks)) == {"migration.failed", "migration.revision"}
    assert f"The window ended at {ends}, before the revision b2" in checks["migration.failed"].message
    assert project.at() == result["current_after"] == ["a1"]
    checks, result = migrated(project.options(window_ends="2126-12-06T02:00:00+00:00"))
    assert bad(checks) == {}
    assert project.at() == ["b2"]
    with pytest.raises(ConfigurationError, match="no time"):
        windows.over("tomorrow")


def test_a_revision_that_fails_leaves_the_one_before(project: Project) -> None:
    # Without a database its SQL is not known: it looks at rows.
    project.revision(
        "c3",
        """
        rows = op.get_bind().execute(sa.text('SELECT count(*) FROM "user"')).scalar_one()
        op.execute(f"CREATE TABLE t{rows} (id int)")
        op.execute("SELECT 1 / 0")
        """,
        "b2",
    )
    plan = engine.plan(project.options())
    assert [entry["digest_of"] for entry in plan["pending"]] == ["sql and source", "sql and source", "source"]
    checks, result = migrated(project.options())
    assert set(bad(checks)) == {"migration.failed", "migration.revision"}
    assert "Revision c3 failed: division by zero" in checks["migration.failed"].message
    assert checks["migration.failed"].message.endswith("The database is at b2.")
    assert checks["migration.failed"].status == "critical"
    assert (project.at(), result["changed"]) == (["b2"], True)
    assert project.run_sql("SELECT to_regclass('t100')") == [(None,)]
    source = project.folder / "alembic/versions/c3.py"
    source.write_text(source.read_text().replace("1 / 0", "1"))
    checks, _ = migrated(project.options())
    assert bad(checks) == {}
    assert project.at() == ["c3"]


def test_one_migrator_at_a_time(project: Project) -> None:
    with project.session() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (session.LOCK_CLASS, session.LOCK_OBJECT))
        cursor.connection.commit()
        assert "somebody" in engine.plan(project.options())["holder"]
        with pytest.raises(LockedError, match=f"process {cursor.connection.info.backend_pid} of .*somebody"):
            engine.run(project.options(), Progress())
    assert project.run_sql("SELECT to_regclass('\"user\"')") == [(None,)]


def test_refusals(project: Project) -> None:
    def refused() -> list[str]:
        return [refusal["name"] for refusal in engine.plan(project.options())["refusals"]]

    project.run_sql("CREATE TABLE somebodys (id int)")
    assert refused() == ["no_revision"]
    checks, result = migrated(project.options())
    assert set(bad(checks)) == {"migration.refused:no_revision"}
    assert not result["changed"]
    project.run_sql("DROP TABLE somebodys")
    project.revision("other", "pass", "a1")
    assert refused() == ["heads"]
    (project.folder / "alembic/versions/other.py").unlink()
    project.run_sql(
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('zz')"
    )
    assert refused() == ["unknown_revision"]
    # Another database than the one that is meant.
    another = placeholders({**project.database, "name": "postgres"})
    address = filled("postgresql+psycopg2://{database_address}", another)
    elsewhere = project.options(variables={"URL": address})
    with pytest.raises(MigrationError, match="connects to another database"):
        engine.plan(elsewhere)
    env = project.folder / "alembic/env.py"
    env.write_text(env.read_text().replace("poolclass=NullPool", 'poolclass=NullPool, isolation_level="AUTOCOMMIT"'))
    with pytest.raises(MigrationError, match="connects in autocommit"):
        engine.plan(project.options())


def test_killed_in_the_middle(project: Project, tmp_path: Path) -> None:
    project.revision("c3", "op.execute('CREATE TABLE half (id int)')\nop.execute('SELECT pg_sleep(600)')", "b2")
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    with started_by("migration_worker.py", tmp_path) as start:
        process = start(project.options(statement_timeout=900.0, python=sys.executable))
        until(lambda: project.run_sql(sleeping) == [(1,)])
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: project.run_sql(sleeping) == [(0,)])
    assert project.at() == ["b2"]
    assert project.run_sql("SELECT to_regclass('half')") == [(None,)]
    source = project.folder / "alembic/versions/c3.py"
    source.write_text(source.read_text().replace("600", "0"))
    checks, result = migrated(project.options())
    assert bad(checks) == {}
    assert [each["revision"] for each in result["done"]] == ["c3"]


def test_concurrently_waits_for_old_snapshots_and_for_no_lock_that_stops_others(project: Project) -> None:
    project.revision(
        "c3",
        """
        with op.get_context().autocommit_block():
            op.create_index("by name", "user", ["Name ü"], postgresql_concurrently=True)
        """,
        "b2",
    )
    migrated(project.options(target="b2"))
    with project.session() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        # Longer than lock_timeout: that does not end it.
        with released(project, cursor, "virtualxid"):
            checks, result = migrated(project.options())
    assert bad(checks) == {}
    (wait,) = result["waits"]
    assert {each["mode"] for each in result["timeline"] if "CONCURRENTLY" in each["sql"]} == {
        "ShareUpdateExclusiveLock"
    }
    assert wait["locktype"] == "virtualxid"
    assert "somebody" in wait["blockers"][0]
    # Outside a transaction, too, what stops others gives up.
    project.revision(
        "d4",
        "with op.get_context().autocommit_block():\n    op.execute('ALTER TABLE \"user\" ADD COLUMN late int')",
        "c3",
    )
    with project.session() as cursor:
        cursor.execute('SELECT count(*) FROM "user"')
        checks, result = migrated(project.options())
        assert "canceling statement due to user request" in checks["migration.failed"].message
        assert "somebody" in checks["migration.failed"].message
    assert project.at() == ["c3"]


def test_killed_in_the_middle_of_concurrently(project: Project, tmp_path: Path) -> None:
    project.revision(
        "c3",
        """
        with op.get_context().autocommit_block():
            op.create_index("late", "user", ["id"], postgresql_concurrently=True)
        """,
        "b2",
    )
    migrated(project.options(target="b2"))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND state = 'active'"
    virtual = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'virtualxid'"
    with project.session() as cursor, started_by("migration_worker.py", tmp_path) as start:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        process = start(project.options(python=sys.executable))
        until(lambda: project.run_sql(virtual) == [(1,)])
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Though the old transaction is still there.
        until(lambda: project.run_sql(waiting) == [(0,)])
    # What is half made is not taken for the index, and does not stay. Somebody else's does.
    project.run_sql('CREATE INDEX theirs ON "odd ""table" (id)')
    project.run_sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'theirs'::regclass")
    assert project.run_sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'late'::regclass") == [(False,)]
    checks, result = migrated(project.options())
    assert set(bad(checks)) == {"migration.invalid_indexes"}
    assert "public.theirs" in checks["migration.invalid_indexes"].message
    assert [each["index"] for each in result["dropped_indexes"]] == ["public.late"]
    assert "public.late" in checks["migration.leftovers"].message
    assert result["changed"]
    assert project.run_sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'late'::regclass") == [(True,)]
    assert project.run_sql("SELECT count(*) FROM pg_class WHERE relname = 'theirs'") == [(1,)]


def test_what_was_committed_is_on_record_whoever_dies(project: Project) -> None:
    migrated(project.options(target="b2"))
    # Our own session, in the middle of a revision that has committed something.
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user"
    others += " AND datname = current_database()"
    project.revision(
        "c3",
        f"""
        op.execute('INSERT INTO "user" VALUES (101)')
        with op.get_context().autocommit_block():
            op.execute("{others} AND pid <> pg_backend_pid()")
            op.execute("SELECT pg_sleep(600)")
        """,
        "b2",
    )
    checks, result = migrated(project.options(lock_wait=60))
    assert checks["migration.failed"].status == "unknown"
    assert "A statement of our own failed" in checks["migration.failed"].message
    assert (result["current_after"], result["changed"], result["done"]) == (["b2"], True, [])
    assert 'INSERT INTO "user" VALUES (101)' in [row["sql"] for row in result["timeline"]]
    # The project's process, after the revision.
    project.revision(
        "c3", 'op.execute("CREATE TABLE c (id int)")\nif not op.get_context().as_sql:\n    open("dies", "w")', "b2"
    )
    env = project.folder / "alembic/env.py"
    env.write_text(env.read_text() + '\nif os.path.exists("dies"):\n    os.remove("dies")\n    os._exit(3)\n')
    checks, result = migrated(project.options(lock_wait=60))
    assert "ended without an answer" in checks["migration.failed"].message
    assert (result["current_after"], result["changed"]) == (["c3"], True)
    assert [each["revision"] for each in result["done"]] == ["c3"]
    assert "CREATE TABLE" in [each["tag"] for each in result["done"][0]["statements"]]
