# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of a log that are of a period, told from the others in bounded memory."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from .._logs.encoding import decoded
from .._logs.entries import Entries
from .._logs.times import Times

#: Whatever zone a time is of, it is not further from UTC than this.
_MARGIN = 26 * 3600
#: Of a longer line, its begin says of when it is.
HEAD = 64 * 1024
#: Lines before the first one with a time are kept so long.
_WAITING = 1024 * 1024
#: So many of them are looked at one by one, in the hope that the rest can be judged together.
_WAITING_LINES = 20
#: So many lines without a time, and not indented, may follow one that is not of the period.
_FOLLOWING = 1000
#: At a line's begin: a time or a day, in a form that is not understood when it comes to that.
_STAMP = re.compile(
    rb"(?<![\w:.])\d\d:\d\d:\d\d(?![\w:])"
    rb"|(?<![\w./-])(?:\d{4}[./-]\d\d?[./-]\d\d?|\d\d?[./-]\d\d?[./-]\d{4})(?![\d/-])"
)
_STAMP_WITHIN = 40

_ISO = rb"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d"
_KEYS = rb'"(?i:@?timestamp|time|ts|@?t|at|datetime|date|asctime|eventtime)"'
_ANY = re.compile(_ISO)
#: A line that says its time where it is looked for, in the one form. The empty group is all that findall keeps.
_LINE = re.compile(
    rb"\n(?:"
    + _ISO
    + rb"|[^\s{][^\n]{0,39}?"
    + _ISO
    + rb"|\{[^\n]{0,400}?"
    + _KEYS
    + rb'\s{0,4}:\s{0,4}"'
    + _ISO
    + rb")()"
)
_SAYS = (
    rb'"(?i:@?timestamp|time|ts|@?t|at|datetime|date|asctime|eventtime|(?:observed)?time_?unix_?nano|instant)"'
    rb"\s{0,4}:\s{0,4}"
)
_NUMBER = re.compile(_SAYS + rb'(?:"?\d{9}|\{)')
_JUST_BEFORE = b'": \t'
_BEFORE = re.compile(_SAYS + rb'"?\Z')


#: All digits as one, both ways of writing a day as one.
_SHAPE = bytes.maketrans(b"123456789/", b"000000000-")
_STAMPS = (b"0000-00-00T00:00:00", b"0000-00-00 00:00:00")
#: What follows a time that is of UTC, up to where nothing of it can follow any more; and one that names no zone.
_UTC = re.compile(rb"(?:\.\d{1,9})?(?:Z| UTC| GMT)[\s\",\]|]")
_NO_ZONE = re.compile(rb"(?:\.\d{1,9})?\"")


class Selection:
    """Hands on the lines of a period.

    :param source: see _logs.entries.Entries; time_zone
    :param write: takes what is of the period
    """

    def __init__(self, source: Dict[str, Any], begin: float, end: float, now: float, write: Callable[[bytes], None]):
        self._times = Times(source.get("time_zone") or "local", now)
        self._entries = Entries(source, self._times)
        self._begin, self._end, self._write = begin, end, write
        self._plain = not source.get("time_pattern") and (source.get("format") or "auto") in ("auto", "json", "text")
        self._inner = (_iso(begin + _MARGIN), _iso(end - _MARGIN)) if end - begin > 2 * _MARGIN else None
        self._outer = (_iso(begin - _MARGIN), _iso(end + _MARGIN))
        zone = source.get("time_zone") or "local"
        #: Whether a time that names no zone is of UTC.
        self._utc = zone == "UTC" or (zone == "local" and time.tzname == ("UTC", "UTC") and not time.timezone)
        #: Lines of the period, and others.
        self.kept = self.left = 0
        #: When the first line with a time is of.
        self.first: Optional[float] = None
        #: Lines that were taken as nobody knows of when they are: their time is not understood, or they are too many.
        self.strange = 0
        self._following = 0
        self._inside: Optional[bool] = None
        self._rest = b""
        self._long: Optional[bool] = None
        self._waiting: List[bytes] = []
        self._waits = 0

    def add(self, block: bytes) -> None:
        """Takes the next bytes in."""
        data = self._rest + block
        if self._long is not None:
            # The rest of a line whose begin was judged.
            end = data.find(b"\n") + 1
            if not end:
                self._rest = b""
                self._give(data, self._long)
                return
            self._give(data[:end], self._long)
            self._count(self._long, 1)
            data, self._long = data[end:], None
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if end:
            self._whole(data[:end])
        if len(self._rest) > HEAD:
            self._long = self._judged(self._rest[:HEAD])
            self._long = True if self._long is None else self._long
            self._give(self._rest, self._long)
            self._rest = b""

    def end(self) -> None:
        """Nothing more comes."""
        if self._long is not None:
            self._count(self._long, 1)
        elif self._rest:
            self._slow(self._rest)
        self._rest, self._long = b"", None
        self._release(True)

    def _whole(self, data: bytes) -> None:
        """Whole lines."""
        for _line in range(_WAITING_LINES if self._plain else 0):
            if self.first is not None or not data:
                break
            end = data.find(b"\n") + 1
            self._slow(data[:end])
            data = data[end:]
        if not data:
            return
        count = data.count(b"\n")
        inside = self._at_once(data, count) if self._plain and self.first is not None else None
        if inside is None:
            for line in data.splitlines(True) if b"\r" not in data else _split(data):
                self._slow(line)
            return
        self._inside, self._following = inside, 0
        self._give(data, inside)
        self._count(inside, count)

    def _at_once(self, data: bytes, count: int) -> Optional[bool]:
        """Whether all lines are of the period, or none is; None when they have to be looked at one by one."""
        if self._inside is None:
            return None
        stamps, exact = _leading(data, count, (_UTC, _NO_ZONE) if self._utc else (_UTC,))
        if stamps is not None and exact:
            begin, end = _iso(self._begin), _iso(self._end)
            if begin <= min(stamps) and max(stamps) < end:
                return True
            return False if max(stamps) < begin or end <= min(stamps) else None
        if stamps is None:
            if len(_LINE.findall(b"\n" + data)) != count or (b"{" in data and _NUMBER.search(data)):
                return None
            stamps = {stamp.replace(b"/", b"-").replace(b" ", b"T") for stamp in set(_ANY.findall(data))}
        low, high = min(stamps), max(stamps)
        if self._inside and self._inner and self._inner[0] <= low and high < self._inner[1]:
            return True
        if not self._inside and (high < self._outer[0] or low >= self._outer[1]):
            return False
        return None

    def _slow(self, line: bytes) -> None:
        inside = self._judged(line[:HEAD])
        if inside is None:
            self._waiting.append(line)
            self._waits += len(line)
            if self._waits > _WAITING:
                self._release(True)
            return
        self._give(line, inside)
        self._count(inside, 1)

    def _judged(self, line: bytes) -> Optional[bool]:
        """Whether a line is taken; None before the first one with a time."""
        at = self._entries.line(decoded(line)[0]).at
        if at is None:
            return self._inside if self._inside is None else self._goes_on(line, self._inside)
        inside = self._begin <= at < self._end
        if self.first is None:
            self.first = at
            # What stands before the first line with a time belongs to it, as a banner does. What is indented is the
            # rest of an entry that another file has: of one before.
            rest = bool(self._waiting) and self._waiting[0][:1] in (b" ", b"\t") and at >= self._begin
            self._release(inside or rest)
        self._inside, self._following = inside, 0
        return inside

    def _goes_on(self, line: bytes, inside: bool) -> bool:
        """Whether a line without a time is taken: as the one with a time, unless it may well be of another time."""
        if inside or line[:1].isspace():
            return inside
        self._following += 1
        stamp = _STAMP.search(line[:_STAMP_WITHIN])
        if stamp:
            # A part of an entry may say its time, too, as PostgreSQL's STATEMENT does.
            found = self._times.find(decoded(line[:HEAD])[0])
            if found:
                return self._begin <= found[0] < self._end
        if self._following <= _FOLLOWING and not stamp:
            return False
        self.strange += 1
        return True

    def _release(self, inside: bool) -> None:
        for line in self._waiting:
            taken = self._goes_on(line, inside)
            self._give(line, taken)
            self._count(taken, 1)
        self._waiting, self._waits = [], 0

    def _give(self, data: bytes, inside: bool) -> None:
        if inside:
            self._write(data)

    def _count(self, inside: bool, lines: int) -> None:
        if inside:
            self.kept += lines
        else:
            self.left += lines


def _split(data: bytes) -> List[bytes]:
    """Lines by their line feeds alone."""
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def _iso(at: float) -> bytes:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S").encode()


def _times(stamps: Set[bytes]) -> bool:
    """Whether all are times that there are."""
    try:
        for day in {stamp[:10] for stamp in stamps}:
            datetime.strptime(day.decode("ascii"), "%Y-%m-%d")
    except ValueError:
        return False
    clocks = {stamp[11:] for stamp in stamps}
    return all(clock[:2] < b"24" and clock[3:5] < b"60" and clock[6:] < b"60" for clock in clocks)


def _leading(data: bytes, count: int, zones: Sequence["re.Pattern[bytes]"]) -> Tuple[Optional[Set[bytes]], bool]:
    """The times of lines that all begin alike, as most logs do, without looking at each by a pattern.

    :param count: of the lines
    :param zones: what follows a time of UTC
    :returns: None when they do not, or when another time may be in one of them; and whether they are of UTC
    """
    line = data[: data.find(b"\n") + 1]
    first = _LINE.match(b"\n" + line)
    if not first:
        return None, False
    end = first.end() - 1
    shape = data.translate(_SHAPE)
    if shape.count(b"\n" + shape[:end]) != count - 1 or sum(map(shape.count, _STAMPS)) != count:
        return None, False
    if b"{" in data:
        # A member with a number, or an object, may say the time too.
        inner = shape.count(b"{") > shape.count(b"\n{") + 1
        for mark in (b"000000000", b"{") if inner else (b"000000000",):
            place = shape.find(mark, 1)
            while place >= 0:
                if shape[place - 1] in _JUST_BEFORE and _BEFORE.search(data, max(0, place - 40), place):
                    return None, False
                place = shape.find(mark, place + len(mark))
    begin = end - len(_STAMPS[0])
    found = {line[begin:end] for line in data.split(b"\n")}
    stamps = {stamp.replace(b"/", b"-").replace(b" ", b"T") for stamp in found if stamp}
    zone = next((match for match in (zone.match(line, end) for zone in zones) if match), None)
    # In quotes a text's own time is none.
    plain = line.startswith(b"{") or line[max(0, begin - 1) : begin] in (b"", b" ", b"\t", b"[", b"=", b"|")
    exact = plain and zone is not None and _times(stamps) and shape.count(b"\n" + shape[: zone.end()]) == count - 1
    return stamps, exact
