"""Rules and routes in a running Prometheus and Alertmanager: exactly ours, or what was there before."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring import engine as engine_module
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring import rollout as rollout_module
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.rule import Rule
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.running import silent_for_ever
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.server import Server
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MaintenanceError

from tests.integration.monitoring_fixtures import Servers, configured, running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running(tmp_path_factory.mktemp("monitoring")) as servers:
        yield servers


@pytest.fixture
def servers(shared: Servers) -> Servers:
    """With nothing of ours in them."""
    for path in shared.rules_file.parent.iterdir():
        path.unlink()
    prometheus(shared).reload()
    return shared


@pytest.fixture(autouse=True)
def found_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus finds its Alertmanagers within 5 s of a reload: one test waits for that."""
    if request.node.name != "test_rules_are_loaded_and_said_to_be_only_then":
        monkeypatch.setattr(
            engine_module, "alertmanagers", lambda server: server.query("vector(1)") and [server.target.name]
        )
    # Rules are evaluated within a minute of a reload.
    monkeypatch.setattr(engine_module, "EVALUATION", 0.0)


def prometheus(servers: Servers) -> Server:
    return Server(servers.url("prometheus"), "prometheus", [], None, 20)


def group(servers: Servers) -> list[dict[str, Any]]:
    """What it has of our group."""
    groups = prometheus(servers).api("/api/v1/rules")["groups"]
    return [rule for one in groups if one["name"] == "tradingflow-test" for rule in one["rules"]]


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {id: check.status for id, check in result["checks"].items()}


def test_rules_are_loaded_and_said_to_be_only_then(servers: Servers) -> None:
    planned = configured(servers.given(), check_mode=True)
    assert planned["changed"]
    assert not servers.rules_file.exists()
    assert "TradingFlowDailyMissing" in planned["diff"][0]["after"]
    done = configured(servers.given())
    assert done["changed"]
    # There was nothing that could have been replaced.
    assert [action["message"].split(":")[0] for action in done["actions"]] == ["Written"] * len(done["actions"])
    assert len(group(servers)) == done["rules"]
    found = statuses(done)
    assert found["monitoring.rules"] == "ok"
    assert found["monitoring.alerting"] == "ok"
    # There is no node_exporter, so that much of it would never fire.
    assert found["monitoring.metrics"] == "unknown"
    again = configured(servers.given())
    assert not again["changed"]
    assert not again["diff"]
    assert not again["actions"]


def test_a_rule_whose_metric_nobody_has_is_named(servers: Servers) -> None:
    given = servers.given(targets=[{"name": "127.0.0.1"}], selectors={"node": 'job="itself"'})
    check = configured(given)["checks"]["monitoring.metrics"]
    assert check.status == "unknown"
    wanting = check.details["rules"]
    assert any("TradingFlowDiskSpace" in key for key in wanting)
    assert any("node_filesystem_size_bytes" in why for why in wanting.values())
    # What looks for absence itself fires, and is not among them.
    # Nor are those about runs: the first weekly, before which there is none, would not be ok by its own doing.
    assert not any(key.startswith(("TradingFlowDaily", "TradingFlowWeekly", "TradingFlowMonthly")) for key in wanting)
    # One host of two: the rule is alive, and says nothing of the other.
    server = prometheus(servers)
    assert server.until(lambda: bool(server.query("up")))
    rule = Rule("Probe", "up == 0", "warning", "", "", needs=[("up", ("127.0.0.1", "db9.example"))])
    assert silent_for_ever(server, [rule]) == {rule.key: "db9.example has no up"}
    rule.needs = [("nobody_has_this", ())]
    assert silent_for_ever(server, [rule]) == {rule.key: "nobody has nobody_has_this"}
    rule.needs = [("up", ("127.0.0.1",))]
    assert silent_for_ever(server, [rule]) == {}
    # A quantile is never above the last finite bound, of Prometheus's own requests 120 s.
    buckets = 'prometheus_http_request_duration_seconds_bucket{job="itself"}'
    assert server.until(lambda: bool(server.query(buckets)))
    rule.bucket = (buckets, 120)
    assert silent_for_ever(server, [rule]) == {}
    rule.bucket = (buckets, 120.5)
    (why,) = silent_for_ever(server, [rule]).values()
    assert "at or above 120.5 s" in why


def test_rules_are_well_only_once_they_were_evaluated(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = {"alert": "A", "expr": "vector(0) > 1"}
    never = {"name": "never", "interval": "8000h", "rules": [rule]}
    soon = {"name": "soon", "interval": "1s", "rules": [rule]}
    servers.rules_file.write_text(json.dumps({"groups": [never, soon]}))
    server = prometheus(servers)
    server.reload()
    run = engine_module.Configuring(servers.given(), check_mode=False)
    for group_name, why in (("never", "has not evaluated 1 rule yet"), ("absent", "no group absent")):
        check = run._evaluated(server, group_name, "monitoring.loaded", "Rules")
        assert check.status == "unknown"
        assert why in check.message
    monkeypatch.setattr(engine_module, "EVALUATION", 60.0)
    assert run._evaluated(server, "soon", "monitoring.loaded", "Rules").status == "ok"
    # What fails is told, whatever else was not evaluated.
    vectors = "label_replace(vector(1), 'a', 'b', '', '') or label_replace(vector(1), 'a', 'c', '', '')"
    soon["rules"] = [{"alert": "B", "expr": f"vector(1) * on () ({vectors})"}]
    servers.rules_file.write_text(json.dumps({"groups": [soon]}))
    server.reload()
    check = run._evaluated(server, "soon", "monitoring.loaded", "Rules")
    assert check.status == "critical"
    assert "B: " in check.message


def test_an_alertmanager_that_does_not_answer_is_not_well(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [f"{servers.url('alertmanager')}/api/v2/alerts"]
    monkeypatch.setattr(engine_module, "alertmanagers", lambda server: known)
    run = engine_module.Configuring(servers.given(timeout=3), check_mode=False)
    assert run._alerting(prometheus(servers), "monitoring.alerting", "Alerts").status == "ok"
    known.append("http://127.0.0.1:9/api/v2/alerts")
    check = run._alerting(prometheus(servers), "monitoring.alerting", "Alerts")
    assert check.status == "unknown"
    assert "127.0.0.1:9" in check.message


def test_rules_changed_by_hand_are_shown_and_undone(servers: Servers) -> None:
    configured(servers.given())
    good = servers.rules_file.read_text()
    servers.rules_file.write_text(good.replace("> 93600", "> 936000"))
    looked = configured(servers.given(), check_mode=True)
    assert looked["checks"]["monitoring.drift:rules"].value == 2
    assert statuses(looked)["monitoring.rules"] == "warning"
    assert "936000" in looked["diff"][0]["before"]
    assert servers.rules_file.read_text() != good
    prometheus(servers).reload()
    done = configured(servers.given())
    assert statuses(done)["monitoring.drift:rules"] == "warning"
    assert servers.rules_file.read_text() == good
    assert "936000" in Path(f"{servers.rules_file}.old").read_text()
    assert not any("936000" in rule["query"] for rule in group(servers))


def test_a_server_that_has_something_else_is_seen_though_the_file_is_right(servers: Servers) -> None:
    configured(servers.given())
    good = servers.rules_file.read_text()
    for old, new in (("> 93600", "> 93601"), ("for: 5m", "for: 2m"), ("severity: critical", "severity: warning")):
        changed = good.replace(f'"{old[5:]}"', f'"{new[5:]}"') if old.startswith("for") else good.replace(old, new)
        assert changed != good
        servers.rules_file.write_text(changed)
        prometheus(servers).reload()
        servers.rules_file.write_text(good)
        looked = configured(servers.given(), check_mode=True)
        assert statuses(looked)["monitoring.rules"] == "warning", (old, new)
        done = configured(servers.given())
        assert statuses(done)["monitoring.rules"] == "ok"
        assert not done["changed"]
        assert [action["status"] for action in done["actions"]] == ["ok"]


def test_rules_that_prometheus_refuses_leave_the_old_ones_loaded(servers: Servers) -> None:
    configured(servers.given())
    good, before = servers.rules_file.read_text(), group(servers)
    # promtool lets it through: as with an older promtool than Prometheus, and other rules beside ours.
    broken = servers.rules_file.with_name("others.yml")
    broken.write_text("groups: [{name: others, rules: [{alert: A, expr: 'up ==='}]}]")
    given = servers.given(playbooks={"daily": 100000})
    done = configured(given)
    broken.unlink()
    check = done["checks"]["monitoring.rules"]
    assert check.status == "critical"
    assert "did not take" in check.message
    assert servers.rules_file.read_text() == good
    assert [rule["query"] for rule in group(servers)] == [rule["query"] for rule in before]
    assert [action["status"] for action in done["actions"]] == ["failed"]
    assert statuses(configured(given))["monitoring.rules"] == "ok"
    # One that promtool refuses does not get there at all.
    given = servers.given(application={"thresholds": {}}, selectors={"application": 'job=="x"'})
    refused = configured(given)["checks"]["monitoring.rules"]
    assert refused.status == "critical"
    assert "promtool" in refused.message
    assert not Path(f"{servers.rules_file}.pending").exists()


def test_a_reload_that_never_comes_is_taken_back(servers: Servers) -> None:
    given = servers.given()
    configured(given)
    good = servers.rules_file.read_text()
    more = servers.given(playbooks={"daily": 90000}, prometheus_reload=["true"], timeout=3)
    done = configured(more)
    check = done["checks"]["monitoring.rules"]
    assert check.status == "critical"
    # Nobody could make it read the old ones either, which it never left.
    assert "NOT loaded" in check.message
    assert servers.rules_file.read_text() == good
    assert statuses(configured(given))["monitoring.rules"] == "ok"
    # By a signal, as systemctl reload sends it.
    pid = servers.processes["prometheus"].pid
    done = configured(servers.given(playbooks={"daily": 90000}, prometheus_reload=["kill", "-HUP", str(pid)]))
    assert statuses(done)["monitoring.rules"] == "ok"
    assert any("90000" in rule["query"] for rule in group(servers))


KILLED = """
import json, os, signal, sys
from tests.integration.monitoring_fixtures import configured
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.rule import Rule
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.running import silent_for_ever
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.server import Server
Server.reload = lambda self: os.kill(os.getpid(), signal.SIGKILL)
configured(json.loads(sys.argv[1]))
"""


def test_a_run_killed_before_the_reload_is_made_good_or_taken_back(servers: Servers) -> None:
    configured(servers.given())
    good = servers.rules_file.read_text()
    more = servers.given(playbooks={"daily": 80000})
    done = subprocess.run([sys.executable, "-c", KILLED, json.dumps(more)], timeout=120, env=_environment())
    assert done.returncode == -signal.SIGKILL
    assert servers.rules_file.read_text() != good
    assert not any("80000" in rule["query"] for rule in group(servers))
    # The next one cannot load it either: what comes back is what worked, and not what was found there.
    broken = servers.rules_file.with_name("others.yml")
    broken.write_text("groups: [{name: others, rules: [{alert: A, expr: 'up ==='}]}]")
    assert statuses(configured(more))["monitoring.rules"] == "critical"
    broken.unlink()
    assert servers.rules_file.read_text() == good
    assert statuses(configured(more))["monitoring.rules"] == "ok"
    assert any("80000" in rule["query"] for rule in group(servers))


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_two_at_once_end_with_one_of_them_whole(servers: Servers) -> None:
    results: list[dict[str, Any]] = []
    given = [servers.given(playbooks={"daily": interval}) for interval in (70000, 71000)]
    threads = [threading.Thread(target=lambda one=one: results.append(configured(one))) for one in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert {statuses(result)["monitoring.rules"] for result in results} <= {"ok", "unknown"}
    text = servers.rules_file.read_text()
    loaded = [rule["query"] for rule in group(servers) if rule["name"] == "TradingFlowDailyMissing"]
    (interval,) = {each for each in ("70000", "71000") if f"> {each}" in text}
    assert interval in loaded[0]
    assert not [path for path in servers.rules_file.parent.iterdir() if path.suffix == ".new"]


def test_a_file_that_is_not_ours_is_left_alone(servers: Servers) -> None:
    servers.rules_file.write_text("groups: []\n")
    done = configured(servers.given())
    assert statuses(done)["monitoring.rules"] == "unknown"
    assert "not of our making" in done["checks"]["monitoring.rules"].message
    assert servers.rules_file.read_text() == "groups: []\n"
    done = configured(servers.given(adopt=True))
    assert statuses(done)["monitoring.rules"] == "ok"
    assert Path(f"{servers.rules_file}.old").read_text() == "groups: []\n"


def test_another_environments_files_are_left_alone(servers: Servers, tmp_path: Path) -> None:
    dashboard = tmp_path / "dashboard.json"
    more = {"dashboard_file": str(dashboard), "prometheus_url": None}
    configured(servers.given(**more))
    files = (servers.rules_file, dashboard)
    before = [path.read_text() for path in files]
    for mode in (True, False):
        done = configured(servers.given(environment_name="staging", **more), check_mode=mode)
        for name in ("rules", "dashboard"):
            assert statuses(done)[f"monitoring.{name}"] == "unknown"
            assert "another environment" in done["checks"][f"monitoring.{name}"].message
        assert [path.read_text() for path in files] == before
    # One that is somebody's own, with a digest of its own in it.
    foreign = before[1].replace("TradingFlow maintenance", "sha256-mine").replace("tradingflow-", "mine-")
    dashboard.write_text(foreign)
    done = configured(servers.given(**more))
    assert statuses(done)["monitoring.dashboard"] == "unknown"
    assert "not of our making" in done["checks"]["monitoring.dashboard"].message
    assert dashboard.read_text() == foreign
    done = configured(servers.given(environment_name="staging", adopt=True, **more))
    assert statuses(done)["monitoring.rules"] == statuses(done)["monitoring.dashboard"] == "ok"


def test_what_one_part_cannot_do_leaves_the_others(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name that is one, but too long for the file beside it that takes its place.
    given = servers.given(dashboard_file=str(tmp_path / ("d" * 250)))
    done = configured(given)
    assert statuses(done)["monitoring.dashboard"] == "critical"
    assert "File name too long" in done["checks"]["monitoring.dashboard"].message
    assert statuses(done)["monitoring.rules"] == "ok"
    # Another run is at it: what it leaves is not known.
    monkeypatch.setattr(rollout_module, "PATIENCE", 0.3)
    handle = os.open(servers.rules_file.parent, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        done = configured(servers.given(playbooks={"daily": 50000}))
    finally:
        os.close(handle)
    assert statuses(done)["monitoring.rules"] == "unknown"
    assert "Another run" in done["checks"]["monitoring.rules"].message


def test_without_promtool_or_a_server_nothing_is_said_to_be_well(servers: Servers) -> None:
    done = configured(servers.given(promtool="/nonexistent/promtool"))
    assert statuses(done)["monitoring.rules"] == "unknown"
    assert not servers.rules_file.exists()
    done = configured(servers.given(prometheus_url=None))
    assert statuses(done)["monitoring.loaded"] == "unknown"
    given = servers.given(playbooks={"daily": 60000}, prometheus_url="http://127.0.0.1:9", timeout=2)
    done = configured(given)
    assert "ok" not in {statuses(done)[f"monitoring.{name}"] for name in ("rules", "loaded", "metrics", "alerting")}


def test_routes_lead_where_they_should_and_are_loaded(servers: Servers) -> None:
    given = servers.given(adopt=True)
    given["alertmanager"] = servers.routed()
    done = configured(given)
    assert statuses(done)["monitoring.routes"] == "ok"
    alertmanager = Server(servers.url("alertmanager"), "alertmanager", [], None, 20)
    assert "tradingflow-nobody-" in alertmanager.api("/api/v2/status")["config"]["original"]
    assert not configured(given)["changed"]
    good = servers.routes_file.read_text()
    # Somebody had it load another one, with our receiver in it, and put the file back.
    servers.routes_file.write_text(good.replace('"30s"', '"31s"'))
    assert servers.routes_file.read_text() != good
    alertmanager.reload()
    servers.routes_file.write_text(good)
    assert statuses(configured(given, check_mode=True))["monitoring.routes"] == "warning"
    assert statuses(configured(given))["monitoring.routes"] == "ok"
    assert statuses(configured(given, check_mode=True))["monitoring.routes"] == "ok"
    # It may hold passwords, and was there before, readable for all. What is put back is as it was.
    assert stat.S_IMODE(servers.routes_file.stat().st_mode) == 0o640
    servers.routes_file.chmod(0o644)
    # Alertmanager refuses what amtool was not asked about.
    given["alertmanager"] = servers.routed(group_wait="1m", reload=["false"])
    done = configured(given)
    assert statuses(done)["monitoring.routes"] == "critical"
    assert servers.routes_file.read_text() == good
    assert stat.S_IMODE(servers.routes_file.stat().st_mode) == 0o644
    # A receiver that is none.
    given["alertmanager"] = servers.routed(routes={"critical": "nowhere"})
    with pytest.raises(MaintenanceError, match="nowhere"):
        configured(given)
    given["alertmanager"] = servers.routed(receivers=[{"name": "operators", "webhook_configs": [{"uri": "x"}]}])
    given["alertmanager"]["routes"] = {"critical": "operators"}
    done = configured(given)
    assert statuses(done)["monitoring.routes"] == "critical"
    assert "amtool" in done["checks"]["monitoring.routes"].message
    assert statuses(done)["monitoring.watchdog"] == "warning"
    assert statuses(done)["monitoring.rules"] == "ok"
