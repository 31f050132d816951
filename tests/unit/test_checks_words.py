"""Messages that a clock or a limit of its own must not turn into nonsense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import trades, trading, trend
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.logs import judged
from ansible_collections.tradingflow.maintenance.plugins.module_utils.words import span

from tests.unit.logs_fixtures import HOUR, NOON, entry, options, reading, write


@pytest.mark.parametrize("seconds", [float("inf"), float("-inf"), float("nan")])
def test_time_without_an_end(seconds: float) -> None:
    assert span(seconds) == "an unknown time"


def test_log_ahead_of_the_clock_has_no_negative_window(tmp_path: Path) -> None:
    found = reading(write(tmp_path / "app.log", [entry(NOON + 2 * HOUR, "ERROR")]))
    assert found["seconds"] == 0
    settings = options({"name": "app"})
    messages = [
        check.message for check in judged(found, settings["sources"][0], settings, {"errors": [], "new_errors": []})
    ]
    assert not [text for text in messages if "-" in text.partition(" min")[0][-6:]]


def test_last_run_of_a_clock_that_was_set_back() -> None:
    later = (datetime.now(UTC) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = {"value": 0, "observed_at": later, "details": {"total": 1, "reset": None}}
    check = trend.since_last_run(
        "database.deadlocks", "D", 5, None, {}, lambda _id: [before], lambda value: f"{value}", ""
    )
    assert "-" not in check.message


def test_warning_does_not_say_that_none_is_stuck() -> None:
    arguments = {
        "database": {"host": "x", "name": "x", "user": "x"},
        "thresholds": {"stuck_transactions": {"warning": 60}},
    }
    validated = ArgumentSpecValidator(trading.TRADING_SPEC).validate(arguments)
    assert not validated.error_messages
    row: dict[str, Any] = {"failed": False, "total": 0, "oldest": 600.0, "undated": 0, "unreadable": 0, "largest": 0}
    row.update(first=None, amounts=None)
    (check, _amount) = trades.of_status(row, validated.validated_parameters["thresholds"])
    assert (check.status, check.message) == ("warning", "The oldest pending transaction is 10 min old.")
