# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area validation, from the runner."""

from __future__ import annotations

from typing import Any

from ..module_utils._validation.engine import validate
from ..module_utils._validation.options import SPEC
from ..plugin_utils.area import AreaAction, Findings


class ActionModule(AreaAction):
    area = "validation"
    title = "Risk models validated"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        found = validate(args)
        return Findings(found.checks, found.actions, extra={"validation": found.record})
