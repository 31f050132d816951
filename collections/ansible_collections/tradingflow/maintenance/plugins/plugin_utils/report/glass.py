# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Break-glass: gates that somebody passed by. No failure of the run, and yet red wherever it is seen."""

from __future__ import annotations

from typing import Any

from .words import clean

PREFIX = "gate.overridden:"


def broken(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The gates that were passed by in a run: gate, host, reason and what held."""
    return [
        {
            "gate": check["id"].removeprefix(PREFIX),
            "host": check["host"],
            "reason": clean(str(check["details"].get("reason") or ""), 500, one_line=True),
            "held": [clean(str(each), 200, one_line=True) for each in check["details"].get("held") or []][:20],
        }
        for check in report["checks"]
        if check["id"].startswith(PREFIX)
    ]


def line(report: dict[str, Any]) -> str:
    """One line of who passed by which gates, and why; empty when nobody did."""
    found = broken(report)
    if not found:
        return ""
    gates = ", ".join(dict.fromkeys(each["gate"].replace("_", " ") for each in found))
    would = "would pass" if report["check_mode"] else "passed"
    return clean(f"BREAK-GLASS: {report['actor']} {would} by {gates}: {found[0]['reason']}", 700, one_line=True)
