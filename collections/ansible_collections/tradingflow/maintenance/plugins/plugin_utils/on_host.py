# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Areas that are measured on the managed host, by a module of the action's own name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ..module_utils.checks import Check, as_dicts, unknown
from ..module_utils.errors import MaintenanceError
from ..module_utils.run import write_spool
from .area import AreaAction


class HostAreaAction(AreaAction):
    """An area whose module runs on the host. That it cannot be run there is a finding: <area>.measured, unknown.

    Subclasses set ``module`` and ``title`` too, and call ``on_host``.
    """

    module = ""
    title = ""

    def on_host(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the module returns.

        :raises MaintenanceError: it broke off there
        :raises AnsibleConnectionFailure: the host cannot be reached; the run's folder has word of it
        """
        options = {key: value for key, value in args.items() if key != "run"}
        try:
            result: dict[str, Any] = self._execute_module(
                f"tradingflow.maintenance.{self.module}", options, task_vars=task_vars
            )
        except AnsibleConnectionFailure as error:
            self._spool_unreachable(args.get("run") or {}, task_vars["inventory_hostname"], error)
            raise
        except AnsibleError as error:
            raise self.broke_off(str(error)) from error
        if result.get("unreachable"):
            failure = AnsibleConnectionFailure(str(result.get("msg", "unreachable")))
            self._spool_unreachable(args.get("run") or {}, task_vars["inventory_hostname"], failure)
            raise failure
        if result.get("failed"):
            # Of a traceback the end says what happened.
            parts = str(result.get("msg") or ""), str(result.get("module_stderr") or "")[-300:]
            raise self.broke_off(" ".join(parts).strip() or "no message")
        return result

    def broke_off(self, text: str) -> MaintenanceError:
        """The error that the module broke off on the host."""
        return MaintenanceError(
            f"The checks failed on the host: {' '.join(text.split())[:500]}",
            "Check that Python 3.9 or newer is there (ansible_python_interpreter), and the host's /tmp.",
        )

    def not_understood(self, error: Exception) -> MaintenanceError:
        """The error that what the module returned makes no sense."""
        return self.broke_off(f"its answer is not understood ({type(error).__name__}: {error})")

    def unmeasured(self, error: MaintenanceError) -> Any:
        return unknown(f"{self.area}.measured", self.title, error.message, error.remedy)

    def _spool_unreachable(self, run: dict[str, Any], host: str, error: AnsibleError) -> None:
        """Leaves word in the run's folder: for an unreachable host Ansible hands no result on."""
        if run.get("directory"):
            checks = as_dicts([self.unreachable(error)])
            write_spool(Path(run["directory"]), self.area, host, checks, [], self.part)

    def unreachable(self, error: AnsibleError) -> Check:
        """The finding that the host cannot be reached."""
        return unknown(
            f"{self.area}.measured",
            self.title,
            f"The host cannot be reached: {' '.join(str(error.message).split())[:500]}",
            "Check that it runs, its address, and the SSH access of the runner.",
        )
