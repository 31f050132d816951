# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program in a cell, from outside: what it says and uses. Standard library only, as cell.py."""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from typing import Any, Dict, Tuple

#: Seconds between two looks at what all processes use together.
_LOOK = 0.2
#: Bytes of what it says that are kept: the last ones.
_SAID = 8192


class Watch:
    """The program from outside: what it says, what it uses, and when it has to end."""

    def __init__(self, request: Dict[str, Any], pid: int, processes: int) -> None:
        self._limits = request["limits"]
        self._pid = pid
        self._processes = processes
        self._began = time.monotonic()
        self._said = b""
        self._looked = 0.0
        self.peak = 0
        self.why = ""

    def until_over(self, said: int, status: int) -> bytes:
        """Waits for its end.

        :param said: pipe of what it says
        :param status: pipe that tells how it ended
        """
        told, pipes = b"", [said, status]
        while status in pipes:
            ready = select.select(pipes, [], [], _LOOK)[0]
            for pipe in ready:
                data = os.read(pipe, 65536)
                if not data:
                    pipes.remove(pipe)
                elif pipe == status:
                    told += data
                else:
                    self._said = (self._said + data)[-_SAID:]
            self._look()
            if self.why:
                break
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        # All that it started is gone by now: what is left in the pipe is all there is.
        os.set_blocking(said, False)
        try:
            while data := os.read(said, 65536):
                self._said = (self._said + data)[-_SAID:]
        except BlockingIOError:
            pass
        return told

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        if now - self._began > self._limits["seconds"]:
            self.why = "time"
            return
        used, count = self._used("statm")
        if used > self._limits["memory"]:
            # What forks share counts once.
            used = self._used("smaps_rollup")[0]
        self.peak = max(self.peak, used)
        if used > self._limits["memory"]:
            self.why = "memory"
        elif count > self._limits["processes"]:
            self.why = "processes"

    def _used(self, file: str) -> Tuple[int, int]:
        """Bytes in memory of all processes in there, and how many these are."""
        total = count = 0
        for name in os.listdir(self._processes):
            # The first one is ours.
            if not name.isdecimal() or name == "1":
                continue
            try:
                handle = os.open(f"{name}/{file}", os.O_RDONLY, dir_fd=self._processes)
                try:
                    text = os.read(handle, 4096).decode("ascii", "replace")
                finally:
                    os.close(handle)
            except OSError:
                continue
            count += 1
            if file == "statm":
                total += int(text.split()[1]) * resource.getpagesize()
            else:
                total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
        return total, count

    @property
    def said(self) -> str:
        return self._said.decode("utf-8", "replace")
