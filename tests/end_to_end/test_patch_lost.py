"""Hosts that cannot be reached once their patching has begun: counted, and their end on the record.

The hosts are none: one at a closed port, and names of this machine on which nothing is done.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests import ready
from tests.conftest import ROOT, Sandbox
from tests.end_to_end.test_daily import keys, s3, statement

ENVIRONMENT = "lost"
#: What planning leaves, and then the role as the playbook has it.
PLAY = """
- hosts: patched
  gather_facts: false
  serial: 1
  ignore_unreachable: true
  tasks:
    - block:
        - ansible.builtin.include_role:
            name: tradingflow.maintenance.patching
            tasks_from: apply
      rescue:
        - ansible.builtin.set_fact:
            said: "{{ ansible_failed_result.msg }}"

- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ dict(hosts | zip(hosts | map('extract', hostvars, 'said'))) | to_json }}"
        dest: "{{ told }}"
        mode: "0600"
      vars:
        hosts: "{{ groups['patched'] }}"
"""
STATES = """
- hosts: patched
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact:
        said: ""
        __patching_wanted: true
        __patching_plan:
          plan: {digest: planned, packages: [], back: [], open: false}
          intent: {state: begun, host: "{{ inventory_hostname }}", digest: planned}
        __patching_state:
          {host: "{{ inventory_hostname }}", planned: true, wanted: true, canary: false, batch: 1}
"""


def test_a_host_that_is_lost_has_its_end_on_record_and_counts(platform: Sandbox, tmp_path: Path) -> None:
    hook = tmp_path / "drain.yml"
    # By the balancer, which does not answer. What follows is done, and that is no drained host.
    hook.write_text(
        "- ansible.builtin.raw: 'true'\n  delegate_to: gone\n- ansible.builtin.debug: {msg: drained}\n",
        encoding="utf-8",
    )
    local: dict[str, Any] = {"ansible_connection": "local"}
    closed = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0}
    hosts = {"gone": closed, "undrained": {**local, "patching_before_host": str(hook)}, "third": local}
    inventory, played, told = tmp_path / "hosts.json", tmp_path / "play.yml", tmp_path / "told.json"
    inventory.write_text(
        json.dumps(
            {
                "all": {
                    "children": {"patched": {"hosts": hosts}, "tradingflow_patching": {"hosts": dict.fromkeys(hosts)}}
                }
            }
        ),
        encoding="utf-8",
    )
    played.write_text(STATES + PLAY, encoding="utf-8")
    options = {
        "tradingflow_environment": ENVIRONMENT,
        "tradingflow_artifacts_dir": str(tmp_path / "artifacts"),
        "maintenance_window_gates": {"patch": ["freeze"]},
        "patching_canary": [],
        "patching_failures_allowed": 1,
        "told": str(told),
    }
    inventories = ("-i", str(ROOT / "inventories/local"), "-i", str(inventory))
    how = [*inventories, str(played), "-e", json.dumps(options)]
    done = ready.run("playbook", how, {**platform.environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, 600)
    assert done.returncode == 0, done.stdout
    said = json.loads(told.read_text(encoding="utf-8"))
    assert "failed or did not reach its host" in said["undrained"]
    # Both count: one may fail, and these are two.
    assert "patching failed on gone, undrained" in said["third"]

    client, bucket = s3(platform), platform.state["s3"]["bucket"]
    found = sorted(key for key in keys(platform, f"evidence/{ENVIRONMENT}/") if "/0" in key)
    stated = [statement(client.get_object(Bucket=bucket, Key=key)["Body"].read())["predicate"] for key in found]
    record = [(each["content"]["host"], each["content"]["state"], each["content"].get("well")) for each in stated]
    assert record == [
        ("gone", "begun", None),
        ("gone", "ended", False),
        ("undrained", "begun", None),
        ("undrained", "ended", False),
    ]
    # Whether anything was changed is not known of a host that was lost.
    assert stated[1]["content"]["changed"] is None
    assert "refused" in stated[1]["content"]["problem"]
