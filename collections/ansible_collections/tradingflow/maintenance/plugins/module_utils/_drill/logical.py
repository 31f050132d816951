# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores the logical format: pg_dump's directory, and the roles it needs."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, List

from .._backup import programs
from .._backup.programs import Program
from .._backup.progress import Progress
from .._backup.snapshot import quoted
from .._postgres import globals as shared
from .._postgres import toc
from .._postgres.sql import NotUnderstood
from ..checks import Check
from ..checks import unknown as unknown_check
from ..database import connected, libpq_environment
from ..errors import BackupError, RestoreError
from ..job import DRILL, Kind
from .base import Engine
from .fetch import Download
from .files import space as files_space
from .instance import failed
from .statistics import analyzed

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: A database that pg_restore and we may be connected to while the restored one is made.
ELSEWHERE = "template1"
#: What the restored database's own settings would forbid.
FREE = "-c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off"
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
        arguments = [self.tools["pg_restore"], "--exit-on-error", f"--jobs={self.options['jobs']}", "--no-password"]
        arguments += ["--no-subscriptions", f"--dbname={as_name(name)}"]
        if not self._tablespaces:
            arguments.append("--no-tablespaces")
        with connected(self.instance.database(ELSEWHERE), statement_timeout=0) as connection:
            total = int(self.point["database"]["size"])
            progress.phase("restore", lambda: {"bytes_done": size_of(connection, name), "bytes_total": total})
            self._run([*arguments, str(self.objects / "database")], progress, PGOPTIONS=FREE)
        # What a restored database needs before anybody uses it; the connection that measured the phase is gone.
        progress.phase("restore")
        self.found += [check for check in [analyzed(self.instance.database(name), progress.tick, "drill")] if check]
        return name

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
            contents = toc.read(self.objects / "database/toc.dat")
            made, _wanted = shared.of_database(contents, name, tablespaces=self._tablespaces)
        except NotUnderstood as error:
            text = f"The dump's table of contents is not understood: {error}"
            raise RestoreError(text, "Make another backup now with this version's pg_dump, and drill that.") from None
        with connected(self.instance.database(ELSEWHERE), statement_timeout=0) as connection:
            execute(connection, [f"DROP DATABASE IF EXISTS {quoted(name)}", *made], DRILL)

    def _run(self, arguments: List[str], progress: Progress, **environment: str) -> None:
        def more() -> str:
            return "" if self.instance.running() else f" The server said: {self.instance.last_words()}"

        run_program(arguments, self.instance.database(ELSEWHERE), progress.tick, more, DRILL, **environment)


def run_program(
    arguments: List[str],
    database: Dict[str, Any],
    tick: Callable[[], None],
    more: Callable[[], str] = lambda: "",
    kind: Kind = DRILL,
    **environment: str,
) -> None:
    """Runs one of PostgreSQL's programs to its end.

    :param more: what else there is to say when it fails
    :raises RestoreError: it failed; the message has its last words
    """
    try:
        with Program(arguments, {**libpq_environment(database), **environment}) as program:
            while not program.finished():
                tick()
                time.sleep(0.05)
    except BackupError as error:
        if not error.message.startswith(os.path.basename(arguments[0])):
            raise
        remedy = "Read PostgreSQL's message; this recovery point does not restore as it is."
        raise failed(f"{error.message}{more()}", remedy, kind) from None


def execute(connection: Any, made: List[str], kind: Kind) -> None:
    """Runs statements that were written anew, one at a time: no program that has commands of its own reads them.

    :raises RestoreError: the server refuses one
    """
    with connection.cursor() as cursor:
        # What they are written for.
        cursor.execute("SET client_encoding = 'UTF8'; SET default_transaction_read_only = off; SET lock_timeout = 0")
        for statement in made:
            try:
                cursor.execute(statement)
            except (psycopg2.Error, UnicodeEncodeError) as error:
                # Without the statement, which may have a secret in it.
                said = getattr(getattr(error, "diag", None), "message_primary", None) or type(error).__name__
                what = " ".join(statement.split(None, 2)[:2])
                text = f"The server refused a statement of the recovery point ({what} ...): {said}"
                remedy = "Read PostgreSQL's message; this recovery point does not restore as it is."
                raise failed(text, remedy, kind) from None


def made_with(point: Dict[str, Any]) -> str:
    """Version of the pg_dump and pg_dumpall that made a recovery point."""
    return str(point["engine"].get("pg_dump") or "0")


def left_out(unknown: List[str], kind: str) -> Check:
    """Statements that were not run, as nobody knows them."""
    text = f"{len(unknown)} statements of globals.sql are not known here and were not run: {'; '.join(unknown[:3])} ..."
    remedy = "Look at them, run the ones you want by hand, and report this."
    return unknown_check(f"{kind}.globals", "Roles and tablespaces", text, remedy)


def as_name(name: str) -> str:
    """A database's name as a connection string, so that one with = or :// in it is not read as one."""
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def size_of(connection: Any, name: str) -> int:
    """Bytes of a database, 0 when there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(oid) FROM pg_database WHERE datname = %s", (name,))
        row = cursor.fetchone()
    return int(row[0]) if row else 0
