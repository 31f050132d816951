# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database's part: pg_dump in its directory format, uploaded while it is written, and the globals."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set, Tuple, Union

from .._postgres import globals as shared
from .._postgres.measuring import Measuring
from .._postgres.programs import compress_arguments, version
from .._postgres.snapshot import Snapshot
from .._postgres.sql import NotUnderstood
from .._storage.squeeze import Squeezed, Squeezer
from .._storage.upload import ObjectStream, Uploader
from .._work.programs import Program, run_to_text
from .._work.scratch import Tail, Watch
from ..database import libpq_environment
from ..errors import BackupError

Stream = Union[ObjectStream, Squeezed]

#: How long a table lock may be waited for: a migration under way ends the backup instead of hanging it.
LOCK_WAIT_MS = 60000


class Dump:
    """pg_dump into a directory whose files leave for the store as they grow.

    :param scratch_limit: bytes written and not yet uploaded after which pg_dump is paused
    :param squeezer: compresses the data in place of pg_dump
    """

    def __init__(
        self,
        snapshot: Snapshot,
        uploader: Uploader,
        prefix: str,
        directory: Path,
        *,
        program: str,
        major: int,
        compression: str,
        level: int,
        jobs: int,
        nice: int,
        scratch_limit: int,
        squeezer: Optional[Squeezer] = None,
    ) -> None:
        self.directory = directory
        self._snapshot = snapshot
        self._uploader = uploader
        self._prefix = prefix
        self._limit = scratch_limit
        self._nice = nice
        self._squeezer = squeezer
        self._open: Dict[str, Tuple[Tail, Stream]] = {}
        self._closed: Set[str] = set()
        self.bytes_done = 0
        self.peak = 0
        self._arguments = [
            program,
            "--format=directory",
            f"--file={directory}",
            f"--jobs={jobs}",
            f"--snapshot={snapshot.id}",
            f"--lock-wait-timeout={LOCK_WAIT_MS}",
            # Nothing is kept here: syncing to disk would only cost.
            "--no-sync",
            "--no-password",
            # A restore never makes them, and their passwords would lie in the dump in clear.
            "--no-subscriptions",
            *(compress_arguments(major, "none", 0) if squeezer else compress_arguments(major, compression, level)),
        ]

    def run(self, tick: Callable[[], None], measuring: Measuring) -> None:
        """Dumps and uploads everything; returns when all is handed to the uploader.

        :raises BackupError: pg_dump failed
        :raises StorageError: an upload failed
        """
        # pg_dump takes an empty directory; made by us it can be watched from the first file on.
        self.directory.mkdir(mode=0o700)
        watch = Watch(self.directory)
        environment = libpq_environment(self._snapshot.database)
        try:
            with Program(self._arguments, environment, self._nice) as program:
                while True:
                    ended = program.finished()
                    self._closed.update(watch.closed(0.01 if ended else 0.05))
                    self._follow(ended)
                    measuring.check()
                    tick()
                    waiting = sum(tail.waiting() for tail, _writer in self._open.values())
                    self.peak = max(self.peak, waiting)
                    program.pause(waiting > self._limit)
                    if ended and not self._open:
                        return
        finally:
            watch.close()

    def _follow(self, ended: bool) -> None:
        for path in sorted(self.directory.iterdir()):
            name = path.name
            contents = name == "toc.dat" or name.endswith(".toc")
            # Tables of contents are small and may be opened again: they go when pg_dump is done.
            if name not in self._open and (ended or not contents):
                self._open[name] = (Tail(path), self._stream(name, contents))
        for name in list(self._open):
            tail, stream = self._open[name]
            # Whether it is complete is asked first: what was written before that is then all there is.
            complete = ended or name in self._closed
            if self._drain(tail, stream) and complete and self._uploader.room():
                stream.close()
                tail.remove()
                del self._open[name]

    def _stream(self, name: str, contents: bool) -> Stream:
        if contents or self._squeezer is None:
            role = "table of contents" if name == "toc.dat" else "data"
            return self._uploader.stream(f"{self._prefix}/{name}", role)
        # pg_restore looks for NAME, then for NAME.gz, whatever the table of contents says of compression.
        return Squeezed(self._squeezer, self._uploader.stream(f"{self._prefix}/{name}.gz", "data"))

    def _drain(self, tail: Tail, stream: Stream) -> bool:
        """Reads on as long as nobody has to wait for the store: waiting here would leave the brake unheld."""
        while self._uploader.room():
            data = tail.read()
            if not data:
                return True
            stream.write(data)
            self.bytes_done += len(data)
        return False


def dump_globals(program: str, database: Dict[str, Any], uploader: Uploader, key: str) -> None:
    """Uploads roles and tablespaces as SQL, without the roles' passwords: only a superuser may read these.

    :raises BackupError: pg_dumpall failed, or what it gave cannot be restored from
    """
    environment = libpq_environment(database)
    text = run_to_text([program, "--globals-only", "--no-role-passwords", "--no-password"], environment)
    data = text.encode("utf-8", "surrogateescape")
    try:
        shared.read(data, ".".join(map(str, version(program))))
    except NotUnderstood as error:
        raise BackupError(
            f"The roles and tablespaces that pg_dumpall gave cannot be restored from: {error}",
            "Install the newest minor version of the PostgreSQL client; look for roles with odd names.",
        ) from None
    uploader.put(key, data, "globals")


def in_clear(snapshot: Snapshot) -> Dict[str, List[str]]:
    """What the dump leaves out as it has passwords (subscriptions), and what of that kind is in it (user mappings)."""
    subscriptions = snapshot.optional(
        "SELECT array_agg(subname::text ORDER BY subname) FROM pg_subscription s"
        " JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()"
    )
    # Options of others' mappings can be seen by superusers alone: what we cannot see is not in the dump either.
    mappings = snapshot.optional(
        "SELECT array_agg(format('%s for %s', srvname, usename) ORDER BY 1) FROM pg_user_mappings"
        " WHERE EXISTS (SELECT FROM unnest(umoptions) o WHERE split_part(o, '=', 1) <> 'user')"
    )
    return {"subscriptions": list(subscriptions or []), "user_mappings": list(mappings or [])}
