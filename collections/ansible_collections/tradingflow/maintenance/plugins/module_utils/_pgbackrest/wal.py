# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL segments: their names, and whether the repository has them."""

from __future__ import annotations

import re
import time
from typing import Any, Callable, Dict, List, Optional

from ..errors import BackupError
from ..storage import list_keys, storage_errors
from ..words import plural

#: A segment as an object: its name, the SHA-1 of its contents, and how it is compressed.
_OBJECT = re.compile(r"([0-9A-F]{24})-[0-9a-f]{40}(?:\.(?:gz|lz4|zst|bz2))?")


def number(segment: str, size: int) -> int:
    """A segment's place in the sequence of its timeline.

    :param size: bytes of a segment (wal_segment_size)
    """
    return int(segment[8:16], 16) * (0x100000000 // size) + int(segment[16:24], 16)


def between(first: str, last: str, size: int) -> List[str]:
    """Names of all segments of a timeline from the first to the last.

    :raises BackupError: they are of two timelines, or in the wrong order
    """
    start, end, per_file = number(first, size), number(last, size), 0x100000000 // size
    if first[:8] != last[:8] or end < start:
        raise BackupError(
            f"There is no WAL from {first} to {last}: the server changed its timeline during the backup.",
            "Make another backup.",
        )
    return [f"{first[:8]}{each // per_file:08X}{each % per_file:08X}" for each in range(start, end + 1)]


def objects(s3: Any, storage: Dict[str, Any], folder: str, segments: List[str]) -> Dict[str, Dict[str, Any]]:
    """The store's entries of segments, by name; those that are not there are left out.

    :param folder: key prefix of the archive, ending in its id, e.g. pgbackrest/local/archive/local/15-1
    """
    found: Dict[str, Dict[str, Any]] = {}
    with storage_errors(storage, "listing the archived WAL"):
        for prefix in sorted({segment[:16] for segment in segments}):
            for entry in list_keys(s3, storage["bucket"], f"{folder}/{prefix}/"):
                match = _OBJECT.fullmatch(entry["Key"].rsplit("/", 1)[-1])
                if match:
                    found[match.group(1)] = entry
    return {segment: found[segment] for segment in segments if segment in found}


def wait(
    look: Callable[[], Dict[str, Dict[str, Any]]],
    segments: List[str],
    *,
    seconds: float,
    tick: Callable[[], None],
    trouble: Callable[[], Optional[str]],
) -> Dict[str, Dict[str, Any]]:
    """Waits until all segments are in the repository.

    :param look: gives those that are there
    :param trouble: what the server says of its archiving, None when it is well
    :raises BackupError: they are not there in time
    """
    deadline, pause = time.monotonic() + seconds, 0.1
    while True:
        tick()
        found = look()
        missing = [segment for segment in segments if segment not in found]
        if not missing:
            return found
        if time.monotonic() > deadline:
            said, count = trouble(), plural(len(missing), "segment is", "segments are")
            raise BackupError(
                f"WAL is not in the repository after {seconds:.0f} s: {count} missing, from {missing[0]} on. "
                + (f"The server says: {said}." if said else "The server knows of no failure."),
                "Read PostgreSQL's and pgBackRest's logs, fix it, and back up again.",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
