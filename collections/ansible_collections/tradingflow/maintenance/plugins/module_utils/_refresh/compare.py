# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Old code on old data, old code on new data, new code on new data: which of them changed the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Dict, List, Optional, Tuple

from ..words import plural, printable
from .outputs import Outputs, difference
from .probes import BASE, OLD, RESTATED, Subject

_RUNS = {
    OLD: "its code of then on the prices of then",
    RESTATED: "its code of then on the prices of now",
    BASE: "its run",
}


_RUNS = {
    OLD: "its code of then on the prices of then",
    RESTATED: "its code of then on the prices of now",
    BASE: "its run",
}


@dataclass
class Step:
    """One step of the bridge.

    :param what: engine, data or code
    :param money: by which the last equity of the common days changed; None if nobody can tell
    :param how: how the two runs differ, None if they do not
    """

    what: str
    money: Optional[Decimal] = None
    how: Optional[str] = None


@dataclass
class Change:
    """What changed since the last refresh.

    :param unknown: why it cannot be told, empty if it can
    :param until: the last day that is compared
    """

    unknown: str = ""
    remedy: str = ""
    until: Optional[date] = None
    steps: List[Step] = field(default_factory=list)
    then: Optional[Outputs] = None
    names: List[str] = field(default_factory=list)

    @property
    def total(self) -> Decimal:
        return sum((step.money or Decimal(0) for step in self.steps), Decimal(0))

    def data(self) -> Dict[str, Any]:
        """For the record."""
        if self.unknown:
            return {"unknown": self.unknown}
        return {
            "until": str(self.until),
            "changed": self.names,
            "steps": {step.what: None if step.money is None else f"{step.money:f}" for step in self.steps},
        }


def compared(one: Subject, then: Optional[Outputs], unsteady: str) -> Change:
    """The bridge from the last refresh to this one.

    :param then: what the last refresh's run had left, None when it is gone
    :param unsteady: why its results cannot be compared at all, empty if they can
    """
    if not one.earlier:
        return Change("there is no earlier refresh of it to compare with", "The next refresh compares.")
    if one.lost:
        return Change(
            f"nothing is left of {' and '.join(one.lost)}", "Keep the folder of refreshes; the next one compares again."
        )
    if then is None:
        return Change("nothing is left of what it had come to then", "Keep the folder of refreshes.")
    if unsteady:
        return Change(unsteady, "Correct that first.")
    now, was = one.strategy, one.then
    if was is None or (now.first, now.capital, now.currency) != (was.first, was.capital, was.currency):
        return Change("it begins on another day, or with another capital, than then", "The next refresh compares.")
    runs = {purpose: one.outcomes.get(purpose) for purpose in (OLD, RESTATED, BASE)}
    for purpose, outcome in runs.items():
        if outcome is None or outcome.outputs is None:
            why = outcome.why if outcome else "it was not run"
            return Change(f"{_RUNS[purpose]} gave nothing: {why}", "Read why.")
    found = Change(until=then.days[-1].day, then=then)
    until = found.until or date.min
    ways = [then, *(one.outputs(purpose) for purpose in (OLD, RESTATED, BASE))]
    shown = [way.until(until) for way in ways if way]
    steps = zip(shown, shown[1:])  # noqa: B905, RUF007 - Python 3.9
    steps = zip(shown, shown[1:])  # noqa: B905, RUF007 - Python 3.9
    for what, (before, after) in zip(("engine", "data", "code"), steps):  # noqa: B905 - Python 3.9
        how = difference(before, after)
        money = after.days[-1].equity - before.days[-1].equity if after.days and before.days else None
        found.steps.append(Step(what, money if how else Decimal(0), how))
    found.names = _names(one)
    return found


def _names(one: Subject) -> List[str]:
    """What is not as it was, whether or not it changed the result."""
    told, was, now = one.earlier or {}, one.then, one.strategy
    found = []
    if one.engine and told.get("engine") != one.engine.digest:
        found.append("engine")
    if one.restated:
        found.append("prices")
    if one.code and told.get("code") != one.code.digest:
        found.append("code")
    if was:
        for name in ("command", "parameters", "instruments", "warm_up", "costs", "seed"):
            if getattr(was, name) != getattr(now, name):
                found.append(name.replace("_", "-"))
    return found


def in_words(change: Change, restated: Tuple[str, ...]) -> str:
    """The bridge for people."""
    parts = []
    for step in change.steps:
        if step.how is None:
            continue
        money = "" if step.money is None else f" {step.money:+,.2f}"
        more = ""
        if step.what == "data" and restated:
            named = ", ".join(printable(name, 40) for name in restated[:3]) + (" and more" if restated[3:] else "")
            more = f" (restated: {named})"
        parts.append(f"{step.what}{money}{more}")
    if parts:
        return f"Up to {change.until}: " + ", ".join(parts)
    if change.names:
        named = ", ".join(change.names)
        return f"Up to {change.until} the same, although {plural(len(change.names), 'thing')} changed ({named})"
    return f"Up to {change.until} the same as then"
