# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The compliance report for people: one HTML page without scripts or outside resources."""

from __future__ import annotations

from typing import Any

from ...module_utils.checks import STATUSES, worst
from . import words
from .html import environment

#: What the page shows of each list at most; the rest is counted and is in compliance.json.
MOST_GAPS, MOST_EVIDENCE = 300, 40


def page(assessment: dict[str, Any], run_id: str) -> str:
    """The page.

    :param assessment: see module_utils/_compliance/assessment.py
    """
    rows, gaps = assessment["requirements"], assessment["gaps"]
    return (
        environment()
        .get_template("compliance.html.j2")
        .render(
            assessment=assessment,
            run_id=run_id,
            status=worst(row["status"] for row in rows),
            when=words.when(assessment["assessed_at"]),
            whole=sum(row["status"] == "ok" for row in rows),
            counts={status: sum(row["status"] == status for row in rows) for status in STATUSES},
            overdue=sum(gap["overdue"] for gap in gaps),
            gaps=words.scrub(gaps[:MOST_GAPS], 2000),
            more_gaps=max(0, len(gaps) - MOST_GAPS),
            rows=words.scrub(rows, 2000),
            most_evidence=MOST_EVIDENCE,
        )
    )
