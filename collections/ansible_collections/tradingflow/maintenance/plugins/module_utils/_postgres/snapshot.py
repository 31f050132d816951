# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the database holds in one snapshot: its catalogue, and the tables that measuring.py counts."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

from ..database import connected, quoted
from . import table_locks

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]


#: Sum over all rows of a 64-bit hash of each row; columns in order of their names. Types whose hash depends on OIDs
#: or that have none (enums, json, geometry ...) go in as text.
HASH_RECORD = "sum(hash_record_extended)"
#: The same with the row's text, where the server has no hash_record_extended (before version 14).
HASH_TEXT = "sum(hashtextextended(text))"

#: Types whose extended hash depends on the value alone.
_PORTABLE = (
    *("bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bpchar", "char", "name"),
    *("bytea", "date", "time", "timetz", "timestamp", "timestamptz", "interval", "uuid", "jsonb", "inet", "cidr"),
    *("macaddr", "macaddr8", "oid"),
)

SETTINGS = """SET SESSION statement_timeout = 0; SET SESSION idle_in_transaction_session_timeout = 0;
SET SESSION lock_timeout = '60s'; SET SESSION row_security = off; SET SESSION search_path = pg_catalog, pg_temp;
SET SESSION DateStyle = 'ISO, MDY'; SET SESSION IntervalStyle = 'postgres'; SET SESSION TimeZone = 'UTC';
SET SESSION extra_float_digits = 1; SET SESSION bytea_output = 'hex';
SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'"""
#: What follows BEGIN where there is one snapshot.
MODE = "ISOLATION LEVEL REPEATABLE READ, READ ONLY"

# Tables whose rows pg_dump writes: ordinary ones and leaves of partitioned ones, no system's. Of an extension's own
# those that it declares as configuration, with the condition for rows that are not its own. What others have in its
# schema is theirs.
_TABLES = """
SELECT c.oid, n.nspname, c.relname, pg_table_size(c.oid), greatest(c.reltuples, 0)::bigint, c.relpersistence,
  coalesce(e.extcondition[array_position(e.extconfig, c.oid)], '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_extension e ON c.oid = ANY(e.extconfig)
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
  AND (e.oid IS NOT NULL OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                                        AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e'))
ORDER BY pg_table_size(c.oid) DESC, n.nspname, c.relname"""

_COLUMNS = """
WITH RECURSIVE base AS (
  SELECT t.oid, t.oid AS top, t.typtype, t.typbasetype, t.typname, t.typnamespace FROM pg_type t
  UNION ALL
  SELECT t.oid, b.top, t.typtype, t.typbasetype, t.typname, t.typnamespace
  FROM base b JOIN pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd')
SELECT a.attrelid, a.attname,
  b.typnamespace = 'pg_catalog'::regnamespace AND ltrim(b.typname, '_') = ANY(%s)
    AND coalesce(l.collisdeterministic, true),
  EXISTS (SELECT FROM pg_cast k WHERE k.castsource = b.oid AND k.casttarget = 'text'::regtype AND k.castfunc <> 0
          AND k.oid >= 16384)
FROM pg_attribute a JOIN base b ON b.top = a.atttypid AND b.typtype <> 'd'
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE a.attrelid = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'"""


# Tables for which the planner calls functions of others, whoever asks: of indexes and of statistics.
_CALLING = """
SELECT t.of::bigint FROM (
  SELECT indrelid, 'pg_class'::regclass, indexrelid FROM pg_index WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
  UNION ALL SELECT stxrelid, 'pg_statistic_ext'::regclass, oid FROM pg_statistic_ext) t(of, class, id)
JOIN pg_depend d ON d.classid = t.class AND d.objid = t.id
LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
LEFT JOIN pg_type y ON d.refclassid = 'pg_type'::regclass AND y.oid = d.refobjid
JOIN pg_roles r ON r.oid = coalesce(p.proowner, o.oprowner, y.typowner) WHERE NOT r.rolsuper"""


def digest_expression(columns: List[Dict[str, Any]], version: int) -> str:
    """SQL of one row's hash.

    :param columns: name; portable: whether the type's own hash may be used; cast: whether somebody made a cast to text
    :param version: server_version_num
    """
    columns = sorted(columns, key=lambda column: str(column["name"]))
    if version >= 140000:
        terms = [quoted(c["name"]) if c["portable"] else _as_text(c) for c in columns]
        return f"hash_record_extended(ROW({', '.join(terms)}), 0)"
    terms = [_as_text(c) for c in columns]
    return f"hashtextextended(ROW({', '.join(terms)})::text, 0)"


def _as_text(column: Dict[str, Any]) -> str:
    """A column as its type's output function shows it.

    A cast that somebody made may run anything as whoever looks, and show different values alike.
    """
    name = quoted(column["name"])
    if not column.get("cast"):
        return f'{name}::text COLLATE "C"'
    return f"CASE WHEN {name} IS DISTINCT FROM NULL THEN format('%s', {name}) END COLLATE \"C\""


def algorithm(version: int) -> str:
    """Name of the digest a server of this version computes."""
    return HASH_RECORD if version >= 140000 else HASH_TEXT


class Snapshot:
    """A read-only transaction whose snapshot others share.

    :param id: what pg_dump --snapshot takes
    :param version: server_version_num
    :param begin: begins the transaction; it may do what has to be done before the snapshot is taken
    :param careful: a superuser looks, so that nothing is asked that could call functions of others
    """

    def __init__(
        self,
        database: Dict[str, Any],
        connection: Any,
        begin: Callable[[Any], None] = lambda cursor: cursor.execute(f"BEGIN {MODE}"),
        careful: bool = False,
    ) -> None:
        self.database = database
        self._connection = connection
        self._cursor = connection.cursor()
        self._cursor.execute(SETTINGS)
        begin(self._cursor)
        self.id: str = self.value("SELECT pg_export_snapshot()")
        self.version = int(connection.server_version)
        self._calling = {row[0] for row in self.rows(_CALLING)} if careful else set()
        self._careful = careful

    def rows(self, query: str, arguments: Any = None) -> List[Any]:
        """All rows of a query."""
        self._cursor.execute(query, arguments)
        result: List[Any] = self._cursor.fetchall()
        return result

    def value(self, query: str, arguments: Any = None) -> Any:
        """The first column of the first row, None when there is none."""
        rows = self.rows(query, arguments)
        return rows[0][0] if rows else None

    def optional(self, query: str, arguments: Any = None) -> Any:
        """Like value, None when the user may not or the server has no such thing."""
        self._cursor.execute("SAVEPOINT optional")
        try:
            return self.value(query, arguments)
        except psycopg2.Error:
            self._cursor.execute("ROLLBACK TO SAVEPOINT optional")
            return None

    def describe(self) -> Dict[str, Any]:
        """The part "database" of a recovery point, without digests: see schemas/recovery-point-1.json."""
        recovering = bool(self.value("SELECT pg_is_in_recovery()"))
        lsn = "pg_last_wal_replay_lsn()" if recovering else "pg_current_wal_lsn()"
        encoding, collate, ctype, size = self.rows(
            "SELECT pg_encoding_to_char(encoding), datcollate, datctype, pg_database_size(oid) FROM pg_database"
            " WHERE datname = current_database()"
        )[0]
        return {
            **self.identity(),
            "server_version": self.value("SHOW server_version"),
            "server_version_num": self.version,
            "timeline": self.optional("SELECT timeline_id FROM pg_control_checkpoint()"),
            "lsn": self.optional(f"SELECT {lsn}::text"),
            "in_recovery": recovering,
            "snapshot_at": self.value("""SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""),
            "encoding": encoding,
            "collate": collate,
            "ctype": ctype,
            "size": int(size),
            "extensions": dict(self.rows("SELECT extname, extversion FROM pg_extension ORDER BY 1")),
            "heartbeat": self._heartbeat(),
            "large_objects": int(self.value("SELECT count(*) FROM pg_largeobject_metadata")),
        }

    def identity(self) -> Dict[str, Any]:
        """What tells this database from others: name, system_identifier (None when it may not be read), schema_head."""
        return {
            "name": self.value("SELECT current_database()"),
            "system_identifier": self.optional("SELECT system_identifier::text FROM pg_control_system()"),
            "schema_head": self._schema_head(),
        }

    def _schema_head(self) -> Optional[List[str]]:
        place = self.rows(
            "SELECT n.nspname, c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relname = 'alembic_version' AND c.relkind = 'r' ORDER BY n.nspname <> 'public', 1 LIMIT 1"
        )
        if not place:
            return None
        source = f"{quoted(place[0][0])}.alembic_version"
        if place[0][1] in self._calling:
            # Nothing is planned for this.
            text = io.StringIO()
            self._cursor.copy_expert(f"COPY {source} (version_num) TO STDOUT", text)
            return sorted(text.getvalue().split())
        return [row[0] for row in self.rows(f"SELECT version_num FROM {source} ORDER BY 1")]  # noqa: S608 quoted

    def _heartbeat(self) -> Any:
        if self._careful or self.value("SELECT to_regclass('maintenance.heartbeat')") is None:
            return None
        return self.optional(
            "SELECT jsonb_agg(to_jsonb(h)) FROM (SELECT * FROM maintenance.heartbeat ORDER BY 1 DESC LIMIT 20) h"
        )

    def unlocked(self) -> List[str]:
        """Tables in the snapshot that the transaction has no lock on, up to three."""
        return table_locks.missing(self._cursor)

    def close(self) -> None:
        """Gives the snapshot up; the connection may take another."""
        self._cursor.execute("ROLLBACK")
        self._cursor.close()

    def tables(self, *, logged: bool = False) -> List[Dict[str, Any]]:
        """Tables whose rows are dumped, largest first: oid, schema, name, bytes, estimated_rows, condition, expression,
        and calling: whether a query would call functions of others, of which only a careful snapshot knows.

        :param logged: without unlogged ones, which recovery empties
        """
        tables = [
            {
                "oid": oid,
                "schema": schema,
                "name": name,
                "bytes": int(size),
                "estimated_rows": rows,
                "condition": condition,
                "calling": oid in self._calling,
                "columns": [],
            }
            for oid, schema, name, size, rows, persistence, condition in self.rows(_TABLES)
            # Without a size it was dropped since the snapshot was taken: only where nothing is locked.
            if size is not None and (not logged or persistence == "p")
        ]
        columns: Dict[int, List[Dict[str, Any]]] = {table["oid"]: table["columns"] for table in tables}
        for oid, name, portable, cast in self.rows(_COLUMNS, (list(_PORTABLE), list(columns))):
            columns[oid].append({"name": name, "portable": bool(portable), "cast": bool(cast)})
        for table in tables:
            table["expression"] = digest_expression(table.pop("columns"), self.version)
        return tables


@contextmanager
def opened(database: Dict[str, Any], *, careful: bool = False) -> Iterator[Snapshot]:
    """A snapshot that lasts as long as the context.

    :param careful: see Snapshot
    :raises DatabaseError: see database.connected
    """
    with connected(database, statement_timeout=0) as connection:
        yield Snapshot(database, connection, careful=careful)


@contextmanager
def locked(database: Dict[str, Any], tick: Callable[[], None] = lambda: None) -> Iterator[Snapshot]:
    """A snapshot of tables that nobody can empty, rewrite or drop as long as the context lasts.

    :raises DatabaseError: not all tables could be locked
    """
    with connected(database, statement_timeout=0) as connection:
        for _again in range(table_locks.AGAIN):
            snapshot = Snapshot(database, connection, lambda cursor: table_locks.begin(cursor, MODE, tick))
            made = snapshot.unlocked()
            if not made:
                yield snapshot
                return
            snapshot.close()
    raise table_locks.made_meanwhile(made)
