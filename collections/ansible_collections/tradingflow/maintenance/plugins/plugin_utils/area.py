# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action plugins of all areas share: options, the spool, and errors as findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils._checks.guard import escaped
from ..module_utils.checks import Check, plain, unknown, worst
from ..module_utils.errors import MaintenanceError
from ..module_utils.run import write_spool
from .options import validated
from .report.history import load_history

#: Argument spec of the option "run", which the role "run" hands to every area.
RUN_SPEC: dict[str, Any] = {"run": {"type": "dict"}}


@dataclass
class Findings:
    """What an area found and did.

    :param checks: contract 1
    :param actions: see module_utils/run.py, write_spool
    :param changed: whether anything outside the run's folder was changed
    :param extra: further return values of the task
    """

    checks: list[Check] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    changed: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


class AreaAction(ActionBase):
    """An area of checks as one task.

    Subclasses set ``area`` and ``spec`` (argument spec without "run") and define ``collect``. An error there becomes
    a check that is unknown; the task never fails the host, so that the report always comes.
    """

    area = ""
    part = ""
    spec: dict[str, Any] = {}
    _supports_async = False

    def earlier(self, args: dict[str, Any]) -> list[dict[str, Any]]:
        """Earlier reports of the same playbook and environment, oldest first; none outside a run.

        Baselines come from them: what a check said before is in its value and its details.
        """
        run = args.get("run") or {}
        if not {"directory", "playbook", "environment", "run_id"} <= run.keys():
            return []
        directory = Path(run["directory"])
        return load_history(
            directory.parent.parent, run["playbook"], environment=run["environment"], before=run["run_id"]
        )

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        """Measures the area.

        :raises MaintenanceError: the area as a whole cannot be measured
        """
        raise NotImplementedError

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = validated(self, {**self.spec, **RUN_SPEC})
        try:
            findings = self.collect(args, task_vars)
        except MaintenanceError as error:
            findings = Findings([self.unmeasured(error)])
        except AnsibleError:
            raise  # Ansible's own: unreachable, or an option that makes no sense
        except Exception as error:
            findings = Findings([self.unexpected(error)])
        checks = [as_data(check) for check in findings.checks]
        actions = plain(findings.actions)
        run = args.get("run") or {}
        if run:
            if not run.get("directory"):
                raise AnsibleActionFail(
                    "The option run has no directory: use what the role tradingflow.maintenance.run sets."
                )
            write_spool(Path(run["directory"]), self.area, task_vars["inventory_hostname"], checks, actions, self.part)
        result.update(
            changed=findings.changed,
            failed=False,
            area=self.area,
            reported=bool(run),
            worst_status=worst(check["status"] for check in checks),
            checks=checks,
            actions=actions,
            **plain(findings.extra),
        )
        return result

    def failed_alone(self, result: dict[str, Any]) -> dict[str, Any] | None:
        """The first action that failed, where no report of a run tells of it: then the task has to fail."""
        if self._task.args.get("run"):
            return None
        return next((action for action in result.get("actions", []) if action["status"] == "failed"), None)

    def fail_alone(self, result: dict[str, Any]) -> dict[str, Any]:
        """The result of run(), as a failure where there is one of failed_alone()."""
        if failed := self.failed_alone(result):
            result.update(failed=True, msg=failed["message"])
        return result

    def unmeasured_alone(self, result: dict[str, Any]) -> dict[str, Any] | None:
        """The finding that nothing was looked at or done at all, where no report of a run tells of it."""
        if self._task.args.get("run"):
            return None
        return next((check for check in result.get("checks", []) if check["id"] == f"{self.area}.measured"), None)

    def fail_unmeasured_alone(self, result: dict[str, Any]) -> dict[str, Any]:
        """The same as fail_alone(), and a failure as well where nothing was looked at or done at all."""
        result = self.fail_alone(result)
        if not result.get("failed") and (trouble := self.unmeasured_alone(result)):
            result.update(failed=True, msg=trouble["message"])
        return result

    def unmeasured(self, error: MaintenanceError) -> Check:
        """The finding that the area as a whole could not be measured."""
        return unknown(f"{self.area}.measured", f"{self.area.capitalize()} measured", error.message, error.remedy)

    def unexpected(self, error: Exception) -> Check:
        """The same because of an exception that nobody expected and no probe of the area caught."""
        title = getattr(self, "title", "") or f"{self.area.capitalize()} measured"
        return escaped(f"{self.area}.measured", title, error)


def as_data(check: Check) -> dict[str, Any]:
    """A check as JSON data; unknown if it has something that cannot be."""
    try:
        return check.as_dict()
    except Exception as error:
        return escaped(check.id, check.title, error).as_dict()
