# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entries of a window, counted."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional

from .entries import LEVELS, UNKNOWN_LEVEL, Line, exception
from .fingerprints import Kinds

#: An entry that is later than now by more than this many seconds has a wrong clock or zone.
AHEAD = 60
#: Lines at the beginning of a file that have a level and wait for a time.
MOST_WAITING = 1000


class Tally:
    """Counts entries with since < time <= until; later ones are the next run's.

    Lines without a time belong to the entry before.

    :param since: seconds since the epoch, as until
    """

    def __init__(self, since: float, until: float, now: Callable[[], float]) -> None:
        self.since, self.until, self._now = since, until, now
        self.counts: Dict[str, int] = dict.fromkeys((*LEVELS, UNKNOWN_LEVEL), 0)
        self.kinds = Kinds()
        self.bytes = 0
        self.guessed = 0
        self.untimed = 0
        self.ahead = 0.0
        self.older = False
        self.first: Optional[float] = None
        self.file_first: Optional[float] = None
        self.file_last: Optional[float] = None
        self._midway = False
        self._orphans = 0
        self._waiting: List[Line] = []
        self._entry: Optional[List[str]] = None
        self._level = UNKNOWN_LEVEL

    @property
    def entries(self) -> int:
        return sum(self.counts.values())

    @property
    def within(self) -> bool:
        """Whether what is read now is of the window."""
        return self.file_last is None or self.file_last > self.since

    def begin(self, midway: bool = False) -> None:
        """What comes is of another file, perhaps from its middle on: its first lines may belong to an unread entry."""
        self.end()
        if self.file_first is None:
            self.untimed += self._orphans
        self._orphans, self._waiting = 0, []
        self.file_first = self.file_last = None
        self._midway = midway

    def add(self, line: Line) -> None:
        if not line.begins or (line.joins and self._entry is not None and self._serious()):
            self._continue(line.text)
            return
        if line.at is None and self.file_last is None:
            # It has a level and no time; what comes next in this file may tell.
            self._orphans += 1
            if not self._midway and len(self._waiting) < MOST_WAITING:
                self._waiting.append(line)
            return
        self.end()
        if line.at is not None:
            self.file_last = line.at
            if self.file_first is None:
                self.file_first = line.at
                waiting, self._waiting = self._waiting, []
                for other in waiting:
                    self.add(other)
                self.end()
        self._entry, self._level = [line.text], line.level or UNKNOWN_LEVEL

    def _serious(self) -> bool:
        return self._level in ("error", "critical")

    def _continue(self, text: str) -> None:
        if self._entry is None:
            self._orphans += bool(text.strip())
        elif self._serious() and exception(text):
            # The last exception of a traceback is the one that came out.
            self._entry[1:] = [text[:1000]]

    def end(self) -> None:
        """Counts the entry that is under way."""
        entry, self._entry = self._entry, None
        at = self.file_last
        if entry is None or at is None:
            return
        if at <= self.since:
            self.older = True
            return
        if at > self.until:
            ahead = at - self._now()
            if ahead <= AHEAD:
                return
            self.ahead = max(self.ahead, ahead)
        self.counts[self._level] += 1
        self.first = at if self.first is None else min(self.first, at)
        if self._serious():
            self.kinds.add(self._level, ": ".join(entry))
