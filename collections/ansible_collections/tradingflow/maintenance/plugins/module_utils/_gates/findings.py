# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate findings: nothing critical is open, by the newest whole daily, and nothing that nobody knows."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Dict, List, Tuple
from zoneinfo import ZoneInfo

from ..checks import CRITICAL, OK, STATUSES, UNKNOWN, Check, unknown
from ..errors import ConfigurationError
from ..words import plural, printable, span
from .freeze import boundary
from .gate import Gate
from .past import Past

NAME, TITLE = "findings", "No open critical finding"
#: Findings that a check names.
SHOWN = 20
HELP = "Write it like {id: system.disk_space:/var, host: db1, reason: new disk on Monday, until: '2026-12-04'}."


def acknowledged(given: List[Dict[str, Any]], now: float) -> Tuple[List[Dict[str, Any]], List[str]]:
    """The acknowledgements that hold now, and what is no longer one.

    :raises ConfigurationError: one has no reason, or no end that makes sense
    """
    valid: List[Dict[str, Any]] = []
    over: List[Dict[str, Any]] = []
    for entry in given:
        try:
            ends = boundary(entry["until"], ZoneInfo("UTC"), last=True)
        except (ValueError, TypeError, OverflowError) as error:
            text = f"The acknowledgement of {printable(entry.get('id'), 80)} makes no sense: {printable(error)}."
            raise ConfigurationError(text, HELP) from None
        if not str(entry.get("reason") or "").strip():
            raise ConfigurationError(f"The acknowledgement of {printable(entry['id'], 80)} has no reason.", HELP)
        (valid if now < ends else over).append(entry)
    return valid, [f"that of {printable(entry['id'], 80)} ended" for entry in over]


def _is(check: Dict[str, Any], entry: Dict[str, Any]) -> bool:
    return bool(check["id"] == entry["id"] and entry.get("host") in (None, "", check["host"]))


def findings(past: Past, given: List[Dict[str, Any]], now: datetime) -> Gate:
    """The gate.

    :raises ConfigurationError: an acknowledgement makes no sense
    """
    id = f"gate.{NAME}"
    valid, over = acknowledged(given, now.timestamp())
    if past.problem:
        return Gate(NAME, [unknown(id, TITLE, *past.problem)])
    known = [check for check in past.checks if any(_is(check, entry) for entry in valid)]
    open_ = [check for check in past.checks if check["status"] in (CRITICAL, UNKNOWN) and check not in known]
    open_.sort(key=lambda check: (-STATUSES.index(check["status"]), check["id"], check["host"]))
    accepted = [check for check in known if check["status"] in (CRITICAL, UNKNOWN)]
    source = f"report of {past.run_id}, {span(max(past.age, 0))} old"
    details = {
        "daily": past.run_id,
        "open": [_named(check) for check in open_[:SHOWN]],
        "acknowledged": [_named(check) for check in accepted[:SHOWN]],
    }
    notes = f" {plural(len(accepted), 'is', 'are')} acknowledged." if accepted else ""
    notes += f" Of the acknowledgements, {', '.join(over[:3])}." if over and open_ else ""
    if not open_:
        text = f"The newest whole daily left nothing critical or unknown open.{notes}"
        return Gate(NAME, [Check(id, TITLE, OK, 0, message=text, source=source, details=details)])
    bad = [check for check in open_ if check["status"] == CRITICAL]
    worst = bad or open_
    named = ", ".join(_named(check) for check in worst[:3]) + (f" and {len(worst) - 3} more" if len(worst) > 3 else "")
    remedy = "Fix it and run the daily again, or acknowledge it with a reason (maintenance_window_acknowledged)."
    kwargs: Dict[str, Any] = {"source": source, "details": details}
    if bad:
        text = f"{plural(len(bad), 'critical finding is', 'critical findings are')} open: {named}.{notes}"
        return Gate(NAME, [Check(id, TITLE, CRITICAL, len(bad), message=text, remedy=remedy, **kwargs)])
    text = f"{plural(len(open_), 'finding is', 'findings are')} unknown: {named}.{notes}"
    return Gate(NAME, [unknown(id, TITLE, text, remedy, **kwargs)])


def _named(check: Dict[str, Any]) -> str:
    return f"{printable(check['id'], 80)} of {printable(check['host'], 60)}"
