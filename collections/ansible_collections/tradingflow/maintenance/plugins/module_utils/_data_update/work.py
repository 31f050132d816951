# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries a data update out, batch by batch, verifies it, and undoes it."""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Dict, Iterable, Optional, Tuple

from .._gates import windows
from .._work.job import described
from .._work.progress import Progress
from ..database import AGAIN
from ..errors import DataUpdateError, MaintenanceError
from ..words import plural
from .batches import Statements, invariant, not_put_back, undo
from .book import ASKED, DONE, RUNNING, UNDOING, UNDONE, Book, images, result_of, state_of
from .options import RUN
from .session import BY_KEY, Session, StatementError, gives_old, rechecks_tid
from .table import Table
from .throttle import Throttle
from .timeline import Timeline

#: Classes that say that the data do not allow the change: then what was done is undone.
_BREACHES = ("22", "23", "44", "P0")


class BreachError(DataUpdateError):
    """The update does something that was not declared: it stops, and is undone."""


class _MeanwhileError(DataUpdateError):
    """Others changed rows of a batch while it was picked: it begins anew."""


class Work:
    """An update from where it is to its end; what came of it in the result."""

    def __init__(
        self,
        options: Dict[str, Any],
        guard: Session,
        session: Session,
        progress: Progress,
        table: Table,
        prepared: Dict[str, Any],
        result: Dict[str, Any],
    ) -> None:
        self._options, self._guard, self._session, self._progress = options, guard, session, progress
        self._table, self._prepared, self._result = table, prepared, result
        self._change = options["change"]
        self._book = Book(session)
        self._throttle = Throttle(guard, table, self._change["throttle"], progress.tick)
        self._timeline = Timeline()
        #: What the transaction does, and what was waited for before it.
        self._doing = ""
        self._waited: Tuple[float, Dict[str, float]] = (time.monotonic(), {})
        self._fingerprint = table.fingerprint()
        self._version = ""
        # Where it must be known who kept rows back, or a row is known by its key only.
        version = int(session.value("SELECT current_setting('server_version_num')"))
        self._always_lock = bool(table.triggers) or table.kind == "p" or not rechecks_tid(version)
        self._lock = False
        self._old = gives_old(version)
        self._number = 0

    def all(self) -> None:
        """All that is wanted; what ends it early becomes the problem."""
        result = self._result
        try:
            if result["update"] is not None and result["update"]["state"] != UNDONE:
                self._number = result["update"]["number"]
            if result["going_back"]:
                why = ASKED if self._options["action"] != RUN else result["update"]["problem"]
                if why != ASKED:
                    # An earlier run began to undo it: that this one ends it makes the change no success.
                    error = BreachError(why, "Correct the change or its data, and plan it anew.")
                    result["problem"] = {"phase": "undo", **described(error), "state": ""}
                self._go_back(why)
            else:
                self._forward()
        except MaintenanceError as error:
            self._session.roll_back()
            self._failed(error)
        result["waits"] = self._throttle.waits
        result["timeline"] = self._timeline.told()
        try:
            update = self._book.newest(self._change["id"])
            result["update_after"] = update and {**result_of(update), "left_alone": self._book.left_alone(self._number)}
        except MaintenanceError:
            result["update_after"], result["unread"] = None, True
        if result["problem"]:
            result["problem"]["state"] = state_of(
                result["update_after"], result["changed"] or bool(result["undo"]), result["unread"]
            )

    def _forward(self) -> None:
        if not self._number:
            self._progress.phase("begin")
            self._tried(self._begin)
        self._statements = Statements(self._table, self._prepared, self._book.known(self._change["id"])["moment"])
        try:
            self._progress.phase("batches")
            while self._more():
                pass
            self._progress.phase("verify")
            self._tried(self._verify)
        except BreachError as error:
            self._session.roll_back()
            self._result["problem"] = {"phase": self._progress.name, **described(error), "state": ""}
            self._go_back(error.message)

    def _failed(self, error: MaintenanceError) -> None:
        problem = {"phase": self._progress.name, **described(error), "state": ""}
        if self._result["problem"]:
            # What it was undone for, and that this did not end.
            problem["message"] = f"{self._result['problem']['message']} Undoing it ended early: {problem['message']}"
        self._result["problem"] = problem

    def _tried(self, once: Callable[[], Any], off: Iterable[str] = ()) -> Any:
        """What a transaction gives, tried again when others were in its way. True says that it changed something.

        :param off: settings to turn off in it
        """
        options = self._options
        for attempt in range(1, options["attempts"] + 1):
            if not self._guard.still_locked():
                raise DataUpdateError("The lock was lost: the connection that held it broke.", "Run it again.")
            self._doing = ""
            if not self._waited[1]:
                self._waited = (time.monotonic(), {})
            try:
                self._session.begin(options["lock_timeout"], options["statement_timeout"], off=off)
                found = once()
                self._commit(found)
                self._result["changed"] = self._result["changed"] or bool(found)
                self._told(attempt)
                return found
            except StatementError as error:
                self._session.roll_back()
                self._told(attempt, error)
                code = error.code or ""
                if code[:2] in _BREACHES:
                    raise BreachError(error.message, "Correct the change, or the rows that do not allow it.") from None
                if code not in AGAIN or attempt == options["attempts"]:
                    raise
                self._result["attempts"] += 1
            except _MeanwhileError as error:
                self._session.roll_back()
                self._told(attempt, error)
                self._lock = True
                self._result["attempts"] += 1
                continue
            except MaintenanceError:
                self._session.roll_back()
                raise
            # Others who retry must not meet us every time.
            pause = min(options["retry_pause"] * 2 ** (attempt - 1), 60) * random.uniform(0.5, 1.5)  # noqa: S311
            until = time.monotonic() + pause
            while time.monotonic() < until:
                self._progress.tick()
                time.sleep(0.05)
        raise DataUpdateError("Others change the same rows again and again.", "Run it again when they do less.")

    def _commit(self, found: Any) -> None:
        try:
            self._session.end("COMMIT")
        except StatementError as error:
            if error.in_doubt:
                self._result["changed"] = self._result["changed"] or bool(found)
            raise

    def _told(self, attempt: int, error: Optional[Exception] = None) -> None:
        """Puts the transaction that has ended on the timeline."""
        began, waits = self._waited
        text = self._doing or self._progress.name
        if error is not None:
            text += f": {error}"
            if getattr(error, "code", None) == "55P03":
                waits = {**waits, "somebody's lock": self._options["lock_timeout"]}
        self._timeline.add(self._progress.name, text, attempt, began, waits, error is not None)
        self._waited = (time.monotonic(), {})

    def _begin(self) -> bool:
        """The update is written down, with the bound, and how the invariants are before."""
        moment = str(self._session.value("SELECT transaction_timestamp()::text"))
        statements = Statements(self._table, self._prepared, moment)
        bound = self._session.rows(statements.last())
        if not bound:
            raise DataUpdateError("No row matches any more.", "Look at the plan again.")
        self._book.make()
        self._book.exists()
        self._number = self._book.begin(
            self._result,
            self._table,
            {
                "change": self._change,
                "moment": moment,
                "bound": bound[0][0],
                "invariants": {
                    each["name"]: invariant(self._session, statements, self._prepared, each["name"])
                    for each in self._change["invariants"]
                },
                "recovery_point": (self._result["recovery_point"] or {}).get("id"),
            },
        )
        return True

    def _invariant(self, name: str) -> Optional[str]:
        return invariant(self._session, self._statements, self._prepared, name)

    def _more(self) -> bool:
        """One batch; whether there may be another."""
        self._wait()
        self._within_window()
        self._progress.tick()
        return bool(self._tried(self._batch, (*BY_KEY, "enable_hashjoin", "enable_sort")))

    def _within_window(self) -> None:
        ends = self._options.get("window_ends")
        if windows.over(ends):
            raise DataUpdateError(
                f"The window ended at {ends}.", "Run it again in the next window: it goes on behind the last batch."
            )

    def _wait(self) -> None:
        """Until the throttle lets the next batch begin."""
        began, before = time.monotonic(), dict(self._throttle.waits)

        def waited() -> Tuple[float, Dict[str, float]]:
            waits = {name: seconds - before.get(name, 0.0) for name, seconds in self._throttle.waits.items()}
            return began, {name: seconds for name, seconds in waits.items() if seconds > 0}

        try:
            self._throttle.wait()
        except MaintenanceError as error:
            self._waited, self._doing = waited(), "the next batch"
            self._told(1, error)
            raise
        self._waited = waited()

    def _batch(self) -> bool:
        began = time.monotonic()
        update = self._book.locked(self._number)
        if update["state"] != RUNNING:
            raise DataUpdateError(f"The update is {update['state']}: somebody else works at it.", "Run it again.")
        self._unchanged_table()
        number, compare = update["batches"] + 1, bool(self._table.triggers)
        self._doing = f"batch {number}"
        arguments = {"bound": update["bound"], "batch": number, "limit": self._change["batch_rows"]}
        picked, changed, kept, unchecked, last = self._session.rows(
            self._statements.batch(
                self._number,
                behind=update["cursor"] is not None,
                compare=compare,
                lock=self._lock or self._always_lock,
                old=self._old,
            ),
            {**arguments, "cursor": update["cursor"]},
        )[0]
        if not picked:
            self._doing = "no row is left"
            return False
        self._doing = f"batch {number}, {plural(changed, 'row')}"
        if changed < picked and not (self._lock or self._always_lock):
            raise _MeanwhileError("Others changed rows of this batch.")
        self._lock = False
        if compare:
            # Triggers that wait for the end of the transaction would come after we looked.
            self._session.rows("SET CONSTRAINTS ALL IMMEDIATE")
            altered = self._session.value(self._statements.altered(self._number), arguments)
            _breach(altered, f"{plural(altered, 'row')} changed otherwise than declared: a trigger did that.")
        _breach(
            changed != picked, f"{plural(picked, 'row')} were locked, and {changed} changed: a trigger kept some back."
        )
        _breach(kept != changed, f"{plural(changed, 'row')} were changed, and {kept} before-images kept.")
        _breach(unchecked, f"The change's check does not hold for {plural(unchecked, 'row')}.")
        rows = update["rows"] + changed
        most = self._change["expected"]["max"]
        _breach(rows > most, f"{rows} rows would be changed by now, and {most} at most are expected.")
        self._hold(update, lambda each: each["each_batch"])
        self._book.add_batch(self._number, number, changed, last, time.monotonic() - began)
        return True

    def _unchanged_table(self) -> None:
        """While the rows' locks are held, nobody changes the table under us."""
        version = self._table.version(self._session)
        if version == self._version:
            return
        table = Table(self._session, self._change, self._prepared)
        if table.fingerprint() != self._fingerprint or table.refusals:
            raise BreachError(
                f"{self._table.sql} was altered meanwhile: its columns, its key, its triggers or its rights.",
                "Plan anew.",
            )
        self._version = version

    def _hold(self, update: Dict[str, Any], wanted: Callable[[Dict[str, Any]], bool]) -> Dict[str, Optional[str]]:
        """The invariants' values now.

        :raises BreachError: one does not hold
        """
        found = {}
        for each in filter(wanted, self._change["invariants"]):
            name, now = each["name"], self._invariant(each["name"])
            before = update["invariants"].get(name) if each["equals"] is None else each["equals"]
            _breach(now != before, f"The invariant {name} does not hold: it is {now}, not {before}.")
            found[name] = now
        return found

    def _verify(self) -> None:
        """At the end: counts, invariants, and what matches now."""
        update = self._book.locked(self._number)
        kept = int(self._session.value(f"SELECT count(*) FROM {images(self._number)}"))  # noqa: S608
        _breach(kept != update["rows"], f"{update['rows']} rows were changed, and {kept} before-images are there.")
        least = self._change["expected"]["min"]
        _breach(update["rows"] < least, f"{update['rows']} rows were changed, and {least} at least are expected.")
        invariants = self._hold(update, lambda each: True)
        untouched, touched, behind = self._session.rows(
            self._statements.left(self._number), {"bound": update["bound"]}
        )[0]
        self._result["verified"] = {
            "rows": update["rows"],
            "planned": update["planned"],
            "invariants": invariants,
            "matching_untouched": untouched,
            "matching_touched": touched,
            "matching_behind_bound": behind,
        }
        self._book.end(self._number, DONE)

    def _go_back(self, why: str) -> None:
        """Undoes what stands, the last batch first; after a breach also when the window has ended."""
        self._progress.phase("undo")
        self._tried(lambda: self._turn_round(why))
        more = True
        while more:
            self._wait()
            if why == ASKED:
                self._within_window()
            self._progress.tick()
            more = bool(self._tried(self._undo_batch, BY_KEY))

    def _turn_round(self, why: str) -> None:
        update = self._book.locked(self._number)
        if update["state"] not in (RUNNING, DONE, UNDOING):
            raise DataUpdateError(f"The update is {update['state']}.", "Look at the plan again.")
        if Table(self._session, self._change, self._prepared).columns_digest() != update["columns_sha256"]:
            raise DataUpdateError(
                f"It cannot be undone: the columns of {self._table.sql} are not those that it changed.",
                f"Put the values back by hand: the before-images are in {images(self._number)}.",
            )
        if update["state"] != UNDOING:
            self._book.put(self._number, state=UNDOING, problem=why)
            self._book.index(self._number)
            self._session.rows(f"ANALYZE {images(self._number)}")

    def _undo_batch(self) -> bool:
        update = self._book.locked(self._number)
        if update["state"] != UNDOING:
            raise DataUpdateError(f"The update is {update['state']}: somebody else works at it.", "Run it again.")
        self._session.rows(f"LOCK TABLE {self._table.sql} IN ROW EXCLUSIVE MODE")
        if Table(self._session, self._change, self._prepared).columns_digest() != update["columns_sha256"]:
            raise DataUpdateError(
                f"The columns of {self._table.sql} changed while it was undone.", "By hand, from here."
            )
        found = self._book.batch_to_undo(self._number)
        if found is None:
            alone = self._book.left_alone(self._number)
            self._result["undo"] = {"restored": update["restored"], **alone, "why": update["problem"]}
            self._book.end(self._number, UNDONE)
            return False
        batch, xid, rows = found
        self._doing = f"batch {batch} undone, {plural(rows, 'row')}"
        arguments = {"batch": batch, "xid": xid, "number": self._number}
        restored, alone, ours, kept = self._session.rows(undo(self._table, update), arguments)[0]
        if self._table.triggers:
            # What comes after the statement may change the rows once more.
            self._session.rows("SET CONSTRAINTS ALL IMMEDIATE")
            restored = min(restored, ours - self._session.value(not_put_back(self._table, update), arguments))
        if kept != rows or restored != ours or restored + alone != rows:
            raise DataUpdateError(
                f"Of batch {batch}'s {rows} rows, {restored} would be put back and {alone} left alone: a trigger or"
                " somebody at the before-images interferes.",
                "Find out which, then run it again.",
            )
        self._book.put(self._number, restored=update["restored"] + restored)
        self._book.undone(self._number, batch)
        return True


def _breach(bad: Any, message: str) -> None:
    if bad:
        raise BreachError(message, "Find out why, and correct the change or its data.")
