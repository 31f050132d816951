# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants; values are parameters.

"""What a backtest expected of days that were traded, and what was traded instead: order by order, summed by day."""

from __future__ import annotations

from .._checks.sql import Views, finite
from .exposure import PRICED

EXPECTED: Views = {
    "backtest_expectations": {
        "strategy": "text",
        "day": "date",
        "currency": "text",
        "pnl": "exact",
        "fees": "exact",
        "funding": "exact",
    }
}
BRIDGED: Views = {
    "backtest_fills": {
        **dict.fromkeys(("strategy", "instrument", "client_order_id", "side"), "text"),
        **dict.fromkeys(("quantity", "price", "market_price"), "exact"),
        "filled_at": "time",
    },
    "orders": {"order_id": "id", "client_order_id": "text", "arrival_price": "exact"},
    "executions": {
        "order_id": "id",
        **dict.fromkeys(("strategy", "instrument", "side", "venue", "venue_execution_id", "kind", "reference"), "text"),
        **dict.fromkeys(("quantity", "price"), "exact"),
        "executed_at": "time",
    },
    "instruments": {"instrument": "text", "multiplier": "exact"},
    "prices": {"instrument": "text", "currency": "text", "price": "exact", "observed_at": "time"},
}
FUNDED: Views = {
    "transactions": {"strategy": "text", "kind": "text", "currency": "text", "amount": "exact", "settled_at": "time"}
}

EXPECTED_SQL = """
SELECT strategy::text AS strategy, CASE WHEN isfinite(day) THEN day END AS day, currency::text AS currency,
       pnl::numeric AS pnl, fees::numeric AS fees, funding::numeric AS funding
FROM maintenance.backtest_expectations
WHERE day IS NULL OR (day > %(until)s::date + 1 - %(days)s AND day <= %(until)s::date) ORDER BY 1, 2
"""


def _signed(name: str) -> str:
    """SQL: a quantity with its sign; NaN for what nobody can read, which makes every sum NaN."""
    return (
        f"CASE WHEN {finite(f'{name}.quantity')} AND {finite(f'{name}.price')} THEN {name}.quantity::numeric * "
        f"CASE {name}.side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 ELSE 'NaN'::numeric END ELSE 'NaN'::numeric END"
    )


# What both filled telescopes from the backtest's price to ours: its market price, ours at that time, ours when the
# order was made, what was paid. What only one of them filled is kept as quantity and amount, and marked by day.
BRIDGED_SQL = f"""
WITH {PRICED},
span AS (
    SELECT strategy::text AS strategy, min(day) AS first, max(day) AS last FROM maintenance.backtest_expectations
    WHERE day > %(until)s::date + 1 - %(days)s AND day <= %(until)s::date GROUP BY 1
),
filled AS (
    SELECT e.strategy::text AS strategy, e.instrument::text AS instrument, o.client_order_id::text AS reference,
           min(o.arrival_price::numeric) AS arrival, min(e.executed_at) AS at,
           sum({_signed("e")}) AS quantity, sum({_signed("e")} * e.price::numeric) AS amount
    FROM span s JOIN maintenance.executions e ON e.strategy = s.strategy
         JOIN maintenance.orders o ON o.order_id = e.order_id
    WHERE e.executed_at >= s.first AND e.executed_at < s.last + 1 AND e.kind IN ('trade', 'correct')
          AND NOT EXISTS (SELECT FROM maintenance.executions r
                          WHERE r.venue = e.venue AND r.reference = e.venue_execution_id
                                AND r.kind IN ('cancel', 'correct'))
    GROUP BY 1, 2, 3
),
wanted AS (
    SELECT b.strategy::text AS strategy, b.instrument::text AS instrument, b.client_order_id::text AS reference,
           min(b.filled_at) AS at, sum({_signed("b")}) AS quantity, sum({_signed("b")} * b.price::numeric) AS amount,
           sum({_signed("b")} * CASE WHEN {finite("b.market_price")} THEN b.market_price::numeric ELSE 'NaN' END)
               AS market
    FROM span s JOIN maintenance.backtest_fills b ON b.strategy = s.strategy
    WHERE b.filled_at >= s.first AND b.filled_at < s.last + 1
    GROUP BY 1, 2, 3
),
pairs AS (
    SELECT coalesce(f.strategy, w.strategy) AS strategy, coalesce(f.instrument, w.instrument) AS instrument,
           (coalesce(f.at, w.at))::date AS day, w.at AS wanted_at, f.arrival,
           coalesce(f.quantity, 0) AS live, coalesce(f.amount, 0) AS paid,
           coalesce(w.quantity, 0) AS told, coalesce(w.amount, 0) AS hoped, coalesce(w.market, 0) AS market,
           CASE WHEN f.quantity * w.quantity > 0
                THEN CASE WHEN abs(f.quantity) <= abs(w.quantity) THEN f.quantity ELSE w.quantity END ELSE 0 END AS both
    FROM filled f FULL JOIN wanted w
         ON w.strategy = f.strategy AND w.instrument = f.instrument AND w.reference = f.reference
),
parts AS (
    SELECT p.*,
           CASE WHEN p.both = 0 THEN 0 WHEN p.both = p.live THEN p.paid ELSE p.paid * p.both / p.live END AS paid_both,
           CASE WHEN p.both = 0 THEN 0 WHEN p.both = p.told THEN p.hoped ELSE p.hoped * p.both / p.told END
               AS hoped_both,
           CASE WHEN p.both = 0 THEN 0 WHEN p.both = p.told THEN p.market ELSE p.market * p.both / p.told END
               AS market_both,
           coalesce(d.price, p.arrival) AS ours, coalesce(p.arrival, d.price) AS made,
           p.both <> 0 AND d.price IS NULL AS unpriced
    FROM pairs p LEFT JOIN LATERAL (
        SELECT x.price::numeric AS price FROM maintenance.prices x
        WHERE x.instrument = p.instrument AND x.observed_at <= p.wanted_at
              AND x.observed_at > p.wanted_at - make_interval(hours => %(age)s) AND {finite("x.price")}
        ORDER BY x.observed_at DESC LIMIT 1) d ON p.both <> 0
)
SELECT p.strategy, p.instrument, p.day, i.currency,
       sum(CASE WHEN p.both = 0 THEN 0
                ELSE coalesce(i.multiplier, 'NaN') * (p.market_both - p.both * coalesce(p.ours, 'NaN')) END) AS data,
       sum(CASE WHEN p.both = 0 THEN 0
                ELSE coalesce(i.multiplier, 'NaN') * p.both * coalesce(p.ours - p.made, 'NaN') END) AS timing,
       sum(CASE WHEN p.both = 0 THEN 0
                ELSE coalesce(i.multiplier, 'NaN')
                     * (p.both * coalesce(p.made, 'NaN') - p.paid_both + p.hoped_both - p.market_both) END) AS price,
       sum(coalesce(i.multiplier, 'NaN') * CASE WHEN p.live = 0 THEN -p.told ELSE 0 END) AS missed_quantity,
       sum(coalesce(i.multiplier, 'NaN') * CASE WHEN p.live = 0 THEN -p.hoped ELSE 0 END) AS missed_amount,
       sum(coalesce(i.multiplier, 'NaN') * CASE WHEN p.live = 0 THEN 0 ELSE p.live - p.told END) AS size_quantity,
       sum(coalesce(i.multiplier, 'NaN')
           * CASE WHEN p.live = 0 THEN 0 ELSE (p.paid - p.paid_both) - (p.hoped - p.hoped_both) END) AS size_amount,
       count(*) FILTER (WHERE p.both <> 0) AS matched, count(*) FILTER (WHERE p.live = 0) AS missed,
       count(*) FILTER (WHERE p.told = 0) AS unplanned, count(*) FILTER (WHERE p.unpriced) AS unpriced
FROM parts p LEFT JOIN priced i ON i.instrument = p.instrument
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3
"""
# The last price of each day, of what only one of the two held.
MARKS_SQL = """
SELECT i.instrument, d.day::date AS day, p.price::numeric AS price
FROM unnest(%(instruments)s::text[]) i (instrument)
     CROSS JOIN generate_series(%(first)s::date, %(last)s::date, interval '1 day') d (day)
     CROSS JOIN LATERAL (
        SELECT price FROM maintenance.prices
        WHERE instrument = i.instrument AND observed_at <= d.day + interval '1 day'
              AND observed_at > d.day + interval '1 day' - make_interval(hours => %(age)s)
        ORDER BY observed_at DESC LIMIT 1) p
"""
FUNDED_SQL = f"""
SELECT strategy::text AS strategy, settled_at::date AS day, currency::text AS currency,
       sum(CASE WHEN {finite("amount")} THEN amount::numeric ELSE 'NaN' END) AS amount
FROM maintenance.transactions
WHERE kind = 'funding' AND strategy IS NOT NULL AND isfinite(settled_at)
      AND settled_at >= %(until)s::date + 1 - %(days)s AND settled_at < %(until)s::date + 1
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
