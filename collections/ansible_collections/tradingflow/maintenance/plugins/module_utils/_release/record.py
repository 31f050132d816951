# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of a release: one JSON object per application and namespace in the environment's store.

A soak is what stands here, not a process that waits. It is only replaced by who has read what is there (If-Match).
"""

from __future__ import annotations

import json
import secrets
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, Dict, List, Optional

from ..errors import ReleaseError
from .objects import ConflictError as ConflictError  # pylint: disable=useless-import-alias
from .objects import Store as Store  # pylint: disable=useless-import-alias
from .objects import damaged, put, read

VERSION = 1
ROLLING_OUT, SOAKING, FAILED, UNDONE, PROMOTED = "rolling_out", "soaking", "failed", "undone", "promoted"
#: A second Deployment has the version: beside the one of before, by its share; or in its place, which is kept.
STEPPING, SWITCHED = "stepping", "switched"
STAGED = (STEPPING, SWITCHED)
#: Closed: what is none of these is not understood. Whether a release is eligible is asked, never kept.
STATES = (ROLLING_OUT, STEPPING, SWITCHED, SOAKING, FAILED, UNDONE, PROMOTED)
#: What may follow on what. A soak may begin again; what has failed never soaks again.
FOLLOWS: Dict[str, tuple[str, ...]] = {
    ROLLING_OUT: (ROLLING_OUT, STEPPING, SWITCHED, SOAKING, FAILED, UNDONE),
    STEPPING: (STEPPING, SOAKING, FAILED, UNDONE),
    SWITCHED: (SWITCHED, SOAKING, FAILED, UNDONE),
    SOAKING: (SOAKING, FAILED, UNDONE, PROMOTED),
    FAILED: (FAILED, UNDONE),
    UNDONE: (UNDONE,),
    PROMOTED: (PROMOTED, FAILED, UNDONE),
}
#: Events kept of a release: the first and the last ones.
FIRST_EVENTS, LAST_EVENTS = 50, 250


@dataclass
class LastGood:
    """To what an undo goes back, whole: what ran before the change.

    :param digest: of the image, sha256:...
    :param image: as the pod template named it
    :param template: the pod template as the API gave it (ReplicaSets are pruned, this is not)
    :param configuration: {"ConfigMap/name": SHA-256 of its data, "Secret/name": ...}; never the data
    :param replicas: wanted
    :param schema_head: revision of the database, None when it is not known
    :param more: what else belongs to it (values, flags)
    """

    digest: str
    image: str
    template: Dict[str, Any]
    configuration: Dict[str, str]
    replicas: int
    schema_head: Optional[str] = None
    more: Dict[str, Any] = field(default_factory=dict)


@dataclass
class Event:
    """One thing that happened, for the timeline.

    :param at: RFC 3339 UTC
    :param kind: a short word: began, verified, reset, hold, resumed, failed, undone, promoted ...
    :param text: one sentence, no secret
    :param run_id: of the run that saw it
    """

    at: str
    kind: str
    text: str
    run_id: str = ""


@dataclass
class Release:
    """A release. Times are RFC 3339 UTC with seconds.

    :param id: unique, sorts by time
    :param container: whose image is changed
    :param tag: as it was asked for, e.g. v1.2.1
    :param image: repository without tag and digest, e.g. registry:5000/tradingflow/app
    :param digest: of the image that the tag named then, sha256:...
    :param previous: last-good; None for a first release
    :param configuration: hashes of ConfigMaps and Secrets when it was verified, as LastGood.configuration
    :param template_hash: of the pod template when it was verified
    :param replicas: wanted when it was verified
    :param generation: of the Deployment when it was verified
    :param verified_at: when rollout, health and version were proven; None before that
    :param state: one of STATES
    :param phase: what was being done, for whoever comes after a killed run; free
    :param baseline: measured of the previous version before the change, see analysis
    :param soak: what is wanted of the soak, and what is counted so far, see soak
    :param samples: summaries of intervals, oldest first, bounded, see samples
    :param promoted_from: id of the release whose soak allowed this one; None where none did
    :param strategy: how it comes to production in stages, and how far that is, see stages; empty when it just rolls
    :param revision: counted with every write
    :param nonce: of the last write: tells our own from another's when an answer was lost
    """

    id: str
    environment: str
    application: str
    namespace: str
    deployment: str
    container: str
    tag: str
    image: str
    digest: str
    state: str = ROLLING_OUT
    phase: str = ""
    previous: Optional[LastGood] = None
    configuration: Dict[str, str] = field(default_factory=dict)
    template_hash: str = ""
    replicas: int = 0
    generation: int = 0
    began_at: str = ""
    verified_at: Optional[str] = None
    ended_at: Optional[str] = None
    reason: str = ""
    baseline: Dict[str, Any] = field(default_factory=dict)
    soak: Dict[str, Any] = field(default_factory=dict)
    samples: List[Dict[str, Any]] = field(default_factory=list)
    events: List[Event] = field(default_factory=list)
    events_left_out: int = 0
    promoted_from: Optional[str] = None
    strategy: Dict[str, Any] = field(default_factory=dict)
    actor: str = ""
    run_id: str = ""
    revision: int = 0
    nonce: str = ""
    version: int = VERSION

    def happened(self, kind: str, text: str, *, run_id: str = "", at: str = "") -> None:
        """Adds to the timeline."""
        self.events.append(Event(at or text_of(datetime.now(timezone.utc)), kind, text, run_id or self.run_id))
        beyond = len(self.events) - FIRST_EVENTS - LAST_EVENTS
        if beyond > 0:
            del self.events[FIRST_EVENTS : FIRST_EVENTS + beyond]
            self.events_left_out += beyond

    def becomes(self, state: str, text: str, *, run_id: str = "", at: str = "", phase: str = "") -> None:
        """Changes the state, with its event. FAILED, UNDONE and PROMOTED also say why and when.

        :raises ReleaseError: it cannot follow on the state of now
        """
        if state not in FOLLOWS.get(self.state, ()):
            raise ReleaseError(
                f"Release {self.id} of {self.application} is {said(self.state)}: it cannot become {said(state)}.",
                "Look at its record's events; release again.",
            )
        if self.state != state or state in (ROLLING_OUT, SOAKING, *STAGED):
            self.happened(state, text, run_id=run_id, at=at)
        if state in (FAILED, UNDONE, PROMOTED) and self.state != state:
            self.reason, self.ended_at = text, self.events[-1].at
        # What failed and is to be undone stays so until it is, or somebody decides.
        self.phase = phase or (self.phase if state == self.state == FAILED else "")
        self.state = state

    def as_data(self) -> Dict[str, Any]:
        """As JSON data."""
        return asdict(self)


@dataclass
class Stored:
    """A record as it lies there.

    :param etag: by which it may be replaced
    :param clock: what the store said it was when it was read, and by our own clock
    """

    release: Release
    etag: str
    clock: Optional[datetime] = field(default=None, compare=False)
    read_at: Optional[datetime] = field(default=None, compare=False)


def new(
    environment: str,
    application: str,
    namespace: str,
    deployment: str,
    container: str,
    *,
    tag: str,
    image: str,
    digest: str,
    previous: Optional[LastGood],
    actor: str,
    run_id: str,
    now: Optional[datetime] = None,
) -> Release:
    """A release that is about to begin; nothing is written yet."""
    moment = now or datetime.now(timezone.utc)
    release = Release(
        id=f"{moment.astimezone(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        environment=environment,
        application=application,
        namespace=namespace,
        deployment=deployment,
        container=container,
        tag=tag,
        image=image,
        digest=digest,
        previous=previous,
        began_at=text_of(moment),
        actor=actor,
        run_id=run_id,
    )
    release.happened("began", f"{tag or digest} is to be rolled out to {namespace}.", at=release.began_at)
    return release


def load(store: Store, application: str, namespace: str, id: str = "") -> Optional[Stored]:
    """The release of now, or an ended one by its id; None when there is none.

    :raises StorageError, ReleaseError: the store does not answer, or it cannot be understood: that is not "none"
    """
    place = store.key(application, namespace, id)
    found = read(store, place)
    if found is None:
        return None
    release = parsed(found["data"], place)
    if (release.environment, release.application, release.namespace) != (store.environment, application, namespace):
        raise damaged(place, "it is of another application, namespace or environment")
    return Stored(release, found["etag"], found["clock"], found["read_at"])


def begin(store: Store, release: Release, earlier: Optional[Stored]) -> Stored:
    """Puts a new release in the place of an earlier one, which is kept under its id.

    :param earlier: what load gave just now; None when there was none
    :raises ConflictError: somebody else began one meanwhile
    :raises ReleaseError: the earlier one is still being rolled out: go on with it, or end it first
    """
    if earlier is not None:
        before = earlier.release
        if before.state in (ROLLING_OUT, *STAGED):
            raise ReleaseError(
                f"Release {before.id} ({before.tag or before.digest}) of {before.application} in {before.namespace} is"
                f" still {'being rolled out' if before.state == ROLLING_OUT else said(before.state)}, by run"
                f" {before.run_id} since {before.began_at}.",
                "Wait for it; if its run has died, run playbooks/release.yml for the same version, or undo it.",
            )
        _keep(store, before)
    return save(store, release, earlier.etag if earlier else None)


def save(store: Store, release: Release, expected_etag: Optional[str]) -> Stored:
    """Writes a record where nobody else has since it was read; gives it as it lies there now.

    :param expected_etag: of what was read; None: there must be none
    :raises ConflictError: somebody else was first: load, judge and decide again
    """
    place = store.key(release.application, release.namespace)
    written = deepcopy(release)
    written.revision, written.nonce = release.revision + 1, secrets.token_hex(8)
    condition = {"IfMatch": expected_etag} if expected_etag else {"IfNoneMatch": "*"}
    return Stored(written, _put(store, place, written, condition))


def parsed(data: bytes, place: str = "The record") -> Release:
    """A record from its bytes.

    :raises ReleaseError: it is none
    """
    try:
        found = json.loads(data)
    except ValueError as error:
        raise damaged(place, str(error)) from None
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise damaged(place, f"it is not of version {VERSION}")
    found = {**_LATER, **found}
    try:
        if set(found) != {each.name for each in fields(Release)} or found["state"] not in STATES:
            raise ValueError("it is not as this version writes it")
        for name, kind in _KINDS.items():
            # Not isinstance: what is true or false is no number.
            if found[name].__class__ is not kind:
                raise ValueError(f"{name} is no {kind.__name__}")
        for name in ("began_at", "verified_at", "ended_at"):
            if found[name] is not None:
                moment_of(found[name])
        found["events"] = [Event(**event) for event in found["events"]]
        if found["previous"] is not None:
            found["previous"] = LastGood(**found["previous"])
        return Release(**found)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(place, str(error)) from None


#: What records of before do not have.
_LATER: Dict[str, Any] = {"strategy": {}}
_KINDS: Dict[str, type] = {
    **dict.fromkeys(("id", "environment", "application", "namespace", "deployment", "container", "tag", "image"), str),
    **dict.fromkeys(("digest", "state", "phase", "template_hash", "began_at", "reason", "actor", "run_id"), str),
    **dict.fromkeys(("configuration", "baseline", "soak", "strategy"), dict),
    **dict.fromkeys(("samples", "events"), list),
    **dict.fromkeys(("replicas", "generation", "revision", "events_left_out"), int),
}


def text_of(moment: datetime) -> str:
    """RFC 3339 UTC with seconds."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str) -> datetime:
    """What text_of wrote; ValueError when it is no such time."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def said(state: str) -> str:
    """A state for people."""
    return state.replace("_", " ")


def _put(store: Store, place: str, release: Release, condition: Dict[str, str]) -> str:
    data = json.dumps(release.as_data(), sort_keys=True).encode()
    return put(store, place, data, condition, f"the record of {release.application} in {release.namespace}")


def _keep(store: Store, release: Release) -> None:
    """Keeps an ended release under its id; a run that died right after may have done so."""
    place = store.key(release.application, release.namespace, release.id)
    try:
        _put(store, place, release, {"IfNoneMatch": "*"})
    except ConflictError:
        kept = load(store, release.application, release.namespace, release.id)
        if kept is None or kept.release.id != release.id or kept.release.revision > release.revision:
            raise
        if kept.release.revision < release.revision:
            # The run died right after, and a tick or an undo has gone on with it since.
            _put(store, place, release, {"IfMatch": kept.etag})
