# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what is in the store is the recovery point it says it is."""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List

from .._files import files
from .._postgres.sql import NotUnderstood
from .._postgres.toc import Entry
from .._postgres.toc import read as read_contents
from .._storage.read import check_head, fetch
from .._work.programs import run_to_text
from .._work.progress import Progress
from ..checks import utc_now
from ..storage import storage_errors
from . import rows

_CHUNK = 1 << 20


class _Hashing:
    """A downloaded body as a file, hashed and counted while it is read."""

    def __init__(self, body: Any, count: Callable[[int], None]) -> None:
        self._body = body
        self._count = count
        self.sha256 = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._body.read(_CHUNK if size < 0 else size)
        self.sha256.update(data)
        self.size += len(data)
        self._count(len(data))
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        while self.read(_CHUNK):
            pass


def verify(
    s3: Any,
    storage: Dict[str, Any],
    point: Dict[str, Any],
    *,
    mode: str,
    pg_restore: str,
    scratch: Path,
    progress: Progress,
    files_of: Callable[[], List[str]] = list,
) -> Dict[str, Any]:
    """Verifies a recovery point as it lies in the store.

    :param mode: full reads every object, compares its SHA-256 and counts the rows of every table; checksum compares by
        HEAD and reads only what the structural checks need (the dump's table of contents)
    :param files_of: says what is wrong with application files that are no objects of the recovery point
    :returns: mode, ok, problems (in words), bytes (read), objects, verified_at
    :raises StorageError: the store does not answer, so that nothing is known
    """
    total = sum(entry["size"] for entry in point["objects"]) if mode == "full" else 0
    done = [0]
    stopped: List[BaseException] = []

    def count(size: int) -> None:
        done[0] += size
        if stopped:
            raise stopped[0]

    progress.phase("verify", lambda: {"bytes_done": done[0], "bytes_total": total})
    counted: Dict[str, int] = {}
    toc = scratch / "verify"
    toc.mkdir(mode=0o700, exist_ok=True)
    manifest = next((entry["key"] for entry in point["objects"] if entry["role"] == "application manifest"), None)

    def check(entry: Dict[str, Any]) -> List[str]:
        role = entry["role"]
        if mode == "checksum" and role != "table of contents":
            wrong = check_head(s3, storage, entry)
            return [wrong] if wrong else []
        found: List[str] = []
        name = entry["key"].rsplit("/", 1)[-1]
        table = rows.table_data(name) if role == "data" else None
        try:
            with storage_errors(storage, f"reading {entry['key']}"):
                source = fetch(s3, storage, entry["key"])
                if source is None:
                    return [f"{entry['key']} is missing"]
                body = _Hashing(source, count)
                if role == "table of contents":
                    with open(toc / "toc.dat", "wb") as target:
                        while True:
                            data = body.read(_CHUNK)
                            if not data:
                                break
                            target.write(data)
                elif role == "application files" and manifest:
                    expected = fetch(s3, storage, manifest)
                    # A manifest that is missing or broken is found on its own.
                    if expected is not None:
                        found += files.compare(body, json.loads(expected.read()))
                elif table:
                    counted[table] = rows.count(name, body)
                body.drain()
        except files.UNREADABLE as error:
            return [f"{entry['key']} cannot be read: {error}"]
        if body.size != entry["size"]:
            found.append(f"{entry['key']} has {body.size} bytes instead of {entry['size']}")
        elif body.sha256.hexdigest() != entry["sha256"]:
            found.append(f"{entry['key']} has another SHA-256 than recorded")
        return found

    problems: List[str] = []
    with ThreadPoolExecutor(4, thread_name_prefix="verify") as pool:
        jobs = [pool.submit(check, entry) for entry in sorted(point["objects"], key=lambda entry: -entry["size"])]
        try:
            for job in jobs:
                while not job.done():
                    progress.tick()
                    _wait(job)
                problems += job.result()
        except BaseException as error:
            stopped.append(error)
            for job in jobs:
                job.cancel()
            raise
    if point["engine"]["name"] != "logical":
        pass  # there is no dump
    elif not (toc / "toc.dat").exists():
        problems.append("the dump's table of contents (toc.dat) is missing")
    elif not any("toc.dat" in problem for problem in problems):
        # That pg_restore can read it; what it says in words is not parsed.
        run_to_text([pg_restore, "--list", str(toc)], {})
        try:
            problems += compare_contents(read_contents(toc / "toc.dat").entries, point, counted)
        except NotUnderstood as error:
            problems.append(f"the dump's table of contents (toc.dat) cannot be read: {error}")
    if point["application"].get("engine") == "restic":
        progress.phase("verify files")
    problems += files_of()
    return {
        "mode": mode,
        "ok": not problems,
        "problems": problems,
        "bytes": done[0],
        "objects": len(point["objects"]),
        "verified_at": utc_now(),
    }


def _wait(job: Any) -> None:
    try:
        job.exception(timeout=0.1)
    except TimeoutError:
        pass
    except Exception as error:  # concurrent.futures.TimeoutError is its own class before Python 3.11
        if type(error).__name__ != "TimeoutError":
            raise


def compare_contents(contents: List[Entry], point: Dict[str, Any], counted: Dict[str, int]) -> List[str]:
    """Compares the dump's table of contents with the catalogue of the snapshot, and with the objects and their rows.

    :param counted: rows by file, for what was read
    :returns: what differs, in words
    """
    entries = {entry.oid: entry.number for entry in contents if entry.kind == "TABLE DATA"}
    names = {entry["key"].rsplit("/", 1)[-1] for entry in point["objects"]}
    problems = []
    for table in point["database"]["tables"]:
        label = f"{table['schema']}.{table['name']}"
        dump_id = entries.pop(table["oid"], None)
        if dump_id is None:
            problems.append(f"table {label} is not in the dump")
        elif not any(f"{dump_id}.dat{suffix}" in names for suffix in ("", ".gz", ".zst", ".lz4")):
            problems.append(f"the data of table {label} ({dump_id}.dat) is not among the objects")
        elif table["rows"] is None:
            pass  # said by backup.contents
        elif counted.get(f"{dump_id}.dat", table["rows"]) != table["rows"]:
            found = counted[f"{dump_id}.dat"]
            problems.append(f"the dump has {found} rows of table {label}, its snapshot had {table['rows']}")
    blobs = sum(bool(re.fullmatch(r"blob_\d+\.dat(\.\w+)?", name)) for name in names)
    if blobs != point["database"]["large_objects"]:
        problems.append(f"the dump has {blobs} large objects, the database {point['database']['large_objects']}")
    return problems
