# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Statements outside a transaction that an earlier attempt has carried out: proven to be so, and then left out."""

from __future__ import annotations

import secrets
from typing import Any, Callable, Dict, List, Optional

from .._postgres.sql import NotUnderstood
from ..database import connected, quoted
from ..errors import MaintenanceError
from .tokens import claim, read, with_names

#: SQLSTATEs of what is there already: a relation, an object.
THERE = ("42P07", "42710")

_INDEX = """SELECT i.indisvalid, i.indisunique, m.amname, i.indnatts, i.indnkeyatts, i.indoption::text,
i.indclass::text, i.indcollation::text, pg_get_expr(i.indpred, i.indrelid), c.reloptions,
(to_jsonb(i) -> 'indnullsnotdistinct')::text,
ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, false) FROM generate_series(1, i.indnatts) k)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
WHERE i.indexrelid = %s::regclass"""
_CONSTRAINT = """SELECT convalidated, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %s::regclass AND conname = %s"""


class Found:
    """What is there already.

    :param same: whether it is what the statement would make
    :param text: in words
    :param next: the statement that is to be run by hand, or nothing
    """

    def __init__(self, same: bool, text: str, next: str = "") -> None:
        self.same, self.text, self.next = same, text, next


def existing(options: Dict[str, Any], sql: str, path: List[str], resolve: Callable[[Any, str], Any]) -> Optional[Found]:
    """What is there of what a statement would make; None where that cannot be said.

    It is made once more under another name, an index on an empty copy of the table, a constraint on the table itself
    under the locks that the statement would take, compared, and rolled back.

    :param path: schemas that the project's sessions look names up in
    :param resolve: see leftovers.Leftovers
    """
    try:
        (tokens,) = read(sql)
    except (NotUnderstood, ValueError):
        return None
    made = claim(tokens)
    if made is None or made.kind not in ("create", "constraint") or made.name is None or made.table is None:
        return None
    table = resolve(made.table, "table")
    if table is None:
        return None
    name, on = f"tradingflow_{secrets.token_hex(8)}", ".".join(map(quoted, table))
    milliseconds = max(1, int(options["lock_timeout"] * 1000))
    try:
        with connected(options["database"], statement_timeout=60) as connection:
            connection.autocommit = False
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = {milliseconds}")
                cursor.execute(f"SET LOCAL search_path = {', '.join(map(quoted, path or [table[0]]))}")
                if made.kind == "create":
                    found = _index(cursor, with_names(tokens, name, "pg_temp.copy"), table[0], made.name[1], name, on)
                else:
                    found = _constraint(cursor, with_names(tokens, name), made.name[1], name, on)
            connection.rollback()
            return found
    except MaintenanceError:
        return None


def _index(cursor: Any, statement: str, schema: str, index: str, name: str, on: str) -> Optional[Found]:
    there = f"{quoted(schema)}.{quoted(index)}"
    cursor.execute("SELECT indrelid = %s::regclass FROM pg_index WHERE indexrelid = to_regclass(%s)", (on, there))
    if cursor.fetchall() != [(True,)]:
        return None
    cursor.execute(f"CREATE TEMP TABLE copy (LIKE {on}) ON COMMIT DROP")
    cursor.execute(statement)
    cursor.execute(_INDEX, (there,))
    (old,) = cursor.fetchall()
    cursor.execute(_INDEX, (f"pg_temp.{quoted(name)}",))
    (new,) = cursor.fetchall()
    if not old[0]:
        return Found(False, f"The index {there} is invalid.", f"DROP INDEX CONCURRENTLY {there}")
    if old == new:
        return Found(True, f"The index {there} is there, valid and the same.")
    return Found(False, f"Another index of the name {there} is there.")


def _constraint(cursor: Any, statement: str, constraint: str, name: str, on: str) -> Optional[Found]:
    cursor.execute(_CONSTRAINT, (on, constraint))
    old = cursor.fetchall()
    if not old:
        return None
    cursor.execute(statement)
    cursor.execute(_CONSTRAINT, (on, name))
    (new,) = cursor.fetchall()
    validated, text = old[0]
    if text.removesuffix(" NOT VALID") != new[1].removesuffix(" NOT VALID"):
        return Found(False, f"Another constraint {constraint} is on {on}: {text}, not {new[1]}.")
    next = "" if validated else f"ALTER TABLE {on} VALIDATE CONSTRAINT {quoted(constraint)}"
    return Found(True, f"The constraint {constraint} is on {on}{'' if validated else ', not validated'}.", next)
