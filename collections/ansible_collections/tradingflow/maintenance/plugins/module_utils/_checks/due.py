# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area trading: whether strategies send orders when some are due, in time for which their markets were open."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..checks import CRITICAL, OK, Check, judge, limits, unknown
from ..words import printable, span
from .calendar import DAY, Calendars, Market, UnknownCalendar
from .guard import guarded
from .sql import NotMeasured, Probe, Row, Views
from .strategies import (
    AHEAD,
    DEFINE,
    NOT_TRADING,
    SOURCE,
    STATES,
    factors,
    named,
    sensible,
    state_of,
    there_twice,
    unknown_state,
)

ORDERS_DUE = "Orders when they are due"
DUE: Views = {
    "strategies": {
        "strategy": "text",
        "expected_state": "text",
        "calendar": "text",
        "max_order_gap_seconds": "number",
        "started_at": "time",
    },
    "orders": {"strategy": "text", "created_at": "time"},
}


def orders_due(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """Of each strategy that should trade, for how long its market was open since its last order."""
    if not rows:
        raise NotMeasured("no strategy is defined.", DEFINE)
    trading = [(row, name) for row, name in named(rows) if not_trading(row) is not True]
    given["idle"] = partial(idle, [row for row, _name in trading], thresholds, given["calendars"])
    for row, name in trading:
        due = partial(order_due, row, name, thresholds, given["calendars"])
        yield guarded(f"trading.orders_due:{name}", f"Orders of {name}", due, source=SOURCE)
    if not trading:
        text = "No strategy should be trading."
        yield Check("trading.orders_due", ORDERS_DUE, OK, 0, message=text, source=SOURCE)


def not_trading(row: Row) -> Optional[bool]:
    """Whether a strategy need not send orders; None when nobody knows in which state it should be."""
    state = state_of(row)
    return state in NOT_TRADING if state in STATES else None


def order_due(row: Row, name: str, thresholds: Dict[str, Any], calendars: Calendars) -> Check:
    """The pause of one strategy. Nothing is due of one whose longest pause nobody says."""
    id, title, gap = f"trading.orders_due:{name}", f"Orders of {name}", row["gap"]
    kwargs: Dict[str, Any] = {"source": "views maintenance.strategies and orders"}
    if row["twice"]:
        return there_twice(row, id, title, name)
    if not_trading(row) is None:
        return unknown_state(row, id, title, name)
    if gap is not None and not sensible(gap):
        remedy = "Correct max_order_gap_seconds in the view maintenance.strategies."
        return unknown(id, title, f"The longest pause of {name} is {gap}: not a number above 0.", remedy, **kwargs)
    # One that never sent an order may be new.
    never = row["age"] is None
    age = row["started"] if never else row["age"]
    last = f"{name} has never sent an order" if never else f"The last order of {name} is {span(age)} old"
    if age is None or not math.isfinite(age) or age < -AHEAD:
        text = f"{last}, and when it started is unknown." if age is None else f"{last}: that makes no sense."
        remedy = "Correct started_at in maintenance.strategies, or created_at in maintenance.orders."
        return unknown(id, title, text, remedy, **kwargs)
    age = max(age, 0.0)
    limit = factors(thresholds, "orders_due", gap) if gap else {"warning": None, "critical": None}
    details = {"max_order_gap_s": gap, "age_s": round(age, 1), "future_orders": row["future"] or 0}
    kwargs.update(unit="s", details=details, **limit)
    if never:
        last += f" and has been running for {span(age)}"
    if not gap:
        text = f"{last}; no longest pause is set (max_order_gap_seconds)."
        return Check(id, title, OK, round(age, 1), message=text, **kwargs)
    details["calendar"] = printable(row["calendar"] or "none", 40)
    soon = all(level is None or age < level for level in limit.values())
    if soon and calendars.is_costly(row["calendar"]):
        # The market cannot have been open for longer than that; its calendar need not be read.
        text = f"{last}, for less than {span(gap)} of trading."
        return Check(id, title, OK, round(age, 1), message=text, **kwargs)
    try:
        market = calendars.market(row["calendar"], row["now"])
    except UnknownCalendar as error:
        return unknown(id, title, f"{last}; {error.message}", error.remedy, **kwargs)
    return paused(Check(id, title, OK, 0, **kwargs), market, row["now"] - age, last, gap, limit)


def idle(rows: List[Row], thresholds: Dict[str, Any], calendars: Calendars) -> bool:
    """Whether no order was due of any strategy in the last day: markets were closed, or pauses are as they may be."""
    warning = limits(thresholds, "orders_due")["warning"] or 1
    for row in rows:
        if row["twice"] or not_trading(row) is None:
            return False
        try:
            market = calendars.market(row["calendar"], row["now"])
        except UnknownCalendar:
            return False
        age, gap = row["started"] if row["age"] is None else row["age"], row["gap"]
        known = sensible(gap) and age is not None and 0 <= age < math.inf
        if market.open_seconds(row["now"] - DAY) and not (
            known and market.open_seconds(row["now"] - age) < warning * gap
        ):
            return False
    return True


def no_orders(given: Row, id: str, title: str) -> Optional[Check]:
    """That there was nothing to judge in the last day, if no order was due; None when some were, or nobody knows."""
    if not given.get("idle", bool)():
        return None
    text = "There was no order in the last day, and none was due: not judged."
    return Check(id, title, OK, "no orders", message=text, source=SOURCE)


def paused(given: Check, market: Market, since: float, last: str, gap: float, limit: Dict[str, Any]) -> Check:
    """A pause against what is usual, in time for which the market was open."""
    pause = round(market.open_seconds(since), 1)
    given.details["market"] = market.state()
    check = judge(
        given.id,
        given.title,
        pause,
        unit="s",
        **limit,
        message=f"{last}; its market ({printable(market.name, 40)}) was open for {span(pause)} since and is "
        f"{market.state()}. It pauses no longer than {span(gap)} as a rule.",
        remedy="See in its log why it sends no orders: signals, market data, limits, connection to the venue.",
        source=given.source,
        details=given.details,
    )
    if since < market.start and limit["critical"] is not None:
        # Further back nobody looked.
        check.status, check.remedy = CRITICAL, check.remedy or "See in its log why it sends no orders."
    return check


PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.orders_due", ORDERS_DUE),),
        "views maintenance.strategies and orders",
        """
        SELECT strategy, expected_state, calendar, max_order_gap_seconds::float8 AS gap, n.future,
               extract(epoch FROM clock_timestamp())::float8 AS now,
               extract(epoch FROM clock_timestamp() - n.at)::float8 AS age,
               extract(epoch FROM clock_timestamp() - started_at)::float8 AS started,
               nullif(count(*) OVER (PARTITION BY strategy), 1) AS twice
        FROM maintenance.strategies LEFT JOIN (
            SELECT strategy, max(created_at) FILTER (WHERE created_at <= clock_timestamp() + interval '5 s') AS at,
                   count(*) FILTER (WHERE created_at > clock_timestamp() + interval '5 s') AS future
            FROM maintenance.orders GROUP BY strategy) n USING (strategy)
        ORDER BY strategy
        """,
        orders_due,
        DUE,
        context=True,
    ),
)
