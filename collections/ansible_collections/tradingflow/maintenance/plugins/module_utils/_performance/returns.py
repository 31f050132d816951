# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Returns: by time, by money, and by Dietz. Money is exact until it is divided."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union, overload

from .columns import Day, Days, divided, ordinals

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: Days of a year of money-weighted returns (as XIRR).
YEAR = 365.0


class Undefined(Exception):
    """A figure that does not exist for these numbers. The text says why, beginning in lower case."""


class Series(Sequence[Tuple[date, float]]):
    """Returns by day, in order, as two columns: pairs are made only where somebody asks for them.

    :param ordinals: of the days, since year 1
    """

    def __init__(self, ordinals: Any, values: Any) -> None:
        self.ordinals, self.values = ordinals, values

    @classmethod
    def of(cls, returns: Sequence[Tuple[date, float]]) -> "Series":
        """Of pairs."""
        if isinstance(returns, Series):
            return returns
        values = np.array([value for _day, value in returns], dtype=float)
        return cls(ordinals([day for day, _value in returns]), values)

    @property
    def dates(self) -> List[date]:
        """The days themselves."""
        return list(map(date.fromordinal, self.ordinals.tolist()))

    def __len__(self) -> int:
        return len(self.ordinals)

    @overload
    def __getitem__(self, place: int) -> Tuple[date, float]: ...

    @overload
    def __getitem__(self, place: slice) -> "Series": ...

    def __getitem__(self, place: Union[int, slice]) -> "Union[Tuple[date, float], Series]":
        if isinstance(place, slice):
            return Series(self.ordinals[place], self.values[place])
        return date.fromordinal(int(self.ordinals[place])), float(self.values[place])

    def __iter__(self) -> Iterator[Tuple[date, float]]:
        return zip(self.dates, self.values.tolist(), strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def daily(days: Sequence[Day], gross: bool = False) -> Series:
    """Each day's return on what the day began with.

    :param gross: before fees
    :raises Undefined: a day began with nothing or less, or followed one that ended below 0, or nobody tells the fees
    """
    columns = Days.of(days)
    return Series(columns.ordinals, values(columns, gross))


def values(days: Days, gross: bool = False) -> Any:
    """The same as an array, without the days.

    :raises Undefined: likewise
    """
    # What comes after a loss of more than all would turn the sign of the product.
    wrong = [
        (place, kind)
        for kind, bad in enumerate((days.base <= 0, np.append(False, days.equity[:-1] < 0), ~days.known & gross))
        for place in np.flatnonzero(bad)[:1].tolist()
    ]
    if wrong:
        place, kind = min(wrong)
        day = date.fromordinal(int(days.ordinals[place]))
        before = date.fromordinal(int(days.ordinals[place - 1]))
        texts = (f"{day} began with capital of 0 or less", f"{before} ended with equity below 0")
        raise Undefined((*texts, "nobody tells the fees")[kind])
    return divided(days.pnl + days.fees if gross else days.pnl, days.base)


def by_session(returns: Sequence[Tuple[date, float]], sessions: Sequence[date]) -> Dict[date, float]:
    """Returns of sessions: days between two of them, such as of a weekend, are compounded into the next one.

    What comes after the last session is left for the next.
    """
    if not returns:
        return {}
    given = Series.of(returns)
    places, found = whole(given.ordinals, given.values, sessions)
    return dict(zip([sessions[place] for place in places.tolist()], found.tolist(), strict=True))


def whole(days: Any, returns: Any, sessions: Sequence[date]) -> "Tuple[Any, Any]":
    """Places of the sessions that have a whole return, and these returns.

    :param days: ordinals, in order
    """
    wanted = ordinals(sessions)
    # A session that has not come yet has no whole return.
    wanted = wanted[: int(np.searchsorted(wanted, days[-1], side="right"))] if len(days) else wanted[:0]
    places = np.searchsorted(wanted, days)
    count = int(np.searchsorted(places, len(wanted)))
    if not count:
        return places[:0], np.zeros(0)
    starts = np.flatnonzero(np.append(True, places[1:count] != places[: count - 1]))
    return places[starts], np.multiply.reduceat(1 + np.asarray(returns[:count], dtype=float), starts) - 1


def open_period(
    returns: Sequence[Tuple[date, float]], sessions: Sequence[date]
) -> Optional[Tuple[Optional[date], float]]:
    """What came after the last session that has ended, compounded; None when there is nothing.

    It has no whole return yet, but a loss of it is one: a weekend's is there before Monday evening.

    :returns: the last session, None when there was none yet, and the return
    """
    if not returns:
        return None
    given, wanted = Series.of(returns), ordinals(sessions)
    place = int(np.searchsorted(wanted, given.ordinals[-1], side="right"))
    last = sessions[place - 1] if place and wanted[place - 1] >= given.ordinals[0] else None
    begin = 0 if last is None else int(np.searchsorted(given.ordinals, wanted[place - 1], side="right"))
    after = (1 + given.values[begin:]).tolist()
    return (last, math.prod(after) - 1) if after else None


def time_weighted(returns: Sequence[float]) -> float:
    """The return of capital that was there all the time: the product, less 1."""
    # One after the other, as sums of floats depend on their order.
    return float(np.cumprod(1 + np.asarray(returns, dtype=float))[-1]) - 1 if len(returns) else 0.0


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
    columns = Days.of(days)
    # What flows in is there when the day begins, so at the end of the day before.
    first, last = int(columns.ordinals[0]) - 1, int(columns.ordinals[-1])
    unit = 10**columns.scale
    begin, end = int(columns.base[0]) / unit, int(columns.equity[-1]) / unit
    moved = (np.flatnonzero(columns.flow[1:] != 0) + 1).tolist()
    if not moved and begin > 0 and 1e-6 < end / begin < 1e6:
        # The rate that turns the one into the other, over that time.
        return float(end / begin - 1)
    flows = [(date.fromordinal(first), -begin)]
    flows += [(date.fromordinal(int(columns.ordinals[at]) - 1), -int(columns.flow[at]) / unit) for at in moved]
    flows.append((date.fromordinal(last), end))
    rate = money_weighted(flows)
    return float((1 + rate) ** ((last - first) / YEAR) - 1)


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
