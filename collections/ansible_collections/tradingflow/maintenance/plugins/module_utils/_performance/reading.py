# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a review reads: views of the schema maintenance, all of one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from .._checks.sql import Row, first_line, reading
from .._checks.trading import CATALOGUE, SCHEMA, lack
from ..errors import ConfigurationError
from . import capacity
from .bridge import wanted_marks
from .columns import Rows, made_rows
from .expectations import BRIDGED, BRIDGED_SQL, EXPECTED, EXPECTED_SQL, FUNDED, FUNDED_SQL, MARKS_SQL
from .exposure import HELD, HELD_SQL, TRADED, TRADED_SQL

#: View -> column -> type, readable.
Catalogue = Dict[str, Dict[str, Row]]

#: Without these there is no review.
EQUITY = {
    "strategy": "text",
    "day": "date",
    "currency": "text",
    "equity": "exact",
    "pnl": "exact",
    "as_of": "time",
}
STRATEGIES = {"strategy": "text", "account": "text", "calendar": "text", "expected_state": "text"}
#: What may be missing, and is then said to be.
FLOWS = {"strategy": "text", "day": "date", "currency": "text", "amount": "exact"}
PRICES = {"instrument": "text", "currency": "text", "price": "exact", "observed_at": "time"}

STRATEGIES_SQL = """
SELECT strategy::text AS strategy, account::text AS account, calendar::text AS calendar,
       expected_state::text AS state, {capital} AS capital
FROM maintenance.strategies ORDER BY 1
"""
#: Rows one by one: of strategies about which something is odd, and of days after the review's last one.
EQUITY_SQL = """
SELECT strategy::text AS strategy, CASE WHEN isfinite(day) THEN day END AS day, currency::text AS currency,
       equity::numeric AS equity, pnl::numeric AS pnl, {fees} AS fees, extract(epoch FROM as_of)::float8 AS as_of
FROM maintenance.equity
WHERE {which}
"""
ODD = """(day IS NULL OR day > %(until)s::date + 1 - %(days)s)
      AND (strategy IS NULL OR strategy::text = ANY (%(odd)s)) AND ({later} OR day IS NULL OR NOT isfinite(day)
           OR day <= %(until)s::date)"""
LATER = "day IS NULL OR ((day > %(until)s::date OR NOT isfinite(day)) AND ({later} OR NOT isfinite(day)))"
# A row per strategy, its days in order and with commas between: a tenth of the time of as many rows.
COLUMNS_SQL = """
DECLARE equity NO SCROLL CURSOR FOR
SELECT strategy, min(currency) AS currency, max(currency) AS other, count(*) AS rows, count(currency) AS told,
       count(fees) AS paid, string_agg(day, ',') AS days, string_agg(equity, ',') AS equity,
       string_agg(pnl, ',') AS pnl, string_agg(fees, ',') AS fees, string_agg(as_of, ',') AS as_of
FROM (SELECT strategy::text COLLATE "C" AS strategy, currency::text AS currency,
             (day - DATE '0001-01-01' + 1)::text AS day, equity::numeric::text AS equity, pnl::numeric::text AS pnl,
             {fees}::text AS fees, date_part('epoch', as_of)::text AS as_of
      FROM maintenance.equity
      WHERE day > %(until)s::date + 1 - %(days)s AND day <= %(until)s::date AND isfinite(day)
      ORDER BY strategy::text COLLATE "C", maintenance.equity.day) e
GROUP BY strategy
"""
#: Strategies that are in memory as text at once.
AT_ONCE = 100
CUT_SQL = (
    "SELECT DISTINCT strategy::text AS strategy FROM maintenance.equity WHERE day <= %(until)s::date + 1 - %(days)s"
)
AFTER_SQL = """
SELECT DISTINCT strategy::text AS strategy FROM maintenance.equity WHERE day > %(until)s::date AND isfinite(day)
"""
FLOWS_SQL = """
SELECT strategy::text AS strategy, CASE WHEN isfinite(day) THEN day END AS day, currency::text AS currency,
       sum(amount::numeric) AS amount
FROM maintenance.strategy_flows WHERE day IS NULL OR day > %(until)s::date + 1 - %(days)s GROUP BY 1, 2, 3
"""
# The last price of each day that is over: one look into the index per day, instead of all prices.
RATES_SQL = """
SELECT d.day::date AS day, p.price::numeric AS price, p.currency::text AS currency
FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') d (day)
     CROSS JOIN LATERAL (
        SELECT price, currency FROM maintenance.prices
        WHERE instrument = %(instrument)s AND observed_at <= d.day + interval '1 day'
              AND observed_at > d.day + interval '1 day' - %(age)s * interval '1 hour'
        ORDER BY observed_at DESC LIMIT 1) p
"""
NOW_SQL = "SELECT extract(epoch FROM now())::float8 AS now, (now() AT TIME ZONE 'UTC')::date AS today"


@dataclass
class Read:
    """What was read.

    :param now: seconds since 1970, by the database
    :param until: the last day of the review
    :param lacking: why there is no review, and what to do about it
    :param cut: strategies with days before the ones that were read
    :param after: strategies that went on after an end that was asked for
    :param flows: None when there is no view of them
    :param equity: strategy -> rows of the view, one by one or as columns (Rows)
    :param rates: currency -> day -> how much of the review's currency one is worth
    :param no_rates: currency -> why there are none
    :param traded: of each strategy
    :param held: positions
    :param volumes: of each strategy its share of the market's volume
    :param lost: what each strategy below its peak made since then, by instrument; read later than the rest
    :param expected: what backtests expected; None when there is no view of it
    :param bridged: what was filled, and what backtests filled
    :param funded: what funding cost or brought
    :param marks: instrument -> day -> last price, of what only one of the two held
    :param reasons: why there is nothing of traded, held, volumes, lost, expected, bridged or funded, each empty when
        there is
    """

    now: float = 0.0
    today: date = date.min
    until: date = date.min
    lacking: Optional[Tuple[str, str]] = None
    strategies: List[Row] = field(default_factory=list)
    equity: Dict[str, Any] = field(default_factory=dict)
    cut: "set[str]" = field(default_factory=set)
    after: "set[str]" = field(default_factory=set)
    flows: Optional[Dict[str, List[Row]]] = None
    rates: Dict[str, Dict[date, Decimal]] = field(default_factory=dict)
    no_rates: Dict[str, str] = field(default_factory=dict)
    traded: List[Row] = field(default_factory=list)
    held: List[Row] = field(default_factory=list)
    volumes: List[Row] = field(default_factory=list)
    lost: List[Row] = field(default_factory=list)
    expected: Optional[List[Row]] = None
    bridged: List[Row] = field(default_factory=list)
    funded: List[Row] = field(default_factory=list)
    marks: Dict[str, Dict[date, Decimal]] = field(default_factory=dict)
    reasons: Dict[str, str] = field(default_factory=dict)


#: Reads more in the same transaction: cursor, the views there are, and what was read so far.
More = Callable[[Any, Catalogue, Read], None]


def read(options: Mapping[str, Any], more: Optional[More] = None) -> Read:
    """All of one moment, in a transaction that only reads.

    :param more: reads what another than the review needs, in place of what was traded, is held and was expected
    :raises MaintenanceError: the database does not answer
    """
    found = Read()
    with reading(options["database"], options["timeout"], "REPEATABLE READ") as cursor:
        cursor.execute("SET LOCAL work_mem = '64MB'; SET LOCAL jit = off")
        cursor.execute(CATALOGUE, (SCHEMA,))
        catalogue: Catalogue = {}
        for row in cursor.fetchall():
            catalogue.setdefault(row["view"], {})[row["column"]] = row
        equity = {**EQUITY, **({"fees": "exact"} if "fees" in catalogue.get("equity", {}) else {})}
        capital = {"capital": "exact"} if "capital" in catalogue.get("strategies", {}) else {}
        found.lacking = lack(catalogue, {"strategies": {**STRATEGIES, **capital}, "equity": equity})
        if "strategy_flows" in catalogue:
            found.lacking = found.lacking or lack(catalogue, {"strategy_flows": FLOWS})
        if found.lacking:
            return found
        cursor.execute(NOW_SQL)
        found.now, found.today = (cursor.fetchone() or {}).values()
        found.until = last_day(options, found.today)
        days = {"days": options["days"], "until": found.until}
        cursor.execute(STRATEGIES_SQL.format(capital="capital::numeric" if capital else "NULL::numeric"))
        found.strategies = cursor.fetchall()
        _equity(cursor, "fees::numeric" if "fees" in equity else "NULL::numeric", bool(options["until"]), days, found)
        cursor.execute(CUT_SQL, days)
        found.cut = {row["strategy"] for row in cursor}
        if options["until"]:
            cursor.execute(AFTER_SQL, days)
            found.after = {row["strategy"] for row in cursor}
        if "strategy_flows" in catalogue:
            cursor.execute(FLOWS_SQL, days)
            found.flows = {}
            for row in cursor:
                found.flows.setdefault(row["strategy"] or "", []).append(row)
        if more:
            more(cursor, catalogue, found)
            _rates(cursor, catalogue, options, found)
            return found
        asked = {"days": options["days"], "age": options["rate_age"], "until": found.until}
        for name, views, sql in (
            ("traded", TRADED, TRADED_SQL),
            ("held", HELD, HELD_SQL),
            ("volumes", capacity.VIEWS, capacity.SQL),
        ):
            lacking = lack(catalogue, views)
            rows, why = ([], lacking[0]) if lacking else asked_of(cursor, sql, asked)
            setattr(found, name, rows)
            found.reasons[name] = why.rstrip(".")
        _rates(cursor, catalogue, options, found)
        if "backtest_expectations" in catalogue:
            _expectations(cursor, catalogue, asked, found)
    return found


def _equity(cursor: Any, fees: str, ended: bool, days: Dict[str, Any], found: Read) -> None:
    """Equity of all strategies, as columns where nothing is odd.

    :param ended: whether days after the last one are left out, as a review of an earlier time does
    """
    later: Dict[str, List[Mapping[str, Any]]] = {}
    after = "false" if ended else "true"
    cursor.execute(EQUITY_SQL.format(fees=fees, which=LATER.format(later=after)), days)
    for row in cursor:
        later.setdefault(row["strategy"] or "", []).append(row)
    odd = set(later) if "" in later else set()
    odd |= {name for name, rows in later.items() if any(row["day"] is None for row in rows)}
    # Groups in the order of their rows, and never all of them at once.
    cursor.execute("SET LOCAL enable_hashagg = off")
    cursor.execute(COLUMNS_SQL.format(fees=fees), days)
    while True:
        cursor.execute(f"FETCH {AT_ONCE} FROM equity")
        fetched = cursor.fetchall()
        if not fetched:
            break
        for row in fetched:
            name = row["strategy"] or ""
            made = None if name in odd else made_rows(row, later.get(name, []))
            if made is None:
                odd.add(name)
            else:
                found.equity[name] = made
    cursor.execute("CLOSE equity; SET LOCAL enable_hashagg = on")
    odd |= later.keys() - found.equity.keys()
    if odd:
        cursor.execute(EQUITY_SQL.format(fees=fees, which=ODD.format(later=after)), {**days, "odd": sorted(odd)})
        for row in cursor:
            if (row["strategy"] or "") in odd:
                found.equity.setdefault(row["strategy"] or "", []).append(row)


def _expectations(cursor: Any, catalogue: Catalogue, asked: Dict[str, Any], found: Read) -> None:
    """What backtests expected, and what was filled instead."""
    for name, views, sql in (
        ("expected", EXPECTED, EXPECTED_SQL),
        ("bridged", BRIDGED, BRIDGED_SQL),
        ("funded", FUNDED, FUNDED_SQL),
    ):
        lacking = lack(catalogue, views) or (lack(catalogue, EXPECTED) if name == "bridged" else None)
        rows, why = ([], lacking[0]) if lacking else asked_of(cursor, sql, asked)
        setattr(found, name, rows)
        found.reasons[name] = why.rstrip(".")
    instruments = wanted_marks(found.bridged)
    if instruments:
        days = [row["day"] for row in found.bridged if row["day"]]
        span = {"first": min(days), "last": found.until, "instruments": instruments}
        rows, why = asked_of(cursor, MARKS_SQL, {**asked, **span})
        found.reasons["bridged"] = why.rstrip(".")
        for row in rows:
            found.marks.setdefault(row["instrument"], {})[row["day"]] = row["price"]


def currencies_of(rows: Sequence[Mapping[str, Any]]) -> "set[Any]":
    """Currencies of some rows of equity."""
    if isinstance(rows, Rows):
        return {rows.currency, *(row["currency"] for row in rows.later)}
    return {row["currency"] for row in rows}


def ends_of(rows: Sequence[Mapping[str, Any]]) -> List[date]:
    """First and last day of some rows of equity; nothing of none."""
    if isinstance(rows, Rows):
        days = [rows[0]["day"], rows[len(rows.ordinals) - 1]["day"], *(row["day"] for row in rows.later)]
    else:
        days = [row["day"] for row in rows if row["day"]]
    return [min(days), max(days)] if days else []


def last_day(options: Mapping[str, Any], today: date) -> date:
    """The last day of the review.

    :raises ConfigurationError: it is not over
    """
    until: date = options["until"] or today - timedelta(days=1)
    if until >= today:
        raise ConfigurationError(
            f"The last day of the review, {until}, is not over.", f"Set {_role(options)}_until to an earlier day."
        )
    return until


def _role(options: Mapping[str, Any]) -> str:
    """Whose variables the options are."""
    return str(options.get("role", "strategy_review"))


def end_of(options: Mapping[str, Any], found: Read) -> None:
    """The last day of the review; what came after it is left out."""
    found.until = last_day(options, found.today)
    if options["until"]:
        for name, rows in found.equity.items():
            found.equity[name] = [row for row in rows if row["day"] is None or row["day"] <= found.until]


def asked_of(cursor: Any, sql: str, values: Mapping[str, Any]) -> "Tuple[List[Row], str]":
    """Rows of what may fail without taking the rest with it, and why there are none."""
    cursor.execute("SAVEPOINT asked")
    rows: List[Row] = []
    why = ""
    try:
        cursor.execute(sql, values)
        rows = cursor.fetchall()
    except Exception as error:
        if cursor.connection.closed:
            raise
        why = f"its statement failed: {first_line(error)}"
    cursor.execute("ROLLBACK TO SAVEPOINT asked; RELEASE SAVEPOINT asked")
    return rows, why


def _rates(cursor: Any, catalogue: Catalogue, options: Mapping[str, Any], found: Read) -> None:
    """Rates of each currency that is not the review's."""
    wanted: "set[str]" = set().union(*map(currencies_of, found.equity.values())) - {None, ""}
    days = [day for rows in found.equity.values() for day in ends_of(rows)]
    for currency in sorted(wanted - {options["currency"]}) if options["currency"] and days else []:
        instrument = options["rates"].get(currency)
        lacking = lack(catalogue, {"prices": PRICES})
        if not instrument:
            found.no_rates[currency] = f"no instrument of {_role(options)}_rates has rates of {currency}"
        elif lacking:
            found.no_rates[currency] = lacking[0].rstrip(".")
        else:
            asked = {"first": min(days), "last": max(days), "instrument": str(instrument), "age": options["rate_age"]}
            rows, why = asked_of(cursor, RATES_SQL, asked)
            if why:
                found.no_rates[currency] = why
            elif any(row["currency"] != options["currency"] for row in rows):
                found.no_rates[currency] = f"prices of {instrument} are not in {options['currency']}"
            elif any(row["price"] is None or not row["price"].is_finite() or row["price"] <= 0 for row in rows):
                found.no_rates[currency] = f"a price of {instrument} is not a number above 0"
            else:
                found.rates[currency] = {row["day"]: row["price"] for row in rows}
