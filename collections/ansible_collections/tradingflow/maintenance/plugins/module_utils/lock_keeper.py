# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renews a run's lock while the run lives, shows who has it, and releases what a dead run left."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Callable, Optional

from .errors import MaintenanceError
from .lock import RENEWING, TIMEOUTS, Remote, alive_here, guard, parse, path_of, read_file

#: Renewals within the lock's time: some may fail.
_PER_TTL = 5


def keep(lock: dict[str, Any], *, storage: Optional[dict[str, Any]]) -> None:
    """Leaves a process that renews the lock until it is given back, somebody else's, or its owner is gone.

    :param lock: of lock.acquire; its owner is on this machine
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        # Its parent is nobody, so that nobody has to wait for it.
        if not os.fork():
            null = os.open(os.devnull, os.O_RDWR)
            for handle in (0, 1, 2):
                os.dup2(null, handle)
            os.closerange(3, 4096)
            renewing(lock, storage=storage)
    finally:
        # Not through the interpreter's end: the parent's temporary files are not ours to remove.
        os._exit(0)


def renewing(
    lock: dict[str, Any],
    *,
    storage: Optional[dict[str, Any]],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Renews the lock until it is given back, somebody else's, or its owner is gone."""
    every = max(lock["ttl_s"] / _PER_TTL, 1.0)
    due = time.monotonic() + every
    while lives(lock):
        sleep(1)
        try:
            if not holds(lock):
                return
            if time.monotonic() >= due:
                due = time.monotonic() + every
                if not renew(lock, storage=storage):
                    return
        except (MaintenanceError, OSError):
            # It has some time left; the next turn may do.
            continue


def lives(lock: dict[str, Any]) -> bool:
    """Whether the owner of a lock that was taken here still runs."""
    return alive_here(lock) is not False


def holds(lock: dict[str, Any]) -> bool:
    """Whether the file says that the lock is still ours.

    :raises OSError: it cannot be looked at
    """
    return bool((read_file(Path(lock["file"])) or {}).get("run_id") == lock["run_id"])


def renew(lock: dict[str, Any], *, storage: Optional[dict[str, Any]]) -> bool:
    """Has the time of a lock begin anew; False when it is not ours any more.

    :raises StorageError: the store does not answer
    :raises OSError: the file cannot be looked at
    """
    path = Path(lock["file"])
    with guard(path, RENEWING):
        with guard(path):
            if (read_file(path) or {}).get("run_id") != lock["run_id"]:
                return False
            os.utime(path)
        if storage and lock.get("remote"):
            return Remote({**storage, **TIMEOUTS}, lock["environment"], lock["procedure"]).renew(lock)
    return True


def holder(root: Path, environment: str, procedure: str, *, storage: Optional[dict[str, Any]]) -> list[dict[str, Any]]:
    """Who holds the lock, here and in the store: each with "place", and "alive", None when that cannot be seen.

    :raises StorageError: the store does not answer
    """
    path = path_of(root, environment, procedure)
    found = []
    if (here := read_file(path)) is not None:
        found.append({**here, "place": str(path), "alive": alive_here(here) if here else None})
    if storage:
        remote = Remote(storage, environment, procedure)
        there = remote.read()
        if there:
            place = f"s3://{remote.place['Bucket']}/{remote.place['Key']}"
            data = parse(there["data"])
            found.append({**data, "place": place, "alive": alive_here(data) if data else None})
    return found


def remove(root: Path, environment: str, procedure: str, *, storage: Optional[dict[str, Any]]) -> None:
    """Removes the lock, whoever has it. Whoever calls this knows that its run is dead.

    :raises StorageError: the store does not answer
    """
    path = path_of(root, environment, procedure)
    if path.exists():
        with guard(path):
            path.unlink(missing_ok=True)
    if storage:
        with guard(path, RENEWING):
            Remote(storage, environment, procedure).remove()
