# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings dropped indexes back, by the definitions that the journal kept."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ..checks import utc_now
from .catalogue import Index
from .indexes import drop
from .outcome import DONE, FAILED, SKIPPED, action_of
from .plan import recreate
from .work import Work


class Undo(Work):
    """One run of undo."""

    def run(self) -> None:
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
