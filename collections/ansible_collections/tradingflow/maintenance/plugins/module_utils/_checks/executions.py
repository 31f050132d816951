# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this package; values are parameters.

"""Area trading: how well orders are executed (latency, slippage), and whether what is filled is what was executed."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..checks import OK, Check, judge, limits, unknown
from ..words import plural
from .due import no_orders
from .sql import (
    CREATED_AT,
    LAST_DAY,
    LAST_DAY_OR_UNDATED,
    UNDATED,
    NotMeasured,
    Probe,
    Row,
    Views,
    finite,
    scope,
    strange,
    undated,
    unknown_words,
)

#: The words of the contract. How long an order waits for its price says nothing of speed, but for market orders.
STATUSES = ("open", "filled", "cancelled", "rejected", "expired")
ORDER_TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
EXECUTION_KINDS = ("trade", "cancel", "correct")

RECENT = LAST_DAY.format(column="created_at")
UNDATED_ORDERS = f"""(SELECT count(*) FROM maintenance.orders
        WHERE {LAST_DAY_OR_UNDATED.format(column="created_at")} AND {UNDATED.format(column="created_at")})"""

#: SQL: quantiles of a column, in the order of SHARES.
QUANTILES = (
    "percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY {column}) FILTER (WHERE {column} >= {least})"
)
SHARES = ("p50", "p95", "p99")


def _milliseconds(end: str, start: str) -> str:
    """SQL: the time between two moments in ms; infinite ones have none."""
    return f"CASE WHEN isfinite({end}) THEN 1000 * extract(epoch FROM {end} - {start})::float8 END"


# An order that waits for its acknowledgement is as slow as it has waited: leaving it out would flatter.
LATENCY_SQL = f"""
WITH recent AS MATERIALIZED (
    SELECT order_id, order_type, status, created_at, acknowledged_at FROM maintenance.orders WHERE {RECENT}
),
filled AS (
    SELECT order_id, min(executed_at) FILTER (WHERE kind = 'trade') AS at,
           count(*) FILTER (WHERE {strange("kind", EXECUTION_KINDS)}) AS strange,
           min(kind) FILTER (WHERE {strange("kind", EXECUTION_KINDS)}) AS strange_kind
    FROM maintenance.executions WHERE order_id IN (SELECT order_id FROM recent) GROUP BY order_id
),
measured AS (
    SELECT coalesce(r.order_type = 'market', false) AS market,
           CASE WHEN acknowledged_at IS NULL AND status = 'open'
                THEN {_milliseconds("clock_timestamp()", "created_at")}
                ELSE {_milliseconds("acknowledged_at", "created_at")} END AS acknowledged,
           acknowledged_at IS NULL AND status = 'open' AS waiting,
           acknowledged_at IS NULL AND status IN ('filled', 'cancelled', 'expired') AS silent,
           {_milliseconds("f.at", "r.created_at")} AS executed, r.status, r.order_type, f.strange, f.strange_kind,
           {strange("r.status", STATUSES)} AS odd_status, {strange("r.order_type", ORDER_TYPES)} AS odd_type
    FROM recent r LEFT JOIN filled f USING (order_id)
)
SELECT count(*) AS orders, {UNDATED_ORDERS} AS undated, %(minimum_orders)s::int AS minimum,
       count(*) FILTER (WHERE odd_status) AS odd_statuses, min(status) FILTER (WHERE odd_status) AS odd_status,
       count(*) FILTER (WHERE odd_type) AS odd_types, min(order_type) FILTER (WHERE odd_type) AS odd_type,
       sum(strange)::bigint AS strange, min(strange_kind) AS strange_kind,
       count(*) FILTER (WHERE acknowledged >= 0) AS acknowledged, count(*) FILTER (WHERE acknowledged < 0) AS ack_early,
       count(*) FILTER (WHERE waiting AND acknowledged > 1000) AS waiting, count(*) FILTER (WHERE silent) AS silent,
       {QUANTILES.format(column="acknowledged", least=0)} AS ack,
       count(*) FILTER (WHERE market AND executed >= 0) AS market_count,
       count(*) FILTER (WHERE NOT market AND executed >= 0) AS limit_count,
       count(*) FILTER (WHERE executed < 0) AS executed_early,
       {QUANTILES.format(column="CASE WHEN market THEN executed END", least=0)} AS market_orders,
       {QUANTILES.format(column="CASE WHEN NOT market THEN executed END", least=0)} AS limit_orders
FROM measured
"""

TIME_SYNC = "Check time synchronisation of application and venues' gateways, and which clock each view's times are of."
SLOW = "Compare venues and strategies; look at network, gateway and the venue's notices."


def quantiles(values: Optional[List[Optional[float]]], digits: int = 3) -> Dict[str, float]:
    """p50, p95 and p99 by name."""
    result = {}
    for number, name in enumerate(SHARES):
        value = values[number] if values else None
        if value is not None:
            result[name] = round(value, digits)
    return result


def latency(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """From an order's creation to the venue's word, and to the first execution of a market order."""
    row = rows[0]
    if row["undated"]:
        raise NotMeasured(undated(row["undated"]), CREATED_AT)
    if not row["orders"]:
        nothing = [no_orders(given, f"trading.{name}", title) for name, title in LATENCIES]
        if all(nothing):
            yield from (check for check in nothing if check)
            return
    source = "views maintenance.orders and executions"
    more = {"waiting": row["waiting"], "without_time": row["silent"]}
    if row["odd_statuses"]:
        why, remedy = unknown_words(row["odd_statuses"], "order", "status", row["odd_status"], STATUSES)
        yield unknown("trading.acknowledge_latency", ACKNOWLEDGE, f"{ACKNOWLEDGE}: {why}", remedy, source=source)
    else:
        yield _latency(
            "acknowledge_latency",
            ACKNOWLEDGE,
            (row["acknowledged"], row["ack_early"], row["minimum"]),
            quantiles(row["ack"]),
            thresholds,
            ("order of the last day was acknowledged", "orders of the last day were acknowledged", "acknowledgement"),
            {**more, "source": source},
        )
    if row["odd_types"]:
        raise NotMeasured(*unknown_words(row["odd_types"], "order", "order_type", row["odd_type"], ORDER_TYPES))
    if row["strange"]:
        raise NotMeasured(*unknown_words(row["strange"], "execution", "kind", row["strange_kind"], EXECUTION_KINDS))
    by_type = {"market": quantiles(row["market_orders"]), "limit": quantiles(row["limit_orders"])}
    details = {"limit_orders": {"count": row["limit_count"], **by_type["limit"]}, "source": source}
    if row["limit_count"] and not row["market_count"] and not row["executed_early"]:
        # How long an order waits in the book for its price says nothing of speed.
        yield Check(
            "trading.execution_latency",
            EXECUTE,
            OK,
            by_type["limit"]["p95"],
            "ms",
            message=f"Only limit orders were executed in the last day ({row['limit_count']}): not judged.",
            source=source,
            details=details,
        )
        return
    yield _latency(
        "execution_latency",
        EXECUTE,
        (row["market_count"], row["executed_early"], row["minimum"]),
        by_type["market"],
        thresholds,
        (
            "market order of the last day had its first execution",
            "market orders of the last day had their first execution",
            "execution",
        ),
        details,
    )


def _latency(
    name: str,
    title: str,
    counts: Tuple[int, int, int],
    found: Dict[str, float],
    thresholds: Dict[str, Any],
    words: Tuple[str, str, str],
    details: Dict[str, Any],
) -> Check:
    """One latency by its p95.

    :param counts: of orders, of orders whose time is negative, and the least that is judged
    :param words: what one order did, what several did, and what it is called
    """
    count, early, minimum = counts
    limit, source = limits(thresholds, name), details.pop("source")
    details = {**found, "count": count, **details}
    if early:
        lie = plural(early, f"{words[2]} is earlier than its order", f"{words[2]}s are earlier than their orders")
        text = f"{title}: {lie}: clocks differ, so no latency can be trusted."
        return unknown(f"trading.{name}", title, text, TIME_SYNC, source=source, details={"early": early}, **limit)
    if not count:
        text = f"{title}: no {words[1]}."
        return unknown(f"trading.{name}", title, text, "See whether the strategies trade.", source=source, **limit)
    few = count < minimum
    text = (
        f"{plural(count, *words[:2])} in {found['p50']} ms (half), {found['p95']} ms (95 %), {found['p99']} ms (99 %)"
    )
    for name_of, one, several in (
        ("waiting", "still waits for it", "still wait for it"),
        ("without_time", "has no time of it and is left out", "have no time of it and are left out"),
    ):
        text += f"; {plural(details[name_of], one, several)}" if details.get(name_of) else ""
    return judge(
        f"trading.{name}",
        title,
        found["p95"],
        unit="ms",
        **({"warning": None, "critical": None} if few else limit),
        message=f"{text}; fewer than {minimum} are too few to judge." if few else f"{text}.",
        remedy=SLOW,
        source=source,
        details={**details, "judged": not few},
    )


# Within an order, its executions count by quantity; of the orders, quantiles.
SLIPPAGE_SQL = f"""
WITH recent AS MATERIALIZED (
    SELECT order_id, CASE side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END AS sign, arrival_price::numeric AS arrival
    FROM maintenance.orders WHERE {RECENT}
),
fills AS (
    SELECT e.order_id, sum(e.quantity::numeric) AS quantity, sum(e.quantity::numeric * e.price::numeric) AS value,
           bool_and((e.quantity > 0 AND {finite("e.quantity")} AND e.price > 0 AND {finite("e.price")}) IS TRUE)
               AS readable, count(*) FILTER (WHERE {strange("e.kind", EXECUTION_KINDS)}) AS strange,
           min(e.kind) FILTER (WHERE {strange("e.kind", EXECUTION_KINDS)}) AS strange_kind
    FROM maintenance.executions e JOIN (SELECT DISTINCT order_id FROM recent) r USING (order_id)
    WHERE e.kind IS DISTINCT FROM 'cancel'
          -- What was taken back or replaced does not count.
          AND NOT EXISTS (SELECT FROM maintenance.executions x
                          WHERE x.venue = e.venue AND x.reference = e.venue_execution_id
                                AND {scope("x")} = {scope("e")})
    GROUP BY e.order_id
),
judged AS (
    SELECT arrival IS NULL AS without,
           readable AND sign IS NOT NULL AND coalesce(arrival > 0 AND {finite("arrival")}, true) AS readable,
           strange, strange_kind, CASE WHEN readable AND arrival > 0 AND {finite("arrival")}
                THEN (10000 * sign * (value / quantity - arrival) / arrival)::float8 END AS points
    FROM recent JOIN fills USING (order_id)
)
SELECT count(*) AS orders, (SELECT count(*) FROM recent) AS recent, {UNDATED_ORDERS} AS undated,
       %(minimum_orders)s::int AS minimum, count(*) FILTER (WHERE without) AS without,
       sum(strange)::bigint AS strange, min(strange_kind) AS strange_kind,
       count(*) FILTER (WHERE NOT readable) AS unreadable, count(points) AS counted, avg(points) AS mean,
       {QUANTILES.format(column="points", least="'-Infinity'")} AS points
FROM judged
"""


def slippage(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """How much worse than the market at an order's arrival it was executed, in basis points; better is negative."""
    row, limit = rows[0], limits(thresholds, "slippage")
    if row["undated"]:
        raise NotMeasured(undated(row["undated"]), CREATED_AT)
    nothing = None if row["recent"] else no_orders(given, "trading.slippage", SLIPPAGE)
    if nothing:
        yield nothing
        return
    source = "views maintenance.orders and executions"
    details = {"orders": row["orders"], "without_arrival_price": row["without"], "unreadable": row["unreadable"]}
    why = ""
    remedy = "Correct quantity and price in maintenance.executions, side and arrival_price in maintenance.orders."
    if not row["orders"]:
        why, remedy = "no order of the last day was executed.", "See whether the strategies trade."
    elif row["strange"]:
        why, remedy = unknown_words(row["strange"], "execution", "kind", row["strange_kind"], EXECUTION_KINDS)
    elif row["unreadable"]:
        why = plural(row["unreadable"], "executed order of the last day has", "executed orders of the last day have")
        why += " a quantity or price that is not a number above 0."
    elif not row["counted"]:
        why = f"none of {plural(row['orders'], 'executed order')} of the last day has an arrival price."
        remedy = "Record the market's middle at each order's creation as arrival_price in maintenance.orders."
    if why:
        yield unknown(
            "trading.slippage", SLIPPAGE, f"{SLIPPAGE}: {why}", remedy, source=source, details=details, **limit
        )
        return
    found, mean = quantiles(row["points"]), round(row["mean"], 3)
    few = row["counted"] < row["minimum"]
    text = plural(row["counted"], "executed order of the last day was", "executed orders of the last day were")
    text += f" {found['p50']} (half) and {found['p95']} (95 %) basis "
    text += f"points worse than the market at arrival, {mean} on average"
    if row["without"]:
        text += f"; {plural(row['without'], 'is', 'are')} left out without an arrival price"
    if few:
        text += f"; fewer than {row['minimum']} are too few to judge"
    yield judge(
        "trading.slippage",
        SLIPPAGE,
        found["p95"],
        unit="bp",
        **({"warning": None, "critical": None} if few else limit),
        message=f"{text}.",
        remedy="Compare venues, instruments and order sizes; see whether market data or orders are late.",
        source=source,
        details={**found, "mean": mean, "counted": row["counted"], "judged": not few, **details},
    )


ACKNOWLEDGE = "Time to the acknowledgement of orders"
EXECUTE = "Time to the first execution of market orders"
LATENCIES = (("acknowledge_latency", ACKNOWLEDGE), ("execution_latency", EXECUTE))
SLIPPAGE = "Slippage"

AMENDED = {
    "order_id": "id",
    "venue": "text",
    "venue_execution_id": "text",
    "kind": "text",
    "reference": "text",
    "instrument": "text",
}
LATENCY_VIEWS: Views = {
    "orders": {
        "order_id": "id",
        "order_type": "text",
        "status": "text",
        "created_at": "time",
        "acknowledged_at": "time",
    },
    "executions": {"order_id": "id", "kind": "text", "executed_at": "time"},
}
SLIPPAGE_VIEWS: Views = {
    "orders": {"order_id": "id", "side": "text", "arrival_price": "exact", "created_at": "time"},
    "executions": {**AMENDED, "quantity": "exact", "price": "exact"},
}
PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.acknowledge_latency", ACKNOWLEDGE), ("trading.execution_latency", EXECUTE)),
        "views maintenance.orders and executions",
        LATENCY_SQL,
        latency,
        LATENCY_VIEWS,
        context=True,
    ),
    Probe(
        (("trading.slippage", SLIPPAGE),),
        "views maintenance.orders and executions",
        SLIPPAGE_SQL,
        slippage,
        SLIPPAGE_VIEWS,
        context=True,
        facts=("scopes",),
    ),
)
