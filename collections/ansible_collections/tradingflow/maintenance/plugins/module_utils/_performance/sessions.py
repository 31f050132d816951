# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Days that count for a strategy: those on which a session of its market ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Dict, List, Optional, Tuple

from .._checks.calendar import BUILT_IN, OwnCalendar, UnknownCalendar, known

#: A year of sessions is counted in so many days, up to the last one that is over.
YEAR = 365
_DAY = 86400.0


@dataclass(frozen=True)
class Sessions:
    """The sessions of a calendar.

    :param days: UTC days on which one ends, in order. One that is longer than a day ends once a day, at the same time
    :param year: those of the last 365 days, whether or not that much was asked for
    """

    calendar: str
    days: Tuple[date, ...]
    year: Tuple[date, ...]

    @property
    def per_year(self) -> int:
        """How many periods a year has."""
        return len(self.year)


def sessions(name: Optional[str], own: Dict[str, OwnCalendar], first: date, last: date) -> Sessions:
    """The sessions from one day to another.

    :param own: the operator's calendars, which come first
    :raises UnknownCalendar: there is no such calendar
    """
    if not name:
        raise UnknownCalendar("its calendar is not set.", "Set calendar in the view maintenance.strategies.")
    begin = min(first, last - timedelta(days=YEAR)) - timedelta(days=8)
    if name in own:
        found = list(own[name].sessions(begin, last))
    elif name in BUILT_IN:
        found = BUILT_IN[name](begin, last)
    else:
        found = known(name, begin, last, last)[0]
    days = sorted({day for opens, closes in found for day in _ends(opens, closes)})
    year = tuple(day for day in days if last - timedelta(days=YEAR) < day <= last)
    if not year:
        raise UnknownCalendar(f"its calendar {name} has no session in a year.", "Correct the calendar.")
    return Sessions(name, tuple(day for day in days if first <= day <= last), year)


def _ends(opens: float, closes: float) -> List[date]:
    """The days on which a session ends; midnight is the end of the day before."""
    count = max(1, -int(-(closes - opens) // _DAY))
    moments = [closes - _DAY * number for number in range(count)]
    return [datetime.fromtimestamp(moment - 1, timezone.utc).date() for moment in moments]
