# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several strategies as one: accounts, and the book, in one currency."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .columns import Day, Days, decimal, fitting, integers, scale_of

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]


@dataclass
class Group:
    """An account or the book.

    :param days: of all of them together. What a strategy begins with flows in, what it ends with flows out
    :param currency_effect: what changed rates made of what was there, within the result
    :param results: the days of each member
    """

    name: str
    members: List[str] = field(default_factory=list)
    days: Sequence[Day] = field(default_factory=list)
    currency_effect: Decimal = Decimal(0)
    results: Mapping[str, Sequence[Day]] = field(default_factory=dict)

    def since(self, peak: Optional[date]) -> Dict[str, Decimal]:
        """What each member brought after a day, or in all."""
        place = -1 if peak is None else peak.toordinal()
        found = {}
        for name, days in self.results.items():
            columns = Days.of(days)
            found[name] = decimal(sum(columns.pnl[columns.ordinals > place].tolist()), columns.scale)
        return found


def convert(
    days: Sequence[Day], rates: Optional[Mapping[date, Decimal]]
) -> "tuple[Sequence[Day], Decimal, List[date]]":
    """Days in the review's currency, what changed rates made of capital in all, and days without a rate.

    :param rates: by day; None when the days are in that currency already
    """
    columns = Days.of(days)
    if rates is None:
        return columns, Decimal(0), []
    dates = columns.dates
    missing = [day for day in dates if day not in rates]
    if missing:
        return [], Decimal(0), missing
    if not dates:
        return columns, Decimal(0), []
    told = [rates[day] for day in dates]
    scale = scale_of(told)
    # Products of Python's integers, which are exact however many digits they have.
    now = integers(told, scale).astype(object)
    before = np.append(now[:1], now[:-1])
    equity, pnl, flow, base, fees = (
        column.astype(object) for column in (columns.equity, columns.pnl, columns.flow, columns.base, columns.fees)
    )
    # Capital was there at the old rate; what the day brought comes at the new one.
    moved = base * (now - before)
    made = (equity * now, pnl * now + moved, flow * before, base * before, fees * now)
    equity, pnl, flow, base, fees = (fitting(column) for column in made)
    scale += columns.scale
    found = Days(columns.ordinals, scale, equity, pnl, flow, base, fees, columns.known)
    return found, decimal(sum(moved.tolist()), scale), []


def together(name: str, members: Mapping[str, Sequence[Day]]) -> Group:
    """Some strategies as one.

    Each counts from its first day to its last. While the others go on, it has the equity that it had (a market that is
    closed), and that of its last day flows out on the next one.
    """
    group = Group(name, sorted(members), results=members)
    parts = [columns for columns in map(Days.of, members.values()) if len(columns)]
    if not parts:
        return group
    scale = max(part.scale for part in parts)
    days = np.unique(np.concatenate([part.ordinals for part in parts]))
    # A day more, on which all that ended on the last one would flow out.
    size = len(days) + 1
    grown, flow, pnl, fees = (np.zeros(size, dtype=object) for _column in range(4))
    narrow = [np.zeros(size, dtype=np.int64) for _column in range(4)]
    for number, part in enumerate(part.scaled(scale) for part in parts):
        places = np.searchsorted(days, part.ordinals)
        before = np.append(part.equity[:1] * 0, part.equity[:-1])
        last = int(places[-1]) + 1
        columns = (part.equity - before, part.base - before, part.pnl, part.fees)
        for column, values in zip(narrow, columns, strict=True):
            column[places] += 0 if values.dtype == object else values
        for column, values in zip((grown, flow, pnl, fees), columns, strict=True):
            if values.dtype == object:
                column[places] += values
        for wide, column in ((grown, narrow[0]), (flow, narrow[1])):
            if part.equity.dtype == object:
                wide[last] -= part.equity[-1]
            else:
                column[last] -= part.equity[-1]
        if number % SUMS == SUMS - 1:
            _emptied(narrow, (grown, flow, pnl, fees))
    _emptied(narrow, (grown, flow, pnl, fees))
    equity = grown.cumsum()[:-1]
    flow = flow[:-1]
    base = np.append(equity[:1] * 0, equity[:-1]) + flow
    known = np.full(len(days), all(bool(part.known.all()) for part in parts))
    group.days = Days(
        days, scale, fitting(equity), fitting(pnl[:-1]), fitting(flow), fitting(base), fitting(fees[:-1]), known
    )
    return group


#: Columns of numbers below 2^54 that are added up before they are emptied: their sums stay below 2^62.
SUMS = 200


def _emptied(narrow: "List[Any]", wide: "Sequence[Any]") -> None:
    """Moves sums of 64 bits into those without an end."""
    for column, into in zip(narrow, wide, strict=True):
        into += column
        column[:] = 0
