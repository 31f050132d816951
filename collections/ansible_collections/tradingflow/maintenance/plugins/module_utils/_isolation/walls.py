# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starts servers over restored data directories where they cannot write anything of the source.

WAL names directories: what CREATE TABLESPACE did on the source is done again where it is replayed, in the same place.
On the source's own host that place is in use.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

from .._work.programs import child_setup
from ..errors import ConfigurationError, RestoreError
from . import confine

_loader: Any = confine.__loader__
#: Of what runs before the server. Read now: where a module came from may be gone when it is needed.
SOURCE: str = _loader.get_source(confine.__name__)
#: What PostgreSQL says of the record at which replay ended; ours are its settings, so that the words are these.
_CREATED = re.compile(r'WAL redo at [0-9A-F]+/[0-9A-F]+ for Tablespace/CREATE: \d+ "(.*)"$', re.MULTILINE)
#: Settings without which what was replayed cannot be told.
WORDS = {"lc_messages": "C", "log_error_verbosity": "default", "log_min_messages": "warning"}
_REMEDY = (
    "Run it on another host that has no PostgreSQL data, or where it may make a mount namespace: as root"
    " (CAP_SYS_ADMIN in a container), or as a user where user namespaces are allowed."
)
_START_SECONDS = 120


class User(NamedTuple):
    """Whom the server runs as, where we are root."""

    uid: int
    gid: int
    groups: List[int]


class Walls:
    """What a server may write, and what it must not.

    :param folders: absolute paths of directories that are ours, its data directory among them
    :param make: makes a directory of ours, by name, for a tablespace that is made while it replays
    :param root: an empty directory of ours
    :param user: whom it runs as; None for us
    :param guarded: paths of the source, whether they are here or not
    :param system_identifier: of the source
    """

    def __init__(
        self,
        folders: List[str],
        make: Callable[[str], str],
        root: Path,
        user: Optional[User],
        guarded: Iterable[str],
        system_identifier: Optional[str] = None,
    ) -> None:
        self.folders = folders
        self._make = make
        self.root = root
        self.user = user
        self.guarded = sorted(set(guarded))
        self.system_identifier = system_identifier
        #: Directory of ours by the source's location of a tablespace that was made after the backup.
        self.maps: Dict[str, str] = {}
        self._way = "namespace"

    def learn(self, log: str) -> bool:
        """Gives a directory of ours to the tablespace at whose making the replay ended, if it did.

        :param log: of the server that ended
        :returns: whether the replay is to be started again
        :raises RestoreError: it ended there, and nothing can be put in that place here
        """
        found = _CREATED.findall(log)
        if not found or found[-1] in self.maps or not os.path.isabs(found[-1]):
            return False
        if self._way != "namespace":
            raise _no_place(f"{found[-1]} is not ours, and there are no mount namespaces")
        self.maps[found[-1]] = self._make(f"replayed-{len(self.maps) + 1}")
        return True

    def start(
        self, arguments: List[str], cwd: str, log: Any, environment: Dict[str, str], farewell: int
    ) -> subprocess.Popen[bytes]:
        """Starts the server.

        :param log: a file that is open for writing
        :param farewell: the signal that it gets when we die
        :raises ConfigurationError: here it could write what is the source's
        :raises RestoreError: it cannot be started
        """
        try:
            return self._start("namespace", arguments, cwd, log, environment, farewell)
        except _Unavailable as error:
            reason = str(error)
        self._way = "paths"
        try:
            return self._start("paths", arguments, cwd, log, environment, farewell)
        except ConfigurationError as error:
            error.message = f"{error.message} ({reason})"
            raise

    def check(self, cwd: str) -> None:
        """Whether a server could be started so.

        :raises ConfigurationError: here it could write what is the source's
        """
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"}
        with open(os.devnull, "wb") as nothing:
            self.start(["/bin/sh", "-c", "exit 0"], cwd, nothing, environment, 9).wait(_START_SECONDS)

    def _start(
        self, way: str, arguments: List[str], cwd: str, log: Any, environment: Dict[str, str], farewell: int
    ) -> subprocess.Popen[bytes]:
        reader, writer = os.pipe()
        request = {
            "way": way,
            "arguments": arguments,
            "cwd": cwd,
            "user": self.user._asdict() if self.user else None,
            "folders": self.folders,
            "maps": [[place, folder] for place, folder in self.maps.items()] if way == "namespace" else [],
            "root": str(self.root),
            "guarded": self.guarded,
            "system_identifier": self.system_identifier,
            "parent": os.getpid(),
            "farewell": int(farewell),
            "report": writer,
        }
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", SOURCE, json.dumps(request)],
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writer,),
                preexec_fn=child_setup(0, farewell),
            )
        except (OSError, subprocess.SubprocessError) as error:
            os.close(reader)
            raise RestoreError(f"{arguments[0]} did not run: {error}") from None
        finally:
            os.close(writer)
        with os.fdopen(reader, "rb") as file:
            said = file.read()
        if said:
            process.wait()
            raise _meaning(json.loads(said))
        return process


class _Unavailable(Exception):
    """There are no mount namespaces for us here."""


def _meaning(said: Dict[str, str]) -> Exception:
    kind, text = said["kind"], said["text"]
    if kind == "unavailable":
        return _Unavailable(text)
    if kind == "doubt":
        return ConfigurationError(
            f"WAL of the source is not replayed here, where it might write what is the source's: {text}.", _REMEDY
        )
    if kind == "place":
        return _no_place(text)
    return RestoreError(f"The server could not be started apart from all others: {text}", _REMEDY)


def _no_place(text: str) -> RestoreError:
    return RestoreError(
        f"A tablespace that was made after the backup cannot be replayed here: {text}.",
        f"Make a new physical backup: it has the tablespace. {_REMEDY}",
    )


def servers_here(read: Callable[[str], str] = os.readlink) -> List[str]:
    """Data directories of the servers that run on this host, and what they have elsewhere: tablespaces, WAL, logs.

    Those of others only as far as we may see them: what cannot be seen, cannot be written either.
    """
    found = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError):
            data = read(f"/proc/{name}/cwd")
            if os.path.isfile(f"/proc/{name}/cwd/postmaster.pid"):
                found.update([data, *_places_of(data)])
    return sorted(found)


def _places_of(data: str) -> List[str]:
    """What a data directory has outside of itself, absolute paths."""
    found: List[str] = []
    with suppress(OSError):
        found += [entry.path for entry in os.scandir(data) if entry.is_symlink()]
    with suppress(OSError):
        found += [os.path.join(data, "pg_tblspc", each) for each in os.listdir(os.path.join(data, "pg_tblspc"))]
    found = [os.path.realpath(path) for path in found]
    with suppress(OSError, UnicodeDecodeError):
        for line in Path(data, "current_logfiles").read_text(encoding="utf-8").splitlines():
            found.append(os.path.dirname(os.path.join(data, line.partition(" ")[2])))
    return [path for path in found if os.path.isabs(path)]
