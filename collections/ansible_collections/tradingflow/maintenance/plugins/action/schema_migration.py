# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area migration: has an alembic project's revisions carried out on the host, and hands the findings to the report."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ..module_utils._migration.earlier import unfinished
from ..module_utils._migration.findings import failure, findings, intent, planned
from ..module_utils._migration.options import SPEC
from ..module_utils._work.job import MIGRATION
from ..module_utils.checks import utc_now
from ..module_utils.errors import MaintenanceError
from ..plugin_utils.area import Findings
from ..plugin_utils.job import JobAction


class ActionModule(JobAction):
    area = "migration"
    module = "schema_migration"
    kind = MIGRATION
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        run_id = str((args.get("run") or {}).get("run_id", ""))
        # The ledger's keys are the controller's.
        options = {name: value for name, value in args.items() if name not in ("run", "evidence")}
        try:
            if self._task.check_mode:
                plan = self.planned(options, task_vars)["plan"]
                earlier = unfinished(args, plan["database"], run_id)
                return Findings(*planned(plan, earlier, started_at), extra={"plan": plan, "intent": intent(plan)})
            result = self.worked(options, task_vars)
        except MaintenanceError as error:
            kind = getattr(error, "kind", type(error).__name__)
            return Findings(*failure(error.message, error.remedy, kind, started_at), extra={"migrated": False})
        earlier = None
        # The plan has read the same; a store that is gone since must not hide what was done.
        with suppress(MaintenanceError):
            earlier = unfinished(args, result["database"], run_id)
        checks, actions, summary = findings(result, earlier, started_at)
        extra = {"migration": summary, "migrated": not result["problem"] and not result["refusals"]}
        return Findings(checks, actions, changed=result["changed"], extra=extra)
