# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""pg_restore, as a drill and a restore run it."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, List

from .._work.job import DRILL, Kind
from .._work.programs import Program
from ..checks import Check
from ..checks import unknown as unknown_check
from ..database import libpq_environment
from ..errors import BackupError
from .instance import failed

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]


#: What the restored database's own settings would forbid.
FREE = "-c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off"


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
        if "does not exist" in error.message:
            remedy += " If a function does not find what it names, give it a search_path in the source (ALTER FUNCTION"
            remedy += " ... SET search_path = ...) and back up again; this one restores with restore_search_path."
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
