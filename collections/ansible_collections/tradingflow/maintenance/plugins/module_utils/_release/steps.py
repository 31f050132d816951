# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a tick does with a release that comes in stages: it is judged against the version of before as that is at the
same time, and goes to its next step when this one was healthy for its time. Until then nothing moves, however long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, List, Mapping, Optional

from .._kubernetes.client import path_of
from .._kubernetes.services import said as selected
from .._kubernetes.services import selector_of
from .._kubernetes.workloads import template_hash, with_image
from ..checks import CRITICAL, OK, UNKNOWN, Check
from ..errors import ClusterError, MaintenanceError
from ..words import plural
from . import second, soak, stages, strategies
from .analysis import baseline_of
from .live import Live
from .live import read as read_live
from .options import GRADUAL
from .record import FAILED, STAGED, STEPPING, SWITCHED, LastGood, Release, Stored, moment_of, text_of
from .retirement import back_check
from .samples import Summary, between, looked_at
from .session import Outcome, Session

#: What a tick does with a step that is due: takes it, leaves it to somebody who may be asked first, or does only that.
TAKE, WAIT, ONLY = "take", "wait", "only"
#: What a tick that was killed had begun.
BEGUN = ("scaling", "converging")


@dataclass
class Beside:
    """What else there is than the new version.

    :param baseline: of the version of before, in the same time; None: what was measured before the release
    :param hindered: why nothing may count, as sentences
    :param kinds: of errors that the version of before logs too
    :param checks: for the report
    """

    baseline: Optional[Dict[str, Any]] = None
    hindered: List[str] = field(default_factory=list)
    kinds: List[str] = field(default_factory=list)
    checks: List[Check] = field(default_factory=list)


def watched(session: Session, release: Release) -> Session:
    """On the Deployment that has the new version."""
    return second.session_of(session, release) if release.state in STAGED else session


def wanted(release: Release, given: Mapping[str, Any]) -> Dict[str, Any]:
    """What the soak, or this step, must have (soak.WANTED_SPEC)."""
    if release.state != STEPPING:
        return dict(given)
    step = release.strategy["steps"][release.strategy["step"]]
    return {**given, "hours": float(step["minutes"]) / 60, "requests": 0, "market_minutes": 0.0}


def beside(session: Session, release: Release, now: datetime) -> Beside:
    """Looks at the version of before, and at the Service. The release's strategy keeps what the next tick needs."""
    if release.state not in STAGED:
        return Beside()
    found = Beside()
    try:
        if release.state == SWITCHED:
            found.checks.append(back_check(session, release))
        found.hindered += _service(session, release)
        if release.state == STEPPING and release.phase != "converging":
            _measured(session, release, now, found)
    except ClusterError as error:
        found.hindered.append(f"The version of before could not be seen: {error.message.rstrip('.')}.")
    except Exception as error:
        found.hindered.append(f"What is said of the version of before was not understood ({type(error).__name__}).")
    return found


def _service(session: Session, release: Release) -> List[str]:
    """Whether somebody else has switched it."""
    strategy, name = release.strategy, release.strategy["service"]
    now = selector_of(session.cluster.get(path_of("Service", session.namespace, name)))
    if now == strategy["helper_selector"]:
        return []
    if release.state == SWITCHED and release.phase == "retiring" and now == strategy["main_selector"]:
        return []
    return [f"The Service {name} was switched by hand: it selects {selected(now)}."]


def _measured(session: Session, release: Release, now: datetime, found: Beside) -> None:
    """The version of before in the same time: its measures, and whether it is still what it was."""
    strategy, options, at = release.strategy, session.measured_by, text_of(now)
    earlier: Dict[str, Any] = strategy.get("beside") or {}
    since = moment_of(earlier["at"]) if earlier else now
    live = read_live(
        session.cluster,
        session.namespace,
        release.deployment,
        session.container,
        options,
        log_since=(since if earlier else moment_of(release.began_at)) if "logs" in options["measures"] else None,
        whole_log=False,
    )
    found.kinds = sorted({name for pod in live.pods for name in pod.kinds})
    found.hindered += _changed(release, live)
    if earlier:
        seconds = max(0.0, (now - since).total_seconds())
        summary = between(earlier["pods"], live.pods, earlier["at"], at, seconds, {})
        found.baseline = _baseline(summary, options)
        missing = {name: why for name, why in summary.missing.items() if name in options["measures"]}
        found.hindered += [f"No data of {name} of the version of before: {why}." for name, why in missing.items()]
    else:
        found.baseline = baseline_of(live.pods, options, at)
    # What it does not say now is as it was before the release: against nothing, all would be too much.
    known = {name: value for name, value in found.baseline.items() if value is not None}
    found.baseline = {**release.baseline, **known}
    strategy["beside"] = {"at": at, "pods": looked_at(live.pods, earlier.get("pods") or {})}


def _changed(release: Release, live: Live) -> List[str]:
    """What somebody has changed of the version of before meanwhile."""
    previous, found = release.previous, []
    if previous is not None and live.digest is not None and live.digest != previous.digest:
        found.append(f"{release.deployment} has another image than before: {live.digest}.")
    elif previous is not None and live.template_hash not in _hashes(previous, release.container):
        found.append(f"The pod template of {release.deployment} was changed, or it was restarted by hand.")
    if live.replicas != release.strategy["replicas"]:
        text = f"{release.deployment} was scaled from {release.strategy['replicas']} to {live.replicas}"
        found.append(f"{text}, so that shares are others; scale it back, or undo the release.")
    if live.unsettled:
        found.append(f"{release.deployment}: {live.unsettled}")
    return found


def _hashes(previous: LastGood, name: str) -> List[str]:
    """Of the pod template of before, named by its digest, or as it was."""
    was = previous.more.get("was")
    found = [previous.template, *([with_image(previous.template, name, was)] if isinstance(was, str) else [])]
    return [template_hash(each) for each in found]


def _baseline(summary: Summary, options: Mapping[str, Any]) -> Dict[str, Any]:
    """As analysis.baseline_of, of one interval."""
    enough = summary.requests is not None and summary.requests >= max(1, options["minimum"])
    p95 = summary.p95 if enough and summary.p95 and summary.p95[1] is not None else None
    share = summary.error_percent if enough else None
    return {"error_percent": share, "p95": p95, "memory": summary.memory, "kinds": {}}


def due(release: Release, done: soak.Tick) -> bool:
    """Whether there is a step to take now: this one was healthy for its time, or one that was begun has not ended."""
    if release.state != STEPPING or done.failed:
        return False
    if release.phase in BEGUN:
        return True
    step = release.strategy["steps"][release.strategy["step"]]
    return done.outcome == soak.COUNTED and release.soak["counted"] >= 60 * float(step["minutes"])


def marked(release: Release, done: soak.Tick, now: datetime) -> bool:
    """See due(); and the record says since when, for whoever takes the step after having asked."""
    if release.state not in STAGED:
        return False
    found = due(release, done)
    release.strategy["due"] = text_of(now) if found else None
    return found


def still_due(release: Release, now: datetime, most: float) -> bool:
    """Whether the last tick found that there is a step to take, and that is not too long ago.

    :param most: seconds
    """
    at = release.strategy.get("due")
    return release.state == STEPPING and bool(at) and 0 <= (now - moment_of(str(at))).total_seconds() <= most


@dataclass
class Advanced:
    """What came of going on.

    :param stored: the record, as it lies there now; None when that is not known
    :param failed: why it has to be undone; empty when it has not
    """

    outcome: Outcome
    stored: Optional[Stored]
    failed: str = ""


def advanced(session: Session, stored: Stored) -> Advanced:
    """The next step. What hinders it is a check, and no error: the next tick goes on."""
    outcome, release = Outcome(), stored.release
    strategy = release.strategy
    at = f"step {strategy['step'] + 1} of {len(strategy['steps'])}"
    try:
        came = strategies.stepped(session, stored, outcome)
        if came.state == strategies.COMPLETE:
            outcome.checks.append(stage_check(came.stored.release))
            return Advanced(outcome, came.stored)
        release = came.stored.release
        if came.state == strategies.BROKEN:
            release.becomes(FAILED, came.text, run_id=session.run_id, phase="undo")
            return Advanced(outcome, session.save(came.stored), came.text)
        release.happened(came.state, came.text, run_id=session.run_id)
        session.save(came.stored)
        text, remedy = came.text, "See who did, and why; the next tick tries again, or undo the release."
        status = CRITICAL if came.state == strategies.DRIFTED else UNKNOWN
    except MaintenanceError as error:
        text, remedy, status = error.message, f"{error.remedy} The next tick goes on.".strip(), UNKNOWN
    outcome.failed = text
    value = None if status == UNKNOWN else at
    outcome.checks.append(Check("release.stage", "Stage", status, value, message=text, remedy=remedy))
    return Advanced(outcome, None)


def stage_check(release: Release, waits: bool = False) -> Check:
    """In which stage it is.

    :param waits: for somebody who may take the next step
    """
    strategy = release.strategy
    if release.state == STEPPING and strategy["kind"] == GRADUAL:
        number, of = int(strategy["step"]) + 1, len(strategy["steps"])
        pods = stages.pods_wanted(strategy)
        text = f"Step {number} of {of}: {plural(pods, 'pod')} of {pods + int(strategy['replicas'])} of {release.tag}."
        if waits:
            text += " It has had its time: the next step waits until it is allowed."
        return Check("release.stage", "Stage", OK, f"{number} of {of}", message=text)
    text = f"{strategy['helper']} has all requests." if release.state == SWITCHED else f"{release.tag} is through."
    return Check("release.stage", "Stage", OK, release.state, message=text)
