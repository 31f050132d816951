"""What the tests of the restore share: a database and files of their own, backed up, and options to restore them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine as backup
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options as backup_spec
from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation.processes import inside
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.findings import findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted

from tests.conftest import Sandbox
from tests.integration.test_backup import CONTENTS, client, connect, fetch, run_sql
from tests.integration.watched import Watched
from tests.integration.workers import Start, started_by

quoted = quoted

#: Besides the odd contents: keys between tables, a view on one, and a sign of life.
MORE = """
CREATE TABLE accounts (id int PRIMARY KEY, name text);
CREATE TABLE orders (id bigserial PRIMARY KEY, account int NOT NULL REFERENCES accounts, quantity numeric);
INSERT INTO accounts SELECT i, 'account ' || i FROM generate_series(1, 10) i;
INSERT INTO orders (account, quantity) SELECT 1 + i % 10, i FROM generate_series(1, 500) i;
CREATE VIEW large_orders AS SELECT * FROM orders WHERE quantity > 400;
DROP VIEW maintenance.heartbeat;
CREATE VIEW maintenance.heartbeat AS SELECT 'main' AS instance, timestamptz '2026-11-23 12:00:00+00' AS beat_at;
"""


class World:
    """A database and a directory of the test's own, and a backup of both.

    :ivar admin: the option "database" for another database of the server
    :ivar database: for this one
    """

    def __init__(self, platform: Sandbox, folder: Path, place: Path) -> None:
        postgres = platform.state["postgres"]
        self.platform = platform
        self.place = place
        self.environment = f"restored é {secrets.token_hex(3)}"
        self.admin = {
            **platform.database,
            "name": "postgres",
            "user": postgres["superuser"],
            "password": postgres["superuser_password"],
        }
        self.mark = f"r{secrets.token_hex(3)}"
        self.name = f"{self.mark} e's\"t% ü"
        self.database = {**self.admin, "name": self.name}
        self.data = folder / "the data"
        self.data.mkdir()
        (self.data / "a file").write_text("content")
        (self.data / "sub").mkdir(mode=0o750)
        (self.data / "sub" / "other").write_text("more")
        (self.data / "link").symlink_to("a file")
        run_sql(self.admin, f"CREATE DATABASE {quoted(self.name)} TEMPLATE template0")
        run_sql(self.database, CONTENTS + MORE)
        chosen = {
            **{name: spec.get("default") for name, spec in backup_spec.SPEC.items()},
            "environment_name": self.environment,
            "database": self.database,
            "storage": platform.storage,
            "pg_bin_dir": postgres["bin_dir"],
            "data_directory": str(self.data),
            "verify": "none",
            "scratch_directory": str(folder),
        }
        self.backup = chosen
        self.original: dict[str, bytes] = {}
        #: What is closed at the end.
        self.open: list[Any] = []
        self.back_up()

    def back_up(self) -> None:
        """Makes a recovery point, from now on the newest."""
        self.point: dict[str, Any] = backup.create(self.backup, Progress())["recovery_point"]

    def options(self, **changes: Any) -> dict[str, Any]:
        """Options of a restore that is wanted."""
        return {
            **{name: spec.get("default") for name, spec in options.SPEC.items()},
            "environment_name": self.environment,
            "database": self.database,
            "storage": self.platform.storage,
            "pg_bin_dir": self.platform.state["postgres"]["bin_dir"],
            "data_directory": str(self.data),
            "scratch_directory": str(self.place),
            "confirm": f"{self.environment}/{self.name}",
            **changes,
        }

    def spoil(self) -> None:
        """Damages database and files."""
        run_sql(self.database, "DELETE FROM orders; UPDATE accounts SET name = 'wrong'; DROP TABLE twins CASCADE")
        (self.data / "a file").write_text("damaged")

    def value(self, query: str, name: str | None = None) -> Any:
        """One value of a database."""
        connection = connect({**self.admin, "name": name or self.name})
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchone()[0]
        finally:
            connection.close()

    def databases(self) -> list[str]:
        """The databases of the server that are this world's, or in the making."""
        found: str = self.value("SELECT json_agg(datname ORDER BY datname)::text FROM pg_database", "postgres")
        return [name for name in json.loads(found) if name.startswith((self.mark, "tradingflow_restoring"))]

    def whole(self) -> None:
        """Asserts that database and files are as they were backed up."""
        assert self.value("SELECT count(*) FROM orders") == 500
        assert self.value("SELECT name FROM accounts WHERE id = 1") == "account 1"
        assert (self.data / "a file").read_text() == "content"
        assert sorted(path.name for path in self.data.iterdir()) == ["a file", "link", "sub"]

    def beside(self) -> list[str]:
        """What lies beside the data directory."""
        return sorted(path.name for path in self.data.parent.iterdir() if "the data" in path.name)

    def put(self, key: str, body: bytes | None) -> None:
        """Replaces an object in the store, or deletes it; put back at the end."""
        self.original.setdefault(key, fetch(self.backup, key))
        where = {"Bucket": self.platform.storage["bucket"], "Key": key}
        client(self.backup).delete_object(**where) if body is None else client(self.backup).put_object(
            **where, Body=body
        )

    def clean(self) -> None:
        """Puts database, files and store back."""
        for each in self.open:
            each.close()
        for key, body in self.original.items():
            client(self.backup).put_object(Bucket=self.platform.storage["bucket"], Key=key, Body=body)
        for name in self.databases():
            run_sql(self.admin, f"ALTER DATABASE {quoted(name)} IS_TEMPLATE false")
            run_sql(self.admin, f"DROP DATABASE {quoted(name)} WITH (FORCE)")


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A scratch directory."""
    folder = Path(tempfile.mkdtemp(prefix="tradingflow restore ", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def world(platform: Sandbox, tmp_path: Path, place: Path) -> Iterator[World]:
    """A world of the test's own."""
    made = World(platform, tmp_path, place)
    yield made
    made.clean()


def restored(chosen: dict[str, Any]) -> tuple[dict[str, Check], dict[str, Any], dict[str, Any]]:
    """Runs a restore: its checks by id, the whole result, and what the ledger keeps."""
    result = engine.run(chosen, Watched())
    checks, _action, summary = findings(result, chosen, "2026-11-23T00:00:00Z")
    return {check.id: check for check in checks}, result, summary


def remove_cluster(folder: Path) -> None:
    """Ends the server of a cluster that was restored elsewhere, and deletes it."""
    for pid in inside(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGQUIT)
    while inside(folder):
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def bad(checks: dict[str, Check]) -> dict[str, str]:
    """What is not ok, in words."""
    return {id: f"{check.status}: {check.message}" for id, check in checks.items() if check.status != "ok"}


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Start]:
    """Starts a restore in a process and session of its own, which prints its phases, and hangs in one if asked to."""
    with started_by("restore_worker.py", tmp_path) as start:
        yield start


def until(process: subprocess.Popen[str], phase: str) -> None:
    """Waits until a restore tells that it is somewhere."""
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if line.strip() == phase:
            return
    raise AssertionError(f"it ended before {phase}: {said}")
