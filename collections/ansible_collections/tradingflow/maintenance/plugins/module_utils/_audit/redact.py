# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was collected, without secrets and without what an environment's rules name: file by file, in bounded memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator, List, Tuple

from ..errors import EvidenceError
from .collected import File, Source
from .commands import WORD
from .csv_rows import Rows
from .extents import LONGEST
from .extents import value as value_at
from .journal_text import Journal
from .packing import Packed, Scratch, blocks, digest_of
from .rules import Rules
from .values import Counts, Values

#: Kept back of each block, so that what is split over its end is seen whole.
_CARRY = 32 * 1024
#: A longer line, cell or entry cannot be looked at as a whole.
_LINE = 64 * 1024 * 1024
_WORKERS = 2

Write = Callable[[bytes], None]


def source(staging: Path, given: Source, scratch: Scratch, rules: Rules) -> Source:
    """The files of one source anew in another folder, redacted.

    The ledger's records are left as they are: they are signed, and have no secrets.

    :param scratch: of the other folder
    :returns: with the new files' sizes and digests, and how often each rule replaced something
    :raises EvidenceError: a file is not what was collected, or cannot be read as what it is
    """
    files: List[File] = []
    counts: Counts = dict(given.redactions)
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="redact") as pool:
        for file, found in pool.map(lambda each: _file(staging, scratch, given, each, rules), given.files):
            files.append(file)
            for name, count in found.items():
                counts[name] = counts.get(name, 0) + count
    return replace(given, files=files, redactions=dict(sorted(counts.items())))


def _file(staging: Path, scratch: Scratch, source: Source, file: File, rules: Rules) -> Tuple[File, Counts]:
    path, counts = str(staging / file.path), {}  # type: Tuple[str, Counts]
    if digest_of(path) != file.sha256:
        raise EvidenceError(f"{file.path} is not what was collected: its digest differs", "Collect again.")
    with Packed(scratch, file.path) as packed:
        if source.kind == "ledger":
            for block in blocks(path):
                packed.write(block)
        else:
            one = Redaction(rules, counts, file.path)
            # An application's log may be called as it likes; only these sources write these forms.
            if source.kind in ("journal", "clock") and file.path.endswith(".export.gz"):
                records = one.export(blocks(path), packed.write)
            elif source.kind == "table":
                # Its first line says what the columns are.
                records = one.csv(blocks(path), packed.write) - 1
            else:
                records = one.text(blocks(path), packed.write)
            if records != file.records:
                raise EvidenceError(
                    f"{file.path} has {records} records, not the {file.records} that were collected", "Collect again."
                )
        return packed.close(file.records), counts


class Redaction:
    """Redacts one file.

    :param counts: gets how often each rule replaced something
    """

    def __init__(self, rules: Rules, counts: Counts, name: str = "") -> None:
        self._rules, self._name = rules, name
        self._values = Values(rules, counts)

    def text(self, given: Iterator[bytes], write: Write) -> int:
        """Lines of text, or of JSON; and how many there are."""
        buffer, count, last = b"", 0, b"\n"
        for block in given:
            count += block.count(b"\n")
            last = block[-1:]
            buffer += block
            if len(buffer) < 2 * _CARRY:
                continue
            cut = buffer.rfind(b"\n", 0, len(buffer) - _CARRY) + 1
            spans = self._spans(buffer) if cut else []
            # Not within what one match spans; where matches are in adjacent lines is between them.
            for begin, end in reversed(spans):
                if begin < cut < end:
                    cut = begin
            if cut:
                write(self._within(buffer[:cut], [each for each in spans if each[1] <= cut]))
                buffer = buffer[cut:]
            elif len(buffer) > _LINE:
                raise EvidenceError(
                    f"{self._name} has a record of more than {_LINE} bytes, which cannot be redacted as a whole",
                    "Leave the source out, or have what writes it write shorter lines.",
                )
        write(self._within(buffer, self._spans(buffer)))
        return count + (last != b"\n")

    def csv(self, given: Iterator[bytes], write: Write) -> int:
        """Records as COPY writes them, the first of which names the columns; how many there are with it."""
        return Rows(self._values, self._name).read(given, write)

    def export(self, given: Iterator[bytes], write: Write) -> int:
        """Entries of the journal, and how many there are."""
        return Journal(self._values, self._name).read(given, write)

    def _spans(self, text: bytes) -> List[Tuple[int, int]]:
        """Whole lines in which there may be something, by where they begin."""
        found: List[Tuple[int, int]] = []
        matches = [*self._rules.suspect.finditer(text)]
        if matches:
            matches = sorted([*matches, *self._rules.further.finditer(text)], key=lambda match: match.span())
        for match in matches:
            begin, end = match.span()
            begin = text.rfind(b"\n", 0, begin) + 1
            if b"PRIVATE" in match.group():
                end = min(len(text), end + LONGEST)
            else:
                # A value in quotes or brackets may go on in the next lines.
                value = value_at(text, end, WORD)
                end = max(end, value[1]) if value else end
            end = text.find(b"\n", end) + 1 or len(text)
            # Its value may follow in the next line.
            while text.endswith((b":\n", b"=\n", b"\\\n"), begin, end) and end < len(text) and end - begin < LONGEST:
                end = text.find(b"\n", end) + 1 or len(text)
            if not found or found[-1] != (begin, end):
                found.append((begin, end))
        return found

    def _within(self, text: bytes, spans: List[Tuple[int, int]]) -> bytes:
        parts, last = [], 0
        for begin, end in _joined(spans):
            parts += [text[last:begin], self._lines(text[begin:end])]
            last = end
        return b"".join([*parts, text[last:]])

    def _lines(self, text: bytes) -> bytes:
        """Lines: JSON by its members and their values, which leaves it JSON; others by the patterns, together."""
        values = self._values
        if b"{" not in text:
            return values.text(text)
        parts: List[bytes] = []
        waiting: List[bytes] = []
        for line in text.splitlines(True) if b"\r" not in text else _split(text):
            new = values.json(line) if line.lstrip()[:1] == b"{" else None
            if new is None:
                waiting.append(values.embedded(line) if b"{" in line else line)
                continue
            parts += [self._rules.applied(b"".join(waiting), values.counts), new]
            waiting = []
        return b"".join([*parts, self._rules.applied(b"".join(waiting), values.counts)])


def _joined(spans: List[Tuple[int, int]]) -> List[Tuple[int, int]]:
    """Those that overlap or are adjacent as one."""
    found: List[Tuple[int, int]] = []
    for begin, end in spans:
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _split(data: bytes) -> List[bytes]:
    """Lines by their line feeds alone."""
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + [lines[-1]]
