# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server over a restored data directory, for nobody but us: replays up to the target, and waits to be looked at.

Nothing is promoted and nothing archived: the directory can be started for real afterwards, as if this had not been.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from .._backup.programs import child_setup, last_words
from .._drill.instance import failed
from ..database import connected
from ..errors import DatabaseError, RestoreError
from ..job import RESTORE
from . import server

#: The port is part of the socket's name only: nothing listens on the network.
_PORT = 5432
_PREFIX = "tradingflow-replay-"
#: Seconds without any progress after which what is missing will not come.
STUCK = 60.0
_STOP_SECONDS = 300.0
_MISSING = "Missing WAL ends a recovery too early: choose an earlier target, or restore_target_type: latest."


class Replay:
    """The server. Leaving the context ends it.

    :param directory: restored, with its own settings of the target
    :param postgres: path of the program
    :param user: whom it runs as, a name with uid and gid
    :param settings: besides those that keep it to itself
    :param configuration: its postgresql.conf when that lies elsewhere
    :ivar home: a private folder for its socket and log
    """

    def __init__(
        self, directory: Path, postgres: str, user: Any, settings: Dict[str, str], configuration: Optional[str] = None
    ) -> None:
        self._directory = directory
        self._postgres = postgres
        self._user = user
        self._settings = settings
        self._configuration = configuration
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.home = Path()

    def __enter__(self) -> Replay:
        # A socket's name may not be long.
        self.home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        (self.home / "hba").write_text("local all all trust\n")
        (self.home / "ident").touch()
        if os.geteuid() == 0:
            for path in (self.home, self.home / "hba", self.home / "ident"):
                os.chown(path, self._user.uid, self._user.gid)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            for number in (signal.SIGQUIT, signal.SIGKILL):
                if self._process.poll() is None:
                    self._process.send_signal(number)
                    with suppress(subprocess.TimeoutExpired):
                        self._process.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self) -> None:
        """Starts it."""
        alone = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.home),
            "unix_socket_permissions": "0700",
            "port": str(_PORT),
            "hba_file": str(self.home / "hba"),
            "ident_file": str(self.home / "ident"),
            "external_pid_file": "",
            "data_directory": str(self._directory),
            "ssl": "off",
            "logging_collector": "off",
            "log_destination": "stderr",
            "archive_mode": "off",
            "primary_conninfo": "",
            "primary_slot_name": "",
            "hot_standby": "on",
            "recovery_target_action": "pause",
            "wal_retrieve_retry_interval": "200ms",
            "shared_buffers": "128MB",
            "huge_pages": "off",
        }
        if self._configuration:
            alone["config_file"] = self._configuration
        with open(self.home / "log", "wb") as log:
            self._process = subprocess.Popen(
                [
                    *(self._postgres, "-D", str(self._directory)),
                    *(
                        part
                        for name, value in {**alone, **self._settings}.items()
                        for part in ("-c", f"{name}={value}")
                    ),
                ],
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=child_setup(0, signal.SIGQUIT),
                **self._user.identity(),
            )

    def database(self, name: str, user: str) -> Dict[str, Any]:
        """The option "database" for a database of it."""
        return {
            "host": str(self.home),
            "port": _PORT,
            "name": name,
            "user": user,
            "password": None,
            "sslmode": "disable",
            "connect_timeout": 10,
            "statement_timeout": 0,
        }

    def until_paused(self, user: str, tick: Callable[[], None]) -> str:
        """Waits until the target is reached.

        :returns: the last replayed place in the write-ahead log
        :raises RestoreError: it ends before that
        """
        while True:
            tick()
            self._check()
            try:
                with connected(self.database("postgres", user)) as connection:
                    while True:
                        tick()
                        lsn, paused = server.rows(connection, _STATE)[0]
                        if paused:
                            self._reached()
                            return str(lsn)
                        time.sleep(0.1)
            except DatabaseError:
                time.sleep(0.1)  # not yet consistent, or gone: then it is said above

    def until_end(self, user: str, last: int, tick: Callable[[], None]) -> str:
        """Waits until all archived log is replayed, as a standby does.

        :param last: where the newest segment of the archive begins, in bytes
        :returns: the last replayed place
        :raises RestoreError: it does not get that far
        """
        place, since = "", time.monotonic()
        while True:
            tick()
            self._check()
            try:
                with connected(self.database("postgres", user)) as connection:
                    lsn = str(server.value(connection, "SELECT pg_last_wal_replay_lsn()::text"))
            except DatabaseError:
                time.sleep(0.1)
                continue
            if lsn != place:
                place, since = lsn, time.monotonic()
            quiet = time.monotonic() - since
            if quiet > 2 and number(place) > last:
                return place
            if quiet > STUCK:
                raise RestoreError(f"The recovery does not get beyond {place}: {self.last_words()}", _MISSING)
            time.sleep(0.2)

    def stop(self) -> None:
        """Ends it in good order.

        :raises RestoreError: it does not
        """
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            code: Optional[int] = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            raise RestoreError(f"The replaying server did not stop in good order: {self.last_words()}", _MISSING)

    def _reached(self) -> None:
        """It also pauses where its settings are too small for what the log tells of the source's."""
        if b"recovery stopping" not in (self.home / "log").read_bytes():
            raise RestoreError(f"The recovery paused before its target: {self.last_words()}", _MISSING)

    def _check(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise failed(f"The recovery ended before its target: {self.last_words()}", _MISSING, RESTORE)

    def last_words(self) -> str:
        """The end of its log, on one line."""
        try:
            return last_words((self.home / "log").read_bytes()[-8192:])
        except OSError:
            return "(it has no log)"


def remove_home(name: Optional[str]) -> None:
    """Removes the private folder of a server that died with its run."""
    if name and Path(name).name.startswith(_PREFIX):
        shutil.rmtree(name, ignore_errors=True)


_STATE = "SELECT pg_last_wal_replay_lsn()::text, pg_is_wal_replay_paused()"


def number(lsn: str) -> int:
    """A place in the write-ahead log in bytes."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)
