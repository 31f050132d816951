"""Which kernel a restarted host is to run, on images with the header of a real one."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import engine, kernel, proof, state
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.findings import findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.judgement import due
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.proven import proven, well

from tests.unit.test_patching_judgement import RUNNING, ended, plan
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
    monkeypatch.setattr(engine, "apt", lambda: Apt)
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
    assert engine.coming(plan(services=said, container=True)) == {"kernel": None, "kernels": []}


def test_a_kernel_that_does_not_come_from_boot(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hypervisor starts it, or its package was removed: the newest one or again the same comes up, and no third."""
    other = kernel.Kernel("6.18.44-host", "#1 SMP")
    monkeypatch.setattr(kernel, "running", lambda: other)
    image(root, "vmlinuz-6.1.0-13-amd64", NEW)
    assert kernel.completed(dict(NEVER), root, compare)["newer_kernel"] is None
    was = kept(**engine.coming(plan(services=NEVER)))
    assert (came_up(was, other), came_up(was, NEW), came_up(was, OLD)) == (set(), set(), {"kernel"})


def test_where_boot_says_nothing_the_kernel_of_before_is_to_come(root: Path) -> None:
    (root / "boot/vmlinuz-6.1.0-9-amd64").unlink()
    assert kernel.completed(dict(NEVER), root, compare)["newer_kernel"] is None
    was = kept(**engine.coming(plan(services=NEVER)))
    assert (came_up(was, OLD), came_up(was, NEW)) == (set(), {"kernel"})


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
