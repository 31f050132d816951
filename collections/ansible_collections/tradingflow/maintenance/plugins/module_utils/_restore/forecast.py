# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a restore will take, from the newest drill on the ledger."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Optional

from .._ledger.keys import PublicKeys, public_key, signing_key
from .._ledger.places import Store
from .._recovery_points.proven import walk
from ..errors import MaintenanceError

#: Phases of a drill that a restore has too, and that grow with the data.
_PHASES = ("fetch", "restore", "replay", "promote", "files", "prove")
_DAYS = 400


def expected(options: Dict[str, Any], point: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """Seconds, and the recovery point whose drill says so; None when there is no drill to go by.

    :param point: in short, as engine.plan gives it
    """
    evidence = {key: value for key, value in (options.get("evidence") or {}).items() if value}
    signing = evidence.get("signing_key") or evidence.get("signing_key_file")
    if not signing and not evidence.get("trusted_key_files"):
        return None
    try:
        trusted = [public_key(each) for each in evidence.get("trusted_key_files", [])] or [signing_key(signing).public]
        store = Store(options["storage"], options["environment_name"], pool=16)
        since = datetime.now(timezone.utc) - timedelta(days=_DAYS)
        engine = point["engine"]
        proven = walk(store, PublicKeys(trusted), options["environment_name"], since, [engine])[engine].proven
    except MaintenanceError:
        return None
    content = proven.predicate["content"] if proven else {}
    return of_drill(content, point)


def of_drill(content: Dict[str, Any], point: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """The same, from what the ledger keeps of a drill."""
    phases, size = content.get("phases"), content.get("database_bytes")
    if content.get("engine") != point["engine"] or not isinstance(phases, dict):
        return None
    seconds = sum(float(phases.get(name) or 0) for name in _PHASES)
    if content.get("recovery_point") != point["id"]:
        if not isinstance(size, int) or size <= 0:
            return None
        seconds *= point["database_bytes"] / size
    return {"seconds": round(seconds, 1), "drill": content.get("recovery_point")}
