# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this file; values are parameters.

"""Area trading: our books against the venues' statements, each as of its own cut-off. It reports and books nothing.

All differences are found by the database; what comes back is one row: how many, of which class, and the first ten.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, judge
from . import limits, printable
from .sql import NotMeasured, Probe, Row, Views

STATEMENTS: Views = {
    "cash": {"account": "text", "venue": "text"},
    "positions": {"account": "text", "venue": "text"},
    "venues": {"venue": "text", "statement_interval_seconds": "number"},
    "venue_statements": {
        "statement_id": "number",
        "venue": "text",
        "account": "text",
        "kind": "text",
        "period_start": "time",
        "as_of": "time",
        "record_count": "number",
    },
}
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
LINES: Views = {
    "venue_executions": {"statement_id": "number"},
    "venue_positions": {"statement_id": "number"},
    "venue_cash": {"statement_id": "number"},
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

#: Why a statement is not to be relied on, for people.
REASONS = {
    "none": "there is none",
    "interval": "its venue says no interval above 0",
    "time": "it has no time",
    "future": "it lies in the future",
    "stale": "it is stale",
    "incomplete": "lines are missing or too many",
    "gap": "periods are not covered",
}


def states(kind: str, which: str) -> str:
    """CTEs: of each account at each venue its newest statement of a kind, and the reason not to rely on it.

    :param which: whose lines must be complete: "statements" (all) or "newest"
    """
    return f"""
    statements AS MATERIALIZED (
        SELECT statement_id, venue, account, coalesce(period_start, '-infinity') AS period_start, as_of, record_count,
               lag(as_of) OVER (PARTITION BY venue, account ORDER BY as_of, statement_id) AS before
        FROM maintenance.venue_statements WHERE kind = '{kind}'
    ),
    newest AS (
        SELECT DISTINCT ON (venue, account) * FROM statements
        ORDER BY venue, account, as_of DESC NULLS FIRST, statement_id DESC
    ),
    lines AS MATERIALIZED (
        SELECT statement_id, count(*) AS counted FROM maintenance.venue_{kind} GROUP BY statement_id
    ),
    incomplete AS (
        SELECT s.* FROM {which} s LEFT JOIN lines l USING (statement_id)
        WHERE s.record_count IS DISTINCT FROM coalesce(l.counted, 0)
    ),
    gaps AS (
        SELECT venue, account, before AS after, period_start AS until FROM statements WHERE period_start > before
    ),
    places AS (
        SELECT venue, account FROM maintenance.cash UNION SELECT venue, account FROM maintenance.positions
        UNION SELECT venue, account FROM maintenance.venue_statements
    ),
    aged AS (
        SELECT p.venue, p.account, n.statement_id, n.as_of,
               extract(epoch FROM clock_timestamp() - n.as_of)::float8 AS age,
               (SELECT min(statement_interval_seconds)::float8 FROM maintenance.venues v WHERE v.venue = p.venue)
                   AS interval
        FROM places p LEFT JOIN newest n ON n.venue = p.venue AND n.account = p.account
    ),
    states AS MATERIALIZED (
        SELECT *, CASE
            WHEN statement_id IS NULL THEN 'none'
            WHEN as_of IS NULL THEN 'time'
            WHEN (interval > 0 AND interval < 'Infinity') IS NOT TRUE THEN 'interval'
            WHEN age < -5 THEN 'future'
            WHEN age >= coalesce(%(stale)s::float8, 'Infinity') * interval THEN 'stale'
            WHEN EXISTS (SELECT FROM incomplete i WHERE i.venue = a.venue AND i.account = a.account) THEN 'incomplete'
            WHEN '{kind}' = 'executions'
                 AND EXISTS (SELECT FROM gaps g WHERE g.venue = a.venue AND g.account = a.account) THEN 'gap'
            END AS reason
        FROM aged a
    )"""


#: One row from the CTEs states, lines and breaks (venue, account, classes, at and what else is worth telling).
RESULT = """
SELECT (SELECT count(*) FROM states) AS places,
       (SELECT count(*) FROM states WHERE reason IS NOT NULL) AS unreliable,
       (SELECT json_agg(s) FROM (SELECT venue, account, reason, as_of FROM states WHERE reason IS NOT NULL
                                 ORDER BY venue, account LIMIT 10) s) AS reasons,
       (SELECT min(as_of) FROM states WHERE reason IS NULL) AS cutoff,
       (SELECT coalesce(sum(counted), 0)::bigint FROM lines) AS lines,
       (SELECT count(*) FROM breaks) AS total,
       (SELECT json_object_agg(class, counted) FROM (
            SELECT class, count(*) AS counted FROM breaks, unnest(classes) AS class GROUP BY class) c) AS classes,
       (SELECT extract(epoch FROM clock_timestamp() - min(at))::float8 FROM breaks) AS oldest,
       (SELECT json_agg(b) FROM (SELECT * FROM breaks ORDER BY at NULLS FIRST, venue, account LIMIT 10) b) AS first,
       {uncovered} AS uncovered
"""
NONE_UNCOVERED = RESULT.format(uncovered="0")

TOLERANCES = """
    tolerances AS (
        SELECT * FROM jsonb_to_recordset(%(tolerances)s::jsonb)
            AS t (instrument text, quantity numeric, price numeric, fee numeric)
    )"""


def tolerance(what: str, instrument: str) -> str:
    """SQL: the tolerance of an instrument, else that of all (*), else none."""
    one = f"SELECT {what} FROM tolerances WHERE instrument = "
    return f"coalesce(({one}{instrument}), ({one}'*'), 0)"


#: Newest statements that can be compared: a stale one tells what was true at its cut-off, if all its lines are there.
COMPARED = """
compared AS (
    SELECT * FROM states s
    WHERE as_of IS NOT NULL AND NOT EXISTS (SELECT FROM incomplete i WHERE i.statement_id = s.statement_id)
)"""

SIDE = "(SELECT true AS present, venue, account, venue_execution_id AS id, kind, reference, instrument, side, "
SIDE += "quantity, price, fee, fee_currency, executed_at FROM maintenance.{view}) {name}"

TOLD = "d.venue, d.account, d.id, d.instrument, d.at, d.our_kind, d.venue_kind, d.our_quantity::text, "
TOLD += "d.venue_quantity::text, d.our_price::text, d.venue_price::text, d.our_fee::text, d.venue_fee::text"

# The join is exact and sees every row; tolerances and amendments are looked up for the few that differ.
EXECUTIONS_SQL = f"""
WITH {states("executions", "statements")}, {TOLERANCES},
covered AS (
    SELECT venue, account, min(period_start) FILTER (WHERE as_of IS NOT NULL) AS first, max(as_of) AS last
    FROM statements GROUP BY venue, account
),
differing AS MATERIALIZED (
    SELECT coalesce(o.venue, t.venue) AS venue, coalesce(o.account, t.account) AS account, coalesce(o.id, t.id) AS id,
           coalesce(o.instrument, t.instrument) AS instrument, coalesce(o.executed_at, t.executed_at) AS at,
           o.present AS here, t.present AS there, o.kind AS our_kind, t.kind AS venue_kind,
           o.quantity AS our_quantity, t.quantity AS venue_quantity, o.price AS our_price, t.price AS venue_price,
           o.fee AS our_fee, t.fee AS venue_fee,
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
breaks AS MATERIALIZED (
    SELECT {TOLD}, ARRAY['missing_at_venue'] AS classes FROM ours_alone d WHERE covered
    UNION ALL SELECT {TOLD}, ARRAY['missing_here'] FROM differing d WHERE here IS NULL
    UNION ALL SELECT * FROM (
    SELECT {TOLD}, array_remove(ARRAY[
               CASE WHEN other THEN 'attributes' END,
               CASE WHEN (abs(our_quantity - venue_quantity) <= {tolerance("quantity", "d.instrument")}
                          AND our_quantity <> 'NaN') IS NOT TRUE THEN 'quantity' END,
               CASE WHEN (abs(our_price - venue_price) <= {tolerance("price", "d.instrument")}
                          AND our_price <> 'NaN') IS NOT TRUE THEN 'price' END,
               CASE WHEN (abs(our_fee - venue_fee) <= {tolerance("fee", "d.instrument")}
                          AND our_fee <> 'NaN') IS NOT TRUE THEN 'fee' END], NULL) AS classes
    FROM differing d
    WHERE here AND there
          -- What both sides took back or replaced counts for neither.
          AND NOT (EXISTS (SELECT FROM maintenance.executions r WHERE r.venue = d.venue AND r.reference = d.id)
                   AND EXISTS (SELECT FROM maintenance.venue_executions r
                               WHERE r.venue = d.venue AND r.reference = d.id))
    ) both_sides WHERE classes <> '{{}}'
)
{RESULT.format(uncovered="(SELECT count(*) FROM ours_alone WHERE NOT covered)")}
"""

# Our position as of the venue's cut-off: that of now less what was executed, taken back or replaced since.
POSITIONS_SQL = f"""
WITH {states("positions", "newest")}, {TOLERANCES},
{COMPARED},
since AS (
    SELECT e.venue, e.account, e.instrument,
           CASE WHEN e.executed_at IS NULL THEN NULL WHEN e.kind = 'trade' THEN e.signed
                WHEN e.kind = 'cancel' THEN -r.signed WHEN e.kind = 'correct' THEN e.signed - r.signed END AS moved
    FROM (SELECT *, quantity * CASE side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END AS signed
          FROM maintenance.executions
          WHERE executed_at > (SELECT min(as_of) FROM compared) OR executed_at IS NULL) e
    JOIN compared c ON c.venue = e.venue AND c.account = e.account
                       AND (e.executed_at > c.as_of OR e.executed_at IS NULL)
    -- Of two that bear the name and differ nobody knows which one is meant.
    LEFT JOIN LATERAL (SELECT CASE WHEN min(s) = max(s) AND count(s) = count(*) THEN min(s) END AS signed
                       FROM (SELECT quantity * CASE side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END AS s
                             FROM maintenance.executions x
                             WHERE x.venue = e.venue AND x.venue_execution_id = e.reference AND e.kind <> 'trade') x
                       ) r ON true
),
-- What cannot be read is NaN: it makes every sum NaN, and no NaN is within a tolerance.
ours AS (
    SELECT venue, account, instrument, sum(quantity) AS quantity FROM (
        SELECT p.venue, p.account, p.instrument, coalesce(p.quantity::numeric, 'NaN') AS quantity
        FROM maintenance.positions p JOIN compared c ON c.venue = p.venue AND c.account = p.account
        UNION ALL SELECT venue, account, instrument, -coalesce(moved::numeric, 'NaN') FROM since) q
    GROUP BY venue, account, instrument
),
theirs AS (
    SELECT c.venue, c.account, l.instrument, sum(coalesce(l.quantity::numeric, 'NaN')) AS quantity
    FROM maintenance.venue_positions l JOIN compared c ON c.statement_id = l.statement_id
    GROUP BY c.venue, c.account, l.instrument
),
differing AS (
    SELECT coalesce(o.venue, t.venue) AS venue, coalesce(o.account, t.account) AS account,
           coalesce(o.instrument, t.instrument) AS instrument, coalesce(o.quantity, 0) AS ours,
           coalesce(t.quantity, 0) AS theirs
    FROM ours o FULL JOIN theirs t ON t.venue = o.venue AND t.account = o.account AND t.instrument = o.instrument
    WHERE o.quantity IS DISTINCT FROM t.quantity OR o.quantity = 'NaN'
),
breaks AS MATERIALIZED (
    SELECT d.venue, d.account, d.instrument, d.ours::text, d.theirs::text, (d.ours - d.theirs)::text AS difference,
           c.as_of AS at,
           ARRAY[CASE WHEN 'NaN' IN (d.ours, d.theirs) THEN 'not_a_number' WHEN d.ours = 0 THEN 'missing_here'
                      WHEN d.theirs = 0 THEN 'missing_at_venue' ELSE 'quantity' END] AS classes
    FROM differing d LEFT JOIN compared c ON c.venue = d.venue AND c.account = d.account
    WHERE NOT (d.ours <> 'NaN' AND abs(d.ours - d.theirs) <= {tolerance("quantity", "d.instrument")})
)
{NONE_UNCOVERED}
"""

# Our cash as of the venue's cut-off: that of now less what was settled since.
CASH_SQL = f"""
WITH {states("cash", "newest")},
{COMPARED},
ours AS (
    SELECT venue, account, currency, sum(balance) AS balance FROM (
        SELECT b.venue, b.account, b.currency, coalesce(b.balance::numeric, 'NaN') AS balance
        FROM maintenance.cash b JOIN compared c ON c.venue = b.venue AND c.account = b.account
        UNION ALL
        SELECT t.venue, t.account, t.currency,
               CASE WHEN t.settled_at IS NULL THEN 'NaN' ELSE -coalesce(t.amount::numeric, 'NaN') END
        FROM maintenance.transactions t JOIN compared c ON c.venue = t.venue AND c.account = t.account
        WHERE t.status = 'settled' AND (t.settled_at > c.as_of OR t.settled_at IS NULL)) q
    GROUP BY venue, account, currency
),
theirs AS (
    SELECT c.venue, c.account, l.currency, sum(coalesce(l.balance::numeric, 'NaN')) AS balance
    FROM maintenance.venue_cash l JOIN compared c ON c.statement_id = l.statement_id
    GROUP BY c.venue, c.account, l.currency
),
differing AS (
    SELECT coalesce(o.venue, t.venue) AS venue, coalesce(o.account, t.account) AS account,
           coalesce(o.currency, t.currency) AS currency, coalesce(o.balance, 0) AS ours,
           coalesce(t.balance, 0) AS theirs
    FROM ours o FULL JOIN theirs t ON t.venue = o.venue AND t.account = o.account AND t.currency = o.currency
    WHERE o.balance IS DISTINCT FROM t.balance OR o.balance = 'NaN'
),
breaks AS MATERIALIZED (
    SELECT d.venue, d.account, d.currency, d.ours::text, d.theirs::text, (d.ours - d.theirs)::text AS difference,
           c.as_of AS at,
           ARRAY[CASE WHEN 'NaN' IN (d.ours, d.theirs) THEN 'not_a_number' WHEN d.ours = 0 THEN 'missing_here'
                      WHEN d.theirs = 0 THEN 'missing_at_venue' ELSE 'amount' END] AS classes
    FROM differing d LEFT JOIN compared c ON c.venue = d.venue AND c.account = d.account
    WHERE NOT (d.ours <> 'NaN' AND abs(d.ours - d.theirs) <= %(cash_tolerance)s::numeric)
)
{NONE_UNCOVERED}
"""

STATEMENTS_SQL = " UNION ALL ".join(
    f"""(WITH {states(kind, "statements" if kind == "executions" else "newest")}
         SELECT '{kind}' AS kind, venue, account, age / nullif(interval, 0) AS age, as_of, reason
         FROM states)"""
    for kind in ("executions", "positions", "cash")
)

ASK_VENUE = "Get the statement from the venue and load it, then run again."


def statements(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """The worst of the newest statements of all kinds: age in multiples of the venue's interval, and completeness."""
    if not rows:
        raise NotMeasured("no account trades at a venue.", "Correct the views maintenance.cash and venue_statements.")
    limit = limits(thresholds, "venue_statements")
    broken = [row for row in rows if row["reason"] not in (None, "stale")]
    ages = [row["age"] for row in rows if row["reason"] in (None, "stale")]
    oldest = round(max(ages), 3) if ages else None
    check = judge(
        "trading.venue_statements",
        "Venues' statements",
        oldest,
        unit="intervals",
        **limit,
        message=f"The oldest of {len(rows)} newest statements is {oldest} intervals of its venue old.",
        remedy=ASK_VENUE,
        source="view maintenance.venue_statements",
    )
    # A view may well have NULL as a venue.
    bad = sorted(broken or rows, key=lambda row: (-(row["age"] or 0), place(row), row["kind"]))
    if broken:
        check.status, check.remedy = CRITICAL, ASK_VENUE
        check.message = (
            f"{len(broken)} of {len(rows)} statements cannot be relied on: {place(bad[0])} ({bad[0]['kind']}): "
            f"{REASONS[bad[0]['reason']]}."
        )
    if check.status != OK:
        keys = ("venue", "account", "kind", "as_of", "reason")
        late = [row for row in bad if row["reason"] or check.status == WARNING]
        check.details = {"count": len(late), "first": [{key: row[key] for key in keys} for row in late[:10]]}
    yield check


def place(row: Row) -> str:
    """An account at a venue, for people."""
    return f"{printable(row['account'], 40)} at {printable(row['venue'], 40)}"


def reconciled(name: str, title: str) -> Callable[[List[Row], Dict[str, Any]], Iterator[Check]]:
    """How the row of one reconciliation is judged. A break is one, even if other statements are stale."""

    def judgement(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
        row = rows[0]
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
        classes = ", ".join(f"{count} {kind}" for kind, count in sorted((row["classes"] or {}).items()))
        text = f"{total} breaks: {classes}. It booked nothing."
        if not total:
            text = f"Our books and {row['places']} statements agree as of each cut-off, the earliest {row['cutoff']}."
        elif unreliable:
            text += f" {unreliable} statements cannot be relied on: {'; '.join(reasons[:3])}."
        details: Dict[str, Any] = {"count": total, "lines": row["lines"], "places": row["places"]}
        if total:
            first = [{k: printable(v) if isinstance(v, str) else v for k, v in b.items()} for b in row["first"]]
            details.update(classes=row["classes"], first=first, oldest_s=row["oldest"])
        if unreliable or row["uncovered"]:
            details.update(unreliable=reasons, uncovered=row["uncovered"])
        check = judge(
            f"trading.{name}",
            title,
            total,
            **limits(thresholds, name),
            message=text,
            remedy="Compare each break with the venue's own record, and correct the side that is wrong.",
            source="schema maintenance: our books and the venues' statements",
            details=details,
        )
        if (unreliable or row["uncovered"]) and check.status != CRITICAL:
            # So few breaks may be allowed, but nobody knows that there are no more.
            check.status, check.remedy = UNKNOWN, ASK_VENUE
        yield check

    return judgement


def _probe(name: str, title: str, sql: str, views: Views) -> Probe:
    return Probe(((f"trading.{name}", title),), "schema maintenance", sql, reconciled(name, title), views)


PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.venue_statements", "Venues' statements"),),
        "view maintenance.venue_statements",
        STATEMENTS_SQL,
        statements,
        {**STATEMENTS, **LINES},
    ),
    _probe("reconcile_executions", "Executions against the venues' statements", EXECUTIONS_SQL, EXECUTIONS),
    _probe("reconcile_positions", "Positions against the venues' statements", POSITIONS_SQL, POSITIONS),
    _probe("reconcile_cash", "Cash against the venues' statements", CASH_SQL, CASH),
)
