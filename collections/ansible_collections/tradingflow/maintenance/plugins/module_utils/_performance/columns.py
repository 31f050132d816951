# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Days of a strategy, as columns of exact integers: a thousand strategies of five years are nearly two million days."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union, overload

from .._checks.risk import EXACT

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: Integers below this are floats without loss; columns of larger ones are of Python's own, which have no end.
EXACT_FLOAT = 2**53
#: Calendars that are remembered.
SEEN = 32
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


def total(column: Any) -> int:
    """What a column of fitting() adds up to, which fits as well."""
    return int(column.sum()) if column.dtype == np.int64 else sum(column.tolist())


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


_seen: "Dict[int, Tuple[Any, Any]]" = {}


def ordinals(days: Sequence[date]) -> Any:
    """Days as days since year 1. Of tuples, such as the sessions of a calendar, the last few are remembered."""
    if not isinstance(days, tuple):
        return np.array([day.toordinal() for day in days], dtype=np.int64)
    kept = _seen.get(id(days))
    if kept is None or kept[0] is not days:
        if len(_seen) >= SEEN:
            _seen.clear()
        kept = (days, np.array([day.toordinal() for day in days], dtype=np.int64))
        _seen[id(days)] = kept
    return kept[1]


def plain(value: Any, scale: int) -> str:
    """One of the integers as the number that it stands for, in one form: no zeros at its end, and none of "-0"."""
    whole, rest = divmod(abs(int(value)), 10**scale)
    text = f"{whole}.{rest:0{scale}d}".rstrip("0") if rest else str(whole)
    return f"-{text}" if value < 0 else text


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

    def scaled(self, scale: int) -> "Days":
        """The same with more digits."""
        if scale == self.scale:
            return self
        columns = (self.equity, self.pnl, self.flow, self.base, self.fees)
        factor = 10 ** (scale - self.scale)
        equity, pnl, flow, base, fees = (fitting(column.astype(object) * factor) for column in columns)
        return Days(self.ordinals, scale, equity, pnl, flow, base, fees, self.known)

    @property
    def dates(self) -> List[date]:
        """The days themselves."""
        return list(map(date.fromordinal, self.ordinals.tolist()))

    def total(self, name: str) -> Decimal:
        """The sum of a column."""
        return decimal(total(getattr(self, name)), self.scale)


class Rows(Sequence[Mapping[str, Any]]):
    """Rows of the view equity, of one strategy and in order, as columns: nothing is wrong with any of them.

    :param later: rows after the review's last day, one by one
    :param sha256: of the columns as they were read, without those rows
    """

    def __init__(self, currency: str, columns: Dict[str, Any], later: List[Mapping[str, Any]], sha256: str) -> None:
        self.currency, self.later, self.sha256 = currency, later, sha256
        self.ordinals, self.as_of = columns["day"], columns["as_of"]
        #: Scale and integers.
        self.equity, self.pnl, self.fees = columns["equity"], columns["pnl"], columns["fees"]

    def __len__(self) -> int:
        return len(self.ordinals) + len(self.later)

    @overload
    def __getitem__(self, place: int) -> Mapping[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> "Sequence[Mapping[str, Any]]": ...

    def __getitem__(self, place: Union[int, slice]) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        place %= len(self)
        if place >= len(self.ordinals):
            return self.later[place - len(self.ordinals)]
        equity, pnl, fees = (
            None if column is None else decimal(column[1][place], column[0])
            for column in (self.equity, self.pnl, self.fees)
        )
        return {
            "day": date.fromordinal(int(self.ordinals[place])),
            "currency": self.currency,
            "equity": equity,
            "pnl": pnl,
            "fees": fees,
            "as_of": float(self.as_of[place]),
        }


def read_column(text: Optional[str], count: int) -> "Optional[Tuple[int, Any]]":
    """Numbers with commas between, as a scale and integers; None for what is not so many plain numbers."""
    if not text:
        return None
    found = np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8)
    commas = np.flatnonzero(found == ord(","))
    if len(commas) != count - 1 or found.max() > ord("9") or found.min() < ord(",") or (found == ord("/")).any():
        return None
    ends = np.append(commas, len(found))
    longest = int(np.diff(ends, prepend=-1).max())
    points = np.flatnonzero(found == ord("."))
    scale = int(ends[0] - points[0] - 1) if len(points) else 0
    even = not len(points) or (len(points) == count and bool((ends - points == scale + 1).all()))
    if even and longest <= LONGEST:
        return scale, fitting(np.fromstring(text.replace(".", ""), dtype=np.int64, sep=","))
    # Of different lengths, or longer than 64 bits.
    numbers = [Decimal(part) for part in text.split(",")]
    scale = scale_of(numbers)
    return scale, integers(numbers, scale)


#: Characters of a field, its comma among them, that surely fit into 64 bits.
LONGEST = 18


def made_rows(row: Mapping[str, Any], later: List[Mapping[str, Any]]) -> Optional[Rows]:
    """Columns of one strategy as they come from the database; None when its rows must be looked at one by one.

    :param row: strategy, currency, other, rows, told, days, equity, pnl, fees, paid and as_of
    """
    count = row["rows"]
    if row["paid"] not in (0, count) or not row["strategy"] or not row["currency"]:
        return None
    if row["currency"] != row["other"] or row["told"] != count:
        return None
    if any("E" in (row[name] or "").upper() for name in ("as_of", "equity", "pnl", "fees")):
        return None
    days, equity, pnl = (read_column(row[name], count) for name in ("days", "equity", "pnl"))
    fees = read_column(row["fees"], count) if row["paid"] else None
    if days is None or equity is None or pnl is None or (row["paid"] and fees is None) or days[0]:
        return None
    as_of = np.fromstring(row["as_of"] or "", dtype=float, sep=",")
    if len(as_of) != count or not np.isfinite(as_of).all() or (np.diff(days[1]) <= 0).any():
        return None
    content = "\n".join(str(row[name]) for name in ("currency", "days", "equity", "pnl", "fees", "as_of"))
    columns = {"day": days[1], "equity": equity, "pnl": pnl, "fees": fees, "as_of": as_of}
    return Rows(row["currency"], columns, later, hashlib.sha256(content.encode()).hexdigest())
