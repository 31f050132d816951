# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a review says: no figure without its interval, its sample and what would be needed."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Set, Tuple

from .._performance import history, identity
from .._performance.bootstrap import PATHS, bounded
from .._performance.figures import Figures
from .._performance.lost import Lost
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, judge, limits, unknown, worst
from ..words import plural, printable
from .findings_lost import explained

SOURCE = "view maintenance.equity"
#: Ids and titles of what is about all strategies together.
WHOLE = (
    ("review.correlation", "Correlation of the strategies"),
    ("review.diversification", "Diversification"),
    ("review.ranking", "Strategies told apart"),
)
HELD = ("review.concentration", "Concentration of what is held")
RESTATED = ("review.restated", "History as at the last review")
RECORD = ("review.record", "What the ledger keeps of the review")
DEFINE = "See docs/review.md for what the views must have."


def lacking(message: str, remedy: str) -> List[Check]:
    """Nothing can be reviewed."""
    titles = [("review.strategies", "Strategies reviewed"), ("review.book", "Performance of the book"), *WHOLE]
    return [unknown(id, title, f"{title}: {message}", remedy, source="schema maintenance") for id, title in titles]


def strategies(count: int, ended: List[str], more: str = "") -> List[Check]:
    """How many there are: none is not well.

    :param ended: those that are left out
    :param more: what is not measured, as a sentence
    """
    id, title = "review.strategies", "Strategies reviewed"
    if not count:
        return [unknown(id, title, "There is no strategy.", "Define them in the view maintenance.strategies.")]
    text = f"{plural(count, 'strategy', 'strategies')}."
    if ended:
        named = ", ".join(printable(name, 40) for name in ended[:3]) + (" and more" if len(ended) > 3 else "")
        text += f" Left out, as stopped and without equity in these days: {len(ended)} ({named})."
    return [Check(id, title, OK, count, message=text + more, source=SOURCE)]


def fewer_paths(asked: int, count: int) -> str:
    """That fewer paths were drawn than were asked for, as a sentence; empty when they were not."""
    drawdowns, intervals = bounded(asked, count)
    if drawdowns >= asked and intervals >= PATHS:
        return ""
    return (
        f" With so many strategies each one's drawdown is held against {drawdowns} paths, of {asked} that were asked"
        f" for, and its intervals are of {intervals} instead of {PATHS}."
    )


def strangers(names: Set[str], accounts: Set[str], ended: List[str], options: Dict[str, Any]) -> List[Check]:
    """Names in options that nothing has: what was set for them does not hold for what was meant."""
    given = dict.fromkeys(options["drawdown_limits"].keys() - names - accounts - set(ended), "drawdown limit")
    trials = {one["strategy"] for one in options["trials"]}
    given.update(dict.fromkeys(trials - names - set(ended), "number of trials"))
    given.update(dict.fromkeys(set(options["expectations"]) - names - set(ended), "expectation"))
    given.update(dict.fromkeys(options["drawdown_limits"].keys() & names & accounts, "drawdown limit"))
    result = []
    for name, what in sorted(given.items()):
        shown = printable(name)
        both = name in names and name in accounts
        text = (
            f"The {what} of {shown}: there is "
            + ("a strategy and an account" if both else "nothing")
            + " of this name."
        )
        remedy = "Correct the name in strategy_review_drawdown_limits, strategy_review_trials or"
        remedy += " strategy_review_expectations."
        result.append(unknown(f"review.options:{shown}", f"Options for {shown}", text, remedy, source=SOURCE))
    return result


def why(one: Any) -> str:
    """Why a strategy's figures are unknown, empty when they are not."""
    return identity.told(one.track) or one.figures.undefined


def planned(name: str) -> List[Tuple[str, str]]:
    """Ids and titles of the checks of a strategy."""
    shown = printable(name) or "unnamed"
    return [
        (f"review.identity:{shown}", f"Equity of {shown} adds up"),
        (f"review.performance:{shown}", f"Performance of {shown}"),
        (f"review.drawdown:{shown}", f"Drawdown of {shown}"),
    ]


def planned_group(name: str) -> List[Tuple[str, str]]:
    """Those of an account, or of the book, which has no name."""
    what, end = (f"account {printable(name)}", f"account:{printable(name)}") if name else ("the book", "book")
    return [(f"review.{end}", f"Performance of {what}"), (f"review.drawdown_{end}", f"Drawdown of {what}")]


def of_strategy(one: Any, options: Dict[str, Any], made: Callable[[], Lost]) -> Iterator[Check]:
    """Everything about one strategy.

    :param made: gives what it made since its peak
    """
    books, performance, depth = planned(one.name)
    yield _identity(one, *books, bool(options["until"]))
    reason = why(one)
    if not reason:
        yield _performance(*performance, one.figures, options)
        check = _drawdown(*depth, one.figures, options, one.name)
        if one.figures.drawdown.now < 0:
            explained(check, made(), one.track.currency)
            one.figures.data["drawdown_contributors"] = check.details["contributors"]
        yield check
        return
    for id, title in (performance, depth):
        yield unknown(id, title, f"{title}: {reason}.", _remedy(one), source=SOURCE)


def _remedy(one: Any) -> str:
    if one.track.breaks:
        return "Find what wrote these days. Declare deposits and withdrawals in the view maintenance.strategy_flows."
    return one.remedy or f"Correct what the message names. {DEFINE}"


def _identity(one: Any, id: str, title: str, past: bool = False) -> Check:
    track = one.track
    details: Dict[str, Any] = {}
    if track.days:
        details["history"] = {"strategy": one.name, "past": past, **history.kept(track)}
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
    text += f" Sortino {_within(data, 'sortino')}, Omega {_within(data, 'omega')}, Calmar "
    text += f"{_within(data, 'calmar') if 'calmar_interval' in data else _number(data['calmar'])}."
    if found.open:
        text += (
            f" {f'Since {found.open[0]}' if found.open[0] else 'So far'} {percent(found.open[1])}, of which no session"
        )
        text += " has ended yet: it is in no ratio."
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
    if "dsr" in data and (data["dsr"] is None or data["dsr"] < options["confidence"]):
        text += f" Not told from the best of {plural(data['trials'], 'trial')} without skill."
        remedy = "Wait for more sessions: so many trials find as much by luck."
        return unknown(id, title, text, remedy, **common)
    bounds = [limit[name] for name in (WARNING, CRITICAL) if limit[name] is not None]
    if bounds and low <= max(bounds):
        text += f" Too short to tell from {max(bounds)}."
        if data["sharpe"] > max(bounds):
            # By the verdict's own interval, which narrows with the root of the sessions.
            share = (data["sharpe"] - low) / (data["sharpe"] - max(bounds))
            text += f" At this ratio it takes {plural(math.ceil(found.count * share**2), 'session')}."
        return unknown(
            id, title, text, "Wait for more sessions; until then it is not known to earn anything.", **common
        )
    return Check(id, title, OK, round(data["sharpe"], 4), message=text, **common)


def _drawdown(id: str, title: str, found: Figures, options: Dict[str, Any], name: str) -> Check:
    depth, awaited = found.drawdown, found.expected
    if depth is None:
        raise AssertionError("computed before")
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
    if found.open:
        since = f"since {found.open[0]}" if found.open[0] else "so far"
        text += f" The days {since}, of which no session has ended yet, count: {percent(found.open[1])}."
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
    for id, title in planned_group(group.name):
        reason = doubt or found.undefined
        if reason:
            remedy = "Correct what the message names, or set strategy_review_currency and strategy_review_rates."
            yield unknown(id, title, f"{title}: {reason}.", remedy, source=SOURCE)
        elif "drawdown" in id.partition(":")[0]:
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
    peak = found.sessions[found.drawdown.peak - 1][0] if found.drawdown.peak else None
    results = sorted((value, name) for name, value in group.since(peak).items())
    check.details["contributors"] = {name: str(value) for value, name in results[:40]}
    lost = [f"{printable(name, 40)} {value:,.2f}" for value, name in results[:3] if value < 0]
    check.message += f" Since the peak{f' of {peak}' if peak else ''}: {', '.join(lost)}." if lost else ""
    return check


def _changed(found: List[Dict[str, Any]], before: str, now: str) -> str:
    """What is another than it was: of the first month, result and equity, and what else differs."""
    then, here = found[0]["reported"] or {}, found[0]["known"] or {}
    text = f"Changed in {plural(len(found), 'month')}."
    if before and before != now:
        text += f" Its currency was {printable(before, 20)} as reported then, {printable(now, 20)} as known now."
    parts = []
    for key, name in (("pnl", "result"), ("equity", "equity"), ("fees", "fees"), ("flows", "flows")):
        one, other = then.get(key) or "none", here.get(key) or "none"
        if key in ("pnl", "equity") or (one != other and key in then):
            parts.append(f"{name} {one} as reported then, {other} as known now")
    return f"{text} {found[0]['month']}: {'; '.join(parts)}."


def restatements(
    tracks: Mapping[str, identity.Track], read: Any, earlier: Mapping[str, Mapping[str, Any]], options: Dict[str, Any]
) -> List[Check]:
    """Past equity, results, fees, flows or currency that have changed since the last review."""
    limit = limits(options["thresholds"], "restated")
    if not earlier:
        id, title = RESTATED
        text = "There is no earlier review to compare with. The next one compares with this one."
        return [unknown(id, title, text, "Nothing, if this is the first.", source="earlier reports")]
    result = []
    first = read.until + timedelta(days=1 - options["days"])
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
        if (track is None or not track.days) and str(earlier[name]["through"]) < str(first):
            # It ended before the days that are read.
            continue
        if track is None or not track.days:
            text = f"{title}: the last review read it, and now there is nothing to read."
            result.append(unknown(id, title, text, "Find out who removed it.", source=SOURCE))
            continue
        begin = first if name in read.cut else None
        months = history.compared(earlier[name], track, begin)
        if not months:
            text = f"{title}: no month is whole both in the last review and in this one."
            result.append(unknown(id, title, text, "Read more days (strategy_review_days).", source=SOURCE))
            continue
        found = history.restated(earlier[name], track, begin)
        text = f"The same from {months[0]} through {earlier[name]['through']}."
        if found:
            text = _changed(found, str(earlier[name].get("currency") or ""), track.currency)
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
