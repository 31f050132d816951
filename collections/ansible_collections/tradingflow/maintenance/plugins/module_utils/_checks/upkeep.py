# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area database, its upkeep: vacuum, indexes, archive and cache. Statements and what is judged from them."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ..checks import OK, UNKNOWN, WARNING, Check, judge, limits
from ..words import printable
from .sql import Probe, Row

#: Blocks read before the share that came from the cache says anything.
ENOUGH_BLOCKS = 10_000


def multixacts(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Multixact ids since the oldest was frozen away, over all databases."""
    row = rows[0]
    yield judge(
        "database.mxid_age",
        "Age of the oldest multixact id",
        row["age"],
        **limits(thresholds, "mxid_age"),
        message=f"The oldest unfrozen multixact id is {row['age']:,} old, in database {printable(row['datname'], 63)}.",
        remedy="Find what holds vacuum back (long transactions, slots, prepared transactions), then VACUUM FREEZE.",
        source="pg_database",
        details={"database": printable(row["datname"], 63)},
    )


def vacuum(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Tables with far more dead rows than autovacuum should let them have, and whether it runs at all."""
    setting = rows[0]
    rows = [row for row in rows if row["relname"] is not None]
    names = [printable(f"{row['schemaname']}.{row['relname']}") for row in rows]
    check = judge(
        "database.autovacuum_behind",
        "Tables that autovacuum does not keep up with",
        len(rows),
        **limits(thresholds, "autovacuum_behind"),
        message=f"Far too many dead rows are in {', '.join(names[:5])}."
        if names
        else "Autovacuum keeps up with all tables.",
        remedy="Look for long transactions and slots that hold vacuum back, then VACUUM these tables.",
        source="pg_stat_user_tables",
        details={"dead_rows": {printable(f"{row['schemaname']}.{row['relname']}"): row["dead"] for row in rows[:20]}},
    )
    off = [name for name in ("autovacuum", "track_counts") if setting[name] != "on"]
    if off:
        text = f"{off[0]} is off, so that autovacuum does not run."
        check.message = f"{text} {check.message}" if names else text
        if check.status == OK:
            # Without counts nobody knows how many rows are dead.
            check.status = UNKNOWN if "track_counts" in off else WARNING
            check.value = None if check.status == UNKNOWN else check.value
            check.remedy = f"Set {off[0]} to on and reload, or see that whatever vacuums instead really does."
    yield check


def indexes(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Indexes that a broken CREATE INDEX CONCURRENTLY left behind: they cost writes and answer nothing."""
    names = [printable(f"{row['nspname']}.{row['relname']}") for row in rows]
    yield judge(
        "database.invalid_indexes",
        "Invalid indexes",
        len(rows),
        **limits(thresholds, "invalid_indexes"),
        message=f"Invalid: {', '.join(names[:5])}." if names else "All indexes are valid.",
        remedy="Drop each (DROP INDEX CONCURRENTLY) and create it again, or REINDEX INDEX CONCURRENTLY.",
        source="pg_index",
        details={"indexes": names[:50]},
    )


def cache(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Share of blocks found in PostgreSQL's own cache, in %, since statistics began."""
    row = rows[0]
    blocks = row["hit"] + row["read"]
    value = round(100 * row["hit"] / blocks, 2) if blocks else 0
    few = blocks < ENOUGH_BLOCKS
    check = judge(
        "database.cache_hit",
        "Blocks found in the cache",
        value,
        unit="%",
        below=True,
        **limits(thresholds, "cache_hit"),
        message=f"{value} % of {blocks:,} blocks were found in the cache.",
        remedy="Look for statements that read whole tables, or give shared_buffers more memory.",
        source="pg_stat_database",
        details={"blocks": blocks},
    )
    if few and check.status != OK:
        # The first blocks after a start all come from disk.
        check.status, check.remedy = OK, ""
        check.message += " Too few to judge."
    yield check


UPKEEP: Tuple[Probe, ...] = (
    Probe(
        (("database.mxid_age", "Age of the oldest multixact id"),),
        "pg_database",
        "SELECT datname, mxid_age(datminmxid) AS age FROM pg_database ORDER BY 2 DESC LIMIT 1",
        multixacts,
    ),
    Probe(
        (("database.autovacuum_behind", "Tables that autovacuum does not keep up with"),),
        "pg_stat_user_tables",
        """
        SELECT current_setting('autovacuum') AS autovacuum, current_setting('track_counts') AS track_counts, behind.*
        FROM (SELECT) AS one LEFT JOIN (
            SELECT s.schemaname, s.relname, s.n_dead_tup AS dead
            FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
            WHERE s.n_dead_tup > 10000
                  AND s.n_dead_tup > 3 * (current_setting('autovacuum_vacuum_threshold')::float8
                      + current_setting('autovacuum_vacuum_scale_factor')::float8 * greatest(c.reltuples, 0))
        ) AS behind ON true
        ORDER BY behind.dead DESC NULLS LAST
        """,
        vacuum,
    ),
    Probe(
        (("database.invalid_indexes", "Invalid indexes"),),
        "pg_index",
        """
        SELECT n.nspname, c.relname
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE NOT i.indisvalid AND c.relkind = 'i'
              AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
        ORDER BY 1, 2
        """,
        indexes,
    ),
    Probe(
        (("database.cache_hit", "Blocks found in the cache"),),
        "pg_stat_database",
        """
        SELECT blks_hit AS hit, blks_read AS read
        FROM pg_stat_database WHERE datname = current_database()
        """,
        cache,
    ),
)
