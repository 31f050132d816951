# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area tuning, from the runner."""

from __future__ import annotations

from typing import Any

from ..module_utils._tuning.engine import analyse
from ..module_utils._tuning.options import SPEC
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.report.history import of_check


class ActionModule(AreaAction):
    area = "tuning"
    title = "Database analysed"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        history, host = self.earlier(args), task_vars["inventory_hostname"]

        def before(id: str) -> dict[str, Any]:
            """What an earlier run kept for this one; one that could not judge keeps it too."""
            told = of_check(history, host, id, unmeasured=True)
            return next((check["details"] for check in reversed(told) if check.get("details")), {})

        found = analyse(args, before)
        return Findings(found.checks, found.actions, extra={"tuning": found.record})
