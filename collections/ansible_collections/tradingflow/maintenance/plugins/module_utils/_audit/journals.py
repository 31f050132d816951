# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of a period: every file on its own, so that a corrupt one does not end the others.

journalctl reads a file from its begin to its end. It is not told the period: it seeks by time, and where a clock was
set back it would leave entries out; nor is it given a filter of fields or a cursor.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Sequence, Union

from ..errors import EvidenceError
from ..words import plural, printable
from .collected import FAILED, Count, File, Period, Source, Tool
from .journal_export import Block, Entry, pieces
from .journal_files import JournalFile, found, looked_at
from .journal_gaps import Story, gaps
from .journal_index import counted
from .packing import Full, Packed, Scratch
from .running import Running, lines, version

_EXPORT = ["journalctl", "--all", "--no-pager", "--quiet", "--output=export"]
_LISTING = ["journalctl", "--all", "--no-pager", "--quiet", "--output=json", "--output-fields=_BOOT_ID"]
#: Of an entry in journalctl's listing. In what somebody wrote the quotes are escaped.
AT = re.compile(rb'"__REALTIME_TIMESTAMP" ?: ?"(\d{1,19})"')


@dataclass
class Reading:
    """What came of one file.

    :param fields: of its entries of the period
    :param listed: entries of the period by another count, None when that failed
    :param indexed: whether that was the file's own index, and not journalctl's listing
    :param problem: why it is not whole
    """

    name: str
    story: Story
    kept: int = 0
    fields: int = 0
    listed: Optional[int] = None
    indexed: bool = False
    file: Optional[File] = None
    problem: str = ""
    status: int = 0


def collect(scratch: Scratch, period: Period, options: Dict[str, Any]) -> Source:
    """The source "journal".

    :param options: journal_folders, timeout, workers
    """
    program = version("journalctl")
    source = Source("journal", "journal", FAILED, command=[*_EXPORT, "--file=FILE"], tool=Tool("journalctl", program))
    if not program:
        source.reason = "There is no journalctl on this host."
        return source
    files, closed = found(options["journal_folders"])
    if not files:
        source.reason = "There is no journal on this host, or it may not be read."
        return source
    with ThreadPoolExecutor(options["workers"], thread_name_prefix="journal") as pool:
        readings = list(pool.map(lambda one: read(scratch, period, one, options), files))
    known = {one.inode for one in files}
    again, _closed = found(options["journal_folders"])
    end = period.epochs()[1] * 1e6
    # What was rotated in meanwhile is new, and new entries are after the period; only a clock that is wrong differs.
    late = [one for one in again if one.inode not in known and one.entries and min(one.head, one.tail) < end]
    readings += [read(scratch, period, one, options) for one in late]
    return judged(source, period, readings, closed)


def judged(source: Source, period: Period, readings: List[Reading], closed: List[str]) -> Source:
    """The source, as what came of its files says.

    :param closed: folders that could not be looked into
    """
    source.files = [reading.file for reading in readings if reading.file and reading.file.records]
    source.records = sum(file.records for file in source.files)
    source.gaps = gaps([reading.story for reading in readings], period, _machine())
    source.exit_status = max((reading.status for reading in readings), default=0)
    listed = sum(reading.listed or 0 for reading in readings)
    by = "entries in the files' own index"
    if any(reading.listed is not None and not reading.indexed for reading in readings):
        by += ", and of files of a form that is not known in journalctl's listing"
    source.counts = [Count("entries in the export format", source.records), Count(by, listed)]
    problems = [f"the folder {printable(folder)} cannot be looked into" for folder in closed]
    problems += [f"{printable(reading.name)}: {reading.problem}" for reading in readings if reading.problem]
    if listed != source.records and not problems:
        problems.append(f"{listed} entries of the period are listed, {source.records} were read")
    if not source.records:
        problems.append("it has no entry of the period")
    return source.concluded(problems)


def _machine() -> str:
    try:
        with open("/etc/machine-id", encoding="ascii", errors="replace") as file:
            return file.read(64).strip()
    except OSError:
        return ""


def read(
    scratch: Scratch,
    period: Period,
    one: JournalFile,
    options: Dict[str, Any],
    units: Sequence[str] = (),
    place: str = "journal",
) -> Reading:
    """One file, whatever is wrong with it.

    :param units: arguments that choose entries, none for all of them
    :param place: folder for what is read
    """
    result = Reading(one.name, Story(name=one.name))
    if one.damage:
        result.problem = f"it cannot be read: {one.damage}"
        return result
    name = re.sub(r"[^A-Za-z0-9@._~-]", "_", one.name.replace("/", "--")).lstrip("-") or "journal"
    try:
        path = _path(one, options["journal_folders"])
        with Packed(scratch, f"{place}/{name}.export.gz") as packed:
            total = _export(path, period, result, packed, options["timeout"], units)
            if result.kept:
                result.file = packed.close(result.kept)
        if not units and not result.problem and one.entries is not None and total < one.entries:
            result.problem = f"it is corrupt: {total} of its {one.entries} entries could be read"
        if not units:
            _index(_path(one, options["journal_folders"]), one, period, result, options["timeout"])
        if result.listed is None:
            _list(path, period, result, options["timeout"], units)
    except EvidenceError as error:
        result.problem = result.problem or error.message.rstrip(".")
    return result


def _path(one: JournalFile, folders: List[str]) -> str:
    """Where the file is now: a rotation gives it another name, a vacuum deletes it.

    :raises EvidenceError: it is gone
    """
    now = looked_at(one.path, one.name)
    if now and now.inode == one.inode:
        return one.path
    for each in found(folders)[0]:
        if each.inode == one.inode:
            return each.path
    raise EvidenceError(f"it was vacuumed before it was read, with {one.entries} entries")


def _export(path: str, period: Period, result: Reading, packed: Packed, timeout: float, units: Sequence[str]) -> int:
    """Writes the period's entries, and tells how many the file has in all."""
    begin, end = (int(each * 1e6) for each in period.epochs())
    running = Running([*_EXPORT, f"--file={path}", *units], timeout)
    total = 0
    try:
        for piece in pieces(running.chunks()):
            total += 1 if isinstance(piece, Entry) else len(piece.times)
            result.story.add(piece)
            for part in _inside(piece, begin, end):
                packed.write(part.data)
                result.kept += 1 if isinstance(part, Entry) else len(part.times)
                result.fields += part.count()
    except Full:
        raise
    except EvidenceError as error:
        result.problem = error.message.rstrip(".")
    result.status = running.status
    if running.status and not result.problem:
        result.problem = f"journalctl ended with {running.status}: {running.stderr or 'it says nothing'}"
    return total


def _inside(piece: Union[Block, Entry], begin: int, end: int) -> Iterator[Union[Block, Entry]]:
    """What of a piece is of the period."""
    if isinstance(piece, Block) and not begin <= min(piece.times) <= max(piece.times) < end:
        yield from (entry for entry in piece.entries() if begin <= entry.at < end)
    elif isinstance(piece, Block) or begin <= piece.at < end:
        yield piece


def _index(path: str, one: JournalFile, period: Period, result: Reading, timeout: float) -> None:
    """Counts the period's entries and their fields in the file's own index."""
    begin, end = (int(each * 1e6) for each in period.epochs())
    found = counted(path, one.inode, begin, end, timeout)
    if found is None:
        return
    result.indexed, (result.listed, fields) = True, found
    # journalctl adds the id of the boot where an entry has none.
    if result.kept == result.listed and result.fields < fields and not result.problem:
        missing = plural(fields - result.fields, "field")
        result.problem = f"journalctl left out {missing} of its entries without a word: it is damaged, or too new"


def _list(path: str, period: Period, result: Reading, timeout: float, units: Sequence[str]) -> None:
    """Counts the period's entries in journalctl's own listing."""
    begin, end = (int(each * 1e6) for each in period.epochs())
    running = Running([*_LISTING, f"--file={path}", *units], timeout)
    count = 0
    for line in lines(running):
        match = AT.search(line)
        if match:
            count += begin <= int(match[1]) < end
    result.listed = count
    if running.status and not result.problem:
        result.problem = f"journalctl ended with {running.status}: {running.stderr or 'it says nothing'}"
