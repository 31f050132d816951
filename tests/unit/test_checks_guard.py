"""An exception in one judgement leaves that check unknown, and the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import guard, logs, system
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.sql import NotMeasured, Probe, ask
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MaintenanceError
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.area import AreaAction, Findings

CHECKS = (("trading.one", "One"), ("trading.two", "Two"), ("trading.many", "Many"))


def fine(id: str = "trading.one") -> Check:
    return Check(id, "One", "ok", 1)


def asked(judge: Any) -> list[Check]:
    cursor = SimpleNamespace(execute=lambda *_: None, fetchall=list, connection=SimpleNamespace(closed=False))
    return ask(cursor, Probe(CHECKS, "a view", "SELECT", judge), {}, "Grant it.")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no {1!r}"),
        TypeError("x"),
        ArithmeticError(),
        RecursionError("deep"),
        KeyError("a"),
        AssertionError(),
    ],
)
def test_whatever_escapes_leaves_only_what_was_not_judged_unknown(error: Exception) -> None:
    def judge(rows: Any, thresholds: Any) -> Iterator[Check]:
        yield fine()
        yield fine("trading.many:a")
        raise error

    found = {check.id: check for check in asked(judge)}
    assert {id: check.status for id, check in found.items()} == {
        "trading.one": "ok",
        "trading.many:a": "ok",
        "trading.two": "unknown",
        # There may be more of them.
        "trading.many": "unknown",
    }
    assert type(error).__name__ in found["trading.two"].message
    assert found["trading.two"].remedy
    assert found["trading.two"].details["trace"][-1].startswith("test_checks_guard.py:")


@pytest.mark.parametrize(
    "error", [NotMeasured("nothing is there.", "Look."), MaintenanceError("nothing is there", "Look.")]
)
def test_expected_errors_speak_for_themselves(error: Exception) -> None:
    def judge(rows: Any, thresholds: Any) -> Iterator[Check]:
        yield fine()
        raise error

    found = asked(judge)
    assert [check.status for check in found] == ["ok", "unknown", "unknown"]
    assert found[1].message == "Two: nothing is there."
    assert found[1].remedy == "Look."


def test_trace_has_places_and_no_values() -> None:
    secret = "hunter2"
    try:
        int(secret + "x" * 5000)
    except ValueError as error:
        check = guard.escaped("a.b", "B", error)
    assert all(secret not in line and "/" not in line for line in check.details["trace"])
    assert len(check.message) < 400


class Area(AreaAction):
    area = "trading"
    error: Exception = ValueError("x")

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        if isinstance(self.error, OverflowError):
            endless = fine("trading.endless")
            endless.details = {"a": endless}
            endless.details["b"] = endless.details
            return Findings([fine(), endless])
        raise self.error


def run_area(monkeypatch: pytest.MonkeyPatch, error: Exception) -> dict[str, Any]:
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    area = object.__new__(Area)
    area.error = error
    monkeypatch.setattr(area, "validate_argument_spec", lambda **_: (None, {}), raising=False)
    return area.run(task_vars={"inventory_hostname": "runner"})


def test_an_area_never_fails_the_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = run_area(monkeypatch, ZeroDivisionError("x"))
    assert result["worst_status"] == "unknown"
    assert [check["id"] for check in result["checks"]] == ["trading.measured"]
    assert result["checks"][0]["details"]["trace"]


def test_a_check_that_is_no_data_is_unknown_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = run_area(monkeypatch, OverflowError())["checks"]
    assert {check["id"]: check["status"] for check in checks} == {"trading.one": "ok", "trading.endless": "unknown"}


def test_errors_of_ansible_stay_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnsibleActionFail):
        run_area(monkeypatch, AnsibleActionFail("no such option"))


def test_one_check_of_a_host_breaks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(host: Any) -> Iterator[Check]:
        raise AttributeError("nobody thought of this")

    monkeypatch.setattr(system, "CHECKS", (("load", "Load", broken), ("uptime", "Uptime", system.uptime)))
    found = system.measure({"thresholds": {}, "mounts": []})
    assert [check.status for check in found] == ["unknown", "ok"]
    assert found[0].details["trace"]


def test_titles_of_logs_are_those_of_their_checks() -> None:
    assert {"errors", "new_errors"} <= logs.TITLES.keys()
