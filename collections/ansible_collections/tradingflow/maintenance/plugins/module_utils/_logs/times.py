# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time stamps in logs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Dict, Optional, Tuple

from ..errors import ConfigurationError

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_MONTH = "|".join(_MONTHS)
_CLOCK = r"(\d\d):(\d\d):(\d\d)"
_SYSLOG = re.compile(rf"(?:<\d{{1,3}}>)?({_MONTH}) {{1,2}}(\d{{1,2}}) {_CLOCK}(?!\d)")
_GLOG = re.compile(rf"[IWEF](\d\d)(\d\d) {_CLOCK}(\.\d+)?")
_ACCESS = re.compile(rf"\[(\d\d)/({_MONTH})/(\d{{4}}):{_CLOCK} ([+-]\d{{4}})\]")
_CTIME = re.compile(
    rf"\[?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ({_MONTH}) {{1,2}}(\d{{1,2}}) {_CLOCK}(?:\.\d+)? (\d{{4}})\b\]?"
)
_MONTH_LAST = re.compile(rf"(?:\d+:[A-Z] )?(\d{{1,2}})[ -]({_MONTH})[ -](\d{{4}})[ :T]{_CLOCK}(?!\d)")
_MONTH_FIRST = re.compile(rf"({_MONTH}) (\d{{1,2}}), (\d{{4}}),? {{1,2}}(\d{{1,2}}):(\d\d):(\d\d)(?: ?([AP])M\b)?")
_EPOCH = re.compile(r"\[?(\d{10}(?:\.\d+)?|\d{13})\]?(?=[\s:,|])")
#: A time stamp begins among the first so many characters of its line; further on it is part of the message.
_BEGINS = 40


class Times:
    """Finds and reads time stamps.

    :param zone: of stamps that name none: local, UTC or a name such as Europe/Berlin
    :param now: seconds since the epoch; stamps without a year are of the last twelve months before
    :raises ConfigurationError: there is no such zone on this host
    """

    def __init__(self, zone: str, now: float) -> None:
        self.now = now
        self._zone = _zone(zone)
        self._minutes: Dict[Tuple[str, str], Tuple[float, float]] = {}
        self._previous = 0.0
        names = {moment.tzname() or "" for moment in self._samples()} - {"UTC", "GMT"}
        self._names = {name for name in names if name.isalpha()}
        named = "|".join(["Z", "UTC", "GMT", *sorted(self._names)])
        self._iso = re.compile(
            r"(?<![\w'\"(])(\d{4}[-/]\d\d[-/]\d\d)[T ](\d\d:\d\d):(\d\d)(?:[.,](\d{1,9}))?"
            rf"(?!\d)(?:( ?[+-]\d\d:?\d\d(?!\d)|[+-]\d\d(?!\d)| ?(?:{named})\b))?"
        )

    def restart(self) -> None:
        """Forgets the line before: what comes is of another file."""
        self._previous = 0.0

    def _samples(self) -> list[datetime]:
        """A winter's and a summer's day in the zone."""
        days = [datetime(2026, month, 1) for month in (1, 7)]
        return [day.replace(tzinfo=self._zone) if self._zone else day.astimezone() for day in days]

    def find(self, text: str) -> Optional[Tuple[float, int]]:
        """The time stamp at the beginning of a line, and where it ends; None when there is none."""
        match = self._iso.search(text, 0, 100)
        try:
            if match and match.start() <= _BEGINS:
                return self._iso_time(match), match.end()
            match = _SYSLOG.match(text)
            if match:
                return self._without_year(
                    _MONTHS[match[1]], int(match[2]), *map(int, match.group(3, 4, 5))
                ), match.end()
            match = _GLOG.match(text)
            if match:
                at = self._without_year(*(int(part) for part in match.group(1, 2, 3, 4, 5)))
                return at + float(match[6] or 0), match.end()
            match = _ACCESS.search(text, 0, 300)
            if match:
                day, clock = f"{match[3]}-{_MONTHS[match[2]]:02}-{match[1]}", f"{match[4]}:{match[5]}"
                return self._minute(day, clock, match[7]) + int(match[6]), match.end()
            match = _CTIME.match(text)
            if match:
                day, clock = f"{match[6]}-{_MONTHS[match[1]]:02}-{int(match[2]):02}", f"{match[3]}:{match[4]}"
                return self._minute(day, clock, "") + int(match[5]), match.end()
            match = _MONTH_LAST.match(text.lstrip("["))
            if match:
                # Redis and others.
                day, clock = f"{match[3]}-{_MONTHS[match[2]]:02}-{int(match[1]):02}", f"{match[4]}:{match[5]}"
                return self._minute(day, clock, "") + int(match[6]), match.end() + text.startswith("[")
            match = _MONTH_FIRST.match(text)
            if match:
                # java.util.logging.
                hour = int(match[4]) % 12 + 12 * (match[7] == "P") if match[7] else int(match[4])
                day = f"{match[3]}-{_MONTHS[match[1]]:02}-{int(match[2]):02}"
                return self._minute(day, f"{hour:02}:{match[5]}", "") + int(match[6]), match.end()
            match = _EPOCH.match(text)
            if match:
                return number_time(float(match[1])), match.end()
        except (ValueError, OverflowError):
            # Such as the 31st of February.
            return None
        return None

    def value(self, value: Any) -> Optional[float]:
        """The time in a field of a structured line: text, or a number of s, ms, us or ns since the epoch."""
        try:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return number_time(float(value))
            if isinstance(value, str):
                if re.fullmatch(r"\d{9,19}(\.\d+)?", value):
                    return number_time(float(value))
                found = self.find(value)
                return found[0] if found else None
        except (ValueError, OverflowError):
            pass
        return None

    def parsed(self, text: str, form: str) -> Optional[float]:
        """A time stamp in a form of strptime."""
        try:
            moment = datetime.strptime(text, form)
            if moment.year == 1900:
                clock = (moment.hour, moment.minute, moment.second)
                return self._without_year(moment.month, moment.day, *clock) + moment.microsecond / 1e6
            return moment.timestamp() if moment.tzinfo else self._local(moment)
        except (ValueError, OverflowError):
            return None

    def _iso_time(self, match: Any) -> float:
        at = self._minute(match[1], match[2], (match[5] or "").strip()) + int(match[3])
        return at + float(f"0.{match[4]}") if match[4] else at

    def _minute(self, day: str, clock: str, zone: str) -> float:
        """Seconds since the epoch of a minute; lines of the same minute are read once."""
        key = (day + clock, zone)
        known = self._minutes.get(key)
        if known is None:
            if len(self._minutes) > 5000:
                self._minutes.clear()
            known = self._minutes[key] = self._both(day, clock, zone)
        first, second = known
        # The hour that summer time's end repeats is the second one when the lines before it were later.
        if first != second and self._previous > first + 60:
            first = second
        self._previous = first
        return first

    def _both(self, day: str, clock: str, zone: str) -> Tuple[float, float]:
        year, month, date = int(day[:4]), int(day[5:7]), int(day[8:10])
        moment = datetime(year, month, date, int(clock[:2]), int(clock[3:5]))
        if zone in ("Z", "UTC", "GMT"):
            at = moment.replace(tzinfo=timezone.utc).timestamp()
            return at, at
        if zone and zone[0] in "+-":
            digits = zone[1:].replace(":", "")
            offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
            at = moment.replace(tzinfo=timezone(offset if zone[0] == "+" else -offset)).timestamp()
            return at, at
        folds = [moment.replace(tzinfo=self._zone, fold=fold) for fold in (0, 1)]
        if zone:
            # The zone's abbreviation says which of the two it is.
            named = [fold for fold in folds if (fold if self._zone else fold.astimezone()).tzname() == zone]
            folds = (named or folds) * 2
        return folds[0].timestamp(), folds[1].timestamp()

    def _local(self, moment: datetime) -> float:
        return moment.replace(tzinfo=self._zone).timestamp()

    def _without_year(self, month: int, day: int, hour: int, minute: int, second: int) -> float:
        year = datetime.fromtimestamp(self.now, self._zone).year
        # The 29th of February is not in every year.
        for candidate in range(year + 1, year - 8, -1):
            try:
                at = self._local(datetime(candidate, month, day, hour, minute)) + second
            except ValueError:
                continue
            if at <= self.now + 86400:
                return at
        raise ValueError("no such day")


def number_time(value: float) -> float:
    """Seconds since the epoch of a number that may be s, ms, us or ns.

    :raises ValueError: it is none of them
    """
    for scale in (1.0, 1e3, 1e6, 1e9):
        if 3e8 <= value / scale < 1e10:
            return value / scale
    raise ValueError("not a time")


def _zone(name: str) -> Optional[tzinfo]:
    if name.lower() == "local":
        return None
    if name.upper() == "UTC":
        return timezone.utc
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(
            f"There is no time zone {name!r} on this host",
            "Set time_zone to local, UTC or a name such as Europe/Berlin.",
        ) from None
