# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this package; values are parameters.

"""The gate trading_state: nothing is on its way, and our books agree with the venues'."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .._checks.executions import STATUSES
from .._checks.sql import HAPPENED, NotMeasured, Probe, Row, Views, reading, strange, unknown_words
from .._checks.trades import TRANSACTION_STATUSES
from .._checks.trading import CARRIED, CATALOGUE, MEMORY, SCHEMA, Known, lack
from ..checks import CRITICAL, OK, UNKNOWN, Check, unknown
from ..errors import MaintenanceError
from ..words import plural, printable, span
from .gate import Gate
from .market import Seen
from .past import Past

NAME, TITLE = "trading_state", "Trading at rest"
ORDERS, ORDERS_TITLE = f"gate.{NAME}:orders", "No order on its way"
MOVEMENTS, MOVEMENTS_TITLE = f"gate.{NAME}:transactions", "No transaction on its way"
BREAKS, BREAKS_TITLE = f"gate.{NAME}:breaks", "No unreconciled break"

#: Checks of the daily that compare our books with the venues' and with themselves.
RECONCILED = (
    *CARRIED,
    "trading.duplicate_executions",
    "trading.execution_times",
    "trading.orders_without_executions",
    "trading.executions_without_orders",
    *(f"trading.duplicates:{view}" for view in ("orders", "executions", "transactions", "positions", "cash")),
)

ORDERS_SQL = f"""
WITH waiting AS MATERIALIZED (
    SELECT order_id, strategy, venue, instrument, time_in_force,
           coalesce(time_in_force = ANY(%(resting)s) AND filled_quantity = 0
                    AND {HAPPENED.format(column="acknowledged_at")}, false) AS rests
    FROM maintenance.orders WHERE status = 'open')
SELECT EXISTS (SELECT FROM maintenance.orders) AS any, count(*) AS open, count(*) FILTER (WHERE rests) AS resting,
       (SELECT count(*) FROM maintenance.orders WHERE {strange("status", STATUSES)}) AS strange,
       (SELECT min(status) FROM maintenance.orders WHERE {strange("status", STATUSES)}) AS strange_status,
       (SELECT json_agg(w) FROM (SELECT order_id::text, strategy, venue, instrument, time_in_force FROM waiting
                                 WHERE NOT rests ORDER BY order_id LIMIT 10) w) AS first
FROM waiting
"""
MOVEMENTS_SQL = f"""
SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
       count(*) FILTER (WHERE {strange("status", TRANSACTION_STATUSES)}) AS strange,
       min(status) FILTER (WHERE {strange("status", TRANSACTION_STATUSES)}) AS strange_status
FROM maintenance.transactions WHERE status IS DISTINCT FROM 'settled'
"""
# Where somebody trades is a venue too, whether or not the view has it.
VENUES_SQL = """
SELECT venue::text AS venue, to_jsonb(v) ->> 'calendar' AS calendar FROM maintenance.venues v
UNION SELECT venue::text, NULL FROM (
    SELECT venue FROM maintenance.orders WHERE status = 'open' OR (created_at > now() - interval '30 days') IS NOT FALSE
    UNION SELECT venue FROM maintenance.positions) used
WHERE NOT EXISTS (SELECT FROM maintenance.venues v WHERE v.venue = used.venue)
"""
CLOCK_SQL = "SELECT extract(epoch FROM clock_timestamp())::float8 AS now"


@dataclass
class Live:
    """What the database says now.

    :param venues: None when they could not be read
    :param why: then: message and remedy
    :param now: its clock
    :param begun, ended: our clock around that
    """

    checks: List[Check] = field(default_factory=list)
    venues: Optional[Seen] = None
    why: Tuple[str, str] = ("", "")
    now: Optional[float] = None
    begun: float = 0.0
    ended: float = 0.0


def orders(rows: List[Row], _thresholds: Row, given: Row) -> Iterator[Check]:
    """Open orders, but those that may rest at the venue."""
    row = rows[0]
    if not row["any"]:
        raise NotMeasured("there is no order.", "See whether the platform trades, and the view maintenance.orders.")
    if row["strange"]:
        raise NotMeasured(*unknown_words(row["strange"], "order", "status", row["strange_status"], STATUSES))
    moving = row["open"] - row["resting"]
    text = f"{plural(moving, 'order is', 'orders are', none='No')} on its way"
    text = text.replace("orders are on its", "orders are on their") + "."
    if row["resting"]:
        text += f" {plural(row['resting'], 'order rests', 'orders rest')} at a venue ({', '.join(given['resting'])})."
    details = {"open": row["open"], "resting": row["resting"], **({"first": row["first"]} if row["first"] else {})}
    remedy = "Stop the strategies, and cancel these or let them end. What may rest: maintenance_window_resting_orders."
    yield Check(
        ORDERS,
        ORDERS_TITLE,
        CRITICAL if moving else OK,
        moving,
        message=text,
        remedy=remedy if moving else "",
        source="view maintenance.orders",
        details=details,
    )


def movements(rows: List[Row], _thresholds: Row, given: Row) -> Iterator[Check]:
    """Transactions that are not settled yet."""
    row = rows[0]
    if row["strange"]:
        words = unknown_words(row["strange"], "transaction", "status", row["strange_status"], TRANSACTION_STATUSES)
        raise NotMeasured(*words)
    bad = bool(row["pending"]) and not given["pending_transactions"]
    text = f"{plural(row['pending'], 'transaction is', 'transactions are', none='No')} pending."
    text += " That is accepted (maintenance_window_pending_transactions)." if row["pending"] and not bad else ""
    yield Check(
        MOVEMENTS,
        MOVEMENTS_TITLE,
        CRITICAL if bad else OK,
        row["pending"],
        message=text,
        remedy="Wait until they are settled." if bad else "",
        source="view maintenance.transactions",
    )


PROBES: Tuple[Probe, ...] = (
    Probe(
        ((ORDERS, ORDERS_TITLE),),
        "view maintenance.orders",
        ORDERS_SQL,
        orders,
        {
            "orders": {
                "order_id": "id",
                **dict.fromkeys(("strategy", "venue", "instrument", "status", "time_in_force"), "text"),
                "filled_quantity": "exact",
                "acknowledged_at": "time",
            }
        },
        context=True,
    ),
    Probe(
        ((MOVEMENTS, MOVEMENTS_TITLE),),
        "view maintenance.transactions",
        MOVEMENTS_SQL,
        movements,
        {"transactions": {"status": "text"}},
        context=True,
    ),
)


def ask(database: Optional[Dict[str, Any]], options: Dict[str, Any], clock: Any, state: bool) -> Live:
    """Asks the database, in one session that only reads.

    :param clock: gives our time, in s
    :param state: whether orders and transactions are wanted too
    """
    live = Live()
    probes = PROBES if state else ()
    if not database:
        live.why = "no database is configured.", "Set maintenance_window_database."
    else:
        try:
            with reading(database, options["timeout"], "REPEATABLE READ") as cursor:
                live.begun = clock()
                cursor.execute(CLOCK_SQL)
                live.now, live.ended = cursor.fetchone()["now"], clock()
                cursor.execute(MEMORY)
                cursor.execute(CATALOGUE, (SCHEMA,))
                catalogue: Dict[str, Dict[str, Row]] = {}
                for row in cursor.fetchall():
                    catalogue.setdefault(row["view"], {})[row["column"]] = row
                given = {
                    "resting": list(options["resting_orders"]),
                    "pending_transactions": options["pending_transactions"],
                }
                known = Known(cursor, catalogue, given)
                for probe in probes:
                    lacking = lack(catalogue, probe.views)
                    live.checks += probe.unmeasured(*lacking) if lacking else known.ask(probe, {})
                live.venues, live.why = _venues(known, catalogue)
            return live
        except MaintenanceError as error:
            live.why = error.message, error.remedy
    told = {check.id for check in live.checks}
    for probe in probes:
        if not told & {id for id, _title in probe.checks}:
            live.checks += probe.unmeasured(*live.why)
    return live


def _venues(known: Known, catalogue: Dict[str, Dict[str, Row]]) -> Tuple[Optional[Seen], Tuple[str, str]]:
    """Venues and their calendars; None, and why."""
    views: Views = {
        "venues": {"venue": "text"},
        "orders": {"venue": "text", "status": "text", "created_at": "time"},
        "positions": {"venue": "text"},
    }
    lacking = lack(catalogue, views)
    if lacking:
        return None, lacking
    seen: Seen = []

    def read(rows: List[Row], _thresholds: Row) -> Iterator[Check]:
        for row in rows:
            if not row["venue"]:
                raise NotMeasured("a venue has no name.", "Correct venue in maintenance.venues, orders and positions.")
            if row["venue"] in [name for name, _calendar in seen]:
                text = f"venue {printable(row['venue'], 40)} is there twice, with different calendars."
                raise NotMeasured(text, "Correct the view maintenance.venues.")
            seen.append((row["venue"], row["calendar"]))
        return iter(())

    failed = known.ask(Probe((("", "Venues"),), "view maintenance.venues", VENUES_SQL, read, views), {})
    return (None, (failed[0].message, failed[0].remedy)) if failed else (seen, ("", ""))


def trading_state(live: Live, past: Past) -> Gate:
    """The gate: orders and transactions as they are now, breaks by the newest whole daily."""
    return Gate(NAME, [*live.checks, breaks(past)])


def breaks(past: Past) -> Check:
    """Whether the newest whole daily found our books to agree."""
    if past.problem:
        return unknown(BREAKS, BREAKS_TITLE, *past.problem)
    found = {check["id"]: check for check in past.checks if check["id"] in RECONCILED}
    missing = [id for id in RECONCILED if id not in found]
    bad = [id for id, check in found.items() if check["status"] == CRITICAL]
    unsure = [id for id, check in found.items() if check["status"] == UNKNOWN]
    source = f"report of {past.run_id}, {span(max(past.age, 0))} old"
    remedy = "Reconcile, and run the daily again (playbooks/daily.yml)."
    if bad:
        first = found[bad[0]]
        text = f"{', '.join(bad[:4])}: {printable(first.get('message', ''), 300)}"
        return Check(BREAKS, BREAKS_TITLE, CRITICAL, len(bad), message=text, remedy=remedy, source=source)
    if missing or unsure:
        text = f"Not known to agree: {', '.join([*unsure, *missing][:4])}."
        return unknown(BREAKS, BREAKS_TITLE, text, remedy, source=source)
    text = "Our books agree with the venues' and with themselves."
    return Check(BREAKS, BREAKS_TITLE, OK, 0, message=text, source=source)
