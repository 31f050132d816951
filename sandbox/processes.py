# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting, finding and ending processes; ports."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .layout import SandboxError

#: In the environment of every process of a sandbox; its value is the data root.
MARK = "TRADINGFLOW_SANDBOX_PROCESS"
#: Below the range from which systems take the ports of outgoing connections. TRADINGFLOW_SANDBOX_PORTS, such as
#: 20000-21999, narrows it, for several at once.
PORTS = range(20000, 32000)


def spawn(
    command: Sequence[str | Path],
    *,
    root: Path,
    log_file: Path,
    environment: Mapping[str, str] | None = None,
    identity: Mapping[str, Any] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a process that outlives the caller, its output appended to a log file.

    :param identity: Popen's user, group and extra_groups, if they are not the caller's
    """
    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env={**(environment or {}), MARK: str(root)},
            cwd=cwd or "/",
            start_new_session=True,
            **(identity or {}),
        )
    finally:
        os.close(descriptor)


def start_time(pid: int) -> int | None:
    """When a process started, in ticks since boot: a recycled pid has another. None: no such process, or a zombie.

    While threads of a killed one are still ending, it has its ports, and is there.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] in "ZX" and not _ending(pid):
        return None
    return int(fields[19])


def _ending(pid: int) -> bool:
    """Whether threads of a process are left."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def alive(section: Mapping[str, Any]) -> bool:
    """Whether the process recorded in a section of the state (pid, pid_started) still runs."""
    started = section.get("pid_started")
    return bool(section.get("pid")) and started is not None and start_time(section["pid"]) == started


def marked(root: Path) -> list[int]:
    """Pids of all processes of the sandbox with this data root, recorded or not."""
    needle = f"{MARK}={root}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                environment = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if needle in environment and start_time(int(entry)) is not None:
                found.append(int(entry))
    return found


def end(pids: Iterable[int], first: signal.Signals, patience: float) -> None:
    """Ends processes: a signal, and SIGKILL for those which still run after `patience` seconds."""
    waiting = {pid: started for pid in pids if (started := start_time(pid)) is not None}
    for sign, seconds in ((first, patience), (signal.SIGKILL, 10.0)):
        for pid, started in waiting.items():
            if start_time(pid) == started:
                with suppress(ProcessLookupError):
                    os.kill(pid, sign)
        deadline = time.monotonic() + seconds
        while waiting and time.monotonic() < deadline:
            waiting = {pid: started for pid, started in waiting.items() if start_time(pid) == started}
            if waiting:
                time.sleep(0.02)
    if waiting:
        raise SandboxError(f"Processes do not end: {', '.join(map(str, waiting))}")


class PortTaken(SandboxError):
    """A service ended at its start, as somebody else listens on its port."""


def retried(start: Callable[[], None]) -> None:
    """Starts a service that chooses its ports itself: again, on others, if one was taken between choice and use."""
    for _ in range(4):
        with suppress(PortTaken):
            return start()
    return start()


def wait_until(
    ready: Callable[[], bool],
    what: str,
    *,
    process: subprocess.Popen[bytes] | None,
    log_file: Path,
    seconds: float = 60,
) -> None:
    """Polls until a service is ready, less and less often: to ask costs more than most services take.

    :raises PortTaken: it ended, as a port was not free
    :raises SandboxError: it ended, or took too long; with the end of its log
    """
    deadline, pause = time.monotonic() + seconds, 0.03
    while not ready():
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            said = tail(log_file)
            kind = PortTaken if ended and "ddress already in use" in said else SandboxError
            raise kind(f"{what} {'ended' if ended else 'is not ready'}. {log_file} says:\n{said}")
        time.sleep(pause)
        pause = min(pause * 1.3, 0.2)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a text file."""
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def free_ports(names: Sequence[str], wanted: Mapping[str, int]) -> dict[str, int]:
    """A free port on loopback for each name: the wanted one where it is still free."""
    ports: dict[str, int] = {}
    allowed = _allowed()
    for name in names:
        candidates = [wanted[name]] if name in wanted else []
        candidates += random.SystemRandom().sample(allowed, min(len(allowed), 200))
        for port in candidates:
            if port not in ports.values() and is_free(port):
                ports[name] = port
                break
        else:
            raise SandboxError(f"No free port on 127.0.0.1 between {allowed[0]} and {allowed[-1]}.")
    return ports


def _allowed() -> range:
    """Ports that this caller may choose from."""
    given = os.environ.get("TRADINGFLOW_SANDBOX_PORTS")
    if not given:
        return PORTS
    first, _, last = given.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 1024 <= int(first) <= int(last) <= 65535):
        raise SandboxError(f"TRADINGFLOW_SANDBOX_PORTS is {given!r}. Set it to a range, such as 20000-21999.")
    return range(int(first), int(last) + 1)


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of the past in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
