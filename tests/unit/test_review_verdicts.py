"""Verdicts of a strategy review that must not be better than what they rest on."""

from __future__ import annotations

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
