"""What a plan of patches means, and what forbids it, on plain data; what a host's files say, in a folder of its own."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import commands, host
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.findings import (
    findings,
    planned,
    well,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.judgement import (
    digest_of,
    missed,
    refusals,
    unfinished,
    unplanned,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.notes import changed_conffiles
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.solver import matches
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work import lasting
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    PatchingError,
)


def row(**values: Any) -> dict[str, Any]:
    made = {
        "package": "openssl",
        "architecture": "amd64",
        "from": "3.0.15-1",
        "to": "3.0.17-1",
        "reason": "security",
        "source": ["Debian-Security stable-security"],
        "sha256": "ab" * 32,
        "download": 1000,
        "grows": 10,
        "previous": True,
        "automatic": False,
        "conffiles_changed": [],
    }
    return {**made, **values}


#: needrestart's answer of a host on which nothing runs old code.
RUNNING: dict[str, Any] = {
    "asked": True,
    "restarted": [],
    "left": [],
    "others": [],
    "newer_kernel": False,
    "unknown": None,
}


def plan(**values: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "scope": "security",
        "packages": [row()],
        "kept": [],
        "configure": [],
        "reinstall": [],
        "unrecognised": [],
        "broken": 0,
        "download": 1000,
        "grows": 10,
        "back": [],
        "reboot": [],
        "restart": [],
        "space": [{"path": "/", "free": 10_000}],
        "minimum_free": 5_000,
        "minimum_free_boot": 500,
        "held": [],
        "rollback": False,
        "no_way_back": [],
        "archives": [],
        "conffiles": "keep",
        "units": [],
        "units_missing": [],
        "units_ran": values.get("units", []),
        "open": False,
        "reboot_mode": "never",
        "reboot_before": None,
        "container": False,
        "kernel_of": None,
        "audit": {"said": "", "problem": None},
        "locks": [],
        "reboot_pending": None,
        "policy": "none",
        "running": dict(RUNNING),
        "wanted": True,
        "refusals": [],
        **values,
    }
    return {**made, "digest": digest_of(made)}


def ended(**values: Any) -> dict[str, Any]:
    """What the engine says of a host on which all went well."""
    return {
        **plan(),
        "changed": True,
        "problem": None,
        "before": {"openssl:amd64": {"version": "3.0.15-1", "state": "installed"}},
        "after": {"openssl:amd64": {"version": "3.0.17-1", "state": "installed"}},
        "unplanned": [],
        "unfinished": [],
        "services": dict(RUNNING),
        "halted": [],
        "reboot_due": False,
        "seconds": 1.0,
        **values,
    }


def statuses(result: dict[str, Any]) -> dict[str, str]:
    checks, actions, summary = findings(result, "2026-11-29T00:00:00Z")
    assert len(actions) == 1
    assert summary["state"] == "ended"
    return {check.id: check.status for check in checks}


@pytest.mark.parametrize(
    "other",
    [
        {"packages": [row(to="3.0.18-1")]},
        {"packages": [row(**{"from": "3.0.14-1"})]},
        {"packages": [row(sha256="cd" * 32)]},
        {"packages": [row(architecture="i386")]},
        {"packages": [row(conffiles_changed=["/etc/ssl/openssl.cnf"])]},
        {"packages": [row(), row(package="zlib1g")]},
        {"packages": []},
        {"configure": ["tzdata"]},
        {"restart": ["cron.service"]},
        {"conffiles": "replace"},
        {"units": ["strategies.service"]},
        {"reboot_mode": "always"},
        {"rollback": True},
        {"open": True},
        # The host itself is halted and restarted, though no package is new.
        {"reboot_mode": "when_needed", "reboot_pending": ["libc6"]},
    ],
)
def test_digest_is_of_all_that_would_be_done(other: dict[str, Any]) -> None:
    assert plan(**other)["digest"] != plan()["digest"]


def test_digest_is_the_same_on_hosts_that_differ_in_nothing_that_is_done() -> None:
    assert plan(space=[], kept=[{"package": "x"}], reboot_pending=["libc6"])["digest"] == plan()["digest"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("broken", {"broken": 2}),
        ("half_installed", {"reinstall": ["tzdata"]}),
        ("unrecognised", {"unrecognised": ["tzdata"]}),
        ("lock", {"locks": [{"lock": "/var/lib/dpkg/lock", "pid": 7, "command": "apt-get"}]}),
        ("policy", {"policy": "foreign"}),
        ("archives", {"archives": ["openssl 3.0.17-1 (Debian stable, Other stable)"]}),
        ("space", {"space": [{"path": "/var", "free": 6_009}]}),
        # A /boot of its own is small on most hosts, and has a limit of its own.
        ("space", {"space": [{"path": "/boot", "free": 499}]}),
    ],
)
def test_what_forbids_it(name: str, values: dict[str, Any]) -> None:
    assert [each["name"] for each in refusals(plan(**values), [])] == [name]
    refused = plan(**values)
    refused["refusals"] = refusals(refused, [])
    checks, (action,) = planned(refused, "2026-11-29T00:00:00Z")
    assert f"patching.refused:{name}" in {check.id for check in checks if check.status == "critical"}
    assert action["status"] == "failed"


def test_what_the_solver_was_not_asked_is_unknown() -> None:
    broken = plan(broken=2, packages=[], wanted=False)
    broken["refusals"] = refusals(broken, [])
    checks, _ = planned(broken, "2026-11-29T00:00:00Z")
    said = {check.id: check.status for check in checks}
    assert (said["patching.packages"], said["patching.kept"]) == ("unknown", "unknown")
    assert said["patching.refused:broken"] == "critical"


@pytest.mark.parametrize(
    "values",
    [
        {},
        # Put in place anew by the plan itself.
        {"reinstall": ["openssl"]},
        {"policy": "ours"},
        {"space": [{"path": "/var", "free": 6_010}, {"path": "/boot", "free": 501}]},
        {"packages": [], "space": [{"path": "/", "free": 0}]},
    ],
)
def test_what_does_not_forbid_it(values: dict[str, Any]) -> None:
    assert refusals(plan(**values), []) == []


def test_only_what_was_approved() -> None:
    assert refusals(plan(), [plan()["digest"], "0" * 64]) == []
    assert [each["name"] for each in refusals(plan(), ["0" * 64])] == ["approved"]
    # Where nothing is to be done, nothing needs to be approved.
    assert refusals(plan(packages=[], wanted=False), ["0" * 64]) == []


def test_what_changed_without_a_plan() -> None:
    installed = {"version": "1", "state": "installed"}
    before = {"openssl:amd64": installed, "held:amd64": installed, "gone:amd64": installed, "half:amd64": installed}
    before["half:amd64"] = {"version": "1", "state": "unpacked"}
    after = {
        "openssl:amd64": {"version": "2", "state": "installed"},
        "held:amd64": {"version": "2", "state": "installed"},
    }
    after |= {"new:amd64": installed, "half:amd64": installed}
    found = unplanned(before, after, [row()], ["half"])
    assert [text.split(":")[0] for text in found] == ["gone", "held", "new"]
    assert [text.split(":")[0] for text in unplanned(before, after, [row()], [])] == ["gone", "half", "held", "new"]


@pytest.mark.parametrize("state", [None, {"version": "3.0.15-1", "state": "installed"}])
def test_a_version_that_is_not_as_planned_is_critical(state: dict[str, str] | None) -> None:
    result = ended(after={"openssl:amd64": state})
    assert len(missed(result)) == 1
    assert statuses(result)["patching.versions"] == "critical"
    assert not well(result)


def test_the_right_version_in_the_wrong_state_is_critical() -> None:
    result = ended(after={"openssl:amd64": {"version": "3.0.17-1", "state": "half-configured"}})
    assert statuses(result)["patching.versions"] == "critical"
    assert not well(result)


def test_what_dpkg_has_not_done_with_is_critical() -> None:
    installed = {"version": "1", "state": "installed"}
    left = unfinished({"a:amd64": installed, "b:amd64": {**installed, "state": "triggers-pending"}})
    assert left == ["b:amd64 is 1 (triggers-pending)"]
    assert statuses(ended(unfinished=left))["patching.versions"] == "critical"
    assert not well(ended(unfinished=left))


def test_a_host_that_is_as_planned() -> None:
    assert set(statuses(ended()).values()) == {"ok"}
    assert well(ended())


def test_there_is_nothing_to_do() -> None:
    nothing = {"packages": [], "wanted": False, "download": 0, "grows": 0}
    checks, (action,) = planned(plan(**nothing), "2026-11-29T00:00:00Z")
    assert (action["status"], action["message"]) == ("ok", "Nothing to do.")
    assert {check.status for check in checks} == {"ok"}
    result = ended(**nothing, before={}, after={}, changed=False, services=None)
    assert set(statuses(result).values()) == {"ok"}
    assert well(result)


def test_no_way_back_and_a_restart_are_warnings() -> None:
    result = statuses(ended(back=["openssl 3.0.15-1 is not to be had any more"], reboot_pending=["libc6"]))
    assert (result["patching.back"], result["patching.reboot"]) == ("warning", "warning")


class List:
    """A list of packages, as apt_pkg shows it."""

    origin, label, archive, codename = "Debian", "Debian-Security", "stable-security", None


def test_whose_updates_are_security() -> None:
    assert matches(List, {"origin": "Debian", "label": "Debian-Security", "archive": None, "codename": None})
    assert matches(List, {"archive": "*-security"})
    assert not matches(List, {"origin": "Debian", "codename": "bookworm"})
    # What says nothing matches nothing.
    assert not matches(List, {"origin": None})
    assert not matches(List, {})


def test_conffiles_that_somebody_changed() -> None:
    shipped = {
        "a:amd64": {"/etc/a": "1" * 32, "/etc/b": "2" * 32, "/etc/gone": "3" * 32},
        "b:amd64": {"/etc/c": "4" * 32},
    }
    now = {"/etc/a": "1" * 32, "/etc/b": "9" * 32, "/etc/c": "4" * 32}
    assert changed_conffiles(shipped, now.get) == {"a:amd64": ["/etc/b", "/etc/gone"]}


def test_a_lock_is_seen_without_being_taken(tmp_path: Path) -> None:
    lock = tmp_path / host.LOCKS[0]
    assert host.locks(tmp_path) == []
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert host.locks(tmp_path) == []
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX);"
    code += "print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin
    assert holder.stdout
    try:
        assert holder.stdout.readline() == "held\n"
        (found,) = host.locks(tmp_path)
        assert (found["lock"], found["pid"]) == (f"/{host.LOCKS[0]}", holder.pid)
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
    assert host.locks(tmp_path) == []
    with lock.open("w") as mine:
        fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_restarts_are_forbidden_by_a_file_that_is_known_again(tmp_path: Path) -> None:
    (tmp_path / "usr/sbin").mkdir(parents=True)
    assert host.policy(tmp_path) == "none"
    host.forbid_restarts(tmp_path)
    assert host.policy(tmp_path) == "ours"
    path = tmp_path / host.POLICY
    assert subprocess.run([str(path), "cron", "restart"], check=False).returncode == 101
    host.allow_restarts(tmp_path)
    assert not path.exists()
    path.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    assert host.policy(tmp_path) == "foreign"
    host.allow_restarts(tmp_path)
    assert path.exists()
    path.unlink()
    path.symlink_to("/nowhere")
    assert host.policy(tmp_path) == "foreign"


def test_an_interrupted_dpkg_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "var/lib/dpkg/updates"
    assert not host.journal(tmp_path)
    folder.mkdir(parents=True)
    (folder / "tmp.i").touch()
    assert not host.journal(tmp_path)
    (folder / "0001").touch()
    assert host.journal(tmp_path)


def test_a_restart_that_is_due_is_seen(tmp_path: Path) -> None:
    assert host.reboot_pending(tmp_path) is None
    (tmp_path / "run").mkdir()
    (tmp_path / "run/reboot-required").touch()
    assert host.reboot_pending(tmp_path) == []
    (tmp_path / "run/reboot-required.pkgs").write_text("linux-base\nlibc6\nlibc6\n", encoding="utf-8")
    assert host.reboot_pending(tmp_path) == ["libc6", "linux-base"]


def test_exactly_the_planned_versions_are_asked_for(tmp_path: Path) -> None:
    where = commands.Place(tmp_path, tmp_path / "lists", tmp_path / "cache", tmp_path / "apt.conf")
    how = {"conffiles": "keep", "rollback": False}
    command = commands.install_command(where, [row(), row(package="zlib1g", to="1:1.2.13")], how)
    assert command[command.index("install") + 1 :] == ["openssl:amd64=3.0.17-1", "zlib1g:amd64=1:1.2.13"]
    assert {"--no-remove", "Dpkg::Options::=--force-confold", f"Dir::State::Lists={where.lists}"} <= set(command)
    assert not {"--allow-downgrades", "--allow-remove-essential", "--allow-change-held-packages"} & set(command)


def test_nothing_of_our_surroundings_reaches_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    said = commands.run(["env"])
    assert "s3cret" not in said
    assert "NEEDRESTART_SUSPEND=1" in said
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "s3cret"


def test_ctrl_c_waits_for_a_program_that_changes_packages() -> None:
    interrupts = [KeyboardInterrupt(), KeyboardInterrupt()]

    class Process:
        """One that can be waited for and not be killed; Ctrl-C comes meanwhile, twice."""

        def wait(self) -> int:
            if interrupts:
                raise interrupts.pop()
            self.over = True
            return 0

    process = Process()
    with pytest.raises(KeyboardInterrupt):
        lasting.ended(cast("subprocess.Popen[bytes]", process))
    assert process.over
    assert lasting.ended(cast("subprocess.Popen[bytes]", process)) == 0


def test_a_program_that_fails_says_how_it_ended() -> None:
    with pytest.raises(PatchingError, match=r"sh failed \(3\): one / two"):
        commands.run(["sh", "-c", "echo one; echo two >&2; exit 3"])
    with pytest.raises(PatchingError, match="cannot be run"):
        commands.run(["/nowhere/apt-get"])
