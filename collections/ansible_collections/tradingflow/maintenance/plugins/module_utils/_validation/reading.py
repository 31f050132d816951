# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a validation reads besides books: forecasts, the inventory, limits and their use, positions and prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Dict, List, Mapping, Tuple

from .._checks.sql import Row, Views
from .._checks.trading import lack
from .._performance.reading import Read, asked_of, read

FORECASTS: Views = {
    "risk_forecasts": {
        **dict.fromkeys(("scope", "subject", "currency", "model", "version"), "text"),
        **dict.fromkeys(("confidence", "var", "es"), "exact"),
        "day": "date",
        "made_at": "time",
    }
}
MODELS: Views = {
    "risk_models": {
        **dict.fromkeys(("model", "version", "owner"), "text"),
        **dict.fromkeys(("validated_on", "next_due_on"), "date"),
    }
}
LIMITS: Views = {
    "risk_limits": {
        **dict.fromkeys(("scope", "subject", "metric", "currency"), "text"),
        **dict.fromkeys(("limit_value", "warning_ratio"), "exact"),
        "active": "boolean",
    }
}
USE: Views = {"limit_use": {**dict.fromkeys(("scope", "subject", "metric"), "text"), "day": "date", "used": "exact"}}
HELD: Views = {
    "positions": {**dict.fromkeys(("strategy", "instrument"), "text"), "quantity": "exact"},
    "instruments": {**dict.fromkeys(("instrument", "asset_class"), "text"), "multiplier": "exact"},
    "prices": {"instrument": "text", "currency": "text", "price": "exact", "observed_at": "time"},
}

FORECASTS_SQL = """
SELECT scope::text AS scope, subject::text AS subject, CASE WHEN isfinite(day) THEN day END AS day,
       currency::text AS currency, confidence::numeric AS confidence, var::numeric AS var, es::numeric AS es,
       model::text AS model, version::text AS version,
       CASE WHEN isfinite(made_at) THEN extract(epoch FROM made_at)::float8 END AS made_at
FROM maintenance.risk_forecasts WHERE day IS NULL OR day > current_date - %(days)s
"""
MODELS_SQL = """
SELECT model::text AS model, version::text AS version, owner::text AS owner,
       CASE WHEN isfinite(validated_on) THEN validated_on END AS validated_on,
       CASE WHEN isfinite(next_due_on) THEN next_due_on END AS next_due_on
FROM maintenance.risk_models ORDER BY 1, 2
"""
LIMITS_SQL = """
SELECT scope::text AS scope, subject::text AS subject, metric::text AS metric, currency::text AS currency,
       limit_value::numeric AS limit_value, warning_ratio::numeric AS warning_ratio, {updated} AS updated
FROM maintenance.risk_limits WHERE active IS NOT FALSE ORDER BY 1, 2, 3
"""
UPDATED = "CASE WHEN isfinite(updated_at) THEN (updated_at AT TIME ZONE 'UTC')::date END"
USE_SQL = """
SELECT scope::text AS scope, subject::text AS subject, metric::text AS metric,
       CASE WHEN isfinite(day) THEN day END AS day, used::numeric AS used
FROM maintenance.limit_use
WHERE day IS NULL OR (day > %(until)s::date - %(limit_days)s AND day <= %(until)s::date)
"""
POSITIONS_SQL = """
SELECT strategy::text AS strategy, instrument::text AS instrument, quantity::numeric AS quantity
FROM maintenance.positions WHERE quantity IS DISTINCT FROM 0
"""
INSTRUMENTS_SQL = """
SELECT instrument::text AS instrument, asset_class::text AS asset_class, multiplier::numeric AS multiplier
FROM maintenance.instruments
"""
PRICES_SQL = """
SELECT h.instrument::text AS instrument, p.price::numeric AS price, p.currency::text AS currency
FROM (SELECT instrument::text AS instrument FROM maintenance.positions WHERE quantity IS DISTINCT FROM 0
      UNION SELECT unnest(%(of_rates)s::text[])) h
     CROSS JOIN LATERAL (
        SELECT price, currency FROM maintenance.prices x
        WHERE x.instrument = h.instrument AND x.observed_at <= now() + interval '5 s'
              AND x.observed_at > now() - %(rate_age)s * interval '1 hour'
        ORDER BY observed_at DESC LIMIT 1) p
"""
# The last price of each day: one look into the index per day and instrument, instead of all prices.
CLOSES_SQL = """
SELECT h.instrument::text AS instrument, d.day::date AS day, p.price::numeric AS price
FROM (SELECT DISTINCT instrument FROM maintenance.positions WHERE quantity IS DISTINCT FROM 0) h
     CROSS JOIN generate_series(current_date - %(volatility_days)s::int, current_date - 1, interval '1 day') d (day)
     CROSS JOIN LATERAL (
        SELECT price FROM maintenance.prices x
        WHERE x.instrument = h.instrument AND x.observed_at <= d.day + interval '1 day' AND x.observed_at > d.day
        ORDER BY observed_at DESC LIMIT 1) p
ORDER BY 1, 2
"""


@dataclass
class Risk:
    """What was read.

    :param rows: of forecasts, models, limits, use, positions, instruments, prices and closes
    :param reasons: why there is nothing of one of these, empty when there is: message and remedy
    """

    rows: Dict[str, List[Row]] = field(default_factory=dict)
    reasons: Dict[str, Tuple[str, str]] = field(default_factory=dict)


def read_all(options: Mapping[str, Any]) -> "Tuple[Read, Risk]":
    """Books and all else, of one moment.

    :raises MaintenanceError: the database does not answer
    """
    risk = Risk()
    return read(options, partial(_more, options, risk)), risk


def _more(
    options: Mapping[str, Any], risk: Risk, cursor: Any, catalogue: Dict[str, Dict[str, Row]], found: Read
) -> None:
    given = {**{name: options[name] for name in ("days", "rate_age", "limit_days", "volatility_days")}}
    given.update(until=found.until, of_rates=[str(name) for name in options["rates"].values()])
    updated = {"updated_at": "time"} if "updated_at" in catalogue.get("risk_limits", {}) else {}
    limits = {"risk_limits": {**LIMITS["risk_limits"], **updated}}
    limits_sql = LIMITS_SQL.format(updated=UPDATED if updated else "NULL::date")
    asked: List[Tuple[str, Views, str]] = [
        ("forecasts", FORECASTS, FORECASTS_SQL),
        ("models", MODELS, MODELS_SQL),
        ("limits", limits, limits_sql),
        ("use", USE, USE_SQL),
        ("positions", HELD, POSITIONS_SQL),
        ("instruments", HELD, INSTRUMENTS_SQL),
        ("prices", HELD, PRICES_SQL),
    ]
    if any(shock["by"] == "deviations" for each in options["scenarios"] for shock in each["shocks"]):
        asked.append(("closes", HELD, CLOSES_SQL))
    for name, views, sql in asked:
        lacking = lack(catalogue, views)
        if lacking:
            risk.rows[name], risk.reasons[name] = [], lacking
            continue
        rows, why = asked_of(cursor, sql, given)
        risk.rows[name] = rows
        if why:
            risk.reasons[name] = (f"{why}.", "Correct what the message names.")


def month(options: Mapping[str, Any], found: Read) -> "Tuple[Any, Any]":
    """First and last day of the period for which the use of limits is looked at."""
    return found.until - timedelta(days=options["limit_days"] - 1), found.until
