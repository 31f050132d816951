"""What a migration leaves half done outside a transaction: taken away or gone on from, and nobody else's."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from psycopg2.errors import DeadlockDetected

from tests.integration import migration_fixtures
from tests.integration.migration_fixtures import Project, migrated, until
from tests.integration.restore_fixtures import bad
from tests.integration.workers import started_by

project = migration_fixtures.project

OUTSIDE = "with op.get_context().autocommit_block():\n"


def valid(project: Project, name: str) -> list[object]:
    return [
        row[0]
        for row in project.run_sql(
            f"SELECT indisvalid FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relname = '{name}'"
        )
    ]


def test_what_a_failure_leaves_is_dropped_and_what_was_done_is_gone_on_from(project: Project) -> None:
    project.revision(
        "c3",
        OUTSIDE
        + """    op.execute('CREATE INDEX CONCURRENTLY "Good ü" ON "user" (lower("Name ü") DESC) WHERE id <> 7')
    op.execute('ALTER TABLE "user" ADD CONSTRAINT "not (ß)" CHECK (id >= -1 AND "Name ü" <> $$NOT VALID$$) NOT VALID')
    op.execute('CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS twice ON "user" ((id % 10))')
    op.execute('ALTER TABLE "user" VALIDATE CONSTRAINT "not (ß)"')
""",
        "b2",
    )
    checks, result = migrated(project.options())
    assert "could not create unique index" in checks["migration.failed"].message
    assert "migration.invalid_indexes" not in checks
    assert [each["index"] for each in result["dropped_indexes"]] == ["public.twice"]
    assert valid(project, "twice") == []
    # Left by a killed run: the same, invalid. And one of that name on another table is not ours.
    with pytest.raises(Exception, match="could not create unique index"):
        autocommit(project, 'CREATE UNIQUE INDEX CONCURRENTLY twice ON "user" ((id % 10))')
    assert valid(project, "twice") == [False]
    source = project.folder / "alembic/versions/c3.py"
    source.write_text(source.read_text().replace("id % 10", "id % 1000"))
    checks, result = migrated(project.options(attempts=1))
    assert bad(checks) == {}
    assert valid(project, "twice") == valid(project, "Good ü") == [True]
    assert [each["sql"][:24] for each in result["resumed"]] == ["CREATE INDEX CONCURRENTL", 'ALTER TABLE "user" ADD C']
    assert "not validated" in result["resumed"][1]["found"]
    assert project.run_sql("SELECT convalidated FROM pg_constraint WHERE conname = 'not (ß)'") == [(True,)]
    assert project.at() == ["c3"]


def autocommit(project: Project, statement: str) -> None:
    with project.session() as cursor:
        cursor.connection.autocommit = True
        cursor.execute(statement)


def test_what_is_not_the_same_is_not_taken_for_it(project: Project) -> None:
    migrated(project.options(target="b2"))
    project.run_sql('ALTER TABLE "user" ADD CONSTRAINT small CHECK (id < 1000) NOT VALID')
    project.revision(
        "c3",
        OUTSIDE + """    op.execute('ALTER TABLE "user" ADD CONSTRAINT small CHECK (id < 999) NOT VALID')""",
        "b2",
    )
    checks, result = migrated(project.options())
    message = checks["migration.failed"].message
    assert (
        'Another constraint small is on "public"."user": CHECK ((id < 1000)) NOT VALID, not CHECK ((id < 999))'
        in message
    )
    assert result["resumed"] == []
    assert project.at() == ["b2"]


def test_if_not_exists_does_not_succeed_on_somebody_elses_invalid_index(project: Project) -> None:
    migrated(project.options(target="b2"))
    project.run_sql('CREATE SCHEMA other; CREATE TABLE other."user" (id int); INSERT INTO other."user" VALUES (1), (1)')
    with pytest.raises(Exception, match="could not create unique index"):
        autocommit(project, 'CREATE UNIQUE INDEX CONCURRENTLY here ON other."user" (id)')
    project.run_sql('ALTER INDEX other.here RENAME TO e; CREATE INDEX "he""re" ON "odd ""table" (id)')
    project.run_sql('UPDATE pg_index SET indisvalid = false WHERE indexrelid = \'"he""re"\'::regclass')
    # In a transaction or not, and without SQL that is known beforehand.
    project.revision(
        "c3",
        "op.get_bind().execute(sa.text('SELECT 1')).one()\n"
        'op.execute(\'CREATE INDEX IF /* */ NOT EXISTS "he""re" ON "user" (id)\')',
        "b2",
    )
    checks, result = migrated(project.options())
    assert 'The index he"re is invalid, and IF NOT EXISTS would report success' in checks["migration.failed"].message
    assert 'public.he"re' in checks["migration.invalid_indexes"].message
    assert "other.e" in checks["migration.invalid_indexes"].message
    assert (result["dropped_indexes"], project.at()) == ([], ["b2"])


def test_reindex_concurrently_leaves_nothing(project: Project) -> None:
    migrated(project.options(target="b2"))
    project.run_sql('CREATE UNIQUE INDEX "un""ique" ON "odd ""table" ((id / 2))')
    # Somebody's data that the new index cannot have: the index was invalid when it came.
    project.run_sql('UPDATE pg_index SET indisready = false WHERE indexrelid = \'"un""ique"\'::regclass')
    project.run_sql('INSERT INTO "odd ""table" VALUES (2), (3)')
    project.run_sql('UPDATE pg_index SET indisready = true WHERE indexrelid = \'"un""ique"\'::regclass')
    project.revision("c3", OUTSIDE + '    op.execute(\'REINDEX (VERBOSE) TABLE CONCURRENTLY "odd ""table"\')', "b2")
    checks, result = migrated(project.options())
    assert "could not create unique index" in checks["migration.failed"].message
    assert [each["index"] for each in result["dropped_indexes"]] == [
        'public.odd "table_pkey_ccnew',
        'public.un"ique_ccnew',
    ]
    assert "migration.invalid_indexes" not in checks
    # What a killed one left is dropped before the next attempt.
    with pytest.raises(Exception, match="could not create unique index"):
        autocommit(project, 'REINDEX INDEX CONCURRENTLY "un""ique"')
    project.run_sql('DELETE FROM "odd ""table" WHERE id = 3')
    checks, result = migrated(project.options())
    assert bad(checks) == {}
    assert [each["when"] for each in result["dropped_indexes"]] == ["before revision c3"]
    assert valid(project, 'un"ique') == [True]
    assert engine.run(project.options(), Progress())["dropped_indexes"] == []


STEPS = (
    'CREATE INDEX CONCURRENTLY "one ü" ON "user" ("Name ü")',
    'ALTER TABLE "user" ADD CONSTRAINT two CHECK (id > 0) NOT VALID',
    'ALTER TABLE "user" VALIDATE CONSTRAINT two',
    'CREATE UNIQUE INDEX CONCURRENTLY ON "odd ""table" (id)',
)


def test_killed_at_any_statement(project: Project, tmp_path: Path) -> None:
    """Each run is killed a statement later than the one before, and goes on from what that has left."""
    migrated(project.options(target="b2"))
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"

    def write(*steps: str) -> None:
        project.revision("c3", OUTSIDE + "".join(f"    op.execute({step!r})\n" for step in steps), "b2")

    with started_by("migration_worker.py", tmp_path) as start:
        for number in range(1, len(STEPS)):
            write(*STEPS[:number], "SELECT pg_sleep(600)", *STEPS[number:])
            process = start(project.options())
            until(lambda: project.run_sql(sleeping) == [(1,)])
            process.send_signal(signal.SIGKILL)
            process.wait()
            until(lambda: project.run_sql(sleeping) == [(0,)])
    assert project.at() == ["b2"]
    write(*STEPS)
    checks, result = migrated(project.options())
    assert bad(checks) == {}
    assert [each["sql"] for each in result["resumed"]] == list(STEPS[:2])
    assert project.at() == ["c3"]
    assert valid(project, "one ü") == [True]
    assert project.run_sql("SELECT convalidated FROM pg_constraint WHERE conname = 'two'") == [(True,)]
    indexes = 'SELECT count(*), bool_and(indisvalid) FROM pg_index WHERE indrelid = \'"odd ""table"\'::regclass'
    assert project.run_sql(indexes) == [(2, True)]


def test_a_deadlock_and_a_trigger_that_writes_elsewhere(project: Project) -> None:
    migrated(project.options(target="b2"))
    project.run_sql(
        'CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO "odd ""table" VALUES (new.id);'
        ' RETURN new; END$$; CREATE TRIGGER "by the by" AFTER UPDATE ON "user" FOR EACH ROW EXECUTE FUNCTION noted()'
    )
    project.revision("c3", 'op.execute(\'UPDATE "user" SET "order" = 1 WHERE id BETWEEN 2 AND 3\')', "b2")
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
    with project.session() as cursor:
        # It has what the trigger writes to, and soon wants what the revision holds.
        cursor.execute('LOCK TABLE "odd ""table" IN EXCLUSIVE MODE')

        def meet() -> None:
            until(lambda: project.run_sql(waiting) == [(1,)])
            with suppress(DeadlockDetected):
                cursor.execute('UPDATE "user" SET "order" = 2 WHERE id = 2')
            cursor.connection.rollback()

        thread = threading.Thread(target=meet)
        thread.start()
        checks, result = migrated(project.options(lock_timeout=60.0, attempts=10))
        thread.join()
    assert bad(checks) == {}
    assert project.at() == ["c3"]
    assert result["tables"]["touched"] == ['public."odd ""table"', "public.user"]
    assert project.run_sql('SELECT id FROM "odd ""table" ORDER BY id') == [(1,), (2,), (3,)]
