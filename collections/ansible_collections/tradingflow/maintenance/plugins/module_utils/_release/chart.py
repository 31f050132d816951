# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release by a Helm chart: what it would make of the cluster, looked at first; then Helm writes, and we follow."""

from __future__ import annotations

import hashlib
import json
import time
from copy import deepcopy
from typing import Any, Dict, Iterator, List, Mapping, Optional

from .._helm import revisions
from .._helm.client import Helm
from .._helm.revisions import DEPLOYED, FAILED, LABEL, PENDING, UNKNOWN, Revision
from .._kubernetes.client import KINDS, MANAGER, Conflict, Unanswered, path_of
from .._kubernetes.workloads import Seen, container, same_template
from ..checks import CRITICAL, OK, WARNING
from ..checks import UNKNOWN as UNMEASURED
from ..errors import ClusterError, MaintenanceError, ReleaseError
from ..words import plural, printable
from . import owner
from .preflight import Finding
from .record import Release, Stored
from .session import Session
from .target import Target

#: Where a release's last-good has what is Helm's, and what the release put in its place.
HELM, RELEASED = "helm", "released"
#: Annotation of what Helm runs besides.
_HOOK = "helm.sh/hook"


class NotWritten(ReleaseError):
    """Helm has written nothing, or not all: the release is not good."""


class Chart:
    """A chart, its values and the Helm release of one session.

    :param target: that is to run
    :param seen: the Deployment as it was looked at
    :param earlier: the record of now
    """

    def __init__(self, session: Session, target: Target, seen: Seen, earlier: Optional[Stored]) -> None:
        self._session, self._seen, self._earlier = session, seen, earlier
        self._options = session.options["helm"]
        self.helm = Helm(self._options, session.options["kubernetes"], session.namespace)
        self.values = values(self._options, session.options.get("flags") or {}, target)
        self._target = target
        self.found: List[Revision] = []
        self.rendered: List[Dict[str, Any]] = []
        #: Whether all that Helm would stumble over is ours.
        self._force = False
        #: The record as written() has written it.
        self.stored: Optional[Stored] = None

    def template(self) -> Dict[str, Any]:
        """The pod template that the chart makes, as the API would have it; everything is read for that.

        :raises MaintenanceError: it makes none, or the API would not take it
        """
        session = self._session
        self.helm.version  # noqa: B018 - whether it is there at all
        self.found = revisions.revisions(session.cluster, session.namespace, self.helm.release)
        self.rendered = self.helm.rendered(self.values)
        made, newest = self._deployment(), revisions.last(self.found)
        # Only tried: the answer has all that the API adds to it.
        if self.helm.major > 3 and newest is not None and revisions.served(newest.content()):
            spec = dict(made["spec"])
            if spec.get("replicas") != self._seen.replicas:
                spec.pop("replicas", None)  # is a finding of its own
            tried = self._applied(session.path, {**made, "spec": spec})
            for each in self.rendered:
                if each is not made and not _hooks(each) and each["kind"] in KINDS:
                    place = str(each["metadata"].get("namespace", session.namespace))
                    self._applied(path_of(each["kind"], place, each["metadata"]["name"]), each)
        else:
            body = deepcopy(self._seen.deployment)
            body["spec"] = made["spec"]
            # Its status may change meanwhile; what is written has conditions of its own.
            body["metadata"].pop("resourceVersion", None)
            tried = session.cluster.replace(session.path, body, dry_run=True)
        template: Dict[str, Any] = tried["spec"]["template"]
        return template

    def _applied(self, path: str, made: Dict[str, Any]) -> Dict[str, Any]:
        """What an object would be by server-side apply. What we manage ourselves, by a release of an image or an undo,
        Helm may take over.

        :raises Conflict: somebody else manages what would be changed: seen before anything is written
        """
        cluster, forced = self._session.cluster, bool(self._options["force_conflicts"])
        try:
            return cluster.applied(path, made, manager="helm", force=forced)
        except Conflict as error:
            ours = [each for each in error.causes if f'with "{MANAGER}"' in each]
            if not ours or len(ours) != len(error.causes):
                raise
            self._force = True
            return cluster.applied(path, made, manager="helm", force=True)

    def _deployment(self) -> Dict[str, Any]:
        name, namespace = self._session.options["deployment"], self._session.namespace
        for each in self.rendered:
            metadata = each["metadata"]
            here = metadata["name"] == name and metadata.get("namespace", namespace) == namespace
            if each["kind"] == "Deployment" and here and isinstance(each.get("spec"), dict):
                return each
        raise ClusterError(
            f"The chart makes no Deployment {name} in {namespace}.", "Correct release_chart, or release_deployment."
        )

    def unchanged(self) -> bool:
        """Whether the newest revision has these values and objects already."""
        newest = revisions.last(self.found)
        if newest is None or newest.status != DEPLOYED:
            return False
        content = newest.content()
        there = revisions.objects(content)
        made = [each for each in self.rendered if not _hooks(each)]
        return (content.get("config") or {}) == self.values and _named(there) == _named(made)

    def findings(self, wanted: Mapping[str, Any]) -> Iterator[Finding]:
        """What is looked at before.

        :param wanted: see template()
        """
        yield Finding("helm", "Helm", OK, self.helm.version, f"helm is {self.helm.version}.")
        state = self._state()
        yield state
        yield self._image(wanted)
        yield from self._replicas()
        good = revisions.last(self.found, DEPLOYED)
        if good is not None:
            content = good.content()
            yield self._dropped(content.get("config") or {})
            yield self._changes(content)
        hooks = sorted({f"{each['kind']} {each['metadata']['name']}" for each in self.rendered if _hooks(each)})
        if hooks:
            text = f"Helm runs {', '.join(map(printable, hooks[:5]))} besides, as the chart says: nothing undoes that."
            yield Finding("hooks", "hooks of the chart", WARNING, len(hooks), text)

    def _state(self) -> Finding:
        title, name = "the Helm release", printable(self.helm.release)
        newest = revisions.last(self.found)
        if newest is None:
            text = f"There is no Helm release {name} in {self._session.namespace}."
            remedy = "Install it once: helm upgrade --install; objects that are there already: --take-ownership."
            return Finding("helm.release", title, CRITICAL, "none", text, remedy)
        what = f"Revision {newest.number} of the Helm release {name} is {printable(newest.said, 40)}"
        if newest.status == DEPLOYED:
            return Finding("helm.release", title, OK, newest.number, f"{what}.")
        if revisions.last(self.found, DEPLOYED) is None:
            return Finding("helm.release", title, CRITICAL, newest.said, f"{what}, and none is deployed.", "Repair it.")
        if newest.status == FAILED:
            text = f"{what}: what is deployed is as Helm knows it, and may be more."
            return Finding("helm.release", title, WARNING, newest.said, text)
        if newest.status in PENDING:
            release = self._earlier.release if self._earlier else None
            why = whose(release, newest, self._options["timeout"])
            if not why:
                text = f"{what}, of our own run that has died: rolled back first."
                return Finding("helm.release", title, WARNING, newest.said, text)
            remedy = f"Wait for that client; when it has died: helm rollback {name} -n {self._session.namespace}."
            return Finding("helm.release", title, CRITICAL, newest.said, f"{what}: {why}", remedy)
        status = UNMEASURED if newest.status == UNKNOWN else CRITICAL
        return Finding("helm.release", title, status, printable(newest.said, 40), f"{what}.", "Look at helm history.")

    def _image(self, wanted: Mapping[str, Any]) -> Finding:
        title = "the image that the chart names"
        image = str(container(wanted, self._session.container).get("image"))
        if image == self._target.image:
            return Finding("helm.image", title, OK, self._target.digest, f"The chart names {image}.")
        text = f"The chart would run {printable(image, 200)}, not {self._target.image}."
        remedy = "Let it make the image of the values image.repository, image.tag and image.digest."
        return Finding("helm.image", title, CRITICAL, printable(image, 200), text, remedy)

    def _replicas(self) -> Iterator[Finding]:
        made, now = self._deployment()["spec"].get("replicas"), self._seen.replicas
        if made is not None and made != now:
            text = f"The chart has {made} replicas, and {now} run: scaled by hand since."
            remedy = "Give the chart the number of now (release_values); to go back to its own: release_overrides."
            yield Finding("drift.replicas", "changes by hand", CRITICAL, now, text, remedy)

    def _dropped(self, before: Mapping[str, Any]) -> Finding:
        """Values of now that nobody gives any more: Helm would quietly go back to the chart's own."""
        title = "values of the release"
        gone = sorted(set(_places(before)) - set(_places(self.values)))
        if not gone:
            return Finding("values", title, OK, 0, "All values that were given before are given again.")
        text = f"{plural(len(gone), 'value')} of now would be the chart's own again: {', '.join(gone[:8])}."
        remedy = "Give them (release_values); or release_overrides: [values], with a reason."
        return Finding("values", title, CRITICAL, len(gone), text, remedy)

    def _changes(self, content: Mapping[str, Any]) -> Finding:
        before, after = _named(revisions.objects(content)), _named([x for x in self.rendered if not _hooks(x)])
        words = []
        for word, names in (
            ("new", sorted(set(after) - set(before))),
            ("changed", sorted(name for name in set(after) & set(before) if after[name] != before[name])),
            ("deleted", sorted(set(before) - set(after))),
        ):
            if names:
                words.append(f"{word}: {', '.join(names[:6])}{' and more' if len(names) > 6 else ''}")
        deleted = set(before) - set(after)
        text = f"{'; '.join(words)}." if words else "The chart makes what is there."
        status = WARNING if deleted else OK
        return Finding("objects", "objects of the chart", status, len(deleted), text[0].upper() + text[1:])

    def shown(self) -> Dict[str, Any]:
        """Objects before and after, for --diff; of Secrets only hashes."""
        good = revisions.last(self.found, DEPLOYED)
        content = good.content() if good is not None else {"manifest": ""}
        made = [each for each in self.rendered if not _hooks(each)]
        return {"before": _named(revisions.objects(content)), "after": _named(made)}

    def keep(self) -> Dict[str, Any]:
        """Keeps the revision of now for an undo; gives what the record has of it.

        :raises ClusterError: it cannot be kept: then nothing may be begun
        """
        session, good = self._session, revisions.last(self.found, DEPLOYED)
        if good is None:
            raise ReleaseError("No revision of the Helm release is deployed.", "Look at helm history.")
        digest = revisions.keep(session.cluster, session.namespace, self.helm.release, good)
        metadata = (good.content().get("chart") or {}).get("metadata") or {}
        chart = f"{printable(metadata.get('name'))} {printable(metadata.get('version'))}"
        return {"release": self.helm.release, "revision": good.number, "sha256": digest, "chart": chart}

    def written(self, stored: Stored, cause: str) -> Dict[str, Any]:
        """Lets Helm write; gives the Deployment as it is then. A run that goes on finds it written, and writes nothing.

        :raises Conflict: somebody else has changed it meanwhile, and nothing was written
        :raises NotWritten: Helm failed, or died: the release is not good
        :raises ClusterError: nobody knows
        """
        session, name = self._session, self.helm.release
        release = stored.release
        self._freed(release)
        now = session.look()
        if not same_template(now.template, self._seen.template):
            raise Conflict("The pod template is another by now.", "See who changed it, and why.")
        newest = revisions.last(revisions.revisions(session.cluster, session.namespace, name))
        if newest is None:
            raise Conflict(f"The Helm release {name} is gone.", "See who uninstalled it, and why.")
        kept = _kept(release)
        if newest.status == DEPLOYED and newest.labels.get(LABEL) == release.id and kept.get("to") == newest.number:
            return self._ours(now)
        kept.update(to=newest.number + 1, client=owner.mine())
        self.stored = session.save(stored, "helm upgrade")
        served = revisions.served(newest.content())
        why: Optional[MaintenanceError] = None
        try:
            self.helm.upgrade(self.values, {LABEL: release.id}, cause, served=served, force=self._force)
        except ClusterError as error:
            session.say(error.message)
            why = error
        return self._afterwards(release, newest.number + 1, now, why)

    def _afterwards(
        self, release: Release, number: int, before: Seen, why: Optional[MaintenanceError]
    ) -> Dict[str, Any]:
        """What became of it, by Helm's own storage and by the Deployment."""
        session = self._session
        deadline = time.monotonic() + float(session.options["deadline"])
        while True:
            try:
                found = revisions.revisions(session.cluster, session.namespace, self.helm.release)
                now = session.look()
                break
            except Unanswered:
                if time.monotonic() > deadline or session.stop():
                    raise
            time.sleep(session.options["interval"])
        made = next((each for each in found if each.number == number), None)
        if made is None:
            # It ended, or was refused, before it began.
            text = why.message if why else f"Helm says nothing of revision {number}."
            raise (
                Conflict(text, why.remedy) if isinstance(why, Conflict) else NotWritten(text, why.remedy if why else "")
            )
        if made.labels.get(LABEL) != release.id:
            raise Conflict(f"Another client made revision {number}.", "Look at helm history.")
        if made.status != DEPLOYED:
            text = why.message if why else f"Revision {number} is {printable(made.said, 40)}."
            raise NotWritten(text, why.remedy if why else "Look at helm history.")
        generations = [int(each.deployment["metadata"].get("generation") or 0) for each in (before, now)]
        if generations[1] - generations[0] > 1:
            # Helm writes once.
            raise Changed(f"Somebody else changed the Deployment while Helm did: generation {generations[1]}.")
        return self._ours(now)

    def _ours(self, now: Seen) -> Dict[str, Any]:
        image = str(container(now.template, self._session.container).get("image"))
        if image != self._target.image:
            raise NotWritten(
                f"Helm has released, and the Deployment has {printable(image, 200)}.", "Look at the chart."
            )
        return now.deployment

    def _freed(self, release: Release) -> None:
        """Rolls a release that a dead client of ours left pending back to what was deployed."""
        session, name = self._session, self.helm.release
        found = revisions.revisions(session.cluster, session.namespace, name)
        newest, good = revisions.last(found), revisions.last(found, DEPLOYED)
        if newest is None or newest.status not in PENDING:
            return
        if (why := whose(release, newest, self._options["timeout"])) or good is None:
            raise Conflict(
                f"Revision {newest.number} of the Helm release {name} is {newest.said}: {why}", "Wait for it."
            )
        session.say(f"Revision {newest.number} is {newest.said}: back to {good.number}")
        content = good.content()
        self.helm.roll_back(good.number, served=revisions.served(content), values=content.get("config"))
        # What Helm has put back is what it was when this release began.
        self._seen = session.look()


class Changed(ReleaseError):
    """Somebody else has changed it meanwhile: it is theirs now."""


def values(options: Mapping[str, Any], flags: Mapping[str, Any], target: Target) -> Dict[str, Any]:
    """All values of a release: the given ones, the flags, and the image by its digest."""
    found = deepcopy(dict(options["values"]))
    image = found.get("image")
    found["image"] = {
        **(image if isinstance(image, dict) else {}),
        "repository": target.repository,
        "tag": target.tag,
        "digest": target.digest,
    }
    if flags:
        place = found
        *above, name = str(options["flags_value"]).split(".")
        for each in above:
            place = place.setdefault(each, {})
        place[name] = {**(place.get(name) or {}), **flags}
    return found


def whose(release: Optional[Release], pending: Revision, timeout: float) -> str:
    """Why a pending revision may not be taken away; empty when it is of a run of ours that is provably gone."""
    kept = _kept(release) if release is not None else {}
    ours = kept.get("to") == pending.number or kept.get("back") == pending.number
    labelled = pending.status == "pending-rollback" or pending.labels.get(LABEL) == (release.id if release else "")
    if not ours or not labelled:
        return "another client began it."
    if owner.gone(kept.get("client")):
        return ""
    # A client is ended after so many seconds, and ends with its run.
    aged = owner.age(str(pending.secret["metadata"].get("creationTimestamp") or ""))
    if aged is not None and aged > 2 * timeout + 60:
        return ""
    return "the run that began it may still be at work."


def _kept(release: Release) -> Dict[str, Any]:
    if release.previous is None:
        return {}
    found: Dict[str, Any] = release.previous.more.setdefault(HELM, {})
    return found


def _hooks(thing: Mapping[str, Any]) -> bool:
    return _HOOK in (thing["metadata"].get("annotations") or {})


def _named(found: List[Dict[str, Any]]) -> Dict[str, Any]:
    """By kind and name; of Secrets the hash of what they hold."""
    result = {}
    for each in found:
        body = each
        if each.get("kind") == "Secret":
            held = json.dumps([each.get("data"), each.get("stringData")], sort_keys=True, default=str)
            body = {name: each[name] for name in each if name not in ("data", "stringData")}
            body["sha256"] = hashlib.sha256(held.encode()).hexdigest()
        result[f"{each.get('kind')}/{(each.get('metadata') or {}).get('name')}"] = body
    return result


def _places(found: Any, place: str = "") -> Iterator[str]:
    """Paths of all values."""
    if isinstance(found, Mapping) and found:
        for name, each in found.items():
            yield from _places(each, f"{place}.{name}" if place else printable(name, 60))
    elif place:
        yield place
