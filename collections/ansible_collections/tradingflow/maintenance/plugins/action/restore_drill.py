# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area drill: hands the findings of a restore drill to the report."""

from __future__ import annotations

from typing import Any

from ..module_utils._drill.options import SPEC, failure, findings, planned, suffix
from ..module_utils._work.job import DRILL
from ..module_utils.checks import utc_now
from ..module_utils.errors import MaintenanceError
from ..plugin_utils.area import Findings
from ..plugin_utils.job import JobAction
from ..plugin_utils.report.history import of_check


class ActionModule(JobAction):
    area = "drill"
    module = "restore_drill"
    kind = DRILL
    spec = SPEC

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
                return Findings(*planned(plan, last, started_at), extra={"plan": plan})
            result = self.worked(options, task_vars)
        except MaintenanceError as error:
            kind = getattr(error, "kind", type(error).__name__)
            return Findings(*failure(error.message, error.remedy, kind, started_at, options["engine"]))
        checks, actions, summary = findings(result, options, started_at)
        extra = {"drill": summary, "recovery_point": result["recovery_point"]}
        return Findings(checks, actions, extra=extra)
