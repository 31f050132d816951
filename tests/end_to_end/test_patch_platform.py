"""The platform after a batch, by the role's own tasks on names of this machine: what was measured before is not it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

#: One host of the batch had nothing to do, and measured the platform before the first host; the other one was patched.
PLAY = """
- hosts: idle, patched
  gather_facts: false
  tasks:
    - block:
        - ansible.builtin.include_role:
            name: tradingflow.maintenance.patching
            tasks_from: health
          when: inventory_hostname == 'patched'
      rescue:
        - ansible.builtin.set_fact:
            said: "{{ ansible_failed_result.msg }}"
    - ansible.builtin.copy:
        content: "{{ {'said': said | default(''), 'checks': __patching_health.checks} | to_json }}"
        dest: "{{ told }}"
        mode: "0600"
      when: inventory_hostname == 'patched'
"""
WELL = {"id": "application.answers:app", "status": "ok", "value": 100.0, "unit": "%", "critical": 50}


def test_a_platform_that_died_is_not_called_well_by_what_was_measured_before(tmp_path: Path) -> None:
    began = time.time() - 90
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began + 1))
    first = {"run": "two", "by": "idle", "areas": ["application"], "began": began}
    measured = {**first, "checks": [{**WELL, "observed_at": at}]}
    kept = {**first, "for": "patched", "handed": began + 5, "checks": [WELL]}
    # As both leave them: the one is proven, for there was nothing to prove.
    idle: dict[str, Any] = {"__patching_proven": True, "__patching_proof": {"skipped": True}}
    idle.update(__patching_platform=measured, __patching_platform_first=measured)
    idle["__health_check_application"] = {"checks": measured["checks"]}
    done = {"__patching_proven": True, "__patching_steps": {}}
    done["__patching_proof"] = {"proven": True, "at": began + 60, "platform": kept}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory, played, told = (tmp_path / name for name in ("hosts.json", "play.yml", "told.json"))
    hosts = {"idle": {**local, **idle}, "patched": {**local, **done}}
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    played.write_text(PLAY, encoding="utf-8")
    options = {
        "maintenance_run": {"directory": str(tmp_path / "run"), "run_id": "two"},
        "tradingflow_environment": "none",
        "tradingflow_storage": {},
        # Nobody listens there any more.
        "health_check_application_urls": [{"name": "app", "url": "http://127.0.0.1:1"}],
        "health_check_application_probes": 1,
        "patching_health_wait": 0,
        "told": str(told),
    }
    run = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), str(played), "-e", json.dumps(options)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout
    said = json.loads(told.read_text(encoding="utf-8"))
    (check,) = said["checks"]
    assert (check["id"], check["status"]) == ("patching.health:application", "critical"), said
    assert "application.answers:app" in said["said"]
