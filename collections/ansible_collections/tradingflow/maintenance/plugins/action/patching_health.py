# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area patching: whether the platform is as healthy as before its hosts were patched, on the runner."""

from __future__ import annotations

import time
from typing import Any

from ..module_utils._patching.health import TITLES, platform
from ..module_utils.checks import OK, WARNING
from ..plugin_utils.area import AreaAction, Findings


class ActionModule(AreaAction):
    area = "patching"
    # Beside what the patching and its proof handed in.
    part = "platform"
    spec = {
        "areas": {"type": "list", "elements": "str", "required": True, "choices": list(TITLES)},
        "run_id": {"type": "str", "default": ""},
        "before": {"type": "dict", "default": {}},
        "now": {"type": "dict", "required": True},
        "after": {"type": "float", "required": True},
        "wait": {"type": "int", "default": 0},
    }

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        of = {"run": args["run_id"], "host": task_vars["inventory_hostname"], "after": args["after"]}
        checks = [platform(area, args["before"], args["now"], of) for area in args["areas"]]
        well = all(check.status in (OK, WARNING) for check in checks)
        if not well and args["wait"]:
            time.sleep(args["wait"])
        return Findings(checks, extra={"well": well})
