# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area soak: one tick of a release's soak, and its undo when it has failed, from the runner."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display

from ..module_utils._kubernetes.client import Cluster
from ..module_utils._release.record import Store
from ..module_utils._release.session import Session
from ..module_utils._release.shown import actions
from ..module_utils._release.ticks import SPEC, UNDO_OPTIONS, checked, run, told
from ..module_utils.checks import utc_now
from ..plugin_utils import runner
from ..plugin_utils.actor import actor
from ..plugin_utils.area import AreaAction, Findings

display = Display()


class ActionModule(AreaAction):
    area = "soak"
    title = "Soak looked at"
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
        session = Session(
            options={**{name: value for name, value in args.items() if name != "run"}, **UNDO_OPTIONS},
            cluster=Cluster(args["kubernetes"]),
            store=Store(args["storage"], args["environment_name"]),
            run_id=str(given.get("run_id") or ""),
            actor=str(given.get("actor") or actor(task_vars)),
            say=lambda text: display.display(f"PROGRESS soak {where} {text}"),
            stop=lambda: "The run that started it is gone." if runner.is_gone() else None,
        )
        ticked = run(session, dry_run=dry_run)
        release, undone = ticked.release, ticked.undone
        return Findings(
            ticked.checks,
            actions(ticked, where, started_at, dry_run=dry_run),
            changed=ticked.changed or bool(undone and undone.changed),
            extra={
                "text": told(ticked),
                "outcome": ticked.tick.outcome if ticked.tick else "nothing",
                "state": release.state if release else "",
                "eligible": bool(ticked.eligible and ticked.eligible.eligible),
                "reasons": ticked.eligible.as_data()["reasons"] if ticked.eligible else [],
                "undone": undone.record if undone and not undone.forbidden and not undone.failed else {},
                # An end of a phase: the ledger gets a record of it.
                "ended": bool(undone or (ticked.tick and ticked.tick.failed)),
                "release": {
                    "release": release.id,
                    "version": release.tag,
                    "digest": release.digest,
                    "state": release.state,
                    "reason": release.reason,
                }
                if release
                else {},
            },
        )
