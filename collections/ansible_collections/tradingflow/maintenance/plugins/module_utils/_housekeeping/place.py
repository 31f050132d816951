# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The declared directories: opened part by part without following links, and the quarantine that lies in each."""

from __future__ import annotations

import errno
import fcntl
import fnmatch
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..errors import ConfigurationError, HousekeepingError
from ..words import printable
from .mounts import Namespace, below, mount_id, own
from .tree import opened

#: In the directory itself: a rename never leaves its mount.
QUARANTINE = b".tradingflow-maintenance.quarantine"
#: What is never a directory of temporary files, under whatever name it was declared.
_PROTECTED = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/backups",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/mail",
    "/var/opt",
    "/var/spool",
]


class Place(NamedTuple):
    """A declared directory that is open.

    :param path: as declared
    :param mount: the mount it lies on
    """

    path: str
    descriptor: int
    mount: int


def declared_once(mine: Dict[str, Any], declared: List[Dict[str, Any]]) -> None:
    """A directory has one quarantine and one age, and none lies in another: what is set aside for days in one of them
    would be removed at once by way of the other.

    :param declared: all declared directories, this one among them; see options.DIRECTORY
    :raises ConfigurationError: another of them is the same, lies in this one, or this one lies in it
    """
    found = _identity(mine["path"])
    same = [each for each in declared if each["path"] == mine["path"] or (found and _identity(each["path"]) == found)]
    if len(same) > 1:
        names = ", ".join(dict.fromkeys(printable(each["path"]) for each in same))
        raise ConfigurationError(
            f"{printable(mine['path'])} is declared more than once: {names} is one directory.",
            "Leave one entry for it in this host's housekeeping_temporary, and take the others out; where one is a "
            "bind mount of the other, take either. Nothing of it was changed.",
        )
    for other in declared:
        for outer, inner in ((mine, other), (other, mine)):
            name = _inside(outer["path"], inner["path"])
            if name and not spared(os.fsdecode(name), outer):
                raise ConfigurationError(
                    f"{printable(inner['path'])} lies in {printable(outer['path'])}, and both are declared.",
                    f"Take one of them out of housekeeping_temporary, or put {printable(os.fsdecode(name))} into the "
                    f"keep of {printable(outer['path'])}. Nothing of it was changed.",
                )


def spared(name: str, options: Dict[str, Any]) -> str:
    """Why an entry of a directory stays, as far as its name says; empty when the name says nothing."""
    if any(fnmatch.fnmatchcase(name, each) for each in options["keep"]):
        return "kept by name"
    if not any(fnmatch.fnmatchcase(name, each) for each in options["names"]):
        return "name not declared"
    return ""


def _inside(outer: str, inner: str) -> bytes:
    """The entry of one directory in which another one lies, also by way of a bind mount; empty for none.

    What is mounted there from another file system is left alone by the outer one anyway.
    """
    if not (_identity(outer) and _identity(inner)):
        return b""
    try:
        mounts = Namespace(own())
    except (OSError, ValueError):
        return b""  # Whoever opens it will say so.
    places = mounts.inner(os.fsencode(outer)), mounts.inner(os.fsencode(inner))
    if not places[0] or not places[1] or places[0][0] != places[1][0]:
        return b""
    first, second = places[0][1], places[1][1]
    if first == second or not below(second, first):
        return b""
    return second[len(first.rstrip(b"/")) + 1 :].split(b"/", 1)[0]


def _identity(path: str) -> Optional[Tuple[int, int]]:
    """Device and inode; None for what is refused anyway, such as a link that leads to another declared directory."""
    try:
        descriptor = _opened(path)
    except HousekeepingError:
        return None
    try:
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino
    finally:
        os.close(descriptor)


@contextmanager
def place(path: str) -> Iterator[Place]:
    """Opens a declared directory.

    :raises HousekeepingError: it is none that may be cleaned
    """
    descriptor = _opened(path)
    try:
        mine = os.fstat(descriptor)
        for each in _PROTECTED:
            with suppress(OSError):
                other = os.stat(each)
                if (mine.st_dev, mine.st_ino) == (other.st_dev, other.st_ino):
                    raise HousekeepingError(
                        f"{printable(path)} is {each}, which is not for temporary files.",
                        "Correct housekeeping_temporary, and see what is mounted there.",
                    )
        try:
            mount = mount_id(descriptor)
        except (OSError, ValueError) as error:
            raise HousekeepingError(
                f"The mount of {printable(path)} is not known: {error}.", "Is /proc mounted?"
            ) from None
        yield Place(path, descriptor, mount)
    finally:
        os.close(descriptor)


def _opened(path: str) -> int:
    """The directory, with no link anywhere on the way there."""
    if not path.startswith("/") or ".." in path.split("/"):
        raise HousekeepingError(f"{printable(path)} is not an absolute path.", "Correct housekeeping_temporary.")
    descriptor = opened("/")
    done = ""
    for part in filter(lambda each: each not in ("", "."), path.split("/")):
        done += f"/{part}"
        try:
            status = os.stat(part, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                raise HousekeepingError(
                    f"{printable(done)} is a link, and links are not followed.",
                    "Declare the directory that it leads to, if that is one for temporary files.",
                )
            inner = opened(part, descriptor)
        except OSError as error:
            raise HousekeepingError(
                f"{printable(done)} cannot be opened: {error.strerror}.", "Correct housekeeping_temporary."
            ) from None
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


class Full(HousekeepingError):
    """The file system has no room for a folder, which is an inode and a block."""


def quarantine(where: Place, make: bool) -> Optional[int]:
    """The quarantine's descriptor, for root alone. None: there is none, and none was to be made.

    :raises Full: there is no room to make it
    :raises HousekeepingError: what has its name is somebody else's, or it cannot be made
    """
    name = os.fsdecode(QUARANTINE)
    try:
        if make:
            with suppress(FileExistsError):
                os.mkdir(QUARANTINE, 0o700, dir_fd=where.descriptor)
        found = opened(QUARANTINE, where.descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        kind = Full if error.errno in (errno.ENOSPC, errno.EDQUOT) else HousekeepingError
        raise kind(
            f"{printable(where.path)}/{name} cannot be made or opened: {error.strerror}.",
            "Entries are set aside there before they are removed. Nothing was changed.",
        ) from None
    mine = os.fstat(found)
    if mine.st_uid != os.geteuid() or stat.S_IMODE(mine.st_mode) & 0o077 or mount_id(found) != where.mount:
        os.close(found)
        raise HousekeepingError(
            f"{printable(where.path)}/{name} is not of this collection: its owner, mode or mount is another.",
            "Find out who made it, and remove it.",
        )
    return found


def held(stack: ExitStack, aside: Optional[int]) -> Optional[int]:
    """The quarantine, locked until the end of the stack, which closes it.

    :raises HousekeepingError: another run has it
    """
    if aside is not None:
        stack.callback(os.close, aside)
        stack.enter_context(locked(aside))
    return aside


@contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Holds the quarantine for ourselves.

    :raises HousekeepingError: another run has it
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise HousekeepingError(
            "Another run is cleaning this directory.", "Wait for its end, then run again."
        ) from None
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
