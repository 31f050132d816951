# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Area backup: deletes old files of backups on a host, and reports what went."""

from __future__ import annotations

from typing import Any

from ..module_utils._retention.local_files import SPEC, failure, findings
from ..module_utils.checks import utc_now
from ..module_utils.errors import MaintenanceError
from ..plugin_utils.area import Findings
from ..plugin_utils.on_host import HostAreaAction


class ActionModule(HostAreaAction):
    area = "backup"
    part = "local"
    module = "local_backup_files"
    title = "Old local backups"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        try:
            said = self.on_host({"directories": args["directories"]}, task_vars)
        except MaintenanceError as error:
            return Findings(*failure(error, started_at))
        extra = {name: said[name] for name in ("deleted", "freed_bytes", "problems")}
        if self._task.diff:
            extra["diff"] = {"before": "".join(f"{path}\n" for path in said["deleted"]), "after": ""}
        checks, actions = findings(said, bool(self._task.check_mode), started_at)
        return Findings(checks, actions, changed=bool(said["deleted"]), extra=extra)

    def broke_off(self, text: str) -> MaintenanceError:
        return MaintenanceError(
            f"Old local backups were not deleted: {' '.join(text.split())[:500]}", "Correct backup_local_directories."
        )
