# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Returns: by time, by money, and by Dietz. Money is exact until it is divided."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from datetime import date
from decimal import Decimal
from typing import Dict, List, Optional, Sequence, Tuple

from .columns import Day

#: Days of a year of money-weighted returns (as XIRR).
YEAR = 365.0


class Undefined(Exception):
    """A figure that does not exist for these numbers. The text says why, beginning in lower case."""


def daily(days: Sequence[Day], gross: bool = False) -> List[Tuple[date, float]]:
    """Each day's return on what the day began with.

    :param gross: before fees
    :raises Undefined: a day began with nothing or less, or followed one that ended below 0, or nobody tells the fees
    """
    found = []
    for place, day in enumerate(days):
        if day.base <= 0:
            raise Undefined(f"{day.day} began with capital of 0 or less")
        # What comes after a loss of more than all would turn the sign of the product.
        if place and days[place - 1].equity < 0:
            raise Undefined(f"{days[place - 1].day} ended with equity below 0")
        if gross and day.fees is None:
            raise Undefined("nobody tells the fees")
        result = day.pnl + (day.fees or 0) if gross else day.pnl
        found.append((day.day, float(result / day.base)))
    return found


def by_session(returns: Sequence[Tuple[date, float]], sessions: Sequence[date]) -> Dict[date, float]:
    """Returns of sessions: days between two of them, such as of a weekend, are compounded into the next one.

    What comes after the last session is left for the next.
    """
    found: Dict[date, float] = {}
    for day, value in returns:
        place = bisect_left(sessions, day)
        if place < len(sessions):
            found[sessions[place]] = (1 + found.get(sessions[place], 0.0)) * (1 + value) - 1
    # A session that has not come yet has no whole return.
    last = returns[-1][0] if returns else None
    return {day: value for day, value in found.items() if last is not None and day <= last}


def open_period(
    returns: Sequence[Tuple[date, float]], sessions: Sequence[date]
) -> Optional[Tuple[Optional[date], float]]:
    """What came after the last session that has ended, compounded; None when there is nothing.

    It has no whole return yet, but a loss of it is one: a weekend's is there before Monday evening.

    :returns: the last session, None when there was none yet, and the return
    """
    if not returns:
        return None
    place = bisect_right(sessions, returns[-1][0])
    last = sessions[place - 1] if place and sessions[place - 1] >= returns[0][0] else None
    values = [1 + value for day, value in returns if last is None or day > last]
    return (last, math.prod(values) - 1) if values else None


def time_weighted(returns: Sequence[float]) -> float:
    """The return of capital that was there all the time: the product, less 1."""
    product = 1.0
    for value in returns:
        product *= 1 + value
    return product - 1


def annual(total: float, periods: int, per_year: float) -> Optional[float]:
    """A return per year; None for less than a year, which nobody may annualise (GIPS)."""
    if periods < per_year or total <= -1:
        return None
    return float((1 + total) ** (per_year / periods) - 1)


def money_weighted(flows: Sequence[Tuple[date, float]]) -> float:
    """The rate per year at which all flows are worth nothing together (XIRR, days / 365).

    :param flows: paid in negative, taken out and what is there at the end positive
    :raises Undefined: there is none, or more than one
    """
    merged: Dict[date, float] = {}
    for day, amount in flows:
        merged[day] = merged.get(day, 0.0) + amount
    days = sorted(merged)
    if not any(value < 0 for value in merged.values()) or not any(value > 0 for value in merged.values()):
        raise Undefined("flows go one way only")
    terms = [((day - days[0]).days / YEAR, merged[day]) for day in days]

    def worth(force: float) -> float:
        return math.fsum(amount * math.exp(-force * years) for years, amount in terms)

    # By the force of interest, ln(1 + rate): from losing all but nothing to a thousandfold in a year and beyond.
    span = max(terms[-1][0], 1 / YEAR)
    bound = min(40.0 / span, 600.0)
    grid = [-bound + 2 * bound * step / 400 for step in range(401)]
    values = [worth(force) for force in grid]
    brackets = [place for place in range(400) if (values[place] <= 0) != (values[place + 1] <= 0)]
    if len(brackets) != 1:
        raise Undefined("there is no rate at which they are worth nothing, or more than one")
    low, high = grid[brackets[0]], grid[brackets[0] + 1]
    rising = worth(high) > worth(low)
    for _turn in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if (worth(middle) > 0) == rising else (middle, high)
    return math.expm1((low + high) / 2)


def money_weighted_of(days: Sequence[Day]) -> float:
    """The money-weighted return of a strategy over its whole time, not per year.

    :raises Undefined: likewise
    """
    if not days:
        raise Undefined("there is no day")
    # What flows in is there when the day begins, so at the end of the day before.
    first = days[0].day.toordinal() - 1
    flows = [(date.fromordinal(first), -float(days[0].base))]
    flows += [(date.fromordinal(day.day.toordinal() - 1), -float(day.flow)) for day in days[1:] if day.flow]
    flows.append((days[-1].day, float(days[-1].equity)))
    rate = money_weighted(flows)
    return float((1 + rate) ** ((days[-1].day.toordinal() - first) / YEAR) - 1)


def dietz(begin: Decimal, end: Decimal, flows: Sequence[Tuple[Decimal, Decimal]]) -> Decimal:
    """Modified Dietz; simple Dietz with every weight 1/2.

    :param flows: amount, and the share of the time for which it was there
    :raises Undefined: capital of 0 or less
    """
    flowed = sum((amount for amount, _weight in flows), Decimal(0))
    capital = begin + sum((amount * weight for amount, weight in flows), Decimal(0))
    if capital <= 0:
        raise Undefined("capital of 0 or less")
    return (end - begin - flowed) / capital
