# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""What a report reads besides the books: executions, what is held, and prices of the benchmark."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, timezone
from typing import Any, Dict, List, Mapping

from .._checks.sql import Row
from .._checks.trading import lack
from .._performance.instruments import SQL, VIEWS, Span, values_of
from .._performance.reading import PRICES, Catalogue, Read, asked_of
from .costs import Lasted
from .costs import ask as costs_of
from .past import Operations

PRICE_SQL = """
SELECT p.price::numeric AS price, p.currency::text AS currency
FROM unnest(ARRAY[%(first)s::timestamptz, %(after)s::timestamptz]) WITH ORDINALITY m (moment, place)
     CROSS JOIN LATERAL (
        SELECT price, currency FROM maintenance.prices
        WHERE instrument = %(instrument)s AND observed_at <= m.moment
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
    :param lasted: of the time that incidents and changes lasted
    """

    rows: List[Row] = field(default_factory=list)
    lacking: str = ""
    benchmark: List[Row] = field(default_factory=list)
    no_benchmark: str = ""
    lasted: Lasted = field(default_factory=Lasted)


def ask(
    options: Mapping[str, Any], into: Asked, operations: Operations, cursor: Any, catalogue: Catalogue, _found: Read
) -> None:
    """Asks for it, of the same moment as the books."""
    begin, end = (
        datetime.combine(day, time(), timezone.utc) for day in (options["first"], options["last"] + timedelta(days=1))
    )
    month: Span = ("month", None, begin, end)
    lacking = lack(catalogue, VIEWS)
    age = options["rate_age"]
    into.rows, into.lacking = ([], lacking[0]) if lacking else asked_of(cursor, SQL, values_of([month], age))
    into.lasted = costs_of(operations, age, cursor, catalogue)
    values: Dict[str, Any] = {"first": begin, "after": end, "age": age}
    instrument = options["benchmark"].get("instrument")
    if instrument:
        lacking = lack(catalogue, {"prices": PRICES})
        values["instrument"] = instrument
        into.benchmark, into.no_benchmark = ([], lacking[0]) if lacking else asked_of(cursor, PRICE_SQL, values)
