"""What the tests of migrations share: a database of their own, an alembic project, and the module's options."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.findings import findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted

from tests import forked, times
from tests.conftest import Sandbox

ENV = """
import os
from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

print("env.py prints what is no answer")
if context.is_offline_mode():
    context.configure(url="postgresql://", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(os.environ["URL"], poolclass=NullPool).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
FIRST = """
op.create_table("user", sa.Column("id", sa.Integer, primary_key=True), sa.Column("Name ü", sa.Text))
op.execute('INSERT INTO "user" SELECT i, i FROM generate_series(1, 100) i')
op.create_table('odd "table', sa.Column("id", sa.Integer, primary_key=True))
op.execute('INSERT INTO "odd ""table" VALUES (1)')
"""
POINT = {"id": "20261129T170152Z-8b9bdd", "key": "k", "sha256": "0" * 64, "created_at": "2026-11-29T17:01:52Z"}


class Project:
    """A database and an alembic project of the test's own.

    :ivar database: the option "database", as the owner of the tables
    :ivar python: the project's Python: one with alembic at hand, unless a test is of how it starts or dies
    """

    def __init__(self, platform: Sandbox, folder: Path) -> None:
        postgres = platform.state["postgres"]
        self.platform = platform
        self.folder = folder
        self.python = forked.python()
        #: A place for servers that run as somebody else, who may not enter pytest's folders.
        self.scratch = Path(tempfile.mkdtemp(prefix="migration-", dir="/var/tmp"))
        self.scratch.chmod(0o711)
        self.name = f'migrated "é" {secrets.token_hex(3)}'
        self.database = {
            **platform.database,
            "name": self.name,
            "user": postgres["superuser"],
            "password": postgres["superuser_password"],
        }
        (folder / "alembic/versions").mkdir(parents=True)
        (folder / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/alembic\n")
        (folder / "alembic/env.py").write_text(ENV)

    def revision(self, name: str, upgrade: str, down: str | None, downgrade: str = "pass") -> None:
        """Writes a revision with these lines as its upgrade, and as its downgrade."""
        (self.folder / f"alembic/versions/{name}.py").write_text(
            f'"""Revision {name}"""\nimport os\nimport sqlalchemy as sa\nfrom alembic import op\n'
            f"revision = {name!r}\ndown_revision = {down!r}\n\n\ndef upgrade():\n"
            + textwrap.indent(textwrap.dedent(upgrade), "    ")
            + "\n\n\ndef downgrade():\n"
            + textwrap.indent(textwrap.dedent(downgrade), "    ")
            + "\n"
        )

    def options(self, **others: Any) -> dict[str, Any]:
        """The module's options."""
        return {
            "storage": {},
            "environment_name": "local",
            "database": self.database,
            "project": {
                "config": str(self.folder / "alembic.ini"),
                "section": "alembic",
                "directory": None,
                "python": others.pop("python", self.python),
                "environment": {"URL": "postgresql+psycopg2://{database_address}", **others.pop("variables", {})},
            },
            "target": "head",
            "expected_digest": None,
            "recovery_point_age": 3600,
            "lock_wait": 0,
            "lock_timeout": 0.5,
            "blocker_wait": 0.0,
            "statement_timeout": 120.0,
            "concurrent_deadline": 120.0,
            "attempts": 10,
            "retry_pause": 0.1,
            "digests": "full",
            "jobs": 2,
            **others,
        }

    @contextmanager
    def session(self) -> Iterator[Any]:
        """A cursor in a transaction of its own, rolled back at the end."""
        connection = psycopg2.connect(
            host=self.database["host"],
            port=self.database["port"],
            dbname=self.name,
            user=self.database["user"],
            password=self.database["password"],
            application_name="somebody",
        )
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def run_sql(self, statement: str) -> list[Any]:
        """Carries a statement out, and gives its rows."""
        with self.session() as cursor:
            cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
            cursor.connection.commit()
            return list(rows)

    def at(self) -> list[str]:
        """The revisions that the database says it is at."""
        return sorted(row[0] for row in self.run_sql("SELECT version_num FROM alembic_version"))


def verified(project: Project, **others: Any) -> dict[str, Any]:
    """The options where the catalogue is compared, with a server for that."""
    postgres = project.platform.state["postgres"]
    return project.options(
        verify="full",
        **{"pg_bin_dir": postgres["bin_dir"], "run_as": postgres["run_as"], "accepted": [], **others},
        scratch_directory=str(project.scratch),
    )


def migrated(options: dict[str, Any]) -> tuple[dict[str, Check], dict[str, Any]]:
    """Carries a migration out: its checks by id, and the result."""
    result = engine.run(options, Progress())
    checks, _actions, _summary = findings(result, None, "2026-11-29T17:00:00Z")
    return {check.id: check for check in checks}, result


def until(true: Callable[[], object]) -> None:
    """Waits for something."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def project(platform: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """An empty database and a project with two revisions; a recovery point is taken for granted."""
    made = Project(platform, tmp_path)
    monkeypatch.setattr(engine, "recovery_point", lambda options, database: dict(POINT))
    made.revision("a1", FIRST, None)
    made.revision("b2", 'op.add_column("user", sa.Column("order", sa.Integer))', "a1")
    admin = platform.connect("superuser", "postgres")
    admin.autocommit = True
    try:
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {quoted(made.name)}")
            try:
                yield made
            finally:
                cursor.execute(f"DROP DATABASE {quoted(made.name)} WITH (FORCE)")
    finally:
        admin.close()
        shutil.rmtree(made.scratch)
        times.add(forked.spent())
