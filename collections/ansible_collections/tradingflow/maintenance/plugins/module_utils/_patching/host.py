# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host says before it is patched: space, locks, what is half done, and whether a restart is due."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Any, Dict, List, Optional

#: struct flock of the C library: type, whence, start, length, pid.
_FLOCK = "hhqqi4x"
LOCKS = (
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/lock",
    "var/lib/apt/lists/lock",
    "var/cache/apt/archives/lock",
)
MOUNTS = ("/", "/boot", "/var", "/usr")
POLICY = "usr/sbin/policy-rc.d"
#: Our policy-rc.d has it, so that one left by a killed run is known from an administrator's.
MARK = "# tradingflow.maintenance patching"
POLICY_TEXT = f"#!/bin/sh\n{MARK}: packages restart nothing while they are put in place.\nexit 101\n"


def lock_holder(path: Path) -> Optional[int]:
    """The process that holds a lock of apt or dpkg, by a question that takes nothing; None when it is free.

    :raises OSError: it cannot be said
    """
    try:
        handle = os.open(str(path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _whence, _start, _length, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, asked))
    finally:
        os.close(handle)
    return None if kind == fcntl.F_UNLCK else int(pid)


def command_of(pid: int) -> str:
    """The name of a process, as far as it can be had."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "unknown"


def locks(root: Path) -> List[Dict[str, Any]]:
    """Who holds a lock of apt or dpkg.

    :raises OSError: it cannot be said
    """
    found = []
    for name in LOCKS:
        holder = lock_holder(root / name)
        if holder is not None:
            found.append({"lock": f"/{name}", "pid": holder, "command": command_of(holder)})
    return found


def space(root: Path, scratch: str = "") -> List[Dict[str, Any]]:
    """Bytes free on each file system of those that packages go to.

    :param scratch: where they are downloaded to
    """
    found: List[Dict[str, Any]] = []
    seen = set()
    for mount in (*MOUNTS, *([scratch] if scratch else [])):
        path = root / mount.lstrip("/")
        if not path.is_dir():
            continue
        device, status = path.stat().st_dev, os.statvfs(path)
        if device not in seen:
            seen.add(device)
            found.append({"path": mount, "free": status.f_bavail * status.f_frsize})
    return found


def journal(root: Path) -> bool:
    """Whether dpkg was interrupted between two of its own notes."""
    folder = root / "var/lib/dpkg/updates"
    return folder.is_dir() and any(path.name.isdigit() for path in folder.iterdir())


def reboot_pending(root: Path) -> Optional[List[str]]:
    """The packages that want the host restarted; None when nothing does."""
    if not (root / "run/reboot-required").exists():
        return None
    try:
        text = (root / "run/reboot-required.pkgs").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return sorted(set(text.split()))


def policy(root: Path) -> str:
    """Whose policy-rc.d is there: nobody's, ours (left by a killed run), or foreign."""
    path = root / POLICY
    if not path.is_symlink() and not path.exists():
        return "none"
    try:
        return "ours" if MARK in path.read_text(encoding="utf-8", errors="replace") else "foreign"
    except OSError:
        return "foreign"


def forbid_restarts(root: Path) -> None:
    """Puts our policy-rc.d in place, whole or not at all."""
    path = root / POLICY
    new = path.with_name(".policy-rc.d.tradingflow")
    new.write_text(POLICY_TEXT, encoding="ascii")
    new.chmod(0o755)
    os.replace(new, path)


def allow_restarts(root: Path) -> None:
    """Takes our policy-rc.d away again."""
    if policy(root) == "ours":
        (root / POLICY).unlink()
