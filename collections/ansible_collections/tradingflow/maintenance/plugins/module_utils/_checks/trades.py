# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area trading: orders, executions and transactions in our own books."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ..checks import Check, judge
from . import limits
from .sql import NotMeasured, Probe, Row

DUPLICATES_SQL = """
WITH found AS MATERIALIZED (
    SELECT venue, venue_execution_id AS id, count(*) AS times FROM maintenance.executions
    WHERE venue_execution_id IS NOT NULL GROUP BY venue, venue_execution_id HAVING count(*) > 1
)
SELECT EXISTS (SELECT FROM maintenance.executions) AS any, (SELECT count(*) FROM found) AS total,
       (SELECT json_agg(f) FROM (SELECT * FROM found ORDER BY venue, id LIMIT 10) f) AS first
"""


def duplicates(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Executions that are there more than once by venue and the venue's id."""
    row = rows[0]
    if not row["any"]:
        raise NotMeasured("there is no execution.", "See whether the platform trades, and the view.")
    yield judge(
        "trading.duplicate_executions",
        "Executions booked twice",
        row["total"],
        **limits(thresholds, "duplicate_executions"),
        message=f"{row['total'] or 'No'} executions are booked more than once, by venue and the venue's id.",
        remedy="Find out how they came in twice, and have the platform take back what is too much.",
        source="view maintenance.executions",
        details={"count": row["total"], **({"first": row["first"]} if row["first"] else {})},
    )


PROBES: Tuple[Probe, ...] = (
    Probe(
        (("trading.duplicate_executions", "Executions booked twice"),),
        "view maintenance.executions",
        DUPLICATES_SQL,
        duplicates,
        {"executions": {"venue": "text", "venue_execution_id": "text"}},
    ),
)
