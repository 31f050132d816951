# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One question to the gates: may it be done now, when else, and why not. Keeps no state: ask as often as you like."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timezone, tzinfo
from typing import Any, Callable, Dict, List, Optional
from zoneinfo import ZoneInfo

from .._wal import clocks
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, unknown
from ..errors import ConfigurationError, MaintenanceError
from ..storage import client
from ..words import plural, printable, span
from . import backup, budget, findings, freeze, market, past, trading
from .gate import Gate, guarded
from .options import TIMED, evidence_of, names, settled
from .windows import Window, free, merged, moment, told

ALLOW, HOLD, REFUSE = "allow", "hold", "refuse"
ANSWER = "gate.answer"
DAY = 86400
#: Windows that are listed.
MOST = 60


@dataclass
class Answer:
    """What the gates say.

    :param word: allow, hold or refuse
    :param until: with hold, the moment from which it is allowed if nothing else changes
    :param windows: in which no market and no freeze holds, of the next days, this one first
    :param held: gates that do not pass
    :param overridden: gates that would hold, and that the operator passes by
    """

    word: str
    checks: List[Check]
    until: Optional[float] = None
    windows: List[Window] = field(default_factory=list)
    held: List[str] = field(default_factory=list)
    overridden: List[str] = field(default_factory=list)
    zone: tzinfo = timezone.utc

    @property
    def text(self) -> str:
        """allow, hold until Sun 2026-11-29 16:05 UTC, or refuse."""
        return self.word if self.until is None else f"{self.word} until {told(self.until, self.zone)}"

    def as_dict(self) -> Dict[str, Any]:
        """For whoever goes by it."""
        return {
            "answer": self.word,
            "text": self.text,
            "hold_until": None if self.until is None else moment(self.until, self.zone),
            "held": self.held,
            "overridden": self.overridden,
            "windows": [window.as_dict(self.zone) for window in self.windows[:MOST]],
        }


def ask(given: Dict[str, Any], asking: bool = False, clock: Callable[[], float] = time.time) -> Answer:
    """The answer. What cannot be known never allows.

    :param given: see options.SPEC; what is left out has its default
    :param asking: nothing hangs on the answer: that it has to wait is no more than a warning
    :param clock: now
    """
    try:
        options = settled(given)
        zone = _zone(options["timezone"])
    except ConfigurationError as error:
        check = Check(ANSWER, _title(given), CRITICAL, REFUSE, message=error.message, remedy=error.remedy)
        return Answer(REFUSE, [check], held=list(given.get("gates") or []))
    now = clock()
    return answer(options, gates_of(options, now, clock, zone), now, zone, asking)


def _title(options: Dict[str, Any]) -> str:
    procedure = options.get("procedure")
    return "Maintenance window" + (f" for {printable(procedure, 40)}" if procedure != "window" else "")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        text = f"There is no time zone {printable(name, 40)}."
        raise ConfigurationError(text, "Correct maintenance_window_timezone, such as Europe/Berlin.") from None


def gates_of(options: Dict[str, Any], now: float, clock: Callable[[], float], zone: tzinfo) -> List[Gate]:
    """What each gate says that the procedure has to pass."""
    asked = list(dict.fromkeys(options["gates"]))
    until = now + options["days"] * DAY
    at = datetime.fromtimestamp(now, timezone.utc)
    live = trading.Live()
    if {"market", "trading_state"} & set(asked):
        live = trading.ask(options["database"], options, clock, "trading_state" in asked)
    back = _back(options, asked, at)
    questions: Dict[str, Callable[[], Gate]] = {
        "market": lambda: market.market(options, live.venues, live.why, now, until, zone),
        "freeze": lambda: freeze.freeze(options["freezes"], now, until, options["duration"], zone),
        "trading_state": lambda: trading.trading_state(live, back),
        "backup": lambda: backup.backup(_with_store(options), evidence_of(options), at),
        "findings": lambda: findings.findings(back, options["acknowledged"], at),
        "error_budget": lambda: _budget(options, back, now),
    }
    found = [guarded(name, TITLES[name], questions[name]) for name in asked]
    # By a clock that is behind, a market is closed that is open, and a daily of last week is of today.
    counting = [name for name in asked if name not in options["override"]]
    if any(name != "freeze" or options["freezes"] for name in counting):
        found.append(guarded("clock", "Clock", lambda: _clock(options, live)))
    return found


TITLES = {module.NAME: module.TITLE for module in (market, freeze, trading, backup, findings, budget)}


def _with_store(options: Dict[str, Any]) -> Dict[str, Any]:
    if not options["storage"]:
        raise ConfigurationError("No store is configured.", "Set maintenance_window_storage.")
    return options


def _back(options: Dict[str, Any], asked: List[str], at: datetime) -> past.Past:
    """What the ledger says, as far as a gate wants it."""
    daily = bool({"trading_state", "findings"} & set(asked))
    available = "error_budget" in asked
    if not daily and not available:
        return past.Past()
    try:
        evidence = evidence_of(options)
        if not evidence:
            raise ConfigurationError("No ledger is configured.", "Configure tradingflow_evidence.")
        return past.look_back(
            _with_store(options)["storage"],
            options["environment_name"],
            evidence,
            at,
            daily_age=options["daily_age"] if daily else None,
            availability_days=options["availability_days"] if available else None,
        )
    except MaintenanceError as error:
        return past.Past(problem=(error.message, error.remedy), bad=[error.message.rstrip(".")])
    except Exception as error:
        text = f"The ledger could not be judged, because of {type(error).__name__}: {printable(error, 200)}."
        return past.Past(problem=(text, "Report it."), bad=[text.rstrip(".")])


def _budget(options: Dict[str, Any], back: past.Past, now: float) -> Gate:
    return budget.budget(
        back.measured,
        back.bad,
        now,
        options["availability_objective"],
        options["availability_days"],
        options["availability_age"],
        options["downtime"],
        budget.Sample.of(back.answered.values(), options["availability_days"]),
    )


def _clock(options: Dict[str, Any], live: trading.Live) -> Gate:
    """Whether our clock is right, by those of the database and of the store."""
    limit = {"warning": None, "critical": options["clock_tolerance"]}
    off: List[str] = []
    asked: List[str] = []
    if live.now is not None:
        asked.append("database")
        apart = max(live.begun - live.now, live.now - live.ended, 0.0)
        if apart >= options["clock_tolerance"]:
            off.append(f"The database's clock is {span(apart)} off this machine's.")
    if options["storage"]:
        try:
            found = clocks.of_store(client(options["storage"]), options["storage"], limit)
            if found.status != UNKNOWN:
                asked.append("store")
            if found.status == CRITICAL:
                off.append(found.message)
        except MaintenanceError:
            pass
    title = "Clock"
    remedy = "Synchronise the clocks (chrony or systemd-timesyncd), this machine's too."
    if off:
        return Gate("clock", [unknown("gate.clock", title, " ".join(off), remedy)])
    if not asked:
        text = "Neither the database nor the store says what time it is, so nobody knows whether this clock is right."
        return Gate("clock", [unknown("gate.clock", title, text, "Make one of them answer.")])
    text = f"This machine's clock agrees with that of the {' and the '.join(asked)}."
    return Gate("clock", [Check("gate.clock", title, OK, "right", message=text)])


def answer(options: Dict[str, Any], gates: List[Gate], now: float, zone: tzinfo, asking: bool) -> Answer:
    """From what the gates say to one answer."""
    passed_by = [gate for gate in gates if gate.name in options["override"] and gate.holds]
    counting = [gate for gate in gates if gate.name not in options["override"]]
    # Those that no waiting helps, as far as anybody knows.
    fixed = [gate for gate in counting if gate.holds and (gate.name not in TIMED or gate.status == UNKNOWN)]
    held = [gate for gate in counting if gate.holds]
    until = min([now + options["days"] * DAY, *(gate.known_until for gate in counting)])
    timed_known = not any(gate.status == UNKNOWN for gate in counting if gate.name in (*TIMED, "clock"))
    busy = merged(interval for gate in counting for interval in gate.busy)
    windows = free(busy, now, until, options["duration"]) if timed_known else []
    result = Answer(REFUSE, [], windows=windows, zone=zone)
    result.held, result.overridden = [gate.name for gate in held], [gate.name for gate in passed_by]
    if not held and windows and windows[0].starts == now:
        result.word = ALLOW
    elif not fixed and windows and windows[0].starts > now:
        result.word, result.until = HOLD, windows[0].starts
    checks = [check for gate in gates if gate not in passed_by for check in gate.checks]
    checks += [_overridden(gate, options) for gate in passed_by]
    result.checks = [_answered(options, result, fixed, asking), _windows(options, result, until, timed_known), *checks]
    return result


def _overridden(gate: Gate, options: Dict[str, Any]) -> Check:
    """The break-glass: who passes by a gate that holds, and why. The report shows it in red."""
    bad = [check for check in gate.checks if check.status != OK]
    text = " ".join(check.message for check in bad[:3])
    return Check(
        f"gate.overridden:{gate.name}",
        f"Break-glass: {names([gate.name])}",
        WARNING,
        gate.status,
        message=f"Overridden: {text} Reason: {printable(options['reason'].strip(), 500)}",
        remedy="See that it was meant so, and fix what the gate found.",
        details={
            "break_glass": True,
            "gate": gate.name,
            "reason": options["reason"].strip(),
            "held": [f"{check.id}: {check.status}" for check in bad[:20]],
        },
    )


def _answered(options: Dict[str, Any], result: Answer, fixed: List[Gate], asking: bool) -> Check:
    title = _title(options)
    details = {"procedure": options["procedure"], "gates": options["gates"], "duration_s": options["duration"]}
    details.update(held=result.held, overridden=result.overridden)
    over = f" Overridden: {names(result.overridden)}." if result.overridden else ""
    if result.word == ALLOW:
        text = "Every gate is passed" if options["gates"] else "No gate is set"
        text += f"; begin before {told(result.windows[0].latest, result.zone)}.{over}"
        return Check(ANSWER, title, OK, ALLOW, message=text, details=details)
    if result.word == HOLD and result.until is not None:
        text = f"Only time holds it: {names(result.held)}.{over}"
        remedy = f"Start it after {told(result.until, result.zone)}."
        status = WARNING if asking else CRITICAL
        return Check(ANSWER, title, status, result.text, message=text, remedy=remedy, details=details)
    why = f"Held by {names([gate.name for gate in fixed])}"
    if not fixed:
        why = f"There is no window of {span(options['duration'])} in the next {plural(options['days'], 'day')}"
        why += f", for {names(result.held)}" if result.held else ""
    remedy = "Fix what the gates name. If it cannot wait: maintenance_window_override and maintenance_window_reason."
    return Check(ANSWER, title, CRITICAL, REFUSE, message=f"{why}.{over}", remedy=remedy, details=details)


def _windows(options: Dict[str, Any], result: Answer, until: float, known: bool) -> Check:
    """The next possible windows, as far as time goes."""
    id, title = "gate.windows", "Next possible windows"
    if not known:
        text = "When markets or freezes leave a window is not known."
        return unknown(id, title, text, "See the gates that are unknown.")
    listed = [window.as_dict(result.zone) for window in result.windows[:MOST]]
    shown = "; ".join(line(window, result.zone) for window in result.windows[:3])
    more = len(result.windows) - 3
    text = f"{plural(len(result.windows), 'window', none='No')} of {span(options['duration'])} or more until "
    text += f"{told(until, result.zone)}{': ' + shown if shown else ''}{f'; and {more} more' if more > 0 else ''}."
    status = OK if result.windows else WARNING
    return Check(id, title, status, len(result.windows), message=text, details={"windows": listed})


def line(window: Window, zone: tzinfo) -> str:
    """A window for people."""
    return f"{told(window.starts, zone)} to {told(window.ends, zone)} ({span(window.ends - window.starts)})"
