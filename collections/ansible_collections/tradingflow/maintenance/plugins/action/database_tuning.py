# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area tuning, from the runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..module_utils._tuning.apply import carry_out
from ..module_utils._tuning.engine import analyse
from ..module_utils._tuning.options import SPEC, checked
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.project import within
from ..plugin_utils.report.history import of_check


class ActionModule(AreaAction):
    area = "tuning"
    title = "Database analysed"
    spec = SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.fail_unmeasured_alone(super().run(tmp, task_vars))

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        history, host = self.earlier(args), task_vars["inventory_hostname"]

        def before(id: str) -> dict[str, Any]:
            """What an earlier run kept for this one; one that could not judge keeps it too."""
            told = of_check(history, host, id, unmeasured=True)
            return next((check["details"] for check in reversed(told) if check.get("details")), {})

        args["memory"] = args["memory"] or machine_memory(args["database"]["host"])
        for name in ("plans", "journal"):
            if args[name]:
                args[name] = str(within(args[name], task_vars))
        if args["action"] != "analyse":
            # Beside what the analysis of the same run found.
            self.part = str(args["action"])
            checked(args)
            if self._task.check_mode:
                return Findings()
            outcome = carry_out(args)
            return Findings(
                outcome.checks, outcome.actions, changed=outcome.changed, extra={"applied": outcome.record()}
            )
        if self._task.check_mode:
            args["plans"] = None  # nothing is written: the digest is in the report, and no plan is there to be approved
        found = analyse(args, before)
        return Findings(found.checks, found.actions, extra={"tuning": found.record, "plan": found.plan})


def machine_memory(
    host: str, proc: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup/memory.max")
) -> int:
    """Bytes of memory of the database's machine when that is this one; 0 when nobody knows."""
    if host not in ("localhost", "127.0.0.1", "::1") and not host.startswith("/"):
        return 0
    try:
        total = next(line.split()[1] for line in proc.read_text(encoding="ascii").splitlines() if "MemTotal" in line)
        memory = 1024 * int(total)
    except (OSError, ValueError, StopIteration, IndexError):
        return 0
    try:
        # The limit of a container, if there is one.
        return min(memory, int(group.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return memory
