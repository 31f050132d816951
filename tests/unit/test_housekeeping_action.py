"""The action of housekeeping: when its task fails, and that nothing hides what was done."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.tradingflow.maintenance.plugins.action.host_housekeeping import ActionModule
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import as_dicts
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MaintenanceError
from ansible_collections.tradingflow.maintenance.plugins.module_utils.run import read_spool, write_spool

MEASURED = {"id": "housekeeping.measured", "status": "unknown", "message": "No Python.", "remedy": "Install it."}
OK = {"id": "housekeeping.space", "status": "ok", "message": "1 B.", "remedy": ""}
ERROR = {"name": "/x", "error": {"kind": "HousekeepingError", "message": "/x is a link.", "remedy": "Name it."}}
REFUSED = {"status": "failed", "message": "The plan is not among those that were approved."}


def action(**arguments: Any) -> ActionModule:
    made = ActionModule.__new__(ActionModule)
    made._task = SimpleNamespace(args=arguments)
    return made


def ended(monkeypatch: pytest.MonkeyPatch, result: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    told = {"checks": [OK], "actions": [], "failed": False, **result}
    monkeypatch.setattr(f"{ActionModule.__module__}.HostAreaAction.run", lambda self, tmp, task_vars: told)
    return action(**arguments).run()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, None),
        ({"plan": {"classes": {"journal": [{"name": "journal", "items": []}]}}}, None),
        ({"actions": [REFUSED]}, "not among those that were approved"),
        ({"checks": [MEASURED]}, "No Python"),
        ({"plan": {"classes": {"journal": [{"name": "journal"}], "temporary": [ERROR]}}}, "/x is a link"),
    ],
)
def test_alone_it_fails_where_something_was_not_measured(
    monkeypatch: pytest.MonkeyPatch, result: dict[str, Any], message: str | None
) -> None:
    told = ended(monkeypatch, result)
    assert told["failed"] is (message is not None)
    assert message is None or message in told["msg"]
    # A report of a run tells of it.
    assert ended(monkeypatch, result, run={"directory": "/x"})["failed"] is False


def test_what_was_done_is_told_though_the_rest_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    made = action()
    result = {"classes": {}, "tokens": [], "changed": True, "digest": "0"}
    monkeypatch.setattr(made, "on_host", lambda args, task_vars: {**result, "classes": None}, raising=False)
    found = made.collect({"access_logs": [], "thresholds": {}}, {"inventory_hostname": "a"})
    assert found.changed is True
    assert [check.status for check in found.checks] == ["unknown"]


def test_earlier_reports_are_read_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    made = action()
    asked: list[str] = []

    def earlier(args: dict[str, Any]) -> Any:
        raise OSError("no reports")

    monkeypatch.setattr(made, "earlier", earlier, raising=False)
    monkeypatch.setattr(made, "on_host", lambda args, task_vars: asked.append("host"), raising=False)
    with pytest.raises(OSError, match="no reports"):
        made.collect({"access_logs": [{}], "thresholds": {}}, {"inventory_hostname": "a"})
    assert asked == []


def test_the_host_is_told_what_time_it_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    made = action()
    told: list[dict[str, Any]] = []
    result = {"classes": {}, "tokens": [], "changed": False, "digest": "0"}

    def on_host(args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        told.append(args)
        return result

    monkeypatch.setattr(made, "on_host", on_host, raising=False)
    before = time.time()
    made.collect({"access_logs": [], "thresholds": {}, "clock": 1.0}, {"inventory_hostname": "a"})
    assert before <= told[0]["clock"] <= time.time()


@pytest.mark.parametrize("gone", [True, False])
def test_what_was_planned_is_kept_when_the_host_goes_away_meanwhile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gone: bool
) -> None:
    (tmp_path / "spool").mkdir()
    run = {"directory": str(tmp_path)}
    made = action(run=run)
    made._task.check_mode = False
    listed = {"id": "housekeeping.clean:/tmp", "status": "planned", "details": {"entries": [{"name": "x"}]}}
    write_spool(tmp_path, "housekeeping", "a", [OK], [listed])

    def lost(*args: Any, **more: Any) -> dict[str, Any]:
        if gone:
            raise AnsibleConnectionFailure("Connection refused")
        return {"failed": True, "msg": "Killed"}

    monkeypatch.setattr(made, "_execute_module", lost)
    args = {"run": run, "access_logs": [], "thresholds": {}, "planned": ["x"]}
    with pytest.raises(AnsibleConnectionFailure if gone else MaintenanceError) as raised:
        made.collect(args, {"inventory_hostname": "a"})
    if not gone:
        # As AreaAction.run hands it in.
        check = made.unmeasured(raised.value)
        write_spool(tmp_path, made.area, "a", as_dicts([check]), [], made.part)
    found = list(read_spool(tmp_path))
    assert [each["name"] for record in found for one in record["actions"] for each in one["details"]["entries"]] == [
        "x"
    ]
    (told,) = [check for record in found for check in record["checks"] if check["status"] == "unknown"]
    assert "may be gone" in told["message"]
    # Who only lists has taken nothing away.
    made._task.check_mode = True
    with pytest.raises(AnsibleConnectionFailure if gone else MaintenanceError):
        made.collect(args, {"inventory_hostname": "a"})
    assert made.part == ""
    assert "may be gone" not in made.unmeasured(MaintenanceError("It broke.", "")).message
