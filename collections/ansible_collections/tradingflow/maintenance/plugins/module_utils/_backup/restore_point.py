# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A named restore point in the WAL, and a snapshot of exactly what is there when the WAL is replayed up to it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

from ..database import connected, one_line
from ..errors import ConfigurationError, DatabaseError
from .snapshot import Snapshot, quoted

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: How often it is tried to find a moment in which nothing commits, and for how long at most.
TRIES, SECONDS = 200, 30.0


class RestorePoint(NamedTuple):
    """A named restore point.

    :param exact: whether the snapshot has exactly what was committed before it
    :param segment: name of the WAL segment that holds it; it is complete
    """

    name: str
    lsn: str
    at: str
    exact: bool
    segment: str
    tries: int


@contextmanager
def snapshot_at(
    database: Dict[str, Any], name: str, tick: Callable[[], None] = lambda: None, *, tries: int = TRIES
) -> Iterator[Tuple[Snapshot, List[Dict[str, Any]], RestorePoint]]:
    """A snapshot with its tables, and the restore point that it belongs to.

    :param name: of the restore point; a number is added when it takes more than one
    :raises DatabaseError: the user may not, or a statement failed
    :raises ConfigurationError: the server is a standby
    """
    with connected(database, statement_timeout=0) as holding, connected(database) as naming:
        if holding.server_version < 140000:
            raise ConfigurationError("The server is older than PostgreSQL 14.", "Use the engine logical for it.")
        with naming.cursor() as cursor:
            snapshot, tables, found = _tried(database, holding, cursor, name, tick, tries)
            # Without another record the segment would not be archived before archive_timeout.
            cursor.execute("SELECT pg_walfile_name(%s::pg_lsn), pg_switch_wal()", (found.lsn,))
            segment = str(cursor.fetchone()[0])
        yield snapshot, tables, found._replace(segment=segment)


def _tried(
    database: Dict[str, Any], holding: Any, cursor: Any, name: str, tick: Callable[[], None], tries: int
) -> Tuple[Snapshot, List[Dict[str, Any]], RestorePoint]:
    deadline, pause, tried = time.monotonic() + SECONDS, 0.002, 0
    while True:
        tick()
        tried += 1
        snapshot, tables = _locked(database, holding)
        before = str(snapshot.value("SELECT pg_current_snapshot()::text"))
        # Recovery stops at the first of a name, so that every attempt has its own.
        attempt = name if tried == 1 else f"{name}_{tried}"
        try:
            cursor.execute("SELECT pg_create_restore_point(%s)::text", (attempt,))
        except psycopg2.errors.InsufficientPrivilege as error:
            raise DatabaseError(
                f"The user may not name a restore point: {one_line(error)}",
                "Run playbooks/backup_setup.yml, which grants what roles/backup/README.md lists.",
            ) from None
        lsn = str(cursor.fetchone()[0])
        cursor.execute("""SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""")
        at = str(cursor.fetchone()[0])
        quiet = nothing_commits(cursor, before)
        # Last: what ended while it was looked for is seen here.
        cursor.execute("SELECT pg_current_snapshot()::text")
        exact = quiet and str(cursor.fetchone()[0]) == before
        if exact or tried >= tries or time.monotonic() > deadline:
            return snapshot, tables, RestorePoint(attempt, lsn, at, exact, "", tried)
        snapshot.close()
        time.sleep(pause)
        pause = min(pause * 1.2, 0.25)


def _locked(database: Dict[str, Any], connection: Any) -> Tuple[Snapshot, List[Dict[str, Any]]]:
    """A snapshot in which no table is emptied or rewritten: these are seen by older snapshots, too."""
    for _again in range(5):
        looking = Snapshot(database, connection)
        names = [f"ONLY {quoted(t['schema'])}.{quoted(t['name'])}" for t in looking.tables(logged=True)]
        looking.close()
        lock = f"LOCK TABLE {', '.join(names)} IN ACCESS SHARE MODE" if names else ""
        try:
            snapshot = Snapshot(database, connection, lock)
        except psycopg2.errors.UndefinedTable:
            connection.cursor().execute("ROLLBACK")
            continue
        return snapshot, snapshot.tables(logged=True)
    raise DatabaseError("Tables are dropped all the time.", "Back up when no migration is under way.")


def nothing_commits(cursor: Any, snapshot: str) -> bool:
    """Whether no transaction can have been committing when the restore point was named, a moment ago.

    A commit is in the WAL before others see it: a transaction that is under way may be on either side of the restore
    point. Not so when its session is idle in it. Of a prepared one nobody can tell.

    :param snapshot: it names those under way that began before the last one that ended; the others are in no snapshot
    """
    cursor.execute(
        "SELECT backend_xid::text::bigint, state = 'idle in transaction', (SELECT count(*) FROM pg_prepared_xacts)"
        " FROM (SELECT 1) one LEFT JOIN pg_stat_activity ON backend_xid IS NOT NULL"
    )
    rows = cursor.fetchall()
    idle = {int(row[0]) for row in rows if row[0] is not None and row[1]}
    running = {int(row[0]) for row in rows if row[0] is not None}
    named = {int(each) % (1 << 32) for each in snapshot.split(":")[2].split(",") if each}
    return not rows[0][2] and running | named <= idle
