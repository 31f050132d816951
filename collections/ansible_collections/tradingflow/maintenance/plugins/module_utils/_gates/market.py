# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate market: no venue is open, about to open or just closed, but in what its operator declared quiet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any, Dict, List, Optional, Tuple

from .._checks.calendar import BUILT_IN, OwnCalendar, Session, UnknownCalendar, known, parse
from ..checks import CRITICAL, OK, Check, unknown
from ..errors import ConfigurationError
from ..words import printable, span
from .gate import Gate, held
from .windows import Interval, covering, free, merged, told, without

NAME, TITLE = "market", "Markets closed"
DAY = 86400
#: Days back from which a session may still go on: a week of round-the-clock trading, and time zones.
BACK = 10

QUIET_HELP = "Write it like {timezone: UTC, windows: {sun: ['02:00', '04:00']}, except: ['2026-12-27']}."
DECLARE = "Set the calendar in maintenance.venues, or in maintenance_window_venues."


@dataclass(frozen=True)
class Venue:
    """Where orders go.

    :param calendar: its name; None when nobody says
    :param quiet: when it may be disturbed though it is open
    """

    name: str
    calendar: Optional[str]
    quiet: Optional[OwnCalendar] = None


#: Venue and calendar, as the database has them.
Seen = List[Tuple[str, Optional[str]]]


def quiet_of(name: str, given: Dict[str, Any]) -> OwnCalendar:
    """A quiet window as the operator declares it.

    :raises ConfigurationError: it makes no sense
    """
    extra = sorted(map(str, set(given) - {"timezone", "windows", "except"}))
    if extra or not given.get("timezone") or not given.get("windows"):
        why = f"it has unknown keys: {', '.join(extra)}" if extra else "it needs timezone and windows"
        raise ConfigurationError(f"The quiet window of {printable(name, 40)} makes no sense: {why}.", QUIET_HELP)
    entry = {"timezone": given["timezone"], "sessions": given["windows"], "holidays": given.get("except") or []}
    try:
        return parse({name: entry})[name]
    except ConfigurationError as error:
        text = error.message.replace("The calendar", "The quiet window of", 1)
        raise ConfigurationError(text, QUIET_HELP) from None


def venues_of(given: List[Dict[str, Any]], seen: Seen) -> List[Venue]:
    """All venues: those of the database, and what the inventory says of them and besides.

    :raises ConfigurationError: the inventory makes no sense
    """
    found: Dict[str, Venue] = {name: Venue(name, calendar) for name, calendar in seen}
    names = [entry["name"] for entry in given]
    for entry in given:
        name = entry["name"]
        if names.count(name) > 1:
            raise ConfigurationError(
                f"The venue {printable(name, 40)} is declared twice.", "Remove one from maintenance_window_venues."
            )
        calendar = entry.get("calendar") or (found[name].calendar if name in found else None)
        quiet = quiet_of(name, entry["quiet"]) if entry.get("quiet") else None
        found[name] = Venue(name, calendar, quiet)
    return [found[name] for name in sorted(found)]


class Times:
    """When venues are open, from a few days ago to as far as is asked.

    :param own: the operator's calendars, which come first
    :param until: moment up to which it must be known
    """

    def __init__(self, own: Dict[str, OwnCalendar], now: float, until: float) -> None:
        self._own, self.now, self.until = own, now, until
        self.today = _day(now)
        self.first, self.last = self.today - timedelta(days=BACK), _day(until) + timedelta(days=2)
        self._made: Dict[str, Tuple[List[Session], float]] = {}

    def sessions(self, calendar: str) -> Tuple[List[Session], float]:
        """The sessions of a calendar, and the moment up to which they are known.

        :raises UnknownCalendar: nobody knows it
        """
        if calendar not in self._made:
            if calendar in self._own:
                made = list(self._own[calendar].sessions(self.first, self.last, widen=1)), math.inf
            elif calendar in BUILT_IN:
                made = BUILT_IN[calendar](self.first, self.last), math.inf
            else:
                sessions, end = known(calendar, self.first, self.last, self.today)
                # The session of a day may begin on the evening before it.
                made = sessions, math.inf if end >= self.last else _midnight(end)
            self._made[calendar] = made
        return self._made[calendar]

    def quiet(self, venue: Venue) -> List[Interval]:
        """When it may be disturbed."""
        return list(venue.quiet.sessions(self.first, self.last, widen=-1)) if venue.quiet else []


def busy_of(venue: Venue, times: Times, before_open: float, after_close: float) -> Tuple[List[Interval], float]:
    """When a venue must not be disturbed, and how far that is known.

    :raises UnknownCalendar: nobody knows its calendar
    """
    if not venue.calendar:
        raise UnknownCalendar("its calendar is not set.", DECLARE)
    sessions, known_until = times.sessions(venue.calendar)
    around = [(opens - before_open, closes + after_close) for opens, closes in sessions]
    # What lies beyond is not known to be busy: it is not known at all.
    return without(around, times.quiet(venue)), known_until


def market(
    options: Dict[str, Any], seen: Optional[Seen], why: Tuple[str, str], now: float, until: float, zone: tzinfo
) -> Gate:
    """The gate.

    :param seen: venues of the database; None when they could not be read
    :param why: then: message and remedy
    :param until: how far to look
    :raises ConfigurationError: calendars or venues make no sense
    """
    times = Times(parse(options["calendars"]), now, until)
    gate = Gate(NAME, [])
    if seen is None:
        gate.checks.append(unknown(f"gate.{NAME}", TITLE, f"Whether other venues trade is not known: {why[0]}", why[1]))
    venues = venues_of(options["venues"], seen or [])
    if seen is not None and not venues:
        text = "No venue is known, so whether one is open is not either."
        gate.checks.append(unknown(f"gate.{NAME}", TITLE, text, "Define the view maintenance.venues."))
    busy: List[Interval] = []
    for venue in venues:
        id, title = f"gate.{NAME}:{printable(venue.name, 40)}", f"Market of {printable(venue.name, 40)}"
        try:
            taken, known_until = busy_of(venue, times, options["before_open"], options["after_close"])
        except UnknownCalendar as error:
            text = f"{printable(venue.name, 40)}: {error.message}"
            gate.checks.append(unknown(id, title, text, error.remedy.replace("maintenance.strategies", DECLARED)))
            continue
        gate.known_until = min(gate.known_until, known_until)
        gate.checks.append(judged(id, title, venue, taken, known_until, now, until, options["duration"], zone))
        busy += taken
    gate.busy = merged(busy)
    return gate


DECLARED = "maintenance.venues or maintenance_window_venues"


def judged(
    id: str,
    title: str,
    venue: Venue,
    busy: List[Interval],
    known_until: float,
    now: float,
    until: float,
    duration: float,
    zone: tzinfo,
) -> Check:
    """One venue's check."""
    calendar = printable(venue.calendar, 40)
    details: Dict[str, Any] = {"calendar": calendar, "quiet_window": venue.quiet is not None}
    kwargs: Dict[str, Any] = {"source": f"calendar {calendar}", "details": details}
    known_end = min(until, known_until)
    if known_until < until:
        details["known_until"] = told(known_until, zone)
    if now + duration >= known_until:
        text = f"The calendar {calendar} of {venue.name} is known until {told(known_until, zone)} only."
        return unknown(id, title, text, "Update exchange-calendars, or define the calendar yourself.", **kwargs)
    windows = free(busy, now, known_end, duration)
    if windows and windows[0].starts == now:
        text = f"{venue.name} does not trade before {told(windows[0].ends, zone)}, margins included."
        if covering(without([(now, until)], busy), now) == (now, until):
            text = f"{venue.name} does not trade until {told(known_end, zone)} at least."
        return Check(id, title, OK, "closed", message=text, **kwargs)
    if not windows:
        text = f"{venue.name} leaves no {span(duration)} free until {told(known_end, zone)}"
        if venue.quiet is None and not free(busy, now, known_end, 0):
            remedy = "Declare when it may be disturbed: quiet in maintenance_window_venues."
            return Check(id, title, CRITICAL, "open", message=f"{text}: it never closes.", remedy=remedy, **kwargs)
        return Check(
            id,
            title,
            CRITICAL,
            "open",
            message=f"{text}.",
            remedy="Ask for less time (maintenance_window_duration).",
            **kwargs,
        )
    inside = covering(busy, now)
    state = "is open" if inside else f"opens before {span(duration)} have passed"
    text = f"{venue.name} {state}; next window from {told(windows[0].starts, zone)} to {told(windows[0].ends, zone)}."
    return held(id, title, "open" if inside else "opens soon", text, "Wait for it.", **kwargs)


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, timezone.utc).date()


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()
