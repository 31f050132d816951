"""``ansible_runner.run(...)`` from Python, as AWX and services of a platform's own do it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import ansible_runner

from tests.conftest import ROOT, Sandbox


def run(platform: Sandbox, folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """Runs the daily; returns the runner and the summary out of its artefact data."""
    environment = {name: value for name, value in platform.environment.items() if name.startswith("TRADINGFLOW_")}
    finished = ansible_runner.run(
        private_data_dir=str(folder),
        project_dir=str(ROOT),
        playbook="playbooks/daily.yml",
        inventory=str(ROOT / "inventories/local"),
        envvars={**environment, "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"},
        extravars={"tradingflow_artifacts_dir": str(folder / "reports"), **options.pop("extravars", {})},
        quiet=True,
        **options,
    )
    stats = [event["event_data"] for event in finished.events if event["event"] == "playbook_on_stats"]
    assert len(stats) == 1, finished.stdout.read()
    return finished, stats[0]["artifact_data"]["maintenance_report"]


def test_report_comes_as_artefact_data(platform: Sandbox, tmp_path: Path) -> None:
    finished, summary = run(platform, tmp_path)
    output = finished.stdout.read()
    assert finished.status == "successful", output
    report = (tmp_path / "reports/daily/latest/report.json").read_bytes()
    assert Path(summary["report"]).read_bytes() == report
    assert summary["sha256"] == hashlib.sha256(report).hexdigest()
    assert summary["run_id"] == json.loads(report)["run_id"]
    # What other tests left in the logs is a warning here, and no matter.
    assert summary["worst_status"] == json.loads(report)["worst_status"] != "critical"
    assert summary["ok"] > 100
    # Whoever may see a job sees its artefacts: a summary, and no secrets.
    assert len(json.dumps(summary)) < 4096
    written = output + "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert platform.state["postgres"]["maintenance_password"] not in written
    assert platform.state["s3"]["secret_key"] not in written


def test_failed_run_hands_its_report_on_all_the_same(platform: Sandbox, tmp_path: Path) -> None:
    wrong = {"health_check_application_expected_version": "0.0.0-none", "tradingflow_fail_on": "warning"}
    finished, summary = run(platform, tmp_path, tags="application", extravars=wrong)
    assert finished.status == "failed"
    assert summary["worst_status"] in ("warning", "critical")
    assert summary["passed"] is False
    assert json.loads(Path(summary["report"]).read_bytes())["passed"] is False
