"""``make weekly`` on the sandbox, once: proven restore, application, monitoring, strategies; one report."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._review import engine

from tests.conftest import Playbook, Sandbox
from tests.end_to_end.test_monthly import backed_up, earlier
from tests.unit.ledger_fixtures import reviews


def test_a_week_is_looked_after(platform: Sandbox, play: Callable[..., Playbook], tmp_path: Path) -> None:
    # A part of the store of its own: what other tests left there, and will, is none of this.
    storage = {**platform.storage, "prefix": f"weekly-{secrets.token_hex(3)}", "retry_seconds": 20}
    newest = backed_up(platform, storage, tmp_path)
    before = earlier(tmp_path / "artifacts", datetime.now(UTC) - timedelta(days=20), "weekly")
    rules, dashboard = tmp_path / "tradingflow.rules.yml", tmp_path / "dashboard.json"
    given = {
        "tradingflow_storage": storage,
        "tradingflow_weekly_interval": 691200,
        "monitoring_config_rules_file": str(rules),
        "monitoring_config_dashboard_file": str(dashboard),
    }
    # A route that was asked for: else there is nothing to look at, and that is unknown.
    with urllib.request.urlopen(platform.state["app"]["url"] + "/api/strategies", timeout=30) as answer:
        assert answer.status == 200
    done = play("weekly", "-e", json.dumps(given), timeout=900)
    assert done.returncode == 0, done.output
    report = done.report("weekly")
    assert report["expected_missing"] == []
    assert report["previous_run_id"] == before
    checks = {check["id"]: check for check in report["checks"]}
    # The weeks that were missed are a finding.
    assert checks["schedule.previous_run"]["status"] == "warning"
    assert {check["area"] for check in report["checks"]} == {
        *("application_tuning", "drill", "monitoring", "review", "schedule", "tuning"),
    }

    assert (checks["drill.recovery_point"]["status"], checks["drill.recovery_point"]["value"]) == ("ok", newest)
    assert checks["drill.digests"]["status"] == "ok"

    (routes,) = (check for id, check in checks.items() if id.startswith("application_tuning.routes:"))
    assert routes["status"] == "ok"
    assert checks["application_tuning.statements"]["status"] == "ok"

    # Nobody watches the sandbox, and nobody says that it is watched.
    assert checks["monitoring.rules"]["status"] == "ok"
    assert checks["monitoring.loaded"]["status"] == "unknown"
    (group,) = yaml.safe_load(rules.read_text())["groups"]
    assert len(group["rules"]) == checks["monitoring.rules"]["value"]
    # As this inventory has them: the sandbox's machine is judged by no load.
    alerts = {rule["alert"] for rule in group["rules"]}
    assert {"TradingFlowWeeklyMissing", "TradingFlowDiskSpace", "TradingFlowErrorRate"} <= alerts
    assert "TradingFlowLoad" not in alerts
    assert json.loads(dashboard.read_text())["title"] == "TradingFlow maintenance: local"

    page = (done.artifacts / "weekly/latest/report.html").read_text(encoding="utf-8")
    assert page.count('<figure class="chart">') >= 14
    (record,) = reviews(storage, report["run_id"])
    assert record["method"] == engine.METHOD
    assert len(record["inputs_sha256"]) == 64
    assert record["strategies"]["trend-coins"]["sessions"] >= 88
    assert platform.database["password"] not in json.dumps(record)
