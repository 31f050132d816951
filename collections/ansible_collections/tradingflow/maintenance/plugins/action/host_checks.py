# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area system: runs the module of the same name on the host, and compares its clock with the runner's."""

from __future__ import annotations

import time
from typing import Any

from ..module_utils._checks.system import SYSTEM_SPEC, clock_skew
from ..module_utils.checks import Check
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
        except (KeyError, TypeError, ValueError) as error:
            raise self.not_understood(error) from error
        return Findings([*checks, clock_skew(args["thresholds"], clock, before, after)])
