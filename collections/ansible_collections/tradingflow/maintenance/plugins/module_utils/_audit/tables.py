# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of the database by COPY, all of them in one snapshot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List

from .._postgres.snapshot import MODE, SETTINGS
from ..database import connected, quoted
from ..errors import ConfigurationError, DatabaseError, MaintenanceError
from .collected import COMPLETE, FAILED, Count, Period, Source, Tool
from .platform import Writer, guarded, judged

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]


def tables(options: Dict[str, Any], staging: Path, period: Period) -> List[Source]:
    """The sources; each fails by itself, all of them where there is no database."""
    planned = [Source(each["name"], "table", COMPLETE) for each in options["tables"]]
    found: List[Source] = []
    try:
        if not options["database"]:
            raise ConfigurationError(
                "Tables are to be collected, and no database is named.", "Set tradingflow_database."
            )
        with connected(options["database"], statement_timeout=0, pinned=True) as connection:
            for source in _in_snapshot(connection, options, planned, staging, period):
                found.append(source)
    except MaintenanceError as error:
        found += [replace(each, outcome=FAILED, reason=error.message) for each in planned[len(found) :]]
    return found


def _in_snapshot(
    connection: Any, options: Dict[str, Any], planned: List[Source], staging: Path, period: Period
) -> Iterator[Source]:
    with connection.cursor() as cursor:
        cursor.execute(SETTINGS)
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0]
        cursor.execute(f"BEGIN {MODE}")
        for source, table in zip(planned, options["tables"]):  # noqa: B905
            cursor.execute("SAVEPOINT one")
            yield guarded(
                replace(source, tool=Tool("PostgreSQL", version)),
                lambda source, table=table: _table(cursor, source, table, staging, period),  # type: ignore[misc]
            )
            cursor.execute("ROLLBACK TO SAVEPOINT one")
        cursor.execute("COMMIT")


def _table(cursor: Any, source: Source, table: Dict[str, Any], staging: Path, period: Period) -> Source:
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
            where = cursor.mogrify(
                f" WHERE {quoted(table['time'])} >= %s::timestamptz AND {quoted(table['time'])} < %s::timestamptz",
                (period.begin, period.end),
            ).decode()
        if table["order"]:
            order = " ORDER BY " + ", ".join(quoted(each) for each in table["order"])
        copy = f"COPY (SELECT * FROM {relation}{where}{order}) TO STDOUT WITH (FORMAT csv, HEADER)"  # noqa: S608
        source = replace(source, command=[copy])
        cursor.execute(f"SELECT count(*) FROM {relation}{where}")  # noqa: S608
        counted = cursor.fetchone()[0]
        untimed = 0
        if table["time"]:
            cursor.execute(f"SELECT count(*) FROM {relation} WHERE {quoted(table['time'])} IS NULL")  # noqa: S608
            untimed = cursor.fetchone()[0]
        writer = Writer(staging, f"tables/{table['name']}.csv.gz")
        cursor.copy_expert(copy, writer)
    except psycopg2.Error as error:
        raise DatabaseError(f"PostgreSQL refused: {' '.join(str(error).split())}") from None
    copied = cursor.rowcount
    counts = [Count("count(*) in the same snapshot", counted), Count("rows that COPY gave out", copied)]
    found = replace(source, files=[writer.close(copied)], records=copied, counts=counts)
    if untimed:
        found.reason = f"{untimed} rows have no {table['time']}, so that they belong to no period"
    return judged(found, table["empty_ok"])
