# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a refreshed backtest is worth: figures by the shared formulas, and books that follow from their fills."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .._checks.calendar import UnknownCalendar, parse
from .._performance.columns import ordinals
from .._performance.figures import Figures, figures
from .._performance.identity import Day
from .._performance.overfitting import backtest_overfitting
from .._performance.ratios import sharpe
from .._performance.returns import Undefined, whole
from .._performance.sessions import sessions
from ..words import printable
from .options import Instrument, Settings, Strategy
from .outputs import NEAR, Outputs
from .snapshot import Slice, Snapshot, last_prices

#: Paths of the drawdown's expectation, which nothing is judged by here.
_PATHS = 200


@dataclass
class Worth:
    """Figures of one run.

    :param doubt: why there are none, empty if there are
    :param trials: the larger of what the operator and the strategy declare
    :param pbo: None if there is none, for the reason in no_pbo
    """

    doubt: str = ""
    figures: Figures = field(default_factory=Figures)
    trials: int = 1
    pbo: Optional[float] = None
    no_pbo: str = ""


def days_of(capital: Decimal, found: Outputs) -> List[Day]:
    """Days as the shared room reckons with: the result is what equity changed by, besides the flow."""
    result, before = [], capital
    for row in found.days:
        base = before + row.flow
        result.append(Day(row.day, row.equity, row.equity - base, row.flow, base, row.fees))
        before = row.equity
    return result


def worth(strategy: Strategy, found: Outputs, until: date, settings: Settings) -> Worth:
    """All figures of a run."""
    result = Worth(trials=max(strategy.trials, found.trials))
    try:
        market = sessions(strategy.calendar, parse(settings.calendars), strategy.first, until)
    except UnknownCalendar as error:
        result.doubt = error.message.rstrip(".")
        return result
    there = {row.day for row in found.days}
    missing = [day for day in market.days if day not in there]
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        result.doubt = f"no equity of {missing[0]}{more}, when its market had a session"
        return result
    name = strategy.name
    # Of sessions, as the ratio that it is held against. Some of the trials tell nothing of all.
    days = ordinals([row.day for row in found.days])
    complete = len(found.returns) >= result.trials
    trials = [whole(days, one, market.days)[1] for one in found.returns] if complete else []
    variance = _variance(trials, market.per_year)
    options = {
        "confidence": settings.confidence,
        "target": 0.0,
        "paths": _PATHS,
        "trials": [{"strategy": name, "trials": result.trials, "variance": variance}],
    }
    result.figures = figures(name, days_of(strategy.capital, found), market.days, market.per_year, options)
    result.doubt = result.figures.undefined
    try:
        if len(found.returns) < result.trials:
            told = f"returns of {len(found.returns)} of {result.trials} trials are told"
            result.no_pbo = "fewer than 10 trials" if result.trials < 10 else told
        else:
            result.pbo = backtest_overfitting(found.returns)
    except Undefined as error:
        result.no_pbo = str(error)
    return result


def _variance(trials: Sequence[Sequence[float]], per_year: int) -> Optional[float]:
    """Of the trials' Sharpe ratios per year; None if they do not tell."""
    ratios = []
    for one in trials:
        try:
            ratios.append(sharpe(one).value)
        except Undefined:
            continue
    return statistics.variance(ratios) * per_year if len(ratios) > 1 else None


def books(strategy: Strategy, found: Outputs, data: Slice, snapshot: Snapshot) -> Tuple[Optional[Decimal], str]:
    """By how much equity differs at most from what fills, fees, flows and the day's last prices make of the capital.

    :returns: in % of the capital, None if nobody can tell; and the day, or why
    """
    foreign = [name for name in sorted(data.files) if snapshot.prices[name].currency != strategy.currency]
    if foreign:
        return None, f"{printable(foreign[0], 40)} is not in {strategy.currency}"
    files = files_of(data)
    last = {name: last_prices(data.folder / file) for name, file in files.items()}
    fills: Dict[date, List[Any]] = defaultdict(list)
    for fill in found.fills:
        fills[fill.day].append(fill)
    days = sorted({day for closes in last.values() for day in closes} | {row.day for row in found.days} | set(fills))
    if fills and max(fills) > found.days[-1].day:
        return Decimal(100), f"on {max(fills)} it has a fill after its last equity"
    rows = {row.day: row for row in found.days}
    cash, held, price = strategy.capital, defaultdict(Decimal), {}  # type: ignore[var-annotated]
    worst, told, paid = Decimal(0), "", Decimal(0)
    for day in days:
        for name, closes in last.items():
            if day in closes:
                price[name] = Decimal(closes[day])
        for fill in fills.get(day, []):
            held[fill.instrument] += fill.quantity
            cash -= fill.quantity * fill.price
            paid += fill.fee
        row = rows.get(day)
        if row is None:
            continue
        if row.fees < paid - NEAR * max(abs(paid), abs(row.fees)):
            return Decimal(100), f"by {day} its fills paid {paid:f}, and fees are {row.fees:f}"
        paid = Decimal(0)
        cash += row.flow - row.fees
        unpriced = [name for name, quantity in held.items() if quantity and name not in price]
        if unpriced:
            return None, f"{printable(unpriced[0], 40)} has no price by {day}"
        apart = abs(row.equity - cash - sum(quantity * price[name] for name, quantity in held.items() if quantity))
        if apart > worst:
            worst, told = apart, str(day)
    return 100 * worst / strategy.capital, told


def files_of(data: Slice) -> Dict[str, str]:
    """Instrument -> its file in the slice: they are numbered by name."""
    return {name: f"prices/{number:04d}.csv" for number, name in enumerate(sorted(data.files), 1)}


def strangers(found: Outputs, universe: Sequence[Instrument]) -> Tuple[List[str], List[str]]:
    """Fills of instruments that were not in the universe on that day; and instruments of which nobody tells."""
    open_ended = sorted({one.name for one in universe if one.first is None})
    wrong = []
    for fill in found.fills:
        spans = [one for one in universe if one.name == fill.instrument]
        if not any((one.first or date.min) <= fill.day <= (one.last or date.max) for one in spans):
            wrong.append(f"{printable(fill.instrument, 40)} on {fill.day}")
    return wrong, open_ended
