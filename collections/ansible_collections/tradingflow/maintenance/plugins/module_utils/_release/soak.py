# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One tick of a soak: what is counted, what holds, what begins anew, what has failed. Pure: reads and writes nothing.

A soak is one continuous stay of one digest with unchanged template, configuration, number of pods and pods. Only time
that was looked at and found healthy counts; the rest holds, for ever if need be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..errors import ReleaseError
from ..words import plural, span
from .analysis import FAILED, HEALTHY, INCONCLUSIVE, judge
from .live import Live
from .record import FAILED as RELEASE_FAILED
from .record import SOAKING, STAGED, Release, moment_of, text_of
from .samples import Summary, between, kept, looked_at

#: Seconds that a clock may be off another's.
CLOCK_TOLERANCE = 60
#: New kinds of errors that a record keeps.
MOST_OPEN = 50
#: Argument spec of what a soak must have.
WANTED_SPEC: Dict[str, Any] = {
    "hours": {"type": "float", "default": 24.0},
    "requests": {"type": "int", "default": 0},
    "market_minutes": {"type": "float", "default": 0.0},
    "max_gap": {"type": "float", "default": 900.0},
}
COUNTED, HELD, BEGUN, RESET, GAP, CLOCK, FAILURE = "counted", "held", "begun", "reset", "gap", "clock", "failed"


@dataclass
class Tick:
    """What one tick came to.

    :param outcome: one word: counted, held, begun, reset, gap, clock or failed
    :param text: one sentence
    :param reasons: why it was not counted
    :param summary: of the interval; None where there was none
    """

    outcome: str
    text: str
    reasons: List[str] = field(default_factory=list)
    summary: Optional[Summary] = None

    @property
    def failed(self) -> bool:
        """Whether the release has to be undone."""
        return self.outcome == FAILURE


def wanted_of(release: Release, given: Mapping[str, Any]) -> Dict[str, Any]:
    """What the soak must have: of what its record says and what is asked for now the stricter."""
    result = dict(given)
    for name, value in (release.soak.get("wanted") or {}).items():
        if name in ("hours", "requests", "market_minutes"):
            result[name] = max(value, given.get(name, value))
    return result


def drift(stay: Mapping[str, Any], live: Live) -> List[str]:
    """What has changed since the stay began, as sentences; none when nothing has."""
    found = []
    now = live.identity()
    if now["digest"] != stay["digest"]:
        found.append(f"Another image is set: {now['digest'] or 'one that no digest pins'}.")
    if now["template_hash"] != stay["template_hash"] and not found:
        found.append("The pod template was changed, or the Deployment restarted.")
    names = sorted({*now["configuration"], *stay["configuration"]})
    changed = [name for name in names if now["configuration"].get(name) != stay["configuration"].get(name)]
    if changed:
        found.append(f"{', '.join(changed)} {'has' if len(changed) == 1 else 'have'} changed.")
    if now["replicas"] != stay["replicas"]:
        found.append(f"It was scaled from {stay['replicas']} to {now['replicas']}.")
    gone = sorted(name for uid, name in stay["pods"].items() if uid not in now["pods"])
    if gone and not found:
        found.append(f"{plural(len(gone), 'pod')} {'was' if len(gone) == 1 else 'were'} replaced: {', '.join(gone)}.")
    new = sorted(name for uid, name in now["pods"].items() if uid not in stay["pods"])
    if new and not found:
        found.append(f"{plural(len(new), 'pod')} more {'runs' if len(new) == 1 else 'run'}: {', '.join(new)}.")
    return found


def strangers(release: Release, live: Live) -> List[str]:
    """Why what runs is not this release, as sentences."""
    if live.digest != release.digest:
        return [f"The Deployment is set to {live.digest or 'an image that no digest pins'}, not to {release.digest}."]
    wrong = sorted(pod.name for pod in live.pods if pod.digest not in (release.digest, None))
    # Some runtimes name the digest of the platform's image, not that of the index that was set.
    running = {pod.digest for pod in live.pods}
    if wrong and len(running) > 1:
        return [f"Its pods do not all run the same image: {', '.join(wrong)}."]
    return []


def tick(
    release: Release,
    live: Optional[Live],
    now: datetime,
    wanted: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    problem: str = "",
    market_seconds: Optional[float] = None,
    reference: Optional[datetime] = None,
    run_id: str = "",
    baseline: Optional[Mapping[str, Any]] = None,
    hindered: Sequence[str] = (),
) -> Tick:
    """Judges the time since the last tick, and writes what it came to into the release.

    :param release: soaking, or in a stage; it is changed
    :param live: None when the cluster did not answer
    :param wanted: WANTED_SPEC
    :param options: of analysis.judge
    :param problem: then: why
    :param market_seconds: of the interval in which a market was open; None when nobody knows
    :param reference: what another clock (the store's) says it is; None when none does
    :param baseline: of the previous version; by default what was measured before the release
    :param hindered: why nothing may count, as sentences
    :raises ReleaseError: the release is not soaking
    """
    if release.state not in (SOAKING, *STAGED):
        raise ReleaseError(f"Release {release.id} is {release.state}: there is nothing that soaks.")
    # The record has whole seconds: what they cut off must not be counted with each tick.
    now = now.replace(microsecond=0)
    soak, at = release.soak, text_of(now)
    soak["wanted"] = wanted_of(release, wanted)
    for name in ("counted", "market", "requests", "held"):
        soak.setdefault(name, 0.0)
    if live is None:
        soak["blind"] = True
        return _held(release, HELD, f"Nothing could be seen: {problem or 'the cluster did not answer'}", at, run_id)
    foreign = strangers(release, live)
    if foreign:
        _forget(soak)
        return _held(release, RESET, " ".join(foreign), at, run_id)
    off = abs((now - reference).total_seconds()) if reference is not None else 0.0
    ahead = f"This machine's clock is {span(off)} off the store's." if off > CLOCK_TOLERANCE else ""
    last: Dict[str, Any] = soak.get("last") or {}
    stay: Dict[str, Any] = soak.get("stay") or {}
    first = not last or not stay
    seconds = 0.0 if first else (now - moment_of(last["at"])).total_seconds()
    summary = between(
        {} if first else last["pods"],
        live.pods,
        at if first else last["at"],
        at,
        max(0.0, seconds),
        _known(release, options),
    )
    if first:
        # What came before the soak is judged by what cannot be a start's: neither a restart nor a slow first answer.
        summary.restarts = 0
    kinds = _open_kinds(release, summary, options)
    before = release.baseline if baseline is None else baseline
    verdict = judge(summary, before, options, _of_stay(release), kinds)
    summary.verdict, summary.reasons = verdict.verdict, verdict.reasons
    failures = [
        each for each in verdict.judgements if each.verdict == FAILED and not (first and each.measure == "latency")
    ]
    if failures:
        text = " ".join(each.text for each in failures)
        release.samples = kept(release.samples, summary)
        release.becomes(RELEASE_FAILED, text, run_id=run_id, at=at, phase="undo")
        return Tick(FAILURE, text, [each.text for each in failures], summary)
    if ahead:
        # Nothing of it may count, nor move what later ticks count from.
        return _held(release, CLOCK, ahead, at, run_id)
    changed = [] if first else drift(stay, live)
    if live.unsettled and (first or changed):
        # A stay begins with pods that are to stay.
        _forget(soak)
        return _held(release, RESET if changed else HELD, " ".join([*changed, live.unsettled]), at, run_id)
    if first or changed:
        text = f"The soak begins anew: {' '.join(changed)}" if changed else "The soak begins."
        return _begin(release, live, now, text, RESET if changed else BEGUN, kinds, run_id, changed)
    if not seconds:
        # Nothing was measured: what held a moment ago, as another tick found, still does.
        still = [*hindered, *(each for each in (live.unsettled, soak.get("hold")) if each)]
        if still:
            return Tick(HELD, " ".join(still), still)
        return Tick(COUNTED, "Less than a second has passed since the last tick: there is nothing to count yet.")
    soak["kinds"] = kinds
    soak["last"] = _last(live, now, last)
    if seconds < 0:
        text = f"The last tick was at {last['at']}, which is yet to come: a clock was set back. Nothing counts."
        _not_more_than_passed(soak, now)
        return _held(release, CLOCK, text, at, run_id)
    blind, soak["blind"] = soak.get("blind", False), False
    if seconds > soak["wanted"]["max_gap"]:
        text = f"Nobody looked for {span(seconds)}, of at most {span(soak['wanted']['max_gap'])}: that does not count."
        return _held(release, GAP, text, at, run_id, [text, *verdict.reasons], summary)
    reasons = [*hindered, *([live.unsettled] if live.unsettled else []), *verdict.reasons]
    if blind:
        reasons.append("Since the last tick that saw anything, nothing could be seen.")
    if reasons or verdict.verdict != HEALTHY:
        text = f"It holds: {' '.join(reasons) or 'nothing was measured.'}"
        return _held(release, HELD, text, at, run_id, reasons, summary)
    return _counted(release, summary, seconds, market_seconds, run_id, at)


def _held(
    release: Release,
    outcome: str,
    text: str,
    at: str,
    run_id: str,
    reasons: Optional[List[str]] = None,
    summary: Optional[Summary] = None,
) -> Tick:
    """Nothing counts, and the record says why, once."""
    soak = release.soak
    text = text if text.endswith(".") else f"{text}."
    if soak.get("hold") != text:
        release.happened("hold" if outcome == HELD else outcome, text, run_id=run_id, at=at)
    soak["hold"] = text
    if summary is not None:
        summary.verdict, summary.reasons = INCONCLUSIVE, reasons or [text]
        soak["held"] += summary.seconds
        release.samples = kept(release.samples, summary)
    return Tick(outcome, text, reasons or [text], summary)


def _counted(
    release: Release, summary: Summary, seconds: float, market_seconds: Optional[float], run_id: str, at: str
) -> Tick:
    soak = release.soak
    if soak.get("hold"):
        release.happened("resumed", "Data says that it is healthy: the soak goes on.", run_id=run_id, at=at)
    soak["hold"] = ""
    summary.counted = seconds
    soak["counted"] += seconds
    soak["requests"] += summary.requests or 0.0
    if market_seconds is not None:
        soak["market"] += min(market_seconds, seconds)
    release.samples = kept(release.samples, summary)
    hours = soak["wanted"]["hours"]
    text = f"{span(soak['counted'])} of {span(hours * 3600)} are soaked."
    return Tick(COUNTED, text, [], summary)


def _begin(
    release: Release,
    live: Live,
    now: datetime,
    text: str,
    outcome: str,
    kinds: Dict[str, Any],
    run_id: str,
    reasons: List[str],
) -> Tick:
    """A stay begins with what is there now."""
    soak, at = release.soak, text_of(now)
    soak.update(since=at, stay=live.identity(), last=_last(live, now, {}), hold="", blind=False, kinds=kinds)
    soak.update(counted=0.0, market=0.0, requests=0.0, held=0.0)
    soak["resets"] = int(soak.get("resets", 0)) + (outcome == RESET)
    release.happened(outcome, text, run_id=run_id, at=at)
    return Tick(outcome, text, reasons)


def _forget(soak: Dict[str, Any]) -> None:
    """What runs is something else: what was counted is gone."""
    if soak.get("stay"):
        soak["resets"] = int(soak.get("resets", 0)) + 1
    # But no new kind of error: that holds until somebody has looked at it. What is still in the log is counted anew.
    kinds = {name: {**kind, "count": 1} for name, kind in (soak.get("kinds") or {}).items()}
    soak.update(since=None, stay=None, last=None, kinds=kinds, counted=0.0, market=0.0, requests=0.0, held=0.0)


def _not_more_than_passed(soak: Dict[str, Any], now: datetime) -> None:
    """By a clock that was ahead too much may have been counted: no more than has passed since the stay began."""
    passed = max(0.0, (now - moment_of(soak["since"])).total_seconds())
    if passed <= 0:
        soak["since"] = text_of(now)
    for name in ("counted", "market"):
        soak[name] = min(soak[name], passed)


def _last(live: Live, now: datetime, before: Mapping[str, Any]) -> Dict[str, Any]:
    return {"at": text_of(now), "pods": looked_at(live.pods, before.get("pods") or {})}


def _of_stay(release: Release) -> List[Dict[str, Any]]:
    """The samples of this stay."""
    since = release.soak.get("since") or ""
    return [each for each in release.samples if each["since"] >= since]


def _known(release: Release, options: Mapping[str, Any]) -> Dict[str, Any]:
    """Kinds of log lines that are not new: those of the previous version, and those that somebody accepted."""
    return {**(release.baseline.get("kinds") or {}), **dict.fromkeys(options["known_errors"])}


def _open_kinds(release: Release, summary: Summary, options: Mapping[str, Any]) -> Dict[str, Dict[str, Any]]:
    """New kinds of errors of this stay that nobody has accepted: one that was seen once does not pass by itself."""
    known = _known(release, options)
    found = {name: dict(kind) for name, kind in (release.soak.get("kinds") or {}).items() if name not in known}
    for name, kind in summary.kinds.items():
        if name in found:
            found[name]["count"] += kind["count"]
        elif len(found) < MOST_OPEN:
            found[name] = dict(kind)
    return found
