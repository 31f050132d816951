# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operation on a release works with, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Mapping, Optional

from .._kubernetes import configuration
from .._kubernetes.client import Cluster, path_of
from .._kubernetes.follow import Followed, follow
from .._kubernetes.rollout import Wanted, ready_within
from .._kubernetes.workloads import Seen, look
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check
from ..errors import DatabaseError
from .last_good import schema_heads
from .preflight import Finding
from .record import Store, Stored, load, save

#: States of following -> how a check shows them.
STATUS = {"complete": OK, "failed": CRITICAL, "drifted": CRITICAL, "unknown": UNKNOWN}


@dataclass
class Session:
    """Cluster, store and options of one operation.

    :param options: options.SPEC
    :param say: shows a line of progress
    :param stop: says why the work is to be given up; None while it is wanted
    """

    options: Mapping[str, Any]
    cluster: Cluster
    store: Store
    run_id: str
    actor: str
    say: Callable[[str], None] = lambda _text: None
    stop: Callable[[], Optional[str]] = lambda: None

    @property
    def namespace(self) -> str:
        return str(self.options["namespace"])

    @property
    def container(self) -> str:
        return str(self.options["container"])

    @property
    def path(self) -> str:
        """Of the Deployment."""
        return path_of("Deployment", self.namespace, self.options["deployment"])

    @property
    def kubernetes(self) -> Dict[str, Any]:
        """What leads another client to the very same cluster: the current context of a kubeconfig may be changed."""
        given: Dict[str, Any] = self.options["kubernetes"]
        return {**given, "context": self.cluster.context} if self.cluster.context else given

    @property
    def measured_by(self) -> Dict[str, Any]:
        """Options of live.read()."""
        return {**self.options["analysis"], "port": self.options["port"]}

    def look(self) -> Seen:
        """The Deployment as it is now."""
        return look(self.cluster, self.namespace, self.options["deployment"])

    def stored(self) -> Optional[Stored]:
        """The record of now."""
        return load(self.store, self.options["application"], self.namespace)

    def save(self, stored: Stored, phase: str = "") -> Stored:
        """Writes the record as it is, on the condition that nobody else has."""
        if phase:
            stored.release.phase = phase
        return save(self.store, stored.release, stored.etag)

    def objects(self, template: Mapping[str, Any]) -> Dict[str, Optional[Dict[str, Any]]]:
        """ConfigMaps and Secrets of a template, with their kind."""
        found = configuration.read(self.cluster, self.namespace, template)
        return {
            name: None if thing is None else {**thing, "kind": name.partition("/")[0]} for name, thing in found.items()
        }

    def heads(self) -> Optional[List[str]]:
        """The schema's revisions; None when nobody can say."""
        try:
            return schema_heads(self.options["database"])
        except DatabaseError as error:
            self.say(error.message)
            return None

    def followed(
        self, template: Dict[str, Any], before: Seen, digests: tuple[str, ...], drift: List[str], deadline: float = 0
    ) -> Followed:
        """Follows a rollout to its end. Who scales meanwhile is told of, and goes on: that is no change of version.

        :param template: as the API has it
        :param before: before the change
        :param digests: that pods may run
        :param drift: what others did meanwhile is added
        """
        within = ready_within(template, self.container, self.options["ready_slack"], before.pods_of(before.current()))
        wanted = Wanted(template, before.replicas, self.container, digests, within)
        left, events = float(deadline or self.options["deadline"]), []
        spent = 0.0
        while True:
            found = follow(
                self.look,
                wanted,
                deadline=max(left - spent, 1.0),
                say=self.say,
                interval=self.options["interval"],
                steady=self.options["steady"],
                wall=lambda: datetime.now(timezone.utc),
                stop=self.stop,
            )
            for each in found.events:
                each["seconds"] = round(each["seconds"] + spent, 3)
            events += found.events
            if found.noticed is not None:
                found.noticed = round(found.noticed + spent, 3)
            found.seconds = round(found.seconds + spent, 3)
            found.events = events
            if found.state != "drifted" or found.reason != "replicas" or found.seen is None:
                return found
            drift.append(found.message)
            wanted.replicas = found.seen.replicas
            spent = found.seconds


@dataclass
class Outcome:
    """What came of it.

    :param findings: what was looked at before
    :param checks: what came afterwards
    :param changed: whether the cluster was
    :param going_on: whether it goes on with one that was begun
    :param events: for the timeline: {at, seconds, state, message}
    :param record: a summary for the ledger
    """

    findings: List[Finding] = field(default_factory=list)
    checks: List[Check] = field(default_factory=list)
    events: List[Dict[str, Any]] = field(default_factory=list)
    changed: bool = False
    nothing: str = ""
    going_on: bool = False
    failed: str = ""
    record: Dict[str, Any] = field(default_factory=dict)
    before: Dict[str, Any] = field(default_factory=dict)
    after: Dict[str, Any] = field(default_factory=dict)

    @property
    def forbidden(self) -> List[Finding]:
        return [each for each in self.findings if each.forbids]

    def all_checks(self) -> List[Check]:
        return [*(each.check() for each in self.findings), *self.checks]


def drift_check(drift: List[str]) -> List[Check]:
    """What somebody else did meanwhile."""
    if not drift:
        return []
    text = " ".join(drift)
    return [
        Check("release.drift", "Changed by hand", WARNING, len(drift), message=text, remedy="See who did, and why.")
    ]


def rollout_check(id: str, title: str, followed: Followed) -> Check:
    """How following ended."""
    details = {"events": followed.events, "seconds": followed.seconds, "noticed": followed.noticed}
    return Check(
        id,
        title,
        STATUS[followed.state],
        None if followed.state == "unknown" else followed.state,
        message=followed.message,
        remedy=""
        if followed.state == "complete"
        else "See the timeline, and kubectl get events, which has those of pods that an undo removed, too.",
        source="API of Kubernetes",
        details=details,
    )
