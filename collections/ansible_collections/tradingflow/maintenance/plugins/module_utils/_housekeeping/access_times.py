# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Response times of access logs, where their format has a request's time, and what is to be said of them by route."""

from __future__ import annotations

import fnmatch
import math
import re
from collections import Counter
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..checks import CRITICAL, OK, STATUSES, WARNING, Check, limits, unknown
from ..words import plural

#: ms of one unit.
UNITS = {"s": 1000.0, "ms": 1.0, "us": 0.001}
QUANTILES = (50, 95, 99)
#: Routes that are told apart; what comes beyond is counted together. Routes that are judged, the busiest.
_MOST, _JUDGED = 500, 40
#: Requests of a route from which on it is judged, and the share of requests without a time from which on nobody knows.
ENOUGH, _UNTIMED = 100, 0.01
#: What a client has written itself, such as its name and where it came from.
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NUMBER = re.compile(rb"\d{1,12}(?:\.\d{1,12})?")
_OTHERS = "(others)"


def finder(name: str) -> Callable[[bytes], Optional[bytes]]:
    """Finds the time in what stands behind a line's size, quoted parts left out: nobody can write one into them.

    :param name: "last" for the last word, else NAME=time
    """
    if name == "last":

        def last(rest: bytes) -> Optional[bytes]:
            words = rest.split()
            # One in quotes would be what the client says.
            return words[-1] if words and not words[-1].endswith(b'"') else None

        return last
    wanted = re.compile(rb"(?:^|\s)" + re.escape(name.encode()) + rb"=(\S+)")

    def named(rest: bytes) -> Optional[bytes]:
        match = wanted.search(_QUOTED.sub(b" ", rest))
        return match[1] if match else None

    return named


def in_ms(value: Any, unit: str) -> Optional[float]:
    """A time in ms; None when there is none, such as -."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value * UNITS[unit] if math.isfinite(value) and value >= 0 else None
    text = value if isinstance(value, bytes) else str(value or "").encode("utf-8", "replace")
    return float(text) * UNITS[unit] if _NUMBER.fullmatch(text) else None


class Times:
    """Response times by route, to the ms, and from a second on to three digits."""

    def __init__(self, left_out: List[str]) -> None:
        self._left_out = left_out
        self._routes: "Dict[str, Counter[int]]" = {}
        self.untimed = self.timed = 0

    def add(self, path: str, took: Optional[float]) -> None:
        """One request.

        :param took: in ms; None when its line does not say
        """
        if any(fnmatch.fnmatchcase(path, each) for each in self._left_out):
            return
        if took is None:
            self.untimed += 1
            return
        self.timed += 1
        name = path if path in self._routes or len(self._routes) < _MOST else _OTHERS
        self._routes.setdefault(name, Counter())[_rounded(took)] += 1

    def data(self) -> Dict[str, Any]:
        """As JSON data: "routes" has [route, requests, p50, p95, p99], the busiest first."""
        rows: List[List[Any]] = [
            [route, sum(counted.values()), *_quantiles(counted)] for route, counted in self._routes.items()
        ]
        rows.sort(key=lambda row: (-row[1], row[0]))
        return {"timed": self.timed, "untimed": self.untimed, "routes": rows[:_JUDGED], "others": len(rows[_JUDGED:])}


def _rounded(took: float) -> int:
    # Up: a time must not seem shorter than it was.
    digits = max(0, len(str(int(took))) - 3) if took >= 1000 else 0
    return int(math.ceil(took / 10**digits) * 10**digits)


def _quantiles(counted: "Counter[int]") -> List[int]:
    total, seen = sum(counted.values()), 0
    found: List[int] = []
    wanted = [math.ceil(percent * total / 100) for percent in QUANTILES]
    for value in sorted(counted):
        seen += counted[value]
        while len(found) < len(wanted) and seen >= wanted[len(found)]:
            found.append(value)
    return found


def times(name: str, found: Dict[str, Any], thresholds: Dict[str, Any]) -> Check:
    """The check of a log's response times: the slowest p95 of its busiest routes, and the worst of all thresholds.

    :param name: of the log
    :param found: see Times.data
    """
    id, title = f"housekeeping.access_times:{name}", "Response times of an access log"
    every = found["timed"] + found["untimed"]
    if found["untimed"] > _UNTIMED * every or not found["timed"]:
        text = f"{plural(found['untimed'], 'request')} of {every:,} have no time where request_time says."
        remedy = "Write the time into the log, such as nginx's $request_time, and correct request_time."
        return unknown(id, title, text, remedy, source=name, details=found)
    rows = [row for row in found["routes"] if row[1] >= ENOUGH]
    if not rows:
        text = f"No route has {ENOUGH} requests in the period: too few to judge."
        return unknown(id, title, text, "Review more days.", source=name, details=found)
    verdicts: List[Tuple[int, List[Any]]] = []
    for row in rows:
        status = OK
        for place, percent in enumerate(QUANTILES):
            value = row[2 + place]
            limit = limits(thresholds, f"response_time_p{percent}")
            for level, worse in (("warning", WARNING), ("critical", CRITICAL)):
                if limit[level] is not None and value >= limit[level]:
                    status = max(status, worse, key=STATUSES.index)
        verdicts.append((STATUSES.index(status), row))
    worst = max(verdicts, key=lambda each: (each[0], each[1][3]))
    status, row = STATUSES[worst[0]], worst[1]
    text = f"{row[0]}: p50 {row[2]} ms, p95 {row[3]} ms, p99 {row[4]} ms of {row[1]:,} requests"
    slow = sum(index > STATUSES.index(OK) for index, _row in verdicts)
    text += f"; {plural(slow, 'route is', 'routes are')} slow of {len(rows)} that were judged."
    few = len(found["routes"]) - len(rows) + found["others"]
    if few:
        text += f" {plural(few, 'other has', 'others have')} too few requests, or are not among the {_JUDGED} busiest."
    check = Check(id, title, status, row[3], unit="ms", message=text, source=name, details=found)
    limit = limits(thresholds, "response_time_p95")
    check.warning, check.critical = limit["warning"], limit["critical"]
    if status != OK:
        check.remedy = "See what the route does: playbooks/weekly.yml --tags tuning has the statements."
    return check
