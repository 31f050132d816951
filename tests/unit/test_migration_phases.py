"""No contract while the old application runs, and no expand that takes something away."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import phases, review
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.dangers import dangers


def options(running: Any, *versions: str) -> dict[str, Any]:
    return {"running_version": running, "contract_versions": list(versions)}


@pytest.mark.parametrize(
    ("marks", "given", "names", "words"),
    [
        ([None, "expand"], options(None), [], ""),
        (["expand", "contract"], options("2.1", "2.0", "2.1"), [], ""),
        (["contract"], options("1.9", "2.0", "2.1"), ["contract"], "1.9 runs; 2.0, 2.1 do without it"),
        # A prefix, a number and another writing are no version of the list.
        (["contract"], options("2.1", "2.1.0"), ["contract"], "2.1 runs"),
        (["contract"], options(None, "2.1"), ["contract"], "which version runs is not known"),
        (["contract"], options("", ""), ["contract"], "is not known"),
        (["contract"], options("2.1"), ["contract"], "no version is named"),
        (["contract"], {}, ["contract"], "no version is named"),
        (["Contract"], options("2.1", "2.1"), ["phase"], "r0 has the phase 'Contract', which is not known"),
        ([["contract"]], options("2.1", "2.1"), ["phase"], "which is not known"),
        ([""], options("2.1", "2.1"), ["phase"], "which is not known"),
    ],
)
def test_when_revisions_of_a_phase_may_run(
    marks: list[Any], given: dict[str, Any], names: list[str], words: str
) -> None:
    pending = [{"revision": f"r{number}", "phase": mark} for number, mark in enumerate(marks)]
    plan: dict[str, Any] = {"pending": pending, "refusals": []}
    phases.judge(given, plan)
    found = plan["refusals"]
    assert [each["name"] for each in found] == names
    assert words in " ".join(each["message"] for each in found)
    assert bool(phases.checks(plan)) is not bool(names)


def test_expand_takes_nothing_away() -> None:
    facts = {"tables": [], "longest_transaction_seconds": 0.0}
    limits = {"small_bytes": 1, "large_bytes": 2, "busy_writes": 1.0, "long_transaction": 60.0}

    def verdicts(phase: str | None, sql: str) -> set[str]:
        entry = {"revision": "r", "sql": sql, "phase": phase}
        sheet = review.sheet([entry], facts, limits, lambda sql: dangers(sql, lambda _: []))
        return {row["verdict"] for row in sheet["rows"]}

    assert verdicts("expand", "TRUNCATE u;") == {review.REFUSE}
    assert verdicts(None, "TRUNCATE u;") == verdicts("contract", "TRUNCATE u;") == {review.WINDOW}
