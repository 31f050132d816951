# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetches what was collected on a host for an audit: by the connection's own user, streamed, nothing in memory."""

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils._audit.fetch import fetched
from ..module_utils.errors import MaintenanceError
from ..plugin_utils.options import validated
from ..plugin_utils.project import within


class ActionModule(ActionBase):
    spec: dict[str, Any] = {
        "src": {"type": "path", "required": True},
        "collected": {"type": "dict", "required": True},
        "dest": {"type": "path", "required": True},
        "limit": {"type": "int", "default": 0},
        "plan": {"type": "str", "default": ""},
    }

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = json.loads(json.dumps(validated(self, self.spec)))
        task_vars = task_vars or {}
        if self._task.check_mode:
            result.update(changed=False, skipped=True)
            return result

        def get(path: str, target: str) -> None:
            self._connection.fetch_file(f"{args['src']}/{path}", target)

        try:
            target = within(args["dest"], task_vars)
            host = task_vars["inventory_hostname"]
            count = fetched(args["collected"], host, target, get, args["limit"], args["plan"])
        except MaintenanceError as error:
            raise AnsibleActionFail(str(error)) from None
        except OSError as error:
            raise AnsibleError(f"A file could not be fetched: {error}") from None
        result.update(changed=bool(count), fetched=count)
        return result
