# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal's export format, by its grammar: text fields, and binary ones with their length."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Generator, Iterator, Optional, Sequence, Tuple, Union

from ..errors import EvidenceError

#: Larger entries hold whole files, and would need as much memory.
LARGEST = 64 * 1024 * 1024
_FIELD = re.compile(rb"[A-Z0-9_]{1,64}")
_TEXT_ENTRY = re.compile(rb"(?:[A-Z0-9_]{1,64}=[^\n]*\n)+\n")
#: A line that is no text field, as a binary field begins; the begin of one that goes on in what comes next; or an
#: empty one too many.
_NO_TEXT = re.compile(rb"\n(?![A-Z0-9_]{1,64}=|\n(?!\n)|\Z)")
_HEAD = re.compile(
    rb"\n\n__CURSOR=s=([0-9a-f]{1,32});i=([0-9a-f]{1,16});b=([0-9a-f]{1,32});m=([0-9a-f]{1,16});t=([0-9a-f]{1,16});[^\n]*\n"
    rb"__REALTIME_TIMESTAMP=(\d{1,19})\n"
)
#: So much is looked at together.
_TOGETHER = 512 * 1024
_BEGIN = re.compile(rb"__CURSOR=([^\n]*)\n__REALTIME_TIMESTAMP=(\d{1,19})\n")
_CURSOR = re.compile(
    rb"s=([0-9a-f]{1,32});i=([0-9a-f]{1,16});b=([0-9a-f]{1,32});m=([0-9a-f]{1,16});t=([0-9a-f]{1,16});.*"
)


class NotExport(EvidenceError):
    """What journalctl gave out is not the export format, or ends within an entry."""


@dataclass
class Entry:
    """An entry.

    :param data: exactly as it stands
    :param at: microseconds since 1970
    :param sequence: its number within the source
    :param source: id of what counts the numbers
    :param up: for how long the host ran, in microseconds and hexadecimal digits
    """

    data: bytes
    at: int
    sequence: int
    source: bytes
    boot: bytes
    up: bytes = b"0"

    def field(self, name: bytes) -> Optional[bytes]:
        """The first value of a field."""
        if b"\n" + name not in self.data:
            return None
        return fields(self.data)[0].get(name)

    def count(self) -> int:
        """How many fields it has, without those that journalctl adds."""
        return fields(self.data)[1]


@dataclass
class Block:
    """Entries that follow each other and have text fields only; what Entry has of each, in columns.

    :param data: exactly as they stand
    """

    data: bytes
    sources: Sequence[bytes]
    sequences: Sequence[int]
    boots: Sequence[bytes]
    ups: Sequence[bytes]
    times: Sequence[int]

    def count(self) -> int:
        """How many fields they have, without those that journalctl adds."""
        return self.data.count(b"\n") - len(self.times) - self.data.count(b"\n__") - 1

    def entries(self) -> Iterator[Entry]:
        """Each for itself."""
        position = 0
        columns = zip(self.times, self.sequences, self.sources, self.boots, self.ups)  # noqa: B905 Python 3.9
        for at, sequence, source, boot, up in columns:
            end = self.data.index(b"\n\n", position) + 2
            yield Entry(self.data[position:end], at, sequence, source, boot, up)
            position = end


def entries(chunks: Iterator[bytes]) -> Iterator[Entry]:
    """All entries of a stream.

    :raises NotExport: something does not belong there; what came before has been given
    """
    for piece in pieces(chunks):
        if isinstance(piece, Block):
            yield from piece.entries()
        else:
            yield piece


def pieces(chunks: Iterator[bytes]) -> Iterator[Union[Block, Entry]]:
    """All entries of a stream: those of text fields in blocks, which costs a tenth, and each other one for itself.

    :raises NotExport: something does not belong there; what came before has been given
    """
    buffer, needed = bytearray(), 0
    for chunk in chunks:
        buffer += chunk
        if len(buffer) < needed and needed > LARGEST:
            raise NotExport(f"an entry has {needed} bytes or more; at most {LARGEST} can be read")
        if len(buffer) < max(needed, _TOGETHER):
            continue
        used, needed = yield from _whole(buffer)
        del buffer[:used]
        if not used:
            # An entry that is long: not looked at again with each chunk.
            needed = max(needed, min(2 * len(buffer), LARGEST))
        if len(buffer) > LARGEST:
            raise NotExport(f"an entry has more than {LARGEST} bytes")
    used, _needed = yield from _whole(buffer)
    if buffer[used:].strip(b"\n"):
        raise NotExport("it ends within an entry")


def _whole(buffer: bytearray) -> Generator[Union[Block, Entry], None, Tuple[int, int]]:
    """The whole entries of a buffer; returns how many bytes they are, and up to where the next one needs more."""
    position = singly = 0
    while True:
        if buffer.startswith(b"\n", position):
            # journalctl may put one line feed more between what it shows.
            position += 1
            continue
        if position >= singly:
            other = _NO_TEXT.search(buffer, max(0, position - 1))
            cut = buffer.rfind(b"\n\n", position, other.start() + 1 if other else len(buffer)) + 2
            block = _block(bytes(buffer[position:cut])) if cut > 1 else None
            if block:
                yield block
                position = cut
                continue
            singly = cut
        end, needed = _end(buffer, position)
        if end is None:
            return position, needed - position
        yield _entry(bytes(buffer[position:end]))
        position = end


def _block(data: bytes) -> Optional[Block]:
    """Entries of which each line is a text field, by their heads; None where one has none, or is odd otherwise."""
    found = _HEAD.findall(b"\n\n" + data)
    # A head stands at the begin of an entry, so that there are as many only when each has one.
    if not found or len(found) != data.count(b"\n\n"):
        return None
    sources, numbers, boots, ups, same, ats = zip(*found)  # noqa: B905 Python 3.9
    times = [int(at) for at in ats]
    if [int(at, 16) for at in same] != times:
        return None
    return Block(data, sources, [int(number, 16) for number in numbers], boots, ups, times)


def _end(buffer: bytearray, position: int) -> Tuple[Optional[int], int]:
    """Where the entry that begins here ends; else None, and up to where more is needed at least."""
    match = _TEXT_ENTRY.match(buffer, position)
    if match:
        return match.end(), 0
    while True:
        if buffer.startswith(b"\n", position):
            return position + 1, 0
        line = buffer.find(b"\n", position)
        if line < 0:
            return None, len(buffer) + 1
        equals = buffer.find(b"=", position, line)
        name = bytes(buffer[position : line if equals < 0 else equals])
        if not _FIELD.fullmatch(name):
            raise NotExport("it has a line that is no field")
        if equals >= 0:
            position = line + 1
            continue
        if len(buffer) < line + 9:
            return None, line + 9
        after = line + 9 + int.from_bytes(buffer[line + 1 : line + 9], "little")
        if len(buffer) <= after:
            return None, after + 1
        if buffer[after : after + 1] != b"\n":
            raise NotExport("a binary field does not end where it says")
        position = after + 1


def fields(data: bytes) -> Tuple[Dict[bytes, bytes], int]:
    """The fields of one whole entry, of repeated ones the first; and how many there are that journalctl did not add."""
    result: Dict[bytes, bytes] = {}
    position = count = 0
    while not data.startswith(b"\n", position) and position < len(data):
        count += not data.startswith(b"__", position)
        line = data.index(b"\n", position)
        equals = data.find(b"=", position, line)
        if equals >= 0:
            result.setdefault(data[position:equals], data[equals + 1 : line])
            position = line + 1
        else:
            after = line + 9 + int.from_bytes(data[line + 1 : line + 9], "little")
            result.setdefault(data[position:line], data[line + 9 : after])
            position = after + 1
    return result, count


def _entry(data: bytes) -> Entry:
    match = _BEGIN.match(data)
    if match:
        cursor, at = match[1], match[2]
    else:
        found = fields(data)[0]
        cursor, at = found.get(b"__CURSOR", b""), found.get(b"__REALTIME_TIMESTAMP", b"")
    place = _CURSOR.fullmatch(cursor)
    if not place or not at.isdigit() or int(at) != int(place[5], 16):
        raise NotExport("an entry has no cursor or no time, or they contradict each other")
    return Entry(data, int(at), int(place[2], 16), place[1], place[3], place[4])
