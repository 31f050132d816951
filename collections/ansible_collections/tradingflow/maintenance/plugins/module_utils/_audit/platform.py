# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is collected on the runner: tables of the database in one snapshot, and the ledger's records of the period."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from ..database import DATABASE_SPEC
from ..errors import MaintenanceError
from ..storage import STORAGE_SPEC
from .collected import COMPLETE, FAILED, NAME, Collected, Period, Source, Tool, encoded
from .options import EVIDENCE, PLATFORM
from .packing import Scratch
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
    "limit": {"type": "int", "default": 0},
    "settle": {"type": "int", "default": 900},
    "ledger_empty_ok": {"type": "bool", "default": False},
    "tables": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "relation": {"type": "str", "required": True},
            "time": {"type": "str", "default": ""},
            "timezone": {"type": "str", "default": ""},
            "order": {"type": "list", "elements": "str", "default": []},
            "empty_ok": {"type": "bool", "default": False},
        },
    },
}


def guarded(source: Source, collect: Callable[[Source], Source]) -> Source:
    """One source; an error of it leaves the others."""
    try:
        return collect(source)
    except MaintenanceError as error:
        reason = f"{error.message} {error.remedy}".strip()
    except OSError as error:
        reason = f"it cannot be written: {error.strerror}"
    except Exception as error:
        reason = f"unexpected {type(error).__name__}: this is a defect"
    return replace(source, outcome=FAILED, reason=reason, files=[], records=0)


def collect(options: Dict[str, Any]) -> Collected:
    """Collects into the staging folder, and writes collected.json there, last."""
    from .checkpoints import Checkpoints, recorded
    from .configuration import sources as configuration
    from .ledger_once import Ledger
    from .ledger_records import ledger_records
    from .tables import tables

    staging = Path(options["staging"])
    staging.mkdir(parents=True, exist_ok=True, mode=0o700)
    period = Period.from_dict({"from": options["begin"], "to": options["end"]})
    # Its files are written anew: what it said of the old ones does not hold any more.
    (staging / NAME).unlink(missing_ok=True)
    scratch = Scratch(str(staging), options.get("limit") or sys.maxsize)
    sources: List[Source] = []
    with ExitStack() as stack:
        checkpoints: Checkpoints = {}
        unread: Optional[MaintenanceError] = None
        ledger: Optional[Ledger] = None
        if options["storage"] and options["evidence"]:
            try:
                ledger = stack.enter_context(Ledger(options, period))
                checkpoints = recorded(ledger.runs, period)
            except MaintenanceError as error:
                unread = error
        if options["tables"]:
            sources += tables(options, scratch, period, checkpoints, _untold(unread))
        if options["database"]:
            sources += configuration(options, scratch)
        if ledger or unread:
            source = Source("ledger", "ledger", COMPLETE)
            sources.append(guarded(source, ledger_records(options, scratch, period, ledger, unread)))
    found = Collected(PLATFORM, period, Tool("tradingflow.maintenance", options["version"]), sources)
    put(staging, options.get("plan", ""), encoded(found))
    return found


def _untold(error: Optional[MaintenanceError]) -> str:
    return f"whether rows are missing cannot be told, as the ledger cannot be read: {error.message}" if error else ""
