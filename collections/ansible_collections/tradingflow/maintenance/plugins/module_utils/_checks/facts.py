# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this package; values are parameters.

"""Area trading: what several checks must know first, asked once."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Callable, List, Mapping

from ..words import printable
from .calendar import UnknownCalendar
from .sql import HAPPENED, NotMeasured, Row, Views, readable


@dataclass
class Fact:
    """One statement, and what it gives to the statements and judges of others.

    :param read: gets the rows and what is known so far; what it returns is added to that
    :param views: what must be there
    :param optional: whether all of it may be missing: then there are no rows
    """

    title: str
    sql: str
    read: Callable[[List[Row], Row], Row]
    views: Views = field(default_factory=dict)
    optional: bool = False


def places(rows: List[Row], given: Row) -> Row:
    """Accounts at venues by what was traded there: one that is left out of statements and books is missed."""
    return {"places": json.dumps([{"venue": row["venue"], "account": row["account"]} for row in rows])}


def coins(rows: List[Row], given: Row) -> Row:
    """Instrument -> the coin that its positions are made of, and that a fee may be taken in."""
    return {"coins": json.dumps({row["instrument"]: row["coin"] for row in rows})}


def scopes(rows: List[Row], given: Row) -> Row:
    """Venues whose ids of executions are unique within an instrument only."""
    for row in rows:
        if row["scope"] is not None and row["scope"] not in SCOPES:
            text = f"venue {printable(row['venue'], 40)} has execution_ids {printable(row['scope'], 40)}, "
            text += "which is not a known word."
            raise NotMeasured(text, f"Let execution_ids of the view maintenance.venues be one of: {', '.join(SCOPES)}.")
    return {"by_instrument": [row["venue"] for row in rows if row["scope"] == "instrument" and row["venue"]]}


TRANSFERS_SQL = f"""
SELECT strategy::text AS strategy, account::text AS account, venue::text AS venue, instrument::text AS instrument,
       sum(CASE WHEN {HAPPENED.format(column="at")} THEN {readable("quantity")} ELSE 'NaN' END) AS quantity
FROM maintenance.position_transfers GROUP BY 1, 2, 3, 4
"""


def transfers(rows: List[Row], given: Row) -> Row:
    """What strategies got and gave without an execution, in sums."""
    return {"transfers": json.dumps([{**row, "quantity": str(row["quantity"])} for row in rows])}


#: Words that say within what the ids of a venue's executions are unique.
SCOPES = ("venue", "instrument")

# What a view may have besides is read from the whole row: it need not be there.
VENUES_SQL = """
SELECT v.venue::text AS venue, to_jsonb(v) ->> 'calendar' AS calendar,
       v.statement_interval_seconds::float8 AS interval, extract(epoch FROM clock_timestamp())::float8 AS now,
       (SELECT extract(epoch FROM clock_timestamp() - min(newest))::float8 FROM (
            SELECT max(as_of) AS newest FROM maintenance.venue_statements s
            WHERE s.venue = v.venue AND s.as_of <= now() + interval '5 s' GROUP BY s.account, s.kind) n) AS oldest,
       (SELECT json_agg(json_build_array(extract(epoch FROM before)::float8, extract(epoch FROM period_start)::float8))
        FROM (SELECT period_start, lag(as_of) OVER (PARTITION BY account ORDER BY as_of, statement_id) AS before
              FROM maintenance.venue_statements s WHERE s.venue = v.venue AND s.kind = 'executions') p
        WHERE period_start > before AND isfinite(period_start) AND isfinite(before)) AS gaps
FROM maintenance.venues v
"""


def venues(rows: List[Row], given: Row) -> Row:
    """Of each venue with a calendar from when on a statement is stale, and which gaps lie in time it was closed.

    A venue whose calendar nobody can read is measured by the clock on the wall: that is never too late.
    """
    stale, calendars = given["stale"], given["calendars"]
    told, closed, markets = [], [], {}
    for row in rows:
        interval = row["interval"]
        if not row["calendar"] or interval is None or not 0 < interval < math.inf:
            continue
        late = row["oldest"] is not None and row["oldest"] >= interval
        if not (late or row["gaps"]) and calendars.is_costly(row["calendar"]):
            continue
        try:
            market = calendars.market(row["calendar"], row["now"])
        except UnknownCalendar:
            continue
        markets[row["venue"]] = market
        if stale is not None:
            told.append({"venue": row["venue"], "before": market.moment_of_age(stale * interval)})
        for before, start in row["gaps"] or []:
            if market.closed_between(before, start):
                closed.append({"venue": row["venue"], "after": before, "until": start})
    return {"venues": json.dumps(told), "closed": json.dumps(closed), "markets": markets}


FACTS: Mapping[str, Fact] = {
    "places": Fact(
        "Where accounts trade",
        """
        SELECT venue::text AS venue, account::text AS account FROM maintenance.executions
        UNION SELECT venue::text, account::text FROM maintenance.orders WHERE status IS DISTINCT FROM 'rejected'
        """,
        places,
        {
            "executions": {"venue": "text", "account": "text"},
            "orders": {"venue": "text", "account": "text", "status": "text"},
        },
    ),
    "venues": Fact(
        "Calendars of venues",
        VENUES_SQL,
        venues,
        {
            "venues": {"venue": "text", "statement_interval_seconds": "number"},
            "venue_statements": {
                "statement_id": "id",
                "venue": "text",
                "account": "text",
                "kind": "text",
                "period_start": "time",
                "as_of": "time",
            },
        },
    ),
    "scopes": Fact(
        "Within what ids of executions are unique",
        "SELECT venue::text AS venue, to_jsonb(v) ->> 'execution_ids' AS scope FROM maintenance.venues v",
        scopes,
        {"venues": {"venue": "text"}},
        optional=True,
    ),
    "transfers": Fact(
        "Positions moved without an execution",
        TRANSFERS_SQL,
        transfers,
        {
            "position_transfers": {
                **dict.fromkeys(("strategy", "account", "venue", "instrument"), "text"),
                "quantity": "exact",
                "at": "time",
            }
        },
        optional=True,
    ),
    "coins": Fact(
        "What fees may be taken in",
        """
        SELECT instrument::text AS instrument, to_jsonb(i) ->> 'base_currency' AS coin FROM maintenance.instruments i
        WHERE to_jsonb(i) ->> 'base_currency' <> ''
        """,
        coins,
        {"instruments": {"instrument": "text"}},
    ),
}
