# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The timelines of an archive: which descends from which, where each left its parent, and when it began and ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, Iterable, List, Optional, Set

from ..errors import MaintenanceError, RestoreError
from . import history, records

#: Segments that are looked into for a time at most, from each end of a timeline.
_DEPTH = 32


@dataclass
class Timeline:
    """One timeline.

    :param parent: what it descends from, 0 for the first
    :param switch: where it left its parent, in bytes of the log
    :param first, newest: its own segments, empty when none was archived
    :param begins: when it began, at the latest. None of the first, and when nothing tells
    :param ends: the newest transaction's time; a target must be before it. None when no transaction is known
    :param why: why begins and ends are not known, empty when they are, or when there are none
    :param there: whether a server can be told to follow the log to it: it has its history file
    """

    number: int
    parent: int = 0
    switch: int = 0
    reason: str = ""
    first: str = ""
    newest: str = ""
    begins: Optional[datetime] = None
    ends: Optional[datetime] = None
    why: str = ""
    there: bool = True


@dataclass
class Tree:
    """All timelines of an archive."""

    archive: Any
    lines: Dict[int, Timeline] = field(default_factory=dict)
    ancestors: Dict[int, List[history.Ancestor]] = field(default_factory=dict)
    _timed: Set[int] = field(default_factory=set)
    _known: Dict[str, List[records.Record]] = field(default_factory=dict)

    def lineage(self, number: int) -> List[int]:
        """A timeline and its ancestors, oldest first."""
        return [each.timeline for each in self.ancestors.get(number, [])] + [number]

    def on(self, number: int, place: int) -> int:
        """The timeline that a place belongs to when the log is followed to a timeline.

        :param place: where a record ends, in bytes
        """
        for each in self.ancestors.get(number, []):
            if place <= each.switch:
                return each.timeline
        return number

    def left(self, number: int, timeline: int) -> Optional[int]:
        """Where the way to a timeline leaves one of its ancestors; None when it does not, or is no ancestor."""
        return next((each.switch for each in self.ancestors.get(number, []) if each.timeline == timeline), None)

    def reaches(self, number: int, timeline: int, end: int) -> bool:
        """Whether a backup of a timeline that ended at a place can be brought to another timeline."""
        if timeline == number:
            return True
        left = self.left(number, timeline)
        return left is not None and end <= left

    def newest(self) -> int:
        """The newest timeline, whether its history is known or not."""
        return max(self.lines)

    def size(self) -> int:
        """Bytes of a segment.

        :raises RestoreError: the archive has none that could be read
        """
        newest = max((line.newest for line in self.lines.values()), default="")
        if not newest:
            raise RestoreError(f"The archive {self.archive.id} has no WAL.", "Choose another recovery point.")
        return records.segment_size(self.archive.segment(newest))

    def timed(self, numbers: Optional[Iterable[int]] = None) -> None:
        """Reads when timelines began and ended from their segments.

        :param numbers: which, all when not given
        """
        for number in self.lines if numbers is None else numbers:
            if number not in self._timed and not self.lines[number].why:
                self._time(number)
            self._timed.add(number)

    def _time(self, number: int) -> None:
        line = self.lines[number]
        try:
            if line.parent:
                # Each of them shows that it had begun by then; of a checkpoint the second is known only.
                line.begins = min((each.at for each in self._read(line, False) if each.at), default=None)
            found = [each.at for each in self._read(line, True) if each.at and each.kind != records.BEGINNING]
            line.ends = max(found, default=None)
        except MaintenanceError as error:
            line.begins, line.ends, line.why = None, None, error.message

    def _read(self, line: Timeline, newest_first: bool) -> Iterable[records.Record]:
        """Records of the first segment from one end that has a time, on the timeline's own part.

        :raises RestoreError: nothing was found in as many as are looked into
        """
        for count, name in enumerate(self.archive.segments(line.number, newest_first=newest_first)):
            if count == _DEPTH:
                raise RestoreError(f"The {_DEPTH} segments at one end of timeline {line.number} tell no time")
            if name not in self._known:
                self._known[name] = [each for each in records.read(self.archive.segment(name), line.switch) if each.at]
            found = self._known[name]
            if any(each.kind != records.BEGINNING or not newest_first for each in found):
                return found
        return []


def load(archive: Any) -> Tree:
    """The timelines of an archive, without their times. One whose history cannot be read is there, and says why."""
    tree = Tree(archive)
    unknown: Dict[int, str] = {}
    for number in archive.histories:
        try:
            tree.ancestors[number] = history.parse(archive.history(number), number)
        except MaintenanceError as error:
            unknown[number] = error.message
    for found in list(tree.ancestors.values()):
        for at, each in enumerate(found):
            # What was removed as too old can still be read in those of its descendants.
            tree.ancestors.setdefault(each.timeline, found[:at])
    for number in sorted({*archive.timelines, *tree.ancestors} or {1}):
        above = tree.ancestors.get(number, [])
        names = archive.segments(number), archive.segments(number, newest_first=True)
        line = Timeline(number, first=next(iter(names[0]), ""), newest=next(iter(names[1]), ""))
        if above:
            line.parent, line.switch, line.reason = above[-1]
        line.there = number == 1 or (number in archive.histories and number not in unknown)
        if number != 1 and number not in tree.ancestors:
            line.why = unknown.get(number, f"Its history file {number:08X}.history is not in the archive.")
        tree.lines[number] = line
    return tree


def end_of(line: Timeline, size: int) -> int:
    """Where the archived log of a timeline ends at most, in bytes."""
    if not line.newest:
        return line.switch
    return begin_of(line.newest, size) + size


def begin_of(segment: str, size: int) -> int:
    """Where a segment begins, in bytes of the log."""
    return (int(segment[8:16], 16) * (0x100000000 // size) + int(segment[16:24], 16)) * size


def place(number: int) -> str:
    """A place in the log as PostgreSQL writes it."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"
