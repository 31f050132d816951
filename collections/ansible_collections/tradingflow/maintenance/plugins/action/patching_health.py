# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area patching: whether the platform is as healthy as before its hosts were patched, on the runner."""

from __future__ import annotations

import time
from typing import Any

from ..module_utils._patching.health import TITLES, compared, of_area
from ..module_utils.checks import OK, WARNING
from ..plugin_utils.area import AreaAction, Findings


class ActionModule(AreaAction):
    area = "patching"
    # Beside what the patching and its proof handed in.
    part = "platform"
    spec = {
        "areas": {"type": "list", "elements": "str", "required": True, "choices": list(TITLES)},
        "before": {"type": "list", "elements": "dict", "default": []},
        "now": {"type": "list", "elements": "dict", "required": True},
        "wait": {"type": "int", "default": 0},
    }

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        checks = [compared(area, of_area(area, args["before"]), of_area(area, args["now"])) for area in args["areas"]]
        well = all(check.status in (OK, WARNING) for check in checks)
        if not well and args["wait"]:
            time.sleep(args["wait"])
        return Findings(checks, extra={"well": well})
