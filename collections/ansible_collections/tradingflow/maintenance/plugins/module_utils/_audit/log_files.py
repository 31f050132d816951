# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log files of a period: also rotated and compressed ones, whatever happens to them meanwhile."""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from .._logs.files import Opened
from .._logs.names import Listing, listed, log_of
from .._logs.packed import DAMAGED, magic, unpacked
from ..errors import EvidenceError
from ..words import plural, printable
from .collected import FAILED, Count, File, Gap, Period, Source, Tool, written
from .packing import BLOCK, Packed, Scratch, lines
from .selection import Selection

#: What was last changed so long before the period has nothing of it.
_OLD = 2 * 86400
_TRIES = 3
#: By the first bytes a file is known again that became shorter and grew.
_BEGIN = 4096
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z")
_NUMBERED = re.compile(r"(.*?)\.(\d{1,3})((?:\.[a-z0-9]{1,4})?)")


class Moved(Exception):
    """The files changed places while they were read: begin again."""


def collect(scratch: Scratch, period: Period, given: Dict[str, Any]) -> Source:
    """One log.

    :param given: name, path, exclude, time_zone, time_pattern, time_format, format, empty_ok, fresh_ok
    """
    tool = Tool("tradingflow.maintenance", "")
    source = Source(given["name"], "log_file", FAILED, command=["read", given["path"]], tool=tool)
    cut: List[Opened] = []
    for last in (False, False, True):
        reading = _Reading(scratch, period, given, last, cut)
        try:
            reading.read()
        except Moved:
            reading.forget()
            time.sleep(0.2)
            continue
        except EvidenceError as error:
            reading.problems.insert(0, error.message.rstrip("."))
        break
    return reading.judged(source)


class _Reading:
    """One try at reading all files of a log."""

    def __init__(self, scratch: Scratch, period: Period, given: Dict[str, Any], last: bool, cut: List[Opened]) -> None:
        self._scratch, self._period, self._given, self._last = scratch, period, given, last
        #: Files that were cut off in an earlier try: what they had must be somewhere.
        self._cut = cut
        self._begin, self._end = period.epochs()
        self._now = time.time()
        self.problems: List[str] = []
        self._gaps: List[Gap] = []
        self._files: List[File] = []
        self._counted = self._total = 0
        #: Per log: when its files begin, and whether one is of before the period.
        self._firsts: Dict[str, float] = {}
        self._older: Set[str] = set()

    def read(self) -> None:
        """Reads all files of one moment.

        :raises Moved: they changed places, and this is not the last try
        """
        with ExitStack() as stack:
            opened = self._snapshot(stack)
            for number, one in enumerate(opened, 1):
                self._one(number, one)
            for one in opened:
                self._still(one)

    def forget(self) -> None:
        """Throws away what this try wrote."""
        for file in self._files:
            os.unlink(os.path.join(self._scratch.folder, *file.path.split("/")))
            self._scratch.give_back(file.size)
        self._files = []

    def judged(self, source: Source) -> Source:
        """The source, as what came of its files says."""
        problems = self.problems
        source.files, source.records = self._files, sum(file.records for file in self._files)
        source.gaps = self._gaps
        source.gaps += [] if self._given.get("fresh_ok") else self._late()
        source.counts = [
            Count("lines selected while reading", source.records),
            Count("line feeds in the packed files", self._counted),
        ]
        if self._counted != source.records:
            problems.append(f"{source.records} lines were selected, {self._counted} are packed")
        if not source.records and not self._given.get("empty_ok"):
            problems.append("it has no line of the period")
        return source.concluded(problems)

    def _late(self) -> List[Gap]:
        """Logs that begin after the period does: that another one of the pattern reaches back says nothing of them."""
        found = []
        for name, first in sorted(self._firsts.items()):
            if first > self._begin and name not in self._older:
                at = written(datetime.fromtimestamp(first, timezone.utc))
                which = f"the log {printable(os.path.basename(name))}" if len(self._firsts) > 1 else "the log"
                found.append(Gap(self._period.begin, min(at, self._period.end), f"{which} begins late"))
        return found

    def _moved(self, text: str) -> None:
        if not self._last:
            raise Moved
        self.problems.append(text)

    def _was_cut(self, one: Opened) -> None:
        self._cut.append(one)
        self._moved(f"{printable(one.path)} was cut off while it was read")

    def _listed(self) -> Listing:
        return listed(self._given["path"], self._given.get("exclude") or [])

    def _snapshot(self, stack: ExitStack) -> List[Opened]:
        """All files, opened at one moment: what is rotated between listing and opening is noticed."""
        listing = self._listed()
        seen: Set[Tuple[int, int]] = set()
        found: Dict[Tuple[int, int], Opened] = {}
        for path in listing.paths:
            one = self._open(path, stack, seen)
            if one:
                found.setdefault(one.inode, one)
        for path in self._listed().paths:
            status = _status(path)
            if status and (status.st_dev, status.st_ino) not in seen:
                self._moved(f"{printable(path)} appeared while the files were opened")
        for folder in listing.closed:
            self.problems.append(f"the folder {printable(folder)} cannot be listed: what is in it is unknown")
        for path in listing.strange:
            status = _status(path)
            if status and stat.S_ISREG(status.st_mode) and status.st_size and status.st_mtime > self._begin - _OLD:
                self.problems.append(
                    f"{printable(path)} may belong to it, but its name is not of a known form (exclude)"
                )
        if not listing.paths:
            self.problems.append(f"{printable(self._given['path'])} is not there")
        self._gaps = _numbers(listing.paths, self._period)
        for before in self._cut:
            if not any(_has(one, before) for one in found.values()):
                self.problems.append(f"{printable(before.path)} was cut off, and what it had is nowhere else")
        return sorted(found.values(), key=lambda one: one.path)

    def _open(self, path: str, stack: ExitStack, seen: Set[Tuple[int, int]]) -> Optional[Opened]:
        try:
            # A pipe that takes the file's place must not stop us.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            if path == self._given["path"] and len(self._listed().paths) > 1:
                return None  # Rotated away, and nothing was logged since.
            self._moved(f"{printable(path)} is not there")
            return None
        except OSError as error:
            self.problems.append(f"{printable(path)} cannot be read: {error.strerror}")
            return None
        file = stack.enter_context(os.fdopen(descriptor, "rb", buffering=32768))
        status = os.fstat(descriptor)
        inode = (status.st_dev, status.st_ino)
        seen.add(inode)
        if not stat.S_ISREG(status.st_mode):
            self.problems.append(f"{printable(path)} is not a file to read (exclude)")
            return None
        if status.st_mtime < self._begin - _OLD:
            self._older.add(log_of(path))
            return None
        try:
            one = Opened(path, file, inode, status.st_size, status.st_mtime)
            one.kind, one.head = magic(file), os.pread(descriptor, _BEGIN, 0)
            return one
        except OSError as error:
            self.problems.append(f"{printable(path)} cannot be read: {error.strerror}")
            return None

    def _one(self, number: int, one: Opened) -> None:
        """Selects from one file."""
        name = re.sub(r"[^A-Za-z0-9@._~-]", "_", os.path.basename(one.path)).lstrip("-.") or "log"
        path = f"logs/{self._given['name']}/{number:04d}-{name}.gz"
        with Packed(self._scratch, path) as packed:
            selection = Selection(self._given, self._begin, self._end, self._now, packed.write)
            feeds, last = 0, b"\n"
            try:
                for block in self._blocks(one):
                    selection.add(block)
                    feeds, last = feeds + block.count(b"\n"), block[-1:]
            except DAMAGED as error:
                if isinstance(error, OSError) and one.kind == "plain":
                    self.problems.append(f"{printable(one.path)} cannot be read to its end: {error.strerror}")
                else:
                    self._moved(f"{printable(one.path)} is damaged: it cannot be unpacked to its end")
            selection.end()
            feeds += last != b"\n"
            if feeds != selection.kept + selection.left:
                self.problems.append(
                    f"{printable(one.path)} has {feeds} lines, and {selection.kept + selection.left} were looked at"
                )
            if selection.first is not None:
                name = log_of(one.path)
                self._firsts[name] = min(selection.first, self._firsts.get(name, selection.first))
            elif feeds:
                self.problems.append(f"no line of {printable(one.path)} says a time that is understood: all are taken")
            if selection.strange:
                count = plural(selection.strange, "line")
                self.problems.append(
                    f"{count} of {printable(one.path)} may be of another time than the line before, and no time in them"
                    " is understood: all are taken"
                )
            if selection.kept:
                self._files.append(packed.close(selection.kept))
        if selection.kept:
            self._counted += lines(os.path.join(self._scratch.folder, *path.split("/")))

    def _blocks(self, one: Opened) -> Iterator[bytes]:
        """Its bytes up to where it ended when it was opened."""
        if one.kind != "plain":
            with unpacked(one.kind, one.file) as stream:
                if stream is None:
                    self.problems.append(
                        f"{printable(one.path)} is packed by {one.kind}, which this host cannot unpack"
                    )
                    return
                while True:
                    block = stream.read(BLOCK)
                    if not block:
                        return
                    yield block
        place = 0
        while place < one.size:
            block = os.pread(one.file.fileno(), min(BLOCK, one.size - place), place)
            if not block:
                self._was_cut(one)
                return
            place += len(block)
            yield block

    def _still(self, one: Opened) -> None:
        """That what was read is still its begin: a copy of what was cut off may lie under a new name."""
        status = os.fstat(one.file.fileno())
        if status.st_size < one.size or os.pread(one.file.fileno(), len(one.head), 0) != one.head:
            self._was_cut(one)


def _has(one: Opened, before: Opened) -> bool:
    """Whether a file is a copy of one that was cut off."""
    if one.kind == "plain":
        return one.size >= before.size and one.head == before.head
    try:
        with unpacked(one.kind, one.file) as stream:
            return stream is not None and stream.read(len(before.head)) == before.head
    except DAMAGED:
        return False


def _status(path: str) -> Optional[os.stat_result]:
    try:
        return os.stat(path)
    except OSError:
        return None


def _numbers(paths: List[str], period: Period) -> List[Gap]:
    """Numbered files of which one is missing: between two, or the newest that was rotated away."""
    numbers: Dict[str, Dict[int, str]] = {}
    plain: Dict[str, str] = {}
    for path in paths:
        match = _NUMBERED.fullmatch(path)
        if match:
            numbers.setdefault(match[1], {})[int(match[2])] = path
            plain[match[1]] = match[1] if match[3] in ("", *_PACKED) else match[1] + match[3]
    found = []
    for name, given in sorted(numbers.items()):
        low, high = min(given), max(given)
        if low > 1 and plain[name] in paths and not _rising(given[low], given[high]):
            low = 1
        missing = sorted(set(range(low, high)) - set(given))[:5]
        shown = printable(os.path.basename(name))
        found += [
            Gap(period.begin, period.end, f"{shown}.{each} is missing between its neighbours") for each in missing
        ]
    return found


def _rising(low: str, high: str) -> bool:
    """Whether the higher number is the newer one: then the lowest are deleted when their time comes."""
    one, other = _status(low), _status(high)
    return bool(one and other and other.st_mtime > one.st_mtime)
