# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an action's details tell people: its plain facts, its phases, and what it measured against objectives."""

from __future__ import annotations

from typing import Any

from ...module_utils.checks import STATUSES
from .words import clean, grouped, moment, number, quantity, when

#: Shown apart, or of no use to people.
_ELSEWHERE = ("phases", "notes", "environment", "duration", "throughput", "created_at", "started_at", "finished_at")


def facts(action: dict[str, Any], *, brief: bool = False) -> list[tuple[str, str]]:
    """Names and values of an action's details, one level deep, with units; duration and throughput are worked out.

    What is nested deeper is in report.json only.

    :param brief: numbers only; these come first in any case
    """
    details = _flat(action["details"])
    took = spent(action)
    size = next((value for key, value in details.items() if unit_of(key) == ("size", "bytes")), None)
    shown: dict[str, str] = {}
    if took is not None:
        shown["duration"] = quantity(took, "s")
    if isinstance(size, (int, float)) and size > 0:
        shown["size"] = quantity(size, "bytes")
        given = next((value for key, value in details.items() if unit_of(key)[0] == "throughput"), None)
        speed = number(given) or (size / took if took else None)
        if speed:
            shown["throughput"] = quantity(speed, "bytes/s")
    texts = {}
    for key, value in details.items():
        name, unit = unit_of(key)
        if value is None or isinstance(value, (dict, list)) or name in _ELSEWHERE:
            continue
        if isinstance(value, str):
            texts[name] = when(value) if moment(value) and len(value) > 15 else grouped(value)
        elif (label := f"{name} per second" if unit == "/s" else name) not in shown:
            shown[label] = quantity(value, "" if unit == "/s" else unit)
    told = shown if brief else {**shown, **texts}
    return [
        (clean(name.replace("_", " "), 40, one_line=True), clean(text, 200, one_line=True))
        for name, text in told.items()
    ]


def _flat(details: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in details.items():
        if isinstance(value, dict) and key not in _ELSEWHERE:
            result.update({inner: item for inner, item in value.items() if inner not in details})
        else:
            result[key] = value
    return result


def spent(action: dict[str, Any]) -> float | None:
    """Seconds that an action took: as it says, else by its times, or by its phases when these are too coarse."""
    for key in ("duration_s", "duration_seconds", "seconds"):
        given = number(action["details"].get(key))
        if given is not None:
            return given
    began, ended = moment(action["started_at"]), moment(action["finished_at"])
    took = (ended - began).total_seconds() if began and ended else 0.0
    if took < 5:
        took = sum(seconds for _phase, seconds in phases(action["details"])) or took
    return took if took > 0 else None


#: Endings of keys, their units, and what a key is called that is nothing but its ending.
_UNITS = (
    ("_bytes_per_s", "bytes/s", "throughput"),
    ("_per_s", "/s", "rate"),
    ("_bytes", "bytes", "size"),
    ("_seconds", "s", "duration"),
    ("_percent", "%", "percent"),
    ("_ms", "ms", "duration"),
    ("_s", "s", "duration"),
)


def unit_of(key: str) -> tuple[str, str]:
    """A key's name and unit: wal_bytes is ("wal", "bytes"), bytes_per_s ("throughput", "bytes/s")."""
    if key == "size":
        return "size", "bytes"
    for ending, unit, alone in _UNITS:
        if f"_{key}".endswith(ending):
            return key[: -len(ending)] or alone, unit
    return key, ""


def phases(details: dict[str, Any]) -> list[tuple[str, float]]:
    """The phases of an action with their seconds: from {"dump": 3.1} or [{"name": "dump", "duration_s": 3.1}]."""
    given = details.get("phases")
    pairs: list[tuple[Any, Any]] = []
    if isinstance(given, dict):
        pairs = list(given.items())
    elif isinstance(given, list):
        pairs = [(item.get("name"), item.get("duration_s")) for item in given if isinstance(item, dict)]
    return [
        (clean(name, 40, one_line=True).replace("_", " "), float(seconds))
        for name, seconds in pairs
        if name and isinstance(seconds, (int, float)) and seconds >= 0
    ]


#: States of a rollout -> how they are shown.
_STATES = {"complete": "ok", "failing": "warning", "unknown": "unknown", "drifted": "critical", "failed": "critical"}


def steps(details: dict[str, Any]) -> list[tuple[float, float, str, str, str]]:
    """The rollout of an action, step by step: seconds since its beginning and until the next step, when, status, and
    what was said.

    From {"rollout": [{"at": "2026-11-30T16:35:20Z", "seconds": 2.7, "state": "progressing", "message": "1 of 3 ..."}]};
    what is no such thing is left out.
    """
    given = details.get("rollout")
    known = []
    for item in given if isinstance(given, list) else []:
        began = number(item.get("seconds")) if isinstance(item, dict) else None
        if began is not None and began >= 0 and isinstance(item.get("message"), str):
            known.append((began, item))
    if not known:
        return []
    known.sort(key=lambda pair: pair[0])
    ends = [*(began for began, _item in known[1:]), known[-1][0]]
    return [
        (
            began,
            max(end - began, 0.0),
            when(item["at"]) if isinstance(item.get("at"), str) and moment(item["at"]) else "",
            _STATES.get(str(item.get("state")), "plain"),
            clean(item["message"], 300, one_line=True),
        )
        for (began, item), end in zip(known, ends, strict=True)
    ]


def objectives(details: dict[str, Any]) -> list[tuple[str, float | None, float, str]]:
    """What an action measured against objectives: name, seconds (None when not measured), objective in s, status.

    From [{"name": "Recovery time", "seconds": 34, "objective": 14400, "status": "ok"}].
    """
    given = details.get("objectives")
    found = []
    for item in given if isinstance(given, list) else []:
        if not isinstance(item, dict) or item.get("status") not in STATUSES:
            continue
        seconds, objective = number(item.get("seconds")), number(item.get("objective"))
        if objective is not None and objective > 0:
            found.append((clean(item.get("name"), 60, one_line=True), seconds, objective, item["status"]))
    return found
