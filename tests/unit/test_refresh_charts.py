"""The refreshed line and the earlier one, as the report draws them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.charts import charts

NOW, THEN = [[0, 1.0], [1, 1.1], [2, 0.9]], [[0, 1.0], [1, 1.05]]


def drawn(**changes: Any) -> list[str]:
    chart = {"kind": "compared", "title": "<one>", "from": "2026-01-01", "to": "2026-01-03", "now": NOW, "then": THEN}
    return [str(each) for each in charts({"charts": [{**chart, **changes}]})]


def test_two_lines_or_one() -> None:
    (both,) = drawn()
    # On the same days: what ended earlier ends further to the left.
    assert '<path class="then" d="M0 100L500 50"/>' in both
    assert '<path class="line" d="M0 100L500 0L1000 200"/>' in both
    assert "dashed: the refresh before, to 1.050" in both
    assert "&lt;one&gt;" in both
    (alone,) = drawn(then=None)
    assert 'class="then"' not in alone
    assert "no refresh before" in alone


@pytest.mark.parametrize("now", [[], [[0, 1.0]], [[0, 1.0], [1]], [[0, "1"], [1, 2]], [[0, float("nan")], [1, 1]], "x"])
def test_what_is_no_line_is_left_out(now: Any) -> None:
    assert drawn(now=now, then=None) == []
