# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area data_update: reads the declared change here, has it carried out on the host, and hands on the findings."""

from __future__ import annotations

from typing import Any

from ..module_utils._data_update.findings import broken_off, failure, findings, found, intent, late, planned
from ..module_utils._data_update.options import SPEC
from ..module_utils._data_update.statements import prepared
from ..module_utils._ledger.unended import unended
from ..module_utils._work.job import DATA_UPDATE
from ..module_utils.checks import utc_now
from ..module_utils.errors import MaintenanceError
from ..plugin_utils.area import Findings
from ..plugin_utils.job import JobAction, WorkError


class ActionModule(JobAction):
    area = "data_update"
    module = "data_update"
    kind = DATA_UPDATE
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        extra: dict[str, Any]
        # The ledger, and the keys to read it by, are the controller's.
        options = {name: value for name, value in args.items() if name not in ("run", "evidence")}
        try:
            # The host has no parser of SQL: it gets what was understood here, and nothing else.
            options["run"] = {"prepared": prepared(options["change"])}
            if self._task.check_mode:
                plan = self.planned(options, task_vars)["plan"]
                same = {"database": plan["database"], "change": plan["change"]}
                earlier = unended(args, "data_update", same, str((args.get("run") or {}).get("run_id", "")))
                checks, actions = planned(plan, started_at)
                extra = {"plan": plan, "intent": intent(plan), "late": late(plan, earlier.sure)}
                checks += [*found(earlier.began), *earlier.checks(self.area, args["environment_name"])]
                return Findings(checks, actions, extra=extra)
            result = self.worked(options, task_vars)
        except MaintenanceError as error:
            kind = getattr(error, "kind", type(error).__name__)
            extra = {"updated": False}
            if isinstance(error, WorkError) and not self._task.check_mode:
                # The ledger has it that it began. What was lost sight of stays so: nobody knows how it ended.
                extra["data_update"] = broken_off(error.message, kind)
            return Findings(*failure(error.message, error.remedy, kind, started_at), extra=extra)
        checks, actions, summary = findings(result, started_at)
        extra = {"data_update": summary, "updated": not result["problem"] and not result["refusals"]}
        return Findings(checks, actions, changed=result["changed"], extra=extra)
