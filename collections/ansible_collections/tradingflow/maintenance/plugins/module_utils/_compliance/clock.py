# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clocks against the requirement of the day, by what each daily run found out about its hosts."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, Check, unknown
from ..words import plural, printable
from .controls import CONTROLS
from .requirements import Requirement

ID = "compliance.clock_synchronisation"
SOURCE = "system.clock_skew of the daily runs"
REMEDY = "See the host's time service (chronyc tracking); use a better source of time, and run the daily every day."


def bound(requirements: Sequence[Requirement], on: date, activity: str) -> Optional[Tuple[Decimal, str]]:
    """How far a clock may be from UTC on a day, by the strictest requirement that applies, and its id."""
    found = [(each.clock[activity], each.id) for each in requirements if each.clock and each.applies(on)]
    return min(found) if found else None


def judged(
    reports: Sequence[Dict[str, Any]], requirements: Sequence[Requirement], now: datetime, days: int, activity: str
) -> List[Check]:
    """A check for each host.

    :param reports: of daily runs, oldest first (contract 2)
    :param days: how many days before now each must have a measurement
    """
    first = (now - timedelta(days=days)).date()
    wanted = [first + timedelta(days=number) for number in range(days)]
    measured: Dict[str, Dict[date, List[Any]]] = {}
    for report in reports:
        day = _day(report.get("started_at"))
        for check in report["checks"]:
            if str(check["id"]).startswith("system."):
                # Also one whose clock was never measured.
                measured.setdefault(str(check["host"]), {})
            if check["id"] == "system.clock_skew" and day is not None and first <= day <= now.date():
                kernel = (check.get("details") or {}).get("kernel")
                measured.setdefault(str(check["host"]), {}).setdefault(day, []).append(kernel)
    if not measured:
        text = f"No daily run of the last {days} days measured a clock."
        return [
            unknown(ID, CONTROLS[ID], text, "Run playbooks/daily.yml every day, with --tags system.", source=SOURCE)
        ]
    return [_host(host, measured[host], wanted, requirements, activity) for host in sorted(measured)]


def _host(
    host: str, measured: Dict[date, List[Any]], wanted: List[date], requirements: Sequence[Requirement], activity: str
) -> Check:
    id, title = f"{ID}:{printable(host, 60)}", f"Clock of {printable(host, 60)} as near to UTC as required"
    beyond, untold, worst, allowed = [], [], Decimal(0), {}
    for day, told in sorted(measured.items()):
        limit = bound(requirements, day, activity)
        if limit is None:
            continue
        allowed[limit[1]] = str(limit[0])
        for kernel in told:
            error = _error(kernel)
            if error is None:
                untold.append(day)
            elif error > limit[0]:
                beyond.append(day)
            if error is not None and error.is_finite():
                worst = max(worst, error)
    missing = [day for day in wanted if day not in measured]
    details = {
        "allowed_s": allowed,
        "days_measured": len(measured),
        "days_missing": len(missing),
        "first": [str(day) for day in (beyond or untold or missing)[:10]],
    }
    if not allowed:
        text = "No requirement on clocks applies in the jurisdictions that are set."
        return unknown(id, title, text, "Set compliance_report_jurisdictions.", source=SOURCE, details=details)
    common: Dict[str, Any] = {"unit": "s", "source": SOURCE, "details": details}
    tight = min(Decimal(each) for each in allowed.values())
    if beyond:
        text = f"On {plural(len(set(beyond)), 'day')} the clock was not synchronised, or may have been off by "
        text += f"more than {tight:f} s."
        return Check(id, title, CRITICAL, float(worst), message=text, remedy=REMEDY, critical=float(tight), **common)
    if untold or missing:
        text = f"On {plural(len(set(untold)) + len(missing), 'day')} of {len(wanted):,} nobody measured the clock."
        return Check(id, title, UNKNOWN, None, message=text, remedy=REMEDY, critical=float(tight), **common)
    text = f"Its possible error was {worst:f} s at most in {plural(len(wanted), 'day')}, {tight:f} s are allowed."
    return Check(id, title, OK, float(worst), message=text, critical=float(tight), **common)


def _error(kernel: Any) -> Optional[Decimal]:
    """The error that a clock may have, in s; infinite if nothing keeps it, None if nobody knows."""
    if not isinstance(kernel, dict) or not isinstance(kernel.get("synchronised"), bool):
        return None
    if not kernel["synchronised"]:
        return Decimal("Infinity")
    try:
        error = Decimal(str(kernel.get("error")))
    except InvalidOperation:
        return None
    return error if error.is_finite() and error >= 0 else None


def _day(text: Any) -> Optional[date]:
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ").date()
    except ValueError:
        return None
