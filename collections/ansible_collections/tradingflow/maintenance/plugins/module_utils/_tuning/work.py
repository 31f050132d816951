# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What apply and undo share: the two sessions, the journal, the budget, and what a killed rebuild left behind."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .._checks.sql import Row, first_line
from ..checks import WARNING, Check, utc_now
from ..database import connected
from ..errors import ConfigurationError, LockedError, MaintenanceError
from .budget import CLOSES, Budget, Needs, moment
from .catalogue import Index, indexes
from .indexes import drop, left_by
from .journal import Journal
from .outcome import FAILED, LEFT, STOPPED, Outcome, action_of
from .plan import Operation

try:
    import psycopg2
    import psycopg2.errors
    import psycopg2.extras
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: Of the advisory lock that keeps two runs from one database: "tuning" in ASCII.
LOCK = 0x74756E696E67

#: For sessions that are idle while the other one rebuilds for hours: no timeout of the server's, and no idle connection
#: that a firewall forgets. In s and milliseconds; what an older server does not know is left out.
PATIENT = """
SELECT set_config(s.name, w.value, false)
FROM (VALUES ('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('idle_in_transaction_session_timeout', '0'),
             ('tcp_keepalives_idle', '60'), ('tcp_keepalives_interval', '30'),
             ('tcp_keepalives_count', '4')) w (name, value)
JOIN pg_settings s ON s.name = w.name
"""

WHERE = """
SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system, current_database()::text AS name,
       (SELECT oid::bigint::text FROM pg_database WHERE datname = current_database()) AS oid,
       pg_is_in_recovery() AS in_recovery
"""


class Work:
    """One run of apply or undo.

    :param cursor: of the role that may change the tables
    :param watch: of the role that may see what goes on: replicas, builds of others and where the data lie
    """

    def __init__(self, cursor: Any, watch: Any, options: Dict[str, Any]) -> None:
        self.cursor, self.watch, self.options = cursor, watch, options
        self.outcome, self.journal = Outcome(), Journal(options["journal"])
        host = options["database"]["host"]
        self.budget = Budget(
            moment(options["window_ends"]),
            options["free_bytes"],
            options["disk_bytes"],
            options["wal_bytes"],
            options["lag_bytes"],
            options["lag_wait"],
            local=host.startswith("/"),
            wal_disk_bytes=options["wal_disk_bytes"],
            tablespace_bytes=options["tablespace_bytes"],
        )
        for each in (cursor, watch):
            each.execute(PATIENT)
        # pg_relation_size waits for locks, too.
        watch.execute("SET lock_timeout TO '1s'")
        cursor.execute(WHERE)
        self.where: Row = cursor.fetchone()
        watch.execute(WHERE)
        if watch.fetchone() != self.where:
            raise ConfigurationError("database and apply_database are two databases.", "Name one, by two roles of it.")
        # Tried and not waited for: who waits in it would hold up every CONCURRENTLY.
        # By the session that works: it lasts as long as there is anything to be kept from.
        cursor.execute("SELECT pg_try_advisory_lock(%(key)s) AS ours", {"key": LOCK})
        if not cursor.fetchone()["ours"]:
            raise LockedError("Another run is tuning this database right now.", "Wait for its end.")
        # By hand VACUUM runs unthrottled by default.
        cursor.execute("SET vacuum_cost_delay TO '2ms'")
        if self.where["in_recovery"]:
            raise ConfigurationError("This server is a standby, which nothing can be changed on.", "Name the primary.")

    def mine(self) -> Dict[str, str]:
        """What tells this database from others in the journal."""
        return {"system": self.where["system"], "database": self.where["oid"]}

    def execute(self, sql: str) -> Optional[str]:
        """Carries out a statement within the window; None, or what went wrong.

        :raises psycopg2.Error: the connection is lost
        """
        if self.budget.closing():
            return CLOSES
        self.cursor.execute(f"SET lock_timeout TO {int(self.options['lock_timeout'] * 1000)}")
        self.cursor.execute(f"SET statement_timeout TO {self.budget.seconds_left() * 1000}")
        try:
            self.cursor.execute(sql)
        except psycopg2.Error as error:
            if self.cursor.connection.closed:
                raise
            return first_line(error)
        return None

    def known(self) -> List[Index]:
        """All indexes, as they are now."""
        self.watch.execute("BEGIN")
        try:
            self.watch.execute("SET LOCAL lock_timeout TO '1s'")
            return indexes(self.watch, psycopg2.errors.LockNotAvailable)
        finally:
            self.watch.execute("ROLLBACK")

    def clean(self) -> None:
        """Drops what a killed rebuild of ours left behind, where it is proven to be ours; tells of the rest."""
        doubtful: List[str] = []
        for begun in self.journal.begun(**self.mine()):
            removed, doubt = self._clean(begun)
            self.outcome.leftovers += removed
            doubtful += doubt
        if doubtful:
            self.outcome.checks.append(
                Check(
                    *LEFT,
                    WARNING,
                    len(doubtful),
                    message=f"Left as they are: {'; '.join(doubtful[:5])}.",
                    remedy="Look at each; drop it by hand when nothing is building it (DROP INDEX CONCURRENTLY).",
                    source="pg_index",
                    details={"leftovers": doubtful[:50]},
                )
            )

    def _clean(self, begun: Dict[str, Any]) -> Tuple[List[str], List[str]]:
        removed: List[str] = []
        doubt: List[str] = []
        for one in self.known():
            if one.valid or one.schema != begun["schema"] or not left_by(one.name, begun["name"]):
                continue
            reason = self._not_ours(one, begun)
            problem = reason or self.execute(drop(one))
            if problem:
                doubt.append(f"{one.full} ({problem})")
            else:
                removed.append(one.full)
        if not doubt:
            self.journal.add(
                "leftover removed", schema=begun["schema"], name=begun["name"], removed=removed, **self.mine()
            )
        return removed, doubt

    def _not_ours(self, one: Index, begun: Dict[str, Any]) -> str:
        """Why a leftover is not proven to be ours; empty when it is."""
        if one.building:
            return f"it is being worked on: {one.building}"
        if one.locked:
            return "it is locked"
        if one.oid in begun["there"]:
            return "it was there before"
        if one.table_oid != begun["table_oid"]:
            return "it is of another table"
        self.cursor.execute(
            # Of the transaction that made it: not before ours began.
            "SELECT age(c.xmin) <= age(%(xid)s::text::xid) AS since FROM pg_class c WHERE c.oid = %(oid)s",
            {"xid": begun["xid"], "oid": one.oid},
        )
        row = self.cursor.fetchone()
        return "" if row and row["since"] else "it is older than our rebuild"

    def run(self) -> None:
        """Does what the action says, one object after the other."""
        raise NotImplementedError

    def one_by_one(self, todo: List[Tuple[str, Dict[str, Any]]]) -> None:
        """Each in turn, until one says that those after it must not begin; every one has its result.

        :param todo: kinds, and what is done to the object of that schema and name
        """
        stopped = ""
        for kind, each in todo:
            result: Dict[str, Any] = {
                "kind": kind,
                "object": f"{each['schema']}.{each['name']}",
                "state": STOPPED,
                "reason": stopped,
            }
            self.outcome.results.append(result)
            if stopped:
                continue
            started = utc_now()
            try:
                stopped = self.do(each, result)
            except Exception as error:
                # What was done before must not be lost with it; the journal knows what had begun.
                known = isinstance(error, (MaintenanceError, psycopg2.Error))
                # Such as a full disk of the journal.
                other = (isinstance(error, OSError) and error.strerror) or type(error).__name__
                problem = first_line(error) if known else other
                result.update(state=FAILED, reason=f"broke off: {problem}")
                stopped = self.after_breaking_off()
            if result["state"] != STOPPED:
                self.outcome.actions.append(action_of(result, started))

    def do(self, each: Dict[str, Any], result: Dict[str, Any]) -> str:
        """One of them; why those after it must not begin, empty when they may."""
        raise NotImplementedError

    def after_breaking_off(self) -> str:
        """Why those after one that broke off must not begin; empty when they may."""
        return "an operation before it broke off"

    def size_of(self, operation: Operation) -> int:
        """Bytes of an operation's index, by its name; 0 when it is gone."""
        return self._measured(operation, "pg_relation_size(c.oid)")[0]

    def needs(self, operation: Operation) -> Needs:
        """What an operation writes at most."""
        if operation["kind"] == "reindex":
            # The new one is written beside the old one, and once more as WAL.
            bytes, tablespace = self._measured(operation, "pg_relation_size(c.oid)")
            return Needs(bytes, bytes, tablespace)
        if operation["kind"] in ("vacuum", "freeze"):
            # At most every page of it goes into WAL as a whole; of a partitioned table those of its partitions.
            every = "SELECT c.oid AS part UNION SELECT relid FROM pg_partition_tree(c.oid)"
            sizes = f"(SELECT sum(pg_table_size(part) + pg_indexes_size(part)) FROM ({every}) parts)"  # noqa: S608 - constants of our own
            return Needs(0, self._measured(operation, sizes)[0])
        return Needs()

    def _measured(self, operation: Operation, sizes: str) -> Tuple[int, str]:
        """Bytes, and the tablespace when it is not the database's disk."""
        self.watch.execute(
            f"SELECT {sizes} AS bytes, (SELECT nullif(p.spcname, 'pg_default') FROM pg_tablespace p "  # noqa: S608 - constants of our own
            "WHERE p.oid = coalesce(nullif(c.reltablespace, 0), "
            "(SELECT d.dattablespace FROM pg_database d WHERE d.datname = current_database()))) AS tablespace "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %(schema)s AND c.relname = %(name)s",
            {key: operation[key] for key in ("schema", "name")},
        )
        row = self.watch.fetchone()
        return (int(row["bytes"] or 0), row["tablespace"] or "") if row else (0, "")


@contextmanager
def sessions(options: Dict[str, Any]) -> Iterator[Tuple[Any, Any]]:
    """Cursors of the role that changes, and of the one that watches."""
    rows = {"cursor_factory": psycopg2.extras.RealDictCursor} if psycopg2 else {}
    database, writer = options["database"], options["apply_database"] or options["database"]
    with connected(writer, statement_timeout=0, pinned=True) as first, connected(database, pinned=True) as second:
        yield first.cursor(**rows), second.cursor(**rows)
