"""How the report says values, thresholds and facts, and draws a line of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report import words
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.actions import facts, spent
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.sparkline import sparkline

from tests.unit.test_report import action, check


class TestSparkline:
    def points(self, *values: Any, status: str = "ok") -> list[dict[str, Any] | None]:
        return [None if value == "gap" else check("a.x", status if value is None else "ok", value) for value in values]

    def test_needs_two_numbers(self) -> None:
        assert sparkline(self.points(1)) == ""
        assert sparkline(self.points("a", "b")) == ""
        assert sparkline(self.points(None, 4, status="unknown")) == ""
        assert "<svg" in sparkline(self.points(1, 2))

    def test_gap_where_nothing_was_measured(self) -> None:
        (line,) = re.findall(r'class="l" d="([^"]+)"', sparkline(self.points(1, "gap", 3, 4)))
        assert (line.count("M"), line.count("L")) == (2, 1)

    def test_statuses_differ_in_form_and_words(self) -> None:
        points = [
            check("a.x", status, value) for status, value in (("ok", 1), ("warning", 8), ("critical", 9), ("ok", 2))
        ]
        drawn = sparkline([*points, check("a.x", "unknown", None)])
        forms = dict(re.findall(r'class="m (\w+)" d="M[\d. ]+([^"]+)"', drawn))
        assert set(forms) == {"warning", "critical", "unknown"}
        assert len(set(forms.values())) == 3
        assert "1 critical, 1 unknown, 1 warning" in drawn

    @pytest.mark.parametrize(
        "values", [(5, 5), (0, 0), (-1e290, 1e290), ("1.50", "2.50"), (True, False), (1e-300, 2e-300)]
    )
    def test_odd_numbers_stay_within_the_picture(self, values: tuple[Any, Any]) -> None:
        given = [check("a.x", "ok", value, unit="EUR") for value in values]
        (line,) = re.findall(r'class="l" d="([^"]+)"', sparkline([*given]))
        assert all(0 <= float(number) <= 132 for number in re.findall(r"[\d.]+", line))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "%", "not measured"),
        (True, "", "yes"),
        (0, "", "0"),
        (93.0, "%", "93 %"),
        (97.25, "%", "97.25 %"),
        (1234567, "", "1,234,567"),
        (0.0004, "", "0.0004"),
        (999, "bytes", "999 B"),
        (999_999, "bytes", "1 MB"),
        (84_200_000_000, "bytes", "84.2 GB"),
        (0.0132, "s", "13.2 ms"),
        (59.99, "s", "1 min"),
        (3600, "s", "1 h"),
        (4021, "s", "1 h 7 min"),
        (-90, "s", "-1 min 30 s"),
        (0, "s", "0 s"),
        (1500, "ms", "1.5 s"),
        ("1204417.25000000", "EUR", "1,204,417.25 EUR"),
        ("0.00012300", "BTC", "0.000123 BTC"),
        ("1.8.3", "", "1.8.3"),
        ("18", "", "18"),
        ("failed", "h", "failed"),
        ("4 of 5", "pods", "4 of 5 pods"),
    ],
)
def test_quantity(value: Any, unit: str, text: str) -> None:
    assert words.quantity(value, unit).replace(words.NBSP, " ") == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"value": 50, "warning": 80, "critical": 95, "unit": "%"}, "critical from 95 %, warning from 80 %"),
        (
            {"value": 50, "warning": 10, "critical": 5, "unit": "%"},
            "critical at or below 5 %, warning at or below 10 %",
        ),
        ({"value": 3, "status": "critical", "critical": 10}, "critical at or below 10"),
        ({"value": 3, "critical": 10}, "critical from 10"),
        ({"value": 0, "warning": 1, "critical": 1}, "critical from 1"),
        ({"value": "a", "warning": "not idle"}, "warning: not idle"),
        ({"value": 1}, ""),
    ],
)
def test_thresholds(given: dict[str, Any], text: str) -> None:
    assert words.thresholds(check("a.x", **given)).replace(words.NBSP, " ") == text


@pytest.mark.parametrize(
    ("details", "brief", "told"),
    [
        (
            {
                "recovery_point": {"id": "p", "size": 10**9, "objects": 7, "environment": "x"},
                "phases": {"a": 9},
                "notes": {},
            },
            False,
            {"duration": "10 s", "size": "1 GB", "throughput": "100 MB/s", "objects": "7", "id": "p"},
        ),
        ({"id": "p", "rows": 5, "rows_per_s": 2.5}, True, {"duration": "10 s", "rows": "5", "rows per second": "2.5"}),
        ({"seconds": 4, "bytes": 2000}, True, {"duration": "4 s", "size": "2 kB", "throughput": "500 B/s"}),
        ({"wal_bytes": 2000, "lag_ms": 3, "used_percent": 4}, True, {"wal": "2 kB", "lag": "3 ms", "used": "4 %"}),
        ({"at": "2026-11-23T20:40:30Z", "none": None}, False, {"at": "23 Nov 2026, 20:40 UTC"}),
    ],
)
def test_facts(details: dict[str, Any], brief: bool, told: dict[str, str]) -> None:
    given = action(details=details, started_at="2026-11-23T20:40:30Z", finished_at="2026-11-23T20:40:40Z")
    shown = {name: value.replace(words.NBSP, " ") for name, value in facts(given, brief=brief)}
    assert {name: shown.get(name) for name in told} == told


@pytest.mark.parametrize(
    ("details", "lines"),
    [
        (
            {"count": 12, "first": [{"venue": "X", "our_fee": "1000.500", "error": None, "classes": ["fee", "price"]}]},
            ["venue X · our fee 1,000.50 · classes fee, price", "and 11 more"],
        ),
        ({"first": [{"at": "2026-11-24T15:00:00+00:00"}, "b", "c", "d"]}, ["at 24 Nov 2026, 15:00 UTC", "b", "c"]),
        ({"first": [{"id": "1-2"}, {"id": "2026"}]}, ["id 1-2", "id 2026"]),
        ({"count": 3, "first": []}, []),
        ({"count": 3}, []),
        ({"first": "none"}, []),
        (None, []),
    ],
)
def test_examples(details: Any, lines: list[str]) -> None:
    assert [line.replace(words.NBSP, " ") for line in words.examples(details)] == lines


def test_many_or_long_examples_are_cut() -> None:
    lines = words.examples({"count": 10_000, "first": [{"text": "x" * 9999}] * 10})
    assert len(lines) == 4
    assert len("".join(lines)) < 1200
    assert lines[3] == "and 9,997 more"


def test_a_short_action_took_as_long_as_its_phases() -> None:
    given = action(details={"phases": {"a": 0.5, "b": 1.25}}, started_at="2026-11-23T20:40:30Z")
    assert spent({**given, "finished_at": "2026-11-23T20:40:31Z"}) == 1.75
    assert spent({**given, "finished_at": None}) == 1.75
    assert spent({**given, "details": {}, "finished_at": "2026-11-23T20:40:30Z"}) is None


def test_a_version_is_no_number_and_a_decimal_is() -> None:
    assert words.number("18", check("a.x", "ok", "18")) is None
    assert words.number("18", check("a.x", "ok", "18", unit="EUR")) == 18
    assert words.number("18", check("a.x", "ok", "18", critical=20)) == 18
