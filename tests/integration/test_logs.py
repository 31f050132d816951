"""Area logs on a real platform and through Ansible: from the app's own log lines to the report."""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.reading import read

from tests import ready
from tests.conftest import Playbook, Sandbox, left_out
from tests.unit.logs_fixtures import source


@contextmanager
def without_table(platform: Sandbox, table: str) -> Iterator[None]:
    """The platform while a table has another name."""
    connection = platform.connect("owner")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")
            connection.close()


def ask(platform: Sandbox, path: str) -> int:
    try:
        with urllib.request.urlopen(platform.state["app"]["url"] + path, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def bad(report: dict[str, Any]) -> dict[str, str]:
    return {check["id"]: check["status"] for check in report["checks"] if check["status"] != "ok"}


def test_error_burst_is_seen_named_and_over(platform: Sandbox, play: Callable[..., Playbook]) -> None:
    # Without what earlier tests left in the logs, and their runs in the store: there the kind of error may be known.
    given = {"health_check_log_thresholds": {"errors": {"warning": 20, "critical": 40}}, "run_history": 0}
    options: tuple[str, ...] = ("-e", json.dumps(given))
    play("daily", "--tags", "health", *options)
    options = (*options, "-e", "health_check_log_since=")
    with without_table(platform, "positions"):
        assert {ask(platform, "/api/positions") for _ in range(45)} == {503}
    burst = play("daily", "--tags", "health", *options)
    assert burst.returncode != 0
    # The application says so, in log and metrics, and the database that refused the statements; all else is well.
    assert bad(burst.report()) == {
        f"application.error_rate:{platform.state['app']['url']}": "critical",
        "logs.errors:app": "critical",
        "logs.new_errors:app": "warning",
        "logs.errors:postgresql": "critical",
        "logs.new_errors:postgresql": "warning",
    }
    checks = {check["id"]: check for check in burst.report()["checks"]}
    (new,) = checks["logs.new_errors:app"]["details"]["new"]
    assert new["count"] == 45
    assert 'relation "positions" does not exist' in new["sample"]
    assert checks["logs.errors:app"]["details"]["errors"] == 45
    assert 'relation "positions" does not exist' in burst.output
    after = play("daily", "--tags", "logs", *options)
    assert after.returncode == 0, after.output
    assert bad(after.report()) == {}
    again = {check["id"]: check for check in after.report()["checks"]}
    assert again["logs.errors:app"]["value"] == 0
    assert new["fingerprint"] in again["logs.new_errors:app"]["details"]["known"]


def test_journal_of_this_machine() -> None:
    if not shutil.which("journalctl"):
        left_out("a real journal needs journalctl (systemd)")
    found = read(source(kind="journal", unit="*"), "86400")
    assert found["problem"] or sum(found["counts"].values()) > 0


def run(tmp_path: Path, *arguments: str, **variables: Any) -> tuple[str, dict[str, dict[str, Any]]]:
    """The role's area logs on this machine: output, and checks by id."""
    directory = tmp_path / "artifacts" / "daily" / "20261124T120000Z-daily-000000"
    given = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "health_check_areas": ["logs"],
        "maintenance_run": {
            "directory": str(directory),
            "playbook": "daily",
            "environment": "test",
            "run_id": directory.name,
        },
        **variables,
    }
    play = [
        {
            "hosts": "all",
            "gather_facts": False,
            "tasks": [{"name": "Go", "ansible.builtin.import_role": {"name": "tradingflow.maintenance.health_check"}}],
        }
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"web": given}}}))
    asked = ["-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml"), *arguments]
    done = ready.run("playbook", asked, dict(os.environ), timeout=600)
    assert done.returncode == 0, done.stdout
    record = json.loads((directory / "spool" / "logs@web.json").read_text())
    return done.stdout, {check["id"]: check for check in record["checks"]}


def test_module_on_a_host_keeps_secrets_there(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    log = tmp_path / "app.log"
    log.write_text(f"{datetime.now(UTC).isoformat()} ERROR login as bob with password=hush-hush failed\n")
    sources = [
        {"name": "app", "path": str(log), "fresh_ok": True},
        {"name": "missing", "path": str(tmp_path / "missing.log")},
        {"name": "wrong", "path": str(log), "level_pattern": "("},
    ]
    output, checks = run(tmp_path, "-vvv", health_check_log_sources=sources)
    assert {id: check["status"] for id, check in checks.items() if check["status"] == "ok"} == {
        "logs.readable:app": "ok",
        "logs.errors:app": "ok",
        "logs.new_errors:app": "ok",
    }
    assert len(checks) == 9
    assert checks["logs.errors:app"]["value"] == 1
    assert "login as bob with password=*** failed" in json.dumps(checks)
    assert "hush-hush" not in json.dumps(checks) + output


@pytest.mark.parametrize(("expected", "status"), [(True, "unknown"), (False, "ok")])
def test_host_without_log_sources(tmp_path: Path, expected: bool, status: str) -> None:
    _, checks = run(tmp_path, health_check_logs_expected=expected)
    assert {id: check["status"] for id, check in checks.items()} == {"logs.sources": status}


def test_sources_that_make_no_sense(tmp_path: Path) -> None:
    twice = [{"name": "app", "path": "/x"}, {"name": "app", "path": "/y"}]
    _, checks = run(tmp_path, health_check_log_sources=twice)
    assert checks["logs.measured"]["status"] == "unknown"
    assert "named 'app'" in checks["logs.measured"]["message"]
