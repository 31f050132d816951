# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release by a Helm chart: what it would make of the cluster, looked at first; then Helm writes, and we follow."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import Any, Dict, Iterator, List, Mapping, Optional

from .._helm import revisions
from .._helm.client import Helm
from .._helm.revisions import DEPLOYED, FAILED, LABEL, PENDING, UNKNOWN, Revision
from .._kubernetes.client import KINDS, MANAGER, Conflict, Unanswered, path_of, place_of
from .._kubernetes.workloads import Seen, container, same_template
from ..checks import CRITICAL, OK, WARNING
from ..checks import UNKNOWN as UNMEASURED
from ..errors import ClusterError, MaintenanceError, ReleaseError
from ..words import plural, printable
from .clients import HELM, at_work, begins, handed_on, part, whose
from .preflight import Finding
from .record import LastGood, Release, Stored
from .session import Session
from .target import Target

#: Where a release's last-good has the pod template that the release put in its place.
RELEASED = "released"


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
        self.helm = Helm(self._options, session.kubernetes, session.namespace)
        self.values = values(self._options, session.options.get("flags") or {}, target)
        self._target = target
        self.found: List[Revision] = []
        self.rendered: List[Dict[str, Any]] = []
        self.tried: Dict[str, Any] = {}  # the Deployment, as the API would have it
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
            others = [each for each in revisions.without_hooks(self.rendered) if each is not made]
            for each in [one for one in others if one["kind"] in KINDS]:
                place = str(each["metadata"].get("namespace", session.namespace))
                self._applied(path_of(each["kind"], place, each["metadata"]["name"]), each)
            # Helm forces all, or none.
            for each in [one for one in others if self._force and one["kind"] not in KINDS]:
                self._applied(place_of(session.cluster, each, session.namespace), each)
        else:
            body = deepcopy(self._seen.deployment)
            body["spec"] = made["spec"]
            # Its status may change meanwhile; what is written has conditions of its own.
            body["metadata"].pop("resourceVersion", None)
            tried = session.cluster.replace(session.path, body, dry_run=True)
        self.tried = tried
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
        there = revisions.by_name(revisions.objects(content))
        return (content.get("config") or {}) == self.values and there == self._made()

    def _made(self) -> Dict[str, Any]:
        return revisions.by_name(revisions.without_hooks(self.rendered))

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
        hooks = sorted(
            {f"{each['kind']} {each['metadata']['name']}" for each in self.rendered if revisions.is_hook(each)}
        )
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
        release = self._earlier.release if self._earlier else None
        if why := at_work(release, newest, self._options["timeout"]):
            return Finding("helm.client", title, CRITICAL, newest.number, why, "Wait for that run, or for its end.")
        if newest.status == DEPLOYED:
            return Finding("helm.release", title, OK, newest.number, f"{what}.")
        if revisions.last(self.found, DEPLOYED) is None:
            return Finding("helm.release", title, CRITICAL, newest.said, f"{what}, and none is deployed.", "Repair it.")
        if newest.status == FAILED:
            text = f"{what}: what is deployed is as Helm knows it, and may be more."
            return Finding("helm.release", title, WARNING, newest.said, text)
        if newest.status in PENDING:
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
            remedy = (
                "Give the chart the number of now (release_values); to go back to its own: release_overrides: [drift]."
            )
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
        before, after = revisions.by_name(revisions.objects(content)), self._made()
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
        return {"before": revisions.by_name(revisions.objects(content)), "after": self._made()}

    def keep(self, previous: LastGood) -> None:
        """Keeps the revision of now for an undo, and puts into last-good what the record has of it; unless last-good
        is of before, with its own revision.

        :raises ClusterError: it cannot be kept: then nothing may be begun
        """
        session, good, newest = self._session, revisions.last(self.found, DEPLOYED), revisions.last(self.found)
        if good is None or newest is None:
            raise ReleaseError("No revision of the Helm release is deployed.", "Look at helm history.")
        if previous.more.get(HELM):
            previous.more[HELM]["found"] = newest.number
            return
        digest = revisions.keep(session.cluster, session.namespace, self.helm.release, good)
        metadata = (good.content().get("chart") or {}).get("metadata") or {}
        chart = f"{printable(metadata.get('name'))} {printable(metadata.get('version'))}"
        previous.more[HELM] = {
            # A client that died may have left something to be taken back.
            **handed_on(self._earlier.release if self._earlier else None, self.helm.release),
            "release": self.helm.release,
            "revision": good.number,
            "sha256": digest,
            "chart": chart,
            "found": newest.number,
        }

    def written(self, stored: Stored, cause: str) -> Dict[str, Any]:
        """Lets Helm write; gives the Deployment as it is then. A run that goes on finds it written, and writes nothing.

        :raises Conflict: somebody else has changed it meanwhile, and nothing was written
        :raises NotWritten: Helm failed, or died: the release is not good
        :raises ClusterError: nobody knows
        """
        session, name = self._session, self.helm.release
        stored = self._freed(stored)
        release, now = stored.release, session.look()
        if not same_template(now.template, self._seen.template):
            raise Conflict("The pod template is another by now.", "See who changed it, and why.")
        newest = revisions.last(revisions.revisions(session.cluster, session.namespace, name))
        looked = revisions.last(self.found)
        if newest is None:
            raise Conflict(f"The Helm release {name} is gone.", "See who uninstalled it, and why.")
        if looked is None or looked.number != newest.number:
            raise Conflict(f"Another client made revision {newest.number} meanwhile.", "Look at helm history.")
        made = newest.labels.get(LABEL) == release.id and part(release).get("to") == newest.number
        # Who goes on with other values wants those.
        if made and self.unchanged():
            return self._ours(now)
        begins(release, "to", newest.number + 1, self._options["timeout"])
        self.stored = session.save(stored, "helm upgrade")
        served = revisions.served(newest.content())
        why: Optional[MaintenanceError] = None
        try:
            self.helm.upgrade(self.values, {LABEL: release.id}, cause, served=served, force=self._force)
        except ClusterError as error:
            session.say(error.message)
            why = error
        return self._afterwards(self.stored.release, newest.number + 1, now, why)

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
            text = f"Another client made revision {number} meanwhile."
            if any(each.number > number and each.labels.get(LABEL) == release.id for each in found):
                raise Changed(text, "Look at helm history.")
            raise Conflict(text, "Look at helm history.")
        generations = [int(each.deployment["metadata"].get("generation") or 0) for each in (before, now)]
        alone = generations[1] - generations[0] <= 1  # Helm writes once
        if made.status != DEPLOYED:
            if alone and release.previous is not None and self._image_of(now) == self._target.image:
                # Helm may leave what others added: an undo has to know it as the release's own.
                release.previous.more[RELEASED] = now.template
            text = why.message if why else f"Revision {number} is {printable(made.said, 40)}."
            raise NotWritten(text, why.remedy if why else "Look at helm history.")
        if not alone:
            raise Changed(f"Somebody else changed the Deployment while Helm did: generation {generations[1]}.")
        return self._ours(now)

    def _image_of(self, now: Seen) -> str:
        return str(container(now.template, self._session.container).get("image"))

    def _ours(self, now: Seen) -> Dict[str, Any]:
        image = self._image_of(now)
        if image != self._target.image:
            raise NotWritten(
                f"Helm has released, and the Deployment has {printable(image, 200)}.", "Look at the chart."
            )
        return now.deployment

    def _freed(self, stored: Stored) -> Stored:
        """Rolls a release that a dead client of ours left pending back to what was deployed; the record as it is then.

        :raises Conflict: another client is at work, and nothing was written
        :raises NotWritten: it could not be rolled back, and what the dead client wrote may be there
        """
        session, name, limit = self._session, self.helm.release, self._options["timeout"]
        found = revisions.revisions(session.cluster, session.namespace, name)
        newest, good = revisions.last(found), revisions.last(found, DEPLOYED)
        if newest is None or newest.status not in PENDING:
            return stored
        if (why := whose(stored.release, newest, limit)) or good is None:
            raise Conflict(
                f"Revision {newest.number} of the Helm release {name} is {newest.said}: {why}", "Wait for it."
            )
        session.say(f"Revision {newest.number} is {newest.said}: back to {good.number}")
        # Whoever comes after us, should we be killed now, has to know it as ours.
        begins(stored.release, "back", newest.number + 1, limit)
        self.stored = session.save(stored)
        content = good.content()
        try:
            self.helm.roll_back(good.number, served=revisions.served(content), values=content.get("config"))
        except Unanswered:
            raise
        except ClusterError as error:
            raise NotWritten(error.message, error.remedy) from None
        self.found = revisions.revisions(session.cluster, session.namespace, name)
        # What Helm has put back is what it was when this release began.
        self._seen = session.look()
        return self.stored


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


def _places(found: Any, place: str = "") -> Iterator[str]:
    """Paths of all values."""
    if isinstance(found, Mapping) and found:
        for name, each in found.items():
            yield from _places(each, f"{place}.{name}" if place else printable(name, 60))
    elif place:
        yield place
