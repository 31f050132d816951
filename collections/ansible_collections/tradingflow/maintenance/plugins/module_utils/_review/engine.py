# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads, follows the books, computes, and judges."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .._checks.calendar import UnknownCalendar, parse
from .._checks.guard import escaped
from ..checks import Check, plain
from ..words import printable
from . import charts, findings
from .book import Group, convert, together
from .exposure import Concentration, concentration, turnover
from .figures import Figures, figures
from .identity import Day, Track, follow, gaps, months
from .options import checked
from .ratios import needed
from .reading import Read, read
from .sessions import Sessions, sessions
from .whole import Whole, whole

#: Changes when a figure is computed in another way.
METHOD = "strategy-review-1"
#: Words for a strategy that need not run, and may have ended.
STOPPED = ("stopped", "disabled", "retired", "off")


@dataclass
class Strategy:
    """All about one strategy.

    :param days: in the review's currency, empty if they cannot be
    :param no_days: why they cannot
    """

    name: str
    account: str
    track: Track
    sessions: Optional[Sessions] = None
    figures: Figures = field(default_factory=Figures)
    days: List[Day] = field(default_factory=list)
    no_days: str = ""
    remedy: str = ""
    effect: Decimal = Decimal(0)
    converted: bool = False


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
    strategies = _strategies(found, options)
    checks: List[Check] = findings.strategies(len(strategies))
    for one in strategies:
        checks += _guarded(one.name, lambda one=one: findings.of_strategy(one, options))
    reason = found.reasons.get("held", "") or ("" if strategies else "there is no strategy")
    checks += findings.of_exposure(_concentration(found, options), reason, options)
    known = {one.name: one.track for one in strategies}
    checks += findings.restatements(known, found, earlier, options)
    groups = _groups(strategies, options, found)
    for group, result, doubt in groups:
        checks += _guarded(group.name, lambda g=group, r=result, d=doubt: findings.of_group(g, r, d, options))
    joint: Optional[Whole] = None
    try:
        joint = whole(strategies, options)
        checks += findings.of_whole(joint, options)
    except Exception as error:
        checks += [escaped(id, title, error) for id, title in findings.WHOLE]
    book = next((result for group, result, doubt in groups if not group.name and not doubt), None)
    record = _record(strategies, groups, joint, options)
    actions = charts.actions(strategies, book, joint, options)
    return Review(checks, actions, record)


def _concentration(found: Read, options: Dict[str, Any]) -> Concentration:
    newest = {currency: rates[max(rates)] for currency, rates in found.rates.items() if rates}
    return concentration(found.held, options["currency"], newest, found.no_rates)


def _guarded(name: str, judge: Any) -> List[Check]:
    try:
        return list(judge())
    except Exception as error:
        shown = printable(name)
        return [escaped(f"review.performance:{shown}", f"Performance of {shown}", error)]


def _strategies(found: Read, options: Dict[str, Any]) -> List[Strategy]:
    """All strategies that either view names."""
    own = parse(options["calendars"])
    last = found.today - timedelta(days=1)
    made: Dict[Any, Any] = {}
    result = []
    rows: Dict[str, List[Mapping[str, Any]]] = {}
    for each in found.strategies:
        rows.setdefault(each["strategy"] or "", []).append(each)
    for name in sorted({*rows, *found.equity}):
        mine = rows.get(name, [])
        row: Mapping[str, Any] = mine[0] if mine else {}
        flows, doubt = _flows(name, found)
        track = follow(
            name,
            found.equity.get(name, []),
            flows,
            now=found.now,
            capital=row.get("capital"),
            cut=name in found.cut,
            tolerance=options["tolerance"],
        )
        if doubt:
            track.doubts.append(doubt)
        one = Strategy(name, row.get("account") or "", track)
        result.append(one)
        if not name:
            track.doubts.append("it has no name")
        if len(mine) != 1:
            track.doubts.append(f"the view maintenance.strategies has it {len(mine)} times")
            continue
        if not track.days:
            continue
        try:
            key = row["calendar"]
            if key not in made:
                first = min((days[0] for days in _firsts(found)), default=track.days[0].day)
                made[key] = sessions(key, own, first, last)
            one.sessions = made[key]
        except UnknownCalendar as error:
            made[key] = None
            track.doubts.append(error.message.rstrip("."))
            one.remedy = error.remedy
            continue
        if one.sessions is None:
            track.doubts.append("its calendar is not known")
            continue
        missing = gaps(track, one.sessions.days, last, row.get("state") in STOPPED)
        if missing:
            shown = ", ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            track.doubts.append(f"no equity of {shown}, when its market had a session")
        if track.sound:
            one.figures = figures(name, track.days, one.sessions.days, one.sessions.per_year, options)
            traded = next((each for each in found.traded if each["strategy"] == name), None)
            if one.figures.data:
                known = not found.reasons.get("traded")
                one.figures.data["turnover"] = turnover(track.days, track.currency, traded) if known else None
    return result


def _firsts(found: Read) -> List[List[date]]:
    return [
        [min(row["day"] for row in rows if row["day"])] for rows in found.equity.values() if any(r["day"] for r in rows)
    ]


def _flows(name: str, found: Read) -> Tuple[Dict[date, Decimal], str]:
    """Flows of a strategy by day, and what is wrong with them."""
    result: Dict[date, Decimal] = {}
    currencies = {row["currency"] for row in found.equity.get(name, [])}
    for row in (found.flows or {}).get(name, []):
        if row["day"] is None or row["currency"] not in currencies:
            return {}, "a flow has no day, or another currency"
        result[row["day"]] = row["amount"]
    return result, ""


Judged = Tuple[Group, Figures, str]


def _groups(strategies: List[Strategy], options: Dict[str, Any], found: Read) -> List[Judged]:
    """Accounts and the book, whose name is empty, with figures or the reason for none."""
    for one in strategies:
        if not one.track.sound:
            one.no_days = "its books are not right"
            continue
        currency = options["currency"] or one.track.currency
        rates = None
        if one.track.currency != currency:
            rates = found.rates.get(one.track.currency, {})
        one.converted = bool(options["currency"])
        one.days, one.effect, missing = convert(one.track.days, rates)
        if missing:
            shown = f"{missing[0]}" + (f" and {len(missing) - 1} more days" if len(missing) > 1 else "")
            why = found.no_rates.get(one.track.currency) or f"no rate of {one.track.currency} for {shown}"
            one.no_days = why
    result = []
    accounts = sorted({one.account for one in strategies if one.account})
    for name in [*accounts, ""]:
        members = [one for one in strategies if not name or one.account == name]
        group, doubt = Group(name, [one.name for one in members]), ""
        bad = [one for one in members if one.no_days]
        currencies = {one.track.currency for one in members if one.track.currency}
        if bad:
            doubt = f"{printable(bad[0].name, 40)}: {bad[0].no_days}" + (
                f", and {len(bad) - 1} more" if bad[1:] else ""
            )
        elif not members:
            doubt = "there is no strategy"
        elif not options["currency"] and len(currencies) > 1:
            doubt = (
                f"its strategies have several currencies ({', '.join(sorted(currencies))}), and none is the review's"
            )
        outcome = Figures()
        if not doubt:
            group = together(name, {one.name: one.days for one in members})
            group.currency_effect = sum((one.effect for one in members), Decimal(0))
            known = [one.sessions for one in members if one.sessions]
            days = sorted({day for each in known for day in each.days})
            per_year = len({day for each in known for day in each.year})
            outcome = figures(name, group.days, days, per_year, options)
        result.append((group, outcome, doubt))
    return result


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
