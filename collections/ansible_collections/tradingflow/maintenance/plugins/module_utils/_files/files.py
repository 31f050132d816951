# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's files as one streamed tar.zst and a manifest of what is in it."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import stat
import tarfile
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from ..errors import BackupError, ConfigurationError

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

_CHUNK = 1 << 20
#: What reading a broken archive can raise.
UNREADABLE = (tarfile.TarError, ValueError)
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
    stat.S_IFIFO: "fifo",
}


def kind_of(status: os.stat_result) -> str:
    """file, directory, symlink, socket, device, fifo or unknown."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "unknown")


def need_zstandard() -> None:
    """Raises ConfigurationError when the library is missing."""
    if zstandard is None:
        raise ConfigurationError(
            "The Python library zstandard is missing.",
            "Install zstandard for this Python; Debian's is python3-zstandard.",
        )


class Walk:
    """Everything below a directory, parents first, in a stable order.

    :param excludes: patterns of shell style, matched against paths relative to root; a match of a directory leaves out
        all below it
    :param vanished: names that were listed and then gone
    :param excluded: names that a pattern left out, and nothing below them
    """

    def __init__(self, root: Path, excludes: Iterable[str] = ()) -> None:
        self.root = Path(os.path.realpath(root))
        self.excludes = [pattern.strip("/") for pattern in excludes]
        self.vanished: List[str] = []
        self.excluded: List[str] = []

    def __iter__(self) -> Iterator[Tuple[str, os.stat_result]]:
        """Pairs of relative path ("." is the root) and lstat.

        :raises BackupError: something cannot be read
        """
        try:
            yield ".", os.stat(self.root)
            yield from self._below("")
        except OSError as error:
            raise BackupError(
                f"The application's files cannot be read: {show(str(error))}",
                "Give the backup's user the right to read it, or exclude it (backup_data_excludes).",
            ) from None

    def _below(self, folder: str) -> Iterator[Tuple[str, os.stat_result]]:
        try:
            names = sorted(os.listdir(self.root / folder))
        except FileNotFoundError:
            self.vanished.append(folder)
            return
        for name in names:
            path = f"{folder}/{name}" if folder else name
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in self.excludes):
                self.excluded.append(path)
                continue
            try:
                status = os.lstat(self.root / path)
            except FileNotFoundError:
                self.vanished.append(path)
                continue
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                yield from self._below(path)


def show(name: str) -> str:
    """A file name of any bytes as text that can be printed."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def estimate(root: Path, excludes: Iterable[str] = ()) -> Tuple[int, int]:
    """Number of regular files and their bytes."""
    sizes = [status.st_size for _path, status in Walk(root, excludes) if stat.S_ISREG(status.st_mode)]
    return len(sizes), sum(sizes)


class Archive:
    """One pass over the files.

    :param entries: the manifest's, see write_manifest
    :param changed: files that changed while they were read
    :param skipped: sockets and devices
    """

    def __init__(self, root: Path, excludes: Iterable[str], pause: Callable[[], None] = lambda: None) -> None:
        self.walk = Walk(root, excludes)
        self.entries: List[Dict[str, Any]] = []
        self.changed: List[str] = []
        self.skipped: List[str] = []
        self.bytes_done = 0
        self._pause = pause
        self._links: Dict[Tuple[int, int], str] = {}

    def write(self, target: Any, level: int = 3) -> None:
        """Writes the tar.zst to a stream.

        :raises BackupError: a file cannot be read
        """
        need_zstandard()
        packer = zstandard.ZstdCompressor(level=level, write_checksum=True)
        # PAX keeps names of any bytes, long names, and times below a second.
        form: Dict[str, Any] = {
            "mode": "w|",
            "format": tarfile.PAX_FORMAT,
            "errors": "surrogateescape",
            "bufsize": _CHUNK,
            "copybufsize": _CHUNK,
        }
        with packer.stream_writer(target, closefd=False) as packed, tarfile.open(fileobj=packed, **form) as tar:
            for path, status in self.walk:
                self._pause()
                self._add(tar, path, status)

    def _add(self, tar: tarfile.TarFile, path: str, status: os.stat_result) -> None:
        kind = kind_of(status)
        if kind in ("socket", "device", "fifo", "unknown"):
            self.skipped.append(path)
            return
        entry: Dict[str, Any] = {"path": path, "type": kind, "size": 0, "mode": f"{stat.S_IMODE(status.st_mode):04o}"}
        full = self.walk.root / path
        try:
            if kind == "file":
                first = self._links.get((status.st_dev, status.st_ino))
                if first is not None and status.st_nlink > 1:
                    info = tar.gettarinfo(str(full), arcname=path)
                    info.type, info.linkname, info.size = tarfile.LNKTYPE, first, 0
                    tar.addfile(info)
                    entry.update(type="hardlink", target=first)
                else:
                    self._file(tar, path, full, entry)
                    self._links[(status.st_dev, status.st_ino)] = path
            else:
                info = tar.gettarinfo(str(full), arcname=path)
                tar.addfile(info)
                if kind == "symlink":
                    entry["target"] = info.linkname
        except FileNotFoundError:
            self.walk.vanished.append(path)
            return
        entry["mtime"] = status.st_mtime_ns
        self.entries.append(entry)

    def _file(self, tar: tarfile.TarFile, path: str, full: Path, entry: Dict[str, Any]) -> None:
        # Not through a symlink that took the file's place meanwhile, and not stuck on a fifo that did.
        handle = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb", buffering=0) as stream:
            before = os.fstat(stream.fileno())
            info = tar.gettarinfo(arcname=path, fileobj=stream)
            info.name = path
            if not info.isreg():
                self.changed.append(path)
            # A hard link's second name is written as a link by us, never by tarfile's own memory.
            info.type, info.linkname, info.size = tarfile.REGTYPE, "", before.st_size
            reader = _Exactly(stream, before.st_size)
            tar.addfile(info, reader)
            after = os.fstat(stream.fileno())
        if reader.short or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            self.changed.append(path)
        self.bytes_done += before.st_size
        entry.update(size=before.st_size, sha256=reader.sha256.hexdigest())

    def manifest(self) -> Dict[str, Any]:
        """The manifest: version, entries, and what was skipped, changed or vanished. Paths keep any bytes as
        lone surrogates, which json.dumps writes as escapes."""
        return {
            "version": 1,
            "entries": self.entries,
            "skipped": self.skipped,
            "changed": self.changed,
            "vanished": self.walk.vanished,
        }


class _Exactly:
    """Reads exactly so many bytes, with zeros for what is missing: the size is in the header already."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size
        self.sha256 = hashlib.sha256()
        self.short = False

    def read(self, size: int = -1, /) -> bytes:
        size = self._left if size < 0 else min(size, self._left)
        data = self._stream.read(size) if size else b""
        while size and len(data) < size:
            more = self._stream.read(size - len(data))
            if not more:
                self.short = True
                more = bytes(size - len(data))
            data += more
        self._left -= len(data)
        self.sha256.update(data)
        return data


def dump_manifest(manifest: Dict[str, Any]) -> bytes:
    """The manifest as JSON."""
    return json.dumps(manifest, separators=(",", ":"), ensure_ascii=True).encode("ascii")


class Expected:
    """What a tar must hold by its manifest, ticked off while the tar is read.

    :param repository: the tar is restic's: it has no root, links to a file are files, what changed meanwhile may be
        anything, and what came meanwhile may be there
    """

    def __init__(self, manifest: Dict[str, Any], *, repository: bool = False) -> None:
        entries: Dict[str, Dict[str, Any]] = {entry["path"]: entry for entry in manifest["entries"]}
        self.repository = repository
        self.wrong: List[str] = []
        if repository:
            entries.pop(".", None)
            for path, entry in list(entries.items()):
                if entry["type"] == "hardlink":
                    entries[path] = {**entries[entry["target"]], "path": path, "target": entry["target"]}
            for path in manifest["changed"]:
                entries.pop(path, None)
        self._entries = entries

    def take(self, info: tarfile.TarInfo) -> Optional[Dict[str, Any]]:
        """The entry of a member; None when there is none, which is wrong or does not matter."""
        if self.repository:
            info.name = info.name.lstrip("/")
        entry = self._entries.pop(info.name, None)
        if entry is None and not self.repository:
            self.wrong.append(f"{show(info.name)} is in the archive, not in the manifest")
        return entry

    def missing(self) -> List[str]:
        """Everything that was wrong, when the tar has ended."""
        return self.wrong + [f"{show(path)} is missing from the archive" for path in self._entries]


def compare(packed: Any, manifest: Dict[str, Any], tick: Callable[[], None] = lambda: None) -> List[str]:
    """Reads a tar.zst as a stream and compares it with its manifest.

    :returns: what differs, in words; nothing when all agrees
    """
    need_zstandard()
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed) as plain:
            return compare_tar(plain, Expected(manifest), tick)
    except zstandard.ZstdError as error:
        return [f"the archive cannot be read: {error}"]


def compare_tar(plain: Any, expected: Expected, tick: Callable[[], None] = lambda: None) -> List[str]:
    """The same with a tar as a stream, which is read to its end."""
    wrong = expected.wrong
    try:
        with opened_tar(plain) as tar:
            for info in tar:
                tick()
                entry = expected.take(info)
                if entry is None:
                    continue
                if _kind(info) != entry["type"] or info.size != entry["size"]:
                    wrong.append(f"{show(info.name)} is {_kind(info)} of {info.size} bytes, not as in the manifest")
                elif entry["type"] == "symlink" and not same_target(info, entry):
                    wrong.append(f"{show(info.name)} leads elsewhere than the manifest says")
                elif entry["type"] == "file" and _sha256(tar, info) != entry["sha256"]:
                    wrong.append(f"{show(info.name)} has other content than the manifest says")
            while plain.read(_CHUNK):
                pass
    except (tarfile.TarError, EOFError) as error:
        wrong.append(f"the archive cannot be read: {error}")
    return expected.missing()


def same_target(info: tarfile.TarInfo, entry: Dict[str, Any]) -> bool:
    """Whether a symlink leads where the manifest says. restic before 0.17 keeps no target that is not UTF-8: there only
    the manifest has it."""
    readable = entry["target"].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return info.linkname == entry["target"] or _marks(info.linkname) == _marks(readable)


def _marks(text: str) -> str:
    return re.sub("\ufffd+", "\ufffd", text)


def opened_tar(plain: Any) -> tarfile.TarFile:
    """A tar as a stream, names of any bytes."""
    return tarfile.open(mode="r|", fileobj=plain, encoding="utf-8", errors="surrogateescape", bufsize=_CHUNK)


def _kind(info: tarfile.TarInfo) -> str:
    kinds = {
        tarfile.REGTYPE: "file",
        tarfile.DIRTYPE: "directory",
        tarfile.SYMTYPE: "symlink",
        tarfile.LNKTYPE: "hardlink",
    }
    return kinds.get(info.type, "unknown")


def _sha256(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Optional[str]:
    stream = tar.extractfile(info)
    if stream is None:
        return None
    digest = hashlib.sha256()
    while True:
        data = stream.read(_CHUNK)
        if not data:
            return digest.hexdigest()
        digest.update(data)
