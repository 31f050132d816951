# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads, follows the books, computes, and judges."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import Any, Dict, List, Mapping, Optional

from .._checks.guard import each, escaped
from .._performance.exposure import Concentration, concentration
from .._performance.identity import months
from .._performance.ratios import needed
from .._performance.reading import Read, read
from .._performance.strategies import Judged, Strategy, followed, grouped
from ..checks import Check, plain
from . import charts, findings, findings_joint
from .options import checked
from .whole import Whole, whole

#: Changes when a figure is computed in another way.
METHOD = "strategy-review-1"


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
    return reviewed(found, options, earlier)


def reviewed(found: Read, options: Dict[str, Any], earlier: Mapping[str, Mapping[str, Any]]) -> Review:
    """The same of what was read."""
    if found.lacking:
        return Review(findings.lacking(*found.lacking), [], {"method": METHOD, "lacking": found.lacking[0]})
    strategies, ended = followed(found, options)
    checks: List[Check] = findings.strategies(len(strategies), ended)
    for one in strategies:
        checks += each(partial(findings.of_strategy, one, options), *findings.planned(one.name))
    reason = found.reasons.get("held", "") or ("" if strategies else "there is no strategy")
    concentrated = _concentration(found, options)
    checks += each(lambda: findings_joint.of_exposure(concentrated, reason, options), findings.HELD)
    checks += findings.strangers({one.name for one in strategies}, {one.account for one in strategies}, ended, options)
    known = {one.name: one.track for one in strategies}
    checks += each(lambda: findings.restatements(known, found, earlier, options), findings.RESTATED)
    groups = grouped(strategies, options, found)
    for group, result, doubt in groups:
        judged = partial(findings.of_group, group, result, doubt, options)
        checks += each(judged, *findings.planned_group(group.name))
    joint: Optional[Whole] = None
    try:
        joint = whole(strategies, options)
        checks += findings_joint.of_whole(joint, options)
    except Exception as error:
        checks += [escaped(id, title, error) for id, title in findings.WHOLE]
    book = next((result for group, result, doubt in groups if not group.name and not doubt), None)
    record = _record(strategies, groups, joint, options)
    actions: List[Dict[str, Any]] = []
    try:
        actions = charts.actions(strategies, book, joint, options)
    except Exception as error:
        checks.append(escaped("review.charts", "Charts of the review", error))
    return Review(checks, actions, record)


def _concentration(found: Read, options: Dict[str, Any]) -> Concentration:
    newest = {currency: rates[max(rates)] for currency, rates in found.rates.items() if rates}
    return concentration(found.held, options["currency"], newest, found.no_rates)


def _record(
    strategies: List[Strategy], groups: List[Judged], joint: Optional[Whole], options: Dict[str, Any]
) -> Dict[str, Any]:
    """What the ledger keeps: what was read, how it was computed, and what came out."""
    read_in = {one.name: months(one.track) for one in strategies}
    text = json.dumps(read_in, sort_keys=True, ensure_ascii=False).encode()
    settings = {
        name: value for name, value in options.items() if name not in ("database", "thresholds", "timeout", "run")
    }
    record = {
        "method": METHOD,
        "inputs_sha256": hashlib.sha256(text).hexdigest(),
        "options": settings,
        "strategies": {
            one.name: one.figures.data if one.track.sound else {"unknown": findings.why(one)} for one in strategies
        },
        "accounts": {group.name: doubt or result.data for group, result, doubt in groups if group.name},
        "book": next((doubt or result.data for group, result, doubt in groups if not group.name), None),
        "diversification": joint.data if joint else None,
    }
    result: Dict[str, Any] = plain(record)
    return result
