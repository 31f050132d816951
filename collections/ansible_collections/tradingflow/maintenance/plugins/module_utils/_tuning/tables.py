# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables and sequences: vacuum, statistics, wraparound and numbers that end. One statement each."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from .._checks.sql import NotMeasured, Probe, Row
from .._checks.statements import STATEMENTS
from ..checks import OK, UNKNOWN, WARNING, Check, judge, limits
from ..database import quoted
from ..words import plural, printable, size
from .catalogue import BYTES
from .indexes import REVIEW, SAFE, Advice

#: Settings of a table win over the server's; the ceiling is there from PostgreSQL 18 on, -1 for none.
_OPTION = """
coalesce((SELECT option_value::float8 FROM pg_options_to_table(c.reloptions) WHERE option_name = '{name}'),
         current_setting('{name}', true)::float8)
"""

TABLES = f"""
SELECT n.nspname AS schema, c.relname AS name, s.n_dead_tup AS dead, s.n_mod_since_analyze AS changed,
       s.n_ins_since_vacuum AS inserted, c.reltuples AS rows, s.n_live_tup AS live,
       coalesce(s.last_analyze, s.last_autoanalyze, s.last_vacuum, s.last_autovacuum) IS NOT NULL AS looked_at,
       {BYTES} AS bytes, c.relpages AS pages,
       EXISTS (SELECT FROM pg_statistic t WHERE t.starelid = c.oid) AS has_statistics,
       {_OPTION.format(name="autovacuum_vacuum_threshold")} AS vacuum_threshold,
       {_OPTION.format(name="autovacuum_vacuum_scale_factor")} AS vacuum_scale,
       coalesce({_OPTION.format(name="autovacuum_vacuum_max_threshold")}, -1) AS vacuum_most,
       {_OPTION.format(name="autovacuum_analyze_threshold")} AS analyze_threshold,
       {_OPTION.format(name="autovacuum_analyze_scale_factor")} AS analyze_scale,
       coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled'),
                'true') AS enabled,
       current_setting('autovacuum') AS autovacuum, current_setting('track_counts') AS counted
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
ORDER BY 1, 2
"""  # noqa: S608 - constants of our own

#: How far over autovacuum's own threshold a table is called behind: below, it may just be its turn.
OVER = 3
#: Rows below which a table is of no interest, and bytes where nobody knows how many it has.
FEW = 1000
LARGE = 1_000_000

VACUUM = ("tuning.vacuum", "Tables that vacuum is behind with")
ANALYZE = ("tuning.analyze", "Tables whose statistics are behind")


def tables(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Tables with far more dead or changed rows than their own settings allow."""
    if rows and rows[0]["counted"] != "on":
        raise NotMeasured("track_counts is off, so that nobody knows.", "Set track_counts to on and reload.")
    dead: List[Tuple[float, Advice]] = []
    stale: List[Tuple[float, Advice]] = []
    off = [_full(row) for row in rows if row["enabled"] in ("false", "off", "0", "no") and row["live"] >= FEW]
    for row in rows:
        live, name = max(row["rows"], 0), f"{quoted(row['schema'])}.{quoted(row['name'])}"
        target = row["schema"], row["name"]
        due = row["vacuum_threshold"] + row["vacuum_scale"] * live
        due = min(due, row["vacuum_most"]) if row["vacuum_most"] >= 0 else due
        if row["dead"] >= FEW and row["dead"] > OVER * due:
            text = f"{row['dead']:,} dead rows, autovacuum begins at {due:,.0f}"
            dead.append((row["dead"], Advice("", _full(row), SAFE, text, f"VACUUM {name}", "", target)))
        due = row["analyze_threshold"] + row["analyze_scale"] * live
        # Before VACUUM, ANALYZE or CREATE INDEX nobody knows how many rows there are (-1).
        there = max(row["live"], live) >= FEW or (row["rows"] < 0 and (row["bytes"] or 0) >= LARGE)
        if there and not row["has_statistics"]:
            many = f"about {max(row['live'], int(live)):,} rows" if max(row["live"], live) else size(row["bytes"])
            text = f"{many} and no statistics at all: never analysed"
            stale.append((row["live"], Advice("", _full(row), SAFE, text, f"ANALYZE {name}", "", target)))
        elif row["changed"] >= FEW and row["changed"] > OVER * due:
            text = f"{row['changed']:,} rows changed since statistics were made, autovacuum begins at {due:,.0f}"
            stale.append((row["changed"], Advice("", _full(row), SAFE, text, f"ANALYZE {name}", "", target)))
    uncounted = [_full(row) for row in rows if _uncounted(row)]
    for (id, title), name, found, good in (
        (VACUUM, "vacuum", dead, "Vacuum keeps up with all tables."),
        (ANALYZE, "analyze", stale, "Statistics of all tables are fresh enough."),
    ):
        advice = [one for _many, one in sorted(found, key=lambda pair: (-pair[0], pair[1].table))]
        check = judge(
            id,
            title,
            len(advice),
            **limits(thresholds, name),
            message=f"{printable(advice[0].table)}: {advice[0].reason}." if advice else good,
            remedy="Look for long transactions and slots that hold it back; have it done by action apply.",
            source="pg_stat_user_tables",
            details={"tables": len(rows), "advice": [one.as_data() for one in advice[:50]]},
        )
        if off and name == "vacuum":
            check.details["autovacuum_off"] = off[:50]
            if check.status == OK:
                check.status, check.message = WARNING, f"Autovacuum is switched off for {', '.join(off[:5])}. {good}"
                check.remedy = "ALTER TABLE ... RESET (autovacuum_enabled), or see that whatever vacuums instead does."
        if uncounted:
            check.details["uncounted"] = uncounted[:50]
        if uncounted and check.status in (OK, WARNING):
            check.status, check.value = UNKNOWN, None
            names = printable(", ".join(uncounted[:5]), 200)
            text = check.message if advice or off else ""
            check.message = (
                f"Nobody has counted since the last crash or upgrade what changed in {names}. {text}".strip()
            )
            check.remedy = "ANALYZE these tables, or wait until they are not locked: counting begins with it."
        yield check


def _uncounted(row: Row) -> bool:
    """Whether a large table has no counts at all: after a crash or pg_upgrade all of them are gone, not zero."""
    nothing = not (row["live"] or row["dead"] or row["changed"] or row["inserted"] or row["looked_at"])
    hidden = row["bytes"] is None and not row["pages"]
    return nothing and (hidden or (row["bytes"] or 0) >= LARGE)


def _full(row: Row) -> str:
    return f"{row['schema']}.{row['name']}"


AGES = """
SELECT n.nspname AS schema, c.relname AS name, greatest(age(c.relfrozenxid), age(t.relfrozenxid)) AS xids,
       greatest(mxid_age(c.relminmxid), mxid_age(t.relminmxid)) AS multixacts,
       current_setting('autovacuum_freeze_max_age')::bigint AS freeze_at
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
WHERE c.relkind IN ('r', 'm') AND c.relfrozenxid <> '0'
"""


def ages(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """The tables, with what they keep beside them (TOAST), whose oldest row was frozen longest ago."""
    for column, name, (id, title) in (("xids", "xid_age", XIDS), ("multixacts", "mxid_age", MULTIXACTS)):
        oldest = sorted(rows, key=lambda row: -row[column])[:10]
        if not oldest:
            raise NotMeasured("the catalogue shows no table.", "See what the role may read.")
        first = oldest[0]
        noun = "transaction" if column == "xids" else "multixact"
        yield judge(
            id,
            title,
            first[column],
            **limits(thresholds, name),
            message=f"{printable(_full(first))} has {noun} ids that are {first[column]:,} old; the server stops at "
            "about 2,147,000,000.",
            remedy=f"Find what holds vacuum back, then VACUUM (FREEZE) {printable(_full(first))}.",
            source="pg_class",
            details={
                "tables": {_full(row): row[column] for row in oldest},
                "advice": [
                    Advice(
                        "", _full(row), SAFE, f"{noun} ids {row[column]:,} old",
                        f"VACUUM (FREEZE) {quoted(row['schema'])}.{quoted(row['name'])}", "",
                        (row["schema"], row["name"]),
                    ).as_data()
                    for row in oldest
                    if row[column] >= (limits(thresholds, name)["warning"] or float("inf"))
                    and not row["schema"].startswith("pg_")
                ],
            },
        )  # fmt: skip


XIDS = ("tuning.xid_age", "Table nearest wraparound of transaction ids")
MULTIXACTS = ("tuning.mxid_age", "Table nearest wraparound of multixact ids")

NUMBERS = ("tuning.sequences", "Sequences and identity columns near their end")


def numbers(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Sequences by the share of their numbers that is used; a column of a smaller type ends first."""
    hidden = sum(row["hidden"] for row in rows)
    known = sorted((row for row in rows if not row["hidden"]), key=lambda row: -(row["used"] or 0))
    limit = limits(thresholds, "sequences")
    worst = float(known[0]["used"] or 0) if known else 0.0
    name = printable(f"{known[0]['nspname']}.{known[0]['relname']}") if known else ""
    text = "in a migration, give column and sequence the type bigint"
    check = judge(
        *NUMBERS,
        round(worst, 1),
        unit="%",
        **limit,
        message=f"{name} has used {worst:.3g} % of its numbers." if known else "There are no sequences.",
        remedy="Give column and sequence the type bigint in a migration, before inserts fail.",
        source="pg_sequence",
        details={
            "sequences": len(rows),
            "advice": [
                Advice("", f"{row['nspname']}.{row['relname']}", REVIEW, f"{row['used']:.3g} % used: {text}").as_data()
                for row in known
                if limit["warning"] is not None and (row["used"] or 0) >= limit["warning"]
            ][:50],
        },
    )
    if hidden and check.status in (OK, WARNING):
        check.status, check.value = UNKNOWN, None
        check.message = f"{plural(hidden, 'sequence is', 'sequences are')} hidden from this role. {check.message}"
        check.remedy = "GRANT pg_read_all_data TO the maintenance user."
    yield check


#: The manual's first query: what the planner believes of each column.
COLUMNS = """
SELECT s.schemaname AS schema, s.tablename AS "table", s.attname AS "column", s.n_distinct::float8 AS n_distinct,
       s.correlation::float8 AS correlation,
       EXISTS (
           SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
           WHERE m.amname = 'brin' AND i.indrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
       ) AS brin
FROM pg_stats s JOIN pg_namespace n ON n.nspname = s.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = s.attname
WHERE s.schemaname <> 'information_schema' AND s.schemaname !~ '^pg_' AND NOT s.inherited
ORDER BY s.n_distinct DESC, 1, 2, 3
"""
STATISTICS = ("tuning.statistics", "What the planner knows of columns")
#: A BRIN index serves a column that lies in the order of its values; from here down it reads nearly all of the table.
ORDERED = 0.5


def columns(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Columns with statistics, the most distinct first, and BRIN indexes on columns that are in no order."""
    del thresholds
    lost = [row for row in rows if row["brin"] and row["correlation"] is not None and abs(row["correlation"]) < ORDERED]
    advice = [
        Advice(
            "",
            f"{row['schema']}.{row['table']}",
            REVIEW,
            f"a BRIN index on {row['column']}, which lies in no order (correlation {row['correlation']:.2f})",
        ).as_data()
        for row in lost
    ]
    yield Check(
        *STATISTICS,
        WARNING if lost else OK,
        len(rows),
        message=f"{printable(advice[0]['table'])}: {advice[0]['reason']}."
        if advice
        else f"{plural(len(rows), 'column has', 'columns have')} statistics.",
        remedy="Look whether a B-tree serves it better; BRIN finds little in a column that is in no order."
        if advice
        else "",
        source="pg_stats",
        details={
            "columns": [
                {
                    "column": f"{row['schema']}.{row['table']}.{row['column']}",
                    "n_distinct": row["n_distinct"],
                    "correlation": row["correlation"],
                }
                for row in rows[:50]
            ],
            "advice": advice[:50],
        },
    )


PROBES: Tuple[Probe, ...] = (
    Probe((VACUUM, ANALYZE), "pg_stat_user_tables", TABLES, tables),
    Probe((XIDS, MULTIXACTS), "pg_class", AGES, ages),
    Probe((NUMBERS,), "pg_sequence", next(one.sql for one in STATEMENTS if one.source == "pg_sequence"), numbers),
    Probe((STATISTICS,), "pg_stats", COLUMNS, columns),
)
