# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Begin a maintenance run, on the controller."""

from __future__ import annotations

import gc
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils import ledger
from ..module_utils.checks import utc_now
from ..module_utils.errors import MaintenanceError
from ..module_utils.lock import acquire, release
from ..module_utils.lock_keeper import keep
from ..module_utils.run import write_private
from ..module_utils.storage import STORAGE_SPEC, prepare
from ..plugin_utils.actor import actor
from ..plugin_utils.options import validated
from ..plugin_utils.project import within
from ..plugin_utils.report import METRICS_SPEC, PARTIAL, bring_back, scope_of
from ..plugin_utils.runner import runner

# ansible-playbook loads this plugin before it forks a worker for each task: once for all that use the store. What is
# there by now stays, and a worker that collects garbage would copy every page of it.
prepare()
gc.freeze()

PLAN_SPEC = {
    "area": {"type": "str", "required": True},
    "hosts": {"type": "list", "elements": "str", "required": True},
    "tags": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):
    spec: dict[str, Any] = {
        "environment_name": {"type": "str", "required": True},
        "playbook": {"type": "str", "required": True},
        "artifacts_dir": {"type": "path", "default": "artifacts"},
        "plan": {"type": "list", "elements": "dict", "default": [], "options": PLAN_SPEC},
        "lock": {"type": "bool", "default": True},
        "lock_ttl": {"type": "int", "default": 600},
        "storage": {"type": "dict", "options": STORAGE_SPEC},
        "history": {"type": "int", "default": 30},
        # Only the end needs these. A mistake in them ends the run here, before there is a lock to be left behind.
        "fail_on": {"type": "str", "default": "critical", "choices": ["warning", "critical", "never"]},
        "evidence": {"type": "dict", "options": ledger.SIGNING_SPEC},
        "interval": {"type": "int", "default": 0},
        "metrics": {"type": "dict", "options": METRICS_SPEC},
    }

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = validated(self, self.spec)
        root = within(args["artifacts_dir"], task_vars)
        moment = datetime.now(UTC)
        plan, scope = scope_of(
            args["plan"],
            tags=list(task_vars.get("ansible_run_tags", [])),
            skip_tags=list(task_vars.get("ansible_skip_tags", [])),
            limit=task_vars.get("ansible_limit"),
            within=task_vars.get("ansible_play_hosts_all", []),
        )
        infix = PARTIAL if scope["partial"] else "-"
        run_id = f"{moment:%Y%m%dT%H%M%SZ}-{args['playbook']}{infix}{secrets.token_hex(3)}"
        run = {
            "run_id": run_id,
            "directory": str(root / args["playbook"] / run_id),
            "environment": args["environment_name"],
            "playbook": args["playbook"],
            "started_at": utc_now(),
            "actor": actor(task_vars),
            "check_mode": bool(task_vars.get("ansible_check_mode")),
            "plan": plan,
            "scope": scope,
            "notes": [],
        }
        try:
            if args["lock"] and not run["check_mode"]:
                # The action runs in a worker that ends with it; the lock is its parent's, ansible-playbook itself.
                run["lock"] = acquire(
                    root,
                    run["environment"],
                    run["playbook"],
                    run_id=run_id,
                    owner_pid=runner(),
                    storage=args["storage"],
                    ttl_s=args["lock_ttl"],
                )
                run["notes"] = run["lock"].get("notes", [])
                keep(run["lock"], storage=args["storage"])
            run["notes"] += history_notes(root, run, args)
            Path(run["directory"]).mkdir(parents=True, mode=0o700)
            write_private(Path(run["directory"]) / "run.json", json.dumps(run, indent=1, ensure_ascii=False))
        except MaintenanceError as error:
            raise AnsibleActionFail(str(error)) from None
        except OSError as error:
            if run.get("lock"):
                release(run["lock"], storage=args["storage"])
            raise AnsibleActionFail(
                f"The run's folder {run['directory']} cannot be written: {error.strerror}. "
                "Free space there or set tradingflow_artifacts_dir to another place."
            ) from None
        result.update(changed=False, run=run)
        return result


def history_notes(root: Path, run: dict[str, Any], args: dict[str, Any]) -> list[str]:
    """Brings back reports that other controllers made. Without the store the run goes on, with what is here."""
    if not args["storage"] or not args["history"] or run["check_mode"]:
        return []
    try:
        bring_back(root, run["playbook"], args["storage"], environment=run["environment"], limit=args["history"])
    except (MaintenanceError, OSError) as error:
        return [f"Earlier reports in the store are not looked at: {error}"]
    return []
