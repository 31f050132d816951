# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this file.

"""Area trading: rows that a view has twice, and so are counted twice, or shadow each other."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, Iterator, List, Tuple

from ..checks import Check, judge, limits
from ..words import plural, printable
from .sql import NotMeasured, Probe, Row, doubted

#: View -> what names a row of it: column -> kind.
KEYS: Dict[str, Dict[str, str]] = {
    "orders": {"order_id": "id"},
    "executions": {"execution_id": "id"},
    "transactions": {"transaction_id": "id"},
    "positions": dict.fromkeys(("strategy", "account", "venue", "instrument"), "text"),
    "cash": dict.fromkeys(("account", "venue", "currency"), "text"),
    "equity": {"strategy": "text", "day": "date", "currency": "text"},
    "strategies": {"strategy": "text"},
    "accounts": {"account": "text"},
    "instruments": {"instrument": "text"},
    "venues": {"venue": "text"},
    "venue_statements": {"statement_id": "id"},
    "risk_limits": {"limit_id": "id"},
    "heartbeat": {"instance": "text"},
}
#: No other check reads it.
OPTIONAL = ("accounts",)
#: Of long histories what still counts.
RECENT = {"equity": "WHERE (day < CURRENT_DATE - 30) IS NOT TRUE"}


def twice_sql(view: str) -> str:
    """How many keys a view has more than once, how many rows lack a part of theirs, and the first ten of both."""
    columns = ", ".join(KEYS[view])
    return f"""
WITH found AS MATERIALIZED (
    SELECT {columns}, count(*) AS times, num_nulls({columns}) > 0 AS unnamed
    FROM maintenance.{view} {RECENT.get(view, "")}
    GROUP BY {columns} HAVING count(*) > 1 OR num_nulls({columns}) > 0
)
SELECT EXISTS (SELECT FROM maintenance.{view}) AS any,
       (SELECT count(*) FROM found WHERE NOT unnamed) AS total,
       (SELECT coalesce(sum(times), 0)::bigint FROM found WHERE unnamed) AS unnamed,
       (SELECT json_agg(f) FROM (
            SELECT {columns}, times FROM found ORDER BY unnamed, times DESC, {columns} LIMIT 10) f) AS first
"""


def twice(view: str, rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Rows of one view that are there more than once."""
    row, columns = rows[0], tuple(KEYS[view])
    if not row["any"]:
        raise NotMeasured(f"view maintenance.{view} has no row.", "See whether that is right, and the view.")
    names = columns[0] if len(columns) == 1 else f"{', '.join(columns[:-1])} and {columns[-1]}"
    first = [
        {key: printable(value, 60) if isinstance(value, str) else value for key, value in one.items()}
        for one in row["first"] or []
    ]
    text = f"View maintenance.{view} has no row twice, by {names}."
    if row["total"]:
        example = ", ".join(str(first[0][column]) for column in columns)
        text = (
            f"View maintenance.{view} has {plural(row['total'], 'row')} more than once, by {names}, such as {example} "
        )
        text += f"({first[0]['times']} times)."
    check = judge(
        f"trading.duplicates:{view}",
        title(view),
        row["total"],
        **limits(thresholds, "duplicates"),
        message=text,
        remedy="See whether the view joins too much, or the platform has booked it twice. Sums count it twice.",
        source=f"view maintenance.{view}",
        details={"count": row["total"], **({"first": first} if first else {})},
    )
    if row["unnamed"]:
        text = f"{plural(row['unnamed'], 'row has', 'rows have')} no {names}, and cannot be told apart."
        check = doubted(check, text, f"Correct the view maintenance.{view}.")
    yield check


def title(view: str) -> str:
    """Of its check."""
    return f"Rows that are there twice: {view.replace('_', ' ')}"


PROBES: Tuple[Probe, ...] = tuple(
    Probe(
        ((f"trading.duplicates:{view}", title(view)),),
        f"view maintenance.{view}",
        twice_sql(view),
        partial(twice, view),
        {view: columns},
        optional=view in OPTIONAL,
    )
    for view, columns in KEYS.items()
)
