# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area promotion: exactly what has soaked, released to another namespace, from the runner."""

from __future__ import annotations

from typing import Any

from ..module_utils._release.findings import actions, diff
from ..module_utils._release.promotion import SPEC, checked, run, source_options
from ..module_utils.checks import utc_now
from ..plugin_utils.area import Findings
from ..plugin_utils.releases import ReleaseAction


class ActionModule(ReleaseAction):
    area = "promotion"
    title = "Version promoted"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        checked(args)
        started_at, dry_run = utc_now(), bool(self._task.check_mode)
        where = f"{args['namespace']}/{args['deployment']}"
        options = {name: value for name, value in args.items() if name != "run"}
        target, source = (self.session(each, args, "promote", task_vars) for each in (options, source_options(options)))
        outcome = run(target, source, dry_run=dry_run)
        well = not outcome.nothing and not outcome.forbidden
        found = Findings(
            outcome.all_checks(),
            actions("promote", where, outcome, started_at, dry_run=dry_run),
            changed=outcome.changed or (dry_run and well),
            extra={
                "release": outcome.record,
                "wanted": well or bool(outcome.record.get("unmarked")),
                "released": well and not outcome.failed,
                "reasons": [each.message for each in outcome.forbidden],
            },
        )
        if self._task.diff and (shown := diff(outcome, where)):
            found.extra["diff"] = shown
        return found
