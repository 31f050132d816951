# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Areas whose work is long: starts it on the host, shows how far it is, and brings the result back."""

from __future__ import annotations

import json
import os
import shlex
import time
from typing import Any

from ansible.utils.display import Display

from ..module_utils._work.job import BACKUP, Kind
from ..module_utils.errors import BackupError
from ..module_utils.words import human
from . import runner
from .area import AreaAction

display = Display()

#: Seconds between two lines of progress, and before the first.
INTERVAL = 2.0
#: Failed looks in a row after which the host counts as lost; the work there then ends itself.
PATIENCE = 20

#: Begins the answer to a look: what stands before it is another's, such as sudo's complaint about the host's name,
#: which comes by the same terminal.
_MARK = "tradingflow-job:"
# One look: touches the handle, waits up to a second for the end, then prints the process's state, the result if there
# is one, and how far the work is, each on a line of its own.
_LOOK = """cd {job} && {{ test ! -e alive || touch alive; }} && for i in 1 2 3 4 5 6 7 8 9 10; do
test -e result.json && break; sleep 0.1; done; echo {mark};
if test -d /proc/{pid}; then echo running; else echo ended; fi;
cat result.json 2>/dev/null || echo null; echo; cat state.json 2>/dev/null || echo null"""


class WorkError(BackupError):
    """What ended the work on the host.

    :param kind: the error's class there, or "unexpected"
    """

    def __init__(self, kind: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.kind = kind


class JobAction(AreaAction):
    """An area whose module works in a process of its own, see module_utils/_work/job.py.

    Subclasses set ``module`` and ``kind`` besides what AreaAction wants, and call ``planned`` or ``worked``.
    Outside a run, a failed action fails the task.
    """

    module = ""
    kind: Kind = BACKUP

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.fail_alone(super().run(tmp, task_vars))

    def planned(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the module would do.

        :raises BackupError: it says that it could not
        """
        return self._checked(self._module(options, task_vars))

    def worked(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The work's result.

        :raises BackupError: it failed, or was lost sight of
        """
        self._still_wanted()
        # On the same machine the work sees us die; elsewhere it misses our touch of its handle.
        watched = [os.getpid(), runner.runner()] if self._connection.transport == "local" else []
        # The module has no use for the run itself; the option carries how it is to work.
        apart = {**(options.get("run") or {}), "detach": True, "watched": watched}
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

    def _module(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=f"tradingflow.maintenance.{self.module}", module_args=options, task_vars=task_vars
        )
        if result.get("failed"):
            text = f"The {self.kind.name} could not be started: {result.get('msg')}"
            raise BackupError(text, "Check the host's Python.")
        return result

    def _still_wanted(self) -> None:
        """Raises BackupError when the run has ended: this process is one of its workers, and outlived it."""
        if runner.is_gone():
            raise BackupError(f"The run that started the {self.kind.name} is gone: it is ended.", "Run it again.")

    def _checked(self, result: dict[str, Any]) -> dict[str, Any]:
        error = result.get("error")
        if error:
            raise WorkError(error["kind"], error["message"], error["remedy"])
        return result

    def _follow(self, job: str, pid: int, host: str) -> dict[str, Any]:
        lines = Lines(self.kind, host)
        look = _LOOK.format(job=job, pid=pid, mark=_MARK)
        failures = 0
        while True:
            self._still_wanted()
            answer = self._low_level_execute_command(look, sudoable=True)
            try:
                text = answer["stdout"].partition(_MARK)[2].split("\n")[1:]
                text = [line for line in map(str.strip, text) if line]
                state, result, progress = text[0], json.loads(text[1]), json.loads(text[-1])
            except (IndexError, ValueError):
                failures += 1
                if failures >= PATIENCE:
                    raise BackupError(
                        f"{host} does not say how far the {self.kind.name} is: {answer.get('stderr', '')}".strip(),
                        f"The {self.kind.name} there ends itself. Check the host, then run it again.",
                    ) from None
                time.sleep(1)
                continue
            failures = 0
            if isinstance(result, dict):
                return result
            if state == "ended":
                raise BackupError(
                    f"The {self.kind.name}'s process was killed.",
                    "Look for the kernel's out-of-memory messages on the host, then run it again: it cleans up first.",
                )
            if isinstance(progress, dict):
                lines.show(progress)


class Lines:
    """Lines of progress, at most one per INTERVAL, and none that says the same again."""

    def __init__(self, kind: Kind, host: str) -> None:
        self._kind = kind
        self._host = host
        self._next = time.monotonic() + INTERVAL
        self._said = ""

    def show(self, progress: dict[str, Any]) -> None:
        """Prints a line when it is time.

        :param progress: state.json, see module_utils/_work/progress.py
        """
        now = time.monotonic()
        if now >= self._next:
            self._next = now + INTERVAL
            text = line(self._kind, self._host, progress)
            if text != self._said:
                display.display(text)
            self._said = text


def line(kind: Kind, host: str, progress: dict[str, Any]) -> str:
    """PROGRESS backup HOST PHASE 412 MB of ~1.2 GB 34% 88 MB/s ETA 0:09"""
    done, total, seconds = progress["bytes_done"], progress["bytes_total"], progress["seconds"]
    words = ["PROGRESS", kind.name, host, progress["phase"]]
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
