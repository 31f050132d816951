"""The areas as tasks of Ansible: what reaches the run's folder, and what reaches nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ready
from tests.conftest import Sandbox

SECRET = "hush-hush {{ 7 * 7 }} %s"
RUN = "20261124T100000Z-daily-bbbbbb"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


class Result:
    """A finished ansible-playbook: exit code, output, and what was spooled by area and host."""

    def __init__(self, done: subprocess.CompletedProcess[str], directory: Path) -> None:
        self.returncode, self.output = done.returncode, done.stdout
        records = [json.loads(path.read_text()) for path in sorted((directory / "spool").glob("*.json"))]
        self.checks = {
            (record["area"], record["host"]): {check["id"]: check for check in record["checks"]} for record in records
        }


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Runs roles on hosts: run({host: variables}, ["health_check"], "-vvv")."""

    def play(hosts: dict[str, Any], roles: list[str], *arguments: str) -> Result:
        plays = [
            {
                "hosts": "all",
                "gather_facts": False,
                "ignore_unreachable": True,
                "tasks": [
                    {"name": "Go", "ansible.builtin.import_role": {"name": f"tradingflow.maintenance.{role}"}}
                    for role in roles
                ],
                "vars": {
                    "maintenance_run": {
                        "directory": str(tmp_path / "daily" / RUN),
                        "playbook": "daily",
                        "environment": "local",
                        "run_id": RUN,
                    }
                },
            }
        ]
        (tmp_path / "play.yml").write_text(yaml.safe_dump(plays))
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        done = ready.run(
            "playbook",
            ["-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"), *arguments],
            {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "default"},
            timeout=600,
        )
        return Result(done, tmp_path / "daily" / RUN)

    return play


def test_hosts_that_answer_break_or_cannot_be_reached(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\necho 'no python here' >&2\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    hosts: dict[str, dict[str, Any]] = {
        "good": {**LOCAL},
        "broken": {**LOCAL, "ansible_python_interpreter": str(tmp_path / "python")},
        # Nothing listens on port 1 of loopback.
        "away ü": {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_connection": "ssh", "ansible_user": "x"},
    }
    for variables in hosts.values():
        variables["health_check_areas"] = ["system"]
        # The tests' own load is no finding.
        quiet = {"warning": float("inf"), "critical": float("inf")}
        variables["health_check_system_thresholds"] = dict.fromkeys(("load", "cpu_pressure", "io_pressure"), quiet)
    done = run(hosts, ["health_check"])
    good, broken, away = (done.checks["system", host] for host in hosts)
    assert good.keys() >= {"system.disk_space:/", "system.load", "system.memory_available", "system.clock_skew"}
    assert {check["status"] for check in good.values()} <= {"ok", "warning"}
    assert good["system.clock_skew"]["value"] == 0
    assert broken["system.measured"]["status"] == "unknown"
    assert "no python here" in broken["system.measured"]["message"]
    assert away["system.measured"]["status"] == "unknown"
    assert "cannot be reached" in away["system.measured"]["message"]
    # Ansible's own account stays: unreachable is unreachable, findings fail nobody.
    assert done.output.count("UNREACHABLE!") == 1
    assert "failed=0" in done.output
    assert "failed=1" not in done.output


def test_findings_never_fail_the_host_and_show_no_secret(run: Callable[..., Result], platform: Sandbox) -> None:
    # Jinja in a secret is text, not a template.
    database = {**platform.database, "password": "{% raw %}" + SECRET + "{% endraw %}"}
    variables = {
        **LOCAL,
        "tradingflow_database": database,
        "tradingflow_application": {"urls": [f"http://user:{SECRET.split()[0]}@127.0.0.1:1"]},
        "health_check_system_thresholds": {"uptime": {"critical": 1e12}},
    }
    done = run({"runner": variables}, ["health_check", "trading_check"], "-vvvv")
    assert done.returncode == 0, done.output
    assert done.checks["system", "runner"]["system.uptime"]["status"] == "critical"
    assert done.checks["database", "runner"]["database.answers"]["status"] == "critical"
    assert done.checks["application", "runner"]["application.measured"]["status"] == "unknown"
    assert {check["status"] for check in done.checks["trading", "runner"].values()} == {"unknown"}
    assert "hush" not in done.output
    assert "hush" not in json.dumps(list(done.checks.values()))


def test_areas_know_what_earlier_runs_said(run: Callable[..., Result], platform: Sandbox, tmp_path: Path) -> None:
    url = platform.state["app"]["url"]
    common = {"host": "runner", "status": "ok", "title": "x", "unit": "", "observed_at": "2026-11-23T10:00:00Z"}
    checks = [
        {**common, "id": id, "area": id.partition(".")[0], "value": 0, "details": details}
        for id, details in (
            (f"application.error_rate:{url}", {"requests": 0, "errors": 0}),
            ("database.deadlocks", {"total": 0, "reset": None}),
        )
    ]
    report = {
        "schema": "urn:tradingflow:maintenance:report:1",
        "environment": "local",
        "check_mode": False,
        "run_id": "x",
        "started_at": "2026-11-23T10:00:00Z",
        "worst_status": "ok",
        "counts": {},
        "checks": checks,
    }
    earlier = tmp_path / "daily/20261123T100000Z-daily-aaaaaa"
    earlier.mkdir(parents=True)
    (earlier / "report.json").write_text(json.dumps(report))
    variables = {
        **LOCAL,
        "health_check_areas": ["application", "database"],
        "tradingflow_application": {"urls": [url]},
        "tradingflow_database": platform.database,
        "health_check_database_capacity": 1e12,
    }
    done = run({"runner": variables}, ["health_check"])
    assert done.returncode == 0, done.output
    assert "since the last run" in done.checks["application", "runner"][f"application.error_rate:{url}"]["message"]
    found = done.checks["database", "runner"]
    assert "since the last run" in found["database.deadlocks"]["message"]
    assert found["database.days_left"]["value"] == "not known yet"


def test_nothing_is_configured(run: Callable[..., Result]) -> None:
    done = run({"runner": {**LOCAL, "health_check_areas": ["application"]}}, ["health_check"])
    assert done.returncode == 0, done.output
    assert "tradingflow_application.urls" in done.checks["application", "runner"]["application.measured"]["remedy"]


def test_check_mode_measures_too(run: Callable[..., Result]) -> None:
    done = run({"runner": {**LOCAL, "health_check_areas": ["system"]}}, ["health_check"], "--check")
    assert done.returncode == 0, done.output
    assert done.checks["system", "runner"]["system.disk_space:/"]["value"] is not None


def test_area_that_does_not_exist_is_refused(run: Callable[..., Result]) -> None:
    done = run({"runner": {**LOCAL, "health_check_areas": ["systems"]}}, ["health_check"])
    assert done.returncode != 0
    assert "systems" in done.output
    assert not done.checks
