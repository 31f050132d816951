# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several strategies as one: accounts, and the book, in one currency."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Dict, List, Mapping, Optional, Sequence

from .columns import Day


@dataclass
class Group:
    """An account or the book.

    :param days: of all of them together. What a strategy begins with flows in, what it ends with flows out
    :param currency_effect: what changed rates made of what was there, within the result
    :param results: the days of each member
    """

    name: str
    members: List[str] = field(default_factory=list)
    days: List[Day] = field(default_factory=list)
    currency_effect: Decimal = Decimal(0)
    results: Mapping[str, Sequence[Day]] = field(default_factory=dict)

    def since(self, peak: Optional[date]) -> Dict[str, Decimal]:
        """What each member brought after a day, or in all."""
        return {
            name: sum((day.pnl for day in days if peak is None or day.day > peak), Decimal(0))
            for name, days in self.results.items()
        }


def convert(days: Sequence[Day], rates: Optional[Mapping[date, Decimal]]) -> "tuple[List[Day], Decimal, List[date]]":
    """Days in the review's currency, what changed rates made of capital in all, and days without a rate.

    :param rates: by day; None when the days are in that currency already
    """
    if rates is None:
        return list(days), Decimal(0), []
    missing = [day.day for day in days if day.day not in rates]
    if missing:
        return [], Decimal(0), missing
    found: List[Day] = []
    effect, before = Decimal(0), rates[days[0].day] if days else Decimal(1)
    for day in days:
        now = rates[day.day]
        # Capital was there at the old rate; what the day brought comes at the new one.
        moved = day.base * (now - before)
        effect += moved
        fees = None if day.fees is None else day.fees * now
        found.append(Day(day.day, day.equity * now, day.pnl * now + moved, day.flow * before, day.base * before, fees))
        before = now
    return found, effect, []


def together(name: str, members: Mapping[str, Sequence[Day]]) -> Group:
    """Some strategies as one.

    Each counts from its first day to its last. While the others go on, it has the equity that it had (a market that is
    closed), and that of its last day flows out on the next one.
    """
    group = Group(name, sorted(members), results=members)
    by_day: Dict[date, List["tuple[str, Day]"]] = {}
    for member, days in members.items():
        for day in days:
            by_day.setdefault(day.day, []).append((member, day))
    ends = {member: days[-1].day for member, days in members.items() if days}
    held: Dict[str, Decimal] = {}
    known_fees = all(day.fees is not None for days in members.values() for day in days)
    for at in sorted(by_day):
        flow = Decimal(0)
        for member in [member for member in held if ends[member] < at]:
            flow -= held.pop(member)
        begin = sum(held.values(), Decimal(0))
        pnl, fees = Decimal(0), Decimal(0)
        for member, day in by_day[at]:
            moved = day.base - held.get(member, Decimal(0))
            flow += moved
            begin += moved
            pnl += day.pnl
            fees += day.fees or 0
            held[member] = day.equity
        equity = sum(held.values(), Decimal(0))
        group.days.append(Day(at, equity, pnl, flow, begin, fees if known_fees else None))
    return group
