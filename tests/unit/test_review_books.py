"""What a strategy review goes by: books that add up, sessions, currencies, and history that stays what it was."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.calendar import UnknownCalendar, parse
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance import (
    drawdown,
    exposure,
    history,
    identity,
    returns,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.book import convert, together
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.identity import Track, follow
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.sessions import sessions

FIRST = date(2026, 3, 2)  # a Monday


def moment(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def row(day: int, equity: str, pnl: str, **other: Any) -> dict[str, Any]:
    at = FIRST + timedelta(days=day)
    given = {
        "day": at,
        "currency": "USD",
        "equity": Decimal(equity),
        "pnl": Decimal(pnl),
        "fees": Decimal("0.5"),
        "as_of": moment(at + timedelta(days=1)),
    }
    return {**given, **other}


def rows() -> list[dict[str, Any]]:
    return [row(0, "101", "1"), row(1, "99.5", "-1.5"), row(2, "102.25", "2.75")]


def followed(given: list[dict[str, Any]], flows: dict[int, str] | None = None, **how: Any) -> Track:
    told = {FIRST + timedelta(days=day): Decimal(amount) for day, amount in (flows or {}).items()}
    how = {"now": moment(FIRST + timedelta(days=30)), "capital": Decimal(100), **how}
    return follow("s", given, told, **how)


def test_books_that_add_up() -> None:
    track = followed(rows()[::-1])
    assert track.sound
    assert [day.day for day in track.days] == [FIRST + timedelta(days=place) for place in range(3)]
    assert [day.base for day in track.days] == [Decimal(100), Decimal(101), Decimal("99.5")]
    assert [round(value, 6) for _day, value in returns.daily(track.days)] == [0.01, -0.014851, 0.027638]
    assert [round(value, 6) for _day, value in returns.daily(track.days, gross=True)] == [0.015, -0.009901, 0.032663]


def test_a_day_that_does_not_add_up() -> None:
    given = rows()
    given[1]["equity"] += Decimal("0.000000000000000001")
    track = followed(given)
    assert [(str(day), str(apart)) for day, apart in track.breaks] == [
        ("2026-03-03", "1E-18"),
        ("2026-03-04", "-1E-18"),
    ]
    assert not track.sound
    assert "2 days break the identity (2026-03-03: +0.000000000000000001" in identity.told(track)
    assert followed(given, tolerance=Decimal("1E-18")).sound


def test_unsorted_days_are_put_in_order() -> None:
    # As they come: +10 % on the 3rd, -50 % on the 1st, +10 % on the 2nd. In order the loss is the first.
    given = [row(2, "60.5", "5.5"), row(0, "50", "-50"), row(1, "55", "5")]
    track = followed(given)
    assert track.sound
    found = drawdown.drawdown([value for _day, value in returns.daily(track.days)])
    assert found.worst == pytest.approx(-0.5)


def test_more_digits_than_decimal_keeps_by_itself() -> None:
    large, dust = Decimal(10) ** 40, Decimal("1E-9")
    with localcontext(prec=100):
        levels = [large + 1, large + 1 + dust, large + 1 + 2 * dust]
    given = [{**row(0, "0", "1"), "equity": levels[0]}, {**row(1, "0", "0.000000001"), "equity": levels[1]}]
    assert followed(given, capital=large).sound
    given[1]["equity"] = levels[2]
    assert [apart for _day, apart in followed(given, capital=large).breaks] == [dust]
    kept = {"through": str(given[1]["day"]), "months": history.months(followed(given, capital=large))}
    given[1]["equity"] = levels[0]
    assert len(history.restated(kept, followed(given, capital=large))) == 1


def test_capital_that_is_not_what_it_began_with() -> None:
    assert [str(apart) for _day, apart in followed(rows(), capital=Decimal(90)).breaks] == ["10"]
    # Nobody tells, or earlier days are left out: the first day only begins.
    for how in ({"capital": None}, {"cut": True}):
        track = followed(rows(), **how)
        assert track.sound
        assert len(track.days) == 2
    assert "nobody tells what it began with" in identity.told(followed(rows()[:1], capital=None))


def test_a_deposit_is_no_profit() -> None:
    given = [row(0, "100", "0"), row(1, "200", "0"), row(2, "200", "0")]
    assert [str(apart) for _day, apart in followed(given).breaks] == ["100"]
    track = followed(given, {1: "100"})
    assert track.sound
    assert returns.time_weighted([value for _day, value in returns.daily(track.days)]) == 0
    assert returns.money_weighted_of(track.days) == pytest.approx(0, abs=1e-9)


def test_a_flow_of_a_day_without_a_row_comes_with_the_next() -> None:
    given = [row(0, "101", "1"), row(7, "152", "1")]
    track = followed(given, {5: "30", 6: "20"})
    assert track.sound
    assert track.days[1].flow == 50


def test_money_weighted_is_the_same_as_by_time_without_flows() -> None:
    track = followed(rows())
    by_time = returns.time_weighted([value for _day, value in returns.daily(track.days)])
    assert returns.money_weighted_of(track.days) == pytest.approx(by_time, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"equity": Decimal("NaN")}, "a number of 2026-03-03 is none"),
        ({"pnl": Decimal("Infinity")}, "a number of 2026-03-03 is none"),
        ({"fees": Decimal("NaN")}, "a number of 2026-03-03 is none"),
        ({"equity": None}, "a number of 2026-03-03 is none"),
        ({"day": None}, "a row without a day"),
        ({"day": FIRST}, "the view has 2026-03-02 twice"),
        ({"currency": "EUR"}, "its currency is not one: EUR, USD"),
        ({"currency": None}, "its currency is not one: USD, none"),
        ({"as_of": None}, "no as_of on 2026-03-03"),
        ({"as_of": float("inf")}, "no as_of on 2026-03-03"),
        ({"as_of": moment(FIRST)}, "as_of of 2026-03-03 is of an earlier day"),
        ({"as_of": moment(FIRST + timedelta(days=400))}, "2026-03-03 is of the future"),
        ({"as_of": moment(FIRST + timedelta(days=1)) + 3600}, "not over when written: 2026-03-03"),
    ],
)
def test_what_cannot_be_relied_on(change: dict[str, Any], why: str) -> None:
    given = rows()
    given[1].update(change)
    track = followed(given)
    assert not track.sound
    assert why in identity.told(track)


def test_the_last_day_is_left_out_until_it_is_over() -> None:
    given = rows()
    given[2]["as_of"] -= 3600
    now = given[2]["as_of"] + 60
    track = followed(given, now=now)
    assert track.sound
    assert track.partial == FIRST + timedelta(days=2)
    assert len(track.days) == 2
    assert "no whole day" in identity.told(followed(given[2:], now=now))
    # Once it is over, nobody knows how it ended.
    assert "not over when written: 2026-03-04" in identity.told(followed(given))
    given[2]["as_of"] += 3599
    assert len(followed(given).days) == 3
    assert "no whole day" in identity.told(followed([]))


@pytest.mark.parametrize("equity", ["0", "-20"])
def test_capital_of_nothing_has_no_return(equity: str) -> None:
    given = [row(0, equity, str(Decimal(equity) - 100)), row(1, "50", str(50 - Decimal(equity)))]
    track = followed(given)
    assert track.sound
    with pytest.raises(returns.Undefined, match="2026-03-03 began with capital of 0 or less"):
        returns.daily(track.days)


def test_nobody_tells_the_fees() -> None:
    track = followed([{**one, "fees": None} for one in rows()])
    assert track.sound
    with pytest.raises(returns.Undefined):
        returns.daily(track.days, gross=True)


def test_sessions_of_calendars() -> None:
    week = FIRST, FIRST + timedelta(days=13)
    always = sessions("24/7", {}, *week)
    assert (len(always.days), always.per_year) == (14, 365)
    currency = sessions("24/5", {}, *week)
    # From Sunday 22:00 to Friday 22:00 are five sessions: what Sunday brings belongs to Monday.
    assert [day.weekday() for day in currency.days] == [0, 1, 2, 3, 4] * 2
    assert currency.per_year in (260, 261)
    own = parse(
        {"desk": {"timezone": "Europe/Oslo", "sessions": {"mon": ["22:00", "06:00"], "wed": ["09:00", "12:00"]}}}
    )
    assert [str(day) for day in sessions("desk", own, *week).days] == [
        *("2026-03-03", "2026-03-04", "2026-03-10", "2026-03-11")
    ]


def test_sessions_over_a_change_of_the_clock() -> None:
    # New York's summer begins on March 8: the close comes an hour earlier by UTC, and on the same day.
    own = parse(
        {"us": {"timezone": "America/New_York", "sessions": {day: ["09:30", "20:30"] for day in ("thu", "fri", "mon")}}}
    )
    days = sessions("us", own, date(2026, 3, 5), date(2026, 3, 10)).days
    assert [str(day) for day in days] == ["2026-03-06", "2026-03-07", "2026-03-10"]


@pytest.mark.parametrize("name", [None, "", "never"])
def test_a_calendar_that_nobody_knows(name: str | None) -> None:
    years = [f"{FIRST + timedelta(days=place - 500)}" for place in range(1000)]
    own = parse({"never": {"timezone": "UTC", "sessions": {"mon": ["09:00", "10:00"]}, "holidays": years}})
    with pytest.raises(UnknownCalendar):
        sessions(name, own, FIRST, FIRST)


def test_what_lies_between_sessions_goes_into_the_next() -> None:
    days = [FIRST + timedelta(days=place) for place in range(9)]
    weekdays = [day for day in days if day.weekday() < 5]
    values = [(day, 0.01) for day in days]
    found = returns.by_session(values, weekdays)
    assert list(found) == weekdays
    assert found[days[7]] == pytest.approx(1.01**3 - 1)
    assert returns.time_weighted(list(found.values())) == pytest.approx(1.01**9 - 1)
    # The next session has not come: nothing of it is counted yet.
    assert list(returns.by_session(values[:6], weekdays)) == weekdays[:5]


def test_gaps_are_sessions_without_equity() -> None:
    days = [FIRST + timedelta(days=place) for place in range(14)]
    weekdays = [day for day in days if day.weekday() < 5]
    track = followed([row(0, "101", "1"), row(2, "102", "1"), row(4, "103", "1")])
    until = FIRST + timedelta(days=7)
    assert identity.gaps(track, weekdays, until, False) == [days[1], days[3], days[7]]
    # It may have ended, but not have gaps before.
    assert identity.gaps(track, weekdays, until, True) == [days[1], days[3]]


def test_restated_history() -> None:
    given = [row(place, str(100 + place), "1" if place else "0") for place in range(60)]
    track = followed(given, now=moment(FIRST + timedelta(days=90)))
    assert track.sound
    kept = {"through": str(track.days[49].day), "months": history.months(track, track.days[49].day)}
    # What came since is no restatement, nor are more zeros.
    assert history.restated(kept, track) == []
    plainer = [{**one, "equity": one["equity"].quantize(Decimal("0.0000"))} for one in given]
    assert history.restated(kept, followed(plainer, now=moment(FIRST + timedelta(days=90)))) == []
    # A result moved from one day to the next: the month ends as it did, and is yet another.
    given[3]["equity"] += 5
    given[3]["pnl"] += 5
    given[4]["pnl"] -= 5
    found = history.restated(kept, followed(given, now=moment(FIRST + timedelta(days=90))))
    assert [one["month"] for one in found] == ["2026-03"]
    same = {"pnl": "29", "equity": "129", "fees": "15", "flows": "0"}
    assert found[0]["reported"] == found[0]["known"] == same
    gone = followed(given[35:], now=moment(FIRST + timedelta(days=90)), capital=None)
    first = history.restated(kept, gone)[0]
    assert (first["month"], first["known"]) == ("2026-03", None)
    # Months that are no longer read are no restatement; the first is read in part.
    assert history.restated(kept, gone, date(2026, 4, 3)) == []


def test_a_strategy_that_joins_is_no_gain_and_one_that_ends_no_loss() -> None:
    one = followed([row(place, "100", "0") for place in range(6)]).days
    late = followed([row(place, "1000", "0") for place in range(2, 4)], capital=Decimal(1000)).days
    group = together("", {"one": one, "late": late})
    assert [str(day.equity) for day in group.days] == ["100", "100", "1100", "1100", "100", "100"]
    assert [str(day.flow) for day in group.days] == ["100", "0", "1000", "0", "-1000", "0"]
    assert all(value == 0 for _day, value in returns.daily(group.days))


def test_a_closed_market_keeps_its_equity_in_the_book() -> None:
    always = followed([row(place, str(101 + place), "1") for place in range(3)]).days
    closed = followed([row(0, "100", "0"), row(2, "110", "10")]).days
    group = together("", {"always": always, "closed": closed})
    assert [str(day.equity) for day in group.days] == ["201", "202", "213"]
    assert [str(day.pnl) for day in group.days] == ["1", "1", "11"]
    assert all(day.flow == 0 for day in group.days[1:])


def test_who_lost_since_the_peak() -> None:
    one = followed(rows()).days
    group = together("", {"one": one, "other": followed([row(1, "99", "-1")]).days})
    assert group.since(None) == {"one": Decimal("2.25"), "other": Decimal(-1)}
    assert group.since(FIRST) == {"one": Decimal("1.25"), "other": Decimal(-1)}
    assert group.since(FIRST + timedelta(days=1)) == {"one": Decimal("2.75"), "other": Decimal(0)}


def held(instrument: str, worth: str | None, currency: str | None = "USD", venue: str = "V") -> dict[str, Any]:
    return {"venue": venue, "instrument": instrument, "currency": currency, "worth": worth and Decimal(worth)}


def test_concentration() -> None:
    given = [held("A", "60"), held("B", "20", "EUR", "W"), held("A", "16", venue="W")]
    found = exposure.concentration(given, "USD", {"EUR": Decimal("1.2")}, {})
    assert found.doubt == ""
    assert found.gross == 100
    assert found.shares == {
        "instrument": {"A": 0.76, "B": 0.24},
        "venue": {"V": 0.6, "W": 0.4},
        "currency": {"USD": 0.76, "EUR": 0.24},
    }
    assert exposure.concentration([], "USD", {}, {}).shares == {}
    # In one currency nobody needs a rate.
    assert exposure.concentration(given[:1], None, {}, {}).shares["currency"] == {"USD": 1.0}


@pytest.mark.parametrize(
    ("rows", "currency"),
    [
        ([held("A", "60"), held("B", "NaN")], "USD"),
        ([held("A", None)], "USD"),
        ([held("A", "60", None)], "USD"),
        ([held("A", "60"), held("B", "20", "EUR")], "USD"),
        ([held("A", "60"), held("B", "20", "EUR")], None),
    ],
)
def test_concentration_that_nobody_can_tell(rows: list[dict[str, Any]], currency: str | None) -> None:
    assert exposure.concentration(rows, currency, {}, {}).doubt


def test_turnover() -> None:
    days = followed(rows()).days
    told = {"currency": "USD", "other": "USD", "traded": Decimal(601)}
    average = sum(day.base for day in days) / 3
    assert exposure.turnover(days, "USD", told) == pytest.approx(float(601 / average) * 365 / 3)
    assert exposure.turnover(days, "USD", None) == 0
    for wrong in ({"currency": "EUR"}, {"other": "EUR"}, {"traded": None}, {"traded": Decimal("NaN")}):
        assert exposure.turnover(days, "USD", {**told, **wrong}) is None
    assert exposure.turnover([], "USD", told) is None


def test_currencies_are_converted_by_rates_or_not_at_all() -> None:
    days = followed(rows()).days
    rates = {day.day: Decimal(rate) for day, rate in zip(days, ("1.1", "1.2", "1.2"), strict=True)}
    found, effect, missing = convert(days, rates)
    assert missing == []
    assert effect == Decimal("10.10")
    for before, after in itertools.pairwise(found):
        assert after.equity == before.equity + after.pnl + after.flow
    del rates[days[1].day]
    assert convert(days, rates)[2] == [days[1].day]
    assert convert(days, None)[0] == days
