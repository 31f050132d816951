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
from typing import Any, Dict, List, Optional, Sequence

from ..errors import EvidenceError
from ..words import printable
from .collected import FAILED, Count, File, Period, Source, Tool
from .journal_export import entries
from .journal_files import JournalFile, found, looked_at
from .journal_gaps import Story, gaps
from .packing import BLOCK, Full, Packed, Scratch
from .running import Running, lines, version

_EXPORT = ["journalctl", "--all", "--no-pager", "--quiet", "--output=export"]
_LISTING = ["journalctl", "--all", "--no-pager", "--quiet", "--output=json", "--output-fields=_BOOT_ID"]
#: Of an entry in journalctl's listing. In what somebody wrote the quotes are escaped.
AT = re.compile(rb'"__REALTIME_TIMESTAMP" ?: ?"(\d{1,19})"')


@dataclass
class Reading:
    """What came of one file.

    :param listed: entries of the period in journalctl's own listing, None when that failed
    :param problem: why it is not whole
    """

    name: str
    story: Story
    kept: int = 0
    listed: Optional[int] = None
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
    source.counts = [
        Count("entries in the export format", source.records),
        Count("lines of journalctl --output=json", listed),
    ]
    problems = [f"the folder {printable(folder)} cannot be looked into" for folder in closed]
    problems += [f"{printable(reading.name)}: {reading.problem}" for reading in readings if reading.problem]
    if listed != source.records and not problems:
        problems.append(f"journalctl lists {listed} entries of the period, {source.records} were read")
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
    batch: List[bytes] = []
    total = waiting = 0
    try:
        for entry in entries(running.chunks()):
            total += 1
            result.story.add(entry)
            if begin <= entry.at < end:
                batch.append(entry.data)
                waiting += len(entry.data)
                result.kept += 1
                if waiting > BLOCK:
                    packed.write(b"".join(batch))
                    batch, waiting = [], 0
    except Full:
        raise
    except EvidenceError as error:
        result.problem = error.message.rstrip(".")
    if batch:
        packed.write(b"".join(batch))
    result.status = running.status
    if running.status and not result.problem:
        result.problem = f"journalctl ended with {running.status}: {running.stderr or 'it says nothing'}"
    return total


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
