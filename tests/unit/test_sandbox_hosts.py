"""What the sandbox's hosts are made of, without booting any: who may, what they are patched with, who ends them."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from sandbox.hosts import fleet, machine, repository
from sandbox.layout import Layout, SandboxError, State
from tests.conftest import left_out


def test_without_root_or_programs_there_is_a_plain_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRADINGFLOW_SANDBOX_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TRADINGFLOW_SANDBOX_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(SandboxError, match="No hosts: a Debian host needs root"):
        fleet.up(Layout())
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "debootstrap" else name)
    assert machine.missing() == (
        "a Debian host needs debootstrap: apt-get install debootstrap dpkg openssh-client util-linux zstd"
    )


def package(folder: Path) -> Path:
    if not shutil.which("dpkg-deb"):
        left_out("packages of Debian need dpkg-deb: apt-get install dpkg")
    root = folder / "package"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: tf-one\nVersion: 2:1.0-3\nArchitecture: all\nMaintainer: Nobody <nobody@tradingflow.example>\n"
        "Depends: tf-two (>= 1.0)\nDescription: one\n Version: is no field here\n",
        encoding="utf-8",
    )
    (root / "etc").mkdir()
    (root / "etc/one").write_text("1\n", encoding="utf-8")
    made = folder / "tf-one_2%3a1.0-3_all.deb"
    subprocess.run(["dpkg-deb", "-Zgzip", "--build", root, made], check=True, capture_output=True)
    return made


def test_a_newer_version_is_the_same_package(tmp_path: Path) -> None:
    older = package(tmp_path)
    (tmp_path / "repository").mkdir()
    newer = repository.newer(older, tmp_path / "repository")
    fields = [
        subprocess.run(["dpkg-deb", "--field", each], check=True, capture_output=True, text=True).stdout
        for each in (older, newer)
    ]
    assert fields[1] == fields[0].replace("Version: 2:1.0-3", f"Version: 2:1.0-3{repository.NEWER}")
    contents = subprocess.run(["dpkg-deb", "--contents", newer], check=True, capture_output=True, text=True).stdout
    assert "./etc/one" in contents
    compared = ["dpkg", "--compare-versions", f"2:1.0-3{repository.NEWER}", "lt", "2:1.0-4"]
    assert subprocess.run(compared).returncode == 0

    repository.index(newer.parent, origin="Debian", label="L", suite="s", archives=[newer])
    listed = (newer.parent / "Packages").read_bytes()
    assert hashlib.sha256(newer.read_bytes()).hexdigest().encode() in listed
    assert hashlib.sha256(listed).hexdigest() in (newer.parent / "Release").read_text(encoding="utf-8")
    # Nothing of what it was made of is left.
    assert sorted(path.name for path in newer.parent.iterdir()) == ["Packages", "Release", newer.name]


def test_the_inventory_has_only_what_was_booted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRADINGFLOW_SANDBOX_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TRADINGFLOW_SANDBOX_ROOT", str(tmp_path / "root"))
    layout = Layout()
    layout.prepare_state_folder()
    state = State(layout)
    state.update("hosts", app2={"ports": {"ssh": 20001, "app": 20002}}, db1={"ports": {"ssh": 20003}})
    groups = fleet.inventory(state)["all"]["children"]
    assert groups["tradingflow_application_hosts"] == {"hosts": {"app2": {}}}
    assert groups["tradingflow_database_hosts"] == {"hosts": {"db1": {}}}
    variables = groups["tradingflow_sandbox_hosts"]["hosts"]["app2"]
    assert variables["ansible_port"] == 20001
    assert "StrictHostKeyChecking=yes" in variables["ansible_ssh_common_args"]
    assert variables["local_sandbox_folder"] == str(tmp_path / "state")


def test_a_process_that_is_not_the_sandbox_s_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sandbox.processes import start_time

    monkeypatch.setenv("TRADINGFLOW_SANDBOX_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TRADINGFLOW_SANDBOX_ROOT", str(tmp_path / "root"))
    layout = Layout()
    layout.prepare_state_folder()
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            state = State(layout)
            state.update("hosts", app1={"ports": {}, "pid": stranger.pid, "pid_started": start_time(stranger.pid)})
            with pytest.raises(SandboxError, match=f"app1 .process {stranger.pid}"):
                fleet.down(layout)
            assert stranger.poll() is None
            # It is on record still.
            assert State(layout).get("hosts").keys() == {"app1"}
        finally:
            stranger.kill()
    assert fleet.down(layout) == ["The hosts are gone."]
    assert State(layout).get("hosts") is None


def test_hosts_end_whatever_root_the_environment_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sandbox.processes import MARK, start_time

    monkeypatch.setenv("TRADINGFLOW_SANDBOX_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TRADINGFLOW_SANDBOX_ROOT", str(tmp_path / "other"))
    layout = Layout()
    layout.prepare_state_folder()
    root = tmp_path / "root"
    with subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: str(root)}) as host:
        try:
            state = State(layout)
            state.update(data_root=str(root))
            state.update("hosts", app1={"ports": {}, "pid": host.pid, "pid_started": start_time(host.pid)})
            assert fleet.down(layout) == ["The hosts are gone."]
            assert host.wait(60) == -signal.SIGTERM
        finally:
            host.kill()
