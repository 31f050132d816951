# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which hosts of a run are patched first, and whether the next one may follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible.plugins.action import ActionBase

from ..module_utils._patching.rollout import ANSWERS, STATE, TAKEN, WINDOW, askers, canaries, joined, marked, stop, told
from ..module_utils.checks import as_action, plain, utc_now
from ..module_utils.errors import MaintenanceError
from ..module_utils.run import write_spool
from ..plugin_utils.options import validated


class ActionModule(ActionBase):
    spec: ClassVar[dict[str, Any]] = {
        "states": {"type": "list", "elements": "dict", "required": True, "options": STATE},
        "canary": {"type": "list", "elements": "str", "default": []},
        "failures_allowed": {"type": "int", "default": 0},
        "batch": {"type": "list", "elements": "str", "default": []},
        "run": {"type": "dict"},
    }
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        states = self._task.args.get("states")
        if isinstance(states, list):
            self._task.args["states"] = joined(states)
        args = validated(self, self.spec)
        groups = {name: list(hosts) for name, hosts in task_vars["groups"].items()}
        # All of the run, where the role is used without the playbook's group.
        groups.setdefault("tradingflow_patching", [state["host"] for state in args["states"]])
        try:
            chosen = canaries(args["canary"], groups, args["states"])
        except MaintenanceError as error:
            result.update(failed=True, msg=f"{error.message} {error.remedy}")
            return result
        reason = stop(task_vars["inventory_hostname"], marked(args["states"], chosen), args["failures_allowed"])
        asks = next((state["host"] for state in args["states"] if state["wanted"]), "")
        wanted = {state["host"] for state in args["states"] if state["wanted"]}
        batch = [host for host in args["batch"] if host in wanted]
        # One alone asks for itself, whatever its variables are.
        said = {host: gates_of(task_vars["hostvars"], host) for host in batch} if len(batch) > 1 else {}
        result.update(changed=False, canaries=chosen, asks=asks, stop=reason, askers=askers(batch, said))
        if args["run"] and self._task.check_mode:
            result.update(self._told(args, chosen, task_vars["inventory_hostname"]))
        return result

    def _told(self, args: dict[str, Any], chosen: list[str], host: str) -> dict[str, Any]:
        """Hands the order of the hosts to the report, as an area does."""
        text = told(args["states"], chosen, args["failures_allowed"])
        if not text:
            return {}
        action = as_action("patching.rollout", "Order of the hosts", "planned", False, text, utc_now(), {})
        write_spool(Path(args["run"]["directory"]), "patching", host, [], [action], "rollout")
        return {"area": "patching", "reported": True, "worst_status": "ok", "checks": [], "actions": [action]}


def gates_of(hostvars: Any, host: str) -> dict[str, Any] | None:
    """What the gates go by on a host; None when that cannot be told."""
    try:
        variables = hostvars[host]
        names = [name for name in variables if name.startswith(WINDOW) and name not in ANSWERS]
        return {name: plain(variables[name]) for name in sorted({*names, *TAKEN}) if name in variables}
    except Exception:
        # Variables of others may be anything, such as a template that fails.
        return None
