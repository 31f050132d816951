# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live against backtest: what a review says of the bridge between them, and of drift."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Set, Tuple

from .._performance.bridge import TERMS, YEAR, Bridge, bridge, drifted, expected_days, mean
from .._performance.reading import Read
from .._performance.returns import Undefined
from ..checks import CRITICAL, OK, WARNING, Check, limits, unknown
from ..words import plural, printable
from .findings import percent

SOURCE = "view maintenance.backtest_expectations"
DEFINE = "Define maintenance.backtest_expectations and maintenance.backtest_fills for it, see docs/review.md."
#: What people call the terms of the bridge.
WORDS = {"missed": "missed fills"}


def planned(name: str) -> List[Tuple[str, str]]:
    """Ids and titles of the checks of a strategy."""
    shown = printable(name) or "unnamed"
    return [
        (f"review.bridge:{shown}", f"Live against backtest, {shown}"),
        (f"review.drift:{shown}", f"Drift from the backtest, {shown}"),
    ]


def wanted(found: Read, names: Set[str], options: Mapping[str, Any]) -> Set[str]:
    """Strategies to be compared: those that have an expectation, and those that must have one."""
    return ({row["strategy"] or "" for row in found.expected or ()} | set(options["expectations"])) & names


def not_measured(found: Read, names: Set[str], options: Mapping[str, Any]) -> str:
    """What is not compared, as a sentence; empty when all are."""
    if found.expected is None:
        return " Not compared with backtests, as there is no view maintenance.backtest_expectations."
    left = sorted(names - wanted(found, names, options))
    if not left or found.reasons.get("expected"):
        return ""
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    return f" Without a backtest to compare with: {', '.join(printable(name, 40) for name in left[:3])}{more}."


def views(found: Read, options: Mapping[str, Any]) -> Iterator[Check]:
    """That expectations cannot be read, although there is a view of them."""
    if found.reasons.get("expected") and not options["expectations"]:
        text = f"Live results cannot be compared with backtests: {found.reasons['expected']}."
        yield unknown("review.backtests", "Live against backtest", text, DEFINE, source=SOURCE)


def of_strategy(one: Any, found: Read, options: Dict[str, Any], kept: Dict[str, Any]) -> Iterator[Check]:
    """The bridge of a strategy, and its drift.

    :param kept: gets the figures, for the record
    """
    books, drift = planned(one.name)
    rows = [row for row in found.expected or () if (row["strategy"] or "") == one.name]
    reason = ""
    if found.expected is None:
        reason = "there is no view maintenance.backtest_expectations"
    elif found.reasons.get("expected"):
        reason = found.reasons["expected"]
    elif not rows:
        reason = "the view maintenance.backtest_expectations has nothing of it"
    elif not one.track.sound:
        reason = "its books are not right"
    days: Any = []
    if not reason:
        try:
            days = expected_days(one.track.days, one.track.currency, rows)
        except Undefined as error:
            reason = str(error)
    if reason:
        for id, title in (books, drift):
            yield unknown(id, title, f"{title}: {reason}.", DEFINE, source=SOURCE)
        return
    yield _bridge(*books, one, days, found, options, kept)
    yield _drift(*drift, days, options, kept.setdefault(one.name, {}))


def _bridge(
    id: str, title: str, one: Any, days: Any, found: Read, options: Dict[str, Any], kept: Dict[str, Any]
) -> Check:
    reason = found.reasons.get("bridged", "")
    if reason:
        return unknown(id, title, f"{title}: {reason}.", DEFINE, source=SOURCE)
    mine = [row for row in found.bridged if row["strategy"] == one.name]
    funded = [row for row in found.funded if row["strategy"] == one.name]
    try:
        made = bridge(days, one.track.currency, mine, found.marks, None if found.reasons.get("funded") else funded)
        residual = mean([float(value) for value in made.daily], options["confidence"])
    except Undefined as error:
        return unknown(id, title, f"{title}: {error}.", DEFINE, source=SOURCE)
    count = len(made.days)
    text = _told(made, one.track.currency)
    low, high = count * residual.low, count * residual.high
    text += f" By its days the residual lies between {low:,.2f} and {high:,.2f}."
    details: Dict[str, Any] = {
        "live": str(made.live),
        "expected": str(made.expected),
        **{name: str(made.terms[name]) for name in TERMS},
        "residual": str(made.residual),
        "residual_interval": [low, high],
        "orders": made.counts,
        "from": str(made.days[0]),
        "to": str(made.days[-1]),
    }
    kept.setdefault(one.name, {}).update(details)
    limit = limits(options["thresholds"], "residual")
    common: Dict[str, Any] = {**limit, "unit": "%", "source": SOURCE, "details": {"bridge": details}}
    if made.capital <= 0:
        return unknown(id, title, f"{text} It has no capital to compare that with.", DEFINE, **common)
    share = round(100 * abs(float(made.residual / made.capital)), 6)
    for state in (CRITICAL, WARNING):
        if limit[state] is not None and share >= limit[state]:
            remedy = "Nobody knows what this money was: look for fills that the books lack, and for other positions."
            return Check(id, title, state, share, message=f"{text} Unexplained.", remedy=remedy, **common)
    # Below what is called large, a residual that comes day by day is a mistake of a model or of books.
    certain = (low > 0 or high < 0) and share >= SMALL
    if certain:
        remedy = "It is small and yet no chance: look at what comes every day, such as funding, interest or rounding."
        return Check(id, title, WARNING, share, message=f"{text} Beyond chance.", remedy=remedy, **common)
    if made.unmeasured or count < options["minimum_sessions"]:
        why = f"{', '.join(made.unmeasured)} cannot be told" if made.unmeasured else "too few days"
        return unknown(
            id, title, f"{text} Too little to tell: {why}.", "Review again later, or see the views.", **common
        )
    return Check(id, title, OK, share, message=text, **common)


#: Residuals below this share of the capital, in %, are rounding.
SMALL = 0.01


def _told(made: Bridge, currency: str) -> str:
    parts = [f"{WORDS.get(name, name)} {made.terms[name]:+,.2f}" for name in TERMS if name not in made.unmeasured]
    text = f"From {made.days[0]} to {made.days[-1]} it earned {made.live:,.2f} {printable(currency, 20)}, where"
    text += f" {made.expected:,.2f} were expected: {', '.join(parts)}, residual {made.residual:+,.2f}"
    text += f" ({plural(made.counts['matched'], 'order')} of both, {made.counts['missed']} of the backtest only,"
    text += f" {made.counts['unplanned']} live only)."
    if made.counts["unpriced"]:
        text += f" {plural(made.counts['unpriced'], 'order')} without a price of that time: what data did is in timing."
    return text


def _drift(id: str, title: str, days: Any, options: Dict[str, Any], kept: Dict[str, Any]) -> Check:
    """By its interval: what it does not exclude nobody knows."""
    try:
        apart = drifted(days)
        found = mean(apart, options["confidence"])
    except Undefined as error:
        return unknown(id, title, f"{title}: {error}.", "Review again later.", source=SOURCE)
    value, low, high = (100 * YEAR * each for each in (found.value, found.low, found.high))
    text = f"{value:+.2f} % a year against the backtest, {100 * options['confidence']:g} % between {low:+.2f} and"
    text += f" {high:+.2f} ({plural(found.count, 'day')}, {percent(sum(apart))} in all)."
    figures = {"drift": value / 100, "drift_interval": [low / 100, high / 100], "drift_days": found.count}
    kept.update(figures)
    limit = limits(options["thresholds"], "drift")
    common: Dict[str, Any] = {**limit, "unit": "%", "source": SOURCE, "details": {"figures": figures}}
    if found.count < options["minimum_sessions"]:
        text += f" Too short to tell: fewer than {options['minimum_sessions']} days."
        return unknown(id, title, text, "Review again later.", **common)
    least = min(abs(low), abs(high)) if low * high > 0 else 0.0
    for state in (CRITICAL, WARNING):
        if limit[state] is not None and least >= limit[state]:
            remedy = "Beyond chance it is another strategy than the one that was tested: the bridge says by what."
            return Check(id, title, state, round(value, 4), message=text, remedy=remedy, **common)
    bounds = [limit[state] for state in (WARNING, CRITICAL) if limit[state] is not None]
    if bounds and max(abs(low), abs(high)) >= min(bounds):
        text += f" Too short to tell from {min(bounds):g} % either way."
        return unknown(id, title, text, "Wait for more days; until then it is not known to do as tested.", **common)
    return Check(id, title, OK, round(value, 4), message=text, **common)
