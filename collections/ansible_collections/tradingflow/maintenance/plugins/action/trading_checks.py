# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area trading, from the runner."""

from __future__ import annotations

from typing import Any

from ..module_utils._checks.trading import CARRIED, TRADING_SPEC, measure
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.report.history import of_check


class ActionModule(AreaAction):
    area = "trading"
    spec = TRADING_SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        history, host = self.earlier(args), task_vars["inventory_hostname"]
        told = {id: of_check(history, host, id) for id in CARRIED}
        before = {id: checks[-1].get("details") or {} for id, checks in told.items() if checks}
        return Findings(measure(args["database"], args["thresholds"], args["timeout"], args, before))
