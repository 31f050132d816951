# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entries of a directory, looked at and taken away as a whole by descriptors: no link followed, no mount crossed."""

from __future__ import annotations

import ctypes
import os
import stat
from typing import Any, Callable, Collection, Iterator, List, NamedTuple, Optional, Tuple

from .mounts import mount_id

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
#: A descriptor is open for each.
_DEEPEST = 200
_NOREPLACE = 1


class Stays(Exception):
    """The entry is not to be touched; the message says why, in words that can be counted."""


def nothing() -> None:
    """Does nothing."""


class Budget:
    """How many files and folders may be looked at.

    :param tick: called for each
    """

    def __init__(self, count: int, tick: Callable[[], None] = nothing) -> None:
        self.left = count
        self.tick = tick

    def take(self) -> None:
        if self.left <= 0:
            raise Stays("too many files to look at")
        self.left -= 1
        self.tick()


class Seen(NamedTuple):
    """An entry with all that is in it.

    :param identity: device, inode and ctime (ns) of the entry itself
    :param newest: the newest time inside, in s since 1970
    :param bytes: what its removal frees: files that have another name elsewhere do not count
    :param files: how many files and folders
    """

    identity: Tuple[int, int, int]
    newest: float
    bytes: int
    files: int
    owner: int


class Rules(NamedTuple):
    """What an entry has to be.

    :param held: who holds a (device, inode); empty for nobody
    :param owners: users whose files may go; None for all
    :param reads: whether the time of the last read of a file counts
    """

    held: Callable[[Tuple[int, int]], str]
    owners: Optional[Collection[int]]
    reads: bool


def opened(name: Any, parent: Optional[int] = None) -> int:
    """A folder's descriptor. Its name is not followed when it is a link.

    :raises OSError: it is none, or cannot be opened
    """
    return os.open(name, _FOLDER, dir_fd=parent)


def look(parent: int, name: bytes, mount: int, rules: Rules, budget: Budget, *, moved: bool = False) -> Seen:
    """Looks at a whole entry.

    :param parent: the directory's descriptor
    :param mount: the mount that the directory lies on
    :param moved: its own ctime says only when we have moved it
    :raises Stays: it is not to be taken
    :raises OSError: it cannot be looked at
    """
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    # Of files with several names: how many of them lie in here.
    links: "dict[Tuple[int, int], List[int]]" = {}
    newest, total, count = 0.0, 0, 0
    for each in _walk(parent, name, status, mount, budget, 0):
        kind = stat.S_IFMT(each.st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise Stays("socket, pipe or device")
        if rules.owners is not None and each.st_uid not in rules.owners:
            raise Stays("owner not declared")
        holder = rules.held((each.st_dev, each.st_ino))
        if holder:
            raise Stays(f"in use by {holder}")
        newest = max(newest, each.st_mtime, 0.0 if moved and not count else each.st_ctime)
        if rules.reads and kind == stat.S_IFREG:
            newest = max(newest, each.st_atime)
        count += 1
        if kind == stat.S_IFREG and each.st_nlink > 1:
            known = links.setdefault((each.st_dev, each.st_ino), [each.st_nlink, 0, each.st_blocks * 512])
            known[1] += 1
        else:
            total += each.st_blocks * 512
    total += sum(size for names, found, size in links.values() if found >= names)
    identity = (status.st_dev, status.st_ino, status.st_ctime_ns)
    return Seen(identity, newest, total, count, status.st_uid)


def _walk(
    parent: int, name: bytes, status: os.stat_result, mount: int, budget: Budget, depth: int
) -> Iterator[os.stat_result]:
    budget.take()
    if not stat.S_ISDIR(status.st_mode):
        yield status
        return
    if depth > _DEEPEST:
        raise Stays("too deep")
    folder = opened(name, parent)
    try:
        mine = os.fstat(folder)
        if (mine.st_dev, mine.st_ino) != (status.st_dev, status.st_ino):
            raise Stays("changed while it was looked at")
        if mount_id(folder) != mount:
            raise Stays("mount point")
        yield mine
        below = []
        with os.scandir(folder) as entries:
            for entry in entries:
                inner = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(inner.st_mode):
                    below.append((os.fsencode(entry.name), inner))
                else:
                    budget.take()
                    yield inner
        for inner_name, inner in below:
            yield from _walk(folder, inner_name, inner, mount, budget, depth + 1)
    finally:
        os.close(folder)


def single(parent: int, name: bytes) -> bool:
    """Whether an entry is a plain file of one name: its removal is one step and frees an inode."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def remove(parent: int, name: bytes, mount: int, depth: int = 0, tick: Callable[[], None] = nothing) -> int:
    """Takes an entry away with all that is in it.

    :param tick: called for each file and folder that is gone
    :returns: bytes that became free
    :raises Stays: it has come to a mount, or is too deep
    :raises OSError: something in it cannot be taken away
    """
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    freed = 0
    if stat.S_ISDIR(status.st_mode):
        if depth > _DEEPEST:
            raise Stays("too deep")
        folder = opened(name, parent)
        try:
            if mount_id(folder) != mount:
                raise Stays("mount point")
            # Names first: what goes while a folder is read may or may not be told.
            for inner in os.listdir(folder):
                freed += remove(folder, os.fsencode(inner), mount, depth + 1, tick)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)
    tick()
    return freed + (status.st_blocks * 512 if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1 else 0)


def put_back(source: int, name: bytes, target: int, wanted: bytes) -> None:
    """Gives an entry its place back; never over another one that is there by now.

    :raises OSError: it is taken, or cannot be had
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise OSError("this system cannot rename without replacing")
    if libc.renameat2(source, name, target, wanted, _NOREPLACE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
