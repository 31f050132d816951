"""Which kernel a restarted host is to run, on images with the header of a real one."""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import (
    engine,
    kernel,
    proof,
    solver,
    state,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.findings import findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.judgement import due
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.proven import proven, well

from tests.conftest import left_out
from tests.unit.test_patching_judgement import RUNNING, ended, plan, row
from tests.unit.test_patching_proof import BEFORE, NOW, kept, result

#: As Debian's packages have them, and as uname says it.
OLD = kernel.Kernel("6.1.0-9-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.27-1 (2023-05-08)")
NEW = kernel.Kernel("6.1.0-13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.55-1 (2023-09-29)")
#: The same release once more: an update that keeps the ABI.
BUILT = kernel.Kernel("6.1.0-9-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.27-2 (2023-05-20)")
NEVER = {**RUNNING, "asked": False, "newer_kernel": None, "expected_kernel": None}


def image(root: Path, name: str, of: kernel.Kernel | None) -> None:
    """As linux-image-6.1.0-57-cloud-amd64 has it: setup header, and the text at 0x200 and what the header says."""
    path = root / "boot" / name
    path.parent.mkdir(exist_ok=True)
    head = bytearray(0x3000)
    if of is not None:
        head[0x1FE:0x200], head[0x202:0x206] = b"\x55\xaa", b"HdrS"
        struct.pack_into("<H", head, 0x20E, 0x2B40)
        text = f"{of.release} (debian-kernel@lists.debian.org) {of.build}\0".encode()
        head[0x2D40 : 0x2D40 + len(text)] = text
    path.write_bytes(bytes(head))


def compare(one: str, other: str) -> int:
    """Debian's comparison, as far as these go."""
    return int(one.split("-")[1]) - int(other.split("-")[1])


class Apt:
    version_compare = staticmethod(compare)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host that runs the older of its kernels."""
    image(tmp_path, "vmlinuz-6.1.0-9-amd64", OLD)
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    monkeypatch.setattr(solver, "apt", lambda: Apt)
    monkeypatch.setattr(engine, "status", dict)
    monkeypatch.setattr(kernel, "running", lambda: OLD)
    return tmp_path


def test_an_image_says_what_uname_will_say(root: Path) -> None:
    assert kernel.images(root) == [OLD]
    # Another architecture's, and one that is cut off: the name is what is known.
    image(root, "vmlinux-6.1.0-11-arm64", None)
    (root / "boot/vmlinuz-6.1.0-12-amd64").write_bytes(b"MZ")
    # What boot loaders leave out.
    for name in ("vmlinuz-6.1.0-99-amd64.dpkg-new", "vmlinuz-6.1.0-99-amd64.old", "vmlinuz-6.1.0-99-amd64.sig"):
        image(root, name, NEW)
    (root / "boot/vmlinuz-6.1.0-98-amd64").mkdir()
    (root / "boot/vmlinuz-6.1.0-97-amd64").symlink_to("gone")
    assert kernel.images(root) == [
        kernel.Kernel("6.1.0-11-arm64", None),
        kernel.Kernel("6.1.0-12-amd64", None),
        OLD,
    ]
    # Two builds of one release.
    image(root, "vmlinuz-mine", BUILT)
    assert kernel.Kernel(OLD.release, None) in kernel.images(root)


def restarted(mode: str = "when_needed", **values: Any) -> dict[str, Any]:
    """What a host keeps once packages are in place, needrestart not being asked."""
    made = ended(reboot_mode=mode, services=kernel.completed(dict(NEVER), engine.ROOT, compare), **values)
    assert due(made)
    return kept(**engine.coming(made))


def came_up(was: dict[str, Any], now: kernel.Kernel, rebooted: bool = True, **values: Any) -> set[str]:
    facts = {**NOW, "kernel": now.release, "build": now.build, **values}
    if rebooted:
        facts["identity"] = {"boot_id": "two", "started": "90"}
    return set(proof.faults(was, facts, rebooted))


def test_without_needrestart_a_new_kernel_is_started_and_proven(root: Path) -> None:
    image(root, "vmlinuz-6.1.0-13-amd64", NEW)
    was = restarted()
    assert came_up(was, NEW) == set()
    assert came_up(was, OLD) == {"kernel"}
    # No such restart in a container.
    assert came_up(was, OLD, container=True) == set()


def test_the_same_release_built_anew_is_not_the_one_of_before(root: Path) -> None:
    """uname -r says the same of both."""
    image(root, "vmlinuz-6.1.0-9-amd64", BUILT)
    was = restarted()
    assert came_up(was, BUILT) == set()
    assert came_up(was, OLD) == {"kernel"}
    # needrestart names releases only.
    said = {**RUNNING, "newer_kernel": True, "expected_kernel": OLD.release}
    assert came_up(kept(**engine.coming(plan(services=said))), OLD) == {"kernel"}


def test_needrestart_knows_which_kernels_count(root: Path) -> None:
    image(root, "vmlinuz-6.1.0-13-amd64", NEW)
    said = {**RUNNING, "newer_kernel": False, "expected_kernel": OLD.release}
    assert kernel.completed(said, root, compare) == said
    was = kept(**engine.coming(plan(services=said)))
    assert (came_up(was, OLD), came_up(was, NEW)) == (set(), {"kernel"})
    # One that /boot does not have.
    was = kept(**engine.coming(plan(services={**said, "expected_kernel": "6.1.0-14-amd64"})))
    assert came_up(was, NEW) == {"kernel"}
    none: dict[str, Any] = {"kernel": None, "kernels": [], "kernel_of": "container"}
    assert engine.coming(plan(services=said, container=True)) == none


def test_a_kernel_that_does_not_come_from_boot(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hypervisor starts it, or its package was removed: the newest one or again the same comes up, and no third."""
    other = kernel.Kernel("6.18.44-host", "#1 SMP")
    monkeypatch.setattr(kernel, "running", lambda: other)
    image(root, "vmlinuz-6.1.0-13-amd64", NEW)
    assert kernel.completed(dict(NEVER), root, compare)["newer_kernel"] is None
    was = kept(**engine.coming(plan(services=NEVER)))
    assert (came_up(was, other), came_up(was, NEW), came_up(was, OLD)) == (set(), set(), {"kernel"})


def test_a_kernel_whose_image_is_gone_is_not_as_planned(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has modules here: installed here, and /boot is another one than the one it was started from."""
    other = kernel.Kernel("6.1.0-8-amd64", "#1 SMP")
    monkeypatch.setattr(kernel, "running", lambda: other)
    (root / "lib/modules/6.1.0-8-amd64").mkdir(parents=True)
    was = kept(**engine.coming(plan(services=NEVER)))
    assert (came_up(was, other), came_up(was, OLD)) == ({"kernel"}, set())


def installed(*names: str, state: str = "installed") -> dict[str, dict[str, str]]:
    return {f"{name}:amd64": {"version": "1", "state": state} for name in ("bash", *names)}


def after_restart(was: dict[str, Any], now: kernel.Kernel, waiting: bool | None) -> tuple[str, str, bool]:
    """Status and message of the check, and whether the host is well."""
    facts = {**NOW, "kernel": now.release, "build": now.build, "identity": {"boot_id": "two", "started": "90"}}
    said: dict[str, Any] = {"faults": proof.faults(was, facts, True), "untold": proof.untold(was, facts, waiting)}
    said.update(kernels=state.kernels(was), kernel_of=was["kernel_of"], now=facts, rebooted=True)
    checks = proven(result(**said), (99.9, 100.1), 60)
    (check,) = [each for each in checks if each.id == "patching.proven:kernel"]
    return check.status, check.message, well(checks)


@pytest.mark.parametrize(
    ("packages", "folders", "rows"),
    [
        (installed("linux-image-6.1.0-57-cloud-amd64"), [], []),
        (installed("raspberrypi-kernel", state="half-configured"), [], []),
        # By another way than a package.
        (installed(), ["lib/modules/6.1.0-9-amd64"], []),
        (installed(), ["usr/lib/modules/5.15.0-custom"], []),
        (installed(), [], ["linux-image-6.1.0-57-amd64"]),
    ],
)
def test_where_boot_says_nothing_nobody_knows_which_kernel_is_to_come(
    root: Path, monkeypatch: pytest.MonkeyPatch, packages: Any, folders: list[str], rows: list[str]
) -> None:
    (root / "boot/vmlinuz-6.1.0-9-amd64").unlink()
    for folder in folders:
        (root / folder).mkdir(parents=True)
    monkeypatch.setattr(engine, "status", lambda: packages)
    assert kernel.completed(dict(NEVER), root, compare)["newer_kernel"] is None
    awaited = engine.coming(plan(services=NEVER, packages=[row(package=name) for name in rows]))
    assert awaited == {"kernel": None, "kernels": [], "kernel_of": "unknown"}
    was = kept(**awaited)
    # That of before, again: it may be the wrong one, and one that waits is no better.
    for waiting in (None, True):
        status, message, good = after_restart(was, OLD, waiting)
        assert (status, good) == ("unknown", False)
        assert "not known" in message
    # needrestart was installed meanwhile, or /boot is there again.
    assert after_restart(was, OLD, False)[::2] == ("ok", True)
    # The plan says it before anything is restarted.
    due_now = ended(reboot_mode="always", reboot_due=True, services=NEVER, running=NEVER, **awaited)
    (check,) = [each for each in findings(due_now, "2026-11-29T00:00:00Z")[0] if each.id == "patching.reboot"]
    assert check.status == "unknown"
    # A run that comes after does not forget it, unless nobody wants a restart any more.
    later = {**BEFORE, "identity": {"boot_id": "two", "started": "90"}}
    for mode, of in (("when_needed", "unknown"), ("never", None)):
        assert state.begun(was, plan(packages=[], open=True, reboot_mode=mode), later, {})["kernel_of"] == of


def test_a_host_without_any_kernel_of_its_own_is_shown_to_be_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "boot/vmlinuz-6.1.0-9-amd64").unlink()
    # A package that was removed, and an empty folder, are none.
    gone = installed("linux-image-6.1.0-9-amd64", state="config-files")
    monkeypatch.setattr(engine, "status", lambda: gone)
    (root / "lib/modules").mkdir(parents=True)
    was = kept(**engine.coming(plan(services=NEVER)))
    assert was["kernel_of"] == "elsewhere"
    for now in (OLD, NEW):
        status, message, good = after_restart(was, now, None)
        assert (status, good) == ("ok", True)
        assert f"{now.release}, which somebody else starts" in message
        assert "as planned" not in message


#: What Debian 12 had in /boot of its packages in November 2026, two of its backports, and its predecessor.
LISTED = (
    *("6.1.0-9-amd64", "6.1.0-50-amd64", "6.1.0-57-amd64", "6.1.0-57-cloud-amd64", "6.1.0-57-rt-amd64"),
    *("6.1.0-50-rt-amd64", "6.12.107+deb12-amd64", "6.12.117+deb12-cloud-amd64", "6.12.9+bpo-amd64", "6.12-amd64"),
    *("6.10.11+bpo-amd64", "5.10.0-33-amd64", "6.1.0-0.deb11.13-amd64"),
)


def test_of_real_names_the_newest_is_the_one_that_grub_takes(tmp_path: Path) -> None:
    """Of all flavours together, as grub-mkconfig sorts them (sort -V)."""
    if not shutil.which("dpkg"):
        left_out("versions of Debian need dpkg: apt-get install dpkg")

    @functools.cache
    def debian(one: str, other: str) -> int:
        for word, number in (("lt", -1), ("gt", 1)):
            if subprocess.run(["dpkg", "--compare-versions", one, word, other], check=False).returncode == 0:
                return number
        return 0

    (tmp_path / "boot").mkdir()
    for release in LISTED:
        for name in ("vmlinuz", "config", "System.map", "initrd.img"):
            (tmp_path / f"boot/{name}-{release}").touch()
    there = kernel.images(tmp_path)
    assert {each.release for each in there} == set(LISTED)
    names = "".join(f"/boot/vmlinuz-{release}\n" for release in LISTED)
    said = subprocess.run(["sort", "-V"], input=names, capture_output=True, text=True, check=True, env={"LC_ALL": "C"})
    order = [line.removeprefix("/boot/vmlinuz-") for line in said.stdout.split()]
    assert order == sorted(LISTED, key=functools.cmp_to_key(debian))
    while there:
        best = kernel.newest(there, debian)
        assert best is not None
        assert best.release == order.pop()
        there.remove(best)


def test_a_run_killed_after_the_restart_leaves_its_kernel_to_be_proven(root: Path, tmp_path: Path) -> None:
    """The next run has nothing to restart any more, and the wrong kernel is no good one."""
    image(root, "vmlinuz-6.1.0-13-amd64", NEW)
    first = restarted()
    later = {**BEFORE, "identity": {"boot_id": "two", "started": "90"}}
    again = state.begun(first, plan(packages=[], open=True, reboot_mode="when_needed"), later, {})
    assert came_up(again, OLD, False) == {"kernel"}
    assert came_up(again, NEW, False) == set()
    found = {"kernel": "It runs the old one."}
    checks = proven(result(kernels=state.kernels(again), faults=found, now={**NOW, "build": None}), (99.9, 100.1), 60)
    assert {check.id: check.status for check in checks}["patching.proven:kernel"] == "critical"
    assert not well(checks)
    # Whoever says never now wants none.
    never = state.begun(first, plan(packages=[], open=True, reboot_mode="never"), later, {})
    assert came_up(never, OLD, False) == set()
    # As version 0.1 kept it.
    old = {key: value for key, value in first.items() if key != "kernels"}
    assert (came_up(old, OLD), came_up(old, NEW)) == ({"kernel"}, set())


@pytest.mark.parametrize(("newer", "status"), [(True, "warning"), (False, "ok"), (None, "warning")])
def test_what_boot_says_is_reported(newer: bool | None, status: str) -> None:
    said = {**NEVER, "newer_kernel": newer}
    checks = findings(ended(services=said, running=said), "2026-11-29T00:00:00Z")[0]
    (check,) = [each for each in checks if each.id == "patching.reboot"]
    assert (check.status, check.value) == (status, newer)
