# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads, follows the books, computes, and judges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from .._checks.guard import each, escaped
from .._checks.sql import Row
from .._performance.exposure import Concentration, concentration
from .._performance.instruments import Span
from .._performance.lost import asked, lost, spans
from .._performance.ratios import needed
from .._performance.reading import Read, read
from .._performance.strategies import Markets, converted, followed, grouped
from ..checks import Check
from . import charts, findings, findings_backtest, findings_joint, findings_lost
from .options import checked
from .record import METHOD as METHOD  # pylint: disable=useless-import-alias
from .record import inputs as _inputs
from .record import record as _record
from .whole import Whole, whole

#: Gives rows of spans, and why there are none.
Ask = Callable[[Sequence[Span]], Tuple[List[Row], str]]


@dataclass
class Review:
    """What a review hands over."""

    checks: List[Check]
    actions: List[Dict[str, Any]]
    record: Dict[str, Any]


def review(options: Dict[str, Any], earlier: Mapping[str, Mapping[str, Any]]) -> Review:
    """A whole review.

    :param earlier: strategy -> what the last review kept of its history, see findings.identity
    :raises MaintenanceError: an option makes no sense, or the database does not answer
    """
    needed()
    options = checked(options)
    found = read(options)
    return reviewed(found, options, earlier, partial(asked, options))


def reviewed(
    found: Read, options: Dict[str, Any], earlier: Mapping[str, Mapping[str, Any]], ask: Optional[Ask] = None
) -> Review:
    """The same of what was read.

    :param ask: reads what instruments brought in some spans
    """
    if found.lacking:
        return Review(findings.lacking(*found.lacking), [], {"method": METHOD, "lacking": found.lacking[0]})
    markets = Markets(found, options)
    strategies, ended = followed(found, options, markets)
    names = {one.name for one in strategies}
    compared = findings_backtest.wanted(found, names, options)
    left = findings_backtest.not_measured(found, names, options)
    left += findings.fewer_paths(options["paths"], len(found.equity))
    checks: List[Check] = findings.strategies(len(strategies), ended, left)
    checks += findings_backtest.views(found, options)
    found.lost, found.reasons["lost"] = ask(spans(strategies)) if ask else ([], "nobody asked for it")
    losses: Dict[str, List[Row]] = {row["span"]: [] for row in found.lost}
    for row in found.lost:
        losses[row["span"]].append(row)
    for one in strategies:
        made = partial(lost, one, losses.get(one.name, []), found.reasons["lost"], found, options)
        checks += each(partial(findings.of_strategy, one, options, made), *findings.planned(one.name))
    checks += each(partial(findings_lost.capacity, found, options), findings_lost.CAPACITY)
    backtests: Dict[str, Any] = {}
    for one in strategies:
        if one.name in compared:
            judged = partial(findings_backtest.of_strategy, one, found, options, backtests)
            checks += each(judged, *findings_backtest.planned(one.name))
    reason = found.reasons.get("held", "") or ("" if strategies else "there is no strategy")
    checks += each(lambda: findings_joint.of_exposure(_concentration(found, options), reason, options), findings.HELD)
    checks += findings.strangers(names, {one.account for one in strategies}, ended, options)
    known = {one.name: one.track for one in strategies}
    checks += each(lambda: findings.restatements(known, found, earlier, options), findings.RESTATED)
    converted(strategies, options, found)
    groups = grouped(strategies, options)
    for group, result, doubt in groups:
        outcome = partial(findings.of_group, group, result, doubt, options)
        checks += each(outcome, *findings.planned_group(group.name))
    joint: Optional[Whole] = None
    try:
        joint = whole(strategies, options)
        checks += findings_joint.of_whole(joint, options)
    except Exception as error:
        checks += [escaped(id, title, error) for id, title in findings.WHOLE]
    book = next((result for group, result, doubt in groups if not group.name and not doubt), None)
    parts: Dict[str, str] = {}
    record: Dict[str, Any] = {"method": METHOD}
    try:
        parts = _inputs(found, markets.made, options)
    except Exception as error:
        checks.append(escaped(*findings.RECORD, error))
    try:
        record = _record(strategies, groups, joint, options, parts, backtests)
    except Exception as error:
        # What could be told of what was read is kept all the same.
        record = {"method": METHOD, "failed": type(error).__name__, "inputs": parts}
        checks = [check for check in checks if check.id != findings.RECORD[0]]
        checks.append(escaped(*findings.RECORD, error))
    actions: List[Dict[str, Any]] = []
    try:
        actions = charts.actions(strategies, book, joint, options)
    except Exception as error:
        checks.append(escaped("review.charts", "Charts of the review", error))
    return Review(checks, actions, record)


def _concentration(found: Read, options: Dict[str, Any]) -> Concentration:
    newest = {currency: rates[max(rates)] for currency, rates in found.rates.items() if rates}
    return concentration(found.held, options["currency"], newest, found.no_rates)
