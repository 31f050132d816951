# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ruff: noqa: S608 - SQL is put together from constants of this file; names are quoted, values are parameters.

"""What we keep in the database itself: updates with their cursor, batches, before-images, and rows left alone.

All of it is written in the transaction that changes the rows, so that it is true whenever somebody looks.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

from ..database import quoted
from ..errors import DataUpdateError
from ..words import plural
from .session import Session
from .table import Table

SCHEMA = "tradingflow_data_update"
RUNNING, DONE, UNDOING, UNDONE = "running", "done", "undoing", "undone"
#: Why an update is undone, when it is no breach.
ASKED = "asked for"

_MAKE = f"""CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.updates (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, change text NOT NULL, digest text NOT NULL,
  state text NOT NULL CHECK (state IN ('running', 'done', 'undoing', 'undone')),
  schema_name text NOT NULL, table_name text NOT NULL, declared jsonb NOT NULL, columns_sha256 text NOT NULL,
  set_columns text[] NOT NULL, key_columns jsonb NOT NULL,
  moment timestamptz NOT NULL, bound text[] NOT NULL, cursor text[], planned bigint NOT NULL,
  rows bigint NOT NULL DEFAULT 0, batches int NOT NULL DEFAULT 0, restored bigint NOT NULL DEFAULT 0,
  invariants jsonb NOT NULL, recovery_point text, actor text, runner text,
  began_at timestamptz NOT NULL DEFAULT clock_timestamp(), ended_at timestamptz, problem text, purged_at timestamptz);
CREATE UNIQUE INDEX IF NOT EXISTS updates_one_at_a_time ON {SCHEMA}.updates (change)
  WHERE state IN ('running', 'undoing');
CREATE TABLE IF NOT EXISTS {SCHEMA}.batches (
  update_number bigint NOT NULL REFERENCES {SCHEMA}.updates, batch int NOT NULL, xid xid8 NOT NULL, rows int NOT NULL,
  seconds float NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(), undone_at timestamptz,
  PRIMARY KEY (update_number, batch));
CREATE TABLE IF NOT EXISTS {SCHEMA}.left_alone (
  update_number bigint NOT NULL REFERENCES {SCHEMA}.updates, batch int NOT NULL, key text[] NOT NULL,
  why text NOT NULL CHECK (why IN ('gone', 'set columns', 'other columns')));"""
_SAFE = """SELECT pg_get_userbyid(n.nspowner), pg_has_role(n.nspowner, 'MEMBER'),
  EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.grantee <> n.nspowner),
  (SELECT string_agg(c.relname, ', ') FROM pg_class c WHERE c.relnamespace = n.oid AND c.relowner <> n.nspowner)
FROM pg_namespace n WHERE n.nspname = %s"""
_FIELDS = (
    *("number", "change", "digest", "state", "schema_name", "table_name", "columns_sha256", "set_columns"),
    *("key_columns", "moment", "bound", "cursor", "planned", "rows", "batches", "restored", "invariants"),
    *("recovery_point", "runner", "began_at", "ended_at", "problem", "purged_at", "declared"),
)
_CAST = {"moment": "moment::text", "began_at": "began_at::text", "ended_at": "ended_at::text"}
_SELECT = f"SELECT {', '.join(_CAST.get(name, name) for name in _FIELDS)} FROM {SCHEMA}.updates"


class Book:
    """Our schema in the database."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def exists(self) -> bool:
        """Whether it is there.

        :raises DataUpdateError: somebody else could read or write it
        """
        found = self._session.rows(_SAFE, (SCHEMA,))
        if not found:
            return False
        owner, ours, granted, foreign = found[0]
        if not ours or granted or foreign:
            why = f"belongs to {owner}" if not ours else "is open to other roles" if granted else "has others' objects"
            raise DataUpdateError(
                f"The schema {SCHEMA}, which keeps the before-images, {why}.",
                "Work as its owner, revoke what others may do there, or find out who made it.",
            )
        return bool(self._session.value("SELECT to_regclass(%s) IS NOT NULL", (f"{SCHEMA}.left_alone",)))

    def make(self) -> None:
        """Makes it."""
        self._session.rows(_MAKE)

    def newest(self, change: str) -> Optional[Dict[str, Any]]:
        """The newest update of a change; None when there is none."""
        if not self.exists():
            return None
        found = self._session.rows(f"{_SELECT} WHERE change = %s ORDER BY number DESC LIMIT 1", (change,))
        return _as_update(found[0]) if found else None

    def known(self, change: str) -> Dict[str, Any]:
        """The newest update of a change, which there must be."""
        update = self.newest(change)
        if update is None:
            raise DataUpdateError("What was written down about this update is gone.", "Find out who removed it.")
        return update

    def all(self) -> List[Dict[str, Any]]:
        """All updates, oldest first."""
        return [_as_update(row) for row in self._session.rows(f"{_SELECT} ORDER BY number")] if self.exists() else []

    def locked(self, number: int) -> Dict[str, Any]:
        """An update, locked until the transaction ends: a killed run's last statement is waited for."""
        return _as_update(self._session.rows(f"{_SELECT} WHERE number = %s FOR UPDATE", (number,))[0])

    def begin(self, plan: Dict[str, Any], table: Table, update: Dict[str, Any]) -> int:
        """Writes a new update down, with a table for its before-images; within a transaction.

        :param update: change (as declared), moment, bound, invariants, recovery_point, actor
        :returns: its number
        """
        number = int(
            self._session.value(
                f"INSERT INTO {SCHEMA}.updates (change, digest, state, schema_name, table_name, declared,"
                " columns_sha256, set_columns, key_columns, moment, bound, planned, invariants, recovery_point)"
                " VALUES (%s, %s, 'running', %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING number",
                (
                    *(update["change"]["id"], plan["digest"], table.schema, table.name),
                    *(json.dumps(update["change"]), table.columns_digest(), table.set, json.dumps(table.key)),
                    *(update["moment"], update["bound"], plan["count"], json.dumps(update["invariants"])),
                    update["recovery_point"],
                ),
            )
        )
        key, columns = [quoted(each["name"]) for each in table.key or []], [quoted(name) for name in table.set]
        parts = ["0::int AS batch"]
        parts += [f"{name} AS key_{place}" for place, name in enumerate(key, 1)]
        parts += [f"{name} AS before_{place}" for place, name in enumerate(columns, 1)]
        parts += [f"{name} AS after_{place}" for place, name in enumerate(columns, 1)]
        parts.append("NULL::text AS rest")
        self._session.rows(f"CREATE TABLE {images(number)} AS SELECT {', '.join(parts)} FROM {table.sql} WITH NO DATA")
        if table.triggers:
            # Each batch is read once more when its triggers have run.
            self.index(number)
        return number

    def index(self, number: int) -> None:
        """Makes the batches of an update's before-images quick to find."""
        self._session.rows(f"CREATE INDEX IF NOT EXISTS images_{int(number)}_batch ON {images(number)} (batch)")

    def put(self, number: int, **values: Any) -> None:
        """Changes fields of an update."""
        text = ", ".join(f"{name} = %s" for name in values)
        self._session.rows(f"UPDATE {SCHEMA}.updates SET {text} WHERE number = %s", (*values.values(), number))

    def end(self, number: int, state: str) -> None:
        """Writes down that an update has ended."""
        self._session.rows(
            f"UPDATE {SCHEMA}.updates SET state = %s, ended_at = clock_timestamp() WHERE number = %s", (state, number)
        )

    def add_batch(self, number: int, batch: int, rows: int, last: List[str], seconds: float) -> None:
        """Writes a batch down, in its transaction, and moves the cursor behind its last key."""
        self._session.rows(
            f"WITH b AS (INSERT INTO {SCHEMA}.batches (update_number, batch, xid, rows, seconds)"
            " VALUES (%(number)s, %(batch)s, pg_current_xact_id(), %(rows)s, %(seconds)s))"
            f" UPDATE {SCHEMA}.updates SET cursor = %(last)s, rows = rows + %(rows)s, batches = %(batch)s"
            " WHERE number = %(number)s",
            {"number": number, "batch": batch, "rows": rows, "last": last, "seconds": seconds},
        )

    def batch_to_undo(self, number: int) -> Any:
        """batch, xid and rows of the last batch that stands; None when none does."""
        found = self._session.rows(
            f"SELECT batch, xid::text, rows FROM {SCHEMA}.batches WHERE update_number = %s AND undone_at IS NULL"
            " ORDER BY batch DESC LIMIT 1",
            (number,),
        )
        return found[0] if found else None

    def undone(self, number: int, batch: int) -> None:
        """Writes down that a batch was undone."""
        self._session.rows(
            f"UPDATE {SCHEMA}.batches SET undone_at = clock_timestamp() WHERE update_number = %s AND batch = %s",
            (number, batch),
        )

    def left_alone(self, number: int, most: int = 20) -> Dict[str, Any]:
        """count by why, and the keys of some."""
        counts = self._session.rows(
            f"SELECT why, count(*) FROM {SCHEMA}.left_alone WHERE update_number = %s GROUP BY 1 ORDER BY 1", (number,)
        )
        some = self._session.rows(
            f"SELECT key, why FROM {SCHEMA}.left_alone WHERE update_number = %s ORDER BY key LIMIT %s", (number, most)
        )
        return {"counts": {why: int(count) for why, count in counts}, "rows": [{"key": k, "why": w} for k, w in some]}

    def has_images(self, number: int) -> bool:
        """Whether an update's before-images are still there."""
        return bool(self._session.value("SELECT to_regclass(%s) IS NOT NULL", (images(number),)))

    def rate(self, table: Table) -> Optional[float]:
        """Rows a second of the newest update of a table, pauses left out; None when nothing is known."""
        if not self.exists():
            return None
        found = self._session.rows(
            f"SELECT sum(b.rows) / nullif(sum(b.seconds), 0) FROM {SCHEMA}.batches b JOIN {SCHEMA}.updates u"
            " ON u.number = b.update_number WHERE u.schema_name = %s AND u.table_name = %s GROUP BY u.number"
            " ORDER BY u.number DESC LIMIT 1",
            (table.schema, table.name),
        )
        return float(found[0][0]) if found and found[0][0] else None


def images(number: int) -> str:
    """The table of an update's before-images."""
    return f"{SCHEMA}.images_{int(number)}"


def _as_update(row: Any) -> Dict[str, Any]:
    return dict(zip(_FIELDS, row))  # noqa: B905 Python 3.9


def result_of(update: Dict[str, Any]) -> Dict[str, Any]:
    """An update for the report."""
    names: List[str] = ["number", "change", "digest", "state", "planned", "rows", "batches", "restored", "began_at"]
    return {name: update[name] for name in [*names, "ended_at", "cursor", "bound", "problem", "recovery_point"]}


def state_of(update: Optional[Dict[str, Any]], changed: bool, unread: bool) -> str:
    """In words, how far an update is.

    :param update: of result_of, and left_alone; None when there is none
    :param changed: whether this run changed something, or may have
    :param unread: the book could not be read
    """
    if unread or (update is None and changed):
        return "How far it is could not be read; it goes on from there when it is run again."
    if update is None or (not changed and update["state"] in (DONE, UNDONE)):
        return "Nothing was changed."
    rows, state = plural(update["rows"], "row"), update["state"]
    if state == RUNNING:
        return f"{rows} of about {update['planned']} are changed, and stay so: run it again to go on, or undo it."
    if state == UNDOING:
        return f"Of {rows} {update['restored']} are put back: run it again to go on."
    if state == UNDONE:
        left = sum(update["left_alone"]["counts"].values())
        text = f"It was undone: {update['restored']} of {rows} are as they were"
        return f"{text}, and {left} that others changed since were left alone." if left else f"{text}."
    return f"It is done: {rows} are changed."
