# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bloat, measured by pgstattuple and never estimated: what it does not measure nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple, Type

from .._checks.sql import Row, first_line
from ..checks import OK, UNKNOWN, Check, judge, limits, unknown
from ..database import quoted
from ..words import plural, printable, size
from .catalogue import BYTES, Index, without_catalogue
from .indexes import REVIEW, SAFE, Advice, corrupts

Limit = Dict[str, Any]

EXTENSION = """
SELECT quote_ident(n.nspname) AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pgstattuple'
"""

TABLES = f"""
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, {BYTES} AS bytes, c.relpages AS pages,
       coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 100)
           AS fillfactor
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND a.amname = 'heap'
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
"""  # noqa: S608 - constants of our own

FILLFACTOR = """
SELECT c.oid::bigint AS oid,
       coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), 90)
           AS fillfactor
FROM pg_class c WHERE c.relkind = 'i'
"""

INSTALL = "CREATE EXTENSION pgstattuple in this database as its owner; pg_monitor may use it."
INDEX_TITLE = "Bloat of the most bloated index"
TABLE_TITLE = "Bloat of the most bloated table"
PLANNED = (("tuning.index_bloat", INDEX_TITLE), ("tuning.table_bloat", TABLE_TITLE))
#: What each access method's own function says; of the others pgstattuple refuses to say anything.
METHODS = ("btree", "gist")
#: Half of a new hash index is free: its buckets are to be filled.
NO_BLOAT = {"hash": "free space in the buckets of a hash index is no bloat"}
REMEDY = {
    "index_bloat": "Have it rebuilt: action apply with the plan that this run made (docs/tuning.md).",
    "table_bloat": "Find what keeps vacuum from it; then decide whether the space is worth a window.",
}


@dataclass
class Measured:
    """What was measured of one relation.

    :param exclusion: whether it is an index of an exclusion constraint, or of a key WITHOUT OVERLAPS
    :param bloat: % of it that is neither data nor what fillfactor leaves free; None when nobody knows
    """

    schema: str
    relation: str
    bytes: int
    bloat: Optional[float]
    method: str
    problem: str = ""
    table: str = ""
    exclusion: bool = False

    @property
    def name(self) -> str:
        """Schema and name."""
        return f"{self.schema}.{self.relation}"

    def as_data(self) -> Dict[str, Any]:
        """As JSON data."""
        left_out = ("schema", "relation", "exclusion")
        data = {key: value for key, value in vars(self).items() if key not in left_out and value not in ("", None)}
        return {"name": self.name, **data}


class Budget:
    """Bytes that may still be read: measuring reads the whole of what it measures."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, wanted: int) -> bool:
        """Whether there is as much left; takes it."""
        if wanted > self.left:
            return False
        self.left -= wanted
        return True


def measured(cursor: Any, indexes: Optional[List[Index]], options: Row, errors: Type[BaseException]) -> List[Check]:
    """The checks of bloat: the largest first, until the budget is spent.

    :param indexes: None when they could not be read
    :param options: see options.SPEC; what is smaller than least_bytes is not worth a look
    :param errors: psycopg2's error
    """
    least, budget, thresholds = options["least_bytes"], Budget(options["read_bytes"]), options["thresholds"]
    cursor.execute(EXTENSION)
    row = cursor.fetchone()
    if not row:
        return [
            unknown(
                id, title, f"{title}: pgstattuple is not installed in this database.", INSTALL, source="pgstattuple"
            )
            for id, title in PLANNED
        ]
    schema, (block, version) = row["schema"], _server(cursor)
    cursor.execute(FILLFACTOR)
    fill = {each["oid"]: each["fillfactor"] for each in cursor.fetchall()}
    of_indexes: List[Measured] = []
    for one in sorted(indexes or (), key=lambda one: -one.pages):
        # Of what is locked nobody knows the size when nobody has looked before.
        small = one.pages * block < least and not (one.locked and not one.pages)
        if small or one.partitioned or not one.valid:
            continue
        of_indexes.append(_index(cursor, one, schema, block, fill.get(one.oid, 90), budget, errors))
    cursor.execute(TABLES)
    of_tables: List[Measured] = []
    for table in sorted(cursor.fetchall(), key=lambda table: -_bytes(table, block)):
        if _bytes(table, block) >= least or (table["bytes"] is None and not table["pages"]):
            of_tables.append(_table(cursor, table, schema, block, budget, errors))
    return [
        judged(of_indexes, "index_bloat", INDEX_TITLE, limits(thresholds, "index_bloat"), least, version)
        if indexes is not None
        else without_catalogue(*PLANNED[0]),
        judged(of_tables, "table_bloat", TABLE_TITLE, limits(thresholds, "table_bloat"), least, version),
    ]


def _server(cursor: Any) -> Tuple[int, int]:
    """Bytes of a block, and the server's version."""
    cursor.execute(
        "SELECT current_setting('block_size')::int AS block, current_setting('server_version_num')::int AS version"
    )
    row = cursor.fetchone()
    return row["block"], row["version"]


def _bytes(table: Row, block: int) -> int:
    return int(table["bytes"] if table["bytes"] is not None else table["pages"] * block)


def _asked(cursor: Any, sql: str, oid: int, errors: Type[BaseException]) -> Tuple[Optional[Row], str]:
    """A row, or why there is none; within a savepoint, which also gives the lock back."""
    cursor.execute("SAVEPOINT bloat")
    row: Optional[Row] = None
    problem = ""
    try:
        cursor.execute(sql, {"oid": oid})
        row = cursor.fetchone()
    except errors as error:
        if cursor.connection.closed:
            raise
        problem = first_line(error)
    cursor.execute("ROLLBACK TO SAVEPOINT bloat; RELEASE SAVEPOINT bloat")
    return row, problem


def _index(
    cursor: Any, one: Index, schema: str, block: int, fillfactor: int, budget: Budget, errors: Type[BaseException]
) -> Measured:
    found = Measured(
        one.schema, one.name, one.pages * block, None, one.method, table=one.table, exclusion=one.exclusion
    )
    if one.method not in METHODS:
        found.problem = NO_BLOAT.get(one.method, f"pgstattuple does not measure {one.method}")
    elif one.locked or one.building:
        found.problem = one.building or "it, or its table, is locked right now"
    elif not budget.take(found.bytes):
        found.problem = "not read: more than read_bytes would have been"
    if found.problem:
        return found
    if one.method == "btree":
        columns = "leaf_pages, deleted_pages, empty_pages, avg_leaf_density AS density"
        sql = f"SELECT {columns} FROM {schema}.pgstatindex(%(oid)s::regclass)"  # noqa: S608 - quoted by PostgreSQL
    else:
        sql = f"SELECT free_percent, dead_tuple_percent FROM {schema}.pgstattuple(%(oid)s::regclass)"  # noqa: S608
    row, found.problem = _asked(cursor, sql, one.oid, errors)
    if row is None:
        return found
    if one.method == "btree":
        if not row["leaf_pages"]:
            found.bloat = 0.0
            return found
        pages = row["leaf_pages"] + row["deleted_pages"] + row["empty_pages"]
        filled = row["density"] * row["leaf_pages"] / pages
        # Deduplication and fillfactor may well pack it denser than fillfactor says.
        found.bloat = round(min(100.0, max(0.0, 100 - 100 * filled / fillfactor)), 1)
    else:
        found.bloat = round(row["free_percent"] + row["dead_tuple_percent"], 1)
    return found


def _table(cursor: Any, table: Row, schema: str, block: int, budget: Budget, errors: Type[BaseException]) -> Measured:
    name = f"{table['schema']}.{table['name']}"
    found = Measured(table["schema"], table["name"], _bytes(table, block), None, "heap", table=name)
    if table["bytes"] is None:
        found.problem = "it is locked right now"
        return found
    if not budget.take(found.bytes):
        found.problem = "not read: more than read_bytes would have been"
        return found
    columns = "dead_tuple_percent AS dead, approx_free_percent AS free"
    sql = f"SELECT {columns} FROM {schema}.pgstattuple_approx(%(oid)s::regclass)"  # noqa: S608 - quoted by PostgreSQL
    row, found.problem = _asked(cursor, sql, table["oid"], errors)
    if row is not None:
        free = max(0.0, row["free"] - (100 - table["fillfactor"]))
        found.bloat = round(min(100.0, row["dead"] + free), 1)
    return found


def judged(  # pylint: disable=too-many-arguments
    found: List[Measured], name: str, title: str, limit: Limit, least: int, version: int
) -> Check:
    """One check: the most bloated. Unknown when one that pgstattuple could measure was not measured."""
    known = [one for one in found if one.bloat is not None]
    # Of these methods nobody can say more, in this run or any other: each is listed as unknown, and alarms nobody.
    never = [one for one in found if one.bloat is None and one.method not in (*METHODS, "heap")]
    left = [one for one in found if one.bloat is None and one not in never]
    most = max(known, key=lambda one: one.bloat or 0, default=None)
    text = f"{printable(most.name)}: {most.bloat:g} % of {size(most.bytes)} are bloat." if most else ""
    text = text or f"Nothing that can be measured is {size(least)} or larger."
    if never:
        kinds = ", ".join(sorted({one.method for one in never}))
        text += f" Of {plural(len(never), 'other')} ({kinds}) nobody can tell."
    check = judge(
        f"tuning.{name}",
        title,
        (most.bloat or 0) if most else 0,
        unit="%",
        **limit,
        message=text,
        remedy=REMEDY[name],
        source="pgstattuple",
        details={
            "measured": _shown(known),
            "unknown": _shown(left + never),
            "advice": _advice(known, name, limit, version),
        },
    )
    if left:
        first = f"{printable(left[0].name)} ({left[0].problem})"
        check.message = f"{plural(len(left), 'relation was', 'relations were')} not measured: {first}. {text}"
        if check.status == OK:
            check.status, check.value = UNKNOWN, None
            check.remedy = "Run again when it is free, or raise read_bytes."
    return check


def _shown(found: List[Measured]) -> List[Dict[str, Any]]:
    return [one.as_data() for one in sorted(found, key=lambda one: (-(one.bloat or 0), -one.bytes))[:20]]


def _advice(known: List[Measured], name: str, limit: Limit, version: int) -> List[Dict[str, Any]]:
    bad = [one for one in known if limit["warning"] is not None and (one.bloat or 0) >= limit["warning"]]
    if name == "table_bloat":
        text = "VACUUM frees it for new rows only; pg_repack or VACUUM FULL in a window gives it back to the disk"
        return [Advice(one.name, one.table, REVIEW, f"{one.bloat:g} % are bloat: {text}").as_data() for one in bad]
    return [reindex(one, version).as_data() for one in bad]


def reindex(one: Measured, version: int) -> Advice:
    """Advice to rebuild an index that is bloated.

    :param version: server_version_num
    """
    reason = f"{one.bloat:g} % of {size(one.bytes)} are bloat"
    if one.exclusion:
        text = "that of an exclusion constraint can only be rebuilt under a lock: REINDEX in a window"
        return Advice(one.name, one.table, REVIEW, f"{reason}; {text}")
    if corrupts(version):
        text = "PostgreSQL 14.0 to 14.3 may corrupt what is rebuilt CONCURRENTLY: update the server first"
        return Advice(one.name, one.table, REVIEW, f"{reason}; {text}")
    statement = f"REINDEX INDEX CONCURRENTLY {quoted(one.schema)}.{quoted(one.relation)}"
    return Advice(one.name, one.table, SAFE, reason, statement, "", (one.schema, one.relation))
