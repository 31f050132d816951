# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the platform answered when a run looked: a sample of its availability, for the ledger."""

from __future__ import annotations

from typing import Any

from ...module_utils.checks import CRITICAL, UNKNOWN

_PARTS = ("application.answers", "database.answers")


def answered(report: dict[str, Any]) -> bool | None:
    """Whether application and database answered; None when the run did not look at both, or could not tell."""
    found = {part: [c["status"] for c in report["checks"] if c["id"].partition(":")[0] == part] for part in _PARTS}
    statuses = [status for each in found.values() for status in each]
    if CRITICAL in statuses:
        return False
    return None if UNKNOWN in statuses or not all(found.values()) else True
