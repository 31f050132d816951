# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings dropped indexes back, by the definitions that the journal kept."""

from __future__ import annotations

from typing import Any, Dict, Optional

from ..checks import utc_now
from ..database import quoted
from .catalogue import Index
from .indexes import drop
from .outcome import DONE, FAILED, SKIPPED, action_of
from .plan import recreate, restored
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
        wanted = gone.get("properties", {})
        self.cursor.execute("SELECT set_config('default_tablespace', %s, false)", [wanted.get("tablespace", "")])
        return self.execute(recreate(gone["ddl"])) or self._complete(gone)

    def _complete(self, gone: Dict[str, Any]) -> Optional[str]:
        """Gives an index that is there the properties that its definition does not say."""
        full = f"{gone['schema']}.{gone['name']}"
        there = next((one for one in self.known() if one.full == full), None)
        if there is None:
            return "it is gone again"
        wanted = gone.get("properties", {})
        if there.properties.get("tablespace") != wanted.get("tablespace"):
            return f"it is in another tablespace than before ({wanted.get('tablespace') or 'the default one'})"
        self.watch.execute(
            "SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.oid = %s",
            [there.table_oid],
        )
        row = self.watch.fetchone()
        table = f"{quoted(row['schema'])}.{quoted(row['name'])}"
        for sql in restored(table, (gone["schema"], gone["name"]), wanted, there.properties):
            problem = self.execute(sql)
            if problem:
                return f"it is there again, but not all that belonged to it: {problem}"
        return None
