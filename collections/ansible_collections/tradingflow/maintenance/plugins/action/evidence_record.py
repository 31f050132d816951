# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Append a record to the evidence ledger, from the controller."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils import ledger
from ..module_utils.errors import MaintenanceError
from ..module_utils.storage import STORAGE_SPEC
from ..plugin_utils.actor import actor
from ..plugin_utils.options import validated
from ..plugin_utils.project import within

SUBJECT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "digest": {"type": "dict", "required": True, "options": {"sha256": {"type": "str", "required": True}}},
}


class ActionModule(ActionBase):
    spec: dict[str, Any] = {
        "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
        "environment_name": {"type": "str", "required": True},
        "kind": {"type": "str", "required": True, "choices": list(ledger.KINDS)},
        "run_id": {"type": "str"},
        "actor": {"type": "str"},
        "subjects": {"type": "list", "elements": "dict", "default": [], "options": SUBJECT_SPEC},
        "content": {"type": "dict", "default": {}},
        **ledger.SIGNING_SPEC,
        "lock_mode": {**ledger.SIGNING_SPEC["lock_mode"], "default": "none"},
        "witness": {"type": "path"},
    }

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = validated(
            self,
            self.spec,
            mutually_exclusive=[["signing_key", "signing_key_file"]],
            required_one_of=[["signing_key", "signing_key_file"]],
        )
        args["actor"] = args["actor"] or actor(task_vars or {})
        args["run_id"] = args["run_id"] or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-record-{secrets.token_hex(3)}"
        try:
            record = ledger.append(
                args["storage"],
                args["environment_name"],
                args["kind"],
                actor=args["actor"],
                run_id=args["run_id"],
                subjects=args["subjects"],
                content=args["content"],
                signing_key=args["signing_key"] or args["signing_key_file"],
                trusted_keys=args["trusted_key_files"],
                lock_mode=args["lock_mode"],
                lock_days=args["lock_days"],
                witness=within(args["witness"], task_vars or {}) if args["witness"] else None,
                check_mode=self._task.check_mode,
            )
        except MaintenanceError as error:
            raise AnsibleActionFail(str(error)) from None
        if self._task.diff:
            shown = {name: args[name] for name in ("kind", "run_id", "actor", "subjects", "content")}
            after = json.dumps(shown, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
            result["diff"] = {"before": "", "after": after, "after_header": record["key"]}
        steps = [] if self._task.check_mode else [f"record {record['number']} of the ledger, {record['key']}"]
        result.update(changed=True, steps=steps, **record)
        return result
