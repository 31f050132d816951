# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal's export format, redacted: only entries in which there may be something are taken apart."""

from __future__ import annotations

import re
from typing import Callable, Iterator, List, Tuple

from ..errors import EvidenceError
from .journal_export import LARGEST
from .journal_export import _end as entry_end
from .rules import compiled
from .values import Values

#: Entries without binary fields, in one pass.
_PLAIN = rb"(?:(?:[A-Z0-9_]+=[^\n]*\n)+\n+)*"
_BLANK = re.compile(rb"\n{2,}")


class Journal:
    """Redacts one file.

    :param name: of the file, for messages
    """

    def __init__(self, values: Values, name: str) -> None:
        self._values, self._name = values, name
        self._plain = compiled("journal", _PLAIN)
        fields = [re.escape(name).replace("_", "[_-]") for name in values.rules.fields]
        # An environment's own names of fields.
        self._fields = compiled("journal", rf"(?im)^(?:{'|'.join(fields)})\n?=?".encode()) if fields else None

    def read(self, given: Iterator[bytes], write: Callable[[bytes], None]) -> int:
        """Entries, and how many there are.

        :raises EvidenceError: it is not what journalctl writes
        """
        buffer, count = b"", 0
        for block in given:
            buffer += block
            cut = buffer.rfind(b"\n\n") + 2
            if cut > 1 and self._plain.fullmatch(buffer[:cut].lstrip(b"\n")):
                whole, buffer = buffer[:cut], buffer[cut:]
                count += self._block(whole, write)
                continue
            used, found = self._slowly(buffer, write)
            buffer, count = buffer[used:], count + found
            if len(buffer) > LARGEST:
                raise EvidenceError(f"{self._name} has an entry of more than {LARGEST} bytes", "Leave it out.")
        if buffer.strip(b"\n"):
            raise EvidenceError(f"{self._name} ends within an entry", "Collect again.")
        return count

    def _suspect(self, data: bytes) -> bool:
        rules = self._values.rules
        return bool(
            rules.anchored or rules.suspect.search(data) or (self._fields is not None and self._fields.search(data))
        )

    def _block(self, whole: bytes, write: Callable[[bytes], None]) -> int:
        """Entries without binary fields."""
        whole = whole.lstrip(b"\n")
        if b"\n\n\n" in whole:
            # journalctl may put one line feed more between what it shows.
            whole = _BLANK.sub(b"\n\n", whole)
        if not self._suspect(whole):
            write(whole)
            return whole.count(b"\n\n")
        parts: List[bytes] = []
        last = 0
        for begin, end in self._places(whole):
            parts += [whole[last:begin], self._entry(whole[begin:end])]
            last = end
        write(b"".join([*parts, whole[last:]]))
        return whole.count(b"\n\n")

    def _places(self, whole: bytes) -> Iterator[Tuple[int, int]]:
        """Begin and end of entries in which there may be something; of all, where only a look at each can tell."""
        place = 0
        while place < len(whole):
            found = None if self._values.rules.anchored else self._values.rules.suspect.search(whole, place)
            own = self._fields.search(whole, place) if self._fields else None
            first = min((match.start() for match in (found, own) if match), default=len(whole))
            if not self._values.rules.anchored:
                if first == len(whole):
                    return
                place = whole.rfind(b"\n\n", place, first) + 2 if b"\n\n" in whole[place:first] else place
            end = whole.index(b"\n\n", place) + 2
            yield place, end
            place = end

    def _slowly(self, buffer: bytes, write: Callable[[bytes], None]) -> Tuple[int, int]:
        """Whole entries of any form: how many bytes they are, and how many."""
        view = bytearray(buffer)
        position = count = 0
        parts: List[bytes] = []
        while True:
            if buffer.startswith(b"\n", position):
                position += 1
                continue
            end, _needed = entry_end(view, position)
            if end is None:
                break
            parts.append(self._entry(buffer[position:end]))
            position, count = end, count + 1
        write(b"".join(parts))
        return position, count

    def _entry(self, data: bytes) -> bytes:
        if not self._suspect(data):
            return data
        parts, changed = [], False
        for name, value in pairs(data):
            new = value
            # What the journal itself says of an entry; names of its own begin with two lines.
            if not name.startswith(b"__"):
                text = name.decode("ascii")
                new = self._values.named(text, self._values.rules.of_name(text), value)
            changed |= new != value
            if b"\n" in new or not _printable(new):
                parts.append(name + b"\n" + len(new).to_bytes(8, "little") + new + b"\n")
            else:
                parts.append(name + b"=" + new + b"\n")
        return b"".join([*parts, b"\n"]) if changed else data


def pairs(data: bytes) -> List[Tuple[bytes, bytes]]:
    """Name and value of all fields of an entry."""
    result: List[Tuple[bytes, bytes]] = []
    position = 0
    while not data.startswith(b"\n", position):
        line = data.index(b"\n", position)
        equals = data.find(b"=", position, line)
        if equals >= 0:
            result.append((data[position:equals], data[equals + 1 : line]))
            position = line + 1
        else:
            after = line + 9 + int.from_bytes(data[line + 1 : line + 9], "little")
            result.append((data[position:line], data[line + 9 : after]))
            position = after + 1
    return result


def _printable(value: bytes) -> bool:
    """Whether the journal writes a value as text."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(char >= " " or char == "\t" for char in text)
