# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacks the application's files, each compared with the manifest while it is written."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List

from .files import Expected, need_zstandard, opened_tar, same_target, show

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

_CHUNK = 1 << 20


def unpack(
    archive: Path, manifest: Dict[str, Any], root: Path, tick: Callable[[], None], *, owners: bool = False
) -> List[str]:
    """Unpacks a tar.zst into a folder that is made.

    :param owners: all bits of the modes and times come back as they were and, when we are root, owners: by name, else
        by number; otherwise the files are ours, whoever they were
    :returns: what differs from the manifest, in words; nothing when all agrees
    :raises OSError: the disk is full or does not take a name
    """
    need_zstandard()
    try:
        with open(archive, "rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as plain:
            return unpack_tar(plain, manifest, Expected(manifest), root, tick, owners=owners)
    except zstandard.ZstdError as error:
        return [f"the archive cannot be read: {error}"]


def unpack_tar(
    plain: Any,
    manifest: Dict[str, Any],
    expected: Expected,
    root: Path,
    tick: Callable[[], None],
    *,
    owners: bool = False,
) -> List[str]:
    """The same from a tar as a stream."""
    root.mkdir(mode=0o700, exist_ok=True)
    unpacking = _Unpacking(os.path.realpath(root), expected, owners)
    try:
        with opened_tar(plain) as tar:
            for info in tar:
                tick()
                unpacking.take(tar, info)
    except (tarfile.TarError, EOFError) as error:
        expected.wrong.append(f"the archive cannot be read: {error}")
    if owners:
        unpacking.finish(manifest)
    return expected.missing()


class _Unpacking:
    """Writes the members of one tar.

    :param home: the folder, as it is really called
    """

    def __init__(self, home: str, expected: Expected, owners: bool) -> None:
        self._home = home
        self._expected = expected
        self._owners = owners

    def take(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        """Writes a member, and compares it with its entry if there is one."""
        entry = self._expected.take(info)
        if entry is None and not self._expected.repository:
            return
        name = show(info.name)
        if not self._within(info.name):
            self._expected.wrong.append(f"{name} leads out of the application's folder")
        elif entry is None:
            self._unlisted(tar, info)
        else:
            self._expected.wrong += [f"{name} {text}" for text in self._restore(tar, info, entry)]

    def _within(self, name: str) -> bool:
        parent = os.path.realpath(os.path.join(self._home, os.path.dirname(name)))
        return not os.path.isabs(name) and ".." not in name.split("/") and f"{parent}/".startswith(f"{self._home}/")

    def _unlisted(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        """What came or changed while the backup was made: nobody knows what it should be; it is better than none."""
        path = os.path.join(self._home, info.name)
        if info.isdir():
            os.makedirs(path, mode=0o700, exist_ok=True)
        elif info.issym():
            os.symlink(info.linkname, path)
        elif info.isreg():
            _write(tar, info, path)
            self._finished(info, path)

    def _restore(self, tar: tarfile.TarFile, info: tarfile.TarInfo, entry: Dict[str, Any]) -> List[str]:
        path, kind = os.path.join(self._home, info.name), entry["type"]
        if kind == "directory" and info.isdir():
            os.makedirs(path, exist_ok=True)
            os.chmod(path, info.mode & 0o777 | 0o700)
            self._owner(info, path)
        elif kind == "symlink" and info.issym() and same_target(info, entry):
            os.symlink(entry["target"], path)
            self._owner(info, path)
        elif kind == "hardlink" and info.islnk() and info.linkname == entry["target"] and self._within(info.linkname):
            os.link(os.path.join(self._home, info.linkname), path, follow_symlinks=False)
        elif kind == "file" and info.isreg() and info.size == entry["size"]:
            if self._is_there(entry):
                # restic gives a link as a file of its own: read and compared, it becomes a link again.
                if _digest(tar, info) != entry["sha256"]:
                    return ["has other content than the manifest says"]
                os.link(os.path.join(self._home, entry["target"]), path, follow_symlinks=False)
                return []
            if _write(tar, info, path) != entry["sha256"]:
                return ["has other content than the manifest says"]
            self._finished(info, path)
        else:
            return [f"is not the {kind} of {entry['size']} bytes that the manifest says"]
        return []

    def _is_there(self, entry: Dict[str, Any]) -> bool:
        """Whether it is a link to a file that came back already."""
        target = entry.get("target", "")
        return bool(target) and self._within(target) and os.path.isfile(os.path.join(self._home, target))

    def _finished(self, info: tarfile.TarInfo, path: str) -> None:
        self._owner(info, path)
        os.chmod(path, info.mode & (0o7777 if self._owners else 0o777))

    def _owner(self, info: tarfile.TarInfo, path: str) -> None:
        if self._owners and os.geteuid() == 0:
            user = _number(pwd.getpwnam, info.uname, info.uid)
            os.chown(path, user, _number(grp.getgrnam, info.gname, info.gid), follow_symlinks=False)

    def finish(self, manifest: Dict[str, Any]) -> None:
        """Times, and modes of folders, once everything is in them."""
        for entry in reversed(manifest["entries"]):
            path = os.path.join(self._home, entry["path"])
            if not self._within(entry["path"]):
                continue
            with suppress(FileNotFoundError):
                if entry["type"] == "directory":
                    os.chmod(path, int(entry["mode"], 8))
                os.utime(path, ns=(entry["mtime"], entry["mtime"]), follow_symlinks=False)


def _number(look_up: Callable[[str], Any], name: str, number: int) -> int:
    try:
        return int(look_up(name)[2]) if name else number
    except KeyError:
        return number


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> str:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        return _digest(tar, info, file.write)


def _digest(tar: tarfile.TarFile, info: tarfile.TarInfo, take: Callable[[bytes], Any] = len) -> str:
    digest, stream = hashlib.sha256(), tar.extractfile(info)
    while stream is not None:
        data = stream.read(_CHUNK)
        if not data:
            break
        digest.update(data)
        take(data)
    return digest.hexdigest()
