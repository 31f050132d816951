# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads, compares forecasts with what came, and judges models, scenarios and limits."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from decimal import Decimal, localcontext
from functools import partial
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .._checks.guard import each, escaped
from .._checks.risk import EXACT
from .._performance import strategies as members
from .._performance.identity import told
from .._performance.ratios import needed
from .._performance.reading import Read
from ..checks import Check, plain, unknown
from . import charts, findings, inventory, limit_use, scenarios
from .forecasts import Series, Subject, by_session, series
from .options import checked
from .reading import Risk, month, read_all
from .reference import Reference, reference

#: Changes when a figure is computed in another way.
METHOD = "model-validation-1"
TITLE = "Risk models validated"
LIMITS = ("validation.limits", "Limits against their use")
STRESS = ("validation.stress", "Stress scenarios")


class Validation:
    """What a validation hands over: checks, charts, and what the ledger keeps."""

    def __init__(self) -> None:
        self.checks: List[Check] = []
        self.actions: List[Dict[str, Any]] = []
        self.record: Dict[str, Any] = {"title": TITLE, "method": METHOD}


def validate(options: Dict[str, Any]) -> Validation:
    """A whole validation.

    :raises MaintenanceError: an option makes no sense, or the database does not answer
    """
    needed()
    options = checked(options)
    return validated(*read_all(options), options)


def validated(found: Read, risk: Risk, options: Dict[str, Any]) -> Validation:
    """The same of what was read."""
    result = Validation()
    if found.lacking:
        message, remedy = found.lacking
        for id, title in (("validation.forecasts", "Forecasts of risk"), inventory.LISTED, LIMITS, STRESS):
            result.checks.append(unknown(id, title, f"{title}: {message}", remedy, source="schema maintenance"))
        result.record["lacking"] = message
        return result
    strategies = members.followed(found, options, compute=False)[0]
    members.converted(strategies, options, found)
    joints = members.joined(strategies, options)
    subjects = [_strategy(one) for one in strategies] + [_joint(one, strategies, options) for one in joints]
    judged = _forecasts(result, risk, subjects, options)
    listed = [*options["inventory"], *risk.rows.get("models", [])]
    # Those of the month: an older version may be in no inventory any more.
    since = month(options, found)[0]
    used = {
        (row["model"] or "", row["version"] or "")
        for row in risk.rows.get("forecasts", [])
        if row["day"] is None or row["day"] >= since
    }
    today, reason = found.today, risk.reasons.get("models")
    result.checks += each(lambda: inventory.inventory(listed, used, today, options, reason), inventory.LISTED)
    result.checks += each(lambda: _limits(found, risk, strategies, joints, options), LIMITS)
    result.checks += each(lambda: _scenarios(risk, strategies, options), STRESS)
    try:
        result.actions = charts.actions(judged)
    except Exception as error:
        result.checks.append(escaped("validation.charts", "Charts of the validation", error))
    _record(result, judged, listed, options)
    return result


def _strategy(one: members.Strategy) -> Subject:
    subject = Subject("strategy", one.name, one.track.currency, wanted=not one.ended)
    doubt = "" if one.track.sound else told(one.track)
    if doubt or one.sessions is None:
        subject.doubt = doubt or "its calendar is not known"
        return subject
    subject.sessions = by_session(one.track.days, one.sessions.days)
    return subject


def _joint(one: members.Joint, strategies: List[members.Strategy], options: Dict[str, Any]) -> Subject:
    scope = "account" if one.group.name else "book"
    own = {each.track.currency for each in strategies if each.name in one.group.members}
    currency = options["currency"] or (next(iter(own)) if len(own) == 1 else "")
    subject = Subject(scope, one.group.name, currency, one.doubt, wanted=scope == "book")
    if not one.doubt:
        subject.sessions = by_session(one.group.days, one.sessions)
    return subject


def _forecasts(result: Validation, risk: Risk, subjects: List[Subject], options: Dict[str, Any]) -> List[Series]:
    """Series of the forecasts, judged; and subjects that nobody forecasts."""
    rows = risk.rows.get("forecasts", [])
    lacking = risk.reasons.get("forecasts")
    references: Dict[Tuple[str, str, Decimal], Reference] = {}

    def beside(scope: str, name: str, level: Decimal) -> Optional[Reference]:
        key = (scope, name, level)
        subject = next((one for one in subjects if (one.scope, one.name) == (scope, name)), None)
        if key not in references and subject is not None and not subject.doubt and 0 < level < 1:
            least, most = options["minimum_sessions"], options["reference_sessions"]
            references[key] = reference(subject.sessions, level, least, most)
        return references.get(key)

    if lacking or not rows:
        message, remedy = lacking or ("the view has no row.", f"Let models write what they forecast: {findings.DEFINE}")
        check = findings.lacking(message, remedy)
        check.message += "".join(
            f" {findings.told(one, level, options['currency'] or '')}"
            for level in options["levels"]
            for one in [beside("book", "", level)]
            if one and not one.undefined
        )
        result.checks.append(check)
        return []
    found = series(rows, subjects, options["levels"])
    for one in found:
        judge = partial(findings.of_series, one, beside(one.scope, one.subject, one.level), options)
        result.checks += each(judge, *findings.planned(one))
    there = {(one.scope, one.subject, one.level.normalize()) for one in found}
    for subject in subjects:
        for level in options["levels"]:
            if subject.wanted and (subject.scope, subject.name, level.normalize()) not in there:
                result.checks.append(findings.unforecast(subject.scope, subject.name, level))
    return found


def _limits(
    found: Read,
    risk: Risk,
    strategies: List[members.Strategy],
    joints: List[members.Joint],
    options: Dict[str, Any],
) -> List[Check]:
    id, title = LIMITS
    reason = risk.reasons.get("limits")
    rows = risk.rows.get("limits", [])
    if reason or not rows:
        message, remedy = reason or ("no limit is active.", "Set limits, or correct the view risk_limits.")
        return [unknown(id, title, f"{title}: {message}", remedy, source=limit_use.SOURCE)]
    first, last = month(options, found)
    uses = limit_use.told(risk.rows.get("use", []))
    for one in strategies:
        lost = limit_use.losses(one.track.days, first, last, one.track.currency)
        if not one.track.sound:
            lost = limit_use.Use(doubt="its books are not right")
        uses.setdefault(("strategy", one.name, "daily_loss"), lost)
    for joint in joints:
        if joint.group.name:
            uses.setdefault(("account", joint.group.name, "daily_loss"), _account(joint, strategies, first, last))
    return list(limit_use.judged(rows, uses, first, last, options["thresholds"]))


def _account(joint: members.Joint, strategies: List[members.Strategy], first: date, last: date) -> limit_use.Use:
    """What an account lost each day, in the currency of its strategies."""
    mine = [one for one in strategies if one.name in joint.group.members]
    currencies = {one.track.currency for one in mine}
    if any(not one.track.sound for one in mine) or len(currencies) != 1:
        return limit_use.Use(doubt="the books of its strategies are not right, or in several currencies")
    days: Dict[date, Decimal] = {}
    with localcontext(EXACT):
        for one in mine:
            for day in one.track.days:
                days[day.day] = days.get(day.day, Decimal(0)) - day.pnl
    lost = {day: max(Decimal(0), value) for day, value in days.items() if first <= day <= last}
    return limit_use.Use(lost, currency=currencies.pop())


def _scenarios(risk: Risk, strategies: List[members.Strategy], options: Dict[str, Any]) -> List[Check]:
    id, title = STRESS
    if not options["scenarios"]:
        remedy = "Write them down in model_validation_scenarios: docs/validation.md, Stress scenarios."
        return [unknown(id, title, f"{title}: none is declared.", remedy, source=scenarios.SOURCE)]
    reason = next(
        (risk.reasons[name] for name in ("positions", "instruments", "prices", "closes") if name in risk.reasons), None
    )
    if reason:
        message, remedy = reason
        made = (scenarios.planned(one) for one in options["scenarios"])
        return [unknown(id, title, f"{title}: {message}", remedy, source=scenarios.SOURCE) for id, title in made]
    held = scenarios.holdings(risk.rows, options["currency"], options["rates"])
    accounts = {one.name: one.account for one in strategies}
    money = options["currency"] or next((name for name, rate in held.rates.items() if rate == 1), "")
    result: List[Check] = []
    for one in options["scenarios"]:
        judge = partial(scenarios.judged, one, held, accounts, money, options["thresholds"])
        result += each(lambda judge=judge: [judge()], scenarios.planned(one))  # type: ignore[misc]
    return result


def _record(result: Validation, judged: List[Series], listed: List[Mapping[str, Any]], options: Dict[str, Any]) -> None:
    """What the ledger keeps: what was read, how it was judged, and what came out."""
    read_in = [
        [
            one.name,
            one.version,
            [[str(each.day), str(each.result), str(each.var), str(each.es)] for each in one.outcomes],
        ]
        for one in judged
    ]
    text = json.dumps(read_in, ensure_ascii=False).encode()
    hidden = ("database", "thresholds", "timeout", "run", "ratio", "role")
    result.record.update(
        plain(
            {
                "inputs_sha256": hashlib.sha256(text).hexdigest(),
                "options": {name: value for name, value in options.items() if name not in hidden},
                "models": [[row["model"], row["version"], row["owner"]] for row in listed],
                "checks": {
                    check.id: {"status": check.status, "value": check.value, **check.details.get("figures", {})}
                    for check in result.checks
                },
            }
        )
    )
