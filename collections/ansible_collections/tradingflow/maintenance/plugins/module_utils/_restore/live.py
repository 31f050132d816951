# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables put into the database that is there, where the functions of whoever may make tables run.

A superuser makes schemas, gives rights and hands over, which calls nothing. All else is done by roles of ours without
a superuser's rights, one for each owner of tables, and of those that one tree of partitions has in common. What is not
finished carries a mark, by which a later run knows what may go.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import AbstractSet, Any, Dict, Iterable, Iterator, List, Optional, Set, Tuple, TypeVar

from .._postgres import server
from .._postgres.logins import Logins, allow_schema, drop_roles, others, powerful
from .._postgres.sql import literal
from .._postgres.toc import Entry
from ..database import connected, quoted
from ..errors import DatabaseError, RestoreError
from .owners import Owners, Table, by_owners, tables_of

#: What a schema's comment says of a destination: its copies of tables may go, old rows may not.
COPIES = "tradingflow-maintenance: copies that are not finished, "
OLD = "tradingflow-maintenance: old rows, not finished, "
#: A table beside old ones that has a row as soon as the tables' own were replaced: old ones may have had none.
REPLACED = "tradingflow-maintenance: replaced"
_OWNERS = """
SELECT n.nspname, c.relname, r.rolname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY(%s) ORDER BY 1, 2"""
_STATISTICS = """
SELECT n.nspname, s.stxname, r.rolname FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
JOIN pg_roles r ON r.oid = s.stxowner WHERE n.nspname = ANY(%s) ORDER BY 1, 2"""
_SPACES = """
SELECT DISTINCT t.spcname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_tablespace t ON t.oid = c.reltablespace WHERE n.nspname = ANY(%s)"""
_UNFINISHED = """
SELECT n.nspname, obj_description(n.oid, 'pg_namespace') FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
WHERE r.rolsuper AND obj_description(n.oid, 'pg_namespace') IN %s ORDER BY 1"""
_TABLES = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind <> 'i' AND n.nspname = %s"""
_NAMESPACES = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1"

# What schemas hold that may call something, in words that are the same in two databases of one server.
_SHAPE = """
WITH those AS (SELECT oid FROM pg_namespace WHERE nspname = ANY(%s)),
relations AS (SELECT * FROM pg_class WHERE relnamespace IN (SELECT oid FROM those)),
found(what) AS (
  SELECT json_build_array('object', pg_describe_object(d.classid, d.objid, d.objsubid)) FROM pg_depend d
  WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid IN (SELECT oid FROM those)
  UNION ALL SELECT json_build_array('table', oid::regclass, pg_get_partkeydef(oid)) FROM relations WHERE relkind = 'p'
  UNION ALL SELECT json_build_array('column', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
    a.attgenerated, pg_get_expr(d.adbin, d.adrelid))
  FROM pg_attribute a JOIN relations r ON r.oid = a.attrelid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL SELECT json_build_array('index', pg_get_indexdef(oid)) FROM relations WHERE relkind IN ('i', 'I')
  UNION ALL SELECT json_build_array('constraint', conrelid::regclass, conname, convalidated, pg_get_constraintdef(oid))
  FROM pg_constraint WHERE conrelid IN (SELECT oid FROM relations) AND contype IN ('c', 'f', 'x')
  UNION ALL SELECT json_build_array('trigger', pg_get_triggerdef(oid)) FROM pg_trigger
  WHERE tgrelid IN (SELECT oid FROM relations) AND NOT tgisinternal
  UNION ALL SELECT json_build_array('rule', pg_get_ruledef(oid)) FROM pg_rewrite
  WHERE ev_class IN (SELECT oid FROM relations)
  UNION ALL SELECT json_build_array('policy', polrelid::regclass, polname) FROM pg_policy
  WHERE polrelid IN (SELECT oid FROM relations)
  UNION ALL SELECT json_build_array('statistics', pg_get_statisticsobjdef(oid)) FROM pg_statistic_ext
  WHERE stxnamespace IN (SELECT oid FROM those))
SELECT what::text FROM found ORDER BY 1"""

Tables = List[Tuple[str, str]]

#: A kind of it.
L = TypeVar("L", bound="Live")


class Live:
    """The database that is there, while tables are put into it. Leaving the context removes the roles.

    :param target: the option "database" for it, as a superuser
    :param role: name of a role that has no rights, with which those of the others begin
    :param place: see scratch.destination
    :param owners: of anything in the dump, whose functions come along
    :param trusted: the superuser does it all
    :ivar hands: the option "database" as who calls what has rights
    :ivar options: of connections of who has, besides those of everybody
    """

    def __init__(
        self, target: Dict[str, Any], role: str, place: str, *, owners: AbstractSet[str], trusted: bool
    ) -> None:
        self.target = target
        self.hands = target
        self.options = ""
        self._role = role
        self._place = place[-12:]
        self._owners_in_dump = owners
        self._trusted = trusted
        self._logins = Logins(target)
        #: By whose tables they are for.
        self._roles: Dict[Owners, str] = {}
        self._tables: Dict[Tuple[str, str], Table] = {}
        self._spaces: List[str] = []
        self._schemas: List[str] = []

    def __enter__(self: L) -> L:
        with self._logins.superuser() as cursor:
            version = cursor.connection.server_version
            cursor.execute("SELECT rolname FROM pg_roles WHERE rolsuper")
            foreign = self._owners_in_dump - {row[0] for row in cursor.fetchall()}
            apart = bool(foreign or others(cursor)) and not self._trusted
        if not apart:
            # Nobody is there who could have planted anything.
            self.options = server.quiet(version)
            return self
        self.hands = self._login(self._role)
        return self

    def _login(self, role: str) -> Dict[str, Any]:
        """Makes a role that logs in, and gives the option "database" as it."""
        self._logins.make(role)
        with self._logins.superuser() as cursor:
            # It could not say so itself.
            cursor.execute(f"ALTER ROLE {quoted(role)} SET session_replication_role = replica")
            if cursor.connection.server_version >= 170000:
                cursor.execute(f"ALTER ROLE {quoted(role)} SET event_triggers = off")
        return self._logins.login(role)

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            if self._logins.names:
                with self._logins.superuser() as cursor:
                    # Of Moving.
                    cursor.execute(f"DROP SCHEMA IF EXISTS {quoted(self._role)} CASCADE")
                    drop_roles(cursor.connection, self._role, owned=True)
        except DatabaseError:
            # What it ended of is not hidden; the next run removes the role.
            if not kind:
                raise

    @property
    def apart(self) -> bool:
        """Whether somebody else than the superuser does it."""
        return self.hands is not self.target

    @contextmanager
    def superuser(self) -> Iterator[Any]:
        """A connection for what calls nothing, in one transaction."""
        with connected(self.target, statement_timeout=0, pinned=True) as connection:
            server.run(connection, "SET default_transaction_read_only = off")
            server.be_quiet(connection)
            server.run(connection, "BEGIN")
            yield connection
            server.run(connection, "COMMIT")

    def _schema(self, connection: Any, name: str, mark: str) -> None:
        """Makes a schema that is not finished."""
        server.run(connection, f"CREATE SCHEMA {quoted(name)}")
        self._mark(connection, name, mark)
        if self.apart:
            roles = ", ".join(map(quoted, [self._role, *self._roles.values()]))
            server.run(connection, f"GRANT USAGE ON SCHEMA {quoted(name)} TO {roles}")

    def _mark(self, connection: Any, name: str, mark: str) -> None:
        server.run(connection, f"COMMENT ON SCHEMA {quoted(name)} IS {literal(mark + self._place)}")

    @staticmethod
    def finished(connection: Any, names: Iterable[str]) -> None:
        """From now on schemas stay. What has to be remembered of them is by now: nothing finds them again."""
        for name in names:
            server.run(connection, f"COMMENT ON SCHEMA {quoted(name)} IS NULL")
            server.run(connection, f"DROP TABLE IF EXISTS {quoted(name)}.{quoted(REPLACED)}")

    def may_make(self, made: Dict[str, Any], schemas: List[str]) -> None:
        """Makes schemas, and roles that make tables there as they are in another database.

        :param made: the option "database" for that
        """
        with connected(made, pinned=True) as source:
            self._tables = {(each.schema, each.name): each for each in tables_of(source) if each.schema in schemas}
            self._spaces = [row[0] for row in server.rows(source, _SPACES, (schemas,))]
        self._schemas = schemas
        for owners in self._groups(self._tables) if self.apart else []:
            self._roles[owners] = self._next()
            self._login(self._roles[owners])
        with self.superuser() as connection:
            for name in schemas:
                self._schema(connection, name, COPIES)
            for owners, role in self._roles.items():
                self._join(connection, owners, role)

    def parts(self, entries: List[Entry]) -> List[Tuple[Optional[Owners], List[Entry]]]:
        """Entries of a dump of what is made, in parts that come one after the other, each with whose it is."""
        if not self.apart:
            return [(None, entries)]
        return [*by_owners(entries, {name: table.owners for name, table in self._tables.items()})]

    @contextmanager
    def making(self, owners: Optional[Owners]) -> Iterator[Dict[str, Any]]:
        """The option "database" as who makes tables of owners, and nobody else does meanwhile."""
        if owners is None:
            yield self.target
            return
        role = self._roles[owners]
        self._creating(f"TO {quoted(role)}")
        yield self._logins.login(role)
        self._creating(f"FROM {quoted(role)}")

    def _creating(self, whom: str) -> None:
        what = [f"SCHEMA {quoted(name)}" for name in self._schemas]
        what += [f"TABLESPACE {quoted(name)}" for name in self._spaces]
        with self.superuser() as connection:
            for each in what:
                server.run(connection, f"{'GRANT' if whom.startswith('TO') else 'REVOKE'} CREATE ON {each} {whom}")

    def lookers(self) -> List[Tuple[Dict[str, Any], Optional[Set[Tuple[str, str]]]]]:
        """The option "database" as who looks at which tables that were made; None for all."""
        if not self.apart:
            return [(self.target, None)]
        return [(self._logins.login(role), self._of(owners)) for owners, role in self._roles.items()]

    def _of(self, owners: Owners) -> Set[Tuple[str, str]]:
        return {name for name, table in self._tables.items() if table.owners == owners}

    def _groups(self, names: Iterable[Tuple[str, str]]) -> List[Owners]:
        return sorted({self._tables[name].owners for name in names}, key=sorted)

    def _next(self) -> str:
        return f"{self._role}{len(self._roles)}"

    @staticmethod
    def _join(connection: Any, owners: Owners, role: str) -> None:
        """Lets a role do what owners may, but those who may do what only a superuser should."""
        with connection.cursor() as cursor:
            mighty = owners & set(powerful(cursor))
            for owner in sorted(owners - mighty):
                cursor.execute(f"GRANT {quoted(owner)} TO {quoted(role)}")
            # Their tables may have anybody's types.
            for (name,) in server.rows(connection, _NAMESPACES) if mighty else []:
                allow_schema(cursor, role, name, "USAGE")

    def hand_over(self, made: Dict[str, Any], schemas: List[str]) -> None:
        """Gives what was made to its owners.

        :raises RestoreError: there is more or other than was to be made: something made it meanwhile
        """
        with connected(made, pinned=True) as source:
            owners = server.rows(source, _OWNERS, (schemas,))
            statistics = server.rows(source, _STATISTICS, (schemas,))
            wanted = server.rows(source, _SHAPE, (schemas,))
        with self.superuser() as connection:
            for schema, name, owner in owners:
                table = f"{quoted(schema)}.{quoted(name)}"
                server.run(connection, f"ALTER TABLE {table} OWNER TO {quoted(owner)}")
            for schema, name, owner in statistics:
                server.run(connection, f"ALTER STATISTICS {quoted(schema)}.{quoted(name)} OWNER TO {quoted(owner)}")
            if self.apart and server.rows(connection, _SHAPE, (schemas,)) != wanted:
                raise RestoreError(
                    f"What lies in {', '.join(schemas)} is not what was put there: a function of a table changed it.",
                    "Nothing of it was kept. Look at the functions that CHECK constraints, domains and indexes call.",
                )


def clean(target: Dict[str, Any], place: str) -> Tuple[List[str], List[str]]:
    """Removes what a dead run left unfinished in the database that is there: no old rows are among it.

    :param place: see scratch.destination
    :returns: names of the schemas that were removed, and of those with old rows, whose tables had been replaced: they
        are still marked, see finished
    """
    gone: List[str] = []
    stayed: List[str] = []
    with connected(target, statement_timeout=0, pinned=True) as connection:
        server.run(connection, "SET default_transaction_read_only = off")
        server.be_quiet(connection)
        marks = (COPIES + place[-12:], OLD + place[-12:])
        for name, mark in server.rows(connection, _UNFINISHED, (marks,)):
            if mark == marks[0]:
                server.run(connection, f"DROP SCHEMA {quoted(name)} CASCADE")
            # Else of a run that died right after the rows had been replaced.
            (gone if mark == marks[0] or drop_without_rows(connection, name) else stayed).append(name)
    return gone, stayed


def finished(target: Dict[str, Any], names: List[str]) -> None:
    """From now on schemas with old rows of a dead run stay, which are remembered."""
    with connected(target, statement_timeout=0, pinned=True) as connection:
        server.run(connection, "SET default_transaction_read_only = off")
        server.be_quiet(connection)
        Live.finished(connection, names)


def drop_without_rows(connection: Any, schema: str) -> bool:
    """Removes a schema for old rows if none were put there, see REPLACED, and says whether it did.

    The tables are ours, and have nothing that calls anything. Whoever moves rows there may be about to commit: that is
    waited for, as a look without a lock would see none, and the removal would wait, and then remove them.
    """
    server.run(connection, "BEGIN")
    tables = [table for (table,) in server.rows(connection, _TABLES, (schema,))]
    if tables:
        server.run(connection, f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
    found = any(server.rows(connection, f"SELECT FROM {table} LIMIT 1") for table in tables)
    if not found:
        server.run(connection, f"DROP SCHEMA {quoted(schema)} CASCADE")
    server.run(connection, "COMMIT")
    return not found
