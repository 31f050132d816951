"""Forecasts of risk: what is one, what is none, and what is said of a model whose forecasts are doubtful."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._validation import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._validation.reading import Risk

from tests.unit.test_review_engine import TODAY, moment
from tests.unit.validation_fixtures import books, day, forecast, forecasts, options, pattern, spread, validated

KINDS = ("forecasts", "exceptions", "independence", "shortfall", "reference")
#: 300 sessions with 15 exceptions at 95 %.
RIGHT = pattern(spread(300, 15))


def statuses(found: dict[str, Any], subject: str = "strategy/one") -> dict[str, str]:
    return {kind: found[f"{kind}:{subject}"].status for kind in KINDS}


def test_a_model_that_is_right_is_ok_where_the_tests_could_have_seen_more() -> None:
    found = validated(books(*RIGHT), forecasts(300))
    assert statuses(found) == {**dict.fromkeys(KINDS, "ok"), "independence": "unknown"}
    figures = found["exceptions:strategy/one"].details["figures"]
    assert (figures["sessions"], figures["exceptions"], figures["expected"]) == (300, 15, 15.0)
    assert figures["zone"] == "green"
    assert "power" in found["exceptions:strategy/one"].message
    assert "The test sees 2 times as many with 9" in found["exceptions:strategy/one"].message
    assert "could hardly see it" in found["independence:strategy/one"].message
    # With more sessions that could be seen, too: the same, of what clusters more.
    assert statuses(validated(books(*RIGHT), forecasts(300), clustering=0.6))["independence"] == "ok"
    # The book has no forecast of its own.
    assert found["forecasts:book/0.95"].status == "unknown"


def test_not_rejected_without_power_is_unknown() -> None:
    found = validated(books(*pattern(spread(80, 4))), forecasts(80))
    check = found["exceptions:strategy/one"]
    assert (check.status, check.value) == ("unknown", None)
    assert "could hardly see it" in check.message
    assert check.details["figures"]["power"] < 0.6
    assert (
        validated(books(*pattern(spread(80, 4))), forecasts(80), minimum_power=0.4)["exceptions:strategy/one"].status
        == "ok"
    )


@pytest.mark.parametrize(
    ("hits", "status", "why"),
    [
        (spread(300, 45), "critical", "Far too many"),
        (spread(300, 30), "warning", "Too many"),
        (spread(300, 5), "warning", "Too few"),
        (spread(300, 0), "warning", "Too few"),
    ],
)
def test_the_direction_of_a_rejection(hits: str, status: str, why: str) -> None:
    check = validated(books(*pattern(hits)), forecasts(300))["exceptions:strategy/one"]
    assert (check.status, why in check.message) == (status, True), check.message


def test_too_many_is_told_however_few_sessions_there_are() -> None:
    found = validated(books(*pattern(spread(30, 8))), forecasts(30))
    assert found["exceptions:strategy/one"].status == "critical"
    assert found["shortfall:strategy/one"].status == "warning"
    calm = validated(books(*pattern(spread(30, 1))), forecasts(30), minimum_power=0.01)
    assert {calm[f"{kind}:strategy/one"].status for kind in ("exceptions", "independence", "shortfall")} == {"unknown"}
    assert "fewer than 60 sessions" in calm["exceptions:strategy/one"].message


def test_exceptions_that_cluster() -> None:
    found = validated(books(*pattern("0" * 140 + "111110111" + "0" * 151)), forecasts(300))
    assert found["independence:strategy/one"].status == "warning"
    assert "They cluster" in found["independence:strategy/one"].message


@pytest.mark.parametrize(("count", "why"), [(0, "no session yet"), (1, "fewer than 60")])
def test_hardly_anything_to_compare(count: int, why: str) -> None:
    found = validated(books(*pattern("0" * count)), forecasts(5))
    assert set(statuses(found).values()) <= {"unknown", "ok", "warning"}
    assert {found[f"{kind}:strategy/one"].status for kind in KINDS[1:]} == {"unknown"}
    assert (
        why in found["exceptions:strategy/one"].message
        or "results are not known" in found["exceptions:strategy/one"].message
    )


def test_a_constant_series_says_nothing() -> None:
    found = validated(books(*[0] * 300), forecasts(300, var="0", es="0"), minimum_power=0.01)
    assert found["exceptions:strategy/one"].status == "unknown"
    assert "results do not vary" in found["exceptions:strategy/one"].message
    assert "each forecast is 0" in found["shortfall:strategy/one"].message
    # A loss where none was forecast is an exception all the same.
    some = validated(books(*[0, -1] * 150), forecasts(300, var="0", es="0"))
    assert some["exceptions:strategy/one"].status == "critical"
    assert "expected shortfall of 0" in some["shortfall:strategy/one"].message


def test_an_exception_is_more_than_value_at_risk_to_the_last_digit() -> None:
    results: list[str | int] = [*RIGHT[:298], "-10", "-10.0000000000000000000000000001"]
    found = validated(books(*results), forecasts(300))
    dated = found["exceptions:strategy/one"].details["figures"]["days"]
    assert (str(day(1)) in dated, str(day(2)) in dated) == (True, False)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"var": Decimal(-10)}, "below 0, and a loss has no sign"),
        ({"es": Decimal(-13)}, "below 0, and a loss has no sign"),
        ({"es": Decimal(9)}, "less than value at risk"),
        ({"var": Decimal("NaN")}, "is no number"),
        ({"var": None}, "is no number"),
        ({"es": Decimal("Infinity")}, "is no number"),
        ({"currency": "EUR"}, "is in EUR, and results in USD"),
        ({"currency": None}, "is in None, and results in USD"),
        ({"day": None}, "has no day"),
        ({"made_at": None}, "nobody knows when"),
        ({"version": None}, "has no version"),
        ({"version": "2"}, "versions take turns"),
    ],
)
def test_one_row_that_is_no_forecast_leaves_all_unknown(change: dict[str, Any], why: str) -> None:
    rows = forecasts(300)
    rows[100].update(change)
    found = validated(books(*RIGHT), rows)
    assert set(statuses(found).values()) == {"unknown"}
    assert why in found["exceptions:strategy/one"].message


def test_two_forecasts_of_a_day_are_none() -> None:
    found = validated(books(*RIGHT), [*forecasts(300), forecast(100, var="99", es="99")])
    assert "two forecasts of 2026-02-21" in found["exceptions:strategy/one"].message
    assert set(statuses(found).values()) == {"unknown"}


def test_in_any_order_and_beyond_the_books() -> None:
    rows = forecasts(500)
    found = validated(books(*RIGHT), rows[::-1])
    assert found["exceptions:strategy/one"].details["figures"]["exceptions"] == 15
    assert found["forecasts:strategy/one"].status == "ok"


def test_what_was_made_after_the_day_began_is_no_forecast() -> None:
    rows = forecasts(300)
    rows[50]["made_at"] = moment(rows[50]["day"])
    found = validated(books(*RIGHT), rows)
    check = found["forecasts:strategy/one"]
    assert (check.status, check.value, check.details["late"]) == ("critical", 1, [str(rows[50]["day"])])
    assert found["exceptions:strategy/one"].status == found["independence:strategy/one"].status == "unknown"
    assert "had no forecast in time" in found["exceptions:strategy/one"].message
    assert found["exceptions:strategy/one"].details["figures"]["sessions"] == 299
    late = [{**row, "made_at": moment(row["day"]) + 3600} for row in forecasts(300)]
    all_late = validated(books(*RIGHT), late)
    assert all_late["forecasts:strategy/one"].value == 300
    assert all_late["exceptions:strategy/one"].status == "unknown"


def test_missing_days_could_hide_exceptions() -> None:
    rows = [row for row in forecasts(300) if row["day"] not in (day(1), day(7))]
    found = validated(books(*RIGHT), rows)
    check = found["forecasts:strategy/one"]
    assert (check.status, check.value, check.details["missing"]) == ("warning", 2, [str(day(7)), str(day(1))])
    for kind in ("exceptions", "independence", "shortfall"):
        assert found[f"{kind}:strategy/one"].status == "unknown", kind
    # Too many stay too many.
    bad = validated(books(*pattern(spread(300, 45))), rows)
    assert bad["exceptions:strategy/one"].status == "critical"


def test_two_models_at_once_are_two() -> None:
    rows = [*forecasts(300), *forecasts(300, model="blind", var="2", es="3")]
    found = validated(books(*RIGHT), rows)
    assert found["exceptions:strategy/one"].status == "ok"
    other = found["exceptions:strategy/one/blind/0.95"]
    assert other.details["figures"]["exceptions"] == 15
    assert other.status == "ok"
    # Losses are far larger than the other one said.
    assert found["shortfall:strategy/one/blind/0.95"].status == "critical"


def test_the_newest_version_is_judged_by_its_own_days() -> None:
    rows = [forecast(ago, version="1" if ago > 100 else "2") for ago in range(1, 301)]
    found = validated(books(*RIGHT), rows)
    assert found["exceptions:strategy/one"].details["figures"]["sessions"] == 100
    assert "200 sessions with an older version before are not judged" in found["forecasts:strategy/one"].message


@pytest.mark.parametrize("level", ["0.99", "95", "0.05", "NaN"])
def test_a_level_that_is_not_declared(level: str) -> None:
    found = validated(books(*RIGHT), forecasts(300, confidence=Decimal(level)))
    mine = [check for id, check in found.items() if id.startswith("exceptions:strategy/one")]
    assert [check.status for check in mine] == ["unknown"]
    assert "is not declared (0.95)" in mine[0].message
    # What is declared has nobody forecast.
    assert found["forecasts:strategy/one/0.95"].status == "unknown"


def test_of_something_that_there_is_not() -> None:
    rows = [*forecasts(300), *forecasts(300, subject="gone"), *forecasts(300, scope="desk"), *forecasts(9, scope=None)]
    found = validated(books(*RIGHT), rows)
    assert found["exceptions:strategy/one"].status == "ok"
    assert found["exceptions:strategy/gone"].status == found["exceptions:desk/one"].status == "unknown"


@pytest.mark.parametrize("subject", [None, "", "book"])
def test_the_book_has_forecasts_of_its_own(subject: str | None) -> None:
    found = validated(books(*RIGHT), [*forecasts(300), *forecasts(300, scope="book", subject=subject)])
    assert found["exceptions:book"].status == "ok"
    assert found["exceptions:book"].details["figures"]["exceptions"] == 15
    assert "forecasts:book/0.95" not in found
    wrong = validated(books(*RIGHT), forecasts(300, scope="book", subject="A"))
    assert "there is no book of this name" in wrong["exceptions:book"].message


def test_books_that_do_not_add_up_leave_models_unknown() -> None:
    found = books(*RIGHT)
    found.equity["one"][100]["pnl"] += 1
    assert set(statuses(validated(found, forecasts(300))).values()) == {"unknown"}
    for damage in (slice(100, 101), slice(0, 0)):
        gap = books(*RIGHT)
        rows = gap.equity["one"]
        # A session of which there is no equity, or one that is there twice.
        gap.equity["one"] = rows[:100] + rows[101:] if damage == slice(100, 101) else [*rows, rows[50]]
        assert set(statuses(validated(gap, forecasts(300))).values()) == {"unknown"}


def test_days_without_a_session_do_not_count() -> None:
    """Weekends of a market that is closed are no sessions: their results count in the next one."""
    found = books(*pattern("0" * 300))
    found.strategies[0]["calendar"] = "desk"
    week = {name: ["09:00", "17:00"] for name in ("mon", "tue", "wed", "thu", "fri")}
    saturday = next(ago for ago in range(3, 40) if day(ago).weekday() == 5)
    # The losses of a Saturday and of the Monday after it are one, and more than value at risk.
    equity, rows = Decimal(1000), found.equity["one"]
    for row in rows:
        if row["day"] in (day(saturday), day(saturday - 2)):
            row["pnl"] = Decimal(-9)
        equity += row["pnl"]
        row["equity"] = equity
    calendars = {"desk": {"timezone": "UTC", "sessions": week}}
    checks = validated(found, forecasts(300), calendars=calendars)
    figures = checks["exceptions:strategy/one"].details["figures"]
    assert figures["days"] == [str(day(saturday - 2))]
    assert figures["sessions"] == sum(1 for ago in range(1, 301) if day(ago).weekday() < 5)
    assert "for days without a session left out" in checks["forecasts:strategy/one"].message


def test_without_forecasts_the_reference_is_shown_and_nothing_is_well() -> None:
    found = books(*RIGHT)
    lacking = Risk(reasons={"forecasts": ("there is no view maintenance.risk_forecasts.", "Define it.")})
    checks = {check.id: check for check in engine.validated(found, lacking, options()).checks}
    assert checks["validation.forecasts"].status == "unknown"
    assert "A plain historical model (reference)" in checks["validation.forecasts"].message
    assert {check.status for check in checks.values()} == {"unknown"}
    empty = validated(found, [])
    assert "the view has no row" in empty["forecasts"].message


def test_a_model_that_sees_far_less_than_history() -> None:
    found = validated(books(*pattern(spread(300, 30))), forecasts(300, var="4", es="5"))
    check = found["reference:strategy/one"]
    assert (check.status, check.value < 0.5) == ("warning", True), check.message
    assert TODAY - timedelta(days=1) == day(1)
