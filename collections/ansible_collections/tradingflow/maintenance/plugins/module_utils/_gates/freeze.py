# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate freeze: periods in which nothing is changed, such as a year's end."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, Dict, List, Tuple
from zoneinfo import ZoneInfo

from ..checks import CRITICAL, OK, Check
from ..errors import ConfigurationError
from ..words import printable, span
from .gate import Gate, held
from .windows import Interval, told

NAME, TITLE = "freeze", "No freeze"
HELP = (
    "Write it like {name: year end, from: '2026-12-18', until: '2027-01-04', timezone: Europe/Berlin}; a day means the "
    "whole of it, a time is that of the time zone."
)


def boundary(given: Any, zone: ZoneInfo, last: bool) -> float:
    """A day or a time as a moment: of a time the clocks show twice, the one that makes the freeze longer.

    :param last: whether a day counts until its end
    :raises ValueError: it is neither
    """
    if isinstance(given, datetime):
        moment = given
    elif isinstance(given, date):
        return _midnight(given, zone, last)
    else:
        text = str(given).strip()
        if len(text) == 10:
            return _midnight(date.fromisoformat(text), zone, last)
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    if moment.tzinfo is not None:
        return moment.timestamp()
    return _wall(moment.replace(tzinfo=zone), last)


def _midnight(day: date, zone: ZoneInfo, last: bool) -> float:
    return _wall(datetime.combine(day + timedelta(days=1 if last else 0), time(), zone), last)


def _wall(moment: datetime, last: bool) -> float:
    both = moment.timestamp(), moment.replace(fold=1).timestamp()
    return max(both) if last else min(both)


def parsed(given: List[Dict[str, Any]]) -> List[Tuple[str, str, Interval]]:
    """Name, reason and time of each freeze. One without an end has none.

    :raises ConfigurationError: one makes no sense
    """
    found = []
    for entry in given:
        name = printable(entry.get("name"), 60)
        try:
            zone = ZoneInfo(str(entry.get("timezone") or "UTC"))
            starts = boundary(entry["from"], zone, last=False)
            ends = math.inf if entry.get("until") in (None, "") else boundary(entry["until"], zone, last=True)
            if not starts < ends:
                raise ValueError("it ends before it begins")
        except (ValueError, TypeError, KeyError, LookupError, OSError, OverflowError) as error:
            text = f"The freeze {name} makes no sense: {printable(error) or type(error).__name__}."
            raise ConfigurationError(text, HELP) from None
        found.append((name, str(entry.get("reason") or ""), (starts, ends)))
    return found


def freeze(given: List[Dict[str, Any]], now: float, until: float, duration: float, zone: tzinfo) -> Gate:
    """The gate.

    :raises ConfigurationError: a freeze makes no sense
    """
    freezes = parsed(given)
    gate = Gate(NAME, [], [each[2] for each in freezes])
    coming = []
    for name, reason, (starts, ends) in freezes:
        id, title = f"gate.{NAME}:{name}", f"Freeze {name}"
        because = f" ({printable(reason, 200)})" if reason else ""
        if ends == math.inf and starts <= now + duration:
            text = f"The freeze {name}{because} has no end."
            gate.checks.append(Check(id, title, CRITICAL, "frozen", message=text, remedy="End it in the inventory."))
        elif starts <= now < ends:
            text = f"The freeze {name}{because} holds until {told(ends, zone)}."
            gate.checks.append(held(id, title, "frozen", text, "Wait for its end."))
        elif now < starts <= now + duration:
            text = f"The freeze {name}{because} begins at {told(starts, zone)}, before {span(duration)} have passed."
            gate.checks.append(held(id, title, "begins soon", text, f"Wait for its end, {told(ends, zone)}."))
        elif now < starts < until:
            coming.append(f"{name} begins at {told(starts, zone)}")
    if not gate.checks:
        text = f"No freeze holds{'; ' + ', '.join(coming) if coming else ''}."
        gate.checks.append(Check(f"gate.{NAME}", TITLE, OK, "none", message=text, source="maintenance_window_freezes"))
    return gate
