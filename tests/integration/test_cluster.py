"""A real Kubernetes: its pods, its versions of the application, who may what, and that nothing of it is left."""

from __future__ import annotations

import functools
import glob
import json
import os
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.cluster import cluster as control
from sandbox.cluster import groups, images, settings
from sandbox.layout import MARKER
from sandbox.processes import marked
from tests.conftest import ROOT, Sandbox
from tests.integration.cluster_fixtures import Cluster, cluster, until

__all__ = ["cluster"]


def test_it_runs_the_application_by_digest(cluster: Cluster) -> None:
    section = cluster.state
    (node,) = cluster.get("nodes")["items"]
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.37.2"
    for namespace in ("staging", "production"):
        pods = cluster.pods(namespace)
        assert len(pods) == 3
        for pod in pods:
            (status,) = pod["status"]["containerStatuses"]
            assert status["ready"]
            assert status["imageID"] == section["images"]["v1.2.0"]
            assert pod["spec"]["containers"][0]["image"] == section["images"]["v1.2.0"]
        name = pods[0]["metadata"]["name"]
        told = json.loads(cluster.ask(name, "/version", namespace))
        assert (told["version"], told["instance"]) == ("1.2.0", name)
        assert "tradingflow_http_request_duration_seconds_bucket" in cluster.ask(name, "/metrics", namespace)
        assert json.loads(cluster.ask(name, "/ready", namespace))["status"] == "ready"
        line = json.loads(cluster.kubectl("-n", namespace, "logs", name, "--tail=1").stdout)
        assert line["event"] == "http.request"
        path = f"/api/v1/namespaces/{namespace}/services/tradingflow-app:3000/proxy/version"
        assert json.loads(cluster.kubectl("get", "--raw", path).stdout)["version"] == "1.2.0"


def test_the_registry_has_four_versions(cluster: Cluster) -> None:
    section = cluster.state
    base = f"http://{section['registry']}/v2/{images.REPOSITORY}"
    for version, reference in section["images"].items():
        request = urllib.request.Request(
            f"{base}/manifests/{version}", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            digest = answer.headers["Docker-Content-Digest"]
            content = answer.read()
        assert reference == f"{section['repository']}@{digest}"
        assert images.digest(content) == digest
    assert list(section["images"]) == ["v1.2.0", "v1.2.1", "v1.2.2", "v1.2.3"]
    assert len(set(section["images"].values())) == 4


def test_the_maintenance_user_may_release_and_nothing_else(cluster: Cluster) -> None:
    def may(*arguments: str) -> bool:
        return cluster.kubectl("auth", "can-i", *arguments, user="maintenance", check=False).stdout.strip() == "yes"

    for namespace in ("staging", "production"):
        assert may("patch", "deployments", "-n", namespace)
        assert may("get", "pods/proxy", "-n", namespace)
        assert not may("create", "pods/exec", "-n", namespace)
        assert not may("update", "roles", "-n", namespace)
    assert not may("get", "secrets", "-n", "kube-system")
    assert not may("list", "nodes")
    assert not may("create", "namespaces")
    refused = cluster.kubectl("get", "pods", "-n", "kube-system", user="maintenance", check=False)
    assert "Forbidden" in refused.stderr
    name = cluster.pods()[0]["metadata"]["name"]
    path = f"/api/v1/namespaces/staging/pods/{name}:3000/proxy/version"
    assert "1.2.0" in cluster.kubectl("get", "--raw", path, user="maintenance").stdout


def test_nobody_is_served_unknown_or_unproven(cluster: Cluster) -> None:
    section = cluster.state
    for name in ("kubeconfig", "admin_kubeconfig"):
        assert stat.S_IMODE(os.stat(section[name]).st_mode) == 0o600
    keys = Path(section["kubeconfig"]).parent
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}
    with pytest.raises(urllib.error.URLError, match="certificate"):
        urllib.request.urlopen(f"{section['server']}/version", timeout=5)
    known = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{section['server']}/api/v1/namespaces", timeout=5, context=known)
    assert cluster.platform("path", "--kubeconfig").stdout.strip() == section["kubeconfig"]
    # What says where everything is says no secret of it.
    assert "PRIVATE KEY" not in json.dumps(section)


def test_the_clients_requests_do_not_fail_while_a_good_version_comes(cluster: Cluster) -> None:
    (client,) = cluster.pods(app="tradingflow-client")
    name = client["metadata"]["name"]
    # The same image again: new pods, one after the other.
    cluster.kubectl("-n", "staging", "rollout", "restart", "deployment/tradingflow-app")
    cluster.settled()
    until(lambda: "client.sums" in cluster.kubectl("-n", "staging", "logs", name, "--since=5s").stdout)
    lines = [json.loads(line) for line in cluster.kubectl("-n", "staging", "logs", name).stdout.splitlines()]
    assert [line["error"] for line in lines if line["event"] == "client.failed"] == []
    assert [line for line in lines if line["event"] == "client.sums"][-1]["asked"] > 20


@pytest.fixture
def put_back(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.set_image("v1.2.0")
    cluster.settled()


@pytest.mark.usefixtures("put_back")
def test_versions_that_do_not_become_ready_leave_the_old_pods_alone(cluster: Cluster) -> None:
    def newest(version: str) -> dict[str, Any] | None:
        image = cluster.state["images"][version]
        running = [
            pod for pod in cluster.pods() if pod["spec"]["containers"][0]["image"] == image and "running" in _state(pod)
        ]
        return running[0] if running else None

    def says(name: str, why: str) -> bool:
        return why in cluster.kubectl("-n", "staging", "logs", name, check=False).stdout

    for version, why in (("v1.2.2", "the prices of the day"), ("v1.2.1", "this version works with 2d7e91b3c6f0")):
        cluster.set_image(version)
        name = until(functools.partial(newest, version))["metadata"]["name"]
        until(functools.partial(says, name, why))
        assert len([pod for pod in cluster.pods() if _ready(pod)]) == 3


def _state(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["status"].get("containerStatuses", [{"state": {}}])[0]["state"]
    return found


def _ready(pod: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))


@pytest.mark.usefixtures("put_back")
def test_a_version_that_turns_bad_was_ready(cluster: Cluster) -> None:
    change = json.dumps({"data": {"TRADINGFLOW_DEFECT_AFTER": "5"}})
    cluster.kubectl("-n", "staging", "patch", "configmap", "tradingflow-app", "--patch", change)
    cluster.set_image("v1.2.3")
    cluster.settled()
    name = cluster.pods()[0]["metadata"]["name"]

    def value(start: str) -> float:
        lines = [line for line in cluster.ask(name, "/metrics").splitlines() if line.startswith(start)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    before = value("process_resident_memory_bytes")

    def fails() -> bool:
        told = cluster.ask(name, "/metrics").splitlines()
        return any(line.startswith("tradingflow_http_requests_total") and 'code="500"' in line for line in told)

    until(fails)
    until(lambda: value("process_resident_memory_bytes") > before + 5e6)
    assert _ready(next(pod for pod in cluster.pods() if pod["metadata"]["name"] == name))


def test_the_api_server_may_be_away_for_a_while(cluster: Cluster) -> None:
    control.hold(cluster.sandbox, "kube-apiserver")
    assert cluster.kubectl("get", "--raw", "/readyz", check=False).returncode != 0
    control.release(cluster.sandbox, "kube-apiserver")
    assert cluster.kubectl("get", "--raw", "/readyz").stdout == "ok"
    # A program that ends by itself is started again.
    pid = _pid_of(cluster, "kube-scheduler")
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: (again := _pid_of(cluster, "kube-scheduler")) and again != pid)


def _pid_of(cluster: Cluster, name: str) -> int:
    for pid in marked(cluster.sandbox.layout.root):
        try:
            if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == name[:15]:
                return pid
        except OSError:
            continue
    return 0


class Own:
    """A second sandbox: of the same database, and with nothing else of its own."""

    def __init__(self, platform: Sandbox) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tradingflow-test-", dir="/var/tmp"))
        self.root = self.folder / "a place, 100% O'Brien's – très"
        self.root.mkdir()
        (self.root / MARKER).touch()
        self.environment = {
            **os.environ,
            "TRADINGFLOW_SANDBOX_STATE": str(self.folder / "state"),
            "TRADINGFLOW_SANDBOX_ROOT": str(self.root),
        }
        (self.folder / "state").mkdir(mode=0o700)
        state = {"complete": True, "data_root": str(self.root), "postgres": platform.current["postgres"]}
        (self.folder / "state/sandbox.json").write_text(json.dumps(state), encoding="utf-8")

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "state/sandbox.json").read_text(encoding="utf-8"))
        return found

    def __call__(self, *arguments: str, expect: int = 0) -> str:
        command = [sys.executable, "-m", "sandbox", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == expect, done.stdout
        return done.stdout


@pytest.fixture
def own(platform: Sandbox) -> Iterator[Own]:
    made = Own(platform)
    yield made
    made("cluster-down")
    shutil.rmtree(made.folder, ignore_errors=True)


def test_a_disposable_cluster_whose_namespaces_are_somebody_elses(cluster: Cluster, own: Own) -> None:
    section = cluster.state
    own.environment |= {
        "KUBECONFIG": section["admin_kubeconfig"],
        "TRADINGFLOW_DISPOSABLE_CLUSTER": section["context"],
        "TRADINGFLOW_DISPOSABLE_REGISTRY": section["registry"],
        "TRADINGFLOW_DISPOSABLE_DATABASE_URL": "postgresql://nobody",
    }
    assert "has a namespace staging that is not this sandbox's" in own("cluster-up", expect=1)
    assert own("cluster-down").strip() == "The cluster is gone."
    assert len(cluster.pods()) == 3


def counted(root: Path) -> dict[str, set[str]]:
    """What a cluster could leave on this machine; other tests' networks and mounts come and go meanwhile."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    places = ("/run/netns/cni-*", "/var/lib/cni/*", "/var/lib/kubelet/*", "/run/containerd/*", "/var/log/pods/*")
    return {
        "links": {line.split(":")[1].strip() for line in links.splitlines()} & {settings.BRIDGE},
        "rules": {line for line in rules.splitlines() if "KUBE" in line or "CNI" in line},
        "mounts": {line for line in mounts.splitlines() if root.parent.name in line or "kubelet" in line},
        "names": {name for place in places for name in glob.glob(place)},
        "groups": {str(path) for path in groups.left(root)},
        "processes": {str(pid) for pid in marked(root)},
        "files": {path.name for path in root.iterdir()},
    }


def test_a_second_one_beside_it_and_nothing_left_of_it(cluster: Cluster, own: Own) -> None:
    assert cluster.platform("cluster-up").stdout.strip() == "The cluster is up."
    before = counted(own.root)
    own("cluster-up")
    section = own.state["cluster"]
    assert not set(section["ports"].values()) & set(cluster.state["ports"].values())
    got = subprocess.run(
        [section["kubectl"], "--kubeconfig", section["kubeconfig"], "get", "deployment", "-A", "-o", "name"],
        capture_output=True,
        text=True,
    )
    assert "Forbidden" in got.stderr
    during = counted(own.root)
    assert [what for what in before if during[what] != before[what]] == ["groups", "processes", "files"]
    # However it ends, the kernel ends all that is in it; the next command takes what is left.
    os.kill(section["pid"], signal.SIGKILL)
    until(lambda: not marked(own.root))
    assert own("cluster-down").strip() == "The cluster is gone."
    assert own("cluster-down").strip() == "There is no cluster."
    assert counted(own.root) == before
    assert "cluster" not in own.state
    # And the first one goes on.
    assert cluster.kubectl("get", "--raw", "/readyz").stdout == "ok"
