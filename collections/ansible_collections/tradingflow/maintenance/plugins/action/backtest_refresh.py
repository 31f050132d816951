# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area backtest, on the runner."""

from __future__ import annotations

import sys
from typing import Any

from ..module_utils._refresh.engine import refresh
from ..module_utils._refresh.options import SPEC
from ..module_utils.checks import Check, unknown
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.project import within


class ActionModule(AreaAction):
    area = "backtest"
    title = "Backtests refreshed"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        if self._task.check_mode:
            return Findings([planned(args)])
        args["directory"] = str(within(args["directory"], task_vars))
        for one in args["strategies"]:
            one["code"] = str(within(one["code"], task_vars))
            engine = one["engine"] or {}
            for key in ("paths", "lock"):
                engine[key] = [str(within(path, task_vars)) for path in engine.get(key, [])]
        found = refresh(args, task_vars.get("ansible_playbook_python") or sys.executable)
        extra = {} if found.record is None else {"refresh": found.record}
        return Findings(found.checks, found.actions, extra=extra)


def planned(args: dict[str, Any]) -> Check:
    """In check mode nothing is run, and so nothing is known."""
    text = f"With --check nothing is run; {len(args['strategies'])} strategies are declared."
    return unknown("backtest.strategies", "Strategies refreshed", text, "Run it without --check.")
