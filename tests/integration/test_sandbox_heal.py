"""A trouble that came back with a restored backup, which nobody in the sandbox's state knows of, is healed too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.layout import Layout, State
from sandbox.trouble import begin, heal
from tests.conftest import Sandbox
from tests.integration.trading_worker import measured, statuses

FOUND = {"reconcile_executions": "critical", "reconcile_fees": "critical"}


@pytest.fixture
def layout(platform: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    for name in ("TRADINGFLOW_SANDBOX_STATE", "TRADINGFLOW_SANDBOX_ROOT"):
        monkeypatch.setenv(name, platform.environment[name])
    found = Layout()
    yield found
    heal(found)


@pytest.mark.parametrize("other", [None, "duplicate-fill"])
def test_heal_takes_back_what_a_restore_brought_back(platform: Sandbox, layout: Layout, other: str | None) -> None:
    begin(layout, "missing-fill")
    assert FOUND.items() <= statuses(measured(platform)).items()
    # As a restore leaves it: the rows are damaged and kept, and the state was healed long ago.
    with layout.locked():
        State(layout).update(troubles={})
    if other:
        begin(layout, other)
    told = heal(layout)
    assert [line.partition(":")[0] for line in told] == [
        *([other] if other else []),
        "missing-fill, which came back with a restored backup",
    ]
    assert {id: status for id, status in statuses(measured(platform)).items() if "heartbeat" not in id} == {}
    assert heal(layout) == []
