# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area trading: whether strategies and platform are alive, in the state they should be in, and send orders when due.

Ages are taken by the database's clock, so that the runner's does not matter. What a strategy owes it owes while its
market is open: a heartbeat or an order is late by the time for which it was.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, judge, limits, unknown
from ..words import plural, printable, span
from .calendar import Calendars, UnknownCalendar
from .guard import each
from .sql import NotMeasured, Probe, Row, Views

SOURCE = "view maintenance.strategies"

DEFINE = "Define strategies in the platform, or correct the view maintenance.strategies."

#: States in which a strategy need not run, hence need not beat.
AT_REST = {"stopped", "disabled", "retired", "off"}

#: States in which it need not trade either.
NOT_TRADING = AT_REST | {"paused", "suspended", "halted"}

#: All the states there are; whether others ask for a heartbeat, for orders or for silence nobody knows.
STATES = {"running", "active", "enabled", "on"} | NOT_TRADING

#: Seconds a heartbeat may seem to lie in the future before clocks are held to differ.
AHEAD = 5

STRATEGIES: Views = {
    "strategies": {
        "strategy": "text",
        "expected_state": "text",
        "observed_state": "text",
        "calendar": "text",
        "heartbeat_interval_seconds": "number",
        "last_heartbeat_at": "time",
    }
}
PLATFORM: Views = {"heartbeat": {"instance": "text", "beat_at": "time", "interval_seconds": "number"}}


def sensible(interval: Optional[float]) -> bool:
    """Whether this can be the interval of a heartbeat, in s."""
    return interval is not None and 0 < interval < math.inf


def factors(thresholds: Dict[str, Any], name: str, interval: float) -> Dict[str, Any]:
    """Thresholds given as multiples of an interval, in s."""
    return {
        key: None if value is None else round(value * interval, 3) for key, value in limits(thresholds, name).items()
    }


def heartbeat(
    id: str, title: str, name: str, age: Optional[float], interval: float, limit: Dict[str, Any], source: str
) -> Check:
    """The age of a heartbeat. One from the future is unknown: its age says nothing.

    :param age: s, None when there never was one
    :param interval: s
    """
    remedy = f"Check whether {name} is running and what it logged last; restart it if it hangs."
    kwargs: Dict[str, Any] = {"unit": "s", "source": source, "details": {"interval_s": interval}, **limit}
    if age is None:
        return Check(id, title, CRITICAL, message=f"{name} has never sent a heartbeat.", remedy=remedy, **kwargs)
    if age < -AHEAD or not math.isfinite(age):
        text = f"The last heartbeat of {name} is {span(-age)} in the future by the database's clock."
        return unknown(id, title, text, "Check time synchronisation of application and database.", **kwargs)
    value = round(max(age, 0.0), 1)
    text = f"The last heartbeat of {name} is {span(value)} old, one is due every {span(interval)}."
    return judge(id, title, value, message=text, remedy=remedy, **kwargs)


def strategies(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """Number of strategies, and of each its heartbeat and its state."""
    if not rows:
        raise NotMeasured("no strategy is defined.", DEFINE)
    resting = sum(1 for row in rows if at_rest(row))
    yield Check(
        "trading.strategies",
        "Strategies defined",
        OK,
        len({row["strategy"] for row in rows}),
        message=f"{plural(len(rows), 'strategy is', 'strategies are')} defined, {len(rows) - resting} of them "
        "should be running.",
        source=SOURCE,
    )
    for row, name in named(rows):
        planned = [(f"trading.strategy_heartbeat:{name}", f"Heartbeat of {name}")] * (not at_rest(row))
        planned += [(f"trading.strategy_state:{name}", f"State of {name}")]
        yield from each(partial(strategy, row, name, thresholds, given), *planned)


def named(rows: List[Row]) -> Iterator[Tuple[Row, str]]:
    """Each strategy once, with its name for people: long names may look alike once they are cut."""
    seen: Dict[str, int] = {}
    codes = set()
    for row in rows:
        if row["strategy"] in codes:
            continue  # said once that it is there twice
        codes.add(row["strategy"])
        name = printable(row["strategy"])
        seen[name] = seen.get(name, 0) + 1
        yield row, name if seen[name] == 1 else f"{name} ({seen[name]})"


def at_rest(row: Row) -> bool:
    """Whether a strategy need not run."""
    return state_of(row) in AT_REST


def state_of(row: Row) -> str:
    """The state in which a strategy should be, empty when nobody says."""
    return str(row["expected_state"] or "").strip().lower()


def unknown_state(row: Row, id: str, title: str, name: str) -> Check:
    """Nobody says in which state a strategy should be, in a word that is known."""
    told = printable(row["expected_state"], 40) if state_of(row) else ""
    text = f"{name} has the expected_state {told}, which is not a known state." if told else ""
    text = text or f"{name} has no expected_state."
    remedy = f"Let expected_state of the view maintenance.strategies be one of: {', '.join(sorted(STATES))}."
    return unknown(id, title, text, remedy, source=SOURCE)


def there_twice(row: Row, id: str, title: str, name: str) -> Check:
    """Nobody knows which row of a strategy counts."""
    text = f"Strategy {name} is there {row['twice']} times: the view must have one row per strategy."
    return unknown(id, title, text, "Correct the view maintenance.strategies.", source=SOURCE)


def strategy(row: Row, name: str, thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """Heartbeat (unless it need not run) and state of one strategy."""
    interval, id, title = row["interval"], f"trading.strategy_heartbeat:{name}", f"Heartbeat of {name}"
    if row["twice"]:
        yield there_twice(row, id, title, name)
        yield there_twice(row, f"trading.strategy_state:{name}", f"State of {name}", name)
        return
    if not sensible(interval):
        text = f"The expected interval of {name} is {interval}: not a number of seconds above 0."
        remedy = "Correct heartbeat_interval_seconds in the view maintenance.strategies."
        pulse = unknown(id, title, text, remedy, source=SOURCE)
    else:
        limit = factors(thresholds, "strategy_heartbeat", interval)
        pulse = heartbeat(id, title, name, row["age"], interval, limit, source=SOURCE)
        if pulse.status in (WARNING, CRITICAL) and not at_rest(row):
            pulse = while_open(pulse, row, name, limit, given["calendars"])
    if not at_rest(row):
        yield pulse
    yield strategy_state(row, name, pulse)


def while_open(pulse: Check, row: Row, name: str, limit: Dict[str, Any], calendars: Calendars) -> Check:
    """A heartbeat that is late by the clock, by the time for which the strategy's market was open."""
    details = {**pulse.details, "calendar": printable(row["calendar"] or "none", 40)}
    try:
        market = calendars.market(row["calendar"], row["now"])
    except UnknownCalendar as error:
        text = f"{pulse.message} Whether one was due is not known: {error.message}"
        return unknown(pulse.id, pulse.title, text, error.remedy, source=SOURCE, details=details)
    state = f"its market ({printable(market.name, 40)}) is {market.state()}"
    details["market"] = market.state()
    kwargs: Dict[str, Any] = {"remedy": pulse.remedy, "source": SOURCE, "details": details}
    if row["age"] is None:
        status = CRITICAL if market.is_open else WARNING
        return Check(pulse.id, pulse.title, status, message=f"{pulse.message[:-1]}; {state}.", **limit, **kwargs)
    late = round(market.open_seconds(row["now"] - row["age"]), 1)
    details["age_s"] = pulse.value
    text = f"{pulse.message[:-1]} while its market is open, which it has been for {span(late)} since; {state}."
    return judge(pulse.id, pulse.title, late, unit="s", message=text, **limit, **kwargs)


def strategy_state(row: Row, name: str, pulse: Check) -> Check:
    """Expected against observed state. What a strategy said before it fell silent counts for nothing."""
    id, title = f"trading.strategy_state:{name}", f"State of {name}"
    if not state_of(row):
        return unknown_state(row, id, title, name)
    expected = printable(row["expected_state"], 40)
    observed = printable(row["observed_state"], 40) if row["observed_state"] else None
    details = {"expected": expected, "observed": observed}
    if at_rest(row) and (row["age"] is None or pulse.status == CRITICAL):
        text = f"{name} should be {expected} and is silent."
        return Check(id, title, OK, "silent", critical=f"not {expected}", message=text, source=SOURCE, details=details)
    if pulse.status in (UNKNOWN, CRITICAL) or not observed:
        text = (
            f"{name} should be {expected}; its state is not known: {pulse.message if observed else 'it reports none.'}"
        )
        return unknown(id, title, text, pulse.remedy, critical=f"not {expected}", source=SOURCE, details=details)
    same = state_of(row) == str(row["observed_state"]).strip().lower()
    if same and state_of(row) not in STATES:
        return unknown_state(row, id, title, name)
    # Nothing need have been heard of it while its market is closed: then its last word counts.
    told = f", as it last said {span(row['age'])} ago; its market is {pulse.details['market']}" if silent(pulse) else ""
    return Check(
        id,
        title,
        OK if same else CRITICAL,
        observed,
        critical=f"not {expected}",
        message=f"{name} is {observed}{', as it should be' if same else f', but should be {expected}'}{told}.",
        remedy="" if same else f"Find out who changed it, then bring {name} to {expected} or correct what is expected.",
        source=SOURCE,
        details=details,
    )


def silent(pulse: Check) -> bool:
    """Whether a strategy is only to be excused for its silence because its market was closed."""
    return "market" in pulse.details and pulse.value is not None


def fresh(row: Row, thresholds: Dict[str, Any]) -> bool:
    """Whether the heartbeat of an instance is not critical; without that threshold, no warning."""
    limit = limits(thresholds, "platform_heartbeat")
    most = limit["warning"] if limit["critical"] is None else limit["critical"]
    return bool(most is None or row["age"] < most * row["interval"])


def platform(rows: List[Row], thresholds: Dict[str, Any], given: Row) -> Iterator[Check]:
    """The freshest heartbeat of all instances of the platform: one alive is enough, others may have been replaced.

    Where it is declared how many there should be, fewer that are alive are critical.
    """
    rows = [row for row in rows if sensible(row["interval"])]
    if not rows:
        raise NotMeasured(
            "no instance with an interval above 0 has sent a heartbeat.",
            "See whether the application runs, and the view maintenance.heartbeat.",
        )
    real = [row for row in rows if row["age"] is not None and row["age"] >= -AHEAD]
    best = min(real or rows, key=lambda row: math.inf if row["age"] is None else row["age"])
    limit = factors(thresholds, "platform_heartbeat", best["interval"])
    check = heartbeat(
        "trading.platform_heartbeat",
        "Heartbeat of the platform",
        f"instance {printable(best['instance'])}",
        best["age"],
        best["interval"],
        limit,
        source="view maintenance.heartbeat",
    )
    check.details["instances"] = len(rows)
    declared = given["instances"]
    if declared >= 0:
        alive = sum(fresh(row, thresholds) for row in real)
        check.details.update(alive=alive, declared=declared)
        if alive < declared:
            check.status = CRITICAL
            check.message = f"{alive} of {plural(declared, 'declared instance')} {'is' if alive == 1 else 'are'} alive."
            check.remedy = "See which one is missing in maintenance.heartbeat, and get it to run."
    if len(real) < len(rows) and check.status == OK:
        check.status = WARNING
        check.message += f" {plural(len(rows) - len(real), 'other has', 'others have')} none, or one from the future."
        check.remedy = "Check time synchronisation of the application's machines (timedatectl)."
    yield check


PROBES: Tuple[Probe, ...] = (
    Probe(
        (
            ("trading.strategies", "Strategies defined"),
            ("trading.strategy_heartbeat", "Heartbeats of strategies"),
            ("trading.strategy_state", "States of strategies"),
        ),
        SOURCE,
        """
        SELECT strategy, expected_state, observed_state, calendar, heartbeat_interval_seconds::float8 AS interval,
               extract(epoch FROM clock_timestamp())::float8 AS now,
               extract(epoch FROM clock_timestamp() - last_heartbeat_at)::float8 AS age,
               nullif(count(*) OVER (PARTITION BY strategy), 1) AS twice
        FROM maintenance.strategies ORDER BY strategy
        """,
        strategies,
        STRATEGIES,
        context=True,
    ),
    Probe(
        (("trading.platform_heartbeat", "Heartbeat of the platform"),),
        "view maintenance.heartbeat",
        """
        SELECT instance, interval_seconds::float8 AS interval,
               extract(epoch FROM clock_timestamp() - beat_at)::float8 AS age
        FROM maintenance.heartbeat
        """,
        platform,
        PLATFORM,
        context=True,
    ),
)
