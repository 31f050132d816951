# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# ruff: noqa: S608 - names are quoted, values are parameters, and the operator's SQL is what the parser wrote.

"""The SQL of a data update: a batch, its undoing, and what is asked before and after."""

from __future__ import annotations

import re
import secrets
from typing import Any, Dict, List, Optional

from ..database import OURS as COMMENT
from ..database import quoted
from ..errors import DataUpdateError
from .book import SCHEMA, images
from .session import Session
from .table import Table

#: Characters of a value that the plan shows.
_SHOWN = 200
#: Where a parameter goes. Nobody knows it beforehand, and so nobody's SQL has it.
_MARK = secrets.token_hex(8)
_PARAMETER = re.compile(rf"\${_MARK}:(\w+)\$")
#: As in statements.py, which cannot be read where there is no parser.
MOMENT = '"$tradingflow moment {}"'
_NOW = {"timestamptz": "{}", "timestamp": "({})::timestamp", "date": "({})::date"}


class Statements:
    """The statements of one change of one table.

    Rows are picked by the key, from behind the cursor up to the bound, and changed in one statement. What it gives:
    picked, changed, kept, unchecked (rows that the change's check does not hold for), and the last key.

    :param moment: at which the update began; None for now
    """

    def __init__(self, table: Table, prepared: Dict[str, Any], moment: Optional[str]) -> None:
        self._table = table
        self._moment = moment
        self.predicate = self.filled(prepared["predicate"])
        self.check = self.filled(prepared["check"]) if prepared["check"] else None
        self._set = {name: self.filled(text) for name, text in prepared["set"].items()}
        self._key = table.key or []
        self._names = [f"{quoted(table.name)}.{quoted(each['name'])}" for each in self._key]
        self._ordered = [self._names[place] + _collate(each) for place, each in enumerate(self._key)]

    def filled(self, text: str) -> str:
        """SQL with the moment in it."""
        value = "statement_timestamp()" if self._moment is None else f"'{self._moment}'::timestamptz"
        for name, form in _NOW.items():
            text = text.replace(MOMENT.format(name), form.format(value))
        return text

    def _literal(self, name: str) -> str:
        """A key given as text, as the parameter NAME."""
        parts = [f"(${_MARK}:{name}$::text[])[{place}]::{each['type']}" for place, each in enumerate(self._key, 1)]
        return f"ROW({', '.join(parts)})"

    def _within(self, behind: bool) -> str:
        row = f"ROW({', '.join(self._ordered)})"
        text = f"{row} <= {self._literal('bound')}"
        return f"{row} > {self._literal('cursor')} AND {text}" if behind else text

    def count(self) -> str:
        """How many rows match, as the server counts them now."""
        return f"SELECT count(*) {COMMENT} FROM {self._table.sql} WHERE {self.predicate}"

    def others(self) -> str:
        """Whether there is a row that does not match."""
        return f"SELECT EXISTS (SELECT {COMMENT} FROM {self._table.sql} WHERE ({self.predicate}) IS NOT TRUE)"

    def last(self) -> str:
        """The greatest key of the rows that match, as text."""
        order = ", ".join(f"{name} DESC" for name in self._ordered)
        keys = ", ".join(f"{name}::text" for name in self._names)
        return f"SELECT ARRAY[{keys}] {COMMENT} FROM {self._table.sql} WHERE {self.predicate} ORDER BY {order} LIMIT 1"

    def sample(self, rows: int) -> str:
        """Some rows: key, what is set as it is, and as it would be."""
        keys = ", ".join(f"{name}::text" for name in self._names)
        before = ", ".join(f"left({quoted(self._table.name)}.{quoted(name)}::text, {_SHOWN})" for name in self._set)
        after = ", ".join(
            f"left((({text})::{self._table.columns[name]['type']})::text, {_SHOWN})" for name, text in self._set.items()
        )
        return (
            f"SELECT ARRAY[{keys}], ARRAY[{before}], ARRAY[{after}] FROM {self._table.sql} WHERE {self.predicate}"
            f" ORDER BY {', '.join(self._ordered)} LIMIT {int(rows)}"
        )

    def shown(self, number: int = 0) -> str:
        """A batch for people."""
        text = self._batch(number, behind=True, compare=bool(self._table.triggers), lock=True)
        return _PARAMETER.sub(r":\1", text)

    def batch(self, number: int, *, behind: bool, compare: bool, lock: bool, old: bool) -> str:
        """One batch. Parameters: cursor, bound, batch, limit.

        :param behind: whether there is a cursor
        :param lock: whether rows are locked before they are changed. Without that, which takes half of the time, fewer
            are changed than picked when others change some of them at that moment
        :param compare: whether other columns may have changed, by triggers: then a digest of them is kept
        :param old: whether the server gives what a row was before (RETURNING OLD): then nothing is joined
        """
        if old and not compare and not lock:
            return _parametrised(self._batch_of_old(number, behind))
        return _parametrised(self._batch(number, behind=behind, compare=compare, lock=lock))

    def _batch(self, number: int, *, behind: bool, compare: bool, lock: bool) -> str:
        table, name = self._table.sql, quoted(self._table.name)
        count, columns = len(self._key), list(self._set)
        keys = [f"tradingflow_key_{place}" for place in range(1, count + 1)]
        befores = [f"tradingflow_before_{place}" for place in range(1, len(columns) + 1)]
        afters = [f"tradingflow_after_{place}" for place in range(1, len(columns) + 1)]
        picked = [f"{self._names[place]} AS {keys[place]}" for place in range(count)]
        picked += [f"{name}.{quoted(column)} AS {befores[place]}" for place, column in enumerate(columns)]
        picked.append((self._rest() if compare else "''") + " AS tradingflow_rest")
        returned = [f"tradingflow_picked.{each}" for each in [*keys, *befores, "tradingflow_rest"]]
        returned += [f"{name}.{quoted(column)} AS {afters[place]}" for place, column in enumerate(columns)]
        returned.append((f"({self.check}) IS TRUE" if self.check else "true") + " AS tradingflow_holds")
        join = " AND ".join(f"{self._ordered[place]} = tradingflow_picked.{keys[place]}" for place in range(count))
        if not lock:
            # The very version of the row that was picked, or none.
            picked.append(f"{name}.ctid AS tradingflow_ctid")
            join = f"{name}.ctid = tradingflow_picked.tradingflow_ctid"
        last = ", ".join(f"{key}::text" for key in keys)
        order = ", ".join(f"{keys[place]}{_collate(self._key[place])} DESC" for place in range(count))
        assigned = ", ".join(f"{quoted(column)} = {text}" for column, text in self._set.items())
        kept = ", ".join([*keys, *befores, *afters, "nullif(tradingflow_rest, '')"])
        return f"""WITH tradingflow_picked AS MATERIALIZED (
  SELECT {", ".join(picked)} {COMMENT}
  FROM {table} WHERE {self._within(behind)} AND ({self.predicate})
  ORDER BY {", ".join(self._ordered)} LIMIT ${_MARK}:limit${f" FOR NO KEY UPDATE OF {name}" if lock else ""}
), tradingflow_changed AS (
  UPDATE {table} SET {assigned} FROM tradingflow_picked WHERE {join}
  RETURNING {", ".join(returned)}
), tradingflow_kept AS (
  INSERT INTO {images(number)} SELECT ${_MARK}:batch$, {kept} FROM tradingflow_changed RETURNING 1
)
SELECT (SELECT count(*) FROM tradingflow_picked), count(*), (SELECT count(*) FROM tradingflow_kept),
  count(*) FILTER (WHERE NOT tradingflow_holds),
  (SELECT ARRAY[{last}] FROM tradingflow_picked ORDER BY {order} LIMIT 1)
FROM tradingflow_changed"""

    def _batch_of_old(self, number: int, behind: bool) -> str:
        """As _batch without a lock, in a quarter less time."""
        table, name, keys = self._table.sql, quoted(self._table.name), range(1, len(self._key) + 1)
        picked = [f"{self._names[key - 1]} AS tradingflow_key_{key}" for key in keys]
        ordered = [f"tradingflow_key_{key}{_collate(self._key[key - 1])} DESC" for key in keys]
        rows = ("tradingflow_old", "tradingflow_new")
        kept = [*self._names, *(f"{row}.{quoted(each)}" for row in rows for each in self._set)]
        named = [f"{each} AS tradingflow_kept_{place}" for place, each in enumerate(kept, 1)]
        named.append((f"({self.check}) IS TRUE" if self.check else "true") + " AS tradingflow_holds")
        return f"""WITH tradingflow_picked AS MATERIALIZED (
  SELECT {", ".join(picked)}, {name}.ctid AS tradingflow_ctid {COMMENT}
  FROM {table} WHERE {self._within(behind)} AND ({self.predicate})
  ORDER BY {", ".join(self._ordered)} LIMIT ${_MARK}:limit$
), tradingflow_changed AS (
  UPDATE {table} SET {", ".join(f"{quoted(column)} = {text}" for column, text in self._set.items())}
  WHERE {name}.ctid = ANY (ARRAY(SELECT tradingflow_ctid FROM tradingflow_picked))
  RETURNING WITH (OLD AS tradingflow_old, NEW AS tradingflow_new) {", ".join(named)}
), tradingflow_kept AS (
  INSERT INTO {images(number)}
  SELECT ${_MARK}:batch$, {", ".join(f"tradingflow_kept_{place}" for place in range(1, len(kept) + 1))}, NULL
  FROM tradingflow_changed RETURNING 1
)
SELECT (SELECT count(*) FROM tradingflow_picked), count(*), (SELECT count(*) FROM tradingflow_kept),
  count(*) FILTER (WHERE NOT tradingflow_holds),
  (SELECT ARRAY[{", ".join(f"tradingflow_key_{key}::text" for key in keys)}] FROM tradingflow_picked
   ORDER BY {", ".join(ordered)} LIMIT 1)
FROM tradingflow_changed"""

    def _rest(self) -> str:
        """A digest of the columns that the change does not set."""
        columns = self._table.columns
        others = [name for name in columns if name not in self._set and not columns[name]["generated"]]
        return f"md5(ROW({', '.join(f'{quoted(self._table.name)}.{quoted(name)}' for name in others)})::text)"

    def _same_key(self, alias: str) -> str:
        return " AND ".join(f"{alias}.key_{place} = {name}" for place, name in enumerate(self._ordered, 1))

    def altered(self, number: int) -> str:
        """How many rows of a batch are not as it left them, or changed otherwise too. Parameter: batch."""
        as_left = _identical(quoted(self._table.name), list(self._set), "tradingflow_i.after")
        return _parametrised(
            f"SELECT count(*) FROM {images(number)} tradingflow_i LEFT JOIN {self._table.sql}"
            f" ON {self._same_key('tradingflow_i')} WHERE tradingflow_i.batch = ${_MARK}:batch$"
            f" AND ({self._rest()} IS DISTINCT FROM tradingflow_i.rest OR NOT {as_left})"
        )

    def left(self, number: int) -> str:
        """Rows that match now: not touched up to the bound, touched, and behind the bound. Parameter: bound."""
        touched = "tradingflow_i.batch IS NOT NULL"
        within = self._within(behind=False)
        # By a join: asked for each row, the before-images would be read as often as there are rows that still match.
        return _parametrised(
            f"SELECT count(*) FILTER (WHERE {within} AND NOT ({touched})), count(*) FILTER (WHERE {touched}),"
            f" count(*) FILTER (WHERE NOT ({within}) AND NOT ({touched})) {COMMENT}"
            f" FROM (SELECT {', '.join(self._names)} FROM {self._table.sql} WHERE {self.predicate})"
            f" AS {quoted(self._table.name)}"
            f" LEFT JOIN {images(number)} tradingflow_i ON {self._same_key('tradingflow_i')}"
        )


def invariant(session: Session, statements: Statements, prepared: Dict[str, Any], name: str) -> Optional[str]:
    """The value of an invariant, as text; None for null.

    :raises DataUpdateError: it gives something else than one value
    """
    rows = session.rows(statements.filled(prepared["invariants"][name]))
    if len(rows) != 1 or len(rows[0]) != 1:
        raise DataUpdateError(
            f"The invariant {name} does not give one value.", "Write a query with one row and column."
        )
    value = rows[0][0]
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def undo(table: Table, update: Dict[str, Any]) -> str:
    """The undoing of one batch: rows as we left them are put back, others written down. Parameters: batch, xid, number.

    It gives: rows put back, rows left alone, rows that were as we left them, before-images.
    """
    key, columns = update["key_columns"], list(enumerate(update["set_columns"], 1))
    name = quoted(table.name)
    same = _identical(name, update["set_columns"], "tradingflow_i.after")
    back = _identical(name, update["set_columns"], "tradingflow_f.before")
    keys = [f"key_{place}" for place in range(1, len(key) + 1)]
    both = " AND ".join(f"tradingflow_f.{each} = tradingflow_i.{each}" for each in keys)
    return _parametrised(f"""WITH tradingflow_i AS MATERIALIZED (
  SELECT * FROM {images(update["number"])} WHERE batch = ${_MARK}:batch$
), tradingflow_f AS MATERIALIZED (
  SELECT tradingflow_i.*, {same} AS tradingflow_same,
    {name}.xmin = ${_MARK}:xid$::xid8::xid AS tradingflow_ours {COMMENT}
  FROM {table.sql} JOIN tradingflow_i ON {_matches(table, update, "tradingflow_i")} FOR NO KEY UPDATE OF {name}
), tradingflow_restored AS (
  UPDATE {table.sql} SET {", ".join(f"{quoted(column)} = tradingflow_f.before_{place}" for place, column in columns)}
  FROM tradingflow_f WHERE {_matches(table, update, "tradingflow_f")} AND tradingflow_same AND tradingflow_ours
  RETURNING {back} AS tradingflow_back
), tradingflow_alone AS (
  INSERT INTO {SCHEMA}.left_alone SELECT ${_MARK}:number$, ${_MARK}:batch$,
    ARRAY[{", ".join(f"tradingflow_i.{each}::text" for each in keys)}],
    CASE WHEN tradingflow_same IS NULL THEN 'gone' WHEN tradingflow_same THEN 'other columns' ELSE 'set columns' END
  FROM tradingflow_i LEFT JOIN tradingflow_f ON {both}
  WHERE tradingflow_same IS NULL OR NOT (tradingflow_same AND tradingflow_ours) RETURNING 1
)
SELECT (SELECT count(*) FROM tradingflow_restored WHERE tradingflow_back), (SELECT count(*) FROM tradingflow_alone),
  (SELECT count(*) FROM tradingflow_f WHERE tradingflow_same AND tradingflow_ours),
  (SELECT count(*) FROM tradingflow_i)""")


def not_put_back(table: Table, update: Dict[str, Any]) -> str:
    """How many rows of an undone batch are not as before, those left alone not counted. Parameters: batch, number."""
    name, places = quoted(table.name), range(1, len(update["key_columns"]) + 1)
    keys = [f"{name}.{quoted(each['name'])}" for each in update["key_columns"]]
    return _parametrised(f"""SELECT count(*) FROM {images(update["number"])} tradingflow_i LEFT JOIN {table.sql}
  ON {_matches(table, update, "tradingflow_i")} WHERE tradingflow_i.batch = ${_MARK}:batch$ AND NOT EXISTS (
    SELECT FROM {SCHEMA}.left_alone l WHERE l.update_number = ${_MARK}:number$ AND l.batch = tradingflow_i.batch
    AND l.key = ARRAY[{", ".join(f"tradingflow_i.key_{place}::text" for place in places)}])
  AND ({keys[0]} IS NULL OR NOT {_identical(name, update["set_columns"], "tradingflow_i.before")})""")


def _matches(table: Table, update: Dict[str, Any], alias: str) -> str:
    return " AND ".join(
        f"{quoted(table.name)}.{quoted(each['name'])}{_collate(each)} = {alias}.key_{place}"
        for place, each in enumerate(update["key_columns"], 1)
    )


def _identical(name: str, columns: List[str], image: str) -> str:
    """Whether a row's columns are those of an image, byte by byte: not every type has an equality, such as json."""
    values = ", ".join(f"{name}.{quoted(column)}" for column in columns)
    images_ = ", ".join(f"{image}_{place}" for place in range(1, len(columns) + 1))
    return f"pg_catalog.record_image_eq(ROW({values}), ROW({images_}))"


def _collate(key: Dict[str, Any]) -> str:
    return f" COLLATE {key['collation']}" if key["collation"] else ""


def _parametrised(text: str) -> str:
    """A statement as psycopg2 takes it: a per cent sign of the operator's, or in a name, is none of a parameter."""
    return _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%"))
