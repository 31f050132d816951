# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks on the tables of a backup, taken before its snapshot.

TRUNCATE and rewriting ALTER TABLEs are not MVCC-safe: a snapshot that is older than their commit sees the table empty.
Whoever holds ACCESS SHARE on a table before taking the snapshot keeps them out.
"""

from __future__ import annotations

import time
from typing import Any, Callable, List, Tuple

from ..database import one_line, quoted
from ..errors import DatabaseError

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: Seconds for which it is tried to get all locks.
SECONDS = 60.0
#: Longest wait for one lock. Shorter than deadlock_timeout, so that in a deadlock we give way, and not a migration.
WAIT_MS = 500
#: How often the tables are locked anew because others were made meanwhile.
AGAIN = 5

# What pg_dump locks: tables and partitioned tables, those of extensions where it dumps their rows. What the user may
# not read is left to pg_dump, which refuses it, and to the count, which is then unknown.
_NEEDED = """
SELECT c.oid, n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND (c.relpersistence = 'p' OR NOT pg_is_in_recovery())
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
  AND (EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY(e.extconfig))
       OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.objsubid = 0 AND d.deptype = 'e'))
ORDER BY c.oid"""

_NOT_LOCKED = f"""
SELECT needed.nspname || '.' || needed.relname FROM ({_NEEDED}) needed
WHERE NOT EXISTS (
  SELECT FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.relation = needed.oid)
LIMIT 3"""  # noqa: S608 both are constants


def begin(cursor: Any, mode: str, tick: Callable[[], None] = lambda: None, *, seconds: float = SECONDS) -> None:
    """Begins a transaction that holds ACCESS SHARE on all tables of a backup and has no snapshot yet.

    :param cursor: of a connection in autocommit, with snapshot.SETTINGS
    :param mode: what follows BEGIN
    :raises DatabaseError: a table stays locked by somebody else
    """
    deadline, pause = time.monotonic() + seconds, 0.05
    while True:
        tick()
        cursor.execute(_NEEDED)
        tables: List[Tuple[int, str, str]] = cursor.fetchall()
        cursor.execute(f"BEGIN {mode}")
        # Neither of these takes a snapshot.
        cursor.execute(f"SET LOCAL lock_timeout = {WAIT_MS}")
        try:
            if tables:
                names = ", ".join(f"ONLY {quoted(schema)}.{quoted(name)}" for _oid, schema, name in tables)
                cursor.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
            cursor.execute("SET LOCAL lock_timeout = '60s'")
            return
        # Dropped or renamed since they were listed, or locked by somebody else.
        except (
            psycopg2.errors.UndefinedTable,
            psycopg2.errors.InvalidSchemaName,
            psycopg2.errors.LockNotAvailable,
            psycopg2.errors.DeadlockDetected,
        ) as error:
            reason = one_line(error)
        cursor.execute("ROLLBACK")
        if time.monotonic() > deadline:
            raise DatabaseError(
                f"Not all tables could be locked within {seconds:.0f} s: {reason}",
                "A migration is under way or a session is idle in a transaction (pg_stat_activity, pg_locks):"
                " let it end, then back up again.",
            )
        time.sleep(pause)
        pause = min(pause * 2, 1)


def missing(cursor: Any) -> List[str]:
    """Tables, up to three, that the transaction sees and has no lock on: they were made while the others were locked.

    :param cursor: in the transaction that begin began
    """
    cursor.execute(_NOT_LOCKED)
    return [row[0] for row in cursor.fetchall()]


def made_meanwhile(tables: List[str]) -> DatabaseError:
    """The error when there are always new ones."""
    return DatabaseError(
        f"Tables were made while the others were locked, {AGAIN} times in a row: {', '.join(tables)}.",
        "A migration is under way: back up when it is done.",
    )
