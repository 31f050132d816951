# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the actions of releases, soaks and promotions share: a session on cluster and record, for the task's run."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display

from ..module_utils._kubernetes.client import Cluster
from ..module_utils._release.record import Store
from ..module_utils._release.session import Session
from . import runner
from .actor import actor
from .area import AreaAction

display = Display()


class ReleaseAction(AreaAction):
    """An operation on a release as one task; outside a run it fails as what it does fails."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.fail_unmeasured_alone(super().run(tmp, task_vars))

    def session(self, options: dict[str, Any], args: dict[str, Any], what: str, task_vars: dict[str, Any]) -> Session:
        """Works with these options, for the run of the task.

        :param args: of the task
        :param what: is done, for lines of progress
        """
        given, where = args.get("run") or {}, f"{args['namespace']}/{args['deployment']}"
        return Session(
            options=options,
            cluster=Cluster(options["kubernetes"]),
            store=Store(options["storage"], options["environment_name"]),
            run_id=str(given.get("run_id") or ""),
            actor=str(given.get("actor") or actor(task_vars)),
            say=lambda text: display.display(f"PROGRESS {what} {where} {text}"),
            stop=lambda: "The run that started it is gone." if runner.is_gone() else None,
        )
