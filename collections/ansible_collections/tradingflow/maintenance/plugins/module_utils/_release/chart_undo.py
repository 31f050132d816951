# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Helm part of an undo: back to the revision that is last-good's, were it pruned or left pending meanwhile."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional

from .._helm import revisions
from .._helm.client import HELM_SPEC, Helm
from .._helm.revisions import DEPLOYED, LABEL, PENDING, UNKNOWN, Revision
from .._kubernetes.client import Missing
from ..checks import CRITICAL, OK, WARNING, Check
from ..checks import UNKNOWN as UNMEASURED
from ..errors import ClusterError, MaintenanceError, ReleaseError, StorageError
from ..words import printable
from .clients import HELM, at_work, begins, part, whose
from .preflight import Finding
from .record import Release, Stored
from .session import Session

#: Names of objects that Helm puts back by itself.
_RESTORED = ("ConfigMap", "Secret")


def of(session: Session, stored: Stored) -> Optional["ChartUndo"]:
    """None where the release is no chart's."""
    previous = stored.release.previous
    kept = previous.more.get(HELM) if previous is not None else None
    if not isinstance(kept, dict) or not isinstance(kept.get("revision"), int) or not kept.get("sha256"):
        return None
    return ChartUndo(session, stored, kept)


def unable(session: Session, release: Release) -> List[Check]:
    """That what fails could not be undone from here, which is better known before it fails."""
    name = part(release).get("release")
    if not name:
        return []
    try:
        Helm({**session.options["helm"], "release": name}, session.kubernetes, session.namespace).version  # noqa: B018
    except MaintenanceError as error:
        text = f"Should it fail, it would not be undone from here: {error.message}"
        return [Check("release.helm", "Helm, for an undo", WARNING, "none", message=text, remedy=error.remedy)]
    return []


class ChartUndo:
    """One of them.

    :param kept: what the record has: release, revision, sha256, chart
    """

    def __init__(self, session: Session, stored: Stored, kept: Dict[str, Any]) -> None:
        self._session, self._kept = session, kept
        self.stored = stored
        given = session.options.get("helm") or {}
        defaults = {name: each.get("default") for name, each in HELM_SPEC["options"].items()}
        self._options = {**defaults, **given, "release": kept["release"]}
        self._helm = Helm(self._options, session.kubernetes, session.namespace)
        self._found = self._read()

    def _read(self) -> List[Revision]:
        return revisions.revisions(self._session.cluster, self._session.namespace, self._kept["release"])

    @property
    def _there(self) -> Optional[Revision]:
        """Last-good's revision, while Helm's history has it."""
        return next((each for each in self._found if each.number == self._kept["revision"]), None)

    def done(self) -> bool:
        """Whether what Helm has deployed is last-good, and no client is at work."""
        newest = revisions.last(self._found)
        if newest is None or newest.status != DEPLOYED:
            return False
        same: bool = revisions.identity(newest.content()) == self._kept["sha256"]
        return same

    def findings(self) -> Iterator[Finding]:
        """Whether it can go back."""
        if why := at_work(self.stored.release, revisions.last(self._found), self._options["timeout"]):
            # Even where nothing is to be undone yet.
            remedy = "Wait for that run, or for its end."
            yield Finding("helm.client", "the Helm release", CRITICAL, None, why, remedy)
        if self.done():
            return
        try:
            yield Finding("helm", "Helm", OK, self._helm.version, f"helm is {self._helm.version}.")
        except MaintenanceError as error:
            yield Finding("helm", "Helm", UNMEASURED, None, error.message, error.remedy)
        yield self._pending()
        yield from self._others()
        yield self._revision()

    def _pending(self) -> Finding:
        title, newest = "the Helm release", revisions.last(self._found)
        if newest is None:
            text = f"The Helm release {printable(self._kept['release'])} is gone."
            return Finding("helm.release", title, CRITICAL, "none", text, "See who uninstalled it, and why.")
        what = f"Revision {newest.number} is {printable(newest.said, 40)}"
        if newest.status == UNKNOWN:
            return Finding("helm.release", title, UNMEASURED, None, f"{what}.", "Look at helm history.")
        if newest.status in PENDING:
            if why := whose(self.stored.release, newest, self._options["timeout"]):
                remedy = "Wait for that client; when it has died, roll back by hand (helm rollback)."
                return Finding("helm.release", title, CRITICAL, newest.said, f"{what}: {why}", remedy)
            return Finding("helm.release", title, WARNING, newest.said, f"{what}, of our own run that has died.")
        return Finding("helm.release", title, OK, newest.number, f"{what}.")

    def _others(self) -> Iterator[Finding]:
        """What another client has released since: going back would take that away too."""
        newest, kept = revisions.last(self._found), part(self.stored.release)
        if newest is None or newest.status in PENDING or newest.labels.get(LABEL) == self.stored.release.id:
            return
        if newest.number not in [kept.get(name) for name in ("revision", "found", "to", "back")]:
            text = f"Another client made revision {newest.number} since the release: an undo would take that back too."
            remedy = "See what it changed (helm get values); to go back all the same: release_overrides: [drift]."
            yield Finding("drift.helm", "changes by another client", CRITICAL, newest.number, text, remedy)

    def _revision(self) -> Finding:
        title, number, there = "the revision of before", self._kept["revision"], self._there
        if there is not None and revisions.identity(there.content()) == self._kept["sha256"]:
            return Finding("helm.revision", title, OK, number, f"Helm's history has revision {number}.")
        if there is not None:
            text = f"Revision {number} is another than the one that ran before."
            remedy = "The release was installed anew since: put it right by helm upgrade."
            return Finding("helm.revision", title, CRITICAL, number, text, remedy)
        place = (self._session.cluster, self._session.namespace, self._kept["release"])
        copy = revisions.copied(*place, self._kept["sha256"])
        if copy is not None and revisions.identity(copy) == self._kept["sha256"]:
            text = f"Helm's history has pruned revision {number}; the copy of it is put back first."
            return Finding("helm.revision", title, OK, number, text)
        text = f"Helm's history has pruned revision {number}, and no copy that it could be put back from is there."
        return Finding("helm.revision", title, CRITICAL, number, text, "Put the release right by helm upgrade.")

    def _content(self) -> Optional[Dict[str, Any]]:
        """Of last-good's revision, or of the copy; None where there is neither."""
        if self._there is not None:
            return self._there.content()
        place = (self._session.cluster, self._session.namespace, self._kept["release"])
        return revisions.copied(*place, self._kept["sha256"])

    def managed(self) -> List[str]:
        """ConfigMaps and Secrets that Helm puts back, as Kind/name."""
        content = self._content()
        if content is None:
            return []
        found = revisions.objects(content)
        named = [f"{each.get('kind')}/{(each.get('metadata') or {}).get('name')}" for each in found]
        return [each for each in named if each.partition("/")[0] in _RESTORED]

    def go(self) -> Stored:
        """Goes back; gives the record as it is then.

        :raises ReleaseError: Helm did not
        :raises ClusterError: nobody knows
        """
        session, name, number = self._session, self._kept["release"], self._kept["revision"]
        looked = revisions.last(self._found)
        self._found = self._read()
        newest = revisions.last(self._found)
        if newest is None:
            raise ReleaseError(f"The Helm release {name} is gone.", "See who uninstalled it, and why.")
        if looked is None or (looked.number, looked.status) != (newest.number, newest.status):
            text = f"Another client is at work: revision {newest.number} is {printable(newest.said, 40)}."
            raise ReleaseError(text, "Look at helm history, and run again.")
        begins(self.stored.release, "back", newest.number + 1, self._options["timeout"])
        try:
            # The phase stays: what failed is undone by the next tick when we are killed here.
            self.stored = session.save(self.stored)
        except StorageError as error:
            # What is bad is taken back all the same.
            session.say(error.message)
        if self._there is None:
            revisions.back_in_history(session.cluster, session.namespace, name, number, self._kept["sha256"])
        session.say(f"Helm release {name}: back to revision {number}")
        why, content = "", self._content() or {}
        try:
            # Last-good takes its place whoever manages it by now: what others changed was looked at before.
            given = content.get("config")
            self._helm.roll_back(number, served=revisions.served(content), force=True, values=given)
        except Missing:
            raise
        except ClusterError as error:
            why = error.message
            session.say(why)
        self._found = self._read()
        if not self.done():
            newest = revisions.last(self._found)
            text = why or f"Revision {newest.number if newest else '?'} is {newest.said if newest else 'gone'}."
            raise ReleaseError(f"Helm did not go back to revision {number}: {text}", "Look at helm history; run again.")
        return self.stored
