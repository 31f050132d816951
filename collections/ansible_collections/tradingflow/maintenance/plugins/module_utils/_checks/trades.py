# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this file; values are parameters.

"""Area trading: orders, executions and transactions in our own books."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Iterator, List, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, Check, judge, limits, unknown
from ..words import amount, plural, printable, span
from .due import no_orders
from .executions import STATUSES
from .sql import (
    CREATED_AT,
    HAPPENED,
    LAST_DAY,
    LAST_DAY_OR_UNDATED,
    UNDATED,
    NotMeasured,
    Probe,
    Row,
    finite,
    scope,
    strange,
    undated,
    unknown_words,
)

DUPLICATES_SQL = f"""
WITH found AS MATERIALIZED (
    SELECT venue, venue_execution_id AS id, count(*) AS times, min(instrument) AS instrument
    FROM maintenance.executions e
    WHERE venue_execution_id IS NOT NULL GROUP BY venue, venue_execution_id, {scope("e")} HAVING count(*) > 1
)
SELECT EXISTS (SELECT FROM maintenance.executions) AS any, (SELECT count(*) FROM found) AS total,
       (SELECT json_agg(f) FROM (SELECT * FROM found ORDER BY venue, id LIMIT 10) f) AS first
"""


def duplicates(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Executions that are there more than once by venue and the venue's id."""
    row = rows[0]
    if not row["any"]:
        raise NotMeasured("there is no execution.", "See whether the platform trades, and the view.")
    yield judge(
        "trading.duplicate_executions",
        "Executions booked twice",
        row["total"],
        **limits(thresholds, "duplicate_executions"),
        message=f"{plural(row['total'], 'execution is', 'executions are', none='No')} booked more than once, by venue "
        "and the venue's id.",
        remedy="Find out how they came in twice, and have the platform reverse the extra ones.",
        source="view maintenance.executions",
        details={"count": row["total"], **({"first": row["first"]} if row["first"] else {})},
    )


TRANSACTION_STATUSES = ("settled", "pending", "failed")
TRANSACTIONS_SQL = f"""
WITH unsettled AS MATERIALIZED (
    SELECT transaction_id AS id, account, venue, kind, currency, amount, error, created_at, status,
           coalesce(status = 'failed', false) AS failed,
           extract(epoch FROM clock_timestamp() - created_at)::float8 AS age
    FROM maintenance.transactions
    WHERE status IS DISTINCT FROM 'settled' AND NOT (coalesce(status = 'failed', false)
          AND coalesce({HAPPENED.format(column="resolved_at")} AND resolved_at >= created_at, false))
),
-- Those of a moment ago are not stuck, and their amount is nobody's worry.
counted AS (
    SELECT * FROM unsettled WHERE failed OR (age < coalesce(%(stuck)s::float8, 0)) IS NOT TRUE
),
sums AS (
    SELECT failed, currency, sum(abs(amount::numeric)) AS amount FROM counted GROUP BY failed, currency
)
SELECT g.failed, EXISTS (SELECT FROM maintenance.transactions) AS any,
       (SELECT count(*) FROM counted c WHERE c.failed = g.failed) AS total,
       (SELECT max(age) FROM unsettled u WHERE u.failed = g.failed) AS oldest,
       (SELECT count(*) FROM unsettled u WHERE u.failed = g.failed AND (u.age >= -5) IS NOT TRUE) AS undated,
       (SELECT count(*) FROM counted c
        WHERE c.failed = g.failed AND {finite("c.amount")} IS NOT TRUE) AS unreadable,
       (SELECT count(*) FROM unsettled u WHERE u.failed = g.failed AND {strange("u.status", TRANSACTION_STATUSES)})
           AS strange,
       (SELECT min(status) FROM unsettled u WHERE u.failed = g.failed AND {strange("u.status", TRANSACTION_STATUSES)})
           AS strange_status,
       (SELECT coalesce(max(amount), 0) FROM sums s WHERE s.failed = g.failed) AS largest,
       (SELECT json_object_agg(coalesce(currency, '?'), amount::text) FROM sums s WHERE s.failed = g.failed) AS amounts,
       (SELECT json_agg(f) FROM (SELECT id, account, venue, kind, currency, amount::text, error, created_at
                                 FROM counted c WHERE c.failed = g.failed ORDER BY age DESC, id LIMIT 10) f) AS first
FROM (VALUES (true), (false)) g (failed) ORDER BY failed DESC
"""

TRANSACTIONS = (
    ("trading.failed_transactions", "Failed transactions"),
    ("trading.failed_age", "Age of failed transactions"),
    ("trading.failed_amount", "Amount of failed transactions"),
    ("trading.stuck_transactions", "Stuck transactions"),
    ("trading.stuck_amount", "Amount of stuck transactions"),
)
TITLES = dict(TRANSACTIONS)


def transactions(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Failed ones that nobody has dealt with, and pending ones: number, age and amount (of the largest currency)."""
    if not rows[0]["any"]:
        raise NotMeasured("there is no transaction.", "See whether the platform trades, and the view.")
    for row in rows:
        for check in of_status(row, thresholds):
            if row["strange"] and check.status != CRITICAL:
                why, remedy = unknown_words(
                    row["strange"], "transaction", "status", row["strange_status"], TRANSACTION_STATUSES
                )
                check.status, check.value, check.remedy = UNKNOWN, None, remedy
                check.message = f"{check.title}: {why}"
            yield check


def of_status(row: Row, thresholds: Dict[str, Any]) -> Iterator[Check]:
    """The checks of the failed or of the pending transactions."""
    word = "failed" if row["failed"] else "stuck"
    remedy = "See what each waits for (venue, bank, settlement), then have the platform settle or cancel it."
    if row["failed"]:
        remedy = "Read the error of each, settle it or have the platform resolve it."
    first = [{k: printable(v) if isinstance(v, str) else v for k, v in one.items()} for one in row["first"] or []]
    details: Dict[str, Any] = {"count": row["total"], **({"first": first} if first else {})}
    kwargs: Dict[str, Any] = {"remedy": remedy, "source": "view maintenance.transactions"}
    if row["failed"]:
        yield judge(
            "trading.failed_transactions",
            TITLES["trading.failed_transactions"],
            row["total"],
            **limits(thresholds, "failed_transactions"),
            message=f"{plural(row['total'], 'transaction has', 'transactions have', none='No')} failed and nobody "
            f"has dealt with {'it' if row['total'] == 1 else 'them'}.",
            details=details,
            **kwargs,
        )
    name = "failed_age" if row["failed"] else "stuck_transactions"
    title, age = TITLES[f"trading.{name}"], max(row["oldest"] or 0, 0)
    if row["undated"] or not math.isfinite(age):
        text = f"{title}: {plural(row['undated'], 'has', 'have', none='some')} no created_at, or one of the future."
        yield unknown(f"trading.{name}", title, text, "Correct created_at in the view.", details=details)
    else:
        text = f"The oldest {'failed' if row['failed'] else 'pending'} transaction is {span(age)} old"
        check = judge(
            f"trading.{name}",
            title,
            round(age, 1),
            unit="s",
            **limits(thresholds, name),
            message=f"{text}, {plural(row['total'], 'in all is', 'in all are')} {word}."
            if row["total"]
            else f"{text}: not {word} yet."
            if age
            else f"No transaction is {word}.",
            details=details,
            **kwargs,
        )
        if check.status != OK and not row["total"]:
            # A limit below the age from which on they are counted.
            check.message = f"{text}."
        yield check
    name = f"{word}_amount"
    title = TITLES[f"trading.{name}"]
    if row["unreadable"]:
        text = f"{title}: {plural(row['unreadable'], 'has', 'have')} no amount that is a number."
        yield unknown(f"trading.{name}", title, text, "Correct amount in the view.", details=details)
        return
    yield judge(
        f"trading.{name}",
        title,
        row["largest"],
        **limits(thresholds, name),
        message=f"{word.capitalize()} transactions add up to {amount(row['largest'])} in the largest currency.",
        details={"amounts": row["amounts"] or {}, "count": row["total"]},
        **kwargs,
    )


DATED = LAST_DAY.format(column="created_at")
CLOSED = f"{DATED} AND status IN ('filled', 'cancelled', 'expired')"
RATIOS_SQL = f"""
SELECT count(*) FILTER (WHERE {DATED}) AS total, count(*) FILTER (WHERE {DATED} AND status = 'rejected') AS rejected,
       count(*) FILTER (WHERE {CLOSED}) AS closed,
       count(*) FILTER (WHERE {CLOSED} AND filled_quantity > 0) AS filled,
       count(*) FILTER (WHERE {DATED} AND status IS NULL
                              OR {CLOSED} AND (filled_quantity >= 0 AND {finite("filled_quantity")}) IS NOT TRUE)
           AS unreadable,
       count(*) FILTER (WHERE {DATED} AND {strange("status", STATUSES)}) AS strange,
       min(status) FILTER (WHERE {DATED} AND {strange("status", STATUSES)}) AS strange_status,
       count(*) FILTER (WHERE {UNDATED.format(column="created_at")}) AS undated,
       %(minimum_orders)s::int AS minimum
FROM maintenance.orders
WHERE {LAST_DAY_OR_UNDATED.format(column="created_at")}
"""


def ratios(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """Of the last day's orders, how many were rejected, and how many of the accepted and closed ones were filled."""
    row = rows[0]
    for name, title, part, whole, text, below in (
        ("reject_ratio", "Rejected orders", row["rejected"], row["total"], "orders of the last day were rejected", 0),
        ("fill_ratio", "Filled orders", row["filled"], row["closed"], "closed orders of the last day were filled", 1),
    ):
        source, limit = "view maintenance.orders", limits(thresholds, name)
        nothing = None
        if not (row["total"] or row["unreadable"] or row["undated"]):
            nothing = no_orders(given, f"trading.{name}", title)
        if nothing:
            yield nothing
            continue
        if not whole or row["unreadable"] or row["undated"] or row["strange"]:
            why = f"there was no {'closed ' if below else ''}order in the last day."
            if row["undated"]:
                why = undated(row["undated"])
            elif row["unreadable"]:
                why = f"{plural(row['unreadable'], 'order')} of the last day without a status or a filled quantity of "
                why += "0 or more."
            remedy = "See whether the strategies trade, and the view maintenance.orders."
            remedy = CREATED_AT if row["undated"] else remedy
            if row["strange"] and not row["undated"]:
                why, remedy = unknown_words(row["strange"], "order", "status", row["strange_status"], STATUSES)
            yield unknown(f"trading.{name}", title, f"{title}: {why}", remedy, source=source, **limit)
            continue
        few = whole < row["minimum"]
        if few:
            limit = {"warning": None, "critical": None}
            text += f"; fewer than {row['minimum']} are too few to judge"
        yield judge(
            f"trading.{name}",
            title,
            round(100 * part / whole, 2),
            unit="%",
            below=bool(below),
            **limit,
            message=f"{part:,} of {whole:,} {text}.",
            remedy="Read reject_reason and the venue's messages; compare instruments, venues and strategies.",
            source=source,
            details={"orders": row["total"], "counted": whole, "minimum": row["minimum"], "judged": not few},
        )


def orphans_sql(view: str, columns: str, condition: str) -> str:
    """Rows of a view that lack what belongs to them: whether there is any row at all, how many, the first ten."""
    return f"""
WITH found AS MATERIALIZED (SELECT {columns} FROM maintenance.{view} a WHERE {condition})
SELECT EXISTS (SELECT FROM maintenance.{view}) AS any, (SELECT count(*) FROM found) AS total,
       (SELECT json_agg(f) FROM (SELECT * FROM found ORDER BY 1 LIMIT 10) f) AS first
"""


def orphans(name: str, title: str, view: str, *words: str) -> Callable[[List[Row], Dict[str, Any]], Iterator[Check]]:
    """How the row of orphans_sql is judged.

    :param words: what one lacks, and what several do
    """

    def judgement(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
        row = rows[0]
        if not row["any"]:
            raise NotMeasured(f"view maintenance.{view} has no row.", "See whether the platform trades, and the view.")
        yield judge(
            f"trading.{name}",
            title,
            row["total"],
            **limits(thresholds, name),
            message=f"{plural(row['total'], *words, none='No')}.",
            remedy="Find out in the platform's log and at the venue what happened, and have the platform correct it.",
            source="views maintenance.orders and executions",
            details={"count": row["total"], **({"first": row["first"]} if row["first"] else {})},
        )

    return judgement


WITHOUT_EXECUTIONS = "Filled orders without executions"
WITHOUT_ORDERS = "Executions without orders"
PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.duplicate_executions", "Executions booked twice"),),
        "view maintenance.executions",
        DUPLICATES_SQL,
        duplicates,
        {"executions": {"venue": "text", "venue_execution_id": "text", "instrument": "text"}},
        facts=("scopes",),
    ),
    Probe(
        TRANSACTIONS,
        "view maintenance.transactions",
        TRANSACTIONS_SQL,
        transactions,
        {
            "transactions": {
                **dict.fromkeys(("kind", "status", "account", "venue", "currency", "error"), "text"),
                "transaction_id": "id",
                "amount": "exact",
                "created_at": "time",
                "resolved_at": "time",
            }
        },
    ),
    Probe(
        (("trading.reject_ratio", "Rejected orders"), ("trading.fill_ratio", "Filled orders")),
        "view maintenance.orders",
        RATIOS_SQL,
        ratios,
        {"orders": {"status": "text", "filled_quantity": "exact", "created_at": "time"}},
        context=True,
    ),
    Probe(
        (("trading.orders_without_executions", WITHOUT_EXECUTIONS),),
        "views maintenance.orders and executions",
        orphans_sql(
            "orders",
            "order_id, strategy, instrument, status, filled_quantity::text, created_at",
            "(filled_quantity > 0 OR status = 'filled') "
            "AND NOT EXISTS (SELECT FROM maintenance.executions b WHERE b.order_id = a.order_id)",
        ),
        orphans(
            "orders_without_executions",
            WITHOUT_EXECUTIONS,
            "orders",
            "filled order has no execution",
            "filled orders have no execution",
        ),
        {
            "orders": {
                "order_id": "id",
                "strategy": "text",
                "instrument": "text",
                "status": "text",
                "filled_quantity": "exact",
                "created_at": "time",
            },
            "executions": {"order_id": "id"},
        },
    ),
    Probe(
        (("trading.executions_without_orders", WITHOUT_ORDERS),),
        "views maintenance.orders and executions",
        orphans_sql(
            "executions",
            "execution_id, venue, venue_execution_id, strategy, instrument, executed_at",
            "NOT EXISTS (SELECT FROM maintenance.orders b WHERE b.order_id = a.order_id)",
        ),
        orphans(
            "executions_without_orders",
            WITHOUT_ORDERS,
            "executions",
            "execution belongs to no order",
            "executions belong to no order",
        ),
        {
            "executions": {
                "execution_id": "id",
                "order_id": "id",
                "venue": "text",
                "venue_execution_id": "text",
                "strategy": "text",
                "instrument": "text",
                "executed_at": "time",
            },
            "orders": {"order_id": "id"},
        },
    ),
)
