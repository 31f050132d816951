# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries out an approved plan, one object after the other; what was done is not done twice."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .._checks.sql import Row, first_line
from ..checks import WARNING, Check, utc_now
from ..database import connected
from ..errors import ConfigurationError, DatabaseError, LockedError
from .budget import Budget, moment
from .catalogue import Index, indexes
from .indexes import LEFTOVER, drop, has_to_stay
from .journal import Journal
from .outcome import DONE, FAILED, LEFT, SKIPPED, STOPPED, Outcome, action_of, judged
from .plan import Operation, age, approved, recreate, statement
from .usage import uses

try:
    import psycopg2
    import psycopg2.errors
    import psycopg2.extras
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: Of the advisory lock that keeps two runs from one database: "tuning" in ASCII.
LOCK = 0x74756E696E67

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
        self.made_at = ""
        #: What the same plan has done in an earlier run.
        self.before = {
            (line["kind"], line["oid"], line["statistics"])
            for line in self.journal.lines()
            if line["event"] == "done" and line["digest"] == options["expected_digest"]
        }
        host = options["database"]["host"]
        self.budget = Budget(
            moment(options["window_ends"]),
            options["free_bytes"],
            options["disk_bytes"],
            options["wal_bytes"],
            options["lag_bytes"],
            options["lag_wait"],
            local=host in ("localhost", "127.0.0.1", "::1") or host.startswith("/"),
        )
        cursor.execute(WHERE)
        self.where: Row = cursor.fetchone()
        watch.execute(WHERE)
        if watch.fetchone() != self.where:
            raise ConfigurationError("database and apply_database are two databases.", "Name one, by two roles of it.")
        # Tried and not waited for: who waits in it would hold up every CONCURRENTLY.
        watch.execute("SELECT pg_try_advisory_lock(%(key)s) AS ours", {"key": LOCK})
        if not watch.fetchone()["ours"]:
            raise LockedError("Another run is tuning this database right now.", "Wait for its end.")
        if self.where["in_recovery"]:
            raise ConfigurationError("This server is a standby, which nothing can be changed on.", "Name the primary.")

    def _key(self, operation: Operation) -> Tuple[Any, ...]:
        return operation["kind"], operation["oid"], operation.get("statistics")

    def mine(self) -> Dict[str, str]:
        """What tells this database from others in the journal."""
        return {"system": self.where["system"], "database": self.where["oid"]}

    def execute(self, sql: str) -> Optional[str]:
        """Carries out a statement within the window; None, or what went wrong.

        :raises psycopg2.Error: the connection is lost
        """
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
            match = LEFTOVER.match(one.name)
            if one.valid or not match or one.schema != begun["schema"] or match[1] != begun["name"]:
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

    def run(self, operations: List[Operation]) -> None:
        """Each operation in turn, until the budget says stop."""
        stopped = ""
        for operation in operations:
            result: Dict[str, Any] = {
                "kind": operation["kind"],
                "object": f"{operation['schema']}.{operation['name']}",
                "state": STOPPED,
                "reason": stopped,
            }
            self.outcome.results.append(result)
            if stopped:
                continue
            started = utc_now()
            try:
                stopped = self._one(operation, result)
            except Exception as error:
                # What was done before must not be lost with it; the journal knows what had begun.
                problem = first_line(error) if isinstance(error, psycopg2.Error) else type(error).__name__
                result.update(state=FAILED, reason=f"broke off: {problem}")
                stopped = "an operation before it broke off"
            if result["state"] != STOPPED:
                self.outcome.actions.append(action_of(result, started))

    def _one(self, operation: Operation, result: Dict[str, Any]) -> str:
        """One operation; why those after it must not begin, empty when they may."""
        done = self._done(operation)
        if done:
            result.update(state=SKIPPED, reason=done)
            return ""
        before = self._size(operation)
        stopped = self.budget.refuses(self.watch, before)
        if stopped:
            result["reason"] = stopped
            return stopped
        problem = self._carry_out(operation)
        result.update(state=FAILED if problem else DONE, reason=problem)
        kind, oid, name = self._key(operation)
        if not problem:
            self.journal.add("done", digest=self.options["expected_digest"], kind=kind, oid=oid, statistics=name)
        if kind == "reindex":
            result.update(before=before, after=self._size(operation))
            self.budget.built += before
        return ""

    def _carry_out(self, operation: Operation) -> str:
        kind, names = operation["kind"], {"schema": operation["schema"], "name": operation["name"], **self.mine()}
        if kind == "reindex":
            self.cursor.execute("SELECT pg_current_xact_id()::xid::text AS xid")
            xid = self.cursor.fetchone()["xid"]
            there = [one.oid for one in self.known() if LEFTOVER.match(one.name)]
            table = next((one.table_oid for one in self.known() if one.oid == operation["oid"]), 0)
            self.journal.add("reindex begun", oid=operation["oid"], table_oid=table, xid=xid, there=there, **names)
            problem = self.execute(statement(operation))
            if not problem:
                self.journal.add("reindex ended", **names)
                return ""
            begun = self.journal.begun(**self.mine())
            for one in begun:
                if (one["schema"], one["name"]) == (operation["schema"], operation["name"]):
                    removed, doubt = self._clean(one)
                    self.outcome.leftovers += removed
                    problem += f"; left behind: {', '.join(doubt)}" if doubt else ""
            return problem
        if kind == "drop":
            self.journal.add("drop begun", ddl=operation["ddl"], oid=operation["oid"], **names)
            problem = self.execute(statement(operation))
            if problem:
                # A drop that was cut off leaves it invalid: then it is gone for all that is read.
                still = next((one for one in self.known() if one.oid == operation["oid"]), None)
                if still is not None and still.valid:
                    self.journal.add("drop failed", **names)
                return problem
            return ""
        return self.execute(statement(operation)) or ""

    def _done(self, operation: Operation) -> str:
        """Why there is nothing to do, or nothing may be done; empty when there is."""
        kind = operation["kind"]
        if self._key(operation) in self.before:
            return "done before"
        if kind in ("reindex", "drop"):
            known = self.known()
            one = next((each for each in known if each.oid == operation["oid"]), None)
            if one is None:
                return "done before, or another one has its name now"
            if (one.schema, one.name) != (operation["schema"], operation["name"]):
                return "it was renamed"
            if one.building or one.locked:
                return f"left alone: {one.building or 'it, or its table, is locked'}"
            return self._may_not_go(one, operation, known) if kind == "drop" else ""
        self.cursor.execute(
            "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.oid = %(oid)s AND n.nspname = %(schema)s AND c.relname = %(name)s",
            {key: operation[key] for key in ("oid", "schema", "name")},
        )
        if not self.cursor.fetchone():
            return "the table is gone, or another one has its name now"
        if kind == "statistics":
            self.cursor.execute(
                "SELECT 1 AS there FROM pg_statistic_ext e JOIN pg_namespace n ON n.oid = e.stxnamespace "
                "WHERE n.nspname = %(schema)s AND e.stxname = %(statistics)s",
                {key: operation[key] for key in ("schema", "statistics")},
            )
            return "they are there" if self.cursor.fetchone() else ""
        return ""

    def _may_not_go(self, one: Index, operation: Operation, known: List[Index]) -> str:
        """What has changed since the plan was approved, so that an index must not be dropped any more."""
        kept = operation["kept"]
        tied = has_to_stay(one)
        if tied and not (kept and (one.supports or one.unique) and not (one.constraint or one.identity)):
            return f"it has to stay: {tied}"
        if one.referenced_by or one.constraint or one.primary or one.extension:
            return f"it has to stay: {tied}"
        if one.definition != operation["ddl"]:
            return "its definition is not what was approved"
        if kept:
            same = any(each.full == kept and each.valid and each.definition == operation["kept_ddl"] for each in known)
            return "" if same else f"{kept}, which is to take its place, is gone, invalid or another one"
        counted = uses(self.watch, self.options["database"], self.options["replicas"], self.options["timeout"])
        if counted.problem:
            return counted.problem
        if counted.scans(one) != 0:
            return "it has been read since the plan was made, or nobody knows"
        begun = counted.begun_days()
        if begun is None or begun * 86400 < age(self.made_at):
            return "statistics were reset since the plan was made"
        return ""

    def _size(self, operation: Operation) -> int:
        if operation["kind"] != "reindex":
            return 0
        self.watch.execute(
            "SELECT pg_relation_size(c.oid) AS bytes FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %(schema)s AND c.relname = %(name)s",
            {key: operation[key] for key in ("schema", "name")},
        )
        row = self.watch.fetchone()
        return int(row["bytes"]) if row else 0

    def undo(self) -> None:
        """Brings back what was dropped and is still gone."""
        known = {one.full: one for one in self.known()}
        for gone in self.journal.dropped(**self.mine()):
            full = f"{gone['schema']}.{gone['name']}"
            result: Dict[str, Any] = {"kind": "undo", "object": full, "state": SKIPPED, "reason": "it is there"}
            self.outcome.results.append(result)
            started, problem = utc_now(), None
            there = known.get(full)
            if there is None or not there.valid:
                problem = self.budget.refuses(self.watch, 0) or self._bring_back(gone, there)
                result.update(state=FAILED if problem else DONE, reason=problem or "")
            if not problem:
                self.journal.add("undone", schema=gone["schema"], name=gone["name"], **self.mine())
            self.outcome.actions.append(action_of(result, started))

    def _bring_back(self, gone: Dict[str, Any], there: Optional[Index]) -> Optional[str]:
        """Makes it anew; what a drop or an undo that was cut off left in its place goes first."""
        if there is not None:
            if there.building or there.locked or there.definition != gone["ddl"]:
                return f"an invalid index has its name: {there.building or 'locked, or another one'}"
            problem = self.execute(drop(there))
            if problem:
                return problem
        return self.execute(recreate(gone["ddl"]))


@contextmanager
def _sessions(options: Dict[str, Any]) -> Iterator[Tuple[Any, Any]]:
    """Cursors of the role that changes, and of the one that watches."""
    rows = {"cursor_factory": psycopg2.extras.RealDictCursor} if psycopg2 else {}
    database, writer = options["database"], options["apply_database"] or options["database"]
    with connected(writer, statement_timeout=0, pinned=True) as first, connected(database, pinned=True) as second:
        yield first.cursor(**rows), second.cursor(**rows)


def carry_out(options: Dict[str, Any]) -> Outcome:
    """Action apply or undo.

    :raises MaintenanceError: there is no such plan, it is of another database, or the database does not answer
    """
    apply = options["action"] == "apply"
    plan = approved(options["expected_digest"], options["plans"]) if apply else None
    with _sessions(options) as (cursor, watch):
        work = Work(cursor, watch, options)
        here = {key: work.where[key] for key in ("system", "name", "oid")}
        if plan is not None and plan["database"] != here:
            raise DatabaseError(
                "The plan is of another database than this one.",
                "Make one here, review it, and approve its digest.",
            )
        work.clean()
        if plan is not None:
            work.made_at = plan["made_at"]
            work.run(plan["operations"])
        else:
            work.undo()
    outcome = work.outcome
    outcome.checks.append(judged(outcome, apply))
    return outcome
