"""What the sandbox's cluster is made of, without starting one: who may, what is built, what the images are."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from sandbox.app.trouble import Broken, Defect
from sandbox.cluster import cluster, disposable, groups, images, manifests, node, pki, programs, settings
from sandbox.layout import Layout, SandboxError


def test_where_it_cannot_be_one_line_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRADINGFLOW_SANDBOX_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(SandboxError, match=r"^No cluster: its node needs root\.$"):
        cluster.up(Layout())
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cluster.missing() == "its node is made of what Linux has"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "docker-registry" else name)
    monkeypatch.setattr(settings, "PLUGINS", str(tmp_path))
    assert cluster.missing() == (
        "it needs more programs: apt-get install --no-install-recommends containernetworking-plugins docker-registry"
    )


def test_what_is_built_is_named_by_all_that_goes_into_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = programs.folder()
    assert before.parent == tmp_path / "tradingflow-maintenance"
    copied = tmp_path / "source"
    shutil.copytree(programs.SOURCE, copied)
    monkeypatch.setattr(programs, "SOURCE", copied)
    assert programs.folder() == before
    with (copied / "go.sum").open("a") as file:
        file.write("\n")
    changed = programs.folder()
    monkeypatch.setattr(programs, "FLAGS", "-s")
    assert len({before, changed, programs.folder()}) == 3


def test_a_build_that_fails_leaves_nothing_that_looks_complete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\n[ "$1" = env ] && echo go1.99.0 && exit\necho "checksum mismatch" >&2\nexit 1\n')
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxError, match="checksum mismatch"):
        programs.build(lambda line: None)
    assert not programs.folder().exists()


def test_what_nobody_used_for_a_month_is_deleted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, days in (("one-old", 31), ("one-new", 29), ("one-used", 40), ("two-old", 40)):
        made = programs.cache() / name
        made.mkdir(parents=True)
        os.utime(made, (time.time() - days * 86400,) * 2)
    programs.forget("one-*", programs.cache() / "one-used")
    assert sorted(path.name for path in programs.cache().iterdir()) == ["one-new", "one-used", "two-old"]


def test_the_versions_are_pinned() -> None:
    text = (programs.SOURCE / "go.mod").read_text(encoding="utf-8")
    assert f"k8s.io/kubernetes {programs.VERSION}\n" in text
    sums = (programs.SOURCE / "go.sum").read_text(encoding="utf-8")
    assert f"k8s.io/kubernetes {programs.VERSION} h1:" in sums


def test_a_layer_is_made_of_nothing_but_its_files() -> None:
    one, two = (images.layer({"a/b/c": b"1", "a/d": b"2"}) for _ in range(2))
    assert one == two
    with tarfile.open(fileobj=io.BytesIO(one.content)) as archive:
        assert [(each.name, each.mode, each.mtime) for each in archive] == [
            ("a", 0o755, 0),
            ("a/b", 0o755, 0),
            ("a/b/c", 0o644, 0),
            ("a/d", 0o644, 0),
        ]
    manifest, configuration = images.image([one], {"User": "1"}, {"a": "b"})
    assert json.loads(manifest)["config"]["digest"] == images.digest(configuration)
    assert json.loads(configuration)["rootfs"]["diff_ids"] == [one.identity]


def test_modules_are_compiled_as_python_finds_them() -> None:
    files = {"one/__init__.py": b"", "one/two.py": b"VALUE = 3\n"}
    made = images.compiled(files)
    assert sorted(made) == ["one/__pycache__/__init__.cpython-311.pyc", "one/__pycache__/two.cpython-311.pyc"]
    # Flags 1: by hash, and not compared with a source whose time is not its own.
    assert all(content[4:8] == b"\1\0\0\0" for content in made.values())


def test_keys_are_for_the_owner_only(tmp_path: Path) -> None:
    users = pki.write(tmp_path, port=1, node="n", node_address="10.244.0.1", service_address="10.96.0.1")
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
        path.name: "0o600" for path in tmp_path.iterdir()
    }
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", tmp_path / "ca.crt", tmp_path / "apiserver.crt", tmp_path / "maintenance.crt"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # Who is known to the cluster is not known to its store.
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", tmp_path / "etcd-ca.crt", tmp_path / "maintenance.crt"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    content = json.loads(users["maintenance"].read_text(encoding="utf-8"))
    assert content["current-context"] == pki.CONTEXT
    assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"


def test_the_maintenance_user_may_not_everything() -> None:
    roles = [each for namespace in manifests.NAMESPACES for each in manifests.access(namespace)]
    assert {each["kind"] for each in roles} == {"Role", "RoleBinding"}
    words = [word for _, resources, verbs in manifests.RULES for word in (*resources, *verbs)]
    assert "*" not in words
    assert not {"pods/exec", "roles", "rolebindings", "nodes", "impersonate", "escalate", "bind"} & set(words)


def test_programs_wait_for_what_they_need(tmp_path: Path) -> None:
    wanted = {"programs": "/p", "ports": {"api": 1, "registry": 2}, "outward": [3], "root": "/r"}
    made = node.Node(tmp_path, wanted, {"network": os.open(os.devnull, os.O_RDONLY)})
    os.close(made.given[0])
    assert list(made.commands)[:5] == ["forward", "containerd", "registry", "etcd", "kube-apiserver"]
    assert [name for name in made.commands if made.may_start(name)] == list(made.commands)[:5]
    assert made.commands["forward"][-1] == ":3"


def test_groups_are_those_of_the_root() -> None:
    assert groups.name(Path("/one")) != groups.name(Path("/two"))
    assert groups.left(Path(f"/nobody/{time.time()}")) == []


def test_a_version_that_degrades(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(Defect, "LEAK", 1)
    defect = Defect("degrades", 60)
    for _ in range(10):
        defect.strike("/api/orders")
    now = 70.0
    failed = 0
    for _ in range(9):
        try:
            defect.strike("/api/orders")
        except Broken:
            failed += 1
    assert failed == 3
    assert len(defect._kept) == 10
    defect.strike("/ready")
    with pytest.raises(Broken):
        Defect("never_ready", 0).strike("/ready")
    Defect("never_ready", 0).strike("/health")
    Defect("", 0).strike("/ready")


def test_a_disposable_cluster_is_said_in_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(disposable.CONTEXT, "kind-mine")
    monkeypatch.setenv(disposable.REGISTRY, "127.0.0.1")
    # Neither root nor Debian is asked for.
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert cluster.missing() is None
    with pytest.raises(SandboxError, match="TRADINGFLOW_DISPOSABLE_DATABASE_URL is not"):
        disposable.describe("kubectl", tmp_path)
    monkeypatch.setenv(disposable.DATABASE, "postgresql://nobody")
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'no such context' >&2\nexit 1\n")
    kubectl.chmod(0o755)
    with pytest.raises(SandboxError, match="There is no context kind-mine in KUBECONFIG: no such context"):
        disposable.describe(str(kubectl), tmp_path)
