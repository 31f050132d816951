# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of indexes, out of the advice on each."""

from __future__ import annotations

from typing import Any, Dict, List

from ..checks import OK, UNKNOWN, WARNING, Check, judge, limits
from ..words import plural, printable, size
from .catalogue import Index
from .indexes import REVIEW, SAFE, STAYS, Advice, duplicates, invalid, unused
from .indexes import UNKNOWN as NOT_KNOWN
from .usage import Uses, Watched

UNUSED = ("tuning.unused_indexes", "Indexes that nobody reads")
DUPLICATES = ("tuning.duplicate_indexes", "Indexes that another makes superfluous")
INVALID = ("tuning.invalid_indexes", "Invalid indexes")
USAGE = ("tuning.index_usage", "How indexes are used")

#: Pieces of advice that a report carries of each kind.
MOST = 200


def of_advice(id: str, title: str, advice: List[Advice], limit: Dict[str, Any], good: str, source: str) -> Check:
    """One check of all advice of one kind. What nobody knows is unknown, however much else is known."""
    found = [one for one in advice if one.verdict in (SAFE, REVIEW)]
    doubtful = [one for one in advice if one.verdict == NOT_KNOWN]
    stays = [one for one in advice if one.verdict == STAYS]
    safe = sum(one.verdict == SAFE for one in found)
    text = "" if doubtful else good
    if found:
        names = ", ".join(printable(one.index) for one in found[:5])
        text = f"{plural(len(found), 'index', 'indexes')}, {safe} of them safe: {names}."
    if stays and source == "pg_stat_user_indexes":
        text = f"{text} {plural(len(stays), 'unread index', 'unread indexes')} must stay.".strip()
    check = judge(
        id,
        title,
        len(found),
        **limit,
        message=text,
        remedy="Review the advice in the details; nothing is dropped but by name in a reviewed plan (docs/tuning.md).",
        source=source,
        details={
            "safe": safe,
            "review": len(found) - safe,
            "unknown": len(doubtful),
            "stay": len(stays),
            "advice": [one.as_data() for one in [*found, *doubtful, *stays][:MOST]],
        },
    )
    if doubtful and check.status in (OK, WARNING):
        first = doubtful[0]
        check.status, check.value = UNKNOWN, None
        check.message = (
            f"Of {plural(len(doubtful), 'index', 'indexes')} nobody can tell; {printable(first.index)}: "
            f"{printable(first.reason, 200)}. {text}"
        ).strip()
        check.remedy = "Read why in the details; nothing may be dropped meanwhile."
    return check


def of_indexes(
    indexes: List[Index], uses: Uses, watched: Watched, cycle_days: int, thresholds: Dict[str, Any], now: float
) -> List[Check]:
    """All checks of indexes."""
    never = unused(indexes, uses, cycle_days, watched)
    first = of_advice(
        *UNUSED, never, limits(thresholds, "unused_indexes"), "Every index that may go is read.", "pg_stat_user_indexes"
    )
    candidates = {one.index for one in never if one.verdict != STAYS}
    first.details.update(uses.evidence(), cycle_days=cycle_days)
    # Days on which some other server may have read them do not count: they begin anew when all are counted.
    watchable = [] if uses.unseen else [one.oid for one in indexes if one.full in candidates]
    first.details["watched"] = watched.as_data(watchable, now)
    return [
        first,
        of_advice(
            *DUPLICATES,
            duplicates(indexes, uses),
            limits(thresholds, "duplicate_indexes"),
            "No index is superfluous because of another.",
            "pg_index",
        ),
        of_advice(
            *INVALID, invalid(indexes), limits(thresholds, "invalid_indexes"), "All indexes are valid.", "pg_index"
        ),
        usage(indexes, uses),
    ]


def usage(indexes: List[Index], uses: Uses) -> Check:
    """The manual's index usage analysis, over all servers: the most read first."""
    counted = [(uses.scans(one), one) for one in indexes if not one.partitioned]
    known = sorted(
        ((scans, one) for scans, one in counted if scans is not None), key=lambda pair: (-pair[0], pair[1].full)
    )
    lost = len(counted) - len(known)
    text = f"{plural(len(known), 'index is', 'indexes are')} counted"
    text += f", {known[0][1].full} the most read ({known[0][0]:,} scans)." if known else "."
    check = Check(
        *USAGE,
        OK if not lost and not uses.problem else UNKNOWN,
        len(known) if not lost and not uses.problem else None,
        message=text if not uses.problem else f"{text} But {uses.problem}.",
        remedy="" if not uses.problem else "Name every replica in database_tuning_replicas, and let it be asked.",
        source="pg_stat_user_indexes",
        details={
            **uses.evidence(),
            "pages": size(8192 * sum(one.pages for one in indexes)),
            "most_read": [{"index": one.full, "table": one.table, "scans": scans} for scans, one in known[:20]],
        },
    )
    if lost and not uses.problem:
        check.message += f" Of {plural(lost, 'other')} a server has no count."
    return check
