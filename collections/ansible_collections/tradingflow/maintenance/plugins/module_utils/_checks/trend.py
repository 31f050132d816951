# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area database against its own past: size and growth, deadlocks and temporary files since the last run."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..checks import OK, Check, judge, limits, plain, unknown
from ..words import size, span
from .earlier import Earlier, moment, number
from .sql import Probe, Row

#: Earlier runs, and days between the first of them and now, from which on growth says anything.
ENOUGH_RUNS, ENOUGH_DAYS = 3, 1

GROWTH, GROWTH_TITLE = "database.growth", "Growth of the database"
LEFT, LEFT_TITLE = "database.days_left", "Days until the database's disk is full"


def statistics(rows: List[Row], thresholds: Dict[str, Any], earlier: Earlier) -> Iterator[Check]:
    """Size and growth; deadlocks and temporary files since the last run."""
    row = rows[0]
    yield judge(
        "database.size",
        "Size of the database",
        row["size"],
        unit="bytes",
        **limits(thresholds, "size"),
        message=f"The database is {size(row['size'])} large.",
        remedy="See which tables grew, and whether the disk holds it.",
        source="pg_database_size",
    )
    yield growth(row["size"], thresholds, earlier)
    yield since_last_run(
        "database.deadlocks",
        "Deadlocks",
        row["deadlocks"],
        row["stats_reset"],
        thresholds,
        earlier,
        lambda value: f"{value} deadlocks",
        "The server's log names both statements of each deadlock: let them take their locks in one order.",
    )
    yield since_last_run(
        "database.temporary_files",
        "Temporary files",
        row["temp_bytes"],
        row["stats_reset"],
        thresholds,
        earlier,
        lambda value: f"{size(value)} of temporary files",
        "Find the statements that sort or join more than work_mem holds (log_temp_files).",
        unit="bytes",
    )


def growth(now: int, thresholds: Dict[str, Any], earlier: Earlier, at: Optional[datetime] = None) -> Check:
    """MB per day, from the oldest of the earlier runs to now.

    :param at: the time now
    """
    known = [each for each in earlier("database.size") if number(each["value"]) is not None and moment(each)]
    source = "pg_database_size and earlier reports"
    begun = moment(known[0]) if known else None
    days = ((at or datetime.now(timezone.utc)) - begun).total_seconds() / 86400 if begun else 0.0
    if len(known) < ENOUGH_RUNS or days < ENOUGH_DAYS:
        text = f"Not judged yet: {len(known)} of {ENOUGH_RUNS} earlier runs, over {days:.1f} of {ENOUGH_DAYS} days."
        return Check(GROWTH, GROWTH_TITLE, OK, "not known yet", message=text, source=source)
    per_day = (now - known[0]["value"]) / days
    return judge(
        GROWTH,
        GROWTH_TITLE,
        round(per_day / 1e6, 3),
        unit="MB/day",
        **limits(thresholds, "growth"),
        message=f"It {'grew' if per_day >= 0 else 'shrank'} by {size(abs(per_day))} a day over {days:.1f} days.",
        remedy="See which tables grow, whether old rows can go, and when the disk will be full.",
        source=source,
        details={"runs": len(known), "days": round(days, 2), "bytes_per_day": round(per_day), "size": now},
    )


def days_left(checks: List[Check], capacity: float, thresholds: Dict[str, Any]) -> Check:
    """Days until the database reaches the size that its disk can hold, at its present growth.

    :param checks: all others of the area
    :param capacity: bytes that the database may grow to
    """
    found = {check.id: check for check in checks}
    held, grown = found["database.size"].value, found[GROWTH]
    limit = limits(thresholds, "days_left")
    source = "database.size and database.growth"
    if held is None or grown.value is None:
        return unknown(LEFT, LEFT_TITLE, f"{LEFT_TITLE}: the size is not known.", "Get the database to answer first.")
    per_day = grown.details.get("bytes_per_day")
    if held >= capacity:
        value: Any = 0
        text = f"{size(held)} of {size(capacity)} are used: it is full."
    elif per_day is None:
        text = f"{size(held)} of {size(capacity)} are used; not judged yet, as its growth is not known yet."
        return Check(LEFT, LEFT_TITLE, OK, "not known yet", message=text, source=source)
    elif per_day <= 0:
        text = f"{size(held)} of {size(capacity)} are used, and it does not grow."
        return Check(LEFT, LEFT_TITLE, OK, "does not grow", message=text, source=source)
    else:
        value = int((capacity - held) / per_day)
        text = f"{size(held)} of {size(capacity)} are used; at {size(per_day)} a day it is full in {value} days."
    return judge(
        LEFT,
        LEFT_TITLE,
        value,
        unit="days",
        below=True,
        **limit,
        message=text,
        remedy="Enlarge the disk, or find what grows and archive it.",
        source=source,
        details={"capacity": capacity},
    )


def since_last_run(
    id: str,
    title: str,
    total: int,
    reset: Optional[datetime],
    thresholds: Dict[str, Any],
    earlier: Earlier,
    words: Any,
    remedy: str,
    unit: str = "",
) -> Check:
    """What a counter of PostgreSQL grew by since the last run; since its reset when that came between.

    :param reset: when the statistics were reset, None when never
    :param words: a count -> how it is told
    """
    titled, source = f"{title} since the last run", "pg_stat_database"
    details = {"total": total, "reset": plain(reset)}
    before = next(iter(earlier(id)[-1:]), None)
    past = number(before.get("details", {}).get("total")) if before else None
    if before is None or past is None:
        text = f"Not judged yet: 0 of 1 earlier runs. {words(total)} since statistics began."
        return Check(id, titled, OK, total, unit, message=text, source=source, details=details)
    # A crash or a reset lets them begin anew.
    anew = before["details"].get("reset") != details["reset"] or total < past
    value = total if anew else int(total - past)
    since = moment(before)
    ago = f", {span(max(0, round((datetime.now(timezone.utc) - since).total_seconds())))} ago" if since else ""
    return judge(
        id,
        titled,
        value,
        unit=unit,
        **limits(thresholds, id.partition(".")[2]),
        message=f"{words(value)} since {'the statistics were reset, after ' if anew else ''}the last run{ago}.",
        remedy=remedy,
        source=source,
        details={**details, "anew": anew},
    )


TREND: Tuple[Probe, ...] = (
    Probe(
        (
            ("database.size", "Size of the database"),
            (GROWTH, GROWTH_TITLE),
            ("database.deadlocks", "Deadlocks since the last run"),
            ("database.temporary_files", "Temporary files since the last run"),
        ),
        "pg_stat_database",
        """
        SELECT pg_database_size(current_database()) AS size, deadlocks, temp_bytes, stats_reset
        FROM pg_stat_database WHERE datname = current_database()
        """,
        statistics,
        compares=True,
    ),
)
