# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings dropped indexes back, by the definitions that the journal kept."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..database import quoted
from ..errors import ConfigurationError
from .budget import Needs
from .catalogue import Index
from .indexes import CORRUPTS, corrupts, drop
from .outcome import DONE, FAILED, SKIPPED
from .plan import recreate, restored
from .work import Work


class Undo(Work):
    """One run of undo."""

    def run(self) -> None:
        """Brings back what was dropped and is still gone: of the digest alone when one is given.

        :raises ConfigurationError: the journal cannot say what that is
        """
        self.one_by_one([("undo", gone) for gone in self._gone()])

    def after_breaking_off(self) -> str:
        """One that breaks off leaves those after it, unless the connection is gone."""
        lost = self.cursor.connection.closed or self.watch.connection.closed
        return "the connection is lost" if lost else ""

    def _gone(self) -> List[Dict[str, Any]]:
        wanted, mine = self.options["expected_digest"], self.mine()
        lines = self.journal.lines()
        if not any(line.get("system") == mine["system"] and line.get("database") == mine["database"] for line in lines):
            raise ConfigurationError(
                f"The journal {self.journal.path} is missing, or knows nothing of this database.",
                "Name the journal of the run that dropped them: without it nobody knows what to bring back.",
            )
        if wanted and not any(line["event"] == "drop begun" and line.get("digest") == wanted for line in lines):
            raise ConfigurationError(
                f"The journal knows no drop by the plan {wanted[:12]}.",
                "Give the digest of the plan that dropped them, or none for all drops.",
            )
        return self.journal.dropped(**mine, digest=wanted)

    def do(self, each: Dict[str, Any], result: Dict[str, Any]) -> str:
        """One of them; why those after it must not begin, empty when they may."""
        there = next((one for one in self.known() if one.full == result["object"]), None)
        if there is not None and there.valid:
            problem = "an index of that name has another definition" if there.definition != each["ddl"] else None
            problem = problem or self._complete(each)
            result.update(state=FAILED if problem else SKIPPED, reason=problem or "it is there")
        else:
            bytes = each.get("bytes", 0)
            needs = Needs(bytes, bytes, each.get("properties", {}).get("tablespace", ""))
            stopped = self.budget.refuses(self.watch, needs)
            if stopped:
                result["reason"] = stopped
                return stopped
            problem = self._bring_back(each, there)
            result.update(state=FAILED if problem else DONE, reason=problem or "")
            self.budget.has_built(needs)
        if not problem:
            names = {"schema": each["schema"], "name": each["name"], "digest": each.get("digest", "")}
            self.journal.add("undone", **names, **self.mine())
        return ""

    def _bring_back(self, gone: Dict[str, Any], there: Optional[Index]) -> Optional[str]:
        """Makes it anew; what a drop or an undo that was cut off left in its place goes first."""
        if corrupts(self.cursor.connection.server_version):
            return CORRUPTS
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
            "SELECT n.nspname AS schema, c.relname AS name "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s",
            [there.table_oid],
        )
        row = self.watch.fetchone()
        table = f"{quoted(row['schema'])}.{quoted(row['name'])}"
        for sql in restored(table, (gone["schema"], gone["name"]), wanted, there.properties):
            problem = self.execute(sql)
            if problem:
                return f"it is there again, but not all that belonged to it: {problem}"
        return None
