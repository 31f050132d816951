# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Job of one pod: how far it is, judged from what the API says, and followed until it is over."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from ..checks import utc_now
from ..errors import ClusterError
from ..words import printable
from .client import Cluster, Missing, path_of
from .follow import NOT_UNDERSTOOD, unseen
from .rollout import FAILING_WAITS, GOOD_WAITS, UNSCHEDULABLE, moment
from .workloads import condition, owner

#: It has ended well; it has ended, and not well; it goes on; it does not get on; nobody knows.
COMPLETE, FAILED, RUNNING, STUCK, UNKNOWN = "complete", "failed", "running", "stuck", "unknown"
#: Reasons of the condition Failed that are known here.
FAILURES = ("BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy")
#: Conditions by which it has ended, by which it is about to, and by which somebody holds it up.
_ENDED, _ENDING, _HELD = ("Complete", "Failed"), ("SuccessCriteriaMet", "FailureTarget"), "Suspended"
#: Seconds in which the controller must have made the pod.
NO_POD = 60.0


@dataclass
class Judged:
    """How far it is.

    :param reason: the API's own word where it has one
    :param patience: seconds for which it may be stuck
    """

    state: str
    reason: str
    message: str
    patience: float = 0.0


@dataclass
class Ended:
    """How it ended.

    :param state: complete, failed, or unknown
    :param pod: its newest one; None when there is none any more
    :param exit_code: of its container; None when it is not known
    """

    state: str
    reason: str
    message: str
    seconds: float
    pod: Optional[Dict[str, Any]] = None
    events: List[Dict[str, Any]] = field(default_factory=list)

    @property
    def exit_code(self) -> Optional[int]:
        for each in ((self.pod or {}).get("status") or {}).get("containerStatuses") or []:
            code = ((each.get("state") or {}).get("terminated") or {}).get("exitCode")
            return code if isinstance(code, int) else None
        return None


def judge(job: Mapping[str, Any], pods: List[Dict[str, Any]], now: datetime) -> Judged:
    """How far it is. Pure.

    :param pods: its own
    """
    status = job.get("status") or {}
    holds = [each for each in status.get("conditions") or [] if each.get("status") == "True"]
    strange = [each for each in holds if each.get("type") not in (*_ENDED, *_ENDING, _HELD)]
    by_type = {str(each.get("type")): each for each in holds}
    if strange:
        name = printable(strange[0].get("type"), 60)
        return Judged(UNKNOWN, name, f"The Job's condition {name} is not known here.")
    if "Failed" in by_type:
        reason = printable(by_type["Failed"].get("reason") or "", 60)
        said = printable(by_type["Failed"].get("message") or "no message", 300)
        if reason not in FAILURES:
            return Judged(UNKNOWN, reason, f"The Job failed by a reason that is not known here: {reason}: {said}")
        return Judged(FAILED, reason, f"The Job failed ({reason}): {said}")
    if "Complete" in by_type:
        return Judged(COMPLETE, "Complete", "The Job is complete.")
    if job["metadata"].get("deletionTimestamp"):
        return Judged(UNKNOWN, "deleted", "Somebody deletes the Job.")
    if _HELD in by_type:
        return Judged(UNKNOWN, _HELD, "Somebody has suspended the Job.")
    found = [each for pod in pods for each in _of_pod(pod)]
    for state in (UNKNOWN, STUCK):
        matching = sorted((each for each in found if each.state == state), key=lambda each: each.patience)
        if matching:
            return matching[0]
    if not pods:
        age = (now - moment(str(job["metadata"]["creationTimestamp"]))).total_seconds()
        text = f"No pod of the Job is there {age:.0f} s after it was made: see its events, such as for the quota."
        return Judged(STUCK if age > NO_POD else RUNNING, "pod", text)
    return Judged(RUNNING, "", "The tests run." if found else "The tests' pod starts.")


def _of_pod(pod: Mapping[str, Any]) -> Iterator[Judged]:
    """Why it does not get on; RUNNING once it runs."""
    status, name = pod.get("status") or {}, str(pod["metadata"]["name"])
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        reason, said = printable(scheduled.get("reason"), 60), printable(scheduled.get("message"), 300)
        if reason == "Unschedulable":
            yield Judged(STUCK, reason, f"No node takes pod {name}: {said}", UNSCHEDULABLE)
        elif reason != "SchedulingGated":
            yield Judged(UNKNOWN, reason, f"Pod {name} is not scheduled because of {reason}: {said}")
        return
    if status.get("phase") not in ("Pending", "Running", "Succeeded", "Failed"):
        yield Judged(UNKNOWN, "phase", f"Pod {name} is in phase {printable(status.get('phase'), 40)}.")
        return
    for each in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        state = each.get("state") or {}
        if "waiting" in state:
            reason = str(state["waiting"].get("reason") or "")
            said = printable(state["waiting"].get("message") or "no message", 300)
            text = f"Pod {name} waits in {printable(reason, 60) if reason else 'a way that it does not name'}: {said}"
            if reason in FAILING_WAITS:
                yield Judged(STUCK, reason, text, FAILING_WAITS[reason])
            elif reason not in GOOD_WAITS:
                yield Judged(UNKNOWN, printable(reason, 60) if reason else "waiting", text)
        elif "running" in state:
            yield Judged(RUNNING, "", "The tests run.")


def pods_of(cluster: Cluster, namespace: str, job: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """Its pods, the newest last."""
    labels = f"batch.kubernetes.io/job-name={job['metadata']['name']}"
    found = cluster.items(path_of("Pod", namespace), labelSelector=labels)
    mine = [each for each in found if owner(each) == job["metadata"]["uid"]]
    return sorted(mine, key=lambda each: str(each["metadata"]["creationTimestamp"]))


def follow(
    cluster: Cluster,
    namespace: str,
    job: Mapping[str, Any],
    *,
    deadline: float,
    interval: float = 1.0,
    say: Callable[[str], None] = lambda _text: None,
    stop: Callable[[], Optional[str]] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Ended:
    """Follows exactly this Job until it has ended, cannot begin, or the time is over.

    An API that does not answer is waited for until then. What is not known is followed until then, and is unknown.

    :param job: as the API gave it
    :param deadline: seconds
    """
    path, uid = path_of("Job", namespace, str(job["metadata"]["name"])), job["metadata"]["uid"]
    begun = clock()
    events: List[Dict[str, Any]] = []
    last: Tuple[str, str] = ("", "")
    stuck: Dict[str, float] = {}
    pod: Optional[Dict[str, Any]] = None
    while True:
        try:
            seen = cluster.get(path)
            if seen["metadata"]["uid"] != uid:
                raise Missing("Another Job has its name by now.", "See who made it.")
            pods = pods_of(cluster, namespace, seen)
            pod = pods[-1] if pods else pod
            found = judge(seen, pods, datetime.now(timezone.utc))
        except Missing as error:
            return Ended(UNKNOWN, "gone", f"The Job is gone: {error.message}", clock() - begun, pod, events)
        except (ClusterError, *NOT_UNDERSTOOD) as error:
            found = Judged(UNKNOWN, *unseen(error))
        now = round(clock() - begun, 3)
        if (found.state, found.reason) != last:
            last = (found.state, found.reason)
            events.append({"at": utc_now(), "seconds": now, "state": found.state, "message": found.message})
            say(found.message)
        if found.state in (COMPLETE, FAILED):
            return Ended(found.state, found.reason, found.message, now, pod, events)
        stuck = {found.reason: stuck.get(found.reason, now)} if found.state == STUCK else {}
        if stuck and now - stuck[found.reason] >= found.patience:
            return Ended(UNKNOWN, found.reason, found.message, now, pod, events)
        why = stop()
        if why or now > deadline:
            text = why or f"It has not ended within {deadline:.0f} s. {found.message}"
            return Ended(UNKNOWN, found.reason or "deadline", text, now, pod, events)
        pause(interval)
