# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Business invariants as data: SQL that counts what must not be, run read-only over the restored database."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Callable, Dict, List, Optional

from ..checks import CRITICAL, OK, Check, unknown
from ..database import connected, one_line
from ..words import printable

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]


def measure(
    database: Optional[Dict[str, Any]],
    invariants: List[Dict[str, Any]],
    snapshot_at: str,
    timeout: int,
    tick: Callable[[], None] = lambda: None,
) -> List[Check]:
    """One check for each invariant: its SQL gives the number of violations, and 0 holds.

    :param database: None when only a superuser could look
    :param snapshot_at: when the recovery point's snapshot was taken; the SQL reads it by
        current_setting('drill.snapshot_at')
    :param timeout: s for each
    :raises DatabaseError: the database does not answer
    """
    if database is None:
        return [_unseen(each) for each in invariants]
    checks = []
    with connected(database, statement_timeout=timeout) as connection, connection.cursor() as cursor:
        for invariant in invariants:
            tick()
            cursor.execute("BEGIN READ ONLY")
            cursor.execute("SELECT set_config('drill.snapshot_at', %s, false)", (snapshot_at,))
            checks.append(_one(cursor, invariant))
            cursor.execute("ROLLBACK")
    return checks


def _unseen(invariant: Dict[str, Any]) -> Check:
    title = printable(invariant["title"], 200)
    text = f"{title}: nobody but a superuser may read all tables of the restored cluster, and functions of views would"
    text += " run as one."
    remedy = "Let the maintenance user of the source read everything (GRANT pg_read_all_data; BYPASSRLS where row-level"
    remedy += " security is used), and back up again."
    return unknown(f"drill.invariant:{printable(invariant['name'])}", title, text, remedy)


def _one(cursor: Any, invariant: Dict[str, Any]) -> Check:
    id, title = f"drill.invariant:{printable(invariant['name'])}", printable(invariant["title"], 200)
    try:
        cursor.execute(invariant["sql"])
        rows = cursor.fetchall() if cursor.description else []
    except psycopg2.Error as error:
        if cursor.connection.closed:
            raise
        remedy = "Correct its SQL in restore_drill_invariants, or the views of the schema maintenance."
        return unknown(id, title, f"{title}: its SQL failed: {one_line(error)}", remedy)
    value = rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or not value >= 0:
        text = f"{title}: its SQL must give one number of violations, not {printable(rows[:1])}."
        return unknown(id, title, text, "Correct its SQL in restore_drill_invariants.")
    if value:
        return Check(
            id,
            title,
            CRITICAL,
            int(value),
            critical=1,
            message=f"{title}: {value} violations in the restored database.",
            remedy="Look whether the platform itself has them: if so, put them right there; if not, do not rely on this"
            " recovery point.",
        )
    return Check(id, title, OK, 0, critical=1, message=f"{title}: holds.")
