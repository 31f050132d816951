# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ruff: noqa: S608 - SQL is put together from constants; values are parameters.

"""What each instrument brought in the month, from executions, what is held, and prices."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, localcontext
from typing import Any, Dict, List, Mapping, Optional

from .._checks.risk import EXACT
from .._checks.sql import Row, Views, readable
from .._checks.trading import lack
from .._performance.exposure import TRADED, VALUED
from .._performance.reading import PRICES, Catalogue, Read, asked_of

VIEWS: Views = {
    **VALUED,
    "executions": {**TRADED["executions"], "side": "text"},
    "positions": {"strategy": "text", "instrument": "text", "quantity": "exact"},
}

# What was held at both ends is what is held now, less what was executed since. NaN for all that is no number.
SQL = f"""
WITH moved AS (
    SELECT e.strategy::text AS strategy, e.instrument::text AS instrument,
           CASE WHEN e.side = 'buy' THEN {readable("e.quantity")} WHEN e.side = 'sell' THEN -{readable("e.quantity")}
                ELSE 'NaN' END * CASE WHEN isfinite(e.executed_at) AND e.kind IN ('trade', 'correct') THEN 1
                                      ELSE 'NaN'::numeric END AS signed,
           {readable("e.price")} AS price, e.executed_at >= %(after)s::timestamptz AS later
    FROM maintenance.executions e
    WHERE (e.executed_at IS NULL OR e.executed_at >= %(first)s::timestamptz) AND e.kind IS DISTINCT FROM 'cancel'
          AND NOT EXISTS (SELECT FROM maintenance.executions r
                          WHERE r.venue = e.venue AND r.reference = e.venue_execution_id
                                AND r.kind IN ('cancel', 'correct'))
), sums AS (
    SELECT strategy, instrument, coalesce(sum(signed) FILTER (WHERE later IS NOT FALSE), 0) AS later,
           coalesce(sum(signed) FILTER (WHERE later IS FALSE), 0) AS during,
           coalesce(sum(signed * price) FILTER (WHERE later IS FALSE), 0) AS paid
    FROM moved GROUP BY 1, 2
), held AS (
    SELECT strategy::text AS strategy, instrument::text AS instrument, sum({readable("quantity")}) AS quantity
    FROM maintenance.positions GROUP BY 1, 2
)
SELECT a.*, i.multiplier, b.price AS begin_price, e.price AS end_price,
       CASE WHEN coalesce(b.currency, e.currency) = coalesce(e.currency, b.currency)
            THEN coalesce(e.currency, b.currency) END AS currency
FROM (SELECT strategy, instrument, coalesce(quantity, 0) AS held, coalesce(later, 0) AS later,
             coalesce(during, 0) AS during, coalesce(paid, 0) AS paid
      FROM sums FULL JOIN held USING (strategy, instrument)) a
     LEFT JOIN LATERAL (SELECT CASE WHEN count(*) = 1 THEN min({readable("multiplier")}) END AS multiplier
                        FROM maintenance.instruments x WHERE x.instrument::text = a.instrument) i ON true
     LEFT JOIN LATERAL (SELECT {readable("price")} AS price, currency::text AS currency FROM maintenance.prices x
                        WHERE x.instrument = a.instrument AND x.observed_at < %(first)s::timestamptz
                              AND x.observed_at > %(first)s::timestamptz - make_interval(hours => %(age)s)
                        ORDER BY x.observed_at DESC LIMIT 1) b ON true
     LEFT JOIN LATERAL (SELECT {readable("price")} AS price, currency::text AS currency FROM maintenance.prices x
                        WHERE x.instrument = a.instrument AND x.observed_at < %(after)s::timestamptz
                              AND x.observed_at > %(after)s::timestamptz - make_interval(hours => %(age)s)
                        ORDER BY x.observed_at DESC LIMIT 1) e ON true
ORDER BY 1, 2
"""
PRICE_SQL = """
SELECT p.price::numeric AS price, p.currency::text AS currency
FROM unnest(ARRAY[%(first)s::timestamptz, %(after)s::timestamptz]) WITH ORDINALITY m (moment, place)
     CROSS JOIN LATERAL (
        SELECT price, currency FROM maintenance.prices
        WHERE instrument = %(instrument)s AND observed_at < m.moment
              AND observed_at > m.moment - make_interval(hours => %(age)s)
        ORDER BY observed_at DESC LIMIT 1) p ORDER BY m.place
"""


@dataclass
class Asked:
    """What was read besides the books.

    :param rows: of SQL
    :param lacking: why there are none
    :param benchmark: prices at the begin and at the end of the month
    :param no_benchmark: why there are none
    """

    rows: List[Row] = field(default_factory=list)
    lacking: str = ""
    benchmark: List[Row] = field(default_factory=list)
    no_benchmark: str = ""


def ask(options: Mapping[str, Any], into: Asked, cursor: Any, catalogue: Catalogue, _found: Read) -> None:
    """Asks for it, of the same moment as the books."""
    values = {
        "first": f"{options['first']} 00:00+00",
        "after": f"{options['last'] + timedelta(days=1)} 00:00+00",
        "age": options["rate_age"],
    }
    lacking = lack(catalogue, VIEWS)
    into.rows, into.lacking = ([], lacking[0]) if lacking else asked_of(cursor, SQL, values)
    instrument = options["benchmark"].get("instrument")
    if instrument:
        lacking = lack(catalogue, {"prices": PRICES})
        values["instrument"] = instrument
        into.benchmark, into.no_benchmark = ([], lacking[0]) if lacking else asked_of(cursor, PRICE_SQL, values)


@dataclass
class Instruments:
    """[instrument-result] By strategy and instrument, in the report's currency.

    :param results: strategy -> instrument -> result before fees
    :param doubts: strategy -> why its instruments are not told
    """

    results: Dict[str, Dict[str, Decimal]] = field(default_factory=dict)
    doubts: Dict[str, str] = field(default_factory=dict)


def instruments(rows: List[Row], rate: Mapping[str, Optional[Decimal]]) -> Instruments:
    """What each brought: what is held at the end, less what was held at the beginning and what was paid in between.

    :param rate: currency -> what one is worth at the month's end; None when nobody knows
    """
    found = Instruments()
    with localcontext(EXACT):
        for row in rows:
            name = row["strategy"] or ""
            at_end = row["held"] - row["later"]
            at_begin = at_end - row["during"]
            # What was bought and sold again brought something; a number that is none counts as something.
            if not (at_end or at_begin or row["during"] or row["paid"]):
                continue
            why = _doubt(row, at_begin, at_end, rate)
            if why:
                found.doubts.setdefault(name, f"{row['instrument'] or 'an execution without an instrument'}: {why}")
                continue
            worth = (at_end * row["end_price"] if at_end else 0) - (at_begin * row["begin_price"] if at_begin else 0)
            result = (worth - row["paid"]) * row["multiplier"] * (rate[row["currency"]] or 0)
            found.results.setdefault(name, {})[row["instrument"]] = result
    for name in found.doubts:
        found.results.pop(name, None)
    return found


def _doubt(row: Row, at_begin: Decimal, at_end: Decimal, rate: Mapping[str, Optional[Decimal]]) -> str:
    """Why a row's result is not known; empty when it is."""
    if not row["instrument"] or not all(value.is_finite() for value in (at_begin, at_end, row["paid"])):
        return "a quantity, price, side or time is none"
    multiplier = row["multiplier"]
    if multiplier is None or not multiplier.is_finite() or multiplier <= 0:
        return "it has no one multiplier"
    for quantity, key, when in ((at_begin, "begin_price", "beginning"), (at_end, "end_price", "end")):
        price = row[key]
        if quantity and (price is None or not price.is_finite() or price <= 0):
            return f"it has no recent price at the {when} of the month"
    if row["currency"] is None:
        return "its prices have no one currency"
    if rate.get(row["currency"]) is None:
        return f"there is no rate of {row['currency']}"
    return ""
