"""Behind PgBouncer, which lends server connections to one transaction after the other: what checks set holds for them
alone, and what needs a session of its own refuses to begin."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import database as area
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.sql import reading
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import connected
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import DatabaseError

from tests.conftest import Sandbox
from tests.debian import program
from tests.integration.test_backup import connect
from tests.integration.test_checks_on_postgresql import measure
from tests.integration.trading_worker import checked, statuses

SETTINGS = ("transaction_read_only", "search_path", "statement_timeout", "timezone", "row_security")


@contextmanager
def pool(platform: Sandbox, mode: str = "transaction", ignored: str = "extra_float_digits") -> Iterator[dict[str, Any]]:
    """The option "database" by way of a PgBouncer with two server connections, on a socket of its own."""
    binary, environment = program("pgbouncer", "pgbouncer", libraries=True)
    folder = Path(tempfile.mkdtemp(prefix="pool-", dir="/tmp"))
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    address = platform.database
    files = {
        "users": f'"{address["user"]}" "{address["password"]}"\n',
        "ini": f"""
[databases]
{address["name"]} = host={address["host"]} port={address["port"]}
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {folder}
auth_type = plain
auth_file = {folder}/users
pool_mode = {mode}
default_pool_size = 2
ignore_startup_parameters = {ignored}
logfile = {folder}/log
""",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    for path in (folder, *folder.iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid)
        path.chmod(0o700 if path.is_dir() else 0o600)
    process = subprocess.Popen(
        [str(binary), "-q", *(["-u", user.pw_name] if os.geteuid() == 0 else []), str(folder / "ini")],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 120
        while not (folder / ".s.PGSQL.6432").exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield {**address, "host": str(folder), "port": 6432, "sslmode": "disable"}
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def pooled(platform: Sandbox) -> Iterator[dict[str, Any]]:
    with pool(platform, ignored="extra_float_digits, options") as found:
        yield found


def on_each(address: dict[str, Any], statement: str) -> dict[int, list[Any]]:
    """What a statement says on each of the pool's two server connections, by the process behind it."""
    found: dict[int, list[Any]] = {}
    with closing(connect(address)) as first, closing(connect(address)) as second:
        cursors = first.cursor(), second.cursor()
        for cursor in cursors:
            cursor.execute("BEGIN")
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]
            cursor.execute("COMMIT" if statement.startswith("SET") else "SELECT 1")
            cursor.execute(statement)
            found[pid] = [list(row) for row in cursor.fetchall()] if cursor.description else []
            cursor.execute("BEGIN" if statement.startswith("SET") else "SELECT 1")
            cursor.execute("SELECT pg_backend_pid()")
            assert cursor.fetchone()[0] == pid
        for cursor in cursors:
            cursor.execute("COMMIT")
    assert len(found) == 2
    return found


def test_settings_hold_in_the_transaction_that_judges_and_for_nobody_else(pooled: dict[str, Any]) -> None:
    ask = "SELECT pg_backend_pid() AS pid, " + ", ".join(f"current_setting('{name}') AS {name}" for name in SETTINGS)
    ours, before = [], on_each(pooled, ask)
    with reading(pooled, 7) as cursor, closing(connect(pooled)) as other, other.cursor() as busy:
        for _ in range(5):
            # Others take turns on what the pool has left.
            busy.execute("SELECT pg_backend_pid()")
            theirs = busy.fetchone()[0]
            cursor.execute(ask)
            ours.append(dict(cursor.fetchone()))
            assert ours[-1].pop("pid") != theirs
    wanted = ("on", "pg_catalog, pg_temp", "7s", "UTC", "off")
    assert ours == [dict(zip(SETTINGS, wanted, strict=True))] * 5
    assert on_each(pooled, ask) == before


def test_what_others_set_for_a_session_changes_nothing(platform: Sandbox, pooled: dict[str, Any]) -> None:
    direct = statuses(checked(platform.database))
    on_each(pooled, "SET search_path TO public; SET quote_all_identifiers TO on; SET statement_timeout TO 3600000")
    assert statuses(checked(pooled)) == direct
    found = measure(area, pooled)
    assert found["database.answers"].status == "ok"
    assert {id: check.message for id, check in found.items() if check.status == "unknown"} == {
        id: check.message for id, check in measure(area, platform.database).items() if check.status == "unknown"
    }
    assert {rows[0][0] for rows in on_each(pooled, "SHOW search_path").values()} == {"public"}


@pytest.mark.parametrize(
    ("mode", "ignored"),
    [("transaction", "extra_float_digits"), ("transaction", "options"), ("session", "options")],
)
def test_what_needs_a_session_refuses(platform: Sandbox, mode: str, ignored: str) -> None:
    with pool(platform, mode, ignored) as address:
        with pytest.raises(DatabaseError) as caught, connected(address, pinned=True):
            pass
        assert "A connection pool answers" in caught.value.message
        assert "past PgBouncer" in caught.value.remedy
        # Checks need none.
        assert measure(area, address)["database.answers"].status == "ok"


def test_pool_of_single_statements_is_no_answer(platform: Sandbox) -> None:
    with pool(platform, "statement", "options") as address:
        assert {check.status for check in measure(area, address).values()} == {"critical", "unknown"}
        assert {check.status for check in checked(address).values()} == {"unknown"}
