# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rows moved between tables of the database that is there, in one transaction, each table with its owner's rights."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple

from .._postgres.logins import allow, allow_schema, powerful
from ..database import connected, quoted
from ..errors import RestoreError
from .live import COPIES, OLD, REPLACED, Live, Tables
from .owners import Table, tables_of
from .turns import Turns

# A sequence: its schema, the table that it belongs to, whether a role may set it, and whether all of some others may.
_SEQUENCE = """
SELECT n.nspname, (SELECT d.refobjid::regclass::text FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
    AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') LIMIT 1),
  has_sequence_privilege(%s::name, c.oid, 'UPDATE'),
  (SELECT bool_and(has_sequence_privilege(o::name, c.oid, 'UPDATE')) FROM unnest(%s::text[]) o)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s::regclass"""

#: Of a key's values, how many rows have them.
ROWS_OF_KEY = "tradingflow rows"


class Key(NamedTuple):
    """A foreign key; tables as the server writes them.

    :param period: of the last columns, whether the one is to be covered by all of the others together
    :param enforced: whether anybody sees to it
    """

    name: str
    source: str
    goal: str
    columns: List[str]
    others: List[str]
    period: bool
    enforced: bool


class Moving(Live):
    """The database that is there, while rows of its tables are replaced; see Live."""

    def __init__(self, target: Dict[str, Any], role: str, *more: Any, **options: Any) -> None:
        super().__init__(target, role, *more, **options)
        self._shown: Dict[str, Table] = {}
        self._turns = Turns(role, role)
        #: Where foreign keys of tables of different owners are compared, by the key's name and table.
        self._links: Dict[Tuple[str, str], str] = {}

    def may_replace(self, tables: Tables, schemas: Dict[str, str], kept: Dict[str, str], keys: List[Key]) -> None:
        """Makes empty tables for the old rows, and lets owners' roles move rows.

        :param schemas: of the tables' twins, by the tables' schemas
        :param kept: of the tables for old rows, likewise
        :param keys: foreign keys that are looked at
        """
        if self.apart:
            with self._logins.superuser() as cursor:
                # Who may look at others' statements does not see the keys.
                cursor.execute(f"ALTER ROLE {quoted(self._role)} SET track_activities = off")
            self._begin_turns(tables, keys)
        with self.superuser() as connection, connection.cursor() as cursor:
            for name in kept.values():
                self._schema(connection, name, OLD)
                cursor.execute(f"CREATE TABLE {quoted(name)}.{quoted(REPLACED)} (replaced boolean)")
                if self.apart:
                    cursor.execute(f"GRANT INSERT ON {quoted(name)}.{quoted(REPLACED)} TO {quoted(self._role)}")
            for schema, name in tables:
                # Nothing is planned for it, as would be for CREATE TABLE AS.
                new, old = f"{quoted(kept[schema])}.{quoted(name)}", f"{quoted(schema)}.{quoted(name)}"
                cursor.execute(f"CREATE TABLE {new} (LIKE {old})")
            for name in schemas.values():
                # It goes away when the rows are in place.
                self._mark(connection, name, COPIES)
            if not self.apart:
                return
            self._schema(connection, self._role, COPIES)
            for owners, role in self._roles.items():
                self._turns.make(connection, owners, role)
            for schema, name in tables:
                role = self._roles[self._tables[schema, name].owners]
                allow(cursor, role, schema, name, "SELECT", "INSERT", "DELETE")
                allow(cursor, role, schemas[schema], name, "SELECT")
                allow(cursor, role, kept[schema], name, "INSERT")
            for number, key in enumerate(keys):
                self._link(cursor, f"key_{number}", key)

    def _begin_turns(self, tables: Tables, keys: List[Key]) -> None:
        """Makes the roles of whose the tables are, and those that their keys are about."""
        with connected(self.target, pinned=True) as connection:
            found = tables_of(connection)
        self._tables = {(each.schema, each.name): each for each in found}
        self._shown = {each.shown: each for each in found}
        touched = [self._tables[name] for name in tables]
        touched += [self._shown[name] for key in keys for name in (key.source, key.goal)]
        with self.superuser() as connection, connection.cursor() as cursor:
            mighty = set(powerful(cursor))
            for owners in self._groups((each.schema, each.name) for each in touched):
                of_these = [each for each in touched if each.owners == owners and each.ruled]
                # Nobody else may look past policies: it would do so everywhere.
                past = any(each.forced or each.owner in mighty for each in of_these)
                role = self._roles[owners] = self._next()
                cursor.execute(f"CREATE ROLE {quoted(role)} NOLOGIN {'BYPASSRLS' if past else ''}")
                self._join(connection, owners, role)

    def _link(self, cursor: Any, name: str, key: Key) -> None:
        """Lets roles look at the two tables of a foreign key, each at its own."""
        source, goal = self._shown[key.source], self._shown[key.goal]
        for each in (source, goal):
            allow(cursor, self._roles[each.owners], each.schema, each.name, "SELECT")
        if source.owners == goal.owners:
            return
        table = f"{quoted(self._role)}.{name}"
        # Not planned either.
        cursor.execute(f"CREATE TABLE {table} (LIKE {key.source}, {quoted(ROWS_OF_KEY)} bigint)")
        query = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        cursor.execute(query, (table,))
        for (column,) in cursor.fetchall():
            if column not in (*key.columns, ROWS_OF_KEY):
                cursor.execute(f"ALTER TABLE {table} DROP COLUMN {quoted(column)}")
        cursor.execute(f"GRANT INSERT ON {table} TO {quoted(self._roles[source.owners])}")
        cursor.execute(f"GRANT SELECT ON {table} TO {quoted(self._roles[goal.owners])}")
        self._links[key.name, key.source] = table

    def turn(self, connection: Any, schema: str, name: str) -> Any:
        """A connection of hands as who may move rows of a table."""
        return self._turns.take(connection, self._tables[schema, name].owners) if self.apart else connection

    def turn_for(self, connection: Any, shown: str) -> Any:
        """The same, by a table's name as the server writes it."""
        if not self.apart:
            return connection
        table = self._shown.get(shown)
        if table is None or table.owners not in self._roles:
            raise RestoreError(f"A foreign key of {shown} was made meanwhile. Nothing was replaced.", "Run it again.")
        return self._turns.take(connection, table.owners)

    def nobody(self, connection: Any) -> Any:
        """The connection of hands for looks at the catalogue, as nobody's code left it."""
        return self._turns.nobody(connection) if self.apart else connection

    def link(self, key: Key) -> str:
        """The table through which a foreign key's values are handed on from one owner to the other; empty for none."""
        return self._links.get((key.name, key.source), "")

    def may_count_on(
        self, tables: Tables, sequences: Dict[Tuple[str, str], List[str]]
    ) -> Dict[Tuple[str, str], List[str]]:
        """Lets roles set the sequences of tables, as the server writes their names.

        :returns: those that stay as they are: a column may take its numbers from a sequence of somebody else, which
            the table's owners could set to its end
        """
        left: Dict[Tuple[str, str], List[str]] = {}
        if not self.apart:
            return left
        with self.superuser() as connection, connection.cursor() as cursor:
            for table in tables:
                owners = self._tables[table].owners
                role = self._roles[owners]
                for each in sequences[table]:
                    cursor.execute(_SEQUENCE, (role, sorted(owners), each))
                    schema, of, may, all_may = cursor.fetchone()
                    of_theirs = of in self._shown and self._shown[of].owners == owners
                    if not (may or all_may or of_theirs):
                        left.setdefault(table, []).append(each)
                        continue
                    allow_schema(cursor, role, schema, "USAGE")
                    cursor.execute(f"GRANT SELECT, UPDATE ON SEQUENCE {each} TO {quoted(role)}")
        return left
