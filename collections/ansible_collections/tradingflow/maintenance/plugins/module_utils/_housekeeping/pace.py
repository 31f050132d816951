# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far it is, said now and then: a million files take minutes, and Ansible shows nothing before a module's end."""

from __future__ import annotations

import time
from typing import Callable

from ..words import printable

#: Takes a line that says how far it is.
Say = Callable[[str], None]
#: Seconds between two lines, and before the first; files between two looks at the clock.
_INTERVAL, _FILES = 10.0, 500


def silent(_line: str) -> None:
    """Says nothing."""


class Pace:
    """How far one directory is.

    :param path: of the directory
    :param interval: s between two lines
    """

    def __init__(self, path: str = "", say: Say = silent, interval: float = _INTERVAL) -> None:
        self._path = printable(path)
        self._say = say
        self._interval = interval
        self.begin("", 0)

    def begin(self, what: str, total: int = 0) -> None:
        """Begins another part of the work.

        :param what: is done to files, such as "removed"
        :param total: of them; 0 when nobody knows
        """
        self._what, self._total, self._done = what, total, 0
        self._begun = time.monotonic()
        self._next = self._begun + self._interval

    def tick(self) -> None:
        """One file more."""
        self._done += 1
        if self._done % _FILES:
            return
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._interval
            whole = f" of {self._total:,}" if self._total else ""
            seconds = now - self._begun
            self._say(f"PROGRESS housekeeping {self._path}: {self._done:,}{whole} files {self._what}, {seconds:.0f} s")
