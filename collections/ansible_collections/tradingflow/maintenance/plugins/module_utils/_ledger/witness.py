# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The witness: a local file that remembers which records there were, since no chain can show that its end is gone.

JSON lines, only ever appended to: number, digest, keyid, recorded_at.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, Container, Iterator, Optional

# pylint: disable=unidiomatic-typecheck  # JSON's true is an int in Python, but no number

#: Enough for hundreds of lines: the newest record is among the last ones.
_TAIL = 65536


def add(path: Path, line: dict[str, Any]) -> None:
    """Appends a line and waits until it is on disk.

    :raises OSError: it cannot be written
    """
    # Only who writes needs it: an auditor may have a system without it.
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        size = stream.seek(0, os.SEEK_END)
        # A line that a crash cut short must not swallow this one.
        torn = size and os.pread(stream.fileno(), 1, size - 1) != b"\n"
        data = (b"\n" if torn else b"") + json.dumps(line, sort_keys=True).encode() + b"\n"
        if os.write(stream.fileno(), data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(stream.fileno())


def lines(text: str) -> Iterator[Optional[dict[str, Any]]]:
    """The lines of a witness; None for one that is damaged."""
    for each in text.splitlines():
        if not each.strip():
            continue
        try:
            line = json.loads(each)
        except ValueError:
            line = None
        complete = isinstance(line, dict) and type(line.get("number")) is int and isinstance(line.get("digest"), str)
        yield line if complete else None


def newest(path: Path, trusted: Container[str]) -> Optional[dict[str, Any]]:
    """The line of the highest number. Lines of keys that are not trusted are of another ledger and do not count.

    :raises OSError: there is a witness that cannot be read
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _TAIL))
            text = stream.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None
    found = [line for line in lines(text) if line and line.get("keyid") in trusted]
    return max(found, key=lambda line: int(line["number"]), default=None)
