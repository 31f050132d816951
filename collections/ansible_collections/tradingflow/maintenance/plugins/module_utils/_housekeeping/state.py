# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state file of logrotate: read as logrotate 3.21 reads it (readState in logrotate.c), written as it writes it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Dict, List, NamedTuple, Optional

TOPS = (b"logrotate state -- version 1\n", b"logrotate state -- version 2\n")
#: Of logrotate's buffer for a line.
_LONGEST = 16383
_NUMBER = rb"\s*([+-]?\d+)"
_CLOCK = rb"(?:-" + _NUMBER + rb"(?::" + _NUMBER + rb"(?::" + _NUMBER + rb")?)?)?"
_DATE = re.compile(_NUMBER + b"-" + _NUMBER + b"-" + _NUMBER + _CLOCK)
_RANGES = ((1, 12), (0, 31), (0, 23), (0, 59), (0, 59))


class State(NamedTuple):
    """What a state file says.

    :param entries: path of a log to the text of when it was rotated
    :param faults: what logrotate does not understand, such as "line 3"; at the first one it stops reading
    """

    entries: Dict[bytes, bytes]
    faults: List[str]


def parsed(content: bytes) -> State:
    """Reads a state file, also what comes after a fault. An empty one is a new one."""
    entries: Dict[bytes, bytes] = {}
    faults: List[str] = []
    lines = re.findall(rb"[^\n]*\n|[^\n]+", content)
    if lines and lines[0] not in TOPS:
        faults.append("line 1")
    for number, line in enumerate(lines[1:], 2):
        if line == b"\n":
            continue
        words = None if b"\0" in line or not line.endswith(b"\n") or len(line) > _LONGEST else arguments(line)
        if words is None or len(words) != 2 or moment(words[1]) is None:
            faults.append(f"line {number}")
        else:
            entries[words[0]] = words[1]
    return State(entries, faults)


def arguments(line: bytes) -> Optional[List[bytes]]:
    """The words of a line as popt has them; None when it is none."""
    words: List[bytes] = [b""]
    quote, place = b"", 0
    while place < len(line):
        char = line[place : place + 1]
        if quote and char == quote:
            quote = b""
        elif quote:
            if char == b"\\":
                place += 1
                char = line[place : place + 1]
                if not char:
                    return None
                if char != quote:
                    words[-1] += b"\\"
            words[-1] += char
        elif char.isspace():
            if words[-1]:
                words.append(b"")
        elif char in b"\"'":
            quote = char
        else:
            if char == b"\\":
                place += 1
                char = line[place : place + 1]
                if not char:
                    return None
            words[-1] += char
        place += 1
    return words if words[-1] else words[:-1]


def moment(text: bytes) -> Optional[datetime]:
    """When a log was rotated, in the host's own time; None when logrotate calls it bad."""
    match = _DATE.match(text)
    if not match:
        return None
    year, *rest = (int(each or 0) for each in match.groups())
    if year != 1900 and not 1970 <= year <= 2100:
        return None
    if any(not _RANGES[place][0] <= each <= _RANGES[place][1] for place, each in enumerate(rest)):
        return None
    month, day, hour, minute, second = rest
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        # The 31st of February and the 0th: mktime puts them right, and nobody needs them.
        return datetime(year, month, 1, hour, minute, second)


def written(entries: Dict[bytes, bytes]) -> bytes:
    """A state file. Paths that cannot be read back are left out: logrotate begins anew with them."""
    lines = [TOPS[1]]
    for path, date in entries.items():
        line = b'"' + path.replace(b'"', b'\\"') + b'" ' + date + b"\n"
        # popt takes a backslash as it is, but for one before a quote.
        if arguments(line) == [path, date] and line.count(b"\n") == 1:
            lines.append(line)
    return b"".join(lines)


def date(at: datetime) -> bytes:
    """A moment as logrotate writes it."""
    return f"{at.year}-{at.month}-{at.day}-{at.hour}:{at.minute}:{at.second}".encode()
