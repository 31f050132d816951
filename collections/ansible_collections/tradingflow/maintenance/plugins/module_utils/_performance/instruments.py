# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ruff: noqa: S608 - SQL is put together from constants; values are parameters.

"""What each instrument brought between two moments, from executions, what is held, and prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .._checks.risk import EXACT
from .._checks.sql import Row, Views, readable
from .exposure import TRADED, VALUED

VIEWS: Views = {
    **VALUED,
    "executions": {**TRADED["executions"], "side": "text"},
    "positions": {"strategy": "text", "instrument": "text", "quantity": "exact"},
}


def _sql(mine: str) -> str:
    """What was held at both ends is what is held now, less what was executed since. NaN for all that is no number.

    What was cancelled or replaced counted until its first amendment, as the books had it, and a correction counts from
    its own time. What came and went on the same side of the end is left out: it may well be unreadable.
    Marks are the last prices at or before a moment, as the books have them: spans side by side add up.

    :param mine: SQL: whether a row is of the span
    """
    return f"""
WITH span AS MATERIALIZED (
    SELECT * FROM unnest(%(spans)s::text[], %(strategies)s::text[], %(firsts)s::timestamptz[],
                         %(afters)s::timestamptz[]) s (span, whose, first, after)
), gone AS MATERIALIZED (
    SELECT venue, reference, CASE WHEN bool_and(coalesce(isfinite(executed_at), false)) THEN min(executed_at) END AS at
    FROM maintenance.executions WHERE kind IN ('cancel', 'correct') AND reference IS NOT NULL GROUP BY 1, 2
), counted AS NOT MATERIALIZED (
    SELECT e.strategy, e.instrument, e.price, e.executed_at,
           CASE WHEN e.side = 'buy' THEN {readable("e.quantity")} WHEN e.side = 'sell' THEN -{readable("e.quantity")}
                ELSE 'NaN' END * CASE WHEN isfinite(e.executed_at) AND e.kind IN ('trade', 'correct') THEN 1
                                      ELSE 'NaN'::numeric END AS signed,
           g.reference IS NOT NULL AS gone, CASE WHEN g.at IS NOT NULL THEN greatest(g.at, e.executed_at) END AS gone_at
    FROM maintenance.executions e LEFT JOIN gone g ON g.venue = e.venue AND g.reference = e.venue_execution_id
    WHERE e.kind IS DISTINCT FROM 'cancel'
), moved AS (
    SELECT s.span, e.strategy::text AS strategy, e.instrument::text AS instrument, e.signed,
           {readable("e.price")} AS price, e.executed_at >= s.after AS later
    FROM span s JOIN counted e ON {mine.format("e")}
    WHERE (e.executed_at IS NULL OR e.executed_at >= s.first)
          AND (e.executed_at IS NULL OR e.executed_at >= (SELECT min(first) FROM span))
          AND (e.gone_at < s.first) IS NOT TRUE
          AND ((e.executed_at >= s.after) = (e.gone_at >= s.after)) IS NOT TRUE
    UNION ALL
    SELECT s.span, e.strategy::text, e.instrument::text,
           CASE WHEN isfinite(e.gone_at) THEN -e.signed ELSE 'NaN' END, {readable("e.price")}, e.gone_at >= s.after
    FROM span s JOIN counted e ON {mine.format("e")}
    WHERE e.gone AND (e.gone_at IS NULL OR e.gone_at >= s.first)
          AND (e.executed_at >= s.first AND (e.executed_at >= s.after) = (e.gone_at >= s.after)) IS NOT TRUE
), sums AS (
    SELECT span, strategy, instrument, coalesce(sum(signed) FILTER (WHERE later IS NOT FALSE), 0) AS later,
           coalesce(sum(signed) FILTER (WHERE later IS FALSE), 0) AS during,
           coalesce(sum(signed * price) FILTER (WHERE later IS FALSE), 0) AS paid
    FROM moved GROUP BY 1, 2, 3
), held AS (
    SELECT s.span, p.strategy::text AS strategy, p.instrument::text AS instrument,
           sum({readable("p.quantity")}) AS quantity
    FROM span s JOIN maintenance.positions p ON {mine.format("p")} GROUP BY 1, 2, 3
)
SELECT a.*, i.multiplier, b.price AS begin_price, e.price AS end_price, e.observed_at > s.first AS end_inside,
       CASE WHEN coalesce(b.currency, e.currency) = coalesce(e.currency, b.currency)
            THEN coalesce(e.currency, b.currency) END AS currency
FROM (SELECT span, strategy, instrument, coalesce(quantity, 0) AS held, coalesce(later, 0) AS later,
             coalesce(during, 0) AS during, coalesce(paid, 0) AS paid
      FROM sums FULL JOIN held USING (span, strategy, instrument)) a
     JOIN span s ON s.span = a.span
     LEFT JOIN LATERAL (SELECT CASE WHEN count(*) = 1 THEN min({readable("multiplier")}) END AS multiplier
                        FROM maintenance.instruments x WHERE x.instrument::text = a.instrument) i ON true
     LEFT JOIN LATERAL (SELECT {readable("price")} AS price, currency::text AS currency FROM maintenance.prices x
                        WHERE x.instrument = a.instrument AND x.observed_at <= s.first
                              AND x.observed_at > s.first - make_interval(hours => %(age)s)
                        ORDER BY x.observed_at DESC LIMIT 1) b ON true
     LEFT JOIN LATERAL (SELECT {readable("price")} AS price, currency::text AS currency, x.observed_at
                        FROM maintenance.prices x
                        WHERE x.instrument = a.instrument AND x.observed_at <= s.after
                              AND x.observed_at > s.after - make_interval(hours => %(age)s)
                        ORDER BY x.observed_at DESC LIMIT 1) e ON true
ORDER BY 1, 2, 3
"""


#: Of all strategies in each span, and of one strategy in each.
SQL, OF_ONE_SQL = _sql("true"), _sql("{}.strategy::text = s.whose")


#: Name of a span, its strategy (None for all), its begin, and the moment after its end.
Span = Tuple[str, Optional[str], datetime, datetime]


def values_of(spans: Sequence[Span], age: int) -> Dict[str, Any]:
    """Parameters of SQL.

    :param age: hours after which a price is none
    """
    columns = zip(*spans, strict=True) if spans else ((), (), (), ())
    names = ("spans", "strategies", "firsts", "afters")
    return {**{name: list(column) for name, column in zip(names, columns, strict=True)}, "age": age}


def lasting(rows: Sequence[Row]) -> List[Row]:
    """What of these rows stays as it is whatever is traded after the end: what was held then, not what is held now.

    An instrument of which there was nothing until then is left out, as it was when nobody had traded it yet.
    """
    found: List[Row] = []
    with localcontext(EXACT):
        for row in rows:
            at_end = row["held"] - row["later"]
            # Trades in smaller parts leave zeros behind.
            at_end = at_end.normalize() if at_end.is_finite() else at_end
            if at_end or row["during"] or row["paid"]:
                found.append({**row, "held": at_end, "later": 0})
    return found


@dataclass
class Instruments:
    """[instrument-result] By strategy and instrument, in the report's currency.

    :param results: strategy -> instrument -> result before fees
    :param doubts: strategy -> why its instruments are not told
    """

    results: Dict[str, Dict[str, Decimal]] = field(default_factory=dict)
    doubts: Dict[str, str] = field(default_factory=dict)


def instruments(rows: Sequence[Row], rate: Mapping[str, Optional[Decimal]], span: str = "month") -> Instruments:
    """What each brought: what is held at the end, less what was held at the beginning and what was paid in between.

    :param rows: of one span
    :param rate: currency -> what one is worth at its end; None when nobody knows
    """
    found = Instruments()
    with localcontext(EXACT):
        for row in rows:
            name = row["strategy"] or ""
            at_end = row["held"] - row["later"]
            at_begin = at_end - row["during"]
            # What was bought and sold again brought something; a number that is none counts as something.
            if not (at_end or at_begin or row["during"] or row["paid"]):
                continue
            why = _doubt(row, at_begin, at_end, rate, span)
            if why:
                found.doubts.setdefault(name, f"{row['instrument'] or 'an execution without an instrument'}: {why}")
                continue
            worth = (at_end * row["end_price"] if at_end else 0) - (at_begin * row["begin_price"] if at_begin else 0)
            result = (worth - row["paid"]) * row["multiplier"] * (rate[row["currency"]] or 0)
            found.results.setdefault(name, {})[row["instrument"]] = result
    for name in found.doubts:
        found.results.pop(name, None)
    return found


def _doubt(row: Row, at_begin: Decimal, at_end: Decimal, rate: Mapping[str, Optional[Decimal]], span: str) -> str:
    """Why a row's result is not known; empty when it is."""
    if not row["instrument"] or not all(value.is_finite() for value in (at_begin, at_end, row["paid"])):
        return "a quantity, price, side or time is none"
    multiplier = row["multiplier"]
    if multiplier is None or not multiplier.is_finite() or multiplier <= 0:
        return "it has no one multiplier"
    for quantity, key, when in ((at_begin, "begin_price", "beginning"), (at_end, "end_price", "end")):
        price = row[key]
        if quantity and (price is None or not price.is_finite() or price <= 0):
            return f"it has no recent price at the {when} of the {span}"
    if row["currency"] is None:
        return "its prices have no one currency"
    if rate.get(row["currency"]) is None:
        return f"there is no rate of {row['currency']}"
    return ""
