# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log files: those of a pattern and what was rotated away, from the right place on, whatever happens meanwhile."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO, Dict, Iterator, List, Optional, Set, Tuple

from ..words import printable, size
from .encoding import decoded
from .entries import CUT, Entries
from .names import Listing, listed
from .packed import DAMAGED, magic, unpacked
from .positions import HEAD, MOST, Positions, record
from .tally import Tally

BLOCK = 256 * 1024
#: A local time may be off by the hour of summer time, and threads write a little out of order.
MARGIN = 7200
#: So many blocks in a row must begin before the window: a clock may have been wrong for a while.
OLD_BLOCKS = 3
#: Of compressed files at most this many times what may be read of the window.
SKIPPED = 20
#: The last entry is about as old as the file's last change, or its times are read wrongly.
STALE = 900

#: Bytes of the end of a line that is longer than may be looked at: what a JSON object says last.
END = 4096


class Truncated(Exception):
    """A file became shorter while it was read: its beginning is elsewhere now."""


@dataclass
class Opened:
    """A file that stays the same file though its name may go to another."""

    path: str
    file: BinaryIO
    inode: Tuple[int, int]
    size: int
    changed: float
    direct: bool = False
    kind: str = "plain"
    head: bytes = b""
    #: Up to where it was read by the last run, None when that is not known.
    read: Optional[int] = None
    #: Nothing of it is of the window.
    old: bool = False


class Files:
    """Reads the files of one source into a tally.

    :param source: path, max_bytes, max_line
    """

    def __init__(self, source: Dict[str, Any], entries: Entries, tally: Tally) -> None:
        self._pattern = source["path"]
        self._exclude = source["exclude"]
        self._max_line = source["max_line"]
        self._max_bytes = source["max_bytes"]
        self._entries, self._tally = entries, tally
        self._left = self._max_bytes
        self._cut = False
        self._seen: Set[Tuple[int, int]] = set()
        self.positions = Positions(source["last_read"])
        #: Where each file was read up to, for the next run.
        self.read_up_to: List[Dict[str, Any]] = []
        self.names: List[str] = []
        self.doubts: List[str] = []
        #: Why there is nothing to read at all.
        self.problem = ""

    def read(self) -> None:
        """Reads what is of the window, the newest file first.

        :raises Truncated: begin anew
        """
        with ExitStack() as stack:
            opened = self._snapshot(stack)
            self._recognise(opened)
            for one in opened:
                if not one.old:
                    self._file(one)
            # What came in by another name while we read: the rest of a log is in its successor.
            for path in self._listed().paths:
                late = self._open(path, stack) if _inode(path) not in (None, *self._seen) else None
                # What was compressed meanwhile was read before.
                if late and not late.old and magic(late.file) == "plain":
                    self._file(late)
            for one in opened:
                if not one.old and os.fstat(one.file.fileno()).st_size < one.size:
                    raise Truncated(one.path)

    def _listed(self) -> Listing:
        return listed(self._pattern, self._exclude)

    def _snapshot(self, stack: ExitStack) -> List[Opened]:
        """All files opened at one moment: a rotation between listing and opening is noticed, and it begins anew."""
        for _attempt in range(5):
            self.doubts, self.problem, self._seen = [], "", set()
            found: Dict[Tuple[int, int], Opened] = {}
            listing = self._listed()
            for path in listing.paths:
                one = self._open(path, stack, path in listing.direct)
                if one:
                    found.setdefault(one.inode, one)
            if all(_inode(path) in (None, *self._seen) for path in self._listed().paths):
                break
        if self.problem and found:
            self.doubts.append(self.problem)
            self.problem = ""
        for folder in listing.closed:
            self.doubts.append(f"the folder {printable(folder)} cannot be listed: what is in it is unknown")
        for path in listing.strange:
            if self._changed(path):
                self.doubts.append(f"{printable(path)} may belong to it, but its name is not of a known form (exclude)")
        if not listing.paths:
            closed = f"the folder {printable((listing.closed or [''])[0])} cannot be listed"
            self.problem = closed if listing.closed else f"{printable(self._pattern)} is not there"
        return sorted(found.values(), key=lambda one: -one.changed)

    def _changed(self, path: str) -> bool:
        """Whether something is in a file that was written of late."""
        try:
            status = os.stat(path)
        except OSError:
            return False
        return status.st_size > 0 and status.st_mtime > self._tally.since and not stat.S_ISDIR(status.st_mode)

    def _recognise(self, opened: List[Opened]) -> None:
        """Finds where each file was read up to: those that stayed the same first, then copies and compressed ones."""
        self.positions.restart()
        plain = [one for one in opened if one.kind == "plain"]
        for copies in (False, True):
            for one in plain:
                if one.read is None:
                    one.read = self.positions.of(one.inode[1], one.head, one.size, copies)
        for one in opened:
            if one.kind != "plain" and not one.old:
                try:
                    with unpacked(one.kind, one.file) as stream:
                        if stream is not None:
                            one.read = self.positions.of(one.inode[1], stream.read(HEAD), 1 << 62, True)
                except DAMAGED:
                    continue  # Said when it is read.
        for one in plain:
            if one.old:
                self._remember(one, one.size)

    def _remember(self, one: Opened, offset: int) -> None:
        if len(self.read_up_to) < MOST:
            name = printable(os.path.basename(one.path))
            self.read_up_to.append(record(one.inode[1], one.head[:offset], offset, name, one.direct))

    def _open(self, path: str, stack: ExitStack, direct: bool = False) -> Optional[Opened]:
        """A file; what cannot be opened leaves word in problem, what is none in doubts."""
        name = printable(path)
        try:
            status = os.stat(path)
            self._seen.add((status.st_dev, status.st_ino))
            if not stat.S_ISREG(status.st_mode):
                kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a file to read from its end"
                if path == self._pattern:
                    self.problem = f"{name} is not a file" + (": a folder" if stat.S_ISDIR(status.st_mode) else "")
                elif direct:
                    self.doubts.append(f"{name} is {kind} (exclude)")
                return None
            self.names.append(name)
            old = status.st_mtime <= self._tally.since
            if old:
                self._tally.older = True
                if not direct and not self.positions.has(status.st_ino):
                    return None
            # A pipe that takes the file's place meanwhile must not stop us.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            if path == self._pattern and not os.path.lexists(path) and len(self._listed().paths) > 1:
                return None  # Rotated away, and nothing was logged since.
            self.problem = f"{name} is not there"
            return None
        except OSError as error:
            self.problem = f"{name} cannot be read: {error.strerror}"
            return None
        file = stack.enter_context(os.fdopen(descriptor, "rb", buffering=32768))
        status = os.fstat(descriptor)
        one = Opened(path, file, (status.st_dev, status.st_ino), status.st_size, status.st_mtime, direct, old=old)
        one.kind = magic(file)
        if one.kind == "plain":
            one.head = file.read(HEAD)
        if old:
            file.close()
        return one

    def _file(self, one: Opened) -> None:
        self._entries.times.restart()
        name = printable(os.path.basename(one.path))
        if one.kind == "plain":
            self._plain(one, name)
            return
        try:
            with unpacked(one.kind, one.file) as stream:
                if stream is None:
                    self.doubts.append(f"{name} is compressed with {one.kind}, which cannot be read here")
                    return
                self._begin(one)
                self._feed(stream, SKIPPED * self._max_bytes, one, 0)
        except DAMAGED as error:
            self.doubts.append(f"{name} is damaged ({type(error).__name__}); what comes before that place is counted")

    def _begin(self, one: Opened, midway: bool = False) -> None:
        self._tally.begin(midway=midway)
        if one.read is not None:
            self._tally.floor = self.positions.until

    def _plain(self, one: Opened, name: str) -> None:
        start = self._start(one)
        self._begin(one, midway=start > 0)
        one.file.seek(start)
        if start:
            _skip_line(one.file)
        place = one.file.tell()
        left = max(0, one.size - place)
        self._left -= left
        place = self._feed(one.file, left, one, place)
        if _inode(one.path) != one.inode:
            # Rotated: nobody reads the rest under this name again.
            place = self._feed(one.file, max(self._max_bytes, BLOCK), one, place)
        self._remember(one, place)
        self._tally.end()
        first, last = self._tally.file_first, self._tally.file_last
        if start and self._cut and not (first is not None and first <= self._tally.since):
            self.doubts.append(
                f"{name} has more than {size(self._max_bytes)} of the time in question; only the newest was read"
            )
        if last is not None and one.changed - last > STALE and one.changed <= self._tally.until:
            self.doubts.append(
                f"{name} was last written {(one.changed - last) / 60:.0f} min after the time its last entry gives: "
                "another time zone (time_zone), or lines without a time"
            )

    def _start(self, one: Opened) -> int:
        """Where to begin: from the end backwards, at blocks whose first time is well before the window."""
        low = max(0, one.size - max(self._left, 0))
        self._cut = low > 0
        place, old = one.size, 0
        while place > low:
            place = max(low, place - BLOCK)
            at = self._first_time(one.file, place)
            if at is None:
                continue
            old = old + 1 if at < self._tally.since - MARGIN else 0
            if old == OLD_BLOCKS and (one.read is None or place <= one.read):
                self._cut, self._tally.older = False, True
                break
        if one.read is not None and place <= one.read:
            self._cut = False
        return place

    def _first_time(self, file: BinaryIO, place: int) -> Optional[float]:
        file.seek(place)
        if place:
            file.readline(BLOCK)
        for _line in range(20):
            raw = file.readline(self._max_line)
            if not raw:
                break
            line = self._entries.line(decoded(raw)[0])
            if line.at is not None:
                return line.at
        return None

    def _feed(self, stream: Any, most: int, one: Opened, place: int) -> int:
        """Lines into the tally, until the stream ends or so many bytes were read. Of compressed files where the window
        begins can only be found by reading up to it.

        :param place: where the stream is in the file, as it is uncompressed
        :returns: the same then; before the last line when that is not whole yet
        """
        tally, left, compressed = self._tally, most, one.kind != "plain"
        for raw, length in lines(stream, most, self._max_line):
            left -= length
            text, guessed = decoded(raw)
            tally.fresh = one.read is not None and place >= one.read
            place += length
            tally.guessed += guessed and bool(text)
            # What goes back to the beginning of its line begins another: a progress bar, a terminal's output.
            for part in filter(None, text.split("\r")):
                line = self._entries.line(part)
                if line.begins and line.level is None and len(raw) > self._max_line:
                    line.strange = CUT
                tally.add(line)
            if text and raw[-1:] != b"\n" and left <= 0 and line.level not in ("error", "critical"):
                place -= length
            if tally.within:
                tally.bytes += length
                if compressed:
                    self._left -= length
                    if self._left < 0:
                        left = 0
            if left <= 0:
                break
        if left <= 0 and compressed and stream.read(1):
            name = printable(os.path.basename(one.path))
            self.doubts.append(f"{name} has more than can be read ({size(self._max_bytes)}); its end is missing")
        return place


def lines(stream: Any, most: int, longest: int) -> Iterator[Tuple[bytes, int]]:
    """Lines of the next so many bytes, each cut to the longest and its end, with the bytes it really took."""
    while most > 0:
        raw = stream.readline(min(longest, most))
        if not raw:
            return
        length = len(raw)
        while not raw.strip(b"\0") and length < most:
            # The hole that a truncated file begins with is no part of the line after it.
            raw = stream.readline(min(longest, most - length))
            length += len(raw)
            if not raw:
                return
        end = b""
        while not (end or raw).endswith(b"\n") and length < most:
            rest = stream.readline(min(65536, most - length))
            length += len(rest)
            end = (end + rest)[-END:]
            if not rest:
                break
        most -= length
        yield (raw + b" ... " + end if end else raw), length


def _inode(path: str) -> Optional[Tuple[int, int]]:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _skip_line(file: BinaryIO) -> None:
    while True:
        raw = file.readline(65536)
        if not raw or raw.endswith(b"\n"):
            return
