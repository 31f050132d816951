# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our own session beside the project's: one migrator at a time, and who is in its way."""

from __future__ import annotations

import random
import secrets
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Set

from ..database import connected, describe, one_line
from ..errors import DatabaseError, LockedError
from ..words import printable
from .project import Answers

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: The advisory lock of whoever changes the schema; the second half tells proofs of place apart.
LOCK_CLASS, LOCK_OBJECT, PROOF_CLASS = 0x54464D47, 1, 0x54464D48
#: Modes that reads or writes of others wait for.
BLOCKING = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")

_WAITS = """SELECT l.locktype, l.mode, n.nspname, c.relname, pg_blocking_pids(l.pid) FROM pg_locks l
LEFT JOIN pg_class c ON c.oid = l.relation AND l.locktype = 'relation'
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.pid = %s AND NOT l.granted"""
_HELD = """SELECT n.nspname, c.relname, c.relkind::text, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.pid = %s AND l.granted AND l.locktype = 'relation'
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"""
_TRANSACTIONS = "SELECT DISTINCT pid, virtualtransaction FROM pg_locks WHERE pid = ANY(%s)"
_WHO = """SELECT pid, usename, application_name, state, client_addr::text,
extract(epoch FROM clock_timestamp() - xact_start)::float, left(query, 200), backend_type
FROM pg_stat_activity WHERE pid = ANY(%s)"""
_HOLDER = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s
AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


class Session:
    """A connection in autocommit that holds no snapshot, so that nothing concurrent waits for it.

    :ivar path: schemas that the project's sessions look names up in, as far as they have told
    :ivar waits: what the project's session waited for: locktype, mode, on, seconds, blockers, statement
    """

    def __init__(self, connection: Any, options: Dict[str, Any], tick: Callable[[], None]) -> None:
        self._connection = connection
        self._options = options
        self._tick = tick
        self.waits: List[Dict[str, Any]] = []
        #: Locks that a statement outside a transaction was seen with in this attempt, by its number.
        self.seen: Dict[int, List[Dict[str, Any]]] = {}
        #: Transactions that were in the way in this attempt, as process and virtual transaction.
        self._in_the_way: Set[Any] = set()
        self.attempt = 0
        self.path: List[str] = []
        self._open: Dict[Any, Dict[str, Any]] = {}
        self._cancelled: Optional[int] = None
        self.token = {
            "classid": PROOF_CLASS,
            "objid": secrets.randbelow(2**31),
            "pid": self.rows("SELECT pg_backend_pid()")[0][0],
        }
        self.rows("SELECT pg_advisory_lock(%s, %s)", (PROOF_CLASS, self.token["objid"]))

    def rows(self, query: str, arguments: Any = None) -> List[Any]:
        """All rows of a query.

        :raises DatabaseError: it failed, or the session has ended
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(query, arguments)
                return [] if cursor.description is None else list(cursor.fetchall())
        except psycopg2.Error as error:
            raise DatabaseError(
                f"A statement of our own failed in database {describe(self._options['database'])}: {one_line(error)}",
                "See whether the server runs, and whether somebody ended the session.",
            ) from error

    def holder(self) -> Optional[str]:
        """Who holds the migrator's lock, in words; None when nobody does."""
        pids = [row[0] for row in self.rows(_HOLDER, (LOCK_CLASS, LOCK_OBJECT))]
        return "; ".join(self.named(pids)) if pids else None

    def lock(self) -> None:
        """Takes the migrator's lock by asking again and again: whoever waits in it would stop CONCURRENTLY.

        :raises LockedError: another migrator has it
        """
        deadline = time.monotonic() + self._options["lock_wait"]
        while not self.rows("SELECT pg_try_advisory_lock(%s, %s)", (LOCK_CLASS, LOCK_OBJECT))[0][0]:
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"Another migration of this database is under way: {self.holder() or 'it has just ended'}.",
                    "Wait for it to end, or end that session if you know that nobody is there any more.",
                )
            self._tick()
            time.sleep(random.uniform(0.2, 0.6))  # noqa: S311

    def still_locked(self) -> bool:
        """Whether the lock is still ours."""
        return [row[0] for row in self.rows(_HOLDER, (LOCK_CLASS, LOCK_OBJECT))] == [self.token["pid"]]

    def named(self, pids: List[int]) -> List[str]:
        """Sessions in words."""
        found = {row[0]: row for row in self.rows(_WHO, (pids,))}
        return [_words(pid, found.get(pid)) for pid in pids]

    def begin(self) -> None:
        """A new attempt: what was seen of the last one stays in waits."""
        self._open, self._cancelled, self.seen, self._in_the_way = {}, None, {}, set()
        self.attempt += 1

    def others_gone(self) -> bool:
        """Whether every transaction that was in the way in this attempt has ended."""
        if self._in_the_way:
            pids = sorted({pid for pid, _began in self._in_the_way})
            self._in_the_way &= {tuple(row) for row in self.rows(_TRANSACTIONS, (pids,))}
        return not self._in_the_way

    def watch(self, answers: Answers) -> None:
        """Looks what the project's session waits for; ends its wait where no timeout of the server's can.

        A statement outside a transaction must not have lock_timeout, which would end CONCURRENTLY's wait for old
        snapshots and leave an invalid index. So a wait that blocks others is ended from here, and so is what takes
        longer than its own deadline.
        """
        self._tick()
        if answers.pid is None or answers.error or answers.of("end"):
            return
        now = time.monotonic()
        statement = (answers.of("statement") or [{"number": 0, "autocommit": False}])[-1]
        running = statement["number"] not in [event["number"] for event in answers.of("done")[-1:]]
        seen = {}
        for locktype, mode, schema, name, blockers in self.rows(_WAITS, (answers.pid,)):
            on = f"{schema}.{name}" if name else locktype
            key = (locktype, mode, on)
            wait = self._open.get(key)
            if wait is None:
                wait = {"locktype": locktype, "mode": mode, "on": on, "began": now, "attempt": self.attempt}
                wait["blockers"] = []
                self.waits.append(wait)
            wait["statement"] = statement["number"]
            wait["seconds"] = round(now - wait["began"], 3)
            pids = [pid for pid in dict.fromkeys(blockers) if pid]
            if pids:
                self._in_the_way.update(tuple(row) for row in self.rows(_TRANSACTIONS, (pids,)))
            wait["blockers"] += [
                who
                for who in self.named(pids)
                if who.partition(" (")[0] not in [known.partition(" (")[0] for known in wait["blockers"]]
            ]
            seen[key] = wait
        self._open = seen
        if running and statement["autocommit"]:
            # Of all others the project's own session says it.
            held = self.seen.setdefault(statement["number"], [])
            for schema, name, kind, mode in self.rows(_HELD, (answers.pid,)):
                each = {"schema": schema, "name": name, "kind": kind, "mode": mode}
                held += [] if each in held else [each]
        if not running or not statement["autocommit"] or self._cancelled == statement["number"]:
            return
        limit = self._options["lock_timeout"]
        late = [
            w for w in seen.values() if w["locktype"] == "relation" and w["mode"] in BLOCKING and w["seconds"] > limit
        ]
        if late or now - statement.setdefault("seen", now) > self._options["concurrent_deadline"]:
            self._cancelled = statement["number"]
            self.rows("SELECT pg_cancel_backend(%s)", (answers.pid,))

    def of_attempt(self) -> List[Dict[str, Any]]:
        """The waits of this attempt."""
        return [wait for wait in self.waits if wait["attempt"] == self.attempt]

    def told(self) -> List[Dict[str, Any]]:
        """The waits as JSON data."""
        return [{key: value for key, value in wait.items() if key not in ("began", "attempt")} for wait in self.waits]


def _words(pid: int, row: Any) -> str:
    if pid == 0:
        return "a prepared transaction"
    if row is None:
        return f"process {pid}"
    user, application, state, address, seconds, query, kind = row[1:]
    text = f"process {pid} of {printable(user or kind, 60)}"
    facts = [printable(application, 60)] if application else []
    facts += [f"from {address}"] if address else []
    facts += [printable(state, 40)] if state else []
    facts += [f"transaction of {seconds:.0f} s"] if seconds is not None else []
    facts += [printable(" ".join(query.split()), 100)] if query else []
    return f"{text} ({', '.join(facts)})" if facts else text


@contextmanager
def opened(database: Dict[str, Any], options: Dict[str, Any], tick: Callable[[], None]) -> Iterator[Session]:
    """A session that lasts as long as the context.

    :raises DatabaseError: the database does not answer
    """
    with connected(database, statement_timeout=60, pinned=True) as connection:
        yield Session(connection, options, tick)
