# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area database: whether PostgreSQL answers, and what threatens it. Reads only, a handful of short statements."""

from __future__ import annotations

import time
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from ..checks import CRITICAL, Check, judge, limits, thresholds_spec, unknown
from ..database import DATABASE_SPEC, describe
from ..errors import ConfigurationError, DatabaseError
from ..words import plural, printable, size
from .audited import AUDITED_SPEC, audited
from .audited import planned as audited_check
from .clock import TRIES, Bounds, bounds, compared, narrowed, too_wide
from .earlier import Earlier, nothing
from .replication import READ as READ_STATISTICS
from .replication import REPLICATION
from .sessions import SESSIONS
from .sql import Probe, Row, ask, reading
from .statements import STATEMENTS
from .trend import LEFT, LEFT_TITLE, TREND, days_left
from .upkeep import UPKEEP

CHECKS_SPEC: Dict[str, Any] = {
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "timeout": {"type": "int", "default": 10},
    "capacity": {"type": "float", "default": 0},
    "replicas": {"type": "int", "default": -1},
    "audited": {"type": "list", "elements": "dict", "default": [], "options": AUDITED_SPEC},
    "thresholds": thresholds_spec(
        {
            "latency": (500, 2000),
            "clock_skew": (2, 10),
            "connections": (80, 90),
            "longest_transaction": (900, 3600),
            "blocked_sessions": (1, 5),
            "replication_slots": (1_000_000_000, 10_000_000_000),
            "replication_lag": (60, 300),
            "archive_waiting": (10, 100),
            "archive_age": (300, 3600),
            "prepared_transactions": (300, 3600),
            "xid_age": (500_000_000, 1_000_000_000),
            "mxid_age": (500_000_000, 1_000_000_000),
            "autovacuum_behind": (1, 10),
            "invalid_indexes": (1, None),
            "cache_hit": (None, None),
            "temporary_files": (None, None),
            "size": (None, None),
            "growth": (None, None),
            "days_left": (30, 7),
            "deadlocks": (1, None),
            "slow_statements": (1000, None),
            "sequences": (70, 90),
        }
    ),
}


def measure(
    database: Row,
    thresholds: Dict[str, Any],
    timeout: int,
    capacity: float = 0,
    earlier: Earlier = nothing,
    replicas: int = -1,
    tables: Sequence[Row] = (),
) -> Tuple[List[Check], Row]:
    """All checks of the database, and facts about it: {"server_version": str, "in_recovery": bool}, empty when down.

    :param database: see DATABASE_SPEC
    :param timeout: s that one statement may take
    :param capacity: bytes that the database may grow to; 0 when that is not known
    :param earlier: what earlier runs said
    :param replicas: how many should be connected; -1 for as many as there were
    :param tables: whose rows are put on the record, see AUDITED_SPEC
    :raises ConfigurationError: a threshold makes no sense, or psycopg2 is missing
    """
    for name in thresholds:
        limits(thresholds, name)
    if not 0 <= capacity < float("inf"):
        raise ConfigurationError("The option capacity must be 0 or more bytes.", "Correct it.")
    checks: List[Check] = []
    facts: Row = {}
    begun = time.monotonic()
    try:
        with reading(database, timeout) as cursor:
            connected_after = time.monotonic() - begun
            before, started = time.time(), time.monotonic()
            cursor.execute(BASICS)
            row = cursor.fetchone()
            answered_after = time.monotonic() - started
            checks += answers(database, thresholds, connected_after, answered_after)
            clock = float(row["clock"]), before, before + answered_after
            checks.append(clock_skew(thresholds, *clock, asked_again(cursor, thresholds, bounds(*clock))))
            facts = {"server_version": row["server_version"], "in_recovery": row["in_recovery"]}
            for probe in PROBES:
                known = {"replicas": replicas} if probe.context else None
                checks += ask(cursor, probe, thresholds, READ_STATISTICS, known, earlier)
            checks += audited(cursor, tables, earlier)
        if capacity:
            checks.append(days_left(checks, capacity, thresholds))
    except DatabaseError as error:
        answer = Check("database.answers", "Database answers", CRITICAL, False, source=describe(database))
        answer.message, answer.remedy = error.message, error.remedy
        measured = {check.id: check for check in checks}
        planned = [("database.latency", LATENCY_TITLE), ("database.clock_skew", CLOCK_TITLE)]
        planned += [pair for probe in PROBES for pair in probe.checks] + [(LEFT, LEFT_TITLE)] * bool(capacity)
        planned += map(audited_check, tables)
        remedy = "Get the database to answer first."
        checks = [answer] + [
            measured.get(id) or unknown(id, title, f"{title}: the database does not answer.", remedy)
            for id, title in planned
        ]
    return checks, facts


# Nothing is found by its bare name but the catalogue and the one extension that is read, wherever it lies.
BASICS = """
SELECT set_config('search_path', coalesce((
           SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
           WHERE e.extname = 'pg_stat_statements'
       ), 'pg_catalog'), true) AS search_path,
       extract(epoch FROM clock_timestamp()) AS clock,
       current_setting('server_version') AS server_version,
       pg_is_in_recovery() AS in_recovery
"""


def answers(database: Row, thresholds: Dict[str, Any], connect: float, query: float) -> Iterator[Check]:
    """That it answers, and how long connecting and a first statement take, in ms."""
    where = describe(database)
    yield Check("database.answers", "Database answers", "ok", True, message=f"Database {where} answers.", source=where)
    value = round(1000 * (connect + query), 1)
    yield judge(
        "database.latency",
        LATENCY_TITLE,
        value,
        unit="ms",
        **limits(thresholds, "latency"),
        message=f"Connecting took {1000 * connect:.0f} ms, the first statement {1000 * query:.1f} ms.",
        remedy="Look at the server's load, its connections and the network between it and the runner.",
        source=where,
        details={"connect_ms": round(1000 * connect, 1), "query_ms": round(1000 * query, 1)},
    )


LATENCY_TITLE = "Time to connect and answer"
CLOCK_TITLE = "Database's clock against the runner's"


def clock_skew(
    thresholds: Dict[str, Any], clock: float, before: float, after: float, more: Sequence[Bounds] = ()
) -> Check:
    """The server's clock against the runner's, s since the epoch; clock was read between before and after.

    :param more: what further answers say
    """
    found = narrowed([bounds(clock, before, after), *more])
    source = "clock_timestamp() and the runner's time"
    whose = "The database's clock"
    return compared("database.clock_skew", CLOCK_TITLE, limits(thresholds, "clock_skew"), found, whose, source)


def asked_again(cursor: Any, thresholds: Dict[str, Any], first: Bounds) -> List[Bounds]:
    """Further answers about the server's clock, when the first took too long to say anything."""
    found: List[Bounds] = []
    limit = limits(thresholds, "clock_skew")
    while len(found) < TRIES and too_wide(narrowed([first, *found]), limit):
        before, started = time.time(), time.monotonic()
        cursor.execute("SELECT extract(epoch FROM pg_catalog.clock_timestamp()) AS clock")
        clock = float(cursor.fetchone()["clock"])
        found.append(bounds(clock, before, before + time.monotonic() - started))
    return found


def slots(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """WAL that replication slots hold back; a slot that lost its WAL is critical."""
    worst = max(rows, key=lambda row: row["retained"] or 0, default=None)
    lost = [printable(row["slot_name"], 63) for row in rows if row["wal_status"] == "lost"]
    inactive = [printable(row["slot_name"], 63) for row in rows if not row["active"]]
    value = int(worst["retained"] or 0) if worst else 0
    check = judge(
        "database.replication_slots",
        "WAL held back by replication slots",
        value,
        unit="bytes",
        **limits(thresholds, "replication_slots"),
        message=f"{plural(len(rows), 'slot')}, {len(inactive)} of them inactive; "
        f"{printable(worst['slot_name'], 63)} holds back {size(value)}."
        if worst
        else "There are no replication slots.",
        remedy="Get the slot's consumer running again, or drop the slot: it fills the disk.",
        source="pg_replication_slots",
        details={"slots": len(rows), "inactive": inactive[:20], "lost": lost[:20]},
    )
    if lost:
        check.status = CRITICAL
        check.message = f"The slots {', '.join(lost[:5])} have lost the WAL that they need."
        check.remedy = "Rebuild the replicas behind them and drop the slots."
    yield check


def ages(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Transactions until wrap-around were last frozen away, over all databases."""
    row = rows[0]
    yield judge(
        "database.xid_age",
        "Age of the oldest transaction id",
        row["age"],
        **limits(thresholds, "xid_age"),
        message=f"The oldest unfrozen transaction id is {row['age']:,} old, in database "
        f"{printable(row['datname'], 63)}; the server stops at about 2,147,000,000.",
        remedy="Find what holds vacuum back (long transactions, slots, prepared transactions), then VACUUM FREEZE the "
        "oldest tables.",
        source="pg_database",
        details={"database": printable(row["datname"], 63)},
    )


PROBES: Tuple[Probe, ...] = (
    *SESSIONS,
    Probe(
        (("database.replication_slots", "WAL held back by replication slots"),),
        "pg_replication_slots",
        """
        SELECT slot_name, active, wal_status,
               pg_wal_lsn_diff(
                   CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
                   restart_lsn
               )::bigint AS retained
        FROM pg_replication_slots
        """,
        slots,
    ),
    *REPLICATION,
    Probe(
        (("database.xid_age", "Age of the oldest transaction id"),),
        "pg_database",
        "SELECT datname, age(datfrozenxid) AS age FROM pg_database ORDER BY 2 DESC LIMIT 1",
        ages,
    ),
    *TREND,
    *STATEMENTS,
    *UPKEEP,
)
