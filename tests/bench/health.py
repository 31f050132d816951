"""The health sweep over many hosts, against the same checks written one task per metric, and against facts and asserts.

BENCH_HOSTS="1 10 50 200", BENCH_ROUNDS=3 (one round from 50 hosts on), BENCH_MINUTES=20: what would take longer than
what is left of these is not measured, and the table says so. The result goes into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.conftest import ROOT, Sandbox, sandbox

from . import common

#: From so many hosts on one round is enough: the noise of one is averaged over all of them.
MANY = 50

OURS = """
- hosts: tradingflow_hosts
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: tradingflow.maintenance.health_check
      vars:
        health_check_areas: [system]
        maintenance_run: {directory: "{{ folder }}/run"}
"""


@dataclass
class Fleet:
    """Hosts by name, all of them this machine.

    :param size: their number
    """

    running: Sandbox
    folder: Path
    size: int
    costs: dict[str, list[common.Cost]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inventory = self.folder / f"inventory-{self.size}"
        shutil.copytree(ROOT / "inventories/local", self.inventory)
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        hosts = {f"host{number:04}": local for number in range(self.size)}
        runner = {"hosts": {"localhost": local}}
        groups = {"tradingflow_hosts": {"hosts": hosts}, "tradingflow_runner": runner}
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}), encoding="utf-8")

    def words(self) -> str:
        """How many there are, for people."""
        return f"{self.size} host{'s' if self.size > 1 else ''}"

    def ours(self) -> common.Cost:
        """The role's area "system"."""
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        cost = common.playbook(
            OURS, self.folder, self.running.environment, {"folder": str(self.folder)}, self.inventory
        )
        measured = [len(json.loads(path.read_text())["checks"]) for path in (run / "spool").glob("system@*.json")]
        if len(measured) != self.size or min(measured) < 10:
            raise RuntimeError(f"{len(measured)} of {self.size} hosts were measured, {measured[:5]} checks each")
        return cost

    def daily(self) -> common.Cost:
        """The whole daily with --tags system: lock, report of all hosts, ledger."""
        return common.run(
            [
                *(sys.executable, "-m", "ansible", "playbook", "-i", str(self.inventory), "playbooks/daily.yml"),
                *("--tags", "system", "-e", f"tradingflow_artifacts_dir={self.folder}/artifacts"),
                *("-e", "tradingflow_fail_on=never"),
            ],
            {**self.running.environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        )

    def written(self, name: str) -> common.Cost:
        """One of the playbooks beside this file."""
        text = (Path(__file__).parent / name).read_text(encoding="utf-8")
        return common.playbook(text, self.folder, self.running.environment, inventory=self.inventory)

    def metric(self) -> common.Cost:
        """One task per metric."""
        return self.written("health_per_metric.yml")

    def facts(self) -> common.Cost:
        """Facts once, and asserts on what they know."""
        return self.written("health_facts.yml")


CONTENDERS = {"ours": Fleet.ours, "daily": Fleet.daily, "metric": Fleet.metric, "facts": Fleet.facts}


def expected(fleets: list[Fleet], name: str, size: int) -> float:
    """What one run will take by the largest fleet so far, in s."""
    known = [fleet for fleet in fleets if fleet.costs.get(name)]
    return known[-1].costs[name][-1].wall / known[-1].size * size if known else 0


def measure(fleets: list[Fleet], fleet: Fleet, rounds: int, deadline: float) -> None:
    """All contenders on one fleet, as far as time allows.

    :param deadline: by time.monotonic()
    """
    for number, name in common.interleaved(list(CONTENDERS), rounds):
        if time.monotonic() + expected(fleets, name, fleet.size) > deadline:
            print(f"{fleet.size} hosts: {name} is left out, it would take too long", flush=True)
            continue
        cost = CONTENDERS[name](fleet)
        fleet.costs.setdefault(name, []).append(cost)
        print(f"{fleet.size} hosts, round {number + 1}: {name} {cost.wall:.1f} s, {cost.cpu:.1f} s CPU", flush=True)


def tasks(name: str) -> int:
    """Tasks per host of one of the playbooks beside this file."""
    plays = yaml.safe_load((Path(__file__).parent / name).read_text(encoding="utf-8"))
    return sum(len(play["tasks"]) for play in plays)


def table(fleets: list[Fleet]) -> str:
    """The results in Markdown: wall time per sweep, CPU per host, both against ours."""
    rows = [
        ("**ours: the area `system`, 1 task per host**", "ours"),
        ("ours, whole `daily --tags system`: lock, report, ledger", "daily"),
        (f"one task per metric, {tasks('health_per_metric.yml')} tasks per host", "metric"),
        (f"`setup` once and asserts, {tasks('health_facts.yml')} tasks per host, fewer checks", "facts"),
    ]
    head = "| |" + "".join(
        f" {fleet.words()}: s | CPU s per host | wall against ours | CPU against ours |" for fleet in fleets
    )
    lines = [head, "|---|" + "--:|--:|--:|--:|" * len(fleets)]
    for label, name in rows:
        cells = []
        for fleet in fleets:
            if not fleet.costs.get(name) or not fleet.costs.get("ours"):
                cells.append(" not measured | | | |")
                continue
            wall, cpu = medians(fleet.costs[name])
            our_wall, our_cpu = medians(fleet.costs["ours"])
            cells.append(f" {wall:.1f} | {cpu / fleet.size:.2f} | {wall / our_wall:.1f} | {cpu / our_cpu:.1f} |")
        lines.append(f"| {label} |" + "".join(cells))
    lines.append("")
    for fleet in fleets:
        spread = ", ".join(
            f"{name} {min(cost.wall for cost in costs):.1f}-{max(cost.wall for cost in costs):.1f}"
            for name, costs in fleet.costs.items()
        )
        rounds = max(map(len, fleet.costs.values()), default=0)
        lines.append(
            f"- {fleet.words()}: {rounds} round{'s' if rounds > 1 else ''}, fastest and slowest in s: {spread}."
        )
    return "\n".join(lines)


def medians(costs: list[common.Cost]) -> tuple[float, float]:
    """Wall time and CPU time, in s."""
    return statistics.median(cost.wall for cost in costs), statistics.median(cost.cpu for cost in costs)


def main() -> None:
    """Measures and writes the page."""
    sizes, rounds = os.environ.get("BENCH_HOSTS", "1 10 50 200"), os.environ.get("BENCH_ROUNDS", "3")
    minutes = os.environ.get("BENCH_MINUTES", "20")
    command = f'BENCH=health BENCH_HOSTS="{sizes}" BENCH_ROUNDS={rounds} make bench'
    deadline = time.monotonic() + float(minutes) * 60
    fleets: list[Fleet] = []
    folder = Path(tempfile.mkdtemp(prefix="tradingflow-bench-", dir="/var/tmp"))
    try:
        with sandbox("small") as running:
            for size in sorted(map(int, re.split(r"[\s,]+", sizes.strip()))):
                fleet = Fleet(running, folder, size)
                measure(fleets, fleet, 1 if size >= MANY else int(rounds), deadline)
                fleets.append(fleet)
                common.write("health", command, table(fleets))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(fleets))
