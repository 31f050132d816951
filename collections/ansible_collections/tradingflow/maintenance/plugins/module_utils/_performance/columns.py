# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Days of a strategy, as columns of exact integers: a thousand strategies of five years are nearly two million days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from typing import Any, Iterator, List, Optional, Sequence, Union, overload

from .._checks.risk import EXACT

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: Integers below this are floats without loss; columns of larger ones are of Python's own, which have no end.
EXACT_FLOAT = 2**53
#: Sums of a column must stay below this.
MOST = 2**62


@dataclass(frozen=True)
class Day:
    """One day of one strategy, in its currency.

    :param base: what the day began with: the day before's equity and what flowed in
    :param fees: None when nobody tells them
    """

    day: date
    equity: Decimal
    pnl: Decimal
    flow: Decimal
    base: Decimal
    fees: Optional[Decimal]


def fitting(values: Any) -> Any:
    """Integers as an array: of 64 bits where every value, and their sum, fits; else of Python's own.

    :param values: list or array of integers
    """
    array = np.asarray(values, dtype=object) if isinstance(values, list) else values
    if not len(array):
        return np.zeros(0, dtype=np.int64)
    most = max(abs(int(array.max())), abs(int(array.min())))
    if most < EXACT_FLOAT and most * len(array) < MOST:
        return array.astype(np.int64)
    return array.astype(object)


def integers(values: Sequence[Decimal], scale: int) -> Any:
    """Numbers times 10 to the scale, exactly."""
    with localcontext(EXACT):
        return fitting([int(value.scaleb(scale)) for value in values])


def scale_of(values: Sequence[Decimal]) -> int:
    """Digits after the point that all of them need."""
    return max((max(0, -int(value.as_tuple().exponent)) for value in values), default=0)


def decimal(value: Any, scale: int) -> Decimal:
    """One of the integers as the number that it stands for, without zeros at its end."""
    with localcontext(EXACT):
        found = Decimal(int(value)).scaleb(-scale).normalize()
        return found if int(found.as_tuple().exponent) <= 0 else found.quantize(Decimal(1))


def divided(above: Any, below: Any) -> Any:
    """Quotients of integers of one scale as floats, each rounded once."""
    if above.dtype == np.int64 and below.dtype == np.int64:
        return above / below
    # Of Python's integers: rounded once, however many digits they have.
    pairs = zip(above.tolist(), below.tolist(), strict=True)
    return np.array([one / other for one, other in pairs], dtype=float)


class Days(Sequence[Day]):
    """Days in order. Each column is an array of integers, times 10 to the scale.

    :param ordinals: of the days, since year 1
    :param fees: 0 where nobody tells them
    :param known: whether somebody does
    """

    def __init__(
        self, ordinals: Any, scale: int, equity: Any, pnl: Any, flow: Any, base: Any, fees: Any, known: Any
    ) -> None:
        self.ordinals, self.scale = ordinals, scale
        self.equity, self.pnl, self.flow, self.base = equity, pnl, flow, base
        self.fees, self.known = fees, known

    @classmethod
    def of(cls, days: Sequence[Day]) -> "Days":
        """Of days one by one."""
        if isinstance(days, Days):
            return days
        zero = Decimal(0)
        fees = [zero if day.fees is None else day.fees for day in days]
        columns = [
            [day.equity for day in days],
            [day.pnl for day in days],
            [day.flow for day in days],
            [day.base for day in days],
            fees,
        ]
        scale = max(scale_of(column) for column in columns)
        ordinals = np.array([day.day.toordinal() for day in days], dtype=np.int64)
        known = np.array([day.fees is not None for day in days], dtype=bool)
        equity, pnl, flow, base, paid = (integers(column, scale) for column in columns)
        return cls(ordinals, scale, equity, pnl, flow, base, paid, known)

    def __len__(self) -> int:
        return len(self.ordinals)

    @overload
    def __getitem__(self, place: int) -> Day: ...

    @overload
    def __getitem__(self, place: slice) -> "Days": ...

    def __getitem__(self, place: Union[int, slice]) -> "Union[Day, Days]":
        if isinstance(place, slice):
            return self.taken(place)
        return Day(
            date.fromordinal(int(self.ordinals[place])),
            decimal(self.equity[place], self.scale),
            decimal(self.pnl[place], self.scale),
            decimal(self.flow[place], self.scale),
            decimal(self.base[place], self.scale),
            decimal(self.fees[place], self.scale) if self.known[place] else None,
        )

    def __iter__(self) -> Iterator[Day]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def taken(self, which: Any) -> "Days":
        """Some of the days.

        :param which: slice, places or a mask
        """
        columns = (self.equity, self.pnl, self.flow, self.base, self.fees, self.known)
        equity, pnl, flow, base, fees, known = (column[which] for column in columns)
        return Days(self.ordinals[which], self.scale, equity, pnl, flow, base, fees, known)

    @property
    def dates(self) -> List[date]:
        """The days themselves."""
        return list(map(date.fromordinal, self.ordinals.tolist()))

    def total(self, name: str) -> Decimal:
        """The sum of a column."""
        return decimal(sum(getattr(self, name).tolist()), self.scale)
