# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A light load on a copy: a few sessions that read and write its tables, and how long the migration stopped them."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

from ..database import connected, quoted
from .timeline import shown

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: Tables that are read and written, the largest first.
MOST = 40
#: Seconds between two statements of a session.
_PAUSE = 0.005
#: With the first column that an UPDATE may set to itself.
_TABLES = """SELECT n.nspname, c.relname,
CASE WHEN c.relkind <> 'm' AND has_table_privilege(c.oid, 'UPDATE') THEN (
  SELECT a.attname FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity <> 'a'
  ORDER BY a.attnum LIMIT 1) END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relpersistence <> 't'
AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relname <> 'alembic_version'
AND has_table_privilege(c.oid, 'SELECT')
ORDER BY pg_catalog.pg_total_relation_size(c.oid) DESC"""
_BLOCKED = "SELECT p FROM unnest(%s) p WHERE %s = ANY(pg_catalog.pg_blocking_pids(p))"

Table = Tuple[str, str, Optional[str]]


class Piece(NamedTuple):
    """What a session carries out at a time; whatever it writes is taken back.

    :param on: as the report names it
    :param kind: read, write or statement
    """

    on: str
    kind: str
    sql: str


def pieces(table: Table) -> List[Piece]:
    """A read of a table, and a write where there is a column to write."""
    schema, name, column = table
    sql = f"{quoted(schema)}.{quoted(name)}"
    found = [Piece(shown(schema, name), "read", f"SELECT * FROM {sql} LIMIT 1")]  # noqa: S608 quoted
    if column:
        update = (
            f"UPDATE {sql} SET {quoted(column)} = {quoted(column)}"  # noqa: S608 quoted
            f" WHERE ctid = (SELECT ctid FROM {sql} LIMIT 1)"
        )
        found.append(Piece(found[0].on, "write", update))
    return found


class Load:
    """The sessions; leaving the context ends them.

    :param database: the option "database" of the copy. Not as a superuser: tables may have triggers of anybody's
    :param sessions: how many, half of them writers; 0 for no load
    :param statements: of the platform's own, carried out besides reads and writes of single rows
    :param only: tables, without which others are left alone
    :ivar blocked: what waited for the migration: on, kind (read, write, statement), at and seconds
    :ivar lost: sessions that ended before they were told to
    :ivar tables: names of those that are read and written
    :ivar errors: what failed, by its words, and how often
    :ivar done: statements that were carried out
    """

    def __init__(
        self,
        database: Dict[str, Any],
        sessions: int,
        statements: Iterable[str] = (),
        only: Optional[List[Tuple[str, str]]] = None,
    ) -> None:
        self._database = database
        self._count = sessions
        self._statements = [Piece(" ".join(each.split())[:100], "statement", each) for each in statements]
        self._only = only
        self._stop = threading.Event()
        self._workers: List[_Worker] = []
        self.blocked: List[Dict[str, Any]] = []
        self.errors: Dict[str, int] = {}
        self.done = 0
        self.lost = 0
        self.tables: List[str] = []

    def __enter__(self) -> Load:
        with connected(self._database, statement_timeout=60, pinned=True) as connection, connection.cursor() as cursor:
            cursor.execute(_TABLES)
            tables: List[Table] = [(row[0], row[1], row[2]) for row in cursor.fetchall()]
        if self._only:
            tables = [table for table in tables if table[:2] in self._only] or tables
        tables = tables[:MOST]
        self.tables = [shown(*table[:2]) for table in tables]
        reads, writes = [], []
        for table in tables:
            read, *write = pieces(table)
            reads.append(read)
            writes += write or [read]
        for number in range(self._count if tables or self._statements else 0):
            work = [*self._statements, *(writes if number % 2 else reads)]
            worker = _Worker(self._database, work, number, self._stop)
            self._workers.append(worker)
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.join(60)
            self.lost += worker.lost
            self.blocked += worker.blocked
            self.done += worker.done
            for text, count in worker.errors.items():
                self.errors[text] = self.errors.get(text, 0) + count

    def look(self, cursor: Any, pid: int) -> None:
        """Marks the sessions that wait for a process now.

        :param cursor: of a connection that is not one of them
        """
        pids = {worker.pid: worker for worker in self._workers if worker.pid}
        if pids:
            cursor.execute(_BLOCKED, (list(pids), pid))
            for (found,) in cursor.fetchall():
                pids[found].waits = True


def together(blocked: List[Dict[str, Any]]) -> float:
    """Seconds in which at least one was blocked."""
    total, until = 0.0, 0.0
    for each in sorted(blocked, key=lambda each: float(each["at"])):
        end = each["at"] + each["seconds"]
        total += max(0.0, end - max(until, each["at"]))
        until = max(until, end)
    return round(total, 3)


class _Worker(threading.Thread):
    """One session. What it writes, it takes back."""

    def __init__(self, database: Dict[str, Any], work: List[Piece], number: int, stop: threading.Event) -> None:
        super().__init__(name=f"load {number}", daemon=True)
        self._database = database
        self._work = work
        self._number = number
        self._stopped = stop
        self._connection: Any = None
        self.pid = 0
        self.waits = False
        self.lost = False
        self.blocked: List[Dict[str, Any]] = []
        self.errors: Dict[str, int] = {}
        self.done = 0

    def run(self) -> None:
        try:
            with connected(self._database, statement_timeout=0) as connection:
                self._connection = connection
                self.pid = connection.info.backend_pid
                place = self._number
                while not self._stopped.is_set():
                    self._one(connection, self._work[place % len(self._work)])
                    place += 1
                    self._stopped.wait(_PAUSE)
        except Exception as error:
            # Whoever looks at the load must know that there was less of it.
            if not self._stopped.is_set():
                self.lost = True
                self._failed(error)
        finally:
            self.pid = 0

    def _one(self, connection: Any, piece: Piece) -> None:
        self.waits, began = False, time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                cursor.execute(piece.sql)
                self.done += 1
            except psycopg2.Error as error:
                if connection.closed or self._stopped.is_set():
                    raise
                self._failed(error)
            finally:
                if not connection.closed:
                    cursor.execute("ROLLBACK")
        if self.waits:
            seconds = round(time.monotonic() - began, 3)
            self.blocked.append({"on": piece.on, "kind": piece.kind, "at": round(began, 3), "seconds": seconds})

    def _failed(self, error: Exception) -> None:
        lines = str(getattr(error, "message", error)).strip().splitlines()
        text = (lines[0] if lines else type(error).__name__)[:200]
        if len(self.errors) < 50 or text in self.errors:
            self.errors[text] = self.errors.get(text, 0) + 1

    def end(self) -> None:
        """Ends what it waits for."""
        with suppress(Exception):
            if self._connection is not None and not self._connection.closed:
                self._connection.cancel()
