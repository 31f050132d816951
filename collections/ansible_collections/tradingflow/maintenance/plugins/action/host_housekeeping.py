# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area housekeeping: has a host list what would go or take it away, and hands the findings to the report."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleError

from ..module_utils._housekeeping.findings import baselines, findings
from ..module_utils._housekeeping.options import SPEC
from ..module_utils.checks import Check, utc_now
from ..module_utils.errors import HousekeepingError, MaintenanceError
from ..plugin_utils.area import Findings
from ..plugin_utils.on_host import HostAreaAction


class ActionModule(HostAreaAction):
    area = "housekeeping"
    module = "host_housekeeping"
    title = "Host cleaned up"
    spec = SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = self.fail_alone(super().run(tmp, task_vars))
        if not result.get("failed") and (trouble := self._not_measured_alone(result)):
            result.update(failed=True, msg=trouble)
        return result

    def _not_measured_alone(self, result: dict[str, Any]) -> str:
        """What could not be looked at at all, the whole host or one part of it; empty when there is nothing such."""
        if check := self.unmeasured_alone(result):
            return f"{check['message']} {check['remedy']}".strip()
        if self._task.args.get("run"):
            return ""
        for parts in ((result.get("plan") or {}).get("classes") or {}).values():
            for part in parts:
                if error := part.get("error"):
                    return f"{part['name']}: {error['message']} {error['remedy']}"
        return ""

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        # First: what fails afterwards would hide what was done on the host.
        reports = self.earlier(args) if args["access_logs"] else []
        # What goes wrong amid it stands beside the list of what was to go, not in its place.
        self.part = "carried-out" if args.get("planned") and not self._task.check_mode else ""
        # A host whose clock runs ahead takes everything for old.
        result = self.on_host({**args, "clock": time.time()}, task_vars)
        if error := result.get("error"):
            raise HousekeepingError(error["message"], error["remedy"])

        def usual(path: str) -> list[dict[str, Any]]:
            return baselines(reports, task_vars["inventory_hostname"], path)

        try:
            checks, actions = findings(result, args["thresholds"], usual, started_at)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # Something may have been done all the same.
            checks, actions = [self.unmeasured(self.not_understood(error))], []
        else:
            self.part = ""
        return Findings(checks, actions, changed=bool(result.get("changed")), extra={"plan": result})

    def unmeasured(self, error: MaintenanceError) -> Any:
        return self._amid(super().unmeasured(error))

    def unreachable(self, error: AnsibleError) -> Check:
        return self._amid(super().unreachable(error))

    def _amid(self, check: Check) -> Check:
        """The finding that nobody knows how it ended, where it had begun to take away."""
        if self.part:
            check.message = f"It was cleaning up: what was planned may be gone, all of it or in part. {check.message}"
            check.remedy = f"{check.remedy} Then run it again: it goes on, and tells what is left."
        return check
