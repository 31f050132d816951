"""The generated rules in Prometheus's own tool: each fires at its threshold, and not before it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.options import as_yaml, edited, sealed
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.rule import Rule, unit_tests
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.rules import rules

from tests.debian import program
from tests.unit.monitoring_fixtures import options


def written(folder: Path, found: list[Rule]) -> Path:
    """Rules and their tests in files; gives that of the tests."""
    groups = [{"name": "tradingflow", "rules": [rule.as_data({"environment": "test"}) for rule in found]}]
    (folder / "rules.yml").write_text(as_yaml({"groups": groups}))
    (folder / "tests.yml").write_text(as_yaml(unit_tests(found, "rules.yml")))
    return folder / "tests.yml"


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    binary, environment = program("promtool", "prometheus")
    command = [str(binary), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment or None)


def test_each_rule_fires_at_its_threshold_and_not_before(tmp_path: Path) -> None:
    found = rules(options(tmp_path))
    tests = written(tmp_path, found)
    checked = promtool("check", "rules", tmp_path / "rules.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"SUCCESS: {len(found)} rules found" in checked.stdout, checked.stdout + checked.stderr
    done = promtool("test", "rules", tests)
    assert done.returncode == 0, done.stdout + done.stderr
    # Each is tested, and twice unless it always fires.
    cases = yaml.safe_load(tests.read_text())["tests"]
    assert sum(len(case["promql_expr_test"]) for case in cases) == 2 * len(found) - 1


@pytest.mark.parametrize("fault", ["never", "always"])
def test_a_rule_that_never_or_always_fires_is_seen(tmp_path: Path, fault: str) -> None:
    found = rules(options(tmp_path))
    (rule,) = [one for one in found if (one.name, one.threshold, one.mount) == ("TradingFlowDiskSpace", 70, "")]
    rule.expr += " and vector(1) == 2" if fault == "never" else " or vector(1)"
    done = promtool("test", "rules", written(tmp_path, [rule]))
    assert done.returncode != 0
    assert "TradingFlowDiskSpace" in done.stdout + done.stderr


def test_thresholds_are_those_of_the_checks_host_by_host(tmp_path: Path) -> None:
    found = {(rule.name, rule.severity, rule.threshold, rule.mount): rule for rule in rules(options(tmp_path))}
    general, own = (found["TradingFlowDiskSpace", "warning", limit, ""] for limit in (85, 70))
    assert "app1" in general.expr
    assert "app2" in general.expr
    assert "db1" not in general.expr
    assert "db1" in own.expr
    # A mount of its own: what it sets, and the host's for the rest. One that the checks ignore has no rule.
    mount = found["TradingFlowDiskSpace", "critical", 90, "/srv"]
    assert 'mountpoint="/srv"' in mount.expr
    assert found["TradingFlowDiskSpace", "warning", 70, "/srv"]
    assert not any(rule.mount == "/mnt" for rule in found.values())
    assert "unless on (instance, mountpoint) (" in own.expr
    # No threshold, no rule.
    changed = options(tmp_path, application={"thresholds": {"error_rate": {"warning": float("inf"), "critical": 7}}})
    assert [rule.threshold for rule in rules(changed) if rule.name == "TradingFlowErrorRate"] == [7]


def test_a_file_is_known_to_be_edited_by_its_own_digest(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "groups": [{"name": "a: b", "rules": [{"x": 'it\'s "on" \\ é'}, {}], "on": [1.5, None]}]
    }
    assert yaml.safe_load(as_yaml(document)) == document
    text = sealed(as_yaml(document))
    assert yaml.safe_load(text) == document
    assert not edited(text)
    assert edited(text.replace("it's", "its"))
    assert edited(text + "\n")
    assert edited("groups: []\n")
    assert edited("")
