"""The chart of a migration's statements: what is drawn, what is left out, and what is no statement at all."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.actions import steps
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.timeline import (
    MOST,
    WIDTH,
    mode_words,
    timeline,
)

RECTANGLE = re.compile(r'<rect class="(\w+)" x="([\d.]+)" y="0" width="([\d.]+)"')


def statement(at: float, seconds: float, **others: Any) -> dict[str, Any]:
    return {
        "revision": "b2",
        "attempt": 1,
        "sql": "ALTER TABLE t",
        "at": at,
        "seconds": seconds,
        "waited": 0,
        "waits": [],
        "mode": "AccessExclusiveLock",
        "ended": "done",
        **others,
    }


def drawn(given: list[dict[str, Any]]) -> list[list[tuple[str, float, float]]]:
    chart = timeline({"timeline": given})
    assert chart is not None
    return [[(name, float(x), float(width)) for name, x, width in RECTANGLE.findall(row.drawn)] for row in chart.rows]


def test_where_and_how_long() -> None:
    wait = {"mode": "AccessExclusiveLock", "on": "public.t", "seconds": 1.0}
    rows = [
        statement(10.0, 1.0, waited=1.0, waits=[wait, wait], ended="failed"),
        statement(15.0, 5.0, waited=1.0, waits=[wait], attempt=2),
    ]
    assert drawn(rows) == [
        # It gave up: there is a mark at its end.
        [("wait", 0.0, WIDTH * 0.1), ("gone", WIDTH * 0.1, 6.0)],
        [("wait", WIDTH * 0.5, WIDTH * 0.1), ("work", WIDTH * 0.6, WIDTH * 0.4)],
    ]
    # What ends it all is at the right edge, and still to be seen.
    assert drawn([statement(0.0, 1.0), statement(1.0, 0.0, ended="failed")])[1] == [("gone", WIDTH - 6.0, 6.0)]
    chart = timeline({"timeline": rows})
    assert chart is not None
    assert [row.group for row in chart.rows] == ["b2", "b2, attempt 2"]
    assert [row.waited for row in chart.rows] == ["1\xa0s for public.t"] * 2
    assert [row.failed for row in chart.rows] == [True, False]
    assert chart.ends == "10\xa0s"


def test_short_questions_are_left_out_and_what_matters_is_not() -> None:
    rows = [statement(number / 10, 0.001, mode="") for number in range(500)]
    rows += [statement(60 + number, 1.0 + number) for number in range(MOST)]
    rows += [statement(1.5, 0.0, ended="failed"), statement(2.5, 0.001, waited=0.001), statement(3.5, 0.001, mode=None)]
    chart = timeline({"timeline": rows})
    assert chart is not None
    assert (len(chart.rows), chart.left_out) == (MOST, 503)
    assert [row.took for row in chart.rows][:2] == ["0\xa0s", "1\xa0ms"]
    # The shortest of the long ones had to go; the lock that nobody saw was shorter still.
    assert chart.rows[2].took == "3\xa0s"


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        "text",
        [None, 7, {}, {"sql": "S"}],
        [statement(0.0, 1.0, sql=None)],
        [statement(0.0, -1.0)],
        [statement(0.0, float("nan"))],
        [statement(0.0, 1.0, waited="1")],
    ],
)
def test_what_is_no_statement_is_not_drawn(given: Any) -> None:
    assert timeline({"timeline": given}) is None


def test_modes_by_the_names_of_the_manual() -> None:
    assert mode_words("ShareRowExclusiveLock") == "SHARE ROW EXCLUSIVE"
    assert mode_words(None) == "not seen"
    assert mode_words("") == "none"
    assert mode_words("SomethingNew") == "SomethingNew"


def test_a_rollout_step_by_step() -> None:
    given = [
        {"at": "2026-11-30T16:35:22Z", "seconds": 2.5, "state": "failing", "message": "It <b>waits</b>"},
        {"at": "2026-11-30T16:35:20Z", "seconds": 0.5, "state": "progressing", "message": "1 of 3"},
        {"seconds": "soon", "message": "no step"},
        {"seconds": 1.0},
        "no step",
    ]
    assert [step[:2] + step[3:] for step in steps({"rollout": given})] == [
        (0.5, 2.0, "plain", "1 of 3"),
        (2.5, 0.0, "warning", "It <b>waits</b>"),
    ]
    # A state that is not known is not shown as a good one.
    assert steps({"rollout": [{"seconds": 1, "state": "splendid", "message": "x"}]})[0][3] == "plain"
    assert steps({"rollout": "none"}) == []
    assert steps({}) == []
