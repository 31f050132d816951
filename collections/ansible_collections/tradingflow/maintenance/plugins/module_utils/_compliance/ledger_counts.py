# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many records of each kind the ledger has of some days."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Dict, Optional

from .._ledger.places import Store
from .._ledger.points import trusted
from .._ledger.record import parse_time
from .._ledger.walk import backwards

MOST = 20_000


def counted(
    storage: Optional[Dict[str, Any]], evidence: Optional[Dict[str, Any]], environment: str, since: datetime
) -> Optional[Dict[str, int]]:
    """Kind -> records since a time; None without a ledger, or where one that should count does not verify.

    :raises MaintenanceError: store or keys cannot be read
    """
    given = {key: value for key, value in (evidence or {}).items() if value}
    if not storage or not (given.get("trusted_key_files") or given.get("signing_key") or given.get("signing_key_file")):
        return None
    counts: Dict[str, int] = {}
    looked_at = 0
    for _number, record in backwards(Store(storage, environment, pool=16), trusted(given), environment, MOST):
        looked_at += 1
        if record is None:
            return None
        if parse_time(record.predicate["recorded_at"]) < since:
            return counts
        kind = record.predicate["kind"]
        counts[kind] = counts.get(kind, 0) + 1
    return counts if looked_at < MOST else None
