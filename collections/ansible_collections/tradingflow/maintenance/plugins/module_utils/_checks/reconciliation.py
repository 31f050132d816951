# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this file; values are parameters.

"""Area trading: our books against the venues' statements, each as of its own cut-off. It reports and books nothing.

All differences are found by the database; what comes back is one row for each check, see breaks.py.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..checks import CRITICAL, UNKNOWN, Check, judge, unknown
from . import limits
from .breaks import key, outcome, summary
from .sql import NotMeasured, Probe, Row, Views
from .venue_statements import ASK_VENUE, LINES, REASONS, STATEMENTS, place, states

EXECUTION = {
    "venue": "text",
    "account": "text",
    "venue_execution_id": "text",
    "kind": "text",
    "reference": "text",
    "instrument": "text",
    "side": "text",
    "quantity": "number",
    "price": "number",
    "fee": "number",
    "fee_currency": "text",
    "executed_at": "time",
}
EXECUTIONS: Views = {
    **STATEMENTS,
    "executions": EXECUTION,
    "venue_executions": {**LINES["venue_executions"], **EXECUTION},
}
POSITIONS: Views = {
    **STATEMENTS,
    "executions": {name: kind for name, kind in EXECUTION.items() if name not in ("price", "fee", "fee_currency")},
    "positions": {"account": "text", "venue": "text", "instrument": "text", "quantity": "number"},
    "venue_positions": {**LINES["venue_positions"], "instrument": "text", "quantity": "number"},
}
CASH: Views = {
    **STATEMENTS,
    "cash": {"account": "text", "venue": "text", "currency": "text", "balance": "number"},
    "transactions": {
        "status": "text",
        "account": "text",
        "venue": "text",
        "currency": "text",
        "amount": "number",
        "settled_at": "time",
    },
    "venue_cash": {**LINES["venue_cash"], "currency": "text", "balance": "number"},
}


def result(check: str, breaks: str = "breaks", uncovered: str = "0", more: str = "") -> str:
    """One row from the CTEs states, lines and one of breaks: what was compared, and the breaks.

    :param check: its name, for several in one statement
    :param uncovered: SQL: executions that belong to no statement
    :param more: see summary()
    """
    return f"""
SELECT '{check}' AS check, (SELECT count(*) FROM states) AS places,
       (SELECT count(*) FROM states WHERE reason IS NOT NULL) AS unreliable,
       (SELECT json_agg(s) FROM (SELECT venue, account, reason, as_of FROM states WHERE reason IS NOT NULL
                                 ORDER BY venue, account LIMIT 10) s) AS reasons,
       (SELECT min(as_of) FROM states WHERE reason IS NULL) AS cutoff,
       (SELECT coalesce(sum(counted), 0)::bigint FROM lines) AS lines,
       {uncovered} AS uncovered, {summary(breaks, more)}"""


TOLERANCES = """
    tolerances AS (
        SELECT * FROM jsonb_to_recordset(%(tolerances)s::jsonb)
            AS t (instrument text, quantity numeric, price numeric, fee numeric)
    )"""


def tolerance(what: str, instrument: str) -> str:
    """SQL: the tolerance of an instrument, else that of all (*), else none."""
    one = f"SELECT {what} FROM tolerances WHERE instrument = "
    return f"coalesce(({one}{instrument}), ({one}'*'), 0)"


SIDE = "(SELECT true AS present, venue, account, venue_execution_id AS id, kind, reference, instrument, side, "
SIDE += "quantity, price, fee, fee_currency, executed_at FROM maintenance.{view}) {name}"

KEY = key("d.venue", "coalesce(d.id, concat(d.account, d.instrument, d.at))")
TOLD = "d.venue, d.account, d.id, d.instrument, d.at, d.our_kind, d.venue_kind, d.our_quantity::text, "
TOLD += "d.venue_quantity::text, d.our_price::text, d.venue_price::text, d.our_fee::text, d.venue_fee::text, "
TOLD += f"{KEY} AS key"

#: What one side has alone agrees with what the other has alone, but for the venue's id.
ALIKE = "account, instrument, side, kind, quantity, price"
POSSIBLE = """, (SELECT o.id FROM alone o, alone d
                   WHERE d.venue IS NOT DISTINCT FROM b.venue AND d.id = b.id AND d.here IS NOT DISTINCT FROM b.here
                     AND o.here IS DISTINCT FROM d.here AND b.possible
                     AND (o.account, o.instrument, o.side, o.kind, o.quantity, o.price)
                       = (d.account, d.instrument, d.side, d.kind, d.quantity, d.price)
                   ORDER BY abs(extract(epoch FROM o.at - d.at)), o.id LIMIT 1) AS possible_match"""

# The join is exact and sees every row; tolerances and amendments are looked up for the few that differ.
EXECUTIONS_SQL = f"""
WITH {states("executions", "statements")}, {TOLERANCES},
covered AS (
    SELECT venue, account, min(period_start) AS first, max(as_of) AS last FROM statements
    WHERE as_of <= now() + interval '5 s' GROUP BY venue, account
),
differing AS MATERIALIZED (
    SELECT coalesce(o.venue, t.venue) AS venue, coalesce(o.account, t.account) AS account, coalesce(o.id, t.id) AS id,
           coalesce(o.instrument, t.instrument) AS instrument, coalesce(o.executed_at, t.executed_at) AS at,
           coalesce(t.executed_at, o.executed_at) AS fee_at, coalesce(o.side, t.side) AS side,
           o.present AS here, t.present AS there, o.kind AS our_kind, t.kind AS venue_kind,
           o.quantity AS our_quantity, t.quantity AS venue_quantity, o.price AS our_price, t.price AS venue_price,
           o.fee AS our_fee, t.fee AS venue_fee, o.account AS our_account, t.account AS venue_account,
           o.fee_currency AS our_currency, t.fee_currency AS venue_currency,
           (o.kind, o.account, o.instrument, o.side, o.reference, o.fee_currency)
               IS DISTINCT FROM (t.kind, t.account, t.instrument, t.side, t.reference, t.fee_currency) AS other
    FROM {SIDE.format(view="executions", name="o")}
    FULL JOIN {SIDE.format(view="venue_executions", name="t")}
         ON t.venue = o.venue AND t.id = o.id
    WHERE (o.quantity = t.quantity AND o.price = t.price AND o.fee = t.fee AND o.kind = t.kind AND o.side = t.side
           AND o.account = t.account AND o.instrument = t.instrument AND o.fee_currency = t.fee_currency
           AND o.reference IS NOT DISTINCT FROM t.reference
           AND o.quantity <> 'NaN' AND o.price <> 'NaN' AND o.fee <> 'NaN') IS NOT TRUE
),
ours_alone AS (
    SELECT d.*, c.venue IS NOT NULL AS covered FROM differing d
    LEFT JOIN covered c ON c.venue = d.venue AND c.account = d.account
    WHERE d.there IS NULL AND (c.venue IS NULL OR d.at IS NULL OR d.at > c.first AND d.at <= c.last)
          AND NOT EXISTS (SELECT FROM gaps g
                          WHERE g.venue = d.venue AND g.account = d.account AND d.at > g.after AND d.at <= g.until)
          AND NOT EXISTS (SELECT FROM incomplete i WHERE i.venue = d.venue AND i.account = d.account
                          AND d.at > i.period_start AND d.at <= i.as_of)
),
alone AS MATERIALIZED (
    SELECT d.*, coalesce(our_kind, venue_kind) AS kind, coalesce(our_quantity, venue_quantity) AS quantity,
           coalesce(our_price, venue_price) AS price
    FROM (SELECT * FROM ours_alone WHERE covered UNION ALL SELECT *, NULL FROM differing WHERE here IS NULL) d
),
-- The nearest in time of the other side, before and after: never a match, but worth a look.
nearest AS (
    SELECT d.*, max(at) FILTER (WHERE here) OVER before AS here_before,
           min(at) FILTER (WHERE here) OVER after AS here_after,
           max(at) FILTER (WHERE there) OVER before AS there_before,
           min(at) FILTER (WHERE there) OVER after AS there_after
    FROM alone d
    WINDOW before AS (PARTITION BY {ALIKE} ORDER BY at), after AS (PARTITION BY {ALIKE} ORDER BY at DESC)
),
breaks AS MATERIALIZED (
    SELECT {TOLD}, here, ARRAY[CASE WHEN here THEN 'missing_at_venue' ELSE 'missing_here' END] AS classes,
           coalesce(quantity <> 'NaN' AND price <> 'NaN' AND least(
               CASE WHEN here THEN at - there_before ELSE at - here_before END,
               CASE WHEN here THEN there_after - at ELSE here_after - at END
           ) <= make_interval(secs => %(match_window)s), false) AS possible
    FROM nearest d
    UNION ALL SELECT * FROM (
    SELECT {TOLD}, here, array_remove(ARRAY[
               CASE WHEN other THEN 'attributes' END,
               CASE WHEN (abs(our_quantity - venue_quantity) <= {tolerance("quantity", "d.instrument")}
                          AND our_quantity <> 'NaN') IS NOT TRUE THEN 'quantity' END,
               CASE WHEN (abs(our_price - venue_price) <= {tolerance("price", "d.instrument")}
                          AND our_price <> 'NaN') IS NOT TRUE THEN 'price' END,
               CASE WHEN (abs(our_fee - venue_fee) <= {tolerance("fee", "d.instrument")}
                          AND our_fee <> 'NaN') IS NOT TRUE THEN 'fee' END], NULL) AS classes, false
    FROM differing d
    WHERE here AND there
          -- What both sides took back or replaced counts for neither.
          AND NOT (EXISTS (SELECT FROM maintenance.executions r WHERE r.venue = d.venue AND r.reference = d.id)
                   AND EXISTS (SELECT FROM maintenance.venue_executions r
                               WHERE r.venue = d.venue AND r.reference = d.id))
    ) both_sides WHERE classes <> '{{}}'
),
-- Fees: sums differ by what differs, and by what only one side took back or replaced.
waiting AS MATERIALIZED (
    SELECT venue, id FROM differing WHERE there IS NULL EXCEPT SELECT venue, id FROM ours_alone WHERE covered
),
our_amended AS MATERIALIZED (
    SELECT DISTINCT e.venue, e.reference AS id FROM maintenance.executions e
    WHERE e.reference IS NOT NULL
          AND NOT EXISTS (SELECT FROM waiting w WHERE w.venue = e.venue AND w.id = e.venue_execution_id)
),
venue_amended AS MATERIALIZED (
    SELECT DISTINCT venue, reference AS id FROM maintenance.venue_executions WHERE reference IS NOT NULL
),
one_side_amended AS MATERIALIZED (
    (SELECT * FROM our_amended EXCEPT SELECT * FROM venue_amended)
    UNION ALL (SELECT * FROM venue_amended EXCEPT SELECT * FROM our_amended)
),
charged AS MATERIALIZED (
    SELECT d.venue, d.id, d.fee_at, d.instrument, d.our_account, d.venue_account, d.our_currency, d.venue_currency,
           d.our_fee, d.venue_fee, d.here AND d.our_kind IS DISTINCT FROM 'cancel' AND o.id IS NULL AS ours,
           d.there AND d.venue_kind IS DISTINCT FROM 'cancel' AND t.id IS NULL AS theirs
    FROM (
        SELECT venue, id, fee_at, instrument, our_account, venue_account, our_currency, venue_currency, our_fee,
               venue_fee, here, there, our_kind, venue_kind
        FROM differing x WHERE NOT EXISTS (SELECT FROM waiting w WHERE w.venue = x.venue AND w.id = x.id)
        UNION ALL
        SELECT e.venue, e.venue_execution_id, e.executed_at, e.instrument, e.account, e.account, e.fee_currency,
               e.fee_currency, e.fee, e.fee, true, true, e.kind, e.kind
        FROM one_side_amended a
        JOIN maintenance.venue_executions e ON e.venue = a.venue AND e.venue_execution_id = a.id
        WHERE NOT EXISTS (SELECT FROM differing x WHERE x.venue = a.venue AND x.id = a.id)
    ) d
    LEFT JOIN our_amended o ON o.venue = d.venue AND o.id = d.id
    LEFT JOIN venue_amended t ON t.venue = d.venue AND t.id = d.id
),
amounts AS (
    SELECT c.*, ours AND theirs AND our_account = venue_account AND our_currency = venue_currency
                AND our_fee <> 'NaN' AND abs(our_fee - venue_fee) <= {tolerance("fee", "c.instrument")} AS equal
    FROM charged c
),
fee_breaks AS MATERIALIZED (
    SELECT venue, account, currency, day, min(day)::timestamptz AS at, count(DISTINCT id) AS executions,
           sum(amount)::text AS difference, {key("venue", "account", "currency", "day")} AS key,
           ARRAY[CASE WHEN sum(amount) = 'NaN' THEN 'not_a_number' ELSE 'amount' END] AS classes
    FROM (
        SELECT venue, our_account AS account, our_currency AS currency, (fee_at AT TIME ZONE 'UTC')::date AS day, id,
               coalesce(our_fee::numeric, 'NaN') AS amount
        FROM amounts WHERE ours AND equal IS NOT TRUE
        UNION ALL
        SELECT venue, venue_account, venue_currency, (fee_at AT TIME ZONE 'UTC')::date, id,
               -coalesce(venue_fee::numeric, 'NaN')
        FROM amounts WHERE theirs AND equal IS NOT TRUE) a
    GROUP BY venue, account, currency, day HAVING sum(amount) <> 0
)
SELECT r.*, (SELECT count(*) FROM breaks WHERE possible) AS possible FROM (
{result("reconcile_executions", uncovered="(SELECT count(*) FROM ours_alone WHERE NOT covered)", more=POSSIBLE)}) r
UNION ALL SELECT r.*, 0 FROM (
{result("reconcile_fees", "fee_breaks", "(SELECT count(*) FROM ours_alone WHERE NOT covered)")}) r
"""


def compared_sql(check: str, what: str, amount: str, since: str, broken: str, within: str) -> str:
    """Our books as of the venues' cut-offs, that is of now less what moved since, against the newest statements.

    :param check: reconcile_ and the kind of statement, which the views of both sides are named after
    :param what: column that says what there is an amount of
    :param amount: column
    :param since: CTEs, the last of them since: venue, account, what and moved; they may use compared
    :param broken: class of amounts that differ
    :param within: SQL: the tolerance for d.{{what}}
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
        SELECT b.venue, b.account, b.{what} AS what, coalesce(b.{amount}::numeric, 'NaN') AS amount
        FROM maintenance.{kind} b JOIN compared c ON c.venue = b.venue AND c.account = b.account
        UNION ALL SELECT venue, account, what, -coalesce(moved::numeric, 'NaN') FROM since) q
    GROUP BY venue, account, what
),
theirs AS (
    SELECT c.venue, c.account, l.{what} AS what, sum(coalesce(l.{amount}::numeric, 'NaN')) AS amount
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
                      WHEN d.theirs = 0 THEN 'missing_at_venue' ELSE '{broken}' END] AS classes
    FROM differing d LEFT JOIN compared c ON c.venue = d.venue AND c.account = d.account
    WHERE NOT (d.ours <> 'NaN' AND abs(d.ours - d.theirs) <= {within})
)
{result(check)}
"""


SIGNED = "quantity * CASE side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END AS signed"

# What was executed, taken back or replaced since.
POSITIONS_SQL = compared_sql(
    "reconcile_positions",
    "instrument",
    "quantity",
    f"""since AS (
    SELECT e.venue, e.account, e.instrument AS what,
           CASE WHEN e.executed_at IS NULL THEN NULL WHEN e.kind = 'trade' THEN e.signed
                WHEN e.kind = 'cancel' THEN -r.signed WHEN e.kind = 'correct' THEN e.signed - r.signed END AS moved
    FROM (SELECT *, {SIGNED} FROM maintenance.executions
          WHERE executed_at > (SELECT min(as_of) FROM compared) OR executed_at IS NULL) e
    JOIN compared c ON c.venue = e.venue AND c.account = e.account
                       AND (e.executed_at > c.as_of OR e.executed_at IS NULL)
    -- Of two that bear the name and differ nobody knows which one is meant.
    LEFT JOIN LATERAL (SELECT CASE WHEN min(signed) = max(signed) AND count(signed) = count(*) THEN min(signed) END
                              AS signed
                       FROM (SELECT {SIGNED} FROM maintenance.executions x
                             WHERE x.venue = e.venue AND x.venue_execution_id = e.reference AND e.kind <> 'trade') x
                       ) r ON true
)""",
    "quantity",
    tolerance("quantity", "d.instrument"),
)

# What was settled since, and what nobody knows when.
CASH_SQL = compared_sql(
    "reconcile_cash",
    "currency",
    "balance",
    """since AS (
    SELECT t.venue, t.account, t.currency AS what, CASE WHEN t.settled_at IS NOT NULL THEN t.amount END AS moved
    FROM maintenance.transactions t JOIN compared c ON c.venue = t.venue AND c.account = t.account
    WHERE t.status = 'settled' AND (t.settled_at > c.as_of OR t.settled_at IS NULL)
)""",
    "amount",
    "%(cash_tolerance)s::numeric",
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
        try:
            yield judged(row, thresholds, given["earlier"].get(f"trading.{row['check']}"))
        except NotMeasured as error:
            title = TITLES[row["check"]]
            yield unknown(f"trading.{row['check']}", title, f"{title}: {error.message}", error.remedy, source=SOURCE)


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
        text = f"{unreliable} of {row['places']} statements cannot be relied on: {'; '.join(reasons[:3])}."
        if not unreliable:
            text = f"{row['uncovered']} executions belong to an account and venue without any statement."
        raise NotMeasured(text, ASK_VENUE)
    details, since = outcome(row, before, not (unreliable or row["uncovered"]))
    classes = ", ".join(f"{count} {kind}" for kind, count in sorted((row["classes"] or {}).items()))
    text = f"{total} breaks: {classes}. It booked nothing."
    if not total:
        text = f"Our books and {row['places']} statements agree as of each cut-off, the earliest {row['cutoff']}."
    elif unreliable:
        text += f" {unreliable} statements cannot be relied on: {'; '.join(reasons[:3])}."
    if row.get("possible"):
        text += f" {row['possible']} of those missing agree with one of the other side but for the venue's id."
        details["possible_matches"] = row["possible"]
    if unreliable or row["uncovered"]:
        details.update(unreliable=reasons, uncovered=row["uncovered"])
    check = judge(
        f"trading.{row['check']}",
        TITLES[row["check"]],
        total,
        **limits(thresholds, row["check"]),
        message=text + since,
        remedy="Compare each break with the venue's own record, and correct the side that is wrong.",
        source=SOURCE,
        details={"lines": row["lines"], "places": row["places"], **details},
    )
    if (unreliable or row["uncovered"]) and check.status != CRITICAL:
        # So few breaks may be allowed, but nobody knows that there are no more.
        check.status, check.remedy = UNKNOWN, ASK_VENUE
    return check


SOURCE = "schema maintenance: our books and the venues' statements"


def _probe(names: Tuple[str, ...], sql: str, views: Views) -> Probe:
    checks = tuple((f"trading.{name}", TITLES[name]) for name in names)
    return Probe(checks, "schema maintenance", sql, reconciled, views, context=True)


PROBES: Tuple[Probe, ...] = (
    _probe(("reconcile_executions", "reconcile_fees"), EXECUTIONS_SQL, EXECUTIONS),
    _probe(("reconcile_positions",), POSITIONS_SQL, POSITIONS),
    _probe(("reconcile_cash",), CASH_SQL, CASH),
)
