# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area patching: has a patched host proven, and what was halted on it started again."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ..module_utils._checks.system import SYSTEM_SPEC
from ..module_utils._patching import proven
from ..module_utils._patching.findings import way_back
from ..module_utils._patching.options import PROOF
from ..module_utils.checks import utc_now
from ..module_utils.errors import MaintenanceError, PatchingError
from ..plugin_utils.area import Findings
from ..plugin_utils.on_host import HostAreaAction
from ..plugin_utils.options import as_another


class ActionModule(HostAreaAction):
    area = "patching"
    # Beside what the patching itself handed in.
    part = "proof"
    module = "host_patching_proof"
    title = "Host proven"
    spec = PROOF

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        if args["way_back"]:
            # What the first proof found stands beside it.
            self.part = "rollback_proof"
        found = self._collected(args, task_vars, started_at)
        if args["way_back"]:
            found.checks = [way_back(check) for check in found.checks]
        return found

    def _collected(self, args: dict[str, Any], task_vars: dict[str, Any], started_at: str) -> Findings:
        args["health"] = as_another("health", args["health"], SYSTEM_SPEC)
        try:
            # Nothing is started before all is judged; the clock is judged here and not on the host.
            result, checks = self._judged({**args, "resume": False}, task_vars)
            if args["resume"] and not self._task.check_mode and proven.as_planned(checks):
                # Its health is measured once.
                result, checks = self._judged({**args, "health": None}, task_vars, result["health"])
        except AnsibleConnectionFailure as error:
            return self._failed(proven.silent(str(error.message)), started_at)
        except MaintenanceError as error:
            return self._failed(proven.unproven(error.message, error.remedy), started_at)
        extra = {"proven": proven.well(checks), "proof": proven.summary(result, checks)}
        extra["platform"] = result["before"].get("platform") or {}
        # What is measured of the platform from now on is after it.
        extra["at"] = time.time()
        changed = result["changed"]
        return Findings(checks, [proven.action(checks, changed, started_at)], changed=changed, extra=extra)

    def _judged(
        self, args: dict[str, Any], task_vars: dict[str, Any], health: Any = None
    ) -> tuple[dict[str, Any], list[Any]]:
        """What the host says, and what it means.

        :param health: what it said of its health before
        """
        before = time.time()
        result = self.on_host(args, task_vars)
        after = time.time()
        error = result.get("error")
        if error:
            raise PatchingError(error["message"], error["remedy"])
        if health is not None:
            result["health"] = health
        return result, proven.proven(result, (before, after), args["clock_tolerance"])

    def _failed(self, checks: list[Any], started_at: str) -> Findings:
        extra = {"proven": False, "proof": {"proven": False, "problem": checks[0].message}}
        return Findings(checks, [proven.action(checks, False, started_at)], extra=extra)

    def _spool_unreachable(self, run: dict[str, Any], host: str, error: AnsibleError) -> None:
        """Not in place of what the patching itself handed in: collect() says it."""
