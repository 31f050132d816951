# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's files as they are on the host: read once by us, so that there is a record independent of restic."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Tuple

from .files import Walk, kind_of

_CHUNK = 1 << 20
State = Tuple[int, ...]


class Tree:
    """One pass over the files, for their manifest.

    :param entries: the manifest's, as those of files.Archive
    :param changed: files that were not the same before and after the backup: nobody knows what was stored of them
    :param skipped: sockets, FIFOs and devices
    """

    def __init__(self, root: Path, excludes: Iterable[str], pause: Callable[[], None] = lambda: None) -> None:
        self.walk = Walk(root, excludes)
        self.entries: List[Dict[str, Any]] = []
        self.changed: List[str] = []
        self.skipped: List[str] = []
        self.bytes_done = 0
        self._pause = pause
        self._links: Dict[Tuple[int, int], str] = {}
        self._states: Dict[str, State] = {}

    def read(self) -> None:
        """Reads every file.

        :raises BackupError, OSError: one cannot be read
        """
        for path, status in self.walk:
            self._pause()
            self._add(path, status)

    def _add(self, path: str, status: os.stat_result) -> None:
        kind = kind_of(status)
        if kind not in ("file", "directory", "symlink"):
            self.skipped.append(path)
            return
        entry: Dict[str, Any] = {"path": path, "type": kind, "size": 0, "mode": f"{stat.S_IMODE(status.st_mode):04o}"}
        full = self.walk.root / path
        identity = status.st_dev, status.st_ino
        try:
            if kind == "symlink":
                entry["target"] = os.readlink(full)
            elif kind == "file" and status.st_nlink > 1 and identity in self._links:
                entry.update(type="hardlink", target=self._links[identity])
            elif kind == "file":
                entry.update(size=status.st_size, sha256=self._sha256(full))
                self._links[identity] = path
        except FileNotFoundError:
            self.walk.vanished.append(path)
            return
        entry["mtime"] = status.st_mtime_ns
        if kind != "directory":
            self._states[path] = _state(status)
        self.entries.append(entry)

    def _sha256(self, full: Path) -> str:
        digest = hashlib.sha256()
        # Not through a symlink that took the file's place meanwhile, and not stuck on a fifo that did.
        handle = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb", buffering=0) as stream:
            while True:
                data = stream.read(_CHUNK)
                if not data:
                    return digest.hexdigest()
                digest.update(data)
                self.bytes_done += len(data)
                self._pause()

    def look_again(self) -> None:
        """Finds what changed since it was read: of that nobody knows which state was stored."""
        for path, state in self._states.items():
            try:
                # The time of the last change of anything cannot be set back by programs.
                if _state(os.lstat(self.walk.root / path)) != state:
                    self.changed.append(path)
            except OSError:
                self.changed.append(path)

    def manifest(self) -> Dict[str, Any]:
        """As that of files.Archive. Nothing is compared with what is named as changed."""
        return {
            "version": 1,
            "entries": self.entries,
            "skipped": self.skipped,
            "changed": self.changed,
            "vanished": self.walk.vanished,
        }


def _state(status: os.stat_result) -> State:
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns
