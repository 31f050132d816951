"""Rehearsals of a migration on a copy: what is measured, the load that it stops, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import rehearsal, rehearsed
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres.instance import Copy
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.integration import migration_fixtures
from tests.integration.migration_fixtures import Project
from tests.integration.restore_fixtures import bad

project = migration_fixtures.project

IDENTITY = {"name": "production", "system_identifier": "7"}


class Scratch:
    """A server that holds the copy. The test's project has a database that may be thrown away: it will do."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def database(self, name: str) -> dict[str, Any]:
        assert name == self._project.name
        return {**self._project.database, "statement_timeout": 0}

    def set_password(self, role: str, variable: str) -> None:
        assert (role, variable) == (self._project.database["user"], "migration_database.user")


def at_a1(project: Project) -> None:
    """The database as the first revision leaves it, without starting alembic for that."""
    project.run_sql('CREATE TABLE "user" (id integer PRIMARY KEY); INSERT INTO "user" SELECT generate_series(1, 100)')
    project.run_sql("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('a1')")


def rehearse(project: Project, **others: Any) -> tuple[dict[str, Check], dict[str, Any], dict[str, Any]]:
    """A rehearsal of what is pending: its checks, what came of it, and what the ledger keeps."""
    options = {
        **project.options(lock_timeout=600.0),
        "user": project.database["user"],
        "load_sessions": 4,
        "load_statements": [],
        **others,
    }
    for name in ("database", "storage", "environment_name", "expected_digest"):
        del options[name]
    point = {"id": "point", "database": IDENTITY}
    copy = Copy(Scratch(project), project.name, point, "ok")  # type: ignore[arg-type]
    result = rehearsal.rehearse(options, copy, Progress())
    checks, _actions, kept = rehearsed.findings(result, "", options, "2026-11-29T17:00:00Z")
    return {check.id: check for check in checks}, result, kept or {}


def test_what_a_revision_locks_and_stops(project: Project) -> None:
    at_a1(project)
    project.run_sql("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
    project.run_sql(
        'CREATE SERVER "far \'é" FOREIGN DATA WRAPPER postgres_fdw; CREATE USER MAPPING FOR PUBLIC SERVER "far \'é"'
    )
    project.revision(
        "b2",
        """
        op.execute('ALTER TABLE "user" ALTER COLUMN id TYPE bigint')
        op.execute('SELECT pg_sleep(1)')
        """,
        "a1",
        'op.alter_column("user", "id", type_=sa.Integer)',
    )
    joined = 'SELECT count(*) FROM "user" a JOIN "user" b USING (id) WHERE \'%\' <> $$x$$'
    checks, result, kept = rehearse(project, load_statements=[joined, "DELETE FROM nothing"])
    assert set(bad(checks)) == {"migration.foreign_servers"}
    assert project.run_sql('SELECT count(*) FROM "user"') == [(100,)]
    assert 'relation "nothing" does not exist' in "".join(result["load"]["errors"])
    assert project.run_sql("SELECT count(*) FROM pg_user_mappings") == [(0,)]
    assert project.at() == ["b2"]
    assert result["undone"] is True

    blocked = checks["migration.load_blocked"]
    assert result["load"]["done"] > 0
    stopped = {each["on"] for each in result["load"]["blocked"]}
    assert stopped
    assert stopped <= {"public.user", joined}
    assert result["load"]["blocked_seconds"] > 0.5
    assert 0 < blocked.value < blocked.warning == 600

    (revision,) = kept["revisions"]
    assert kept["database"] == IDENTITY
    assert revision["locks"][0]["mode"] == "AccessExclusiveLock"
    assert revision["locks"][0]["on"] == "public.user"
    assert revision["locks"][0]["seconds"] > 1
    assert revision["rewritten_bytes"] > 0 < revision["wal_bytes"]
    (altered,) = [row for row in result["timeline"] if row["sql"].startswith("ALTER")]
    made = {each["on"]: each["new"] for each in altered["rewritten"]}
    # The table and the index of its key are written anew; nothing else is.
    assert made == {"public.user": False, "public.user_pkey": False}
    assert (revision["downgrade"]["error"], revision["again_seconds"] > 1) == (None, True)
    assert revision["digest"] == result["pending"][0]["digest"]


@pytest.mark.parametrize(
    ("downgrade", "words"),
    [
        ("raise RuntimeError('no way back')", "RuntimeError: no way back"),
        ("pass", 'The upgrade after it failed: Revision b2 failed: column "order" of relation "user" already exists'),
        ('op.execute(\'ALTER TABLE "user" RENAME COLUMN "order" TO kept\')', 'column public."user".kept'),
    ],
    ids=["raises", "does nothing", "does something else"],
)
def test_a_downgrade_that_is_none(project: Project, downgrade: str, words: str) -> None:
    at_a1(project)
    project.revision("b2", 'op.add_column("user", sa.Column("order", sa.Integer))', "a1", downgrade)
    checks, result, kept = rehearse(project, load_sessions=2)
    assert set(bad(checks)) == {"migration.downgrade"}
    assert words in checks["migration.downgrade"].message
    assert result["undone"] is not True
    assert bool(result["left"]) is ("raise" not in downgrade)
    assert kept["worst_status"] == "warning"


def test_a_revision_that_fails(project: Project) -> None:
    at_a1(project)
    project.revision("b2", "op.execute('SELECT 1/0')", "a1")
    checks, result, kept = rehearse(project, load_sessions=0)
    assert {id: check.status for id, check in checks.items() if check.status != "ok"} == {
        "migration.rehearsal": "critical",
        "migration.load_blocked": "unknown",
    }
    assert "division by zero" in checks["migration.rehearsal"].message
    assert [row["ended"] for row in result["timeline"] if row["sql"] == "SELECT 1/0"] == ["failed"]
    assert (kept["worst_status"], kept["revisions"][0]["done"]) == ("critical", False)
