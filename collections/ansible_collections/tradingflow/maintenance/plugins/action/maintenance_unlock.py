# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Release the lock that a dead run left, on the controller."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils import ledger
from ..module_utils.errors import LockedError, MaintenanceError
from ..module_utils.lock_keeper import holder, remove
from ..module_utils.storage import STORAGE_SPEC
from ..plugin_utils.actor import actor
from ..plugin_utils.options import validated
from ..plugin_utils.project import within

#: What of a lock is said and recorded.
_SHOWN = ("run_id", "host", "pid", "started_at", "place")


class ActionModule(ActionBase):
    spec: dict[str, Any] = {
        "environment_name": {"type": "str", "required": True},
        "procedure": {"type": "str", "required": True},
        "reason": {"type": "str", "required": True},
        "artifacts_dir": {"type": "path", "default": "artifacts"},
        "storage": {"type": "dict", "options": STORAGE_SPEC},
        "evidence": {"type": "dict", "options": ledger.SIGNING_SPEC},
    }

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = validated(self, self.spec)
        root = within(args["artifacts_dir"], task_vars or {})
        place = (root, args["environment_name"], args["procedure"])
        try:
            found = holder(*place, storage=args["storage"])
            living = next((each for each in found if each["alive"]), None)
            if living:
                raise LockedError(
                    f"Run {living.get('run_id')} still runs here, as process {living.get('pid')}.",
                    "Wait for it to end, or end it; its lock ends with it.",
                )
            shown = [{name: each.get(name) for name in _SHOWN} for each in found]
            steps = [f"{each['place']}: run {each['run_id']} on {each['host']}, {each['started_at']}" for each in shown]
            if found and not self._task.check_mode:
                steps += self.record(args, root, shown, actor(task_vars or {}))
                remove(*place, storage=args["storage"])
        except MaintenanceError as error:
            raise AnsibleActionFail(str(error)) from None
        except OSError as error:
            raise AnsibleActionFail(f"The lock cannot be removed: {error}.") from None
        result.update(changed=bool(found), holders=shown, steps=steps)
        return result

    def record(self, args: dict[str, Any], root: Path, shown: list[dict[str, Any]], who: str) -> list[str]:
        """Puts it on the record before it is done."""
        evidence, storage = args["evidence"], args["storage"]
        if not evidence or not storage:
            return ["not recorded: no ledger is set up"]
        record = ledger.append(
            storage,
            args["environment_name"],
            "review",
            actor=who,
            run_id=f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-unlock-{secrets.token_hex(3)}",
            subjects=[],
            content={
                "title": "Lock released",
                "procedure": args["procedure"],
                "reason": args["reason"],
                "holders": shown,
            },
            signing_key=evidence["signing_key"] or evidence["signing_key_file"],
            trusted_keys=evidence["trusted_key_files"],
            lock_mode=evidence["lock_mode"],
            lock_days=evidence["lock_days"],
            witness=root / f"ledger-{args['environment_name']}.jsonl",
        )
        return [f"record {record['number']} of the ledger, {record['key']}"]
