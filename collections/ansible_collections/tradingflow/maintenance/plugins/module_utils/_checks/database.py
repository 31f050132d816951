# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area database: whether PostgreSQL answers, and what threatens it. Reads only, a handful of short statements."""

from __future__ import annotations

import time
from typing import Any, Dict, Iterator, List, Tuple

from ..checks import CRITICAL, Check, judge, unknown
from ..database import DATABASE_SPEC, describe
from ..errors import ConfigurationError, DatabaseError
from . import limits, printable, size, span, thresholds_spec
from .earlier import Earlier, nothing
from .sql import NotMeasured, Probe, Row, ask, reading
from .statements import STATEMENTS
from .trend import LEFT, LEFT_TITLE, TREND, days_left
from .upkeep import UPKEEP

CHECKS_SPEC: Dict[str, Any] = {
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "timeout": {"type": "int", "default": 10},
    "capacity": {"type": "float", "default": 0},
    "thresholds": thresholds_spec(
        {
            "latency": (500, 2000),
            "clock_skew": (2, 10),
            "connections": (80, 90),
            "longest_transaction": (900, 3600),
            "blocked_sessions": (1, 5),
            "replication_slots": (1_000_000_000, 10_000_000_000),
            "replication_lag": (60, 300),
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

READ_STATISTICS = "Grant the role the right to read statistics: GRANT pg_monitor TO the maintenance user."


def measure(
    database: Row, thresholds: Dict[str, Any], timeout: int, capacity: float = 0, earlier: Earlier = nothing
) -> Tuple[List[Check], Row]:
    """All checks of the database, and facts about it: {"server_version": str, "in_recovery": bool}, empty when down.

    :param database: see DATABASE_SPEC
    :param timeout: s that one statement may take
    :param capacity: bytes that the database may grow to; 0 when that is not known
    :param earlier: what earlier runs said
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
            checks.append(clock_skew(thresholds, float(row["clock"]), before, before + answered_after))
            facts = {"server_version": row["server_version"], "in_recovery": row["in_recovery"]}
            for probe in PROBES:
                checks += ask(cursor, probe, thresholds, READ_STATISTICS, earlier=earlier)
        if capacity:
            checks.append(days_left(checks, capacity, thresholds))
    except DatabaseError as error:
        answer = Check("database.answers", "Database answers", CRITICAL, False, source=describe(database))
        answer.message, answer.remedy = error.message, error.remedy
        measured = {check.id: check for check in checks}
        planned = [("database.latency", LATENCY_TITLE), ("database.clock_skew", CLOCK_TITLE)]
        planned += [pair for probe in PROBES for pair in probe.checks] + [(LEFT, LEFT_TITLE)] * bool(capacity)
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
       ), 'pg_catalog'), false) AS search_path,
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


def clock_skew(thresholds: Dict[str, Any], clock: float, before: float, after: float) -> Check:
    """The server's clock against the runner's, s since the epoch; clock was read between before and after."""
    skew = round(max(clock - after, before - clock, 0.0), 3)
    direction = "ahead of" if clock > after else "behind"
    return judge(
        "database.clock_skew",
        CLOCK_TITLE,
        skew,
        unit="s",
        **limits(thresholds, "clock_skew"),
        message=f"The database's clock is {skew:g} s {direction} the runner's." if skew else "The clocks agree.",
        remedy="Check time synchronisation of both machines (timedatectl; chronyc tracking).",
        source="clock_timestamp() and the runner's time",
        details={"measured_within_s": round(after - before, 3)},
    )


def connections(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Client connections, in % of those that ordinary users can have."""
    row = rows[0]
    if row["hidden"]:
        raise NotMeasured(f"{row['hidden']} sessions of other users are hidden from this role.", READ_STATISTICS)
    free_for_all = row["max_connections"] - row["reserved"]
    value = round(100 * row["used"] / free_for_all, 1)
    yield judge(
        "database.connections",
        "Connections used",
        value,
        unit="%",
        **limits(thresholds, "connections"),
        message=f"{row['used']} of {free_for_all} connections are used.",
        remedy="Find who holds them (SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2), "
        "and use a pool before raising max_connections.",
        source="pg_stat_activity",
        details={"used": row["used"], "usable": free_for_all, "idle_in_transaction": row["idle_in_transaction"]},
    )


def transactions(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Age of the oldest open transaction of a client."""
    row = rows[0]
    value = round(row["seconds"] or 0)
    check = judge(
        "database.longest_transaction",
        "Longest transaction",
        value,
        unit="s",
        **limits(thresholds, "longest_transaction"),
        message=f"The oldest open transaction began {span(value)} ago (process {row['pid']}, "
        f"{printable(row['usename'], 63)}, {printable(row['state'])})."
        if row["pid"]
        else "No transaction is open.",
        remedy=f"Ask its owner, or end it: SELECT pg_terminate_backend({row['pid']}).",
        source="pg_stat_activity",
        details={"pid": row["pid"], "hidden_sessions": row["hidden"]},
    )
    if row["hidden"] and check.status != CRITICAL:
        raise NotMeasured(f"{row['hidden']} sessions of other users are hidden from this role.", READ_STATISTICS)
    yield check


def blocked(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Sessions that have waited for a lock for a second or more."""
    longest = max((row["seconds"] for row in rows), default=0)
    blockers = sorted({pid for row in rows for pid in row["blockers"]})
    yield judge(
        "database.blocked_sessions",
        "Blocked sessions",
        len(rows),
        **limits(thresholds, "blocked_sessions"),
        message=f"{len(rows)} sessions wait for locks, the longest for {span(round(longest))}, held by process "
        f"{', '.join(map(str, blockers[:5])) or 'unknown'}."
        if rows
        else "No session waits for a lock.",
        remedy="See what the holders do (SELECT * FROM pg_stat_activity WHERE pid IN (...)) and end them if they hang.",
        source="pg_locks",
        details={"waiting": [row["pid"] for row in rows[:20]], "blockers": blockers[:20], "longest_s": round(longest)},
    )


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
        message=f"{len(rows)} slots, {len(inactive)} of them inactive; {printable(worst['slot_name'], 63)} holds back "
        f"{size(value)}."
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


def lag(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Delay of replay: of this server when it is a standby, else the worst of its replicas."""
    row = rows[0]
    if row["hidden"]:
        raise NotMeasured("the state of the replicas is hidden from this role.", READ_STATISTICS)
    value = None if row["seconds"] is None else round(row["seconds"], 1)
    check = judge(
        "database.replication_lag",
        "Replication lag",
        value,
        unit="s",
        **limits(thresholds, "replication_lag"),
        message=f"This standby is {value:g} s behind."
        if row["standby"] and value is not None
        else f"{row['replicas']} replicas, the slowest {value:g} s behind."
        if row["replicas"] and value is not None
        else "No replica is connected.",
        remedy="Check the replica, the network to it and long queries on it.",
        source="pg_stat_replication",
        details={"replicas": row["replicas"], "standby": row["standby"]},
    )
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


# Of sessions that a role may not see, PostgreSQL shows only whose they are: no type, no state, no times.
PROBES: Tuple[Probe, ...] = (
    Probe(
        (("database.connections", "Connections used"),),
        "pg_stat_activity",
        """
        SELECT count(*)::int AS used, count(*) FILTER (WHERE backend_type IS NULL)::int AS hidden,
               count(*) FILTER (WHERE state LIKE 'idle in transaction%')::int AS idle_in_transaction,
               current_setting('max_connections')::int AS max_connections,
               current_setting('superuser_reserved_connections')::int
               + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved
        FROM pg_stat_activity WHERE backend_type = 'client backend' OR backend_type IS NULL AND usesysid IS NOT NULL
        """,
        connections,
    ),
    Probe(
        (("database.longest_transaction", "Longest transaction"),),
        "pg_stat_activity",
        """
        WITH clients AS (
            SELECT pid, usename, state, backend_type, extract(epoch FROM clock_timestamp() - xact_start) AS seconds
            FROM pg_stat_activity
            WHERE (backend_type = 'client backend' OR backend_type IS NULL AND usesysid IS NOT NULL)
                  AND pid <> pg_backend_pid()
        )
        SELECT hidden, pid, usename, state, seconds::float8
        FROM (SELECT count(*) FILTER (WHERE backend_type IS NULL)::int AS hidden FROM clients) AS h
        LEFT JOIN (SELECT * FROM clients WHERE seconds IS NOT NULL ORDER BY seconds DESC LIMIT 1) AS oldest ON true
        """,
        transactions,
    ),
    Probe(
        (("database.blocked_sessions", "Blocked sessions"),),
        "pg_locks",
        """
        SELECT pid, max(extract(epoch FROM clock_timestamp() - waitstart))::float8 AS seconds,
               pg_blocking_pids(pid) AS blockers
        FROM pg_locks WHERE NOT granted AND waitstart < clock_timestamp() - interval '1 s'
        GROUP BY pid ORDER BY seconds DESC
        """,
        blocked,
    ),
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
    Probe(
        (("database.replication_lag", "Replication lag"),),
        "pg_stat_replication",
        """
        SELECT pg_is_in_recovery() AS standby, count(pid)::int AS replicas,
               count(pid) FILTER (WHERE state IS NULL)::int AS hidden,
               CASE WHEN NOT pg_is_in_recovery() THEN coalesce(max(extract(epoch FROM replay_lag)), 0)
                    WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                    ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END::float8 AS seconds
        FROM pg_stat_replication
        """,
        lag,
    ),
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
