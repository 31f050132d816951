# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a rollout is, judged from what the API says.

Good is only what is recognised as good: a reason that is not in the lists below is unknown, is named, and is followed
until the deadline.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ..words import plural, printable
from .workloads import Seen, condition, container, differences, running_digests, same_template

PROGRESSING, COMPLETE, FAILING, FAILED, DRIFTED, UNKNOWN = (
    *("progressing", "complete", "failing", "failed", "drifted", "unknown"),
)
#: States that end it. What is failing becomes failed when it stays so for its time.
ENDS = (COMPLETE, FAILED, DRIFTED)

#: Why a container waits -> seconds after which it is not waited for any more.
FAILING_WAITS: Dict[str, float] = {
    "CrashLoopBackOff": 0,
    "ImagePullBackOff": 0,
    "ErrImagePull": 6,
    "InvalidImageName": 0,
    "ErrImageNeverPull": 0,
    "ErrInvalidImageName": 0,
    "ImageInspectError": 6,
    "RegistryUnavailable": 6,
    "SignatureValidationFailed": 0,
    "CreateContainerConfigError": 4,
    "CreateContainerError": 4,
    "RunContainerError": 4,
    "PreCreateHookError": 4,
    "PreStartHookError": 4,
    "PostStartHookError": 4,
}
GOOD_WAITS = ("ContainerCreating", "PodInitializing")
#: Conditions of a Deployment, and reasons of Progressing.
CONDITIONS = ("Available", "Progressing", "ReplicaFailure")
MOVING = ("NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated", "DeploymentResumed")
AVAILABLE = "NewReplicaSetAvailable"
#: Seconds that a quota, a full cluster, or a start that ended may stand in the way.
QUOTA, UNSCHEDULABLE, ENDED = 4.0, 8.0, 2.0
#: Seconds for which a restart counts.
RECENT = 600.0


@dataclass
class Wanted:
    """What is rolled out.

    :param template: the pod template as the API gave it back
    :param replicas: how many; None when somebody else decides that (an autoscaler)
    :param container: whose digest is proven in each pod
    :param digests: of which every pod must run one: the image's, and where it is an index those of its images; none:
        not proven
    :param ready_within: seconds from the start of a container until it must be ready; 0: only the progress deadline
    """

    template: Dict[str, Any]
    replicas: Optional[int]
    container: str
    digests: Tuple[str, ...] = ()
    ready_within: float = 0.0


@dataclass
class Judgement:
    """How far it is.

    :param reason: of what is failing or unknown: a short word, the API's own where it has one
    :param message: one sentence
    :param patience: seconds for which it may be failing
    """

    state: str
    reason: str = ""
    message: str = ""
    patience: float = 0.0
    counts: Dict[str, Any] = field(default_factory=dict)


def judge(seen: Seen, wanted: Wanted, now: Optional[datetime] = None) -> Judgement:
    """How far a rollout is. Pure: the same pictures give the same answer.

    :param now: of the cluster, for what must be ready by then
    """
    counts = counted(seen)
    moment = now or datetime.now(timezone.utc)
    found = [*_drift(seen, wanted), *_controller(seen), *_pods(seen, wanted, moment)]
    for state in (DRIFTED, FAILED, FAILING, UNKNOWN, PROGRESSING):
        # Of several that are failing the one with the least patience says when it is over.
        matching = sorted((each for each in found if each.state == state), key=lambda each: each.patience)
        if matching:
            matching[0].counts = counts
            return matching[0]
    return Judgement(COMPLETE, AVAILABLE, f"All {plural(seen.replicas, 'pod')} run and are ready.", counts=counts)


def counted(seen: Seen) -> Dict[str, Any]:
    """Figures of the Deployment's status: wanted, updated, ready, available, total."""
    status = seen.deployment.get("status") or {}
    names = {"updated": "updatedReplicas", "ready": "readyReplicas", "available": "availableReplicas"}
    found = {name: int(status.get(key) or 0) for name, key in names.items()}
    return {"wanted": seen.replicas, **found, "total": int(status.get("replicas") or 0)}


def _drift(seen: Seen, wanted: Wanted) -> Iterator[Judgement]:
    """What somebody else has changed meanwhile."""
    if not same_template(seen.template, wanted.template):
        places = differences(wanted.template, seen.template)
        text = f"Somebody has changed the pod template meanwhile: {', '.join(places[:5])}."
        yield Judgement(DRIFTED, "template", text)
    if wanted.replicas is not None and seen.replicas != wanted.replicas:
        text = f"Somebody has scaled it meanwhile, from {wanted.replicas} to {seen.replicas}."
        yield Judgement(DRIFTED, "replicas", text)
    if seen.deployment["spec"].get("paused"):
        yield Judgement(UNKNOWN, "paused", "Somebody has paused the rollout (kubectl rollout resume goes on).")
    if seen.deployment["metadata"].get("deletionTimestamp"):
        yield Judgement(FAILED, "deleted", "The Deployment is being deleted.")


def _controller(seen: Seen) -> Iterator[Judgement]:
    """What the Deployment's controller says."""
    generation = seen.deployment["metadata"].get("generation")
    observed = (seen.deployment.get("status") or {}).get("observedGeneration")
    if not isinstance(generation, int) or not isinstance(observed, int) or observed < generation:
        # Until then its conditions are those of before.
        yield Judgement(PROGRESSING, "unobserved", "The controller has not seen the change yet.")
        return
    for each in (seen.deployment.get("status") or {}).get("conditions") or []:
        if each.get("type") not in CONDITIONS:
            name = printable(each.get("type"), 60)
            yield Judgement(UNKNOWN, name, f"The Deployment's condition {name} is not known here.")
    progressing, failure = condition(seen.deployment, "Progressing"), condition(seen.deployment, "ReplicaFailure")
    reason, said = str(progressing.get("reason") or ""), printable(progressing.get("message"), 300)
    if reason == "ProgressDeadlineExceeded":
        yield Judgement(FAILED, reason, f"The progress deadline has passed: {said}")
    elif reason == "ReplicaSetCreateError":
        yield Judgement(FAILING, reason, f"The ReplicaSet cannot be made: {said}", QUOTA)
    elif not progressing:
        yield Judgement(PROGRESSING, "unobserved", "The controller has not said yet how far it is.")
    elif (reason not in (*MOVING, AVAILABLE)) or progressing.get("status") != "True":
        text = f"Progressing is {printable(progressing.get('status'), 20)} because of {printable(reason, 60)}: {said}"
        yield Judgement(UNKNOWN, printable(reason, 60) or "Progressing", text)
    elif reason in MOVING:
        yield Judgement(PROGRESSING, reason, _how_far(seen))
    if failure and failure.get("status") != "False":
        yield _cannot_make(failure)
    for each in seen.replicasets:
        broken = condition(each, "ReplicaFailure")
        if broken and broken.get("status") != "False":
            yield _cannot_make(broken)
    counts = counted(seen)
    if not seen.replicas:
        yield Judgement(UNKNOWN, "replicas", "No pod is wanted: nothing shows whether the version is good.")
    if set(counts.values()) != {seen.replicas}:
        yield Judgement(PROGRESSING, "rolling", _how_far(seen))
    available = condition(seen.deployment, "Available")
    if available.get("status") != "True":
        yield Judgement(PROGRESSING, "unavailable", _how_far(seen))


def _cannot_make(failure: Mapping[str, Any]) -> Judgement:
    """Why no pod can be made."""
    reason, said = printable(failure.get("reason"), 60), printable(failure.get("message"), 400)
    if failure.get("reason") == "FailedCreate":
        what = "The quota does not allow another pod" if "exceeded quota" in str(failure.get("message")) else ""
        return Judgement(FAILING, reason, f"{what or 'Pods cannot be made'}: {said}", QUOTA)
    if failure.get("reason") == "FailedDelete":
        return Judgement(FAILING, reason, f"Pods cannot be deleted: {said}", 60.0)
    return Judgement(UNKNOWN, reason or "ReplicaFailure", f"ReplicaFailure: {said}")


def _how_far(seen: Seen) -> str:
    counts = counted(seen)
    old = max(counts["total"] - counts["updated"], 0)
    return (
        f"{counts['updated']} of {plural(counts['wanted'], 'pod')} updated, {len(seen.ready())} of them ready,"
        f" {old} of before still there."
    )


def _pods(seen: Seen, wanted: Wanted, now: datetime) -> Iterator[Judgement]:
    """What the pods of the template say."""
    current = seen.current()
    pods = seen.pods_of(current)
    if current is None:
        yield Judgement(PROGRESSING, "replicaset", "There is no ReplicaSet of the template yet.")
    ready = 0
    for pod in pods:
        name = str(pod["metadata"]["name"])
        judged = list(_of_pod(pod, name, wanted, now))
        yield from judged
        if judged:
            continue
        ready += 1
        running = running_digests(pod, wanted.container)
        if wanted.digests and running not in wanted.digests:
            text = f"Pod {name} runs {running or 'an image that it does not name by digest'}, not {wanted.digests[0]}."
            yield Judgement(UNKNOWN, "digest", text)
    if ready < seen.replicas or len(pods) != seen.replicas:
        yield Judgement(PROGRESSING, "pods", f"{ready} of {plural(seen.replicas, 'pod')} ready.")
    for each in seen.replicasets:
        if each is not current and seen.pods_of(each):
            yield Judgement(PROGRESSING, "old", "Pods of before are still there.")
            return


def _of_pod(pod: Mapping[str, Any], name: str, wanted: Wanted, now: datetime) -> Iterator[Judgement]:
    """Why a pod is not well; nothing when it is ready."""
    status = pod.get("status") or {}
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        said = printable(scheduled.get("message"), 300)
        if scheduled.get("reason") == "Unschedulable":
            yield Judgement(FAILING, "Unschedulable", f"No node takes pod {name}: {said}", UNSCHEDULABLE)
        else:
            reason = printable(scheduled.get("reason"), 60)
            yield Judgement(UNKNOWN, reason, f"Pod {name} is not scheduled because of {reason}: {said}")
        return
    if status.get("phase") in ("Failed", "Succeeded"):
        reason = printable(status.get("reason") or status.get("phase"), 60)
        said = printable(status.get("message") or "", 200)
        yield Judgement(FAILING, reason, f"Pod {name} has ended ({reason}) {said}".strip(), ENDED)
        return
    if status.get("phase") not in ("Pending", "Running"):
        yield Judgement(UNKNOWN, "phase", f"Pod {name} is in phase {printable(status.get('phase'), 40)}.")
        return
    waits = list(_waits(status, name, now))
    yield from waits
    if condition(pod, "Ready").get("status") == "True":
        return
    late = None if waits else _late(pod, name, wanted, now)
    if late is not None:
        yield late
    else:
        yield Judgement(PROGRESSING, "unready", f"Pod {name} is not ready yet.")


def _waits(status: Mapping[str, Any], name: str, now: datetime) -> Iterator[Judgement]:
    """What containers wait for, or ended by."""
    for key in ("initContainerStatuses", "containerStatuses"):
        for each in status.get(key) or []:
            state, which = each.get("state") or {}, f"{name}/{each.get('name')}"
            if "waiting" in state:
                reason = str(state["waiting"].get("reason") or "")
                said = printable(state["waiting"].get("message") or "", 300)
                text = (
                    f"{which} waits in {printable(reason, 60) or 'a way that it does not name'}: {said or 'no message'}"
                )
                if reason in FAILING_WAITS:
                    yield Judgement(FAILING, reason, text, FAILING_WAITS[reason])
                elif reason not in GOOD_WAITS:
                    yield Judgement(UNKNOWN, printable(reason, 60) or "waiting", text)
            elif "terminated" in state and not (key.startswith("init") and state["terminated"].get("exitCode") == 0):
                reason = printable(state["terminated"].get("reason") or "", 60)
                code = printable(state["terminated"].get("exitCode"), 20)
                yield Judgement(FAILING, reason or "Error", f"{which} has ended with {code} ({reason}).", ENDED)
            elif int(each.get("restartCount") or 0) >= 2 and _just_ended(each, now):
                last = each["lastState"]["terminated"]
                text = (
                    f"{which} was restarted {each['restartCount']} times ({printable(last.get('reason') or '', 60)})."
                )
                yield Judgement(FAILING, "restarts", text, 0)


def _just_ended(status: Mapping[str, Any], now: datetime) -> bool:
    """Whether a container ended not long ago: restarts of last month say nothing about now."""
    ended = ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
    return bool(ended) and (now - moment(str(ended))).total_seconds() < RECENT


def _late(pod: Mapping[str, Any], name: str, wanted: Wanted, now: datetime) -> Optional[Judgement]:
    """A pod that runs and should have become ready by now."""
    if wanted.ready_within <= 0:
        return None
    begun = [
        each["state"]["running"]["startedAt"]
        for each in (pod.get("status") or {}).get("containerStatuses") or []
        if "running" in (each.get("state") or {})
    ]
    if len(begun) != len(pod["spec"]["containers"]):
        return None
    since = max((now - moment(each)).total_seconds() for each in begun)
    if since <= wanted.ready_within:
        return None
    said = printable(condition(pod, "Ready").get("message") or "", 200)
    text = f"Pod {name} has not become ready within {wanted.ready_within:.0f} s of its start. {said}".strip()
    return Judgement(FAILING, "NotReady", text, 2.0)


def moment(text: str) -> datetime:
    """A time of the API's.

    :raises ValueError: it is none
    """
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def ready_within(template: Mapping[str, Any], name: str, more: float, pods: List[Dict[str, Any]]) -> float:
    """Seconds from its start within which a container must be ready: what its probes allow, or three times what the
    slowest pod of before took, and some more.

    :param more: added; 0 or less: nothing is demanded
    :param pods: of before
    """
    if more <= 0:
        return 0.0
    allowed = 0.0
    spec = container(template, name)
    for key in ("startupProbe", "readinessProbe"):
        probe = spec.get(key) or {}
        if probe:
            tries = float(probe.get("failureThreshold") or 3) * float(probe.get("periodSeconds") or 10)
            allowed += float(probe.get("initialDelaySeconds") or 0) + tries
    took = []
    for pod in pods:
        ready = condition(pod, "Ready")
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        begun = [each["state"]["running"]["startedAt"] for each in statuses if "running" in (each.get("state") or {})]
        restarted = any(int(each.get("restartCount") or 0) for each in statuses)
        if ready.get("status") == "True" and begun and not restarted:
            took.append((moment(str(ready["lastTransitionTime"])) - min(map(moment, begun))).total_seconds())
    # One that lost its readiness once and got it back says nothing about its start.
    slowest = max((each for each in took if each <= 600), default=0.0)
    return max(allowed, 3 * slowest) + float(template["spec"].get("minReadySeconds") or 0) + more
