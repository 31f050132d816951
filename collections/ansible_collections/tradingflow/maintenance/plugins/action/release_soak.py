# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area soak: one tick of a release's soak, and its undo when it has failed, from the runner."""

from __future__ import annotations

from typing import Any

from ..module_utils._release.shown import actions
from ..module_utils._release.ticks import SPEC, UNDO_OPTIONS, checked, run, told
from ..module_utils.checks import utc_now
from ..plugin_utils.area import Findings
from ..plugin_utils.releases import ReleaseAction


class ActionModule(ReleaseAction):
    area = "soak"
    title = "Soak looked at"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        checked(args)
        started_at, dry_run = utc_now(), bool(self._task.check_mode)
        where = f"{args['namespace']}/{args['deployment']}"
        options = {**{name: value for name, value in args.items() if name != "run"}, **UNDO_OPTIONS}
        session = self.session(options, args, "soak", task_vars)
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
                "due": ticked.due,
                "eligible": bool(ticked.eligible and ticked.eligible.eligible),
                "reasons": ticked.eligible.as_data()["reasons"] if ticked.eligible else [],
                "undone": undone.record if undone and not undone.forbidden and not undone.failed else {},
                # An end of a phase: the ledger gets a record of it.
                "ended": bool(undone or ticked.stage or (ticked.tick and ticked.tick.failed)),
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
