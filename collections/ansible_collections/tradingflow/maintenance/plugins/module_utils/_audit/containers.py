# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs of containers, as their runtime gives them out."""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timezone
from typing import Any, Dict, List, Optional, Tuple

from ..errors import EvidenceError
from .collected import COMPLETE, FAILED, PARTIAL, Count, Gap, Period, Source, Tool, written
from .packing import Packed, Scratch
from .running import Running, lines, version

_NAME = re.compile(r"[\w][\w.@:/-]*", re.ASCII)
_CARRIED = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d) ")


def collect(scratch: Scratch, period: Period, given: Dict[str, Any]) -> Source:
    """One container's log: all that the runtime still has, from which the period is selected here.

    :param given: name, container, runtime, timeout, empty_ok, fresh_ok
    """
    runtime, name = given["runtime"], given["container"]
    source = Source(given["name"], "container", FAILED, tool=Tool(runtime, ""))
    if not _NAME.fullmatch(name or ""):
        source.reason = f"{name!r} is not a container's name."
        return source
    if not shutil.which(runtime):
        source.reason = f"{runtime} is not installed on this host."
        return source
    source.tool = Tool(runtime, version(runtime))
    try:
        with Packed(scratch, f"containers/{given['name']}.log.gz") as packed:
            _read(source, packed, period, given)
    except EvidenceError as error:
        source.outcome, source.reason = FAILED, error.message
        source.files, source.records = [], 0
    return source


def _read(source: Source, packed: Packed, period: Period, given: Dict[str, Any]) -> None:
    problems: List[str] = []
    first: Optional[str] = None
    listed = kept = 0
    wholes, parts = _commands(period, given)
    source.command = wholes[0]
    for whole, part in zip(wholes, parts):  # noqa: B905 Python 3.9
        inside = False
        running = Running(whole, given["timeout"], merged=True)
        last = b""
        for line in lines(running):
            last = line
            at = _time(line)
            if at:
                first = min(first or at, at)
                inside = period.begin <= at < period.end
            if inside:
                packed.write(line + b"\n")
                kept += 1
        source.exit_status = running.status
        if running.status:
            said = last[:300].decode("utf-8", "replace")
            raise EvidenceError(f"{given['runtime']} logs ended with {running.status}: {said or 'it says nothing'}")
        counted, inside = Running(part, given["timeout"], merged=True), False
        for line in lines(counted):
            at = _time(line)
            inside = period.begin <= at < period.end if at else inside
            listed += inside
    source.counts = [
        Count("lines of all that the runtime has", kept),
        Count("lines of what it gives out for the period", listed),
    ]
    source.records = kept
    if kept:
        source.files = [packed.close(kept)]
    if kept != listed:
        problems.append(f"the runtime gives out {listed} lines for the period, {kept} were selected")
    if not kept and not given.get("empty_ok"):
        problems.append("it has no line of the period")
    began = first or ("" if given.get("empty_ok") else period.end)
    if began > period.begin and not given.get("fresh_ok"):
        source.gaps = [Gap(period.begin, min(began, period.end), _LATE)]
        problems.append(_LATE)
    if problems:
        source.outcome, source.reason = PARTIAL if kept else FAILED, f"{'; '.join(problems)}."
    else:
        source.outcome = COMPLETE


_LATE = "the log begins late: the container is younger, or the runtime threw away what was too much"


def _commands(period: Period, given: Dict[str, Any]) -> Tuple[List[List[str]], List[List[str]]]:
    """The commands for all, and those for the period alone.

    :raises EvidenceError: there is no such container
    """
    runtime, name = given["runtime"], given["container"]
    window = [f"--since={period.begin}", f"--until={period.end}"]
    if runtime != "crictl":
        whole = [runtime, "logs", "--timestamps"]
        return [[*whole, name]], [[*whole, *window, name]]
    # A pod that was restarted has one more container of the same name; crictl knows no end.
    running = Running(["crictl", "ps", "--all", "--quiet", "--name", f"^{re.escape(name)}$"], given["timeout"])
    ids = sorted(line.decode("ascii", "replace").strip() for line in lines(running))
    ids = [each for each in ids if each.isalnum()]
    if running.status or not ids:
        raise EvidenceError(f"crictl knows no container {name}")
    whole = ["crictl", "logs", "--timestamps"]
    return [[*whole, each] for each in ids], [[*whole, window[0], each] for each in ids]


def _time(line: bytes) -> str:
    """The second of a line, as the period has it; nothing when it has none."""
    match = _CARRIED.match(line)
    if not match:
        return ""
    text, zone = match[1].decode("ascii"), match[2].decode("ascii")
    if zone == "Z":
        return f"{text}Z"
    try:
        return written(datetime.strptime(text + zone, "%Y-%m-%dT%H:%M:%S%z").astimezone(timezone.utc))
    except ValueError:
        return ""


def kubernetes(given: Dict[str, Any]) -> Source:
    """Logs of Kubernetes: not collected, and said so."""
    source = Source(given["name"], "kubernetes", FAILED)
    source.reason = "Collecting logs from Kubernetes is not there yet; collect them from the nodes' files."
    return source
