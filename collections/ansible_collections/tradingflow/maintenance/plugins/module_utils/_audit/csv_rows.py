# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records of CSV as COPY writes them, redacted; what does not change stays byte for byte."""

from __future__ import annotations

import re
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

from ..errors import EvidenceError
from .patterns import NAME_OF, VALUE_OF
from .rules import compiled
from .values import Values

#: A record of more bytes is none that can be redacted as a whole.
LARGEST = 64 * 1024 * 1024
_BARE = re.compile(rb'[^,"\r\n]*')
_QUOTES = re.compile(rb'"+')
_AFTER = re.compile(rb",|\r?\n")
#: Whole records, in one pass.
_WHOLE = rb'(?:(?:"(?:[^"]|"")*"|[^",\r\n]*)(?:,|\r?\n))*'
#: The same, of which each is a line.
_LINES = _WHOLE.replace(b'[^"]', b'[^"\\n]')
_NAMES, _VALUES = (re.compile(words, re.IGNORECASE) for words in (NAME_OF, VALUE_OF))


class Column(NamedTuple):
    """A column's name, and the rule of that name."""

    name: str
    rule: Optional[Tuple[str, str]]


class Rows:
    """Redacts one file.

    :param name: of the file, for messages
    """

    def __init__(self, values: Values, name: str) -> None:
        self._values, self._name = values, name
        self._columns: List[Column] = []
        #: Where a column says what another one's value is.
        self._says: Tuple[List[int], List[int]] = ([], [])
        self._whole, self._lines = compiled("csv", _WHOLE), compiled("csv", _LINES)

    def read(self, given: Iterator[bytes], write: Callable[[bytes], None]) -> int:
        """Records, the first of which names the columns; how many there are with it.

        :raises EvidenceError: it is no CSV
        """
        buffer, count = b"", 0
        for block in given:
            buffer += block
            end = _records(buffer)
            if not end:
                if len(buffer) > LARGEST:
                    raise EvidenceError(
                        f"{self._name} has a record of more than {LARGEST} bytes, which cannot be redacted as a whole",
                        "Leave the source out.",
                    )
                continue
            whole, buffer = buffer[:end], buffer[end:]
            if not count:
                after = self._header(whole)
                write(whole[:after])
                whole, count = whole[after:], 1
            count += self._block(whole, write)
        if buffer:
            raise EvidenceError(f"{self._name} ends within a record", "Collect again.")
        return count

    def _header(self, whole: bytes) -> int:
        """Where the names of the columns end."""
        position = 0
        while True:
            found = _cell(whole, position)
            if not found:
                raise EvidenceError(f"{self._name} does not begin with names of columns", "Collect again.")
            cell, _after, position, last = found
            name = cell.decode("utf-8", "replace")
            self._columns.append(Column(name, self._values.rules.of_name(name)))
            if last:
                break
        self._says = (
            [index for index, column in enumerate(self._columns) if _NAMES.fullmatch(column.name)],
            [index for index, column in enumerate(self._columns) if _VALUES.fullmatch(column.name)],
        )
        return position

    def _block(self, whole: bytes, write: Callable[[bytes], None]) -> int:
        """Records into what is written, and how many there are."""
        rules = self._values.rules
        every = rules.anchored or any(column.rule for column in self._columns) or bool(self._says[0] and self._says[1])
        # Quotes within a cell are doubled: patterns are for what it says.
        if not every and not rules.suspect.search(whole.replace(b'""', b'"') if b'""' in whole else whole):
            if not self._whole.fullmatch(whole):
                raise self._no_csv()
            write(whole)
            if b'"' not in whole or self._lines.fullmatch(whole):
                return whole.count(b"\n")
            return sum(1 for _row in _rows(whole))
        parts: List[bytes] = []
        count = 0
        for row in _rows(whole):
            count += 1
            parts.append(self._row(row) if every or rules.suspect.search(row.replace(b'""', b'"')) else self._same(row))
        write(b"".join(parts))
        return count

    def _same(self, row: bytes) -> bytes:
        if not self._whole.fullmatch(row):
            raise self._no_csv()
        return row

    def _row(self, row: bytes) -> bytes:
        cells: List[Any] = []
        position = 0
        while position < len(row):
            found = _cell(row, position)
            if not found:
                raise self._no_csv()
            cell, after, following, _ends = found
            cells.append((cell, position, after))
            position = following
        names, values = self._says
        said = [cells[index][0].decode("utf-8", "replace") for index in names if values and index < len(cells)]
        says = next((name for name in said if self._values.rules.of_name(name)), "")
        parts: List[bytes] = []
        last = 0
        for index, (cell, begin, after) in enumerate(cells):
            column = self._columns[index] if index < len(self._columns) else Column("", None)
            if says and index in values and not column.rule:
                column = Column(says, self._values.rules.of_name(says))
            if after > begin:
                new = self._values.named(column.name, column.rule, cell)
                if new != cell:
                    parts += [row[last:begin], b'"' + new.replace(b'"', b'""') + b'"']
                    last = after
        return b"".join([*parts, row[last:]])

    def _no_csv(self) -> EvidenceError:
        return EvidenceError(f"{self._name} has a record that is not CSV", "Collect again.")


def _rows(whole: bytes) -> Iterator[bytes]:
    """Records one by one: lines, joined where quotes are open."""
    if b'"' not in whole:
        yield from whole.splitlines(True) if b"\r" not in whole else _lines(whole)
        return
    waiting: List[bytes] = []
    quotes = 0
    for line in _lines(whole):
        waiting.append(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, quotes = [], 0
    if waiting:
        yield b"".join(waiting)


def _lines(whole: bytes) -> List[bytes]:
    """Lines by their line feeds alone."""
    lines = whole.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _records(buffer: bytes) -> int:
    """Where the last whole record of CSV ends: at a line feed with an even number of quotes before it."""
    end, quotes = len(buffer), buffer.count(b'"')
    while True:
        before = buffer.rfind(b"\n", 0, end)
        if before < 0:
            return 0
        quotes -= buffer.count(b'"', before, end)
        if quotes % 2 == 0:
            return before + 1
        end = before


def _cell(whole: bytes, begin: int) -> Optional[Tuple[bytes, int, int, bool]]:
    """A cell, where it ends, where the next one begins, and whether the record ends; in little memory."""
    if whole[begin : begin + 1] == b'"':
        # Two quotes are one; the cell ends with the last of an odd number.
        end = next((run.end() for run in _QUOTES.finditer(whole, begin + 1) if len(run[0]) % 2), 0)
        if not end:
            return None
        cell = whole[begin + 1 : end - 1].replace(b'""', b'"')
    else:
        end = _BARE.match(whole, begin).end()  # type: ignore[union-attr]
        cell = whole[begin:end]
    separator = _AFTER.match(whole, end)
    return (cell, end, separator.end(), separator[0] != b",") if separator else None
