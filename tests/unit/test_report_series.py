"""The series where monitoring reads them, and the alerts that the documentation gives."""

from __future__ import annotations

import grp
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.action.maintenance_report import ActionModule
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils import report as reports

from tests.conftest import ROOT
from tests.unit.report_fixtures import month

WHERE = "tradingflow-production-daily.prom"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    report, directory, history = month(tmp_path_factory.mktemp("run"), bad=False, runs=2)
    return report, reports.write(report, directory, history)["prom"]


def metrics(directory: Path, **given: Any) -> dict[str, Any]:
    return {"directory": str(directory), "group": None, "mode": "0644", **given}


def test_others_can_read_a_copy_and_the_original_stays_private(run: tuple[Any, Path], tmp_path: Path) -> None:
    report, source = run
    for mode in ("0644", "0640", "0600"):
        path = reports.publish(report, source, metrics(tmp_path, mode=mode))
        assert path == tmp_path / WHERE
        assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)
        assert path.read_bytes() == source.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == [WHERE]
    assert stat.S_IMODE(source.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to any group")
def test_the_group_gets_it(run: tuple[Any, Path], tmp_path: Path) -> None:
    path = reports.publish(*run, metrics(tmp_path, group="daemon", mode="0640"))
    assert path.stat().st_gid == grp.getgrnam("daemon").gr_gid


def test_names_cannot_leave_the_folder(run: tuple[Any, Path], tmp_path: Path) -> None:
    report = {**run[0], "environment": "../../up", "playbook": "a/b"}
    assert reports.publish(report, run[1], metrics(tmp_path)).parent == tmp_path


@pytest.mark.parametrize("wrong", [{"directory": "/proc/none"}, {"group": "no-such-group-here"}])
def test_what_cannot_be_written_is_critical_and_leaves_nothing(
    run: tuple[Any, Path], tmp_path: Path, wrong: dict[str, str]
) -> None:
    action = ActionModule.__new__(ActionModule)
    args = {"metrics": {**metrics(tmp_path), **wrong}}
    finding = action.published(run[0], run[1].with_name("report.json"), args)
    assert finding is not None
    assert (finding.id, finding.status) == ("metrics.written", "critical")
    assert list(tmp_path.iterdir()) == []
    partial = {**run[0], "scope": {**run[0]["scope"], "partial": True}}
    assert action.published(partial, run[1].with_name("report.json"), args) is None


def test_documented_alerts_fire_on_series_that_exist_and_on_their_absence(run: tuple[Any, Path]) -> None:
    text = (ROOT / "docs/report.md").read_text(encoding="utf-8")
    (rules,) = [
        group["rules"]
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        for group in (yaml.safe_load(block) or {}).get("groups", [])
    ]
    series = run[1].read_text(encoding="utf-8")
    assert len(rules) == 2
    for rule in rules:
        *present, absent = rule["expr"].split(" or ")
        (found,) = {each for part in present for each in re.findall(r"(tradingflow_\w+)(\{.*?\})", part)}
        name, labels = found
        assert absent.strip() == f"absent({name}{labels})"
        assert f"{name}{labels.replace(', ', ',')} " in series
