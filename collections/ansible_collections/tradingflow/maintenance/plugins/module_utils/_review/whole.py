# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All strategies together: correlation, shares of risk, and which of them can be told apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from .._performance.correlation import (
    Change,
    Correlation,
    Ranking,
    Shares,
    Window,
    changed,
    clusters,
    common,
    correlation,
    ranked,
    shares,
    stressed,
)
from .._performance.returns import Undefined, daily
from ..words import printable


@dataclass
class Whole:
    """What came out; why there is nothing otherwise.

    :param weights: of each strategy's equity in the book's
    """

    window: Window
    left_out: Dict[str, str]
    undefined: str = ""
    correlation: Optional[Correlation] = None
    change: Optional[Change] = None
    clusters: List[List[str]] = field(default_factory=list)
    stressed: "Optional[tuple[float, int]]" = None
    ranking: Ranking = field(default_factory=Ranking)
    weights: List[float] = field(default_factory=list)
    shares: Optional[Shares] = None
    no_shares: str = ""
    data: Dict[str, Any] = field(default_factory=dict)


def whole(strategies: Any, options: Dict[str, Any]) -> Whole:
    """Of all strategies whose figures are known; who is not among them is named."""
    known = {one.name: one for one in strategies if len(one.figures.daily) and one.sessions}
    left_out = {one.name: "its figures are unknown" for one in strategies if one.name not in known}
    # The common window would end with who ended: the others' newest sessions must be in it.
    ended = {name: one.figures.daily[-1][0] for name, one in known.items() if one.ended}
    left_out.update({name: f"ended on {day}" for name, day in ended.items()})
    sound = {name: one for name, one in known.items() if name not in ended}
    returns, undefined = _returns(sound, options, left_out)
    sound = {name: sound[name] for name in returns}
    if undefined:
        return Whole(Window([], [], None), left_out, undefined)
    window, short = common(
        returns,
        {name: one.sessions.days for name, one in sound.items()},
        options["minimum_sessions"],
    )
    found = Whole(window, {**left_out, **short})
    count = len(window.days)
    if len(window.names) < 2:
        found.undefined = "fewer than two strategies have enough sessions"
    elif count < options["minimum_sessions"]:
        found.undefined = f"they have {count} sessions in common, fewer than {options['minimum_sessions']}"
    if found.undefined:
        return found
    try:
        found.correlation = correlation(window.matrix)
    except Undefined as error:
        found.undefined = str(error)
        return found
    found.change = changed(window, options["confidence"])
    found.clusters = clusters(found.correlation.sample, window.names)
    found.ranking = ranked(window, options["confidence"])
    _shares(found, sound)
    found.data = {
        "strategies": window.names,
        "from": str(window.days[0]),
        "to": str(window.days[-1]),
        "sessions": count,
        "left_out": found.left_out,
        "average_correlation": found.correlation.average,
        "shrinkage": found.correlation.shrinkage,
        "clusters": found.clusters,
        "told_apart": [list(pair) for pair in found.ranking.apart],
    }
    if found.shares:
        found.data["risk_shares"] = dict(zip(window.names, found.shares.risk, strict=True))
        found.data["effective_bets"] = found.shares.bets
        found.data["diversification_ratio"] = found.shares.ratio
    return found


def _returns(sound: Dict[str, Any], options: Dict[str, Any], left_out: Dict[str, str]) -> "tuple[Dict[str, Any], str]":
    """Returns of each strategy in one currency, by the rates of each day; and why there are none.

    In currencies of their own, strategies that all hold the same foreign one would look as if they had nothing in
    common.

    :param left_out: gets who has none in that currency
    """
    currencies = sorted({one.track.currency for one in sound.values()})
    if len(currencies) > 1 and not options["currency"]:
        return {}, f"the strategies have several currencies ({', '.join(currencies)}), and none is the review's"
    result = {}
    for name, one in sound.items():
        if one.no_days:
            return {}, f"{printable(name, 40)}: {one.no_days}"
        try:
            same = one.track.currency == (options["currency"] or one.track.currency)
            result[name] = one.figures.daily if same else daily(one.days)
        except Undefined as error:
            left_out[name] = f"in {options['currency']}: {error}"
    return result, ""


def _shares(found: Whole, sound: Dict[str, Any]) -> None:
    names = found.window.names
    equity = [sound[name].days[-1].equity for name in names]
    total = sum(equity)
    if min(equity) <= 0:
        found.no_shares = "a strategy has equity of 0 or less"
        return
    found.weights = [float(value / total) for value in equity]
    if found.correlation is None:
        raise AssertionError("computed before")
    try:
        found.shares = shares(found.weights, found.window.matrix.std(axis=0, ddof=1), found.correlation.matrix)
    except Undefined as error:
        found.no_shares = str(error)
    found.stressed = stressed(found.window, found.weights)
