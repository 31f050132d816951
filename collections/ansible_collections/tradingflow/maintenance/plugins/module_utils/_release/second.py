# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second Deployment of a release that comes in stages: what it is, and how it comes, is scaled, and goes.

It has the new version, and the first keeps that of before with all its pods, so that to take it back is to send all
requests to the first and to delete the second.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Set

from .._kubernetes.client import Conflict, Missing, Unanswered, path_of
from .._kubernetes.services import behind, said, selector_of, switch
from .._kubernetes.workloads import Seen, matches, selector
from ..errors import ReleaseError
from ..words import plural
from .last_good import is_back
from .manifests import checked, release_of, rendered
from .options import BLUE_GREEN
from .record import Release
from .session import Session
from .stages import TRACK, pods_wanted

#: Seconds for which what a deleted Deployment owned, and the endpoints of a Service, are waited for.
_GOING = 60.0


def session_of(session: Session, release: Release) -> Session:
    """The same work on the second Deployment."""
    return replace(session, options={**session.options, "deployment": release.strategy["helper"]})


def made(session: Session, release: Release, seen: Seen, wanted: Mapping[str, Any], image: str) -> None:
    """Makes the second Deployment, and what its manifest has beside it; what is there already of this release stays.

    :param seen: the first one
    :param wanted: its pod template with the new image
    :raises Conflict: one of its name is there, and is not of this release
    """
    strategy = release.strategy
    for each in drafted(session, release, seen, wanted, image):
        kind, name = str(each["kind"]), str(each["metadata"]["name"])

        def there(kind: str = kind, name: str = name) -> bool:
            try:
                found = session.cluster.get(path_of(kind, session.namespace, name))
            except Missing:
                return False
            if release_of(found) != release.id:
                raise Conflict(f"There is a {kind} {name} already, which is not of this release", "See whose it is.")
            return True

        def create(kind: str = kind, each: Dict[str, Any] = each) -> None:
            session.cluster.create(path_of(kind, session.namespace), each)

        insisted(session, there, create)
    session.say(f"{strategy['helper']} has {plural(pods_wanted(strategy), 'pod')} of {image}")


def drafted(
    session: Session, release: Release, seen: Seen, wanted: Mapping[str, Any], image: str
) -> List[Dict[str, Any]]:
    """The objects that made() makes.

    :raises ConfigurationError: the manifest cannot be used
    """
    file = str(session.options["manifest"] or "")
    values = values_of(session, release, seen, wanted, image)
    objects = rendered(file, values)
    checked(file, objects, values, session.container)
    return objects


def values_of(session: Session, release: Release, seen: Seen, wanted: Mapping[str, Any], image: str) -> Dict[str, Any]:
    """What a manifest is rendered with, see manifests.rendered."""
    strategy = release.strategy
    labels, others = strategy["labels"], (seen.template.get("metadata") or {}).get("labels") or {}
    template = {**wanted, "metadata": {**(wanted.get("metadata") or {}), "labels": labels}}
    mine: Mapping[str, Any] = seen.deployment["spec"].get("selector") or {}
    match = {name: labels.get(name, value) for name, value in (mine.get("matchLabels") or {}).items()}
    selected = {**mine, "matchLabels": {**match, TRACK: labels[TRACK]}}
    budgets = []
    if strategy["kind"] == BLUE_GREEN:
        for each in session.cluster.items(path_of("PodDisruptionBudget", session.namespace)):
            spec = each.get("spec") or {}
            if matches(spec.get("selector"), others) and not matches(spec.get("selector"), labels):
                name = f"{each['metadata']['name']}-{labels[TRACK]}"
                budgets.append(
                    {"name": name, "spec": {**spec, "selector": {"matchLabels": {TRACK: labels[TRACK], **match}}}}
                )
    return {
        "name": strategy["helper"],
        "namespace": session.namespace,
        "release": release.id,
        "version": release.tag or release.digest,
        "replicas": pods_wanted(strategy),
        "labels": labels,
        "selector": selected,
        "pod_template": template,
        "image": image,
        "of": release.deployment,
        "others": others,
        "service": strategy["service"],
        "budgets": budgets,
    }


def insisted(session: Session, done: Callable[[], bool], change: Callable[[], None]) -> bool:
    """Changes something once, however often the API stays away; gives whether it was not so before.

    :param done: whether it is so
    :raises Unanswered: it did not answer in time: nobody knows
    """
    deadline, changed = time.monotonic() + float(session.options["deadline"]), False
    while True:
        try:
            if done():
                return changed
            changed = True
            change()
        except Unanswered as error:
            session.say(error.message)
            if time.monotonic() > deadline or session.stop():
                raise
            time.sleep(session.options["interval"])


def scaled(session: Session, release: Release) -> bool:
    """Gives the second Deployment the pods of its step; gives whether that was to do.

    :raises Conflict: somebody else scales it right now
    """
    wanted, path = pods_wanted(release.strategy), path_of("Deployment", session.namespace, release.strategy["helper"])
    seen: Dict[str, Any] = {}

    def there() -> bool:
        seen.update(session.cluster.get(path))
        if release_of(seen) != release.id:
            raise Conflict(f"{release.strategy['helper']} is not of this release", "See whose it is.")
        return int(seen["spec"].get("replicas", 1)) == wanted

    return insisted(session, there, lambda: _scale(session, path, seen, wanted))


def grown(session: Session, release: Release) -> bool:
    """Gives the first Deployment its pods again, when all requests are to come back to it and somebody has scaled it
    down meanwhile; gives whether that was to do.

    :raises Conflict: somebody else scales it right now
    """
    strategy = release.strategy
    if strategy.get("kind") != BLUE_GREEN or strategy.get("retired"):
        return False
    service = session.cluster.get(path_of("Service", session.namespace, strategy["service"]))
    if selector_of(service) != strategy["helper_selector"]:
        return False
    wanted = int(strategy["replicas"])
    seen: Dict[str, Any] = {}

    def there() -> bool:
        seen.update(session.cluster.get(session.path))
        return int(seen["spec"].get("replicas", 1)) >= wanted

    return insisted(session, there, lambda: _scale(session, session.path, seen, wanted))


def _scale(session: Session, path: str, seen: Mapping[str, Any], wanted: int) -> None:
    """Sets a number of pods, on the condition that it is the one that was seen."""
    session.cluster.patch(
        path,
        [
            {"op": "test", "path": "/metadata/uid", "value": seen["metadata"]["uid"]},
            {"op": "test", "path": "/spec/replicas", "value": seen["spec"].get("replicas", 1)},
            {"op": "replace", "path": "/spec/replicas", "value": wanted},
        ],
    )


def ready(session: Session, release: Release) -> str:
    """Why the first Deployment could not take all requests now; empty when it could.

    :raises Unanswered: the API does not answer
    """
    previous = release.previous
    try:
        seen = session.look()
    except Missing:
        return f"{release.deployment} is gone."
    if previous is None or not is_back(seen, previous, session.container):
        return f"{release.deployment} is not what ran before any more."
    pods = seen.ready()
    least = int(release.strategy["replicas"])
    if len(pods) < least:
        return (
            f"{len(pods)} of {plural(least, 'pod')} of {release.deployment} {'is' if len(pods) == 1 else 'are'} ready."
        )
    return ""


def whole(session: Session, release: Release) -> bool:
    """Whether the second Deployment is there with all of its pods ready.

    :raises ClusterError: the API does not answer
    """
    try:
        seen = session_of(session, release).look()
    except Missing:
        return False
    pods = seen.ready()
    return len(pods) >= pods_wanted(release.strategy)


def switched(session: Session, release: Release, *, back: bool) -> bool:
    """Sends all requests to the second Deployment, or back to the first, and waits until that is so.

    :raises Conflict: somebody else has switched the Service meanwhile
    :raises ReleaseError: its pods do not all get requests in time, or the others still do
    """
    strategy = release.strategy
    before, after = strategy["main_selector"], strategy["helper_selector"]
    on, without = session_of(session, release), session
    if back:
        before, after, on, without = after, before, without, on
    name = strategy["service"]

    def there() -> bool:
        return selector_of(session.cluster.get(path_of("Service", session.namespace, name))) == dict(after)

    def change() -> None:
        switch(session.cluster, session.namespace, name, before, after)

    changed = insisted(session, there, change)
    if changed:
        session.say(f"The Service {name} sends requests to {said(after)}")
    served(on, release, without)
    return changed


def served(on: Session, release: Release, without: Optional[Session] = None) -> None:
    """Waits until the Service sends requests to all ready pods of a Deployment.

    :param on: the Deployment
    :param without: another one, to whose pods it must send none
    :raises ReleaseError: it does not come to that in time
    """
    name, deadline = release.strategy["service"], time.monotonic() + _GOING
    while True:
        wanted: Set[str] = set()
        asked: Set[str] = set()
        others: Set[str] = set()
        try:
            wanted = {_uid(each) for each in on.look().ready()}
            others = _pods(without) if without is not None else set()
            asked = {uid for uid, ready in behind(on.cluster, on.namespace, name).items() if ready}
            if wanted and wanted <= asked and not others & asked:
                return
        except Unanswered as error:
            on.say(error.message)
        if time.monotonic() > deadline or on.stop():
            text = f"The Service {name} sends requests to {len(wanted & asked)} of {plural(len(wanted), 'pod')}"
            more = f", and to {len(others & asked)} of those that are to get none" if others & asked else ""
            raise ReleaseError(f"{text}{more}.", "See its EndpointSlices.")
        time.sleep(on.options["interval"])


def _pods(session: Session) -> Set[str]:
    """uids of all pods of a Deployment; none when it is gone."""
    try:
        return {_uid(each) for each in session.look().pods}
    except Missing:
        return set()


def _uid(thing: Mapping[str, Any]) -> str:
    return str(thing["metadata"]["uid"])


def removed(session: Session, release: Release) -> bool:
    """Deletes the second Deployment, what came with it and what it owned; gives whether there was any of it.

    :raises Conflict: one of its name is not of this release
    :raises ReleaseError: what it owned does not go
    """
    strategy, gone = release.strategy, False
    for kind in ("Deployment", "PodDisruptionBudget"):
        for each in _ours(session, release, kind):
            session.cluster.delete(
                path_of(kind, session.namespace, each["metadata"]["name"]), uid=each["metadata"]["uid"]
            )
            gone = True
    labels = selector({"matchLabels": {TRACK: strategy["labels"][TRACK]}})
    deadline = time.monotonic() + _GOING
    while True:
        there = _ours(session, release, "Deployment")
        replicasets = session.cluster.items(path_of("ReplicaSet", session.namespace), labelSelector=labels)
        left = [each for each in replicasets if strategy["helper"] in _owners(each)]
        if not there and not left:
            return gone
        if time.monotonic() > deadline or session.stop():
            raise ReleaseError(f"{strategy['helper']} was deleted, and does not go.", "See what holds it (finalizers).")
        time.sleep(session.options["interval"])


def _owners(thing: Mapping[str, Any]) -> List[str]:
    return [str(each.get("name")) for each in thing["metadata"].get("ownerReferences") or []]


def _ours(session: Session, release: Release, kind: str) -> List[Dict[str, Any]]:
    found = [each for each in session.cluster.items(path_of(kind, session.namespace)) if release_of(each) == release.id]
    if kind != "Deployment":
        return found
    # Another one is somebody's copy of it, annotations and all.
    return [each for each in found if each["metadata"]["name"] == release.strategy["helper"]]


def taken_back(session: Session, release: Release, *, at_once: bool = False) -> bool:
    """Sends all requests to the first Deployment, and deletes the second; gives whether anything was changed.

    :param at_once: only when the first one could take them right now
    :raises ClusterError, ReleaseError: it could not be done
    """
    if not release.strategy or release.strategy.get("retired"):
        return False
    if at_once and ready(session, release):
        return False
    changed = False
    if release.strategy["kind"] == BLUE_GREEN:
        changed = switched(session, release, back=True)
        if changed:
            release.happened("switched back", "All requests go to the version of before.", run_id=session.run_id)
    return removed(session, release) or changed
