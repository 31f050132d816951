# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the platform answered when a run looked: a sample of its availability, for the ledger."""

from __future__ import annotations

from typing import Any

from ...module_utils.checks import CRITICAL, UNKNOWN

_PARTS = ("application.answers", "database.answers")


def answered(report: dict[str, Any]) -> bool | None:
    """Whether application and database answered; None when the run did not look at both, or could not tell.

    Of several replicas all must be silent for the application to be down, and all must answer for it to be known up. A
    certificate that we do not trust is one for others to judge.
    """
    found = {part: [c for c in report["checks"] if c["id"].partition(":")[0] == part] for part in _PARTS}
    if any(checks and all(map(_down, checks)) for checks in found.values()):
        return False
    statuses = {check["status"] for checks in found.values() for check in checks}
    return None if statuses & {CRITICAL, UNKNOWN} or not all(found.values()) else True


def _down(check: dict[str, Any]) -> bool:
    return check["status"] == CRITICAL and not (check.get("details") or {}).get("untrusted")
