# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the work is, in a small file that the action plugin reads, and the dead man's handle it holds."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Optional

from ..errors import BackupError
from .job import BACKUP, Kind

#: Seconds without a touch of the handle after which the work ends itself.
HANDLE_TIMEOUT = 30.0
_INTERVAL = 0.5


class Progress:
    """Phase and bytes of the work under way.

    :param directory: where state.json is kept up to date and the handle "alive" is; None: nobody watches
    :param watched: ids of processes on this host without which the work ends itself
    """

    def __init__(self, directory: Optional[Path] = None, watched: Iterable[int] = (), kind: Kind = BACKUP) -> None:
        self.directory = directory
        self._kind = kind
        self._watched = {pid: _began(pid) for pid in watched}
        self.started = time.monotonic()
        self.phases: Dict[str, float] = {}
        self._phase = ""
        self._phase_started = self.started
        self._measure: Callable[[], Dict[str, Any]] = dict
        self._written = 0.0
        self._touched = (0, self.started)

    @property
    def name(self) -> str:
        """The phase under way."""
        return self._phase

    def phase(self, name: str, measure: Callable[[], Dict[str, Any]] = dict) -> None:
        """Begins a phase.

        :param measure: gives bytes_done and bytes_total (0 when nobody knows) when asked
        """
        now = time.monotonic()
        if self._phase:
            self.phases[self._phase] = self.phases.get(self._phase, 0.0) + now - self._phase_started
        self._phase, self._phase_started, self._measure = name, now, measure
        self._written = 0.0
        self.tick()

    def tick(self) -> None:
        """Writes the state now and then.

        :raises BackupError: nobody holds the handle any more
        """
        now = time.monotonic()
        if now - self._written < _INTERVAL:
            return
        self._written = now
        if self.directory is None:
            return
        self._handle()
        state = {
            "phase": self._phase,
            "seconds": round(now - self._phase_started, 3),
            "bytes_done": 0,
            "bytes_total": 0,
            **self._measure(),
        }
        try:
            temporary = self.directory / ".state.json"
            temporary.write_text(json.dumps(state), encoding="utf-8")
            os.replace(temporary, self.directory / "state.json")
        except OSError:
            pass  # a full disk must not end what needs none

    def _handle(self) -> None:
        if self.directory is None:
            return
        try:
            mtime = (self.directory / "alive").stat().st_mtime_ns
        except FileNotFoundError:
            raise BackupError(f"The {self._kind.name} was told to stop.", "Run it again.") from None
        if any(_began(pid) != began or began is None for pid, began in self._watched.items()):
            raise BackupError(f"Whoever started the {self._kind.name} is gone: it was ended.", "Run it again.")
        # Changes of the time stamp are counted, not its age: clocks jump.
        now = time.monotonic()
        if mtime != self._touched[0]:
            self._touched = (mtime, now)
        silence = now - self._touched[1]
        if silence > HANDLE_TIMEOUT:
            raise BackupError(
                f"Whoever started the {self._kind.name} has been gone for {silence:.0f} s: it was ended.",
                "Run it again.",
            )


def _began(pid: int) -> Optional[str]:
    """When a process began, which tells it from a later one of the same id; None when it has ended."""
    try:
        # What follows the name, which may hold anything: the state first, the start as the 20th.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]
