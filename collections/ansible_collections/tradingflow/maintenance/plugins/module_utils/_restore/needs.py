# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a dump wants of the server and its host, looked for before anything is changed: extensions and locales."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional, Tuple

from .._postgres import hba, server
from .._postgres.globals import Read, roles_made, superusers
from .._postgres.literals import GIVE, of_others
from .._postgres.logins import others
from .._postgres.sql import NAME, SIGN, WORD, NotUnderstood, Token, literal, statements, written
from .._postgres.toc import Contents
from ..database import connected, one_line
from ..refusal import Refusal
from ..words import printable
from . import guards

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: The locale or its provider is not there: invalid parameter value, feature not supported.
_NOT_THERE = ("22023", "0A000")
#: Locales that every system has.
_EVERYWHERE = ("", "C", "POSIX")

_TYPES = """
SELECT DISTINCT n.nspname, t.typname, t.oid::regtype::text FROM pg_attribute a JOIN pg_type u ON u.oid = a.atttypid
JOIN pg_type t ON t.oid = CASE WHEN u.typcategory = 'A' AND u.typelem <> 0 THEN u.typelem ELSE u.oid END
JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace m ON m.oid = c.relnamespace
WHERE (m.nspname, c.relname) IN %s AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname <> 'pg_catalog'
ORDER BY 1, 2"""

# Tables from which nothing can be deleted, as a publication hands it on and nothing says which rows.
_PUBLISHED = """
SELECT n.nspname || '.' || c.relname, string_agg(DISTINCT p.pubname, ', ') FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_publication_tables t ON EXISTS (
  SELECT FROM pg_class a JOIN pg_namespace m ON m.oid = a.relnamespace
  WHERE a.oid IN (SELECT c.oid UNION SELECT relid FROM pg_partition_ancestors(c.oid))
    AND (m.nspname, a.relname) = (t.schemaname, t.tablename))
JOIN pg_publication p ON p.pubname = t.pubname AND p.pubdelete
WHERE c.relkind = 'r' AND (n.nspname, c.relname) IN %s AND c.relreplident <> 'f' AND NOT EXISTS (
  SELECT FROM pg_index i WHERE i.indrelid = c.oid
    AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident))
GROUP BY 1 ORDER BY 1"""


# Foreign keys that delete or change rows of others for each row that is deleted, whatever a session says of triggers.
_ACTING = """
SELECT k.conname, k.conrelid::regclass::text, c.oid::regclass::text FROM pg_trigger t
JOIN pg_constraint k ON k.oid = t.tgconstraint JOIN pg_proc p ON p.oid = t.tgfoid
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgisinternal AND t.tgenabled IN ('A', 'R') AND (n.nspname, c.relname) IN %s
  AND p.proname IN ('RI_FKey_cascade_del', 'RI_FKey_setnull_del', 'RI_FKey_setdefault_del') ORDER BY 1, 2, 3"""


def acting(connection: Any, names: Iterable[Tuple[str, str]]) -> List[Refusal]:
    """Foreign keys by which rows of other tables would go with those that are replaced, and not come back."""
    wanted = tuple(names)
    found = server.rows(connection, _ACTING, (wanted,)) if wanted else []
    if not found:
        return []
    shown = printable("; ".join(f"{name} of {table} to {goal}" for name, table, goal in found), 600)
    text = f"These foreign keys act always (ENABLE ALWAYS TRIGGER), and would delete or change rows: {shown}."
    remedy = "For the time of the restore: ALTER TABLE ... ENABLE TRIGGER ALL on the tables that they are to."
    return [Refusal("actions", text, remedy)]


def published(connection: Any, names: Iterable[Tuple[str, str]]) -> List[Refusal]:
    """Tables of the database that is there whose rows PostgreSQL will not have replaced."""
    wanted = tuple(names)
    found = server.rows(connection, _PUBLISHED, (wanted,)) if wanted else []
    if not found:
        return []
    shown = printable("; ".join(f"{table} ({publications})" for table, publications in found), 600)
    text = f"Nothing can be deleted from tables that are published without a replica identity: {shown}."
    remedy = "Give them one (ALTER TABLE ... REPLICA IDENTITY FULL), or take them out of the publication, for the time."
    return [Refusal("publications", text, remedy)]


def missing(database: Dict[str, Any], target: str, contents: Contents, versions: Dict[str, str]) -> List[Refusal]:
    """What the server's host has to have first. Changes nothing.

    :param versions: of the extensions, as recorded
    """
    with server.elsewhere(database, target) as connection:
        return [*_extensions(connection, contents, versions), *_locales(connection, contents)]


def logins(
    database: Dict[str, Any], target: str, temporary: str, contents: Contents, *, live: bool = False
) -> List[Refusal]:
    """Whether roles of ours will be let in, where rows are not loaded as a superuser.

    Where that cannot be told, the run will find out.

    :param temporary: name of the database in the making
    :param live: rows come into the target, too
    """
    names, closed = [temporary], False
    with server.elsewhere(database, target) as connection:
        owners = {each.owner for each in contents.entries if each.owner}
        apart = bool(
            owners - {row[0] for row in server.rows(connection, "SELECT rolname FROM pg_roles WHERE rolsuper")}
        )
        if live:
            with connected(server.named(database, target), pinned=True) as there, there.cursor() as cursor:
                apart = others(cursor) or apart
            limit = "SELECT datconnlimit FROM pg_database WHERE datname = %s"
            closed = server.value(connection, limit, (target,)) == 0
            names.append(target)
        if not apart:
            return []
        if closed:
            text = (
                f"Rows are put into {target} by a role that is no superuser, and it takes no connections of such ones"
            )
            remedy = f"Let some in (ALTER DATABASE ... CONNECTION LIMIT), {guards.insist('source_functions')}."
            return [Refusal("logins", f"{text} (CONNECTION LIMIT 0).", remedy, "source_functions")]
        try:
            rules, who = hba.of_server(connection)
        except psycopg2.Error:
            return []
        found = {hba.method(rules, who, name, temporary) for name in names}
    refused = sorted(how for how in found if how is not None and how not in hba.PASSWORD)
    if not refused:
        return []
    where = f"from {who.address}" if who.address else "by the socket"
    text = (
        "Rows of others than superusers are loaded by roles that log in with a password, and pg_hba.conf does not let"
    )
    text += f" them in {where} ({', '.join(refused)})."
    remedy = f"Put a line before the one that matches, which lets {server.TEMPORARY}* in with scram-sha-256,"
    remedy += f" {guards.insist('source_functions')}."
    return [Refusal("logins", text, remedy, "source_functions")]


def literals(database: Dict[str, Any], target: str, contents: Contents, roles: Read) -> List[Refusal]:
    """Whether a superuser would evaluate domains of others, as nobody else can.

    :param roles: of the source; superusers are made as such where they are missing
    """
    with server.elsewhere(database, target) as connection:
        there = dict(server.rows(connection, "SELECT rolname, rolsuper FROM pg_roles"))
    made = superusers(roles, set(roles_made(roles)))
    owners = {each.owner for each in contents.entries if each.owner}
    text = of_others(contents, {name for name in owners if not there.get(name, name in made)})
    if not text:
        return []
    return [Refusal("literals", text, f"{GIVE}, {guards.insist('source_functions')}.", "source_functions")]


def _extensions(connection: Any, contents: Contents, versions: Dict[str, str]) -> List[Refusal]:
    wanted = {each.name for each in contents.entries if each.kind == "EXTENSION"}
    there = {row[0] for row in server.rows(connection, "SELECT name FROM pg_available_extensions")}
    lacking = [f"{name} {versions.get(name, '')}".strip() for name in sorted(wanted - there)]
    if not lacking:
        return []
    text = f"The recovery point has extensions that are not installed on the server's host: {', '.join(lacking)}."
    remedy = "Install their packages there; see in their documentation whether shared_preload_libraries must name them."
    return [Refusal("extensions", text, remedy)]


def _locales(connection: Any, contents: Contents) -> List[Refusal]:
    lacking = []
    for name, options in _collations(contents):
        why = _refused(connection, options)
        if why:
            lacking.append(f"{name} ({why})")
    if not lacking:
        return []
    text = f"The recovery point wants locales that the server's host does not have: {'; '.join(lacking[:5])}."
    remedy = "Generate them there (Debian: dpkg-reconfigure locales; Red Hat: glibc-langpack-*) and restart PostgreSQL;"
    remedy += " locales of ICU need a PostgreSQL that is built with ICU."
    return [Refusal("locales", text, remedy)]


def _collations(contents: Contents) -> List[Tuple[str, str]]:
    """What a collation would be made with, by what it is for: the database's locales, and its own collations."""
    found: Dict[str, str] = {}
    for entry in contents.entries:
        if entry.kind not in ("DATABASE", "COLLATION"):
            continue
        try:
            made = statements(entry.definition, standard=contents.standard)
        except NotUnderstood:
            continue
        for tokens in made:
            words = [token.value.upper() for token in tokens]
            if words[:2] == ["CREATE", "DATABASE"]:
                found.update(_of_database(tokens))
            elif words[:2] == ["CREATE", "COLLATION"] and "(" in words:
                found[f"collation {printable(entry.name)}"] = written(tokens[words.index("(") :])
    return list(found.items())


def _of_database(tokens: List[Token]) -> Dict[str, str]:
    values = {
        name.value.upper(): value.value
        for name, sign, value in zip(tokens, tokens[1:], tokens[2:])  # noqa: B905 equal lengths
        if name.kind == WORD and sign == Token(SIGN, "=") and value.kind != NAME
    }
    libc = {values.get(each, "") for each in ("LOCALE", "LC_COLLATE", "LC_CTYPE")}
    found = {each: f"(provider = libc, locale = {literal(each)})" for each in sorted(libc.difference(_EVERYWHERE))}
    if values.get("ICU_LOCALE"):
        found[f"ICU {values['ICU_LOCALE']}"] = f"(provider = icu, locale = {literal(values['ICU_LOCALE'])})"
    return found


def _refused(connection: Any, options: str) -> Optional[str]:
    """Why a collation cannot be made; one that can be is not kept."""
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            cursor.execute("SET LOCAL lc_messages = 'C'")
            cursor.execute(f"CREATE COLLATION pg_temp.looked_for {options}".replace("%", "%%"))
        except psycopg2.Error as error:
            # One for another encoding than this database's is there.
            if error.pgcode in _NOT_THERE and "encoding" not in one_line(error):
                return printable(error.diag.message_primary, 200)
        finally:
            cursor.execute("ROLLBACK")
    return None


def types_gone(made: Dict[str, Any], target: Dict[str, Any], tables: List[Tuple[str, str]]) -> List[str]:
    """Types that restored tables have and a database does not have (any more)."""
    with connected(made, statement_timeout=0, pinned=True) as connection:
        wanted = server.rows(connection, _TYPES, (tuple(tables),))
    query = "SELECT n.nspname, t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace"
    with connected(target, pinned=True) as connection:
        there = set(server.rows(connection, query))
    return [str(shown) for schema, name, shown in wanted if (schema, name) not in there]
