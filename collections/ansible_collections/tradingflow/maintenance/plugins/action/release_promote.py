# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area promotion: exactly what has soaked, released to another namespace, from the runner."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display

from ..module_utils._kubernetes.client import Cluster
from ..module_utils._release.engine import diff
from ..module_utils._release.findings import actions
from ..module_utils._release.promotion import SPEC, checked, run, source_options
from ..module_utils._release.record import Store
from ..module_utils._release.session import Session
from ..module_utils.checks import utc_now
from ..plugin_utils import runner
from ..plugin_utils.actor import actor
from ..plugin_utils.area import AreaAction, Findings

display = Display()


class ActionModule(AreaAction):
    area = "promotion"
    title = "Version promoted"
    spec = SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = self.fail_alone(super().run(tmp, task_vars))
        if not result.get("failed") and (trouble := self.unmeasured_alone(result)):
            result.update(failed=True, msg=trouble["message"])
        return result

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        checked(args)
        started_at, dry_run = utc_now(), bool(self._task.check_mode)
        where = f"{args['namespace']}/{args['deployment']}"
        given = args.get("run") or {}
        who = str(given.get("actor") or actor(task_vars))

        def session(options: dict[str, Any]) -> Session:
            return Session(
                options=options,
                cluster=Cluster(options["kubernetes"]),
                store=Store(options["storage"], options["environment_name"]),
                run_id=str(given.get("run_id") or ""),
                actor=who,
                say=lambda text: display.display(f"PROGRESS promote {where} {text}"),
                stop=lambda: "The run that started it is gone." if runner.is_gone() else None,
            )

        options = {name: value for name, value in args.items() if name != "run"}
        outcome = run(session(options), session(source_options(options)), dry_run=dry_run)
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
