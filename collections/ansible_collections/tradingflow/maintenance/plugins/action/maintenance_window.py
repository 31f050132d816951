# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area gate: whether something disruptive may be done now, from the runner."""

from __future__ import annotations

from typing import Any

from ..module_utils._gates.engine import REFUSE, Answer, ask
from ..module_utils._gates.options import SPEC
from ..module_utils._gates.windows import told
from ..module_utils.words import span
from ..plugin_utils.area import AreaAction, Findings

#: Windows that the screen lists.
SHOWN = 14


class ActionModule(AreaAction):
    area = "gate"
    title = "Maintenance window"
    spec = SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        # Whatever went wrong: who goes by the answer finds one.
        result.setdefault("answer", REFUSE)
        result.setdefault("text", REFUSE)
        for name in ("held", "overridden", "windows"):
            result.setdefault(name, [])
        return result

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        options = {name: value for name, value in args.items() if name != "run"}
        asking = bool(self._task.check_mode)
        answer = ask(options, asking=asking)
        return Findings(answer.checks, listed(answer) if asking else [], extra=answer.as_dict())


def listed(answer: Answer) -> list[dict[str, Any]]:
    """The next windows as what could be planned, for the screen and the report."""
    return [
        {
            "id": "gate.window",
            "title": f"Window from {told(window.starts, answer.zone)}",
            "status": "planned",
            "changed": False,
            "message": f"to {told(window.ends, answer.zone)}, {span(window.ends - window.starts)}; "
            f"begin before {told(window.latest, answer.zone)}.",
        }
        for window in answer.windows[:SHOWN]
    ]
