# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area release: a version rolled out to a namespace and followed to its end, or undone, from the runner."""

from __future__ import annotations

from typing import Any

from ..module_utils._release.engine import run
from ..module_utils._release.findings import actions, diff
from ..module_utils._release.options import SPEC, checked
from ..module_utils.checks import utc_now
from ..plugin_utils.area import Findings
from ..plugin_utils.releases import ReleaseAction


class ActionModule(ReleaseAction):
    area = "release"
    title = "Version released"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        checked(args)
        started_at, dry_run = utc_now(), bool(self._task.check_mode)
        where = f"{args['namespace']}/{args['deployment']}"
        options = {name: value for name, value in args.items() if name != "run"}
        session = self.session(options, args, args["action"], task_vars)
        outcome = run(session, dry_run=dry_run)
        found = Findings(
            outcome.all_checks(),
            actions(args["action"], where, outcome, started_at, dry_run=dry_run),
            changed=outcome.changed or (dry_run and not outcome.nothing and not outcome.forbidden),
            extra={
                "release": outcome.record,
                "wanted": not outcome.nothing and not outcome.forbidden,
                "fresh": not outcome.nothing and not outcome.forbidden and not outcome.going_on,
                "released": not outcome.nothing and not outcome.forbidden and not outcome.failed,
            },
        )
        if self._task.diff and (shown := diff(outcome, where)):
            found.extra["diff"] = shown
        return found
