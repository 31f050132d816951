"""Pre-check and plan of patches over many hosts, against a plain play of apt in check mode, and against a public role.

BENCH_HOSTS="1 5 20 50", BENCH_ROUNDS=3 (one round from 50 hosts on). BENCH_ROLE names a folder with
robertdebock.update, which is not fetched here; without it that row is left out. All hosts are one Debian over SSH,
under many names with a connection each. Root is needed. The result goes into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT, Sandbox, sandbox
from tests.machine import Machine, inventory, machine
from tests.machine.packages import Package, repository

from . import common

#: From so many hosts on one round is enough.
MANY = 50
#: In fleets of up to so many, tasks are counted.
COUNTED = 5
CA_FILE = "/var/tmp/tradingflow-bench-ca.crt"
OLD = [Package(f"tf-{number:02}", "1.0") for number in range(10)]
NEW = [Package(f"tf-{number:02}", "1.1") for number in range(10)]

OURS = """
- hosts: tradingflow_patching
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.import_role:
        name: tradingflow.maintenance.patching
        tasks_from: plan
      vars:
        maintenance_run: {directory: "{{ folder }}/run"}
"""
#: What upgrades would be made, and what is installed: two tasks, and of the pre-check nothing.
PLAIN = """
- hosts: tradingflow_patching
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.package_facts:
        manager: apt
    - ansible.builtin.apt:
        upgrade: dist
      check_mode: true
"""
#: What a user would write to ask the same before.
ASKED = """
- hosts: tradingflow_patching
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.setup:
        gather_subset: ["!all", mounts]
    - ansible.builtin.assert:
        that: item.size_available > 1048576
      loop: "{{ ansible_facts.mounts | selectattr('mount', 'in', ['/', '/boot', '/var']) }}"
    - ansible.builtin.package_facts:
        manager: apt
    - ansible.builtin.command: dpkg --audit
      check_mode: false
      changed_when: false
      register: audit
      failed_when: audit.stdout | length > 0
    - ansible.builtin.command: apt-mark showhold
      check_mode: false
      changed_when: false
    - ansible.builtin.stat:
        path: /run/reboot-required
    - ansible.builtin.command: fuser /var/lib/dpkg/lock-frontend
      check_mode: false
      changed_when: false
      failed_when: false
    - ansible.builtin.apt:
        upgrade: dist
      check_mode: true
"""
ROLE = """
- hosts: tradingflow_patching
  gather_facts: true
  become: true
  roles:
    - role: {role}
"""


@dataclass
class Fleet:
    """Names of one Debian.

    :param size: their number
    :param counted: of each contender, the tasks that were carried out on a host
    """

    made: Machine
    running: Sandbox
    folder: Path
    size: int
    costs: dict[str, list[common.Cost]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    warm: bool = False

    def __post_init__(self) -> None:
        text = json.loads(
            inventory(
                self.made,
                self.running.state,
                CA_FILE,
                patching_needrestart=False,
                patching_minimum_free=1048576,
                patching_minimum_free_boot=1048576,
            )
        )
        hosts = {}
        for number in range(self.size):
            # As to many hosts: a connection each, that is kept.
            kept = f"-o ControlMaster=auto -o ControlPersist=120s -o ControlPath={self.folder}/ssh-{number}"
            hosts[f"host{number:03}"] = {**self.made.variables, "ansible_ssh_args": kept}
        text["all"]["children"]["tradingflow_patching"] = {"hosts": hosts}
        self.inventory = self.folder / f"hosts-{self.size}.json"
        self.inventory.write_text(json.dumps(text), encoding="utf-8")

    def play(self, name: str) -> common.Cost:
        """One contender's run, in check mode."""
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        command = [sys.executable, "-m", "ansible", "playbook", "-i", str(self.inventory), "--check"]
        environment = {**self.running.environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        if name == "whole":
            command += ["playbooks/patch.yml", "-b", "-e", f"tradingflow_artifacts_dir={self.folder}/artifacts"]
            command += ["-e", "tradingflow_fail_on=never", "-e", "run_fail_on=never"]
        else:
            text = {"ours": OURS, "plain": PLAIN, "asked": ASKED}.get(name) or ROLE.format(
                role=os.environ["BENCH_ROLE"]
            )
            (self.folder / "play.yml").write_text(text, encoding="utf-8")
            command += ["-e", f"folder={self.folder}", str(self.folder / "play.yml")]
        environment["ANSIBLE_STDOUT_CALLBACK"] = "default"
        if not self.warm:
            # Connections that stand from then on, as to hosts that the daily came to a moment ago.
            raw = [
                sys.executable,
                "-m",
                "ansible",
                "adhoc",
                "-i",
                str(self.inventory),
                "host*",
                "-m",
                "raw",
                "-a",
                "true",
            ]
            common.run(raw, environment)
            self.warm = True
        if self.size <= COUNTED and name not in self.counted:
            self.counted[name] = self._count(name, command, environment)
        cost = common.run(command, environment)
        if name == "ours":
            self._planned()
        return cost

    def _count(self, name: str, command: list[str], environment: dict[str, str]) -> int:
        """Tasks that are carried out on the last host: the first one asks the gates for all."""
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=3600)
        recap = re.search(rf"^host{self.size - 1:03} .*?ok=(\d+)", done.stdout, re.MULTILINE)
        if done.returncode or not recap:
            raise RuntimeError(f"{name}: {done.stdout[-3000:]}{done.stderr[-2000:]}")
        shutil.rmtree(self.folder / "run", ignore_errors=True)
        return int(recap[1])

    def _planned(self) -> None:
        """Each host has a plan with all that is newer."""
        found = [json.loads(path.read_text()) for path in (self.folder / "run/spool").glob("patching@host*.json")]
        values = [check["value"] for one in found for check in one["checks"] if check["id"] == "patching.packages"]
        if values != [len(NEW)] * self.size:
            raise RuntimeError(f"{len(values)} of {self.size} hosts have a plan: {values[:5]}")


def contenders() -> dict[str, str]:
    known = {
        "ours": "**ours: pre-check and plan of the role `patching`**",
        "whole": "ours, whole `playbooks/patch.yml --check`: lock, gates, report, ledger",
        "plain": "`package_facts` and `apt` in check mode: no pre-check, no list of versions",
        "asked": "the same, with the pre-check as a user would write it",
    }
    if os.environ.get("BENCH_ROLE"):
        known["role"] = "robertdebock.update in check mode: facts and `apt`, no pre-check"
    return known


def table(fleets: list[Fleet]) -> str:
    """The results in Markdown: wall time, the controller's processor time per host, and the former against ours."""
    head = "| | tasks per host |" + "".join(
        f" {fleet.size} host{'s' if fleet.size > 1 else ''}: s | controller CPU s per host | wall against ours |"
        for fleet in fleets
    )
    lines = [head, "|---|--:|" + "--:|--:|--:|" * len(fleets)]
    for name, label in contenders().items():
        counted = [fleet.counted[name] for fleet in fleets if name in fleet.counted]
        cells = [f" {min(counted, default='')} |"]
        for fleet in fleets:
            if name not in fleet.costs or "ours" not in fleet.costs:
                cells.append(" not measured | | |")
                continue
            wall = statistics.median(cost.wall for cost in fleet.costs[name])
            cpu = statistics.median(cost.cpu for cost in fleet.costs[name])
            ours = statistics.median(cost.wall for cost in fleet.costs["ours"])
            cells.append(f" {wall:.1f} | {cpu / fleet.size:.2f} | {wall / ours:.1f} |")
        lines.append(f"| {label} |" + "".join(cells))
    lines.append("")
    for fleet in fleets:
        spread = ", ".join(
            f"{name} {min(cost.wall for cost in costs):.1f}-{max(cost.wall for cost in costs):.1f}"
            for name, costs in fleet.costs.items()
        )
        rounds = max(map(len, fleet.costs.values()), default=0)
        lines.append(f"- {fleet.size} host{'s' if fleet.size > 1 else ''}: {rounds} rounds, in s: {spread}.")
    return "\n".join(lines)


def prepare(made: Machine, running: Sandbox, folder: Path) -> None:
    """Older packages on the host, and a repository with newer ones."""
    repository(folder / "srv/security", "Debian", "Debian-Security", "bookworm-security", NEW)
    repository(folder / "srv/main", "Debian", "Debian", "bookworm", OLD)
    packed = subprocess.run(["tar", "-cC", folder, "srv"], check=True, capture_output=True).stdout
    made.run("base64 -d | tar --no-same-owner -C / -xf - && chmod -R a+rX /srv", text=b64encode(packed).decode())
    made.run("systemctl stop '*.timer'; dpkg -i /srv/main/*.deb")
    shutil.copy(running.state["s3"]["ca_file"], CA_FILE)
    made.run(f"cat >{CA_FILE}", text=Path(CA_FILE).read_text(encoding="utf-8"))


def main() -> None:
    """Measures and writes the page."""
    sizes, rounds = os.environ.get("BENCH_HOSTS", "1 5 20 50"), os.environ.get("BENCH_ROUNDS", "3")
    role = " BENCH_ROLE=robertdebock.update" if os.environ.get("BENCH_ROLE") else ""
    command = f'BENCH=patch BENCH_HOSTS="{sizes}" BENCH_ROUNDS={rounds}{role} make bench'
    sources = "deb [trusted=yes] file:/srv/security ./\ndeb [trusted=yes] file:/srv/main ./\n"
    files = {
        "etc/apt/sources.list": sources,
        # All names are one machine, which many come to at once.
        "etc/ssh/sshd_config.d/bench.conf": "MaxStartups 300:30:600\nMaxSessions 100\n",
    }
    fleets: list[Fleet] = []
    folder = Path(tempfile.mkdtemp(prefix="tradingflow-bench-", dir="/var/tmp"))
    try:
        with sandbox("small") as running, machine(files) as made:
            prepare(made, running, folder)
            for size in sorted(map(int, sizes.split())):
                fleet = Fleet(made, running, folder, size)
                fleets.append(fleet)
                for number, name in common.interleaved(list(contenders()), 1 if size >= MANY else int(rounds)):
                    cost = fleet.play(name)
                    fleet.costs.setdefault(name, []).append(cost)
                    print(
                        f"{size} hosts, round {number + 1}: {name} {cost.wall:.1f} s, {cost.cpu:.1f} s CPU", flush=True
                    )
                common.write("patch", command, table(fleets))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(CA_FILE).unlink(missing_ok=True)
    print(table(fleets))
