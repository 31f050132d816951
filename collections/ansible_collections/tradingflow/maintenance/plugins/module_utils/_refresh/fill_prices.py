# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fills against the market at their time: what was bought below it, or sold above it, nobody could have had."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from decimal import Decimal
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from ..words import printable
from .outputs import Fill, Outputs, sortable
from .snapshot import Slice


def better(found: Outputs, data: Slice, files: Dict[str, str]) -> Tuple[Optional[Decimal], str]:
    """By how much fills were better than the market at most.

    A fill lies between two prices: the last one at or before its time, and the first one at or after it. Worse than
    both is what slippage is, and no fault.

    :param files: instrument -> its file in the slice
    :returns: in %, None if nobody can tell; and which fill, or why
    """
    known: Dict[str, Tuple[List[str], List[Decimal]]] = {}
    worst, told = Decimal(0), ""
    for fill in found.fills:
        name = printable(fill.instrument, 40)
        if fill.instrument not in known:
            known[fill.instrument] = _prices(data.folder / files[fill.instrument])
        beside = _beside(fill, *known[fill.instrument])
        if not beside or min(beside) <= 0:
            return None, f"{name} has no price above 0 by {fill.time}"
        share = (min(beside) - fill.price) / min(beside)
        if fill.quantity < 0:
            share = (fill.price - max(beside)) / max(beside)
        if share > worst:
            side, bound = ("bought", min(beside)) if fill.quantity > 0 else ("sold", max(beside))
            worst, told = share, f"{name} {side} at {fill.price:f} on {fill.day}, when the market was at {bound:f}"
    return 100 * worst, told


def _beside(fill: Fill, times: List[str], prices: List[Decimal]) -> List[Decimal]:
    """Prices before and after a fill; nothing when there is none before it."""
    at = sortable(fill.time)
    before, after = bisect_right(times, at), bisect_left(times, at)
    return [prices[before - 1], *prices[after : after + 1]] if before else []


def _prices(path: Path) -> Tuple[List[str], List[Decimal]]:
    times, prices = [], []
    with open(path, encoding="ascii") as file:
        next(file)
        for line in file:
            time, price = line.rstrip("\n").split(",")
            times.append(sortable(time))
            prices.append(Decimal(price))
    return times, prices
