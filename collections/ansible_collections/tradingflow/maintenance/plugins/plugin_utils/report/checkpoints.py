# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run counted of audited tables, for the ledger: rows that are missing later show against it."""

from __future__ import annotations

from typing import Any

_CHECK = "database.audited:"


def checkpoints(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Relation -> day -> rows and highest key; of one relation in several databases the first."""
    found: dict[str, dict[str, Any]] = {}
    for check in report["checks"]:
        details = check.get("details") or {}
        if check["id"].startswith(_CHECK) and isinstance(details.get("days"), dict):
            found.setdefault(str(details.get("relation")), details["days"])
    return found


def clocks(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Host -> what its kernel said of its clock, synchronised and error in s; without hosts of which nobody knows."""
    found: dict[str, dict[str, Any]] = {}
    for check in report["checks"]:
        kernel = (check.get("details") or {}).get("kernel")
        if check["id"] != "system.clock_skew" or not isinstance(kernel, dict):
            continue
        if isinstance(kernel.get("synchronised"), bool):
            found.setdefault(str(check.get("host")), {name: kernel.get(name) for name in ("synchronised", "error")})
    return found
