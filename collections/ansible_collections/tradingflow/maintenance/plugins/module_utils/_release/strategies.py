# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release in stages: its second Deployment comes, takes over, and goes when the first one has the version too."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, Mapping, Optional

from .._kubernetes.client import Conflict, Missing, path_of
from .._kubernetes.configuration import hashes
from .._kubernetes.workloads import Seen, differences, same_template, template_hash
from ..checks import CRITICAL, OK, Check
from ..errors import ConfigurationError, ReleaseError
from ..words import plural
from . import second, stages
from .flags import read_back
from .last_good import image_of, is_back, released_template
from .options import BLUE_GREEN, GRADUAL, ROLLING
from .preflight import Finding
from .record import SOAKING, STAGED, STEPPING, SWITCHED, Release, Stored, new, said, text_of
from .session import Outcome, Session, drift_check, rollout_check
from .undo import written
from .verified import verified

COMPLETE, BROKEN, DRIFTED, NOT_KNOWN = "complete", "failed", "drifted", "unknown"


@dataclass
class Came:
    """What came of a stage.

    :param stored: the record, as it lies there now
    :param state: complete, failed, drifted or unknown, as of a rollout
    :param text: why, one sentence
    """

    stored: Stored
    state: str
    text: str = ""


def begun(
    session: Session, stored: Stored, seen: Seen, wanted: Dict[str, Any], digests: tuple[str, ...], outcome: Outcome
) -> Came:
    """The second Deployment comes and is proven; by blue_green it then gets all requests.

    :param seen: the first Deployment
    :param wanted: its pod template with the new image
    :param digests: of which pods run one
    :param outcome: gets checks and events
    """
    release = stored.release
    strategy, options = release.strategy, session.options
    strategy["proof"] = {
        "digests": list(digests),
        "version": options["expected_version"] or release.tag,
        "health_path": options["health_path"],
        "flags": options["flags"],
        "flags_path": options["flags_path"],
        "version_path": options["version_path"],
    }
    stored = session.save(stored, "second")
    try:
        second.made(session, stored.release, seen, wanted, image_of(stored.release))
    except Conflict as error:
        return Came(stored, DRIFTED, error.message)
    outcome.changed = True
    came = arrived(session, stored, outcome)
    if came.state != COMPLETE:
        return came
    release = stored.release
    strategy = release.strategy
    if strategy["kind"] == GRADUAL:
        second.served(second.session_of(session, release), release)
        text = f"Step 1 of {len(strategy['steps'])}: {_share(strategy)}. {came.text}"
        release.becomes(STEPPING, text, run_id=session.run_id, phase="watching")
        return Came(session.save(stored), COMPLETE, text)
    stored = session.save(stored, "switching")
    return _taken_over(session, stored)


def _taken_over(session: Session, stored: Stored) -> Came:
    """All requests go to the second colour, when the first could take them back."""
    release = stored.release
    why = second.ready(session, release)
    if why:
        return Came(stored, BROKEN, f"The Service is not switched, as nothing could take over: {why}")
    if not second.whole(session, release):
        pods = plural(stages.pods_wanted(release.strategy), "pod")
        text = f"{release.strategy['helper']} has not all of its {pods} ready any more: the Service is left as it is."
        return Came(stored, NOT_KNOWN, text)
    try:
        second.switched(session, release, back=False)
    except Conflict as error:
        return Came(stored, DRIFTED, error.message)
    why = second.ready(session, release)
    strategy = release.strategy
    strategy.update(switched_at=text_of(datetime.now(timezone.utc)), promise=not why)
    text = f"All requests go to {strategy['helper']}. {promised(strategy, why)}"
    release.becomes(SWITCHED, text, run_id=session.run_id, phase="watching")
    return Came(session.save(stored), COMPLETE, text)


def on_its_way(release: Optional[Release], image: str, digest: str, outcome: Outcome) -> bool:
    """Whether a release of this digest is in a stage: then there is nothing to begin."""
    if release is None or release.state not in STAGED or release.digest != digest:
        return False
    how = "release_action=retire ends it" if release.state == SWITCHED else "playbooks/soak.yml goes on with it"
    outcome.nothing = f"Release {release.id} of {image} is {said(release.state)}: {how}."
    outcome.record["pending"] = release.state
    outcome.checks = [Check("release.rollout", "Rollout", OK, said(release.state), message=outcome.nothing)]
    return True


def planned(session: Session, seen: Seen) -> Dict[str, Any]:
    """How a release comes in stages, see stages.planned; empty when it just rolls.

    :raises ClusterError, ConfigurationError: that cannot be done here
    """
    if session.options["strategy"] == ROLLING:
        return {}
    name = session.options["service"] or session.options["deployment"]
    service = session.cluster.get(path_of("Service", session.namespace, name))
    return stages.planned(session.options, seen, service)


def looked(
    session: Session, seen: Seen, wanted: Dict[str, Any], image: str, release: Optional[Release]
) -> Iterator[Finding]:
    """Whether a release can come in stages, and its manifest is one: before anything is done.

    :param release: that is gone on with; None for a new one
    :raises MaintenanceError: what has to be seen cannot be
    """
    found = list(stages.looked(session, seen, release))
    yield from found
    if any(each.forbids for each in found):
        return
    options, title = session.options, "the manifest"
    given = (options["environment_name"], options["application"], session.namespace, options["deployment"])
    draft = release or new(
        *given, session.container, tag=options["version"], image=image, digest="", previous=None, actor="", run_id=""
    )
    if release is None:
        draft.strategy = planned(session, seen)
    try:
        objects = second.drafted(session, draft, seen, wanted, image)
    except ConfigurationError as error:
        yield Finding("manifest", title, CRITICAL, None, error.message, error.remedy)
        return
    kinds = ", ".join(f"{each['kind']} {each['metadata']['name']}" for each in objects)
    yield Finding("manifest", title, OK, len(objects), f"It makes {kinds}.")


def stage_check(came: Came) -> Check:
    """That it is in its first stage, and what comes next."""
    release = came.stored.release
    details = {name: release.strategy.get(name) for name in ("kind", "helper", "service", "replicas", "steps", "step")}
    if release.strategy["kind"] == GRADUAL:
        remedy = "playbooks/soak.yml goes on with it, step by step."
    else:
        remedy = (
            "playbooks/soak.yml watches it; release_action=switch_back takes it back, release_action=retire ends it."
        )
    return Check("release.stage", "Stage", OK, said(release.state), message=f"{came.text} {remedy}", details=details)


def promised(strategy: Mapping[str, Any], why: str) -> str:
    """What may be said of switching back.

    :param why: the first Deployment could not take over; empty when it could
    """
    if why:
        return f"It cannot be switched back at once any more: {why}"
    return "It can be switched back at once: the version of before is ready, with all its pods."


def arrived(session: Session, stored: Stored, outcome: Outcome) -> Came:
    """Follows the second Deployment until it is whole, and asks its pods what they are."""
    release = stored.release
    helper = second.session_of(session, release)
    proof: Mapping[str, Any] = release.strategy["proof"]
    drift: List[str] = []
    seen = helper.look()
    before = replace(seen, deployment={**seen.deployment, "spec": {**seen.deployment["spec"]}})
    before.deployment["spec"]["replicas"] = stages.pods_wanted(release.strategy)
    followed = helper.followed(seen.template, before, tuple(proof["digests"]), drift)
    added(outcome, followed.events)
    outcome.record.update(seconds=followed.seconds, noticed=followed.noticed, ended=followed.state)
    title = f"Rollout of {release.strategy['helper']}"
    outcome.checks += [rollout_check("release.rollout", title, followed), *drift_check(drift)]
    if followed.state != COMPLETE or followed.seen is None:
        return Came(stored, followed.state, followed.message)
    return _said_so(helper, stored, followed.seen, outcome)


def _said_so(session: Session, stored: Stored, seen: Seen, outcome: Outcome) -> Came:
    """Whether each pod says that it is well, and the version."""
    proof = stored.release.strategy["proof"]
    check = verified(
        session.cluster,
        session.namespace,
        seen.pods_of(seen.current()),
        port=session.options["port"],
        health_path=proof["health_path"],
        version_path=proof["version_path"],
        version=proof["version"],
    )
    outcome.checks = [each for each in outcome.checks if each.id != check.id] + [check]
    if check.status == OK and proof.get("flags"):
        pods, port = seen.pods_of(seen.current()), session.options["port"]
        check = read_back(session.cluster, session.namespace, pods, proof["flags"], port=port, path=proof["flags_path"])
        outcome.checks = [each for each in outcome.checks if each.id != check.id] + [check]
    state = {OK: COMPLETE, CRITICAL: BROKEN}.get(check.status, NOT_KNOWN)
    return Came(stored, state, check.message)


def added(outcome: Outcome, events: List[Dict[str, Any]]) -> None:
    """Events of one more rollout, after those before."""
    offset = outcome.events[-1]["seconds"] if outcome.events else 0.0
    outcome.events += [{**each, "seconds": round(each["seconds"] + offset, 3)} for each in events]


def _share(strategy: Mapping[str, Any]) -> str:
    pods = stages.pods_wanted(strategy)
    return (
        f"{plural(pods, 'pod')} of {pods + int(strategy['replicas'])}, {stages.share_of(strategy):g} % of the requests"
    )


def stepped(session: Session, stored: Stored, outcome: Outcome) -> Came:
    """The next step: more pods of the new version, or the first Deployment gets it and the second goes. Begun by
    somebody who was killed, it is gone on with.

    :raises MaintenanceError: nobody knows how far it came; it is gone on with
    """
    release = stored.release
    strategy, steps = release.strategy, release.strategy["steps"]
    strategy["due"] = None
    if release.phase == "watching" and strategy["step"] + 1 < len(steps):
        strategy["step"] += 1
        release.soak = {}
        stored = session.save(stored, "scaling")
    elif release.phase != "scaling":
        stored = session.save(stored, "converging")
        return ended(session, stored, outcome)
    release = stored.release
    strategy = release.strategy
    outcome.changed = second.scaled(session, release) or outcome.changed
    came = arrived(session, stored, outcome)
    if came.state != COMPLETE:
        return came
    second.served(second.session_of(session, release), release)
    text = f"Step {strategy['step'] + 1} of {len(steps)}: {_share(strategy)}."
    release.becomes(STEPPING, text, run_id=session.run_id, phase="watching")
    return Came(session.save(stored), COMPLETE, text)


def _fewer(session: Session, release: Release, seen: Seen) -> str:
    """Why the first Deployment has too few pods to take all requests, be they ready; empty when it has enough."""
    wanted = int(release.strategy["replicas"])
    if release.strategy["kind"] == BLUE_GREEN:
        with suppress(Missing):  # gone by a run that was killed at the end
            wanted = max(wanted, second.session_of(session, release).look().replicas)
    if seen.replicas >= wanted:
        return ""
    return f"{release.deployment} has {plural(seen.replicas, 'pod')} for the requests of {wanted}: scale it up first."


def ended(session: Session, stored: Stored, outcome: Outcome) -> Came:
    """The first Deployment gets the version, and all requests; the second one goes. Run again it goes on.

    :param stored: of a release whose second Deployment is well
    """
    release = stored.release
    wanted, previous, drift = released_template(release), release.previous, []  # type: ignore[var-annotated]
    if wanted is None or previous is None:
        raise ReleaseError(f"Release {release.id} has no last-good.", "Undo it.")
    seen = session.look()
    if fewer := _fewer(session, release, seen):
        return Came(stored, DRIFTED, fewer)
    if not same_template(seen.template, wanted):
        if not is_back(seen, previous, session.container):
            places = ", ".join(differences(previous.template, seen.template)[:6])
            return Came(stored, DRIFTED, f"Somebody has changed {release.deployment} meanwhile: {places}.")
        try:
            there = written(session, seen, wanted, f"release {release.tag} ({release.id})")
        except Conflict as error:
            return Came(stored, DRIFTED, f"Somebody changed {release.deployment} meanwhile: {error.message}")
        outcome.changed = True
        wanted = there["spec"]["template"]
    followed = session.followed(wanted, seen, tuple(release.strategy["proof"]["digests"]), drift)
    added(outcome, followed.events)
    outcome.checks = [each for each in outcome.checks if each.id not in ("release.rollout", "release.drift")]
    outcome.checks += [rollout_check("release.rollout", "Rollout", followed), *drift_check(drift)]
    outcome.record.update(seconds=followed.seconds, noticed=followed.noticed, ended=followed.state)
    if followed.state != COMPLETE or followed.seen is None:
        return Came(stored, followed.state, followed.message)
    came = _said_so(session, stored, followed.seen, outcome)
    if came.state != COMPLETE:
        return came
    now = session.look()
    if not same_template(now.template, followed.seen.template):
        return Came(stored, DRIFTED, f"Somebody changed {release.deployment} while its pods were asked.")
    if fewer := _fewer(session, release, now):
        return Came(stored, DRIFTED, fewer)
    if release.strategy["kind"] == BLUE_GREEN:
        try:
            second.switched(session, release, back=True)
        except Conflict as error:
            return Came(stored, DRIFTED, error.message)
    else:
        second.served(session, release)
    second.removed(session, release)
    release.strategy["retired"] = text_of(datetime.now(timezone.utc))
    release.configuration = hashes(session.objects(now.template))
    release.template_hash, release.replicas = template_hash(now.template), now.replicas
    release.generation = int(now.deployment["metadata"]["generation"])
    release.verified_at, release.soak = text_of(datetime.now(timezone.utc)), {}
    text = f"{release.deployment} has {release.tag or release.digest}, and {release.strategy['helper']} is gone."
    release.becomes(SOAKING, f"{came.text} {text}", run_id=session.run_id)
    return Came(session.save(stored), COMPLETE, text)
