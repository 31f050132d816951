# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this file; values are parameters.

"""Area trading: our books against the venues' statements, each as of its own cut-off. It reports and books nothing.

All differences are found by the database; what comes back is one row for each check, see breaks.py. Executions and
fees: matching.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, judge, limits, unknown
from ..words import plural
from .breaks import TOLERANCES, key, outcome, result, tolerance
from .guard import guarded
from .matching import EXECUTION, EXECUTIONS, EXECUTIONS_SQL
from .sql import HAPPENED, NotMeasured, Probe, Row, Views, finite, readable, scope
from .venue_statements import ASK_VENUE, LINES, REASONS, STATEMENTS, place, states

POSITIONS: Views = {
    **STATEMENTS,
    "executions": {name: kind for name, kind in EXECUTION.items() if name != "price"},
    "positions": {"account": "text", "venue": "text", "instrument": "text", "quantity": "exact"},
    "venue_executions": {
        **LINES["venue_executions"],
        "venue": "text",
        "venue_execution_id": "text",
        "instrument": "text",
    },
    "prices": {"instrument": "text", "observed_at": "time", "price": "exact"},
    "venue_positions": {**LINES["venue_positions"], "instrument": "text", "quantity": "exact"},
}
CASH: Views = {
    **STATEMENTS,
    "cash": {"account": "text", "venue": "text", "currency": "text", "balance": "exact"},
    "transactions": {
        "status": "text",
        "account": "text",
        "venue": "text",
        "currency": "text",
        "amount": "exact",
        "settled_at": "time",
    },
    "venue_cash": {**LINES["venue_cash"], "currency": "text", "balance": "exact"},
}


def compared_sql(check: str, what: str, amount: str, since: str, broken: str, within: str, near: str) -> str:
    """Our books as of the venues' cut-offs, that is of now less what moved since, against the newest statements.

    :param check: reconcile_ and the kind of statement, which the views of both sides are named after
    :param what: column that says what there is an amount of
    :param amount: column
    :param since: CTEs, the last of them since: venue, account, what and moved; they may use compared
    :param broken: SQL: class of amounts that differ
    :param within: SQL: the tolerance for d.{{what}}
    :param near: SELECT of venue, account, what, and early and late: amounts that moved so near to the cut-off, before
        or after, that the venue may count them on its other side
    """
    kind = check.partition("_")[2]
    return f"""
WITH {states(kind, "newest")}, {TOLERANCES},
-- As of a moment that is still to come nothing can be compared; a stale statement tells what was true at its cut-off,
-- if all its lines are there.
compared AS (
    SELECT * FROM states s
    WHERE as_of <= now() + interval '5 s'
          AND NOT EXISTS (SELECT FROM incomplete i WHERE i.statement_id = s.statement_id)
),
{since},
-- What cannot be read is NaN: it makes every sum NaN, and no NaN is within a tolerance.
ours AS (
    SELECT venue, account, what, sum(amount) AS amount FROM (
        SELECT b.venue, b.account, b.{what} AS what, {readable(f"b.{amount}")} AS amount
        FROM maintenance.{kind} b JOIN compared c ON c.venue = b.venue AND c.account = b.account
        UNION ALL SELECT venue, account, what, -coalesce(moved::numeric, 'NaN') FROM since) q
    GROUP BY venue, account, what
),
theirs AS (
    SELECT c.venue, c.account, l.{what} AS what, sum({readable(f"l.{amount}")}) AS amount
    FROM maintenance.venue_{kind} l JOIN compared c ON c.statement_id = l.statement_id
    GROUP BY c.venue, c.account, l.{what}
),
differing AS (
    SELECT coalesce(o.venue, t.venue) AS venue, coalesce(o.account, t.account) AS account,
           coalesce(o.what, t.what) AS {what}, coalesce(o.amount, 0) AS ours, coalesce(t.amount, 0) AS theirs
    FROM ours o FULL JOIN theirs t ON t.venue = o.venue AND t.account = o.account AND t.what = o.what
    WHERE o.amount IS DISTINCT FROM t.amount OR o.amount = 'NaN'
),
breaks AS MATERIALIZED (
    SELECT d.venue, d.account, d.{what}, d.ours::text, d.theirs::text, (d.ours - d.theirs)::text AS difference,
           c.as_of AS at, {key("d.venue", "d.account", f"d.{what}")} AS key,
           ARRAY[CASE WHEN 'NaN' IN (d.ours, d.theirs) THEN 'not_a_number' WHEN d.ours = 0 THEN 'missing_here'
                      WHEN d.theirs = 0 THEN 'missing_at_venue' ELSE {broken} END] AS classes
    FROM differing d LEFT JOIN compared c ON c.venue = d.venue AND c.account = d.account
    LEFT JOIN ({near}) n ON n.venue = d.venue AND n.account = d.account AND n.what = d.{what}
    WHERE NOT (d.ours <> 'NaN' AND (abs(d.ours - d.theirs) <= {within}
               OR coalesce(abs(d.ours - n.early - d.theirs) <= {within}, false)
               OR coalesce(abs(d.ours + n.late - d.theirs) <= {within}, false)))
)
{result(check)}
"""


# A fee that is taken in the coin itself leaves the position.
SIGNED = f"""({readable("quantity")}) * CASE side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END
           - CASE WHEN %(coins)s::jsonb ->> instrument = fee_currency THEN {readable("fee")} ELSE 0 END AS signed"""

#: What splits of shares and coins are by, or their inverse.
RATIOS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 100, 200, 500, 1000, 1.25, 1.5, 2.5)

# A split that one side has booked: its quantity is a multiple of the other's, and the price made the step against it.
SPLIT = f"""CASE WHEN EXISTS (
            SELECT FROM (VALUES {", ".join(f"({ratio}::numeric)" for ratio in RATIOS)}) r (ratio)
            WHERE (d.ours = d.theirs * ratio OR d.theirs = d.ours * ratio) AND EXISTS (
                SELECT FROM (SELECT price::numeric AS price, lag(price::numeric) OVER (ORDER BY observed_at) AS before
                             FROM maintenance.prices p WHERE p.instrument = d.{{what}}
                                 AND p.observed_at > c.as_of - interval '7 days'
                                 AND p.observed_at <= now() + interval '5 s') steps
                WHERE price > 0 AND before > 0 AND {finite("price")} AND {finite("before")}
                      AND greatest(price / before, before / price) BETWEEN 0.8 * ratio AND 1.25 * ratio))
        THEN 'split' ELSE 'quantity' END""".format(what="instrument")

TOLERATED = "make_interval(secs => %(cutoff_tolerance)s)"

# After the cut-off is what came later; so near to it, what the venue's statements of that time do not have yet.
AFTER = f"""CASE WHEN e.executed_at > c.as_of - {TOLERATED} AND e.executed_at <= c.as_of + {TOLERATED}
        THEN CASE WHEN EXISTS (
            SELECT FROM maintenance.venue_statements s WHERE s.kind = 'executions' AND s.venue = c.venue
                AND s.account = c.account AND s.as_of >= e.executed_at - {TOLERATED}
                AND s.as_of <= c.as_of + {TOLERATED})
        THEN NOT EXISTS (
            SELECT FROM maintenance.venue_executions l JOIN maintenance.venue_statements s USING (statement_id)
            WHERE l.venue = e.venue AND l.venue_execution_id = e.venue_execution_id AND {scope("l")} = {scope("e")}
                  AND s.as_of <= c.as_of + {TOLERATED})
        ELSE e.executed_at > c.as_of END ELSE e.executed_at > c.as_of END"""

# What was executed, taken back or replaced since. What has no time, or one of the future, moved nobody knows when.
POSITIONS_SQL = compared_sql(
    "reconcile_positions",
    "instrument",
    "quantity",
    f"""since AS (
    SELECT e.venue, e.account, e.instrument AS what,
           CASE WHEN {HAPPENED.format(column="e.executed_at")} IS NOT TRUE THEN NULL WHEN e.kind = 'trade' THEN e.signed
                WHEN e.kind = 'cancel' THEN -r.signed WHEN e.kind = 'correct' THEN e.signed - r.signed END AS moved
    FROM (SELECT *, {SIGNED} FROM maintenance.executions
          WHERE executed_at > (SELECT min(as_of) FROM compared) - {TOLERATED} OR isfinite(executed_at) IS NOT TRUE) e
    JOIN compared c ON c.venue = e.venue AND c.account = e.account
                       AND ({AFTER} OR isfinite(e.executed_at) IS NOT TRUE)
    -- Of two that bear the name and differ nobody knows which one is meant.
    LEFT JOIN LATERAL (SELECT CASE WHEN min(signed) = max(signed) AND count(signed) = count(*) THEN min(signed) END
                              AS signed
                       FROM (SELECT {SIGNED} FROM maintenance.executions x
                             WHERE x.venue = e.venue AND x.venue_execution_id = e.reference AND e.kind <> 'trade'
                                   AND {scope("x")} = {scope("e")}) x
                       ) r ON true
)""",
    SPLIT,
    tolerance("quantity", "d.instrument"),
    "SELECT NULL AS venue, NULL AS account, NULL AS what, 0 AS early, 0 AS late WHERE false",
)

# What was settled since, and what nobody knows when.
CASH_SQL = compared_sql(
    "reconcile_cash",
    "currency",
    "balance",
    f"""since AS (
    SELECT t.venue, t.account, t.currency AS what,
           CASE WHEN {HAPPENED.format(column="t.settled_at")} THEN {readable("t.amount")} END AS moved
    FROM maintenance.transactions t JOIN compared c ON c.venue = t.venue AND c.account = t.account
    WHERE t.status = 'settled' AND (t.settled_at > c.as_of OR isfinite(t.settled_at) IS NOT TRUE)
)""",
    "'amount'",
    "%(cash_tolerance)s::numeric",
    # No line of the venue tells which ones it counts: all of them, or none.
    f"""SELECT t.venue, t.account, t.currency AS what,
               sum({readable("t.amount")}) FILTER (WHERE t.settled_at <= c.as_of) AS early,
               sum({readable("t.amount")}) FILTER (WHERE t.settled_at > c.as_of) AS late
        FROM maintenance.transactions t JOIN compared c ON c.venue = t.venue AND c.account = t.account
        WHERE t.status = 'settled' AND {HAPPENED.format(column="t.settled_at")}
              AND t.settled_at > c.as_of - {TOLERATED} AND t.settled_at <= c.as_of + {TOLERATED}
        GROUP BY t.venue, t.account, t.currency""",
)

TITLES = {
    "reconcile_executions": "Executions against the venues' statements",
    "reconcile_fees": "Fees against the venues' statements",
    "reconcile_positions": "Positions against the venues' statements",
    "reconcile_cash": "Cash against the venues' statements",
}


def reconciled(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """What is judged from the rows of result(). A break is one, even if other statements are stale."""
    for row in rows:
        id, title = f"trading.{row['check']}", TITLES[row["check"]]
        yield guarded(id, title, partial(compared, row, thresholds, given["earlier"].get(id)), source=SOURCE)


def compared(row: Row, thresholds: Dict[str, Any], before: Optional[Row]) -> Check:
    """One reconciliation, unknown when not all could be compared."""
    try:
        return judged(row, thresholds, before)
    except NotMeasured as error:
        id, title = f"trading.{row['check']}", TITLES[row["check"]]
        return unknown(id, title, f"{title}: {error.message}", error.remedy, source=SOURCE)


def judged(row: Row, thresholds: Dict[str, Any], before: Optional[Row]) -> Check:
    """One reconciliation.

    :param before: details of the last run's check
    :raises NotMeasured: not all could be compared, and what was agrees
    """
    if not row["places"]:
        raise NotMeasured("no account trades at a venue.", "Correct the views maintenance.cash and positions.")
    unreliable, total = row["unreliable"], row["total"]
    reasons = [
        f"{place(one)}: {REASONS[one['reason']]}" + (f" (as of {one['as_of']})" if one["as_of"] else "")
        for one in row["reasons"] or []
    ]
    if not total and (unreliable or row["uncovered"]):
        text = f"{unreliable} of {plural(row['places'], 'statement')} cannot be relied on: {'; '.join(reasons[:3])}."
        if not unreliable:
            text = plural(row["uncovered"], "execution belongs", "executions belong")
            text += " to an account and venue without any statement."
        raise NotMeasured(text, ASK_VENUE)
    details, since = outcome(row, before, not (unreliable or row["uncovered"]))
    classes = ", ".join(f"{count} {kind}" for kind, count in sorted((row["classes"] or {}).items()))
    text = f"{plural(total, 'break')}: {classes}. Nothing was booked."
    if not total:
        text = f"Our books and {plural(row['places'], 'statement')} agree as of each cut-off, the earliest "
        text += f"{row['cutoff']}."
    elif unreliable:
        text += f" {plural(unreliable, 'statement')} cannot be relied on: {'; '.join(reasons[:3])}."
    if row.get("possible"):
        text += (
            f" {plural(row['possible'], 'of those missing agrees', 'of those missing agree')} with one of the other "
        )
        text += "side but for the venue's id."
        details["possible_matches"] = row["possible"]
    awaited = row.get("awaited") or 0
    if awaited:
        text += f" {plural(awaited, 'execution', 'executions')} of ours just before the cut-off "
        text += f"{'is' if awaited == 1 else 'are'} unmatched until the next statement."
        details["unmatched_until_next_statement"] = awaited
    if unreliable or row["uncovered"]:
        details.update(unreliable=reasons, uncovered=row["uncovered"])
    check = judge(
        f"trading.{row['check']}",
        TITLES[row["check"]],
        total,
        **limits(thresholds, row["check"]),
        message=text + since,
        remedy="Compare each break with the venue's own record, and correct the side that is wrong."
        + (" Book the split on the side that lacks it." if "split" in (row["classes"] or {}) else ""),
        source=SOURCE,
        details={"lines": row["lines"], "places": row["places"], **details},
    )
    if (unreliable or row["uncovered"]) and check.status != CRITICAL:
        # So few breaks may be allowed, but nobody knows that there are no more.
        check.status, check.remedy = UNKNOWN, ASK_VENUE
    if awaited and check.status == OK:
        check.status, check.remedy = WARNING, "See whether the next statement has it: if not, it is a break."
    return check


SOURCE = "schema maintenance: our books and the venues' statements"


def _probe(names: Tuple[str, ...], sql: str, views: Views, *more: str) -> Probe:
    facts = ("places", "venues", "scopes", *more)
    checks = tuple((f"trading.{name}", TITLES[name]) for name in names)
    return Probe(checks, "schema maintenance", sql, reconciled, views, context=True, facts=facts)


PROBES: Tuple[Probe, ...] = (
    _probe(("reconcile_executions", "reconcile_fees"), EXECUTIONS_SQL, EXECUTIONS),
    _probe(("reconcile_positions",), POSITIONS_SQL, POSITIONS, "coins"),
    _probe(("reconcile_cash",), CASH_SQL, CASH),
)
