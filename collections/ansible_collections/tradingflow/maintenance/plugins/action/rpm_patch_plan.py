# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area patching on hosts with RPM: planned on the host by dnf, judged here."""

from __future__ import annotations

from typing import Any

from ..module_utils._patching.findings import failure
from ..module_utils._patching.rpm import SPEC
from ..module_utils._patching.rpm_findings import planned
from ..module_utils.checks import utc_now
from ..module_utils.errors import MaintenanceError, PatchingError
from ..plugin_utils.area import Findings
from ..plugin_utils.on_host import HostAreaAction


class ActionModule(HostAreaAction):
    area = "patching"
    module = "rpm_patch_plan"
    title = "Patches planned"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        try:
            result = self.on_host(args, task_vars)
            error = result.get("error")
            if error:
                raise PatchingError(error["message"], error["remedy"])
            checks, actions = planned(result, started_at)
        except MaintenanceError as error:
            return Findings(*failure(error.message, error.remedy, started_at))
        except (KeyError, TypeError) as error:
            raise self.not_understood(error) from error
        return Findings(checks, actions, extra={"plan": result})
