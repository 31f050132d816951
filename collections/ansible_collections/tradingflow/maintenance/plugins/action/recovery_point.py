# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Area backup: starts the work on the host, shows how far it is, and hands the findings to the report."""

from __future__ import annotations

import json
import os
import shlex
import time
from typing import Any

from ansible.utils.display import Display

from ..module_utils._backup.options import SPEC, failure, findings, human, planned, summary
from ..module_utils.checks import utc_now
from ..module_utils.errors import BackupError, MaintenanceError
from ..plugin_utils.area import AreaAction, Findings

display = Display()

#: Seconds between two lines of progress, and before the first.
INTERVAL = 2.0
#: Failed looks in a row after which the host counts as lost; the work there then ends itself.
PATIENCE = 20

# One look: touches the handle, waits up to a second for the end, then prints the process's state, the result if there
# is one, and how far the work is, each on a line of its own.
_LOOK = """cd {job} && {{ test ! -e alive || touch alive; }} && for i in 1 2 3 4 5 6 7 8 9 10; do
test -e result.json && break; sleep 0.1; done; if test -d /proc/{pid}; then echo running; else echo ended; fi;
cat result.json 2>/dev/null || echo null; echo; cat state.json 2>/dev/null || echo null"""


class ActionModule(AreaAction):
    area = "backup"
    spec = SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        failed = [action for action in result.get("actions", []) if action["status"] == "failed"]
        if failed and not self._task.args.get("run"):
            result.update(failed=True, msg=failed[0]["message"])
        return result

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        options = {name: value for name, value in args.items() if name != "run"}
        try:
            result = self._plan(options, task_vars) if self._task.check_mode else self._work(options, task_vars)
        except MaintenanceError as error:
            return Findings(*failure(error.message, error.remedy, started_at))
        if "plan" in result:
            return Findings([], planned(result["plan"], started_at), extra={"plan": result["plan"]})
        checks, actions = findings(result, started_at)
        extra = {"recovery_point": summary(result), "phases": result["phases"]}
        return Findings(checks, actions, changed=True, extra=extra)

    def _plan(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        return self._checked(self._module(options, task_vars))

    def _module(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="tradingflow.maintenance.recovery_point", module_args=options, task_vars=task_vars
        )
        if result.get("failed"):
            raise BackupError(f"The backup could not be started: {result.get('msg')}", "Check the host's Python.")
        return result

    def _checked(self, result: dict[str, Any]) -> dict[str, Any]:
        error = result.get("error")
        if error:
            raise BackupError(error["message"], error["remedy"])
        return result

    def _work(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        # On the same machine the work sees us die; elsewhere it misses our touch of its handle.
        watched = [os.getpid(), os.getppid()] if self._connection.transport == "local" else []
        # The module has no use for the run itself; the option carries how it is to work.
        apart = {"detach": True, "watched": watched}
        started = self._checked(self._module({**options, "run": apart}, task_vars))
        job, pid = shlex.quote(started["job"]), int(started["pid"])
        ended = False
        try:
            result = self._follow(job, pid, task_vars["inventory_hostname"])
            ended = True
        finally:
            # Without its handle the work ends itself, also when we are interrupted.
            self._low_level_execute_command(f"rm -f {job}/alive" + (f"; rm -rf {job}" if ended else ""), sudoable=True)
        return self._checked(result)

    def _follow(self, job: str, pid: int, host: str) -> dict[str, Any]:
        lines = Lines(host)
        look = _LOOK.format(job=job, pid=pid)
        failures = 0
        while True:
            answer = self._low_level_execute_command(look, sudoable=True)
            try:
                text = answer["stdout"].splitlines()
                state, result, progress = text[0], json.loads(text[1]), json.loads(text[-1])
            except (IndexError, ValueError):
                failures += 1
                if failures >= PATIENCE:
                    raise BackupError(
                        f"{host} does not say how far the backup is: {answer.get('stderr', '')}".strip(),
                        "The backup there ends itself. Check the host, then run it again.",
                    ) from None
                time.sleep(1)
                continue
            failures = 0
            if isinstance(result, dict):
                return result
            if state == "ended":
                raise BackupError(
                    "The backup's process was killed.",
                    "Look for the kernel's out-of-memory messages on the host, then run it again: it cleans up first.",
                )
            if isinstance(progress, dict):
                lines.show(progress)


class Lines:
    """Lines of progress, at most one per INTERVAL."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._next = time.monotonic() + INTERVAL

    def show(self, progress: dict[str, Any]) -> None:
        """Prints a line when it is time.

        :param progress: state.json, see module_utils/_backup/progress.py
        """
        now = time.monotonic()
        if now >= self._next:
            self._next = now + INTERVAL
            display.display(line(self._host, progress))


def line(host: str, progress: dict[str, Any]) -> str:
    """PROGRESS backup HOST PHASE 412 MB of ~1.2 GB 34% 88 MB/s ETA 0:09"""
    done, total, seconds = progress["bytes_done"], progress["bytes_total"], progress["seconds"]
    words = ["PROGRESS", "backup", host, progress["phase"]]
    if done and total:
        # The total is an estimate: what is done may pass it.
        share = min(done / total, 0.99)
        rate = done / seconds if seconds else 0.0
        words += [human(done), "of", f"~{human(total)}", f"{share:.0%}"]
        if rate:
            rest = int(max(total - done, 0) / rate)
            words += [f"{human(rate)}/s", "ETA", f"{rest // 60}:{rest % 60:02d}"]
    elif seconds:
        words.append(f"{seconds:.0f} s")
    return " ".join(words)
