# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Days on which something is due."""

from __future__ import annotations

import calendar
from datetime import date, timedelta
from typing import AbstractSet, Dict, Tuple

#: Words of the view data_requests -> months and days to answer, and by how many more when that was extended in time.
REGIMES: Dict[str, Tuple[Tuple[int, int], Tuple[int, int]]] = {
    "gdpr": ((1, 0), (2, 0)),
    "uk-gdpr": ((1, 0), (2, 0)),
    "ccpa": ((0, 45), (0, 45)),
}


#: What one regime wants to be done sooner, in working days, without an extension (CCPA Regulations, 7026(f), 7027(g)).
WORKING_DAYS: Dict[Tuple[str, str], int] = {("ccpa", "opt_out"): 15, ("ccpa", "restriction"): 15}


def months_after(day: date, months: int) -> date:
    """The same day so many months later, or the last of that month where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def to_answer(
    regime: str, received: date, extended: bool, kind: str = "access", holidays: AbstractSet[date] = frozenset()
) -> date:
    """The last day on which a data subject's request is answered in time.

    :raises KeyError: nobody knows the regime
    """
    if (regime, kind) in WORKING_DAYS:
        return working_days_after(received, WORKING_DAYS[regime, kind], holidays)
    first, more = REGIMES[regime]
    months, days = (first[0] + more[0], first[1] + more[1]) if extended else first
    return months_after(received, months) + timedelta(days=days)


def working_days_after(day: date, days: int, holidays: AbstractSet[date]) -> date:
    """So many working days later: Monday to Friday, without holidays."""
    while days > 0:
        day += timedelta(days=1)
        days -= is_working(day, holidays)
    return day


def is_working(day: date, holidays: AbstractSet[date]) -> bool:
    """Whether a day is a working day."""
    return day.weekday() < 5 and day not in holidays
