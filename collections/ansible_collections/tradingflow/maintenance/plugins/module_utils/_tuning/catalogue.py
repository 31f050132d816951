# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Indexes as the catalogue has them, with what holds locks on them or builds them right now. Reads only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Set, Tuple, Type

from .._checks.sql import Row
from ..checks import Check, unknown

#: How often the catalogue is asked again when somebody locked a table between two statements.
TRIES = 3

#: Message and remedy of what cannot be said without the indexes.
NO_CATALOGUE = ("the indexes could not be read.", "See why in the checks of indexes, and run again.")


def without_catalogue(id: str, title: str) -> Check:
    """What nobody can say without the indexes."""
    return unknown(id, title, f"{title}: {NO_CATALOGUE[0]}", NO_CATALOGUE[1], source="pg_index")


@dataclass
class Index:
    """One index.

    :param keys: attribute numbers of the key columns, 0 for an expression
    :param included: those of INCLUDE
    :param opclasses: one per key column, like collations and options (DESC, NULLS FIRST)
    :param parameters: of the operator classes, one text per key column, such as {siglen=100}, empty for none
    :param targets: how much ANALYZE keeps of each key column, which is an expression then; -1 for the server's default
    :param expressions: all of them as PostgreSQL prints them, empty for none; None when a lock hid them
    :param predicate: of a partial index, likewise
    :param constraint: name of the constraint that stands on it, empty for none
    :param referenced_by: foreign keys of other tables that rest on it
    :param supports: foreign keys of its own table whose columns lead it; or one of them does, and no index has them all
    :param parent: oid of the partitioned index that it is attached to
    :param properties: what its definition does not say, in so far as it has any: {"tablespace", "comment", "clustered",
        "targets": {number of a column: its statistics target}, "extensions": [those it depends on]}
    :param locked: whether somebody holds, or waits for, an exclusive lock on it or its table
    :param building: what builds, rebuilds or drops it right now, empty for nothing
    """

    oid: int
    schema: str
    name: str
    table_oid: int
    table: str
    method: str
    unique: bool = False
    primary: bool = False
    exclusion: bool = False
    valid: bool = True
    identity: bool = False
    clustered: bool = False
    partitioned: bool = False
    parent: Optional[int] = None
    keys: Tuple[int, ...] = ()
    included: Tuple[int, ...] = ()
    opclasses: Tuple[int, ...] = ()
    collations: Tuple[int, ...] = ()
    options: Tuple[int, ...] = ()
    parameters: Tuple[str, ...] = ()
    targets: Tuple[int, ...] = ()
    nulls_not_distinct: bool = False
    expressions: Optional[str] = ""
    predicate: Optional[str] = ""
    definition: Optional[str] = None
    constraint: str = ""
    referenced_by: List[str] = field(default_factory=list)
    supports: List[str] = field(default_factory=list)
    extension: str = ""
    storage: str = ""
    pages: int = 0
    scans: Optional[int] = None
    properties: Dict[str, Any] = field(default_factory=dict)
    locked: bool = False
    building: str = ""

    @property
    def full(self) -> str:
        """Schema and name."""
        return f"{self.schema}.{self.name}"

    @property
    def hidden(self) -> bool:
        """Whether a lock kept its definition from us."""
        return self.definition is None


#: What locks leave readable.
_OPEN = "i.indrelid <> ALL (%(locked)s) AND i.indexrelid <> ALL (%(locked)s)"

#: What somebody locks exclusively, or waits for so, a prepared transaction as well: whoever asks for its size waits.
LOCKED = """
(SELECT l.relation FROM pg_locks l
 WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.pid IS DISTINCT FROM pg_backend_pid()
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
"""
#: Bytes of the relation c as its file has them. NULL when it is locked: relpages says nothing before VACUUM or ANALYZE.
BYTES = f"CASE WHEN c.oid NOT IN {LOCKED} THEN pg_relation_size(c.oid) END"

INDEXES = f"""
SELECT i.indexrelid::bigint AS oid, n.nspname AS schema, c.relname AS name, i.indrelid::bigint AS table_oid,
       tn.nspname || '.' || t.relname AS "table", am.amname AS method, i.indisunique AS "unique",
       i.indisprimary AS "primary", i.indisexclusion AS exclusion,
       i.indisvalid AND i.indisready AND i.indislive AS valid,
       i.indisreplident OR (i.indisprimary AND t.relreplident = 'd') AS identity, i.indisclustered AS clustered,
       c.relkind = 'I' AS partitioned,
       (SELECT h.inhparent::bigint FROM pg_inherits h WHERE h.inhrelid = i.indexrelid LIMIT 1) AS parent,
       i.indnkeyatts AS nkeys, i.indkey::int2[] AS attributes, i.indclass::oid[]::bigint[] AS opclasses,
       i.indcollation::oid[]::bigint[] AS collations, i.indoption::int2[] AS options,
       (SELECT array_agg(coalesce(a.attoptions::text, '') ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = i.indexrelid) AS parameters,
       (SELECT array_agg(coalesce(a.attstattarget, -1)::int ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = i.indexrelid) AS targets,
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_not_distinct,
       CASE WHEN {_OPEN} THEN coalesce(pg_get_expr(i.indexprs, i.indrelid), '') END AS expressions,
       CASE WHEN {_OPEN} THEN coalesce(pg_get_expr(i.indpred, i.indrelid), '') END AS predicate,
       CASE WHEN {_OPEN} THEN pg_get_indexdef(i.indexrelid) END AS definition,
       coalesce((SELECT k.conname FROM pg_constraint k
                 WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x') LIMIT 1), '') AS "constraint",
       coalesce((SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                 WHERE d.classid = 'pg_class'::regclass AND d.objid IN (i.indexrelid, i.indrelid) AND d.deptype = 'e'
                 LIMIT 1), '')
           AS extension,
       coalesce(c.reloptions::text, '') || ' ' || c.reltablespace AS storage,
       CASE WHEN {_OPEN} THEN (pg_relation_size(c.oid) / current_setting('block_size')::int)::int ELSE c.relpages END
           AS pages,
       jsonb_strip_nulls(jsonb_build_object(
           'tablespace', (SELECT p.spcname FROM pg_tablespace p WHERE p.oid = c.reltablespace),
           'comment', obj_description(i.indexrelid, 'pg_class'), 'clustered', nullif(i.indisclustered, false),
           'targets', (SELECT jsonb_object_agg(a.attnum::text, a.attstattarget) FROM pg_attribute a
                       WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0),
           'extensions', (SELECT jsonb_agg(e.extname ORDER BY e.extname)
                          FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.deptype = 'x')
       )) AS properties,
       s.idx_scan AS scans
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_am am ON am.oid = c.relam
LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = i.indexrelid
WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND c.relpersistence <> 't'
ORDER BY 2, 3
"""  # noqa: S608 - a constant of our own

FOREIGN_KEYS = """
SELECT conname AS name, conrelid::bigint AS table_oid, conrelid::regclass::text AS "table", conkey::int2[] AS columns,
       conindid::bigint AS rests_on
FROM pg_constraint WHERE contype = 'f'
"""

#: Who holds or waits for what on relations of this database, and who builds an index; waiting ones hold up readers too.
ACTIVITY = """
SELECT l.relation::bigint AS relation, l.mode, l.pid, p.pid IS NOT NULL AS builds, p.relid::bigint AS builds_on,
       p.index_relid::bigint AS builds_index, p.command, p.phase
FROM pg_locks l
LEFT JOIN pg_stat_progress_create_index p ON p.pid = l.pid
WHERE l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                     'AccessExclusiveLock')
"""


@dataclass
class Activity:
    """Locks and builds at one moment.

    :param exclusive: relations that nobody else can read
    :param held: relation -> what holds a lock on it as builders and droppers of indexes do
    :param built: index -> command and phase
    :param built_on: table -> the same, of builds on it
    """

    exclusive: Set[int] = field(default_factory=set)
    held: Dict[int, str] = field(default_factory=dict)
    built: Dict[int, str] = field(default_factory=dict)
    built_on: Dict[int, str] = field(default_factory=dict)

    def of(self, index: int, table: int) -> str:
        """What builds an index right now, empty for nothing."""
        return self.built.get(index) or self.built_on.get(table) or self.held.get(index) or ""


def activity(cursor: Any) -> Activity:
    """What goes on right now."""
    found = Activity()
    cursor.execute(ACTIVITY)
    for row in cursor.fetchall():
        who = f"process {row['pid']}" if row["pid"] else "a prepared transaction"
        if row["mode"] == "AccessExclusiveLock":
            found.exclusive.add(row["relation"])
        if row["builds"]:
            # Of another role's build the view may hide which it is: the locks say on what.
            what = f"{row['command'] or 'an index build'} of process {row['pid']}, {row['phase'] or 'phase hidden'}"
            found.built_on[row["builds_on"] or row["relation"]] = what
            if row["builds_index"]:
                found.built[row["builds_index"]] = what
        found.held[row["relation"]] = f"{who} holds or waits for {row['mode']}"
    return found


def indexes(cursor: Any, lock_error: Type[BaseException]) -> List[Index]:
    """All indexes of the database's own schemas.

    Definitions are not read of what is locked: PostgreSQL itself would wait for the lock.

    :param lock_error: psycopg2's error of a lock timeout
    """
    for attempt in range(TRIES):
        before = activity(cursor)
        cursor.execute("SAVEPOINT catalogue")
        try:
            cursor.execute(INDEXES, {"locked": sorted(before.exclusive) or [0]})
            rows = cursor.fetchall()
        except lock_error:
            cursor.execute("ROLLBACK TO SAVEPOINT catalogue")
            if attempt + 1 == TRIES:
                raise
            continue
        cursor.execute("ROLLBACK TO SAVEPOINT catalogue; RELEASE SAVEPOINT catalogue")
        break
    cursor.execute(FOREIGN_KEYS)
    keys = cursor.fetchall()
    # A build may have begun, or ended, while the catalogue was read.
    after = activity(cursor)
    found = [_index(row) for row in rows]
    on_table: Dict[int, List[Row]] = {}
    rests: Dict[int, List[str]] = {}
    for key in keys:
        on_table.setdefault(key["table_oid"], []).append(key)
        rests.setdefault(key["rests_on"], []).append(f"{key['table']}.{key['name']}")
    for one in found:
        one.building = before.of(one.oid, one.table_oid) or after.of(one.oid, one.table_oid)
        seen = before.exclusive | after.exclusive
        one.locked = one.oid in seen or one.table_oid in seen
        one.referenced_by = rests.get(one.oid, [])
    support(found, on_table)
    return found


def support(indexes: List[Index], keys: Dict[int, List[Row]]) -> None:
    """Notes which foreign keys each index supports: those that it leads with, or else may be the only help of.

    :param keys: table -> its foreign keys: {"name", "columns"}
    """
    tables: Dict[int, List[Index]] = {}
    for one in indexes:
        tables.setdefault(one.table_oid, []).append(one)
        one.supports = []
    for table, found in keys.items():
        for key in found:
            there = tables.get(table, [])
            whole = [one for one in there if leads(one, key["columns"])]
            # PostgreSQL looks up all columns of a key, and takes what narrows them down: of an index that is not whole,
            # or not valid, it is its first column.
            part = [one for one in there if one.keys[:1] and one.keys[0] in key["columns"] and one not in whole]
            sure = any(
                one.valid and one.method in ("btree", "hash") and not one.predicate for one in whole if not one.hidden
            )
            for one in whole if sure else [*whole, *part]:
                one.supports.append(key["name"])


def leads(index: Index, columns: List[int]) -> bool:
    """Whether the columns of a foreign key, in any order, are the first ones of an index."""
    first = index.keys[: len(columns)]
    return len(first) == len(columns) and set(first) == set(columns)


def _index(row: Row) -> Index:
    count = row["nkeys"]
    attributes = tuple(row["attributes"])
    plain = {
        name: row[name]
        for name in (
            *("oid", "schema", "name", "table_oid", "table", "method", "unique", "primary", "exclusion", "valid"),
            *("identity", "clustered", "partitioned", "parent", "nulls_not_distinct", "expressions", "predicate"),
            *("definition", "constraint", "extension", "storage", "properties", "pages", "scans"),
        )
    }
    return Index(
        keys=attributes[:count],
        included=attributes[count:],
        opclasses=tuple(row["opclasses"])[:count],
        collations=tuple(row["collations"])[:count],
        options=tuple(row["options"])[:count],
        parameters=tuple(row["parameters"])[:count],
        targets=tuple(row["targets"])[:count],
        **plain,
    )
