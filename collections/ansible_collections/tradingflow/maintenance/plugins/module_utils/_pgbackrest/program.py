# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running pgBackRest: where it is, what its version can do, and as whom."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from .._work.asked import Answer, asked
from .._work.programs import child_setup, last_words
from ..errors import BackupError, ConfigurationError
from .messages import failure

#: The oldest version this collection was tried with.
OLDEST = (2, 45)
#: The newest major version of PostgreSQL that a pgBackRest knows, by its own version.
_POSTGRESQL = (((2, 57), 18), ((2, 55), 18), ((2, 53), 17), ((2, 48), 16), ((2, 41), 15))
#: pgBackRest ends its children and the backup when it is asked to.
_PATIENCE = 10


class Account(NamedTuple):
    """A user of this host."""

    name: str
    uid: int
    gid: int

    def identity(self) -> Dict[str, Any]:
        """What subprocess takes to run as this user: nothing, unless we are root."""
        if os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": os.getgrouplist(self.name, self.gid)}


def account(run_as: Optional[str]) -> Account:
    """Whom pgBackRest runs as: the user that owns the database's files, never root.

    :raises ConfigurationError: there is no such user, or we may not become it
    """
    own = os.geteuid()
    name = run_as or ("postgres" if own == 0 else pwd.getpwuid(own).pw_name)
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError(
            f"There is no user {name} on this host.", "Set backup_pgbackrest_run_as to the user that owns the cluster."
        ) from None
    if entry.pw_uid == 0:
        raise ConfigurationError(
            "pgBackRest must not run as root.", "Set backup_pgbackrest_run_as to the user that owns the cluster."
        )
    if own not in (0, entry.pw_uid):
        raise ConfigurationError(
            f"Only root can run pgBackRest as {name}.", f"Become {name} or root (ansible_become), or correct run_as."
        )
    return Account(name, entry.pw_uid, entry.pw_gid)


@contextmanager
def acting_as(user: Account) -> Iterator[None]:
    """Opens files and sockets as another user; for a process without other threads."""
    if os.geteuid() != 0:
        yield
        return
    group = os.getegid()
    os.setegid(user.gid)
    os.seteuid(user.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


def find(program: Optional[str] = None) -> Tuple[str, Tuple[int, int]]:
    """Path and version of pgBackRest.

    :param program: where it is; None for the PATH
    :raises ConfigurationError: it is not there, or too old
    """
    path = shutil.which(program or "pgbackrest")
    if path is None:
        raise ConfigurationError(
            f"{program or 'pgbackrest'} was not found.",
            "Install pgBackRest (the package pgbackrest), or correct backup_pgbackrest_program.",
        )
    try:
        said = asked([path, "version"], _environment(), 30)
    except OSError as error:
        raise ConfigurationError(f"{path} does not run: {error}", "Reinstall pgBackRest.") from None
    if said.status:
        text = f"{path} does not run: it ended with {said.status}, {last_words(said.messages)}"
        raise ConfigurationError(text, "Reinstall pgBackRest.")
    text = said.text
    match = re.search(r"pgBackRest (\d+)\.(\d+)", text)
    if not match:
        raise ConfigurationError(f"{path} does not say its version: {text!r}", "Check backup_pgbackrest_program.")
    version = int(match.group(1)), int(match.group(2))
    if version < OLDEST:
        raise ConfigurationError(
            f"pgBackRest is of version {version[0]}.{version[1]}; {OLDEST[0]}.{OLDEST[1]} or newer is needed.",
            "Install a newer pgBackRest.",
        )
    return path, version


def newest_server(version: Tuple[int, int]) -> int:
    """The newest major version of PostgreSQL that a pgBackRest backs up."""
    return next((server for needed, server in _POSTGRESQL if version >= needed), 0)


def own_spool(directory: Any) -> str:
    """The option with which restore leaves the configured spool alone.

    Restore empties its spool. A server that still runs is told there, when it archives asynchronously, what of its log
    is archived: its archive-push would wait for the lost word up to archive-timeout, and hold the server's stop up.
    The spool that is named here is not there. No old word concerns the restored server, whose timeline is new.

    :param directory: that is restored into
    """
    return f"--spool-path={directory}.spool"


def check_server(version: Tuple[int, int], server: int) -> None:
    """Raises ConfigurationError when this pgBackRest does not know the server.

    :param server: its major version
    """
    if server > newest_server(version):
        raise ConfigurationError(
            f"pgBackRest {version[0]}.{version[1]} backs up PostgreSQL up to {newest_server(version)}, "
            f"the server is of version {server}.",
            "Install a newer pgBackRest.",
        )


def _environment() -> Dict[str, str]:
    # Nothing of ours: its options may come from the environment, too (PGBACKREST_*).
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"}


class Said(NamedTuple):
    """What a finished command said."""

    code: int
    out: str
    err: str


class PgBackRest:
    """One stanza's pgBackRest on this host.

    :param options: program, config_file, stanza, run_as; see options.SPEC
    """

    def __init__(self, options: Dict[str, Any]) -> None:
        self.program, self.version = find(options.get("program"))
        self.user = account(options.get("run_as"))
        self.config_file: str = options["config_file"]
        self.stanza: str = options["stanza"]

    def arguments(self, command: str, *options: str) -> List[str]:
        """The command line: no secret is ever on it.

        :param options: and what the command works on, which comes after its name
        """
        named = [each for each in options if each.startswith("-")]
        rest = [each for each in options if not each.startswith("-")]
        return [self.program, f"--config={self.config_file}", f"--stanza={self.stanza}", *named, command, *rest]

    def run(self, command: str, *options: str, timeout: float = 300) -> Said:
        """Runs a command to its end, whatever that is.

        :raises BackupError: it does not start, or does not end
        """
        done = self._done(command, options, timeout)
        return Said(done.status, done.text, done.messages.decode("utf-8", "replace"))

    def _done(self, command: str, options: Tuple[str, ...], timeout: float) -> Answer:
        try:
            how = {"preexec_fn": child_setup(0), **self.user.identity()}
            return asked(self.arguments(command, *options), _environment(), timeout, **how)
        except TimeoutError:
            raise BackupError(
                f"pgBackRest's {command} has not ended after {timeout:.0f} s.", "Look into pgBackRest's log."
            ) from None
        except OSError as error:
            raise BackupError(f"pgBackRest does not start: {error}", "Check backup_pgbackrest_run_as.") from None

    def checked(self, command: str, *options: str, timeout: float = 300) -> str:
        """Standard output of a command.

        :raises MaintenanceError: it says that it failed
        """
        done = self.run(command, *options, timeout=timeout)
        if done.code:
            raise failure(command, done.code, done.err or done.out)
        return done.out

    def contents(self, command: str, *options: str, timeout: float = 300) -> bytes:
        """Standard output of a command that gives a file.

        :raises MaintenanceError: it says that it failed
        """
        said = self._done(command, options, timeout)
        if said.status:
            raise failure(command, said.status, said.messages.decode("utf-8", "replace"))
        return said.output

    def followed(self, command: str, *options: str, tick: Callable[[], None]) -> Said:
        """Runs a long command to its end, whatever that is.

        :param tick: called now and then; what it raises ends the command
        """
        process = subprocess.Popen(
            self.arguments(command, *options),
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=child_setup(0, farewell=15),
            **self.user.identity(),
        )
        said: List[Tuple[bytes, bytes]] = []
        reader = threading.Thread(target=lambda: said.append(process.communicate()), name="messages", daemon=True)
        reader.start()
        try:
            while reader.is_alive():
                tick()
                reader.join(0.1)
        except BaseException:
            process.terminate()
            reader.join(_PATIENCE)
            process.kill()
            raise
        out, err = said[0]
        return Said(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    def start(self, command: str, *options: str, nice: int = 0, cwd: str = "/") -> Running:
        """Starts a long command, which is followed by its log lines.

        :param cwd: by which it and its own processes are found
        """
        return Running(self, command, list(options), nice, cwd)


class Running:
    """A command under way; leaving the context ends what still runs of it.

    :ivar percent: of its work, as it says itself
    :ivar matched: files that a delta restore found as in the backup
    """

    def __init__(self, of: PgBackRest, command: str, options: List[str], nice: int, cwd: str) -> None:
        self.command = command
        self.percent = 0.0
        self.matched = 0
        self._said = b""
        self._process = subprocess.Popen(
            of.arguments(command, *options, "--log-level-console=detail", "--log-level-stderr=off"),
            env=_environment(),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # When we die it ends itself as when it is asked to: the server leaves its state of backup.
            preexec_fn=child_setup(nice, farewell=15),
            **of.user.identity(),
        )
        self._listener = threading.Thread(target=self._listen, name="messages", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        if self._process.stdout is None:
            return
        with self._process.stdout as lines:
            for line in lines:
                self.matched += b"exists and matches backup" in line
                done = re.search(rb"\S, (\d+(?:\.\d+)?)%\)", line)
                if done:
                    self.percent = float(done.group(1))
                elif b" DETAIL: " not in line:
                    self._said = (self._said + line)[-8192:]

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    @property
    def said(self) -> str:
        """The end of what it said, without details."""
        self._listener.join(5)
        return self._said.decode("utf-8", "replace")

    def finished(self) -> bool:
        """Whether it ended.

        :raises MaintenanceError: it ended badly
        """
        code = self._process.poll()
        if code is None:
            return False
        if code:
            raise failure(self.command, code, self.said)
        return True
