# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tick carried out: the record read, the cluster looked at, judged, written; and undone at once what has failed."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, List, Mapping, Optional, Tuple

from .._checks.calendar import UnknownCalendar, parse
from .._gates.market import Times
from .._gates.windows import merged
from .._helm.client import HELM_SPEC
from .._kubernetes.client import CLUSTER_SPEC
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check
from ..database import DATABASE_SPEC
from ..errors import ClusterError, ConfigurationError, StorageError
from ..storage import STORAGE_SPEC
from ..words import plural, span
from . import chart_undo, soak, steps
from .eligibility import Verdict, eligible
from .live import Live
from .live import read as read_live
from .measures import ANALYSIS_SPEC
from .record import (
    FAILED,
    PROMOTED,
    ROLLING_OUT,
    SOAKING,
    STAGED,
    UNDONE,
    ConflictError,
    Release,
    Stored,
    moment_of,
    said,
)
from .session import Outcome, Session
from .undo import undone_at_once

#: What leads to a release and its record: options of a soak and of a promotion.
PLACE_SPEC: Dict[str, Any] = {
    "environment_name": {"type": "str", "required": True},
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "kubernetes": {**CLUSTER_SPEC, "apply_defaults": True},
    "application": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "deployment": {"type": "str", "required": True},
    "container": {"type": "str", "required": True},
    "port": {"type": "int", "default": 3000},
    "analysis": ANALYSIS_SPEC,
}
#: Argument spec of the action release_soak, without "run".
SPEC: Dict[str, Any] = {
    **PLACE_SPEC,
    **soak.WANTED_SPEC,
    "market_calendars": {"type": "list", "elements": "str", "default": []},
    "calendars": {"type": "dict", "default": {}},
    "undo_on_failure": {"type": "bool", "default": True},
    "advance": {"type": "str", "choices": [steps.TAKE, steps.WAIT, steps.ONLY], "default": steps.TAKE},
    "database": {"type": "dict", "options": DATABASE_SPEC},
    "helm": HELM_SPEC,
    "deadline": {"type": "int", "default": 900},
    "ready_slack": {"type": "int", "default": 15},
    "steady": {"type": "float", "default": 3.0},
    "interval": {"type": "float", "default": 1.0},
}
#: What an undo asks for besides; a tick passes nothing by.
UNDO_OPTIONS: Dict[str, Any] = {"overrides": [], "reason": ""}

#: Seconds after which a rollout of which nothing was heard counts as left alone.
LEFT_ALONE = 3600
STATUS = {
    soak.COUNTED: OK,
    soak.BEGUN: OK,
    soak.HELD: UNKNOWN,
    soak.RESET: WARNING,
    soak.GAP: WARNING,
    soak.CLOCK: WARNING,
    soak.FAILURE: CRITICAL,
}
REMEDY = {
    soak.HELD: "It counts again once data says that it is healthy; find out why there is none.",
    soak.RESET: "See who changed it, and why. The soak begins anew.",
    soak.GAP: "Let cron or AWX run playbooks/soak.yml more often than release_soak_max_gap.",
    soak.CLOCK: "Synchronise the clock of this machine (chrony or systemd-timesyncd).",
    soak.FAILURE: "Read the pods' logs for what failed; release a repaired version.",
}


@dataclass
class Ticked:
    """What came of a tick.

    :param release: as it stands in the record now; None when there is none
    :param tick: None when nothing soaks
    :param undone: what came of the undo; None when none was needed
    :param stage: what came of the next step; None when none was taken
    :param due: whether there is one to be taken
    """

    release: Optional[Release]
    tick: Optional[soak.Tick] = None
    undone: Optional[Outcome] = None
    stage: Optional[Outcome] = None
    due: bool = False
    eligible: Optional[Verdict] = None
    checks: List[Check] = field(default_factory=list)
    changed: bool = False


def checked(options: Mapping[str, Any]) -> None:
    """
    :raises ConfigurationError: an option makes no sense
    """
    for name in ("hours", "requests", "market_minutes"):
        if not options[name] >= 0:
            raise ConfigurationError(f"{name} is {options[name]}: it cannot be below 0.", "Correct it.")
    if not 0 < options["max_gap"] < float("inf"):
        raise ConfigurationError(f"max_gap is {options['max_gap']}: that is no number of seconds.", "Correct it.")
    if options["market_minutes"] and not options["market_calendars"]:
        raise ConfigurationError(
            "Minutes of an open market are wanted, and no market is named.",
            "Name its calendar: release_soak_market_calendars.",
        )
    if options["market_calendars"]:
        now = datetime.now(timezone.utc)
        open_seconds(options, now, now)


def run(session: Session, now: Optional[datetime] = None, *, dry_run: bool = False) -> Ticked:
    """One tick.

    :param session: with options of SPEC and UNDO_OPTIONS
    :param dry_run: only say what it would come to
    :raises StorageError: the store does not answer: nothing was counted, nothing is undone
    :raises ReleaseError: the record is not understood
    """
    for last_try in (False, True):
        try:
            return _once(session, now, dry_run)
        except ConflictError:
            # Another tick, or a release, was first. What it wrote is judged anew, once.
            if last_try:
                raise
    raise ConfigurationError("Unreachable.")


def _once(session: Session, now: Optional[datetime], dry_run: bool) -> Ticked:
    stored = session.stored()
    if stored is None:
        text = f"No release to {session.namespace} is on the record: nothing soaks."
        return Ticked(None, checks=[Check("release.soak", "Soak", OK, "nothing", message=text)])
    if dry_run:
        stored = Stored(deepcopy(stored.release), stored.etag)
    release = stored.release
    if release.state == FAILED:
        return _failed(session, stored, dry_run)
    if release.state not in (SOAKING, *STAGED):
        return Ticked(release, checks=[_idle(release, now or datetime.now(timezone.utc))])
    if session.options["advance"] == steps.ONLY:
        at = now or datetime.now(timezone.utc)
        result = Ticked(release, due=steps.still_due(release, at, session.options["max_gap"]))
        _staged(session, stored, result, dry_run)
        return result
    # Before the look: what pods log in the course of it is for the next tick to read.
    moment = now or datetime.now(timezone.utc)
    live, problem = _look(steps.watched(session, release), release)
    last = (release.soak.get("last") or {}).get("at")
    options = session.options
    seconds = open_seconds(options, moment_of(last), moment) if last and options["market_calendars"] else None
    wanted = steps.wanted(release, {name: options[name] for name in soak.WANTED_SPEC})
    beside = steps.beside(session, release, moment.replace(microsecond=0))
    known = [*options["analysis"]["known_errors"], *beside.kinds]
    reference = None
    if stored.clock is not None and stored.read_at and now is None:
        # The store said what time it is when it was asked, and not now.
        reference = stored.clock + (moment - stored.read_at)
    done = soak.tick(
        release,
        live,
        moment,
        wanted,
        {**options["analysis"], "known_errors": known},
        problem=problem,
        market_seconds=seconds,
        reference=reference,
        run_id=session.run_id,
        baseline=beside.baseline,
        hindered=beside.hindered,
    )
    result = Ticked(release, done, changed=True, due=steps.marked(release, done, moment))
    if not dry_run:
        # Before anything is undone: who loses the race to write it does nothing.
        try:
            stored = session.save(stored)
        except StorageError as error:
            if not done.failed:
                raise
            # Another release may have begun meanwhile, and nobody would know what is undone.
            text = f"{done.text} It is not undone, as that cannot be recorded: {error.message}"
            check = _check(release, done)
            check.message, check.remedy = text, f"{error.remedy} The next tick undoes it, or release_action=undo does."
            return Ticked(release, done, checks=[check])
        result.release = stored.release
    if done.failed:
        result.checks.append(_check(release, done))
        if not dry_run:
            _undone(session, stored, done.text, result)
        return result
    unable = chart_undo.unable(session, release) if options["undo_on_failure"] else []
    if release.state in STAGED:
        result.checks += [*unable, _check(release, done), *beside.checks]
        _staged(session, stored, result, dry_run)
        return result
    result.eligible = eligible(release, moment, live)
    result.checks += [_check(release, done), _eligible(release, result.eligible), *unable]
    return result


def _staged(session: Session, stored: Stored, result: Ticked, dry_run: bool) -> None:
    """The next step of a release that comes in stages, when it is due and may be taken."""
    release = stored.release
    if not result.due or dry_run or session.options["advance"] == steps.WAIT:
        result.checks.append(steps.stage_check(release, waits=result.due))
        return
    found = steps.advanced(session, stored)
    result.stage, result.changed = found.outcome, True
    result.checks += found.outcome.checks
    if found.stored is not None:
        result.release, result.due = found.stored.release, False
    if found.failed and found.stored is not None:
        _undone(session, found.stored, found.failed, result)


def _look(session: Session, release: Release) -> Tuple[Optional[Live], str]:
    """What runs, or why that could not be seen."""
    since = (release.soak.get("last") or {}).get("at") or release.verified_at or release.began_at
    options = session.measured_by
    wants_logs = "logs" in options["measures"]
    try:
        found = read_live(
            session.cluster,
            session.namespace,
            session.options["deployment"],
            session.container,
            options,
            log_since=moment_of(since) if wants_logs else None,
            earlier=(release.soak.get("last") or {}).get("pods"),
        )
        return found, ""
    except ClusterError as error:
        return None, error.message
    except Exception as error:
        return None, f"What the cluster says was not understood ({type(error).__name__})"


def _failed(session: Session, stored: Stored, dry_run: bool) -> Ticked:
    """A release that has failed and is not undone: a tick was killed in between, or the undo was refused."""
    release = stored.release
    text = f"Release {release.id} ({release.tag}) has failed and is not undone: {release.reason}"
    remedy = "Undo it: playbooks/release.yml -e release_action=undo."
    check = Check("release.soak", "Soak", CRITICAL, "failed", message=text, remedy=remedy)
    result = Ticked(release, checks=[check])
    if release.phase == "undo" and not dry_run:
        _undone(session, stored, release.reason, result)
    if result.release is not None and result.release.state == UNDONE:
        check.message = f"Release {release.id} ({release.tag}) had failed, and is undone now: {release.reason}"
        check.remedy = REMEDY[soak.FAILURE]
    return result


def _undone(session: Session, stored: Stored, why: str, result: Ticked) -> None:
    """Undoes at once; what hinders it is a finding."""
    if not session.options["undo_on_failure"]:
        return
    outcome, checks = undone_at_once(session, stored, why)
    result.checks += checks
    if outcome is None:
        return
    result.undone = outcome
    if outcome.nothing and not checks:
        text = outcome.nothing
        result.checks.append(Check("release.undone", "Back on last-good", CRITICAL, "nothing", message=text))
    fresh = session.stored()
    result.release = fresh.release if fresh else result.release


def _idle(release: Release, now: datetime) -> Check:
    """That nothing soaks, and why. Where a rollout was left alone, nobody watches what it has done so far."""
    state = said(release.state)
    text = f"Release {release.id} ({release.tag}) is {state}: nothing soaks."
    if release.state == ROLLING_OUT:
        text = (
            f"Release {release.id} ({release.tag}) is being rolled out since {release.began_at}: it soaks afterwards."
        )
        if release.events and (now - moment_of(release.events[-1].at)).total_seconds() > LEFT_ALONE:
            text += f" Nothing has been heard of its run {release.run_id} since {release.events[-1].at}."
            remedy = "Release the same version again, which goes on with it; or undo it."
            return Check("release.soak", "Soak", WARNING, state, message=text, remedy=remedy)
    elif release.state != PROMOTED and release.reason:
        text += f" {release.reason}"
    return Check("release.soak", "Soak", OK, state, message=text)


def _check(release: Release, done: soak.Tick) -> Check:
    kept = release.soak
    hours = round(kept["counted"] / 3600, 3)
    details: Dict[str, Any] = {
        "release": release.id,
        "version": release.tag,
        "digest": release.digest,
        "outcome": done.outcome,
        "reasons": done.reasons,
        "since": kept.get("since"),
        "counted_s": round(kept["counted"]),
        "held_s": round(kept["held"]),
        "requests": kept["requests"],
        "resets": kept.get("resets", 0),
        "wanted": kept["wanted"],
    }
    status = STATUS[done.outcome]
    value: Any = None if status == UNKNOWN else "failed" if done.failed else hours
    check = Check("release.soak", f"Soak of {release.tag}", status, value, message=done.text, details=details)
    check.unit = "h" if value == hours else ""
    check.remedy = REMEDY.get(done.outcome, "")
    check.source = "metrics and logs of pods, API of Kubernetes"
    return check


def _eligible(release: Release, verdict: Verdict) -> Check:
    """Whether it may be promoted. That it may not yet is nothing wrong."""
    details = verdict.as_data()
    value = "eligible" if verdict.eligible else "not yet"
    text = f"{release.tag}: {verdict.text}"
    return Check("release.eligible", f"Promotion of {release.tag}", OK, value, message=text, details=details)


def open_seconds(options: Mapping[str, Any], since: datetime, until: datetime) -> Optional[float]:
    """Seconds of an interval in which one of the markets was open; None when nobody knows.

    :param options: market_calendars (names), calendars (the operator's own)
    :raises ConfigurationError: calendars make no sense, or a name that nobody knows
    """
    own = parse(options["calendars"])
    begins, ends = since.timestamp(), until.timestamp()
    times = Times(own, min(begins, ends), max(begins, ends))
    sessions: List[Tuple[float, float]] = []
    for name in options["market_calendars"]:
        try:
            found, known_until = times.sessions(name)
        except UnknownCalendar as error:
            raise ConfigurationError(f"{name}: {error.message}", error.remedy) from None
        if known_until < ends:
            return None
        sessions += found
    overlap = (min(closes, ends) - max(opens, begins) for opens, closes in merged(sessions))
    return float(sum(each for each in overlap if each > 0))


def told(ticked: Ticked) -> str:
    """A line for the screen."""
    release, done = ticked.release, ticked.tick
    if release is not None and done is None and ticked.stage is not None:
        return f"{release.tag}: {steps.stage_check(release).message}"
    if release is None or done is None:
        return ticked.checks[0].message
    kept = release.soak
    if release.state in STAGED or ticked.stage is not None:
        return f"{release.tag}: {done.outcome}; {steps.stage_check(release, waits=ticked.due).message}"
    return (
        f"{release.tag}: {done.outcome}; {span(kept['counted'])} of {span(kept['wanted']['hours'] * 3600)},"
        f" {plural(int(kept.get('resets', 0)), 'reset')}."
    )
