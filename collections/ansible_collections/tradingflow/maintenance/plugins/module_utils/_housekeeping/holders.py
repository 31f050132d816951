# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in use: descriptors, working and root folders, programs and mapped files of all processes, loops and swap."""

from __future__ import annotations

import errno
import glob
import os
from contextlib import suppress
from typing import Dict, Iterator, List, Set, Tuple

from .mounts import Mount, Sources, own, parsed

Identity = Tuple[int, int]
#: Linux' number of the right to look into other processes (capabilities(7)).
_SYS_PTRACE = 19
#: On a host that always starts programs, there are new ones each time.
_ROUNDS = 5


class Blind(Exception):
    """Nobody can say what is in use; the message says why."""


class Holders:
    """What is in use, and by whom.

    :param identities: (device, inode) to a process's id, or to what else holds it
    :param sources: see mounts.Sources
    """

    def __init__(self, identities: Dict[Identity, str], sources: Sources) -> None:
        self.identities = identities
        self.sources = sources


def scan() -> Holders:
    """Looks at all processes.

    :raises Blind: one of them cannot be looked at
    """
    if os.geteuid() or not _may_look():
        raise Blind("only root can see what other users' processes have open")
    found: Dict[Identity, str] = {}
    others: Dict[str, List[Mount]] = {}
    maps: Set[bytes] = set()
    me = os.getpid()
    try:
        for pid in _processes():
            tasks = _listed(f"/proc/{pid}/task")
            for task in tasks:
                place = f"/proc/{pid}/task/{task}"
                links = ["cwd", "root", "exe"]
                if pid != me:
                    # Our own descriptors are those by which we look.
                    links += [f"fd/{number}" for number in _listed(f"{place}/fd")]
                for link in links:
                    with suppress(FileNotFoundError, ProcessLookupError):
                        status = os.stat(f"{place}/{link}")
                        found.setdefault((status.st_dev, status.st_ino), f"process {pid}")
                namespace = _namespace(place)
                if namespace and namespace not in others:
                    mounts = _mounts(place)
                    if mounts:
                        others[namespace] = mounts
            # They share their memory. The first one may have ended before the others, and then has none.
            for task in [str(pid), *tasks]:
                lines = _maps(task)
                if lines:
                    for identity in _mapped(task, lines, maps):
                        found.setdefault(identity, f"process {pid}")
                    break
        for path, holder in _kernel():
            with suppress(FileNotFoundError):
                status = os.stat(path)
                found.setdefault((status.st_dev, status.st_ino), holder)
        return Holders(found, Sources(own(), list(others.values())))
    except (OSError, ValueError) as error:
        raise Blind(f"not all that is in use can be seen: {error}") from None


def _processes() -> Iterator[int]:
    """All processes, also those that came while the others were looked at: what they hold, another had before them."""
    seen: Set[int] = set()
    for _round in range(_ROUNDS):
        new = {int(name) for name in os.listdir("/proc") if name.isdigit()} - seen
        if not new:
            break
        seen |= new
        yield from sorted(new)


def _may_look() -> bool:
    with open("/proc/self/status", encoding="ascii", errors="replace") as stream:
        for line in stream:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _SYS_PTRACE & 1)
    return False


def _listed(folder: str) -> List[str]:
    """The names in a folder of a process; none when it has ended."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError):
        return []


def _namespace(place: str) -> str:
    """The namespace of mounts of a thread; empty when it has ended."""
    try:
        return os.readlink(f"{place}/ns/mnt")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _mounts(place: str) -> List[Mount]:
    """The mounts that a thread sees; none when it has ended."""
    try:
        with open(f"{place}/mountinfo", "rb") as stream:
            return list(parsed(stream.read()))
    except (FileNotFoundError, ProcessLookupError):
        return []
    except OSError as error:
        # Linux' word for a thread that has just ended.
        if error.errno == errno.EINVAL:
            return []
        raise


def _maps(task: str) -> List[bytes]:
    """The mappings of a thread; none when it has ended, or is the kernel's."""
    try:
        with open(f"/proc/{task}/maps", "rb") as stream:
            return stream.read().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _mapped(task: str, lines: List[bytes], seen: Set[bytes]) -> Iterator[Identity]:
    """The files that a thread has mapped.

    :param seen: device, inode and name of those that were asked for already
    """
    for line in lines:
        words = line.split(None, 5)
        if len(words) < 5 or words[4] == b"0":
            continue
        name = b" ".join(words[3:])
        if name in seen:
            continue
        # By the mapping itself: on some file systems (overlay, btrfs) the device that is printed is not that of stat.
        try:
            status = os.stat(b"/proc/%s/map_files/%s" % (task.encode(), _range(words[0])))
        except (FileNotFoundError, ProcessLookupError):
            continue
        seen.add(name)
        yield status.st_dev, status.st_ino


def _range(words: bytes) -> bytes:
    """The name in map_files, which has no leading zeros."""
    return b"-".join(b"%x" % int(each, 16) for each in words.split(b"-"))


def _kernel() -> Iterator[Tuple[bytes, str]]:
    """Files that the kernel itself holds: behind loop devices, and for swap."""
    for place in glob.glob("/sys/block/loop*/loop/backing_file"):
        with suppress(FileNotFoundError), open(place, "rb") as stream:
            yield stream.read().rstrip(b"\n"), "loop device"
    with suppress(FileNotFoundError), open("/proc/swaps", "rb") as stream:
        for line in stream.read().splitlines()[1:]:
            # Escaped as in mountinfo.
            yield line.split()[0].decode("unicode_escape").encode("latin-1"), "swap"
