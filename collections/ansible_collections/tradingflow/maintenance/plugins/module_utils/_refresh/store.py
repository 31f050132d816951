# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What refreshes keep: code, prices, and what came out, all by digest; and the lock, as two would meet there."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..checks import utc_now
from ..errors import ConfigurationError, LockedError, MaintenanceError
from ..words import printable
from .snapshot import Snapshot, sha256

#: Bytes and files of one strategy's code.
MOST_CODE, MOST_FILES = 64 << 20, 5000
_SKIPPED = ("__pycache__", ".git")
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Code:
    """A strategy's code as it was kept.

    :param digest: SHA-256 over names and contents
    :param place: the file or folder in the store
    """

    digest: str
    place: Path


class Store:
    """The folder; only ours."""

    def __init__(self, directory: str) -> None:
        self.root = Path(directory)
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.root.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise ConfigurationError(
                    f"{self.root} belongs to somebody else, or others may write there.",
                    "Remove it, or choose another backtest_refresh_directory.",
                )
            self.root.chmod(0o700)
            for name in ("code", "prices", "snapshots", "runs", "refreshed", "work"):
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"The folder of refreshes cannot be used: {error}", "Correct backtest_refresh_directory."
            ) from None
        self.prices = self.root / "prices"

    @contextmanager
    def locked(self) -> Iterator[Path]:
        """A folder for the work under way; what a killed refresh left of it is removed.

        :raises LockedError: another refresh is at work
        """
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                said = os.pread(handle, 200, 0).decode("ascii", "replace")
                raise LockedError(
                    f"Another refresh works in {self.root}: {printable(said or 'it has just begun', 100)}.",
                    "Wait for it to end.",
                ) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}, since {utc_now()}".encode("ascii"), 0)
            for old in (self.root / "work").iterdir():
                shutil.rmtree(old, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(dir=self.root / "work"))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def keep_code(self, path: str, work: Path) -> Code:
        """Copies code as it is now: what runs is the copy, whatever becomes of the original.

        :raises MaintenanceError: it cannot be read, or is too large
        """
        temporary = Path(tempfile.mkdtemp(dir=work))
        digest = _copied(Path(path), temporary / "code")
        kept = self.root / "code" / digest
        if not kept.exists():
            os.chmod(temporary, 0o755)  # noqa: S103 - within our private folder, for a program without rights
            os.replace(temporary, kept)
        return Code(digest, kept / "code")

    def code(self, digest: str) -> Optional[Code]:
        """What was kept, if it is still what it was."""
        place = self.root / "code" / digest / "code"
        try:
            return Code(digest, place) if _copied(place, None) == digest else None
        except (OSError, MaintenanceError):
            return None

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Writes down what a snapshot consists of."""
        write(self.root / "snapshots" / f"{snapshot.digest}.json", snapshot.data())

    def snapshot(self, digest: str) -> Optional[Snapshot]:
        """One that was kept, with all its files as they were."""
        found = read(self.root / "snapshots" / f"{digest}.json")
        try:
            snapshot = Snapshot.known(found or {})
            sound = snapshot.digest == digest
            for one in snapshot.prices.values() if sound else ():
                sound = sound and sha256(self.prices / one.sha256) == one.sha256
        except (KeyError, TypeError, ValueError, OSError):
            return None
        return snapshot if sound else None

    def run(self, key: str) -> Optional[Tuple[Path, Dict[str, Any]]]:
        """What a run left and how it ended, if it was done and is as it was."""
        folder = self.root / "runs" / key
        found = read(folder / "result.json")
        try:
            digests = (found or {})["digests"]
            if all(sha256(folder / name) == digest for name, digest in digests.items()):
                return folder, found or {}
        except (KeyError, AttributeError, OSError):
            pass
        return None

    def keep_run(self, key: str, folder: Path, result: Dict[str, Any]) -> Path:
        """Moves what a run left into its place, whole or not at all."""
        result["digests"] = {entry.name: sha256(entry) for entry in sorted(folder.iterdir()) if entry.is_file()}
        write(folder / "result.json", result)
        place = self.root / "runs" / key
        # What lies there is damaged, or it would have been used.
        shutil.rmtree(place, ignore_errors=True)
        os.replace(folder, place)
        return place

    def earlier(self, strategy: str) -> Optional[Dict[str, Any]]:
        """What the last refresh of a strategy wrote down."""
        for path in sorted(self._refreshed(strategy).glob("*.json"), reverse=True):
            found = read(path)
            if found and found.get("strategy") == strategy:
                return found
        return None

    def keep_refresh(self, strategy: str, told: Dict[str, Any]) -> None:
        """Writes down what the next refresh compares with."""
        folder = self._refreshed(strategy)
        folder.mkdir(mode=0o700, exist_ok=True)
        numbers = [int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal()]
        write(folder / f"{max(numbers, default=0) + 1:08d}.json", {"strategy": strategy, **told})

    def _refreshed(self, strategy: str) -> Path:
        digest = hashlib.sha256(strategy.encode()).hexdigest()[:12]
        return self.root / "refreshed" / f"{_SAFE.sub('_', strategy)[:60]}-{digest}"


def read(path: Path) -> Optional[Dict[str, Any]]:
    """JSON data of ours; None if it is not there or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write(path: Path, data: Any) -> None:
    """JSON data, whole or not at all, readable for nobody else."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def digest_of(path: str) -> Optional[str]:
    """Of code as it is now; None if it cannot be read."""
    try:
        return _copied(Path(path), None)
    except (OSError, MaintenanceError):
        return None


def _copied(source: Path, target: Optional[Path]) -> str:
    """The digest of a file or a folder, and a copy of exactly what was digested."""
    found, count, total = hashlib.sha256(), 0, 0
    try:
        for name, path in _files(source):
            data = path.read_bytes()
            count, total = count + 1, total + len(data)
            if count > MOST_FILES or total > MOST_CODE:
                raise ConfigurationError(
                    f"{source} is too large for a strategy's code.", "Name the folder that has the code, and no data."
                )
            found.update(f"{len(name.encode())}:{name}:{len(data)}:".encode() + data)
            if target is not None:
                place = target / name if name else target
                for folder in [*reversed(place.relative_to(target.parent).parents)][1:]:
                    (target.parent / folder).mkdir(exist_ok=True)
                    (target.parent / folder).chmod(0o755)
                place.write_bytes(data)
                place.chmod(0o444)
    except OSError as error:
        raise ConfigurationError(f"The strategy's code cannot be read: {error}", "Correct its code.") from None
    if not count:
        raise ConfigurationError(f"{source} has no file.", "Name the file or the folder of the strategy's code.")
    return found.hexdigest()


def _files(source: Path) -> List[Tuple[str, Path]]:
    """Names and paths of files, in order. Links and what is no file are refused: they would lead elsewhere."""
    if source.is_file():
        return [("", source)]
    found = []
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in [*folders, *names]:
            path = Path(folder) / name
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise ConfigurationError(f"{path} is no file.", "Let a strategy's code consist of files only.")
        found += [(str((Path(folder) / name).relative_to(source)), Path(folder) / name) for name in names]
    return sorted(found)
