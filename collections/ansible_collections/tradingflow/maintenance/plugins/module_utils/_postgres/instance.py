# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A PostgreSQL server of the drill's own: below the scratch folder, on loopback, and gone with us."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from .._work.job import DRILL, Kind
from .._work.programs import child_setup, last_words
from ..database import connected, quoted
from ..errors import ConfigurationError, DatabaseError, MaintenanceError, RestoreError
from .programs import NOT_BUILT

try:
    from psycopg2.extensions import encrypt_password
except ImportError:
    encrypt_password = None  # type: ignore[assignment]

#: Nothing here has to outlive a crash.
SETTINGS: Dict[str, Any] = {
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "log_min_messages": "warning",
    "logging_collector": "off",
    "maintenance_work_mem": "128MB",
    "max_connections": "60",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "128MB",
    "synchronous_commit": "off",
    "wal_level": "minimal",
}
#: Nothing may leave the machine, whatever the settings asked for say: no WAL, and no word to a publisher.
FORCED: Dict[str, Any] = {
    "archive_mode": "off",
    "listen_addresses": "127.0.0.1",
    "max_logical_replication_workers": "0",
    "unix_socket_directories": "",
}
#: What programs say of a full disk; the second is PostgreSQL's hint where only part of a block could be written.
FULL = ("No space left", "Check free disk space")
_REMEDY = "Read the message; correct restore_drill_settings if it names one of them."
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


def failed(message: str, remedy: str, kind: Kind = DRILL) -> MaintenanceError:
    """What a program's failure means: neither a full disk nor the programs here say anything of the recovery point."""
    if any(words in message for words in FULL):
        where = f"{kind.role}_scratch_directory"
        return ConfigurationError(message, f"Free space on the disk it names; if that is {where}, choose another.")
    if NOT_BUILT in message:
        where = f"{kind.role}_pg_bin_dir"
        return ConfigurationError(message, f"Install the distribution's PostgreSQL client, or set {where} to another.")
    return RestoreError(message, remedy)


class Account(NamedTuple):
    """Whom the server runs as."""

    name: str
    uid: int
    gid: int


def account(run_as: Optional[str]) -> Optional[Account]:
    """The user the server has to run as, None for ours: it refuses to be root.

    :raises ConfigurationError: there is no such user, or we may not become it
    """
    if os.geteuid() != 0:
        if run_as and run_as != pwd.getpwuid(os.geteuid()).pw_name:
            raise ConfigurationError(
                f"Only root can start the scratch instance as {run_as}.",
                "Leave restore_drill_run_as empty, or become that user.",
            )
        return None
    for name in [run_as] if run_as else ["postgres", "nobody"]:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid:
                return Account(name, entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        f"PostgreSQL does not run as root, and there is no user {run_as or 'postgres or nobody'}.",
        "Set restore_drill_run_as to a user without rights.",
    )


def check_place(directory: str, user: Optional[Account]) -> None:
    """Raises ConfigurationError when a directory is not a place for a server, above all one in another's data."""
    place = Path(os.path.realpath(directory))
    if not place.is_dir():
        raise ConfigurationError(
            f"The scratch directory {directory} does not exist.", "Correct restore_drill_scratch_directory."
        )
    for folder in (place, *place.parents):
        if (folder / "PG_VERSION").exists():
            raise ConfigurationError(
                f"The scratch directory {directory} lies in a PostgreSQL data directory, {folder}.",
                "Choose another restore_drill_scratch_directory.",
            )
    for folder in (place, *place.parents):
        if user and not folder.stat().st_mode & 0o001:
            raise ConfigurationError(
                f"The scratch instance runs as {user.name}, who cannot reach {place}: others may not enter {folder}.",
                "Choose another restore_drill_scratch_directory, such as /var/tmp.",
            )


def free_port() -> int:
    """A port of loopback on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Instance:
    """A scratch server. Leaving the context ends it and all of its processes.

    :param folder: ours, empty; others may pass through it when the server runs as another user
    :param programs: paths of initdb and postgres
    :param settings: of the server, besides SETTINGS
    """

    def __init__(
        self, folder: Path, programs: Dict[str, str], user: Optional[Account], settings: Dict[str, Any]
    ) -> None:
        self.folder = folder
        self._programs = programs
        self._user = user
        self._settings = {**SETTINGS, **settings, **FORCED}
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._log = folder / "postgres.log"
        #: The first superuser: named so that the roles of any platform can be made beside it.
        self.superuser = f"restore_drill_{secrets.token_hex(4)}"
        self.password = secrets.token_urlsafe(24)
        self.port = 0
        #: A database that is there whatever is restored.
        self.home = "template1"

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def user_name(self) -> Optional[str]:
        """Whom the server runs as, None for us."""
        return self._user.name if self._user else None

    def database(self, name: str) -> Dict[str, Any]:
        """The option "database" for a database of it, as the superuser."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "name": name,
            "user": self.superuser,
            "password": self.password,
            "sslmode": "disable",
            "connect_timeout": 10,
            "statement_timeout": 0,
        }

    def private(self, name: str) -> Path:
        """A new folder for the server's user alone."""
        path = self.folder / name
        path.mkdir(mode=0o700)
        if self._user:
            os.chown(path, self._user.uid, self._user.gid)
        return path

    def start(self, tick: Callable[[], None]) -> None:
        """Makes a cluster and starts the server on a port of its own.

        :raises RestoreError: initdb or postgres failed
        """
        self._initialise()
        for attempt in (1, 2, 3):
            self.port = free_port()
            self._spawn({})
            if self._ready(tick):
                return
            said = self.last_words()
            self.stop()
            # Somebody else took the port in between.
            if attempt == 3 or "in use" not in said:
                raise failed(f"The scratch instance did not start: {said}", _REMEDY)

    def _identity(self) -> Dict[str, Any]:
        return {"user": self._user.uid, "group": self._user.gid, "extra_groups": []} if self._user else {}

    def _initialise(self) -> None:
        data, secret = self.private("data"), self.folder / "password"
        handle = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(self.password + "\n")
        if self._user:
            os.chown(secret, self._user.uid, self._user.gid)
        try:
            done = subprocess.run(
                [
                    *(
                        self._programs["initdb"],
                        f"--pgdata={data}",
                        f"--username={self.superuser}",
                        f"--pwfile={secret}",
                    ),
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"),
                ],
                env=environment(),
                cwd=data,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=300,
                check=False,
                preexec_fn=child_setup(0),
                **self._identity(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise RestoreError(f"initdb did not run: {error}", "Check restore_drill_pg_bin_dir.") from None
        finally:
            secret.unlink()
        if done.returncode:
            said = last_words(done.stdout)
            raise failed(f"initdb failed with exit status {done.returncode}: {said}", _REMEDY)

    def _spawn(self, more: Dict[str, Any]) -> None:
        settings = {**self._settings, **more, "port": self.port}
        arguments = [self._programs["postgres"], "-D", str(self.folder / "data")]
        arguments += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(self._log, "wb") as log:
            self._process = self._launched(arguments, log)

    def _launched(self, arguments: List[str], log: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            arguments,
            env=environment(),
            cwd=self.folder / "data",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # It ends its children, and takes its shared memory with it.
            preexec_fn=child_setup(0, signal.SIGQUIT),
            **self._identity(),
        )

    def _ready(self, tick: Callable[[], None]) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            tick()
            try:
                with connected(self.database("postgres")):
                    return True
            except DatabaseError:
                time.sleep(0.05)
        return False

    def set_password(self, role: str, variable: str = "restore_drill_application.user") -> None:
        """Gives a restored role the scratch instance's password: the recovery point has none.

        :param variable: that names the role
        :raises ConfigurationError: there is no such role
        """
        with connected(self.database(self.home), pinned=True) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
            if cursor.fetchone() is None:
                raise ConfigurationError(f"The restored instance has no role {role}.", f"Correct {variable}.")
            verifier = encrypt_password(self.password, role, connection, "scram-sha-256")
            cursor.execute(f"ALTER ROLE {quoted(role)} LOGIN PASSWORD %s", (verifier,))

    def running(self) -> bool:
        """Whether the server still runs."""
        return self._process is not None and self._process.poll() is None

    def out_of_space(self) -> str:
        """The last line of the server's log that says that the disk is full, empty where none does.

        A server that cannot write its WAL ends its sessions, whose programs only see a connection that is gone.
        """
        with suppress(OSError):
            lines = self._log.read_bytes()[-65536:].decode("utf-8", "replace").splitlines()
            return next((line.strip() for line in reversed(lines) if any(words in line for words in FULL)), "")
        return ""

    def last_words(self) -> str:
        """The end of the server's log, on one line."""
        try:
            return last_words(self._log.read_bytes()[-8192:])
        except OSError:
            return "(it has no log)"

    def stop(self, first: signal.Signals = signal.SIGQUIT) -> None:
        """Ends the server, at once where nothing else is asked for: what it holds is thrown away."""
        if self._process is None:
            return
        for number in (first, signal.SIGQUIT, signal.SIGKILL):
            if self._process.poll() is None:
                self._process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_STOP_SECONDS)
        self._process = None


class Copy(NamedTuple):
    """A restored and proven database of a scratch server, for whoever goes on with it.

    :param name: the database's
    :param point: the recovery point that it is a copy of
    :param proven: the worst status of the proof
    """

    instance: Instance
    name: str
    point: Dict[str, Any]
    proven: str


def environment() -> Dict[str, str]:
    """Of a server: nothing of ours."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
