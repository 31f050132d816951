# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When markets are open: round the clock, by an exchange's code, or as the operator says.

Moments are seconds since 1970, so that no time zone can be mistaken for another.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from zoneinfo import ZoneInfo

from ..errors import ConfigurationError
from ..words import printable

#: Opening and close.
Session = Tuple[float, float]
#: Minutes after midnight.
Hours = Tuple[int, int]

#: Days that are looked at, back and ahead. The latter must reach beyond the longest holidays.
BACK, AHEAD = 400, 14
DAY = 86400

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

CALENDARS_HELP = (
    "Write it like {timezone: America/New_York, sessions: {mon: ['09:30', '16:00']}, holidays: ['2026-12-25'], "
    "half_days: {'2026-12-24': '13:00'}}."
)


class UnknownCalendar(Exception):
    """Nobody knows when a market is open.

    :param message: a sentence
    :param remedy: what to do
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True)
class OwnCalendar:
    """A calendar as the operator says, see parse().

    :param hours: of each weekday, Monday first
    :param half_days: minutes after midnight at which trading ends
    """

    zone: ZoneInfo
    hours: Tuple[Tuple[Hours, ...], ...]
    holidays: frozenset[date]
    half_days: Dict[date, int]

    def sessions(self, first: date, last: date, widen: int = 0) -> Iterator[Session]:
        """The sessions that begin on these days. One whose close is not after its opening ends on the next day.

        :param widen: what a time means that the clocks show twice or never, in the night when they change: 0 the first
            one, 1 the one that makes the session longer, -1 the one that makes it shorter
        """
        day = first
        while day <= last:
            if day not in self.holidays:
                early = self.half_days.get(day)
                for opens, closes in self.hours[day.weekday()]:
                    start = self._at(day, opens, -widen)
                    end = self._at(day, closes if closes > opens else closes + 1440, widen)
                    if early is not None:
                        first_opening = self.hours[day.weekday()][0][0]
                        end = min(end, self._at(day, early if early > first_opening else early + 1440, widen))
                    if end > start:
                        yield start, end
            day += timedelta(days=1)

    def _at(self, day: date, minutes: int, later: int) -> float:
        """What the clock on the wall shows there, as a moment: sessions get longer or shorter when it is changed.

        :param later: 1 for the later of two moments it may be, -1 for the earlier
        """
        days, rest = divmod(minutes, 1440)
        moment = datetime.combine(day + timedelta(days=days), time(rest // 60, rest % 60), self.zone)
        both = moment.timestamp(), moment.replace(fold=1).timestamp()
        return both[0] if later == 0 else max(both) if later > 0 else min(both)


def parse(given: Dict[str, Any]) -> Dict[str, OwnCalendar]:
    """The option "calendars".

    :param given: name -> timezone, sessions (weekday -> [open, close], or a list of such), holidays (dates),
        half_days (date -> close)
    :raises ConfigurationError: it makes no sense
    """
    result = {}
    for name, entry in given.items():
        try:
            result[str(name)] = _parse(entry)
        except (ValueError, TypeError, KeyError, LookupError, OSError) as error:
            text = f"The calendar {printable(name)} makes no sense: {printable(error) or type(error).__name__}."
            raise ConfigurationError(text, CALENDARS_HELP) from None
    return result


def _parse(entry: Dict[str, Any]) -> OwnCalendar:
    extra = set(entry) - {"timezone", "sessions", "holidays", "half_days"}
    if extra:
        raise ValueError(f"it has unknown keys: {', '.join(sorted(map(str, extra)))}")
    hours: List[Tuple[Hours, ...]] = [() for _day in WEEKDAYS]
    for weekday, value in (entry.get("sessions") or {}).items():
        short = str(weekday).strip().lower()[:3]
        if short not in WEEKDAYS:
            raise ValueError(f"{weekday} is not a weekday")
        pairs = value if value and isinstance(value[0], (list, tuple)) else [value]
        hours[WEEKDAYS.index(short)] = tuple(sorted((_minutes(opens), _minutes(closes)) for opens, closes in pairs))
    if not any(hours):
        raise ValueError("it has no session")
    return OwnCalendar(
        ZoneInfo(str(entry["timezone"])),
        tuple(hours),
        frozenset(date.fromisoformat(str(day)) for day in entry.get("holidays") or []),
        {date.fromisoformat(str(day)): _minutes(at) for day, at in (entry.get("half_days") or {}).items()},
    )


def _minutes(text: Any) -> int:
    """Minutes after midnight of a time such as 09:30 or 24:00."""
    # YAML takes 16:00 without quotes for a number to the base of 60.
    if isinstance(text, int) and not isinstance(text, bool) and 0 <= text <= 1440:
        return text
    hour, minute = (int(part) for part in str(text).split(":")[:2])
    if not (0 <= hour <= 24 and 0 <= minute < 60 and hour * 60 + minute <= 1440):
        raise ValueError(f"{text} is not a time of day")
    return hour * 60 + minute


class Market:
    """The sessions of one calendar, from BACK days ago to AHEAD days from now.

    :param name: for people
    :param now: as the database says
    """

    def __init__(self, name: str, sessions: List[Session], now: float) -> None:
        self.name = name
        self.now = now
        self.start = now - BACK * DAY
        self._sessions = [session for session in sorted(sessions) if session[1] > self.start]
        self._openings = [session[0] for session in self._sessions]

    def open_seconds(self, since: float) -> float:
        """How long the market was open since then, as far as it is looked back."""
        since = max(since, self.start)
        # Sessions that overlap count once.
        total, reached = 0.0, since
        for opens, closes in self._sessions:
            lower, upper = max(opens, reached), min(closes, self.now)
            if upper > lower:
                total += upper - lower
                reached = upper
        return total

    def aged(self, since: float) -> float:
        """How long ago a moment was for those who work while the market is open, in s.

        Days on which it was closed do not count: of the time between two sessions, what goes beyond whole days. So
        the close of Friday is as old on Monday's opening as that of Monday on Tuesday's.
        """
        total = self.open_seconds(since) + max(self.start - since, 0.0)
        reached = self.start
        for opens, closes in [*self._sessions, (math.inf, math.inf)]:
            if opens > reached:
                # For how long it stays closed nobody knows when nobody knows when it opens.
                counts = (opens - reached) % DAY if opens < math.inf else math.inf
                total += max(min(reached + counts, opens, self.now) - max(reached, since), 0.0)
            reached = max(reached, closes)
        return total

    def moment_of_age(self, seconds: float) -> float:
        """The latest moment that is so old, see aged()."""
        low, high = self.start, self.now
        while high - low > 1e-4:
            middle = (low + high) / 2
            low, high = (middle, high) if self.aged(middle) >= seconds else (low, middle)
        return low

    def closed_between(self, first: float, last: float) -> bool:
        """Whether it was closed all the time between two moments."""
        return first >= self.start and not any(opens < last and closes > first for opens, closes in self._sessions)

    @property
    def is_open(self) -> bool:
        """Whether it is open now."""
        return any(opens <= self.now < closes for opens, closes in self._sessions)

    @property
    def opens_at(self) -> Optional[float]:
        """When it opens next, None if not within AHEAD days."""
        place = bisect_right(self._openings, self.now)
        return self._openings[place] if place < len(self._openings) else None

    def state(self) -> str:
        """Whether it is open, for people."""
        if self.is_open:
            return "open"
        if self.opens_at is None:
            return f"closed for {AHEAD} days"
        return f"closed until {datetime.fromtimestamp(self.opens_at, timezone.utc):%Y-%m-%d %H:%M} UTC"


class Calendars:
    """All calendars, each made when it is first asked for.

    :param own: those of the operator, which come first
    """

    def __init__(self, own: Optional[Dict[str, OwnCalendar]] = None) -> None:
        self._own = own or {}
        self._made: Dict[str, Market] = {}

    def is_costly(self, name: Optional[str]) -> bool:
        """Whether it takes a library that needs a second to load."""
        return bool(name) and name not in self._own and name not in BUILT_IN

    def market(self, name: Optional[str], now: float) -> Market:
        """A calendar's market.

        :param now: the same for all calls, or nearly
        :raises UnknownCalendar: there is no such calendar, or it cannot be read
        """
        if not name:
            raise UnknownCalendar(
                "its calendar is not set, so when its market is open is unknown.",
                "Set calendar in maintenance.strategies.",
            )
        if name not in self._made:
            first = datetime.fromtimestamp(now, timezone.utc).date() - timedelta(days=BACK + 1)
            last = first + timedelta(days=BACK + AHEAD + 2)
            if name in self._own:
                sessions = list(self._own[name].sessions(first, last))
            else:
                sessions = BUILT_IN[name](first, last) if name in BUILT_IN else exchange(name, first, last)
            self._made[name] = Market(name, sessions, now)
        return self._made[name]


def round_the_clock(first: date, last: date) -> List[Session]:
    """24/7: always."""
    return [(_midnight(first), _midnight(last) + DAY)]


def five_days(first: date, last: date) -> List[Session]:
    """24/5: from Sunday to Friday, 22:00 UTC."""
    sunday = first - timedelta(days=(first.weekday() + 1) % 7)
    weeks = (last - sunday).days // 7 + 1
    starts = (_midnight(sunday + timedelta(weeks=week)) + 22 * 3600 for week in range(weeks))
    return [(start, start + 5 * DAY) for start in starts]


def _midnight(day: date) -> float:
    return datetime.combine(day, time(), timezone.utc).timestamp()


BUILT_IN: Dict[str, Callable[[date, date], List[Session]]] = {"24/7": round_the_clock, "24/5": five_days}


def exchange(code: str, first: date, last: date) -> List[Session]:
    """The sessions of an exchange by its code, lunch breaks taken out.

    :raises UnknownCalendar: there is none of this name, or the library is missing or does not reach so far
    """
    return known(code, first, last, last - timedelta(days=AHEAD + 1))[0]


def known(code: str, first: date, last: date, today: date) -> Tuple[List[Session], date]:
    """The same, and the last day for which they are known: some calendars end with a year.

    :param today: must be known at least
    :raises UnknownCalendar: likewise
    """
    remedy = "Correct calendar in maintenance.strategies, or define it: trading_check_calendars."
    try:
        # Not above: it brings pandas, which takes longer to load than all else here takes.
        import exchange_calendars  # type: ignore[import-untyped]
    except ImportError:
        text = f"calendar {printable(code, 40)} needs the library exchange-calendars, which is missing."
        raise UnknownCalendar(text, "Install exchange-calendars for this Python, or define the calendar.") from None
    # Some calendars end with a year: the days until then are known.
    ends = [last] + [date(last.year - 1, 12, 31)] * (today.year < last.year)
    reason = ""
    for end in ends:
        try:
            with warnings.catch_warnings():
                # What it says of pandas is not for our users.
                warnings.simplefilter("ignore")
                table = exchange_calendars.get_calendar(code, start=first.isoformat(), end=end.isoformat()).schedule
            break
        except Exception as error:
            # Some of its calendars fail with some versions of pandas, each in its own way.
            reason = (str(error) or type(error).__name__).splitlines()[0]
    else:
        text = f"calendar {printable(code, 40)} cannot be read: {printable(reason)}"
        raise UnknownCalendar(text, remedy)
    sessions: List[Session] = []
    table = table.assign(pauses=table[["break_start", "break_end"]].notna().all(axis=1))
    columns = ["pauses", "open", "break_start", "break_end", "close"]
    for pauses, opens, pause, resumes, closes in table[columns].itertuples(index=False):
        if pauses:
            sessions += [(opens.timestamp(), pause.timestamp()), (resumes.timestamp(), closes.timestamp())]
        else:
            sessions.append((opens.timestamp(), closes.timestamp()))
    return sessions, end
