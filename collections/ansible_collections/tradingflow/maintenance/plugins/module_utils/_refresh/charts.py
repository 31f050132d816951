# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report draws: the refreshed equity, and the earlier one where there is one."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Dict, List, Sequence, Tuple

from ..checks import as_action, utc_now
from .outputs import Equity
from .probes import BASE

#: Points of a line, and strategies that are drawn.
POINTS, NAMES = 160, 30


def actions(judges: Sequence[Tuple[Any, Any]]) -> List[Dict[str, Any]]:
    """A chart of each strategy that came to something."""
    started = utc_now()
    result: List[Dict[str, Any]] = []
    for one, judge in judges:
        found = one.outputs(BASE)
        if not found or len(found.days) < 2 or len(result) >= NAMES:
            continue
        capital, first = one.strategy.capital, found.days[0].day
        chart = {
            "kind": "compared",
            "title": f"{one.name}: equity by its capital",
            "from": str(first),
            "to": str(found.days[-1].day),
            "now": _line(found.days, capital, first),
        }
        then = judge.change.then if judge.change else None
        if then and len(then.days) > 1:
            chart["then"] = _line(then.days, capital, first)
        # Lines upon one another are one line.
        details = {"charts": [chart]}
        result.append(as_action(f"backtest.strategy:{one.name}", one.name, "ok", False, "", started, details))
    return result


def _line(rows: Sequence[Equity], capital: Decimal, first: Any) -> List[List[float]]:
    """Days since the first, and equity by the capital; the first, the last, and some between."""
    step = max(1, math.ceil((len(rows) - 1) / (POINTS - 1)))
    places = sorted({*range(len(rows) - 1, -1, -step), 0})
    return [[(rows[p].day - first).days, round(float(rows[p].equity / capital), 5)] for p in places]
