# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a review says of all strategies together."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterator, List, Tuple

from ..checks import OK, WARNING, Check, judge, limits, unknown
from ..words import plural, printable
from .findings import DEFINE, HELD, SOURCE, WHOLE, percent

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]


def _largest(shares: Dict[str, float]) -> Tuple[str, float]:
    return max(shares.items(), key=lambda item: item[1])


def of_exposure(found: Any, reason: str, options: Dict[str, Any]) -> Iterator[Check]:
    """What is held, by instrument, venue and currency."""
    (id, title), source = HELD, "view maintenance.positions"
    reason = reason or found.doubt
    if reason:
        remedy = "Correct what the message names. Rates come from strategy_review_rates."
        yield unknown(id, title, f"{title}: {reason}.", remedy, source=source)
        return
    if not found.shares:
        yield Check(id, title, OK, 0, unit="%", message="Nothing is held.", source=source)
        return
    parts = []
    for key, by in found.shares.items():
        name, share = _largest(by)
        parts.append(f"{key} {printable(name, 40)} {percent(share, 0)}")
    kept = {key: {name: round(share, 6) for name, share in list(by.items())[:20]} for key, by in found.shares.items()}
    yield judge(
        id,
        title,
        round(100 * _largest(found.shares["instrument"])[1], 4),
        **limits(options["thresholds"], "concentration"),
        unit="%",
        message=f"Of all that is held, whatever its sign, most is in {', '.join(parts)}.",
        remedy="Reduce the position, or accept that the book depends on one instrument.",
        source=source,
        details=kept,
    )


def of_whole(found: Any, options: Dict[str, Any]) -> Iterator[Check]:
    """All strategies together."""
    left = ""
    if found.left_out:
        named = [f"{printable(name, 40)} ({reason})" for name, reason in sorted(found.left_out.items())[:3]]
        more = f" and {len(found.left_out) - 3} more" if len(found.left_out) > 3 else ""
        left = f" Left out: {', '.join(named)}{more}."
    if found.undefined:
        for id, title in WHOLE:
            yield unknown(id, title, f"{title}: {found.undefined}.{left}", "Review again later.", source=SOURCE)
        return
    yield _correlation(found, left, options)
    yield _diversification(found, left, options)
    ranking = found.ranking
    id, title = WHOLE[2]
    text = f"{len(ranking.apart)} of {plural(ranking.pairs, 'pair')} of Sharpe ratios differ beyond chance"
    text += f" ({plural(len(found.window.days), 'session')} in common)."
    if ranking.apart:
        text += " " + "; ".join(f"{printable(a, 40)} above {printable(b, 40)}" for a, b in ranking.apart[:5]) + "."
    text += " Strategies that cannot be told apart are not ranked." + left
    details = {"apart": [list(pair) for pair in ranking.apart[:100]]}
    yield Check(id, title, OK, len(ranking.apart), message=text, source=SOURCE, details=details)


def _most_alike(matrix: Any, names: List[str]) -> Tuple[float, str, str]:
    """The largest correlation, and whose it is."""
    rows, columns = np.tril_indices(len(names), -1)
    values = matrix[rows, columns]
    ties = np.flatnonzero(values == values.max()).tolist()
    return max((float(values[at]), names[rows[at]], names[columns[at]]) for at in ties)


def _correlation(found: Any, left: str, options: Dict[str, Any]) -> Check:
    id, title = WHOLE[0]
    # Shrunk correlations are smaller the more strategies there are: two that are one must not hide among many.
    matrix, names = found.correlation.sample, found.window.names
    most = _most_alike(matrix, names)
    text = f"At most {most[0]:.2f} ({printable(most[1], 40)} and {printable(most[2], 40)}), of"
    text += f" {plural(len(found.window.days), 'session')} that all have ({found.window.days[0]} to"
    text += f" {found.window.days[-1]}); {found.correlation.average:.2f} on average, shrunk by"
    text += f" {percent(found.correlation.shrinkage, 0)}."
    if options["currency"]:
        text += f" Returns are in {options['currency']}."
    change = found.change
    if change is None:
        text += " Too short to compare two quarters."
    else:
        pair = " and ".join(printable(name, 40) for name in change.pair)
        text += f" Most changed since the quarter before: {pair}, from {change.before:.2f} to {change.now:.2f}"
        text += f" ({change.counts[0]} and {change.counts[1]} sessions),"
        text += " beyond chance." if change.certain else f" which is within chance for {plural(change.pairs, 'pair')}."
    if found.clusters:
        shown = "; ".join(", ".join(printable(name, 40) for name in names[:5]) for names in found.clusters[:3])
        text += f" As one move: {shown}."
    if found.stressed:
        text += f" On the worst {found.stressed[1]} sessions {found.stressed[0]:.2f} on average."
    else:
        text += " Too few sessions for correlations under stress."
    limit = limits(options["thresholds"], "correlation")
    details: Dict[str, Any] = {"average": found.correlation.average, "shrinkage": found.correlation.shrinkage}
    if found.clusters:
        details["clusters"] = found.clusters[:20]
    if change:
        details["change"] = {"pair": list(change.pair), "before": change.before, "now": change.now}
    check = judge(
        id,
        title,
        round(most[0], 6),
        **limit,
        message=text + left,
        source=SOURCE,
        details=details,
        remedy="Two strategies have become one: see whether they trade the same, and halve what they may risk.",
    )
    if change and change.certain and check.status == OK:
        check.status, check.remedy = (
            WARNING,
            "See what has changed between these two before relying on diversification.",
        )
    return check


def _diversification(found: Any, left: str, options: Dict[str, Any]) -> Check:
    id, title = WHOLE[1]
    if not found.shares:
        remedy = "Correct what the message names, or set strategy_review_currency and strategy_review_rates."
        return unknown(id, title, f"{title}: {found.no_shares}.{left}", remedy, source=SOURCE)
    names, shares = found.window.names, found.shares
    order = sorted(zip(shares.risk, names, strict=True), reverse=True)
    bets = (
        "too many strategies to count independent bets"
        if shares.bets is None
        else f"{shares.bets:.1f} independent bets"
    )
    text = f"{plural(len(names), 'strategy', 'strategies')}, {bets};"
    text += f" diversification ratio {shares.ratio:.2f}."
    text += " Most risk: " + ", ".join(f"{printable(name, 40)} {percent(share, 0)}" for share, name in order[:3]) + "."
    details = {
        "risk_shares": {name: round(share, 6) for share, name in order[:40]},
        "effective_bets": shares.bets,
        "diversification_ratio": shares.ratio,
        "herfindahl": shares.herfindahl,
    }
    if not math.isfinite(order[0][0]):
        return unknown(id, title, f"{title}: shares of risk are no numbers.{left}", DEFINE, source=SOURCE)
    return judge(
        id,
        title,
        round(100 * order[0][0], 4),
        **limits(options["thresholds"], "risk_share"),
        unit="%",
        message=text + left,
        source=SOURCE,
        details=details,
        remedy="Reduce the strategy with the largest share, or accept that the book depends on it.",
    )
