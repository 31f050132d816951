# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often indexes were read, over all servers, and since when anybody counted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, List, Mapping, Optional

from .._checks.sql import Row, reading
from ..database import describe
from ..errors import MaintenanceError
from ..words import plural
from .catalogue import Index

DAY = 86400.0

#: A crash throws all statistics away and begins the server's own anew, but says nothing at the database.
SINCE = """
SELECT extract(epoch FROM now())::float8 AS now, pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()) AS system,
       (SELECT extract(epoch FROM stats_reset)::float8 FROM pg_stat_database WHERE datname = current_database())
           AS database_reset,
       (SELECT extract(epoch FROM greatest(
           (SELECT stats_reset FROM pg_stat_bgwriter), (SELECT stats_reset FROM pg_stat_archiver)))::float8) AS begun,
       (SELECT count(*)::int FROM pg_stat_replication r
        WHERE coalesce(r.application_name, '') NOT IN ('pg_receivewal', 'pg_basebackup') AND NOT EXISTS (
            SELECT FROM pg_replication_slots l WHERE l.active_pid = r.pid AND l.slot_type = 'logical')) AS standbys,
       (SELECT count(*)::int FROM pg_replication_slots l
        WHERE l.slot_type = 'physical' AND NOT EXISTS (
            SELECT FROM pg_stat_replication r WHERE r.pid = l.active_pid)) AS slots,
       EXISTS (SELECT FROM pg_stat_wal_receiver) OR current_setting('primary_slot_name') <> '' AS fed,
       extract(epoch FROM pg_postmaster_start_time()) || ' ' || current_setting('port') AS instance,
       current_setting('track_counts') = 'on' AS counted
"""

SCANS = "SELECT indexrelid::bigint AS oid, idx_scan AS scans FROM pg_stat_user_indexes"


@dataclass
class Use:
    """One server's counts.

    :param reset: when the database's statistics were reset, s since the epoch; None when they never were
    :param begun: when the server's own begin, by a reset or a crash
    :param scans: oid -> how often an index was read
    :param standbys: how many standbys it feeds, or keeps WAL for (a physical slot) while they are away
    :param fed: whether it is a standby that one of these counts: one fed from the archive alone is seen nowhere
    :param instance: what no other server has; empty when not known
    """

    server: str
    now: float
    reset: Optional[float]
    begun: Optional[float]
    scans: Dict[int, int]
    in_recovery: bool = False
    system: str = ""
    standbys: int = 0
    counted: bool = True
    fed: bool = True
    instance: str = ""


@dataclass
class Uses:
    """All servers' counts.

    :param problem: why together they do not say what was not read; empty when they do
    :param unseen: whether something may have been read that none of them counts, now or later. A replica that did not
        answer this time goes on counting, and says so next time
    """

    servers: List[Use]
    problem: str = ""
    unseen: bool = False

    def scans(self, index: Index) -> Optional[int]:
        """How often all servers together read an index; None when one of them does not say."""
        counts = [use.scans.get(index.oid) for use in self.servers]
        if any(count is None for count in counts):
            return None if not any(counts) else sum(count or 0 for count in counts)
        return sum(count or 0 for count in counts)

    def covered_days(self) -> Optional[float]:
        """Days for which every server is known to count; None when one of the databases was never reset."""
        if any(use.reset is None for use in self.servers if not use.in_recovery):
            return None
        return self.begun_days()

    def begun_days(self) -> Optional[float]:
        """Days since the last time that a server threw counts away, as far as anybody knows; None when nobody does."""
        times = [use.now - max(known) for use in self.servers if (known := _known(use))]
        return min(times) / DAY if times else None

    def evidence(self) -> Dict[str, Any]:
        """For each server since when it counts."""
        return {"servers": {use.server: _moment(max(_known(use), default=None)) for use in self.servers}}


def _known(use: Use) -> List[float]:
    return [moment for moment in (use.reset, use.begun) if moment is not None]


def _moment(seconds: Optional[float]) -> Optional[str]:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def use_of(cursor: Any, server: str) -> Use:
    """What one server counts."""
    cursor.execute(SINCE)
    row: Row = cursor.fetchone()
    cursor.execute(SCANS)
    scans = {each["oid"]: each["scans"] for each in cursor.fetchall() if each["scans"] is not None}
    return Use(
        server,
        row["now"],
        row["database_reset"],
        row["begun"],
        scans,
        row["in_recovery"],
        row["system"],
        row["standbys"] + row["slots"],
        row["counted"],
        row["fed"],
        row["instance"],
    )


def uses(cursor: Any, database: Row, replicas: List[Row], timeout: int) -> Uses:
    """The counts of the primary, which the cursor is on, and of every replica that is configured."""
    found, away = [use_of(cursor, describe(database))], ""
    for replica in replicas:
        try:
            with reading(replica, timeout) as other:
                found.append(use_of(other, describe(replica)))
        except MaintenanceError as error:
            away = away or f"a replica could not be asked: {error.message}"
    unseen = uncounted(found, len(replicas) + 1 - len(found))
    return Uses(found, away or unseen, bool(unseen))


def uncounted(found: List[Use], away: int = 0) -> str:
    """Why some server may read what none of these counts; empty when none does.

    :param found: the primary, then its replicas
    :param away: replicas that are known and did not answer
    """
    primary, *replicas = found
    if primary.in_recovery:
        return "this server is a standby: ask the primary, and name this one in replicas"
    seen: Dict[str, str] = {}
    for use in replicas:
        if use.system != primary.system or not use.in_recovery:
            return f"{use.server} is no physical replica of this server"
        if use.instance and use.instance in seen:
            return f"{use.server} and {seen[use.instance]} are the same server"
        seen[use.instance] = use.server
    # Standbys may have standbys of their own. One that nobody feeds is not among them, and stands in for none.
    there, asked = sum(use.standbys for use in found), sum(use.fed for use in replicas)
    if there > asked + away:
        text = plural(there, "standby is", "standbys are")
        return f"{text} connected or expected by a slot, and {asked} could be asked"
    if not all(use.counted for use in found):
        return "track_counts is off: nothing is counted"
    return ""


@dataclass
class Watched:
    """Since when our own reports have known of indexes that nobody reads: index names come back, oids do not.

    :param system: the server's identifier, without which an oid says nothing
    :param known: oid -> s since the epoch
    """

    system: str
    known: Dict[int, float] = field(default_factory=dict)

    def since(self, oid: int) -> Optional[float]:
        """When an index was first seen unread."""
        return self.known.get(oid)

    def as_data(self, oids: List[int], now: float) -> Dict[str, Any]:
        """For the details of a check: at most as many as a report can carry, the ones known longest first."""
        times = {oid: self.known.get(oid, now) for oid in oids}
        kept = sorted(times, key=lambda oid: (times[oid], oid))[:MOST_WATCHED]
        return {"system": self.system, "since": {str(oid): int(times[oid]) for oid in kept}}

    @classmethod
    def from_data(cls, details: Mapping[str, Any], system: str) -> Watched:
        """What the last report's details say; nothing when they are of another server or make no sense."""
        told = details.get("watched")
        since = told.get("since") if isinstance(told, dict) and told.get("system") == system else None
        if not isinstance(since, dict):
            return cls(system)
        sound = {
            int(oid): float(at) for oid, at in since.items() if str(oid).isdigit() and isinstance(at, (int, float))
        }
        return cls(system, {oid: at for oid, at in sound.items() if at <= time.time()})


#: Unread indexes of which a report keeps since when.
MOST_WATCHED = 2000


def age_days(since: Optional[float]) -> float:
    """Days since a moment; 0 for none."""
    return 0.0 if since is None else max(0.0, (time.time() - since) / DAY)
