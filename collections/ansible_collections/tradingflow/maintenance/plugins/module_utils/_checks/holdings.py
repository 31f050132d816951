# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this package; values are parameters.

"""Area trading: each strategy's positions against its own executions, which the venues know nothing of."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ..checks import Check, judge, limits
from ..words import plural
from .breaks import TOLERANCES, key, outcome, summary, tolerance
from .executions import EXECUTION_KINDS
from .matching import EXECUTION
from .reconciliation import SIGNED
from .sql import HAPPENED, NotMeasured, Probe, Row, Views, finite, readable, scope, strange

TITLE = "Positions of strategies against their executions"
SOURCE = "views maintenance.positions and executions"

#: By whom and where something is held.
OWNER = ("strategy", "account", "venue", "instrument")


def owner(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in OWNER)


# What counts are trades and corrections that no other row takes back or replaces; what was moved without an execution
# (opening balances, transfers between strategies) is told by the platform. NULL is a name like any other here.
HOLDINGS_SQL = f"""
WITH {TOLERANCES},
done AS (
    SELECT {owner("e")}, CASE WHEN {strange("e.kind", EXECUTION_KINDS)}
                                   OR {HAPPENED.format(column="e.executed_at")} IS NOT TRUE THEN 'NaN'
                              ELSE coalesce(e.signed, 'NaN') END AS amount
    FROM (SELECT *, {SIGNED} FROM maintenance.executions) e WHERE e.kind IS DISTINCT FROM 'cancel'
    UNION ALL
    SELECT {owner("e")}, -coalesce(e.signed, 'NaN')
    FROM (SELECT DISTINCT venue, {scope("e")} AS scope, reference FROM maintenance.executions e
          WHERE reference IS NOT NULL) r
    JOIN (SELECT *, {SIGNED} FROM maintenance.executions) e ON e.venue = r.venue AND e.venue_execution_id = r.reference
         AND {scope("e")} = r.scope
    WHERE e.kind IS DISTINCT FROM 'cancel'
    UNION ALL
    SELECT {owner("t")}, t.quantity
    FROM jsonb_to_recordset(%(transfers)s::jsonb)
         AS t (strategy text, account text, venue text, instrument text, quantity numeric)
),
sides AS (
    SELECT {owner("p")}, {readable("p.quantity")} AS held, 0 AS executed FROM maintenance.positions p
    UNION ALL SELECT {owner("d")}, 0, sum(d.amount) FROM done d GROUP BY {owner("d")}
),
differing AS MATERIALIZED (
    SELECT {owner("s")}, sum(s.held) AS held, sum(s.executed) AS executed FROM sides s GROUP BY {owner("s")}
    HAVING sum(s.held) <> sum(s.executed) OR sum(s.held) = 'NaN'
),
net AS (
    SELECT d.*, sum(held - executed) OVER (PARTITION BY account, venue, instrument) AS moved FROM differing d
),
breaks AS MATERIALIZED (
    SELECT {owner("d")}, d.held::text, d.executed::text, (d.held - d.executed)::text AS difference, now() AS at,
           {key(*(f"coalesce(d.{name}, '')" for name in OWNER))} AS key,
           ARRAY[CASE WHEN 'NaN' IN (d.held, d.executed) THEN 'not_a_number'
                      WHEN d.moved = 0 THEN 'between_strategies' ELSE 'quantity' END] AS classes
    FROM net d
    WHERE NOT ({finite("d.held - d.executed")}
               AND abs(d.held - d.executed) <= {tolerance("quantity", "d.instrument")})
)
SELECT (SELECT count(*) FROM sides) AS sides, {summary()}
"""


def holdings(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """How many positions are not what the strategy's executions add up to."""
    row = rows[0]
    if not row["sides"]:
        raise NotMeasured("nothing is held, and nothing was executed.", "See whether the platform trades.")
    details, since = outcome(row, given["earlier"].get("trading.strategy_positions"))
    classes = ", ".join(f"{count} {kind}" for kind, count in sorted((row["classes"] or {}).items()))
    text = f"{plural(row['total'], 'position of a strategy is', 'positions of strategies are', none='No')} not what "
    text += f"the strategy's executions add up to{f' ({classes})' if classes else ''}."
    yield judge(
        "trading.strategy_positions",
        TITLE,
        row["total"],
        **limits(thresholds, "strategy_positions"),
        message=text + since,
        remedy="Find what wrote the position (audit log). What moved without an execution belongs in the view "
        "maintenance.position_transfers.",
        source=SOURCE,
        details=details,
    )


VIEWS: Views = {
    "executions": {"strategy": "text", **EXECUTION},
    "positions": {**dict.fromkeys(OWNER, "text"), "quantity": "exact"},
}

PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.strategy_positions", TITLE),),
        SOURCE,
        HOLDINGS_SQL,
        holdings,
        VIEWS,
        context=True,
        facts=("coins", "transfers", "scopes"),
    ),
)
