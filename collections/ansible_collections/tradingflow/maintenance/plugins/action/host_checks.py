# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area system: runs the module of the same name on the host, and says so when that cannot be done."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ..module_utils._checks.system import SYSTEM_SPEC, clock_skew
from ..module_utils.checks import Check, as_dicts, unknown
from ..module_utils.run import write_spool
from ..plugin_utils.area import AreaAction, Findings

TITLE = "Health of the host measured"


class ActionModule(AreaAction):
    area = "system"
    spec = SYSTEM_SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        options = {key: value for key, value in args.items() if key != "run"}
        before = time.time()
        try:
            result = self._execute_module("tradingflow.maintenance.host_checks", options, task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            self.spool_unreachable(args.get("run") or {}, task_vars["inventory_hostname"], error)
            raise
        except AnsibleError as error:
            return Findings([self.failed(str(error))])
        after = time.time()
        if result.get("unreachable"):
            failure = AnsibleConnectionFailure(str(result.get("msg", "unreachable")))
            self.spool_unreachable(args.get("run") or {}, task_vars["inventory_hostname"], failure)
            raise failure
        if result.get("failed"):
            # Of a traceback the end says what happened.
            parts = str(result.get("msg") or ""), str(result.get("module_stderr") or "")[-300:]
            return Findings([self.failed(" ".join(parts).strip() or "no message")])
        try:
            checks = [Check(**check) for check in result["checks"]]
            clock = float(result["clock"])
        except (KeyError, TypeError, ValueError) as error:
            return Findings([self.failed(f"its answer is not understood ({type(error).__name__}: {error})")])
        return Findings([*checks, clock_skew(args["thresholds"], clock, before, after)])

    def failed(self, text: str) -> Check:
        """The finding that the module broke off on the host."""
        return unknown(
            "system.measured",
            TITLE,
            f"The checks broke off on the host: {' '.join(text.split())[:500]}",
            "Check that Python 3.9 or newer is there (ansible_python_interpreter), and the host's /tmp.",
        )

    def spool_unreachable(self, run: dict[str, Any], host: str, error: AnsibleError) -> None:
        """Leaves word in the run's folder: for an unreachable host Ansible hands no result on."""
        check = unknown(
            "system.measured",
            TITLE,
            f"The host cannot be reached: {' '.join(str(error.message).split())[:500]}",
            "Check that it runs, its address, and the SSH access of the runner.",
        )
        if run.get("directory"):
            write_spool(Path(run["directory"]), self.area, host, as_dicts([check]), [])
