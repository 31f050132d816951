# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles of ours that log in without a superuser's rights, for what may call functions of others.

Neither SET ROLE nor SET SESSION AUTHORIZATION leads out of them, as they do out of a superuser's session that only
pretends to be somebody else.
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator, List, Sequence

from ..database import connected, quoted
from ..errors import DatabaseError, RestoreError
from ..words import printable
from .server import be_quiet

try:
    import psycopg2
    from psycopg2.extensions import encrypt_password
except ImportError:
    psycopg2 = encrypt_password = None  # type: ignore[assignment]

#: Roles of ours that were left by whoever died do not let anybody in for longer.
_VALID = "2 days"
#: What the server says when it has no connection left for who is no superuser.
_FULL = ("too many connections", "too many clients", "connection slots are reserved")
#: First version with a role that reads everything.
READS_ALL = 140000

_TREE = """
SELECT n.nspname, c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = %s::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree(%s::regclass))"""

# Roles that may become a superuser, or do on the server's host what only one may. Before version 16 who makes roles may
# give them any role that is no superuser.
_POWERFUL = """
SELECT r.rolname FROM pg_roles r WHERE EXISTS (SELECT FROM pg_roles s
  WHERE (s.rolsuper OR s.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
         OR s.rolcreaterole AND current_setting('server_version_num')::int < 160000)
    AND pg_has_role(r.oid, s.oid, 'MEMBER'))"""

# Event triggers that fire whatever a session says, with functions of others.
_ALWAYS = """
SELECT e.evtname FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_roles r ON r.oid = p.proowner
WHERE e.evtenabled IN ('A', 'R') AND NOT r.rolsuper ORDER BY 1"""
_NAMESPACES = """
SELECT nspname FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' ORDER BY 1"""

#: Whether anything in a database belongs to anybody but superusers.
_OTHERS = """
SELECT EXISTS (SELECT FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
  WHERE s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' AND NOT r.rolsuper
    AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))"""


class Logins:
    """Makes such roles in one database's server, and removes them again.

    :param database: the option "database", as a superuser
    """

    def __init__(self, database: Dict[str, Any]) -> None:
        self.database = database
        self._password = secrets.token_urlsafe(24)
        self.names: List[str] = []

    @contextmanager
    def superuser(self) -> Iterator[Any]:
        """A cursor for what calls no function of others."""
        with connected(self.database, statement_timeout=0, pinned=True) as connection, connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off; SET lock_timeout = 0")
            be_quiet(connection)
            yield cursor

    def make(self, role: str, *attributes: str, members_of: Sequence[str] = ()) -> str:
        """Makes a role that may connect to the database."""
        with self.superuser() as cursor:
            # The password itself would be in the server's log.
            verifier = encrypt_password(self._password, role, cursor.connection, "scram-sha-256")
            cursor.execute("SELECT (now() + %s::interval)::text", (_VALID,))
            cursor.execute(
                f"CREATE ROLE {quoted(role)} LOGIN {' '.join(attributes)} PASSWORD %s VALID UNTIL %s",
                (verifier, cursor.fetchone()[0]),
            )
            self.names.append(role)
            for owner in members_of:
                cursor.execute(f"GRANT {quoted(owner)} TO {quoted(role)}")
            cursor.execute("SELECT has_database_privilege(%s, %s, 'CONNECT')", (role, self.database["name"]))
            if not cursor.fetchone()[0]:
                cursor.execute(f"GRANT CONNECT ON DATABASE {quoted(self.database['name'])} TO {quoted(role)}")
        return role

    def reader(self, role: str) -> Dict[str, Any]:
        """The option "database" as a new role that reads everything and may do nothing else.

        Before version 14 that is what is there now.
        """
        with self.superuser() as cursor:
            reads = reads_all(cursor.connection)
        self.make(role, "BYPASSRLS", members_of=["pg_read_all_data"] if reads else [])
        self.let_read(role)
        return self.login(role)

    def let_read(self, role: str) -> None:
        """Lets a reader read what was made since, where it does not by itself."""
        with self.superuser() as cursor:
            if not reads_all(cursor.connection):
                allow_all(cursor, role)

    def login(self, role: str) -> Dict[str, Any]:
        """The option "database" as a role that was made.

        :raises RestoreError: the server does not let it in
        """
        chosen = {**self.database, "user": role, "password": self._password}
        try:
            with connected(chosen):
                return chosen
        except DatabaseError as error:
            remedy = "Let roles log in from here with a password (pg_hba.conf: scram-sha-256)."
            if any(words in error.message for words in _FULL):
                remedy = "Let more connections in (ALTER DATABASE ... CONNECTION LIMIT, max_connections)."
            raise RestoreError(
                f"Rows of others than superusers are not loaded as a superuser, and {role} cannot log in:"
                f" {error.message}",
                remedy,
            ) from None

    def drop(self) -> None:
        """Removes the roles that were made."""
        with self.superuser() as cursor:
            for role in self.names:
                cursor.execute(f"DROP OWNED BY {quoted(role)}; DROP ROLE {quoted(role)}")
        self.names = []


def others(cursor: Any) -> bool:
    """Whether anything in a database belongs to anybody but superusers, who alone could plant anything then."""
    cursor.execute(_OTHERS)
    return bool(cursor.fetchone()[0])


def powerful(cursor: Any) -> List[str]:
    """Roles whose members could do what only a superuser may."""
    cursor.execute(_POWERFUL)
    return [row[0] for row in cursor.fetchall()]


def reads_all(connection: Any) -> bool:
    """Whether a server has a role that reads everything."""
    return bool(connection.server_version >= READS_ALL)


def allow_all(cursor: Any, role: str) -> None:
    """Lets a role read all that is in a database, where there is no role that does.

    :raises RestoreError: an event trigger that is always on would run a function of somebody else as a superuser
    """
    cursor.execute(_ALWAYS)
    found = [row[0] for row in cursor.fetchall()]
    if found:
        names = printable(", ".join(found))
        raise RestoreError(
            f"Rights cannot be given without running functions of others as a superuser: {names}.",
            "These event triggers are ENABLE ALWAYS or REPLICA: give their functions to a superuser in the source.",
        )
    cursor.execute(_NAMESPACES)
    for (name,) in cursor.fetchall():
        schema, whom = quoted(name), quoted(role)
        cursor.execute(f"GRANT USAGE ON SCHEMA {schema} TO {whom}")
        for kind in ("TABLES", "SEQUENCES"):
            cursor.execute(f"GRANT SELECT ON ALL {kind} IN SCHEMA {schema} TO {whom}")


def allow(cursor: Any, role: str, schema: str, name: str, *rights: str) -> None:
    """Gives a role rights on a table and its partitions that it does not have already."""
    table = f"{quoted(schema)}.{quoted(name)}"
    cursor.execute(_TREE, (table, table))
    for space, partition in cursor.fetchall():
        allow_schema(cursor, role, space, "USAGE")
        for right in rights:
            cursor.execute("SELECT has_table_privilege(%s, %s, %s)", (role, partition, right))
            if not cursor.fetchone()[0]:
                cursor.execute(f"GRANT {right} ON TABLE {partition} TO {quoted(role)}")


def allow_schema(cursor: Any, role: str, schema: str, right: str) -> None:
    """Gives a role a right on a schema that it does not have already."""
    cursor.execute("SELECT has_schema_privilege(%s, %s, %s)", (role, schema, right))
    if not cursor.fetchone()[0]:
        cursor.execute(f"GRANT {right} ON SCHEMA {quoted(schema)} TO {quoted(role)}")


def ours(connection: Any, prefix: str) -> List[str]:
    """Roles of ours, by how their names begin."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE left(rolname, %s) = %s ORDER BY 1", (len(prefix), prefix))
        return [row[0] for row in cursor.fetchall()]


def drop_roles(connection: Any, prefix: str, *, owned: bool = False) -> None:
    """Removes roles of ours that a dead run left.

    :param owned: with what they have in this database
    """
    with connection.cursor() as cursor:
        for name in ours(connection, prefix):
            if owned:
                cursor.execute(f"DROP OWNED BY {quoted(name)} CASCADE")
            # One that still has rights somewhere cannot go, and does not let anybody in for long.
            with suppress(psycopg2.errors.DependentObjectsStillExist):
                cursor.execute(f"DROP ROLE {quoted(name)}")
