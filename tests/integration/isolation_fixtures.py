"""A server with an archive, a base backup, and a tablespace that was made after it: without pgBackRest and a store."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill.restored import Restored, Target
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import instance

from sandbox.postgres import _environment, _identity, install
from sandbox.processes import free_ports, wait_until

BEFORE, LATE = 1000, 40_000


def servers() -> list[str]:
    """Folders of the programs of the distribution's server and the wheel's."""
    return [*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]), "wheel"]


def every(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Each path of a folder with all that a change would show in: nobody can set a ctime."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
        what = (status.st_ino, status.st_mode, status.st_uid, status.st_size)
        found[str(path.relative_to(folder))] = (*what, status.st_mtime_ns, status.st_ctime_ns, content)
    return found


class Source:
    """A server of the test's own, in a folder that lies apart from everything else.

    :ivar late: location of the tablespace that was made after the backup; "early" is older
    """

    def __init__(self, root: Path, programs: Path) -> None:
        self._place(root, programs)
        spaces = root / "base-early"
        # Apart from the rest, as servers share one.
        sockets = root / "s"
        self.port = free_ports(["port"], {})["port"]
        for path in (self.home, self.archive, self.base, spaces, sockets, self.early, self.late):
            path.mkdir(mode=0o700)
            if user := instance.account(None):
                os.chown(path, user.uid, user.gid)
        self.said("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--no-sync", "--locale=C")
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{sockets}'\n"
                "fsync = off\nautovacuum = off\narchive_mode = on\nlogging_collector = on\n"
                f"archive_command = 'test ! -f {self.archive}/%f && cp %p {self.archive}/%f'\n"
                f"log_directory = '{self.home}/log'\nlc_messages = 'C'\nshared_buffers = 16MB\n"
                f"archive_cleanup_command = 'touch {self.home}/cleaned'\n"
                f"recovery_end_command = 'touch {self.home}/ended'\nexternal_pid_file = '{self.home}/pid'\n"
            )
        self._server: subprocess.Popen[bytes] | None = None

    def _place(self, root: Path, programs: Path) -> None:
        self.root = root
        self.programs = programs
        self.home = root / "source"
        self.archive, self.base = root / "archive", root / "base"
        self.data, self.early, self.late = (self.home / name for name in ("data", "early", 'so "late"'))

    @classmethod
    def known(cls, root: Path, programs: Path, lsn: str) -> Source:
        """One that is there and was stopped, for another process."""
        found = cls.__new__(cls)
        found._place(root, programs)
        found.lsn = lsn
        return found

    def said(self, name: str, *arguments: str) -> str:
        """What a program of the server's said."""
        done = subprocess.run(
            [str(self.programs / name), *arguments],
            env=_environment(),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **_identity(),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    def start(self) -> None:
        """Starts it."""
        self._server = self._started(self.data, self.port)

    def _started(self, data: Path, port: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [str(self.programs / "postgres"), "-D", str(data), "-p", str(port)],
            env=_environment(),
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_identity(),
        )
        wait_until(lambda: self.answers(port), "the server", process=process, log_file=self.root / "none")
        return process

    @contextmanager
    def running(self, data: Path) -> Iterator[int]:
        """A server on a copy, as an operator starts it; gives its port."""
        port = free_ports(["port"], {})["port"]
        process = self._started(data, port)
        try:
            yield port
        finally:
            process.terminate()
            process.wait(60)

    def answers(self, port: int) -> bool:
        """Whether a server takes connections."""
        try:
            self.sql("SELECT 1", port=port)
        except psycopg2.OperationalError:
            return False
        return True

    def setting(self, data: Path, name: str) -> str:
        """What a copy's configuration says."""
        return self.said("postgres", "-D", str(data), "-C", name).strip()

    def stop(self) -> None:
        """Stops it in good order."""
        if self._server:
            self._server.terminate()
            self._server.wait(60)
            self._server = None

    def sql(self, *statements: str, port: int | None = None) -> Any:
        """The first value of the last statement."""
        connection = psycopg2.connect(host="127.0.0.1", port=port or self.port, dbname="postgres", user="postgres")
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for each in statements:
                    cursor.execute(each)
                row = cursor.fetchone() if cursor.description else None
                return row[0] if row else None
        finally:
            connection.close()

    def live(self) -> None:
        """A backup, and then what the issue tells of: a tablespace, rows, VACUUM, and more rows."""
        self.sql(
            f"CREATE TABLESPACE early LOCATION '{self.early}'",
            f"CREATE TABLE old TABLESPACE early AS SELECT i FROM generate_series(1, {BEFORE}) i",
        )
        self.said(
            *("pg_basebackup", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-D", str(self.base)),
            *("-X", "none", "--checkpoint=fast", "--no-sync", f"--tablespace-mapping={self.early}={self.base}-early"),
        )
        self.sql(
            f"CREATE TABLESPACE late LOCATION '{self.late}'",
            "CREATE TABLE new (i int, t text) TABLESPACE late",
            f"INSERT INTO new SELECT i, repeat('x', 100) FROM generate_series(1, {LATE // 2}) i",
            f"DELETE FROM new WHERE i > {LATE // 4}",
            "VACUUM new",
            "SELECT pg_switch_wal()",
            f"INSERT INTO new SELECT i, repeat('y', 100) FROM generate_series(1, {LATE * 3 // 4}) i",
        )
        self.lsn = str(self.sql("SELECT pg_create_restore_point('here')::text"))
        self.sql("INSERT INTO old SELECT generate_series(1, 7)", "SELECT pg_switch_wal()", "CHECKPOINT")
        segment = str(self.sql("SELECT pg_walfile_name(pg_switch_wal())"))
        while not (self.archive / segment).exists():
            assert self._server
            assert self._server.poll() is None
            time.sleep(0.1)

    def every(self) -> dict[str, tuple[Any, ...]]:
        """Each path of the source with all that a change would show in."""
        return every(self.home)

    def target(self) -> Target:
        """The restore point that was named after all of it."""
        return Target("here", self.lsn, f'cp {self.archive}/%f "%p"', "postgres")

    def unpacked(self, data: Path, early: Path, user: Any) -> Path:
        """The backup with its tablespace in a place of the test's."""
        shutil.copytree(self.base, data, symlinks=True, dirs_exist_ok=True)
        shutil.copytree(f"{self.base}-early", early, dirs_exist_ok=True)
        (data / "tablespace_map").unlink(missing_ok=True)
        (link,) = (data / "pg_tblspc").iterdir()
        link.unlink()
        link.symlink_to(early)
        for path in (data, early):
            for each in (path, *path.rglob("*")):
                if user:
                    os.chown(each, user.uid, user.gid, follow_symlinks=False)
        return data

    @contextmanager
    def copy(self, user: Any = None) -> Iterator[Restored]:
        """A scratch server on a copy of the backup."""
        folder = Path(tempfile.mkdtemp(prefix="tradingflow-apart-", dir="/var/tmp"))
        folder.chmod(0o711)
        user = user or instance.account(None)
        names = {name: str(self.programs / name) for name in ("postgres", "pg_controldata")}
        try:
            with Restored(folder, names, user, dict(instance.SETTINGS)) as server:
                self.unpacked(server.data, server.tablespaces / "early", user)
                server.take_over()
                yield server
        finally:
            shutil.rmtree(folder)


@pytest.fixture(scope="module", params=servers())
def source(request: pytest.FixtureRequest) -> Iterator[Source]:
    """A source with its archive, which was stopped: whatever changes from now on, somebody else did."""
    root = Path(tempfile.mkdtemp(prefix="tradingflow-source-", dir="/var/tmp"))
    root.chmod(0o755)
    made = None
    try:
        made = Source(root, install(root) if request.param == "wheel" else Path(request.param))
        made.start()
        made.live()
        made.stop()
        # The archive is read by whoever replays it.
        for path in (root / "archive").iterdir():
            path.chmod(0o644)
        (root / "archive").chmod(0o755)
        yield made
    finally:
        if made:
            made.stop()
        shutil.rmtree(root)
