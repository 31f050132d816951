# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this file; values are parameters.

"""Area trading: the venues' statements, whether they are there, complete and fresh enough to be relied on."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ..checks import CRITICAL, OK, WARNING, Check, judge, limits
from ..words import plural, printable
from .sql import NotMeasured, Probe, Row, Views, strange

STATEMENTS: Views = {
    "cash": {"account": "text", "venue": "text"},
    "positions": {"account": "text", "venue": "text"},
    "venues": {"venue": "text", "statement_interval_seconds": "number"},
    "venue_statements": {
        "statement_id": "id",
        "venue": "text",
        "account": "text",
        "kind": "text",
        "period_start": "time",
        "as_of": "time",
        "record_count": "number",
    },
}
LINES: Views = {
    "venue_executions": {"statement_id": "id"},
    "venue_positions": {"statement_id": "id"},
    "venue_cash": {"statement_id": "id"},
}

KINDS = ("executions", "positions", "cash")

#: Why a statement is not to be relied on, for people.
REASONS = {
    "none": "there is none",
    "interval": "its venue has no interval above 0",
    "time": "it has no time",
    "future": "it is in the future",
    "stale": "it is stale",
    "incomplete": "lines are missing or too many",
    "gap": "periods are not covered",
    "kind": f"its kind is not one of {', '.join(KINDS)}",
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
        SELECT venue, account, before AS after, period_start AS until FROM statements s WHERE period_start > before
               -- What nobody could trade in is no gap.
               AND NOT EXISTS (SELECT FROM jsonb_to_recordset(%(closed)s::jsonb)
                                   AS c (venue text, after float8, until float8)
                               WHERE c.venue = s.venue AND abs(extract(epoch FROM s.before) - c.after) < 0.001
                                     AND abs(extract(epoch FROM s.period_start) - c.until) < 0.001)
    ),
    places AS (
        SELECT venue, account FROM maintenance.cash UNION SELECT venue, account FROM maintenance.positions
        UNION SELECT venue, account FROM maintenance.venue_statements
        UNION SELECT venue, account FROM jsonb_to_recordset(%(places)s::jsonb) AS traded (venue text, account text)
    ),
    aged AS (
        SELECT p.venue, p.account, n.statement_id, n.as_of,
               extract(epoch FROM clock_timestamp() - n.as_of)::float8 AS age,
               (SELECT min(statement_interval_seconds)::float8 FROM maintenance.venues v WHERE v.venue = p.venue)
                   AS interval,
               (SELECT max(before) FROM jsonb_to_recordset(%(venues)s::jsonb) AS c (venue text, before float8)
                WHERE c.venue = p.venue) AS stale_before
        FROM places p LEFT JOIN newest n ON n.venue = p.venue AND n.account = p.account
    ),
    states AS MATERIALIZED (
        SELECT *, CASE
            WHEN statement_id IS NULL THEN 'none'
            WHEN as_of IS NULL OR as_of = '-infinity' THEN 'time'
            WHEN (interval > 0 AND interval < 'Infinity') IS NOT TRUE THEN 'interval'
            WHEN age < -5 THEN 'future'
            WHEN age >= coalesce(%(stale)s::float8, 'Infinity') * interval
                 AND coalesce(extract(epoch FROM as_of) <= stale_before, true) THEN 'stale'
            WHEN EXISTS (SELECT FROM incomplete i WHERE i.venue = a.venue AND i.account = a.account) THEN 'incomplete'
            WHEN '{kind}' = 'executions'
                 AND EXISTS (SELECT FROM gaps g WHERE g.venue = a.venue AND g.account = a.account) THEN 'gap'
            END AS reason
        FROM aged a
    )"""


STATEMENTS_SQL = " UNION ALL ".join(
    f"""(WITH {states(kind, "statements" if kind == "executions" else "newest")}
         SELECT '{kind}' AS kind, venue, account, age / nullif(interval, 0) AS age, interval,
                extract(epoch FROM as_of)::float8 AS since, as_of, reason
         FROM states)"""
    for kind in KINDS
)
# Statements of a kind that nobody knows are those of none of the others.
STATEMENTS_SQL += f"""
    UNION ALL SELECT kind, venue, account, NULL, NULL, NULL, as_of, 'kind' FROM maintenance.venue_statements
    WHERE {strange("kind", KINDS)}"""

ASK_VENUE = "Get the statement from the venue and load it, then run again."


def in_intervals(row: Row, markets: Row) -> Any:
    """The age of a statement in intervals of its venue, without the days on which that was closed."""
    market = markets.get(row["venue"])
    if market is None or row["since"] is None or row["age"] is None or row["age"] < 1:
        return row["age"]
    return min(market.aged(row["since"]) / row["interval"], row["age"])


def statements(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """The worst of the newest statements of all kinds: age in multiples of the venue's interval, and completeness."""
    if not rows:
        raise NotMeasured("no account trades at a venue.", "Correct the views maintenance.cash and venue_statements.")
    limit = limits(thresholds, "venue_statements")
    broken = [row for row in rows if row["reason"] not in (None, "stale")]
    for row in rows:
        row["age"] = in_intervals(row, given["markets"])
    ages = [row["age"] for row in rows if row["reason"] in (None, "stale")]
    oldest = round(max(ages), 3) if ages else None
    check = judge(
        "trading.venue_statements",
        "Venues' statements",
        oldest,
        unit="intervals",
        **limit,
        message=f"The oldest of {plural(len(rows), 'newest statement')} is {oldest} intervals of its venue old.",
        remedy=ASK_VENUE,
        source="view maintenance.venue_statements",
    )
    # A view may well have NULL as a venue.
    bad = sorted(broken or rows, key=lambda row: (-(row["age"] or 0), place(row), str(row["kind"])))
    if broken:
        check.status, check.remedy = CRITICAL, ASK_VENUE
        check.message = (
            f"{len(broken)} of {plural(len(rows), 'statement')} cannot be relied on: "
            f"{place(bad[0])} ({printable(bad[0]['kind'], 40)}): {REASONS[bad[0]['reason']]}."
        )
    if check.status != OK:
        keys = ("venue", "account", "kind", "as_of", "reason")
        late = [row for row in bad if row["reason"] or check.status == WARNING]
        check.details = {"count": len(late), "first": [{key: row[key] for key in keys} for row in late[:10]]}
    yield check


def place(row: Row) -> str:
    """An account at a venue, for people."""
    return f"{printable(row['account'], 40)} at {printable(row['venue'], 40)}"


PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.venue_statements", "Venues' statements"),),
        "view maintenance.venue_statements",
        STATEMENTS_SQL,
        statements,
        {**STATEMENTS, **LINES},
        context=True,
        facts=("places", "venues"),
    ),
)
