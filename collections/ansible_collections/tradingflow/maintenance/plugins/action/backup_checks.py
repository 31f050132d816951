# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Area backups: the recovery points in the store, from the runner."""

from __future__ import annotations

from typing import Any

from ..module_utils._backup.checks import CHECKS_SPEC, measure
from ..plugin_utils.area import AreaAction, Findings


class ActionModule(AreaAction):
    area = "backups"
    spec = CHECKS_SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        return Findings(measure(args))
