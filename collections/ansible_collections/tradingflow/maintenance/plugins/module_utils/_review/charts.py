# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report draws, as data small enough to be kept in it."""

from __future__ import annotations

import math
from datetime import date
from typing import Any, Dict, List, Optional, Sequence

from .._performance.drawdown import levels
from .._performance.figures import Figures
from .._performance.ratios import NORMAL, moments, or_none, variance_of_sharpe
from ..checks import as_action, utc_now

#: Points of a line, and strategies of a heat map.
POINTS, NAMES = 160, 30
#: Sessions of a rolling Sharpe ratio.
ROLLING = 63


def actions(strategies: Any, book: Optional[Figures], joint: Any, options: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Charts of the book and of each strategy, of correlations and of shares of risk."""
    started, result = utc_now(), []
    if book and not book.undefined:
        drawn = [_equity("The book", book), *_rolling("The book", book, options)]
        result.append(_action("review.book", "The book", started, drawn))
    for one in strategies[:NAMES]:
        if one.track.sound and not one.figures.undefined:
            name = one.name
            result.append(_action(f"review.strategy:{name}", name, started, [_equity(name, one.figures)]))
    if joint and joint.correlation:
        names = joint.window.names[:NAMES]
        rows = [[round(float(joint.correlation.sample[a][b]), 3) for b in range(len(names))] for a in range(len(names))]
        drawn = [{"kind": "heatmap", "title": "Correlation", "names": names, "rows": rows}]
        if joint.shares:
            order = sorted(zip(joint.shares.risk, joint.weights, joint.window.names, strict=True), reverse=True)[:NAMES]
            bars = [[name, round(risk, 4), round(weight, 4)] for risk, weight, name in order]
            drawn.append({"kind": "shares", "title": "Share of risk, and of equity", "bars": bars})
        result.append(_action("review.correlation", "Correlation and diversification", started, drawn))
    return result


def _action(id: str, title: str, started: str, drawn: List[Dict[str, Any]]) -> Dict[str, Any]:
    return as_action(id, title, "ok", False, "", started, {"charts": drawn})


def _thin(values: Sequence[Any]) -> List[int]:
    """Places of at most so many points, the first and the last among them."""
    step = max(1, math.ceil((len(values) - 1) / (POINTS - 1))) if len(values) > 1 else 1
    return sorted({*range(len(values) - 1, -1, -step), 0})


def _equity(name: str, found: Figures) -> Dict[str, Any]:
    if found.drawdown is None:
        raise AssertionError("computed before")
    days: List[date] = [*found.sessions.dates, *([found.daily[-1][0]] if found.open else [])]
    grown, depths = levels(found.levelled), found.drawdown.depths
    places = _thin(grown)
    # The worst depth must be seen, whatever is left out between.
    places = sorted({*places, int(depths.argmin())})
    return {
        "kind": "equity",
        "title": f"{name}: growth of 1, and drawdown",
        "from": str(days[0]),
        "to": str(days[-1]),
        "at": places,
        "growth": [round(float(grown[place]), 4) for place in places],
        "depth": [round(float(depths[place]), 4) for place in places],
    }


def _rolling(name: str, found: Figures, options: Dict[str, Any]) -> List[Dict[str, Any]]:
    """The Sharpe ratio of the last quarter, day by day, with a band (Mertens)."""
    values, days = found.sessions.values, found.sessions.dates
    if len(values) < ROLLING + 2:
        return []
    places = [place + ROLLING for place in _thin(values[ROLLING - 1 :])]
    reach, root = NORMAL.inv_cdf(0.5 + options["confidence"] / 2), math.sqrt(found.per_year)
    points: List[List[float]] = []
    for place in places:
        shape = or_none(moments, values[place - ROLLING : place])
        if shape:
            error = math.sqrt(max(variance_of_sharpe(shape.sharpe, shape.skewness, shape.kurtosis), 0) / ROLLING)
            low, high = shape.sharpe - reach * error, shape.sharpe + reach * error
            points.append([place, *(round(value * root, 3) for value in (low, shape.sharpe, high))])
    if len(points) < 2:
        return []
    title = f"{name}: Sharpe ratio of {ROLLING} sessions, {100 * options['confidence']:g} % band"
    return [{"kind": "band", "title": title, "from": str(days[ROLLING - 1]), "to": str(days[-1]), "points": points}]
