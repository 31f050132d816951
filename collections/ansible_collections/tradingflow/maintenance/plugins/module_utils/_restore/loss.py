# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore loses: the time between the newest sign of life and what comes back."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Dict, Optional

from .._ledger.record import parse_time
from .._postgres.heartbeat import heartbeat
from .._postgres.server import named
from ..errors import MaintenanceError


def moment(text: Any) -> Optional[datetime]:
    """A time as PostgreSQL or JSON writes it, None when it is none."""
    if isinstance(text, datetime):
        return text
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def iso(at: datetime) -> str:
    """In UTC, to the millisecond."""
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def newest_sign(options: Dict[str, Any], target: str) -> Optional[datetime]:
    """The newest heartbeat in the database that is there, None when it does not say.

    A view's functions run as whoever looks: where it can be helped, that is no superuser.
    """
    reader = options.get("reader") or {}
    try:
        found = heartbeat(named({**options["database"], **reader, "connect_timeout": 5}, target))
    except MaintenanceError:
        return None
    return found if isinstance(found, datetime) else None


def recorded_at(point: Dict[str, Any]) -> datetime:
    """The moment that a recovery point is of."""
    at = moment(point["engine"].get("restore_point_at")) or moment(point["database"]["snapshot_at"])
    return at or datetime.now(timezone.utc)


def between(until: Optional[datetime], back_to: datetime, measured_by: str) -> Dict[str, Any]:
    """What is lost: seconds, from, until, and by what the end was measured."""
    end, how = (until, "newest heartbeat of the database there") if until else (datetime.now(timezone.utc), "now")
    seconds = max(0.0, (end - back_to).total_seconds())
    return {
        "seconds": round(seconds, 1),
        "back_to": iso(back_to),
        "until": iso(end),
        "measured_from": measured_by,
        "measured_until": how,
    }


def of_point(options: Dict[str, Any], point: Dict[str, Any], there: bool) -> Dict[str, Any]:
    """What restoring a recovery point would lose."""
    beats = [moment(row.get("beat_at")) for row in point["database"].get("heartbeat") or [] if row.get("beat_at")]
    known = [beat for beat in beats if beat]
    until = newest_sign(options, options.get("target_database") or options["database"]["name"]) if there else None
    if known:
        return between(until, max(known), "newest heartbeat in the recovery point")
    taken = moment(point["database"]["snapshot_at"]) or parse_time(point["created_at"])
    return between(until, taken, "the recovery point's snapshot")


def of_restored(database: Dict[str, Any]) -> Dict[str, Any]:
    """The newest heartbeat that came back."""
    found = heartbeat(database)
    return {"heartbeat_at": iso(found) if isinstance(found, datetime) else None}
