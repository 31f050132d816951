# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs on a host, in which versions; and who kept its clock."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from typing import Any, Dict, Iterator, List, Tuple

from .._checks.clock import kernel
from .collected import COMPLETE, FAILED, PARTIAL, Count, Period, Source, Tool
from .journal_export import entries
from .journals import AT
from .log_files import collect as log_file
from .packing import Packed, Scratch, lines
from .running import Running, said, version
from .running import lines as said_lines

_PROGRAMS = (
    *("postgres", "psql", "pgbackrest", "pgbouncer", "docker", "podman", "crictl", "kubectl", "nginx", "redis-server"),
    *("systemctl", "journalctl", "python3", "openssl", "sshd", "chronyd", "node", "java", "restic"),
)
_DPKG = ["dpkg-query", "--show", "--showformat=${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n"]
_DPKG_STATUS = "/var/lib/dpkg/status"
_RPM = ["rpm", "--query", "--all", "--queryformat=installed\t%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\n"]
_UNITS = ("systemd-timesyncd", "chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd")
_STATES = (
    ["chronyc", "-n", "tracking"],
    ["chronyc", "-n", "sources"],
    ["timedatectl", "show"],
    ["timedatectl", "show-timesync", "--all"],
    ["ntpq", "-pn"],
)


def versions(scratch: Scratch, _period: Period, given: Dict[str, Any]) -> Source:
    """The source "versions": packages, programs, kernel and system as they are now."""
    source = Source("versions", "versions", FAILED)
    rows = [*_system()]
    packages, counted, source.command, source.tool = _packages(given["timeout"])
    rows += packages
    path = "versions/versions.jsonl.gz"
    with Packed(scratch, path) as packed:
        for row in rows:
            packed.write((json.dumps(row, sort_keys=True) + "\n").encode("ascii"))
        source.files = [packed.close(len(rows))]
    source.records = len(rows)
    read = lines(os.path.join(scratch.folder, path))
    source.counts = [
        Count("rows written", len(rows)),
        Count(
            "rows read back, with packages as the package database's own file has them", read - len(packages) + counted
        ),
    ]
    if not packages:
        source.outcome, source.reason = PARTIAL, "Neither dpkg nor rpm tells what is installed."
    elif counted != len(packages):
        source.outcome = PARTIAL
        source.reason = f"{len(packages)} packages are listed, the package database has {counted}."
    else:
        source.outcome = COMPLETE
    return source


def _system() -> Iterator[Dict[str, str]]:
    yield {"kind": "kernel", "name": platform.system(), "version": f"{platform.release()} {platform.version()}"}
    yield {"kind": "python", "name": "python", "version": platform.python_version()}
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            given = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
        yield {
            "kind": "system",
            "name": given.get("ID", "").strip('"'),
            "version": given.get("PRETTY_NAME", "").strip('"'),
        }
    except OSError:
        pass
    for name in _PROGRAMS:
        if shutil.which(name):
            yield {"kind": "program", "name": name, "version": version(name)}


def _packages(timeout: float) -> Tuple[List[Dict[str, str]], int, List[str], Tool]:
    """Packages as their manager lists them, and how many its database has."""
    if shutil.which("dpkg-query") and os.path.exists(_DPKG_STATUS):
        command = _DPKG
        with open(_DPKG_STATUS, "rb") as file:
            counted = len(re.findall(rb"(?m)^Status: \S+ \S+ installed$", file.read()))
    elif shutil.which("rpm"):
        command = _RPM
        counted = len(said(["rpm", "--query", "--all", "--queryformat=%{SHA1HEADER}\n"], timeout).splitlines())
    else:
        return [], 0, [], Tool("python", platform.python_version())
    rows = []
    for line in said(command, timeout).splitlines():
        state, name, number, architecture = (line.split("\t") + [""] * 4)[:4]
        if state == "installed":
            rows.append({"kind": "package", "name": name, "version": number, "architecture": architecture})
    return rows, counted, command, Tool(command[0], version(command[0]))


def clock(scratch: Scratch, period: Period, given: Dict[str, Any]) -> Source:
    """The source "clock": what time services logged in the period, and how the clock is kept now."""
    source = Source("clock", "clock", FAILED)
    problems: List[str] = []
    first, second = _journal(scratch, period, given, source, problems)
    folder = given["chrony_folder"]
    if os.path.isdir(folder):
        # chrony writes UTC. What it wrote has to reach back as any other log: one line is no history of a month.
        options = {"name": "clock", "path": os.path.join(folder, "*.log"), "time_zone": "UTC"}
        logs = log_file(scratch, period, {**options, "empty_ok": True})
        source.files += logs.files
        first, second = first + logs.records, second + logs.counts[1].records
        source.gaps = logs.gaps
        problems += [logs.reason.rstrip(".")] * bool(logs.reason)
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
    if not services:
        problems.append("no time service is found on this host")
    elif not history:
        problems.append("no time service logged anything in the period; there is only the present state")
    if first != second:
        problems.append(f"{first} records were written, and {second} are listed")
    if problems:
        source.outcome = PARTIAL if services else FAILED
        source.reason = f"{'; '.join(problems)}."
    else:
        source.outcome = COMPLETE
    return source


def _journal(
    scratch: Scratch, period: Period, given: Dict[str, Any], source: Source, problems: List[str]
) -> Tuple[int, int]:
    """Entries of time services; the journal as a whole is a source of its own."""
    if not shutil.which("journalctl"):
        return 0, 0
    begin, end = (int(each) for each in period.epochs())
    window = [f"--since=@{begin}", f"--until=@{end}", *(f"--unit={unit}.service" for unit in _UNITS)]
    source.command = ["journalctl", "--all", "--no-pager", "--quiet", "--output=export", *window]
    source.tool = Tool("journalctl", version("journalctl"))
    listing = Running(
        ["journalctl", "--all", "--no-pager", "--quiet", "--output=json", "--output-fields=_BOOT_ID", *window],
        given["timeout"],
    )
    listed = 0
    for line in said_lines(listing):
        match = AT.search(line)
        if match:
            listed += begin * 1_000_000 <= int(match[1]) < end * 1_000_000
    running, count = Running(source.command, given["timeout"]), 0
    with Packed(scratch, "clock/journal.export.gz") as packed:
        for entry in entries(running.chunks()):
            if begin * 1_000_000 <= entry.at < end * 1_000_000:
                packed.write(entry.data)
                count += 1
        if count:
            source.files.append(packed.close(count))
    source.exit_status = running.status
    if running.status:
        problems.append(f"journalctl ended with {running.status}: {running.stderr or 'it says nothing'}")
    return count, listed
