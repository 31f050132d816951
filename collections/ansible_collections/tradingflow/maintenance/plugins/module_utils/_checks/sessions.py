# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area database, its sessions: connections, transactions that stay open, and who waits for whom."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ..checks import CRITICAL, Check, judge, limits
from ..words import plural, printable, span
from .sql import NotMeasured, Probe, Row

READ = "Grant the role the right to read statistics: GRANT pg_monitor TO the maintenance user."


def connections(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Client connections, in % of those that ordinary users can have; of a role's or database's own limit if nearer."""
    row = rows[0]
    if row["hidden"]:
        raise NotMeasured(f"{row['hidden']} sessions of other users are hidden from this role.", READ)
    free_for_all = row["max_connections"] - row["reserved"]
    # The server's own limit first: max() keeps it where others are just as near.
    limited = [("", row["used"], free_for_all)]
    limited += [(f"role {printable(each['name'], 63)}", each["used"], each["most"]) for each in row["roles"] or []]
    limited += [
        (f"database {printable(each['name'], 63)}", each["used"], each["most"]) for each in row["databases"] or []
    ]
    whose, used, most = max(limited, key=lambda each: each[1] / each[2] if each[2] > 0 else 0)
    value = round(100 * used / most, 1) if most > 0 else 100.0
    own = f" that the {whose} may have (its own limit)" if whose else ""
    yield judge(
        "database.connections",
        "Connections used",
        value,
        unit="%",
        **limits(thresholds, "connections"),
        message=f"{used} of {plural(most, 'connection')}{own} are used.",
        remedy="Find who holds them (SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2), "
        "and use a pool before raising max_connections or a CONNECTION LIMIT.",
        source="pg_stat_activity",
        details={
            "used": row["used"],
            "usable": free_for_all,
            "idle_in_transaction": row["idle_in_transaction"],
            "limited": {whose: f"{used} of {most}" for whose, used, most in limited[1:21]},
        },
    )


def transactions(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Age of the oldest open transaction of a client."""
    row = rows[0]
    value = max(0, round(row["seconds"] or 0))
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
        raise NotMeasured(f"{row['hidden']} sessions of other users are hidden from this role.", READ)
    yield check


def prepared(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Age of the oldest prepared transaction: nobody may remember it, and it holds its locks and vacuum back."""
    worst = rows[0] if rows else None
    value = max(0, round(worst["seconds"])) if worst else 0
    yield judge(
        "database.prepared_transactions",
        "Oldest prepared transaction",
        value,
        unit="s",
        **limits(thresholds, "prepared_transactions"),
        message=f"{plural(len(rows), 'transaction is', 'transactions are')} prepared and neither committed nor rolled "
        f"back, the oldest, {printable(worst['gid'], 80)} of {printable(worst['owner'], 63)} in "
        f"{printable(worst['database'], 63)}, for {span(value)}."
        if worst
        else "No transaction is prepared.",
        remedy="Ask its transaction manager; when it has forgotten it, end it in that database: ROLLBACK PREPARED or "
        "COMMIT PREPARED with its name.",
        source="pg_prepared_xacts",
        details={"prepared": [printable(row["gid"], 80) for row in rows[:20]]},
    )


def blocked(rows: List[Row], thresholds: Dict[str, Any]) -> Iterator[Check]:
    """Sessions that have waited for a lock for a second or more."""
    longest = max((row["seconds"] for row in rows), default=0)
    blockers = sorted({pid for row in rows for pid in row["blockers"]})
    # PostgreSQL has no process for a prepared transaction, and says 0.
    holders = [f"process {pid}" for pid in blockers if pid][:5]
    holders += ["a prepared transaction (pg_prepared_xacts)"] if 0 in blockers else []
    yield judge(
        "database.blocked_sessions",
        "Blocked sessions",
        len(rows),
        **limits(thresholds, "blocked_sessions"),
        message=f"{plural(len(rows), 'session waits', 'sessions wait')} for locks, the longest for "
        f"{span(round(longest))}, held by {', '.join(holders) or 'what is not known'}."
        if rows
        else "No session waits for a lock.",
        remedy="See what the holders do (SELECT * FROM pg_stat_activity WHERE pid IN (...)) and end them if they hang.",
        source="pg_locks",
        details={"waiting": [row["pid"] for row in rows[:20]], "blockers": blockers[:20], "longest_s": round(longest)},
    )


# Of sessions that a role may not see, PostgreSQL shows only whose they are: no type, no state, no times.
SESSIONS: Tuple[Probe, ...] = (
    Probe(
        (("database.connections", "Connections used"),),
        "pg_stat_activity",
        """
        WITH clients AS (
            SELECT * FROM pg_stat_activity
            WHERE backend_type = 'client backend' OR backend_type IS NULL AND usesysid IS NOT NULL
        )
        SELECT count(*)::int AS used, count(*) FILTER (WHERE backend_type IS NULL)::int AS hidden,
               count(*) FILTER (WHERE state LIKE 'idle in transaction%')::int AS idle_in_transaction,
               current_setting('max_connections')::int AS max_connections,
               current_setting('superuser_reserved_connections')::int
               + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
               (SELECT json_agg(json_build_object('name', r.rolname, 'most', r.rolconnlimit, 'used',
                           (SELECT count(*) FROM clients c WHERE c.usesysid = r.oid)))
                FROM pg_roles r WHERE r.rolconnlimit > 0 AND NOT r.rolsuper) AS roles,
               (SELECT json_agg(json_build_object('name', d.datname, 'most', d.datconnlimit, 'used',
                           (SELECT count(*) FROM clients c WHERE c.datid = d.oid)))
                FROM pg_database d WHERE d.datconnlimit > 0) AS databases
        FROM clients
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
        (("database.prepared_transactions", "Oldest prepared transaction"),),
        "pg_prepared_xacts",
        """
        SELECT gid, owner, database, extract(epoch FROM clock_timestamp() - prepared)::float8 AS seconds
        FROM pg_prepared_xacts ORDER BY prepared
        """,
        prepared,
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
)
