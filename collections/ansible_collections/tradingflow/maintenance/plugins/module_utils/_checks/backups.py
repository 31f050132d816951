# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Area backups as a whole: the newest recovery point, how it compares with those before it, when one was proven, and
the watchdog of the WAL."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Dict, List, Optional, Tuple

from .._ledger.points import Known, look_up, trusted
from .._recovery_points import anomaly, store
from .._recovery_points import proven as proof
from .._wal import clocks, keys
from .._wal import measure as watchdog
from ..checks import Check, limits, thresholds_spec, unknown
from ..database import DATABASE_SPEC
from ..errors import EvidenceError, MaintenanceError
from ..ledger import SIGNING_SPEC
from ..storage import STORAGE_SPEC, client
from . import depth, kept
from .earlier import Earlier, nothing

PGBACKREST_SPEC: Dict[str, Any] = {
    "stanza": {"type": "str", "required": True},
    "repository_path": {"type": "str", "required": True},
}

CHECKS_SPEC: Dict[str, Any] = {
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "environment_name": {"type": "str", "required": True},
    "engines": {"type": "list", "elements": "str", "default": ["logical"], "choices": ["logical", "pgbackrest"]},
    "evidence": {"type": "dict", "options": SIGNING_SPEC},
    "pgbackrest": {"type": "dict", "options": PGBACKREST_SPEC},
    "database": {"type": "dict", "options": DATABASE_SPEC},
    "kept_read": {"type": "dict", "apply_defaults": True, "options": depth.READ_SPEC},
    "key_expiry": {"type": "list", "elements": "dict", "default": [], "options": keys.KEY_SPEC},
    "thresholds": thresholds_spec(
        {
            # A daily logical backup: two hours late is a warning, a day missed is critical.
            "newest_age": (26 * 3600, 50 * 3600),
            "size_low": (50, 10),
            "size_high": (200, None),
            "duration_high": (200, None),
            # A drill a week, with a day to spare; a month without any is critical.
            "proven_restore": (8, 35),
            # Three turns missed.
            "kept_read": (90, None),
            # An objective (RPO) of one hour.
            "wal_age": (1800, 3600),
            "clock": (5, 60),
            "certificate": (30, 7),
            "key": (30, 7),
        }
    ),
}


def measure(options: Dict[str, Any], earlier: Earlier = nothing, tell: depth.Tell = depth.quiet) -> List[Check]:
    """All checks of an environment's backups.

    :param options: see CHECKS_SPEC
    :param tell: called with the bytes that were read back, and how many are at most
    :raises MaintenanceError: the store does not answer, or a threshold makes no sense
    """
    storage, environment, thresholds = options["storage"], options["environment_name"], options["thresholds"]
    for name in thresholds:
        limits(thresholds, name)
    physical = "pgbackrest" in options["engines"]
    others = keys.keys(options["key_expiry"], limits(thresholds, "key"))
    # What the server and the certificate say is worth having when the store is silent.
    others += keys.certificate(storage, limits(thresholds, "certificate"))
    others += watchdog.measure(options) if physical else []
    found: List[Check] = []
    try:
        now, s3 = datetime.now(timezone.utc), client(storage, pool=16)
        there = kept.take(s3, storage, environment)
        # After the store: what is deleted in between is in the ledger by then.
        known, problem = _known(options, now)
        lost = set(there.unfinished) & (set(known.recorded) - known.removed if known else set())
        for engine in options["engines"]:
            found += store.measure(storage, environment, thresholds, engine=engine, lost=lost)
            found += anomaly.measure(storage, environment, thresholds, engine)
        found += proof.measure(
            storage, environment, options["evidence"], limits(thresholds, "proven_restore"), engines=options["engines"]
        )
        found.append(kept.judged(s3, storage, there, known, problem, now))
        limit = limits(thresholds, "kept_read")
        found.append(depth.measure(s3, storage, there, known, options["kept_read"], limit, now, earlier, tell))
        return [*found, clocks.of_store(client(storage), storage, limits(thresholds, "clock")), *others]
    except MaintenanceError as error:
        if not physical:
            raise
        return [unknown("backups.measured", "Backups measured", error.message, error.remedy), *others]


def _known(options: Dict[str, Any], now: datetime) -> Tuple[Optional[Known], str]:
    """What the ledger says of all recovery points there ever were; None, and why, when nothing can be had of it.

    :raises StorageError: the store does not answer
    """
    evidence = {name: value for name, value in (options["evidence"] or {}).items() if value}
    if not {"signing_key", "signing_key_file", "trusted_key_files"} & set(evidence):
        return None, "No ledger is configured (tradingflow_evidence)."
    try:
        keys = trusted(evidence)
    except EvidenceError as error:
        return None, str(error)
    return look_up(options["storage"], options["environment_name"], keys, None, now), ""
