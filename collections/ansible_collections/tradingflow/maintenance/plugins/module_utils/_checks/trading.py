# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area trading: whether strategies and platform are alive, do what they should, and our books are right.

Reads views in the schema "maintenance" that the platform's owner defines. Ages are taken by the database's clock, so
that the runner's does not matter.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal, InvalidOperation
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, judge, unknown
from ..database import DATABASE_SPEC
from ..errors import ConfigurationError, DatabaseError
from . import limits, printable, reconciliation, risk, span, thresholds_spec, trades
from .sql import NotMeasured, Probe, Row, Views, ask, reading

TRADING_SPEC: Dict[str, Any] = {
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "timeout": {"type": "int", "default": 10},
    "tolerances": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "instrument": {"type": "str", "required": True},
            "quantity": {"type": "str", "default": "0"},
            "price": {"type": "str", "default": "0"},
            "fee": {"type": "str", "default": "0"},
        },
    },
    "cash_tolerance": {"type": "str", "default": "0"},
    "minimum_orders": {"type": "int", "default": 50},
    "price_age": {"type": "int", "default": 120},
    "equity_age": {"type": "int", "default": 36},
    "thresholds": thresholds_spec(
        {
            "strategy_heartbeat": (3, 10),
            "platform_heartbeat": (3, 10),
            "venue_statements": (1.5, 2),
            "reconcile_executions": (None, 1),
            "reconcile_positions": (None, 1),
            "reconcile_cash": (None, 1),
            "duplicate_executions": (None, 1),
            "failed_transactions": (1, 10),
            "failed_age": (None, 86400),
            "failed_amount": (None, 1_000_000),
            "stuck_transactions": (3600, 86400),
            "stuck_amount": (None, 1_000_000),
            "reject_ratio": (5, 20),
            "fill_ratio": (70, 40),
            "orders_without_executions": (None, 1),
            "executions_without_orders": (None, 1),
            "risk_limits": (0.8, 1),
        }
    ),
}

SCHEMA = "maintenance"
SOURCE = "view maintenance.strategies"

#: What PostgreSQL's types are to us. A time without a zone is none: nobody knows which moment it means.
KINDS = {
    "text": {"text", "character varying", "character", "name", "uuid", "citext"},
    "number": {"smallint", "integer", "bigint", "numeric", "real", "double precision"},
    "time": {"timestamp with time zone"},
    "boolean": {"boolean"},
    "date": {"date"},
}
NAMES = {"text": "text", "number": "a number", "time": "timestamp with time zone", "boolean": "boolean", "date": "date"}

READ_VIEWS = "Grant it: GRANT USAGE ON SCHEMA maintenance, and SELECT ON its views, TO the maintenance user."

#: States in which a strategy need not run, hence need not beat.
AT_REST = {"stopped", "disabled", "retired", "off"}

#: Seconds a heartbeat may seem to lie in the future before clocks are held to differ.
AHEAD = 5

STRATEGIES: Views = {
    "strategies": {
        "strategy": "text",
        "expected_state": "text",
        "observed_state": "text",
        "heartbeat_interval_seconds": "number",
        "last_heartbeat_at": "time",
    }
}
PLATFORM: Views = {"heartbeat": {"instance": "text", "beat_at": "time", "interval_seconds": "number"}}

CATALOGUE = """
SELECT c.relname AS view, a.attname AS column, format_type(a.atttypid, NULL) AS type,
       has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable
FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('v', 'm', 'r', 'f', 'p')
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = %s
"""


def measure(database: Row, thresholds: Dict[str, Any], timeout: int, options: Optional[Row] = None) -> List[Check]:
    """All checks of trading, of one moment: one transaction that only reads. Without the database all are unknown.

    :param database: see DATABASE_SPEC
    :param timeout: s that one statement may take
    :param options: the other options, see TRADING_SPEC; what is left out has its default
    :raises ConfigurationError: an option makes no sense, or psycopg2 is missing
    """
    for name in thresholds:
        limits(thresholds, name)
    given = parameters(thresholds, options or {})
    checks: List[Check] = []
    done = 0
    try:
        with reading(database, timeout) as cursor:
            cursor.execute(BEGIN)
            cursor.execute(CATALOGUE, (SCHEMA,))
            catalogue: Dict[str, Dict[str, Row]] = {}
            for row in cursor.fetchall():
                catalogue.setdefault(row["view"], {})[row["column"]] = row
            for probe in PROBES:
                lacking = lack(catalogue, probe.views)
                if lacking:
                    checks += probe.unmeasured(*lacking)
                else:
                    cursor.execute("SAVEPOINT probe")
                    found = ask(cursor, probe, thresholds, READ_VIEWS, given)
                    # One that failed must not take the others with it.
                    cursor.execute("ROLLBACK TO SAVEPOINT probe")
                    checks += found
                done += 1
    except DatabaseError as error:
        for probe in PROBES[done:]:
            checks += probe.unmeasured(f"not measured. {error.message}", error.remedy)
    return checks


COUNTS = ("minimum_orders", "price_age", "equity_age")


def parameters(thresholds: Row, options: Row) -> Row:
    """What the statements need to know.

    :raises ConfigurationError: a tolerance is no number of 0 or more, or given twice
    """
    stale, stuck = limits(thresholds, "venue_statements"), limits(thresholds, "stuck_transactions")
    tolerances = options.get("tolerances") or []
    names = [entry["instrument"] for entry in tolerances]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"The tolerances of {printable(name)} are given twice.", "Remove one of them.")
    for entry in tolerances:
        for key in ("quantity", "price", "fee"):
            exact(f"{key} of {printable(entry['instrument'])}", entry.get(key) or "0")
    return {
        "stale": stale["warning"] if stale["critical"] is None else stale["critical"],
        "stuck": stuck["critical"] if stuck["warning"] is None else stuck["warning"],
        **{name: options.get(name, TRADING_SPEC[name]["default"]) for name in COUNTS},
        "tolerances": json.dumps([{key: value or "0" for key, value in entry.items()} for entry in tolerances]),
        "cash_tolerance": exact("cash", options.get("cash_tolerance") or "0"),
    }


def exact(what: str, text: str) -> Decimal:
    """A tolerance.

    :raises ConfigurationError: it is no number of 0 or more
    """
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0:
        raise ConfigurationError(f"The tolerance {what} is no number of 0 or more.", "Correct it, such as '0.01'.")
    return value


def lack(catalogue: Dict[str, Dict[str, Row]], views: Views) -> Optional[Tuple[str, str]]:
    """What is missing for some views: message and remedy, None when nothing is.

    :param catalogue: view -> column -> type, readable
    """
    for view, columns in views.items():
        name = f"{SCHEMA}.{view}"
        wanted = ", ".join(f"{column} ({NAMES[kind]})" for column, kind in columns.items())
        if view not in catalogue:
            return f"there is no view {name}.", f"Define it over your tables with the columns {wanted}: docs/checks.md."
        for column, kind in columns.items():
            found = catalogue[view].get(column)
            if found is None:
                return f"view {name} has no column {column}.", f"It needs {wanted}: docs/checks.md."
            if found["type"] not in KINDS[kind]:
                return f"column {column} of view {name} is {found['type']}.", f"Make it {NAMES[kind]}: docs/checks.md."
            if not found["readable"]:
                return f"this role may not read column {column} of view {name}.", READ_VIEWS
    return None


#: Hashes of the whole history stay in memory; plans this short are not worth compiling.
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL work_mem = '64MB'; SET LOCAL jit = off"


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
    remedy = f"See whether {name} runs and what its log says last; restart it if it hangs."
    kwargs: Dict[str, Any] = {"unit": "s", "source": source, "details": {"interval_s": interval}, **limit}
    if age is None:
        return Check(id, title, CRITICAL, message=f"{name} has never sent a heartbeat.", remedy=remedy, **kwargs)
    if age < -AHEAD or not math.isfinite(age):
        text = f"The last heartbeat of {name} lies {span(-age)} in the future by the database's clock."
        return unknown(id, title, text, "Check time synchronisation of application and database.", **kwargs)
    value = round(max(age, 0.0), 1)
    text = f"The last heartbeat of {name} is {span(value)} old, one is due every {span(interval)}."
    return judge(id, title, value, message=text, remedy=remedy, **kwargs)


def strategies(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Number of strategies, and of each its heartbeat and its state."""
    if not rows:
        raise NotMeasured(
            "no strategy is defined.", "Define strategies in the platform, or correct the view maintenance.strategies."
        )
    resting = sum(1 for row in rows if at_rest(row))
    yield Check(
        "trading.strategies",
        "Strategies defined",
        OK,
        len({row["strategy"] for row in rows}),
        message=f"{len(rows)} strategies are defined, {len(rows) - resting} of them should be running.",
        source=SOURCE,
    )
    seen: Dict[str, int] = {}
    codes = set()
    for row in rows:
        if row["strategy"] in codes:
            continue  # said once that it is there twice
        codes.add(row["strategy"])
        name = printable(row["strategy"])
        seen[name] = seen.get(name, 0) + 1
        # Long names may look alike once they are cut.
        yield from strategy(row, name if seen[name] == 1 else f"{name} ({seen[name]})", thresholds)


def at_rest(row: Row) -> bool:
    """Whether a strategy need not run."""
    return str(row["expected_state"]).strip().lower() in AT_REST


def strategy(row: Row, name: str, thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Heartbeat (unless it need not run) and state of one strategy."""
    interval, title = row["interval"], f"Heartbeat of {name}"
    if row["twice"]:
        text = f"Strategy {name} is there {row['twice']} times: the view must have one row per strategy."
        for kind in ("heartbeat", "state"):
            remedy = "Correct the view maintenance.strategies."
            yield unknown(
                f"trading.strategy_{kind}:{name}", f"{kind.capitalize()} of {name}", text, remedy, source=SOURCE
            )
        return
    if not sensible(interval):
        text = f"The expected interval of {name} is {interval}: no number of seconds above 0."
        remedy = "Correct heartbeat_interval_seconds in the view maintenance.strategies."
        pulse = unknown(f"trading.strategy_heartbeat:{name}", title, text, remedy, source=SOURCE)
    else:
        limit = factors(thresholds, "strategy_heartbeat", interval)
        pulse = heartbeat(f"trading.strategy_heartbeat:{name}", title, name, row["age"], interval, limit, source=SOURCE)
    if not at_rest(row):
        yield pulse
    yield strategy_state(row, name, pulse)


def strategy_state(row: Row, name: str, pulse: Check) -> Check:
    """Expected against observed state. What a strategy said before it fell silent counts for nothing."""
    id, title = f"trading.strategy_state:{name}", f"State of {name}"
    if not row["expected_state"]:
        remedy = "Set expected_state in the view maintenance.strategies."
        return unknown(id, title, f"Nobody says in which state {name} should be.", remedy, source=SOURCE)
    expected = printable(row["expected_state"], 40)
    observed = printable(row["observed_state"], 40) if row["observed_state"] else None
    details = {"expected": expected, "observed": observed}
    if at_rest(row) and (row["age"] is None or pulse.status == CRITICAL):
        text = f"{name} should be {expected} and is silent."
        return Check(id, title, OK, "silent", critical=f"not {expected}", message=text, source=SOURCE, details=details)
    if pulse.status in (UNKNOWN, CRITICAL) or not observed:
        text = f"{name} should be {expected}; its state is not known: {pulse.message if observed else 'it says none.'}"
        return unknown(id, title, text, pulse.remedy, critical=f"not {expected}", source=SOURCE, details=details)
    same = str(row["expected_state"]).strip().lower() == str(row["observed_state"]).strip().lower()
    return Check(
        id,
        title,
        OK if same else CRITICAL,
        observed,
        critical=f"not {expected}",
        message=f"{name} is {observed}{', as it should be' if same else f', but should be {expected}'}.",
        remedy="" if same else f"Find out who changed it, then bring {name} to {expected} or correct what is expected.",
        source=SOURCE,
        details=details,
    )


def platform(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """The freshest heartbeat of all instances of the platform: one alive is enough, others may have been replaced."""
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
    if len(real) < len(rows) and check.status == OK:
        check.status = WARNING
        check.message += f" {len(rows) - len(real)} others have none, or one from the future."
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
        SELECT strategy, expected_state, observed_state, heartbeat_interval_seconds::float8 AS interval,
               extract(epoch FROM clock_timestamp() - last_heartbeat_at)::float8 AS age,
               nullif(count(*) OVER (PARTITION BY strategy), 1) AS twice
        FROM maintenance.strategies ORDER BY strategy
        """,
        strategies,
        STRATEGIES,
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
    ),
    *reconciliation.PROBES,
    *trades.PROBES,
    *risk.PROBES,
)
