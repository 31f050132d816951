# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which recovery points are kept and why. Nothing here looks at a clock, a store or a ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Set, Tuple

#: How far ahead of the clock a recovery point may be; from further ahead, a clock is wrong.
CLOCK_TOLERANCE = timedelta(seconds=300)

PROVEN, VERIFIED = "proven", "verified"

#: Rule -> the period of which it keeps the newest recovery point. Periods are of UTC.
PERIODS: Dict[str, Callable[[datetime], str]] = {
    "keep_daily": lambda at: at.strftime("%Y-%m-%d"),
    "keep_weekly": lambda at: "{}-W{:02d}".format(*at.isocalendar()[:2]),
    "keep_monthly": lambda at: at.strftime("%Y-%m"),
    "keep_yearly": lambda at: at.strftime("%Y"),
}
RULES = ("keep_last", "keep_days", *PERIODS)

Rules = Mapping[str, Optional[int]]


@dataclass(frozen=True)
class Point:
    """What is known of a recovery point.

    :param created_at: by itself, not by the store
    :param series: what it is a backup of: engine, system identifier, database
    :param size: bytes
    :param proven: a drill restored it, and it went well
    :param verified: it was read back and was what it should be
    :param damaged: why it cannot be relied upon, empty when nothing says so
    :param held: who says that it must stay, empty for nobody
    :param locked_until: when the store's lock on it ends
    :param label: of a physical backup, with its repository: who needs it names it so
    :param requires: labels that it needs, likewise
    """

    id: str
    created_at: datetime
    series: str
    size: int = 0
    proven: bool = False
    verified: bool = False
    damaged: str = ""
    held: str = ""
    locked_until: Optional[datetime] = None
    label: str = ""
    requires: FrozenSet[str] = frozenset()

    @property
    def engine(self) -> str:
        return self.series.split("/")[0]

    @property
    def order(self) -> Tuple[datetime, str]:
        return self.created_at, self.id


@dataclass
class Fate:
    """What happens to a recovery point.

    :param kept: whether it stays
    :param reasons: the rules that keep it, else the guards, else why it goes
    :param due: no rule keeps it
    :param refused: it is due, and stays because something is wrong
    """

    point: Point
    kept: bool
    reasons: List[str]
    due: bool = False
    refused: bool = False


@dataclass
class Plan:
    """What happens to all of them.

    :param fates: newest first
    :param stopped: why nothing at all is deleted, empty when nothing stands against it
    :param relied_on: recovery points that must be intact if others go
    """

    fates: List[Fate] = field(default_factory=list)
    stopped: str = ""
    relied_on: List[Point] = field(default_factory=list)

    @property
    def kept(self) -> List[Point]:
        return [fate.point for fate in self.fates if fate.kept]

    @property
    def deleted(self) -> List[Point]:
        return [fate.point for fate in self.fates if not fate.kept]

    @property
    def due(self) -> List[Point]:
        return [fate.point for fate in self.fates if fate.due]


def effective(rules: Rules) -> Dict[str, int]:
    """The rules that keep something. None of them: there are no rules, and everything stays."""
    return {name: value for name in RULES if (value := rules.get(name))}


def kept_by_rules(points: List[Point], rules: Rules, now: datetime) -> Dict[str, List[str]]:
    """Id -> the rules that keep it.

    :param points: of one series, newest first
    """
    given = effective(rules)
    reasons: Dict[str, List[str]] = {point.id: [] for point in points}
    for point in points[: given.get("keep_last", 0)]:
        reasons[point.id].append("keep_last")
    if "keep_days" in given:
        for point in points:
            if now - point.created_at < timedelta(days=given["keep_days"]):
                reasons[point.id].append("keep_days")
    for name, period in PERIODS.items():
        # Periods that have a recovery point are counted: weeks without backups let nothing expire.
        seen: Set[str] = set()
        for point in points:
            if len(seen) == given.get(name, 0):
                break
            if period(point.created_at) not in seen:
                seen.add(period(point.created_at))
                reasons[point.id].append(f"{name} {period(point.created_at)}")
    return reasons


def plan(
    points: Iterable[Point],
    rules: Rules,
    now: datetime,
    *,
    require: str = PROVEN,
    stopped: str = "",
    by_engine: Optional[Mapping[str, Rules]] = None,
) -> Plan:
    """The fate of each recovery point.

    :param by_engine: rules of an engine, instead of the others
    :param require: a recovery point goes only when a newer one of its series, which stays, is this
    :param stopped: why nothing may be deleted, whatever the rules say
    """
    ordered = sorted(points, key=lambda point: point.order, reverse=True)
    sets = {point.engine: (by_engine or {}).get(point.engine, rules) for point in ordered}
    result = Plan(stopped=stopped or _stopped(ordered, list(sets.values()) or [rules], now))
    series: Dict[str, List[Point]] = {}
    for point in ordered:
        series.setdefault(point.series, []).append(point)
    by_id: Dict[str, Fate] = {}
    newest = {engine: next(point for point in ordered if point.engine == engine) for engine in sets}
    for members in series.values():
        leader = newest[members[0].engine]
        for fate in _fates(members, sets[leader.engine], now, require, result, _unsure(leader)):
            by_id[fate.point.id] = fate
    _keep_chains(by_id)
    result.fates = [by_id[point.id] for point in ordered]
    # The newest of an engine whose older ones go, and the newest of all.
    leaders = [newest[engine] for engine in sorted({point.engine for point in result.deleted})]
    for point in [*leaders, *ordered[:1]]:
        if point not in result.relied_on:
            result.relied_on.insert(0, point)
    return result


def _unsure(newest: Point) -> str:
    """Why nothing of an engine is deleted."""
    if newest.damaged:
        return f"the newest recovery point {newest.id} is damaged: {newest.damaged}"
    if not (newest.proven or newest.verified):
        return f"the ledger does not say that the newest recovery point {newest.id} was verified"
    return ""


def _keep_chains(fates: Dict[str, Fate]) -> None:
    """Keeps what a recovery point that stays was made from."""
    by_label = {fate.point.label: fate for fate in fates.values() if fate.point.label}
    waiting = [fate for fate in fates.values() if fate.kept]
    while waiting:
        keeper = waiting.pop()
        for label in sorted(keeper.point.requires):
            needed = by_label.get(label)
            if needed and not needed.kept:
                needed.kept, needed.reasons = True, [f"needed by {keeper.point.id}"]
                waiting.append(needed)


def _stopped(ordered: List[Point], sets: List[Rules], now: datetime) -> str:
    """What stands against deleting anything."""
    if not any(map(effective, sets)):
        return "no rule is set"
    if not ordered:
        return "there is no recovery point"
    newest = ordered[0]
    if newest.created_at - now > CLOCK_TOLERANCE:
        return f"{newest.id} is from the future: a clock is wrong"
    return _unsure(newest)


def _fates(
    members: List[Point], rules: Rules, now: datetime, require: str, result: Plan, unsure: str
) -> Iterable[Fate]:
    """The fates of one series, newest first.

    :param result: gets what is relied on
    :param unsure: why nothing of this engine is deleted
    """
    stopped = result.stopped or ("" if effective(rules) else "no rule is set") or unsure
    reasons = kept_by_rules(members, rules, now)
    guards: Dict[str, List[str]] = {point.id: [] for point in members}

    def newest(what: str, fits: Callable[[Point], bool]) -> Optional[Point]:
        found = next((point for point in members if fits(point)), None)
        if found:
            guards[found.id].append(what)
        return found

    newest("newest of its series", lambda point: True)
    # A damaged one stays beside it: it may be repaired from older versions of its objects.
    newest("newest proven, damaged", lambda point: point.proven and bool(point.damaged))
    proven = newest("newest proven", lambda point: point.proven and not point.damaged)
    verified = newest("newest verified", lambda point: point.verified and not point.damaged)
    # What was proven was verified better than by its own backup.
    guards_of = [point for point in ((proven,) if require == PROVEN else (proven, verified)) if point]
    guard = max(guards_of, key=lambda point: point.order, default=None)
    for point in members:
        if point.held:
            guards[point.id].append(f"held by {point.held}")
        if point.locked_until and point.locked_until > now:
            guards[point.id].append(f"locked until {point.locked_until:%Y-%m-%dT%H:%M:%SZ}")
        if reasons[point.id]:
            yield Fate(point, True, reasons[point.id] + guards[point.id])
        elif guards[point.id]:
            yield Fate(point, True, guards[point.id], due=True)
        elif stopped:
            yield Fate(point, True, [f"nothing is deleted: {stopped}"], due=True, refused=bool(effective(rules)))
        elif not guard or guard.order <= point.order:
            # Where one is proven, the next drill frees it; where none is, somebody must act.
            yield Fate(point, True, [f"no newer one is {require}"], due=True, refused=not guard)
        else:
            if guard not in result.relied_on:
                result.relied_on.append(guard)
            yield Fate(point, False, [f"no rule keeps it; {guard.id} is newer and {require}"], due=True)
