"""No part of a playbook works where the run has no beginning, and so neither a lock nor a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"


@pytest.mark.parametrize(
    "name",
    [
        *("audit", "daily", "data_update", "dependencies", "drill", "migrate", "monthly", "patch", "restore"),
        *("major", "promote", "release", "soak", "weekly", "window"),
    ],
)
def test_each_part_refuses_to_work_outside_a_run(name: str) -> None:
    plays = yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text())
    parts = [task for play in plays[1:-1] for task in play["tasks"]]
    assert parts
    for part in parts:
        refusal = part["block"][0]
        assert refusal["ansible.builtin.assert"]["that"] == "maintenance_run is defined", part["name"]
        # It must be there under each tag that something of the part has, and not always: that is what is left out.
        assert "always" not in refusal.get("tags", [])


def test_the_refusal_has_the_tags_of_the_areas() -> None:
    plays = yaml.safe_load((PLAYBOOKS / "daily.yml").read_text())
    tags = {tag for play in plays for task in play["tasks"] for tag in task.get("block", [{}])[0].get("tags", [])}
    assert tags == {"system", "logs", "application", "database"}


@pytest.mark.parametrize("path", sorted(PLAYBOOKS.glob("*.yml")), ids=lambda path: path.stem)
def test_the_plan_of_a_run_has_the_hosts_outside_the_limit_too(path: Path) -> None:
    # Else what --limit leaves out is not missing, and the run passes as a whole one.
    plans = [
        entry["hosts"]
        for play in yaml.safe_load(path.read_text())
        for task in play["tasks"]
        for entry in task.get("vars", {}).get("run_plan", [])
    ]
    # A restore is of one host, which the limit chooses: the role refuses more than one.
    if path.stem != "restore":
        assert not [hosts for hosts in plans if "ansible_play" in hosts or "ansible_limit" in hosts]


@pytest.mark.parametrize(
    ("given", "applies"),
    [
        ({}, False),
        ({"housekeeping_approved": None}, False),
        ({"housekeeping_approved": []}, False),
        ({"housekeeping_approved": ["24e2"]}, True),
        ({"tradingflow_weekly_housekeeping_apply": True}, True),
        ({"tradingflow_weekly_housekeeping_apply": "false"}, False),
        ({"housekeeping_approved": [], "tradingflow_weekly_housekeeping_apply": True}, True),
    ],
)
def test_the_weekly_takes_nothing_away_unless_somebody_says_so(given: dict[str, Any], applies: bool) -> None:
    loader = DataLoader()
    plays = loader.load_from_file(str(PLAYBOOKS / "weekly.yml"), trusted_as_template=True)
    (part,) = [play["tasks"][0]["block"][1] for play in plays if play.get("tags") == ["housekeeping"]]
    role = PLAYBOOKS.parent / "roles" / "housekeeping"
    defaults = loader.load_from_file(str(role / "defaults" / "main.yml"), trusted_as_template=True)
    # As the role has them: its defaults, the inventory, and what the playbook gives it.
    variables = {**defaults, **given, **part.get("vars", {})}
    looks, takes = loader.load_from_file(str(role / "tasks" / "main.yml"), trusted_as_template=True)
    told = {**variables, "ansible_check_mode": False, "__housekeeping_plan": {"plan": {}, "failed": False}}
    templar = Templar(loader=loader, variables=told)
    assert all(templar.evaluate_conditional(one) for one in takes["when"]) is applies
    # What could not be looked at is told by the second task, and where that does not come, by the first.
    told["__housekeeping_plan"] = {"plan": {}, "failed": True}
    assert Templar(loader=loader, variables=told).evaluate_conditional(looks["failed_when"]) is not applies


@pytest.mark.parametrize(
    ("approved", "chosen"),
    [({}, [[], []]), ({"patching_approved": []}, [[], []]), ({"patching_approved": ["24e2"]}, [["a"], ["b"]])],
)
def test_the_weekly_patches_only_where_somebody_approved(approved: dict[str, Any], chosen: list[list[str]]) -> None:
    loader = DataLoader()
    plays = [
        play
        for play in loader.load_from_file(str(PLAYBOOKS / "weekly.yml"), trusted_as_template=True)
        if ": patch " in play["name"]
    ]
    hosts = {
        name: {"__patching_state": {"host": name, "wanted": True, "canary": name == "a", "batch": 1}, **approved}
        for name in ("a", "b")
    }
    variables = {"groups": {"tradingflow_patching": list(hosts)}, "hostvars": hosts}
    templar = Templar(loader=loader, variables=variables)
    assert [templar.template(play["hosts"]) for play in plays] == chosen
    # As --syntax-check has it.
    assert Templar(loader=loader, variables={"groups": {}}).template(plays[0]["hosts"]) == "tradingflow_patching"
