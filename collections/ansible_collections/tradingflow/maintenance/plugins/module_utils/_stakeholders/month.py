# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The month of each strategy, account and the book, and what made the book's result."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .._checks.risk import EXACT
from .._performance.columns import Day
from .._performance.figures import Figures, figures
from .._performance.instruments import Instruments, instruments
from .._performance.reading import Read
from .._performance.returns import Undefined, daily, time_weighted
from .._performance.strategies import Strategy, converted, followed, grouped
from .instruments import Asked

#: Of the month: with so few sessions ratios say nothing, and are not told.
MONTH = ("from", "to", "sessions", "twr", "twr_gross", "mwr", "pnl", "fees", "flows", "maximum_drawdown", "drawdown")
#: Of all days that were read.
ALL = (
    *("from", "to", "sessions", "twr", "twr_annual", "volatility", "volatility_interval", "sharpe", "sharpe_interval"),
    *("minimum_track_record", "sortino", "sortino_interval", "calmar", "drawdown", "maximum_drawdown"),
)


@dataclass
class Line:
    """One strategy, account, or the book.

    :param month: of the month's days, as far as MONTH has them; None when there are none
    :param all: of all days that were read, as far as ALL has them
    :param doubt: why there are none, empty when there are
    :param days: of the month
    """

    name: str
    currency: str
    account: str = ""
    equity: Optional[Decimal] = None
    month: Optional[Dict[str, Any]] = None
    all: Dict[str, Any] = field(default_factory=dict)
    doubt: str = ""
    days: List[Day] = field(default_factory=list)


@dataclass
class Attribution:
    """What made the book's result of the month.

    :param doubt: why it is not known, empty when it is
    :param contributions: strategy -> share of the book's return (Carino 1999); they add up to it
    :param results: strategy -> result net of fees, in the report's currency
    :param currency: what changed rates made of capital, within the results
    :param fees: None when nobody tells them
    :param capital: strategy -> equity at the end, else the most it began a day with, in the report's currency
    :param unexplained: strategy -> what its instruments do not add up to; without those whose instruments are not told
    """

    doubt: str = ""
    contributions: Dict[str, float] = field(default_factory=dict)
    results: Dict[str, Decimal] = field(default_factory=dict)
    currency: Decimal = Decimal(0)
    fees: Optional[Decimal] = None
    instruments: Instruments = field(default_factory=Instruments)
    unexplained: Dict[str, Decimal] = field(default_factory=dict)
    capital: Dict[str, Decimal] = field(default_factory=dict)


@dataclass
class Month:
    """All of it. ``ended`` are strategies that had ended before the days that were read."""

    book: Line
    accounts: List[Line]
    strategies: List[Line]
    attribution: Attribution
    ended: List[str]


def month(found: Read, more: Asked, options: Dict[str, Any]) -> Month:
    """The month of what was read."""
    strategies, ended = followed(found, options)
    converted(strategies, options, found)
    groups = grouped(strategies, options)
    lines = [_strategy(one, options) for one in strategies]
    accounts = [_group(group, result, doubt, options, strategies) for group, result, doubt in groups]
    book = next(line for line in accounts if not line.name)
    attribution = Attribution()
    if not book.doubt and book.month:
        try:
            attribution = attributed(book, strategies, found, more, options)
        except Undefined as error:
            attribution.doubt = str(error)
    return Month(book, [line for line in accounts if line.name], lines, attribution, ended)


def _within(days: Sequence[Day], options: Mapping[str, Any]) -> List[Day]:
    return [day for day in days if options["first"] <= day.day <= options["last"]]


def _figures(line: Line, result: Figures, days: Sequence[Day], options: Dict[str, Any]) -> None:
    line.all = {key: result.data[key] for key in ALL if key in result.data}
    line.days = _within(days, options)
    if not line.days:
        return
    line.equity = line.days[-1].equity
    found = figures(line.name, line.days, result.calendar, result.per_year, {**options, "paths": 100})
    if found.undefined:
        line.doubt = found.undefined
    else:
        line.month = {key: found.data[key] for key in MONTH if key in found.data}


def _strategy(one: Strategy, options: Dict[str, Any]) -> Line:
    line = Line(one.name, one.track.currency, one.account)
    if not one.track.sound or one.sessions is None:
        line.doubt = "; ".join(one.track.doubts) or "its books are not right"
    elif one.figures.undefined:
        line.doubt = one.figures.undefined
    else:
        _figures(line, one.figures, one.track.days, options)
    return line


def _group(group: Any, result: Figures, doubt: str, options: Dict[str, Any], strategies: List[Strategy]) -> Line:
    currencies = {one.track.currency for one in strategies if one.name in group.members}
    line = Line(group.name, options["currency"] or (currencies.pop() if len(currencies) == 1 else ""))
    line.doubt = doubt or result.undefined
    if not line.doubt:
        _figures(line, result, group.days, options)
    return line


def attributed(
    book: Line, strategies: List[Strategy], found: Read, more: Asked, options: Dict[str, Any]
) -> Attribution:
    """What made the book's result.

    :raises Undefined: the book's return is none
    """
    result = Attribution()
    own = {one.name: _within(one.days, options) for one in strategies}
    with localcontext(EXACT):
        for one in strategies:
            days = own[one.name]
            result.results[one.name] = sum((day.pnl for day in days), Decimal(0))
            if one.track.currency != book.currency:
                native = {day.day: day.pnl for day in one.track.days}
                rates = found.rates[one.track.currency]
                result.currency += sum((day.pnl - native[day.day] * rates[day.day] for day in days), Decimal(0))
    fees = (book.month or {}).get("fees")
    result.fees = None if fees is None else Decimal(fees)
    result.contributions = linked(book.days, own)
    if more.lacking:
        result.instruments.doubts = {one.name: more.lacking for one in strategies}
        return result
    result.instruments = instruments(more.rows, rates_at_end(found, book.currency, options))
    strangers = set(result.instruments.results) - {one.name for one in strategies}
    for name in strangers:
        result.instruments.doubts[name] = "it has executions or positions, and no equity"
        result.instruments.results.pop(name)
    for one in strategies:
        days = own[one.name]
        if one.name in result.instruments.doubts:
            continue
        if not days:
            if result.instruments.results.pop(one.name, None):
                result.instruments.doubts[one.name] = "it has executions or positions, and no equity in the month"
            continue
        if any(day.fees is None for day in days):
            result.instruments.doubts[one.name] = "nobody tells its fees"
            result.instruments.results.pop(one.name, None)
            continue
        told = sum(result.instruments.results.get(one.name, {}).values(), Decimal(0))
        gross = sum((day.pnl + (day.fees or 0) for day in days), Decimal(0))
        result.unexplained[one.name] = gross - told
        result.capital[one.name] = abs(days[-1].equity) or max(abs(day.base) for day in days)
    return result


def rates_at_end(found: Read, currency: str, options: Mapping[str, Any]) -> Dict[str, Optional[Decimal]]:
    """What one of each currency is worth at the month's end: by the last day that has a rate, if it is recent."""
    result: Dict[str, Optional[Decimal]] = {currency: Decimal(1)}
    for name, rates in found.rates.items():
        last = max((day for day in rates if day <= options["last"]), default=None)
        recent = last is not None and (options["last"] - last).days * 24 <= options["rate_age"]
        result[name] = rates[last] if last is not None and recent else None
    return result


def linked(book: Sequence[Day], members: Mapping[str, Sequence[Day]]) -> Dict[str, float]:
    """[carino-1999] Each member's share of a return over several days: daily shares, linked so that they add up.

    :raises Undefined: a day of the book has no return, or lost all
    """
    returns = dict(daily(book))
    if any(value <= -1 for value in returns.values()):
        raise Undefined("a day lost all there was")
    total = time_weighted(list(returns.values()))
    bases = {day.day: day.base for day in book}
    overall = _smoothed(total)
    found = {}
    for name, days in members.items():
        parts = [
            float(day.pnl / bases[day.day]) * _smoothed(returns[day.day]) / overall for day in days if day.day in bases
        ]
        found[name] = math.fsum(parts)
    return found


def _smoothed(value: float) -> float:
    """ln(1 + R) / R, and its limit where R is 0."""
    return math.log1p(value) / value if value else 1.0
