# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The daily's health checks before and after: what became worse is the patching's, what was bad before is not."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Dict, List, NamedTuple, Optional

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, as_dicts, unknown
from ..words import plural
from .named import listed

TITLES = {"system": "Health of the host", "application": "Health of the application", "trading": "Trading"}
#: What is kept of a check; beside it what listed() says.
_KEPT = ("id", "status", "value", "unit", "critical")
#: What a restart makes another, as it is to.
_EXPECTED = ("system.uptime", "system.reboot_needed")
_DISK = "system.disk_space:"
#: What comes and goes by itself, such as a session's mounts.
_PASSING = ("system.disk_space:/run/", "system.inodes:/run/")
#: The kernel's counts since the start: the same number is of the same.
_COUNTERS = ("system.oom_kills",)
_NAMED = 10
_REMEDY = (
    "Put it right, and run the playbook again: it compares with what was before the first attempt. See the daily's "
    "checks (docs/checks.md)."
)
_UNTOLD = "Look at the daily's checks (docs/checks.md), and run the playbook again."
_UNBOUND = (
    "Look at the daily's checks by hand; once they are as they were, leave the area out for this host: -e "
    '\'{"patching_health": ["system"]}\'.'
)

Checks = List[Dict[str, Any]]


class Differences(NamedTuple):
    """What is another than before, by check and how: what is worse; what cannot be told; what is only a warning."""

    worse: Dict[str, str]
    untold: Dict[str, str]
    lesser: Dict[str, str]


def reduced(checks: Checks) -> Checks:
    """What is kept of checks to compare with."""
    return [{**{name: check.get(name) for name in _KEPT}, **listed(check)} for check in checks]


def measured(options: Optional[Dict[str, Any]]) -> Optional[Checks]:
    """The area system of this host; None when nobody asks for it.

    :param options: see SYSTEM_SPEC
    :raises ConfigurationError: a threshold makes no sense
    """
    if options is None:
        return None
    # Not while a host is planned, where it would only be read and compiled.
    from .._checks.system import measure

    return reduced(as_dicts(measure(options)))


def differences(before: Optional[Checks], now: Checks) -> Differences:
    """What is another than before.

    :param before: None when nothing was measured then: nothing bad was there before
    """
    was = {check["id"]: check for check in reduced(before or [])}
    found = Differences({}, {}, {})
    for check in reduced(now):
        id, earlier = check["id"], was.pop(check["id"], None)
        if id in _EXPECTED:
            continue
        before_it = earlier["status"] if earlier else "not measured"
        if check["status"] not in (OK, WARNING, UNKNOWN, CRITICAL):
            found.worse[id] = f"{check['status']!r}, which is not known here"
        elif check["status"] == UNKNOWN:
            if before_it != UNKNOWN:
                found.worse[id] = f"unknown, before {before_it}"
        elif check["status"] == CRITICAL and before_it != CRITICAL:
            found.worse[id] = f"critical ({_told(check)}), before {before_it}{_value(earlier)}"
        elif check["status"] == WARNING and before_it in (OK, "not measured") and before:
            found.lesser[id] = f"a warning ({_told(check)}), before {before_it}"
        elif earlier is not None and check["status"] == earlier["status"] != OK:
            _same_status(check, earlier, found)
    for id, earlier in was.items():
        if id in _EXPECTED or id.startswith(_PASSING) or earlier["status"] == UNKNOWN:
            continue
        # A disk that is not there any more is gone; of anything else nobody knows.
        into = found.worse if id.startswith(_DISK) else found.untold
        into[id] = f"not measured any more, before {earlier['status']}"
    return found


def _same_status(check: Dict[str, Any], earlier: Dict[str, Any], found: Differences) -> None:
    """Of two that are both critical, or both a warning: whether there are others among what they count."""
    critical = check["status"] == CRITICAL
    told = f"{check['status']} ({_told(check)}), before {check['status']} ({_told(earlier)})"
    more = _more(earlier, check)
    new = sorted(set(check["names"]) - set(earlier["names"]))
    # What lay beyond those that were named then may have been there already.
    if new and earlier["named"]:
        names = ", ".join(new[:3]) + (f" and {len(new) - 3} more" if len(new) > 3 else "")
        (found.worse if critical else found.lesser)[check["id"]] = f"{told}, new: {names}"
    elif more:
        (found.worse if critical else found.lesser)[check["id"]] = told
    elif critical and _counts(check) and (new or not check["named"]):
        found.untold[check["id"]] = f"{told}, and not all of them are named"


def _more(earlier: Dict[str, Any], now: Dict[str, Any]) -> bool:
    """Whether something grew of which more is worse; a measure with a unit has its noise."""
    numbers = [_number(each) for each in (earlier["value"], now["value"], now["critical"])]
    if now["unit"] or numbers[0] is None or numbers[1] is None:
        return False
    if now["status"] == CRITICAL and (numbers[2] is None or numbers[1] < numbers[2]):
        # Something else made it critical, or it is bad when there is little of it.
        return False
    return numbers[1] > numbers[0]


def _counts(check: Dict[str, Any]) -> bool:
    """Whether it is a number of bad things, which may be others than before."""
    whole = isinstance(check["value"], int) and not isinstance(check["value"], bool)
    limit = _number(check["critical"])
    counted = whole and not check["unit"] and limit is not None and check["value"] >= limit
    return bool(counted) and check["id"] not in _COUNTERS


def _number(value: Any) -> Optional[Decimal]:
    """A number, also as a Decimal is kept; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        return None
    return number if number.is_finite() else None


def _told(check: Dict[str, Any]) -> str:
    return f"{check['value']} {check['unit']}".strip()


def _value(check: Optional[Dict[str, Any]]) -> str:
    return f" ({_told(check)})" if check and check["status"] == CRITICAL else ""


def _named(found: Dict[str, str]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return "; ".join(f"{name}: {how}" for name, how in list(found.items())[:_NAMED]) + more


def unsettled(before: Optional[Checks], now: Checks) -> bool:
    """Whether it may become better by waiting."""
    found = differences(before, now)
    return bool(found.worse or found.untold)


def compared(area: str, before: Optional[Checks], now: Optional[Checks]) -> Check:
    """The health of an area against that before the patching."""
    id, title = f"patching.health:{area}", TITLES[area]
    if not now:
        return unknown(id, title, "It was not measured after the patching.", "Read why beside it, and run it again.")
    found = differences(before, now)
    details = {"worse": found.worse, "untold": found.untold, "lesser": found.lesser}
    if found.worse:
        text = f"Worse than before the patching: {_named(found.worse)}."
        if found.untold:
            text += f" Not known: {_named(found.untold)}."
        return Check(id, title, CRITICAL, len(found.worse), message=text, remedy=_REMEDY, details=details)
    if found.untold:
        text = f"Whether it is worse than before the patching is not known: {_named(found.untold)}."
        return unknown(id, title, text, _UNTOLD, details=details)
    still = [check["id"] for check in now if check["status"] in (UNKNOWN, CRITICAL) and check["id"] not in _EXPECTED]
    parts = []
    if still:
        more = f" and {len(still) - _NAMED} more" if len(still) > _NAMED else ""
        parts.append(f"Critical or unknown before the patching, and still: {', '.join(still[:_NAMED])}{more}.")
    if found.lesser:
        parts.append(f"Not critical, and not as before the patching: {_named(found.lesser)}.")
    if parts:
        text = " ".join([*parts, "No critical one is worse."])
        remedy = "Put it right. What was bad before is not the patching's."
        count = len({*still, *found.lesser})
        return Check(id, title, WARNING, count, message=text, remedy=remedy, details={**details, "still": still})
    text = f"Nothing is critical or unknown, of {plural(len(now), 'check')}."
    return Check(id, title, OK, 0, message=text)


def of_area(area: str, checks: Optional[Checks]) -> Checks:
    """Those of one area."""
    return [check for check in checks or [] if str(check["id"]).startswith(f"{area}.")]


def unbound(measurement: Dict[str, Any], run: str) -> str:
    """Why checks of the platform are not what a run measured from a moment on; empty when they are.

    :param measurement: run, began (seconds since 1970, by the runner's clock), checks with their observed_at
    :param run: id of this run; empty outside one
    """
    began, checks = measurement.get("began"), measurement.get("checks")
    if isinstance(began, bool) or not isinstance(began, (int, float)) or not checks:
        return "there is no measurement"
    if measurement.get("run") != run:
        return f"it is of the run {measurement.get('run') or 'without a name'}, and this is {run or 'none'}"
    for check in checks:
        at = _moment(check.get("observed_at"))
        # Moments of checks are cut to seconds.
        if at is None or at < math.floor(began):
            return f"{check.get('id')} was observed at {check.get('observed_at')}, before the measurement began"
    return ""


def handed(measurement: Optional[Dict[str, Any]], run: str, host: str, now: float) -> Dict[str, Any]:
    """What a host keeps of the platform before its patching: bound to it, and to the moment. Empty for none.

    :raises ValueError: it is not what this run measured before; says why
    """
    if not measurement:
        return {}
    why = unbound(measurement, run) or ("it began only later" if measurement["began"] > now else "")
    if why:
        raise ValueError(why)
    return {
        **{name: measurement[name] for name in ("run", "began")},
        "for": host,
        "handed": now,
        "checks": reduced(measurement["checks"]),
    }


def platform(area: str, before: Dict[str, Any], now: Dict[str, Any], of: Dict[str, Any]) -> Check:
    """An area of the platform against that before a host's patching; unknown unless both are just that.

    :param before: what the host keeps of it, see handed
    :param now: see unbound
    :param of: the run's id, the host, and the moment after which it counts ("run", "host", "after")
    """
    id, title = f"patching.health:{area}", TITLES[area]
    why = unbound(now, of["run"])
    if not why and now["began"] < of["after"]:
        why = "it was measured before the host was proven"
    if why:
        return unknown(id, title, f"Not measured after the patching: {why}.", _UNTOLD)
    earlier = of_area(area, before.get("checks"))
    if not earlier:
        why = "the host keeps no measurement of it"
    elif before.get("for") != of["host"]:
        why = f"what the host keeps is of {before.get('for') or 'another one'}"
    elif not before["began"] <= before["handed"] < now["began"]:
        why = "what the host keeps was not measured before"
    if why:
        text = f"There is nothing of before the patching to compare with: {why}."
        return unknown(id, title, text, _UNBOUND)
    return compared(area, earlier, of_area(area, now["checks"]))


def _moment(text: Any) -> Optional[float]:
    """Seconds since 1970 of checks.utc_now()."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None
