# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the database is configured, and who may do what in it: settings, rules of access, roles and their rights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Sequence, Tuple

from .._postgres.snapshot import MODE, SETTINGS
from ..database import connected
from ..errors import DatabaseError, MaintenanceError
from .collected import COMPLETE, FAILED, Count, Source, Tool
from .packing import Packed, Scratch
from .platform import guarded

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: What a line is of, and the query of its rows. The first of each is never empty.
CONFIGURATION: Sequence[Tuple[str, str]] = (
    (
        "setting",
        "SELECT name, setting, unit, source, sourcefile, sourceline, boot_val, reset_val, pending_restart"
        " FROM pg_settings",
    ),
    (
        "setting_of_role_or_database",
        "SELECT d.datname AS database, r.rolname AS role, s.setconfig FROM pg_db_role_setting s"
        " LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole",
    ),
    (
        "database",
        "SELECT datname, pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding, datcollate,"
        " datctype, datallowconn, datconnlimit, datacl::text FROM pg_database",
    ),
    ("extension", "SELECT extname, extversion, pg_get_userbyid(extowner) AS owner FROM pg_extension"),
    ("access", "SELECT * FROM pg_hba_file_rules"),
)
ROLES: Sequence[Tuple[str, str]] = (
    (
        "role",
        "SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,"
        " rolconnlimit, rolvaliduntil FROM pg_roles",
    ),
    (
        "member",
        "SELECT pg_get_userbyid(m.roleid) AS role, pg_get_userbyid(m.member) AS member,"
        " pg_get_userbyid(m.grantor) AS grantor, to_jsonb(m) - '{oid,roleid,member,grantor}'::text[] AS options"
        " FROM pg_auth_members m",
    ),
    ("schema", "SELECT nspname, pg_get_userbyid(nspowner) AS owner, nspacl::text FROM pg_namespace"),
    (
        "relation",
        "SELECT n.nspname, c.relname, c.relkind, pg_get_userbyid(c.relowner) AS owner, c.relacl::text, c.relrowsecurity"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
        " AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')",
    ),
    (
        "default_right",
        "SELECT pg_get_userbyid(d.defaclrole) AS role, n.nspname, d.defaclobjtype, d.defaclacl::text"
        " FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace",
    ),
)
_HIDDEN = "what only superusers and members of pg_read_all_settings see is left out"
_MAY = (
    "SELECT has_table_privilege('pg_hba_file_rules', 'SELECT')"
    " AND has_function_privilege('pg_hba_file_rules()', 'EXECUTE')"
)
_SEES = "SELECT pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')"


def sources(options: Dict[str, Any], scratch: Scratch) -> List[Source]:
    """The sources "configuration" and "roles", as they are now."""
    planned = {"configuration": CONFIGURATION, "roles": ROLES}
    found: List[Source] = []
    try:
        with connected(options["database"], statement_timeout=600, pinned=True) as connection:
            cursor = connection.cursor()
            cursor.execute(SETTINGS)
            cursor.execute("SHOW server_version")
            tool = Tool("PostgreSQL", cursor.fetchone()[0])
            cursor.execute(f"BEGIN {MODE}")
            for name, queries in planned.items():
                # Rules of access are for superusers unless the right is given; what is not asked is not claimed.
                cursor.execute(_MAY)
                asked = [each for each in queries if each[0] != "access" or cursor.fetchone()[0]]
                source = Source(name, name, COMPLETE, command=[query for _what, query in asked], tool=tool)
                found.append(guarded(source, _collector(cursor, asked, scratch)))
            cursor.execute("ROLLBACK")
    except MaintenanceError as error:
        found += [Source(name, name, FAILED, error.message) for name in list(planned)[len(found) :]]
    return found


def _collector(cursor: Any, queries: Sequence[Tuple[str, str]], scratch: Scratch) -> Any:
    def collect(source: Source) -> Source:
        with Packed(scratch, f"{source.name}/{source.name}.jsonl.gz") as packed:
            written, counted, reasons = _asked(cursor, queries, packed)
            if source.kind == "configuration":
                cursor.execute(_SEES)
                if not cursor.fetchone()[0]:
                    reasons.append(_HIDDEN)
            if not written:
                raise DatabaseError(f"PostgreSQL refused: {'; '.join(reasons)}")
            source = replace(source, files=[packed.close(written)], records=written)
        source.counts = [Count("count(*) of each query", counted), Count("rows written", written)]
        return source.concluded(reasons + source.miscounted(empty_ok=False))

    return collect


def _asked(cursor: Any, queries: Sequence[Tuple[str, str]], packed: Packed) -> Tuple[int, int, List[str]]:
    """Rows written, rows counted, and what was refused."""
    written = counted = 0
    reasons: List[str] = []
    for what, query in queries:
        cursor.execute("SAVEPOINT one")
        try:
            cursor.execute(f"SELECT count(*) FROM ({query}) q")  # noqa: S608
            count = cursor.fetchone()[0]
            cursor.execute(f"SELECT (to_jsonb(q) || jsonb_build_object('of', %s))::text FROM ({query}) q", (what,))  # noqa: S608
            rows = sorted(row[0] for row in cursor.fetchall())
        except psycopg2.Error as error:
            cursor.execute("ROLLBACK TO SAVEPOINT one")
            reasons.append(f"{what}: {' '.join(str(error).split())[:200]}")
            continue
        counted += count
        written += len(rows)
        packed.write("".join(f"{row}\n" for row in rows).encode("utf-8"))
    return written, counted, reasons
