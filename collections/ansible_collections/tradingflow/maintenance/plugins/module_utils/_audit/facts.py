# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs on a host, in which versions."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from typing import Any, Dict, Iterator, List, Tuple

from .collected import COMPLETE, FAILED, PARTIAL, Count, Period, Source, Tool
from .packing import Packed, Scratch, lines
from .running import said, version

_PROGRAMS = (
    *("postgres", "psql", "pgbackrest", "pgbouncer", "docker", "podman", "crictl", "kubectl", "nginx", "redis-server"),
    *("systemctl", "journalctl", "python3", "openssl", "sshd", "chronyd", "node", "java", "restic"),
)
_DPKG = ["dpkg-query", "--show", "--showformat=${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n"]
_DPKG_STATUS = "/var/lib/dpkg/status"
_RPM = ["rpm", "--query", "--all", "--queryformat=installed\t%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\n"]


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
