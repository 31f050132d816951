# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each strategy followed, and accounts and the book of them, with their figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .._checks.calendar import UnknownCalendar, parse
from .._checks.guard import REMEDY
from ..words import printable
from .book import Group, convert, together
from .bootstrap import bounded
from .columns import Day
from .exposure import turnover
from .figures import Figures, figures
from .identity import Track, follow, gaps
from .reading import Read, currencies_of, ends_of
from .sessions import Sessions, sessions

#: Words for a strategy that need not run, and may have ended.
STOPPED = ("stopped", "disabled", "retired", "off")


@dataclass
class Strategy:
    """All about one strategy.

    :param days: in the review's currency, empty if they cannot be
    :param no_days: why they cannot
    :param ended: whether its equity ends before its market's newest session
    """

    name: str
    account: str
    track: Track
    sessions: Optional[Sessions] = None
    figures: Figures = field(default_factory=Figures)
    days: Sequence[Day] = field(default_factory=list)
    no_days: str = ""
    remedy: str = ""
    effect: Decimal = Decimal(0)
    ended: bool = False


def followed(
    found: Read, options: Dict[str, Any], markets: "Optional[Markets]" = None, compute: bool = True
) -> Tuple[List[Strategy], List[str]]:
    """All strategies that either view names; and those that ended before the days that are read, which are left out.

    :param compute: whether each whose books are right gets its figures
    """
    markets = markets or Markets(found, options)
    rows: Dict[str, List[Mapping[str, Any]]] = {}
    for row in found.strategies:
        rows.setdefault(row["strategy"] or "", []).append(row)
    if compute:
        options = _bounded(options, len(found.equity))
    result, ended = [], []
    for name in sorted({*rows, *found.equity}):
        mine = rows.get(name, [])
        if len(mine) == 1 and mine[0]["state"] in STOPPED and not found.equity.get(name):
            ended.append(name)
            continue
        if name in found.after and not found.equity.get(name) and name not in found.cut:
            continue  # it begins after the last day
        try:
            result.append(_strategy(name, mine, found, options, markets, compute))
        except Exception as error:
            doubt = _failed(error)
            account = (mine[0].get("account") or "") if mine else ""
            result.append(Strategy(name, account, Track(name, doubts=[doubt]), remedy=REMEDY))
    return result, ended


def _bounded(options: Dict[str, Any], count: int) -> Dict[str, Any]:
    """Options of so many series, whose paths are all drawn in bounded time."""
    drawdowns, intervals = bounded(options["paths"], count)
    return {**options, "paths": drawdowns, "interval_paths": intervals}


def _strategy(
    name: str,
    mine: Sequence[Mapping[str, Any]],
    found: Read,
    options: Dict[str, Any],
    markets: "Markets",
    compute: bool,
) -> Strategy:
    """One strategy, as far as it can be followed.

    :param mine: its rows of the view strategies, of which there should be one
    """
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
    one = Strategy(name, row.get("account") or "", track)
    if doubt:
        track.doubts.append(doubt)
    if not name:
        track.doubts.append("it has no name")
    if len(mine) != 1:
        track.doubts.append(f"the view maintenance.strategies has it {len(mine)} times")
        return one
    if not track.days:
        return one
    try:
        one.sessions = markets.of(row["calendar"])
    except UnknownCalendar as error:
        track.doubts.append(error.message.rstrip("."))
        one.remedy = error.remedy
        return one
    # What went on after the last day had not ended by then, whatever it does now.
    stopped = row.get("state") in STOPPED and name not in found.after
    missing = gaps(track, one.sessions.days, markets.last, stopped)
    one.ended = bool(gaps(track, one.sessions.days, markets.last, False)) and not missing
    if missing:
        shown = ", ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        track.doubts.append(f"no equity of {shown}, when its market had a session")
    if track.sound and compute:
        one.figures = figures(name, track.days, one.sessions.days, one.sessions.per_year, options)
    if one.figures.data:
        traded = markets.traded.get(name)
        known = not found.reasons.get("traded")
        one.figures.data["turnover"] = turnover(track.days, track.currency, traded) if known else None
    return one


class Markets:
    """Sessions of all calendars, each made when it is first asked for.

    :ivar last: the last day that is over
    :ivar made: name -> sessions
    :ivar traded: strategy -> what was traded
    """

    def __init__(self, found: Read, options: Dict[str, Any]) -> None:
        self.last = found.until
        days = [day for rows in found.equity.values() for day in ends_of(rows)]
        self._first = min(days, default=self.last)
        self.traded = {item["strategy"]: item for item in found.traded}
        self._own = parse(options["calendars"])
        self.made: Dict[Any, Sessions] = {}

    def of(self, name: Any) -> Sessions:
        """:raises UnknownCalendar: there is no such calendar"""
        if name not in self.made:
            self.made[name] = sessions(name, self._own, self._first, self.last)
        return self.made[name]


def _flows(name: str, found: Read) -> Tuple[Dict[date, Decimal], str]:
    """Flows of a strategy by day, and what is wrong with them."""
    result: Dict[date, Decimal] = {}
    currencies = currencies_of(found.equity.get(name, []))
    for row in (found.flows or {}).get(name, []):
        if row["day"] is None or row["currency"] not in currencies:
            return {}, "a flow has no day, or another currency"
        result[row["day"]] = row["amount"]
    return result, ""


@dataclass
class Joint:
    """An account, or the book, whose name is empty.

    :param doubt: why nothing is known of it, empty when it is
    :param sessions: of all its markets
    :param per_year: how many of these a year has
    """

    group: Group
    doubt: str = ""
    sessions: List[date] = field(default_factory=list)
    per_year: int = 0


Judged = Tuple[Group, Figures, str]


def _failed(error: Exception) -> str:
    return f"this could not be judged, because of {type(error).__name__}"


def converted(strategies: List[Strategy], options: Dict[str, Any], found: Read) -> None:
    """Gives each strategy its days in the review's currency, or the reason for none."""
    for one in strategies:
        if not one.track.sound:
            one.no_days = "its books are not right"
            continue
        currency = options["currency"] or one.track.currency
        rates = None
        if one.track.currency != currency:
            rates = found.rates.get(one.track.currency, {})
        try:
            one.days, one.effect, missing = convert(one.track.days, rates)
        except Exception as error:
            one.no_days = _failed(error)
            continue
        if missing:
            shown = f"{missing[0]}" + (f" and {len(missing) - 1} more days" if len(missing) > 1 else "")
            why = found.no_rates.get(one.track.currency) or f"no rate of {one.track.currency} for {shown}"
            one.no_days = why


def joined(strategies: List[Strategy], options: Dict[str, Any]) -> List[Joint]:
    """Accounts and the book, of strategies whose days were converted."""
    result: List[Joint] = []
    for name in [*sorted({one.account for one in strategies if one.account}), ""]:
        try:
            result.append(_joint(name, strategies, options))
        except Exception as error:
            result.append(Joint(Group(name), _failed(error)))
    return result


def grouped(strategies: List[Strategy], options: Dict[str, Any]) -> List[Judged]:
    """The same with figures, or the reason for none."""
    result: List[Judged] = []
    joints = joined(strategies, options)
    options = _bounded(options, len(joints))
    for joint in joints:
        outcome, doubt = Figures(), joint.doubt
        if not doubt:
            try:
                outcome = figures(joint.group.name, joint.group.days, joint.sessions, joint.per_year, options)
            except Exception as error:
                doubt = _failed(error)
        result.append((joint.group, outcome, doubt))
    return result


def _joint(name: str, strategies: List[Strategy], options: Dict[str, Any]) -> Joint:
    homeless = [one for one in strategies if not one.account]
    members = [one for one in strategies if not name or one.account == name]
    group, doubt = Group(name, [one.name for one in members]), ""
    bad = [one for one in members if one.no_days]
    currencies = {one.track.currency for one in members if one.track.currency}
    if bad:
        doubt = f"{printable(bad[0].name, 40)}: {bad[0].no_days}" + (f", and {len(bad) - 1} more" if bad[1:] else "")
    elif not members:
        doubt = "there is no strategy"
    elif name and homeless:
        # Nobody knows in whose sums it belongs.
        doubt = f"{printable(homeless[0].name, 40) or 'a strategy'} has no account in the view maintenance.strategies"
    elif not options["currency"] and len(currencies) > 1:
        doubt = f"its strategies have several currencies ({', '.join(sorted(currencies))}), and none is the review's"
    if doubt:
        return Joint(group, doubt)
    group = together(name, {one.name: one.days for one in members})
    group.currency_effect = sum((one.effect for one in members), Decimal(0))
    known = [one.sessions for one in members if one.sessions]
    days = sorted({day for each in known for day in each.days})
    per_year = len({day for each in known for day in each.year})
    return Joint(group, "", days, per_year)
