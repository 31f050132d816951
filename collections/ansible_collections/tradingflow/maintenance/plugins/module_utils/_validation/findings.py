# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said of the forecasts of a model: bad news at once, good news only from a test that could have seen bad."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, judge, limits, unknown, worst
from ..words import amount, plural, printable
from . import coverage, shortfall
from .forecasts import Series
from .reference import LEAST, Reference, compared

SOURCE = "views maintenance.risk_forecasts and equity"
#: Probability below which too many exceptions, or too large losses, are critical: that of Basel's red zone.
RED = 1 - coverage.RED
LATER = "Validate again later: nobody can tell yet."
REMODEL = "Tell the model's owner, scale its limits until it is corrected, and keep the reason on record."
DEFINE = "docs/validation.md, The views."


def level_of(level: Decimal) -> str:
    """Such as 99 %."""
    return f"{amount(level * 100)} %"


def planned(one: Series) -> List[Tuple[str, str]]:
    """Ids and titles of the checks of one series."""
    named = f"{one.subject_name if one.scope != 'strategy' else printable(one.subject, 60)}"
    told = f"{named} ({printable(one.model, 40)}, {level_of(one.level)})"
    kinds = (
        ("forecasts", "Forecasts of"),
        ("exceptions", "Exceptions of"),
        ("independence", "Clustering of exceptions of"),
        ("shortfall", "Expected shortfall of"),
        ("reference", "Reference beside"),
    )
    return [(f"validation.{kind}:{one.name}", f"{title} {told}") for kind, title in kinds]


def lacking(message: str, remedy: str) -> Check:
    """There are no forecasts at all."""
    title = "Forecasts of risk"
    return unknown("validation.forecasts", title, f"{title}: {message}", remedy, source=SOURCE)


def unforecast(scope: str, name: str, level: Decimal) -> Check:
    """Nobody forecasts what somebody should."""
    shown = "book" if scope == "book" else f"{scope}/{printable(name, 60)}"
    title = f"Forecasts of {shown} ({level_of(level)})"
    text = f"{title}: there are none."
    remedy = f"Let the view maintenance.risk_forecasts have them: {DEFINE}"
    return unknown(f"validation.forecasts:{shown}/{level.normalize():f}", title, text, remedy, source=SOURCE)


def of_series(one: Series, reference: Optional[Reference], options: Dict[str, Any]) -> Iterator[Check]:
    """All checks of one series."""
    ids = planned(one)
    if one.doubts:
        why = "; ".join(one.doubts)
        for id, title in ids:
            yield unknown(id, title, f"{title}: {why}.", f"Correct what the message names: {DEFINE}", source=SOURCE)
        return
    yield _forecasts(*ids[0], one, options)
    if not one.outcomes:
        for id, title in ids[1:]:
            yield unknown(id, title, f"{title}: no session had a forecast in time.", LATER, source=SOURCE)
        return
    yield _exceptions(*ids[1], one, options)
    yield _independence(*ids[2], one, options)
    yield _shortfall(*ids[3], one, options)
    yield _reference(*ids[4], one, reference, options)


def _forecasts(id: str, title: str, one: Series, options: Dict[str, Any]) -> Check:
    """Whether there was one before each session."""
    count = len(one.outcomes) + len(one.late) + len(one.missing)
    text = f"{plural(len(one.outcomes), 'forecast')} of version {printable(one.version, 20)} made before"
    text += f" {plural(count, 'session')}."
    if one.older:
        text += f" {plural(one.older, 'session')} with an older version before are not judged."
    if one.closed:
        text += f" {plural(one.closed, 'forecast')} for days without a session left out."
    found = []
    for name, what, days in (
        ("forecasts_late", "made after their day began, so no forecast", one.late),
        ("forecasts_missing", "missing", one.missing),
    ):
        limit = limits(options["thresholds"], name)
        check = judge(id, title, len(days), **limit, message="", source=SOURCE)
        found.append(check.status)
        if days:
            shown = ", ".join(str(day) for day in days[:3]) + (f" and {len(days) - 3} more" if len(days) > 3 else "")
            text += f" {len(days)} {what}: {shown}."
    status = worst(found)
    remedy = "" if status == OK else "Find out why, and let the platform keep when each was made."
    value = len(one.late) + len(one.missing)
    details = {"late": [str(day) for day in one.late][:40], "missing": [str(day) for day in one.missing][:40]}
    return Check(id, title, status, value, message=text, remedy=remedy, source=SOURCE, details=details)


def _rate(one: Series) -> Fraction:
    return Fraction(1 - one.level)


def _chance(value: float) -> str:
    return "less than 0.1 %" if value < 0.001 else f"{100 * value:.1f} %"


def _silent(one: Series, options: Dict[str, Any]) -> str:
    """Why what is not bad is not known to be good, whatever a test says."""
    if not one.whole:
        return f"{plural(len(one.late) + len(one.missing), 'session')} had no forecast in time"
    if len(one.outcomes) < options["minimum_sessions"]:
        return f"fewer than {options['minimum_sessions']} sessions"
    if len({each.result for each in one.outcomes}) == 1:
        return "results do not vary"
    return ""


def _exceptions(id: str, title: str, one: Series, options: Dict[str, Any]) -> Check:
    """How many, against how many there should be."""
    count, hits, rate = len(one.outcomes), sum(one.hits), _rate(one)
    awaited, found = float(count * rate), coverage.binomial(count, rate)
    ratio = coverage.kupiec(count, hits, float(rate))
    chance = coverage.mid_p(count, hits, rate)
    seen = coverage.reach(count, rate, options["ratio"], options["significance"])
    recent = one.hits[-coverage.BASEL :]
    zone = ""
    if len(recent) == coverage.BASEL:
        zone, share = coverage.traffic_light(len(recent), sum(recent), rate)
    figures: Dict[str, Any] = {
        "sessions": count,
        "from": str(one.outcomes[0].day),
        "to": str(one.outcomes[-1].day),
        "exceptions": hits,
        "days": [str(each.day) for each in one.outcomes if each.hit][:60],
        "expected": round(awaited, 4),
        "kupiec": ratio,
        "kupiec_p": coverage.chi_square(ratio, 1),
        "exact_p": coverage.exact(count, hits, rate),
        "mid_p": chance,
        "power": seen.power,
        "size": seen.size,
        "rejected_up_to": seen.low,
        "rejected_from": seen.high,
    }
    text = f"{plural(hits, 'exception')} in {plural(count, 'session')}, where {awaited:.1f} are expected."
    text += f" Kupiec {ratio:.2f}, p {_chance(figures['kupiec_p'])}, exact {_chance(figures['exact_p'])},"
    text += f" mid-p {_chance(chance)}."
    if zone:
        figures.update(zone=zone, zone_share=share, multiplier=coverage.multiplier(len(recent), sum(recent), rate))
        text += f" {zone.capitalize()} zone with {plural(sum(recent), 'exception')} in the last {coverage.BASEL}."
    text += f" {_power(seen.power, options)}"
    status, remedy, more = OK, "", ""
    rejected, silent = chance <= options["significance"], _silent(one, options)
    if zone == "red" or (hits > awaited and found.least[hits] <= RED):
        status, more = CRITICAL, "Far too many: risk is understated."
    elif zone == "yellow" or (rejected and hits > awaited):
        status, more = WARNING, "Too many: risk is understated." if rejected else "More than Basel lets pass."
    elif silent:
        status, more = UNKNOWN, f"Nothing is said: {silent}."
    elif rejected:
        status, more = WARNING, "Too few: risk is overstated, and capital lies idle."
    elif seen.power < options["minimum_power"]:
        status, more = UNKNOWN, "Not rejected, but the test could hardly see it."
    if status in (WARNING, CRITICAL):
        remedy = REMODEL
    elif status == UNKNOWN:
        remedy = LATER
    value = None if status == UNKNOWN else hits
    text = f"{text} {more}".strip()
    return Check(id, title, status, value, message=text, remedy=remedy, source=SOURCE, details={"figures": figures})


def _power(power: float, options: Dict[str, Any], what: str = "") -> str:
    """What the test could have seen."""
    what = what or f"{options['alternative']:g} times as many"
    return f"The test sees {what} with {100 * power:.0f} % power."


def _independence(id: str, title: str, one: Series, options: Dict[str, Any]) -> Check:
    """Whether one exception brings the next, and how many and when together."""
    count, hits, rate = len(one.outcomes), sum(one.hits), _rate(one)
    found = coverage.steps(one.hits)
    ratio, pof = coverage.independence(found), coverage.kupiec(count, hits, float(rate))
    chance = coverage.independence_exact(count, hits, ratio)
    both = coverage.coverage_exact(count, rate, ratio + pof)
    again = max(options["clustering"], float(rate) * 1.01)
    power = coverage.independence_power(count, rate, again, options["significance"])
    figures = {
        "n00": found.n00,
        "n01": found.n01,
        "n10": found.n10,
        "n11": found.n11,
        "ratio": ratio,
        "p": chance,
        "asymptotic_p": coverage.chi_square(ratio, 1),
        "coverage_ratio": ratio + pof,
        "coverage_p": both,
        "coverage_asymptotic_p": coverage.chi_square(ratio + pof, 2),
        "power": power,
    }
    text = f"{plural(found.n11, 'exception')} right after another, of {hits}."
    text += f" Christoffersen {ratio:.2f}, exact p {_chance(chance)};"
    text += f" conditional coverage {ratio + pof:.2f}, exact p {_chance(both)}."
    text += f" {_power(power, options, f'exceptions that follow one with {100 * again:.0f} %')}"
    status, remedy, silent = OK, "", _silent(one, options)
    if chance <= options["significance"] and found.clustered:
        status, remedy = WARNING, REMODEL
        text += " They cluster: the model is too slow when markets change."
    elif not one.whole:
        status, remedy, text = UNKNOWN, LATER, f"{text} Nothing is said: {silent}."
    elif both <= options["significance"]:
        status, remedy = WARNING, REMODEL
        text += " How many and when, taken together, do not fit the model."
    elif chance <= options["significance"]:
        status, remedy = WARNING, REMODEL
        text += " They keep apart more than chance would."
    elif silent or power < options["minimum_power"]:
        status, remedy = UNKNOWN, LATER
        text += f" Nothing is said: {silent}." if silent else " Not rejected, but the test could hardly see it."
    value = None if status == UNKNOWN else found.n11
    return Check(id, title, status, value, message=text, remedy=remedy, source=SOURCE, details={"figures": figures})


def _shortfall(id: str, title: str, one: Series, options: Dict[str, Any]) -> Check:
    """Whether losses beyond value at risk are as large as was said."""
    count, share = len(one.outcomes), float(_rate(one))
    beyond = [each for each in one.outcomes if each.hit]
    untold = sum(1 for each in one.outcomes if each.es is None)
    reason = f"{plural(untold, 'forecast has', 'forecasts have')} no expected shortfall" if untold else ""
    if not reason and any(not each.es for each in beyond):
        reason = "a session with an exception had an expected shortfall of 0"
    ratios = [float(each.es / each.var) for each in one.outcomes if each.es is not None and each.var > 0]
    if not reason and not ratios:
        reason = "each forecast is 0"
    if reason:
        return unknown(id, title, f"{title}: {reason}.", f"Let es be told for each: {DEFINE}", source=SOURCE)
    like = shortfall.like(sum(ratios) / len(ratios), share)
    lost = [float(-each.result) for each in beyond]
    z1, z2 = shortfall.statistics(lost, [float(each.es or 0) for each in beyond], count, share)
    drawn = shortfall.drawn(count, share, like.degrees, options["alternative"], options["significance"])
    chances = drawn.chance(z1, z2)
    tail = "normal" if like.degrees is None else f"t of {like.degrees} degrees"
    figures = {
        "z1": z1,
        "z1_p": chances[0],
        "z1_critical": drawn.critical[0],
        "z2": z2,
        "z2_p": chances[1],
        "z2_critical": drawn.critical[1],
        "power": drawn.power[1],
        "z1_power": drawn.power[0],
        "tail": tail,
    }
    text = f"Z2 {z2:.2f} (rejected from {drawn.critical[1]:.2f} down, p {_chance(chances[1])})"
    if z1 is None or chances[0] is None:
        text += ", Z1 undefined without an exception"
    else:
        text += f", Z1 {z1:.2f} (from {drawn.critical[0]:.2f} down, p {_chance(chances[0])})"
    text += f", against a tail as forecast: {tail}. {_power(drawn.power[1], options)}"
    status, remedy, silent = OK, "", _silent(one, options)
    bad = [chance for chance in chances if chance is not None and chance <= options["significance"]]
    if bad:
        status, remedy = CRITICAL if min(bad) <= RED else WARNING, REMODEL
        text += " Losses beyond value at risk are larger, or more, than was forecast."
    elif silent or drawn.power[1] < options["minimum_power"]:
        status, remedy = UNKNOWN, LATER
        text += f" Nothing is said: {silent}." if silent else " Not rejected, but the test could hardly see it."
    value = None if status == UNKNOWN else round(z2, 4)
    return Check(id, title, status, value, message=text, remedy=remedy, source=SOURCE, details={"figures": figures})


def _reference(id: str, title: str, one: Series, found: Optional[Reference], options: Dict[str, Any]) -> Check:
    """What the plain model of ours says of the same sessions."""
    if found is None or found.undefined:
        why = found.undefined if found else "there is none"
        return unknown(id, title, f"{title}: no plain historical model: {why}.", LATER, source=SOURCE)
    ratio = compared(found, {each.day: each.var for each in one.outcomes})
    text = told(found, one.level, one.currency)
    limit = limits(options["thresholds"], "reference_ratio")
    if ratio is None:
        return unknown(id, title, f"{text} Fewer than {LEAST} sessions have both.", LATER, source=SOURCE)
    text += f" The model says {ratio:.2f} times as much, at the median."
    remedy = "Find out why the model sees so much less than these sessions have shown."
    details = {"ratio": ratio, "exceptions": found.exceptions, "sessions": len(found.var or {})}
    return judge(
        id, title, round(ratio, 4), **limit, below=True, message=text, remedy=remedy, source=SOURCE, details=details
    )


def told(found: Reference, level: Decimal, currency: str) -> str:
    """What the reference says."""
    count = len(found.var or {})
    text = f"A plain historical model (reference): {plural(found.exceptions, 'exception')} in"
    text += f" {plural(count, 'session')}, where {float(count * (1 - level)):.1f} are expected;"
    return text + f" for the next session VaR {found.now[0]:,.2f}, ES {found.now[1]:,.2f} {currency}.".replace(
        " .", "."
    )
