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
from pathlib import Path
from typing import Any, Callable, Dict, List

from .._backup.files import need_zstandard, show

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

_CHUNK = 1 << 20


def unpack(
    archive: Path, manifest: Dict[str, Any], root: Path, tick: Callable[[], None], *, keep: bool = False
) -> List[str]:
    """Unpacks a tar.zst into a folder; owners are ours, whoever they were, unless they are kept.

    :param keep: times as they were too and, when we are root, owners: by name, else by number
    :returns: what differs from the manifest, in words; nothing when all agrees
    :raises OSError: the disk is full or does not take a name
    """
    need_zstandard()
    expected = {entry["path"]: entry for entry in manifest["entries"]}
    wrong: List[str] = []
    root.mkdir(mode=0o700)
    home = os.path.realpath(root)
    folders: List[tarfile.TarInfo] = []
    try:
        with (
            open(archive, "rb") as packed,
            zstandard.ZstdDecompressor().stream_reader(packed) as plain,
            tarfile.open(mode="r|", fileobj=plain, errors="surrogateescape", bufsize=_CHUNK) as tar,
        ):
            for info in tar:
                tick()
                entry = expected.pop(info.name, None)
                if entry is None:
                    wrong.append(f"{show(info.name)} is in the archive, not in the manifest")
                elif not _within(home, info.name):
                    wrong.append(f"{show(info.name)} leads out of the application's folder")
                else:
                    wrong += [f"{show(info.name)} {text}" for text in _restore(tar, info, entry, home)]
                    if keep:
                        _keep(info, home)
                        folders += [info] if info.isdir() else []
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        wrong.append(f"the archive cannot be read: {error}")
    # What was put into a folder changed its time.
    for info in reversed(folders):
        os.utime(os.path.join(home, info.name), (info.mtime, info.mtime))
    return wrong + [f"{show(path)} is missing from the archive" for path in expected]


def _within(home: str, name: str) -> bool:
    parent = os.path.realpath(os.path.join(home, os.path.dirname(name)))
    return not os.path.isabs(name) and ".." not in name.split("/") and f"{parent}/".startswith(f"{home}/")


def _restore(tar: tarfile.TarFile, info: tarfile.TarInfo, entry: Dict[str, Any], home: str) -> List[str]:
    path, kind = os.path.join(home, info.name), entry["type"]
    if kind == "directory" and info.isdir():
        os.makedirs(path, exist_ok=True)
        os.chmod(path, info.mode & 0o777 | 0o700)
    elif kind == "symlink" and info.issym() and info.linkname == entry["target"]:
        os.symlink(info.linkname, path)
    elif kind == "hardlink" and info.islnk() and info.linkname == entry["target"] and _within(home, info.linkname):
        os.link(os.path.join(home, info.linkname), path, follow_symlinks=False)
    elif kind == "file" and info.isreg() and info.size == entry["size"]:
        if _write(tar, info, path) != entry["sha256"]:
            return ["has other content than the manifest says"]
        os.chmod(path, info.mode & 0o777)
    else:
        return [f"is not the {kind} of {entry['size']} bytes that the manifest says"]
    return []


def _keep(info: tarfile.TarInfo, home: str) -> None:
    path = os.path.join(home, info.name)
    if not os.path.lexists(path) or info.islnk():
        return
    if os.geteuid() == 0:
        os.chown(
            path,
            _number(pwd.getpwnam, info.uname, info.uid),
            _number(grp.getgrnam, info.gname, info.gid),
            follow_symlinks=False,
        )
        if info.isreg():
            # A new owner takes the rights to become somebody else away.
            os.chmod(path, info.mode & 0o777)
    os.utime(path, (info.mtime, info.mtime), follow_symlinks=False)


def _number(look_up: Callable[[str], Any], name: str, number: int) -> int:
    try:
        return int(look_up(name)[2]) if name else number
    except KeyError:
        return number


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, path: str) -> str:
    digest, stream = hashlib.sha256(), tar.extractfile(info)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        while stream is not None:
            data = stream.read(_CHUNK)
            if not data:
                break
            digest.update(data)
            file.write(data)
    return digest.hexdigest()
