# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings a recovery point's objects from the store, each compared with its SHA-256 while it arrives."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from .._storage.read import fetch
from .._work.job import DRILL, Kind
from ..errors import ConfigurationError, MaintenanceError, RestoreError, StorageError
from ..storage import storage_errors
from ..words import human
from . import store
from .objects import BACKUP, WAL

_CHUNK = 1 << 20
_WORDS = ("newest", "random")
#: Recovery points of whatever engine.
ANY = "any"
_PGBACKREST = (
    *("stanza", "repository_path", "label", "requires", "archive_id", "cipher", "target_wal", "page_checksums_wrong"),
    *("restore_point", "restore_point_lsn", "exact", "cluster_bytes"),
)


class Chosen(NamedTuple):
    """A recovery point to drill.

    :param sha256: of recovery-point.json
    :param unreadable: newer ones that cannot be read, and why
    :param among: how many it was drawn from, 0 if it was not drawn
    """

    point: Dict[str, Any]
    key: str
    sha256: str
    unreadable: Dict[str, str]
    among: int = 0


def choose(
    s3: Any,
    storage: Dict[str, Any],
    environment_name: str,
    wanted: str,
    engine: str = ANY,
    kind: Kind = DRILL,
    seed: Optional[str] = None,
) -> Chosen:
    """The recovery point asked for: an id, "newest", or "random" for any but the newest.

    :param engine: whose; one that cannot be read may be of any
    :param kind: who asks
    :param seed: of the choice at random: with it, the same is chosen from the same recovery points
    :raises ConfigurationError: there is no such recovery point
    :raises RestoreError: the one asked for cannot be read
    :raises StorageError: the store does not answer
    """
    prefix = store.prefix_of(storage, environment_name)
    if wanted not in _WORDS and not store.ID.fullmatch(wanted):
        raise ConfigurationError(
            f"{wanted!r} is no recovery point's id.", "Use newest, random, or an id such as 20261123T204030Z-3fa9c1."
        )
    unreadable: Dict[str, str] = {}
    among = 0
    ids = store.run_ids(s3, storage, prefix) if wanted in _WORDS else [wanted]
    if wanted == "random":
        bodies = ((run_id, _body(s3, storage, prefix, run_id)) for run_id in ids)
        finished = [run_id for run_id, body in bodies if body is not None and _is_of(body, engine)]
        # Older ones are proven too; the newest is what the drill without a choice takes.
        ids = drawn(finished, seed)
        among = len(ids)
    for run_id in ids:
        body = _body(s3, storage, prefix, run_id)
        if body is None or (wanted in _WORDS and not _is_of(body, engine)):
            continue
        try:
            point = store.parse(body, prefix, run_id)
            check_complete(point)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            unreadable[run_id] = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
            if wanted not in _WORDS:
                raise RestoreError(
                    f"The recovery point {run_id} cannot be read: {unreadable[run_id]}.",
                    "Choose another; restore an older version of recovery-point.json if the bucket keeps versions.",
                ) from None
            continue
        return Chosen(point, f"{prefix}/{run_id}/{store.NAME}", hashlib.sha256(body).hexdigest(), unreadable, among)
    place = f"s3://{storage['bucket']}/{prefix}/"
    if unreadable:
        why = "; ".join(f"{run_id}: {text}" for run_id, text in list(unreadable.items())[:3])
        raise RestoreError(
            f"No recovery point in {place} can be read: {why}.",
            "Make another backup now (playbooks/daily.yml --tags backup).",
        )
    which = f"no recovery point {wanted}" if wanted not in _WORDS else f"no recovery point of {environment_name}"
    which += f" by {engine}" if wanted in _WORDS and engine != ANY else ""
    raise ConfigurationError(
        f"There is {which} in {place}.", f"Correct {kind.role}_recovery_point, or make a backup first."
    )


def drawn(ids: List[str], seed: Optional[str]) -> List[str]:
    """Recovery points at random, without the newest where there is another: the same of the same by the same seed.

    :param ids: newest first
    """
    older = sorted(ids[1:]) if len(ids) > 1 else list(ids)
    # Nothing secret hangs on it, and whoever has the seed can draw again.
    random.Random(seed).shuffle(older)  # noqa: S311
    return older


def _body(s3: Any, storage: Dict[str, Any], prefix: str, run_id: str) -> Any:
    with storage_errors(storage, f"reading the recovery point {run_id}"):
        found = fetch(s3, storage, f"{prefix}/{run_id}/{store.NAME}")
        return None if found is None else found.read()


def _is_of(body: bytes, engine: str) -> bool:
    """Whether a recovery point is of an engine, as far as that can be read."""
    try:
        return engine == ANY or json.loads(body)["engine"]["name"] == engine
    except (ValueError, KeyError, TypeError):
        return True


def ours(point: Dict[str, Any]) -> List[Dict[str, Any]]:
    """The objects that lie with the recovery point itself; those that pgBackRest wrote have a place of their own."""
    return [entry for entry in point["objects"] if entry.get("role") not in (BACKUP, WAL)]


def check_space(directory: str, needed: int) -> None:
    """Raises ConfigurationError when less is free in a directory than a drill needs."""
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise ConfigurationError(
            f"The drill needs about {human(needed)} in {directory}, where {human(free)} are free.",
            "Free space there, or choose another restore_drill_scratch_directory.",
        )


def check_complete(point: Dict[str, Any]) -> None:
    """Raises ValueError or KeyError when a recovery point lacks what a drill compares."""
    database, totals = point["database"], point["totals"]
    for name in ("name", "server_version_num", "size", "snapshot_at", "extensions", "schema_head", "large_objects"):
        database[name]
    for table in database["tables"]:
        if not {"schema", "name", "rows", "digest", "algorithm"} <= set(table):
            raise ValueError("a table in it is incomplete")
    int(totals["bytes"]), int(database["size"]), point["engine"]["name"], point["application"]["files"]
    if point["engine"]["name"] == "pgbackrest":
        for name in _PGBACKREST:
            point["engine"][name]
        database["system_identifier"]
    roots = {entry["key"].split(f"/{point['id']}/", 1)[0] for entry in ours(point)}
    if len(roots) > 1:
        raise ValueError("its objects lie in several places")
    for entry in ours(point):
        _relative(point, entry)


def _relative(point: Dict[str, Any], entry: Dict[str, Any]) -> PurePosixPath:
    """Where an object goes below the folder."""
    path = entry["key"].split(f"/{point['id']}/", 1)[1]
    if not path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"{entry['key']} is not a place for an object")
    return PurePosixPath(path)


class Download:
    """All objects of a recovery point, several at a time, into a folder.

    :param bytes_done: read from the store so far
    """

    def __init__(self, s3: Any, storage: Dict[str, Any], point: Dict[str, Any], folder: Path) -> None:
        self._s3 = s3
        self._storage = storage
        self._point = point
        self._folder = folder
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.bytes_done = 0

    def run(self, threads: int, tick: Callable[[], None]) -> None:
        """Fetches everything, or ends at the first object that is not as recorded.

        :raises RestoreError: an object is missing, truncated or altered; the message has its key
        :raises StorageError: the store does not answer
        """
        entries = sorted(self._point["objects"], key=lambda entry: -int(entry["size"]))
        with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as pool:
            waiting: Set[Future[None]] = {pool.submit(self._fetch, entry) for entry in entries}
            try:
                while waiting:
                    done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_EXCEPTION)
                    tick()
                    self._raise(done)
            except BaseException:
                self._stop.set()
                for job in waiting:
                    job.cancel()
                raise

    @staticmethod
    def _raise(done: Set[Future[None]]) -> None:
        errors = [error for error in (job.exception() for job in done) if error is not None]
        # Damage says more than what the store says of it.
        for error in sorted(errors, key=lambda error: not isinstance(error, RestoreError)):
            raise error

    def _fetch(self, entry: Dict[str, Any]) -> None:
        path = self._folder / _relative(self._point, entry)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        attempts = max(1, int(self._storage.get("max_attempts") or 1))
        for attempt in range(1, attempts + 1):
            try:
                size, digest = self._save(entry["key"], path)
                break
            except StorageError:
                # What breaks off in the middle of an object is not tried again by the SDK.
                if attempt == attempts or self._stop.wait(attempt):
                    raise
        if size != entry["size"]:
            raise self._damaged(f"{entry['key']} has {size} bytes instead of {entry['size']}")
        if digest != entry["sha256"]:
            raise self._damaged(f"{entry['key']} has another SHA-256 than recorded")

    def _save(self, key: str, path: Path) -> Tuple[int, str]:
        sha256, size = hashlib.sha256(), 0
        with storage_errors(self._storage, f"reading {key}"):
            body = fetch(self._s3, self._storage, key)
            if body is None:
                raise self._damaged(f"{key} is missing")
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb", buffering=0) as file:
                while True:
                    data = body.read(_CHUNK)
                    if not data or self._stop.is_set():
                        break
                    sha256.update(data)
                    file.write(data)
                    size += len(data)
                    with self._lock:
                        self.bytes_done += len(data)
        return size, sha256.hexdigest()

    def _damaged(self, text: str) -> MaintenanceError:
        return RestoreError(
            f"The recovery point {self._point['id']} is damaged: {text}.",
            "Make another backup now; restore older versions of the objects if the bucket keeps versions.",
        )


def manifest_of(folder: Path) -> Any:
    """The application's manifest as it was fetched, None when there is none."""
    try:
        return json.loads((folder / "application/manifest.json").read_bytes())
    except FileNotFoundError:
        return None
