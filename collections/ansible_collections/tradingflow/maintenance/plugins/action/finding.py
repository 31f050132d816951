# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One finding of a playbook's own, on the controller."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail

from ..module_utils.checks import OK, STATUSES, UNKNOWN, Check
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.options import plain_types


class ActionModule(AreaAction):
    spec = {
        "area": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "title": {"type": "str", "required": True},
        "status": {"type": "str", "default": UNKNOWN, "choices": list(STATUSES)},
        "value": {"type": "raw"},
        "message": {"type": "str", "default": ""},
        "remedy": {"type": "str", "default": ""},
    }

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        self.area, self.part = args["area"], args["name"]
        if args["status"] == OK and args["value"] is None:
            raise AnsibleActionFail("A finding that is ok needs a value: what was not measured is unknown.")
        return Findings(
            [
                Check(
                    f"{args['area']}.{args['name']}",
                    args["title"],
                    args["status"],
                    args["value"],
                    message=plain_types(args["message"]),
                    remedy=args["remedy"],
                    source=f"playbook, on {task_vars['inventory_hostname']}",
                )
            ]
        )
