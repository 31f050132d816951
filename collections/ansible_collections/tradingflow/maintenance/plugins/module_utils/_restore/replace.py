# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rows of tables replaced by restored ones in one transaction: the tables, and all that hangs on them, stay."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from .._postgres import measuring, proof, server, snapshot
from ..database import connected, quoted
from ..errors import DatabaseError, RestoreError
from ..refusal import Refusal
from ..words import printable
from . import guards
from .live import REPLACED, drop_without_rows
from .moving import ROWS_OF_KEY, Key, Moving
from .owners import tables_of

Tables = List[Tuple[str, str]]

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''
FROM pg_attribute a WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname"""

# Foreign keys from or to any of some tables, or the partitioned tables over them; of partitions' own only the topmost.
_KEYS = """
WITH RECURSIVE up AS (
  SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE (n.nspname, c.relname) IN %s
  UNION SELECT i.inhparent FROM pg_inherits i JOIN up ON up.oid = i.inhrelid)
SELECT k.conname, k.conrelid::regclass::text, k.confrelid::regclass::text,
  (SELECT array_agg(a.attname ORDER BY o) FROM unnest(k.conkey) WITH ORDINALITY x(n, o)
   JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.n),
  (SELECT array_agg(a.attname ORDER BY o) FROM unnest(k.confkey) WITH ORDINALITY x(n, o)
   JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.n),
  coalesce((to_jsonb(k) ->> 'conperiod')::bool, false), coalesce((to_jsonb(k) ->> 'conenforced')::bool, true)
FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0
  AND (k.conrelid IN (SELECT oid FROM up) OR k.confrelid IN (SELECT oid FROM up)) ORDER BY 1, 2"""

_VIEWS = """
WITH RECURSIVE up AS (
  SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE (n.nspname, c.relname) IN %s
  UNION SELECT i.inhparent FROM pg_inherits i JOIN up ON up.oid = i.inhrelid)
SELECT DISTINCT v.oid::regclass::text, v.relkind = 'm' FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
JOIN pg_class v ON v.oid = r.ev_class
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND v.oid <> d.refobjid
  AND d.refobjid IN (SELECT oid FROM up) ORDER BY 1"""

_TRIGGERS = """
SELECT t.tgname, c.oid::regclass::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R') AND (n.nspname, c.relname) IN %s ORDER BY 2, 1"""

# What may wait for the commit, here too; whoever's code runs may say that it does (SET CONSTRAINTS).
_LATE = """
SELECT t.tgname, c.oid::regclass::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgdeferrable AND t.tgenabled IN ('A', 'R') AND (n.nspname, c.relname) IN %s ORDER BY 2, 1"""

# Tables below some, at any depth, that are not among them: as soon as they may have rows. A size calls no function of
# a table, and it is there before a transaction that adds rows has ended.
_BESIDES = """
WITH RECURSIVE tree AS (
  SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE (n.nspname, c.relname) IN %(all)s
  UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree t ON t.oid = i.inhparent)
SELECT n.nspname || '.' || c.relname FROM tree t JOIN pg_class c ON c.oid = t.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT (n.nspname, c.relname) IN %(leaves)s AND (c.relkind = 'f' OR c.relkind = 'r' AND pg_relation_size(c.oid) > 0)
ORDER BY 1"""

# Those that are a column's, and those that its default takes numbers from.
_SEQUENCES = """
SELECT DISTINCT s.oid::regclass::text, a.attname, q.seqincrement < 0, q.seqmin, q.seqmax FROM (
  SELECT d.objid, d.refobjid, d.refobjsubid FROM pg_depend d
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  UNION ALL SELECT d.refobjid, e.adrelid, e.adnum FROM pg_depend d JOIN pg_attrdef e ON e.oid = d.objid
  WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass) d(sequence, tab, col)
JOIN pg_class s ON s.oid = d.sequence AND s.relkind = 'S' JOIN pg_sequence q ON q.seqrelid = s.oid
JOIN pg_attribute a ON a.attrelid = d.tab AND a.attnum = d.col
JOIN pg_type t ON t.oid = a.atttypid AND t.typcategory = 'N'
WHERE d.tab = %s::regclass AND s.relpersistence <> 't' ORDER BY 1, 2"""


def dependents(database: Dict[str, Any], tables: Tables) -> List[str]:
    """Foreign keys, views and triggers that hang on tables, in words."""
    with connected(database, statement_timeout=0, pinned=True) as connection:
        found = [f"foreign key {key.name} of {key.source} to {key.goal}" for key in _keys(connection, tables)]
        for name, stored in server.rows(connection, _VIEWS, (tuple(tables),)):
            found.append(f"materialized view {name}, to be refreshed" if stored else f"view {name}")
        always = server.rows(connection, _TRIGGERS, (tuple(tables),))
        return found + [f"trigger {name} of {table}, which fires here, too (ENABLE ALWAYS)" for name, table in always]


def late(connection: Any, tables: Tables) -> List[Refusal]:
    """Triggers that may run at the commit, which nobody comes before, while code of several owners has run."""
    found = server.rows(connection, _LATE, (tuple(tables),)) if tables else []
    if not found:
        return []
    named = {shown for key in _keys(connection, tables) if key.enforced for shown in (key.source, key.goal)}
    touched = [each for each in tables_of(connection) if (each.schema, each.name) in tables or each.shown in named]
    mighty = {row[0] for row in server.rows(connection, "SELECT rolname FROM pg_roles WHERE rolsuper")}
    owners = {each.owners for each in touched}
    if len(owners) < 2 or all(mighty >= each for each in owners):
        return []
    shown = printable("; ".join(f"{name} of {table}" for name, table in found), 600)
    text = "The tables, or those that their foreign keys are about, belong to several owners. Deferrable triggers that"
    text += f" fire here, too (ENABLE ALWAYS or REPLICA), would run at the commit after functions of them all: {shown}."
    remedy = "Disable these triggers for the time of the restore (ALTER TABLE ... DISABLE TRIGGER), or restore the"
    remedy += f" tables of one owner at a time, {guards.insist('source_functions')}."
    return [Refusal("deferred", text, remedy, "source_functions")]


def check_tree(connection: Any, tables: Tables, holders: Tables) -> None:
    """Raises RestoreError when rows may lie in partitions or children that would not be replaced.

    :param tables: that have rows of their own in the recovery point
    :param holders: partitioned tables over them
    """
    names = {"all": tuple(tables + holders), "leaves": tuple(tables)}
    found = [row[0] for row in server.rows(connection, _BESIDES, names)] if tables else []
    if found:
        raise RestoreError(
            f"These partitions or children may hold rows, and would not be replaced with the tables over them:"
            f" {', '.join(found)}. A row that was moved there would be in the tables twice. Nothing was replaced.",
            "Empty them (TRUNCATE) or take them out (DETACH PARTITION, NO INHERIT) once their rows are safe, and run"
            " this again; or leave restore_replace out, and copy the rows from beside by hand.",
        )


def replace(
    live: Moving,
    tables: Tables,
    check_there: Callable[[Any], None],
    schemas: Dict[str, str],
    recorded: List[Dict[str, Any]],
    run_id: str,
    keep: Callable[[str], None],
    undone: Callable[[], None],
) -> List[str]:
    """Replaces the rows of tables by those of their restored twins, all of them or none.

    :param check_there: raises when a tree of tables is not what it was
    :param schemas: by source schema, the one with the twins, which is removed at the end
    :param recorded: of the recovery point, compared with before it counts
    :param keep: remembers a schema in which old rows are, before its mark goes: without one or the other it is lost
    :param undone: is told that nothing was replaced, and nothing is left but the copies
    :returns: sequences that were not set, as the owners of the tables may not
    :raises RestoreError: a table has other columns today, a foreign key would be broken, or the rows differ
    """
    with snapshot.opened(live.target) as taken:
        measurable = {(table["schema"], table["name"]): table for table in taken.tables()}
        roots = proof.hashed(taken)
    missing = [f"{schema}.{name}" for schema, name in tables if (schema, name) not in measurable]
    if missing:
        raise RestoreError(
            f"These tables are not in the database any more: {', '.join(missing)}.",
            "They lie beside, in the schema restored_*: move them in place by hand (ALTER TABLE ... SET SCHEMA).",
        )
    kept = _kept(schemas, run_id)
    with connected(live.target, pinned=True) as connection:
        check_there(connection)
        keys = [key for key in _keys(connection, tables) if key.enforced]
        sequences = {each: [row[0] for row in server.rows(connection, _SEQUENCES, (_name(*each),))] for each in tables}
    live.may_replace(tables, schemas, kept, keys)
    unset = live.may_count_on(tables, sequences)

    def check(connection: Any) -> None:
        _check_rows(live, connection, measurable, recorded, roots)
        # Again, as late as can be.
        check_there(live.nobody(connection))

    ended: Optional[BaseException] = None
    try:
        _all(live, tables, schemas, kept, check, unset)
    except BaseException as error:
        kept = _left(live, kept, error)
        if not kept:
            # The copies stay beside.
            with live.superuser() as connection:
                live.finished(connection, schemas.values())
            undone()
            raise
        ended = None if isinstance(error, DatabaseError) else error
    for schema in sorted(kept.values()):
        keep(schema)
    with live.superuser() as connection:
        for schema in schemas.values():
            server.run(connection, f"DROP SCHEMA {quoted(schema)} CASCADE")
        live.finished(connection, kept.values())
    if ended:
        raise ended
    return sorted({f"{each} (of {schema}.{name})" for (schema, name), found in unset.items() for each in found})


def _left(live: Moving, kept: Dict[str, str], error: BaseException) -> Dict[str, str]:
    """Of the schemas for old rows those where it was committed: the last word of a commit may be all that was lost.

    :raises BaseException: that error, when nobody can tell; the next run does
    """
    try:
        with connected(live.target, statement_timeout=0, pinned=True) as connection:
            server.run(connection, "SET default_transaction_read_only = off")
            server.be_quiet(connection)
            return {schema: name for schema, name in kept.items() if not drop_without_rows(connection, name)}
    except DatabaseError:
        raise error from None


def _all(
    live: Moving,
    tables: Tables,
    schemas: Dict[str, str],
    kept: Dict[str, str],
    check: Callable[[Any], None],
    unset: Dict[Tuple[str, str], List[str]],
) -> None:
    """The one transaction, in which each table is touched with its own owner's rights."""
    with connected(live.hands, statement_timeout=0) as connection:
        server.run(connection, snapshot.SETTINGS)
        server.run(connection, "SET default_transaction_read_only = off")
        if not live.apart:
            server.be_quiet(connection)
        server.run(connection, "BEGIN")
        for name in sorted(kept.values()):
            # It is there when the rest is: by that a commit is told of which nobody heard.
            server.run(connection, f"INSERT INTO {_name(name, REPLACED)} VALUES (true)")  # noqa: S608 quoted
        for each in tables:
            server.run(live.turn(connection, *each), f"LOCK TABLE {_name(*each)} IN ACCESS EXCLUSIVE MODE")
        for refusal in late(live.nobody(connection), tables) if live.apart else []:
            raise RestoreError(f"{refusal.message} Nothing was replaced.", refusal.remedy)
        for schema, name in tables:
            _one(
                live.turn(connection, schema, name),
                schema,
                name,
                schemas[schema],
                kept[schema],
                unset.get((schema, name), []),
            )
        _check_keys(live, connection, tables)
        check(connection)
        server.run(connection, "COMMIT")


def _name(schema: str, name: str) -> str:
    return f"{quoted(schema)}.{quoted(name)}"


def _keys(connection: Any, tables: Tables) -> List[Key]:
    return [Key(*row) for row in server.rows(connection, _KEYS, (tuple(tables),))]


def _kept(schemas: Iterable[str], run_id: str) -> Dict[str, str]:
    """By schema, the one for its old rows: long names that begin alike are told apart."""
    kept: Dict[str, str] = {}
    for number, schema in enumerate(sorted(schemas), 1):
        name = server.kept_name(schema, run_id)
        kept[schema] = server.kept_name(f"{number}_{schema}", run_id) if name in kept.values() else name
    return kept


def _one(connection: Any, schema: str, name: str, twin: str, kept: str, unset: Sequence[str]) -> None:
    table, other = _name(schema, name), _name(twin, name)
    columns, others = (server.rows(connection, _COLUMNS, (each,)) for each in (table, other))
    if columns != others:
        here = ", ".join(sorted(f"{each[0]} {each[1]}" for each in set(columns) ^ set(others)))
        raise RestoreError(
            f"{schema}.{name} has other columns today than in the recovery point: {here}. Nothing was replaced.",
            f"Its rows lie beside, in {twin}: copy what is wanted by hand.",
        )
    plain = ", ".join(quoted(each[0]) for each in columns if not each[2])
    server.run(connection, f"INSERT INTO {quoted(kept)}.{quoted(name)} SELECT * FROM ONLY {table}")  # noqa: S608
    server.run(connection, f"DELETE FROM ONLY {table}")  # noqa: S608 quoted
    rows = f"({plain}) OVERRIDING SYSTEM VALUE SELECT {plain}" if plain else "SELECT"
    server.run(connection, f"INSERT INTO {table} {rows} FROM ONLY {other}")
    for sequence, column, down, least, most in server.rows(connection, _SEQUENCES, (table,)):
        if sequence in unset:
            continue
        # Numbers that were given once are not given again.
        # Its name is an argument, as what a backslash in a string means is the database's to set.
        last, sign = ("min", "<") if down else ("max", ">")
        newest = f"(SELECT {last}({quoted(column)}) AS m FROM {table}) t, {sequence} s".replace("%", "%%")  # noqa: S608
        used = f"(m {sign} s.last_value OR m = s.last_value AND NOT s.is_called) AND m BETWEEN {least} AND {most}"
        query = f"SELECT setval(%s::regclass, m::bigint) FROM {newest} WHERE {used}"  # noqa: S608
        server.rows(connection, query, (sequence,))


def _check_keys(live: Moving, connection: Any, tables: Tables) -> None:
    broken = []
    for key in [key for key in _keys(live.nobody(connection), tables) if key.enforced]:
        count = _lonely(live, connection, key)
        if count:
            broken.append(f"{key.name}: {count} rows of {key.source} would have no partner in {key.goal}")
    if broken:
        raise RestoreError(
            f"Foreign keys would be broken: {'; '.join(broken[:3])}. Nothing was replaced.",
            "Restore these tables together, or copy single rows from the schema restored_* by hand.",
        )


def _lonely(live: Moving, connection: Any, key: Key) -> int:
    """Rows that a foreign key would forbid."""
    pairs = [(f"g.{quoted(b)}", f"s.{quoted(a)}") for a, b in zip(key.columns, key.others)]  # noqa: B905 equal lengths
    full = " AND ".join(f"s.{quoted(a)} IS NOT NULL" for a in key.columns)
    same = " AND ".join(f"{b} = {a}" for b, a in (pairs[:-1] if key.period else pairs))
    none = f"NOT EXISTS (SELECT FROM {key.goal} g WHERE {same})"
    if key.period:
        covering, covered = pairs[-1]
        query = f"SELECT range_agg({covering}) @> {covered} FROM {key.goal} g WHERE {same}"  # noqa: S608 quoted
        none = f"coalesce(({query}), false) IS FALSE"
    link = live.link(key)
    if not link:
        query = f"SELECT count(*) FROM {key.source} s WHERE {full} AND {none}"  # noqa: S608 quoted
        return int(server.value(live.turn_for(connection, key.source), query))
    columns = ", ".join(map(quoted, key.columns))
    query = f"INSERT INTO {link} ({columns}, {quoted(ROWS_OF_KEY)}) SELECT {columns}, count(*) FROM {key.source} s"  # noqa: S608 quoted
    server.run(live.turn_for(connection, key.source), f"{query} WHERE {full} GROUP BY {columns}")
    query = f"SELECT coalesce(sum(s.{quoted(ROWS_OF_KEY)}), 0)::bigint FROM {link} s WHERE {none}"  # noqa: S608 quoted
    return int(server.value(live.turn_for(connection, key.goal), query))


def _check_rows(
    live: Moving,
    connection: Any,
    measurable: Dict[Tuple[str, str], Dict[str, Any]],
    recorded: List[Dict[str, Any]],
    roots: proof.Roots,
) -> None:
    for each in recorded:
        if each["rows"] is None:
            raise RestoreError(
                f"The recovery point does not say how many rows {each['schema']}.{each['name']} has, so that nothing"
                " proves them. Nothing was replaced.",
                "They lie beside, in the schema restored_*: copy what is wanted by hand.",
            )
    found = [
        measuring.measure(
            live.turn(connection, each["schema"], each["name"]),
            measurable[each["schema"], each["name"]],
            each["digest"] is not None,
        )
        for each in sorted(recorded, key=lambda each: (each["schema"], each["name"]))
    ]
    for check in proof.of_tables(*proof.at_roots(recorded, found, roots)):
        if check.status == "critical":
            raise RestoreError(
                f"The tables would not have the rows of the recovery point: {check.message} Nothing was replaced.",
                "This is a defect, or a trigger or rule that is always on: compare with the schema restored_*.",
            )
