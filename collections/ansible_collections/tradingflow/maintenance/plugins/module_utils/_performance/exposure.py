# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants; values are parameters.

"""What was traded, and what is held: turnover, and concentration by instrument, venue and currency."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .._checks.sql import Row, Views, finite
from ..words import printable
from .columns import Day, Days

VALUED: Views = {
    "instruments": {"instrument": "text", "multiplier": "exact"},
    "prices": {"instrument": "text", "currency": "text", "price": "exact", "observed_at": "time"},
}
TRADED: Views = {
    **VALUED,
    "executions": {
        **dict.fromkeys(("strategy", "venue", "venue_execution_id", "kind", "reference", "instrument"), "text"),
        "quantity": "exact",
        "price": "exact",
        "executed_at": "time",
    },
}
HELD: Views = {**VALUED, "positions": {"strategy": "text", "venue": "text", "instrument": "text", "quantity": "exact"}}

# One multiplier, and what the newest price is in: by instrument, once.
PRICED = f"""
priced AS (
    SELECT i.instrument, p.currency, p.price, p.observed_at,
           CASE WHEN i.multiplier = i.other AND i.multiplier > 0 AND {finite("i.multiplier")} THEN i.multiplier END
               AS multiplier
    FROM (SELECT instrument::text AS instrument, min(multiplier::numeric) AS multiplier,
                 max(multiplier::numeric) AS other FROM maintenance.instruments GROUP BY 1) i
    LEFT JOIN LATERAL (SELECT currency::text AS currency, price::numeric AS price, observed_at
                       FROM maintenance.prices x
                       WHERE x.instrument = i.instrument AND x.observed_at <= now() + interval '5 s'
                       ORDER BY observed_at DESC LIMIT 1) p ON true
)
"""
# What was taken back or replaced was not traded; what nobody can read makes the sum NaN.
TRADED_SQL = f"""
WITH {PRICED}
SELECT e.strategy::text AS strategy, min(coalesce(p.currency, '')) AS currency, max(coalesce(p.currency, '')) AS other,
       sum(CASE WHEN {finite("e.quantity")} AND {finite("e.price")} AND isfinite(e.executed_at)
                     AND e.kind IN ('trade', 'correct')
                THEN abs(e.quantity::numeric * e.price::numeric) * coalesce(p.multiplier, 'NaN') ELSE 'NaN' END)
           AS traded
FROM maintenance.executions e LEFT JOIN priced p ON p.instrument = e.instrument
WHERE (e.executed_at IS NULL OR (e.executed_at >= %(until)s::date + 1 - %(days)s
                                 AND e.executed_at < %(until)s::date + 1))
      AND e.kind IS DISTINCT FROM 'cancel'
      AND NOT EXISTS (SELECT FROM maintenance.executions r
                      WHERE r.venue = e.venue AND r.reference = e.venue_execution_id
                            AND r.kind IN ('cancel', 'correct'))
GROUP BY 1
"""
HELD_SQL = f"""
WITH {PRICED}
SELECT h.venue::text AS venue, h.instrument::text AS instrument, p.currency,
       sum(CASE WHEN {finite("h.quantity")} AND {finite("p.price")} AND p.price > 0
                     AND p.observed_at > now() - make_interval(hours => %(age)s)
                THEN abs(h.quantity::numeric) * p.price * coalesce(p.multiplier, 'NaN') ELSE 'NaN' END) AS worth
FROM maintenance.positions h LEFT JOIN priced p ON p.instrument = h.instrument
WHERE h.quantity IS DISTINCT FROM 0
GROUP BY 1, 2, 3
"""


def turnover(days: Sequence[Day], currency: str, row: Optional[Mapping[str, Any]]) -> Optional[float]:
    """[turnover] What was bought and sold in a year, by the average capital; None when nobody can tell.

    :param row: of TRADED_SQL; None when nothing was traded
    """
    if not days:
        return None
    if row is None:
        return 0.0
    traded = row["traded"]
    if traded is None or not traded.is_finite() or {row["currency"], row["other"]} != {currency}:
        return None
    columns = Days.of(days)
    average = columns.total("base") / len(columns)
    span = int(columns.ordinals[-1] - columns.ordinals[0]) + 1
    return float(traded / average) * 365 / span if average > 0 else None


@dataclass
class Concentration:
    """Shares of all that is held, whatever its sign.

    :param doubt: why there are none
    :param shares: by "instrument", "venue" and "currency", the largest first
    """

    doubt: str = ""
    gross: Decimal = Decimal(0)
    shares: Dict[str, Dict[str, float]] = field(default_factory=dict)


def concentration(
    rows: Sequence[Row], currency: Optional[str], newest: Mapping[str, Decimal], no_rates: Mapping[str, str]
) -> Concentration:
    """[concentration] By instrument, venue and currency.

    :param rows: of HELD_SQL
    :param newest: how much of the currency one of another is worth
    """
    found = Concentration()
    currencies = {row["currency"] for row in rows}
    into = currency or (next(iter(currencies)) if len(currencies) == 1 else None)
    sums: Dict[str, Dict[str, Decimal]] = {"instrument": {}, "venue": {}, "currency": {}}
    for row in rows:
        if row["worth"] is None or not row["worth"].is_finite() or not row["currency"]:
            found.doubt = (
                f"the position in {printable(row['instrument'], 40)} has no recent price, multiplier or number"
            )
            return found
        rate = Decimal(1) if row["currency"] == into else newest.get(row["currency"])
        if into is None or rate is None:
            found.doubt = no_rates.get(row["currency"]) or f"there is no rate of {row['currency']}"
            return found
        for key, by in sums.items():
            name = row[key] or "none"
            by[name] = by.get(name, Decimal(0)) + row["worth"] * rate
    found.gross = sum(sums["instrument"].values(), Decimal(0))
    if not found.gross:
        return found
    for key, by in sums.items():
        ordered: List[Any] = sorted(by.items(), key=lambda item: (-item[1], item[0]))
        found.shares[key] = {name: float(value / found.gross) for name, value in ordered}
    return found
