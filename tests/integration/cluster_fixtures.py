"""A real Kubernetes of the tests' own, beside the sandbox of their worker: one for each file that asks for it."""

from __future__ import annotations

import fcntl
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils.storage import client

from sandbox.cluster import cluster as control
from sandbox.cluster import programs
from sandbox.layout import Layout, State
from tests.conftest import Sandbox, left_out


@dataclass
class Cluster:
    """A running cluster: namespaces staging and production, in each the Deployment tradingflow-app.

    :param platform: the sandbox that it belongs to
    """

    platform: Sandbox

    @property
    def state(self) -> dict[str, Any]:
        """kubeconfig (of the maintenance user), admin_kubeconfig, context, registry, images, kubectl, ..."""
        section: dict[str, Any] = self.platform.current["cluster"]
        return section

    @property
    def sandbox(self) -> State:
        """For what sandbox.cluster.cluster does: hold(state, "kube-apiserver") and release()."""
        layout = Layout()
        assert self.platform.file
        layout.state_file = self.platform.file
        state = State(layout)
        layout.root = Path(state["data_root"])
        return state

    def kubectl(self, *arguments: str, user: str = "admin", check: bool = True) -> subprocess.CompletedProcess[str]:
        """kubectl as the administrator, or as "maintenance"."""
        section = self.state
        file = section["admin_kubeconfig" if user == "admin" else "kubeconfig"]
        return subprocess.run(
            [section["kubectl"], "--kubeconfig", file, *arguments],
            check=check,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def get(self, *arguments: str) -> dict[str, Any]:
        """What ``kubectl get`` prints, as data."""
        content: dict[str, Any] = json.loads(self.kubectl("get", "-o", "json", *arguments).stdout)
        return content

    def pods(self, namespace: str = "staging", app: str = "tradingflow-app") -> list[dict[str, Any]]:
        """Pods that are not about to end."""
        items = self.get("pods", "-n", namespace, "-l", f"app={app}")["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def ask(self, pod: str, path: str, namespace: str = "staging") -> str:
        """What a pod answers, through the API server's proxy."""
        return self.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:3000/proxy{path}").stdout

    def asked(self, namespace: str = "staging", requests: int = 10) -> None:
        """Waits until each pod has answered that many requests: from then on there is something to measure."""

        def enough() -> bool:
            counters = "tradingflow_http_requests_total{"
            for pod in self.pods(namespace):
                lines = self.ask(pod["metadata"]["name"], "/metrics", namespace).splitlines()
                if sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(counters)) < requests:
                    return False
            return True

        until(enough)

    def set_image(self, version: str, namespace: str = "staging") -> None:
        """Gives the Deployment one of the four versions, by digest; waits for nothing."""
        name = "tradingflow-app"
        image = f"{name}={self.state['images'][version]}"
        self.kubectl("-n", namespace, "set", "image", f"deployment/{name}", image)

    def settled(self, namespace: str = "staging", timeout: float = 60) -> None:
        """Waits until a rollout has ended well."""
        arguments = ("rollout", "status", "deployment/tradingflow-app", f"--timeout={timeout}s")
        self.kubectl("-n", namespace, *arguments)

    def small(self, namespace: str = "staging") -> None:
        """One pod instead of three, where it is not about how many: a rollout of it takes a third of the time."""
        name = "tradingflow-app"
        self.kubectl("-n", namespace, "patch", f"pdb/{name}", "--type=merge", "-p", '{"spec": {"minAvailable": 0}}')
        self.kubectl("-n", namespace, "scale", f"deployment/{name}", "--replicas=1")
        until(lambda: len(self.pods(namespace)) == 1)
        until(lambda: self.get("-n", namespace, f"pdb/{name}")["status"].get("disruptionsAllowed") == 1)


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What a condition becomes as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def cluster(platform: Sandbox) -> Iterator[Cluster]:
    """A cluster with version 1.2.0 in both namespaces; a file's own, gone after it.

    One at a time: a cluster keeps a processor busy, and what is tried on it goes by seconds.
    """
    if (why := control.missing()) is not None:
        left_out(f"a cluster: {why}")
    # Minutes, where nothing is built yet: longer than a command of the sandbox may take here.
    programs.build(lambda line: None)
    with open(programs.cache() / "lock-cluster-of-tests", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = platform("cluster-up", check=False)
        try:
            assert done.returncode == 0, done.stdout + done.stderr
            yield Cluster(platform)
        finally:
            platform("cluster-down", check=False)
            forgotten(platform)


def forgotten(platform: Sandbox) -> None:
    """Deletes the records of releases: the next cluster of this worker's sandbox is another, with another registry."""
    store, bucket = client(platform.storage), platform.storage["bucket"]
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="releases/"):
        for each in page.get("Contents", []):
            store.delete_object(Bucket=bucket, Key=each["Key"])
