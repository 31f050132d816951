# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner's statistics of a restored database, table by table: without them queries are slow, not wrong."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

from ..checks import Check
from ..database import connected, one_line

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

# Tables and topmost partitioned ones, with their partitions; those that another server has a part of, without: that
# server may be down, and it is not its rows that were restored.
_TABLES = """
WITH RECURSIVE tree AS (
  SELECT oid AS root, oid, relkind FROM pg_class WHERE relkind IN ('r', 'p', 'f') AND NOT relispartition
  UNION ALL SELECT t.root, c.oid, c.relkind FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid AND t.relkind = 'p'
  JOIN pg_class c ON c.oid = i.inhrelid),
abroad AS (SELECT DISTINCT root FROM tree WHERE relkind = 'f')
SELECT c.oid::regclass::text, false FROM pg_class c LEFT JOIN tree t ON t.oid = c.oid
WHERE c.relpersistence <> 't' AND (c.relkind = 'm' OR (c.relkind IN ('r', 'p') AND t.root = c.oid
                                                       AND t.root NOT IN (SELECT root FROM abroad)))
UNION ALL
SELECT c.oid::regclass::text, c.relkind = 'p' FROM tree t JOIN pg_class c ON c.oid = t.oid
WHERE t.root IN (SELECT root FROM abroad) AND t.relkind IN ('r', 'p')
ORDER BY 1"""


def analyze(database: Dict[str, Any], tick: Callable[[], None]) -> Tuple[List[str], List[str]]:
    """Runs ANALYZE for all tables.

    :returns: partitioned tables that were left out, as another server has a part of them; and what failed, in words
    :raises DatabaseError: the database does not answer
    """
    left: List[str] = []
    failed: List[str] = []
    with connected(database, statement_timeout=0) as connection, connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = off; SET lock_timeout = 0; SET search_path = pg_catalog")
        cursor.execute(_TABLES)
        for name, partly in cursor.fetchall():
            tick()
            if partly:
                left.append(name)
                continue
            try:
                cursor.execute(f"ANALYZE {name}")
            except psycopg2.Error as error:
                if connection.closed:
                    raise
                failed.append(f"{name}: {one_line(error)}")
    return left, failed


def analyzed(database: Dict[str, Any], tick: Callable[[], None], kind: str) -> Optional[Check]:
    """What to say of statistics, None when all is well.

    :param kind: drill or restore
    """
    left, failed = analyze(database, tick)
    said = [f"{len(failed)} tables could not be analysed: {'; '.join(failed[:3])}"] if failed else []
    if left and kind == "restore":
        said.append(f"tables with partitions on other servers were left out: {', '.join(left[:5])}")
    if not said:
        return None
    return Check(
        f"{kind}.statistics",
        "Planner's statistics",
        "warning",
        len(failed) + len(left),
        message=f"The rows are there, but not all statistics: {'. '.join(said)}.",
        remedy="Run ANALYZE on these tables once what stands in the way is gone: until then their queries may be slow.",
        details={"failed": failed[:50], "left_out": left[:50]},
    )
