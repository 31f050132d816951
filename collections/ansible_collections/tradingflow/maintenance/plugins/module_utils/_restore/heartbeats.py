# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The heartbeats that a recovery brought back: they say how far it went."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Dict, List, Optional

from .._postgres import server
from ..checks import OK, Check
from ..database import connected
from ..errors import MaintenanceError
from ..words import span
from . import loss
from .target import Target

#: Seconds that a lock is waited for, and a shorter look where it is looked at once more.
PATIENCE, GLANCE = 60, 10


def floor_of(point: Dict[str, Any], name: str) -> Optional[datetime]:
    """The newest heartbeat that a recovery point has of a database: what is recovered from it has no older one."""
    if point["database"]["name"] != name:
        return None
    beats = [loss.moment(row["beat_at"]) for row in point["database"].get("heartbeat") or [] if row.get("beat_at")]
    return max((beat for beat in beats if beat), default=None)


def judged(
    wanted: Target,
    at: Optional[datetime],
    later: int,
    details: Dict[str, Any],
    floor: Optional[datetime] = None,
    silence: Optional[int] = None,
) -> List[Check]:
    """Whether the newest heartbeat is of before the target, and not of long before it.

    :param floor: what it must not be older than
    :param silence: seconds before the target from which on somebody should look
    """
    id, title = "restore.heartbeat", "Newest heartbeat restored"
    if at is None:
        text = f"The cluster was recovered to {wanted.words}; no heartbeat is in it that could verify that."
        remedy = "Look at its newest rows by hand; define the view maintenance.heartbeat (docs/sandbox.md)."
        return [Check(id, title, "unknown", None, message=text, remedy=remedy, details=details)]
    if later:
        text = f"{later} heartbeats after {wanted.words} were restored, up to {loss.iso(at)}: it went too far."
        return [Check(id, title, "critical", loss.iso(at), message=text, remedy="Do not use it.", details=details)]
    if floor and at < floor:
        text = f"The newest heartbeat is of {loss.iso(at)}; the backup already had one of {loss.iso(floor)}."
        remedy = "Do not use it: it is of another line of history."
        return [Check(id, title, "critical", loss.iso(at), message=text, remedy=remedy, details=details)]
    if wanted.at and silence and (wanted.at - at).total_seconds() > silence:
        text = f"The newest heartbeat is of {loss.iso(at)}, {span((wanted.at - at).total_seconds())} before the target."
        remedy = "See whether the platform stood still then; if not, another timeline has the target (--check)."
        return [Check(id, title, "warning", loss.iso(at), message=text, remedy=remedy, details=details)]
    text = f"The newest heartbeat is of {loss.iso(at)}"
    text += f", none is later than {wanted.words}." if wanted.at else "."
    return [Check(id, title, OK, loss.iso(at), message=text, details=details)]


def moved(now: Optional[str], seen: Optional[str]) -> Check:
    """That the started server has other heartbeats than what was looked at."""
    return Check(
        "restore.heartbeat",
        "Newest heartbeat restored",
        "critical",
        now,
        message=f"The started server's newest heartbeat is of {now}; before it was put in place it was of {seen}.",
        remedy="Somebody writes already, or it recovered further: stop it and look before anybody uses it.",
    )


def unreadable(details: Dict[str, Any]) -> Check:
    """That a prepared transaction keeps it locked."""
    text = "The heartbeats cannot be read: a transaction that was prepared before the target holds a lock on them."
    remedy = "Commit or roll back what is prepared (restore.prepared), then look at the newest rows by hand."
    id, title = "restore.heartbeat", "Newest heartbeat restored"
    return Check(id, title, "unknown", None, message=text, remedy=remedy, details=details)


def locked(error: MaintenanceError) -> bool:
    """Whether somebody else's lock was in the way."""
    return "lock timeout" in error.message


def heartbeats(database: Dict[str, Any], target: Optional[datetime], seconds: int = 0) -> Any:
    """The newest heartbeat, and how many are later than the target.

    :param seconds: that a lock is waited for, instead of the usual
    :raises DatabaseError: among others, see locked
    """
    try:
        # Of the two limits the lock's comes first.
        limit = int(database.get("statement_timeout") or 0)
        limit = max(limit, PATIENCE + 30) if limit else 0
        with connected(database, statement_timeout=limit) as connection:
            server.run(connection, f"SET lock_timeout = '{seconds or PATIENCE}s'")
            if server.value(connection, "SELECT pg_catalog.to_regclass('maintenance.heartbeat')") is None:
                return None, 0
            newest, later = server.rows(
                connection,
                "SELECT pg_catalog.max(beat_at)::pg_catalog.timestamptz, pg_catalog.count(*) FILTER (WHERE"
                " beat_at::pg_catalog.timestamptz OPERATOR(pg_catalog.>) %s) FROM maintenance.heartbeat",
                (target or datetime.max.replace(tzinfo=timezone.utc),),
            )[0]
            return newest, int(later)
    except MaintenanceError as error:
        if "does not exist" in error.message and "column" in error.message:
            return None, 0
        raise
