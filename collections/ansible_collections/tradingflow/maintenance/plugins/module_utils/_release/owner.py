# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which process is at work, so that another can prove that it is gone: not by a guess, and not by its age alone."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Optional

from .record import moment_of


def mine() -> Dict[str, str]:
    """This process: which boot of which machine, which space of ids, which id, and when it began. Empty where no
    system says so.
    """
    return _described(os.getpid())


def _described(pid: int) -> Dict[str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # What follows the name, which may hold anything: the state first, the start as the 20th.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        return {}
    if fields[0] in ("Z", "X"):
        return {"ended": str(pid)}
    return {"boot": boot, "space": space, "pid": str(pid), "began": fields[19]}


def gone(recorded: Any) -> bool:
    """Whether a process that mine() described has ended, provably: seen from the same boot of the same machine, in the
    same space of ids. Of our own process too: it has waited for what it began.
    """
    here = mine()
    if not here or not isinstance(recorded, dict) or not str(recorded.get("pid") or "").isdigit():
        return False
    if any(recorded.get(name) != here[name] for name in ("boot", "space")):
        return False
    if recorded == here:
        return True
    there = _described(int(recorded["pid"]))
    return there != recorded if there else not _exists(int(recorded["pid"]))


def _exists(pid: int) -> bool:
    """Whether there is such a process, which /proc may hide from other users (hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def age(text: str) -> Optional[float]:
    """Seconds since a moment as the API gives it; None when it is none."""
    try:
        return (datetime.now(timezone.utc) - moment_of(text)).total_seconds()
    except ValueError:
        return None
