# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which runs a strategy needs: as it is, and changed in one thing at a time, to see what should not matter."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .options import Instrument, Settings, Strategy
from .outputs import Outputs
from .runs import Engine, Outcome, Run, doubled, request_of
from .snapshot import HEADER, Slice, Snapshot, cut, longer
from .store import Code, Store

BASE, AGAIN, WARM_UP, COSTS, DELAY, CUT = "base", "again", "warm_up", "costs", "delay", "cut"
#: Old code on old data, by the engine as it is now; and on the new data of the same days.
OLD, RESTATED = "old", "restated"


@dataclass
class Subject:
    """A strategy under way.

    :param why: why it was not run, empty if it was
    :param early: why the longer warm-up says nothing, empty if it does
    :param cuts: last days of its shorter runs
    :param outcomes: purpose -> what came of it
    :param earlier: what the last refresh wrote down
    :param moved: whether its code on disk was changed meanwhile
    """

    strategy: Strategy
    why: str = ""
    remedy: str = ""
    code: Optional[Code] = None
    engine: Optional[Engine] = None
    universe: Tuple[Instrument, ...] = ()
    early: str = ""
    cuts: List[date] = field(default_factory=list)
    outcomes: Dict[str, Outcome] = field(default_factory=dict)
    slices: Dict[Tuple[date, date], Slice] = field(default_factory=dict)
    earlier: Optional[Dict[str, Any]] = None
    lost: List[str] = field(default_factory=list)
    then: Optional[Strategy] = None
    restated: Tuple[str, ...] = ()
    moved: bool = False

    @property
    def name(self) -> str:
        return self.strategy.name

    def outputs(self, purpose: str) -> Optional[Outputs]:
        """What a run of it left, if it left anything that counts."""
        outcome = self.outcomes.get(purpose)
        return outcome.outputs if outcome else None


class Planner:
    """Makes runs of strategies on one snapshot."""

    def __init__(self, snapshot: Snapshot, store: Store, work: Path, settings: Settings) -> None:
        self.snapshot = snapshot
        self._store = store
        self._work = work
        self._settings = settings
        self._made = 0

    def _folder(self) -> Path:
        self._made += 1
        return self._work / f"slice-{self._made}"

    def data(self, one: Subject, first: date, last: date) -> Slice:
        """Its prices of some days, made once."""
        if (first, last) not in one.slices:
            made = cut(self.snapshot, self._store.prices, one.strategy, first, last, one.universe, self._folder())
            one.slices[first, last] = made
        return one.slices[first, last]

    def first(self, one: Subject) -> List[Run]:
        """Those that need nothing else: itself twice, and what the last refresh had."""
        strategy, last = one.strategy, self.snapshot.until
        data = self.data(one, strategy.first - timedelta(days=strategy.warm_up), last)
        base = self._run(one, BASE, data, request_of(strategy, data, last))
        runs = [base, replace(base, purpose=AGAIN, repeat=1)]
        return runs + (self._before(one) if one.earlier else [])

    def second(self, one: Subject) -> List[Run]:
        """Those that the first ones make sense of."""
        found = one.outputs(BASE)
        if not found:
            return []
        strategy, last = one.strategy, self.snapshot.until
        begin = strategy.first - timedelta(days=strategy.warm_up)
        data, runs = self.data(one, begin, last), []
        one.cuts = cuts(found, self._settings.cuts)
        for day in one.cuts:
            shorter = self.data(one, begin, day)
            runs.append(self._run(one, f"{CUT} {day}", shorter, request_of(strategy, shorter, day)))
        days = longer(strategy)
        wanted = strategy.first - timedelta(days=days)
        one.early = self._early(one, wanted)
        if not one.early:
            more = self.data(one, wanted, last)
            runs.append(self._run(one, WARM_UP, more, request_of(strategy, more, last, warm_up_days=days)))
        if strategy.costs:
            twice = doubled(strategy.costs)
            runs.append(self._run(one, COSTS, data, request_of(strategy, data, last, costs=twice)))
        runs.append(self._run(one, DELAY, data, request_of(strategy, data, last, delay_bars=1)))
        return runs

    def _run(self, one: Subject, purpose: str, data: Slice, request: Dict[str, Any]) -> Run:
        if one.code is None or one.engine is None:
            raise AssertionError("prepared before")
        return Run(one.name, purpose, one.strategy.command, one.code, one.engine, data, request)

    def _early(self, one: Subject, wanted: date) -> str:
        """Why there are not enough prices for the longer warm-up: a week without any is a weekend and holidays."""
        held = self.data(one, wanted, wanted + timedelta(days=7))
        empty = [name for name, digest in held.files.items() if digest == EMPTY]
        return f"there are no prices of {empty[0]} before {wanted + timedelta(days=8)}" if empty else ""

    def _before(self, one: Subject) -> List[Run]:
        """Old code on old data and on the new data of the same days; what is gone is said."""
        told = one.earlier or {}
        then = one.then
        if then is None or one.engine is None:
            one.lost.append("what it was told then")
            return []
        code, snapshot = self._store.code(told["code"]), self._store.snapshot(told["snapshot"])
        if not code:
            one.lost.append("its code of then")
        if not snapshot:
            one.lost.append("the prices of then")
        if not code or not snapshot:
            return []
        begin, last = then.first - timedelta(days=then.warm_up), date.fromisoformat(told["until"])
        universe = members(then, snapshot)
        old = cut(snapshot, self._store.prices, then, begin, last, universe, self._folder())
        runs = [Run(one.name, OLD, then.command, code, one.engine, old, request_of(then, old, last))]
        missing = [each.name for each in then.instruments if each.name not in self.snapshot.prices]
        if missing:
            one.lost.append(f"new prices of {missing[0]}")
            return runs
        # The universe of then: what became of it since is no restated price.
        new = cut(self.snapshot, self._store.prices, then, begin, last, universe, self._folder())
        one.restated = tuple(sorted(name for name in new.files if new.files[name] != old.files.get(name)))
        return [*runs, Run(one.name, RESTATED, then.command, code, one.engine, new, request_of(then, new, last))]


#: SHA-256 of a file of prices that has none.
EMPTY = hashlib.sha256(HEADER).hexdigest()


def cuts(found: Outputs, count: int) -> List[date]:
    """Last days of shorter runs, spread over the window, and the last but one day of it.

    Days with fills where there are some near: a decision that looked ahead shows on the bar that was decided.
    """
    days = [row.day for row in found.days]
    traded = sorted({fill.day for fill in found.fills})
    result = set()
    for place in range(1, count + 1):
        wanted = days[min(len(days) - 1, place * len(days) // (count + 1))]
        near = [day for day in traded if day < days[-1] and day not in result]
        result.add(min(near, key=lambda day: abs((day - wanted).days)) if near else wanted)
    if len(days) > 1:
        result.add(days[-2])
    return sorted(day for day in result if day < days[-1])


def members(strategy: Strategy, snapshot: Snapshot) -> Tuple[Instrument, ...]:
    """Its universe: as declared; of what is declared without days, as the view has it."""
    found: List[Instrument] = []
    for one in strategy.instruments:
        listed = (snapshot.universe or {}).get(one.name, [])
        found += [one] if one.first or one.last or not listed else listed
    return tuple(found)


def told(strategy: Strategy) -> Dict[str, Any]:
    """What the next refresh has to know to run it again."""
    return {
        "command": list(strategy.command),
        "parameters": strategy.parameters,
        "instruments": [
            [one.name, one.first and str(one.first), one.last and str(one.last)] for one in strategy.instruments
        ],
        "first": str(strategy.first),
        "warm_up": strategy.warm_up,
        "capital": f"{strategy.capital:f}",
        "currency": strategy.currency,
        "costs": strategy.costs,
        "seed": strategy.seed,
    }


def as_it_was(now: Strategy, known: Mapping[str, Any]) -> Optional[Strategy]:
    """A strategy as the last refresh was told of it; None if that is damaged."""
    try:
        ends = [
            (name, *(date.fromisoformat(day) if day else None for day in days)) for name, *days in known["instruments"]
        ]
        return replace(
            now,
            command=tuple(known["command"]),
            parameters=known["parameters"],
            instruments=tuple(Instrument(*each) for each in ends),
            first=date.fromisoformat(known["first"]),
            warm_up=int(known["warm_up"]),
            capital=Decimal(known["capital"]),
            currency=str(known["currency"]),
            costs=dict(known["costs"]),
            seed=int(known["seed"]),
        )
    except (KeyError, TypeError, ValueError, InvalidOperation):
        return None


def of_all(subjects: Sequence[Subject], runs: Sequence[Outcome]) -> None:
    """Gives each subject what came of its runs."""
    by_name = {one.name: one for one in subjects}
    for outcome in runs:
        by_name[outcome.run.strategy].outcomes[outcome.run.purpose] = outcome
