# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area database, what its statements and sequences will run into."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Tuple

from ..checks import CRITICAL, Check, judge, limits
from ..database import OURS
from ..words import printable
from .sql import NotMeasured, Probe, Row

#: Executions from which on a statement's mean says anything; what ran a few times is maintenance.
ENOUGH_CALLS = 10
#: Characters of a statement that are shown.
SHOWN = 200

#: Only these are recorded without their constants. Others (CREATE ROLE ... PASSWORD) are shown by their first words.
_NORMALISED = re.compile(r"\s*\(*\s*(select|insert|update|delete|merge|with|values|table)\b", re.IGNORECASE)
#: Constants may be left when the record was evicted while the statement ran; one cut off has no end.
_CONSTANT = re.compile(r"\$(\w*)\$.*?(?:\$\1\$|\Z)|'(?:[^'\\]|''|\\.)*(?:'|\Z)", re.DOTALL)
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|--[^\n]*", re.DOTALL)


def normalised(query: str) -> str:
    """A statement as pg_stat_statements records it, on one line, without comments and constants, cut."""
    text = " ".join(_CONSTANT.sub("'…'", _COMMENT.sub(" ", query)).split())
    if not _NORMALISED.match(text):
        return printable(" ".join(text.split()[:2]) + " …")
    return printable(text, SHOWN)


def slow(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """The slowest statement by its mean time, in ms, of those that others than this role run again and again."""
    first = rows[0]
    if first["track"] == "none":
        raise NotMeasured("pg_stat_statements.track is none.", "Set it to top in postgresql.conf and reload.")
    if first["hidden"]:
        raise NotMeasured(f"{first['hidden']} statements of other users are hidden from this role.", READ)
    found = [row for row in rows if row["queryid"] is not None]
    value = round(found[0]["mean"], 1) if found else 0
    yield judge(
        "database.slow_statements",
        "Slowest statement",
        value,
        unit="ms",
        **limits(thresholds, "slow_statements"),
        message=f"{normalised(found[0]['query'])} takes {value:g} ms on average, {found[0]['longest']:.0f} ms at most, "
        f"in {found[0]['calls']:,} executions."
        if found
        else f"No statement of other roles was executed {ENOUGH_CALLS} times or more.",
        remedy="Look at its plan (EXPLAIN (ANALYZE, BUFFERS)) and its indexes; after a cure forget the past: "
        "SELECT pg_stat_statements_reset().",
        source="pg_stat_statements",
        details={
            "statements": [
                {
                    "queryid": row["queryid"],
                    "mean_ms": round(row["mean"], 1),
                    "max_ms": round(row["longest"], 1),
                    "calls": row["calls"],
                    "text": normalised(row["query"]),
                }
                for row in found
            ]
        },
    )


READ = "Grant the role the right to read statistics: GRANT pg_monitor TO the maintenance user."
INSTALL = (
    "Add pg_stat_statements to shared_preload_libraries, restart the server in a maintenance window, and "
    "CREATE EXTENSION pg_stat_statements in this database."
)


def sequences(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """The sequence that is nearest its end, in %; the type of the column it fills counts too."""
    hidden = [row for row in rows if row["hidden"]]
    known = [row for row in rows if not row["hidden"]]
    worst = max(known, key=lambda row: row["used"] or 0, default=None)
    value = round(float(worst["used"] or 0), 1) if worst else 0
    name = printable(f"{worst['nspname']}.{worst['relname']}") if worst else ""
    near = sorted(known, key=lambda row: -(row["used"] or 0))[:5]
    check = judge(
        "database.sequences",
        "Sequence nearest its end",
        value,
        unit="%",
        **limits(thresholds, "sequences"),
        message=f"{name} has used {value:g} % of its numbers." if worst else "There are no sequences.",
        remedy="Give column and sequence the type bigint in a migration, before inserts fail.",
        source="pg_sequence",
        details={
            "sequences": len(known),
            "used": {
                printable(f"{row['nspname']}.{row['relname']}"): round(float(row["used"] or 0), 1) for row in near
            },
        },
    )
    if hidden and check.status != CRITICAL:
        raise NotMeasured(
            f"{len(hidden)} sequences are hidden from this role.",
            "Grant it the right to read them: GRANT pg_read_all_data TO the maintenance user.",
        )
    yield check


STATEMENTS: Tuple[Probe, ...] = (
    Probe(
        (("database.slow_statements", "Slowest statement"),),
        "pg_stat_statements",
        rf"""
        WITH recorded AS (
            SELECT queryid, query, calls, mean_exec_time AS mean, max_exec_time AS longest
            FROM pg_stat_statements
            WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                  AND userid <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
                  -- Nor what backups do, whoever is asked to: measuring, dumping, and pgBackRest's start and stop.
                  AND (query IS NULL OR position('{OURS}' IN query) = 0
                       AND query !~* '^\s*copy\s.*\sto\s+stdout\s*;?\s*$'
                       AND query !~* '\mpg_(backup_(start|stop)|(start|stop)_backup|switch_wal|create_restore_point)\M')
        ), hidden AS (
            SELECT count(*) FILTER (WHERE query = '<insufficient privilege>')::int AS hidden,
                   current_setting('pg_stat_statements.track', true) AS track FROM recorded
        )
        SELECT hidden, track, queryid::text, left(query, 10000) AS query, calls, mean, longest
        FROM hidden LEFT JOIN (
            SELECT * FROM recorded WHERE calls >= {ENOUGH_CALLS} ORDER BY mean DESC LIMIT 5
        ) AS slowest ON true ORDER BY mean DESC NULLS LAST
        """,  # noqa: S608 - a constant of our own
        slow,
        refusals={
            "42P01": ("pg_stat_statements is not installed in this database, or its schema is closed to it.", INSTALL),
            "55000": ("pg_stat_statements is installed, but not loaded by the server.", INSTALL),
        },
    ),
    Probe(
        (("database.sequences", "Sequence nearest its end"),),
        "pg_sequence",
        """
        WITH fed AS (
            -- Columns that a sequence fills: that own it, or whose default names it.
            SELECT d.objid AS sequence, a.atttypid
            FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
                  AND d.deptype IN ('a', 'i')
            UNION ALL
            SELECT d.refobjid, a.atttypid
            FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
            JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
            WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
        ), narrowest AS (
            SELECT sequence, min(CASE atttypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 END)::numeric AS most
            FROM fed GROUP BY sequence
        ), limits AS (
            SELECT c.oid, n.nspname, c.relname, NOT has_sequence_privilege(c.oid, 'USAGE, SELECT') AS hidden,
                   s.seqincrement, s.seqcycle, greatest(s.seqmin, -f.most - 1) AS least, least(s.seqmax, f.most) AS most
            FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
            LEFT JOIN narrowest f ON f.sequence = c.oid
            WHERE c.relpersistence <> 't' AND NOT s.seqcycle
        ), reached AS (
            SELECT *, CASE WHEN NOT hidden THEN pg_sequence_last_value(oid) END::numeric AS last FROM limits
        )
        SELECT nspname, relname, hidden,
               (100 * CASE WHEN seqincrement > 0 THEN last - least ELSE most - last END
               / nullif(most - least, 0))::float8 AS used
        FROM reached
        """,
        sequences,
    ),
)
