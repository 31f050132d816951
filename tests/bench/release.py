"""Releases against kubectl, Helm and kubernetes.core: back from one that never is ready, and what a good one costs.

BENCH_DEADLINE=600, the Deployment's progress deadline in s, for which the others wait, Helm by its --timeout;
BENCH_ROUNDS=1. Needs root and
what make cluster-up needs. The result goes into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.cluster import helm
from tests.conftest import ROOT, sandbox
from tests.integration.cluster_fixtures import Cluster, until

from . import common

NAMESPACE, NAME = "staging", "tradingflow-app"
GOOD, BETTER, NEVER_READY = "v1.2.0", "v1.2.3", "v1.2.2"
CONTENDERS = {
    "ours": "**ours: `playbooks/release.yml`, with preflight, record, ledger, report**",
    "kubectl": "`kubectl set image`, `rollout status`; when that fails `rollout undo`, `rollout status`",
    "chart": "**ours by a chart: the same with `release_chart`, written by Helm 4**",
    "helm3": "`helm upgrade --atomic --timeout` (Helm 3)",
    "helm4": "`helm upgrade --rollback-on-failure --timeout` (Helm 4)",
    "collection": "`kubernetes.core.k8s` with `wait`; when that fails `kubernetes.core.k8s_rollback`",
}
STATUS = 'kubectl rollout status "deployment/$NAME"'
UNDO = f'{{ kubectl rollout undo "deployment/$NAME"; {STATUS}; }}'
KUBECTL = f'kubectl set image "deployment/$NAME" "$NAME=$IMAGE"\n{STATUS} || {UNDO}'
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - block:
        - kubernetes.core.k8s:
            kubeconfig: "{{ kubeconfig }}"
            state: patched
            definition:
              apiVersion: apps/v1
              kind: Deployment
              metadata: {name: "{{ name }}", namespace: "{{ namespace }}"}
              spec: {template: {spec: {containers: [{name: "{{ name }}", image: "{{ image }}"}]}}}
            wait: true
            wait_timeout: "{{ deadline }}"
      rescue:
        - kubernetes.core.k8s_rollback:
            kubeconfig: "{{ kubeconfig }}"
            api_version: apps/v1
            kind: Deployment
            name: "{{ name }}"
            namespace: "{{ namespace }}"
"""


@dataclass
class Took:
    """What one release took.

    :param there: s until only whole pods of the version that was to run in the end were there
    :param ended: s until the program had ended
    :param cpu: s of a processor, of the program
    :param failed: requests of the steady client
    """

    there: float
    ended: float
    cpu: float
    failed: int


class Bench:
    """A cluster, and the ways to release to it."""

    def __init__(self, cluster: Cluster, folder: Path, deadline: int) -> None:
        self.cluster, self.folder, self.deadline = cluster, folder, deadline
        patch = json.dumps({"spec": {"progressDeadlineSeconds": deadline}})
        cluster.kubectl("-n", NAMESPACE, "patch", f"deployment/{NAME}", "-p", patch)
        self.helms = {major: str(helm.program(major, print)) for major in helm.VERSIONS}
        self.environment = {**os.environ, **cluster.platform.environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        self.by_helm(4, GOOD, "--install", "--take-ownership")
        until(lambda: self.whole(GOOD), 180)

    def ours(self, *variables: str) -> list[str]:
        """The command of the playbook."""
        options = [item for each in variables for item in ("-e", each)]
        places = ["-i", str(ROOT / "inventories/local"), "-e", f"tradingflow_artifacts_dir={self.folder}/artifacts"]
        return [sys.executable, "-m", "ansible", "playbook", *places, str(ROOT / "playbooks/release.yml"), *options]

    def helm(self, major: int, version: str, *options: str) -> tuple[list[str], dict[str, str]]:
        """The command of an upgrade by Helm, and its environment."""
        repository, _, digest = self.cluster.state["images"][version].partition("@")
        image = {"repository": repository, "tag": version, "digest": digest}
        values = self.folder / f"{version}.json"
        values.write_text(json.dumps({"image": image, "progressDeadlineSeconds": self.deadline}), encoding="utf-8")
        # Others release the same Deployment in between: what they manage is taken over.
        more = [*options, *(["--server-side=true", "--force-conflicts"] if major == 4 else [])]
        command = [
            self.helms[major],
            "-n",
            NAMESPACE,
            "upgrade",
            "tradingflow",
            str(helm.CHART),
            "-f",
            str(values),
            *more,
        ]
        return command, {**self.environment, "KUBECONFIG": self.cluster.state["kubeconfig"]}

    def by_helm(self, major: int, version: str, *options: str) -> None:
        """Lets Helm write a version, and waits for nothing."""
        command, environment = self.helm(major, version, *options)
        subprocess.run(command, env=environment, check=True, capture_output=True)

    def command(self, contender: str, version: str) -> tuple[list[str], dict[str, str]]:
        """How somebody releases a version, and the environment of it."""
        section = self.cluster.state
        if contender == "ours":
            return self.ours(f"release_version={version}"), self.environment
        if contender == "chart":
            settings = self.folder / "chart.json"
            options = {"program": self.helms[4], "force_conflicts": True}
            values = {"progressDeadlineSeconds": self.deadline}
            content = {"release_chart": str(helm.CHART), "release_helm": options, "release_values": values}
            settings.write_text(json.dumps(content), encoding="utf-8")
            return self.ours(f"release_version={version}", f"@{settings}"), self.environment
        if contender == "helm3":
            return self.helm(3, version, "--atomic", "--timeout", f"{self.deadline}s")
        if contender == "helm4":
            return self.helm(4, version, "--rollback-on-failure", "--timeout", f"{self.deadline}s")
        if contender == "kubectl":
            folder = Path(section["kubectl"]).parent
            more = {"KUBECONFIG": section["kubeconfig"], "NAME": NAME, "IMAGE": section["images"][version]}
            text = KUBECTL.replace("kubectl ", f"kubectl -n {NAMESPACE} ")
            return ["/bin/bash", "-c", text], {**self.environment, **more, "PATH": f"{folder}:{os.environ['PATH']}"}
        names = {"name": NAME, "namespace": NAMESPACE, "deadline": self.deadline, "image": section["images"][version]}
        play, variables = self.folder / "play.yml", self.folder / "vars.json"
        play.write_text(PLAY, encoding="utf-8")
        variables.write_text(json.dumps({**names, "kubeconfig": section["kubeconfig"]}), encoding="utf-8")
        return [
            sys.executable,
            "-m",
            "ansible",
            "playbook",
            "-i",
            "localhost,",
            "-c",
            "local",
            "-e",
            f"@{variables}",
            str(play),
        ], {
            **self.environment,
            "ANSIBLE_STDOUT_CALLBACK": "default",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        }

    def whole(self, version: str) -> bool:
        """Whether only pods of this version are there, all of them ready."""
        image = self.cluster.state["images"][version].partition("@")[2]
        pods = self.cluster.get("pods", "-n", NAMESPACE, "-l", f"app={NAME}")["items"]
        there = [pod for pod in pods if pod["spec"]["containers"][0]["image"].endswith(image) and _ready(pod)]
        return len(there) == len(pods) == 3

    def failures(self) -> int:
        """Requests of the steady client that failed until now."""
        (client,) = self.cluster.pods(NAMESPACE, "tradingflow-client")
        text = self.cluster.kubectl("-n", NAMESPACE, "logs", client["metadata"]["name"]).stdout
        return sum(json.loads(line)["event"] == "client.failed" for line in text.splitlines())

    def took(self, contender: str, version: str, end: str) -> Took:
        """Releases it, until the version ``end`` runs and the program has ended."""
        begun = threading.Event()
        there: list[float] = []
        started = time.monotonic()

        def watch() -> None:
            until(lambda: not self.whole(GOOD), self.deadline + 120)
            begun.set()
            until(lambda: self.whole(end), self.deadline + 120)
            there.append(time.monotonic() - started)

        watching = threading.Thread(target=watch)
        before = self.failures()
        watching.start()
        cost = _ended(*self.command(contender, version))
        watching.join()
        if not there:
            raise RuntimeError(f"{contender}: {end} does not run.")
        return Took(there[0], cost.wall, cost.cpu, self.failures() - before)

    def back(self, contender: str) -> None:
        """To the version of before, with a record that says so."""
        if contender in ("ours", "chart"):
            options = [
                "release_action=undo",
                "release_reason=measured",
                json.dumps({"release_helm": {"program": self.helms[4]}}),
            ]
            _ended(self.ours(*options), self.environment)
        else:
            # As it was, to the name of its image: what is other is somebody's change to those that look.
            self.by_helm(4, GOOD)
        until(lambda: self.whole(GOOD), 120)
        self.cluster.asked(NAMESPACE)


def _ready(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _ended(command: list[str], environment: dict[str, str]) -> common.Cost:
    """What a program cost that may well fail: some do when they undo."""
    wrapped = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *command]
    return common.run(wrapped, environment)


def _table(title: str, found: dict[str, list[Took]], label: Callable[[float], str]) -> list[str]:
    lines = [
        f"| {title} | s | against ours | program ended after s | its CPU s | failed requests |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    middle = {
        name: [statistics.median(getattr(each, part) for each in took) for part in ("there", "ended", "cpu")]
        for name, took in found.items()
    }
    for name, text in CONTENDERS.items():
        there, ended, cpu = middle[name]
        failed = sum(each.failed for each in found[name])
        lines.append(
            f"| {text} | {there:.1f} | {label(there / middle['ours'][0])} | {ended:.1f} | {cpu:.1f} | {failed} |"
        )
    return lines


def measured(bench: Bench, rounds: int) -> list[list[str]]:
    """Lines of both tables."""
    good: dict[str, list[Took]] = {}
    failing: dict[str, list[Took]] = {}
    for version, end, found in ((BETTER, BETTER, good), (NEVER_READY, GOOD, failing)):
        for _number, contender in common.interleaved(list(CONTENDERS), rounds):
            took = bench.took(contender, version, end)
            found.setdefault(contender, []).append(took)
            print(f"{contender}, {version}: {took}", flush=True)
            if end != GOOD:
                bench.back(contender)
    ratio = "{:.2f} times".format
    return [
        _table(
            f"{NEVER_READY} never becomes ready: back on {GOOD}, progress deadline {bench.deadline} s", failing, ratio
        ),
        _table(f"{GOOD} to {BETTER}, which is good: all pods new", good, ratio),
    ]


def main() -> None:
    """Measures, and writes the page."""
    rounds, deadline = int(os.environ.get("BENCH_ROUNDS", "1")), int(os.environ.get("BENCH_DEADLINE", "600"))
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch, sandbox("small") as platform:
        try:
            done = platform("cluster-up", check=False)
            if done.returncode:
                raise RuntimeError(done.stdout + done.stderr)
            cluster = Cluster(platform)
            cluster.asked(NAMESPACE)
            text = "\n\n".join("\n".join(lines) for lines in measured(Bench(cluster, Path(scratch), deadline), rounds))
        finally:
            platform("cluster-down", check=False)
    given = " ".join(f'{name}="{os.environ[name]}"' for name in sorted(os.environ) if name.startswith("BENCH_"))
    common.write("release", " ".join(filter(None, ("BENCH=release", given, "make bench"))), text)
