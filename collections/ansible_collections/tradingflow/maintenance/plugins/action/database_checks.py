# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area database, from the runner."""

from __future__ import annotations

from typing import Any

from ..module_utils._checks.database import CHECKS_SPEC, measure
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.report.history import of_check


class ActionModule(AreaAction):
    area = "database"
    spec = CHECKS_SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        history, host = self.earlier(args), task_vars["inventory_hostname"]
        checks, facts = measure(
            args["database"],
            args["thresholds"],
            args["timeout"],
            args["capacity"],
            lambda id: of_check(history, host, id),
            args["replicas"],
            args["audited"],
        )
        return Findings(checks, extra=facts)
