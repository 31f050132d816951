# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an attempt before this one left half done: taken away, or gone on from, where it is proven to be its own."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from ..errors import MaintenanceError
from .leftovers import Leftovers
from .project import Answers
from .resume import THERE, existing
from .session import Session
from .tokens import Claim, claims, sets_path

#: SQLSTATEs of what is there already, or is gone already.
_DONE = (*THERE, "42701", "42704", "42P01", "42703")


class Unfinished:
    """What is half done of the revisions of one run.

    :ivar dropped: invalid indexes that were dropped: index, table, when
    :ivar resumed: statements that were left out, as an earlier attempt had carried them out: revision, sql, found
    :ivar skipped: the SQL of these
    :ivar said: in words, what the last failure has to do with an earlier attempt
    """

    def __init__(self, options: Dict[str, Any], session: Session, tick: Callable[[], None]) -> None:
        self._options = options
        self._session = session
        self._leftovers = Leftovers(session, options, tick)
        self._began: List[int] = []
        self.dropped = self._leftovers.dropped
        self.resumed: List[Dict[str, Any]] = []
        self.skipped: List[str] = []
        self.said = ""

    def before(self, entry: Dict[str, Any]) -> None:
        """Drops what an earlier run's attempt at a revision left, as far as its SQL is known beforehand.

        :raises DatabaseError: it could not be dropped
        """
        self.said = ""
        known = entry["sql"] or ""
        found = [] if sets_path(known) else claims([known])
        if found:
            self._leftovers.clear(found, None, f"before revision {entry['revision']}")
        self._began = self._leftovers.present()

    def after(self, entry: Dict[str, Any], answers: Answers, *, resume: bool = True) -> bool:
        """Drops what the attempt left that has just failed; looks whether what is in its way is an earlier one's.

        :param resume: whether it may be tried again, without what is there already
        :returns: whether the way is free now, so that it can be tried again at once
        """
        error = answers.error or {}
        for event in answers.of("begin"):
            self._session.path = list(event.get("path") or [])
        executed = [event["sql"] for event in answers.of("statement")]
        moved = any(map(sets_path, executed))
        found: List[Claim] = [] if moved else claims(executed)
        cleared = 0
        try:
            when = f"after revision {entry['revision']} failed"
            self._leftovers.clear(found, self._began, when)
            if error.get("code") in THERE:
                cleared = self._leftovers.clear(found[-1:], None, f"in the way of revision {entry['revision']}")
        except MaintenanceError as problem:
            self.said = problem.message
            return False
        if cleared:
            return True
        if error.get("code") not in _DONE or not executed:
            return False
        last = answers.of("statement")[-1]
        if resume and error["code"] in THERE and last["autocommit"] and not moved and last["sql"] not in self.skipped:
            there = existing(self._options, last["sql"], self._session.path, self._leftovers.resolve)
            if there is not None and there.same:
                self.skipped.append(last["sql"])
                self.resumed.append({"revision": entry["revision"], "sql": last["sql"][:500], "found": there.text})
                return True
            if there is not None:
                self.said = there.text + (f" Run {there.next}, then run it again" if there.next else "")
                return False
        self.said = f"Failed: {' '.join(last['sql'].split())[:300]}. An earlier attempt may have carried it out outside"
        self.said += " of a transaction, or before one; if so, see that it is whole, and take it back or leave it out"
        return False
