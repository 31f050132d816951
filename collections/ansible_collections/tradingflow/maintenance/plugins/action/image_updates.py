# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area images: registries are asked from the controller."""

from __future__ import annotations

from typing import Any

from ..module_utils._advisories.database import now
from ..module_utils._images.engine import examined
from ..module_utils._images.findings import findings, summary
from ..module_utils._images.options import SPEC
from ..module_utils.checks import utc_now, worst
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.project import within

#: Where the role keeps what container_images found on a host.
VARIABLE = "__patching_containers"


class ActionModule(AreaAction):
    area = "images"
    title = "Images compared"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        for name in ("database", "proposals_directory"):
            if args[name]:
                args[name] = str(within(args[name], task_vars))
        args["observed"] += _of_hosts(args["hosts"], task_vars)
        found = examined(args, now(), write=not self._task.check_mode)
        checks, actions = findings(found, started_at)
        images = summary(found, worst(check.status for check in checks))
        proposals = [each["proposal"]["path"] for each in found["images"] if (each["proposal"] or {}).get("path")]
        return Findings(checks, actions, changed=found["changed"], extra={"images": images, "proposals": proposals})


def _of_hosts(hosts: list[str], task_vars: dict[str, Any]) -> list[dict[str, Any]]:
    """What container_images found on hosts, each engine of each as a source; a host that was not asked is one, too."""
    sources = []
    for host in hosts:
        variables = task_vars["hostvars"].get(host) or {}
        said = variables.get(VARIABLE) or {}
        if not isinstance(said.get("engines"), list) or not said["engines"]:
            problem = str(said.get("msg") or "it was not reached, or not asked")
            sources.append({"source": host, "problem": problem, "containers": []})
            continue
        for each in said["engines"]:
            entry = {"problem": each["problem"], "containers": each["containers"]}
            sources.append({"source": f"{each['engine']} on {host}", **entry})
    return sources
