# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which processes are in a folder, which of them are ours, and ending those: never by a number or a name alone.

A folder is known by its device and inode, as its name may be another's in another mount namespace (a container). A
process is known by its number and the moment it began, and is signalled by a handle that no later one can get.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Optional, Pattern, Tuple

from ..errors import LockedError

#: A process of ours that leads a group is written down in a file of this name in its folder.
GROUP = "process-group"
_AT_FDCWD, _AT_SYMLINK_NOFOLLOW, _STATX_BTIME = -100, 0x100, 0x800
_libc: Any = ctypes.CDLL(None, use_errno=True)
_PIDFILE = "postmaster.pid"
#: Folders above one another that are looked at.
_DEPTH = 64
#: Seconds between a server's own word of when it began and the kernel's: clocks are set.
_NEAR = 30.0
#: Seconds until the processes of what was ended are gone, too.
PATIENCE = 60.0


class Began(NamedTuple):
    """What the kernel says of a process.

    :param ticks: since the boot, when it began
    """

    parent: int
    group: int
    ticks: int


def began(pid: int) -> Optional[Began]:
    """None when there is no such process (any more)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The name in brackets may hold anything, also spaces and brackets.
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else Began(int(fields[1]), int(fields[2]), int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def identity(path: Any) -> Optional[Tuple[int, int]]:
    """Device and inode of what is there; None when nothing can be seen."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def inside(folder: Path) -> List[int]:
    """Processes whose current directory is in a folder: how a server and its children are found."""
    wanted = identity(folder)
    found = []
    for name in os.listdir("/proc"):
        if wanted and name.isdigit() and int(name) != os.getpid() and _below(f"/proc/{name}/cwd", wanted):
            found.append(int(name))
    return found


def titled(folder: Path, pattern: Pattern[bytes]) -> str:
    """What a process in a folder says of itself: the pattern's first group in its title, empty when none says it."""
    for pid in inside(folder):
        with suppress(OSError):
            found = pattern.search(Path(f"/proc/{pid}/cmdline").read_bytes())
            if found:
                return found[1].decode("ascii", "replace")
    return ""


def _below(path: str, wanted: Tuple[int, int]) -> bool:
    before = None
    for _level in range(_DEPTH):
        here = identity(path)
        if here == wanted:
            return True
        if here is None or here == before:
            return False
        before, path = here, f"{path}/.."
    return False


def server_of(data: Path) -> Optional[int]:
    """The server that runs on a data directory, by what it wrote there and the kernel confirms; None when none does."""
    try:
        lines = (data / _PIDFILE).read_text(encoding="utf-8", errors="replace").splitlines()
        pid, since = abs(int(lines[0])), int(lines[2])
    except (OSError, ValueError, IndexError):
        return None
    process = began(pid)
    wanted = identity(data)
    if process is None or wanted is None or identity(f"/proc/{pid}/cwd") != wanted:
        return None
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    at = boot + process.ticks / os.sysconf("SC_CLK_TCK")
    return pid if abs(at - since) < _NEAR else None


def write_group(folder: Path, pid: int) -> None:
    """Writes down that a process leads a group of ours."""
    process = began(pid)
    if process:
        (folder / GROUP).write_text(f"{pid} {process.ticks}\n", encoding="ascii")


class Handle:
    """A process that cannot be mistaken for a later one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._began = began(pid)
        self._handle = -1
        with suppress(OSError, AttributeError):  # before Linux 5.3
            self._handle = os.pidfd_open(pid)
        if self._began is None or began(pid) != self._began:
            self.close()
            raise ProcessLookupError(pid)

    def alive(self) -> bool:
        """Whether it still runs."""
        now = began(self.pid)
        return now is not None and self._began is not None and now.ticks == self._began.ticks

    def send(self, number: int) -> None:
        """Sends a signal, if it still runs."""
        with suppress(ProcessLookupError):
            if self._handle >= 0:
                signal.pidfd_send_signal(self._handle, number)
            elif self.alive():
                os.kill(self.pid, number)

    def close(self) -> None:
        """Gives the handle back."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def stop(data: Path, number: int, seconds: float) -> bool:
    """Signals the server that runs on a data directory, and waits for it.

    :returns: whether none runs there now
    """
    pid = server_of(data)
    if pid is None:
        return not (data / _PIDFILE).exists() or not inside(data)
    try:
        handle = Handle(pid)
    except ProcessLookupError:
        return True
    try:
        # Once more, by what the handle holds.
        if server_of(data) == pid:
            handle.send(number)
        deadline = time.monotonic() + seconds
        while handle.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not handle.alive()
    finally:
        handle.close()


def end_inside(folder: Path) -> None:
    """Ends what still runs of ours in a folder of ours: servers on data directories in it, and groups written down.

    :raises LockedError: somebody else works there
    """
    for data in _servers_in(folder):
        stop(data, signal.SIGQUIT, 60) or stop(data, signal.SIGKILL, 60)
    groups = set(_groups_in(folder))
    for pid in inside(folder):
        process = began(pid)
        if process and process.group in groups:
            with suppress(ProcessLookupError):
                _end(pid, process, folder)
    # The server's processes end when it does, and pgBackRest's.
    deadline = time.monotonic() + PATIENCE
    while inside(folder):
        if time.monotonic() > deadline:
            numbers = ", ".join(map(str, inside(folder)))
            raise LockedError(
                f"Processes work in {folder}, which an earlier run left: {numbers}.",
                "See what they are, end them, and run it again.",
            )
        time.sleep(0.05)


def _end(pid: int, known: Began, folder: Path) -> None:
    handle = Handle(pid)
    try:
        wanted = identity(folder)
        if began(pid) == known and wanted and _below(f"/proc/{pid}/cwd", wanted):
            handle.send(signal.SIGKILL)
    finally:
        handle.close()


def _servers_in(folder: Path) -> Iterator[Path]:
    """Data directories in a folder, or itself."""
    for place in (folder, *(path for path in folder.glob("*/*") if not path.is_symlink())):
        if (place / _PIDFILE).is_file():
            yield place


def _groups_in(folder: Path) -> Iterator[int]:
    """Groups that were written down, as far as their leader, where it lives, is still the one that was."""
    for file in folder.glob(f"*/{GROUP}"):
        with suppress(OSError, ValueError):
            pid, ticks = map(int, file.read_text(encoding="ascii").split())
            leader = began(pid)
            # While a group has members, nobody else gets its number.
            if leader is None or leader.ticks == ticks:
                yield pid


def same(path: Any, recorded: Any) -> bool:
    """Whether a directory is the one that was recorded, see mark."""
    try:
        return recorded is not None and mark(path) == list(recorded)
    except OSError:
        return False


def mark(path: Any) -> List[int]:
    """What a directory is recorded as: device, inode, and when it was made, as numbers of inodes are used again.

    :raises OSError: it is not there
    """
    status = os.lstat(path)
    return [status.st_dev, status.st_ino, _made(path)]


def _made(path: Any) -> int:
    """When a file was made, in nanoseconds; 0 where that is not kept."""
    found = ctypes.create_string_buffer(256)
    try:
        result = _libc.statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, found)
    except AttributeError:  # an old C library
        return 0
    mask, seconds, nanoseconds = (
        struct.unpack_from(form, found, at)[0] for form, at in (("I", 0), ("q", 80), ("I", 88))
    )
    return int(seconds * 10**9 + nanoseconds) if result == 0 and mask & _STATX_BTIME else 0
