# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is collected on the runner: tables of the database in one snapshot, and the ledger's records of the period."""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List

from ..database import DATABASE_SPEC
from ..errors import MaintenanceError
from ..storage import STORAGE_SPEC
from .collected import COMPLETE, FAILED, NAME, PARTIAL, Collected, File, Period, Source, Tool, encoded
from .options import EVIDENCE, PLATFORM
from .staged import put

#: Argument spec of the module audit_platform.
SPEC: Dict[str, Any] = {
    "environment_name": {"type": "str", "required": True},
    "staging": {"type": "path", "required": True},
    "begin": {"type": "str", "required": True},
    "end": {"type": "str", "required": True},
    "version": {"type": "str", "default": ""},
    "plan": {"type": "str", "default": ""},
    "database": {"type": "dict", "options": DATABASE_SPEC},
    "storage": {"type": "dict", "options": STORAGE_SPEC},
    "evidence": {"type": "dict", "options": EVIDENCE},
    "ledger_empty_ok": {"type": "bool", "default": False},
    "tables": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "relation": {"type": "str", "required": True},
            "time": {"type": "str", "default": ""},
            "order": {"type": "list", "elements": "str", "default": []},
            "empty_ok": {"type": "bool", "default": False},
        },
    },
}


class Writer:
    """A compressed file being written; the same content gives the same bytes."""

    def __init__(self, staging: Path, path: str) -> None:
        self.path, self._final = path, staging / path
        self._final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._partial = self._final.with_name(f"{self._final.name}.partial")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._partial, flags, 0o600), "wb")
        # A gzip header without name and time.
        self._deflate = zlib.compressobj(1, zlib.DEFLATED, 31)
        self._digest, self._size = hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        """Takes bytes."""
        self._put(self._deflate.compress(data))

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._size += len(data)
        self._file.write(data)

    def close(self, records: int) -> File:
        """Puts the file in place."""
        self._put(self._deflate.flush())
        self._file.close()
        os.replace(self._partial, self._final)
        return File(self.path, self._size, self._digest.hexdigest(), records)


def judged(source: Source, empty_ok: bool) -> Source:
    """A source with its outcome, by what was counted.

    :param source: complete so far, with its reason when it is not
    """
    reasons = [source.reason] if source.reason else []
    if len({count.records for count in source.counts} | {source.records}) > 1:
        shown = ", ".join(f"{count.by}: {count.records}" for count in source.counts)
        reasons.append(f"the counts differ ({shown})")
    if not source.records and not empty_ok:
        reasons.append("there are no records, and that was not declared as well")
    if not reasons and not source.gaps:
        return source
    return replace(source, outcome=PARTIAL, reason="; ".join(reasons) or "a part of the period is missing")


def guarded(source: Source, collect: Callable[[Source], Source]) -> Source:
    """One source; an error of it leaves the others."""
    try:
        return collect(source)
    except MaintenanceError as error:
        reason = error.message
    except OSError as error:
        reason = f"it cannot be written: {error.strerror}"
    except Exception as error:
        reason = f"unexpected {type(error).__name__}: this is a defect"
    return replace(source, outcome=FAILED, reason=reason, files=[], records=0)


def collect(options: Dict[str, Any]) -> Collected:
    """Collects into the staging folder, and writes collected.json there, last."""
    from .checkpoints import Checkpoints, recorded
    from .configuration import sources as configuration
    from .ledger_records import ledger_records
    from .tables import tables

    staging = Path(options["staging"])
    staging.mkdir(parents=True, exist_ok=True, mode=0o700)
    period = Period.from_dict({"from": options["begin"], "to": options["end"]})
    # Its files are written anew: what it said of the old ones does not hold any more.
    (staging / NAME).unlink(missing_ok=True)
    sources: List[Source] = []
    if options["tables"]:
        checkpoints: Checkpoints = {}
        unread = ""
        try:
            checkpoints = recorded(options, period)
        except MaintenanceError as error:
            unread = f"whether rows are missing cannot be told, as the ledger cannot be read: {error.message}"
        sources += tables(options, staging, period, checkpoints, unread)
    if options["database"]:
        sources += configuration(options, staging)
    if options["storage"] and options["evidence"]:
        sources.append(guarded(Source("ledger", "ledger", COMPLETE), ledger_records(options, staging, period)))
    found = Collected(PLATFORM, period, Tool("tradingflow.maintenance", options["version"]), sources)
    put(staging, options.get("plan", ""), encoded(found))
    return found
