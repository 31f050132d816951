# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits between batches: while replicas lag, others wait for locks, a VACUUM is at work, or much WAL is written."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..errors import DataUpdateError
from ..words import human, plural, span
from .session import Session
from .table import Table

#: Hidden from a role without pg_monitor. Who only receives WAL, such as pg_receivewal, replays nothing.
_REPLICAS = """SELECT application_name, state IS NULL,
  pg_wal_lsn_diff(coalesce(replay_lsn, flush_lsn, write_lsn), '0/0')::float
FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup'"""
#: Sessions in line for a lock of the table. VACUUM and its like at it, by whomever: others' progress is hidden
#: from most roles, and locks from nobody. Where the server is in its WAL, and whether anybody receives it.
_LOOK = """SELECT count(DISTINCT pid) FILTER (WHERE NOT granted), count(*) FILTER (WHERE granted
  AND mode = 'ShareUpdateExclusiveLock' AND pid <> pg_backend_pid()),
  pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float, EXISTS (SELECT FROM pg_stat_get_wal_senders())
FROM pg_locks WHERE relation = ANY(%s)
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_RELATIONS = """SELECT array_agg(relid) FROM (SELECT relid::oid FROM pg_partition_tree(%(oid)s)
UNION SELECT %(oid)s::oid) t"""

_POLL = 0.5


class Throttle:
    """Looks whether the next batch may begin.

    :ivar waits: reason -> seconds waited for it
    """

    def __init__(self, session: Session, table: Table, limits: Dict[str, Any], tick: Callable[[], None]) -> None:
        self._session = session
        self._limits = limits
        self._tick = tick
        self._relations = session.value(_RELATIONS, {"oid": table.oid})
        self.waits: Dict[str, float] = {}
        self._written: List[Tuple[float, float]] = []
        self._position = 0.0
        self._wal: Optional[Tuple[float, float]] = None

    def wait(self) -> None:
        """Waits until the next batch may begin.

        :raises DataUpdateError: that took longer than the change's patience
        """
        self._pause(self._limits["pause"], "pause")
        self._pause(self._wal_debt(), "WAL rate")
        began = time.monotonic()
        while True:
            reasons = self.reasons()
            if not reasons:
                break
            if time.monotonic() - began > self._limits["patience"]:
                raise DataUpdateError(
                    f"It waited {span(time.monotonic() - began)} for {'; '.join(text for _name, text in reasons)}.",
                    "Find out why that does not end, then run it again: it goes on from where it is.",
                )
            self._pause(_POLL, reasons[0][0])
        self._wal = (time.monotonic(), self._position)

    def reasons(self) -> List[Tuple[str, str]]:
        """What the next batch has to wait for: name and words."""
        found = []
        limits = self._limits
        waiters, vacuums, self._position, replicas = self._session.rows(_LOOK, (self._relations,))[0]
        if limits["replication_lag"] and replicas:
            found += self._lag()
        if waiters > limits["lock_waiters"]:
            found.append(("lock waits", f"{plural(waiters, 'session')} in line for a lock of the table"))
        if limits["autovacuum"] and vacuums:
            found.append(("vacuum", "a VACUUM or its like, which is at the table"))
        return found

    def _lag(self) -> List[Tuple[str, str]]:
        """By our own clock: how long ago the server was where a replica is now. The server's own number stands still
        when a replica does."""
        now, written = time.monotonic(), self._position
        self._written.append((now, written))
        replicas = self._session.rows(_REPLICAS)
        for name, hidden, replayed in replicas:
            if hidden or replayed is None:
                return [("replication lag", f"the lag of replica {name}, which is hidden: grant pg_monitor")]
            since = next((at for at, position in self._written if position > replayed), now)
            if now - since > self._limits["replication_lag"]:
                text = f"replica {name}, which is {span(now - since)} behind ({human(max(0.0, written - replayed))})"
                return [("replication lag", text)]
        # What all have replayed need not be known any more.
        slowest = min((replayed for _name, _hidden, replayed in replicas), default=written)
        self._written = [each for each in self._written if each[1] > slowest]
        return []

    def _wal_debt(self) -> float:
        """Seconds until the WAL written since the last batch began is within the rate."""
        rate = self._limits["wal_rate"]
        if not rate or self._wal is None:
            return 0.0
        since, position = self._wal
        self.reasons()
        return float(max(0.0, (self._position - position) / rate - (time.monotonic() - since)))

    def _pause(self, seconds: float, reason: str) -> None:
        if seconds <= 0:
            return
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            self._tick()
            time.sleep(min(0.1, max(0.0, began + seconds - time.monotonic())))
        self.waits[reason] = round(self.waits.get(reason, 0.0) + time.monotonic() - began, 3)
