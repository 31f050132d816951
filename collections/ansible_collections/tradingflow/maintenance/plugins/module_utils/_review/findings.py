# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a review says: no figure without its interval, its sample and what would be needed."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Dict, Iterator, List, Mapping, Optional

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, judge, limits, unknown, worst
from ..words import plural, printable
from . import identity
from .figures import Figures

SOURCE = "view maintenance.equity"
#: Ids and titles of what is about all strategies together.
WHOLE = (
    ("review.correlation", "Correlation of the strategies"),
    ("review.diversification", "Diversification"),
    ("review.ranking", "Strategies told apart"),
)
DEFINE = "See docs/review.md for what the views must have."


def lacking(message: str, remedy: str) -> List[Check]:
    """Nothing can be reviewed."""
    titles = [("review.strategies", "Strategies reviewed"), ("review.book", "Performance of the book"), *WHOLE]
    return [unknown(id, title, f"{title}: {message}", remedy, source="schema maintenance") for id, title in titles]


def strategies(count: int) -> List[Check]:
    """How many there are: none is not well."""
    id, title = "review.strategies", "Strategies reviewed"
    if not count:
        return [unknown(id, title, "There is no strategy.", "Define them in the view maintenance.strategies.")]
    return [Check(id, title, OK, count, message=f"{plural(count, 'strategy', 'strategies')}.", source=SOURCE)]


def why(one: Any) -> str:
    """Why a strategy's figures are unknown, empty when they are not."""
    return identity.told(one.track) or one.figures.undefined


def of_strategy(one: Any, options: Dict[str, Any]) -> Iterator[Check]:
    """Everything about one strategy."""
    name = printable(one.name) or "unnamed"
    yield _identity(one, name)
    reason = why(one)
    title = f"Performance of {name}"
    if reason:
        yield unknown(f"review.performance:{name}", title, f"{title}: {reason}.", _remedy(one), source=SOURCE)
        title = f"Drawdown of {name}"
        yield unknown(f"review.drawdown:{name}", title, f"{title}: {reason}.", _remedy(one), source=SOURCE)
        return
    yield _performance(f"review.performance:{name}", title, one.figures, options)
    yield _drawdown(f"review.drawdown:{name}", f"Drawdown of {name}", one.figures, options, one.name)


def _remedy(one: Any) -> str:
    if one.track.breaks:
        return "Find what wrote these days. Declare deposits and withdrawals in the view maintenance.strategy_flows."
    return one.remedy or f"Correct what the message names. {DEFINE}"


def _identity(one: Any, name: str) -> Check:
    id, title = f"review.identity:{name}", f"Equity of {name} adds up"
    track = one.track
    details: Dict[str, Any] = {}
    if track.days:
        through = str(track.days[-1].day)
        details["history"] = {"strategy": one.name, "through": through, "months": identity.months(track)}
    if track.breaks:
        text = f"{title}: {identity.told(track)}. Its figures are unknown."
        return Check(
            id,
            title,
            CRITICAL,
            len(track.breaks),
            critical=1,
            message=text,
            remedy=_remedy(one),
            source=SOURCE,
            details=details,
        )
    if track.doubts:
        return unknown(id, title, f"{title}: {identity.told(track)}.", _remedy(one), source=SOURCE, details=details)
    text = f"{plural(len(track.days), 'day')} from {track.days[0].day} to {track.days[-1].day}."
    if track.partial:
        text += f" {track.partial} is not over and left out."
    return Check(id, title, OK, 0, critical=1, message=text, source=SOURCE, details=details)


def percent(value: Optional[float], places: int = 1) -> str:
    """A share as people read it."""
    return "undefined" if value is None else f"{100 * value:.{places}f} %"


def _chance(value: Optional[float]) -> str:
    """A probability, which is never all of it."""
    return "more than 99.9 %" if value is not None and value > 0.999 else percent(value)


def _number(value: Optional[float]) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _within(data: Dict[str, Any], key: str) -> str:
    """A figure with its interval; an end that it does not have is left open."""
    ends = ["…" if value is None else f"{value:.2f}" for value in data[f"{key}_interval"]]
    return f"{_number(data[key])} ({ends[0]} to {ends[1]})"


def _performance(id: str, title: str, found: Figures, options: Dict[str, Any], more: str = "") -> Check:
    """By the Sharpe ratio's interval: what it does not exclude nobody knows."""
    data = found.data
    limit = limits(options["thresholds"], "sharpe")
    details = {"figures": data}
    text = f"Net {percent(data['twr'])}, before fees {percent(data['twr_gross'])} in {plural(found.count, 'session')}"
    text += f" ({data['from']} to {data['to']}), money-weighted {percent(data['mwr'])}.{more}"
    common: Dict[str, Any] = {"source": SOURCE, "details": details}
    if not found.sharpe:
        return unknown(id, title, f"{text} No Sharpe ratio: {found.why_no_sharpe}.", "Review again later.", **common)
    low, high = data["sharpe_interval"]
    shown = f"{100 * options['confidence']:g} %"
    text += f" Sharpe ratio {data['sharpe']:.2f}, {shown} between {low:.2f} and {high:.2f};"
    text += f" above 0 with a probability of {_chance(data['psr'])}."
    if "dsr" in data:
        text += f" Deflated for {plural(data['trials'], 'trial')}: {_chance(data['dsr'])}."
    if data.get("turnover") is not None:
        text += f" Turnover {data['turnover']:.1f} times its capital a year."
    if data.get("cost_share") is not None:
        text += f" Fees took {percent(data['cost_share'])} of what it earned before them."
    text += f" Sortino {_within(data, 'sortino')}, Omega {_within(data, 'omega')}, Calmar {_number(data['calmar'])}."
    common["unit"] = ""
    common.update(limit)
    if found.count < options["minimum_sessions"]:
        text += f" Too short to tell: fewer than {options['minimum_sessions']} sessions."
        return unknown(id, title, text, "Review again later.", **common)
    bad = [name for name in (CRITICAL, WARNING) if limit[name] is not None and high <= limit[name]]
    if bad:
        text += f" Even the interval's upper end is not above {limit[bad[0]]}."
        remedy = "Decide whether it goes on: look at costs, drawdown and what has changed in its market."
        return Check(id, title, bad[0], round(data["sharpe"], 4), message=text, remedy=remedy, **common)
    bounds = [limit[name] for name in (WARNING, CRITICAL) if limit[name] is not None]
    if bounds and low <= max(bounds):
        text += f" Too short to tell from {max(bounds)}."
        if found.needed is not None and max(bounds) == 0:
            text += f" At this ratio it takes {plural(found.needed, 'session')}."
        return unknown(
            id, title, text, "Wait for more sessions; until then it is not known to earn anything.", **common
        )
    return Check(id, title, OK, round(data["sharpe"], 4), message=text, **common)


def _drawdown(id: str, title: str, found: Figures, options: Dict[str, Any], name: str) -> Check:
    depth, awaited = found.drawdown, found.expected
    assert depth is not None  # noqa: S101 -- for the type checker
    limit = limits(options["thresholds"], "drawdown")
    if name in options["drawdown_limits"]:
        limit["critical"] = options["drawdown_limits"][name]
        if limit["warning"] is not None:
            limit["warning"] = min(limit["warning"], limit["critical"])
    text = (
        f"{percent(-depth.now)} below the peak, for {plural(depth.periods, 'session')}."
        if depth.periods
        else "At its peak."
    )
    text += f" The deepest was {percent(-depth.worst)}, the longest lasted {plural(depth.longest, 'session')}."
    if depth.worst < 0:
        text += f" Recovered in {plural(depth.recovery, 'session')}." if depth.recovery else " Not recovered yet."
    details = {"figures": {key: value for key, value in found.data.items() if "drawdown" in key}}
    check = judge(
        id,
        title,
        round(100 * abs(depth.now), 6),
        **limit,
        unit="%",
        message=text,
        source=SOURCE,
        details=details,
        remedy="Reduce the strategy as the risk policy says, and find what it lost by.",
    )
    lasting = limits(options["thresholds"], "drawdown_sessions")
    check = _reached(check, lasting, depth.periods, "It lasts longer than is allowed: decide whether it goes on.")
    bound = limits(options["thresholds"], "drawdown_percentile")
    if found.count < options["minimum_sessions"]:
        check.message += f" Too short to tell: fewer than {options['minimum_sessions']} sessions."
        return _unsure(check)
    if depth.now >= 0 or (bound["warning"] is None and bound["critical"] is None):
        return check
    if awaited is None:
        check.message += " Too few sessions before the peak to say what was to be expected."
        return _unsure(check)
    check.message += f" Deeper than {percent(awaited.share)} and longer than {percent(awaited.longer)} of"
    check.message += f" {awaited.paths} paths of its own returns before the peak."
    share = 100 * max(awaited.share, awaited.longer)
    remedy = "More than its own past leads one to expect: find what has changed."
    return _reached(check, bound, share, remedy)


def _reached(check: Check, limit: Dict[str, Any], value: float, remedy: str) -> Check:
    """A check that a second threshold may make worse."""
    for state in (CRITICAL, WARNING):
        if limit[state] is not None and value >= limit[state]:
            check.status, check.remedy = worst([check.status, state]), check.remedy or remedy
            break
    return check


def _unsure(check: Check) -> Check:
    """A check of which nobody knows whether it is well; what is critical stays so."""
    if check.status != CRITICAL:
        check.status, check.value, check.remedy = UNKNOWN, None, check.remedy or "Review again later."
    return check


def of_group(group: Any, found: Figures, doubt: str, options: Dict[str, Any]) -> Iterator[Check]:
    """An account, or the book."""
    shown = printable(group.name)
    what = f"account {shown}" if group.name else "the book"
    end = f"account:{shown}" if group.name else "book"
    for kind, title in (("", f"Performance of {what}"), ("drawdown_", f"Drawdown of {what}")):
        id = f"review.{kind}{end}"
        reason = doubt or found.undefined
        if reason:
            remedy = "Correct what the message names, or set strategy_review_currency and strategy_review_rates."
            yield unknown(id, title, f"{title}: {reason}.", remedy, source=SOURCE)
        elif kind:
            yield _blamed(_drawdown(id, title, found, options, group.name), group, found)
        else:
            more = f" In {options['currency']}." if options["currency"] else ""
            if group.currency_effect:
                more += f" Changed rates made {group.currency_effect:+,.2f} of it."
            yield _performance(id, title, found, options, more)


def _blamed(check: Check, group: Any, found: Figures) -> Check:
    """A drawdown with what each strategy did since the peak, in money."""
    if not found.drawdown or found.drawdown.now >= 0:
        return check
    peak = list(found.net)[found.drawdown.peak - 1] if found.drawdown.peak else None
    results = sorted((value, name) for name, value in group.since(peak).items())
    check.details["contributors"] = {name: str(value) for value, name in results[:40]}
    lost = [f"{printable(name, 40)} {value:,.2f}" for value, name in results[:3] if value < 0]
    check.message += f" Since the peak{f' of {peak}' if peak else ''}: {', '.join(lost)}." if lost else ""
    return check


def restatements(
    tracks: Mapping[str, identity.Track], read: Any, earlier: Mapping[str, Mapping[str, Any]], options: Dict[str, Any]
) -> List[Check]:
    """Past equity that has changed since the last review."""
    limit = limits(options["thresholds"], "restated")
    if not earlier:
        id, title = "review.restated", "History as at the last review"
        text = "There is no earlier review to compare with. The next one compares with this one."
        return [unknown(id, title, text, "Nothing, if this is the first.", source="earlier reports")]
    result = []
    first = read.today - timedelta(days=options["days"])
    newest = max(str(kept["through"]) for kept in earlier.values())
    for name in sorted(tracks.keys() - earlier.keys()):
        days = tracks[name].days
        if days and str(days[0].day) <= newest:
            shown = printable(name)
            id, title = f"review.restated:{shown}", f"History of {shown} as at the last review"
            text = f"The last review (through {newest}) did not know it, and yet its history begins on {days[0].day}."
            remedy = "Find out where this history comes from. The next review compares with what is read now."
            result.append(unknown(id, title, text, remedy, source=SOURCE))
    for name in sorted(earlier):
        shown = printable(name)
        id, title = f"review.restated:{shown}", f"History of {shown} as at the last review"
        track = tracks.get(name)
        if track is None or not track.days:
            text = f"{title}: the last review read it, and now there is nothing to read."
            result.append(unknown(id, title, text, "Find out who removed it.", source=SOURCE))
            continue
        found = identity.restated(earlier[name], track, first if name in read.cut else None)
        text = f"The same through {earlier[name]['through']}."
        if found:
            one = found[0]
            then, now = one["reported"] or {}, one["known"] or {}
            text = f"Changed in {plural(len(found), 'month')}. {one['month']}: result {then.get('pnl', 'none')} as"
            text += f" reported then, {now.get('pnl', 'none')} as known now; equity {then.get('equity', 'none')} and"
            text += f" {now.get('equity', 'none')}."
        result.append(
            judge(
                id,
                title,
                len(found),
                **limit,
                message=text,
                source=SOURCE,
                details={"months": found[:40]},
                remedy="Find out who restated it and why, and tell whom the figures were reported to.",
            )
        )
    return result


def of_exposure(found: Any, reason: str, options: Dict[str, Any]) -> Iterator[Check]:
    """What is held, by instrument, venue and currency."""
    id, title, source = "review.concentration", "Concentration of what is held", "view maintenance.positions"
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
        name, share = next(iter(by.items()))
        parts.append(f"{key} {printable(name, 40)} {percent(share, 0)}")
    kept = {key: {name: round(share, 6) for name, share in list(by.items())[:20]} for key, by in found.shares.items()}
    yield judge(
        id,
        title,
        round(100 * next(iter(found.shares["instrument"].values())), 4),
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


def _correlation(found: Any, left: str, options: Dict[str, Any]) -> Check:
    id, title = WHOLE[0]
    matrix, names = found.correlation.matrix, found.window.names
    pairs = [(float(matrix[a][b]), names[a], names[b]) for a in range(len(names)) for b in range(a)]
    most = max(pairs)
    text = f"{found.correlation.average:.2f} on average, at most {most[0]:.2f} ({printable(most[1], 40)} and"
    text += f" {printable(most[2], 40)}), of {plural(len(found.window.days), 'session')} that all have, shrunk by"
    text += f" {percent(found.correlation.shrinkage, 0)}."
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
