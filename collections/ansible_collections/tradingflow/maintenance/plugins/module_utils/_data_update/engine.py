# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans a data update, its undoing and the removal of its before-images, and has it carried out."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any, Dict, List, Optional

from .._recovery_points.recent import recent
from .._work.job import DATA_UPDATE
from .._work.progress import Progress
from ..words import plural
from . import purge
from .batches import Statements, invariant
from .book import DONE, RUNNING, UNDOING, UNDONE, Book
from .options import PURGE, RUN, UNDO, checked
from .session import Session, opened
from .table import Table
from .throttle import Throttle
from .work import Work

#: Rows a second, where no update of the table has been measured.
_RATE = 15000.0
_IDENTITY = """SELECT current_database()::text, current_user::text, current_setting('full_page_writes') = 'on',
  has_function_privilege('pg_control_system()', 'EXECUTE')"""


def plan(options: Dict[str, Any]) -> Dict[str, Any]:
    """What run would do. Changes nothing.

    :returns: action, change, reason, database, table, digest, count, whole (every row matches), sample, sql, estimate,
        invariants (name to value), update (the newest of this change, or None), wanted, nothing (why there is nothing
        to do), refusals (name, message, remedy), holder
    :raises MaintenanceError: nothing can be said
    """
    checked(options)
    with opened(options, work=False) as guard, opened(options, work=True) as session:
        if options["action"] == PURGE:
            result = _common(options, session)
            result.update(purge.looked(options, session, result["database"]))
        else:
            session.begin(options["lock_timeout"], options["statement_timeout"], read_only=True)
            looked = _Looked(options, session, guard)
            result = looked.result()
            session.end("ROLLBACK")
        result["holder"] = guard.holder()
    return result


def run(options: Dict[str, Any], progress: Progress) -> Dict[str, Any]:
    """Carries it out.

    :returns: what plan gives, and: update_after, changed, waits, timeline, verified, undo, phases, seconds, and problem
        with phase, kind, message, remedy and state: what ended it early, or None
    :raises MaintenanceError: nothing was begun
    """
    checked(options)
    started = time.monotonic()
    progress.phase("plan")
    with opened(options, work=False) as guard, opened(options, work=True) as session:
        guard.lock()
        if options["action"] == PURGE:
            result = _common(options, session)
            result.update(purge.looked(options, session, result["database"]))
            result.update(_nothing_done(), gone=[])
            if result["wanted"] and not result["refusals"]:
                purge.carried_out(options, session, result)
        else:
            session.begin(options["lock_timeout"], options["statement_timeout"], read_only=True)
            looked = _Looked(options, session, guard)
            result = looked.result()
            session.end("ROLLBACK")
            result.update(_nothing_done())
            result["update_after"] = result["update"]
            if result["wanted"] and not result["refusals"]:
                if looked.fresh:
                    result["recovery_point"] = recent(options, result["database"], DATA_UPDATE)
                Work(options, guard, session, progress, looked.table, looked.prepared, result).all()
    progress.phase("done")
    result["phases"] = {name: round(seconds, 3) for name, seconds in progress.phases.items()}
    result["seconds"] = round(time.monotonic() - started, 3)
    return result


def _nothing_done() -> Dict[str, Any]:
    empty: Dict[str, Any] = {
        "waits": {},
        "timeline": [],
        "verified": None,
        "undo": None,
        "problem": None,
        "recovery_point": None,
    }
    return {**empty, "changed": False, "holder": None, "update_after": None, "unread": False, "attempts": 0}


def _common(options: Dict[str, Any], session: Session) -> Dict[str, Any]:
    name, user, _pages, known = session.rows(_IDENTITY)[0]
    identifier = session.value("SELECT system_identifier::text FROM pg_control_system()") if known else None
    return {
        "action": options["action"],
        "change": options["change"]["id"],
        "reason": options["change"]["reason"],
        "database": {"name": name, "system_identifier": identifier},
        "role": user,
    }


class _Looked:
    """The table, the update as far as it is, and what would be done."""

    def __init__(self, options: Dict[str, Any], session: Session, guard: Session) -> None:
        self._options, self._session, self._guard = options, session, guard
        self._change = options["change"]
        self.prepared = options["prepared"]
        self.table = Table(session, self._change, self.prepared)
        self._book = Book(session)
        self._update = self._book.newest(self._change["id"])
        self._refusals: List[Dict[str, str]] = []
        self._nothing = ""

    @property
    def fresh(self) -> bool:
        """Whether a new update would begin."""
        return self._options["action"] == RUN and (self._update is None or self._update["state"] == UNDONE)

    def result(self) -> Dict[str, Any]:
        """See plan."""
        options, update = self._options, self._update
        result = _common(options, self._session)
        result.update(table=self.table.described(), sql="", sample=[], estimate=None, invariants={}, whole=False)
        result.update(count=update["planned"] if update else None, digest=self._digest(result))
        going_back = options["action"] == UNDO or (update is not None and update["state"] == UNDOING)
        if going_back:
            self._undo_refusals()
            result["digest"] = update["digest"] if update else result["digest"]
        else:
            self._refusals += self.table.refusals
            self._run_refusals(result)
        wanted = options["expected_digest"]
        if not self._nothing and wanted and wanted != result["digest"]:
            message = f"What would be done now has the digest {result['digest']}, not {wanted}."
            remedy = "Look at the plan again: the change, the table or the database is another than then."
            if len(wanted) != 64:
                message, remedy = (
                    "The run does not say which plan it carries out.",
                    f"Look at the plan, and name its digest: -e data_update_expected_digest={result['digest']}",
                )
            self._refuse("digest", message, remedy)
        result["update"] = _told(update)
        result["nothing"] = self._nothing
        result["going_back"] = going_back
        result["refusals"] = self._refusals
        result["wanted"] = not self._nothing
        result["fresh"] = self.fresh
        return result

    def _refuse(self, name: str, message: str, remedy: str) -> None:
        self._refusals.append({"name": name, "message": message, "remedy": remedy})

    def _digest(self, result: Dict[str, Any]) -> str:
        """Of all that makes it this update: not of the batches' size, nor of how it is throttled."""
        change = self._change
        declared = ("id", "schema", "table", "expected", "whole_table", "volatile", "triggers")
        data = {
            "database": result["database"],
            "role": result["role"],
            "declared": {name: change[name] for name in declared},
            "equals": {each["name"]: each["equals"] for each in change["invariants"]},
            "prepared": {name: self.prepared[name] for name in ("predicate", "set", "check", "invariants")},
            "table": self.table.fingerprint(),
        }
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode("utf-8")).hexdigest()

    def _undo_refusals(self) -> None:
        update = self._update
        if update is None or update["state"] == UNDONE:
            self._nothing = "Nothing to undo: this change was not carried out."
            if update is not None:
                self._nothing = f"Nothing to undo: it was undone at {update['ended_at']}."
            return
        if update["purged_at"] or not self._book.has_images(update["number"]):
            self._refuse(
                "purged", "Its before-images are gone.", "Restore the table from a recovery point (docs/restore.md)."
            )
        if (update["schema_name"], update["table_name"]) != (self.table.schema, self.table.name):
            self._refuse(
                "table", f"It changed {update['schema_name']}.{update['table_name']}.", "Use the change as it was."
            )
        elif update["columns_sha256"] != self.table.columns_digest():
            self._refuse(
                "columns",
                f"The columns of {self.table.sql} are not those that it changed.",
                "Put the values back by hand: the before-images are in"
                f" tradingflow_data_update.images_{update['number']}.",
            )
        self._refusals += [
            each for each in self.table.refusals if each["name"] in ("row_security", "rules", "triggers", "rights")
        ]

    def _run_refusals(self, result: Dict[str, Any]) -> None:
        update, digest = self._update, result["digest"]
        if update is not None and update["state"] == DONE:
            if update["digest"] == digest:
                self._nothing = f"Nothing to do: it was carried out at {update['ended_at']}."
            else:
                self._refuse(
                    "id",
                    f"A change with the id {self._change['id']} was carried out at {update['ended_at']}, and it was"
                    " another, or the table is.",
                    "Give the change an id of its own.",
                )
            return
        if self._refusals:
            return
        moment = update["moment"] if update is not None and update["state"] == RUNNING else None
        statements = Statements(self.table, self.prepared, moment)
        result["sql"] = statements.shown(update["number"] if moment and update else 0)
        result["invariants"] = self._invariants(statements, begun=bool(moment))
        if moment and update is not None:
            if update["digest"] != digest:
                self._refuse(
                    "changed",
                    f"It began as {update['digest']}: the change or the table is another since.",
                    "Put that back as it was, or undo what was done (data_update_action=undo).",
                )
            return
        count = int(self._session.value(statements.count()))
        result["count"] = count
        result["whole"] = count > 0 and not self._session.value(statements.others())
        result["sample"] = [
            {"key": key, "before": before, "after": after}
            for key, before, after in self._session.rows(statements.sample(self._change["sample_rows"]))
        ]
        result["estimate"] = self._estimate(count)
        self._count_refusals(result)
        limits = {**self._change["throttle"], "pause": 0.0, "wal_rate": 0}
        for name, text in Throttle(self._guard, self.table, limits, lambda: None).reasons():
            if "hidden" in text:
                self._refuse(name.replace(" ", "_"), f"Nobody would see {text}.", "Or set replication_lag to 0.")

    def _count_refusals(self, result: Dict[str, Any]) -> None:
        count, expected = result["count"], self._change["expected"]
        if not count and not expected["min"]:
            self._nothing = "Nothing to do: no row matches."
        elif not expected["min"] <= count <= expected["max"]:
            self._refuse(
                "count",
                f"{plural(count, 'row')} would be changed, and {expected['min']} to {expected['max']} are expected.",
                "Look at the predicate, or at what is expected.",
            )
        elif result["whole"] and not self._change["whole_table"]:
            self._refuse(
                "whole_table",
                f"All {count} rows of {self.table.sql} match.",
                "If that is meant, say so in the change: whole_table: true.",
            )

    def _invariants(self, statements: Statements, begun: bool) -> Dict[str, Optional[str]]:
        """Their values now. In the middle of an update those need not hold that are for before and afterwards."""
        found = {}
        for each in self._change["invariants"]:
            value = invariant(self._session, statements, self.prepared, each["name"])
            found[each["name"]] = value
            if not begun and each["equals"] is not None and value != each["equals"]:
                self._refuse(
                    f"invariant:{each['name']}",
                    f"The invariant {each['name']} does not hold before: it is {value}, not {each['equals']}.",
                    "Put that right first, or correct the invariant.",
                )
        return found

    def _estimate(self, count: int) -> Dict[str, Any]:
        """Seconds and bytes of WAL, roughly."""
        table, change = self.table, self._change
        rate = self._book.rate(table)
        batches = max(1, -(-count // change["batch_rows"]))
        width = table.bytes / max(table.tuples, float(count), 1.0)
        # A row's new version, its before-image, and entries of indexes where a column of theirs changes.
        wal = count * (width + 60 + 120 + (table.indexes * 90 if table.touched_indexes else 0)) + batches * 2000
        if self._session.rows(_IDENTITY)[0][2]:
            wal += min(count, table.pages) * 8192
        limit = change["throttle"]["wal_rate"]
        seconds = count / (rate or _RATE) + batches * change["throttle"]["pause"]
        return {
            "seconds": round(max(seconds, wal / limit if limit else 0.0), 1),
            "measured": rate is not None,
            "wal_bytes": int(wal),
            "batches": batches,
        }


def _told(update: Optional[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """An update for the report."""
    if update is None:
        return None
    names = ("number", "change", "digest", "state", "planned", "rows", "batches", "restored", "began_at", "ended_at")
    return {name: update[name] for name in (*names, "cursor", "bound", "problem", "recovery_point")}
