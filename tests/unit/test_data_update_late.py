"""The end of an earlier data update that the ledger does not have, by the books in the database."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.tradingflow.maintenance.plugins.action import data_update
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.findings import late
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import BackupError, MaintenanceError
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.job import WorkError

from tests.conftest import ROOT

BEGAN, BEFORE, SINCE = "2026-11-29T23:59:58Z", "2026-11-29 23:50:00.5+00", "2026-11-30 00:00:03.4+00"
DATABASE = {"name": "tf", "system_identifier": "7"}


def earlier(action: str | None = "run", **others: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "state": "begun",
        "action": action,
        "change": "c",
        "database": DATABASE,
        "digest": "d",
        "purged": [],
    }
    return {"run_id": "r", "actor": "ada", "recorded_at": BEGAN, **content, **others}


def plan(action: str, state: str, ended_at: str | None = SINCE, problem: str | None = None, **more: Any) -> Any:
    update = {
        "number": 4,
        "digest": "d",
        "state": state,
        "rows": 9,
        "batches": 2,
        "restored": 0,
        "ended_at": ended_at,
        "problem": problem,
        "recovery_point": "p",
    }
    fresh = action == "run" and state == "undone"
    wanted = fresh or state in ("running", "undoing") or (action == "undo" and state == "done")
    base = {"action": action, "update": update, "wanted": wanted, "fresh": fresh, "refusals": [], "holder": None}
    return {**base, **more}


@pytest.mark.parametrize(
    ("given", "began", "status", "problem"),
    [
        (plan("run", "done"), earlier(), "warning", None),
        # It undid itself; that the next one would begin anew is no reason to keep that back.
        (plan("run", "undone", problem="Too many rows."), earlier(), "critical", "Too many rows."),
        (plan("run", "undone", problem="Too many rows.", wanted=False), earlier(), "critical", "Too many rows."),
        (plan("run", "undone", problem="asked for"), earlier(), "warning", None),
        (plan("undo", "undone", problem="asked for"), earlier("undo"), "warning", None),
        (plan("undo", "undone", problem="Too many rows."), earlier("undo"), "warning", None),
    ],
)
def test_what_the_books_say_is_recorded(given: Any, began: Any, status: str, problem: str | None) -> None:
    found = late(given, began)
    assert found is not None
    assert (found["state"], found["late"], found["run_id"]) == ("ended", True, "r")
    assert (found["worst_status"], found["problem"]) == (status, problem)
    assert found["update"]["state"] == given["update"]["state"]
    assert (found["database"], found["change"]) == (DATABASE, "c")


@pytest.mark.parametrize(
    ("given", "began"),
    [
        # Killed before it dropped anything: the books of an update do not tell.
        (plan("run", "done"), earlier("purge", purged=[1])),
        (plan("purge", "done", update=None), earlier("purge", purged=[1])),
        (plan("purge", "done"), earlier("purge", purged=[1])),
        # Killed before it turned round.
        (plan("run", "done"), earlier("undo")),
        (plan("undo", "done", wanted=False), earlier("undo")),
        (plan("undo", "undone"), earlier("run")),
        # Killed before it began: the books speak of an older update.
        (plan("run", "undone", BEFORE, "asked for", wanted=False), earlier()),
        (plan("run", "undone", BEFORE), earlier()),
        (plan("run", "done", BEFORE), earlier()),
        (plan("run", "done", "2026-11-29 23:59:58.9+00"), earlier()),
        (plan("run", "done", None), earlier()),
        (plan("run", "done", "2026-11-30 02:00:03.4+02"), earlier()),
        (plan("run", "done"), earlier(digest="e")),
        # It has not ended.
        (plan("run", "running", None), earlier()),
        (plan("run", "undoing", None, "Too many rows."), earlier()),
        (plan("undo", "undoing", None, "asked for"), earlier("undo")),
        # Nobody knows.
        (plan("run", "done", refusals=[{"name": "id"}]), earlier()),
        (plan("run", "done", holder="ada"), earlier()),
        (plan("run", "done", update=None), earlier()),
        (plan("run", "done"), None),
        (plan("run", "done"), earlier(action=None)),
    ],
)
def test_what_they_do_not_say_is_not_recorded(given: Any, began: Any) -> None:
    assert late(given, began) is None


def collected(error: MaintenanceError, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a run hands on that ended in an error."""

    def worked(*_arguments: Any) -> Any:
        raise error

    action = data_update.ActionModule.__new__(data_update.ActionModule)
    action._task = SimpleNamespace(check_mode=False)
    monkeypatch.setattr(action, "worked", worked)
    monkeypatch.setattr(data_update, "prepared", lambda change: {})
    return action.collect({"action": "run", "change": {"id": "c", "reason": "r"}}, {}).extra


def test_a_run_that_said_why_it_ended_has_its_end_and_one_lost_sight_of_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = collected(WorkError("LockedError", "Another one is under way."), monkeypatch)
    assert found["updated"] is False
    tasks = yaml.safe_load((ROOT / "roles/data_update/tasks/apply.yml").read_text(encoding="utf-8"))
    (task,) = [each for each in tasks if each["name"] == "Record in the ledger how it ended"]
    variables = {"__data_update_plan": {"intent": earlier()}, "__data_update_done": found}
    recorded = Templar(loader=DataLoader(), variables=variables).template(
        trust_as_template(task["tradingflow.maintenance.evidence_record"]["content"])
    )
    # By these the next run finds the end, see _ledger/unended.py.
    assert (recorded["database"], recorded["change"], recorded["state"]) == (DATABASE, "c", "ended")
    assert (recorded["digest"], recorded["problem"]) == ("d", "Another one is under way.")
    assert collected(BackupError("The data-update's process was killed."), monkeypatch) == {"updated": False}
