# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this package; values are parameters.

"""Area trading: orders that wait, for the venue's word or for their end, longer than they should."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ..checks import CRITICAL, Check, judge, limits, unknown
from ..words import plural, printable, span
from .calendar import Calendars, UnknownCalendar
from .executions import STATUSES
from .sql import HAPPENED, NotMeasured, Probe, Row, Views, strange, unknown_words

UNACKNOWLEDGED = "Orders without the venue's word"
OPEN = "Orders open for too long"
SOURCE = "view maintenance.orders"

#: Time in force -> s that an order may be open; None for as many days as the option says. Those of a day are of a day
#: on which their market was open.
DAY = 86400
ALLOWED = {"ioc": 60, "fok": 60, "day": DAY, "opg": DAY, "cls": DAY, "gtc": None, "gtd": None}
BY_DAY = tuple(name for name, seconds in ALLOWED.items() if seconds == DAY)

#: Of so many that are open for too long each is looked at.
MOST = 5000

OPEN_SQL = f"""
WITH waiting AS MATERIALIZED (
    SELECT order_id, strategy, venue, instrument, time_in_force, created_at,
           extract(epoch FROM clock_timestamp() - created_at)::float8 AS age,
           {HAPPENED.format(column="created_at")} IS NOT TRUE AS undated,
           {HAPPENED.format(column="acknowledged_at")} IS NOT TRUE AS silent
    FROM maintenance.orders WHERE status = 'open'
),
late AS (
    SELECT * FROM waiting WHERE NOT undated AND age >= CASE
        {
    " ".join(
        f"WHEN time_in_force = '{name}' THEN {seconds or '%(open_order_days)s * 86400'}"
        for name, seconds in ALLOWED.items()
    )
} END
)
SELECT EXISTS (SELECT FROM maintenance.orders) AS any, count(*) AS open,
       (SELECT count(*) FROM maintenance.orders WHERE {strange("status", STATUSES)}) AS strange,
       (SELECT min(status) FROM maintenance.orders WHERE {strange("status", STATUSES)}) AS strange_status,
       count(*) FILTER (WHERE undated) AS undated,
       count(*) FILTER (WHERE {strange("time_in_force", tuple(ALLOWED))}) AS odd,
       min(time_in_force) FILTER (WHERE {strange("time_in_force", tuple(ALLOWED))}) AS odd_time,
       count(*) FILTER (WHERE silent) AS silent, max(age) FILTER (WHERE silent AND NOT undated) AS longest,
       extract(epoch FROM clock_timestamp())::float8 AS now, (SELECT count(*) FROM late) AS late,
       (SELECT json_agg(l) FROM (
            SELECT order_id::text, strategy, venue, instrument, time_in_force, created_at, age,
                   (SELECT min(to_jsonb(v) ->> 'calendar') FROM maintenance.venues v WHERE v.venue = late.venue)
                       AS calendar
            FROM late ORDER BY age DESC, order_id LIMIT {MOST}) l) AS first
FROM waiting
"""


def waiting(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """The oldest open order that the venue has not acknowledged, and those that should have ended by now."""
    row = rows[0]
    if not row["any"]:
        raise NotMeasured("there is no order.", "See whether the platform trades, and the view maintenance.orders.")
    for check, odd in (
        (unacknowledged(row, thresholds), 0),
        (too_long(row, thresholds, given["calendars"]), row["odd"]),
    ):
        why = None
        if row["undated"]:
            text = plural(row["undated"], "open order has", "open orders have")
            why = f"{text} no created_at, or one of the future.", "Correct created_at in the view maintenance.orders."
        elif row["strange"]:
            why = unknown_words(row["strange"], "order", "status", row["strange_status"], STATUSES)
        elif odd:
            why = unknown_words(odd, "order", "time_in_force", row["odd_time"], tuple(ALLOWED))
        if why and check.status != CRITICAL:
            # What is known is bad, or nobody knows.
            check = unknown(check.id, check.title, f"{check.title}: {why[0]}", why[1], source=SOURCE)
        yield check


def unacknowledged(row: Row, thresholds: Dict[str, Any]) -> Check:
    """The age of the oldest."""
    text = f"{plural(row['silent'], 'open order has', 'open orders have', none='No')} no word of the venue"
    return judge(
        "trading.unacknowledged_orders",
        UNACKNOWLEDGED,
        round(max(row["longest"] or 0, 0), 1),
        unit="s",
        **limits(thresholds, "unacknowledged_orders"),
        message=f"{text}, the oldest for {span(row['longest'])}." if row["longest"] else f"{text}.",
        remedy="Ask the venue what it knows of each, by client_order_id; see the connection to it.",
        source=SOURCE,
        details={"open": row["open"], "without_word": row["silent"]},
    )


def too_long(row: Row, thresholds: Dict[str, Any], calendars: Calendars) -> Check:
    """How many are open for longer than their time in force allows."""
    found = [one for one in row["first"] or [] if overdue(one, row["now"], calendars)]
    count = len(found) + max(row["late"] - MOST, 0)
    keys = ("order_id", "strategy", "instrument", "time_in_force", "created_at")
    return judge(
        "trading.open_orders",
        OPEN,
        count,
        **limits(thresholds, "open_orders"),
        message=f"{count:,} of {plural(row['open'], 'open order is', 'open orders are')} open for longer than the time "
        f"in force allows{', the oldest for ' + span(found[0]['age']) if found else ''}.",
        remedy="Ask the venue whether they are still there, then have the platform cancel or close them.",
        source=SOURCE,
        details={
            "open": row["open"],
            "count": count,
            **({"first": [{key: printable(one[key], 60) for key in keys} for one in found[:10]]} if found else {}),
        },
    )


def overdue(order: Row, now: float, calendars: Calendars) -> bool:
    """Whether an order that is late by the clock is late by the days of its market too."""
    if order["time_in_force"] not in BY_DAY or not order["calendar"]:
        return True
    try:
        return calendars.market(order["calendar"], now).aged(now - order["age"]) >= DAY
    except UnknownCalendar:
        return True


VIEWS: Views = {
    "orders": {
        "order_id": "id",
        **dict.fromkeys(("strategy", "venue", "instrument", "status", "time_in_force"), "text"),
        "created_at": "time",
        "acknowledged_at": "time",
    },
    "venues": {"venue": "text"},
}

PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.unacknowledged_orders", UNACKNOWLEDGED), ("trading.open_orders", OPEN)),
        SOURCE,
        OPEN_SQL,
        waiting,
        VIEWS,
        context=True,
    ),
)
