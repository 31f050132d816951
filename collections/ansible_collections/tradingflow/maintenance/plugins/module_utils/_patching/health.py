# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The daily's health checks before and after: what became worse is the patching's, what was bad before is not."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, as_dicts, unknown
from ..words import plural

TITLES = {"system": "Health of the host", "application": "Health of the application", "trading": "Trading"}
#: What is kept of a check.
_KEPT = ("id", "status", "value", "unit", "critical")
#: What a restart makes another, as it is to.
_EXPECTED = ("system.uptime", "system.reboot_needed")
_DISK, _PASSING = "system.disk_space:", "system.disk_space:/run/"
_NAMED = 10
_REMEDY = (
    "Put it right, and run the playbook again: it compares with what was before the first attempt. See the daily's "
    "checks (docs/checks.md)."
)

Checks = List[Dict[str, Any]]


def reduced(checks: Checks) -> Checks:
    """What is kept of checks to compare with."""
    return [{name: check.get(name) for name in _KEPT} for check in checks]


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


def worse(before: Optional[Checks], now: Checks) -> Dict[str, str]:
    """Checks that are worse than before, and how: critical that were not, or no longer known that were.

    :param before: None when nothing was measured then: nothing bad was there before
    """
    was = {check["id"]: check for check in before or []}
    found: Dict[str, str] = {}
    for check in now:
        earlier = was.pop(check["id"], None)
        if check["id"] in _EXPECTED:
            continue
        before_it = earlier["status"] if earlier else "not measured"
        if check["status"] == CRITICAL and (before_it != CRITICAL or _more(earlier, check)):
            found[check["id"]] = f"critical ({_told(check)}), before {before_it}{_value(earlier)}"
        elif check["status"] == UNKNOWN and before_it != UNKNOWN:
            found[check["id"]] = f"unknown, before {before_it}"
        elif check["status"] not in (OK, WARNING, UNKNOWN, CRITICAL):
            found[check["id"]] = f"{check['status']!r}, which is not known here"
    for id, earlier in was.items():
        # Instances come and go, such as a session's mounts below /run; a disk does not.
        gone = ":" not in id or (id.startswith(_DISK) and not id.startswith(_PASSING))
        if gone and id not in _EXPECTED and earlier["status"] != UNKNOWN:
            found[id] = f"not measured any more, before {earlier['status']}"
    return found


def _more(earlier: Optional[Dict[str, Any]], now: Dict[str, Any]) -> bool:
    """Whether a number of bad things grew that was critical before."""
    if earlier is None or now["unit"]:
        return False
    numbers = [earlier["value"], now["value"], now["critical"]]
    if any(isinstance(each, bool) or not isinstance(each, (int, float)) for each in numbers):
        return False
    return bool(now["value"] >= now["critical"] and now["value"] > earlier["value"])


def _told(check: Dict[str, Any]) -> str:
    return f"{check['value']} {check['unit']}".strip()


def _value(check: Optional[Dict[str, Any]]) -> str:
    return f" ({_told(check)})" if check and check["status"] == CRITICAL else ""


def compared(area: str, before: Optional[Checks], now: Optional[Checks]) -> Check:
    """The health of an area against that before the patching."""
    id, title = f"patching.health:{area}", TITLES[area]
    if not now:
        return unknown(id, title, "It was not measured after the patching.", "Read why beside it, and run it again.")
    bad = worse(before, now)
    details = {"worse": bad}
    if bad:
        listed = "; ".join(f"{name}: {how}" for name, how in list(bad.items())[:_NAMED])
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        text = f"Worse than before the patching: {listed}{more}."
        return Check(id, title, CRITICAL, len(bad), message=text, remedy=_REMEDY, details=details)
    still = [check["id"] for check in now if check["status"] in (UNKNOWN, CRITICAL) and check["id"] not in _EXPECTED]
    if still:
        more = f" and {len(still) - _NAMED} more" if len(still) > _NAMED else ""
        text = f"Critical or unknown before the patching, and still: {', '.join(still[:_NAMED])}{more}. None is worse."
        remedy = "Put it right: the patching neither caused nor mended it."
        return Check(id, title, WARNING, 0, message=text, remedy=remedy, details={"still": still})
    text = f"Nothing is critical or unknown, of {plural(len(now), 'check')}."
    return Check(id, title, OK, 0, message=text)


def of_area(area: str, checks: Optional[Checks]) -> Checks:
    """Those of one area."""
    return [check for check in checks or [] if str(check["id"]).startswith(f"{area}.")]
