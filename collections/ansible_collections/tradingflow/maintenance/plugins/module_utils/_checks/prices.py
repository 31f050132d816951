# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this package; values are parameters.

"""Area trading: prices of what is held, whether they are recent and believable."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ..checks import Check, judge, limits
from ..words import plural, printable, span
from .calendar import Calendars, UnknownCalendar
from .sql import NotMeasured, Probe, Row, Views, doubted, finite

OLD, JUMPS = "Age of prices", "Jumps of prices"
SOURCE = "views maintenance.prices and positions"

# Of each instrument that is held, its newest price, and of the day before that the largest step from one to the next.
PRICES_SQL = f"""
WITH held AS (
    SELECT true AS held, instrument, min(venue) AS venue FROM maintenance.positions WHERE quantity IS DISTINCT FROM 0
    GROUP BY instrument
)
SELECT q.any, h.held, h.instrument,
       (SELECT min(to_jsonb(v) ->> 'calendar') FROM maintenance.venues v WHERE v.venue = h.venue) AS calendar,
       extract(epoch FROM clock_timestamp())::float8 AS now, extract(epoch FROM n.at)::float8 AS since, s.bad,
       100 * (s.step - 1) AS step, s.price
FROM (SELECT EXISTS (SELECT FROM maintenance.positions) AS any) q LEFT JOIN held h ON true
LEFT JOIN LATERAL (SELECT max(observed_at) AS at FROM maintenance.prices p
                   WHERE p.instrument = h.instrument AND p.observed_at <= clock_timestamp() + interval '5 s'
                         AND isfinite(p.observed_at)) n ON true
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE NOT good) AS bad, (array_agg(price ORDER BY observed_at DESC))[1]::text AS price,
           max(CASE WHEN good AND before > 0 AND {finite("before")}
                    THEN greatest(price::numeric / before, before / price::numeric) END) AS step
    FROM (
        SELECT observed_at, price, coalesce(price > 0 AND {finite("price")}, false) AS good,
               lag(price::numeric) OVER (ORDER BY observed_at, price) AS before
        FROM maintenance.prices p
        WHERE p.instrument = h.instrument AND p.observed_at <= n.at
              AND p.observed_at >= coalesce((SELECT max(observed_at) FROM maintenance.prices b
                                             WHERE b.instrument = h.instrument
                                                   AND b.observed_at <= n.at - interval '1 day'), '-infinity')) w
    ) s ON true
ORDER BY h.instrument
"""


def prices(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """The oldest of the newest prices, and the largest jump."""
    if not rows[0]["any"]:
        raise NotMeasured("there is no position.", "See whether the platform trades, and the view positions.")
    rows = [row for row in rows if row["held"]]
    yield old(rows, thresholds, given["calendars"])
    yield jumps(rows, thresholds)


def age(row: Row, late: float, calendars: Calendars) -> float:
    """The age of an instrument's newest price in s, without days on which its venue was closed."""
    plain: float = max(row["now"] - row["since"], 0.0)
    if plain < late or not row["calendar"]:
        return plain
    try:
        return calendars.market(row["calendar"], row["now"]).aged(float(row["since"]))
    except UnknownCalendar:
        return plain


def old(rows: List[Row], thresholds: Dict[str, Any], calendars: Calendars) -> Check:
    """The oldest."""
    limit = limits(thresholds, "old_prices")
    late = min((value for value in limit.values() if value is not None), default=float("inf"))
    ages = sorted(((age(row, late, calendars), row) for row in rows if row["since"] is not None), key=lambda p: -p[0])
    missing = [row for row in rows if row["since"] is None]
    text = "Nothing is held."
    if ages:
        text = f"The oldest of {plural(len(ages), 'newest price')} is {span(ages[0][0])} old, that of "
        text += f"{printable(ages[0][1]['instrument'], 60)}."
    check = judge(
        "trading.old_prices",
        OLD,
        round(ages[0][0], 1) if ages else 0,
        unit="s",
        **limit,
        message=text,
        remedy="Check whether market data come in, and what is valued by old prices meanwhile.",
        source=SOURCE,
        details={
            "first": [{"instrument": printable(row["instrument"], 60), "age_s": round(old)} for old, row in ages[:10]]
        },
    )
    return unpriced(check, missing, "no price of the past")


def jumps(rows: List[Row], thresholds: Dict[str, Any]) -> Check:
    """The largest, in % of the lower of two prices that follow each other."""
    steps = sorted((row for row in rows if row["step"] is not None), key=lambda row: -row["step"])
    bad = [row for row in rows if row["bad"] or row["since"] is None]
    text = "No price changed in its last day."
    if steps:
        text = f"The largest step from one price to the next, in the last day of each, is {steps[0]['step']:,.2f} % "
        text += f"(of {printable(steps[0]['instrument'], 60)})."
    check = judge(
        "trading.price_jumps",
        JUMPS,
        round(float(steps[0]["step"]), 2) if steps else 0,
        unit="%",
        **limits(thresholds, "price_jumps"),
        message=text,
        remedy="Compare it with another source: a wrong price, a corporate action such as a split, or the market.",
        source=SOURCE,
        details={
            "first": [
                {"instrument": printable(row["instrument"], 60), "step": f"{row['step']:.2f}", "newest": row["price"]}
                for row in steps[:10]
            ]
        },
    )
    return unpriced(check, bad, "a price that is not a number above 0, or none at all")


def unpriced(check: Check, rows: List[Row], why: str) -> Check:
    """A check of which some instruments say nothing: critical, or nobody knows."""
    if not rows:
        return check
    count = plural(len(rows), "instrument that is held has", "instruments that are held have")
    text = f"{count} {why}, such as {printable(rows[0]['instrument'], 60)}."
    return doubted(check, text, "Correct the view maintenance.prices, or what is held in maintenance.positions.")


VIEWS: Views = {
    "positions": {"instrument": "text", "venue": "text", "quantity": "exact"},
    "prices": {"instrument": "text", "observed_at": "time", "price": "exact"},
    "venues": {"venue": "text"},
}

PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.old_prices", OLD), ("trading.price_jumps", JUMPS)), SOURCE, PRICES_SQL, prices, VIEWS, context=True
    ),
)
