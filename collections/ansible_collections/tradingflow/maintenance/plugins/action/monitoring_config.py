# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area monitoring: gives the host of Prometheus the thresholds that the checks have, and hands on what it finds."""

from __future__ import annotations

from typing import Any

from ..module_utils._monitoring.options import SPEC
from ..module_utils.checks import Check
from ..plugin_utils.area import Findings
from ..plugin_utils.monitoring import complete
from ..plugin_utils.on_host import HostAreaAction

#: A host's variables that its checks go by, and what the module calls them.
VARIABLES = {"thresholds": "health_check_system_thresholds", "mounts": "health_check_mounts"}


class ActionModule(HostAreaAction):
    area = "monitoring"
    module = "monitoring_config"
    title = "Monitoring configured"
    spec = SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.fail_alone(super().run(tmp, task_vars))

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        if args["targets"] is None:
            args["targets"] = [self._target(name, task_vars) for name in args["hosts"]]
        # Modules write their options to the host's system log; those of receivers are secrets. no_log in the spec would
        # mask each word and number that a receiver has wherever else it is.
        result = self.on_host(complete(args), {**task_vars, "ansible_no_target_syslog": True})
        try:
            checks = [Check(**check) for check in result["checks"]]
            actions, extra = result["actions"], {"rules": result["rules"]}
            if self._task.diff:
                extra["diff"] = result["diff"]
            return Findings(checks, actions, changed=result["changed"], extra=extra)
        except (KeyError, TypeError, ValueError) as error:
            raise self.not_understood(error) from error

    def _target(self, name: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the checks of a host go by: as its variables have it, also where they are templates."""
        variables = task_vars["hostvars"][name]
        found = {key: variables.get(variable) for key, variable in VARIABLES.items()}
        return {"name": name, **{key: value for key, value in found.items() if value}}
