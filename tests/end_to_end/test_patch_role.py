"""Parts of the role patching by themselves, on names of this machine on which nothing is done."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils.run import write_spool

from tests import ready

LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
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


def play(folder: Path, text: str, hosts: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """What a play tells of the hosts."""
    inventory, played, told = (folder / name for name in ("hosts.json", "play.yml", "told.json"))
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    played.write_text(text, encoding="utf-8")
    common = {"tradingflow_environment": "none", "tradingflow_storage": {}, "told": str(told)}
    how = ["-i", str(inventory), str(played), "-e", json.dumps({**common, **options})]
    run = ready.run("playbook", how, dict(os.environ), timeout=600)
    assert run.returncode == 0, run.stdout
    said: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    return said


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
    options = {
        "maintenance_run": {"directory": str(tmp_path / "run"), "run_id": "two"},
        # Nobody listens there any more.
        "health_check_application_urls": [{"name": "app", "url": "http://127.0.0.1:1"}],
        "health_check_application_probes": 1,
        "patching_health_wait": 0,
    }
    said = play(tmp_path, PLAY, {"idle": {**LOCAL, **idle}, "patched": {**LOCAL, **done}}, options)
    (check,) = said["checks"]
    assert (check["id"], check["status"]) == ("patching.health:application", "critical"), said
    assert "application.answers:app" in said["said"]


#: A host was patched and is not well, and is lost before its way back is planned.
BACK = """
- hosts: lost
  gather_facts: false
  ignore_unreachable: true
  tasks:
    - ansible.builtin.include_role:
        name: tradingflow.maintenance.patching
        tasks_from: rollback
    - ansible.builtin.copy:
        content: "{{ {'done': __patching_done, 'steps': __patching_steps, 'broke': __patching_broke} | to_json }}"
        dest: "{{ told }}"
        mode: "0600"
      delegate_to: localhost
"""


def test_what_was_done_is_not_lost_with_the_host_before_its_way_back_is_planned(tmp_path: Path) -> None:
    def handed(*checks: str) -> list[dict[str, Any]]:
        return [{"id": id, "title": id, "status": "critical", "value": False, "message": id} for id in checks]

    spool = tmp_path / "run/spool"
    # What the patching and its proof found.
    write_spool(tmp_path / "run", "patching", "lost", handed("patching.versions"), [{"id": "patching.patch"}])
    write_spool(tmp_path / "run", "patching", "lost", handed("patching.proven:units"), [], "proof")
    before = {path.name: path.read_text() for path in spool.iterdir()}
    closed = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0}
    done = {
        "__patching_done": {"patched": True, "changed": True, "patching": {"state": "ended", "changed": True}},
        "__patching_steps": {"proof": {"proven": False}},
        "__patching_broke": "Prove the host: units.",
        "__patching_proven": False,
    }
    options = {"maintenance_run": {"directory": str(tmp_path / "run"), "run_id": "two"}, "patching_health": []}
    said = play(tmp_path, BACK, {"lost": {**closed, **done}, "localhost": LOCAL}, options)
    now = {path.name: path.read_text() for path in spool.iterdir()}
    assert before.items() <= now.items()
    assert len(now) > len(before)
    found = [check for name in now.keys() - before.keys() for check in json.loads(now[name])["checks"]]
    assert {(check["id"], check["status"]) for check in found} == {("patching.rollback_measured", "unknown")}
    # Of the way back there is nothing, and the outcome of the patching is not taken for it.
    assert said["done"] == done["__patching_done"]
    assert said["steps"] == {"first_proof": {"proven": False}, "rollback": {}}
    assert "and so did going back. Require a plan of the way back: There is none: " in said["broke"]
    assert "refused" in said["broke"]


#: Two hosts that do not answer; one of them names tasks that are not there.
PLAN = """
- hosts: lost, other
  gather_facts: false
  ignore_unreachable: true
  tasks:
    - block:
        - ansible.builtin.include_role:
            name: tradingflow.maintenance.patching
            tasks_from: plan
      rescue:
        - ansible.builtin.set_fact:
            said: "{{ ansible_failed_result.msg }}"
    - ansible.builtin.copy:
        content: >-
          {{ {'said': hostvars.lost.said | default(''), 'lost': hostvars.lost.__patching_state,
              'other': hostvars.other.__patching_state, 'wanted': hostvars.other.__patching_wanted} | to_json }}
        dest: "{{ told }}"
        mode: "0600"
      delegate_to: localhost
      run_once: true
"""


def test_a_host_that_does_not_answer_is_no_planned_one_and_a_missing_hook_is_told_first(tmp_path: Path) -> None:
    closed = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0}
    hosts = {"lost": {**closed, "patching_after_host": "/nowhere/undrain.yml"}, "other": closed, "localhost": LOCAL}
    options = {"maintenance_run": {"directory": str(tmp_path / "run"), "run_id": "two"}, "patching_canary": ["other"]}
    said = play(tmp_path, PLAN, hosts, options)
    assert "no such file of tasks on this machine: /nowhere/undrain.yml." in said["said"]
    assert said["lost"] == {"host": "lost", "batch": 1}
    # It stays the canary, and nobody follows it.
    assert said["other"] == {"host": "other", "batch": 1, "planned": False, "wanted": False, "canary": True}
    assert said["wanted"] is False


#: Two hosts of a batch, as planning leaves them. Nothing is done on either: what comes before a host fails.
GATES = """
- hosts: open, closed
  gather_facts: false
  tasks:
    - block:
        - ansible.builtin.include_role:
            name: tradingflow.maintenance.patching
            tasks_from: apply
      rescue:
        - ansible.builtin.set_fact:
            said: "{{ ansible_failed_result.msg }}"

- hosts: open
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ dict(['open', 'closed'] | zip(['open', 'closed'] | map('extract', hostvars, 'said'))) | to_json }}"
        dest: "{{ told }}"
        mode: "0600"
"""


def test_a_host_whose_own_gates_are_closed_is_not_patched_with_those_of_its_batch(tmp_path: Path) -> None:
    hook = tmp_path / "before.yml"
    hook.write_text("- ansible.builtin.fail: {msg: begun}\n", encoding="utf-8")
    planned = {"plan": {"digest": "planned", "packages": [], "back": [], "open": False}, "intent": {}}

    def host(name: str, **values: Any) -> dict[str, Any]:
        state = {"host": name, "planned": True, "wanted": True, "canary": False, "batch": 2}
        known = {"__patching_wanted": True, "__patching_plan": planned, "__patching_state": state}
        return {**LOCAL, **known, **values}

    frozen = [{"name": "close", "from": "2020-01-01", "until": "2099-01-01", "reason": "the year's end"}]
    options = {
        "maintenance_window_gates": {"patch": ["freeze"]},
        "patching_canary": [],
        "patching_health": [],
        "patching_before_host": str(hook),
    }
    hosts = {"open": host("open"), "closed": host("closed", maintenance_window_freezes=frozen)}
    said = play(tmp_path, GATES, hosts, options)
    assert "begun" in said["open"]
    assert "the gates do not allow it" in said["closed"]
