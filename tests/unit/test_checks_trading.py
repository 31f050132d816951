"""What is judged from the rows of the trading contract, without a database."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import sql, strategies, trading
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.calendar import Calendars, parse
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.due import orders_due
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import ROOT

#: A Tuesday, 12:00 UTC: New York is closed, all else is open.
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
ALIVE = {
    "strategy": "momentum",
    "calendar": "24/7",
    "now": NOW,
    "expected_state": "running",
    "observed_state": "running",
    "interval": 10.0,
    "age": 4.0,
    "twice": None,
}
INSTANCE = {"instance": "app-1", "interval": 2.0, "age": 1.0}


def thresholds(**given: Any) -> dict[str, Any]:
    options = {"database": {"name": "x", "user": "x"}, "thresholds": given}
    result = ArgumentSpecValidator(trading.TRADING_SPEC).validate(options)
    assert not result.error_messages
    limits: dict[str, Any] = result.validated_parameters["thresholds"]
    return limits


def judged(*rows: dict[str, Any], **given: Any) -> dict[str, Check]:
    context = {"calendars": Calendars()}
    checks = list(strategies.strategies([{**ALIVE, **row} for row in rows], thresholds(**given), context))
    found = {check.id.removeprefix("trading.strategy_"): check for check in checks}
    assert len(found) == len(checks), "two checks with one id"
    return found


def statuses(**row: Any) -> tuple[str | None, str]:
    """Heartbeat (None when there is no such check) and state."""
    found = judged(row)
    pulse = found.get("heartbeat:momentum")
    return pulse.status if pulse else None, found["state:momentum"].status


def test_empty_platform_is_unknown() -> None:
    with pytest.raises(sql.NotMeasured, match="no strategy is defined"):
        judged()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, ("ok", "ok")),
        ({"age": 29.9}, ("ok", "ok")),
        ({"age": 30.0}, ("warning", "ok")),
        ({"age": 100.0}, ("critical", "unknown")),
        ({"age": None, "observed_state": None}, ("critical", "unknown")),
        # A clock that is a little ahead is no trouble; one that is far ahead makes every age meaningless.
        ({"age": -3.0}, ("ok", "ok")),
        ({"age": -60.0}, ("unknown", "unknown")),
        ({"age": float("-inf")}, ("unknown", "unknown")),
        ({"age": float("nan")}, ("unknown", "unknown")),
        ({"interval": None}, ("unknown", "unknown")),
        ({"interval": 0.0}, ("unknown", "unknown")),
        ({"interval": -5.0}, ("unknown", "unknown")),
        ({"interval": float("nan")}, ("unknown", "unknown")),
        ({"interval": float("inf")}, ("unknown", "unknown")),
        ({"observed_state": "paused"}, ("ok", "critical")),
        ({"observed_state": " Running "}, ("ok", "ok")),
        # What is cut for people is compared in full.
        ({"expected_state": "x" * 50 + "1", "observed_state": "x" * 50 + "2"}, ("ok", "critical")),
        ({"observed_state": None}, ("ok", "unknown")),
        ({"observed_state": ""}, ("ok", "unknown")),
        ({"expected_state": None}, ("ok", "unknown")),
        ({"expected_state": "paused", "observed_state": "paused"}, ("ok", "ok")),
        # Who need not run need not beat, but must not trade either.
        ({"expected_state": "stopped", "observed_state": "stopped", "age": 9e9}, (None, "ok")),
        ({"expected_state": "stopped", "observed_state": "running", "age": 9e9}, (None, "ok")),
        ({"expected_state": "stopped", "observed_state": None, "age": None}, (None, "ok")),
        ({"expected_state": "stopped", "observed_state": "stopped"}, (None, "ok")),
        ({"expected_state": "stopped", "observed_state": "running"}, (None, "critical")),
        ({"expected_state": "Stopped", "observed_state": "running", "age": -60.0}, (None, "unknown")),
        # New York closed at 21:00 and opens at 14:30 UTC: nobody has missed anything, and its last word counts.
        ({"calendar": "XNYS", "age": 14.9 * HOUR}, ("ok", "ok")),
        ({"calendar": "XNYS", "age": 14.9 * HOUR, "observed_state": "paused"}, ("ok", "critical")),
        # Silent for an hour before the close is silent for an hour, all night.
        ({"calendar": "XNYS", "age": 16 * HOUR}, ("critical", "unknown")),
        ({"calendar": "XNYS", "age": 15 * HOUR + 50}, ("warning", "ok")),
        ({"calendar": "XNYS", "age": 15 * HOUR + 50, "now": NOW + 6 * HOUR}, ("critical", "unknown")),
        ({"calendar": "XNYS", "age": None, "observed_state": None}, ("warning", "unknown")),
        ({"calendar": "XNYS", "age": None, "now": NOW + 6 * HOUR}, ("critical", "unknown")),
        # On Friday 27 November New York closes at 18:00 UTC, on the 26th it does not open at all.
        ({"calendar": "XNYS", "age": 25 * HOUR, "now": NOW + 74 * HOUR}, ("ok", "ok")),
        ({"calendar": "24/5", "age": 9 * HOUR, "now": NOW - 45 * HOUR}, ("ok", "ok")),
        # As long as a heartbeat comes, its calendar does not matter.
        ({"calendar": "nope"}, ("ok", "ok")),
        ({"calendar": None}, ("ok", "ok")),
        ({"calendar": "nope", "age": 100.0}, ("unknown", "unknown")),
        ({"calendar": None, "age": None}, ("unknown", "unknown")),
    ],
)
def test_heartbeat_and_state(row: dict[str, Any], expected: tuple[str | None, str]) -> None:
    assert statuses(**row) == expected


def test_what_is_not_ok_says_what_to_do() -> None:
    for row in ({"age": 100.0}, {"age": -60.0}, {"interval": None}, {"observed_state": "x"}, {"expected_state": None}):
        bad = [check for check in judged(row).values() if check.status != "ok"]
        assert bad
        assert all(check.remedy for check in bad)


def test_thresholds_are_multiples_of_each_strategys_own_interval() -> None:
    found = judged({"age": 50.0}, {"age": 50.0, "strategy": "slow", "interval": 60.0})
    assert (found["heartbeat:momentum"].status, found["heartbeat:momentum"].critical) == ("warning", 100)
    assert (found["heartbeat:slow"].status, found["heartbeat:slow"].warning) == ("ok", 180)
    assert judged({"age": 50.0}, strategy_heartbeat={"critical": 5})["heartbeat:momentum"].status == "critical"


@pytest.mark.parametrize("name", ['o\'brien "x" %s {{ 7*7 }}', "größe 日本", "two\nlines", "", "x" * 500, "a:b/c@d"])
def test_names(name: str) -> None:
    found = judged({"strategy": name})
    assert all(id.isprintable() for id in found)
    assert len(found) == 3


def test_long_names_that_look_alike_once_cut_are_kept_apart() -> None:
    found = judged({"strategy": "x" * 200 + "1"}, {"strategy": "x" * 200 + "2", "age": 500.0})
    assert len(found) == 5
    assert sorted(check.status for id, check in found.items() if id.startswith("heartbeat")) == ["critical", "ok"]


def test_strategy_that_is_there_twice_is_unknown_once() -> None:
    found = judged({"twice": 2}, {"twice": 2, "age": 900.0}, {"strategy": "other"})
    assert found["heartbeat:momentum"].status == found["state:momentum"].status == "unknown"
    assert found["heartbeat:other"].status == "ok"
    assert found["trading.strategies"].value == 2


def test_silence_while_the_market_is_closed_is_told() -> None:
    found = judged({"calendar": "XNYS", "age": 14.9 * HOUR})
    for kind in ("heartbeat", "state"):
        assert "closed until 2026-11-24 14:30 UTC" in found[f"{kind}:momentum"].message
    assert found["heartbeat:momentum"].value == 0
    assert found["heartbeat:momentum"].details["age_s"] == 14.9 * HOUR


DUE = {
    "strategy": "momentum",
    "expected_state": "running",
    "calendar": "24/7",
    "gap": HOUR,
    "age": 60.0,
    "started": 9e6,
    "future": None,
    "now": NOW,
    "twice": None,
}


def due(**row: Any) -> Check:
    context = {"calendars": Calendars(parse({"desk": {"timezone": "UTC", "sessions": {"tue": ["08:00", "11:30"]}}}))}
    (check,) = orders_due([{**DUE, **row}], thresholds(), context)
    return check


@pytest.mark.parametrize(
    ("row", "status", "value"),
    [
        ({}, "ok", 60),
        ({"age": HOUR}, "warning", HOUR),
        ({"age": 3 * HOUR}, "critical", 3 * HOUR),
        ({"age": -2.0}, "ok", 0),
        # Of a strategy that trades in sessions only these count.
        ({"calendar": "desk", "age": 1.4 * HOUR}, "ok", 0.9 * HOUR),
        ({"calendar": "desk", "age": 2 * HOUR}, "warning", 1.5 * HOUR),
        ({"calendar": "desk", "age": 100 * HOUR}, "critical", 3.5 * HOUR),
        ({"calendar": "XNYS", "age": 15.5 * HOUR}, "ok", 0.5 * HOUR),
        ({"calendar": "XNYS", "age": 17 * HOUR}, "warning", 2 * HOUR),
        # Less than a gap by the clock on the wall: the calendar is not even looked at.
        ({"calendar": "XNOPE"}, "ok", 60),
        ({"calendar": "XNOPE", "age": HOUR}, "unknown", None),
        ({"calendar": None}, "unknown", None),
        # Never an order: critical once the market has been open for so long.
        ({"age": None, "started": 60.0}, "ok", 60),
        ({"age": None, "started": 2 * HOUR}, "warning", 2 * HOUR),
        ({"age": None}, "critical", 9e6),
        ({"age": None, "calendar": "desk", "started": 1.4 * HOUR}, "ok", 0.9 * HOUR),
        ({"age": None, "started": None}, "unknown", None),
        ({"age": None, "started": -600.0}, "unknown", None),
        ({"age": float("inf")}, "unknown", None),
        ({"gap": None}, "ok", 60),
        ({"gap": None, "age": 9e7}, "ok", 9e7),
        ({"gap": 0.0}, "unknown", None),
        ({"gap": -1.0}, "unknown", None),
        ({"gap": float("nan")}, "unknown", None),
        # Longer ago than is looked back, whatever the gap.
        ({"gap": 9e9, "age": 9e8, "calendar": "24/5"}, "critical", None),
        ({"expected_state": None}, "unknown", None),
        ({"expected_state": " Paused "}, "ok", 0),
        ({"expected_state": "stopped", "age": None}, "ok", 0),
        ({"twice": 2}, "unknown", None),
    ],
)
def test_orders_due(row: dict[str, Any], status: str, value: float | None) -> None:
    check = due(**row)
    assert check.status == status
    assert value is None or check.value == value
    assert status == "ok" or check.remedy


def test_orders_of_no_strategy_are_unknown() -> None:
    with pytest.raises(sql.NotMeasured):
        list(orders_due([], thresholds(), {"calendars": Calendars()}))


def platform(*rows: dict[str, Any]) -> Check:
    return next(strategies.platform([{**INSTANCE, **row} for row in rows], thresholds(), {"instances": -1}))


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([{}], "ok"),
        ([{"age": 6.0}], "warning"),
        ([{"age": 20.0}], "critical"),
        ([{"age": None}], "critical"),
        ([{"age": -60.0}], "unknown"),
        ([{"age": 9e9}, {}], "ok"),  # an instance that was replaced
        ([{"age": -60.0}, {}], "warning"),
        ([{"age": -60.0}, {"age": 90.0}], "critical"),
        ([{"interval": None}, {}], "ok"),
    ],
)
def test_platform_lives_by_its_freshest_heartbeat(rows: list[dict[str, Any]], status: str) -> None:
    assert platform(*rows).status == status


@pytest.mark.parametrize("rows", [[], [{"interval": None}], [{"interval": 0.0}], [{"interval": float("nan")}]])
def test_platform_without_a_heartbeat_is_unknown(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(sql.NotMeasured):
        platform(*rows)


def catalogue(**changes: Any) -> dict[str, dict[str, Any]]:
    columns = {"instance": "text", "beat_at": "timestamp with time zone", "interval_seconds": "integer", **changes}
    return {"heartbeat": {name: {"type": type, "readable": True} for name, type in columns.items() if type}}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"beat_at": None}, "no column beat_at"),
        ({"beat_at": "timestamp without time zone"}, "beat_at of view maintenance.heartbeat is timestamp without"),
        ({"beat_at": "text"}, "is text"),
        ({"interval_seconds": "interval"}, "is interval"),
    ],
)
def test_contract_that_is_not_kept_says_what_is_wrong(changes: dict[str, Any], text: str) -> None:
    lacking = trading.lack(catalogue(**changes), strategies.PLATFORM)
    assert lacking is not None
    assert text in lacking[0]
    assert lacking[1]


def test_contract_that_is_kept() -> None:
    assert trading.lack(catalogue(more="json", interval_seconds="numeric"), strategies.PLATFORM) is None


def test_view_that_is_missing_or_not_readable() -> None:
    missing = trading.lack({}, strategies.PLATFORM)
    assert missing is not None
    assert "no view maintenance.heartbeat" in missing[0]
    assert "beat_at (timestamp with time zone)" in missing[1]
    hidden = catalogue()
    hidden["heartbeat"]["instance"]["readable"] = False
    lacking = trading.lack(hidden, strategies.PLATFORM)
    assert lacking is not None
    assert "GRANT" in lacking[1]


def test_the_page_that_is_named_has_every_column() -> None:
    page, section = trading.CONTRACT.split(", ")
    text = (ROOT / page).read_text(encoding="utf-8")
    start = text.replace("`", "").index(f"## {section}")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text[start:], re.MULTILINE))
    for probe in trading.PROBES:
        for view, columns in probe.views.items():
            for column in columns:
                assert f"`{column}` " in rows[view], f"{view}.{column}"
