"""What runs, asked of a real podman, of a docker client, of an API of Kubernetes, and what comes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images import cluster, engines
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images.engine import examined
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images.findings import findings, summary
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import left_out
from tests.images import Image, layer
from tests.kubernetes_api import KubernetesApi, pod
from tests.registry import Registry, digest, index

NOW = datetime.now(UTC)
CONFIG = """[containers]
default_ulimits=["nofile=1024:1024","nproc=4096:4096"]
[engine]
runtime="{runtime}"
events_logger="file"
cgroup_manager="cgroupfs"
"""


def looked(registry: Registry, sources: list[dict[str, Any]], **more: Any) -> tuple[dict[str, Check], dict[str, Any]]:
    """With the image app:1.2 as it is in the registry now declared, unless more says otherwise."""
    options: dict[str, Any] = {name: option.get("default") for name, option in SPEC.items()}
    declared = digest(registry.manifests["app", "1.2"])
    one: dict[str, Any] = {"name": "app", "reference": f"{registry.address}/app:1.2@{declared}", "running": []}
    one.update(follow=None, base=None, platform="linux/amd64", known=[], **more.pop("image", {}))
    found = examined({**options, "content": False, "images": [one], "observed": sources, **more}, NOW, write=False)
    return {check.id: check for check in findings(found, "2026-01-01T00:00:00Z")[0]}, found


class Podman:
    """A podman of our own: its images, containers and settings in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        runtime = "runc" if shutil.which("runc") else "crun"
        (folder / "containers.conf").write_text(CONFIG.format(runtime=runtime))
        place = f'[storage]\ndriver="vfs"\ngraphroot="{folder}/root"\nrunroot="{folder}/run"\n'
        (folder / "storage.conf").write_text(place)
        self.environment = {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }

    def run(self, *arguments: str) -> str:
        environment = {**os.environ, **self.environment}
        command = ["podman", "--log-level=error", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The layer of a program that waits."""
    folder = tmp_path_factory.mktemp("sleeper")
    (folder / "wait.c").write_text("int pause(void); int main(void) { for (;;) pause(); }\n")
    done = subprocess.run(["cc", "-static", "-o", "wait", "wait.c"], cwd=folder, capture_output=True, check=False)
    if done.returncode:
        left_out("no static program can be built here")
    return layer(("wait", (folder / "wait").read_bytes()))


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    if os.geteuid() != 0 or not shutil.which("podman"):
        left_out("podman needs root here, and is not installed" if os.geteuid() else "podman is not installed")
    made = Podman(tmp_path)
    yield made
    subprocess.run(
        ["podman", "rm", "--all", "--force", "--time=0"],
        env={**os.environ, **made.environment},
        capture_output=True,
        timeout=300,
        check=False,
    )


def test_a_real_podman(
    podman: Podman, registry: Registry, sleeper: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Image(sleeper, config={"Cmd": ["/wait"]})
    name = f"{registry.address}/app"
    declared = good.push(registry, "app", "1.2")
    image = f"{name}:1.2"
    podman.run("pull", "--quiet", "--tls-verify=false", image)
    podman.run("run", "--detach", "--network=none", "--name=by-tag", image)
    podman.run("run", "--detach", "--network=none", "--name=by-digest", f"{name}@{declared}")
    podman.run("create", "--network=none", "--name=never-started", image)
    for key, value in podman.environment.items():
        monkeypatch.setenv(key, value)
    (said,) = engines.found({"engines": ["podman"], "timeout": 120})
    assert said["problem"] is None
    assert {each["name"] for each in said["containers"]} == {"by-tag", "by-digest"}
    source = {"source": "podman on app1", **said}
    checks, found = looked(registry, [source])
    assert found["images"][0]["running"] == [declared]
    assert checks["images.source:podman on app1"].status == checks["images.running:app"].status == "ok"
    assert checks["images.undeclared"].status == "ok"
    # One was started by its tag alone, and once that moves, the next start is something else.
    assert checks["images.started:app"].status == "warning"
    newer = Image(sleeper, config={"Cmd": ["/wait"], "Env": ["NEWER=1"]}).push(registry, "app", "1.2")
    by_digest = {"reference": f"{name}:1.2@{declared}"}
    moved = looked(registry, [source], image=by_digest)[0]
    assert moved["images.started:app"].status == "critical"
    assert "by-tag" in moved["images.started:app"].message
    assert "by-digest" not in moved["images.started:app"].message
    assert (moved["images.running:app"].status, moved["images.newer:app"].status) == ("ok", "warning")
    # Something else runs than what is declared by now.
    other = looked(registry, [source])[0]["images.running:app"]
    assert other.status == "critical"
    assert newer in other.message
    # What was loaded from a file has no digest of this registry, and its configuration tells what it is.
    place = Image(sleeper, config={"Cmd": ["/wait"], "Env": ["BY_HAND=1"]}).layout(tmp_path / "layout", "1.2")
    podman.run("pull", "--quiet", f"oci:{place}:1.2")
    loaded = podman.run("images", "--quiet", "--no-trunc", "--filter=reference=*layout*").strip()
    podman.run("tag", loaded, f"{name}:by-hand")
    podman.run("run", "--detach", "--network=none", "--name=loaded", f"{name}:by-hand")
    (said,) = engines.found({"engines": ["podman"], "timeout": 120})
    by_hand = looked(registry, [{"source": "app1", **said}], image=by_digest)[0]["images.running:app"]
    assert by_hand.status == "critical"


def test_a_docker_client_reads_the_same(
    podman: Podman, registry: Registry, sleeper: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker's own client, on podman's service, which speaks Docker's API."""
    if not shutil.which("docker"):
        pytest.skip("docker's client is not installed")
    declared = Image(sleeper, config={"Cmd": ["/wait"]}).push(registry, "app", "1.2")
    image = f"{registry.address}/app:1.2"
    podman.run("pull", "--quiet", "--tls-verify=false", image)
    podman.run("run", "--detach", "--network=none", "--name=web", image)
    address = f"unix://{podman.folder}/docker.sock"
    command = ["podman", "system", "service", "--time=0", address]
    service = subprocess.Popen(command, env={**os.environ, **podman.environment}, stderr=subprocess.DEVNULL)
    monkeypatch.setenv("DOCKER_HOST", address)
    try:
        deadline = time.monotonic() + 120
        while not (podman.folder / "docker.sock").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        (said,) = engines.found({"engines": ["docker"], "timeout": 120})
    finally:
        service.terminate()
        service.wait(60)
    assert said["problem"] is None
    (container,) = said["containers"]
    assert container["name"] == "web"
    assert f"{registry.address}/app@{declared}" in container["digests"]
    assert looked(registry, [{"source": "docker on app1", **said}])[0]["images.running:app"].status == "ok"
    # Its engine gone, nothing is known, and no host is empty.
    (said,) = engines.found({"engines": ["docker"], "timeout": 120})
    assert "docker fails" in said["problem"]
    assert said["containers"] == []


CRICTL = {
    "id": "f" * 64,
    "metadata": {"name": "app", "attempt": 0},
    "image": {"image": "sha256:" + "1" * 64, "userSpecifiedImage": "registry.example/app:1.2"},
    "imageRef": "sha256:" + "1" * 64,
    "state": "CONTAINER_RUNNING",
    "labels": {"io.kubernetes.pod.name": "app-7d9", "io.kubernetes.pod.namespace": "production"},
}


def test_what_crictl_documents() -> None:
    """By the documented JSON of its interface: no containerd with its CRI is here yet."""
    image = {"id": "sha256:" + "1" * 64, "repoTags": ["registry.example/app:1.2"]}
    image["repoDigests"] = ["registry.example/app@sha256:" + "2" * 64]  # type: ignore[assignment]
    wanted = {"name": "app-7d9/app", "image": "registry.example/app:1.2", "id": image["id"]}
    assert engines.cri_container(CRICTL, [image]) == {**wanted, "digests": image["repoDigests"]}
    assert engines.cri_container(CRICTL, []) == {**wanted, "digests": []}


def test_an_engine_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "none of podman" in engines.found({"engines": [], "timeout": 9})[0]["problem"]
    for script, word in (
        ("exit 3", "exit status 3"),
        ("echo nonsense", "not understood"),
        ("echo ''", "not understood"),
    ):
        for name in ("podman", "crictl"):
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        first, second = engines.found({"engines": [], "timeout": 60})
        assert word in second["problem"]
        # Nothing listed is an empty host for podman, whose list is one id on each line.
        assert first["problem"] is None if script == "echo ''" else word in first["problem"]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubernetesApi]:
    with KubernetesApi(tmp_path) as running:
        yield running


def test_pods_of_a_cluster(api: KubernetesApi, registry: Registry) -> None:
    image = Image(layer(("x", "x")))
    declared = image.push(registry, "app", "1.2")
    name = f"{registry.address}/app"
    api.pods = [pod(f"app-{number}", f"{name}:1.2", f"{name}@{declared}") for number in range(5)]
    api.pods.append(pod("done", f"{name}:1.1", f"{name}@{digest(b'old')}", phase="Succeeded"))
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff"}}}
    api.pods.append(pod("waits", f"{name}:1.3", "", phase="Pending", status=waiting))
    options: dict[str, Any] = {"kubeconfig": api.kubeconfig(), "context": None, "namespaces": []}
    (said,) = cluster.found(options, 30)
    assert said["problem"] is None
    assert [each["name"] for each in said["containers"]] == [f"production/app-{number}/app" for number in range(5)]
    # Page by page, to the end.
    assert [each.get("continue") for each in api.asked] == [None, "2", "4", "6"]
    assert {each["limit"] for each in api.asked} == {"500"}
    checks, found = looked(registry, [], kubernetes=options)
    assert checks["images.running:app"].status == checks["images.source:Kubernetes"].status == "ok"
    assert len(summary(found, "ok")["images"][0]["containers"]) == 5
    # A pod of another digest, one of an image that nobody declared, and one whose image has no registry.
    old = Image(layer(("x", "old"))).push(registry, "app")
    api.pods.append(pod("stale", f"{name}:1.2", f"docker-pullable://{name}@{old}"))
    api.pods.append(pod("miner", "example.org/miner:1", f"example.org/miner@{digest(b'miner')}"))
    checks, _found = looked(registry, [], kubernetes=options)
    assert checks["images.running:app"].status == "critical"
    assert old in checks["images.running:app"].message
    assert "example.org/miner:1 in production/miner/app (Kubernetes)" in checks["images.undeclared"].message
    ignored = looked(registry, [], kubernetes=options, ignored=["example.org/*"])[0]
    assert ignored["images.undeclared"].status == "ok"
    api.pods = [pod("loaded", f"{name}:1.2", digest(b"nobody knows"))]
    lost = looked(registry, [], kubernetes=options)[0]["images.running:app"]
    assert lost.status == "critical"
    assert "No registry has what runs" in lost.message
    # Imported from a file, and by its configuration what is declared.
    api.pods = [pod("loaded", f"{name}:1.2", digest(image.config))]
    assert looked(registry, [], kubernetes=options)[0]["images.running:app"].status == "ok"
    api.pods = []
    gone = looked(registry, [], kubernetes=options)[0]
    assert gone["images.running:app"].status == gone["images.started:app"].status == "unknown"
    assert gone["images.source:Kubernetes"].status == "ok"


def test_an_api_that_does_not_tell(api: KubernetesApi, registry: Registry, tmp_path: Path) -> None:
    declared = Image(layer(("x", "x"))).push(registry, "app", "1.2")
    name = f"{registry.address}/app"
    api.pods = [pod(f"app-{number}", f"{name}:1.2", f"{name}@{declared}") for number in range(5)]
    options = {"kubeconfig": api.kubeconfig(), "context": None, "namespaces": ["production", "staging"]}
    seen = {"name": "web", "image": f"{name}:1.2", "id": "x", "digests": [f"{name}@{declared}"]}
    source = {"source": "podman on app1", "problem": None, "containers": [seen]}
    # A continue token that has expired: from the beginning, and nothing twice.
    api.expired = 2
    first, second = cluster.found(options, 30)
    assert (first["problem"], len(first["containers"]), second["containers"]) == (None, 5, [])
    assert api.asked[0]["path"] == "/api/v1/namespaces/production/pods"
    api.expired = 99
    assert "did not end" in cluster.found(options, 30)[0]["problem"]
    api.expired = 0
    api.refused = True
    assert "403" in cluster.found(options, 30)[0]["problem"]
    checks, _found = looked(registry, [source], kubernetes=options)
    # What the host says is not all that there is.
    assert checks["images.source:namespace production"].status == "unknown"
    assert checks["images.running:app"].status == checks["images.undeclared"].status == "unknown"
    api.refused = False
    for body in (b"<html>", b"[]", b'{"items": 1, "metadata": {}}', b'{"items": [{}], "metadata": {}}'):
        api.body = body
        assert cluster.found(options, 30)[0]["problem"], body
    api.body = None
    assert "401" in cluster.found({**options, "kubeconfig": api.kubeconfig("wrong")}, 30)[0]["problem"]
    config = json.loads(Path(api.kubeconfig()).read_text())
    for change in ("certificate-authority", "server"):
        other = json.loads(json.dumps(config))
        there = other["clusters"][0]["cluster"].pop(change)
        if change == "server":
            other["clusters"][0]["cluster"]["server"] = there.rpartition(":")[0] + ":1"
        (tmp_path / "other").write_text(json.dumps(other))
        assert "does not answer" in cluster.found({**options, "kubeconfig": str(tmp_path / "other")}, 30)[0]["problem"]
    assert "kubeconfig" in cluster.found({**options, "kubeconfig": str(tmp_path / "none")}, 30)[0]["problem"]


def test_an_index_is_known_by_each_of_its_digests(registry: Registry) -> None:
    image = Image(layer(("x", "x")))
    member = image.push(registry, "app")
    many = registry.push("app", index(("linux/amd64", image.manifest)), "1.2")
    name = f"{registry.address}/app"
    for digests in ([f"{name}@{member}"], [f"{name}@{many}"], [f"{name}@{member}", f"{name}@{many}"]):
        seen = {"name": "web", "image": f"{name}:1.2", "id": "x", "digests": digests}
        source = {"source": "app1", "problem": None, "containers": [seen]}
        assert looked(registry, [source])[0]["images.running:app"].status == "ok"
    source["containers"] = [{**seen, "image": f"{name}@{many}"}]
    assert looked(registry, [source])[0]["images.started:app"].status == "ok"
    quiet = {"source": "app2", "problem": "it was not reached", "containers": []}
    checks = looked(registry, [source, quiet])[0]
    assert checks["images.running:app"].status == checks["images.started:app"].status == "unknown"
