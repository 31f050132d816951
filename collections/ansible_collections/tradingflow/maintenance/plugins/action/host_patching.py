# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area patching: has a host plan its patches or put them in place, and hands the findings to the report."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ..module_utils._checks.system import SYSTEM_SPEC
from ..module_utils._patching.findings import failure, findings, intent, lost, planned, way_back, well
from ..module_utils._patching.health import handed
from ..module_utils._patching.options import SPEC
from ..module_utils._patching.precheck import clock
from ..module_utils.checks import OK, WARNING, Check, utc_now
from ..module_utils.errors import ConfigurationError, MaintenanceError, PatchingError
from ..plugin_utils.area import Findings
from ..plugin_utils.on_host import HostAreaAction
from ..plugin_utils.options import as_another


class ActionModule(HostAreaAction):
    area = "patching"
    module = "host_patching"
    title = "Patches planned"
    spec = SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.fail_alone(super().run(tmp, task_vars))

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        if args["rollback"]:
            # Beside what was found on the way there, and never taken for it: also should this break off.
            self.part = "rollback"
        found = self._collected(args, task_vars)
        if args["rollback"]:
            found.checks = [way_back(check) for check in found.checks]
        return found

    def unexpected(self, error: Exception) -> Check:
        check = super().unexpected(error)
        return way_back(check) if self.part else check

    def _collected(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at, planning = utc_now(), bool(self._task.check_mode)
        try:
            args["health"] = as_another("health", args["health"], SYSTEM_SPEC)
            before = time.time()
            args["platform"] = self._before(args, task_vars["inventory_hostname"], before)
            result = self.on_host(args, task_vars)
            after = time.time()
            error = result.get("error")
            if error:
                raise PatchingError(error["message"], error["remedy"])
            if planning:
                told = clock(result, (before, after), args["clock_tolerance"])
                if told.status not in (OK, WARNING):
                    refusal = {"name": "clock", "message": told.message, "remedy": told.remedy}
                    result["refusals"].append(refusal)
                checks, actions = planned(result, started_at)
                checks.append(told)
                plan = intent(result, task_vars["inventory_hostname"])
                known = {"host": plan["host"], "planned": not result["refusals"], "digest": plan["digest"]}
                known["wanted"] = bool(known["planned"] and result["wanted"])
                return Findings(checks, actions, extra={"plan": result, "intent": plan, "state": known})
            checks, actions, summary = findings(result, started_at)
        except AnsibleConnectionFailure as error:
            if planning:
                raise
            # Not unreachable to Ansible, which would leave out what is still to be done: record it, and count it.
            text = " ".join(str(error.message).split())[:500]
            return Findings(*lost(text, started_at), extra=self._unsaid(text, task_vars))
        except MaintenanceError as error:
            extra = {"patched": False} if planning else self._unsaid(error.message, task_vars)
            return Findings(*failure(error.message, error.remedy, started_at), extra=extra)
        summary = {**summary, "host": task_vars["inventory_hostname"]}
        extra = {"patching": summary, "patched": well(result), "reboot": result["reboot_due"]}
        return Findings(checks, actions, changed=result["changed"] is not False, extra=extra)

    def _before(self, args: dict[str, Any], host: str, now: float) -> dict[str, Any]:
        """What the host keeps of the platform.

        :raises ConfigurationError: it was not measured in this run before, and would pass for that
        """
        try:
            return handed(args["platform"], str((args.get("run") or {}).get("run_id") or ""), host, now)
        except ValueError as error:
            raise ConfigurationError(
                f"What is said of the platform before the patching is not that: {error}.", "Run the playbook again."
            ) from None

    def _unsaid(self, problem: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Whether anything was changed is not known: what had begun on the host may have ended without us."""
        ended = {"state": "ended", "host": task_vars["inventory_hostname"], "changed": None, "problem": problem}
        return {"patched": False, "patching": ended}

    def _spool_unreachable(self, run: dict[str, Any], host: str, error: AnsibleError) -> None:
        # A host that was begun is told of by what collect() returns.
        if self._task.check_mode:
            super()._spool_unreachable(run, host, error)

    def unreachable(self, error: AnsibleError) -> Check:
        check = super().unreachable(error)
        return way_back(check) if self.part else check
