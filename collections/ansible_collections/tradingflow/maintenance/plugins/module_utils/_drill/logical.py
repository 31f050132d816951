# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores the logical format: pg_dump's directory, and the roles it needs."""

from __future__ import annotations

import os
import re
import time
from typing import Any, Dict, List

from .._backup import programs
from .._backup.programs import Program
from .._backup.progress import Progress
from ..database import connected, libpq_environment
from ..errors import BackupError
from .base import Engine
from .fetch import Download
from .instance import failed

#: A database that pg_restore and we may be connected to while the restored one is made.
ELSEWHERE = "template1"
#: What the restored database's own settings would forbid.
_FREE = "-c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off"
_FETCHERS = 4


class Logical(Engine):
    """The dump of one database, restored into a new cluster."""

    name = "logical"
    programs = ("initdb", "postgres", "psql", "pg_restore")

    @staticmethod
    def space(point: Dict[str, Any]) -> int:
        """Bytes that a drill needs on the disk at once: objects, database with its sorts and WAL, unpacked files."""
        database = int(int(point["database"]["size"]) * 1.25) + (512 << 20)
        return database + int(point["totals"]["bytes"]) + int(point["application"].get("bytes") or 0)

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
        self._globals(self.tools["psql"], progress)
        # --create brings encoding, collation, owner, rights and settings of the database back as they were.
        arguments = [self.tools["pg_restore"], "--create", "--exit-on-error", f"--jobs={self.options['jobs']}"]
        arguments += ["--no-password", "--no-subscriptions", f"--dbname={ELSEWHERE}"]
        if name == "postgres":
            arguments += ["--clean", "--if-exists"]
        if programs.version(self.tools["postgres"])[0] < 15:
            arguments.append("--no-tablespaces")
        with connected(self.instance.database(ELSEWHERE), statement_timeout=0) as connection:
            total = int(self.point["database"]["size"])
            progress.phase("restore", lambda: {"bytes_done": _size(connection, name), "bytes_total": total})
            self._run([*arguments, str(self.objects / "database")], progress, PGOPTIONS=_FREE)
        with connected(self.instance.database(name), statement_timeout=0) as connection, connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")
            # What a restored database needs before anybody uses it.
            cursor.execute("ANALYZE")
        return name

    def _globals(self, psql: str, progress: Progress) -> None:
        source = self.objects / "database/globals.sql"
        major = programs.version(psql)[0]
        text = portable_globals(source.read_text("utf-8", "surrogateescape"), tablespaces=major >= 15)
        target = self.folder / "globals.sql"
        target.write_text(text, "utf-8", "surrogateescape")
        target.chmod(0o600)
        settings = f"{_FREE} -c allow_in_place_tablespaces=on" if major >= 15 else _FREE
        self._run(
            [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-w", "-d", ELSEWHERE, "-f", str(target)],
            progress,
            PGOPTIONS=settings,
        )

    def _run(self, arguments: List[str], progress: Progress, **environment: str) -> None:
        try:
            with Program(arguments, {**libpq_environment(self.instance.database(ELSEWHERE)), **environment}) as program:
                while not program.finished():
                    progress.tick()
                    time.sleep(0.05)
        except BackupError as error:
            if not error.message.startswith(os.path.basename(arguments[0])):
                raise
            said = error.message
            if not self.instance.running():
                said += f" The server said: {self.instance.last_words()}"
            raise failed(said, "Read PostgreSQL's message; this recovery point does not restore as it is.") from None


def portable_globals(text: str, *, tablespaces: bool) -> str:
    """Roles and tablespaces as they can be made in a scratch instance.

    Grants lose who granted them, as only the source's first superuser could. Tablespaces lose their place, which is
    another machine's.

    :param tablespaces: whether the server knows tablespaces in place; without them they are left out
    """
    lines = []
    for line in text.splitlines(keepends=True):
        if re.match(r"GRANT .* GRANTED BY .*;$", line):
            line = re.sub(r" GRANTED BY (\"(?:[^\"]|\"\")*\"|\S+);$", ";", line)
        elif re.match(r"CREATE TABLESPACE ", line) and tablespaces:
            line = re.sub(r" LOCATION '.*';$", " LOCATION '';", line)
        elif re.match(r"(CREATE|ALTER|COMMENT ON|(GRANT|REVOKE) .* ON) TABLESPACE ", line) and not tablespaces:
            continue
        lines.append(line)
    return "".join(lines)


def _size(connection: Any, name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(oid) FROM pg_database WHERE datname = %s", (name,))
        row = cursor.fetchone()
    return int(row[0]) if row else 0
