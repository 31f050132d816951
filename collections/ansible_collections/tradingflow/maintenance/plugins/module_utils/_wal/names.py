# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arithmetic of WAL segments: names, numbers, and what is missing between them, over changes of the timeline."""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, NamedTuple, Optional, Set

from .._pgbackrest.wal import number

_SEGMENT = re.compile(r"[0-9A-F]{24}")
#: Segments per 4 GB of WAL with PostgreSQL's own segment size, 16 MB.
_USUAL = 256
_FOUR_GB = 1 << 32


class Hole(NamedTuple):
    """Segments of one timeline that are missing, from the first to the last."""

    timeline: int
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


def is_segment(name: str) -> bool:
    """Whether this is a segment's name."""
    return bool(_SEGMENT.fullmatch(name))


def timeline(segment: str) -> int:
    """The timeline of a segment."""
    return int(segment[:8], 16)


def name(of_timeline: int, place: int, size: int) -> str:
    """Name of a segment.

    :param place: see wal.number
    :param size: bytes of a segment (wal_segment_size)
    """
    per_file = _FOUR_GB // size
    return f"{of_timeline:08X}{place // per_file:08X}{place % per_file:08X}"


def guessed_size(segments: Iterable[str]) -> int:
    """Bytes of a segment, from the names: of an older cluster nobody else can tell.

    The last part of a name counts up to 4 GB, then the middle part goes up by one. Of WAL that never got there nothing
    depends on the size.
    """
    parts = [(each[:8], int(each[8:16], 16), int(each[16:], 16)) for each in segments]
    files = {(line, high) for line, high, _low in parts}
    # Full ones only: the timeline went on to the next.
    ends = [low for line, high, low in parts if (line, high + 1) in files]
    if not ends:
        highest = max((low for _line, _high, low in parts), default=0)
        return _FOUR_GB // _USUAL if highest < _USUAL else _FOUR_GB // (1 << highest.bit_length())
    return _FOUR_GB // (1 << max(ends).bit_length())


def holes(segments: Iterable[str], start: str, size: int) -> List[Hole]:
    """What is missing from a segment on to the newest of each timeline.

    Which timeline another left, and where, is in history files that are encrypted: it goes by the first segment of
    each. PostgreSQL begins a timeline with a copy of the segment in which it left the one before.

    :param start: the first segment that is needed
    """
    given = set(segments)
    first_line, found = timeline(start), _by_timeline({*given, start}, start, size)
    if start not in given:
        found[first_line].discard(number(start, size))
    result: List[Hole] = []
    for line in sorted(found):
        have = found[line]
        expected = number(start, size) if line == first_line else _begins(line, found)
        if expected is None:
            expected = min(have)
        result += _between(line, expected, have)
    return result


def _by_timeline(segments: Iterable[str], start: str, size: int) -> Dict[int, Set[int]]:
    """Numbers by timeline, of what is needed from the start on."""
    result: Dict[int, Set[int]] = {}
    for each in segments:
        line, place = timeline(each), number(each, size)
        if line > timeline(start) or (line == timeline(start) and place >= number(start, size)):
            result.setdefault(line, set()).add(place)
    return result


def _begins(line: int, found: Dict[int, Set[int]]) -> Optional[int]:
    """The first segment that a timeline must have when what is before it is all there; None for the first it has."""
    first = min(found[line])
    parents = [each for each in found if each < line and found[each]]
    if any(min(found[each]) <= first <= max(found[each]) + 1 for each in parents):
        return None
    before = [max(found[each]) + 1 for each in parents if max(found[each]) < first]
    return max(before) if before else None


def _between(line: int, expected: int, have: Set[int]) -> List[Hole]:
    result = []
    for place in sorted(have):
        if place > expected:
            result.append(Hole(line, expected, place - 1))
        expected = max(expected, place + 1)
    if not have:
        result.append(Hole(line, expected, expected))
    return result


def listed(found: List[Hole], size: int, most: int = 5) -> List[str]:
    """Names of the first missing segments."""
    names: List[str] = []
    for hole in found:
        for place in range(hole.first, min(hole.last + 1, hole.first + most - len(names))):
            names.append(name(hole.timeline, place, size))
    return names[:most]
