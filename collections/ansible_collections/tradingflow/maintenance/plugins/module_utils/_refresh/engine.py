# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Code, prices, runs, figures, verdicts: one refresh of all strategies."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._checks.guard import each, escaped
from .._isolation import cells
from .._performance.ratios import needed
from ..checks import OK, Check, plain, unknown
from ..errors import MaintenanceError
from ..words import plural, printable
from . import charts, kubernetes, outputs, snapshot
from .findings import Judge, planned
from .options import Settings, checked
from .probes import BASE, Planner, Subject, as_it_was, members, of_all, told
from .runs import Engine, Pool, engine
from .store import Store, digest_of

#: Changes when something is run, compared or computed in another way.
METHOD = "backtest-refresh-1"


@dataclass
class Refresh:
    """What a refresh hands over.

    :param record: for the ledger, None if nothing was refreshed
    """

    checks: List[Check]
    actions: List[Dict[str, Any]] = field(default_factory=list)
    record: Optional[Dict[str, Any]] = None


def refresh(options: Dict[str, Any], python: str, reader: Callable[..., snapshot.Snapshot] = snapshot.read) -> Refresh:
    """A whole refresh.

    :param python: interpreter of engines that name none
    :param reader: takes the snapshot, see snapshot.read
    :raises MaintenanceError: an option makes no sense, or another refresh is at work
    """
    needed()
    settings = checked(options, python)
    if not settings.strategies:
        text = "There is no strategy to refresh."
        remedy = "Declare them in backtest_refresh_strategies: docs/backtest.md."
        return Refresh([unknown("backtest.strategies", "Strategies refreshed", text, remedy)])
    store = Store(settings.directory)
    with store.locked() as work:
        return _refreshed(options, settings, store, work, reader)


def _refreshed(
    options: Dict[str, Any], settings: Settings, store: Store, work: Path, reader: Callable[..., snapshot.Snapshot]
) -> Refresh:
    subjects = [Subject(one) for one in settings.strategies]
    for one in subjects:
        one.earlier = store.earlier(one.name)
        one.then = as_it_was(one.strategy, one.earlier["told"]) if one.earlier and "told" in one.earlier else None
    wanted = [*settings.strategies, *(one.then for one in subjects if one.then)]
    found = reader(options["database"], options["timeout"], settings.until, wanted, store.prices)
    store.keep_snapshot(found)
    checks = [_of_snapshot(found, {name for one in settings.strategies for name in _names(one)})]
    _prepare(subjects, found, store, work, settings)
    planner, pool = Planner(found, store, work, settings), Pool(store, work, settings)
    for step in (planner.first, planner.second):
        runs = []
        for one in subjects:
            if not one.why:
                try:
                    runs += step(one)
                except Exception as error:
                    one.why = f"its runs could not be prepared: {error}"
        if settings.kubernetes and step == planner.first:
            handed = [
                (one.strategy, run)
                for one in subjects
                for run in runs
                if (run.strategy, run.purpose) == (one.name, BASE)
            ]
            try:
                kubernetes.handed_over(handed, settings, store.root)
            except Exception as error:
                checks.append(escaped("backtest.kubernetes", "Job for Kubernetes", error))
        of_all(subjects, pool.all(runs))
    for one in subjects:
        one.moved = one.code is not None and digest_of(one.strategy.code) != one.code.digest
    judges = []
    for one in subjects:
        judge = Judge(one, found, settings, _then(one, store))
        judges.append((one, judge))
        checks += each(judge.checks, *planned(one.name))
    checks.insert(0, _of_all(subjects))
    checks.insert(1, _of_walls(subjects))
    for one, judge in judges:
        try:
            _keep(one, judge, found, store)
        except Exception as error:
            shown = printable(one.name)
            checks.append(escaped(f"backtest.kept:{shown}", f"Refresh of {shown} kept to compare with", error))
    record = _record(judges, found, settings)
    actions: List[Dict[str, Any]] = []
    try:
        actions = charts.actions(judges)
    except Exception as error:
        checks.append(escaped("backtest.charts", "Charts of the refresh", error))
    return Refresh(checks, actions, record)


def _names(strategy: Any) -> List[str]:
    return [one.name for one in strategy.instruments]


def _prepare(subjects: List[Subject], found: snapshot.Snapshot, store: Store, work: Path, settings: Settings) -> None:
    """Code and engine of each, or why it is not run."""
    known: Dict[Tuple[Any, ...], Engine] = {}
    for one in subjects:
        strategy = one.strategy
        odd = [name for name in _names(strategy) if name in found.odd]
        if odd:
            one.why = f"prices of {printable(odd[0], 40)} cannot be relied on: {found.odd[odd[0]]}"
            one.remedy = "Correct the view maintenance.prices, or the strategy's instruments."
            continue
        if strategy.first > found.until:
            one.why, one.remedy = f"its window begins after {found.until}", "Correct its from."
            continue
        one.universe = members(strategy, found)
        try:
            one.code = store.keep_code(strategy.code, work)
            how = (strategy.command, strategy.python, strategy.paths, strategy.lock)
            if how not in known:
                known[how] = engine(strategy, work, settings.limits)
            one.engine = known[how]
        except MaintenanceError as error:
            one.why, one.remedy = error.message, error.remedy
        except Exception as error:
            one.why = f"{type(error).__name__}: {error}"


def _then(one: Subject, store: Store) -> Optional[outputs.Outputs]:
    """What the last refresh's run had left, if it is still what it was."""
    if not one.earlier or one.then is None:
        return None
    try:
        known = store.run(one.earlier["key"])
        if not known or known[1]["digests"] != one.earlier["digests"]:
            return None
        until = date.fromisoformat(one.earlier["until"])
        return outputs.parse(known[0], one.then.first, until, set(_names(one.then)))
    except (KeyError, TypeError, ValueError, outputs.BadOutput):
        return None


def _keep(one: Subject, judge: Judge, found: snapshot.Snapshot, store: Store) -> None:
    """Writes down what the next refresh compares with: what gave a result, twice the same, and was not changed."""
    outcome = one.outcomes.get(BASE)
    if outcome is None or outcome.outputs is None or judge.verdicts.get("determinism") != OK or one.moved:
        return
    run = outcome.run
    store.keep_refresh(
        one.name,
        {
            "key": run.key,
            "digests": outcome.digests,
            "code": run.code.digest,
            "engine": run.engine.digest,
            "snapshot": found.digest,
            "until": str(found.until),
            "told": told(one.strategy),
        },
    )


def _of_all(subjects: List[Subject]) -> Check:
    good = sum(1 for one in subjects if one.outputs(BASE))
    id, title = "backtest.strategies", "Strategies refreshed"
    count = plural(len(subjects), "strategy", "strategies")
    if not good:
        return unknown(id, title, f"None of {count} was refreshed.", "See why, in the checks of each.")
    return Check(id, title, OK, good, message=f"{good} of {count} refreshed.")


def _of_walls(subjects: List[Subject]) -> Check:
    """Whether all ran apart from network, database and files."""
    id, title = "backtest.isolation", "Backtests shut off"
    open_ones = [outcome for one in subjects for outcome in one.outcomes.values() if not outcome.shut]
    ran = sum(1 for one in subjects for outcome in one.outcomes.values() if outcome.tries)
    if open_ones:
        return unknown(id, title, f"{title}: {open_ones[0].why}", cells.REMEDY)
    refused = next((one.why for one in subjects if "could not be shut off" in one.why), "")
    if refused:
        return unknown(id, title, f"{title}: {refused}", cells.REMEDY)
    if not any(one.outcomes for one in subjects):
        return unknown(id, title, f"{title}: nothing could be run.", "See why at each strategy.")
    text = f"{plural(ran, 'run')} without network, passwords and anything to write but memory."
    return Check(id, title, OK, ran, message=text if ran else "Nothing had to be run: all was done before.")


def _of_snapshot(found: snapshot.Snapshot, names: Any) -> Check:
    id, title = "backtest.snapshot", "Snapshot of prices"
    rows = sum(one.rows for one in found.prices.values())
    details = {"sha256": found.digest, "at": found.at, "until": str(found.until)}
    odd = sorted(name for name in found.odd if name in names)
    if odd or not rows:
        why = f"{printable(odd[0], 40)}: {found.odd[odd[0]]}" if odd else "there is no price"
        more = f" and {len(odd) - 1} more" if odd[1:] else ""
        remedy = "Correct the view maintenance.prices, or the strategies' instruments."
        return unknown(id, title, f"{title}: {why}{more}.", remedy, details=details)
    text = f"{plural(rows, 'price')} of {plural(len(found.prices), 'instrument')} up to {found.until}, of one moment;"
    return Check(id, title, OK, rows, message=f"{text} SHA-256 {found.digest[:12]}.", details=details)


def _record(judges: List[Tuple[Subject, Judge]], found: snapshot.Snapshot, settings: Settings) -> Dict[str, Any]:
    """What the ledger keeps: from what, by what, and what came out."""
    strategies: Dict[str, Any] = {}
    for one, judge in judges:
        outcome = one.outcomes.get(BASE)
        entry: Dict[str, Any] = {"verdicts": judge.verdicts}
        if outcome is None or outcome.outputs is None:
            entry["unknown"] = one.why or (outcome.why if outcome else "it was not run")
        else:
            entry.update(
                key=outcome.run.key,
                code=outcome.run.code.digest,
                engine=outcome.run.engine.digest,
                data=outcome.run.data.digest,
                request_sha256=hashlib.sha256(json.dumps(outcome.run.request, sort_keys=True).encode()).hexdigest(),
                outputs=outcome.digests,
                cuts=[str(day) for day in one.cuts],
            )
        if judge.worth and not judge.worth.doubt:
            entry["figures"] = judge.worth.figures.data
            entry["trials"], entry["pbo"] = judge.worth.trials, judge.worth.pbo
        if judge.change:
            entry["change"] = judge.change.data()
        strategies[one.name] = entry
    record: Dict[str, Any] = plain(
        {
            "method": METHOD,
            "snapshot": {"sha256": found.digest, "at": found.at, "until": str(found.until)},
            "confidence": settings.confidence,
            "thresholds": settings.thresholds,
            "strategies": strategies,
        }
    )
    return record
