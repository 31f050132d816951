# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What risk models of the sample platform forecast, who owns them, and what was used of limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from .books import ACCOUNT_OF, ACCOUNTS, Books, money
from .market import MICRO
from .reference import INSTRUMENTS, MONEY, PRICE, STRATEGIES
from .trading import Executions

#: The level, and what value at risk and expected shortfall are there in deviations of a normal distribution.
LEVEL, VAR, ES = Decimal("0.95"), 1.6449, 2.0627
#: How fast older days fade, and days that a deviation begins with.
FADE, BEGIN = 0.94, 20
MODELS = {"strategy": ("ewma-normal", "1.4"), "book": ("ewma-book", "2.0")}
#: Days of which the use of limits is kept.
DAYS = 40


def tables(books: Books, fills: Executions, anchor: datetime) -> list[tuple[str, str, list[tuple[Any, ...]]]]:
    """Name, columns and rows."""
    columns = "id scope subject day currency confidence value_at_risk expected_shortfall model version made_at"
    use = list(used(books, fills))
    return [
        ("risk_forecasts", columns, [(number, *row) for number, row in enumerate(forecasts(books, anchor), 1)]),
        ("risk_models", "model version owner validated_on next_due_on", models(anchor)),
        ("limit_use", "scope subject metric day used", use),
    ]


def days_of(books: Books) -> list[date]:
    """The days of the books, the last of which is not over."""
    return [(datetime(1970, 1, 1) + timedelta(microseconds=int(end) - 1)).date() for end in books.days]


def forecasts(books: Books, anchor: datetime) -> Iterator[tuple[Any, ...]]:
    """scope, subject, day, currency, confidence, value_at_risk, expected_shortfall, model, version, made_at.

    Each was made ten minutes before its day began; that of tomorrow is not there yet.
    """
    days = days_of(books)
    scale = 10.0**MONEY
    results = [books.pnl[number] / scale for number in range(len(STRATEGIES))]
    rate = books.prices[[one.code for one in INSTRUMENTS].index("FXHUB:EUR-USD")] / 10.0**PRICE
    in_dollars = [
        books.equity[number] / scale * (rate if strategy.currency == "EUR" else 1.0)
        for number, strategy in enumerate(STRATEGIES)
    ]
    together = np.diff(np.sum(in_dollars, axis=0), prepend=np.nan)
    together[0] = sum(float(result[0]) for result in results)
    known = [("strategy", one.code, one.currency, one.calendar, results[n]) for n, one in enumerate(STRATEGIES)]
    for scope, subject, currency, calendar, result in [*known, ("book", "book", "USD", "24/7", together)]:
        open_days = np.array([calendar == "24/7" or day.weekday() < 5 for day in days])
        begun = result[open_days][:BEGIN]
        variance = float((begun**2).mean()) if len(begun) else 0.0
        for place, day in enumerate(days):
            if open_days[place]:
                deviation = variance**0.5
                made = datetime.combine(day, time(), anchor.tzinfo) - timedelta(minutes=10)
                var, es = (Decimal(str(round(deviation * factor, 2))) for factor in (VAR, ES))
                yield (scope, subject, day, currency, LEVEL, var, es, *MODELS[scope], made)
                variance = FADE * variance + (1 - FADE) * float(result[place] ** 2)


def models(anchor: datetime) -> list[tuple[Any, ...]]:
    """model, version, owner, validated_on, next_due_on; the validation of one that is used no more is overdue."""
    today = anchor.date()
    return [
        ("ewma-normal", "1.4", "J. Weber", today - timedelta(days=120), None),
        ("ewma-book", "2.0", "J. Weber", today - timedelta(days=60), today + timedelta(days=122)),
        ("historical-coins", "0.9", "S. Haddad", today - timedelta(days=400), None),
    ]


def used(books: Books, fills: Executions) -> Iterator[tuple[Any, ...]]:
    """scope, subject, metric, day, used: at the ends of days; the order rate is that of the busiest minute."""
    days = days_of(books)
    groups = [("strategy", one.code, [number]) for number, one in enumerate(STRATEGIES)]
    groups += [("account", name, list(np.flatnonzero(number == ACCOUNT_OF))) for number, name in enumerate(ACCOUNTS)]
    minute = fills.executed // (60 * MICRO)
    for scope, subject, members in groups:
        minutes, counts = np.unique(minute[np.isin(fills.strategy, members)], return_counts=True)
        ends = np.searchsorted(books.days, minutes * 60 * MICRO, side="left")
        busiest = np.zeros(len(days) + 1, np.int64)
        np.maximum.at(busiest, ends, counts)
        for place in range(max(0, len(days) - DAYS), len(days)):
            worth = books.worth[members, :, place]
            equity = int(books.equity[members, place].sum())
            gross, net = int(np.abs(worth).sum()), abs(int(worth.sum()))
            largest = int(np.abs(worth.sum(axis=0)).max())
            values = {
                "gross_exposure": money(gross),
                "net_exposure": money(net),
                "concentration": round(Decimal(largest) / equity, 6),
                "leverage": round(Decimal(gross) / equity, 6),
                "order_rate": Decimal(int(busiest[place])),
            }
            for metric, value in values.items():
                yield (scope, subject, metric, days[place], value)
