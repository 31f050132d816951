# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Statements that name the route they are for in a comment, as sqlcommenter writes it: /*route='%2Forders'*/."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional
from urllib.parse import unquote

from .._checks.statements import normalised
from ..database import connected

#: Statements that are looked at, those that took the most time first; and of one route in the report.
MOST, SHOWN = 500, 3
_COMMENT = re.compile(r"/\*(.*?)\*/", re.DOTALL)
_ROUTE = re.compile(r"\b(?:route|http_route|handler|controller)\s*=\s*'((?:[^'\\]|\\.)*)'")


def route_of(query: str) -> Optional[str]:
    """The route that a statement's comment names; None when none does, or two do."""
    found = {unquote(route) for comment in _COMMENT.findall(query) for route in _ROUTE.findall(comment)}
    return found.pop() if len(found) == 1 else None


def by_route(database: Dict[str, Any], timeout: int) -> Dict[str, List[Dict[str, Any]]]:
    """Route -> its statements: queryid, calls, mean_ms, text; those that took the most time first.

    PostgreSQL keeps the first text of a statement: what several routes run is told of the first only.

    :raises DatabaseError: they cannot be read
    """
    result: Dict[str, List[Dict[str, Any]]] = {}
    with connected(database, pooled=True) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN READ ONLY")
        cursor.execute("SET LOCAL statement_timeout = %s", (timeout * 1000,))
        cursor.execute(
            "SELECT queryid::text, calls, mean_exec_time, left(query, 10000) FROM pg_stat_statements "
            "WHERE dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) "
            "AND query LIKE '%%/*%%' ORDER BY total_exec_time DESC LIMIT %s",
            (MOST,),
        )
        for queryid, calls, mean, query in cursor.fetchall():
            route = route_of(query)
            if route is not None and len(result.setdefault(route, [])) < SHOWN:
                told = {"queryid": queryid, "calls": calls, "mean_ms": round(mean, 1), "text": normalised(query)}
                result[route].append(told)
        cursor.execute("ROLLBACK")
    return result
