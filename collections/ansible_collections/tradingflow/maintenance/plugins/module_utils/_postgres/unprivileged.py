# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores what others own without a superuser running what they wrote.

A CHECK constraint, domain, generated column, partition key or cast of whoever may create tables runs when rows are
loaded and when a constraint is validated, with the rights of whoever does that. So both are done by roles that log in
without a superuser's rights, one for each owner of tables: neither SET ROLE nor SET SESSION AUTHORIZATION leads out of
them. And until the database is handed over, each function that belongs to no superuser runs as its owner (SECURITY
DEFINER), as the planner calls immutable ones for anybody who only looks at a table.
"""

from __future__ import annotations

import secrets
from itertools import groupby
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from ..database import quoted
from ..errors import RestoreError
from .literals import GIVE, of_others
from .logins import Logins, allow, allow_schema, powerful, reads_all
from .sql import NotUnderstood, literal
from .toc import DATA, OF_OTHERS, PRE_DATA, ROWS, Contents, Entry, loaded_into, of_these

#: What is validated against rows as whoever adds it.
_VALIDATED = ("CHECK CONSTRAINT", "FK CONSTRAINT")

# Flips a function as soon as it belongs to somebody who is no superuser, and marks it, so that it can be flipped back.
# Where it is asked for, gives one a search_path that has none.
_GUARD = """
CREATE SCHEMA {name};
REVOKE ALL ON SCHEMA {name} FROM PUBLIC;
CREATE FUNCTION {name}.as_owner() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $guard$
DECLARE found record;
BEGIN
  FOR found IN SELECT p.oid::regprocedure AS name, NOT p.prosecdef AND NOT r.rolsuper AS flip,
      {path} <> '' AND NOT EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%') AS path
    FROM pg_event_trigger_ddl_commands() c
    JOIN pg_proc p ON c.classid = 'pg_proc'::regclass AND p.oid = c.objid JOIN pg_roles r ON r.oid = p.proowner
    WHERE p.prokind <> 'a'
  LOOP
    IF found.flip THEN
      EXECUTE format('ALTER ROUTINE %s SECURITY DEFINER SET %I = on', found.name, '{mark}');
    END IF;
    IF found.path THEN
      EXECUTE format('ALTER ROUTINE %s SET search_path = %s SET %I = on', found.name, {path}, '{mark}_path');
    END IF;
  END LOOP;
END $guard$;
CREATE EVENT TRIGGER {name} ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE', 'ALTER FUNCTION',
  'ALTER PROCEDURE', 'ALTER ROUTINE') EXECUTE FUNCTION {name}.as_owner();
ALTER EVENT TRIGGER {name} ENABLE ALWAYS"""

_OWNER = "SELECT r.rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = %s::regclass"
_MARKED = "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE %s = ANY(p.proconfig)"

#: Restores entries as the user of an option "database", with more options of pg_restore.
Run = Callable[..., None]


class Unprivileged:
    """A database in the making.

    :param made: the option "database" for it, as a superuser
    :param name: of what is made here and gone again at the end: roles and a schema begin so
    :param trusted: everything is done by the superuser, as by pg_restore alone
    :param insist: how to ask for that, for a remedy
    :param search_path: of functions that have none, until the database is handed over
    """

    def __init__(
        self,
        made: Dict[str, Any],
        contents: Contents,
        name: str,
        *,
        trusted: bool = False,
        insist: str = "",
        search_path: Sequence[str] = (),
    ) -> None:
        self._made = made
        self._contents = contents
        self._name = name
        self._trusted = trusted
        self._insist = insist
        self._path = ", ".join(map(quoted, search_path))
        self._mark = f"tradingflow.restoring_{secrets.token_hex(6)}"
        self._logins = Logins(made)
        self._begun = self._guarded = False
        self._others: Set[str] = set()
        #: Of these, those whose members could become superusers: nobody is made one.
        self._powerful: Set[str] = set()
        self._limit = -1
        self._maker_name = ""
        self._numbers = {each.number: each for each in contents.entries}
        self._tables = {(each.schema, each.name): each for each in contents.entries if each.kind == "TABLE"}
        #: Roles that log in, by whose tables they fill; those of superusers are filled by one that is nobody's.
        self._roles: Dict[str, str] = {}
        #: Whose functions ran with a superuser's rights.
        self.believed: List[str] = []
        self._reader = made

    @property
    def reader(self) -> Dict[str, Any]:
        """The option "database" as who looks at the restored rows and views."""
        if self._reader is not self._made:
            self._logins.let_read(f"{self._name}_r")
        return self._reader

    def _begin(self) -> None:
        self._begun = True
        owners = {entry.owner for entry in self._contents.entries if entry.owner}
        with self._logins.superuser() as cursor:
            cursor.execute("SELECT rolname FROM pg_roles WHERE rolsuper")
            # Where nobody but superusers owns anything, there is nobody who could have planted anything.
            others = owners - {row[0] for row in cursor.fetchall()}
            if self._trusted:
                self.believed = sorted(others)
            self._others = set() if self._trusted else others
            self._check_literals()
            if not self._others and not self._path:
                return
            self._guarded = True
            guard = {"name": quoted(self._name), "mark": self._mark, "path": literal(self._path)}
            cursor.execute(_GUARD.format(**guard))
            if not self._others:
                return
            cursor.execute("SELECT datconnlimit FROM pg_database WHERE datname = current_database()")
            self._limit = int(cursor.fetchone()[0])
            cursor.execute(f"ALTER DATABASE {quoted(self._made['name'])} CONNECTION LIMIT -1")
            self._powerful = set(powerful(cursor))
        self._reader = self._logins.reader(f"{self._name}_r")

    def _check_literals(self) -> None:
        text = of_others(self._contents, self._others)
        if text:
            raise RestoreError(text, GIVE + (f", {self._insist}." if self._insist else "."))

    def restore(self, entries: List[Entry], run: Run) -> None:
        """Restores entries, each by whom it is safe.

        :raises MaintenanceError: what run raises, or our roles cannot log in
        """
        if not self._begun:
            self._begin()
        for who, part in self._parts(entries):
            if part and who is None:
                self._made_safely(part, run)
            elif part:
                run(self._as(who or "", part), part)

    def everything(self) -> Tuple[List[Entry], List[Entry]]:
        """All entries: those before the rows with their comments and rights, and the rest."""
        first = [each for each in self._contents.entries if each.section == PRE_DATA]
        first += of_these(self._contents, {each.number for each in first})
        numbers = {each.number for each in first}
        return first, [each for each in self._contents.entries if each.number not in numbers]

    def _parts(self, entries: List[Entry]) -> List[Tuple[Optional[str], List[Entry]]]:
        """Entries in order, by the owner who restores them; None is the superuser."""
        validated = {each.number: each.owner for each in entries if each.kind in _VALIDATED}
        validated = {number: owner for number, owner in validated.items() if owner in self._others - self._powerful}
        if not self._others or not (validated or any(each.kind == ROWS for each in entries)):
            return [(None, entries)]
        early: List[Entry] = []
        rows: Dict[Optional[str], List[Entry]] = {}
        rest: List[Entry] = []
        constraints: Dict[Optional[str], List[Entry]] = {}
        for each in entries:
            whose = [validated[need] for need in each.needs if need in validated and each.kind in OF_OTHERS]
            if each.kind == ROWS:
                rows.setdefault(self._filled(each).owner, []).append(each)
            elif each.number in validated or whose:
                constraints.setdefault((whose or [each.owner])[0], []).append(each)
            else:
                (early if each.section in (PRE_DATA, DATA) else rest).append(each)
        return [(None, early), *rows.items(), (None, rest), *constraints.items()]

    def _made_safely(self, entries: List[Entry], run: Run) -> None:
        """Restores entries as the superuser, but those that evaluate a literal of a domain: its CHECK is another's.

        These are bounds of partitions, and what an aggregate begins with.
        """
        domains = any(each.kind == "DOMAIN" and each.owner in self._others for each in self._contents.entries)

        def kind(each: Entry) -> Tuple[str, str]:
            if domains and each.kind == "TABLE ATTACH":
                return each.kind, ""
            return (each.kind, each.owner) if domains and each.kind == "AGGREGATE" and _begins(each) else ("", "")

        for (what, owner), some in groupby(entries, kind):
            part = list(some)
            if not what:
                run(self._made, part)
            elif what == "AGGREGATE":
                self._aggregates(owner, part, run)
            else:
                self._attach(part, run)

    def _maker(self) -> str:
        """Who makes what belongs to others afterwards."""
        if not self._maker_name:
            owners = sorted(self._others - self._powerful)
            self._maker_name = self._logins.make(f"{self._name}_m", members_of=owners)
        return self._maker_name

    def _attach(self, entries: List[Entry], run: Run) -> None:
        maker = self._maker()
        near = {number for each in entries for number in each.needs if number in self._numbers}
        tables = [self._numbers[number] for number in sorted(near) if self._numbers[number].kind == "TABLE"]
        with self._logins.superuser() as cursor:
            owners = []
            for each in tables:
                table = f"{quoted(each.schema)}.{quoted(each.name)}"
                cursor.execute(_OWNER, (table,))
                owners.append((table, cursor.fetchone()[0]))
                allow_schema(cursor, maker, each.schema, "USAGE")
                cursor.execute(f"ALTER TABLE {table} OWNER TO {quoted(maker)}")
        run(self._logins.login(maker), entries)
        with self._logins.superuser() as cursor:
            for table, owner in owners:
                cursor.execute(f"ALTER TABLE {table} OWNER TO {quoted(owner)}")

    def _aggregates(self, owner: str, entries: List[Entry], run: Run) -> None:
        maker = self._maker()
        with self._logins.superuser() as cursor:
            for each in entries:
                allow_schema(cursor, maker, each.schema, "USAGE")
                allow_schema(cursor, maker, each.schema, "CREATE")
        run(self._logins.login(maker), entries, "--no-owner")
        with self._logins.superuser() as cursor:
            cursor.execute("SELECT oid::regprocedure::text FROM pg_proc WHERE proowner = %s::regrole", (quoted(maker),))
            for (name,) in cursor.fetchall():
                cursor.execute(f"ALTER ROUTINE {name} OWNER TO {quoted(owner)}")

    def _filled(self, entry: Entry) -> Entry:
        """The table that rows are loaded into."""
        try:
            into = loaded_into(entry, self._contents.standard) if entry.copy else (entry.schema, entry.name)
        except NotUnderstood as error:
            raise RestoreError(f"The table of contents is not understood: {error}", "Please report this.") from None
        return self._tables.get(into, entry)

    def _as(self, owner: str, entries: List[Entry]) -> Dict[str, Any]:
        """The option "database" as a role that may do for an owner what is to be done, and no more."""
        owner = owner if owner in self._others - self._powerful else ""
        if owner not in self._roles:
            self._roles[owner] = self._role(owner)
        role = self._roles[owner]
        with self._logins.superuser() as cursor:
            for each in entries:
                if each.kind == ROWS:
                    table = self._filled(each)
                    allow(cursor, role, table.schema, table.name, "INSERT")
                for needed in self._looked_at(each):
                    # With SELECT all rows are looked at in one query, else one by one as the tables' owners.
                    allow(cursor, role, needed.schema, needed.name, "REFERENCES", "SELECT")
        return self._logins.login(role)

    def _looked_at(self, entry: Entry) -> List[Entry]:
        """Tables that a foreign key is about."""
        if entry.kind != "FK CONSTRAINT":
            return []
        near = [self._numbers[number] for number in entry.needs if number in self._numbers]
        near += [self._numbers[number] for each in near for number in each.needs if number in self._numbers]
        return [each for each in near if each.kind == "TABLE"]

    def _role(self, owner: str) -> str:
        role = f"{self._name}_{len(self._roles)}"
        if owner:
            return self._logins.make(role, members_of=[owner])
        with self._logins.superuser() as cursor:
            reads = reads_all(cursor.connection)
        # Superusers' functions may look at superusers' tables; who reads does at all.
        return self._logins.make(role, members_of=["pg_read_all_data"] if reads else [])

    def end(self) -> None:
        """Before it is handed over: everything is as the dump says, and our roles are gone."""
        if not self._guarded:
            return
        with self._logins.superuser() as cursor:
            cursor.execute(f"DROP EVENT TRIGGER {quoted(self._name)}; DROP SCHEMA {quoted(self._name)} CASCADE")
            cursor.execute(_MARKED, (f"{self._mark}=on",))
            for (name,) in cursor.fetchall():
                cursor.execute(f"ALTER ROUTINE {name} SECURITY INVOKER RESET {quoted(self._mark)}")
            cursor.execute(_MARKED, (f"{self._mark}_path=on",))
            for (name,) in cursor.fetchall():
                cursor.execute(f"ALTER ROUTINE {name} RESET search_path RESET {quoted(self._mark + '_path')}")
            if self._others:
                cursor.execute(f"ALTER DATABASE {quoted(self._made['name'])} CONNECTION LIMIT {self._limit}")
        self._logins.drop()
        self._reader, self._guarded = self._made, False
        self._roles, self._others = {}, set()


def _begins(aggregate: Entry) -> bool:
    """Whether an aggregate begins with a value, as far as can be told."""
    return "INITCOND" in aggregate.definition.upper()
