# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area system: runs the module of the same name on the host, and compares its clock with the runner's."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleError

from ..module_utils._checks.clock import COMMAND, TRIES, Bounds, bounds, narrowed, too_wide
from ..module_utils._checks.system import SYSTEM_SPEC, clock_skew
from ..module_utils.checks import Check, limits
from ..plugin_utils.area import Findings
from ..plugin_utils.on_host import HostAreaAction


class ActionModule(HostAreaAction):
    area = "system"
    module = "host_checks"
    title = "Health of the host measured"
    spec = SYSTEM_SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        before = time.time()
        result = self.on_host(args, task_vars)
        after = time.time()
        try:
            checks = [Check(**check) for check in result["checks"]]
            clock = float(result["clock"])
            first = bounds(clock, before, after, float(result["clock_began"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self.not_understood(error) from error
        more = [first, *self.asked_again(args["thresholds"], first)]
        return Findings(
            [*checks, clock_skew(args["thresholds"], clock, before, after, more, result.get("clock_kernel"))]
        )

    def asked_again(self, thresholds: dict[str, Any], first: Bounds) -> list[Bounds]:
        """Further answers about the host's clock, when the module took too long, mostly for this machine's load."""
        found: list[Bounds] = []
        limit = limits(thresholds, "clock_skew")
        while len(found) < TRIES and too_wide(narrowed([first, *found]), limit):
            before = time.time()
            try:
                said = self._low_level_execute_command(COMMAND, sudoable=False)
                after = time.time()
                found.append(bounds(float(said["stdout"]), before, after))
            except (AnsibleError, KeyError, TypeError, ValueError):
                break  # A date without parts of a second, or no more connection.
        return found
