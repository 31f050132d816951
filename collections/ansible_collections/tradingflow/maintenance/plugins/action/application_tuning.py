# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area application_tuning, from the runner."""

from __future__ import annotations

from typing import Any

from ..module_utils._responses.engine import measure
from ..module_utils._responses.options import SPEC
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.report.history import of_check


class ActionModule(AreaAction):
    area = "application_tuning"
    title = "Application looked at"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        history, host = self.earlier(args), task_vars["inventory_hostname"]
        # Also of runs that could not tell: their counters are as good as any.
        return Findings(*measure(args, lambda id: of_check(history, host, id, unmeasured=True)))
