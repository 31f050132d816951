# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area trading: what several checks must know first, asked once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Callable, List, Mapping

from .sql import Row, Views


@dataclass
class Fact:
    """One statement, and what it gives to the statements and judges of others.

    :param read: gets the rows and what is known so far; what it returns is added to that
    :param views: what must be there
    """

    title: str
    sql: str
    read: Callable[[List[Row], Row], Row]
    views: Views = field(default_factory=dict)


def places(rows: List[Row], given: Row) -> Row:
    """Accounts at venues by what was traded there: one that is left out of statements and books is missed."""
    return {"places": json.dumps([{"venue": row["venue"], "account": row["account"]} for row in rows])}


FACTS: Mapping[str, Fact] = {
    "places": Fact(
        "Where accounts trade",
        """
        SELECT venue::text AS venue, account::text AS account FROM maintenance.executions
        UNION SELECT venue::text, account::text FROM maintenance.orders WHERE status IS DISTINCT FROM 'rejected'
        """,
        places,
        {
            "executions": {"venue": "text", "account": "text"},
            "orders": {"venue": "text", "account": "text", "status": "text"},
        },
    ),
}
