# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Troubles of the application, of services that are down, and of a disk."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import postgres, storage
from ..application import trouble_file
from ..layout import SandboxError, mounts_below, write_private
from ..processes import alive
from .contract import Memory, Trouble

#: One request in ten is this slow: the median does not see it.
SLOW = {"path": "/health", "every": 10, "seconds": 1.2}
#: As many as are critical, whatever is usual.
LINES, EVENT = 1200, "order.failed"
BURST = {"lines": LINES, "event": EVENT, "error": "venue COINX answers 429: too many requests"}
DISK_SIZE = "1m"


def tell(name: str, order: dict[str, Any]) -> Callable[[Memory], None]:
    """Tells the application, by the file that it reads at each request and each heartbeat."""

    def do(memory: Memory) -> None:
        if not alive(memory.state.get("app", {})):
            raise SandboxError(f"{memory.name}: the application does not run. Start it: python -m sandbox start app")
        path = trouble_file(memory.state)
        orders = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        write_private(path, json.dumps({**orders, name: order}))

    return do


def tell_no_more(name: str) -> Callable[[Memory], None]:
    """Takes back what ``tell`` told."""

    def undo(memory: Memory) -> None:
        path = trouble_file(memory.state)
        orders = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        orders.pop(name, None)
        if orders:
            write_private(path, json.dumps(orders))
        else:
            path.unlink(missing_ok=True)

    return undo


def burst(memory: Memory) -> None:
    """Tells the application to log errors, and waits for the last of them."""
    log_file = Path(memory.state["app"]["log_file"])
    begin = len(log_file.read_text(encoding="utf-8"))
    tell("burst", BURST)(memory)
    deadline = time.monotonic() + 20
    while log_file.read_text(encoding="utf-8")[begin:].count(EVENT) < LINES:
        if time.monotonic() > deadline:
            raise SandboxError(f"{memory.name}: the application does not log them; see {log_file}.")
        time.sleep(0.1)


def stop_database(memory: Memory) -> None:
    # The application is not ready without it, and must not be restarted for that.
    memory.keep(keeps_down=["postgres", "app"])
    postgres.stop(memory.state)


def start_database(memory: Memory) -> None:
    if memory.get("keeps_down") and postgres.problem(memory.state["postgres"]):
        postgres.start(memory.state)


def stop_store(memory: Memory) -> None:
    memory.keep(keeps_down=["s3"])
    storage.stop(memory.state)


def start_store(memory: Memory) -> None:
    if memory.get("keeps_down") and storage.problem(memory.state["s3"]):
        storage.start(memory.state)


def fill_disk(memory: Memory) -> None:
    """Fills a file system that is the sandbox's own; it stays mounted, so that one sees it empty again."""
    state = memory.state
    folder = (state.layout.root / "small-disk").resolve()
    if folder not in mounts_below(state.layout.root):
        if os.getuid():
            raise SandboxError(f"{memory.name}: a file system of its own can be mounted by root only.")
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE},mode=0700", "tradingflow-sandbox", folder],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SandboxError(f"{memory.name}: no file system of its own can be mounted here: {done.stderr.strip()}")
    state.update(mounts=[{"path": str(folder)}])
    try:
        with open(folder / "full", "wb") as file:
            while True:
                file.write(bytes(65536))
                file.flush()
    except OSError:
        return  # no space left: as it should be


def empty_disk(memory: Memory) -> None:
    (memory.state.layout.root / "small-disk/full").unlink(missing_ok=True)


TROUBLES = (
    Trouble(
        "slow-endpoint",
        "one request in ten takes 1.2 s.",
        "all requests are fast again.",
        {"application.response_time_p95": "warning", "application.response_time_p99": "warning"},
        tell("slow", SLOW),
        tell_no_more("slow"),
    ),
    Trouble(
        "unhealthy-app",
        "/health answers 200, and says that the application is unhealthy.",
        "it is healthy again.",
        {"application.healthy": "critical"},
        tell("unhealthy", {}),
        tell_no_more("unhealthy"),
    ),
    Trouble(
        "error-burst",
        "the application has logged 1,200 errors at once.",
        "it is told so no more; what it has logged stays in its log.",
        {"logs.errors": "critical", "logs.new_errors": "warning"},
        burst,
        tell_no_more("burst"),
    ),
    Trouble(
        "disk-full",
        "a small file system of the sandbox's own is full.",
        "it is empty; it stays mounted until the sandbox goes down.",
        {"system.disk_space": "critical"},
        fill_disk,
        empty_disk,
    ),
    Trouble(
        "database-down",
        "PostgreSQL is stopped, and is not started again before heal.",
        "PostgreSQL runs again.",
        {
            "database.answers": "critical",
            "database.*": "unknown",
            "trading.*": "unknown",
            "application.ready": "critical",
            "application.version": "unknown",
        },
        stop_database,
        start_database,
    ),
    Trouble(
        "storage-down",
        "S3 is stopped, and is not started again before heal.",
        "S3 runs again.",
        {"backups.*": "unknown"},
        stop_store,
        start_store,
    ),
)
