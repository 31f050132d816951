# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries out an approved plan, one object after the other; what was done is not done twice."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Dict, List, Tuple

from ..errors import DatabaseError
from .budget import CLOSES
from .catalogue import Index
from .indexes import CORRUPTS, LEFTOVER, corrupts, has_to_stay
from .outcome import DONE, FAILED, REFUSED, SKIPPED, Outcome, judged
from .plan import Operation, age, approved, statement
from .undo import Undo
from .usage import uses
from .work import Work, sessions

try:
    import psycopg2
    import psycopg2.errors
except ImportError:
    psycopg2 = None  # type: ignore[assignment]


class Apply(Work):
    """One run of apply.

    :param plan: as it was approved
    """

    def __init__(self, cursor: Any, watch: Any, options: Dict[str, Any], plan: Dict[str, Any]) -> None:
        super().__init__(cursor, watch, options)
        self.plan = plan
        #: What the same plan has done in an earlier run; of an index that was dropped the catalogue knows better.
        self.before = {
            (line["kind"], line["oid"], line["statistics"])
            for line in self.journal.lines()
            if line["event"] == "done" and line["digest"] == options["expected_digest"] and line["kind"] != "drop"
        }

    def _key(self, operation: Operation) -> Tuple[Any, ...]:
        return operation["kind"], operation["oid"], operation.get("statistics")

    def run(self) -> None:
        """Each operation in turn, until the budget says stop."""
        self.one_by_one([(operation["kind"], operation) for operation in self.plan["operations"]])

    def do(self, each: Operation, result: Dict[str, Any]) -> str:
        """One operation; why those after it must not begin, empty when they may."""
        if self._key(each) in self.before:
            result.update(state=SKIPPED, reason="done before")
            return ""
        try:
            needs = self.needs(each)
        except psycopg2.errors.LockNotAvailable:
            result.update(state=REFUSED, reason="it, or its table, is locked")
            return ""
        stopped = self.budget.refuses(self.watch, needs)
        if stopped:
            result["reason"] = stopped
            return stopped
        # After the wait for replicas: the statement goes by the name, which may be another one's by then.
        state, reason = self._found(each)
        if state:
            result.update(state=state, reason=reason)
            return ""
        if self.budget.closing():
            result["reason"] = CLOSES
            return CLOSES
        problem = self._carry_out(each)
        result.update(state=FAILED if problem else DONE, reason=problem)
        kind, oid, name = self._key(each)
        if not problem:
            self.journal.add("done", digest=self.options["expected_digest"], kind=kind, oid=oid, statistics=name)
        if kind == "reindex":
            result["before"] = needs.data
            self.budget.has_built(needs)
            # What is done is done, also where its size cannot be told any more.
            with suppress(psycopg2.Error):
                result["after"] = self.size_of(each)
        return ""

    def _carry_out(self, operation: Operation) -> str:
        kind, names = operation["kind"], {"schema": operation["schema"], "name": operation["name"], **self.mine()}
        if kind == "reindex":
            self.cursor.execute("SELECT pg_current_xact_id()::xid::text AS xid")
            xid = self.cursor.fetchone()["xid"]
            known = self.known()
            there = [one.oid for one in known if LEFTOVER.match(one.name)]
            table = next((one.table_oid for one in known if one.oid == operation["oid"]), 0)
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
            names["digest"] = self.options["expected_digest"]
            self.journal.add(
                "drop begun",
                ddl=operation["ddl"],
                properties=operation.get("properties", {}),
                oid=operation["oid"],
                bytes=self.size_of(operation),
                **names,
            )
            problem = self.execute(statement(operation))
            if problem:
                # A drop that was cut off leaves it invalid: then it is gone for all that is read.
                still = next((one for one in self.known() if one.oid == operation["oid"]), None)
                if still is not None and still.valid:
                    self.journal.add("drop failed", **names)
                return problem
            return ""
        return self.execute(statement(operation)) or ""

    def _found(self, operation: Operation) -> Tuple[str, str]:
        """SKIPPED when it is as wanted, REFUSED when nothing may be done, and why; two empty strings otherwise."""
        kind = operation["kind"]
        if kind in ("reindex", "drop"):
            known = self.known()
            one = next((each for each in known if each.oid == operation["oid"]), None)
            if one is None:
                return self._gone(operation, known)
            if (one.schema, one.name) != (operation["schema"], operation["name"]):
                return REFUSED, "it was renamed"
            if one.building or one.locked:
                return REFUSED, one.building or "it, or its table, is locked"
            if kind == "reindex" and corrupts(self.cursor.connection.server_version):
                return REFUSED, CORRUPTS
            reason = self._may_not_go(one, operation, known) if kind == "drop" else ""
            return (REFUSED, reason) if reason else ("", "")
        self.cursor.execute(
            "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.oid = %(oid)s AND n.nspname = %(schema)s AND c.relname = %(name)s",
            {key: operation[key] for key in ("oid", "schema", "name")},
        )
        if not self.cursor.fetchone():
            return REFUSED, "the table is gone, or another one has its name now"
        if kind == "statistics":
            self.cursor.execute(
                "SELECT e.stxrelid::bigint AS table_oid, (SELECT array_agg(a.attname::text) FROM pg_attribute a "
                "WHERE a.attrelid = e.stxrelid AND a.attnum = ANY (e.stxkeys::int2[])) AS columns "
                "FROM pg_statistic_ext e JOIN pg_namespace n ON n.oid = e.stxnamespace "
                "WHERE n.nspname = %(schema)s AND e.stxname = %(statistics)s",
                {key: operation[key] for key in ("schema", "statistics")},
            )
            row = self.cursor.fetchone()
            if row and (row["table_oid"], set(row["columns"] or ())) == (operation["oid"], set(operation["columns"])):
                return SKIPPED, "they are there"
            return (REFUSED, "others have their name") if row else ("", "")
        return "", ""

    def _gone(self, operation: Operation, known: List[Index]) -> Tuple[str, str]:
        """What it means that no index has its oid any more: a rebuild changes it."""
        names = operation["schema"], operation["name"]
        there = next((one for one in known if (one.schema, one.name) == names), None)
        if operation["kind"] == "drop":
            return (SKIPPED, "it is gone") if there is None else (REFUSED, "another one has its name now")
        ours = any(
            line["event"] == "reindex begun" and line.get("oid") == operation["oid"] and line.get("name") == names[1]
            for line in self.journal.lines()
        )
        if ours and there is not None and there.valid:
            return SKIPPED, "done before"
        return REFUSED, "it is gone" if there is None else "another one has its name, or somebody else rebuilt it"

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
        if one.properties != operation.get("properties", {}):
            return "its tablespace, comment or another property is not what was approved"
        if kept:
            same = any(each.full == kept and each.valid and each.definition == operation["kept_ddl"] for each in known)
            return "" if same else f"{kept}, which is to take its place, is gone, invalid or another one"
        counted = uses(self.watch, self.options["database"], self.options["replicas"], self.options["timeout"])
        if counted.problem:
            return counted.problem
        if counted.scans(one) != 0:
            return "it has been read since the plan was made, or nobody knows"
        begun = counted.begun_days()
        if begun is None or begun * 86400 < age(self.plan["made_at"]):
            return "statistics were reset since the plan was made"
        return ""


def carry_out(options: Dict[str, Any]) -> Outcome:
    """Action apply or undo.

    :raises MaintenanceError: there is no such plan, it is of another database, or the database does not answer
    """
    apply = options["action"] == "apply"
    plan = approved(options["expected_digest"], options["plans"]) if apply else None
    with sessions(options) as (cursor, watch):
        work = Undo(cursor, watch, options) if plan is None else Apply(cursor, watch, options, plan)
        here = {key: work.where[key] for key in ("system", "name", "oid")}
        if plan is not None and plan["database"] != here:
            raise DatabaseError(
                "The plan is of another database than this one.",
                "Make one here, review it, and approve its digest.",
            )
        work.clean()
        work.run()
    outcome = work.outcome
    outcome.checks.append(judged(outcome, apply))
    return outcome
