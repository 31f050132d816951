# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a journal does not have: entries that were deleted, suppressed or lost, told from those that are there."""

from __future__ import annotations

import os
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Dict, Iterable, List, Optional, Tuple, Union

from ..words import plural, printable, span
from .collected import Gap, Period, written
from .journal_export import Block, Entry

#: So much the clock may go back without a word: threads write a little out of order.
_SLACK = 1_000_000
#: A source that begins when the host is up for no longer, in us, has all of that boot.
_BOOT = 120_000_000
#: So soon after a source's begin journald says that it began, in us.
_START = 10_000_000
#: The name of a folder with a host's journal.
_ID = re.compile(r"[0-9a-f]{32}")
#: More runs of numbers than these in a file are not kept apart.
_RUNS = 200_000
#: More gaps than these are told as one.
_MOST = 200

_DROPPED = b"a596d6fe7bfa4994828e72309e95d61e"
_MISSED = b"e9bf28e6e834481bb6f48f548ad13606"
_STARTED = b"f77379a8490b408bbe5f6940505a777b"
_STOPPED = b"d93fb3c9c24d451a97cea615ce59c00b"
_SHUTDOWN = b"98268866d1d54a499c4e98921d93bc40"
_IDS = (_DROPPED, _MISSED, _STARTED, _STOPPED, _SHUTDOWN)
_MARKS = re.compile(rb"\nMESSAGE_ID=(?:" + b"|".join(_IDS) + b")")


@dataclass
class Run:
    """Entries whose numbers follow each other.

    :param up: for how long the host ran at the first one, in us; -1 when that is not known
    """

    first: int
    last: int
    begin: int
    end: int
    up: int = -1


@dataclass
class Boot:
    """What a boot's entries say of it.

    :param marked: when its journal last began or ended, as far as it says
    :param orderly: whether that was an end
    """

    first: int
    last: int
    marked: int = 0
    orderly: bool = False


@dataclass
class Story:
    """What the entries of one file tell of those that are not there.

    :param name: of the file, with its folder
    :param runs: per source of numbers
    :param told: (time in us, what was lost)
    :param backs: (time before, time after) where the clock went back, in us
    :param started: when journald began, in us
    """

    runs: Dict[bytes, List[Run]] = field(default_factory=dict)
    boots: Dict[bytes, Boot] = field(default_factory=dict)
    told: List[Tuple[int, str]] = field(default_factory=list)
    backs: List[Tuple[int, int]] = field(default_factory=list)
    started: List[int] = field(default_factory=list)
    first: Optional[int] = None
    overflow: bool = False
    name: str = ""
    _last: int = 0
    _run: Optional[Run] = None
    _source: bytes = b""
    _boot: bytes = b""
    _count: int = 0

    def add(self, piece: Union[Block, Entry]) -> None:
        """Takes the next entry, or the next ones, of the file in."""
        if isinstance(piece, Entry):
            self._one(piece.source, piece.sequence, piece.boot, piece.up, piece.at)
            if b"\nMESSAGE_ID=" in piece.data:
                self._mark(piece, self.boots[piece.boot])
            return
        if not self._several(piece):
            columns = (piece.sources, piece.sequences, piece.boots, piece.ups, piece.times)
            for facts in zip(*columns):  # noqa: B905 Python 3.9
                self._one(*facts)
        if _MARKS.search(piece.data):
            for entry in piece.entries():
                if b"\nMESSAGE_ID=" in entry.data:
                    self._mark(entry, self.boots[entry.boot])

    def _several(self, block: Block) -> bool:
        """Takes entries in that go on where the last one ended, as most do; False where one does not."""
        run, numbers, times = self._run, block.sequences, block.times
        if (
            run is None
            or numbers[0] != run.last + 1
            or {*block.sources} != {self._source}
            or {*block.boots} != {self._boot}
            or times[0] < self._last
            or list(numbers) != [*range(numbers[0], numbers[0] + len(numbers))]
            or sorted(times) != times
        ):
            return False
        run.last, run.end = numbers[-1], times[-1]
        self._last = times[-1]
        boot = self.boots[self._boot]
        boot.last = max(boot.last, times[-1])
        return True

    def _one(self, source: bytes, number: int, boot: bytes, up: bytes, at: int) -> None:
        if self.first is None or at < self.first:
            self.first = at
        run = self._run
        if run and source == self._source and number == run.last + 1:
            run.last, run.end = number, at
        elif self._count < _RUNS:
            self._run, self._source = Run(number, number, at, at, int(up, 16)), source
            self.runs.setdefault(source, []).append(self._run)
            self._count += 1
        else:
            self.overflow, self._run = True, None
        if at < self._last - _SLACK:
            self.backs.append((self._last, at))
        self._last, self._boot = at, boot
        known = self.boots.setdefault(boot, Boot(at, at))
        known.first, known.last = min(known.first, at), max(known.last, at)

    def _mark(self, entry: Entry, boot: Boot) -> None:
        identity = entry.field(b"MESSAGE_ID") or b""
        # Anybody may write a message; only root's and journald's own tell of the journal.
        if identity not in _IDS or not (entry.field(b"_UID") == b"0" or entry.field(b"_TRANSPORT") == b"driver"):
            return
        if identity in (_DROPPED, _MISSED):
            text = printable((entry.field(b"MESSAGE") or b"").decode("utf-8", "replace"), 200)
            self.told.append((entry.at, f"the journal says: {text}"))
            return
        if identity == _STARTED:
            self.started.append(entry.at)
        if identity == _STARTED and boot.marked and not boot.orderly:
            self.told.append((entry.at, "the journal began again without having been stopped"))
        boot.marked, boot.orderly = entry.at, identity != _STARTED


def gaps(stories: Iterable[Story], period: Period, machine: str = "") -> List[Gap]:
    """What is missing in the period, by all files of a host's journal.

    :param machine: the host's id, after which the folder of its own journal is named
    """
    stories = list(stories)
    begin, end = (int(each * 1e6) for each in period.epochs())
    found: List[Tuple[int, int, str]] = _edges(stories, begin, end, machine)
    for of_machine in _folders(stories).values():
        found += _missing(of_machine, begin)
    for story in stories:
        found += [(at, at, text) for at, text in story.told]
        for before, after in story.backs:
            found.append((after, before, _set_back(after, before)))
    if any(story.overflow for story in stories):
        found.append((begin, end, "the entries' numbers change too often to see whether one is missing"))
    found += _crashes(stories)
    inside = [each for each in found if each[0] < end and each[1] >= begin]
    return _few([_gap(each, begin, end) for each in sorted(set(inside))])


def _edges(stories: List[Story], begin: int, end: int, machine: str) -> List[Tuple[int, int, str]]:
    """Where a folder's journal begins late, or the host's own ends early: another folder's says nothing of that."""
    folders = _folders([story for story in stories if story.first is not None])
    found = []
    for folder, inside in sorted(folders.items()):
        # What users' files have says nothing of the system's, which are vacuumed by themselves.
        system = [story for story in inside if os.path.basename(story.name).startswith("system")] or inside
        first = min(story.first for story in system if story.first is not None)
        which = f"the journal in {printable(folder)}" if len(folders) > 1 else "the journal"
        if first > begin:
            found.append((begin, min(first, end), f"{which} begins late: what was before is vacuumed, or never was"))
        last = max(boot.last for story in inside for boot in story.boots.values()) if inside[0].boots else end
        if machine and folder == machine and last < end:
            found.append((last, end, f"{which} has nothing since: it was not written, or what was written is lost"))
    if machine and machine not in folders and any(_ID.fullmatch(folder) for folder in folders):
        found.append((begin, end, "there is no journal of this host's own machine-id, only others'"))
    return found


def _folders(stories: List[Story]) -> Dict[str, List[Story]]:
    """The stories of each folder, which has one machine's journal."""
    folders: Dict[str, List[Story]] = {}
    for story in stories:
        folders.setdefault(os.path.dirname(story.name), []).append(story)
    return folders


def _missing(stories: List[Story], begin: int) -> List[Tuple[int, int, str]]:
    """Numbers that one machine's journal does not have: between two of a source, and before a source's first."""
    numbers = {
        source: _Numbers([run for story in stories for run in story.runs.get(source, [])])
        for source in {source for story in stories for source in story.runs}
    }
    started = sorted(at for story in stories for at in story.started)
    found = []
    for source, own in numbers.items():
        others = [each for name, each in numbers.items() if name != source]
        found += _before(own.runs[0], others, started, begin)
        last, at = own.runs[0].last, own.runs[0].end
        for run in own.runs[1:]:
            if run.first > last + 1:
                window = _ordered(at, run.begin)
                count = run.first - last - 1 - _elsewhere(Run(last + 1, run.first - 1, *window), others)
                if count:
                    missing = plural(count, "entry is", "entries are")
                    found.append((*window, f"{missing} missing between two numbers: vacuumed or lost"))
            if run.first > last and run.begin < at - _SLACK:
                # Between two files: newer systemd begins another one then.
                found.append((run.begin, at, _set_back(run.begin, at)))
            if run.last > last:
                last, at = run.last, run.end
    return found


def _set_back(after: int, before: int) -> str:
    return f"the clock was set back by {span((before - after) / 1e6)}"


def _before(run: Run, others: List[_Numbers], started: List[int], begin: int) -> List[Tuple[int, int, str]]:
    """What is missing before a source's first number, where another source reaches further back and hides it.

    A source may begin within the period: with its first number, with the host or journald, or where a number of another
    source with the same counter is the one before.

    :param started: when journald began, in order
    """
    earlier = [each for other in others for each in other.runs if each.begin < run.begin]
    if run.begin <= begin or run.first <= 1 or not earlier or 0 <= run.up <= _BOOT:
        return []
    number = bisect_left(started, run.begin)
    if number < len(started) and started[number] <= run.begin + _START:
        return []
    if any(each.last == run.first - 1 and each.end <= run.begin + _SLACK for each in earlier):
        return []
    last = max((each.end for each in earlier if each.end <= run.begin), default=min(each.begin for each in earlier))
    text = f"what was before number {run.first} of a source of numbers is nowhere: vacuumed or lost"
    return [(last, run.begin, text)]


class _Numbers:
    """The runs of one source in order."""

    def __init__(self, runs: List[Run]) -> None:
        self.runs = sorted(runs, key=lambda run: (run.first, run.last))
        self.firsts = [run.first for run in self.runs]


def _elsewhere(hole: Run, others: List[_Numbers]) -> int:
    """How many numbers of a hole entries of other sources have at that time.

    Files of users have a source of their own, and yet one counter with the system's: what one lacks another has.
    """
    parts = []
    for other in others:
        for run in other.runs[max(0, bisect_right(other.firsts, hole.first) - 1) :]:
            if run.first > hole.last:
                break
            if run.end >= hole.begin - _SLACK and run.begin <= hole.end + _SLACK:
                parts.append((max(run.first, hole.first), min(run.last, hole.last)))
    count, done = 0, hole.first - 1
    for first, last in sorted(parts):
        first = max(first, done + 1)
        if last >= first:
            count, done = count + last - first + 1, last
    return count


def _crashes(stories: List[Story]) -> List[Tuple[int, int, str]]:
    """From the end of a boot that was not shut down to the next one's begin."""
    boots: Dict[bytes, Boot] = {}
    for story in stories:
        for id, boot in story.boots.items():
            known = boots.setdefault(id, Boot(boot.first, boot.last))
            if boot.marked >= known.marked:
                known.marked, known.orderly = boot.marked, boot.orderly
            known.first, known.last = min(known.first, boot.first), max(known.last, boot.last)
    ordered = sorted(boots.values(), key=lambda boot: (boot.first, boot.last))
    return [
        (*_ordered(before.last, after.first), "the host or its journal ended without being shut down, and began again")
        for before, after in zip(ordered, ordered[1:])  # noqa: B905, RUF007 Python 3.9
        if not before.orderly
    ]


def _ordered(one: int, other: int) -> Tuple[int, int]:
    return min(one, other), max(one, other)


def _gap(found: Tuple[int, int, str], begin: int, end: int) -> Gap:
    return Gap(_text(max(found[0], begin)), _text(min(found[1], end)), found[2])


def _text(at: int) -> str:
    return written(datetime.fromtimestamp(at // 1_000_000, timezone.utc))


def _few(found: List[Gap]) -> List[Gap]:
    """The gaps; of very many the first, and one for the rest."""
    if len(found) <= _MOST:
        return found
    rest = found[_MOST - 1 :]
    reason = f"{plural(len(rest), 'more gap')}, the first: {rest[0].reason}"
    return [*found[: _MOST - 1], Gap(rest[0].begin, max(gap.end for gap in rest), reason)]
