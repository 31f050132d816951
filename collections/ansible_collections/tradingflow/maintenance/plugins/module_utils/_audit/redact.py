# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was collected, without secrets and without what an environment's rules name: file by file, in bounded memory."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ..errors import EvidenceError
from .collected import NAME, Collected, File, Source, encoded
from .journal_export import entries
from .json_text import Number, Pairs, dumped, loaded
from .packing import BLOCK, Packed, Scratch, blocks, digest_of
from .rules import LONGEST, Rules, is_done, is_harmless

#: Kept back of each block, so that what is split over its end is seen whole.
_CARRY = 32 * 1024
#: A longer line, cell or entry cannot be looked at as a whole.
_LINE = 64 * 1024 * 1024
_BARE = re.compile(rb'[^,"\r\n]*')
_QUOTES = re.compile(rb'"+')
_AFTER = re.compile(rb",|\r?\n")
_WORKERS = 2

Counts = Dict[str, int]
Write = Callable[[bytes], None]


def folder(staging: Path, collected: Collected, target: Path, rules: Rules) -> Collected:
    """Writes everything anew below another folder, redacted, and its collected.json.

    The ledger's records are left as they are: they are signed, and have no secrets.

    :param target: it is made
    :returns: with the new files' sizes and digests, and how often each rule replaced something
    :raises EvidenceError: a file is not what was collected, or cannot be read as what it is
    """
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = Scratch(str(target), 1 << 62)
    jobs = [(source, file) for source in collected.sources for file in source.files]
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="redact") as pool:
        done = list(pool.map(lambda job: _file(staging, scratch, job[0], job[1], rules), jobs))
    result = replace(collected, sources=[])
    for source in collected.sources:
        files: List[File] = []
        counts: Counts = dict(source.redactions)
        for (of, _file_before), (file, found) in zip(jobs, done):  # noqa: B905 Python 3.9
            if of is source:
                files.append(file)
                for name, count in found.items():
                    counts[name] = counts.get(name, 0) + count
        result.sources.append(replace(source, files=files, redactions=dict(sorted(counts.items()))))
    text = encoded(Collected.from_dict(result.to_dict()))
    (target / NAME).write_bytes(text)
    (target / NAME).chmod(0o600)
    return result


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
        self._rules, self._counts, self._name = rules, counts, name

    # Text, and JSON line by line.

    def text(self, given: Iterator[bytes], write: Write) -> int:
        """Lines, and how many there are."""
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
                raise self._too_long()
        write(self._within(buffer, self._spans(buffer)))
        return count + (last != b"\n")

    def _spans(self, text: bytes) -> List[Tuple[int, int]]:
        """Whole lines in which there may be something, by where they begin."""
        found: List[Tuple[int, int]] = []
        for match in self._rules.suspect.finditer(text):
            begin, end = match.span()
            begin = text.rfind(b"\n", 0, begin) + 1
            if b"PRIVATE KEY" in match.group():
                end = min(len(text), end + LONGEST)
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
        if b"{" not in text:
            return self._rules.applied(text, self._counts)
        parts: List[bytes] = []
        waiting: List[bytes] = []
        for line in text.splitlines(True) if b"\r" not in text else _split(text):
            new = self._json(line) if line.lstrip()[:1] == b"{" else None
            if new is None:
                waiting.append(line)
                continue
            parts += [self._rules.applied(b"".join(waiting), self._counts), new]
            waiting = []
        return b"".join([*parts, self._rules.applied(b"".join(waiting), self._counts)])

    def _json(self, line: bytes) -> Optional[bytes]:
        """A text that is JSON, with its line feed; None for one that is none."""
        before = dict(self._counts)
        try:
            data = loaded(line)
            walked = self._walked(data)
            if self._counts == before:
                return line
            return dumped(walked).encode("utf-8") + line[len(line.rstrip()) :]
        except (ValueError, RecursionError):
            # Not JSON, or deeper than can be walked: the patterns look at it.
            self._counts.clear()
            self._counts.update(before)
            return None

    def _walked(self, value: Any) -> Any:
        if isinstance(value, Pairs):
            return Pairs([(self._string(name), self._member(name, item)) for name, item in value])
        if isinstance(value, list):
            return [self._walked(item) for item in value]
        if isinstance(value, Number):
            new = self._string(value)
            return value if new == value else new
        return self._string(value) if isinstance(value, str) else value

    def _member(self, name: str, value: Any) -> Any:
        rule = self._rules.of_name(name)
        text = value if isinstance(value, str) else dumped(value)
        if rule is None or value is None or isinstance(value, bool) or not text.strip():
            return self._walked(value)
        if is_harmless(rule[0], text.encode("utf-8", "surrogatepass")):
            return self._walked(value)
        return self._replaced(rule, text)

    def _replaced(self, rule: Tuple[str, str], text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        if is_done(data):
            return text
        self._counts[rule[0]] = self._counts.get(rule[0], 0) + 1
        return self._rules.replacement(*rule, data).decode("ascii")

    def _string(self, text: str) -> str:
        """Text in a member: perhaps JSON itself."""
        data = text.encode("utf-8", "surrogatepass")
        new = self.value(data)
        try:
            return text if new == data else new.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            # A pattern of bytes ended within a character.
            return new.decode("utf-8", "replace")

    def value(self, data: bytes) -> bytes:
        """A value on its own."""
        if not self._rules.suspect.search(data):
            return data
        new = self._json(data) if data.lstrip()[:1] in (b"{", b"[") else None
        return self._rules.applied(data, self._counts) if new is None else new

    # CSV, as COPY writes it.

    def csv(self, given: Iterator[bytes], write: Write) -> int:
        """Records, the first of which names the columns; how many there are with it."""
        buffer, count = b"", 0
        columns: Optional[List[Optional[Tuple[str, str]]]] = None
        for block in given:
            buffer += block
            end = _records(buffer)
            if not end:
                if len(buffer) > _LINE:
                    raise self._too_long()
                continue
            whole, buffer = buffer[:end], buffer[end:]
            if columns is None:
                columns, after = self._columns(whole)
                write(whole[:after])
                whole, count = whole[after:], 1
            count += self._rows(whole, columns, write)
        if buffer:
            raise EvidenceError(f"{self._name} ends within a record", "Collect again.")
        return count

    def _columns(self, whole: bytes) -> Tuple[List[Optional[Tuple[str, str]]], int]:
        """The rule of each column, and where the names of the columns end."""
        rules = []
        position = 0
        while True:
            found = _cell(whole, position)
            if not found:
                raise EvidenceError(f"{self._name} does not begin with names of columns", "Collect again.")
            cell, _after, position, last = found
            rules.append(self._rules.of_name(cell.decode("utf-8", "replace")))
            if last:
                return rules, position

    def _rows(self, whole: bytes, columns: List[Optional[Tuple[str, str]]], write: Write) -> int:
        """Records into what is written; only cells that change are written anew. How many there are."""
        parts: List[bytes] = []
        position = last = count = column = 0
        look = any(columns) or self._rules.suspect.search(whole) is not None
        while position < len(whole):
            found = _cell(whole, position)
            if not found:
                raise EvidenceError(f"{self._name} has a record that is not CSV", "Collect again.")
            cell, after, following, ends = found
            if look and after > position:
                new = self._cell_value(columns[column] if column < len(columns) else None, cell)
                if new != cell:
                    parts += [whole[last:position], b'"' + new.replace(b'"', b'""') + b'"']
                    last = after
            position, column = following, column + 1
            if ends:
                count, column = count + 1, 0
        write(b"".join([*parts, whole[last:]]))
        return count

    def _cell_value(self, rule: Optional[Tuple[str, str]], cell: bytes) -> bytes:
        if rule and cell.strip() and not is_harmless(rule[0], cell):
            if is_done(cell):
                return cell
            self._counts[rule[0]] = self._counts.get(rule[0], 0) + 1
            return self._rules.replacement(*rule, cell)
        return self.value(cell)

    # The journal's export format.

    def export(self, given: Iterator[bytes], write: Write) -> int:
        """Entries, and how many there are."""
        batch: List[bytes] = []
        size = count = 0
        for entry in entries(given):
            batch.append(entry.data)
            size += len(entry.data)
            count += 1
            if size > BLOCK // 4:
                self._batch(batch, write)
                batch, size = [], 0
        self._batch(batch, write)
        return count

    def _batch(self, batch: List[bytes], write: Write) -> None:
        whole = b"".join(batch)
        if not self._rules.suspect.search(whole) and not self._rules.fields:
            write(whole)
            return
        write(b"".join(self._entry(data) for data in batch))

    def _entry(self, data: bytes) -> bytes:
        if not self._rules.fields and not self._rules.suspect.search(data):
            return data
        parts, changed = [], False
        for name, value in _pairs(data):
            new = value
            # What the journal itself says of an entry; names of its own begin with two lines.
            if not name.startswith(b"__"):
                rule = self._rules.of_name(name.decode("ascii"))
                new = self._cell_value(rule, value)
            changed |= new != value
            if b"\n" in new or not _printable(new):
                parts.append(name + b"\n" + len(new).to_bytes(8, "little") + new + b"\n")
            else:
                parts.append(name + b"=" + new + b"\n")
        return b"".join([*parts, b"\n"]) if changed else data

    def _too_long(self) -> EvidenceError:
        return EvidenceError(
            f"{self._name} has a record of more than {_LINE} bytes, which cannot be redacted as a whole",
            "Leave the source out, or have what writes it write shorter lines.",
        )


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


def _records(buffer: bytes) -> int:
    """Where the last whole record of CSV ends: at a line feed with an even number of quotes before it."""
    end = len(buffer)
    while True:
        end = buffer.rfind(b"\n", 0, end)
        if end < 0 or buffer.count(b'"', 0, end) % 2 == 0:
            return end + 1


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


def _pairs(data: bytes) -> List[Tuple[bytes, bytes]]:
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
