# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area restore: has a recovery point restored on the host, and hands the findings to the report."""

from __future__ import annotations

from typing import Any

from ..module_utils._restore.findings import abandoned, failure, findings, given_up, planned, removed
from ..module_utils._restore.forecast import expected
from ..module_utils._restore.options import SPEC
from ..module_utils._work.job import RESTORE
from ..module_utils.checks import utc_now
from ..module_utils.errors import MaintenanceError
from ..plugin_utils.area import Findings
from ..plugin_utils.job import JobAction


class ActionModule(JobAction):
    area = "restore"
    module = "recovery_point_restore"
    kind = RESTORE
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        # The ledger's keys are the controller's.
        options = {name: value for name, value in args.items() if name not in ("run", "evidence")}
        abandoning = args["abandon"]
        removing = args["mode"] == "remove_old" and not abandoning
        try:
            if self._task.check_mode:
                plan = self.planned(options, task_vars)["plan"]
                if removing:
                    return Findings(*removed(plan, started_at, planned=True), extra={"plan": plan, "restored": False})
                if abandoning:
                    found = abandoned(plan, args, started_at, planned=True)
                    return Findings(*found, extra={"plan": plan, "restored": False})
                return Findings(
                    *planned(plan, args, expected(args, plan["recovery_point"]), started_at),
                    extra={"plan": plan, "restored": False},
                )
            result = self.worked(options, task_vars)
        except MaintenanceError as error:
            kind = getattr(error, "kind", type(error).__name__)
            return Findings(*failure(error.message, error.remedy, kind, started_at), extra={"restored": False})
        if removing:
            return Findings(*removed(result, started_at, planned=False), changed=True, extra={"restored": False})
        if abandoning:
            found = abandoned(result, args, started_at, planned=False)
            extra = {"restored": not result["refusals"], **given_up(result, args)}
            return Findings(*found, changed=result["changed"], extra=extra)
        checks, actions, summary = findings(result, args, started_at)
        extra = {
            "restore": summary,
            "recovery_point": result["recovery_point"],
            "restored": not result["problem"] and not result["refusals"],
        }
        return Findings(checks, actions, changed=result["changed"], extra=extra)
