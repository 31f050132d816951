# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control groups of a cluster: one of its own in each hierarchy, below which is all that its kubelet sees."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Hierarchy(NamedTuple):
    """One that is mounted here.

    :param controllers: as the kernel names them; empty for version 2
    :param place: of this process's own group
    """

    controllers: str
    place: Path


def hierarchies() -> Iterator[Hierarchy]:
    """All that this process has a group in."""
    mounts = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            root, mounted = before.split(" ")[3:5]
            mounts.append((kind, root, Path(mounted), set(options.split(","))))
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        for kind, root, place, served in mounts:
            if (kind == "cgroup2") if not controllers else set(controllers.split(",")) <= served:
                inner = os.path.relpath(path, root)
                yield Hierarchy(controllers, place if inner.startswith("..") else place / inner)
                break


def name(root: Path) -> str:
    """Of the groups of the sandbox with this data root."""
    return f"tradingflow-{hashlib.sha256(str(root).encode()).hexdigest()[:12]}"


def join(root: Path) -> None:
    """Makes the groups, and puts this process in them."""
    for controllers, place in hierarchies():
        group = place / name(root)
        group.mkdir(exist_ok=True)
        if not controllers:
            # Where version 2 is all there is, controllers are handed down one by one.
            for controller in ("cpu", "cpuset", "io", "memory", "pids"):
                with suppress(OSError):
                    (place / "cgroup.subtree_control").write_text(f"+{controller}", encoding="utf-8")
        if "cpuset" in controllers.split(","):
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (group / setting).write_text((place / setting).read_text(encoding="utf-8"), encoding="utf-8")
        (group / "cgroup.procs").write_text(str(os.getpid()), encoding="utf-8")


def left(root: Path) -> list[Path]:
    """The groups that are there."""
    found = {place / name(root) for _, place in hierarchies()}
    # Whoever made them may have been in others than this process.
    for _, place in hierarchies():
        for top in (place, *place.parents):
            if not (top / "cgroup.procs").exists():
                break
            found |= {top / name(root), *top.glob(f"*/{name(root)}"), *top.glob(f"*/*/{name(root)}")}
    return sorted(each for each in found if each.is_dir())


def remove(root: Path, seconds: float = 30) -> list[Path]:
    """Removes them, once the kernel has done with their processes. What is left after that time."""
    deadline = time.monotonic() + seconds
    while groups := left(root):
        for group in groups:
            for each in [*sorted(group.rglob("*/"), reverse=True), group]:
                with suppress(OSError):
                    each.rmdir()
        if time.monotonic() > deadline:
            return left(root)
        time.sleep(0.05)
    return []
