# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Becomes a program that can write in the folders it was given and nowhere else: python -c THIS REQUEST.

Everything is read-only in a mount namespace of its own, as the program's user finds out before the program starts.
Where there are no such namespaces, the paths of the source must not be writable for that user; see alone.
Standard library only, as it runs apart from the collection. The request is JSON: see walls.start.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import stat
import sys
from typing import Any, Dict, List, NoReturn, Optional, Tuple

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_RDONLY, _REMOUNT, _BIND, _REC, _UNBINDABLE, _PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x20000, 0x40000
#: What a mount has, and has to keep when it is remounted.
_FLAGS = {"nosuid": 0x2, "nodev": 0x4, "noexec": 0x8, "noatime": 0x400, "nodiratime": 0x800, "relatime": 0x200000}
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
#: File systems of the kernel's own: no server has its data there.
_KERNELS = ("/proc", "/sys", "/dev")
_TABLESPACE = re.compile(r"PG_\d+_\d+")
_libc: Any = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The program is not started.

    :param kind: unavailable (no namespaces here), doubt (something could be written), place (a location cannot be
        given to it), failed (anything else)
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Mount:
    """A line of mountinfo."""

    def __init__(self, line: str) -> None:
        fields = line.split(" ")
        self.place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), fields[4])
        self.options = fields[5].split(",")


def mounts() -> List[Mount]:
    """Mounts below our root. Their names are bytes, which latin-1 keeps."""
    with open("/proc/self/mountinfo", encoding="latin-1") as file:
        return [Mount(line) for line in file.read().splitlines()]


def _fs(text: str) -> bytes:
    return os.fsencode(text)


def _check(result: int, what: str, kind: str = "unavailable") -> None:
    if result < 0:
        raise Refused(kind, f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str, target: str, kind: Optional[str], flags: int, data: str = "") -> int:
    arguments = (_fs(source), _fs(target), _fs(kind) if kind else None, ctypes.c_ulong(flags), _fs(data) or None)
    return int(_libc.mount(*arguments))


def _attribute(target: str, recursive: bool, read_only: bool) -> bool:
    """Makes mounts read-only or writable; not so before Linux 5.12, or where a container's rules know no such call."""
    asked = (ctypes.c_uint64 * 4)(_RDONLY if read_only else 0, 0 if read_only else _RDONLY, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(_fs(target)),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.byref(asked),
        ctypes.c_size_t(ctypes.sizeof(asked)),
    )
    return bool(result == 0)


def _remount(mount: Mount, read_only: bool) -> int:
    flags = sum(number for name, number in _FLAGS.items() if name in mount.options)
    target = os.fsdecode(mount.place.encode("latin-1"))
    return _mount("none", target, None, _REMOUNT | _BIND | flags | (_RDONLY if read_only else 0))


def _writable(path: str) -> None:
    if not _attribute(path, False, False):
        real = _fs(os.path.realpath(path)).decode("latin-1")
        (found,) = [each for each in mounts() if each.place == real][-1:]
        _check(_remount(found, False), f"{path} cannot be made writable")


def apart(more: int, refused: str) -> None:
    """Namespaces of our own: of mounts, which nobody else sees, and more; without root by one of users.

    :param more: flags of unshare(2)
    :raises Refused: there are none to be had
    """
    uid, gid = os.geteuid(), os.getegid()
    _check(_libc.unshare(_CLONE_NEWNS | more | (_CLONE_NEWUSER if uid else 0)), refused)
    if uid:
        try:
            for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
                with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                    file.write(text)
        except OSError as error:
            raise Refused("unavailable", f"no user namespace: {error}") from None
    _check(_mount("none", "/", None, _REC | _PRIVATE), "mounts cannot be separated")


def enter(request: Dict[str, Any]) -> None:
    """A mount namespace in which only our folders can be written."""
    apart(0, "no mount namespace")
    if not _attribute("/", True, True):
        # One after the other; whether all came along is looked at below.
        for each in mounts():
            _remount(each, True)
    _prove_mounts([])
    missing = [place for place, _folder in request["maps"] if not os.path.isdir(place)]
    if missing:
        _with_places(missing, request["root"])
    places = []
    for place, folder in [*request["maps"], *([folder, folder] for folder in request["folders"])]:
        _check(_mount(folder, place, None, _BIND | _REC), f"{folder} cannot be mounted at {place}", "place")
        _writable(place)
        places.append(place)
    _prove_mounts(places)


def _prove_mounts(ours: List[str]) -> None:
    """All mounts are read-only but ours. What lies hidden below another mount is looked at by what hides it."""
    allowed = {_fs(os.path.realpath(path)).decode("latin-1") for path in ours}
    for each in mounts():
        if "rw" not in each.options or each.place in allowed:
            continue
        path = each.place.encode("latin-1")
        try:
            if os.statvfs(path).f_flag & os.ST_RDONLY:
                continue
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Refused("doubt", f"{os.fsdecode(path)} may be writable: {error}") from None
        raise Refused("doubt", f"{os.fsdecode(path)} could not be made read-only")


def _with_places(missing: List[str], root: str) -> None:
    """A root in memory that has the entries of ours, and directories besides where there were none."""
    tree: Dict[str, Any] = {}
    for place in missing:
        node = tree
        for part in os.path.realpath(place).strip("/").split("/"):
            node = node.setdefault(part, {})
    _check(_mount("tmpfs", root, "tmpfs", 0, "mode=0755"), "no root in memory")
    # Else it would come along, writable, with what it lies in.
    _check(_mount("none", root, None, _UNBINDABLE), "no root in memory")

    def fill(old: Optional[str], new: str, wanted: Dict[str, Any]) -> None:
        for entry in os.scandir(old) if old else ():
            target = os.path.join(new, entry.name)
            if entry.name in wanted:
                if not entry.is_dir():
                    raise Refused("place", f"{entry.path} is not a directory")
            elif entry.is_symlink():
                os.symlink(os.readlink(entry.path), target)
            else:
                os.mkdir(target) if entry.is_dir() else os.close(os.open(target, os.O_CREAT | os.O_EXCL, 0o600))
                _check(_mount(entry.path, target, None, _BIND | _REC), f"{entry.path} cannot be kept", "place")
        for name, below in wanted.items():
            there = os.path.join(old, name) if old else ""
            os.mkdir(os.path.join(new, name), 0o755)
            fill(there if os.path.isdir(there) else None, os.path.join(new, name), below)

    fill("/", root, tree)
    _check(_mount("none", root, None, _REMOUNT | _BIND | _RDONLY), "the root cannot be made read-only")
    os.chroot(root)
    os.chdir("/")


def become(request: Dict[str, Any]) -> None:
    """The program's user, for good, who ends when our parent does."""
    user = request["user"]
    if user:
        os.setgroups(user["groups"])
        os.setresgid(user["gid"], user["gid"], user["gid"])
        os.setresuid(user["uid"], user["uid"], user["uid"])
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "rights could be gained again", "failed")
    _libc.prctl(_PR_SET_PDEATHSIG, request["farewell"], 0, 0, 0)
    if os.getppid() != request["parent"]:
        os._exit(1)


def _identity(path: str) -> Tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def prove(request: Dict[str, Any]) -> None:
    """As the program's user: none of the source's paths can be written."""
    ours = {_identity(folder) for folder in request["folders"]}
    places = {_identity(folder): place for place, folder in request["maps"]} if request["way"] == "namespace" else {}
    for path in request["guarded"]:
        try:
            identity = _identity(path)
        except OSError:
            continue  # it is not there, or cannot be reached
        if places.get(identity) == path:
            continue
        inside = [identity]
        here = os.path.realpath(path)
        while here != "/":
            here = os.path.dirname(here)
            inside.append(_identity(here))
        if ours.intersection(inside) or os.access(path, os.W_OK):
            raise Refused("doubt", f"{path} is a server's, and could be written")
    if not os.access(request["cwd"], os.W_OK):
        raise Refused("failed", f"{request['cwd']} cannot be written")


def alone(request: Dict[str, Any]) -> None:
    """Without a namespace: no server's data are here that the program's user could write.

    WAL may name any directory as a tablespace. The user can write those he owns; so none of them may be in use. What
    he cannot list is looked into by root, or else is a doubt.
    """
    user = request["user"] or {"uid": os.geteuid(), "gid": os.getegid(), "groups": os.getgroups()}
    groups = {user["gid"], *user["groups"]}
    own = {_identity(folder) for folder in request["folders"]}

    def may(status: os.stat_result, what: int) -> bool:
        if status.st_uid == user["uid"]:
            return bool(status.st_mode & what << 6)
        return bool(status.st_mode & (what << 3 if status.st_gid in groups else what))

    def look(folder: str, status: os.stat_result) -> None:
        if (status.st_dev, status.st_ino) in own or not may(status, 1):
            return
        try:
            entries = list(os.scandir(folder))
        except PermissionError:
            raise Refused("doubt", f"{folder} cannot be looked into") from None
        except OSError:
            return
        for entry in entries:
            try:
                below = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if not stat.S_ISDIR(below.st_mode) or entry.path in _KERNELS:
                continue
            owned = below.st_uid == user["uid"] or may(below, 2)
            if owned and _TABLESPACE.fullmatch(entry.name) and (below.st_dev, below.st_ino) not in own:
                raise Refused("doubt", f"{folder} is a tablespace of some server, and could be written")
            if owned and entry.name == "global" and request["system_identifier"]:
                _not_the_source(entry.path, request["system_identifier"])
            look(entry.path, below)

    look("/", os.stat("/"))


def _not_the_source(folder: str, identifier: str) -> None:
    try:
        with open(os.path.join(folder, "pg_control"), "rb") as file:
            found = int.from_bytes(file.read(8), sys.byteorder)
    except OSError:
        return
    if str(found) == identifier:
        raise Refused("doubt", f"{os.path.dirname(folder)} is a data directory of the source")


def main() -> NoReturn:
    """Becomes the program, or says in the request's descriptor why not."""
    request = json.loads(sys.argv[1])
    os.set_inheritable(request["report"], False)
    kind, text = "failed", ""
    try:
        if request["way"] == "namespace":
            enter(request)
        else:
            alone(request)
        become(request)
        prove(request)
        os.chdir(request["cwd"])
        os.execv(request["arguments"][0], request["arguments"])  # noqa: S606
    except Refused as error:
        kind, text = error.kind, str(error)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
    os.write(request["report"], json.dumps({"kind": kind, "text": text}).encode("ascii"))
    os._exit(1)


if __name__ == "__main__":
    main()
