# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area audit: seals what was collected into a bundle, and puts it into the store, from the controller."""

from __future__ import annotations

import json
from typing import Any

from ..module_utils._audit.engine import Context, make, now, prepare
from ..module_utils._audit.findings import failure, findings, planned
from ..module_utils._audit.options import PREPARED, SPEC
from ..module_utils.checks import utc_now
from ..module_utils.errors import MaintenanceError
from ..plugin_utils.actor import actor
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.project import within


class ActionModule(AreaAction):
    area = "audit"
    part = "bundle"
    title = "Audit bundle made"
    spec = SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = self.fail_alone(super().run(tmp, task_vars))
        if not result["checks"]:
            # Prepared: nothing is measured yet, and there is nothing to show.
            for name in ("area", "reported", "worst_status", "checks", "actions"):
                result.pop(name, None)
        return result

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        # Without Ansible's own kinds of text.
        args = json.loads(json.dumps(args))
        args["directory"] = str(within(args["directory"], task_vars))
        if args["witness"]:
            args["witness"] = str(within(args["witness"], task_vars))
        run_id = (args.get("run") or {}).get("run_id") or f"audit-{started_at}"
        context = Context(run_id, actor(task_vars), now(), bool(self._task.check_mode))
        try:
            if args["state"] == PREPARED or context.check_mode:
                found = prepare(args, context)
                checks, actions = planned(found, started_at) if context.check_mode else ([], [])
                return Findings(checks, actions, extra={"prepared": found})
            result = make(args, context)
        except MaintenanceError as error:
            return Findings(*failure(error, started_at))
        checks, actions = findings(result, started_at)
        return Findings(checks, actions, changed=result["changed"], extra={"bundle": result})
