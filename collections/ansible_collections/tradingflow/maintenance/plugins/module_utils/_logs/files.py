# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log files: those of a pattern and what was rotated away, from the right place on, whatever happens meanwhile."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import lzma
import os
import re
import stat
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO, Dict, Iterator, List, Optional, Set, Tuple

from .._checks import printable, size
from .entries import Entries, decoded
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

_ROTATED = r"[.-]\d[\dTZ._:-]*(?:\.(?:gz|bz2|xz|lzma|zst))?"
_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError)


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


class Files:
    """Reads the files of one source into a tally.

    :param source: path, max_bytes, max_line
    """

    def __init__(self, source: Dict[str, Any], entries: Entries, tally: Tally) -> None:
        self._pattern = source["path"]
        self._max_line = source["max_line"]
        self._max_bytes = source["max_bytes"]
        self._entries, self._tally = entries, tally
        self._left = self._max_bytes
        self._cut = False
        self._seen: Set[Tuple[int, int]] = set()
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
            for one in opened:
                self._file(one)
            # What came in by another name while we read: the rest of a log is in its successor.
            for path in listed(self._pattern):
                late = self._open(path, stack) if _inode(path) not in (None, *self._seen) else None
                # What was compressed meanwhile was read before.
                if late and _magic(late.file) == "plain":
                    self._file(late)
            for one in opened:
                if os.fstat(one.file.fileno()).st_size < one.size:
                    raise Truncated(one.path)

    def _snapshot(self, stack: ExitStack) -> List[Opened]:
        """All files opened at one moment: a rotation between listing and opening is noticed, and it begins anew."""
        for _attempt in range(5):
            self.doubts, self.problem, self._seen = [], "", set()
            found: Dict[Tuple[int, int], Opened] = {}
            for path in listed(self._pattern):
                one = self._open(path, stack)
                if one:
                    found.setdefault(one.inode, one)
            if all(_inode(path) in (None, *self._seen) for path in listed(self._pattern)):
                break
        if self.problem and found:
            self.doubts.append(self.problem)
            self.problem = ""
        return sorted(found.values(), key=lambda one: -one.changed)

    def _open(self, path: str, stack: ExitStack) -> Optional[Opened]:
        """A file that has something of the window; others are closed again or leave word in problem."""
        name = printable(path)
        try:
            status = os.stat(path)
            self._seen.add((status.st_dev, status.st_ino))
            if not stat.S_ISREG(status.st_mode):
                if path == self._pattern:
                    self.problem = f"{name} is no file" + (": a folder" if stat.S_ISDIR(status.st_mode) else "")
                return None
            self.names.append(name)
            if status.st_mtime <= self._tally.since:
                self._tally.older = True
                return None
            # A pipe that takes the file's place meanwhile must not stop us.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            if path == self._pattern and not os.path.lexists(path) and len(listed(path)) > 1:
                return None  # Rotated away, and nothing was logged since.
            self.problem = f"{name} is not there"
            return None
        except OSError as error:
            self.problem = f"{name} cannot be read: {error.strerror}"
            return None
        file = stack.enter_context(os.fdopen(descriptor, "rb", buffering=32768))
        status = os.fstat(descriptor)
        return Opened(path, file, (status.st_dev, status.st_ino), status.st_size, status.st_mtime)

    def _file(self, one: Opened) -> None:
        self._entries.times.restart()
        kind = _magic(one.file)
        name = printable(os.path.basename(one.path))
        if kind == "plain":
            self._plain(one, name)
            return
        try:
            stream = _decompressed(kind, one.file)
            if stream is None:
                self.doubts.append(f"{name} is compressed with {kind}, which cannot be read here")
                return
            self._tally.begin()
            self._feed(stream, SKIPPED * self._max_bytes, name, compressed=True)
        except _DAMAGED as error:
            self.doubts.append(f"{name} is damaged ({type(error).__name__}); what comes before that place is counted")

    def _plain(self, one: Opened, name: str) -> None:
        start = self._start(one)
        self._tally.begin(midway=start > 0)
        one.file.seek(start)
        if start:
            _skip_line(one.file)
        left = max(0, one.size - one.file.tell())
        self._left -= left
        self._feed(one.file, left, name)
        if _inode(one.path) != one.inode:
            # Rotated: nobody reads the rest under this name again.
            self._feed(one.file, max(self._max_bytes, BLOCK), name)
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
            if old == OLD_BLOCKS:
                self._cut, self._tally.older = False, True
                break
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

    def _feed(self, stream: Any, most: int, name: str, compressed: bool = False) -> None:
        """Lines into the tally, until the stream ends or so many bytes were read.

        :param compressed: where the window begins can only be found by reading up to it
        """
        tally, left = self._tally, most
        for raw, length in lines(stream, most, self._max_line):
            left -= length
            text, guessed = decoded(raw)
            if text:
                tally.guessed += guessed
                tally.add(self._entries.line(text))
            if tally.within:
                tally.bytes += length
                if compressed:
                    self._left -= length
                    if self._left < 0:
                        left = 0
            if left <= 0:
                break
        if left <= 0 and compressed and stream.read(1):
            self.doubts.append(f"{name} has more than can be read ({size(self._max_bytes)}); its end is missing")


def lines(stream: Any, most: int, longest: int) -> Iterator[Tuple[bytes, int]]:
    """Lines of the next so many bytes, each cut to the longest, with the bytes it really took."""
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
        while not raw.endswith(b"\n") and length < most:
            rest = stream.readline(min(65536, most - length))
            length += len(rest)
            if not rest or rest.endswith(b"\n"):
                break
        most -= length
        yield raw, length


def listed(pattern: str) -> List[str]:
    """The files of a pattern, and beside each those that were rotated away from it: .1, .2.gz, -20261123.gz."""
    paths = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]
    folders: Dict[str, List[str]] = {}
    found = dict.fromkeys(paths or [pattern])
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            try:
                folders[folder] = sorted(os.listdir(folder or "."))
            except OSError:
                folders[folder] = []
        rotated = re.compile(re.escape(name) + _ROTATED)
        found.update(
            dict.fromkeys(os.path.join(folder, other) for other in folders[folder] if rotated.fullmatch(other))
        )
    return list(found)


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


def _magic(file: BinaryIO) -> str:
    file.seek(0)
    head = file.read(6)
    file.seek(0)
    for kind, begin in (("gzip", b"\x1f\x8b"), ("bzip2", b"BZh"), ("xz", b"\xfd7zXZ\0"), ("zstd", b"\x28\xb5\x2f\xfd")):
        if head.startswith(begin):
            return kind
    return "plain"


def _decompressed(kind: str, file: BinaryIO) -> Any:
    if kind == "gzip":
        return io.BufferedReader(gzip.GzipFile(fileobj=file))  # type: ignore[arg-type]
    if kind == "bzip2":
        return bz2.BZ2File(file)
    return lzma.LZMAFile(file) if kind == "xz" else None
