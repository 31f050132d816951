# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants; values are parameters.

"""What incidents and changes of the platform cost in money while they lasted, as far as the data go."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .._checks.risk import EXACT
from .._checks.sql import Row, Views, finite
from .._checks.trading import lack
from .._ledger.record import parse_time
from .._performance.expectations import BRIDGED
from .._performance.instruments import SQL, VIEWS, Span, instruments, values_of
from .._performance.reading import Catalogue, asked_of
from ..words import plural, printable
from .past import Event, Operations

#: Events that are looked at, the newest; each looks at all executions since it began.
MOST = 40
FILLS: Views = {"backtest_fills": BRIDGED["backtest_fills"], "orders": BRIDGED["orders"], **VIEWS}
# Fills of backtests that none of our orders has, marked by the last price at the end.
MISSED_SQL = f"""
WITH span AS MATERIALIZED (
    SELECT * FROM unnest(%(spans)s::text[], %(strategies)s::text[], %(firsts)s::timestamptz[],
                         %(afters)s::timestamptz[]) s (span, whose, first, after)
), missed AS (
    SELECT s.span, s.first, s.after, b.instrument::text AS instrument,
           CASE WHEN {finite("b.quantity")} AND {finite("b.price")} THEN b.quantity::numeric
                     * CASE b.side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 ELSE 'NaN'::numeric END
                ELSE 'NaN'::numeric END AS signed, b.price::numeric AS price
    FROM span s JOIN maintenance.backtest_fills b ON b.filled_at >= s.first AND b.filled_at < s.after
    WHERE NOT EXISTS (
        SELECT FROM maintenance.orders o JOIN maintenance.executions e ON e.order_id = o.order_id
        WHERE o.client_order_id = b.client_order_id AND e.strategy = b.strategy AND e.instrument = b.instrument
              AND e.kind IN ('trade', 'correct')
              AND NOT EXISTS (SELECT FROM maintenance.executions r
                              WHERE r.venue = e.venue AND r.reference = e.venue_execution_id
                                    AND r.kind IN ('cancel', 'correct')))
)
SELECT m.span, m.instrument, count(*) AS fills, sum(m.signed) AS quantity, sum(m.signed * m.price) AS amount,
       i.multiplier, p.price, p.currency, p.observed_at > m.first AS end_inside
FROM missed m
     LEFT JOIN LATERAL (SELECT CASE WHEN count(*) = 1 AND min(CASE WHEN {finite("x.multiplier")} THEN 1 ELSE 0 END) = 1
                                    THEN min(x.multiplier::numeric) END AS multiplier
                        FROM maintenance.instruments x WHERE x.instrument::text = m.instrument) i ON true
     LEFT JOIN LATERAL (SELECT CASE WHEN {finite("x.price")} THEN x.price::numeric END AS price,
                               x.currency::text AS currency, x.observed_at FROM maintenance.prices x
                        WHERE x.instrument = m.instrument AND x.observed_at <= m.after
                              AND x.observed_at > m.after - make_interval(hours => %(age)s)
                        ORDER BY x.observed_at DESC LIMIT 1) p ON true
GROUP BY m.span, m.first, m.instrument, i.multiplier, p.price, p.currency, p.observed_at ORDER BY 1, 2
"""


@dataclass
class Lasted:
    """What was read of the time that events lasted.

    :param events: by the name of their span
    :param rows, lacking: of instruments in these spans, and why there are none
    :param missed, no_missed: of fills that only backtests had, and why there are none
    """

    events: Dict[str, Event] = field(default_factory=dict)
    rows: List[Row] = field(default_factory=list)
    lacking: str = ""
    missed: List[Row] = field(default_factory=list)
    no_missed: str = ""


def ask(operations: Operations, age: int, cursor: Any, catalogue: Catalogue) -> Lasted:
    """Asks for all that have a begin and an end.

    :param age: hours after which a price is none
    """
    found = Lasted()
    spans: List[Span] = []
    for event in [*operations.incidents[-MOST:], *operations.changes[-MOST:]]:
        span = _span(event, f"{len(spans)}")
        if span:
            spans.append(span)
            found.events[span[0]] = event
    if not spans:
        return found
    values = values_of(spans, age)
    lacking = lack(catalogue, VIEWS)
    found.rows, found.lacking = ([], lacking[0]) if lacking else asked_of(cursor, SQL, values)
    lacking = lack(catalogue, FILLS)
    found.missed, found.no_missed = ([], lacking[0]) if lacking else asked_of(cursor, MISSED_SQL, values)
    return found


def _span(event: Event, name: str) -> Optional[Span]:
    """When it began and ended; None where its record does not tell, or tells what cannot be."""
    try:
        begin, end = parse_time(event.began_at), parse_time(event.ended_at)
    except (TypeError, ValueError):
        return None
    return (name, None, begin, end) if begin < end else None


def tell(operations: Operations, read: Lasted, rate: Mapping[str, Optional[Decimal]]) -> None:
    """Gives each event what it cost, or why that is not known.

    :param rate: currency -> what one is worth in the report's, None where nobody knows
    """
    for event in [*operations.incidents, *operations.changes]:
        event.cost = {"unknown": "its record does not tell when it began and when it ended"}
    for name, event in read.events.items():
        try:
            event.cost = _cost(name, read, rate)
        except Exception as error:
            event.cost = {"unknown": f"it could not be computed, because of {type(error).__name__}"}


def _cost(name: str, read: Lasted, rate: Mapping[str, Optional[Decimal]]) -> Dict[str, Any]:
    """What the event of a span cost."""
    result, why = _result([row for row in read.rows if row["span"] == name], read.lacking, rate)
    fills, missed, no_fills = _missed([row for row in read.missed if row["span"] == name], read.no_missed, rate)
    return {
        "result": None if why else result,
        "no_result": why,
        "missed_fills": fills,
        "missed_result": None if no_fills else missed,
        "no_missed": no_fills,
    }


def _result(rows: Sequence[Row], lacking: str, rate: Mapping[str, Optional[Decimal]]) -> "Tuple[Decimal, str]":
    """What all that was held and traded made in a span before fees, and why that is not known."""
    if lacking:
        return Decimal(0), lacking.rstrip(".")
    for row in rows:
        held = row["held"] - row["later"]
        # A price from before it began would say that nothing happened.
        if (held or row["during"]) and not row["end_inside"]:
            return Decimal(0), f"{printable(row['instrument'] or 'none', 40)} has no price from while it lasted"
    made = instruments(rows, rate, "time that it lasted")
    if made.doubts:
        return Decimal(0), next(iter(sorted(made.doubts.items())))[1].rstrip(".")
    with localcontext(EXACT):
        return sum((value for of in made.results.values() for value in of.values()), Decimal(0)), ""


def _missed(
    rows: Sequence[Row], lacking: str, rate: Mapping[str, Optional[Decimal]]
) -> "Tuple[Optional[int], Decimal, str]":
    """How many fills only backtests had, what they would have made by the end, and why that is not known."""
    if lacking:
        return None, Decimal(0), lacking.rstrip(".")
    fills, total = sum(row["fills"] for row in rows), Decimal(0)
    with localcontext(EXACT):
        for row in rows:
            name = printable(row["instrument"] or "none", 40)
            if not row["quantity"].is_finite() or not row["amount"].is_finite():
                return fills, total, f"{name}: a quantity, price or side of a backtest's fill is none"
            worth, price = rate.get(row["currency"] or ""), row["price"]
            if price is not None and not row["end_inside"]:
                return fills, total, f"{name} has no price from while it lasted"
            if price is None or price <= 0 or not row["multiplier"] or row["multiplier"] < 0 or worth is None:
                return fills, total, f"{name} has no recent price, one multiplier or rate"
            total += (row["quantity"] * price - row["amount"]) * row["multiplier"] * worth
    return fills, total, ""


def shown(event: Event, currency: str) -> str:
    """What it cost, for people."""
    cost = event.cost
    if "unknown" in cost:
        return f"Cost not known: {cost['unknown']}."
    if cost["no_result"]:
        text = f"What the book made is not known: {cost['no_result']}."
    else:
        text = f"The book made {cost['result']:+,.2f} {currency} before fees while it lasted."
    if cost["missed_fills"] is None:
        return f"{text} Missed fills are not known: {cost['no_missed']}."
    text += f" {plural(cost['missed_fills'], 'fill').capitalize()} of backtests missed"
    if not cost["missed_fills"]:
        return f"{text}."
    if cost["no_missed"]:
        return f"{text}; what they would have made is not known: {cost['no_missed']}."
    return f"{text}, which would have made {cost['missed_result']:+,.2f} {currency} by its end."
