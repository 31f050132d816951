"""Maintenance windows by markets and freezes: against the minutes of the calendars, one by one."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import calendar
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.calendar import parse
from ansible_collections.tradingflow.maintenance.plugins.module_utils._gates import freeze, market, windows
from ansible_collections.tradingflow.maintenance.plugins.module_utils._gates.gate import Gate
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from hypothesis import given, settings
from hypothesis import strategies as st

WEEK = {day: ["09:30", "16:00"] for day in ("mon", "tue", "wed", "thu", "fri")}
NEW_YORK = {"timezone": "America/New_York", "sessions": WEEK}
QUIET = {"timezone": "UTC", "windows": {"sun": ["02:00", "04:00"]}}
HOUR, DAY = 3600, 86400


def at(text: str) -> float:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def asked(now: str, seen: Any, duration: int = HOUR, days: int = 14, why: Any = ("", ""), **options: Any) -> Gate:
    """The gate market."""
    given = {"calendars": {}, "venues": [], "before_open": 0, "after_close": 0, "duration": duration, **options}
    moment = at(now)
    return market.market(given, seen, why, moment, moment + days * DAY, ZoneInfo("UTC"))


def listed(gate: Gate, now: str, duration: int = HOUR, days: int = 14) -> list[tuple[str, str]]:
    """Its windows, as text."""
    until = min(at(now) + days * DAY, gate.known_until)
    found = windows.free(gate.busy, at(now), until, duration)
    return [tuple(f"{datetime.fromtimestamp(x, UTC):%m-%d %H:%M}" for x in (w.starts, w.ends)) for w in found]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("now", "first"),
    [
        # The clocks of New York change on 8 March 2026: what closed at 21:00 UTC on Friday opens at 13:30.
        ("2026-03-06 20:00", ("03-06 21:00", "03-09 13:30")),
        ("2026-10-30 19:00", ("10-30 20:00", "11-02 14:30")),
        # Thanksgiving, and the half-day after it.
        ("2026-11-25 20:59", ("11-25 21:00", "11-27 14:30")),
        ("2026-11-27 17:00", ("11-27 18:00", "11-30 14:30")),
    ],
)
def test_an_exchange_with_its_holidays_half_days_and_clocks(now: str, first: tuple[str, str]) -> None:
    gate = asked(now, [("NY", "XNYS")])
    assert gate.status == "warning"
    assert listed(gate, now)[0] == first


def test_margins_before_the_opening_and_after_the_close() -> None:
    now = "2026-11-24 21:05"
    gate = asked(now, [("NY", "XNYS")], before_open=1800, after_close=900)
    assert gate.status == "warning"
    assert listed(gate, now)[0] == ("11-24 21:15", "11-25 14:00")


def test_as_long_as_it_takes_and_not_a_second_less() -> None:
    # It opens at 14:30: at the end of exactly an hour it is open.
    assert asked("2026-11-24 13:30", [("NY", "XNYS")]).status == "warning"
    assert asked("2026-11-24 13:29:59", [("NY", "XNYS")]).status == "ok"
    soon = asked("2026-11-24 14:00", [("NY", "XNYS")]).checks[0]
    assert (soon.status, soon.value) == ("warning", "opens soon")


def test_lunch_breaks_and_sessions_across_midnight() -> None:
    tokyo = asked("2026-11-24 01:00", [("T", "XTKS")], duration=1800)
    assert listed(tokyo, "2026-11-24 01:00", 1800)[0] == ("11-24 02:30", "11-24 03:30")
    night = {"night": {"timezone": "UTC", "sessions": {"sun": ["18:00", "17:00"]}}}
    gate = asked("2026-11-23 10:00", [("N", "night")], calendars=night)
    assert gate.status == "warning"
    assert listed(gate, "2026-11-23 10:00")[0][0] == "11-23 17:00"


def test_a_venue_that_never_closes_needs_a_quiet_window() -> None:
    now = "2026-11-26 10:00"
    without = asked(now, [("COINX", "24/7")])
    assert (without.status, without.checks[0].value) == ("critical", "open")
    assert "never closes" in without.checks[0].message
    assert "quiet" in without.checks[0].remedy
    quiet = asked(now, [("COINX", "24/7")], venues=[{"name": "COINX", "quiet": QUIET}])
    assert quiet.status == "warning"
    assert listed(quiet, now) == [("11-29 02:00", "11-29 04:00"), ("12-06 02:00", "12-06 04:00")]
    assert asked("2026-11-29 02:30", [("COINX", "24/7")], venues=[{"name": "COINX", "quiet": QUIET}]).status == "ok"
    but = {**QUIET, "except": ["2026-11-29"]}
    assert listed(asked(now, [("COINX", "24/7")], venues=[{"name": "COINX", "quiet": but}]), now) == [
        ("12-06 02:00", "12-06 04:00")
    ]


def test_margins_do_not_reach_into_a_quiet_window() -> None:
    gate = asked(
        "2026-11-29 02:00", [("C", "24/7")], venues=[{"name": "C", "quiet": QUIET}], before_open=1800, after_close=900
    )
    assert gate.status == "ok"


def test_two_venues_that_are_never_closed_at_the_same_time() -> None:
    half = {
        "day": {"timezone": "UTC", "sessions": {day: ["06:00", "18:30"] for day in calendar.WEEKDAYS}},
        "night": {"timezone": "UTC", "sessions": {day: ["18:00", "06:00"] for day in calendar.WEEKDAYS}},
    }
    now = "2026-11-26 10:00"
    gate = asked(now, [("A", "day"), ("B", "night")], calendars=half)
    assert listed(gate, now) == []
    assert listed(asked(now, [("A", "day")], calendars=half), now) != []


@pytest.mark.parametrize("calendar_of", ["XNOWHERE", "nyse please", None, ""])
def test_a_calendar_that_nobody_knows_is_unknown_and_named(calendar_of: Any) -> None:
    gate = asked("2026-11-28 10:00", [("NY", "XNYS"), ("DARK", calendar_of)])
    assert gate.status == "unknown"
    (unknown,) = [check for check in gate.checks if check.status == "unknown"]
    assert unknown.id == "gate.market:DARK"
    assert "DARK" in unknown.message


def test_what_the_inventory_says_of_a_venue_wins_and_others_are_added() -> None:
    desk = {"desk": NEW_YORK}
    gate = asked(
        "2026-11-28 10:00",
        [("DARK", None)],
        venues=[{"name": "DARK", "calendar": "desk"}, {"name": "X", "calendar": "24/7"}],
        calendars=desk,
    )
    assert {check.id: check.status for check in gate.checks} == {"gate.market:DARK": "ok", "gate.market:X": "critical"}


def test_without_the_database_other_venues_may_trade() -> None:
    gate = asked(
        "2026-11-28 10:00", None, venues=[{"name": "NY", "calendar": "XNYS"}], why=("it is down.", "Start it.")
    )
    assert gate.status == "unknown"
    assert "it is down" in gate.checks[0].message
    assert asked("2026-11-28 10:00", []).status == "unknown"


def test_a_calendar_whose_last_year_ends_soon() -> None:
    """XSES ends with 2026 in exchange-calendars 4.13; whatever it knows later must not be needed here."""
    exchange_calendars = pytest.importorskip("exchange_calendars")
    ends = exchange_calendars.get_calendar("XSES").bound_max()
    if ends is None:
        pytest.skip("the library knows XSES for ever")
    year = ends.year
    now = f"{year}-12-24 20:00"
    gate = asked(now, [("SG", "XSES")])
    # Known for as long as it takes, so now is well; and no window is listed beyond what is known.
    assert gate.status == "ok"
    assert gate.known_until <= at(f"{year + 1}-01-01")
    assert all(ends < f"{12}-31 00:01" for _starts, ends in listed(gate, now))
    assert "known_until" in gate.checks[0].details
    # On its last evening the morning after is unknown, and no gate opens.
    assert asked(f"{year}-12-31 20:00", [("SG", "XSES")]).status == "unknown"
    assert asked(f"{year + 1}-01-02 20:00", [("SG", "XSES")]).status == "unknown"


@pytest.mark.parametrize(
    "venues",
    [
        [{"name": "A", "calendar": "24/7"}, {"name": "A", "calendar": "24/5"}],
        [{"name": "A", "quiet": {"windows": {"sun": ["02:00", "04:00"]}}}],
        [{"name": "A", "quiet": {"timezone": "UTC", "windows": {"someday": ["02:00", "04:00"]}}}],
        [{"name": "A", "quiet": {"timezone": "Mars/Olympus", "windows": {"sun": ["02:00", "04:00"]}}}],
        [{"name": "A", "quiet": {**QUIET, "excpet": []}}],
    ],
)
def test_venues_that_make_no_sense(venues: Any) -> None:
    with pytest.raises(ConfigurationError):
        asked("2026-11-28 10:00", [], venues=venues)


def test_times_that_the_clocks_show_twice_or_never_are_taken_for_the_worst() -> None:
    """1 November 2026 in New York: 01:30 is at 05:30 and at 06:30 UTC. 8 March: 02:30 is not at all."""
    one = parse({"x": {"timezone": "America/New_York", "sessions": {"sun": ["01:30", "05:00"]}}})["x"]
    autumn, spring = date(2026, 11, 1), date(2026, 3, 8)
    assert [next(one.sessions(autumn, autumn, widen))[0] for widen in (1, -1)] == [
        at("2026-11-01 05:30"),
        at("2026-11-01 06:30"),
    ]
    other = parse({"x": {"timezone": "America/New_York", "sessions": {"sun": ["00:30", "01:30"]}}})["x"]
    assert [next(other.sessions(autumn, autumn, widen))[1] for widen in (1, -1)] == [
        at("2026-11-01 06:30"),
        at("2026-11-01 05:30"),
    ]
    gap = parse({"x": {"timezone": "America/New_York", "sessions": {"sun": ["02:30", "04:00"]}}})["x"]
    assert [next(gap.sessions(spring, spring, widen))[0] for widen in (1, -1)] == [
        at("2026-03-08 06:30"),
        at("2026-03-08 07:30"),
    ]


FREEZE = {"name": "year end", "from": "2026-12-18", "until": "2027-01-04", "timezone": "Europe/Berlin"}


def frozen(now: str, *entries: Any, duration: int = HOUR) -> Gate:
    moment = at(now)
    return freeze.freeze(list(entries), moment, moment + 14 * DAY, duration, ZoneInfo("UTC"))


def test_days_of_a_freeze_belong_to_it_whole_in_their_time_zone() -> None:
    assert frozen("2026-12-17 21:59", FREEZE).status == "ok"
    assert frozen("2026-12-17 22:30", FREEZE).checks[0].value == "begins soon"
    held = frozen("2026-12-17 23:00", FREEZE).checks[0]
    assert (held.status, held.id) == ("warning", "gate.freeze:year end")
    assert "2027-01-04 23:00" in held.message
    assert frozen("2027-01-04 22:59", FREEZE).status == "warning"
    assert frozen("2027-01-04 23:00", FREEZE).status == "ok"


def test_freezes_overlap_and_one_may_have_no_end() -> None:
    week = {"name": "week", "from": "2026-12-14T08:00", "until": "2026-12-19 12:00"}
    gate = frozen("2026-12-18 12:00", FREEZE, week)
    assert [check.status for check in gate.checks] == ["warning", "warning"]
    assert windows.free(gate.busy, at("2026-12-18 12:00"), at("2027-01-10"), HOUR)[0].starts == at("2027-01-04 23:00")
    endless = frozen("2026-12-18 12:00", {"name": "crisis", "from": "2026-12-01T00:00:00Z"})
    assert endless.status == "critical"
    assert endless.busy == [(at("2026-12-01"), math.inf)]
    assert frozen("2026-11-18 12:00", {"name": "crisis", "from": "2026-12-01T00:00:00+01:00"}).status == "ok"


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        (date(2026, 12, 18), "2026-12-18 00:00"),
        (datetime(2026, 12, 18, 9, 30), "2026-12-18 09:30"),
        (datetime(2026, 12, 18, 9, 30, tzinfo=UTC), "2026-12-18 09:30"),
        ("2026-12-18T09:30:00Z", "2026-12-18 09:30"),
        ("2026-12-18 09:30:00+02:00", "2026-12-18 07:30"),
    ],
)
def test_times_as_yaml_reads_them(given: Any, moment: str) -> None:
    assert freeze.boundary(given, ZoneInfo("UTC"), last=False) == at(moment)


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "x", "from": "tomorrow"},
        {"name": "x", "from": "2026-12-18", "until": "2026-12-17"},
        {"name": "x", "from": "2026-12-18T10:00", "until": "2026-12-18T10:00"},
        {"name": "x", "from": "2026-12-18", "timezone": "Nowhere/Land"},
        {"name": "x", "from": None},
        {"name": "x"},
    ],
)
def test_freezes_that_make_no_sense(entry: Any) -> None:
    with pytest.raises(ConfigurationError, match="freeze x"):
        frozen("2026-12-01", entry)


def test_intervals() -> None:
    assert windows.merged([(5, 6), (1, 3), (3, 4), (2, 2)]) == [(1, 4), (5, 6)]
    assert windows.without([(0, 10)], [(2, 3), (8, 12), (-1, 1)]) == [(1, 2), (3, 8)]
    assert windows.without([(0, 10)], [(0, 10)]) == []
    assert windows.free([(2, 4)], 0, 10, 2) == [windows.Window(4, 10, 8)]


# Property and oracle ------------------------------------------------------------------------------------------------

CALENDARS: dict[str, Any] = {
    "desk": NEW_YORK,
    "berlin": {
        "timezone": "Europe/Berlin",
        "sessions": {
            "mon": [["08:00", "12:00"], ["13:00", "22:00"]],
            "tue": ["22:00", "06:00"],
            "sun": ["01:30", "03:10"],
        },
        "half_days": {"2026-10-26": "11:00"},
        "holidays": ["2026-10-27"],
    },
    # Begins or ends when the clocks of New York show a time twice, on 1 November 2026.
    "night": {"timezone": "America/New_York", "sessions": {"sun": ["00:30", "01:30"], "mon": ["01:30", "03:00"]}},
    "sydney": {"timezone": "Australia/Sydney", "sessions": {day: ["10:00", "16:00"] for day in calendar.WEEKDAYS}},
}
QUIETS: list[Any] = [
    None,
    QUIET,
    {
        "timezone": "America/New_York",
        "windows": {"sun": ["01:00", "03:00"], "wed": [["00:00", "02:00"], ["23:00", "01:00"]]},
    },
    {"timezone": "America/New_York", "windows": {"sun": ["01:30", "04:00"], "sat": ["23:30", "01:15"]}},
]


def wall(entry: dict[str, Any], moment: float) -> bool:
    """Whether a calendar's session is on at a moment, by what the clock on the wall shows: an oracle of its own."""
    local = datetime.fromtimestamp(moment, ZoneInfo(entry["timezone"]))
    for back in (0, 1):
        day = local.date() - timedelta(days=back)
        if day.isoformat() in [str(each) for each in entry.get("holidays", [])]:
            continue
        value = entry.get("sessions", entry.get("windows", {})).get(calendar.WEEKDAYS[day.weekday()], [])
        for opens, closes in value if value and isinstance(value[0], list) else [value] if value else []:
            early = entry.get("half_days", {}).get(day.isoformat())
            begin, end = (int(t[:2]) * 60 + int(t[3:]) for t in (opens, closes))
            end += 0 if end > begin else 1440
            if early:
                end = min(end, int(early[:2]) * 60 + int(early[3:]))
            minutes = local.hour * 60 + local.minute + back * 1440
            if begin <= minutes < end:
                return True
    return False


def trades(name: str, quiet: Any, moment: float) -> bool:
    """Whether a venue must not be disturbed in this minute."""
    if name == "24/7":
        is_open = True
    elif name == "24/5":
        utc = datetime.fromtimestamp(moment, UTC)
        hours = utc.weekday() * 24 + utc.hour
        is_open = not 4 * 24 + 22 <= hours < 6 * 24 + 22
    else:
        is_open = wall(CALENDARS[name], moment)
    return is_open and not (quiet and wall({**quiet, "holidays": quiet.get("except", [])}, moment))


VENUES = st.lists(
    st.tuples(st.sampled_from([*CALENDARS, "24/7", "24/5"]), st.sampled_from(QUIETS)), min_size=1, max_size=3
)


@settings(max_examples=150, deadline=None)
@given(
    VENUES,
    # Through both changes of the clocks in Europe and America.
    st.integers(min_value=int(at("2026-10-20")) // 60, max_value=int(at("2026-11-10")) // 60),
    st.integers(min_value=1, max_value=30),
)
def test_allowed_means_that_no_venue_trades_until_it_is_done(venues: Any, minute: int, tens: int) -> None:
    now, duration = minute * 60.0, tens * 600
    names = [(f"V{place}", name) for place, (name, _quiet) in enumerate(venues)]
    options = [{"name": f"V{place}", "quiet": quiet} for place, (_name, quiet) in enumerate(venues)]
    times = market.Times(parse(CALENDARS), now, now + 3 * DAY)
    found = market.venues_of(options, names)
    busy = [each for venue in found for each in market.busy_of(venue, times, 0, 0)[0]]
    slots = windows.free(busy, now, now + 3 * DAY, duration)
    if slots and slots[0].starts == now:
        for moment in range(int(now), int(now + duration) + 60, 60):
            assert not any(trades(name, quiet, moment) for name, quiet in venues), moment


@pytest.mark.parametrize(
    "venues",
    [
        [("desk", None)],
        [("berlin", None), ("sydney", QUIETS[2])],
        [("24/7", QUIETS[2])],
        [("night", None)],
        [("24/7", QUIETS[3])],
    ],
)
@pytest.mark.parametrize("now", ["2026-10-23 00:00", "2026-10-30 00:00"])
def test_windows_are_the_minutes_in_which_nobody_trades(venues: Any, now: str) -> None:
    """All minutes of a week; where the clocks show a time twice our windows may be shorter, never longer."""
    names = [(f"V{place}", name) for place, (name, _quiet) in enumerate(venues)]
    options = [{"name": f"V{place}", "quiet": quiet} for place, (_name, quiet) in enumerate(venues)]
    gate = asked(now, names, venues=options, calendars=CALENDARS, days=7)
    slots = windows.free(gate.busy, at(now), at(now) + 7 * DAY, 0)
    ours = {m for slot in slots for m in range(math.ceil(slot.starts / 60), math.ceil(slot.ends / 60))}
    start = int(at(now)) // 60
    theirs = {
        m for m in range(start, start + 7 * 1440) if not any(trades(name, quiet, m * 60) for name, quiet in venues)
    }
    assert ours <= theirs
    # An hour twice a year, for each time it concerns.
    assert len(theirs - ours) <= 120


def test_an_exchange_against_the_library_minute_by_minute() -> None:
    exchange_calendars = pytest.importorskip("exchange_calendars")
    now = "2026-11-23 00:00"
    gate = asked(now, [("NY", "XNYS"), ("X", "XETR")], days=7)
    slots = windows.free(gate.busy, at(now), at(now) + 7 * DAY, 0)
    ours = {m for slot in slots for m in range(math.ceil(slot.starts / 60), math.ceil(slot.ends / 60))}
    start = int(at(now)) // 60
    tables = [exchange_calendars.get_calendar(code, side="left") for code in ("XNYS", "XETR")]
    open_ = {
        int(minute.timestamp()) // 60
        for table in tables
        for minute in table.minutes_in_range("2026-11-23", "2026-11-30")
    }
    assert ours == {m for m in range(start, start + 7 * 1440) if m not in open_}
