# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The entries of a window, counted."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Pattern, Sequence

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
    :param plain: lines in a row without time and level that may follow an entry that is no error
    :param harmless: what is found in errors that count as warnings
    """

    def __init__(
        self,
        since: float,
        until: float,
        now: Callable[[], float],
        plain: int = 5,
        harmless: Sequence[Pattern[str]] = (),
    ) -> None:
        self._harmless = harmless
        self.since, self.until, self._now, self._plain = since, until, now, plain
        #: Of the file that is read: from when on its entries count, and whether what comes is new whatever its time.
        self.floor, self.fresh = since, False
        self.counts: Dict[str, int] = dict.fromkeys((*LEVELS, UNKNOWN_LEVEL), 0)
        self.kinds = Kinds()
        self.bytes = 0
        self.guessed = 0
        self.untimed = 0
        self.ahead = 0.0
        #: Words that levels are given by and nobody knows.
        self.strange: Dict[str, int] = {}
        #: Where many lines without time and level follow an entry that is no error: the first of them, each.
        self.bursts: List[str] = []
        self.older = False
        self.first: Optional[float] = None
        self.file_first: Optional[float] = None
        self.file_last: Optional[float] = None
        self._midway = False
        self._orphans = 0
        self._waiting: List[Line] = []
        self._entry: Optional[List[str]] = None
        self._level = UNKNOWN_LEVEL
        self._new = False
        self._word = ""
        self._run = 0
        self._run_fresh = False
        self._crashing = False
        self._first_plain = ""
        self._known_stack = False

    @property
    def entries(self) -> int:
        return sum(self.counts.values())

    @property
    def within(self) -> bool:
        """Whether what is read now is of the window."""
        return self.fresh or self.file_last is None or self.file_last > self.floor

    def begin(self, midway: bool = False) -> None:
        """What comes is of another file, perhaps from its middle on: its first lines may belong to an unread entry."""
        self.end()
        if self.file_first is None:
            self.untimed += self._orphans
        self._orphans, self._waiting = 0, []
        self._run, self._run_fresh, self._first_plain = 0, False, ""
        self.floor, self.fresh = self.since, False
        self.file_first = self.file_last = None
        self._midway = midway

    def add(self, line: Line) -> None:
        if not line.begins or (line.joins and self._entry is not None and self._owns(line)):
            self._continue(line)
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
                self._burst(self.fresh or line.at > self.floor)
                waiting, self._waiting = self._waiting, []
                for other in waiting:
                    self.add(other)
                self.end()
        self._entry, self._level = [line.text], line.level or UNKNOWN_LEVEL
        self._new, self._word = self.fresh, line.strange
        self._known_stack, self._crashing = False, line.joins

    def _serious(self) -> bool:
        return self._level in ("error", "critical")

    def _owns(self, line: Line) -> bool:
        """Whether what a program that dies might print belongs to the entry: to an error that it explains, to a crash
        that is under way, or to a warning as its stack trace."""
        if self._serious():
            return self._crashing or line.named or line.text.startswith("Traceback ")
        return line.named and (self._known_stack or (self._level == "warning" and not self._run))

    def _continue(self, line: Line) -> None:
        text = line.text
        if self._entry is None:
            self._orphans += bool(text.strip())
        elif self._serious():
            if exception(text):
                # The last exception of a traceback is the one that came out.
                self._entry[1:] = [text[:1000]]
            return
        elif line.named:
            self._known_stack = True
        # What is indented goes on with the entry, unless it comes after a line that does not.
        if self._known_stack and text.startswith((" ", "\t", "Caused by", "Suppressed", text if line.named else " ")):
            return
        if text.strip() and (self._run or text[0] not in " \t"):
            self._run += 1
            self._run_fresh |= self.fresh
            self._first_plain = self._first_plain or text

    def _burst(self, counts: bool) -> None:
        if self._run > self._plain and counts and not self._midway:
            self.bursts.append(self._first_plain)
        self._run, self._run_fresh, self._first_plain, self._midway = 0, False, "", False

    def end(self) -> None:
        """Counts the entry that is under way."""
        entry, self._entry = self._entry, None
        at = self.file_last
        if entry is None or at is None:
            return
        new = self._new or at > self.floor
        self._burst(new or self._run_fresh)
        if not new:
            self.older = True
            return
        if at > self.until:
            ahead = at - self._now()
            if ahead <= AHEAD:
                return
            self.ahead = max(self.ahead, ahead)
        if self._serious() and any(pattern.search(": ".join(entry)) for pattern in self._harmless):
            self._level = "warning"
        self.counts[self._level] += 1
        if self._word:
            word = self._word[:40] if len(self.strange) < 20 else ""
            self.strange[word] = self.strange.get(word, 0) + 1
        self.first = at if self.first is None else min(self.first, at)
        if self._serious():
            self.kinds.add(self._level, ": ".join(entry))
