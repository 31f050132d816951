# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time as it is free or not: intervals of moments in s since 1970, and what lies between them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from ..errors import ConfigurationError

#: From and until, the latter not included.
Interval = Tuple[float, float]


@dataclass(frozen=True)
class Window:
    """Time in which nothing holds.

    :param starts: the first moment
    :param ends: when something holds again, or as far as was looked
    :param latest: at this moment it is too late to begin
    """

    starts: float
    ends: float
    latest: float

    def as_dict(self, zone: tzinfo) -> Dict[str, Any]:
        """For people and programs, in their time zone."""
        return {
            "from": moment(self.starts, zone),
            "to": moment(self.ends, zone),
            "begin_before": moment(self.latest, zone),
            "hours": round((self.ends - self.starts) / 3600, 2),
        }


def moment(at: float, zone: tzinfo = timezone.utc) -> str:
    """A moment with its offset, e.g. 2026-11-29T16:05:00+00:00."""
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")


def told(at: float, zone: tzinfo = timezone.utc) -> str:
    """A moment for people, e.g. Sun 2026-11-29 16:05 UTC."""
    return f"{datetime.fromtimestamp(at, zone):%a %Y-%m-%d %H:%M %Z}"


def over(ends: Optional[str], clock: Callable[[], float] = time.time) -> bool:
    """Whether a window has ended that a gate gave.

    :param ends: its "to"; None or empty for no end
    :raises ConfigurationError: it is no time
    """
    if not ends:
        return False
    try:
        return clock() >= datetime.strptime(ends, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        raise ConfigurationError(f"The end of the window is {ends}, which is no time.", "Report it.") from None


def merged(intervals: Iterable[Interval]) -> List[Interval]:
    """The same time in order, without overlaps; what touches is one."""
    found: List[Interval] = []
    for starts, ends in sorted(each for each in intervals if each[0] < each[1]):
        if found and starts <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ends))
        else:
            found.append((starts, ends))
    return found


def without(intervals: Iterable[Interval], others: Iterable[Interval]) -> List[Interval]:
    """Time that is in the first and not in the others."""
    found: List[Interval] = []
    taken = merged(others)
    for starts, ends in merged(intervals):
        for away in taken:
            if away[1] <= starts or away[0] >= ends:
                continue
            if away[0] > starts:
                found.append((starts, away[0]))
            starts = away[1]
            if starts >= ends:
                break
        if starts < ends:
            found.append((starts, ends))
    return found


def free(busy: Iterable[Interval], now: float, until: float, duration: float) -> List[Window]:
    """The windows from now on in which there is more time than wanted.

    A window must be longer than the duration, not as long: at its end the market opens.
    """
    gaps = without([(now, until)], busy)
    return [Window(starts, ends, ends - duration) for starts, ends in gaps if ends - starts > duration]


def covering(intervals: Iterable[Interval], at: float) -> Optional[Interval]:
    """The interval that a moment is in."""
    return next((each for each in merged(intervals) if each[0] <= at < each[1]), None)
