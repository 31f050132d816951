# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What models said before each session, and what came. A forecast that was made later is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from decimal import Decimal, localcontext
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .._checks.risk import EXACT
from .._performance.columns import Day
from ..words import amount, printable

Row = Mapping[str, Any]

#: What a forecast may be of.
SCOPES = ("strategy", "account", "book")
#: Reasons that are kept; the rest is counted.
SHOWN = 3


@dataclass(frozen=True)
class Outcome:
    """A session: what was forecast, and what came.

    :param result: what was earned since the session before, after fees
    :param base: what it began with
    :param var: value at risk, a loss above 0
    :param es: expected shortfall, likewise; None when nobody tells it
    """

    day: date
    result: Decimal
    base: Decimal
    var: Decimal
    es: Optional[Decimal]

    @property
    def hit(self) -> bool:
        """Whether more was lost than value at risk."""
        # A minus sign would round to the digits that Decimal keeps by itself.
        return self.result.copy_negate() > self.var


@dataclass(frozen=True)
class Session:
    """What came in a session, and in the days since the one before.

    :param base: what it began with
    """

    day: date
    result: Decimal
    base: Decimal


@dataclass
class Series:
    """The forecasts of one model at one level for a strategy, an account or the book.

    :param level: such as 0.99
    :param version: the newest, which is judged
    :param doubts: why nothing can be said
    :param late: sessions whose forecast was made after their day began
    :param missing: sessions without any forecast
    :param older: sessions with a forecast of an older version
    :param closed: forecasts for days without a session, which nobody needs
    """

    scope: str
    subject: str
    model: str
    level: Decimal
    version: str = ""
    currency: str = ""
    doubts: List[str] = field(default_factory=list)
    outcomes: List[Outcome] = field(default_factory=list)
    late: List[date] = field(default_factory=list)
    missing: List[date] = field(default_factory=list)
    older: int = 0
    closed: int = 0

    @property
    def name(self) -> str:
        """As in ids."""
        return "/".join(printable(part, 60) for part in (self.subject_name, self.model, f"{self.level.normalize():f}"))

    @property
    def subject_name(self) -> str:
        """Scope and name; the book has none."""
        return name_of(self.scope, self.subject)

    @property
    def whole(self) -> bool:
        """Whether each session since the first has a forecast."""
        return not self.missing and not self.late

    @property
    def hits(self) -> List[bool]:
        """Of the sessions in order."""
        return [one.hit for one in self.outcomes]


def name_of(scope: str, subject: str) -> str:
    """Such as strategy/trend, or book."""
    return "book" if scope == "book" else f"{scope}/{subject}"


@dataclass
class Subject:
    """What forecasts are compared with.

    :param doubt: why its results are not known, empty when they are
    :param sessions: in order, up to the last one that is over
    :param wanted: whether somebody must forecast it: one that has ended, or an account, may go without
    """

    scope: str
    name: str
    currency: str = ""
    doubt: str = ""
    sessions: List[Session] = field(default_factory=list)
    wanted: bool = True


def by_session(days: Sequence[Day], sessions: Iterable[date]) -> List[Session]:
    """Results of sessions: those of days between two of them, such as of a weekend, count in the next one.

    What comes after the last session is left for the next.
    """
    found: List[Session] = []
    result, base, place = Decimal(0), None, 0
    ends = sorted(sessions)
    with localcontext(EXACT):
        for day in days:
            while place < len(ends) and ends[place] < day.day:
                place += 1
            result, base = result + day.pnl, day.base if base is None else base
            if place < len(ends) and ends[place] == day.day:
                found.append(Session(day.day, result, base))
                result, base = Decimal(0), None
    return found


def series(rows: Iterable[Row], subjects: Sequence[Subject], levels: Sequence[Decimal]) -> List[Series]:
    """Forecasts with what came of them, by subject, model and level.

    :param rows: scope, subject, day, currency, confidence, var, es, model, version, made_at (seconds since 1970), in
        any order
    :param levels: those that are declared
    """
    known = {(one.scope, one.name): one for one in subjects}
    groups: Dict[Tuple[str, str, str, Optional[Decimal]], List[Row]] = {}
    for row in rows:
        scope = row["scope"] or ""
        # The book has no name of its own; another word may mean something else.
        subject = row["subject"] or ""
        subject = "" if scope == "book" and subject == "book" else subject
        level = row["confidence"]
        level = level.normalize() if isinstance(level, Decimal) and level.is_finite() else None
        groups.setdefault((scope, subject, row["model"] or "", level), []).append(row)
    found = []
    for (scope, subject, model, level), mine in sorted(groups.items(), key=lambda item: tuple(map(str, item[0]))):
        one = Series(scope, subject, model, level if level is not None else Decimal(0))
        found.append(one)
        target = known.get((scope, subject))
        if scope not in SCOPES or target is None:
            one.doubts.append(f"there is no {printable(scope, 20)} of this name")
        if level is None or level not in [each.normalize() for each in levels]:
            declared = ", ".join(f"{each:f}" for each in levels)
            one.doubts.append(f"its level {'none' if level is None else amount(level)} is not declared ({declared})")
        if not model:
            one.doubts.append("its model has no name")
        if target is not None and not one.doubts:
            _compared(one, mine, target)
    return found


def _compared(one: Series, rows: List[Row], target: Subject) -> None:
    """Puts each session beside the forecast that was made before it."""
    if target.doubt:
        one.doubts.append(f"its results are not known: {target.doubt}")
    days: Dict[date, Row] = {}
    for row in rows:
        why = _odd(row, target)
        if not why and row["day"] in days:
            why = f"there are two forecasts of {row['day']}"
        if why:
            one.doubts.append(why)
        else:
            days[row["day"]] = row
    if len(one.doubts) > SHOWN:
        one.doubts[SHOWN:] = [f"and {len(one.doubts) - SHOWN} more"]
    if one.doubts or not target.sessions:
        if not one.doubts:
            one.doubts.append("it has no session yet")
        return
    last = target.sessions[-1].day
    there = [day for day in days if day <= last]
    if not there:
        one.doubts.append("there is no forecast for a session that is over")
        return
    one.currency = target.currency
    one.version = days[max(there)]["version"]
    newest = min(day for day in there if days[day]["version"] == one.version)
    open_days = {session.day for session in target.sessions}
    one.closed = sum(1 for day in there if day not in open_days and day >= target.sessions[0].day)
    for session in target.sessions:
        found = days.get(session.day)
        if session.day < newest:
            one.older += found is not None
        elif found is None:
            one.missing.append(session.day)
        elif found["version"] != one.version:
            # Between two days of the newest version: nobody knows which of them was in use.
            one.doubts.append(f"versions take turns: {session.day} is of {printable(found['version'], 20)}")
            return
        elif found["made_at"] >= _begins(session.day):
            one.late.append(session.day)
        else:
            one.outcomes.append(Outcome(session.day, session.result, session.base, found["var"], found["es"]))


def _odd(row: Row, target: Subject) -> str:
    """Why a row is no forecast."""
    if not isinstance(row["day"], date):
        return "a forecast has no day"
    if not row["version"]:
        return f"the forecast of {row['day']} has no version"
    if row["made_at"] is None:
        return f"nobody knows when the forecast of {row['day']} was made"
    if target.currency and row["currency"] != target.currency:
        return f"the forecast of {row['day']} is in {printable(row['currency'], 10)}, and results in {target.currency}"
    numbers = [row["var"]] if row["es"] is None else [row["var"], row["es"]]
    if any(not isinstance(value, Decimal) or not value.is_finite() for value in numbers):
        return f"the forecast of {row['day']} is no number"
    if min(numbers) < 0:
        return f"the forecast of {row['day']} is below 0, and a loss has no sign here"
    if numbers[-1] < row["var"]:
        return f"the expected shortfall of {row['day']} is less than value at risk"
    return ""


def _begins(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()
