# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of the database by COPY, all of them in one snapshot."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Dict, Iterator, List, Tuple

from .._postgres.snapshot import MODE, SETTINGS
from ..database import connected, quoted
from ..errors import ConfigurationError, DatabaseError, MaintenanceError
from .checkpoints import Checkpoints, gaps, query
from .collected import COMPLETE, FAILED, Count, Period, Source, Tool
from .packing import Packed, Scratch
from .period import twice, unsettled, zone_of
from .platform import guarded

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]


def tables(
    options: Dict[str, Any], scratch: Scratch, period: Period, checkpoints: Checkpoints, unread: str = ""
) -> List[Source]:
    """The sources; each fails by itself, all of them where there is no database.

    :param checkpoints: what daily runs counted
    :param unread: why there are none
    """
    planned = [Source(each["name"], "table", COMPLETE) for each in options["tables"]]
    found: List[Source] = []
    try:
        if not options["database"]:
            raise ConfigurationError(
                "Tables are to be collected, and no database is named.", "Set tradingflow_database."
            )
        with connected(options["database"], statement_timeout=0, pinned=True) as connection:
            planned = [replace(each, reason=unread) for each in planned]
            for source in _in_snapshot(connection, options, planned, scratch, period, checkpoints):
                found.append(source)
    except MaintenanceError as error:
        found += [replace(each, outcome=FAILED, reason=error.message) for each in planned[len(found) :]]
    return found


def _in_snapshot(
    connection: Any,
    options: Dict[str, Any],
    planned: List[Source],
    scratch: Scratch,
    period: Period,
    checkpoints: Checkpoints,
) -> Iterator[Source]:
    with connection.cursor() as cursor:
        cursor.execute(SETTINGS)
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0]
        late = "; ".join(
            filter(None, (unsettled(period, options.get("settle", 0), time.time()), _unsettled(cursor, period)))
        )
        planned = [
            replace(each, reason="; ".join(filter(None, (each.reason, late if table["time"] else ""))))
            for each, table in zip(planned, options["tables"])  # noqa: B905
        ]
        cursor.execute(f"BEGIN {MODE}")
        for source, table in zip(planned, options["tables"]):  # noqa: B905
            cursor.execute("SAVEPOINT one")
            yield guarded(
                replace(source, tool=Tool("PostgreSQL", version)),
                lambda source, table=table: _table(cursor, source, table, scratch, period, checkpoints),  # type: ignore[misc]
            )
            cursor.execute("ROLLBACK TO SAVEPOINT one")
        cursor.execute("COMMIT")


#: Transactions of before a time that can commit still; whose begin may not be seen counts as well.
_OPEN = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND xact_start < %(end)s),
  (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND usesysid IS NOT NULL AND backend_start IS NULL),
  (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database() AND prepared < %(end)s),
  pg_is_in_recovery() AND coalesce(pg_last_xact_replay_timestamp() < %(end)s, true)
"""


def _unsettled(cursor: Any, period: Period) -> str:
    """Why rows of the period may be committed after the snapshot, and then be in no bundle."""
    try:
        cursor.execute(_OPEN, {"end": period.end})
        begun, hidden, prepared, behind = cursor.fetchone()
    except psycopg2.Error as error:
        return f"whether rows of the period are still to come cannot be seen: {' '.join(str(error).split())}"
    reasons = []
    if begun or prepared:
        reasons.append("a transaction of before the period's end is open: what it commits is not here")
    if hidden:
        reasons.append("when others' transactions began may not be seen (pg_monitor): one of the period may be open")
    if behind:
        reasons.append("the standby has not replayed all of the period")
    return "; ".join(reasons)


def _timeless(column: str) -> str:
    return f"{quoted(column)} IS NULL OR NOT isfinite({quoted(column)})"


#: The type of a column: whether it is of a zone.
_ZONED = """
SELECT t.typname NOT IN ('timestamp', 'date') FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::regclass AND a.attname = %s AND NOT a.attisdropped
"""


def _ends(cursor: Any, relation: str, table: Dict[str, Any], period: Period) -> List[Tuple[str, Tuple[str, ...]]]:
    """Both ends of the period as SQL and parameters, in the zone of the column.

    :raises ConfigurationError: it has none, and none is declared
    """
    cursor.execute(_ZONED, (relation, table["time"]))
    row = cursor.fetchone()
    if row is None or row[0]:
        return [("%s::timestamptz", (at,)) for at in (period.begin, period.end)]
    if not table.get("timezone"):
        raise ConfigurationError(
            f"{table['time']} has no time zone: which rows are of the period cannot be told.",
            "Set timezone of the table in audit_collection_tables, such as Europe/Berlin.",
        )
    zone_of(table["timezone"], "timezone of the table")
    return [("%s::timestamptz AT TIME ZONE %s", (at, table["timezone"])) for at in (period.begin, period.end)]


def _table(
    cursor: Any,
    source: Source,
    table: Dict[str, Any],
    scratch: Scratch,
    period: Period,
    checkpoints: Checkpoints,
) -> Source:
    schema, dot, name = table["relation"].partition(".")
    if not dot or not schema or not name:
        raise ConfigurationError(
            f"{table['relation'][:80]!r} is not a relation with its schema.",
            "Write schema.name in audit_collection_tables.",
        )
    relation = f"{quoted(schema)}.{quoted(name)}"
    where, order = "", ""
    try:
        if table["time"]:
            # Names may have a percent sign.
            begin, end = (cursor.mogrify(*each).decode() for each in _ends(cursor, relation, table, period))
            where = f" WHERE {quoted(table['time'])} >= {begin} AND {quoted(table['time'])} < {end}"
        if table["order"]:
            order = " ORDER BY " + ", ".join(quoted(each) for each in table["order"])
        copy = f"COPY (SELECT * FROM {relation}{where}{order}) TO STDOUT WITH (FORMAT csv, HEADER)"  # noqa: S608
        source = replace(source, command=[copy])
        cursor.execute(f"SELECT count(*) FROM {relation}{where}")  # noqa: S608
        counted = cursor.fetchone()[0]
        untimed = 0
        if table["time"]:
            cursor.execute(f"SELECT count(*) FROM {relation} WHERE {_timeless(table['time'])}")  # noqa: S608
            untimed = cursor.fetchone()[0]
        with Packed(scratch, f"tables/{table['name']}.csv.gz") as packed:
            cursor.copy_expert(copy, packed)
            copied = cursor.rowcount
            file = packed.close(copied)
    except psycopg2.Error as error:
        raise DatabaseError(f"PostgreSQL refused: {' '.join(str(error).split())}") from None
    counts = [Count("count(*) in the same snapshot", counted), Count("rows that COPY gave out", copied)]
    found = replace(source, files=[file], records=copied, counts=counts)
    reasons = [found.reason] if found.reason else []
    if untimed:
        reasons.append(f"{untimed} rows have no time in {table['time']}, so that they belong to no period")
    if table["time"] and table.get("timezone"):
        reasons += [
            f"{at} is an hour that {table['timezone']} has twice: rows of it may be of the other one"
            for at in (period.begin, period.end)
            if twice(at, table["timezone"])
        ]
    then = checkpoints.get(table["relation"])
    if then and table["time"]:
        found.gaps, proven = gaps(_days(cursor, relation, table, period), then, period)
        counts[0] = Count(f"{counts[0].by}; {proven} days also by the checkpoints of daily runs", counted)
    found.reason = ""
    return found.concluded(reasons + found.miscounted(table["empty_ok"]))


def _days(cursor: Any, relation: str, table: Dict[str, Any], period: Period) -> Dict[str, Tuple[int, Any]]:
    """Rows and highest key of each day, in the snapshot."""
    key = quoted(table["order"][0]) if table["order"] else ""
    try:
        names = (name.replace("%", "%%") for name in (relation, quoted(table["time"]), key))
        cursor.execute(query(*names), (period.begin, period.end))
        return {day: (rows, highest) for day, rows, highest in cursor.fetchall()}
    except psycopg2.Error as error:
        raise DatabaseError(f"PostgreSQL refused: {' '.join(str(error).split())}") from None
