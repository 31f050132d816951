# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area trading: whether strategies and platform are alive, do what they should, and our books are right.

Reads views in the schema "maintenance" that the platform's owner defines. Ages are taken by the database's clock, so
that the runner's does not matter.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ..checks import Check, limits, thresholds_spec
from ..database import DATABASE_SPEC
from ..errors import ConfigurationError, DatabaseError
from ..words import printable
from . import (
    cover,
    due,
    executions,
    filled,
    holdings,
    open_orders,
    prices,
    reconciliation,
    risk,
    strategies,
    trades,
    unique,
    venue_statements,
    venue_times,
)
from .calendar import Calendars, parse
from .facts import FACTS, Fact
from .sql import Probe, Row, Views, ask, reading

TRADING_SPEC: Dict[str, Any] = {
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "timeout": {"type": "int", "default": 60},
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
    "match_window": {"type": "int", "default": 60},
    "cutoff_tolerance": {"type": "float", "default": 1},
    "open_order_days": {"type": "int", "default": 30},
    "instances": {"type": "int", "default": -1},
    "calendars": {"type": "dict", "default": {}},
    "thresholds": thresholds_spec(
        {
            "strategy_heartbeat": (3, 10),
            "orders_due": (1, 3),
            "platform_heartbeat": (3, 10),
            "venue_statements": (1.5, 2),
            "reconcile_executions": (None, 1),
            "reconcile_fees": (None, 1),
            "reconcile_positions": (None, 1),
            "reconcile_cash": (None, 1),
            "execution_times": (2, 60),
            "duplicate_executions": (None, 1),
            "duplicates": (None, 1),
            "failed_transactions": (1, 10),
            "failed_age": (None, 86400),
            "failed_amount": (None, 1_000_000),
            "stuck_transactions": (3600, 86400),
            "stuck_amount": (None, 1_000_000),
            "reject_ratio": (5, 20),
            "fill_ratio": (70, 40),
            "orders_without_executions": (None, 1),
            "executions_without_orders": (None, 1),
            "acknowledge_latency": (1000, 5000),
            "execution_latency": (1000, 5000),
            "slippage": (25, 100),
            "filled_quantities": (None, 1),
            "order_quantities": (None, 1),
            "strategy_positions": (None, 1),
            "unacknowledged_orders": (60, 600),
            "open_orders": (1, 10),
            "old_prices": (86400, 172800),
            "price_jumps": (25, 100),
            "risk_limits": (0.8, 1),
            "unlimited_strategies": (1, None),
            "disabled_limits": (1, None),
        }
    ),
}

SCHEMA = "maintenance"

#: Checks whose breaks are compared with those of the run before.
CARRIED = tuple(
    f"trading.{name}"
    for name in (*reconciliation.TITLES, "filled_quantities", "order_quantities", "strategy_positions")
)

#: What PostgreSQL's types are to us. A time without a zone is none: nobody knows which moment it means.
#: Money and quantities are exact: what a float has lost nobody can compare.
TEXTS, WHOLE = {"text", "character varying", "character", "name", "citext"}, {"smallint", "integer", "bigint"}
KINDS = {
    "text": TEXTS,
    "id": TEXTS | WHOLE | {"numeric", "uuid"},
    "exact": WHOLE | {"numeric"},
    "number": WHOLE | {"numeric", "real", "double precision"},
    "time": {"timestamp with time zone"},
    "boolean": {"boolean"},
    "date": {"date"},
}
NAMES = {
    "text": "text",
    "id": "a whole number, text or uuid",
    "exact": "numeric or a whole number",
    "number": "a number",
    "time": "timestamp with time zone",
    "boolean": "boolean",
    "date": "date",
}

#: Where the columns are.
CONTRACT = "docs/sandbox.md, The schema maintenance"

READ_VIEWS = (
    "Grant it: GRANT USAGE ON SCHEMA maintenance, and SELECT ON its views, TO the maintenance user. Where row security "
    "would leave rows out, let the views' owner or this user see all of them (BYPASSRLS)."
)

CATALOGUE = """
WITH RECURSIVE base (oid, basis) AS (
    SELECT oid, oid FROM pg_type WHERE typtype <> 'd'
    UNION ALL SELECT t.oid, b.basis FROM pg_type t JOIN base b ON t.typbasetype = b.oid WHERE t.typtype = 'd'
)
SELECT c.relname AS view, a.attname AS column,
       CASE WHEN t.typname = 'citext' THEN 'citext' ELSE format_type(t.oid, NULL) END AS type,
       has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable
FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('v', 'm', 'r', 'f', 'p')
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     JOIN base b ON b.oid = a.atttypid JOIN pg_type t ON t.oid = b.basis
WHERE n.nspname = %s
"""


def measure(
    database: Row,
    thresholds: Dict[str, Any],
    timeout: int,
    options: Optional[Row] = None,
    earlier: Optional[Mapping[str, Row]] = None,
) -> List[Check]:
    """All checks of trading, of one moment: one transaction that only reads. Without the database all are unknown.

    :param database: see DATABASE_SPEC
    :param timeout: s that one statement may take
    :param options: the other options, see TRADING_SPEC; what is left out has its default
    :param earlier: check -> its details in the last run that measured it, for what went on since
    :raises ConfigurationError: an option makes no sense, or psycopg2 is missing
    """
    for name in thresholds:
        limits(thresholds, name)
    given = {**parameters(thresholds, options or {}), "earlier": earlier or {}}
    checks: List[Check] = []
    done = 0
    try:
        with reading(database, timeout, "REPEATABLE READ") as cursor:
            cursor.execute(MEMORY)
            cursor.execute(CATALOGUE, (SCHEMA,))
            catalogue: Dict[str, Dict[str, Row]] = {}
            for row in cursor.fetchall():
                catalogue.setdefault(row["view"], {})[row["column"]] = row
            known = Known(cursor, catalogue, given)
            for probe in PROBES:
                if probe.optional and not probe.views.keys() & catalogue.keys():
                    done += 1
                    continue
                lacking = lack(catalogue, probe.views) or known.lacking(probe.facts)
                checks += probe.unmeasured(*lacking) if lacking else known.ask(probe, thresholds)
                done += 1
    except DatabaseError as error:
        for probe in PROBES[done:]:
            checks += probe.unmeasured(f"not measured. {error.message}", error.remedy)
    return checks


class Known:
    """What a run knows: asked when it is first needed, each once.

    :param catalogue: view -> column -> type, readable
    :param given: parameters and what was learnt besides
    """

    def __init__(self, cursor: Any, catalogue: Dict[str, Dict[str, Row]], given: Row) -> None:
        self._cursor, self._catalogue, self._given = cursor, catalogue, given
        self._told: Dict[str, Optional[Tuple[str, str]]] = {}

    def ask(self, probe: Probe, thresholds: Row) -> List[Check]:
        """The checks of one probe."""
        return ask(self._cursor, probe, thresholds, READ_VIEWS, self._given)

    def lacking(self, names: Tuple[str, ...]) -> Optional[Tuple[str, str]]:
        """Why one of some facts is not known: message and remedy, None when all are."""
        for name in names:
            if name not in self._told:
                self._told[name] = self._learn(FACTS[name])
            if self._told[name]:
                return self._told[name]
        return None

    def _learn(self, fact: Fact) -> Optional[Tuple[str, str]]:
        if fact.optional and not fact.views.keys() & self._catalogue.keys():
            self._given.update(fact.read([], self._given))
            return None
        lacking = lack(self._catalogue, fact.views)
        if lacking:
            return lacking

        def judge(rows: List[Row], _thresholds: Row, given: Row) -> Iterator[Check]:
            given.update(fact.read(rows, given))
            return iter(())

        probe = Probe((("", fact.title),), "schema maintenance", fact.sql, judge, context=True)
        # Asked like a check, so that whatever goes wrong is told like one.
        failed = self.ask(probe, {})
        return (failed[0].message, failed[0].remedy) if failed else None


COUNTS = (
    "minimum_orders",
    "price_age",
    "equity_age",
    "match_window",
    "cutoff_tolerance",
    "open_order_days",
    "instances",
)


def parameters(thresholds: Row, options: Row) -> Row:
    """What the statements and their judges need to know.

    :raises ConfigurationError: a tolerance is no number of 0 or more, or given twice; a calendar makes no sense
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
        "apart": venue_times.apart(limits(thresholds, "execution_times")),
        "stuck": stuck["critical"] if stuck["warning"] is None else stuck["warning"],
        **{name: options.get(name, TRADING_SPEC[name]["default"]) for name in COUNTS},
        "tolerances": json.dumps([{key: value or "0" for key, value in entry.items()} for entry in tolerances]),
        "cash_tolerance": exact("cash", options.get("cash_tolerance") or "0"),
        "calendars": Calendars(parse(options.get("calendars") or {})),
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
            return f"there is no view {name}.", f"Define it over your tables with the columns {wanted}: {CONTRACT}."
        for column, kind in columns.items():
            found = catalogue[view].get(column)
            if found is None:
                return f"view {name} has no column {column}.", f"It needs {wanted}: {CONTRACT}."
            if found["type"] not in KINDS[kind]:
                return f"column {column} of view {name} is {found['type']}.", f"Make it {NAMES[kind]}: {CONTRACT}."
            if not found["readable"]:
                return f"this role may not read column {column} of view {name}.", READ_VIEWS
    return None


#: Hashes of the whole history stay in memory; plans this short are not worth compiling.
MEMORY = "SET LOCAL work_mem = '64MB'; SET LOCAL jit = off"

#: In this order.
PROBES: Tuple[Probe, ...] = (
    *strategies.PROBES,
    *due.PROBES,
    *venue_statements.PROBES,
    *reconciliation.PROBES,
    *venue_times.PROBES,
    *trades.PROBES,
    *executions.PROBES,
    *filled.PROBES,
    *holdings.PROBES,
    *open_orders.PROBES,
    *prices.PROBES,
    *risk.PROBES,
    *cover.PROBES,
    *unique.PROBES,
)
