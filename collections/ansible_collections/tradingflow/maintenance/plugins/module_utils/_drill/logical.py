# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores the logical format: pg_dump's directory, and the roles it needs."""

from __future__ import annotations

from typing import Any, Dict, List

from .._postgres import globals as shared
from .._postgres import programs, toc
from .._postgres.restoring import FREE, as_name, execute, left_out, made_with, run_program, size_of
from .._postgres.sql import NotUnderstood
from .._postgres.statistics import analyzed
from .._postgres.unprivileged import Unprivileged
from .._recovery_points.fetch import Download
from .._recovery_points.files import space as files_space
from .._work.job import DRILL
from .._work.progress import Progress
from ..database import connected, quoted
from ..errors import RestoreError
from .base import Engine

#: A database that pg_restore and we may be connected to while the restored one is made.
ELSEWHERE = "template1"
_FETCHERS = 4


class Logical(Engine):
    """The dump of one database, restored into a new cluster."""

    name = "logical"
    programs = ("initdb", "postgres", "pg_restore")

    @staticmethod
    def space(point: Dict[str, Any]) -> int:
        """Bytes that a drill needs on the disk at once: objects, database with its sorts and WAL, unpacked files."""
        database = int(int(point["database"]["size"]) * 1.25) + (512 << 20)
        return database + int(point["totals"]["bytes"]) + files_space(point)

    def fetch(self, progress: Progress) -> None:
        """Brings all objects.

        :raises RestoreError: one is not as recorded
        """
        download = Download(self.s3, self.options["storage"], self.point, self.objects)
        total = int(self.point["totals"]["bytes"])
        progress.phase("fetch", lambda: {"bytes_done": download.bytes_done, "bytes_total": total})
        download.run(max(_FETCHERS, self.options["jobs"]), progress.tick)

    def bring_up(self, progress: Progress) -> str:
        """Starts the instance and restores into it.

        :returns: the restored database's name
        :raises RestoreError: with PostgreSQL's message
        """
        progress.phase("start")
        self.instance.start(progress.tick)
        name = str(self.point["database"]["name"])
        progress.phase("restore")
        self._globals()
        self._database(name)
        self.apart = Unprivileged(self.instance.database(name), self._contents, f"{self.instance.superuser}_apart")
        with connected(self.instance.database(ELSEWHERE), statement_timeout=0) as connection:
            total = int(self.point["database"]["size"])
            progress.phase("restore", lambda: {"bytes_done": size_of(connection, name), "bytes_total": total})
            for entries in self.apart.everything():
                self.apart.restore(entries, lambda *what: self._pg_restore(progress, *what))
        # What a restored database needs before anybody uses it; the connection that measured the phase is gone.
        progress.phase("restore")
        self.found += [check for check in [analyzed(self.instance.database(name), progress.tick, "drill")] if check]
        return name

    def reader(self, name: str) -> Dict[str, Any]:
        """Looks at everything, without a superuser's rights: views call functions as whoever looks."""
        return self.apart.reader

    def hand_over(self) -> None:
        """See Engine.hand_over."""
        self.apart.end()

    @property
    def _tablespaces(self) -> bool:
        """Whether the server knows tablespaces in place."""
        return programs.version(self.tools["postgres"])[0] >= 15

    def _globals(self) -> None:
        try:
            found = shared.read((self.objects / "database/globals.sql").read_bytes(), made_with(self.point))
        except NotUnderstood as error:
            text = f"The recovery point's roles and tablespaces (globals.sql) are not understood: {error}"
            raise RestoreError(text, "Make another backup now, and find out who wrote this one.") from None
        if found.unknown:
            self.found.append(left_out(found.unknown, "drill"))
        with connected(self.instance.database(ELSEWHERE), statement_timeout=0) as connection:
            if self._tablespaces:
                execute(connection, ["SET allow_in_place_tablespaces = on"], DRILL)
            execute(connection, shared.of_scratch(found, tablespaces=self._tablespaces), DRILL)

    def _database(self, name: str) -> None:
        """Makes the database with encoding, collation, owner, rights and settings as they were, as a restore would."""
        try:
            self._contents = toc.read(self.objects / "database/toc.dat")
            made, _wanted = shared.of_database(self._contents, name, tablespaces=self._tablespaces)
        except NotUnderstood as error:
            text = f"The dump's table of contents is not understood: {error}"
            raise RestoreError(text, "Make another backup now with this version's pg_dump, and drill that.") from None
        with connected(self.instance.database(ELSEWHERE), statement_timeout=0) as connection:
            execute(connection, [f"DROP DATABASE IF EXISTS {quoted(name)}", *made], DRILL)

    def _pg_restore(self, progress: Progress, into: Dict[str, Any], entries: List[toc.Entry], *options: str) -> None:
        def more() -> str:
            full = self.instance.out_of_space()
            if self.instance.running() and not full:
                return ""
            return f" The server said: {full or self.instance.last_words()}"

        arguments = [self.tools["pg_restore"], "--exit-on-error", f"--jobs={self.options['jobs']}", "--no-password"]
        arguments += [*options, "--no-subscriptions", f"--dbname={as_name(into['name'])}"]
        arguments += [] if self._tablespaces else ["--no-tablespaces"]
        toc.write_list(self.folder / "entries.list", entries)
        arguments += [f"--use-list={self.folder / 'entries.list'}", str(self.objects / "database")]
        run_program(arguments, into, progress.tick, more, DRILL, PGOPTIONS=FREE)
