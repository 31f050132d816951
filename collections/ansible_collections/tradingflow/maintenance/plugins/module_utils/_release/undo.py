# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Back to last-good, whole: what configures it first, then the pod template; and nothing of the bad version stays."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Dict, List, Optional, Tuple

from .._kubernetes.client import Conflict, Unanswered, path_of
from .._kubernetes.workloads import Seen, container, differences, digest_of, same_template
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check
from ..errors import MaintenanceError, ReleaseError
from ..words import plural, printable
from . import chart_undo, kept, proof, second, tests_job
from .last_good import image_of, is_back, released_template, replicasets_of
from .preflight import Finding, passed_by
from .record import FAILED, UNDONE, LastGood, Release, Stored
from .session import Outcome, Session, drift_check, rollout_check

#: Seconds for which pods that end are waited for before their ReplicaSet is removed.
_ENDING = 60.0


def undone_at_once(session: Session, stored: Stored, why: str) -> Tuple[Optional[Outcome], List[Check]]:
    """Undoes what has failed, with the checks of it. What hinders it is one of them, and no error.

    :param why: one sentence, for the record
    :returns: None for what came of it when that is not known
    """
    id, title = "release.undone", "Back on last-good"
    try:
        outcome = undo(session, stored, why)
    except MaintenanceError as error:
        return None, [Check(id, title, UNKNOWN, None, message=error.message, remedy=error.remedy)]
    if not outcome.forbidden:
        return outcome, outcome.checks
    text = f"It was not undone: {' '.join(each.message for each in outcome.forbidden)}"
    refused = Check(id, title, CRITICAL, "refused", message=text, remedy=outcome.forbidden[0].remedy)
    return outcome, [refused, *outcome.checks]


def undo(session: Session, stored: Optional[Stored], why: str, *, dry_run: bool = False) -> Outcome:
    """Undoes the release of a record, whoever began it, and however far it came.

    Run again it goes on; with nothing to undo it does nothing.

    :param why: one sentence, for the record
    :raises ClusterError: the cluster does not answer
    """
    outcome = Outcome()
    if stored is None or stored.release.previous is None:
        outcome.nothing = "There is no record of a release with a last-good version: nothing to undo."
        if stored is None:
            # Not that all is well: nobody knows what would have been good.
            outcome.checks = [Check("release.undone", "Undone", UNKNOWN, None, message=outcome.nothing)]
        else:
            text = "It was the first release here: there is nothing to go back to."
            outcome.findings = [
                Finding("last_good", "last-good", CRITICAL, None, text, "Release a version that works.")
            ]
        return outcome
    release, previous = stored.release, stored.release.previous
    seen = session.look()
    objects = session.objects(previous.template)
    bad = _bad(session, seen, release, previous)
    helm = chart_undo.of(session, stored)
    back = is_back(seen, previous, session.container) and (helm is None or helm.done())
    outcome.before = {"image": str(container(seen.template, session.container)["image"]), "replicas": seen.replicas}
    outcome.after = {"image": previous.image}
    if release.strategy and not release.strategy.get("retired"):
        outcome.before["image"] = image_of(release)
    if not back:
        outcome.before["template"], outcome.after["template"] = seen.template, previous.template
    outcome.record = {"release": release.id, "from": release.digest, "to": previous.digest, "reason": why}
    if back and not bad and release.state == UNDONE and not kept.changed(previous.configuration, objects):
        outcome.nothing = f"Nothing to undo: {previous.image} runs, and release {release.id} was undone."
        outcome.checks = [Check("release.undone", "Undone", OK, "nothing to do", message=outcome.nothing)]
        return outcome
    found = [_schema(session, previous), _others(session, seen, release, previous), *_configured(previous, objects)]
    found += helm.findings() if helm is not None else []
    outcome.findings = passed_by(found, session.options["overrides"], session.options["reason"])
    if outcome.forbidden or dry_run:
        return outcome
    _carried_out(session, stored, seen, objects, why, outcome, helm)
    return outcome


def _carried_out(
    session: Session,
    stored: Stored,
    seen: Seen,
    objects: Dict[str, Any],
    why: str,
    outcome: Outcome,
    helm: Optional[chart_undo.ChartUndo] = None,
) -> None:
    release, previous = stored.release, stored.release.previous
    if previous is None:
        raise ReleaseError("It has no last-good.")
    drift: List[str] = []
    changed = kept.changed(previous.configuration, objects)
    if not changed and second.taken_back(session, release, at_once=True):
        outcome.changed = True
        seen = session.look()
    if second.grown(session, release):
        outcome.changed = True
        drift.append(f"It was scaled from {previous.replicas} to {seen.replicas} since; it takes all requests again.")
        seen = session.look()
    if helm is not None:
        # What Helm puts back is Helm's to write: two that manage a field stand in each other's way.
        changed = [each for each in changed if each not in helm.managed()]
    if changed and "configuration" not in session.options["overrides"]:
        kept.restore(session.cluster, session.namespace, changed, previous.configuration)
        outcome.changed = True
        outcome.record["configuration"] = changed
        release.happened("restored", f"{', '.join(changed)} put back as before.", run_id=session.run_id)
    if seen.replicas != previous.replicas and helm is None:
        drift.append(f"It was scaled from {previous.replicas} to {seen.replicas} since; that stays.")
    before = replace(seen)
    if helm is not None and not helm.done():
        release.happened("undoing", f"Helm goes back to {previous.image}: {why}", run_id=session.run_id)
        outcome.changed = True
        try:
            stored = helm.go()
        except ReleaseError as error:
            outcome.failed = error.message
            check = Check("release.undone", "Back on last-good", CRITICAL, "failed", message=error.message)
            outcome.checks.append(replace(check, remedy=error.remedy))
            session.save(_ended(session, helm.stored, FAILED, error.message))
            return
        release, seen = stored.release, session.look()
        if seen.replicas != before.replicas:
            drift.append(f"{before.replicas} replicas were there; Helm has set {seen.replicas}, as the chart has it.")
            before = replace(seen, replicasets=before.replicasets, pods=before.pods)
        changed = kept.changed(previous.configuration, session.objects(previous.template))
        if changed and "configuration" not in session.options["overrides"]:
            kept.restore(session.cluster, session.namespace, changed, previous.configuration)
    if not is_back(seen, previous, session.container):
        session.say(f"Going back to {previous.image}")
        release.happened("undoing", f"Going back to {previous.image}: {why}", run_id=session.run_id)
        seen.deployment = written(session, seen, previous.template, f"undo of {release.tag or release.digest}")
        outcome.changed = True
    followed = session.followed(seen.template, before, (), drift)
    outcome.events = followed.events
    outcome.checks += [rollout_check("release.undone", "Back on last-good", followed), *drift_check(drift)]
    if followed.state != "complete":
        text = f"The undo did not come to its end: {followed.message}"
        outcome.failed = text
        session.save(_ended(session, stored, FAILED, text))
        return
    outcome.changed = second.taken_back(session, release) or outcome.changed
    outcome.changed = _removed(session, release, previous, outcome) or outcome.changed
    tests_job.forget_all(session, release)
    if not outcome.failed:
        session.save(_ended(session, stored, UNDONE, why))
    outcome.checks += proof.flags_back(session, previous, followed.seen or seen)


def _ended(session: Session, stored: Stored, state: str, text: str) -> Stored:
    """The record with its state, where it may become that."""
    try:
        stored.release.becomes(state, text, run_id=session.run_id)
    except ReleaseError:
        stored.release.happened(state, text, run_id=session.run_id)
    return stored


def written(
    session: Session, seen: Seen, template: Dict[str, Any], cause: str, dry_run: bool = False
) -> Dict[str, Any]:
    """Puts a pod template in the place of the one that was seen; the Deployment as it is then. Where no answer came,
    what is there says whether it was done.

    :raises Conflict: it is another by now: nothing was changed
    :raises Unanswered: the API stayed away: nobody knows
    :raises ClusterError: it was not
    """
    operations: List[Dict[str, Any]] = [
        # Of the object that was judged, and no other; its status may change meanwhile.
        {"op": "test", "path": "/metadata/uid", "value": seen.deployment["metadata"]["uid"]},
        {"op": "test", "path": "/spec/template", "value": seen.template},
        {"op": "replace", "path": "/spec/template", "value": template},
    ]
    if seen.deployment["metadata"].get("annotations") is None:
        operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
    operations.append({"op": "add", "path": "/metadata/annotations/kubernetes.io~1change-cause", "value": cause})
    deadline = time.monotonic() + float(session.options["deadline"])
    while True:
        try:
            return session.cluster.patch(session.path, operations, dry_run=dry_run)
        except Unanswered as error:
            session.say(error.message)
            if dry_run:
                raise
            there = _back_again(session, deadline)
            if same_template(there.template, template):
                return there.deployment
            if not same_template(there.template, seen.template):
                raise Conflict("The pod template is another by now.", "See who changed it, and why.") from None


def _back_again(session: Session, deadline: float) -> Seen:
    """The Deployment, once the API answers again.

    :raises Unanswered: it did not in time
    """
    while True:
        try:
            return session.look()
        except Unanswered:
            if time.monotonic() > deadline or session.stop():
                raise
        time.sleep(session.options["interval"])


def _bad(session: Session, seen: Seen, release: Release, previous: LastGood) -> List[Dict[str, Any]]:
    """ReplicaSets that would start pods of the bad version."""
    if release.digest == previous.digest:
        ours = released_template(release)
        if ours is None or same_template(ours, previous.template):
            return []
        return [each for each in seen.replicasets if same_template(each["spec"]["template"], ours)]
    return replicasets_of(seen, session.container, release.digest)


def _removed(session: Session, release: Release, previous: LastGood, outcome: Outcome) -> bool:
    """Removes what still owns the bad version, once its pods are gone: a later scale-up, or an undo by hand, must find
    none of it.
    """
    deadline, gone = time.monotonic() + _ENDING, []
    while True:
        seen = session.look()
        bad = _bad(session, seen, release, previous)
        for each in bad:
            if int(each["spec"].get("replicas", 0)) or int((each.get("status") or {}).get("replicas") or 0):
                continue
            metadata = each["metadata"]
            try:
                path = path_of("ReplicaSet", session.namespace, metadata["name"])
                session.cluster.delete(path, uid=metadata["uid"], version=metadata["resourceVersion"])
                gone.append(metadata["name"])
            except Conflict:
                pass  # seen anew
        if not bad:
            break
        if time.monotonic() > deadline or session.stop():
            text = f"{', '.join(each['metadata']['name'] for each in bad)} still has the bad version."
            outcome.failed = text
            remedy = "Remove it, or it may start pods of that version."
            outcome.checks.append(
                Check("release.removed", "Bad version removed", CRITICAL, len(bad), message=text, remedy=remedy)
            )
            return bool(gone)
        time.sleep(session.options["interval"])
    text = f"Removed: {', '.join(gone)}." if gone else "Nothing of it was left."
    outcome.checks.append(Check("release.removed", "Bad version removed", OK, len(gone), message=text))
    outcome.record["removed"] = gone
    return bool(gone)


def _schema(session: Session, previous: LastGood) -> Finding:
    """Whether the old image works with the schema of now."""
    title, name = "the schema, for the version of before", "schema"
    if not session.options["database"]:
        text = "No database is named: nobody looked whether the version of before works with its schema."
        return Finding(name, title, WARNING, None, text, "Name it (release_database).")
    heads = session.heads()
    if not heads:
        text = "The database does not say which revision its schema is at."
        remedy = "Once it answers, run again; to go back all the same: release_overrides: [schema], with a reason."
        return Finding(name, title, UNKNOWN, None, text, remedy)
    now, then = ",".join(heads), previous.schema_head
    works = [str(each) for each in previous.more.get("schemas") or []]
    if now == then or (works and not set(heads) - set(works)):
        return Finding(name, title, OK, now, f"The version of before works with revision {now}.")
    text = f"The database is at {now}; the version of before ran with {then or 'one that nobody recorded'}"
    text += f", and works with {', '.join(works)}." if works else "."
    remedy = (
        f"Take the schema back first (playbooks/migrate.yml -e migration_target={then}), or release a version that"
        f" works with {now}; to go back all the same: release_overrides: [schema], with a reason."
    )
    return Finding(name, title, CRITICAL, now, text, remedy)


def _others(session: Session, seen: Seen, release: Release, previous: LastGood) -> Finding:
    """Whether somebody else changed the Deployment since."""
    title, ours = "changes by hand", released_template(release)
    if is_back(seen, previous, session.container):
        return Finding("drift", title, OK, 0, "The pod template is last-good's already.")
    if ours is not None and same_template(seen.template, ours):
        return Finding("drift", title, OK, 0, "The pod template is as the release put it there.")
    places = differences(ours, seen.template) if ours is not None else []
    image = printable(container(seen.template, session.container).get("image"), 200)
    text = f"Somebody has changed the pod template since the release: {', '.join(places[:6]) or image}."
    if digest_of(image) not in (release.digest, previous.digest):
        text += f" It has {image}."
    remedy = "See who did, and why; to put last-good in its place: release_overrides: [drift], with a reason."
    return Finding("drift", title, CRITICAL, len(places), text, remedy)


def _configured(previous: LastGood, objects: Dict[str, Any]) -> List[Finding]:
    """What is going to be put back with it."""
    changed = kept.changed(previous.configuration, objects)
    if not changed:
        return []
    text = (
        f"{plural(len(changed), 'ConfigMap or Secret', 'ConfigMaps and Secrets')} changed since: {', '.join(changed)}."
    )
    return [
        Finding("restored", "configuration", WARNING, len(changed), f"{text} Put back as before, with copies of now.")
    ]
