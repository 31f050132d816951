# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which kernel a host is to run after a restart, by the images in /boot: also where needrestart does not say."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

#: vmlinuz- or vmlinux-, and what boot loaders leave out: copies, and what a package manager put aside.
_PREFIX = len("vmlinuz-")
_ASIDE = (".old", ".bak", ".sig", ".hmac", ".rpmsave", ".rpmnew", ".rpmorig")
#: Linux' boot protocol on x86: two signatures, and where the version's text is, counted from the second sector.
_BOOT, _HEADER, _TEXT, _SECTOR = 0x1FE, 0x202, 0x20E, 0x200
_LONGEST = 512
#: Characters of uname -v.
_BUILD = 64

#: What packages of kernels are called: of Debian and Ubuntu, Proxmox, and Raspberry Pi OS.
_PACKAGES = ("linux-image", "linux-modules", "proxmox-kernel", "pve-kernel", "raspberrypi-kernel")
_MODULES = ("lib/modules", "usr/lib/modules")
#: Whose the kernel is that a host is to run: of its own, of a container's host, of somebody else, and nobody knows.
OWN, CONTAINER, ELSEWHERE, UNKNOWN = "own", "container", "elsewhere", "unknown"

Compare = Callable[[str, str], int]


class Kernel(NamedTuple):
    """What it says of itself once it runs: uname -r, and uname -v, which another build of the same release changes."""

    release: str
    #: None: the image does not say.
    build: Optional[str]


def running() -> Kernel:
    said = os.uname()
    return Kernel(said.release, said.version)


def stated(path: Path) -> Optional[Kernel]:
    """What an image says of itself; None when it is none of x86, or says nothing.

    :raises OSError: it cannot be read
    """
    with path.open("rb") as image:
        head = image.read(_TEXT + 2)
        if len(head) < _TEXT + 2 or head[_BOOT : _BOOT + 2] != b"\x55\xaa" or head[_HEADER : _HEADER + 4] != b"HdrS":
            return None
        (offset,) = struct.unpack_from("<H", head, _TEXT)
        if not offset:
            return None
        image.seek(_SECTOR + offset)
        text, end, _rest = image.read(_LONGEST).partition(b"\0")
    # RELEASE (who built it) BUILD
    release, opened, rest = text.decode("utf-8", "replace").partition(" (")
    _who, closed, build = rest.partition(") ")
    return Kernel(release, build[:_BUILD]) if end and opened and closed and release and build else None


def images(root: Path) -> List[Kernel]:
    """The kernels that the host can start, one of each release.

    :raises OSError: /boot cannot be read
    """
    found: Dict[str, Kernel] = {}
    for path in sorted((root / "boot").glob("vmlinu[xz]-*")):
        if path.name.endswith(_ASIDE) or ".dpkg-" in path.name or not path.is_file():
            continue
        each = stated(path) or Kernel(path.name[_PREFIX:], None)
        # Which of two builds is started, nobody knows.
        same = found.get(each.release, each) == each
        found[each.release] = each if same else Kernel(each.release, None)
    return list(found.values())


def newest(there: List[Kernel], compare: Compare) -> Optional[Kernel]:
    """The one that boot loaders take: of the highest version.

    :param compare: of two versions, as Debian compares them
    """
    best: Optional[Kernel] = None
    for each in there:
        if best is None or compare(each.release, best.release) > 0:
            best = each
    return best


def waits(there: List[Kernel], now: Kernel, compare: Compare) -> Optional[bool]:
    """Whether a newer kernel than the running one waits for a restart; None when that is not known.

    A running kernel of which there is no image was started by somebody else, such as a hypervisor.
    """
    best = newest(there, compare)
    if best is None or now.release not in {each.release for each in there}:
        return None
    if best.release == now.release and best.build is None:
        return None
    return best != now


def completed(said: Dict[str, Any], root: Path, compare: Compare) -> Dict[str, Any]:
    """What needrestart says (see services.running), with what /boot says of the kernel where needrestart does not."""
    if said["newer_kernel"] is not None:
        return said
    try:
        return {**said, "newer_kernel": waits(images(root), running(), compare)}
    except OSError:
        return said


def coming(expected: Optional[str], root: Path, compare: Compare) -> List[Kernel]:
    """The kernel that the host is to run after its restart. Two when it may be started from elsewhere; none: unknown.

    :param expected: the release by needrestart, which knows what an administrator left out
    :raises OSError: see images
    """
    there, now = images(root), running()
    best = newest(there, compare)
    if expected is not None:
        best = next((each for each in there if each.release == expected), Kernel(expected, None))
    if best is None:
        return []
    # With modules on this host it was installed here: its image is gone, or /boot is another one than it was.
    here = now.release in {each.release for each in there} or modules(root, now.release)
    return [best, *([] if here else [now])]


def modules(root: Path, release: str = "") -> bool:
    """Whether there are modules of a kernel, or of any.

    :raises OSError: it cannot be said
    """
    folders = [root / name for name in _MODULES]
    if release:
        return any((folder / release).is_dir() for folder in folders)
    return any(any(folder.iterdir()) for folder in folders if folder.is_dir())


def is_package(name: str) -> bool:
    """Whether a package is one of a kernel.

    :param name: also with its architecture
    """
    return name.startswith(_PACKAGES)


def without(root: Path, packages: Iterable[str]) -> bool:
    """Whether a host is shown to have no kernel of its own: somebody else starts one for it.

    :param packages: all that are installed or planned
    """
    try:
        return not (any(map(is_package, packages)) or images(root) or modules(root))
    except OSError:
        return False


def fault(planned: List[List[Optional[str]]], now: Kernel) -> str:
    """Why the running kernel is none of the planned ones; empty when it is.

    :param planned: release and build, the build None when it is not known
    """
    builds = [build for release, build in planned if release == now.release]
    if not builds:
        return f"It runs kernel {now.release}, and {planned[0][0]} was planned."
    if None in builds or now.build in builds:
        return ""
    return f"It runs kernel {now.release} as it was before ({now.build}), and the build {builds[0]} was planned."
