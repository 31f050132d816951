# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Collects on the runner for an audit: tables of the database, and the ledger's records."""

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils._audit.platform import SPEC, collect
from ..module_utils.errors import MaintenanceError
from ..plugin_utils.options import validated


class ActionModule(ActionBase):
    spec = SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        # Without Ansible's own kinds of text.
        args = json.loads(json.dumps(validated(self, self.spec)))
        if self._task.check_mode:
            result.update(changed=False, skipped=True)
            return result
        try:
            found = collect(args)
        except (MaintenanceError, OSError) as error:
            raise AnsibleActionFail(str(error)) from None
        result.update(changed=True, collected=found.to_dict())
        return result
