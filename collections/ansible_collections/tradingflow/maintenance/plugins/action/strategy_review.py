# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area review, from the runner."""

from __future__ import annotations

from typing import Any

from ..module_utils._review.engine import review
from ..module_utils._review.options import SPEC
from ..plugin_utils.area import AreaAction, Findings

#: Of these checks the details keep what the history was.
KEPT = "review.identity:"


class ActionModule(AreaAction):
    area = "review"
    title = "Strategies reviewed"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        found = review(args, kept(self.earlier(args), task_vars["inventory_hostname"]))
        return Findings(found.checks, found.actions, extra={"review": found.record})


def kept(history: list[dict[str, Any]], host: str) -> dict[str, dict[str, Any]]:
    """Strategy -> its history as the last review that read it knew it, whether or not it could be relied on."""
    found: dict[str, dict[str, Any]] = {}
    for report in history:
        for check in report["checks"]:
            told = (check.get("details") or {}).get("history")
            if check["host"] != host or not check["id"].startswith(KEPT) or not isinstance(told, dict):
                continue
            if isinstance(told.get("through"), str) and isinstance(told.get("months"), dict):
                name = told.get("strategy") or check["id"].removeprefix(KEPT)
                if told.get("past") and name in found and told["through"] < found[name]["through"]:
                    continue  # a review of an earlier time: what came after it stays compared
                found[name] = told
    return found
