"""Playbooks under tags: they say what they left out, and what breaks off leaves a report, a record and no lock."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT, Playbook, Sandbox
from tests.end_to_end.test_daily import ids, keys, statements

Play = Callable[..., Playbook]


def newest_record(platform: Sandbox) -> dict[str, Any]:
    return statements(platform, 1)[0]


def locks(platform: Sandbox, done: Playbook) -> list[str]:
    return [*keys(platform, "locks/local/"), *map(str, done.artifacts.glob("locks/*.json"))]


def test_a_partial_run_stands_for_nothing_but_itself(platform: Sandbox, play: Play) -> None:
    # Nobody has looked at the whole of a platform where a threshold cannot be kept.
    whole = play("daily", "-e", '{"health_check_database_thresholds": {"connections": {"critical": 0}}}')
    assert whole.returncode == 2, whole.output
    latest = os.readlink(whole.artifacts / "daily/latest")
    assert "database.connections" in ids(whole.report(), "critical")

    partial = play("daily", "--tags", "system")
    assert partial.returncode == 0, partial.output
    report = partial.report()
    assert os.readlink(whole.artifacts / "daily/latest") == latest
    assert not list((partial.artifacts / "daily" / report["run_id"]).glob("*.prom"))
    assert report["scope"]["tags"] == ["system"]
    assert "database.connections" in {check["id"] for check in report["elsewhere"]["checks"]}
    assert "All good" not in partial.output
    assert "PARTIAL RUN: --tags system" in partial.output
    assert latest in partial.output.rpartition("--- Areas")[2]
    record = newest_record(platform)
    assert report["run_id"] in json.dumps(record)
    assert record["predicate"]["content"]["scope"]["tags"] == ["system"]
    assert record["predicate"]["content"]["open_elsewhere"]["critical"] >= 1


def test_errors_under_tags_leave_a_report_and_no_lock(platform: Sandbox, play: Play) -> None:
    """In three plays: none keeps another from being told."""
    wrong = {
        "health_check_system_thresholds": {"disk_space": {"warning": "eighty"}},
        "health_check_database_timeout": "soon",
        "backup_thresholds": {"newest_age": {"warning": "soon"}},
    }
    done = play("daily", "--tags", "system,database,verify", "-e", json.dumps(wrong))
    assert done.returncode == 2, done.output
    report = done.report()
    finished = [(check["id"], check["status"]) for check in report["checks"] if check["id"].endswith(".finished")]
    assert sorted(finished) == [
        ("backups.finished", "unknown"),
        ("platform.finished", "unknown"),
        ("system.finished", "unknown"),
    ]
    assert report["run_id"] in json.dumps(newest_record(platform))
    assert not locks(platform, done)
    assert "_Ansible" not in done.output + json.dumps(report)


def test_a_mistake_in_what_only_the_end_needs_ends_the_run_before_its_lock(platform: Sandbox, play: Play) -> None:
    for wrong in ({"tradingflow_daily_interval": "soon"}, {"tradingflow_evidence": {"lock_days": "many"}}):
        done = play("daily", "--tags", "system", "-e", json.dumps(wrong))
        assert done.returncode == 2, done.output
        assert "Report: " not in done.output
        assert "_Ansible" not in done.output
        assert not locks(platform, done)


def test_a_tag_that_no_task_has_is_no_success(platform: Sandbox, play: Play) -> None:
    done = play("drill", "--tags", "sytem")
    assert done.returncode == 2, done.output
    assert {check["id"] for check in done.report("drill")["checks"]} == {"report.measured"}
    assert not locks(platform, done)


def test_what_the_limit_leaves_out_makes_a_run_partial(platform: Sandbox, play: Play, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory"
    shutil.copytree(ROOT / "inventories/local", inventory)
    web = {"tradingflow_web": {"hosts": {"web1": {"ansible_connection": "local"}}}}
    (inventory / "web.yml").write_text(yaml.safe_dump(web), encoding="utf-8")
    done = play("migrate", "--limit", "web1", inventory=inventory)
    report = done.report("migrate")
    assert "-partial-" in report["run_id"]
    assert report["scope"]["left_out"] == [{"area": "migration", "host": "localhost"}]
    assert "PARTIAL RUN: --limit web1" in done.output
    assert not locks(platform, done)


def test_rescues_run_whatever_the_tags() -> None:
    def blocks(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = [task for task in tasks if "block" in task]
        return [*found, *(inner for task in found for inner in blocks(task["block"]))]

    seen = 0
    for path in sorted((ROOT / "playbooks").glob("*.yml")):
        for play in yaml.safe_load(path.read_text(encoding="utf-8")):
            for block in blocks(play["tasks"]):
                for task in (*block.get("rescue", []), *block.get("always", [])):
                    assert task["tags"] == ["always"], f"{path.name}: {task['name']}"
                    seen += 1
    assert seen >= 8
