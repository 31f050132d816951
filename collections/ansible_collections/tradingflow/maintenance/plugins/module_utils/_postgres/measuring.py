# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row counts and digests of all tables in one snapshot, which a restore is compared with."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any, Callable, Dict, Iterator, List, Optional

from ..database import OURS, connected, one_line, quoted
from ..errors import DatabaseError, MaintenanceError
from .snapshot import MODE, SETTINGS, Snapshot, algorithm

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: Classes of errors (the first two of SQLSTATE's characters) that are about more than one table's definition: damaged
#: data, input and output, resources, a server that goes down, an unusable transaction, no connection.
_GRAVE = ("XX", "58", "53", "57", "25", "08")


#: Why a table is not asked by a superuser.
CALLING = "an index or statistics of it call functions of others, which would run as a superuser"


def measure(connection: Any, table: Dict[str, Any], digests: bool) -> Dict[str, Any]:
    """Row count and digest of a table in the connection's transaction: an entry of a recovery point's tables.

    :param table: as Snapshot.tables gives it
    """
    hashed = f"sum({table['expression']})::text" if digests else "NULL"
    source = f"{quoted(table['schema'])}.{quoted(table['name'])}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {OURS} count(*), {hashed} FROM ONLY {source} {table['condition']}"  # noqa: S608 quoted
        )
        count, digest = cursor.fetchone()
    if not digests:
        return _entry(table, count, None, None)
    return _entry(table, count, digest or "0", algorithm(connection.server_version))


def _entry(
    table: Dict[str, Any], rows: Optional[int], digest: Optional[str], algorithm: Optional[str]
) -> Dict[str, Any]:
    place = {name: table[name] for name in ("oid", "schema", "name")}
    return {**place, "rows": None if rows is None else int(rows), "digest": digest, "algorithm": algorithm}


def rows_of(tables: List[Dict[str, Any]]) -> int:
    """Rows of all tables whose count is known."""
    return sum(int(table["rows"]) for table in tables if table["rows"] is not None)


class _Sink:
    """Takes what nobody wants to have."""

    @staticmethod
    def write(data: bytes) -> int:
        return len(data)


def _ways(connection: Any, table: Dict[str, Any], digests: bool) -> Iterator[Callable[[], Dict[str, Any]]]:
    """How a table can be measured, the best first."""
    calling = bool(table.get("calling"))
    if digests and not calling:
        yield lambda: measure(connection, table, True)
    if not calling:
        yield lambda: measure(connection, table, False)

    def copied() -> Dict[str, Any]:
        # Nothing is planned for it, as for pg_dump's: indexes and what they call do not matter.
        with connection.cursor() as cursor:
            source = f"{quoted(table['schema'])}.{quoted(table['name'])}"
            if table["condition"] and not calling:
                source = f"(SELECT * FROM ONLY {source} {table['condition']})"  # noqa: S608 quoted
            cursor.copy_expert(f"COPY {source} TO STDOUT", _Sink)
            return _entry(table, cursor.rowcount, None, None)

    yield copied


def measured(connection: Any, table: Dict[str, Any], digests: bool) -> Dict[str, Any]:
    """Like measure; what cannot be measured is None, and "unmeasured" says why.

    One index on a function that does not find another without a search_path is enough for a table that no query can
    read here, and that is dumped all the same.

    :raises DatabaseError: it is damaged, or the trouble is not this table's
    """
    why = CALLING if table.get("calling") else ""
    with connection.cursor() as cursor:
        for way in _ways(connection, table, digests):
            cursor.execute("SAVEPOINT measured")
            try:
                result = way()
                cursor.execute("RELEASE SAVEPOINT measured")
                return {**result, "unmeasured": why} if why else result
            except psycopg2.Error as error:
                if connection.closed or (error.pgcode or "08")[:2] in _GRAVE:
                    raise DatabaseError(
                        f"Table {table['schema']}.{table['name']} could not be read: {one_line(error)}",
                        "Read the message. If the table is damaged, keep all earlier backups and look at the disk.",
                    ) from None
                why = why or one_line(error)
                cursor.execute("ROLLBACK TO SAVEPOINT measured")
                if isinstance(error, psycopg2.errors.LockNotAvailable):
                    break
    return {**_entry(table, None, None, None), "unmeasured": why}


class Measuring:
    """Counts and digests of all tables, computed by sessions of their own while the dump runs.

    :param sessions: at a time
    """

    def __init__(self, snapshot: Snapshot, tables: List[Dict[str, Any]], *, digests: bool, sessions: int) -> None:
        self._todo = list(reversed(tables))
        self._done: Dict[int, Dict[str, Any]] = {}
        self._order = [table["oid"] for table in tables]
        self._snapshot = snapshot
        self._digests = digests
        self._lock = threading.Lock()
        self._connections: List[Any] = []
        self.bytes_done = 0
        self.error: Optional[MaintenanceError] = None
        self._stop = False
        self._threads = [
            threading.Thread(target=self._run, name="measure", daemon=True)
            for _session in range(min(sessions, len(tables)))
        ]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        try:
            with connected(self._snapshot.database, statement_timeout=0) as connection:
                with self._lock:
                    self._connections.append(connection)
                with connection.cursor() as cursor:
                    cursor.execute(SETTINGS)
                    cursor.execute(f"BEGIN {MODE}")
                    cursor.execute("SET TRANSACTION SNAPSHOT %s", (self._snapshot.id,))
                while True:
                    with self._lock:
                        if not self._todo or self._stop:
                            return
                        table = self._todo.pop()
                    result = measured(connection, table, self._digests)
                    with self._lock:
                        self._done[table["oid"]] = result
                        self.bytes_done += table["bytes"]
        except MaintenanceError as error:
            with self._lock:
                self.error = self.error or error
                self._stop = True

    def check(self) -> None:
        """Raises what a session failed with."""
        if self.error is not None:
            raise self.error

    def finished(self) -> bool:
        """Whether all tables are measured."""
        self.check()
        return not any(thread.is_alive() for thread in self._threads)

    def results(self) -> List[Dict[str, Any]]:
        """Waits, and gives the entries in the order of the tables.

        :raises DatabaseError: one could not be measured
        """
        for thread in self._threads:
            thread.join()
        self.check()
        return [self._done[oid] for oid in self._order]

    def cancel(self) -> None:
        """Ends the sessions early."""
        self._stop = True
        with self._lock:
            for connection in self._connections:
                with suppress(psycopg2.Error):
                    connection.cancel()
        for thread in self._threads:
            thread.join(10)
