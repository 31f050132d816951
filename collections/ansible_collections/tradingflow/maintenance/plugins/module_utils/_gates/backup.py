# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate backup: the newest recovery point is fresh and whole, and a drill proved lately that such a one restores."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from typing import Any, Dict, List

from .._recovery_points import proven, store
from ..checks import CRITICAL, OK, WARNING, Check, unknown
from .gate import Gate

NAME, TITLE = "backup", "Backup fresh and proven"


def backup(options: Dict[str, Any], evidence: Dict[str, Any], now: datetime) -> Gate:
    """The gate, for each engine.

    :raises MaintenanceError: the store does not answer
    """
    storage, environment = options["storage"], options["environment_name"]
    if not options["backup_engines"]:
        text = "No engine of backups is named."
        return Gate(NAME, [unknown(f"gate.{NAME}", TITLE, text, "Set maintenance_window_backup_engines.")])
    age = {"newest_age": {"warning": None, "critical": float(options["backup_age"])}}
    found: List[Check] = []
    for engine in options["backup_engines"]:
        found += store.measure(storage, environment, age, now, engine)
    days = options["backup_proven_days"]
    limit = {"warning": None, "critical": days if math.isfinite(days) else None}
    found += proven.measure(storage, environment, evidence, limit, now, options["backup_engines"])
    return Gate(NAME, [_ours(check) for check in found])


def _ours(check: Check) -> Check:
    """A check of the backups as one of the gate: a drill that failed since the last good one proves the contrary."""
    name, _colon, engine = check.id.partition(":")
    id = f"gate.{NAME}:{name.split('.')[1]}{'_' + engine if engine else ''}"
    status = CRITICAL if check.status == WARNING else check.status
    remedy = check.remedy or ("" if status == OK else f"See {check.id} of the daily run.")
    return replace(check, id=id, status=status, remedy=remedy)
