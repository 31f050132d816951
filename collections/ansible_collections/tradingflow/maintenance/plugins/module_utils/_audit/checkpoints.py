# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rows of audited tables against what each daily run put on the record: rows that are missing later show."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Iterable, List, NamedTuple, Set, Tuple

from ..words import plural
from .collected import Gap, Period, parsed, written

#: A day may be on the record so long after its end.
_LATE = timedelta(days=5)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Checkpoint(NamedTuple):
    """What a daily run counted of a day.

    :param highest: the highest key, as text
    :param number: of the ledger's record
    """

    rows: int
    highest: Any
    number: int


#: Relation -> day in UTC -> what was counted, first.
Checkpoints = Dict[str, Dict[str, List[Checkpoint]]]


def recorded(runs: Iterable[Any], period: Period) -> Checkpoints:
    """What the ledger's records of runs have of the period's days.

    :param runs: newest first, see ledger_once.Run
    """
    found: Checkpoints = {}
    begin, end = period.epochs()
    for number, at, content in runs:
        if begin - 2 * 86400 <= at < end + _LATE.total_seconds():
            _add(found, content.get("checkpoints"), number)
    return found


def measured(runs: Iterable[Any], period: Period) -> Dict[str, List[str]]:
    """Of each host, the days of the period in UTC of which a run measured its clock."""
    found: Dict[str, Set[str]] = {}
    begin, end = period.epochs()
    for _number, at, content in runs:
        clocks = content.get("clocks") if begin <= at < end else None
        for host, told in clocks.items() if isinstance(clocks, dict) else ():
            if isinstance(told, dict) and isinstance(told.get("synchronised"), bool):
                found.setdefault(str(host), set()).add(f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d}")
    return {host: sorted(days) for host, days in sorted(found.items())}


def _add(found: Checkpoints, given: Any, number: int) -> None:
    """What a record has; anything else is none."""
    for relation, days in given.items() if isinstance(given, dict) else ():
        for day, counted in days.items() if isinstance(days, dict) else ():
            rows = counted.get("rows") if isinstance(counted, dict) else None
            if isinstance(rows, int) and not isinstance(rows, bool) and _DAY.fullmatch(str(day)):
                found.setdefault(relation, {}).setdefault(day, []).append(
                    Checkpoint(rows, counted.get("highest"), number)
                )


def query(relation: str, time: str, key: str) -> str:
    """SQL: day in UTC, rows, highest key; two parameters, begin and end.

    :param relation: quoted
    :param time: quoted
    :param key: quoted, or nothing
    """
    highest = f'max({key}::text COLLATE "C")' if key else "NULL::text"
    return (
        f"SELECT ({time} AT TIME ZONE 'UTC')::date::text AS day, count(*) AS rows, {highest} AS highest"  # noqa: S608
        f" FROM {relation} WHERE {time} >= %s::timestamptz AND {time} < %s::timestamptz GROUP BY 1 ORDER BY 1"
    )


def gaps(now: Dict[str, Tuple[int, Any]], then: Dict[str, List[Checkpoint]], period: Period) -> Tuple[List[Gap], int]:
    """Days of the period of which rows are missing, and of how many there is a checkpoint.

    :param now: day -> rows and highest key, as they are
    """
    found: List[Gap] = []
    day, proven = parsed(period.begin), 0
    end = parsed(period.end)
    while day < end:
        after = (day + timedelta(days=1)).replace(hour=0, minute=0, second=0)
        name = f"{day:%Y-%m-%d}"
        whole = (day.hour, day.minute, day.second) == (0, 0, 0) and after <= end
        known = then.get(name, []) if whole else []
        proven += bool(known)
        rows, highest = now.get(name, (0, None))
        most = max(known, key=lambda each: (each.rows, each.number), default=None)
        if most and rows < most.rows:
            missing = plural(most.rows - rows, "row is", "rows are")
            text = (
                f"{missing} missing: record {most.number} of the ledger has {most.rows} of that day, there are {rows}"
            )
            found.append(Gap(written(day), written(after), text))
        elif most and rows == most.rows and None not in (highest, most.highest) and highest != most.highest:
            text = f"rows were replaced: the highest key is not the one that record {most.number} of the ledger has"
            found.append(Gap(written(day), written(after), text))
        day = after
    return found, proven
