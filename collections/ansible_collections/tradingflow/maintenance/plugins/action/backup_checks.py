# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Area backups: the recovery points in the store, from the runner."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible.utils.display import Display

from ..module_utils._checks.backups import CHECKS_SPEC, measure
from ..module_utils.words import size
from ..plugin_utils.area import AreaAction, Findings

display = Display()

#: Seconds between two lines of progress.
INTERVAL = 5.0


class ActionModule(AreaAction):
    area = "backups"
    spec = CHECKS_SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        history, host = self.earlier(args), task_vars["inventory_hostname"]

        def earlier(id: str) -> list[dict[str, Any]]:
            return [
                check for report in history for check in report["checks"] if (check["host"], check["id"]) == (host, id)
            ]

        if self._task.check_mode:
            # What it read would be in no report that a later run looks at.
            args["kept_read"] = {**args["kept_read"], "bytes": 0}
        return Findings(measure(args, earlier, _tell()))


def _tell() -> Callable[[int, int], None]:
    """Shows how much was read back, at most a line every few seconds."""
    shown = time.monotonic()

    def tell(done: int, most: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= INTERVAL:
            shown = time.monotonic()
            display.display(f"PROGRESS backups {size(done)} of at most {size(most)} read back")

    return tell
