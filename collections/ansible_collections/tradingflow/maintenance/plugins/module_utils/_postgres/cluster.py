# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster on this host: its directory and programs, whether it runs, and how it is stopped and started."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from .._isolation import processes
from .._isolation.processes import inside
from .._work.programs import last_words
from ..checks import WARNING, Check
from ..database import connected
from ..errors import ConfigurationError, DatabaseError, RestoreError
from . import programs, server
from .copies import append, own_settings
from .programs import installed

_COMMAND_SECONDS = 600
#: Seconds without a process of a server that is being started.
_GRACE = 10.0
#: What a server says to somebody whom it will not let in later either, and seconds until that is believed.
_NEVER = re.compile(r'authentication failed|no pg_hba\.conf entry|role ".*" (does not exist|is not permitted)')
_BELIEVED = 60.0


class Cluster:
    """What the inventory says of it.

    :param options: the option "cluster"
    :param user: whom the server runs as
    :param major: of the recovery point's server
    """

    def __init__(self, options: Dict[str, Any], pg_bin_dir: Optional[str], user: Any, major: int) -> None:
        self._options = options
        self.user = user
        self.directory = str(options["data_directory"]).rstrip("/")
        self.configuration: Optional[str] = options.get("config_file")
        self.programs = _programs(pg_bin_dir, major)

    @property
    def there(self) -> bool:
        """Whether the directory has anything in it."""
        try:
            return bool(os.listdir(self.directory))
        except OSError:
            return False

    def running(self) -> List[int]:
        """Processes of the server, by the directory they work in."""
        return inside(Path(self.directory)) if os.path.isdir(self.directory) else []

    def system_identifier(self) -> Optional[str]:
        """Of what is in the directory; None when there is no cluster any more."""
        if not os.path.exists(os.path.join(self.directory, "global/pg_control")):
            return None
        return self._control(self.directory, "Database system identifier")

    def timeline(self) -> Optional[int]:
        """Of what is in the directory; None when it is no whole cluster, or was being recovered."""
        signals = ("recovery.signal", "standby.signal")
        if any(os.path.exists(os.path.join(self.directory, name)) for name in signals):
            return None
        if not os.path.exists(os.path.join(self.directory, "global/pg_control")):
            return None
        found = self._control(self.directory, "Latest checkpoint's TimeLineID")
        return int(found) if found else None

    def setting(self, directory: Path, name: str) -> str:
        """What the configuration of a cluster that does not run says of a setting."""
        more = ["-c", f"config_file={self.configuration}"] if self.configuration else []
        return self._run([self.programs["postgres"], "-D", str(directory), *more, "-C", name], timeout=60).strip()

    def as_copy(self, directory: Path, major: int) -> List[Check]:
        """Writes settings with which it does not act upon what it is a copy of, see copies.own_settings."""
        return own_settings(directory, self.directory, self.setting, major, self._options.get("libraries") or [])

    def raise_settings(self, directory: Path, raised: Dict[str, int]) -> List[Check]:
        """Writes settings that the source had raised since the backup, and its log needs."""
        if not raised:
            return []
        text = "".join(f"{name} = {value}\n" for name, value in sorted(raised.items()))
        append(directory, f"# As the source had them at the target: the backup's are lower.\n{text}")
        said = ", ".join(f"{name} = {value}" for name, value in sorted(raised.items()))
        message = f"The backup has its configuration as of its own time. Raised to what the log needs: {said}."
        remedy = "See whether other settings were changed since the backup; they are as it has them."
        return [Check("restore.settings", "Settings raised", WARNING, len(raised), message=message, remedy=remedy)]

    def check_stopped(self, directory: Path) -> None:
        """Raises RestoreError unless nothing is to be replayed when a server starts there."""
        check_state(self._run([self.programs["pg_controldata"], "-D", str(directory)], timeout=60))

    def segment_size(self, directory: Path) -> int:
        """Bytes of a segment of the write-ahead log."""
        return int(self._control(str(directory), "Bytes per WAL segment") or 16 << 20)

    def _control(self, directory: str, name: str) -> Optional[str]:
        said = self._run([self.programs["pg_controldata"], "-D", directory], timeout=60)
        found = re.search(rf"^{name}: +(\d+)$", said, re.MULTILINE)
        return found[1] if found else None

    def stop(self, tick: Callable[[], None]) -> None:
        """Stops the server, if it runs.

        :raises RestoreError: it goes on
        """
        if not self.running():
            return
        if self._options.get("stop_command"):
            self._command("stop", [])
        else:
            # Not by pg_ctl, which believes the number that it reads in the directory.
            processes.stop(Path(self.directory), signal.SIGINT, 300)
        deadline = time.monotonic() + 60
        while self.running():
            tick()
            if time.monotonic() > deadline:
                raise RestoreError(
                    f"The server in {self.directory} still runs after it was stopped.",
                    "Stop it by hand, and see that nothing starts it again; then run the restore again.",
                )
            time.sleep(0.1)

    def start(self, port: int) -> None:
        """Starts the server, unless it runs; a start that fails is seen by whoever connects.

        :param port: when there is no command that knows it
        """
        if self.running():
            return
        log = os.path.join(self.directory, "restore.log")
        more = f"-p {port} -c external_pid_file="
        if self.configuration:
            more += f" -c config_file={shlex.quote(self.configuration)}"
        own = [self.programs["pg_ctl"], "-D", self.directory, "-o", more, "-l", log, "-W", "start"]
        self._command("start", own)

    def _command(self, what: str, own: List[str]) -> None:
        given = self._options.get(f"{what}_command")
        if not given:
            self._run(own, timeout=_COMMAND_SECONDS)
            return
        with tempfile.TemporaryFile() as said:
            try:
                code = subprocess.run(
                    given,
                    cwd=self._options.get("command_directory") or "/",
                    stdin=subprocess.DEVNULL,
                    # Not a pipe: what it starts may hold it open.
                    stdout=said,
                    stderr=said,
                    timeout=_COMMAND_SECONDS,
                    check=False,
                ).returncode
            except (OSError, subprocess.SubprocessError) as error:
                raise RestoreError(
                    f"The command that {what}s the server did not run: {error}", "Correct it in restore_cluster."
                ) from None
            if code:
                said.seek(0)
                text = last_words(said.read()[-8192:])
                raise RestoreError(
                    f"The command that {what}s the server failed with exit status {code}: {text}",
                    "Read its words and the server's log, fix it (restore_cluster), then run the restore again.",
                )

    def _run(self, arguments: List[str], timeout: float) -> str:
        with tempfile.TemporaryFile() as said:
            try:
                code = subprocess.run(
                    arguments,
                    env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    timeout=timeout,
                    check=False,
                    **self.user.identity(),
                ).returncode
            except (OSError, subprocess.SubprocessError) as error:
                raise RestoreError(f"{arguments[0]} did not run: {error}", "Check restore_pg_bin_dir.") from None
            said.seek(0)
            text = said.read()
        if code:
            name = os.path.basename(arguments[0])
            raise RestoreError(f"{name} failed with exit status {code}: {last_words(text)}", "Read the server's log.")
        return text.decode("utf-8", "replace")


def check_state(said: str) -> None:
    """Raises RestoreError unless pg_controldata says that the server was promoted and stopped in order."""
    state = re.search(r"^Database cluster state: +(.*)$", said, re.MULTILINE)
    if not state or state[1] != "shut down":
        raise RestoreError(
            f"The restored cluster was not shut down in order: {state[1] if state else 'unknown'}.",
            "Run the restore again.",
        )


def check_version(setting: Dict[str, Any], point: Dict[str, Any], major: int) -> None:
    """Raises ConfigurationError when the cluster in place is of another major version than the recovery point.

    Before its programs are looked for: with those at hand it could be restored, and not started.
    """
    there = version_in(setting["data_directory"])
    if there in (None, major):
        return
    when = "before the upgrade" if there > major else "after one"
    raise ConfigurationError(
        f"The cluster in {setting['data_directory']} is of PostgreSQL {there}, the recovery point {point['id']} of"
        f" {major}, made {when}: this server cannot start on it.",
        f"Restore it elsewhere, by PostgreSQL {major}: docs/restore.md, After a major upgrade. Or choose another"
        " recovery point, or a later target.",
    )


def version_in(directory: str) -> Optional[int]:
    """Major version of the cluster in a directory; None when there is none."""
    try:
        with open(os.path.join(directory, "PG_VERSION"), encoding="ascii", errors="replace") as file:
            text = file.read(16).strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _programs(directory: Optional[str], major: int) -> Dict[str, str]:
    if directory:
        programs.find("postgres", directory)
    # The folder that is named is of another version for what was backed up before a major upgrade.
    own = installed(major, newer=False)
    places = [directory, *own] if directory else [*own, None]
    error: Optional[ConfigurationError] = None
    for place in places:
        try:
            found = {name: programs.find(name, place) for name in ("postgres", "pg_ctl", "pg_controldata")}
        except ConfigurationError as failed:
            error = failed
            continue
        if programs.version(found["postgres"])[0] == major:
            return found
        error = ConfigurationError(f"The programs in {place or 'the PATH'} are not of PostgreSQL {major}.")
    raise ConfigurationError(
        error.message if error else "There is no PostgreSQL server.",
        f"A physical backup needs the server of its own major version: install PostgreSQL {major}, or set"
        " restore_pg_bin_dir to where it is.",
    )


def until_primary(
    database: Dict[str, Any], seconds: int, alive: Callable[[], Any], tick: Callable[[], None]
) -> Dict[str, Any]:
    """Waits until the server takes changes.

    :param alive: whether its processes are there
    :returns: what it says of itself, and its timeline
    :raises RestoreError: it does not come up
    """
    begun, said = time.monotonic(), "it was not asked"
    deadline, seen, refused = begun + seconds, begun, None
    while time.monotonic() < deadline:
        tick()
        try:
            with connected(database, pinned=True) as connection:
                facts = server.describe(connection)
                if not facts["recovering"]:
                    timeline = server.value(connection, "SELECT timeline_id FROM pg_control_checkpoint()")
                    return {**facts, "timeline": int(timeline)}
                said = "it is still recovering"
            refused = None
        except DatabaseError as error:
            said = error.message
            refused = (refused or time.monotonic()) if _NEVER.search(said) else None
        if refused and time.monotonic() - refused > _BELIEVED:
            break
        if alive():
            seen = time.monotonic()
        elif time.monotonic() - seen > _GRACE:
            said = f"its processes ended; {said}"
            break
        time.sleep(0.2)
    raise RestoreError(
        f"The restored server does not take changes: {said}",
        "Read the server's log. Then run the restore again: it resumes, or with another target starts over. Or go back"
        " to what was there: restore_abandon=true (docs/restore.md, When a restore is stuck).",
    )
