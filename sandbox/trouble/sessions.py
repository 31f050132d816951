# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Troubles in the database's sessions and indexes.

The sessions are a process of their own, ``python -m sandbox.trouble.sessions``, which outlives its caller.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

from .. import postgres
from ..layout import CHECKOUT, SandboxError
from ..processes import alive, end, spawn, start_time, tail
from .books import PREPARE, SCHEMA, superuser
from .contract import Memory, Trouble

#: By it the sessions are found in pg_stat_activity.
APPLICATION = "sandbox-trouble"
WAITING = 3
BLOCKED = f"""SELECT count(*) FROM pg_stat_activity a JOIN pg_locks l USING (pid)
    WHERE a.application_name = '{APPLICATION}' AND NOT l.granted
          AND l.waitstart < clock_timestamp() - interval '1 second'"""  # noqa: S608 - a constant
INDEX = "trouble_one_instrument_per_venue"


def block(memory: Memory) -> None:
    """Starts the sessions, and waits until they wait."""
    state = memory.state
    with superuser(state) as cursor:
        cursor.execute(PREPARE)
        # Rows of its own: neither the application nor a backup may have to wait.
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.queue (id integer PRIMARY KEY)")
        cursor.execute(f"INSERT INTO {SCHEMA}.queue SELECT generate_series(1, {WAITING}) ON CONFLICT DO NOTHING")
    log_file = state.layout.root / "log/trouble.log"
    section = state["postgres"]
    process = spawn(
        [sys.executable, "-m", "sandbox.trouble.sessions", state.layout.state_file],
        root=state.layout.root,
        log_file=log_file,
        environment={
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "PYTHONPATH": str(CHECKOUT),
            "PGHOST": section["host"],
            "PGPORT": str(section["port"]),
            "PGDATABASE": section["database"],
            "PGUSER": section["superuser"],
            "PGPASSWORD": section["superuser_password"],
            "PGSSLMODE": "disable",
            "PGAPPNAME": APPLICATION,
            "PGOPTIONS": "-c log_min_messages=panic",
        },
        cwd=CHECKOUT,
    )
    memory.keep(pid=process.pid, pid_started=start_time(process.pid))
    deadline = time.monotonic() + 30
    with postgres.cursor(section) as cursor:
        while True:
            cursor.execute(BLOCKED)
            if cursor.fetchone()[0] == WAITING:
                return
            if process.poll() is not None or time.monotonic() > deadline:
                raise SandboxError(f"{memory.name}: the sessions do not wait. {log_file} says:\n{tail(log_file)}")
            time.sleep(0.1)


def unblock(memory: Memory) -> None:
    """Ends the sessions: by their process if it is known, and by their name if it was never written down."""
    process = {"pid": memory.get("pid"), "pid_started": memory.get("pid_started")}
    if alive(process):
        end([process["pid"]], signal.SIGTERM, 5)
    with superuser(memory.state) as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s", [APPLICATION]
        )
        # They were slow because they waited: nobody is to look for them tomorrow.
        cursor.execute(
            "SELECT pg_stat_statements_reset(userid, dbid, queryid) FROM pg_stat_statements WHERE query ILIKE %s",
            [f"%{SCHEMA}%"],
        )


def spoil(memory: Memory) -> None:
    """A unique index over what is not unique: PostgreSQL finds out while it builds it, and leaves it behind."""
    import psycopg2

    with postgres.cursor(memory.state["postgres"]) as cursor:
        cursor.execute("SET log_min_messages = panic; SET statement_timeout = '30s'")
        try:
            cursor.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {INDEX} ON instruments (venue_code)")
        except psycopg2.errors.UniqueViolation:
            return
    raise SandboxError(f"{memory.name}: the index was built; an empty sandbox cannot have this trouble (--size small).")


def mend(memory: Memory) -> None:
    """Drops the index."""
    with superuser(memory.state) as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {INDEX}")


TROUBLES = (
    Trouble(
        "blocked-sessions",
        "a session holds locks of rows, and three others wait for them.",
        "the sessions have ended.",
        {"database.blocked_sessions": "warning"},
        block,
        unblock,
    ),
    Trouble(
        "invalid-index",
        "a CREATE INDEX CONCURRENTLY has failed, and left its index behind.",
        "the index is dropped.",
        {"database.invalid_indexes": "warning"},
        spoil,
        mend,
    ),
)


def recorded(state_file: str) -> int | None:
    """The process that the state file says holds the rows."""
    try:
        with open(state_file, encoding="utf-8") as file:
            pid: int | None = json.load(file)["troubles"]["blocked-sessions"]["pid"]
            return pid
    except (OSError, ValueError, LookupError):
        return None


def main() -> None:
    """Holds rows, and waits for each of them in another session, until it is ended. Libpq's variables say where.

    The argument is the sandbox's state file. Whoever started it and was killed before writing it down there is told by
    nobody when it is over: then it ends.
    """
    import psycopg2

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    deadline = time.monotonic() + 10
    while recorded(sys.argv[1]) != os.getpid():
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
    lock = f"SELECT FROM {SCHEMA}.queue WHERE id BETWEEN %s AND %s FOR UPDATE"

    def wait(row: int) -> None:
        with psycopg2.connect("") as connection, connection.cursor() as cursor:
            cursor.execute(lock, [row, row])
        os._exit(0)  # the lock is free: somebody has ended its holder

    holder = psycopg2.connect("")
    with holder.cursor() as cursor:
        cursor.execute(lock, [1, WAITING])
        for row in range(1, WAITING + 1):
            threading.Thread(target=wait, args=[row], daemon=True).start()
        while True:
            time.sleep(60)


if __name__ == "__main__":
    main()
