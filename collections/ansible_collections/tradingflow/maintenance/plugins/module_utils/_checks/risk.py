# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants; values are parameters.

"""Area trading: usage of the risk limits, from positions, prices and equity. What cannot be computed is unknown."""

from __future__ import annotations

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, limits, worst
from ..words import amount, plural, printable
from .calendar import Calendars, UnknownCalendar
from .guard import guarded
from .sql import HAPPENED, LAST_DAY, LAST_DAY_OR_UNDATED, UNDATED, NotMeasured, Probe, Row, Views, finite, readable

VIEWS: Views = {
    "risk_limits": {
        "limit_id": "id",
        "scope": "text",
        "subject": "text",
        "metric": "text",
        "limit_value": "exact",
        "currency": "text",
        "warning_ratio": "exact",
        "active": "boolean",
    },
    "strategies": {"strategy": "text", "account": "text", "calendar": "text"},
    "positions": {"strategy": "text", "instrument": "text", "quantity": "exact"},
    "instruments": {"instrument": "text", "multiplier": "exact"},
    "prices": {"instrument": "text", "observed_at": "time", "price": "exact", "currency": "text"},
    "equity": {
        "strategy": "text",
        "day": "date",
        "currency": "text",
        "equity": "exact",
        "pnl": "exact",
        "as_of": "time",
    },
    "orders": {"strategy": "text", "created_at": "time"},
}

DATED = LAST_DAY.format(column="o.created_at")
RECENT = LAST_DAY_OR_UNDATED.format(column="o.created_at")
UNDATED_ORDER = UNDATED.format(column="o.created_at")

# NaN stands for what cannot be read, and makes every sum NaN. What is lost belongs to a strategy of no account, or to
# none at all: it counts in no account's sums, and without a name in no strategy's.
LIMITS_SQL = f"""
WITH members AS (
    SELECT 'strategy' AS scope, strategy AS subject, strategy FROM maintenance.strategies
    UNION SELECT 'account', account, strategy FROM maintenance.strategies
),
held AS (
    SELECT strategy, coalesce(nullif(instrument, ''), '(blank)') AS instrument,
           {readable("quantity")} AS quantity
    FROM maintenance.positions
),
priced AS (
    SELECT h.instrument, coalesce(nullif(p.currency, ''), '?') AS currency,
           CASE WHEN p.price > 0 AND {finite("p.price")}
                     AND p.observed_at > clock_timestamp() - make_interval(hours => %(price_age)s)
                THEN p.price::numeric * m.multiplier END AS price
    FROM (SELECT DISTINCT instrument FROM held WHERE quantity <> 0) h
    LEFT JOIN LATERAL (SELECT price, currency, observed_at FROM maintenance.prices x
                       WHERE x.instrument = h.instrument AND x.observed_at <= clock_timestamp() + interval '5 s'
                       ORDER BY observed_at DESC LIMIT 1) p ON true
    LEFT JOIN LATERAL (SELECT CASE WHEN min(multiplier) > 0 AND min(multiplier) = max(multiplier)
                                        AND {finite("max(multiplier)")} THEN min(multiplier)::numeric END AS multiplier
                       FROM maintenance.instruments i WHERE i.instrument = h.instrument) m ON true
),
worths AS (
    SELECT h.strategy, h.instrument, p.currency, p.price IS NULL AS unpriced, h.quantity = 'NaN' AS unreadable,
           h.quantity * coalesce(p.price, 'NaN') AS worth
    FROM held h JOIN priced p USING (instrument) WHERE h.quantity <> 0
),
by_instrument AS (
    SELECT m.scope, m.subject, w.instrument, sum(w.worth) AS worth, sum(abs(w.worth)) AS gross,
           bool_or(w.unpriced) AS unpriced, bool_or(w.unreadable) AS unreadable,
           min(w.currency) AS currency, max(w.currency) AS other
    FROM members m JOIN worths w USING (strategy) GROUP BY m.scope, m.subject, w.instrument
),
exposure AS (
    SELECT scope, subject, sum(gross) AS gross, abs(sum(worth)) AS net, max(abs(worth)) AS largest,
           min(instrument) FILTER (WHERE unpriced) AS unpriced, min(instrument) FILTER (WHERE unreadable) AS unreadable,
           min(currency) AS currency, max(other) AS other
    FROM by_instrument GROUP BY scope, subject
),
newest AS (
    SELECT DISTINCT ON (strategy) * FROM maintenance.equity ORDER BY strategy, day DESC, as_of DESC NULLS LAST
),
capital AS (
    SELECT m.scope, m.subject, sum({readable("n.equity")}) AS equity,
           sum({readable("n.pnl")}) AS pnl, min(coalesce(nullif(n.currency, ''), '?')) AS currency,
           max(coalesce(nullif(n.currency, ''), '?')) AS other,
           bool_and(coalesce(isfinite(n.day) AND n.day <= (now() AT TIME ZONE 'UTC')::date + 1
                             AND {HAPPENED.format(column="n.as_of")}, false)) AS dated,
           -- What is written anew each hour is still of its day; that ended somewhere on earth a day and a half later.
           json_agg(json_build_array(
                extract(epoch FROM least(n.as_of, (n.day + 2)::timestamp AT TIME ZONE 'UTC'))::float8,
               (SELECT min(calendar) FROM maintenance.strategies s WHERE s.strategy = m.strategy)))
               FILTER (WHERE isfinite(n.as_of) AND isfinite(n.day)) AS ages
    FROM members m LEFT JOIN newest n USING (strategy) GROUP BY m.scope, m.subject
),
rates AS (
    SELECT scope, subject, max(counted) AS busiest FROM (
        SELECT m.scope, m.subject, date_trunc('minute', o.created_at) AS minute, count(*) AS counted
        FROM maintenance.orders o JOIN members m USING (strategy)
        WHERE {DATED} GROUP BY 1, 2, 3) c
    GROUP BY scope, subject
),
undated AS (
    SELECT m.scope, m.subject, count(*) AS counted FROM maintenance.orders o JOIN members m USING (strategy)
    WHERE {RECENT} AND {UNDATED_ORDER} GROUP BY m.scope, m.subject
),
lost AS (
    SELECT what, count(*) AS counted, count(*) FILTER (WHERE strategy IS NULL) AS nameless, min(strategy) AS example
    FROM (
        SELECT 'positions' AS what, strategy FROM held WHERE quantity <> 0
        UNION ALL SELECT 'equity', strategy FROM newest
                  WHERE (as_of <= clock_timestamp() - make_interval(hours => %(equity_age)s)) IS NOT TRUE
                        AND (equity = 0 AND pnl = 0) IS NOT TRUE
        UNION ALL SELECT 'orders', strategy FROM maintenance.orders o WHERE {RECENT}) x
    WHERE NOT EXISTS (SELECT FROM members m WHERE m.scope = 'account' AND m.subject IS NOT NULL
                                              AND m.strategy = x.strategy)
    GROUP BY what
)
SELECT l.limit_id, l.scope, l.subject, l.metric, l.limit_value::numeric AS limit_value, l.currency,
       l.warning_ratio::numeric AS warning_ratio,
       EXISTS (SELECT FROM members m WHERE m.scope = l.scope AND m.subject = l.subject) AS known,
       EXISTS (SELECT FROM maintenance.orders) AS orders,
       coalesce(x.gross, 0) AS gross, coalesce(x.net, 0) AS net, coalesce(x.largest, 0) AS largest, x.unpriced,
       x.unreadable, x.currency AS held_currency, x.other AS held_other, c.equity, c.pnl, c.dated, c.ages,
       extract(epoch FROM clock_timestamp())::float8 AS now,
       c.currency AS equity_currency, c.other AS equity_other, coalesce(r.busiest, 0) AS busiest,
       u.counted AS undated,
       (SELECT json_object_agg(what, json_build_object('counted', counted, 'nameless', nameless, 'example', example))
        FROM lost) AS lost
FROM maintenance.risk_limits l
LEFT JOIN exposure x ON x.scope = l.scope AND x.subject = l.subject
LEFT JOIN capital c ON c.scope = l.scope AND c.subject = l.subject
LEFT JOIN rates r ON r.scope = l.scope AND r.subject = l.subject
LEFT JOIN undated u ON u.scope = l.scope AND u.subject = l.subject
WHERE l.active IS NOT FALSE
ORDER BY l.scope, l.subject, l.metric, l.limit_id
"""

TITLE = "Risk limits"
SOURCE = "views maintenance.risk_limits, positions, prices, equity and orders"

#: Sums come exact from the database, with more digits than Decimal keeps by itself: 10^27 wei, or a limit of 10^-25.
EXACT = Context(prec=400, Emax=MAX_EMAX, Emin=MIN_EMIN)
EXPOSED = {"gross_exposure": "gross", "net_exposure": "net", "concentration": "largest", "leverage": "gross"}


def obstacle(row: Row) -> Optional[str]:
    """Why a limit's usage cannot be computed, None when it can."""
    metric, limit, equity = row["metric"], row["limit_value"], row["equity"]
    to_equity = metric in ("concentration", "leverage")
    if not row["known"]:
        return f"there is no such {printable(row['scope'], 40)}"
    if metric not in EXPOSED and metric not in ("daily_loss", "order_rate"):
        return "this metric is not known"
    if limit is None or not Decimal(limit).is_finite() or limit <= 0:
        return f"its limit is {amount(limit)}, not a number above 0"
    if metric == "order_rate":
        return None if row["orders"] else "there is no order at all"
    currencies = set()
    if metric in EXPOSED:
        if row["unreadable"]:
            return f"the position in {printable(row['unreadable'], 40)} is no number"
        if row["unpriced"]:
            return f"there is no recent price above 0, or no such multiplier, of {printable(row['unpriced'], 40)}"
        if not row[EXPOSED[metric]].is_finite():
            return "the value of its positions is no number"
        currencies |= {row["held_currency"], row["held_other"]}
    if metric == "daily_loss" or to_equity:
        if equity is None or not equity.is_finite() or not row["fresh"]:
            return "there is no recent equity"
        currencies |= {row["equity_currency"], row["equity_other"]}
        if to_equity and equity <= 0:
            return f"its equity is {amount(equity)}, not above 0"
        if metric == "daily_loss" and not row["pnl"].is_finite():
            return "there is no result of the day"
    currencies = {one for one in currencies if one} | ({row["currency"]} if row["currency"] else set())
    if len(currencies) > 1:
        return f"{', '.join(printable(one, 10) for one in sorted(currencies))} cannot be added up without rates"
    return None


#: Metric -> what it is made of.
MADE_OF = {
    **dict.fromkeys(("gross_exposure", "net_exposure"), ("positions",)),
    **dict.fromkeys(("concentration", "leverage"), ("positions", "equity")),
    "daily_loss": ("equity",),
    "order_rate": ("orders",),
}
LOST = {
    "positions": ("position has", "positions have"),
    "equity": ("row of equity has", "rows of equity have"),
    "orders": ("order of the last day has", "orders of the last day have"),
}


def missing(row: Row) -> Optional[str]:
    """Why there may be more of a metric than is known, None when all is known. What is known may break the limit."""
    if row["metric"] == "order_rate" and row["undated"]:
        return f"{plural(row['undated'], 'order has', 'orders have')} no time, or one of the future"
    for what in MADE_OF[row["metric"]]:
        lost = (row["lost"] or {}).get(what)
        if not lost:
            continue
        count = lost["counted"] if row["scope"] == "account" else lost["nameless"]
        if count:
            owner = "no strategy is named" if lost["nameless"] else f"such as {printable(lost['example'], 40)}"
            where = "" if lost["nameless"] else ", which has no account in view strategies"
            return f"{plural(count, *LOST[what])} no known owner ({owner}{where})"
    return None


def used(row: Row) -> Decimal:
    """How much of the metric there is, in the unit of its limit."""
    metric = row["metric"]
    if metric == "order_rate":
        return Decimal(row["busiest"])
    if metric == "daily_loss":
        loss: Decimal = -row["pnl"]
        return max(Decimal(0), loss)
    value: Decimal = row[EXPOSED[metric]]
    equity: Decimal = row["equity"]
    # A quotient has digits without end.
    return Context(prec=28).divide(value, equity) if metric in ("concentration", "leverage") else value


def fresh(row: Row, hours: float, calendars: Calendars) -> bool:
    """Whether the equity of all strategies is recent: by the clock, or by the days on which their markets were open."""
    for at, calendar in row["ages"] or []:
        if row["now"] - at < hours * 3600:
            continue
        try:
            if calendars.market(calendar, row["now"]).aged(at) >= hours * 3600:
                return False
        except UnknownCalendar:
            return False
    return bool(row["dated"])


def risk(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """Of each strategy and account the limit that is used most, all of them in the details."""
    if not rows:
        raise NotMeasured("no limit is active.", "Set limits in the platform, or correct the view risk_limits.")
    subjects: Dict[Tuple[str, str], List[Row]] = {}
    for row in rows:
        row["fresh"] = fresh(row, given["equity_age"], given["calendars"])
        subjects.setdefault((printable(row["scope"], 40), printable(row["subject"])), []).append(row)
    for (scope, name), own in subjects.items():
        id, title = f"trading.risk_limits:{scope}/{name}", f"{TITLE} of {scope} {name}"
        yield guarded(id, title, partial(subject, id, title, own, thresholds), source=SOURCE)


def rounded(number: Decimal) -> Decimal:
    """To four places, unless it is so large that they say nothing."""
    return round(number, 4) if number.adjusted() < 40 else number


def _left(metric: str, left: Decimal) -> str:
    """What is left of a limit, for people. Quotients have digits without end; money has all of its own."""
    if metric in ("concentration", "leverage"):
        left = rounded(left)
    return f"exceeded by {amount(-left)}" if left < 0 else f"headroom {amount(left)}"


def _percent(share: Decimal) -> str:
    return f"{100 * share:.1f}" if share.adjusted() < 40 else amount(share * 100)


def subject(id: str, title: str, rows: List[Row], thresholds: Dict[str, Any]) -> Check:
    """See judged()."""
    with localcontext(EXACT):
        return judged(id, title, rows, thresholds)


def judged(id: str, title: str, rows: List[Row], thresholds: Dict[str, Any]) -> Check:
    """All limits of one strategy or account. A limit that is broken counts, whatever else is unknown."""
    default = limits(thresholds, "risk_limits")
    found: List[Row] = []
    for row in rows:
        why = obstacle(row)
        entry: Row = {"metric": printable(row["metric"], 40), "limit": str(row["limit_value"]), "status": UNKNOWN}
        found.append(entry)
        if why:
            entry["why"] = why
            continue
        value = used(row)
        usage = Context(prec=28).divide(value, row["limit_value"])
        ratio = row["warning_ratio"]
        own = ratio if ratio is not None and ratio.is_finite() and ratio > 0 else default["warning"]
        entry["status"] = OK
        if default["critical"] is not None and usage >= Decimal(str(default["critical"])):
            entry["status"] = CRITICAL
        elif own is not None and usage >= Decimal(str(own)):
            entry["status"] = WARNING
        more = missing(row)
        if more:
            # What is known breaks the limit, or nobody knows.
            entry["why"] = more
            if entry["status"] != CRITICAL:
                entry["status"] = UNKNOWN
                continue
        headroom = str(row["limit_value"] - value)
        currency = f" {printable(row['currency'], 10)}" if row["currency"] else ""
        told = f"{amount(row['limit_value'])}{currency}, {_left(row['metric'], row['limit_value'] - value)}"
        entry.update(
            used=str(value),
            usage=str(rounded(usage)),
            headroom=headroom,
            warning_ratio=amount(own),
            sort=usage,
            told=told,
        )
    status = worst(entry["status"] for entry in found)
    computed = sorted((entry for entry in found if "used" in entry), key=lambda entry: -entry["sort"])
    lost = [entry for entry in found if "used" not in entry]
    parts = []
    if computed:
        top = computed[0]
        parts.append(f"{top['metric']} uses {_percent(top['sort'])} % of its limit {top['told']}")
    parts += [f"{entry['metric']} cannot be computed: {entry['why']}" for entry in lost[:3]]
    parts += [f"{entry['metric']} may be more: {entry['why']}" for entry in computed[:3] if "why" in entry]
    remedy = "Reduce the position or stop the strategy, as the risk policy says; do not just raise the limit."
    if status == UNKNOWN:
        remedy = "Provide what is missing (price, equity, limit), then run again."
    return Check(
        id,
        title,
        status,
        rounded(computed[0]["sort"]) if computed else None,
        warning=computed[0]["warning_ratio"] if computed else default["warning"],
        critical=default["critical"],
        message=f"{'; '.join(parts)}.",
        remedy="" if status == OK else remedy,
        source=SOURCE,
        details={"limits": [{k: v for k, v in entry.items() if k not in ("sort", "told")} for entry in found]},
    )


PROBES: Tuple[Probe, ...] = (
    Probe((("trading.risk_limits", TITLE),), "view maintenance.risk_limits", LIMITS_SQL, risk, VIEWS, context=True),
)
