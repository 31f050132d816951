# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disk space, inodes and read-only mounts of a host."""

from __future__ import annotations

import os
import re
import stat
import threading
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Set

from ..checks import Check, judge, limits, unknown
from ..words import printable, size
from .host import Host

#: File systems that hold no one's data, or none of their own.
PSEUDO = {
    *("autofs", "binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs"),
    *("efivarfs", "fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "fusectl", "hugetlbfs", "mqueue", "nsfs", "overlay"),
    *("proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tmpfs", "tracefs"),
}
#: File systems that can only be read: always full, and rightly so.
READ_ONLY = {"cramfs", "erofs", "iso9660", "romfs", "squashfs", "udf"}

#: Seconds a file system may take to say how full it is; a dead NFS server never does.
STATVFS_TIMEOUT = 3.0


@dataclass
class Mount:
    """One line of /proc/self/mountinfo."""

    device: str
    root: str
    path: str
    options: Set[str]
    type: str
    source: str
    super_options: Set[str]


def unescape(text: str) -> str:
    """A field of /proc/self/mountinfo with its octal escapes (\\040 for a space) undone."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def parse_mounts(text: str) -> List[Mount]:
    """/proc/self/mountinfo, in order."""
    mounts = []
    for line in text.splitlines():
        left, _separator, right = line.partition(" - ")
        fields, rest = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(rest) < 3:
            raise ValueError(f"a line of mountinfo is not understood: {line[:200]!r}")
        mounts.append(
            Mount(
                device=fields[2],
                root=unescape(fields[3]),
                path=unescape(fields[4]),
                options=set(fields[5].split(",")),
                type=rest[0],
                source=unescape(rest[1]),
                super_options=set(rest[2].split(",")),
            )
        )
    return mounts


def real_mounts(host: Host) -> List[Mount]:
    """Mounts that hold data: one per file system, and each that the option "mounts" names."""
    visible: Dict[str, Mount] = {}
    for mount in parse_mounts(host.read("/proc/self/mountinfo")):
        visible[mount.path] = mount  # a later mount on the same place hides the earlier one
    chosen: Dict[str, Mount] = {}
    named: List[Mount] = []
    for mount in visible.values():
        option = host.mounts.get(mount.path)
        if option:
            if not option["ignore"]:
                named.append(mount)
                chosen.setdefault(mount.device, mount)
            continue
        if mount.path != "/" and (mount.type in PSEUDO or mount.source.startswith("/dev/loop")):
            continue
        if mount.type in READ_ONLY or is_file(host.path(mount.path)):
            continue
        held = chosen.get(mount.device)
        # The file system's own mount before bind mounts of parts of it, then the shortest path.
        closer = held is None or (mount.root != "/", len(mount.path)) < (held.root != "/", len(held.path))
        if closer and held not in named:
            chosen[mount.device] = mount
    result = named + [mount for mount in chosen.values() if mount not in named]
    return sorted(result, key=lambda mount: mount.path)


def is_file(path: str) -> bool:
    """Whether it is certainly no directory: containers mount single files."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False


def statvfs_in_time(host: Host, path: str) -> Any:
    """os.statvfs within STATVFS_TIMEOUT.

    :raises OSError: it failed or took longer
    """
    answer: List[Any] = []

    def ask() -> None:
        try:
            answer.append(host.statvfs(host.path(path)))
        except OSError as error:
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(STATVFS_TIMEOUT)
    if not answer:
        raise TimeoutError(f"no answer in {STATVFS_TIMEOUT:g} s")
    if isinstance(answer[0], OSError):
        raise answer[0]
    return answer[0]


def disks(host: Host) -> Iterator[Check]:
    """Space and inodes of each real mount."""
    mounts = real_mounts(host)
    for path, option in host.mounts.items():
        if not option["ignore"] and path not in {mount.path for mount in mounts}:
            yield unknown(
                f"system.disk_space:{printable(path)}",
                f"Disk space of {printable(path)}",
                f"Nothing is mounted at {printable(path)}.",
                "Mount it, or take it out of the option mounts.",
            )
    if not mounts:
        yield unknown("system.disk_space", "Disk space", "No mount that holds data was found.", "Name it in mounts.")
    for mount in mounts:
        name = printable(mount.path)
        try:
            usage = statvfs_in_time(host, mount.path)
        except OSError as error:
            yield unknown(
                f"system.disk_space:{name}",
                f"Disk space of {name}",
                f"{name} does not say how full it is: {error}",
                "Check the device or the server behind this mount.",
                source=f"statvfs {name}",
            )
            continue
        yield from space(host, mount, name, usage)
        yield from inodes(host, mount, name, usage)


def limits_of(host: Host, mount: Mount, name: str) -> Dict[str, Any]:
    """Thresholds of a mount: its own where set."""
    own = {key: value for key, value in limits(host.mounts.get(mount.path, {}), name).items() if value is not None}
    return {**limits(host.thresholds, name), **own}


def space(host: Host, mount: Mount, name: str, usage: Any) -> Iterator[Check]:
    """Space used, in % of what users other than root can have, as df counts it."""
    if not usage.f_blocks:
        return
    used, free = usage.f_blocks - usage.f_bfree, usage.f_bavail
    value = round(100 * used / (used + free), 1) if used + free else 100.0
    yield judge(
        f"system.disk_space:{name}",
        f"Disk space of {name}",
        value,
        unit="%",
        **limits_of(host, mount, "disk_space"),
        message=f"{name} is {value} % full, {size(free * usage.f_frsize)} are free.",
        remedy=f"Free space on {name} (largest folders: du -xh {name} | sort -h | tail) or enlarge it.",
        source=f"statvfs {name}",
        details={"free_bytes": free * usage.f_frsize, "type": mount.type, "device": printable(mount.source)},
    )


def inodes(host: Host, mount: Mount, name: str, usage: Any) -> Iterator[Check]:
    """Inodes used, in %. File systems that make them as needed (btrfs, vfat) have no such limit and no check."""
    if not usage.f_files:
        return
    used = usage.f_files - usage.f_ffree
    value = round(100 * used / (used + usage.f_favail), 1) if used + usage.f_favail else 100.0
    yield judge(
        f"system.inodes:{name}",
        f"Inodes of {name}",
        value,
        unit="%",
        **limits_of(host, mount, "inodes"),
        message=f"{value} % of the inodes of {name} are used, {usage.f_favail} are free.",
        remedy=f"Find the folder with very many small files on {name} (du --inodes -x {name} | sort -n | tail).",
        source=f"statvfs {name}",
        details={"free": usage.f_favail},
    )


def read_only_mounts(host: Host) -> Iterator[Check]:
    """File systems that are read-only although neither fstab nor the option "mounts" says so."""
    try:
        lines = [line.split() for line in host.read("/etc/fstab").splitlines()]
    except FileNotFoundError:
        lines = []
    expected = {
        unescape(line[1]) for line in lines if len(line) > 3 and line[0][0] != "#" and "ro" in line[3].split(",")
    }
    expected |= {path for path, option in host.mounts.items() if option["read_only"]}
    mounts = real_mounts(host)
    wrong = [
        printable(mount.path)
        for mount in mounts
        if "ro" in mount.options | mount.super_options and mount.path not in expected and mount.type not in READ_ONLY
    ]
    text = (
        f"Read-only though they should not be: {', '.join(wrong[:5])}."
        if wrong
        else "All mounts are as they should be."
    )
    yield judge(
        "system.read_only_mounts",
        "Mounts wrongly read-only",
        len(wrong) if mounts else None,
        **limits(host.thresholds, "read_only_mounts"),
        message=text,
        remedy="Read dmesg for I/O errors, then check the file system; or set read_only in the option mounts.",
        source="/proc/self/mountinfo",
        details={"mounts": wrong[:20], "looked_at": len(mounts)},
    )
