# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server over a restored data directory, for nobody but us: replays up to the target, and waits to be looked at.

It can write nothing but this directory and its tablespaces. Nothing is archived. Unless it is promoted here, the
directory can be started for real afterwards as if this had not been.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

from .._isolation import walls
from .._isolation.processes import same, titled
from .._pgbackrest import info
from .._work.job import RESTORE
from .._work.programs import last_words
from ..database import connected
from ..errors import DatabaseError, MaintenanceError, RestoreError
from ..refusal import Refusal
from . import server
from .copies import quiet, still
from .instance import environment, failed
from .tablespaces import Spaces

#: The port is part of the socket's name only: nothing listens on the network.
_PORT = 5432
_PREFIX = "tradingflow-replay-"
#: Seconds without any progress after which what is missing will not come.
STUCK = 60.0
_STOP_SECONDS = 300.0
#: Databases that are asked for the state of the replay: the first that there is.
_COMMON = ("postgres", "template1")
_SHUT = re.compile(r'database "[^"]*" (does not exist|is not currently accepting)')
_NO_ROLE = re.compile(r'role ".*" (does not exist|is not permitted to log in)')
#: What PostgreSQL says of a setting of the source's that was raised after the backup.
HIGHER = re.compile(r"(max_\w+) = \d+ is a lower setting than on the primary server, where its value was (\d+)")
#: The title of the process that replays, while it asks for a segment.
_WAITS = re.compile(rb"startup\s+waiting for ([0-9A-F]{24})")
_MISSING = (
    "The archive has no WAL from after the target. If the old server runs, have it archive the rest (SELECT"
    " pg_switch_wal()) and run the restore again. Else choose an earlier target, or restore_target_type: latest."
)


class Replay:
    """The server. Leaving the context ends it.

    :param directory: restored, with its own settings of the target
    :param postgres: path of the program
    :param user: whom it runs as, a name with uid and gid
    :param settings: besides those that keep it to itself
    :param apart: its tablespaces, and what must not be written, see Apart
    :param configuration: its postgresql.conf when that lies elsewhere
    :ivar home: a private folder for its socket and log
    """

    def __init__(
        self,
        directory: Path,
        postgres: str,
        user: Any,
        settings: Dict[str, str],
        apart: Apart,
        configuration: Optional[str] = None,
    ) -> None:
        self._directory = directory
        self._postgres = postgres
        self._user = user
        self._settings = settings
        self._apart = apart
        self._configuration = configuration
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.home = Path()
        #: A database that everybody has.
        self.common = _COMMON[0]
        #: Settings that the log needs higher than the backup has them.
        self.raised: Dict[str, int] = {}

    def __enter__(self) -> Replay:
        # A socket's name may not be long.
        self.home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        (self.home / "hba").write_text("local all all trust\n")
        (self.home / "ident").touch()
        (self.home / "root").mkdir()
        self._walls = self._apart.walls([str(self._directory), str(self.home)], self.home / "root", self._user)
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
            **quiet(self._apart.major),
            **still(self._apart.major),
            **walls.WORDS,
            "dynamic_shared_memory_type": "mmap",
            "listen_addresses": "",
            "unix_socket_directories": str(self.home),
            "unix_socket_permissions": "0700",
            "port": str(_PORT),
            "hba_file": str(self.home / "hba"),
            "ident_file": str(self.home / "ident"),
            "data_directory": str(self._directory),
            "ssl": "off",
            "logging_collector": "off",
            "log_destination": "stderr",
            "hot_standby": "on",
            "recovery_target_action": "pause",
            "wal_retrieve_retry_interval": "200ms",
            "shared_buffers": "128MB",
            "huge_pages": "off",
            "update_process_title": "on",
            # What is written once it is promoted must not wait for a standby of the source's.
            "synchronous_standby_names": "",
        }
        if self._configuration:
            alone["config_file"] = self._configuration
        settings = {**alone, **self._settings, **{name: str(value) for name, value in self.raised.items()}}
        arguments = [self._postgres, "-D", str(self._directory)]
        arguments += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(self.home / "log", "wb") as log:
            self._process = self._walls.start(arguments, str(self._directory), log, environment(), signal.SIGQUIT)

    @property
    def maps(self) -> Dict[str, str]:
        """Our directory by the location of each tablespace that was made after the backup."""
        return self._walls.maps

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

    @contextmanager
    def _asked(self, user: str) -> Iterator[Any]:
        """A connection, in another database where one is not there or lets nobody in.

        :raises DatabaseError: there is none yet
        :raises RestoreError: there will be none
        """
        try:
            with connected(self.database(self.common, user), pinned=True) as connection:
                yield connection
        except DatabaseError as error:
            if _SHUT.search(error.message):
                if self.common == _COMMON[-1]:
                    raise RestoreError(
                        f"At the target neither of the databases {' and '.join(_COMMON)} takes connections.",
                        "Choose a target at which one of them does.",
                    ) from None
                self.common = _COMMON[_COMMON.index(self.common) + 1]
            if _NO_ROLE.search(error.message) and "recovery stopping" in self._log():
                raise RestoreError(
                    f"At the target there is no role {user} that may log in: it was made or renamed later.",
                    "Name a superuser of that time in restore_database.",
                ) from None
            raise

    def home_of(self, user: str) -> Dict[str, Any]:
        """The option "database" for one that everybody has, where the replay stands: it may be gone by then.

        :raises RestoreError: there is none
        """
        for _name in _COMMON:
            with suppress(DatabaseError), self._asked(user):
                break
        return self.database(self.common, user)

    def until_paused(self, user: str, tick: Callable[[], None]) -> str:
        """Waits until the target is reached.

        :returns: the last replayed place in the write-ahead log
        :raises RestoreError: it ends before that
        """
        while True:
            tick()
            self._check()
            try:
                with self._asked(user) as connection:
                    while True:
                        tick()
                        lsn, paused = server.rows(connection, _STATE)[0]
                        if paused and HIGHER.search(self._log()):
                            break
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
                with self._asked(user) as connection:
                    lsn = str(server.value(connection, "SELECT pg_last_wal_replay_lsn()::text"))
            except DatabaseError:
                # Not consistent yet: a standby that does not get there waits without end for what the archive lacks.
                waits = titled(self._directory, _WAITS)
                if not waits or waits != place:
                    place, since = waits, time.monotonic()
                if time.monotonic() - since > 2 * STUCK:
                    text = f"The recovery waits for {waits}, which the archive does not give: {self.last_words()}"
                    raise RestoreError(text, _MISSING) from None
                time.sleep(0.5)
                continue
            if lsn != place:
                place, since = lsn, time.monotonic()
            quiet = time.monotonic() - since
            if quiet > 2 and number(place) > last:
                return place
            if quiet > STUCK:
                raise RestoreError(f"The recovery does not get beyond {place}: {self.last_words()}", _MISSING)
            time.sleep(0.2)

    def promote(self, user: str, tick: Callable[[], None]) -> None:
        """Ends the recovery where it stands.

        :raises RestoreError: it ends instead
        """
        path = self._directory / "promote"
        path.touch(mode=0o600)
        if os.geteuid() == 0:
            os.chown(path, self._user.uid, self._user.gid)
        if self._process:
            self._process.send_signal(signal.SIGUSR1)
        while True:
            tick()
            if self._process is None or self._process.poll() is not None:
                raise failed(f"The recovery ended when it was to be promoted: {self.last_words()}", _MISSING, RESTORE)
            with suppress(DatabaseError), self._asked(user) as connection:
                if not server.value(connection, "SELECT pg_is_in_recovery()"):
                    return
            time.sleep(0.1)

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
        if "recovery stopping" not in self._log():
            raise RestoreError(f"The recovery paused before its target: {self.last_words()}", _MISSING)

    def _check(self) -> None:
        """Starts again where that helps, with what the log asked for.

        :raises RestoreError: it ended of something else
        """
        higher = {name: int(value) for name, value in HIGHER.findall(self._log())}
        higher = {name: value for name, value in higher.items() if value > self.raised.get(name, 0)}
        if higher:
            self.raised.update(higher)
            # It ends, or pauses there for good.
            if self._process is not None and self._process.poll() is None:
                self.stop()
            self.start()
            return
        if self._process is None or self._process.poll() is not None:
            if self._walls.learn(self._log()):
                self.start()
                return
            raise failed(f"The recovery ended before its target: {self.last_words()}", _MISSING, RESTORE)

    def _log(self) -> str:
        return (self.home / "log").read_bytes().decode("utf-8", "surrogateescape")

    def last_words(self) -> str:
        """The end of its log, on one line."""
        try:
            return last_words((self.home / "log").read_bytes()[-8192:])
        except OSError:
            return "(it has no log)"


class Apart(NamedTuple):
    """What a server must not write.

    :param spaces: where its tablespaces are
    :param guarded: paths of the source
    :param identifier: of the source, when no data directory of it may be within reach; None where it is being replaced
    :param major: of the server
    """

    spaces: Spaces
    guarded: List[str]
    identifier: Optional[str]
    major: int

    def walls(self, folders: List[str], root: Path, user: Any) -> walls.Walls:
        """What it may write instead.

        :param folders: besides its tablespaces
        :param root: an empty folder
        """
        whom = walls.User(user.uid, user.gid, os.getgrouplist(user.name, user.gid)) if os.geteuid() == 0 else None
        ours = [*folders, *self.spaces.folders]
        here = [] if self.identifier is None else walls.servers_here()
        guarded = [path for path in (*self.guarded, *here) if path not in ours]
        return walls.Walls(ours, self.spaces.make, root, whom, guarded, self.identifier)

    def refusals(self, user: Any) -> List[Refusal]:
        """Whether this host can keep a server so."""
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        try:
            for name in ("root", "data"):
                (folder / name).mkdir()
            if os.geteuid() == 0:
                os.chown(folder, user.uid, user.gid)
                os.chown(folder / "data", user.uid, user.gid)
            self.walls([str(folder)], folder / "root", user).check(str(folder / "data"))
        except MaintenanceError as error:
            return [Refusal("isolation", error.message, error.remedy)]
        finally:
            shutil.rmtree(folder)
        return []


def apart_of(mode: Any, job: Any, major: int) -> Apart:
    """What the backup has outside of its data directory, and what a server over it must not write.

    :param mode: see physical.PointInTime
    :raises BackupError: pgBackRest does not say
    """
    label, user = mode.backup.label, mode.backrest.user
    said = mode.backrest.checked("info", f"--set={label}", f"--repo={mode.repository}", "--output=json")
    found, links = info.outside(said, label)
    spaces = Spaces(mode.cluster.directory, job.run_id, user, found, mode.setting.get("tablespaces"))
    source = str(job.point["database"]["system_identifier"]) if mode.setting["elsewhere"] else None
    return Apart(spaces, [*(each.location for each in found), *links], source, major)


def remove_home(run: Dict[str, Any]) -> None:
    """Removes the private folder of a server that died with its run, as the run wrote it down."""
    name = run.get("home")
    if name and Path(name).name.startswith(_PREFIX) and same(name, run.get("home_mark")):
        shutil.rmtree(name, ignore_errors=True)


_STATE = "SELECT pg_last_wal_replay_lsn()::text, pg_is_wal_replay_paused()"


def number(lsn: str) -> int:
    """A place in the write-ahead log in bytes."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)
