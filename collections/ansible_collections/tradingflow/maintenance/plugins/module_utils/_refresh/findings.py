# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a refresh says of each strategy. A strategy that looks ahead, or is not the same twice, has no performance."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..checks import CRITICAL, OK, WARNING, Check, judge, limits, unknown
from ..words import plural, printable
from . import findings_worth
from . import worth as worths
from .compare import Change, compared, in_words
from .fill_prices import better
from .findings_worth import CORRECT, LATER, SOURCE, percent
from .options import Settings
from .outputs import Outputs, difference
from .probes import AGAIN, BASE, COSTS, CUT, DELAY, WARM_UP, Subject
from .snapshot import Snapshot, longer
from .worth import Worth


def planned(name: str) -> List[Tuple[str, str]]:
    """Ids and titles of a strategy's checks."""
    shown = printable(name)
    return [
        (f"backtest.run:{shown}", f"Backtest of {shown} refreshed"),
        (f"backtest.determinism:{shown}", f"Backtest of {shown} is the same twice"),
        (f"backtest.lookahead:{shown}", f"Backtest of {shown} does not look ahead"),
        (f"backtest.warm_up:{shown}", f"Warm-up of {shown} is long enough"),
        (f"backtest.costs:{shown}", f"Backtest of {shown} at twice the costs"),
        (f"backtest.delay:{shown}", f"Backtest of {shown} one bar later"),
        (f"backtest.universe:{shown}", f"Universe of {shown} is of its time"),
        (f"backtest.books:{shown}", f"Equity of {shown} follows from its fills"),
        (f"backtest.fill_prices:{shown}", f"Fills of {shown} are at prices of their time"),
        (f"backtest.performance:{shown}", f"Performance of {shown}, backtested"),
        (f"backtest.overfitting:{shown}", f"Overfitting of {shown}"),
        (f"backtest.change:{shown}", f"Backtest of {shown} against the last refresh"),
    ]


class Judge:
    """Judges one strategy.

    :param then: what the last refresh's run had left, None when it is gone
    """

    def __init__(self, one: Subject, snapshot: Snapshot, settings: Settings, then: Optional[Outputs]) -> None:
        self._one = one
        self._snapshot = snapshot
        self._settings = settings
        self._then = then
        self._titles = dict(planned(one.name))
        self.worth: Optional[Worth] = None
        self.change: Optional[Change] = None
        self.verdicts: Dict[str, str] = {}

    def checks(self) -> Iterator[Check]:
        """All of them, in the order of planned()."""
        judged = (
            *(self._run, self._determinism, self._lookahead, self._warm_up, self._costs, self._delay),
            *(self._universe, self._books, self._fill_prices, self._performance, self._overfitting, self._change),
        )
        base = self._one.outputs(BASE)
        for (id, title), judge_one in zip(self._titles.items(), judged):  # noqa: B905 - Python 3.9
            check = judge_one(id, title, base)
            if check is None:
                why = self._why()
                check = unknown(id, title, f"{title}: {why}.", self._one.remedy or CORRECT, source=SOURCE)
            self.verdicts[id.split(":")[0].partition(".")[2]] = check.status
            yield check

    def _why(self) -> str:
        outcome = self._one.outcomes.get(BASE)
        return self._one.why.rstrip(".") or (outcome.why.rstrip(".") if outcome else "it was not run")

    def _failed(self, id: str, title: str, purpose: str) -> Optional[Check]:
        """That a run which a probe needs gave nothing; None if it gave something."""
        outcome = self._one.outcomes.get(purpose)
        if outcome and outcome.outputs:
            return None
        why = outcome.why.rstrip(".") if outcome else "it was not run"
        return unknown(id, title, f"{title}: that run gave nothing, {why}.", CORRECT, source=SOURCE)

    def _run(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        one = self._one
        outcome = one.outcomes.get(BASE)
        if base is None or outcome is None or one.code is None or one.engine is None:
            return None
        runs = list(one.outcomes.values())
        reused = sum(1 for each in runs if each.reused)
        details = {
            "code": one.code.digest,
            "engine": one.engine.digest,
            "data": outcome.run.data.digest,
            "outputs": base.digests,
            "runs": len(runs),
            "reused": reused,
            "seconds": round(sum(each.seconds for each in runs if not each.reused), 1),
        }
        if one.moved:
            text = f"{title}: its code was changed meanwhile; what ran was {one.code.digest[:12]}."
            return unknown(id, title, text, "Refresh again when nobody changes it.", source=SOURCE, details=details)
        text = (
            f"{base.days[0].day} to {base.days[-1].day}, {plural(len(base.fills), 'fill')}; {plural(len(runs), 'run')}"
        )
        text += f", {reused} of them done before." if reused else "."
        return Check(id, title, OK, len(base.days), unit="days", message=text, source=SOURCE, details=details)

    def _unsteady(self) -> Optional[str]:
        """How two runs of the same differ; empty if they do not, None if nobody knows."""
        base, again = self._one.outputs(BASE), self._one.outputs(AGAIN)
        return None if base is None or again is None else difference(base, again) or ""

    def _ahead(self) -> Optional[str]:
        """How a shorter run differs; empty if none does, None if nobody knows."""
        base, found = self._one.outputs(BASE), ""
        if base is None or not self._one.cuts:
            return None
        lacking = False
        for day in self._one.cuts:
            shorter = self._one.outputs(f"{CUT} {day}")
            if shorter is None:
                lacking = True
                continue
            told = difference(base.until(day), shorter)
            if told and not found:
                found = f"with prices up to {day} only, {told}"
        return found or (None if lacking else "")

    def _determinism(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        if base is None:
            return None
        told = self._unsteady()
        if told is None:
            return self._failed(id, title, AGAIN)
        if told:
            text = f"Two runs of the same code, prices and seed are not the same: {told}."
            remedy = (
                "Find what it draws, reads or orders without the seed: the clock, sets, threads, a global generator."
            )
            return Check(id, title, CRITICAL, 1, critical=1, message=text, remedy=remedy, source=SOURCE)
        return Check(id, title, OK, 0, critical=1, message="Two runs of the same are the same.", source=SOURCE)

    def _lookahead(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        if base is None:
            return None
        unsteady = self._unsteady()
        if unsteady or unsteady is None:
            why = "two runs of the same differ already" if unsteady else "the second run gave nothing"
            return unknown(id, title, f"{title}: {why}.", "Correct that first.", source=SOURCE)
        told = self._ahead()
        details = {"cuts": [str(day) for day in self._one.cuts]}
        if told:
            text = f"It knows what has not happened yet: {told}."
            remedy = "Find where it uses a bar before that is over. Until then its results count for nothing."
            return Check(
                id, title, CRITICAL, 1, critical=1, message=text, remedy=remedy, source=SOURCE, details=details
            )
        for day in self._one.cuts:
            failed = self._failed(id, title, f"{CUT} {day}")
            if failed:
                return failed
        if told is None or not base.fills:
            why = "it never traded" if not base.fills else "its window is too short to be cut"
            return unknown(id, title, f"{title}: {why}.", LATER, source=SOURCE)
        shown = ", ".join(map(str, self._one.cuts))
        text = f"With prices up to {shown} only, nothing before differs."
        return Check(id, title, OK, 0, critical=1, message=text, source=SOURCE, details=details)

    def _sound(self, id: str, title: str) -> Optional[Check]:
        """Unknown for what nothing can be said about, as its results count for nothing."""
        unsteady, ahead = self._unsteady(), self._ahead()
        if unsteady or unsteady is None:
            why = "it is not the same twice" if unsteady else "nobody knows whether it is the same twice"
        elif ahead:
            why = "it looks ahead"
        elif ahead is None:
            why = "nobody knows whether it looks ahead"
        else:
            return None
        return unknown(id, title, f"{title}: {why}.", "Correct that first.", source=SOURCE)

    def _warm_up(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        if base is None:
            return None
        one, days = self._one, longer(self._one.strategy)
        if one.early:
            return unknown(id, title, f"{title}: {one.early}.", LATER, source=SOURCE)
        failed = self._failed(id, title, WARM_UP) or self._steady(id, title)
        if failed:
            return failed
        more = one.outputs(WARM_UP)
        told = difference(base, more) if more else ""
        if more and [row.day for row in base.days] != [row.day for row in more.days]:
            return unknown(id, title, f"{title}: {told}.", CORRECT, source=SOURCE)
        share = _apart(base, more, one.strategy.capital)
        text = f"{days} days instead of {one.strategy.warm_up} change nothing."
        if told:
            text = f"{days} days instead of {one.strategy.warm_up} change equity by up to {share:.4g} %"
            text += f" of the capital: {told}."
        limit = limits(self._settings.thresholds, "warm_up")
        remedy = "Raise its warm_up_days until the result does not depend on them."
        return judge(id, title, round(share, 6), **limit, unit="%", message=text, remedy=remedy, source=SOURCE)

    def _steady(self, id: str, title: str) -> Optional[Check]:
        if self._unsteady():
            return unknown(
                id, title, f"{title}: two runs of the same differ already.", "Correct that first.", source=SOURCE
            )
        return None

    def _costs(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        if base is not None and not self._one.strategy.costs:
            return unknown(id, title, f"{title}: it is told no costs.", "Declare its costs.", source=SOURCE)
        return self._weaker(id, title, base, COSTS, "its costs", "Without any margin over its costs it will lose.")

    def _delay(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        return self._weaker(
            id, title, base, DELAY, "the delay", "It lives on being filled at once: look at what that takes."
        )

    def _weaker(
        self, id: str, title: str, base: Optional[Outputs], purpose: str, what: str, remedy: str
    ) -> Optional[Check]:
        """A run under worse conditions: what does not change does not go by them, and what gains is wrong."""
        if base is None:
            return None
        failed = self._failed(id, title, purpose) or self._sound(id, title)
        if failed:
            return failed
        worse = self._one.outputs(purpose)
        if worse is None:
            return None
        if not base.fills:
            return unknown(id, title, f"{title}: it never traded.", LATER, source=SOURCE)
        if difference(base, worse) is None:
            return unknown(id, title, f"{title}: it does not go by {what}, as nothing changes.", CORRECT, source=SOURCE)
        capital = self._one.strategy.capital
        before, after = (_gain(run, capital) for run in (base, worse))
        text = f"{percent(after)} instead of {percent(before)} of the capital."
        details = {"as_it_is": float(before), "worse": float(after)}
        common: Dict[str, Any] = {"unit": "%", "source": SOURCE, "details": details}
        value = round(float(after - before), 6)
        if purpose == COSTS and after >= before:
            text += " It does not earn less by paying more."
            wrong = "Correct the sign of its costs, and whether its equity pays them."
            return Check(id, title, CRITICAL, value, message=text, remedy=wrong, **common)
        if before > 0 >= after:
            return Check(id, title, WARNING, value, message=f"{text} Nothing is left.", remedy=remedy, **common)
        return Check(id, title, OK, value, message=text, **common)

    def _universe(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        if base is None:
            return None
        wrong, untold = worths.strangers(base, self._one.universe)
        if wrong:
            text = f"{plural(len(wrong), 'fill')} of what was not in its universe then ({', '.join(wrong[:3])})."
            remedy = "Let it trade by universe.csv: today's instruments are those that survived."
            return Check(id, title, CRITICAL, len(wrong), critical=1, message=text, remedy=remedy, source=SOURCE)
        if untold:
            text = f"{title}: since when nobody tells ({', '.join(printable(name, 40) for name in untold[:3])})."
            remedy = "Give each instrument its from (and until), or define the view maintenance.universe."
            return unknown(id, title, text, remedy, source=SOURCE)
        count = plural(len(self._one.universe), "entry", "entries")
        text = f"All fills are of what was in its universe on that day, of {count}."
        return Check(id, title, OK, 0, critical=1, message=text, source=SOURCE)

    def _books(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        outcome = self._one.outcomes.get(BASE)
        if base is None or outcome is None:
            return None
        share, told = worths.books(self._one.strategy, base, outcome.run.data, self._snapshot)
        well = "Capital, flows, fills, fees and last prices make its equity."
        ill = "Equity differs by {share:.4g} % of the capital from what its fills make of it: {told}."
        remedy = "Find what it books besides its fills, or by which prices it values them."
        return self._share(id, title, share, told, "books", (well, ill, remedy))

    def _fill_prices(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        outcome = self._one.outcomes.get(BASE)
        if base is None or outcome is None:
            return None
        if not base.fills:
            return unknown(id, title, f"{title}: it never traded.", LATER, source=SOURCE)
        share, told = better(base, outcome.run.data, worths.files_of(outcome.run.data))
        well = "No fill is better than the prices right before and after it."
        ill = "Fills are up to {share:.4g} % better than the market: {told}."
        remedy = "Find by which price it is filled: one of another time is a look-ahead that shorter runs do not show."
        return self._share(id, title, share, told, "fill_prices", (well, ill, remedy))

    def _share(
        self, id: str, title: str, share: Optional[Decimal], told: str, name: str, texts: Tuple[str, str, str]
    ) -> Check:
        """The check of a share in %, by the thresholds of a name; unknown where there is none.

        :param texts: what is said when it is 0, else, and what to do then
        """
        if share is None:
            return unknown(id, title, f"{title}: {told}.", "Look at it by hand.", source=SOURCE)
        well, ill, remedy = texts
        text = ill.format(share=float(share), told=told) if share else well
        limit = limits(self._settings.thresholds, name)
        return judge(id, title, round(float(share), 9), **limit, unit="%", message=text, remedy=remedy, source=SOURCE)

    def _performance(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        refused = self._valued(id, title, base)
        if refused or self.worth is None:
            return refused
        return findings_worth.performance(id, title, self.worth, self._settings)

    def _overfitting(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        refused = self._valued(id, title, base)
        if refused or self.worth is None:
            return refused
        return findings_worth.overfitting(id, title, self.worth, self._settings)

    def _valued(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        """Computes the figures, once; a check why they count for nothing, if they do."""
        if base is None:
            return None
        if self.worth is None:
            self.worth = worths.worth(self._one.strategy, base, self._snapshot.until, self._settings)
        refused = self._sound(id, title)
        why = self.worth.doubt
        if not why and self.verdicts.get("books") == CRITICAL:
            why = "its equity does not follow from its fills"
        if not why and self.verdicts.get("fill_prices") in (WARNING, CRITICAL):
            why = "its fills are better than its market was"
        if not refused and why:
            refused = unknown(id, title, f"{title}: {why}.", CORRECT, source=SOURCE)
        return refused

    def _change(self, id: str, title: str, base: Optional[Outputs]) -> Optional[Check]:
        if base is None:
            return None
        unsteady = self._unsteady()
        why = "it is not the same twice" if unsteady else "nobody knows whether it is the same twice"
        self.change = compared(self._one, self._then, "" if unsteady == "" else why)
        found = self.change
        if found.unknown:
            return unknown(id, title, f"{title}: {found.unknown}.", found.remedy, source=SOURCE)
        text = f"{in_words(found, self._one.restated)}."
        capital = self._one.strategy.capital
        untold = [step.what for step in found.steps if step.money is None]
        if untold:
            return unknown(id, title, f"{text} By how much nobody can tell ({untold[0]}).", CORRECT, source=SOURCE)
        largest = max((abs(step.money or Decimal(0)) for step in found.steps), default=Decimal(0))
        limit = limits(self._settings.thresholds, "change")
        remedy = (
            "Find who restated these prices, or what the changed code or engine does otherwise, before you rely on it."
        )
        details = found.data()
        share = round(float(100 * largest / capital), 6)
        check = judge(id, title, share, **limit, unit="%", message=text, remedy=remedy, source=SOURCE, details=details)
        if check.status == OK and any(step.what == "engine" and step.how for step in found.steps):
            # A result that depends on the engine's release is no result of the strategy.
            check.status, check.remedy = WARNING, remedy
        return check


def _gain(found: Outputs, capital: Decimal) -> Decimal:
    """Last equity less what was put in, in % of the capital."""
    flows = sum((row.flow for row in found.days), Decimal(0))
    return 100 * (found.days[-1].equity - flows - capital) / capital


def _apart(one: Outputs, other: Optional[Outputs], capital: Decimal) -> float:
    there = {row.day: row.equity for row in other.days} if other else {}
    apart = [abs(row.equity - there[row.day]) for row in one.days if row.day in there]
    return float(100 * max(apart, default=Decimal(0)) / capital)
