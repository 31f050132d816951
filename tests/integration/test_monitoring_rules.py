"""The generated rules in Prometheus's own tool: each fires at its threshold, and not before it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible import constants as C
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.action.monitoring_config import ActionModule
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.alertmanager import (
    configuration,
    shown,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.dashboard import (
    UNITS,
    dashboard,
    edited_json,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.options import (
    SPEC,
    as_yaml,
    edited,
    ours,
    sealed,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.rule import Rule, unit_tests
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.rules import rules
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from jsonschema import Draft202012Validator

from tests.debian import program
from tests.unit.monitoring_fixtures import options
from tests.unit.test_report_scope import GOOD, Days


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


def test_a_run_of_the_future_does_not_keep_the_next_one_from_being_missed(tmp_path: Path) -> None:
    found = rules(options(tmp_path))
    (rule,) = [one for one in found if one.name == "TradingFlowDailyMissing"]
    written(tmp_path, [rule])
    series = rule.firing[0][0]
    cases = [
        {
            "interval": "1m",
            "input_series": [{"series": series, "values": f"{ended}x15"}],
            "promql_expr_test": [
                {
                    "expr": f"count({rule.alerts})",
                    "eval_time": "10m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }
        # A clock that was a year ahead, and one that is as wrong as clocks are.
        for ended, fires in ((365 * 86400, True), (1200, False))
    ]
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": cases}
    (tmp_path / "tests.yml").write_text(as_yaml(document))
    done = promtool("test", "rules", tmp_path / "tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_gone_is_told_of(tmp_path: Path) -> None:
    found = rules(options(tmp_path))
    lost = [rule for rule in found if rule.name == "TradingFlowHostDown"]
    assert [rule.labels["host"] for rule in lost] == ["app1.example", "app2.example", "db1.example"]
    (database,) = [rule for rule in found if rule.name == "TradingFlowDatabaseDown"]
    # One host is silent, beside those that answer, and an exporter of one database of two; then there is none at all.
    series = {
        'node_load5{instance="app1.example:9100"}': "1x15",
        'node_load5{instance="db1.example"}': "1x15",
        'up{job="tradingflow",instance="app2.example:8080"}': "1x15",
        'up{job="postgres",instance="a"}': "1x15",
        'pg_up{job="postgres",instance="a"}': "1x15",
        'up{job="postgres",instance="b"}': "0x15",
    }
    written(tmp_path, [*lost, database])
    cases = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in given.items()],
            "promql_expr_test": [
                {
                    "expr": f"count({rule.alerts})",
                    "eval_time": "10m",
                    "exp_samples": [{"labels": "{}", "value": 1}] * told,
                }
                for rule, told in zip([*lost, database], expected, strict=True)
            ],
        }
        for given, expected in ((series, (0, 1, 0, 1)), ({}, (1, 1, 1, 1)))
    ]
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": cases}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(document))
    done = promtool("test", "rules", tmp_path / "tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_are_those_of_the_checks_and_what_has_none_has_no_rule(tmp_path: Path) -> None:
    named = {
        "metrics": {
            "status_labels": ["status", "code"],
            "pool_in_use": ['pools{state="used"}'],
            "pool_size": ["pools_max"],
        }
    }
    limits = {"thresholds": {"error_rate": {"warning": 1, "critical": 100}, "pool_used": {"critical": 101}}}
    found = rules(options(tmp_path, targets=[], application={**named, **limits}))
    rates = [rule for rule in found if rule.name == "TradingFlowErrorRate"]
    assert [rule.threshold for rule in rates] == [1, 100]
    for rule in rates:
        assert 'status=~"5.."' in rule.expr
        # Where nobody has that label, it would be silent for ever.
        assert rule.needs == [('tradingflow_http_requests_total{status!="",job="tradingflow"}', ())]
    (slow,) = [rule for rule in found if (rule.name, rule.severity) == ("TradingFlowResponseTimeP95", "critical")]
    assert slow.threshold is not None
    assert slow.bucket == ('tradingflow_http_request_duration_seconds_bucket{job="tradingflow"}', slow.threshold / 1000)
    pools = [rule for rule in found if rule.name == "TradingFlowPoolUsed"]
    # No share is above 100 %.
    assert [rule.severity for rule in pools] == ["warning"]
    tests = written(tmp_path, found)
    done = promtool("test", "rules", tests)
    assert done.returncode == 0, done.stdout + done.stderr
    # Of two pools the fuller one counts, and the labels that tell those in use are not those of the size.
    series = {
        'pools{job="tradingflow",instance="a",pool="p",state="used"}': "9x15",
        'pools{job="tradingflow",instance="a",pool="q",state="used"}': "0x15",
        'pools_max{job="tradingflow",instance="a",pool="p"}': "10x15",
        'pools_max{job="tradingflow",instance="a",pool="q"}': "10x15",
    }
    document = yaml.safe_load(tests.read_text())
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": f"count({pools[0].alerts})", "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": 1}]}
        ],
    }
    tests.write_text(yaml.safe_dump({**document, "tests": [case]}))
    done = promtool("test", "rules", tests)
    assert done.returncode == 0, done.stdout + done.stderr

    none: dict[str, Any] = {"pool_in_use": [], "requests": [], "status_labels": []}
    found = rules(options(tmp_path, targets=[], application={"metrics": none}, metrics={"duration": ""}))
    left = {rule.name for rule in found}
    assert not left & {"TradingFlowPoolUsed", "TradingFlowErrorRate", "TradingFlowResponseTimeP95"}
    assert "TradingFlowApplicationDown" in left
    checked = promtool("check", "rules", written(tmp_path, found).with_name("rules.yml"))
    assert f"SUCCESS: {len(found)} rules found" in checked.stdout, checked.stdout + checked.stderr


def test_an_alertmanager_that_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    given: dict[str, Any] = {"file": "/x", "receivers": [], "routes": {}}
    asked = {"environment_name": "test", "rules_file": "/y", "alertmanager": given}
    assert "url" in str(ArgumentSpecValidator(SPEC).validate(asked).error_messages)
    given["url"] = "http://127.0.0.1:9093"
    assert not ArgumentSpecValidator(SPEC).validate(asked).error_messages


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
    text = sealed(as_yaml(document), "test")
    assert yaml.safe_load(text) == document
    assert not edited(text)
    assert edited(text.replace("it's", "its"))
    assert edited(text + "\n")
    assert edited("groups: []\n")
    assert edited("")
    assert ours(text, "test")
    assert ours(text + "by hand", "test")
    for other in ("tes", 'test" more', "t", "test\n"):
        assert not ours(text, other)
        assert ours(sealed("x", other), other)


def test_what_rules_look_at_is_what_runs_report(tmp_path: Path) -> None:
    day = Days(tmp_path / "runs")
    day(GOOD)
    reported = set(re.findall(r"^(tradingflow_\w+)\{", (day.directory / "report.prom").read_text(), re.MULTILINE))
    found = [rule for rule in rules(options(tmp_path)) if re.match(r"TradingFlow(Daily|Weekly|Monthly)", rule.name)]
    wanted = {name for rule in found for name in re.findall(r"tradingflow_(?:run|check)_\w+", rule.expr)}
    assert len(wanted) == 4
    assert wanted <= reported


def test_a_mistyped_name_or_interval_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="TradingFlowNothing"):
        rules(options(tmp_path, leave_out=["TradingFlowNothing"]))
    left = {rule.name for rule in rules(options(tmp_path, leave_out=["TradingFlowLoad"]))}
    assert "TradingFlowLoad" not in left
    for interval in ("26h", -1, True):
        with pytest.raises(ConfigurationError, match="interval of daily"):
            rules(options(tmp_path, playbooks={"daily": interval}))
    assert not [rule for rule in rules(options(tmp_path, playbooks={"daily": 0})) if "Daily" in rule.name]


def test_the_dashboard_is_what_grafana_reads(tmp_path: Path) -> None:
    found = rules(options(tmp_path))
    text = dashboard("test", {"daily": 93600, "weekly": 0}, found)
    document = json.loads(text)
    assert document["uid"].isascii()
    assert len(document["uid"]) <= 40
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in ("stat", "table", "timeseries")
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + 8)}
        assert not cells & taken
        cells |= taken
        assert panel["fieldConfig"]["defaults"]["unit"] in {*UNITS.values(), "short"}
        steps = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        # Grafana wants the first without a value, and the others ascending.
        assert steps[0] is None
        assert steps[1:] == sorted(steps[1:])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    # Prometheus can read each of them.
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    records = [{"record": f"a:b{number}", "expr": expr} for number, expr in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(as_yaml({"groups": [{"name": "a", "rules": records}]}))
    checked = promtool("check", "rules", tmp_path / "rules.yml")
    assert f"{len(asked)} rules found" in checked.stdout, checked.stdout + checked.stderr
    # Thresholds are the rules'; where low is bad, red is below.
    memory = next(panel for panel in panels if panel["title"] == "MemoryAvailable")
    colours = [(step["color"], step["value"]) for step in memory["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    assert colours == [("red", None), ("yellow", 5), ("green", 10)]
    assert not edited_json(text)
    assert edited_json(text.replace("TradingFlow maintenance", "Mine"))
    assert edited_json("{}")
    assert edited_json("[1]")


def test_how_receivers_are_reached_is_in_no_hosts_system_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ActionModule.__new__(ActionModule)
    told: list[dict[str, Any]] = []

    def executed(name: str, options: dict[str, Any], *, task_vars: dict[str, Any]) -> dict[str, Any]:
        told.append(task_vars)
        return {"checks": [], "actions": [], "changed": False, "rules": 0, "diff": []}

    monkeypatch.setattr(made, "_execute_module", executed, raising=False)
    made._task = SimpleNamespace(diff=False)
    given = ArgumentSpecValidator(SPEC).validate({"environment_name": "test", "rules_file": "/y"}).validated_parameters
    made.collect(dict(given), {"inventory_hostname": "a"})
    # A module writes its options to its host's system log, as Ansible has it by default.
    assert C.config.get_config_value("DEFAULT_NO_TARGET_SYSLOG", variables=told[0]) is True
    assert told[0]["inventory_hostname"] == "a"


def test_how_receivers_are_reached_is_shown_to_nobody() -> None:
    secret = "T0/B0/xyzzy-hook"
    receivers = [
        {"name": "operators", "webhook_configs": [{"url": f"https://hooks.example/{secret}", "send_resolved": True}]},
        {"name": "mail", "email_configs": [{"to": "a@b.example", "headers": {"X": secret}, "auth_password": secret}]},
        {"name": "page", "pagerduty_configs": [{"routing_key": secret, "images": [{"href": secret}], "x": [secret]}]},
    ]
    given = {
        "receivers": receivers,
        "routes": {"critical": "operators"},
        **dict.fromkeys(("group_wait", "group_interval", "repeat_interval"), "1m"),
    }
    text = sealed(configuration(given)[0], "test")
    assert secret in text
    told = shown(text)
    assert "xyzzy" not in told
    assert "b.example" not in told
    assert "name: operators" in told
    assert "severity=" in told
    by_hand = text.replace("\nroute:", f"\nglobal:\n  slack_api_url: https://hooks.example/{secret}\nroute:")
    assert by_hand != text
    assert "xyzzy" not in shown(by_hand)
    assert "group_wait: " in shown(by_hand)
    # Of comments our own two are shown, and no other, wherever it stands.
    lines = text.splitlines()
    for comment in ("# xyzzy: 1", "  # xyzzy", "#xyzzy"):
        for place in (0, 1, 2, 5, len(lines)):
            assert "xyzzy" not in shown("\n".join([*lines[:place], comment, *lines[place:]]))
    assert "xyzzy" not in shown(text.replace('group_wait: "1m"', 'group_wait: "1m" # xyzzy'))
    assert "xyzzy" not in shown(text.replace("by its next run.", "by its next run. xyzzy"))
    assert shown(text).splitlines()[:2] == lines[:2]
    # Foreign ones are not known by heart.
    assert "xyzzy" not in shown(f"global: {{slack_api_url: 'https://hooks.example/{secret}'}}\n")


@pytest.mark.parametrize("limit", [0, -1, 1e-7, 33.3, 100])
def test_a_threshold_at_the_end_of_its_range_makes_rules_that_prometheus_takes(tmp_path: Path, limit: float) -> None:
    ends = {"warning": limit, "critical": limit}
    system = ("memory_available", "swap_used", "load", "disk_space", "inodes")
    services = ("error_rate", "response_time_p50", "response_time_p95", "response_time_p99", "pool_used")
    found = rules(
        options(
            tmp_path,
            targets=[{"name": "h", "thresholds": dict.fromkeys(system, ends)}],
            application={"thresholds": dict.fromkeys(services, ends)},
            database={
                "thresholds": dict.fromkeys(("connections", "longest_transaction", "replication_lag"), ends),
            },
        )
    )
    # What nothing can fall below has no rule; what everything reaches fires always, as the check says.
    told = {rule.name for rule in found if rule.threshold is not None}
    assert ("TradingFlowMemoryAvailable" in told) == (limit >= 0)
    assert {"TradingFlowErrorRate", "TradingFlowResponseTimeP95", "TradingFlowDiskSpace"} <= told
    checked = promtool("check", "rules", written(tmp_path, found).with_name("rules.yml"))
    assert f"SUCCESS: {len(found)} rules found" in checked.stdout, checked.stdout + checked.stderr
    done = promtool("test", "rules", tmp_path / "tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def only(required: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Of an object of a JSON schema: these fields, and no others."""
    fields = {**required, **more}
    return {"type": "object", "required": list(required), "properties": fields, "additionalProperties": False}


TEXT, NUMBER, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
SOURCE = only({"type": {"const": "prometheus"}, "uid": TEXT})
STEP = only({"color": {"enum": ["green", "yellow", "purple", "red"]}, "value": {"type": ["number", "null"]}})
FIELDS = only(
    {
        "unit": TEXT,
        "thresholds": only({"mode": {"const": "absolute"}, "steps": {"type": "array", "items": STEP, "minItems": 1}}),
    },
    mappings={
        "type": "array",
        "items": only(
            {
                "type": {"const": "value"},
                "options": {
                    "type": "object",
                    "additionalProperties": only({"text": TEXT, "color": TEXT, "index": NUMBER}),
                },
            }
        ),
    },
    custom=only({"thresholdsStyle": only({"mode": {"const": "line"}})}),
)
TARGET = only(
    {"refId": {"type": "string", "minLength": 1}, "datasource": SOURCE, "expr": TEXT, "legendFormat": TEXT},
    instant=FLAG,
    format={"enum": ["time_series", "table", "heatmap"]},
)
PANEL = only(
    {
        "id": {"type": "integer", "minimum": 1},
        "title": TEXT,
        "type": {"enum": ["stat", "table", "timeseries"]},
        "datasource": SOURCE,
        "gridPos": only({"h": {"type": "integer", "minimum": 1}, "w": NUMBER, "x": NUMBER, "y": NUMBER}),
        "targets": {"type": "array", "items": TARGET, "minItems": 1},
        "fieldConfig": only({"defaults": FIELDS, "overrides": {"type": "array", "maxItems": 0}}),
        "options": {"type": "object"},
    }
)
#: What this dashboard uses of what Grafana documents of its schema, and nothing that it does not.
GRAFANA = only(
    {
        "uid": {"type": "string", "minLength": 8, "maxLength": 40},
        "title": TEXT,
        "tags": {"type": "array", "items": TEXT},
        "schemaVersion": {"const": 38},
        "editable": FLAG,
        "timezone": TEXT,
        "time": only({"from": TEXT, "to": TEXT}),
        "refresh": TEXT,
        "templating": only(
            {
                "list": {
                    "type": "array",
                    "items": only({"name": TEXT, "type": {"const": "datasource"}, "query": TEXT, "label": TEXT}),
                }
            }
        ),
        "annotations": only({"list": {"type": "array", "maxItems": 0}}),
        "panels": {"type": "array", "items": PANEL, "minItems": 3},
    }
)


def test_the_dashboard_keeps_to_what_grafana_documents(tmp_path: Path) -> None:
    # More hosts than letters, each with a threshold of its own.
    targets = [{"name": f"h{each}", "thresholds": {"disk_space": {"warning": 50 + each}}} for each in range(30)]
    given: list[dict[str, Any]] = [{}, {"targets": targets}, {"targets": []}]
    for more in given:
        document = json.loads(dashboard("test", {"daily": 93600}, rules(options(tmp_path, **more))))
        errors = [
            f"{error.json_path}: {error.message}" for error in Draft202012Validator(GRAFANA).iter_errors(document)
        ]
        assert not errors
        for panel in document["panels"]:
            names = [target["refId"] for target in panel["targets"]]
            assert len(set(names)) == len(names)
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            # Grafana takes the first as the base, whatever its value is, and wants the others in their order.
            assert steps[0]["value"] is None
            values = [step["value"] for step in steps[1:]]
            assert values == sorted(values)
