# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A scratch server on a restored data directory: it replays WAL up to a restore point, and on to its end.

Roles and passwords are the source's. While it replays, it is reached by a socket in a folder that only the server's
user (and root) may enter; afterwards on loopback too, where only roles with a password of ours are let in.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from .._isolation import walls
from .._postgres import readers
from .._postgres.cluster import version_in
from .._postgres.copies import still
from .._postgres.instance import Account, Instance, environment, failed, free_port
from .._postgres.logins import allow_all, reads_all
from .._postgres.replay import HIGHER
from .._postgres.server import be_quiet
from .._work.programs import child_setup
from ..database import connected, quoted
from ..errors import ConfigurationError, DatabaseError, MaintenanceError, RestoreError
from ..words import printable
from .apart import apart

#: Why a role cannot be connected as, other than that the server is not ready yet.
_NOT_SO = re.compile(r'role ".*" (does not exist|is not permitted)|permission denied|too many connections')
#: Why a database cannot be asked, now or ever: it was closed or dropped, or is not made yet.
_CLOSED = re.compile(r'database ".*" (does not exist|is not currently accepting)|cannot connect to invalid database')
#: Where it is asked then.
_OTHERS = ("postgres", "template1")
#: What recovery requires to be at least the primary's, as pg_controldata calls it.
_AT_LEAST = {
    "max_connections": "max_connections",
    "max_worker_processes": "max_worker_processes",
    "max_wal_senders": "max_wal_senders",
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}
#: Seconds between two looks at how far it is, each of which is a connection.
_LOOK = 0.1
_REMEDY = "Read the message; an extension that has to be loaded belongs in restore_drill_settings."
_STATE = """
SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END,
       pg_last_wal_replay_lsn()::text"""


class Target(NamedTuple):
    """A restore point, and how WAL comes from the archive.

    :param fetch: what PostgreSQL runs for a segment (restore_command)
    :param database: a database to connect to
    """

    name: str
    lsn: str
    fetch: str
    database: str


def position(lsn: str) -> int:
    """A place in the WAL as a number."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


class Restored(Instance):
    """A server on a data directory that is filled before it starts.

    :param data: for the restored files, and tablespaces for those of tablespaces; both empty
    :param replayed: the place in the WAL up to which it has come, as a number
    """

    def __init__(
        self, folder: Path, programs: Dict[str, str], user: Optional[Account], settings: Dict[str, Any]
    ) -> None:
        super().__init__(folder, programs, user, settings)
        self.data = folder / "data"
        self.tablespaces = folder / "tablespaces"
        self.replayed = 0
        self.control: Dict[str, str] = {}
        self._at_least: Dict[str, int] = {}
        self._own, self._superuser_of_source, self._reader = self.superuser, "", ""
        self._by_socket = True
        self._let_in: List[str] = []
        self._closed: List[str] = []
        self._handle = -1
        #: Paths of the source that it must not be able to write.
        self.guarded: List[str] = []

    def __enter__(self) -> Restored:
        for name in ("data", "tablespaces", "server", "root"):
            self.private(name)
        # A socket's path is limited to some 100 bytes, and this folder's is longer than that.
        self._handle = os.open(self.folder / "server", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name, text in (("postgresql.conf", ""), ("pg_ident.conf", ""), ("pg_hba.conf", self._rules())):
            self._write(name, text)
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        os.close(self._handle)

    def _launched(self, arguments: List[str], log: Any) -> subprocess.Popen[bytes]:
        return self._apart.start(arguments, str(self.data), log, environment(), signal.SIGQUIT)

    def _rules(self) -> str:
        # Nobody else gets through the folder to the socket; on loopback the source's own passwords open nothing.
        names = ",".join('"' + name.replace('"', '""') + '"' for name in self._let_in)
        return "local all all trust\n" + (f"host all {names} 127.0.0.1/32 scram-sha-256\n" if names else "")

    def _write(self, name: str, text: str) -> None:
        path = self.folder / "server" / name
        with suppress(FileNotFoundError):
            path.unlink()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            if self._user:
                os.fchown(handle, self._user.uid, self._user.gid)
            file.write(text)

    def database(self, name: str) -> Dict[str, Any]:
        """See Instance.database; before open by the socket, as a superuser of the source."""
        chosen = super().database(name)
        if self._by_socket:
            chosen.update(host=f"/proc/self/fd/{self._handle}", user=self._superuser_of_source, password=None)
        return chosen

    def take_over(self) -> None:
        """Puts our own configuration in the place of the restored one, which knows another machine.

        :raises RestoreError: the control file cannot be read
        """
        # In the source's: archive_command, recovery_end_command, synchronous_standby_names and such.
        for name in ("postgresql.auto.conf", "standby.signal", "recovery.signal"):
            with suppress(FileNotFoundError):
                (self.data / name).unlink()
        handle = os.open(self.data / "recovery.signal", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if self._user:
            os.fchown(handle, self._user.uid, self._user.gid)
        os.close(handle)
        try:
            done = subprocess.run(
                [self._programs["pg_controldata"], "-D", str(self.data)],
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=False,
                preexec_fn=child_setup(0),
                **self._identity(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise RestoreError(f"pg_controldata did not run: {error}", "Check restore_drill_pg_bin_dir.") from None
        text = done.stdout.decode("utf-8", "replace")
        self.control = dict(re.findall(r"^([^:\n]+):\s+(.*)$", text, re.MULTILINE))
        if done.returncode or "Bytes per WAL segment" not in self.control:
            said = printable(" ".join(done.stderr.decode("utf-8", "replace").split()), 300)
            raise RestoreError(f"The restored control file cannot be read: {said}", "Restore another recovery point.")
        for name, setting in _AT_LEAST.items():
            self._at_least[setting] = int(self.control[f"{name} setting"])

    def replay_to(self, target: Target, candidates: List[str], tick: Callable[[], None]) -> None:
        """Starts, and replays up to the restore point, where it stands still: read-only, and exactly there.

        :param candidates: roles of the source by one of which it may be reached
        :raises RestoreError: it does not get there
        """
        goal = position(target.lsn)
        self.home = target.database
        settings = {
            "hot_standby": "on",
            "listen_addresses": "",
            "recovery_target_action": "pause",
            "recovery_target_name": target.name,
            # The one that the backup was made on: a later one may have begun before the restore point.
            "recovery_target_timeline": "current",
            "restore_command": target.fetch,
        }
        self._apart = apart(self.folder, self._user, self.guarded, self.control.get("Database system identifier"))
        self._begin(settings)
        while True:
            tick()
            self._check(settings)
            state = self._state(candidates)
            if state == "paused" and self.replayed >= goal:
                break
            time.sleep(_LOOK)
        if self.replayed != goal:
            raise RestoreError(
                f"Replay stopped elsewhere than at the restore point {target.name}, which is at {target.lsn}.",
                "Do not rely on this recovery point: another restore point has its name. Make another backup.",
            )

    def replay_on(self, target: Target, tick: Callable[[], None]) -> None:
        """From there on replays all that the archive has.

        :raises RestoreError: it does not get there
        """
        # With what it has in memory on the disk: it goes on where it stood.
        self.stop(signal.SIGINT)
        settings = {"hot_standby": "on", "recovery_target_timeline": "latest", "restore_command": target.fetch}
        self._begin(settings)
        while not re.search(r"LOG: +redo (done at|is not required)", self.log()):
            tick()
            self._check(settings)
            self._state([self._superuser_of_source])
            time.sleep(_LOOK)

    def open(self, tick: Callable[[], None]) -> None:
        """Waits until it is promoted, and lets a superuser of our own in on loopback.

        :raises RestoreError: it ended instead
        """
        while self._state([self._superuser_of_source]) != "promoted":
            tick()
            if not self.running():
                raise self.ended()
            time.sleep(0.05)
        with connected(self.database(self.home), pinned=True) as connection, connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            cursor.execute(f"CREATE ROLE {quoted(self._own)} SUPERUSER")
            self._reader = f"{self._own}_r"
            cursor.execute(f"CREATE ROLE {quoted(self._reader)} BYPASSRLS")
            if reads_all(connection):
                cursor.execute(f"GRANT pg_read_all_data TO {quoted(self._reader)}")
        self.set_password(self._reader)
        self.set_password(self._own)
        self._by_socket = False
        deadline = time.monotonic() + 20
        while True:
            tick()
            try:
                with connected(self.database(self.home)):
                    return
            except DatabaseError:
                # The rules are read a moment after the signal.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def reader(self, name: str, sessions: int) -> Optional[Dict[str, Any]]:
        """The option "database" for one of its databases as who may only read; None when only a superuser could."""
        database = self.database(name)
        if self._by_socket:
            return readers.reader(database, sessions)
        chosen = {**database, "user": self._reader}
        try:
            with connected(database, pinned=True) as connection, connection.cursor() as cursor:
                cursor.execute("SET default_transaction_read_only = off")
                be_quiet(connection)
                cursor.execute(f"GRANT CONNECT ON DATABASE {quoted(name)} TO {quoted(self._reader)}")
                if not reads_all(connection):
                    allow_all(cursor, self._reader)
            with connected(chosen):
                return chosen
        except (DatabaseError, RestoreError):
            return None

    def set_password(self, role: str, variable: str = "restore_drill_application.user") -> None:
        """Gives a role of the source our password, and lets it in on loopback, a moment later."""
        super().set_password(role, variable)
        self._let_in.append(role)
        self._write("pg_hba.conf", self._rules())
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        """What the server said since it started, its end."""
        with suppress(OSError), open(self._log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - (1 << 20)))
            return file.read().decode("utf-8", "replace")
        return ""

    def ended(self) -> MaintenanceError:
        """Why the server ended."""
        said = re.findall(r"(?:FATAL|PANIC): .*(?:\n.*(?:DETAIL|HINT): .*)*", self.log())
        text = " ".join(" ".join(said).split())[-600:] or self.last_words()
        return failed(f"The restored server ended: {printable(text, 600)}", _REMEDY)

    def _begin(self, settings: Dict[str, Any]) -> None:
        self.port = free_port()
        server = self.folder / "server"
        ours = {
            "config_file": server / "postgresql.conf",
            "hba_file": server / "pg_hba.conf",
            "ident_file": server / "pg_ident.conf",
            # Relative to the data directory.
            "unix_socket_directories": "../server",
            "wal_level": "replica",
            **walls.WORDS,
            **still(version_in(str(self.data)) or 0),
        }
        for name, value in self._at_least.items():
            wanted = str(self._settings.get(name, ""))
            ours[name] = str(max(value, int(wanted) if wanted.isdigit() else 0))
        self._spawn({**ours, **settings})

    def _check(self, settings: Dict[str, Any]) -> None:
        """Starts again where that helps.

        With higher settings where the primary's were raised, on another port when ours was taken, and with a directory
        of ours for a tablespace that was made after the backup.

        :raises RestoreError: the server ended of something else
        """
        log = self.log()
        higher = {name: int(value) for name, value in HIGHER.findall(log) if int(value) > self._at_least.get(name, 0)}
        if higher:
            self._at_least.update(higher)
        elif self.running():
            return
        elif "could not create any TCP/IP sockets" not in log and not self._apart.learn(log):
            raise self.ended()
        self.stop(signal.SIGINT)
        self._begin(settings)

    def _state(self, candidates: List[str]) -> str:
        """promoted, paused, "not paused" ..., or nothing when it takes no connections yet."""
        if not self._superuser_of_source:
            self._superuser_of_source = self._superuser(candidates)
        if self._superuser_of_source:
            try:
                with connected(self.database(self.home), pinned=True) as connection, connection.cursor() as cursor:
                    cursor.execute(_STATE)
                    recovering, state, lsn = cursor.fetchone()
            except DatabaseError as error:
                self._asked_elsewhere(error)
                return ""
            self.replayed = position(lsn) if lsn else self.replayed
            return str(state) if recovering else "promoted"
        return ""

    def _asked_elsewhere(self, error: DatabaseError) -> bool:
        """Asks another database from now on, where this one lets nobody in.

        :raises RestoreError: none does
        """
        if not _CLOSED.search(error.message):
            return False
        left = [name for name in _OTHERS if name not in self._closed and name != self.home]
        self._closed.append(self.home)
        if not left:
            raise RestoreError(f"No database of the restored cluster takes connections: {error.message}", _REMEDY)
        self.home = left[0]
        return True

    def _superuser(self, candidates: List[str]) -> str:
        """A superuser of the source, nothing while it takes no connections yet.

        :raises ConfigurationError: none can be found
        """
        for name in candidates:
            chosen = {**self.database(self.home), "user": name}
            try:
                with connected(chosen, pinned=True) as connection, connection.cursor() as cursor:
                    cursor.execute("SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY oid LIMIT 1")
                    row = cursor.fetchone()
            except DatabaseError as error:
                if not self._asked_elsewhere(error) and _NOT_SO.search(error.message):
                    continue
                return ""
            if row:
                return str(row[0])
        raise ConfigurationError(
            f"The restored cluster has none of the roles {', '.join(candidates)}, or no superuser who may log in.",
            "Set restore_drill_superuser to a superuser of the source.",
        )
