# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All figures of one strategy, account or book, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Dict, Optional, Sequence, Tuple

from . import bootstrap, ratios, returns
from .columns import Day, Days, ordinals, plain, total
from .drawdown import Drawdown, Expected, drawdown, expected
from .returns import Undefined

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]


@dataclass
class Figures:
    """What came out.

    :param undefined: why there is nothing, empty when there is
    :param calendar: days on which a session of its markets ended
    :param count: sessions
    :param data: figure -> value, for the record; None what is undefined
    :param daily: return of each day
    :param sessions: return of each session that has ended
    :param open: the last session that has ended and the return since, None when there is none
    """

    undefined: str = ""
    calendar: Sequence[date] = ()
    count: int = 0
    per_year: int = 0
    sharpe: Optional[ratios.Sharpe] = None
    why_no_sharpe: str = ""
    drawdown: Optional[Drawdown] = None
    expected: Optional[Expected] = None
    needed: Optional[int] = None
    data: Dict[str, Any] = field(default_factory=dict)
    daily: Sequence[Tuple[date, float]] = field(default_factory=list)
    sessions: returns.Series = field(default_factory=lambda: returns.Series([], []))
    open: Optional[Tuple[Optional[date], float]] = None

    @property
    def net(self) -> Dict[date, float]:
        """Session -> return."""
        return dict(self.sessions)

    @property
    def levelled(self) -> Any:
        """Returns that drawdowns are of: those of the sessions, and that of the days since the last one."""
        return np.append(self.sessions.values, self.open[1]) if self.open else self.sessions.values


def figures(
    name: str, days: Sequence[Day], sessions: Sequence[date], per_year: int, options: Dict[str, Any]
) -> Figures:
    """All figures of some days whose books are right.

    :param sessions: days on which a session of its market ended
    """
    # Of a tuple the ordinals are remembered.
    sessions = tuple(sessions)
    found = Figures(per_year=per_year, calendar=sessions)
    columns = Days.of(days)
    try:
        values = returns.values(columns)
        found.daily = returns.Series(columns.ordinals, values)
        places, net = returns.whole(columns.ordinals, values, sessions)
        found.sessions = returns.Series(ordinals(sessions)[places], net)
        found.open = returns.open_period(found.daily, sessions)
        found.count = len(net)
        levelled = found.levelled
        found.drawdown = drawdown(levelled)
    except Undefined as error:
        found.undefined = str(error)
        return found
    grown = returns.time_weighted(values)
    gross = ratios.or_none(lambda: returns.time_weighted(returns.values(columns, gross=True)))
    found.data = {
        "from": str(found.daily[0][0]),
        "to": str(found.daily[-1][0]),
        "sessions": found.count,
        "per_year": per_year,
        "twr": grown,
        "twr_gross": gross,
        "twr_annual": returns.annual(grown, found.count, per_year),
        "mwr": ratios.or_none(returns.money_weighted_of, columns),
        "pnl": _sum(columns, "pnl"),
        "fees": _sum(columns, "fees") if columns.known.all() else None,
        "flows": _sum(columns, "flow"),
    }
    if found.open:
        found.data["open_since"] = str(found.open[0]) if found.open[0] else None
        found.data["open_return"] = found.open[1]
    found.data.update(_money(columns, options["confidence"]))
    try:
        found.sharpe = ratios.sharpe(net, options["confidence"])
    except Undefined as error:
        found.why_no_sharpe = str(error)
    _ratios(name, found, net, options)
    _drawdown(name, found, levelled, options)
    return found


def _sum(days: Days, name: str) -> str:
    """The sum of a column, exact."""
    return plain(total(getattr(days, name)), days.scale)


def _money(days: Days, confidence: float) -> Dict[str, Any]:
    """Of results in money, which are exact: a day without a result counts for neither side."""
    results = days.pnl[days.pnl != 0]
    won = results > 0
    hits = int(won.sum())
    interval = ratios.or_none(ratios.wilson, hits, len(results), confidence)
    # Of Python's integers, whose quotient is rounded once.
    factor = ratios.or_none(ratios.profit_factor, [total(results[won]), total(results[~won])])
    share = None
    if days.known.all():
        fees = total(days.fees)
        gains = total(results) + fees
        share = fees / gains if gains > 0 else None
    return {
        "days_with_result": len(results),
        "hit_rate": hits / len(results) if len(results) else None,
        "hit_rate_interval": list(interval) if interval else None,
        "profit_factor": None if factor is None else float(factor),
        "cost_share": share,
    }


def _ratios(name: str, found: Figures, net: Any, options: Dict[str, Any]) -> None:
    root = math.sqrt(found.per_year)
    target = options["target"] / 100 / found.per_year
    sortino = ratios.or_none(ratios.sortino, net, target)
    found.data["sortino"] = None if sortino is None else sortino * root
    found.data["omega"] = ratios.or_none(ratios.omega, net, target)
    if not found.sharpe:
        return
    paths = options.get("interval_paths", bootstrap.PATHS)
    drawn = bootstrap.intervals(net, name, target, options["confidence"], found.per_year, paths)
    for key, ends in drawn.items():
        factor = root if key in ("sortino", "volatility") else 1.0
        found.data[f"{key}_interval"] = [None if value is None else value * factor for value in ends]
    sharpe, moments = found.sharpe, found.sharpe.moments
    shape = (moments.skewness, moments.kurtosis)
    found.data.update(
        {
            "sharpe": sharpe.value * root,
            "sharpe_interval": [sharpe.low * root, sharpe.high * root],
            "sharpe_error": sharpe.error * root,
            "volatility": moments.deviation * root,
            "skewness": moments.skewness,
            "kurtosis": moments.kurtosis,
            "psr": ratios.or_none(ratios.probabilistic, sharpe.value, 0.0, moments.count, *shape),
        }
    )
    needed = ratios.or_none(ratios.minimum_track_record, sharpe.value, 0.0, *shape, options["confidence"])
    found.needed = None if needed is None or not math.isfinite(needed) else math.ceil(needed)
    found.data["minimum_track_record"] = found.needed
    declared = next((each for each in options["trials"] if each["strategy"] == name), None)
    if declared:
        # Without a declared variance, that of ratios without any skill over as many sessions.
        variance = declared["variance"] / found.per_year if declared["variance"] else 1 / moments.count
        found.data["trials"] = declared["trials"]
        found.data["dsr"] = ratios.or_none(
            ratios.deflated, sharpe.value, moments.count, *shape, declared["trials"], variance
        )


def _drawdown(name: str, found: Figures, levelled: Any, options: Dict[str, Any]) -> None:
    depth = found.drawdown
    if depth is None:
        raise AssertionError("computed before")
    found.expected = expected(levelled, name, options["paths"]) if depth.now < 0 else None
    year = found.data["twr_annual"]
    found.data.update(
        {
            "drawdown": depth.now,
            "drawdown_sessions": depth.periods,
            "maximum_drawdown": depth.worst,
            "longest_drawdown_sessions": depth.longest,
            "recovery_sessions": depth.recovery,
            "pain_index": depth.pain,
            "calmar": year / -depth.worst if year is not None and depth.worst < 0 else None,
            "drawdown_longer_than": found.expected.longer if found.expected else None,
            "drawdown_deeper_than": found.expected.share if found.expected else None,
        }
    )
