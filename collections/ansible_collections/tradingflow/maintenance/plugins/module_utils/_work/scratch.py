# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work directory: private, locked, cleaned of what dead runs left, and the dump's files followed as they grow."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import re
import select
import shutil
import stat
import struct
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

from ..checks import utc_now
from ..errors import ConfigurationError, LockedError
from .job import BACKUP, Kind
from .progress import HANDLE_TIMEOUT

_IN_CLOSE_WRITE = 0x8
_IN_CREATE = 0x100
_PUNCH_HOLE = 0x2 | 0x1  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_CHUNK = 1 << 20
#: Folders of finished or abandoned jobs are removed after so many seconds without a touch.
JOB_AGE = 3600.0


def base(directory: str, kind: Kind = BACKUP, mode: int = 0o700) -> Path:
    """Our folder of this user in the scratch directory.

    :param mode: 0711 lets a server that runs as another user pass through it
    :raises ConfigurationError: it cannot be made, or somebody else owns the name
    """
    path = Path(directory) / f"tradingflow-{kind.name}-{os.geteuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise unusable(kind, error) from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o066:
        raise ConfigurationError(
            f"{path} belongs to somebody else or is open to others.",
            f"Remove it, or choose another {kind.role}_scratch_directory.",
        )
    path.chmod(mode)
    return path


def unusable(kind: Kind, error: OSError) -> ConfigurationError:
    """That the scratch directory cannot be used."""
    return ConfigurationError(
        f"The scratch directory cannot be used: {error}",
        f"Correct {kind.role}_scratch_directory, or free space there.",
    )


def job_directory(directory: str, kind: Kind = BACKUP, mode: int = 0o700) -> Path:
    """A new folder for a job's state; older ones that nobody touches any more are removed."""
    parent = base(directory, kind, mode)
    for old in parent.glob("job-*"):
        try:
            if time.time() - max(old.stat().st_mtime, (old / "alive").stat().st_mtime) > JOB_AGE:
                shutil.rmtree(old, ignore_errors=True)
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="job-", dir=parent))


def destination(environment_name: str, storage: Dict[str, Any]) -> str:
    """Name of what a lock protects: an environment in a place of a store, as a file name."""
    place = "\0".join(str(storage.get(part) or "") for part in ("endpoint", "bucket", "prefix"))
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", environment_name)[:60]
    return f"{readable}-{hashlib.sha256(f'{environment_name}{chr(0)}{place}'.encode()).hexdigest()[:12]}"


class Scratch:
    """A run's own folder below the lock of its destination.

    :param path: the folder
    :param stale: ids of runs that died here; their folders are gone
    """

    def __init__(self, path: Path, stale: List[str]) -> None:
        self.path = path
        self.stale = stale

    def free(self) -> int:
        """Bytes free for us."""
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize


@contextmanager
def locked(
    directory: str,
    name: str,
    run_id: str,
    job: Optional[Path] = None,
    *,
    kind: Kind = BACKUP,
    mode: int = 0o700,
    before_removal: Callable[[Path], None] = lambda folder: None,
) -> Iterator[Scratch]:
    """Locks a destination on this host for as long as the context lasts.

    A run that nobody holds the handle of any more ends itself soon; it is waited for.

    :param job: our folder with the handle, told to others who find the lock taken
    :param mode: of the folders, see base
    :param before_removal: called with each folder of a dead run, while the lock is ours
    :raises LockedError: another run holds it
    """
    home = base(directory, kind, mode) / name
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        home.chmod(mode)
        handle = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable(kind, error) from None
    try:
        seen, deadline = None, time.monotonic() + HANDLE_TIMEOUT + 10
        while not _flock(handle):
            holder = _holder(handle)
            touched = _touched(holder.get("job"))
            # Touched again between two looks, or by nobody at all: somebody is at work.
            if not touched or (seen and touched != seen) or time.monotonic() > deadline:
                raise LockedError(
                    f"Another {kind.name} of this environment is under way on this host: process {holder.get('pid')}, "
                    f"recovery point {holder.get('id')}, started {holder.get('started_at')}.",
                    "Wait for it to end; it shows its own progress.",
                )
            seen = touched
            time.sleep(1.5)
        # The lock is ours, so every other folder here is a dead run's.
        stale = sorted(entry.name for entry in os.scandir(home) if entry.is_dir(follow_symlinks=False))
        for old in stale:
            before_removal(home / old)
            shutil.rmtree(home / old, ignore_errors=True)
        holder = {"pid": os.getpid(), "id": run_id, "started_at": utc_now(), "job": str(job) if job else None}
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(holder).encode(), 0)
            (home / run_id).mkdir(mode=0o700)
            (home / run_id).chmod(mode)
        except OSError as error:
            raise unusable(kind, error) from None
        try:
            yield Scratch(home / run_id, stale)
        finally:
            shutil.rmtree(home / run_id, ignore_errors=True)
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _flock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(handle: int) -> Dict[str, Any]:
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
        return holder if isinstance(holder, dict) else {}
    except (OSError, ValueError):
        return {}  # it has just started


def _touched(job: Optional[str]) -> Optional[int]:
    """When the handle of a job was last touched; -1 when it was taken away; None when there is no job to ask."""
    if not job:
        return None
    try:
        return (Path(job) / "alive").stat().st_mtime_ns
    except OSError:
        return -1


class Watch:
    """Which files of a directory were closed by their writer, from inotify; all is unknown where that is missing."""

    def __init__(self, directory: Path) -> None:
        self._handle = -1
        try:
            libc: Any = ctypes.CDLL(None, use_errno=True)
            self._handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if (
                self._handle >= 0
                and libc.inotify_add_watch(self._handle, os.fsencode(directory), _IN_CLOSE_WRITE | _IN_CREATE) < 0
            ):
                self.close()
        except (OSError, AttributeError):
            pass

    def closed(self, timeout: float) -> List[str]:
        """Names closed since the last call; waits up to timeout seconds for news."""
        if self._handle < 0:
            time.sleep(timeout)
            return []
        if not select.select([self._handle], [], [], timeout)[0]:
            return []
        data, place, names = os.read(self._handle, 65536), 0, []
        while place < len(data):
            _watch, mask, _cookie, length = struct.unpack_from("iIII", data, place)
            name = data[place + 16 : place + 16 + length].rstrip(b"\0")
            place += 16 + length
            if mask & _IN_CLOSE_WRITE:
                names.append(os.fsdecode(name))
        return names

    def close(self) -> None:
        """Ends the watch."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class Tail:
    """A growing file, read once from the front; what was read is given back to the file system."""

    _libc: Any = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.done = 0

    def read(self) -> bytes:
        """The next bytes, none when there are no more yet."""
        data = os.pread(self._handle, _CHUNK, self.done)
        if data:
            self._punch(self.done, len(data))
            self.done += len(data)
        return data

    def waiting(self) -> int:
        """Bytes written and not yet read."""
        return max(0, os.fstat(self._handle).st_size - self.done)

    def _punch(self, offset: int, size: int) -> None:
        if Tail._libc is None:
            Tail._libc = ctypes.CDLL(None, use_errno=True)
        # Where the file system cannot, the space comes back when the file is removed.
        Tail._libc.fallocate(
            ctypes.c_int(self._handle), ctypes.c_int(_PUNCH_HOLE), ctypes.c_int64(offset), ctypes.c_int64(size)
        )

    def remove(self) -> None:
        """Removes the file."""
        os.close(self._handle)
        self.path.unlink()


def free(directory: str) -> int:
    """Bytes free in a directory, 0 when it cannot be used."""
    try:
        status = os.statvfs(directory)
    except OSError:
        return 0  # said when it is used
    return status.f_bavail * status.f_frsize
