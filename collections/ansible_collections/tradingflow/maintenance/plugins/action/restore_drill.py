# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area drill: hands the findings of a restore drill to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..module_utils._drill.options import SPEC, failure, findings, planned, suffix
from ..module_utils._migration import rehearsed
from ..module_utils._migration.options import REHEARSAL_SPEC
from ..module_utils._work.job import DRILL
from ..module_utils.checks import Check, as_dicts, utc_now, worst
from ..module_utils.errors import MaintenanceError
from ..module_utils.run import write_spool
from ..plugin_utils.area import Findings
from ..plugin_utils.job import JobAction
from ..plugin_utils.report.history import of_check


class ActionModule(JobAction):
    area = "drill"
    module = "restore_drill"
    kind = DRILL
    spec = {**SPEC, "migration": {"type": "dict", "options": REHEARSAL_SPEC}}

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._apart: tuple[list[Check], list[dict[str, Any]]] = ([], [])
        result = super().run(tmp, task_vars)
        checks, actions = self._apart
        if not checks:
            return result
        run, found = self._task.args.get("run") or {}, as_dicts(checks)
        if run:
            host = (task_vars or {})["inventory_hostname"]
            write_spool(Path(run["directory"]), "migration", host, found, actions, "rehearsal")
        result["checks"] += found
        result["actions"] += actions
        result["worst_status"] = worst(check["status"] for check in result["checks"])
        if not run and actions[0]["status"] == "failed" and not result.get("failed"):
            result.update(failed=True, msg=actions[0]["message"])
        return result

    def rehearsed(self, result: dict[str, Any] | None, said: str, args: dict[str, Any], at: str) -> dict[str, Any]:
        """Keeps what the rehearsal found, which is an area of its own; gives what the ledger is to keep."""
        if not args["migration"]:
            return {}
        checks, actions, content = rehearsed.findings(result, said, args["migration"], at)
        self._apart = (checks, actions)
        return {"rehearsal": content} if content else {}

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        options = {name: value for name, value in args.items() if name != "run"}
        # One drill for each engine in one run: what each found stands beside the other's.
        self.part = suffix(options["engine"]).lstrip(":")
        try:
            if self._task.check_mode:
                plan = self.planned(options, task_vars)["plan"]
                name = f"drill.rto{suffix(plan['recovery_point']['engine'])}"
                earlier = of_check(self.earlier(args), task_vars["inventory_hostname"], name)
                last = earlier[-1]["value"] if earlier else None
                if args["migration"]:
                    self._apart = rehearsed.planned(args["migration"], started_at)
                return Findings(*planned(plan, last, started_at), extra={"plan": plan})
            result = self.worked(options, task_vars)
        except MaintenanceError as error:
            kind = getattr(error, "kind", type(error).__name__)
            self.rehearsed(None, error.message, args, started_at)
            return Findings(*failure(error.message, error.remedy, kind, started_at, options["engine"]))
        checks, actions, summary = findings(result, options, started_at)
        extra = {"drill": summary, "recovery_point": result["recovery_point"]}
        extra |= self.rehearsed(result["then"], actions[0]["message"], args, started_at)
        return Findings(checks, actions, extra=extra)
