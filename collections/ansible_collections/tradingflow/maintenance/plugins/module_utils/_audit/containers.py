# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs of containers, as their runtime gives them out."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Tuple

from ..errors import EvidenceError
from ..words import plural
from .collected import FAILED, Count, Gap, Period, Source, Tool, parsed, written
from .packing import Packed, Scratch
from .running import Running, lines, said, version

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


@dataclass
class Container:
    """One container of the name.

    :param first: second of its log's first line that says one; empty when none does
    :param created: when it was made, empty when the runtime does not say
    :param attempt: how often its pod had started it before
    """

    id: str
    first: str = ""
    created: str = ""
    attempt: int = 0
    pod: str = ""


def _read(source: Source, packed: Packed, period: Period, given: Dict[str, Any]) -> None:
    problems: List[str] = []
    listed = kept = 0
    found: List[Container] = []
    for id, whole, part in _commands(period, given):
        source.command = source.command or whole
        one = _inspected(given["runtime"], id, given["timeout"])
        found.append(one)
        inside = False
        running = Running(whole, given["timeout"], merged=True)
        last = b""
        for line in lines(running):
            last = line
            at = _time(line)
            if at:
                one.first = min(one.first or at, at)
                inside = period.begin <= at < period.end
            if inside:
                packed.write(line + b"\n")
                kept += 1
        source.exit_status = running.status
        if running.status:
            text = last[:300].decode("utf-8", "replace")
            raise EvidenceError(f"{given['runtime']} logs ended with {running.status}: {text or 'it says nothing'}")
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
    if not given.get("fresh_ok"):
        source.gaps = _late(found, period, bool(given.get("empty_ok")))
    source.concluded(problems)


_LATE = "begins late: the container is younger, or the runtime threw away what was too much"
#: So long after it was made a container may say nothing, in seconds.
_QUIET = 60


def _late(found: List[Container], period: Period, empty_ok: bool) -> List[Gap]:
    """Where logs begin late: of all containers of the name together, and of each since it was made."""
    gaps: List[Gap] = []
    begins = [each.first for each in found if each.first]
    began = min(begins) if begins else ("" if empty_ok else period.end)
    if began > period.begin:
        gaps.append(Gap(period.begin, min(began, period.end), f"the log {_LATE}"))
    if len(found) > 1:
        for each in found:
            since = max(each.created, period.begin)
            first = min(each.first or ("" if empty_ok else period.end), period.end)
            if since < period.end and first > (_after(each.created) if each.created >= period.begin else since):
                gaps.append(Gap(since, first, f"the log of the container {each.id[:12]} {_LATE}"))
    return gaps + _gone(found, period)


def _gone(found: List[Container], period: Period) -> List[Gap]:
    """Containers that a pod had, by the number of its starts, and that are not there any more."""
    gaps: List[Gap] = []
    pods: Dict[str, List[Container]] = {}
    for each in found:
        pods.setdefault(each.pod, []).append(each)
    for starts in pods.values():
        reached = -1
        for one in sorted(starts, key=lambda one: one.attempt):
            gone = one.attempt - reached - 1
            reached = one.attempt
            if gone > 0 and one.created > period.begin:
                text = f"{plural(gone, 'container')} before {one.id[:12]} are gone, with their logs"
                gaps.append(Gap(period.begin, min(one.created, period.end), text))
    return gaps


def _after(at: str) -> str:
    return written(parsed(at) + timedelta(seconds=_QUIET))


def _inspected(runtime: str, id: str, timeout: float) -> Container:
    """What the runtime knows of a container; nothing where it does not say."""
    one = Container(id)
    kind = [] if runtime == "crictl" else ["--type=container", "--format={{json .Created}}"]
    try:
        data = json.loads(said([runtime, "inspect", *kind, id], timeout))
        if runtime != "crictl":
            one.created = _time(f"{data} ".encode())
            return one
        status = data["status"]
        one.created = _time(f"{status['createdAt']} ".encode())
        one.attempt = int(status["metadata"].get("attempt", 0))
        one.pod = str(status["labels"]["io.kubernetes.pod.uid"])
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return one


def _commands(period: Period, given: Dict[str, Any]) -> List[Tuple[str, List[str], List[str]]]:
    """Of each container its name or id, the command for all, and that for the period alone.

    :raises EvidenceError: there is no such container
    """
    runtime, name = given["runtime"], given["container"]
    window = [f"--since={period.begin}", f"--until={period.end}"]
    if runtime != "crictl":
        whole = [runtime, "logs", "--timestamps"]
        return [(name, [*whole, name], [*whole, *window, name])]
    # A pod that was restarted has one more container of the same name; crictl knows no end.
    running = Running(["crictl", "ps", "--all", "--quiet", "--name", f"^{re.escape(name)}$"], given["timeout"])
    ids = sorted(line.decode("ascii", "replace").strip() for line in lines(running))
    ids = [each for each in ids if each.isalnum()]
    if running.status or not ids:
        raise EvidenceError(f"crictl knows no container {name}")
    whole = ["crictl", "logs", "--timestamps"]
    return [(each, [*whole, each], [*whole, window[0], each]) for each in ids]


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
