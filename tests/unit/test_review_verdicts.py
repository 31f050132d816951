"""Verdicts of a strategy review that must not be better than what they rest on."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance import returns
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.identity import Day

from tests.unit.test_review_engine import book, reviewed, three, track


def test_a_search_that_luck_explains_is_no_skill() -> None:
    check = reviewed(three(), trials=[{"strategy": "good", "trials": 10**9}])["performance:good"]
    assert check.status == "unknown"
    assert "Not told from the best of" in check.message
    assert reviewed(three(), trials=[{"strategy": "good", "trials": 1}])["performance:good"].status == "ok"


def test_two_that_are_one_do_not_hide_among_many() -> None:
    found = book(**{f"s{place}": track(place, 90, 0.0) for place in range(12)}, twin=track(3, 90, 0.0))
    check = reviewed(found, paths=100)["correlation"]
    assert (check.status, check.value) == ("warning", 1)
    assert check.details["clusters"] == [["s3", "twin"]]


def test_one_that_ended_does_not_end_the_window_of_the_others() -> None:
    found = book(a=track(1, 400, 0.0), b=track(2, 400, 0.0), old=track(3, 400, 0.0)[:200])
    found.strategies[2]["state"] = "retired"
    check = reviewed(found)["correlation"]
    assert "to 2026-05-31)" in check.message
    assert "old (ended on 2025-11-13)" in check.message


def test_names_in_options_that_nothing_has() -> None:
    checks = reviewed(three(), drawdown_limits={"god": 3, "A": 50}, trials=[{"strategy": "god2", "trials": 5}])
    strange = {id: check.status for id, check in checks.items() if id.startswith("options")}
    assert strange == {"options:god": "unknown", "options:god2": "unknown"}


def test_sessions_that_it_takes_are_more_than_there_are() -> None:
    message = reviewed(book(one=track(6, 400, 0.001)))["performance:one"].message
    found = re.search(r"At this ratio it takes ([0-9,]+) sessions", message)
    assert found, message
    assert int(found[1].replace(",", "")) > 399


def test_capital_that_is_no_number_is_of_one_strategy_only() -> None:
    found = three()
    found.strategies[0]["capital"] = Decimal("NaN")
    checks = reviewed(found)
    assert "its capital is no number" in checks["identity:good"].message
    assert checks["performance:bad"].status == "warning"


def test_nothing_grows_again_after_equity_below_0() -> None:
    def day(place: int, base: int, equity: int) -> Day:
        return Day(date(2026, 3, place), Decimal(equity), Decimal(equity - base), Decimal(0), Decimal(base), None)

    with pytest.raises(returns.Undefined, match="2026-03-01 ended with equity below 0"):
        returns.daily([day(1, 100, -50), day(2, 100, -100)])
    assert returns.daily([day(1, 100, -50)]) == [(date(2026, 3, 1), -1.5)]
