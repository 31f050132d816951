# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report draws: results of sessions against value at risk, with exceptions marked."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

from ..checks import as_action, utc_now
from ..words import plural
from .findings import level_of
from .forecasts import Series

#: Sessions that are drawn, the newest; and series.
SESSIONS, NAMES = 500, 40


def actions(found: Sequence[Series]) -> List[Dict[str, Any]]:
    """A chart for each series that is known, the book's first."""
    started, result = utc_now(), []
    known = [one for one in found if not one.doubts and len(one.outcomes) > 1]
    for one in sorted(known, key=lambda one: one.scope != "book")[:NAMES]:
        title = f"{one.subject or 'The book'}: {one.model}, {level_of(one.level)}"
        details = {"charts": [_chart(title, one)]}
        result.append(as_action(f"validation.series:{one.name}", title, "ok", False, "", started, details))
    return result


def _chart(title: str, one: Series) -> Dict[str, Any]:
    outcomes = [each for each in one.outcomes if each.base > 0][-SESSIONS:]
    hits = [place for place, each in enumerate(outcomes) if each.hit]
    return {
        "kind": "exceptions",
        "title": f"{title}: results, and value at risk below; {plural(len(hits), 'exception')}",
        "from": str(outcomes[0].day) if outcomes else "",
        "to": str(outcomes[-1].day) if outcomes else "",
        "results": [round(float(each.result / each.base), 6) for each in outcomes],
        "bounds": [round(float(-each.var / each.base), 6) for each in outcomes],
        "hits": hits,
    }
