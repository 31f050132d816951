"""When markets are open: changes of the clock, holidays, half-days, weekends and sessions across midnight."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.calendar import (
    Calendars,
    Market,
    UnknownCalendar,
    parse,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

WEEK = {day: ["09:30", "16:00"] for day in ("mon", "tue", "wed", "thu", "fri")}
NEW_YORK = {"timezone": "America/New_York", "sessions": WEEK}
HOUR = 3600


def at(text: str) -> float:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def market(name: str, now: str, **own: Any) -> Market:
    return Calendars(parse(own)).market(name, at(now))


def hours(name: str, since: str, now: str, **own: Any) -> float:
    """Hours for which it was open."""
    return market(name, now, **own).open_seconds(at(since)) / HOUR


@pytest.mark.parametrize(
    ("calendar", "since", "now", "expected"),
    [
        ("24/7", "2026-11-20 00:00", "2026-11-23 06:30", 78.5),
        # From Friday 22:00 to Sunday 22:00 UTC nothing is open.
        ("24/5", "2026-11-20 20:00", "2026-11-22 23:00", 3),
        ("24/5", "2026-11-21 00:00", "2026-11-22 12:00", 0),
        ("24/5", "2026-11-16 00:00", "2026-11-23 00:00", 120),
        ("XNYS", "2026-11-20 20:00", "2026-11-23 15:00", 1.5),  # over a weekend
        ("XNYS", "2026-11-26 00:00", "2026-11-27 00:00", 0),  # Thanksgiving
        ("XNYS", "2026-11-27 00:00", "2026-11-28 00:00", 3.5),  # and the half-day after
        ("XNYS", "2026-03-06 00:00", "2026-03-07 00:00", 6.5),  # before the clocks change
        ("XNYS", "2026-03-09 13:30", "2026-03-09 14:30", 1),  # and after: an hour earlier in UTC
        ("XETR", "2026-12-24 00:00", "2026-12-28 00:00", 0),
        ("XTKS", "2026-11-24 00:00", "2026-11-24 23:00", 5.5),  # without the lunch break
    ],
)
def test_calendars_by_code(calendar: str, since: str, now: str, expected: float) -> None:
    assert hours(calendar, since, now) == expected


@pytest.mark.parametrize(
    ("entry", "since", "now", "expected"),
    [
        ({}, "2026-11-20 15:00", "2026-11-23 15:00", 6.5),
        # The clocks of New York change on 8 March and 1 November 2026.
        ({}, "2026-03-06 14:00", "2026-03-06 15:00", 0.5),
        ({}, "2026-03-09 13:00", "2026-03-09 14:00", 0.5),
        ({}, "2026-10-30 13:00", "2026-10-30 14:00", 0.5),
        ({}, "2026-11-02 14:00", "2026-11-02 15:00", 0.5),
        ({"holidays": ["2026-11-26"]}, "2026-11-26 00:00", "2026-11-27 00:00", 0),
        ({"half_days": {"2026-11-27": "13:00"}}, "2026-11-27 00:00", "2026-11-28 00:00", 3.5),
        # Dates and times that YAML has already read: 13:00 without quotes is 780.
        ({"half_days": {date(2026, 11, 27): 780}, "holidays": [date(2026, 11, 26)]}, "2026-11-26", "2026-11-28", 3.5),
        # A session that begins on Sunday evening ends on Monday.
        ({"sessions": {"Sunday": ["18:00", "17:00"]}}, "2026-11-22 00:00", "2026-11-24 00:00", 23),
        ({"sessions": {"sun": ["18:00", "17:00"]}}, "2026-11-23 10:00", "2026-11-23 12:00", 2),
        # In the night when the clocks change it is longer, or shorter, than the clock on the wall says.
        ({"sessions": {"sat": ["22:00", "06:00"]}}, "2026-10-31", "2026-11-02", 9),
        ({"sessions": {"sat": ["22:00", "06:00"]}}, "2026-03-07", "2026-03-09", 7),
        (
            {"sessions": {"sun": ["18:00", "17:00"]}, "half_days": {"2026-11-22": "13:00"}},
            "2026-11-22",
            "2026-11-24",
            19,
        ),
        ({"sessions": {"mon": ["00:00", "24:00"]}}, "2026-11-22", "2026-11-25", 24),
        ({"sessions": {"mon": [["09:00", "11:30"], ["12:30", "15:00"]]}}, "2026-11-22", "2026-11-25", 5),
        (
            {"sessions": {"mon": [["09:00", "11:30"], ["12:30", "15:00"]]}, "half_days": {"2026-11-23": "11:30"}},
            "2026-11-22",
            "2026-11-25",
            2.5,
        ),
        ({"sessions": {"mon": [["09:00", "12:00"], ["11:00", "13:00"]]}}, "2026-11-22", "2026-11-25", 4),
    ],
)
def test_calendars_of_the_operator(entry: dict[str, Any], since: str, now: str, expected: float) -> None:
    assert hours("desk", since, now, desk={**NEW_YORK, **entry}) == expected


def test_open_or_closed() -> None:
    assert market("24/7", "2026-11-22 03:00").state() == "open"
    closed = market("24/5", "2026-11-21 03:00")
    assert not closed.is_open
    assert closed.state() == "closed until 2026-11-22 22:00 UTC"
    assert market("desk", "2026-11-26 15:00", desk=NEW_YORK).is_open
    assert market("XNYS", "2026-11-26 15:00").state() == "closed until 2026-11-27 14:30 UTC"
    # The close is no longer open, the opening is.
    assert not market("desk", "2026-11-24 21:00", desk=NEW_YORK).is_open
    assert market("desk", "2026-11-24 14:30", desk=NEW_YORK).is_open


def test_what_the_operator_says_comes_first() -> None:
    assert hours("XNYS", "2026-11-26", "2026-11-27", XNYS={**NEW_YORK, "sessions": {"thu": ["10:00", "12:00"]}}) == 2
    assert Calendars().is_costly("XNYS")
    assert not Calendars(parse({"XNYS": NEW_YORK})).is_costly("XNYS")
    assert not Calendars().is_costly("24/5")


def test_looks_back_a_year_and_no_further() -> None:
    assert hours("24/7", "1970-01-01", "2026-11-24") == 400 * 24


@pytest.mark.parametrize("name", [None, "", "XNOPE", "24/6", "x" * 500, "a\nb"])
def test_unknown_calendar_is_unknown(name: str | None) -> None:
    with pytest.raises(UnknownCalendar) as caught:
        Calendars().market(name, at("2026-11-24"))
    assert caught.value.remedy
    assert caught.value.message.isprintable()


def test_library_that_is_missing_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(UnknownCalendar, match="exchange-calendars"):
        Calendars().market("XNYS", at("2026-11-24"))
    assert Calendars().market("24/5", at("2026-11-24")).is_open


@pytest.mark.parametrize(
    "entry",
    [
        {"timezone": "Mars/Olympus", "sessions": WEEK},
        {"timezone": "../../etc/passwd", "sessions": WEEK},
        {"sessions": WEEK},
        {"timezone": "UTC"},
        {"timezone": "UTC", "sessions": {}},
        {"timezone": "UTC", "sessions": {"someday": ["09:00", "10:00"]}},
        {"timezone": "UTC", "sessions": {"mon": ["25:00", "26:00"]}},
        {"timezone": "UTC", "sessions": {"mon": ["09:00"]}},
        {"timezone": "UTC", "sessions": {"mon": "09:00-10:00"}},
        {"timezone": "UTC", "sessions": {"mon": ["nine", "ten"]}},
        {"timezone": "UTC", "sessions": {"mon": None}},
        {"timezone": "UTC", "sessions": WEEK, "holidays": ["25 December"]},
        {"timezone": "UTC", "sessions": WEEK, "half_days": {"2026-12-24": "late"}},
        {"timezone": "UTC", "sessions": WEEK, "holiday": ["2026-12-25"]},
        "24/7",
        None,
    ],
)
def test_calendar_that_makes_no_sense(entry: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse({"desk": entry})
    assert "desk" in caught.value.message


@pytest.mark.parametrize(
    ("calendar", "since", "now", "expected"),
    [
        ("24/7", "2026-11-20 00:00", "2026-11-23 06:30", 78.5),
        # A weekend does not count: Friday's close is as old on Monday's opening as Monday's is on Tuesday's.
        ("24/5", "2026-11-20 22:00", "2026-11-22 22:00", 0),
        ("24/5", "2026-11-20 12:00", "2026-11-23 12:00", 24),
        ("XNYS", "2026-11-20 21:00", "2026-11-23 14:30", 17.5),
        ("XNYS", "2026-11-23 21:00", "2026-11-24 14:30", 17.5),
        ("XNYS", "2026-11-20 22:00", "2026-11-23 21:59", 23 + 59 / 60),
        # On Sunday, and on Thanksgiving.
        ("XNYS", "2026-11-20 21:00", "2026-11-22 12:00", 17.5),
        ("XNYS", "2026-11-25 21:00", "2026-11-27 14:30", 17.5),
    ],
)
def test_age_without_days_on_which_it_was_closed(calendar: str, since: str, now: str, expected: float) -> None:
    found = market(calendar, now)
    assert abs(found.aged(at(since)) / HOUR - expected) < 1e-6
    if expected:
        # What is that old and no older.
        assert abs(found.aged(found.moment_of_age(expected * HOUR)) / HOUR - expected) < 1e-3


def test_gap_in_which_nobody_could_trade() -> None:
    found = market("XNYS", "2026-11-23 12:00")
    assert found.closed_between(at("2026-11-20 21:00"), at("2026-11-23 00:00"))
    assert not found.closed_between(at("2026-11-20 20:59"), at("2026-11-23 00:00"))
    # Further back nobody looked.
    assert not found.closed_between(at("2020-01-04 00:00"), at("2020-01-05 00:00"))


@pytest.mark.parametrize("code", ["ASEX", "XBEL", "XBSE", "XCYS", "NOPE"])
def test_calendar_that_cannot_be_read_is_unknown_and_no_crash(code: str) -> None:
    # Another pandas can read it.
    if not _known(code, "2026-11-23 12:00"):
        with pytest.raises(UnknownCalendar, match=code):
            market(code, "2026-11-23 12:00")


@pytest.mark.parametrize("code", ["XSHG", "XBOM", "XSES"])
def test_calendar_that_ends_with_the_year_is_known_until_then(code: str) -> None:
    last = next(year for year in range(2026, 2040) if not _known(code, f"{year + 1}-01-15 00:00"))
    assert market(code, f"{last}-12-28 12:00").open_seconds(at(f"{last}-12-14 00:00")) > 20 * HOUR
    assert not _known(code, f"{last + 1}-01-02 12:00")


def _known(code: str, now: str) -> bool:
    try:
        market(code, now)
    except UnknownCalendar:
        return False
    return True
