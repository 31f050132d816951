"""What became of the breaks of the run before, as far as both runs know them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.action import trading_checks
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.breaks import KEPT, carry, outcome

NOW, BEFORE = "2026-11-24T12:00:00Z", "2026-11-23T12:00:00Z"


def row(*keys: str, more: int = 0) -> dict[str, Any]:
    kept = sorted(keys)[:KEPT]
    first = [{"key": key, "venue": "X" * 500, "here": True, "possible": False} for key in kept[:10]]
    total = len(keys) + more
    return {"total": total, "classes": {"fee": total}, "oldest": 1.0, "keyed": total, "keys": kept, "first": first}


def test_first_run_compares_with_nothing() -> None:
    details, words = outcome(row("a", "b"), None)
    assert words == ""
    assert "new" not in details
    (keys,) = details["keys"].values()
    assert keys == ["a", "b"]


def test_new_carried_and_resolved() -> None:
    before = {"keys": {BEFORE: ["a", "b"]}}
    details, words = outcome(row("b", "c"), before)
    assert (details["new"], details["carried"], details["resolved"]) == (1, 1, 1)
    assert details["first_seen"] == BEFORE
    assert details["keys"][BEFORE] == ["b"]
    assert f"1 new, 1 carried (the longest since {BEFORE}), 1 resolved" in words
    assert [one["first_seen"] == BEFORE for one in details["first"]] == [True, False]
    # And again, through a report.
    later, _ = outcome(row("b", "c"), json.loads(json.dumps(details)))
    assert (later["new"], later["carried"], later["first_seen"]) == (0, 2, BEFORE)


def test_all_resolved_is_told_and_then_forgotten() -> None:
    nothing = {**row(), "keys": None, "first": None, "classes": None}
    details, words = outcome(nothing, {"keys": {BEFORE: ["a"]}})
    assert (details["resolved"], details["keys"]) == (1, {})
    assert "1 resolved" in words
    assert outcome(nothing, details)[1] == ""


def test_what_could_not_be_compared_is_not_resolved() -> None:
    found = carry(row("b"), {"keys": {BEFORE: ["a", "b"]}}, False, NOW)
    assert (found.unseen, found.resolved, found.carried) == (["a"], [], ["b"])
    assert found.since == {"a": BEFORE, "b": BEFORE}
    details, words = outcome(row("b"), {"keys": {BEFORE: ["a", "b"]}}, whole=False)
    assert details["not_compared"] == 1
    assert "1 could not be compared" in words
    # Once it can be compared again, it is known whether it is there.
    assert outcome(row("b"), details)[0]["resolved"] == 1


def test_of_more_than_are_kept_only_those_that_both_know_are_compared() -> None:
    all_keys = [f"{number:04}" for number in range(1000)]
    first, _ = outcome(row(*all_keys), None)
    assert first["keys_left_out"] == 1000 - KEPT
    same, words = outcome(row(*all_keys), first)
    assert (same["new"], same["carried"], same["resolved"]) == (0, KEPT, 0)
    assert f"of {KEPT} that are kept" in words
    # Without the first 100: those after them had not been kept, and are not new.
    fewer = carry(row(*all_keys[100:]), first, True, NOW)
    assert (len(fewer.new), len(fewer.carried), len(fewer.resolved)) == (0, KEPT - 100, 100)
    # A hundred more in front: what no longer fits is not resolved.
    more = carry(row(*(f"!{number}" for number in range(100)), *all_keys), first, True, NOW)
    assert (len(more.new), len(more.carried), len(more.resolved)) == (100, KEPT - 100, 0)


def test_ten_thousand_breaks_fit_in_a_report() -> None:
    keys = [f"{number:012x}" for number in range(KEPT)]
    details, _ = outcome(row(*keys, more=10_000), {"keys": {f"{BEFORE}{n}": [key] for n, key in enumerate(keys)}})
    assert len(json.dumps(details)) < 16_000
    assert len(details["first"]) == 10
    assert details["keys_left_out"] == 10_000


@pytest.mark.parametrize("before", [{}, {"keys": None}, {"keys": []}, {"keys": "x"}, {"left_out": "1 of 9"}])
def test_report_that_says_nothing_of_keys_is_no_run_to_compare_with(before: dict[str, Any]) -> None:
    assert not carry(row("a"), before, True, NOW).compared


def test_report_with_nonsense_in_it() -> None:
    assert carry(row("a"), {"keys": {BEFORE: "x", "y": [1]}}, True, NOW).new == ["a"]


def test_action_hands_on_what_the_last_run_that_measured_found(monkeypatch: pytest.MonkeyPatch) -> None:
    check = {
        "host": "runner",
        "id": "trading.reconcile_cash",
        "status": "critical",
        "details": {"keys": {BEFORE: ["a"]}},
    }
    others = [{**check, "host": "other", "details": {}}, {**check, "id": "trading.strategies", "details": {}}]
    unknown = {**check, "status": "unknown", "details": {}}
    history = [{"checks": [*others, check]}, {"checks": [unknown]}]
    handed: list[Any] = []

    def measure(*arguments: Any) -> list[Any]:
        handed.append(arguments[4])
        return []

    monkeypatch.setattr(trading_checks, "measure", measure)
    action = trading_checks.ActionModule.__new__(trading_checks.ActionModule)
    monkeypatch.setattr(action, "earlier", lambda args: history)
    action.collect({"database": {}, "thresholds": {}, "timeout": 10}, {"inventory_hostname": "runner"})
    assert handed == [{"trading.reconcile_cash": {"keys": {BEFORE: ["a"]}}}]
