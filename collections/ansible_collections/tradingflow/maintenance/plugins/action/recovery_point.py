# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Area backup: hands the findings of a backup to the report."""

from __future__ import annotations

from typing import Any

from ..module_utils._backup.options import SPEC, failure, findings, planned, summary
from ..module_utils._work.job import BACKUP
from ..module_utils.checks import utc_now
from ..module_utils.errors import MaintenanceError
from ..plugin_utils.area import Findings
from ..plugin_utils.job import JobAction


class ActionModule(JobAction):
    area = "backup"
    module = "recovery_point"
    kind = BACKUP
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        options = {name: value for name, value in args.items() if name != "run"}
        engine = options["engine"]
        # Both engines in one run: what each found stands beside the other's.
        self.part = "" if engine == "logical" else engine
        try:
            if self._task.check_mode:
                plan = self.planned(options, task_vars)["plan"]
                return Findings([], planned(plan, started_at), extra={"plan": plan})
            result = self.worked(options, task_vars)
        except MaintenanceError as error:
            return Findings(*failure(error.message, error.remedy, started_at, engine))
        checks, actions = findings(result, started_at)
        extra = {"recovery_point": summary(result), "phases": result["phases"]}
        return Findings(checks, actions, changed=True, extra=extra)
