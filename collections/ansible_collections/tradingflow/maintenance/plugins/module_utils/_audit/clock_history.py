# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who kept a host's clock: what time services logged in the period, and how it is kept now.

A history has something of each day: of a time service, or a measurement of a daily run that the ledger has.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Iterator, List, Set, Tuple

from .._checks.clock import kernel
from ..words import plural
from .collected import COMPLETE, FAILED, PARTIAL, Count, File, Gap, Period, Source, Tool, parsed, written
from .journal_export import entries
from .journal_files import found
from .journals import read
from .log_files import collect as log_file
from .packing import Packed, Scratch, blocks, lines
from .running import said, version

_UNITS = ("systemd-timesyncd", "chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd")
_STATES = (
    ["chronyc", "-n", "tracking"],
    ["chronyc", "-n", "sources"],
    ["timedatectl", "show"],
    ["timedatectl", "show-timesync", "--all"],
    ["ntpq", "-pn"],
)
#: A line of chrony's logs begins with its day, in UTC.
_DAY = re.compile(rb"(?m)^(\d{4}-\d\d-\d\d) ")


def collect(scratch: Scratch, period: Period, given: Dict[str, Any]) -> Source:
    """The source "clock".

    :param given: journal_folders, chrony_folder, timeout; measured: days in UTC that runs measured, by the ledger
    """
    source = Source("clock", "clock", FAILED)
    problems: List[str] = []
    days: Set[str] = set()
    first, second = _journal(scratch, period, given, source, problems, days)
    folder = given["chrony_folder"]
    if os.path.isdir(folder):
        # chrony writes UTC. What it wrote has to reach back as any other log.
        options = {"name": "clock", "path": os.path.join(folder, "*.log"), "time_zone": "UTC"}
        logs = log_file(scratch, period, {**options, "empty_ok": True})
        source.files += logs.files
        first, second = first + logs.records, second + logs.counts[1].records
        source.gaps = logs.gaps
        problems += [logs.reason.rstrip(".")] * bool(logs.reason)
        for file in logs.files:
            days |= {day.decode() for day in _matches(scratch, file)}
    history = first
    rows = [{"command": command, "says": text} for command in _STATES for text in [said(command)] if text]
    state = kernel()
    services = bool(rows) or bool(history)
    if state:
        rows.append({"command": ["adjtimex"], "says": json.dumps(state, sort_keys=True)})
    if rows:
        with Packed(scratch, "clock/state.jsonl.gz") as packed:
            for row in rows:
                packed.write((json.dumps(row, sort_keys=True) + "\n").encode("ascii"))
            source.files.append(packed.close(len(rows)))
        first += len(rows)
        second += lines(os.path.join(scratch.folder, "clock/state.jsonl.gz"))
    source.records = sum(file.records for file in source.files)
    source.counts = [Count("entries and lines written", first), Count("counted in another listing", second)]
    measured = set(given.get("measured") or [])
    if not services and not measured:
        problems.append("no time service is found on this host")
    elif not history and not measured:
        problems.append("no time service logged anything in the period; there is only the present state")
    silent = _silent(period, days | measured)
    source.gaps += silent
    if silent:
        problems.append(f"{plural(len(silent), 'stretch', 'stretches')} of days without a word on the clock")
    if first != second:
        problems.append(f"{first} records were written, and {second} are listed")
    if problems:
        source.outcome = PARTIAL if source.records and (services or measured) else FAILED
        source.reason = f"{'; '.join(problems)}."
    else:
        source.outcome = COMPLETE
    return source


def _journal(
    scratch: Scratch, period: Period, given: Dict[str, Any], source: Source, problems: List[str], days: Set[str]
) -> Tuple[int, int]:
    """Entries of time services, of each file of the journal: not sought by time, which leaves out some where a clock
    was set back. The journal as a whole is a source of its own, which has the gaps.
    """
    if not shutil.which("journalctl"):
        return 0, 0
    units = [f"--unit={unit}.service" for unit in _UNITS]
    source.command = ["journalctl", "--all", "--no-pager", "--quiet", "--output=export", "--file=FILE", *units]
    source.tool = Tool("journalctl", version("journalctl"))
    source.exit_status = 0
    kept = listed = 0
    files, closed = found(given["journal_folders"])
    problems += [f"the folder {folder} cannot be looked into" for folder in closed]
    for one in files:
        reading = read(scratch, period, one, given, units, "clock")
        kept, listed = kept + reading.kept, listed + (reading.listed or 0)
        source.exit_status = max(source.exit_status, reading.status)
        if reading.problem:
            problems.append(f"{reading.name}: {reading.problem}")
        if reading.file:
            source.files.append(reading.file)
            for entry in entries(blocks(_place(scratch, reading.file))):
                days.add(_day(datetime.fromtimestamp(entry.at // 1_000_000, timezone.utc)))
    return kept, listed


def _place(scratch: Scratch, file: File) -> str:
    return os.path.join(scratch.folder, *file.path.split("/"))


def _matches(scratch: Scratch, file: File) -> Iterator[bytes]:
    """The days with which lines of a packed file begin."""
    rest = b""
    for block in blocks(_place(scratch, file)):
        whole, feed, rest = (rest + block).rpartition(b"\n")
        yield from set(_DAY.findall(whole + feed))
    yield from set(_DAY.findall(rest))


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _silent(period: Period, days: Set[str]) -> List[Gap]:
    """Whole days of the period of which nobody said anything, those that follow each other as one gap."""
    gaps: List[Gap] = []
    day = parsed(period.begin).replace(hour=0, minute=0, second=0)
    if day < parsed(period.begin):
        day += timedelta(days=1)
    while day + timedelta(days=1) <= parsed(period.end):
        after = day + timedelta(days=1)
        if _day(day) not in days:
            begin = gaps.pop().begin if gaps and gaps[-1].end == written(day) else written(day)
            gaps.append(Gap(begin, written(after), "neither a time service nor a daily run said anything of the clock"))
        day = after
    return gaps
