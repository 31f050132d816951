# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was collected on a host comes to the controller, file by file, each compared with what the host said of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict

from ..errors import EvidenceError
from .bundle import digested, disk_errors
from .collected import NAME, Collected, encoded
from .staged import merged, put


def fetched(
    data: Dict[str, Any], host: str, target: Path, get: Callable[[str, str], object], limit: int, plan: str = ""
) -> int:
    """Fetches the files; how many were not there yet. collected.json is written last: what has one is whole.

    :param data: what the host's module says that it collected
    :param get: fetches one, a path relative to the host's folder, to a path of this machine
    :param limit: bytes of the host that are accepted, 0 for any number
    :param plan: digest of the options by which it was collected
    :raises EvidenceError: a file is not what was collected, or there is no room
    """
    collected = Collected.from_dict(data)
    if collected.host != host:
        raise EvidenceError(f"{host} gave out what was collected of {collected.host[:80]}.", "Collect again.")
    with disk_errors(target):
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        collected = merged(target, plan, collected)
        files = [file for source in collected.sources for file in source.files]
        (target / NAME).unlink(missing_ok=True)
        needed, free = sum(file.size for file in files), shutil.disk_usage(target).free
        if (limit and needed > limit) or needed > free:
            raise EvidenceError(
                f"What was collected of {host} has {needed} bytes; {min(limit or free, free)} are free for it.",
                "Free space in audit_collection_directory, or raise audit_collection_scratch_limit.",
            )
        new = 0
        for file in files:
            path = target / file.path
            if not _is(path, file.size, file.sha256):
                new += 1
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                partial = path.with_name(f"{path.name}.partial")
                get(file.path, str(partial))
                if not _is(partial, file.size, file.sha256):
                    raise EvidenceError(
                        f"{file.path} of {host} is not what was collected there: it changed on its way.",
                        "Run again; if it happens twice, find out who writes to the host's staging folder.",
                    )
                os.chmod(partial, 0o600)
                os.replace(partial, path)
        put(target, plan, encoded(collected))
    return new


def _is(path: Path, size: int, sha256: str) -> bool:
    try:
        return digested(path) == (size, sha256)
    except OSError:
        return False
