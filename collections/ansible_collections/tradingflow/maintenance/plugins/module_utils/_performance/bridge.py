# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what a backtest expected to what was earned: a bridge in money that adds up to the last digit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, localcontext
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .._checks.risk import EXACT
from ..words import printable
from .columns import Day
from .ratios import NORMAL, long_run_variance
from .returns import Undefined

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: What lies between the two, in this order; the residual is what is left.
TERMS = ("data", "timing", "price", "fees", "funding", "missed", "size")
#: Days of a year: both are by calendar day.
YEAR = 365


@dataclass
class Bridge:
    """From a backtest's result to the live one, of the days that both have.

    :param live: result net of fees, in the strategy's currency
    :param terms: what each brought; they, the expected result and the residual add up to the live one
    :param daily: residual of each day
    :param apart: live less expected return of each day, of what the day began with
    :param capital: what a day began with on average
    :param counts: orders that are matched, missed, unplanned, unpriced
    """

    days: List[date] = field(default_factory=list)
    live: Decimal = Decimal(0)
    expected: Decimal = Decimal(0)
    terms: Dict[str, Decimal] = field(default_factory=dict)
    residual: Decimal = Decimal(0)
    daily: List[Decimal] = field(default_factory=list)
    apart: List[float] = field(default_factory=list)
    capital: Decimal = Decimal(0)
    counts: Dict[str, int] = field(default_factory=dict)
    unmeasured: List[str] = field(default_factory=list)


@dataclass
class Mean:
    """A mean per day with its interval."""

    value: float
    low: float
    high: float
    count: int


def mean(values: Sequence[float], confidence: float) -> Mean:
    """[mean-hac] By Newey and West with floor(4 (n / 100)^(2/9)) lags.

    :raises Undefined: fewer than 3 days
    """
    array = np.asarray(values, dtype=float)
    if len(array) < 3:
        raise Undefined("fewer than 3 days")
    error = math.sqrt(long_run_variance(array, int(4 * (len(array) / 100) ** (2 / 9))) / len(array))
    reach = NORMAL.inv_cdf(0.5 + confidence / 2) * error
    value = float(array.mean())
    return Mean(value, value - reach, value + reach, len(array))


def expected_days(days: Sequence[Day], currency: str, rows: Sequence[Mapping[str, Any]]) -> List[Tuple[Day, Any]]:
    """[backtest-drift] Days that both have, each with what was expected.

    :param rows: of EXPECTED_SQL, of one strategy
    :raises Undefined: they do not fit together
    """
    told: Dict[date, Any] = {}
    for row in rows:
        if row["day"] is None or row["currency"] != currency:
            raise Undefined("an expectation has no day, or another currency")
        if row["day"] in told:
            raise Undefined(f"{row['day']} has two expectations")
        if any(row[name] is None or not row[name].is_finite() for name in ("pnl", "fees", "funding")):
            raise Undefined(f"a number of the expectation of {row['day']} is none")
        told[row["day"]] = row
    if not told or not days:
        raise Undefined("there is no day that both have")
    first, last = max(min(told), days[0].day), min(max(told), days[-1].day)
    live = {day.day: day for day in days if first <= day.day <= last}
    both = sorted({*live, *(day for day in told if first <= day <= last)})
    if not both:
        raise Undefined("there is no day that both have")
    lacking = [day for day in both if day not in told or day not in live]
    if lacking:
        what = "expectation" if lacking[0] not in told else "equity"
        raise Undefined(
            f"there is no {what} of {lacking[0]}" + (f", nor of {len(lacking) - 1} more" * bool(lacking[1:]))
        )
    return [(live[day], told[day]) for day in both]


def drifted(days: Sequence[Tuple[Day, Any]]) -> List[float]:
    """Live less expected return of each day, of what the day began with.

    :raises Undefined: a day began with nothing
    """
    if any(day.base <= 0 for day, _row in days):
        raise Undefined("a day began with capital of 0 or less")
    return [float((day.pnl - row["pnl"]) / day.base) for day, row in days]


def bridge(
    days: Sequence[Tuple[Day, Any]],
    currency: str,
    rows: Sequence[Mapping[str, Any]],
    marks: Mapping[str, Mapping[date, Decimal]],
    funded: Optional[Sequence[Mapping[str, Any]]],
) -> Bridge:
    """[backtest-bridge] Live less expected result by what made it.

    :param days: see expected_days()
    :param rows: of BRIDGED_SQL, of the strategy
    :param marks: instrument -> day -> its last price
    :param funded: of FUNDED_SQL, of the strategy; None when nobody tells: then what was expected of it is no term
    :raises Undefined: something cannot be told
    """
    with localcontext(EXACT):
        return _bridge(days, currency, rows, marks, funded)


def _bridge(
    days: Sequence[Tuple[Day, Any]], currency: str, rows: Any, marks: Any, funded: Optional[Sequence[Mapping[str, Any]]]
) -> Bridge:
    found = Bridge([day.day for day, _row in days])
    by_day: Dict[date, Dict[str, Decimal]] = {day: dict.fromkeys(TERMS, Decimal(0)) for day in found.days}
    inside = [row for row in rows if row["day"] in by_day]
    for row in inside:
        numbers = [row[name] for name in ("data", "timing", "price", "missed_amount", "size_amount")]
        if row["currency"] != currency:
            raise Undefined(f"{printable(row['instrument'], 40)} is not priced in {currency}")
        if any(value is None or not value.is_finite() for value in numbers):
            raise Undefined(f"a fill in {printable(row['instrument'], 40)} has no side, price, multiplier or number")
        for name in ("data", "timing", "price"):
            by_day[row["day"]][name] += row[name]
    for name in ("missed", "size"):
        _marked(name, inside, marks, by_day)
    if any(day.fees is None for day, _row in days):
        raise Undefined("nobody tells the fees")
    for day, row in days:
        by_day[day.day]["fees"] = row["fees"] - (day.fees or Decimal(0))
    if funded is None:
        found.unmeasured.append("funding")
    else:
        for day, row in days:
            by_day[day.day]["funding"] = -row["funding"]
        for row in funded:
            if row["currency"] != currency or not row["amount"].is_finite():
                raise Undefined("funding has another currency, or is no number")
            if row["day"] in by_day:
                by_day[row["day"]]["funding"] += row["amount"]
    for day, row in days:
        found.daily.append(day.pnl - row["pnl"] - sum(by_day[day.day].values(), Decimal(0)))
    found.live = sum((day.pnl for day, _row in days), Decimal(0))
    found.expected = sum((row["pnl"] for _day, row in days), Decimal(0))
    found.terms = {name: sum((each[name] for each in by_day.values()), Decimal(0)) for name in TERMS}
    found.residual = sum(found.daily, Decimal(0))
    found.capital = sum((day.base for day, _row in days), Decimal(0)) / len(days)
    for name in ("matched", "missed", "unplanned", "unpriced"):
        found.counts[name] = sum(row[name] for row in inside)
    return found


def _marked(name: str, rows: Any, marks: Any, by_day: Dict[date, Dict[str, Decimal]]) -> None:
    """What only one of the two held: by its price at first, and then by each day's last price."""
    days = sorted(by_day)
    for instrument in sorted({row["instrument"] for row in rows if row[f"{name}_quantity"] or row[f"{name}_amount"]}):
        held: Dict[date, Tuple[Decimal, Decimal]] = {}
        for row in rows:
            if row["instrument"] == instrument:
                before = held.get(row["day"], (Decimal(0), Decimal(0)))
                held[row["day"]] = (before[0] + row[f"{name}_quantity"], before[1] + row[f"{name}_amount"])
        quantity, earlier = Decimal(0), None
        for day in days:
            added, amount = held.get(day, (Decimal(0), Decimal(0)))
            if not quantity and not added and not amount:
                continue
            mark = marks.get(instrument, {}).get(day)
            if mark is None or not mark.is_finite():
                raise Undefined(f"there is no price of {printable(instrument, 40)} for {day}")
            if quantity and earlier is not None:
                by_day[day][name] += quantity * (mark - earlier)
            by_day[day][name] += added * mark - amount
            quantity, earlier = quantity + added, mark


def wanted_marks(rows: Sequence[Mapping[str, Any]]) -> List[str]:
    """Instruments of which only one of the two held something."""
    return sorted(
        {
            row["instrument"]
            for row in rows
            if row["instrument"]
            and any(row[f"{name}_{what}"] for name in ("missed", "size") for what in ("quantity", "amount"))
        }
    )
