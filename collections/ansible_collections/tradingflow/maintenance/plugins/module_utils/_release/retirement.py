# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end of a release by blue_green: all requests back to the first colour, or the version of before retired."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import List, Optional

from .._kubernetes.client import Missing, path_of
from .._kubernetes.services import selector_of
from .._kubernetes.workloads import same_template
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check
from ..errors import ClusterError, MaintenanceError
from ..words import span
from . import second
from .last_good import image_of, is_back, released_template
from .options import BLUE_GREEN
from .preflight import Finding
from .record import FAILED, SWITCHED, Release, Stored, moment_of, said, text_of
from .session import Outcome, Session
from .soak import CLOCK_TOLERANCE
from .strategies import BROKEN, COMPLETE, DRIFTED, added, ended, promised
from .undo import undo, written


def switch_back(session: Session, stored: Optional[Stored], why: str, *, dry_run: bool = False) -> Outcome:
    """All requests to the first colour, at once, and the second one gone; refused where that cannot be kept.

    :param why: one sentence, for the record
    :raises MaintenanceError: the cluster or the store does not answer
    """
    release = stored.release if stored else None
    if (
        stored is None
        or release is None
        or release.strategy.get("kind") != BLUE_GREEN
        or release.state not in (SWITCHED, FAILED)
    ):
        state = f"Release {release.id} is {said(release.state)}" if release else "No release is on the record"
        text = f"{state}: there is no second colour to switch back from."
        return _refused(
            Finding("switch_back", "the second colour", CRITICAL, None, text, "Undo it (release_action=undo).")
        )
    hindered = second.ready(session, release)
    if hindered:
        text = f"It cannot be switched back at once: {hindered}"
        remedy = f"Get {release.deployment} ready; release_action=undo does that first, and takes as long as a rollout."
        return _refused(Finding("switch_back", "the version of before", CRITICAL, hindered, text, remedy))
    return undo(session, stored, why, dry_run=dry_run)


def _refused(finding: Finding) -> Outcome:
    outcome = Outcome()
    outcome.findings = [finding]
    return outcome


def retire(session: Session, stored: Optional[Stored], *, dry_run: bool = False) -> Outcome:
    """Gives up the version of before: the first Deployment gets the new one, and all requests; the second colour goes.

    Never before its delay, and never while the Service sends requests to the version of before.

    :raises MaintenanceError: the cluster or the store does not answer
    """
    release = stored.release if stored else None
    if release is not None and release.strategy.get("retired"):
        outcome = Outcome()
        outcome.nothing = f"The version of before release {release.id} was retired at {release.strategy['retired']}."
        outcome.checks = [Check("release.retired", "Retired", OK, "nothing to do", message=outcome.nothing)]
        return outcome
    if stored is None or release is None or release.state != SWITCHED:
        state = f"Release {release.id} is {said(release.state)}" if release else "No release is on the record"
        return _refused(
            Finding("retire", "what is retired", CRITICAL, None, f"{state}: there is nothing to retire.", "")
        )
    outcome = Outcome()
    before = release.previous.image if release.previous else ""
    outcome.before, outcome.after = {"image": before}, {"image": image_of(release)}
    outcome.record = {"release": release.id, "digest": release.digest, "version": release.tag, "retired": before}
    outcome.findings = _may_retire(session, stored)
    if outcome.forbidden or dry_run:
        return outcome
    try:
        release.strategy["promise"] = False
        stored = session.save(stored, "retiring")
        came = ended(session, stored, outcome)
    except MaintenanceError as error:
        outcome.failed = error.message
        remedy = f"{error.remedy} Then run it again: it goes on.".strip()
        outcome.checks.append(Check("release.finished", "Retired", UNKNOWN, None, message=error.message, remedy=remedy))
        return outcome
    if came.state == COMPLETE:
        outcome.checks.append(Check("release.retired", "Retired", OK, before, message=came.text))
        return outcome
    outcome.failed = came.text
    if came.state == BROKEN:
        _put_back(session, came.stored, outcome)
    else:
        came.stored.release.happened(came.state, came.text, run_id=session.run_id)
        session.save(came.stored)
        status = CRITICAL if came.state == DRIFTED else UNKNOWN
        remedy = "See who did, and why; then retire it again, or undo the release."
        outcome.checks.append(
            Check(
                "release.retired", "Retired", status, None if status == UNKNOWN else 0, message=came.text, remedy=remedy
            )
        )
    return outcome


def _put_back(session: Session, stored: Stored, outcome: Outcome) -> None:
    """The first Deployment did not come up with the version, which the second has: back to before, so that it can be
    switched back again. No request was lost: none went there.
    """
    release, previous, seen = stored.release, stored.release.previous, session.look()
    service = session.cluster.get(path_of("Service", session.namespace, release.strategy["service"]))
    if selector_of(service) != release.strategy["helper_selector"]:
        # A run before was killed after the last switch: the requests are where it broke.
        if not second.whole(session, release):
            _left(session, stored, outcome)
            return
        second.switched(session, release, back=False)
    text = f"{outcome.failed} Requests go to {release.strategy['helper']} as before."
    if previous is not None and not is_back(seen, previous, session.container):
        written(session, seen, previous.template, f"undo of the retirement in release {release.id}")
        found = session.followed(previous.template, seen, (), [])
        added(outcome, found.events)
    why = second.ready(session, release)
    release.strategy["promise"] = not why
    release.happened("retire failed", f"{text} {promised(release.strategy, why)}", run_id=session.run_id)
    session.save(stored, "watching")
    remedy = "See the timeline; retire it again when that is repaired."
    outcome.checks.append(Check("release.retired", "Retired", CRITICAL, 0, message=text, remedy=remedy))


def _left(session: Session, stored: Stored, outcome: Outcome) -> None:
    """The first Deployment has the version and all requests, broke, and the second is not there to take them."""
    release = stored.release
    text = f"{outcome.failed} All requests go to it, as {release.strategy['helper']} is not whole any more."
    release.happened("retire failed", text, run_id=session.run_id)
    session.save(stored)
    remedy = "Undo the release, or repair what broke and retire it again."
    outcome.checks.append(Check("release.retired", "Retired", CRITICAL, 0, message=text, remedy=remedy))


def _may_retire(session: Session, stored: Stored) -> List[Finding]:
    """Whether the version of before may be given up now."""
    release = stored.release
    strategy, found = release.strategy, []
    due = moment_of(strategy["switched_at"]) + timedelta(minutes=float(strategy["retire_after"]))
    now = datetime.now(timezone.utc)
    if stored.clock is not None and stored.read_at is not None:
        # A clock that is ahead of the store's shortens nothing.
        now = min(now, stored.clock + (now - stored.read_at))
    left = (due - now).total_seconds()
    if left > 0:
        text = f"It may not be retired before {text_of(due)}: that is {span(left)} from now."
        found.append(Finding("delay", "its delay", CRITICAL, round(left), text, "Wait for it, or switch back."))
    else:
        found.append(Finding("delay", "its delay", OK, 0, f"Its delay has passed at {text_of(due)}."))
    title, name = "the Service", strategy["service"]
    selected = selector_of(session.cluster.get(path_of("Service", session.namespace, name)))
    resumed = release.phase == "retiring" and selected == strategy["main_selector"] and _has_it(session, stored)
    if selected == strategy["helper_selector"] or resumed:
        found.append(
            Finding("service", title, OK, name, f"The Service {name} sends no request to the version of before.")
        )
    else:
        text = f"The Service {name} does not send its requests to {strategy['helper']}: somebody has switched it."
        found.append(Finding("service", title, CRITICAL, name, text, "Undo the release, or switch it to where it was."))
    # At its end there may be no second colour any more, of which a tick could say anything.
    why, title = "" if resumed else _not_healthy(release, now), "what replaces it"
    if why:
        text = f"What runs is not known to be healthy: {why}"
        remedy = "See why, and run playbooks/soak.yml; or switch back."
        found.append(Finding("healthy", title, CRITICAL, "hold", text, remedy))
    elif not resumed:
        found.append(Finding("healthy", title, OK, release.tag, f"{strategy['helper']} was found healthy."))
    return found


def _not_healthy(release: Release, now: datetime) -> str:
    """Why it is not known whether the new version is healthy; empty when a tick found so just now."""
    kept = release.soak
    if kept.get("hold"):
        return str(kept["hold"])
    if not kept.get("stay") or not kept.get("last") or not kept.get("counted", 0.0) > 0:
        return "no tick has found it so yet."
    age, most = (now - moment_of(kept["last"]["at"])).total_seconds(), float(kept["wanted"]["max_gap"])
    if not -CLOCK_TOLERANCE <= age <= most:
        return f"the last tick was at {kept['last']['at']}, which is not within {span(most)}."
    return ""


def _has_it(session: Session, stored: Stored) -> bool:
    """Whether the first Deployment has the version."""
    wanted = released_template(stored.release)
    try:
        return wanted is not None and same_template(session.look().template, wanted)
    except Missing:
        return False


def back_check(session: Session, release: Release) -> Check:
    """Whether it can be switched back at once, asked now; the record says so too, once it is withdrawn."""
    id, unseen = "release.switch_back", ""
    try:
        why = second.ready(session, release)
        text = promised(release.strategy, why)
    except ClusterError as error:
        why = unseen = error.message
        text = f"Whether it can be switched back at once is not known: {why}"
    if why and release.strategy.get("promise"):
        release.happened("withdrawn", text, run_id=session.run_id)
    release.strategy["promise"] = not why
    if unseen:
        return Check(id, "Switch back", UNKNOWN, None, message=text, remedy="See that the cluster answers.")
    remedy = f"Get {release.deployment} ready again, or go on without a way back that takes seconds." if why else ""
    return Check(id, "Switch back", WARNING if why else OK, "no" if why else "at once", message=text, remedy=remedy)
