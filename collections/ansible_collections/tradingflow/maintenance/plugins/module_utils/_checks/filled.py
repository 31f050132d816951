# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this package; values are parameters.

"""Area trading: whether what orders say is filled is what was executed."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ..checks import CRITICAL, Check, judge, limits
from ..words import plural
from .breaks import TOLERANCES, key, outcome, summary, tolerance
from .executions import AMENDED, STATUSES
from .sql import NotMeasured, Probe, Row, Views, finite, readable, scope, strange, unknown_words

FILLED = "Filled quantities against executions"
QUANTITIES = "Executions against the quantity ordered"

# What no execution belongs to is the matter of orders_without_executions. An order that goes on saying what was taken
# back or replaced agrees with the sum of all its executions: amendments come off first.
FILLED_SQL = f"""
WITH {TOLERANCES},
net AS MATERIALIZED (
    SELECT order_id, count(*) AS executions,
           sum({readable("quantity")}) FILTER (WHERE kind IS DISTINCT FROM 'cancel') AS quantity
    FROM maintenance.executions WHERE order_id IS NOT NULL GROUP BY order_id
),
amended AS MATERIALIZED (
    SELECT e.order_id, sum({readable("e.quantity")}) AS quantity
    FROM (SELECT DISTINCT venue, {scope("e")} AS scope, reference FROM maintenance.executions e
          WHERE reference IS NOT NULL) r
    JOIN maintenance.executions e ON e.venue = r.venue AND e.venue_execution_id = r.reference AND {scope("e")} = r.scope
    WHERE e.kind IS DISTINCT FROM 'cancel' GROUP BY e.order_id
),
effective AS MATERIALIZED (
    SELECT n.order_id, n.executions, coalesce(n.quantity, 0) - coalesce(a.quantity, 0) AS executed
    FROM net n LEFT JOIN amended a USING (order_id)
),
differing AS (
    SELECT o.order_id, o.strategy, o.instrument, o.status, o.created_at AS at,
           {readable("o.filled_quantity")} AS filled, e.executed, e.executions
    FROM maintenance.orders o JOIN effective e USING (order_id)
    WHERE (o.filled_quantity = e.executed AND o.filled_quantity >= 0 AND {finite("o.filled_quantity")}) IS NOT TRUE
),
breaks AS MATERIALIZED (
    SELECT order_id, strategy, instrument, status, at, filled::text, executed::text, executions,
           {key("order_id")} AS key,
           ARRAY[CASE WHEN (filled <> 'NaN' AND executed <> 'NaN') IS NOT TRUE THEN 'not_a_number'
                      WHEN filled < 0 OR executed < 0 THEN 'negative' WHEN filled > executed THEN 'too_much_filled'
                      ELSE 'too_little_filled' END] AS classes
    FROM differing d
    WHERE (filled >= 0 AND filled <> 'NaN' AND executed <> 'NaN'
           AND abs(filled - executed) <= {tolerance("quantity", "d.instrument")}) IS NOT TRUE
),
-- What was executed can be no more than what was ordered, and no less when nothing is left.
ordered AS MATERIALIZED (
    SELECT o.order_id, o.strategy, o.instrument, o.status, o.created_at AS at, {readable("o.quantity")} AS quantity,
           e.executed
    FROM maintenance.orders o JOIN effective e USING (order_id)
    WHERE (o.quantity = e.executed AND o.quantity > 0 AND {finite("o.quantity")} AND o.status <> 'rejected'
           AND NOT {strange("o.status", STATUSES)}) IS NOT TRUE
),
quantities AS MATERIALIZED (
    SELECT order_id, strategy, instrument, status, at, quantity::text, executed::text, {key("order_id::text")} AS key,
           ARRAY[class] AS classes
    FROM (SELECT d.*, CASE
              WHEN 'NaN' IN (quantity, executed) OR quantity <= 0 THEN 'not_a_number'
              WHEN executed > quantity + {tolerance("quantity", "d.instrument")} THEN 'beyond_quantity'
              WHEN status = 'rejected' AND executed <> 0 THEN 'rejected'
              WHEN status = 'filled' AND executed < quantity - {tolerance("quantity", "d.instrument")}
              THEN 'half_filled' END AS class
          FROM ordered d) c
    WHERE class IS NOT NULL
)
SELECT 'filled_quantities' AS check, EXISTS (SELECT FROM maintenance.orders) AS any,
       (SELECT count(*) FROM net) AS orders, 0 AS strange, NULL AS strange_status, {summary()}
UNION ALL
SELECT 'order_quantities', EXISTS (SELECT FROM maintenance.orders), (SELECT count(*) FROM net),
       (SELECT count(*) FROM ordered WHERE {strange("status", STATUSES)}),
       (SELECT min(status) FROM ordered WHERE {strange("status", STATUSES)}), {summary("quantities")}
"""


def filled(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """Whether each order's filled quantity is what its executions add up to, and whether its quantity allows them."""
    row, ordered = rows
    if not row["any"] or not row["orders"]:
        raise NotMeasured("no order has an execution.", "See whether the platform trades, and the views.")
    details, since = outcome(row, given["earlier"].get("trading.filled_quantities"))
    classes = ", ".join(f"{count} {kind}" for kind, count in sorted((row["classes"] or {}).items()))
    text = f"{row['total'] or 'None'} of {plural(row['orders'], 'executed order')} "
    text += "have" if row["total"] > 1 else "has"
    text += f" a filled quantity that is not the sum of its executions{f' ({classes})' if classes else ''}."
    yield judge(
        "trading.filled_quantities",
        FILLED,
        row["total"],
        **limits(thresholds, "filled_quantities"),
        message=text + since,
        remedy="Find out in the platform's log and at the venue which is right, and have the platform correct it.",
        source="views maintenance.orders and executions",
        details={"orders": row["orders"], **details},
    )
    details, since = outcome(ordered, given["earlier"].get("trading.order_quantities"))
    classes = ", ".join(f"{count} {kind}" for kind, count in sorted((ordered["classes"] or {}).items()))
    text = f"{ordered['total'] or 'None'} of {plural(ordered['orders'], 'executed order')} "
    text += (
        f"{'do' if ordered['total'] > 1 else 'does'} not match what was ordered{f' ({classes})' if classes else ''}."
    )
    check = judge(
        "trading.order_quantities",
        QUANTITIES,
        ordered["total"],
        **limits(thresholds, "order_quantities"),
        message=text + since,
        remedy="Stop what sent the order. Compare it with the venue's record, and have the platform correct it.",
        source="views maintenance.orders and executions",
        details={"orders": ordered["orders"], **details},
    )
    if ordered["strange"] and check.status != CRITICAL:
        raise NotMeasured(*unknown_words(ordered["strange"], "order", "status", ordered["strange_status"], STATUSES))
    yield check


FILLED_VIEWS: Views = {
    "orders": {
        "order_id": "id",
        "strategy": "text",
        "instrument": "text",
        "status": "text",
        "quantity": "exact",
        "filled_quantity": "exact",
        "created_at": "time",
    },
    "executions": {**AMENDED, "quantity": "exact"},
}

PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.filled_quantities", FILLED), ("trading.order_quantities", QUANTITIES)),
        "views maintenance.orders and executions",
        FILLED_SQL,
        filled,
        FILLED_VIEWS,
        context=True,
        facts=("scopes",),
    ),
)
