# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Area backups as a whole: the newest recovery point, how it compares with those before it, and when one was proven."""

from __future__ import annotations

from typing import Any, Dict, List

from .._checks import limits, thresholds_spec
from ..checks import Check
from ..ledger import SIGNING_SPEC
from ..storage import STORAGE_SPEC
from . import anomaly, proof, store

CHECKS_SPEC: Dict[str, Any] = {
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "environment_name": {"type": "str", "required": True},
    "engines": {"type": "list", "elements": "str", "default": ["logical"], "choices": ["logical", "pgbackrest"]},
    "evidence": {"type": "dict", "options": SIGNING_SPEC},
    "thresholds": thresholds_spec(
        {
            # A daily logical backup: two hours late is a warning, a day missed is critical.
            "newest_age": (26 * 3600, 50 * 3600),
            "size_low": (50, 10),
            "size_high": (200, None),
            "duration_high": (200, None),
            # A drill a week, with a day to spare; a month without any is critical.
            "proven_restore": (8, 35),
        }
    ),
}


def measure(options: Dict[str, Any]) -> List[Check]:
    """All checks of an environment's backups.

    :param options: see CHECKS_SPEC
    :raises MaintenanceError: the store does not answer, or a threshold makes no sense
    """
    storage, environment, thresholds = options["storage"], options["environment_name"], options["thresholds"]
    for name in thresholds:
        limits(thresholds, name)
    found: List[Check] = []
    for engine in options["engines"]:
        found += store.measure(storage, environment, thresholds, engine=engine)
        found += anomaly.measure(storage, environment, thresholds, engine)
    return [
        *found,
        *proof.measure(
            storage, environment, options["evidence"], limits(thresholds, "proven_restore"), engines=options["engines"]
        ),
    ]
