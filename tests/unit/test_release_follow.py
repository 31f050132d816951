"""The judgement of a rollout: what is recognised as good, as failing, and that everything else is unknown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import Missing, Unanswered
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.follow import follow
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.rollout import (
    COMPLETE,
    DRIFTED,
    FAILED,
    FAILING,
    PROGRESSING,
    UNKNOWN,
    Wanted,
    judge,
    ready_within,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.workloads import Seen

from tests.unit.release_fixtures import (
    NAME,
    NEW,
    OLD,
    condition,
    pod,
    replicaset,
    rolling,
    seen,
    template,
    waiting,
)

WANTED = Wanted(template(NEW), 3, NAME, (NEW,), ready_within=20)
SOON = datetime(2026, 11, 30, 12, 0, 10, tzinfo=UTC)


def test_all_updated_ready_and_observed_is_complete() -> None:
    assert judge(seen(), WANTED, SOON).state == COMPLETE


@pytest.mark.parametrize("field", ["updatedReplicas", "readyReplicas", "availableReplicas", "replicas"])
@pytest.mark.parametrize("count", [0, 2, 4])
def test_one_pod_less_or_more_is_not(field: str, count: int) -> None:
    found = seen()
    found.deployment["status"][field] = count
    assert judge(found, WANTED, SOON).state == PROGRESSING


def change(found: Seen, how: str) -> None:
    status, metadata = found.deployment["status"], found.deployment["metadata"]
    progressing = status["conditions"][1]
    if how == "generation":
        metadata["generation"] = 3
    elif how == "no generation":
        del status["observedGeneration"]
    elif how == "no conditions":
        status["conditions"] = []
    elif how == "unavailable":
        status["conditions"][0]["status"] = "False"
    elif how == "moving":
        progressing["reason"] = "ReplicaSetUpdated"
    elif how == "no replicaset":
        found.replicasets = []
    elif how == "old pods":
        found.replicasets.append(replicaset(OLD, 1))
        found.pods.append(pod(OLD))
    elif how == "pod unready":
        found.pods[0] = pod(NEW, 0, ready=False)
    elif how == "pod missing":
        found.pods.pop()
    elif how == "reason":
        progressing["reason"] = "Contemplating"
    elif how == "progressing":
        progressing["status"] = "Unknown"
    elif how == "condition":
        status["conditions"].append(condition("Blessed", "True"))
    elif how == "failure":
        status["conditions"].append(condition("ReplicaFailure", "True", "FailedPrayer"))
    elif how == "waiting":
        found.pods[0] = waiting(NEW, "Levitating")
    elif how == "phase":
        found.pods[0]["status"]["phase"] = "Unknown"
    elif how == "digest":
        found.pods[0] = pod(NEW)
        found.pods[0]["status"]["containerStatuses"][0]["imageID"] = f"registry/app@{OLD}"
    elif how == "no digest":
        found.pods[0]["status"]["containerStatuses"][0]["imageID"] = "sha256:cafe"
    elif how == "gated":
        found.pods[0]["status"]["conditions"][0].update(status="False", reason="SchedulingGated")
    elif how == "none wanted":
        found.deployment["spec"]["replicas"] = 0
        status.update(replicas=0, updatedReplicas=0, readyReplicas=0, availableReplicas=0)
        found.pods = []


@pytest.mark.parametrize(
    ("how", "state"),
    [
        *((how, PROGRESSING) for how in ("generation", "no generation", "no conditions", "unavailable", "moving")),
        *((how, PROGRESSING) for how in ("no replicaset", "old pods", "pod unready", "pod missing")),
        *((how, UNKNOWN) for how in ("reason", "progressing", "condition", "failure", "waiting", "phase", "digest")),
        *((how, UNKNOWN) for how in ("no digest", "gated")),
    ],
)
def test_what_is_not_recognised_is_never_good(how: str, state: str) -> None:
    found = seen()
    change(found, how)
    assert judge(found, WANTED, SOON).state == state


def test_no_pods_are_no_proof() -> None:
    found = seen()
    change(found, "none wanted")
    assert judge(found, Wanted(template(NEW), 0, NAME), SOON).state == UNKNOWN


@pytest.mark.parametrize(
    "reason",
    [
        *("CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
    ],
)
def test_a_container_that_cannot_start_is_failing_while_all_else_looks_well(reason: str) -> None:
    found = judge(rolling(waiting(NEW, reason)), WANTED, SOON)
    assert (found.state, found.reason) == (FAILING, reason)
    assert found.patience <= 6


def test_a_quota_is_seen_while_old_pods_are_ready() -> None:
    """kubernetes.core's wait calls this one a success."""
    found = rolling()
    found.deployment["status"].update(replicas=3, updatedReplicas=0)
    failure = condition("ReplicaFailure", "True", "FailedCreate", 'pods "x" is forbidden: exceeded quota: small')
    found.deployment["status"]["conditions"].append(failure)
    judged = judge(found, WANTED, SOON)
    assert (judged.state, judged.reason) == (FAILING, "FailedCreate")
    assert "quota" in judged.message


def test_of_a_replicaset_it_is_seen_before_the_deployment_says_so() -> None:
    found = rolling()
    found.replicasets[1] = replicaset(NEW, 1, [condition("ReplicaFailure", "True", "FailedCreate", "forbidden")])
    assert judge(found, WANTED, SOON).state == FAILING


def test_unschedulable() -> None:
    lonely = pod(NEW, ready=False, phase="Pending", containerStatuses=[])
    lonely["status"]["conditions"] = [condition("PodScheduled", "False", "Unschedulable", "0/1 nodes")]
    judged = judge(rolling(lonely), WANTED, SOON)
    assert (judged.state, judged.reason) == (FAILING, "Unschedulable")


def test_the_progress_deadline() -> None:
    found = rolling(pod(NEW, ready=False))
    found.deployment["status"]["conditions"][1].update(status="False", reason="ProgressDeadlineExceeded")
    assert judge(found, WANTED, SOON).state == FAILED


def test_a_condition_of_before_the_change_is_not_believed() -> None:
    found = rolling()
    found.deployment["status"]["conditions"][1].update(status="False", reason="ProgressDeadlineExceeded")
    found.deployment["metadata"]["generation"] = 3
    assert judge(found, WANTED, SOON).state == PROGRESSING


def test_one_that_does_not_become_ready_fails_long_before_the_progress_deadline() -> None:
    late = datetime(2026, 11, 30, 12, 0, 25, tzinfo=UTC)
    found = rolling(pod(NEW, ready=False))
    assert judge(found, WANTED, SOON).state == PROGRESSING
    judged = judge(found, WANTED, late)
    assert (judged.state, judged.reason) == (FAILING, "NotReady")


def test_what_its_probes_allow() -> None:
    probes = template(NEW)
    assert ready_within(probes, NAME, 10, []) == 13
    probes["spec"]["containers"][0]["startupProbe"] = {"failureThreshold": 30, "periodSeconds": 2}
    assert ready_within(probes, NAME, 10, []) == 73
    slow = pod(OLD)
    slow["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = "2026-11-30T11:59:05Z"
    assert ready_within(template(NEW), NAME, 10, [slow]) == 190
    assert ready_within(template(NEW), NAME, 0, [slow]) == 0


def test_old_restarts_say_nothing_about_now() -> None:
    found = seen()
    status = found.pods[0]["status"]["containerStatuses"][0]
    status.update(
        restartCount=5, lastState={"terminated": {"reason": "OOMKilled", "finishedAt": "2026-11-01T00:00:00Z"}}
    )
    assert judge(found, WANTED, SOON).state == COMPLETE
    status["lastState"]["terminated"]["finishedAt"] = "2026-11-30T12:00:00Z"
    assert judge(found, WANTED, SOON).reason == "restarts"


@pytest.mark.parametrize("how", ["template", "replicas", "paused"])
def test_what_somebody_changes_meanwhile_is_drift(how: str) -> None:
    found = seen()
    if how == "template":
        found.deployment["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "DEBUG", "value": "1"}]
    elif how == "replicas":
        found.deployment["spec"]["replicas"] = 5
    else:
        found.deployment["spec"]["paused"] = True
    judged = judge(found, WANTED, SOON)
    assert (judged.state, judged.reason) == (UNKNOWN if how == "paused" else DRIFTED, how)


def test_an_autoscaler_may_scale() -> None:
    found = seen()
    assert judge(found, Wanted(template(NEW), None, NAME, (NEW,)), SOON).state == COMPLETE


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def followed(looks: Callable[[float], Seen], deadline: float = 30, **more: Any) -> Any:
    clock = Clock()
    return follow(
        lambda: looks(clock.now), WANTED, deadline=deadline, clock=clock, pause=clock.pause, wall=lambda: SOON, **more
    )


def test_it_is_followed_to_its_end() -> None:
    ended = followed(lambda now: seen() if now > 5 else rolling(waiting(NEW, "ContainerCreating")))
    assert ended.state == COMPLETE
    assert [each["state"] for each in ended.events] == [PROGRESSING, COMPLETE]
    assert ended.noticed is None


def test_complete_for_a_moment_only_is_not_complete() -> None:
    ended = followed(lambda now: seen() if now == 3 else rolling(pod(NEW, ready=False)))
    assert ended.state == UNKNOWN


@pytest.mark.parametrize("reason", ["CrashLoopBackOff", "ErrImagePull", "CreateContainerConfigError"])
def test_a_failing_one_fails_within_seconds(reason: str) -> None:
    ended = followed(lambda now: rolling(waiting(NEW, reason)), deadline=600)
    assert (ended.state, ended.reason) == (FAILED, reason)
    assert ended.seconds <= 8
    assert ended.noticed == 0


def test_what_clears_itself_in_time_has_not_failed() -> None:
    ended = followed(lambda now: rolling(waiting(NEW, "ErrImagePull")) if now < 4 else seen())
    assert ended.state == COMPLETE


def test_an_unknown_reason_is_followed_to_the_deadline_and_named() -> None:
    ended = followed(lambda now: rolling(waiting(NEW, "Levitating")))
    assert (ended.state, ended.reason, ended.seconds) == (UNKNOWN, "Levitating", 30)
    assert "Levitating" in ended.message


def gone(now: float) -> Seen:
    raise Unanswered("The API does not answer")


def test_an_api_that_comes_back_is_waited_for() -> None:
    ended = followed(lambda now: gone(now) if 2 <= now < 10 else seen() if now > 2 else rolling())
    assert ended.state == COMPLETE
    assert [each["reason"] for each in ended.events][1] == "unanswered"


def test_an_api_that_stays_away_is_never_ok() -> None:
    ended = followed(gone)
    assert (ended.state, ended.reason) == (UNKNOWN, "unanswered")


def test_a_deployment_that_is_gone_has_failed() -> None:
    def missing(_now: float) -> Seen:
        raise Missing("not found")

    assert followed(missing).state == FAILED


def test_what_makes_no_sense_is_unknown() -> None:
    broken = seen()
    broken.pods[0]["spec"] = None
    broken.pods[0]["status"]["conditions"] = "many"
    assert followed(lambda now: broken).reason == "understood"


def test_the_run_that_ended_stops_it() -> None:
    ended = followed(lambda now: rolling(), stop=lambda: "The run is gone.")
    assert (ended.state, ended.reason) == (UNKNOWN, "stopped")
