# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A named restore point in the WAL, and a snapshot of exactly what is there when the WAL is replayed up to it."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

from ..database import connected, one_line
from ..errors import ConfigurationError, DatabaseError
from . import table_locks
from .snapshot import MODE, SETTINGS, Snapshot

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: How often it is tried to find a moment in which nothing commits, and for how long at most.
TRIES, SECONDS = 200, 30.0

# In one message: on a busy server something commits each millisecond, and a round trip may take longer than that.
# Settings carry the values, since only the last statement's answer is given.
_NAME = """
SELECT set_config('tradingflow.snapshot', pg_current_snapshot()::text, true),
  set_config('tradingflow.exported', pg_export_snapshot(), true);
SELECT set_config('tradingflow.lsn', pg_create_restore_point(%s)::text, true);
SELECT set_config('tradingflow.sessions',
    coalesce(json_agg(json_build_array(id::text::bigint, idle)), '[]')::text, true)
  FROM (SELECT backend_xid, state IS NOT DISTINCT FROM 'idle in transaction' FROM pg_stat_activity
        UNION ALL SELECT transaction, false FROM pg_prepared_xacts) transactions (id, idle)
  WHERE id IS NOT NULL;
SELECT current_setting('tradingflow.snapshot'), current_setting('tradingflow.exported'),
  current_setting('tradingflow.lsn'), to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  current_setting('tradingflow.sessions'), pg_current_snapshot()::text"""


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
    with connected(database, statement_timeout=0) as holding, connected(database, statement_timeout=0) as naming:
        if holding.server_version < 140000:
            raise ConfigurationError("The server is older than PostgreSQL 14.", "Use the engine logical for it.")
        with naming.cursor() as cursor:
            cursor.execute(SETTINGS)
            found, exported = _tried(cursor, name, tick, tries)

            def imported(holder: Any) -> None:
                # The locks and the restore point are the other session's, which stays.
                holder.execute(f"BEGIN {MODE}")
                holder.execute("SET TRANSACTION SNAPSHOT %s", (exported,))

            snapshot = Snapshot(database, holding, imported)
            # Where the restore point is, not what follows it; without another record the segment would not be archived
            # before archive_timeout.
            cursor.execute("SELECT pg_walfile_name(%s::pg_lsn - 1), pg_switch_wal()", (found.lsn,))
            segment = str(cursor.fetchone()[0])
            yield snapshot, snapshot.tables(logged=True), found._replace(segment=segment)


def _tried(cursor: Any, name: str, tick: Callable[[], None], tries: int) -> Tuple[RestorePoint, str]:
    """The restore point, and the exported snapshot that belongs to it, for as long as the transaction lasts."""
    deadline, pause, tried, relocked = time.monotonic() + SECONDS, 0.002, 0, 0
    while True:
        tick()
        tried += 1
        # Each of its statements has a snapshot of its own. Tables that are emptied or rewritten are so in older
        # snapshots, too.
        table_locks.begin(cursor, "ISOLATION LEVEL READ COMMITTED, READ ONLY", tick)
        # Recovery stops at the first of a name, so that every attempt has its own.
        attempt = name if tried == 1 else f"{name}_{tried}"
        try:
            cursor.execute(_NAME, (attempt,))
        except psycopg2.errors.InsufficientPrivilege as error:
            raise DatabaseError(
                f"The user may not name a restore point: {one_line(error)}",
                "Run playbooks/backup_setup.yml, which grants what roles/backup/README.md lists.",
            ) from None
        before, exported, lsn, at, sessions, after = cursor.fetchone()
        made = table_locks.missing(cursor)
        if made:
            relocked += 1
            if relocked == table_locks.AGAIN:
                raise table_locks.made_meanwhile(made)
            cursor.execute("ROLLBACK")
            continue
        exact = before == after and nothing_commits(before, json.loads(sessions))
        if exact or tried >= tries or time.monotonic() > deadline:
            return RestorePoint(attempt, lsn, at, exact, "", tried), exported
        cursor.execute("ROLLBACK")
        time.sleep(pause)
        pause = min(pause * 1.2, 0.25)


def nothing_commits(snapshot: str, sessions: List[Tuple[int, bool]]) -> bool:
    """Whether no transaction can have been committing when the restore point was named, right after the snapshot.

    A commit is in the WAL before others see it: a transaction that is under way may be on either side of the restore
    point. Not so when its session is idle in it. Of a prepared one nobody can tell.

    :param snapshot: it names those under way that began before the last one that ended; the others are in no snapshot
    :param sessions: the 32-bit transaction, and whether its session is idle in it, of all that have one
    """
    idle = {transaction for transaction, is_idle in sessions if is_idle}
    running = {transaction for transaction, _idle in sessions}
    named = {int(each) % (1 << 32) for each in snapshot.split(":")[2].split(",") if each}
    return running | named <= idle
