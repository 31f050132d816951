"""The documented alerts in Prometheus's own tool: they are rules, and fire when they should, also without a series."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.debian import program
from tests.unit.test_report_scope import GOOD, Days

MISSING, BAD = "TradingFlowDailyMissing", "TradingFlowDailyBad"
FINISHED = "tradingflow_run_finished_timestamp_seconds"


def documented() -> str:
    """The rules as docs/report.md has them."""
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    rules: str
    (rules,) = (block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "alert:" in block)
    return rules


def promtool(*arguments: str | Path) -> str:
    binary, environment = program("promtool", "prometheus")
    command = [str(binary), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment or None)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def series(day: Days, status: str) -> list[dict[str, str]]:
    """What a run's report.prom says, as series that stand still; its end is at 0."""
    day({**GOOD, ("trading", "runner"): status})
    found = re.findall(
        r"^(tradingflow_run_\w+\{.*\}) (\S+)$", (day.directory / "report.prom").read_text(), re.MULTILINE
    )
    assert found
    return [
        {"series": name, "values": f"{0 if name.startswith(FINISHED) else float(value):g}x3000"}
        for name, value in found
    ]


def fires(folder: Path, given: list[dict[str, str]], at: str) -> list[str]:
    """Which alerts fire at a time, by promtool's own test."""
    (folder / "rules.yml").write_text(documented())
    found = []
    for name in (MISSING, BAD):
        case: dict[str, Any] = {"interval": "1m", "input_series": given}
        case["alert_rule_test"] = [{"eval_time": at, "alertname": name, "exp_alerts": []}]
        (folder / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [case]}))
        binary, environment = program("promtool", "prometheus")
        command = [str(binary), "test", "rules", str(folder / "test.yml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment or None)
        # Expected is silence: what fires is told as a failure, with its labels, and nothing else may fail.
        assert done.returncode == 0 or f'alertname="{name}"' in done.stdout + done.stderr, done.stdout + done.stderr
        found += [name] * (done.returncode != 0)
    return found


def test_they_are_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(documented())
    assert "2 rules found" in promtool("check", "rules", tmp_path / "rules.yml")


@pytest.mark.parametrize(
    ("status", "at", "fired"),
    [
        ("ok", "1h", []),
        ("ok", "25h", []),
        ("ok", "27h", [MISSING]),
        ("warning", "1h", []),
        ("unknown", "1h", [BAD]),
        ("critical", "1h", [BAD]),
        ("critical", "27h", [MISSING, BAD]),
    ],
)
def test_they_fire_by_what_a_report_says(tmp_path: Path, status: str, at: str, fired: list[str]) -> None:
    given = series(Days(tmp_path / "runs"), status)
    assert fires(tmp_path, given, at) == fired


def test_they_fire_where_there_is_no_series(tmp_path: Path) -> None:
    assert fires(tmp_path, [], "1h") == [MISSING, BAD]
    # Those of another environment or playbook are none.
    others = [
        {"series": text.format(environment, playbook), "values": "0x3000"}
        for text in (
            FINISHED + '{{environment="{}",playbook="{}"}}',
            'tradingflow_run_worst_status{{environment="{}",playbook="{}"}}',
        )
        for environment, playbook in (("staging", "daily"), ("production", "weekly"))
    ]
    assert fires(tmp_path, others, "1h") == [MISSING, BAD]
