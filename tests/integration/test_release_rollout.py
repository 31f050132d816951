"""Releases in a real cluster: followed, proven, undone; and what goes wrong on the way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import Cluster as Api
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import undo as undoing
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.options import SPEC, checked
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.record import (
    ROLLING_OUT,
    SOAKING,
    UNDONE,
    ConflictError,
    Release,
    Store,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Outcome, Session

from sandbox.cluster import cluster as control
from tests.conftest import Playbook
from tests.end_to_end.test_daily import statements
from tests.integration.cluster_fixtures import Cluster, cluster, until

__all__ = ["cluster"]
NAME, NAMESPACE = "tradingflow-app", "staging"
GOOD, WORSE = "v1.2.0", "v1.2.3"
NEVER_READY = "v1.2.2"


class Killed(BaseException):
    """The process is gone: nothing that would clean up runs."""


def session(cluster: Cluster, say: Callable[[str], None] = lambda _text: None, **more: Any) -> Session:
    given = {
        "environment_name": "local",
        "storage": cluster.platform.storage,
        "kubernetes": {"kubeconfig": cluster.state["kubeconfig"]},
        "application": "tradingflow",
        "namespace": NAMESPACE,
        "deployment": NAME,
        "container": NAME,
        "database": cluster.platform.database,
        # The client of the sandbox asks too little within these seconds.
        "analysis": {"measures": ["memory", "restarts"]},
        "steady": 1.0,
        "interval": 0.3,
        "ready_slack": 6,
        **more,
    }
    found = ArgumentSpecValidator(SPEC).validate(given)
    assert not found.error_messages
    options = found.validated_parameters
    checked(options)
    return Session(options, Api(options["kubernetes"]), Store(options["storage"], "local"), "run", "tester", say)


def release(cluster: Cluster, version: str = WORSE, **more: Any) -> Outcome:
    return engine.run(session(cluster, version=version, **more))


def undo(cluster: Cluster, **more: Any) -> Outcome:
    return engine.run(session(cluster, action="undo", **more))


def record(cluster: Cluster) -> Release:
    stored = session(cluster, action="undo").stored()
    assert stored is not None
    return stored.release


def forbidden(outcome: Outcome) -> list[str]:
    return [each.name.partition(".")[0] for each in outcome.forbidden]


def statuses(outcome: Outcome) -> dict[str, str]:
    return {check.id: check.status for check in outcome.checks}


def digest(cluster: Cluster, version: str) -> str:
    return str(cluster.state["images"][version].partition("@")[2])


def runs(cluster: Cluster, version: str) -> None:
    """All pods are of this version, and nothing could start one of another that was undone."""
    for pod in cluster.pods():
        assert digest(cluster, version) in pod["status"]["containerStatuses"][0]["imageID"]


def owners(cluster: Cluster, version: str) -> list[str]:
    """What would start pods of a version."""
    items = cluster.get("-n", NAMESPACE, "replicasets,deployments", "-l", "")["items"]
    wanted = digest(cluster, version)
    return [each["metadata"]["name"] for each in items if wanted in json.dumps(each["spec"].get("template", {}))]


def patch(cluster: Cluster, kind: str, content: dict[str, Any]) -> None:
    cluster.kubectl("-n", NAMESPACE, "patch", kind, NAME, "--type=merge", "-p", json.dumps(content))


@contextmanager
def patched(cluster: Cluster, kind: str, content: dict[str, Any], back: dict[str, Any]) -> Iterator[None]:
    patch(cluster, kind, content)
    try:
        yield
    finally:
        patch(cluster, kind, back)


@pytest.fixture(autouse=True)
def as_before(cluster: Cluster) -> Iterator[None]:
    """Every test begins and ends with version 1.2.0 on three pods."""
    yield
    outcome = undo(cluster, overrides=["drift", "schema"], reason="the end of a test")
    assert not outcome.failed
    patch(cluster, "deployment", {"spec": {"replicas": 3}})
    cluster.settled()
    runs(cluster, GOOD)


def test_it_is_followed_proven_recorded_and_undone_however_often(cluster: Cluster) -> None:
    before = cluster.get("-n", NAMESPACE, f"deployment/{NAME}")
    said: list[str] = []
    planned = engine.run(session(cluster, version=WORSE), dry_run=True)
    assert not planned.changed
    assert planned.before["image"] == cluster.state["images"][GOOD]
    assert planned.after["image"].endswith(f":{WORSE}@{digest(cluster, WORSE)}")
    assert cluster.get("-n", NAMESPACE, f"deployment/{NAME}")["spec"] == before["spec"]
    outcome = engine.run(session(cluster, said.append, version=WORSE))
    assert statuses(outcome) == {"release.rollout": "ok", "release.verified": "ok"}
    assert outcome.changed
    assert said[0].endswith(digest(cluster, WORSE))
    runs(cluster, WORSE)
    kept = record(cluster)
    assert (kept.state, kept.digest, kept.tag) == (SOAKING, digest(cluster, WORSE), WORSE)
    assert kept.verified_at
    assert kept.previous is not None
    assert kept.previous.digest == digest(cluster, GOOD)
    assert set(kept.configuration) == {f"ConfigMap/{NAME}", f"Secret/{NAME}"}
    again = release(cluster)
    assert again.nothing
    assert not again.changed
    # What it went back to is not a matter of revisions.
    patch(cluster, "deployment", {"spec": {"revisionHistoryLimit": 0}})
    first = undo(cluster)
    assert statuses(first) == {"release.undone": "ok", "release.removed": "ok"}
    assert not first.failed
    runs(cluster, GOOD)
    assert owners(cluster, WORSE) == []
    for _time in range(2):
        more = undo(cluster)
        assert more.nothing
        assert not more.changed
    assert record(cluster).state == UNDONE
    patch(cluster, "deployment", {"spec": {"revisionHistoryLimit": 10}})


def test_one_that_never_becomes_ready_is_back_on_last_good_within_seconds(cluster: Cluster) -> None:
    outcome = release(cluster, NEVER_READY)
    assert statuses(outcome) == {"release.rollout": "critical", "release.undone": "ok", "release.removed": "ok"}
    assert outcome.record["noticed"] < 60
    assert record(cluster).state == UNDONE
    assert owners(cluster, NEVER_READY) == []
    # A later scale-up starts no bad pod.
    patch(cluster, "deployment", {"spec": {"replicas": 4}})
    cluster.settled()
    assert len(cluster.pods()) == 4
    runs(cluster, GOOD)


def test_an_image_that_does_not_exist_is_refused(cluster: Cluster) -> None:
    outcome = release(cluster, "v9.9.9")
    assert forbidden(outcome) == ["image"]
    assert not outcome.changed


def test_an_image_that_pods_cannot_pull_fails_within_seconds(cluster: Cluster) -> None:
    address = {"address": cluster.state["registry"]}
    outcome = release(cluster, image="127.0.0.1:1/tradingflow/app", registry=address)
    assert statuses(outcome)["release.rollout"] == "critical"
    assert "ImagePull" in outcome.failed
    assert outcome.record["noticed"] < 30
    assert record(cluster).state == UNDONE


def test_a_quota_without_room_is_refused_and_seen_when_it_comes_later(cluster: Cluster) -> None:
    with patched(cluster, "resourcequota", {"spec": {"hard": {"pods": "4"}}}, {"spec": {"hard": {"pods": "20"}}}):
        until(lambda: cluster.get("-n", NAMESPACE, f"resourcequota/{NAME}")["status"]["hard"]["pods"] == "4")
        assert forbidden(release(cluster)) == ["quota"]
        outcome = release(cluster, overrides=["quota"], reason="to see that it is noticed")
        assert "quota" in outcome.failed
        assert outcome.record["noticed"] < 30
        assert statuses(outcome)["release.undone"] == "ok"


def test_a_disruption_budget_that_lets_nobody_go_is_refused(cluster: Cluster) -> None:
    with patched(cluster, "pdb", {"spec": {"minAvailable": 3}}, {"spec": {"minAvailable": 2}}):
        until(lambda: cluster.get("-n", NAMESPACE, f"pdb/{NAME}")["status"].get("disruptionsAllowed") == 0)
        assert forbidden(release(cluster)) == ["disruption"]


def test_a_metric_that_never_had_data_is_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 1.0)
    metrics = {"memory": ["nobody_exports_this"]}
    outcome = release(cluster, analysis={"measures": ["memory"], "metrics": metrics})
    assert forbidden(outcome) == ["metrics"]


def test_an_api_server_that_is_gone_meanwhile_is_waited_for(cluster: Cluster) -> None:
    written = threading.Event()

    def say(text: str) -> None:
        if "->" in text:
            written.set()

    ended: list[Outcome] = []
    work = threading.Thread(target=lambda: ended.append(engine.run(session(cluster, say, version=WORSE, deadline=120))))
    work.start()
    assert written.wait(60)
    control.hold(cluster.sandbox, "kube-apiserver")
    time.sleep(2)
    control.release(cluster.sandbox, "kube-apiserver")
    work.join(120)
    assert statuses(ended[0]) == {"release.rollout": "ok", "release.verified": "ok"}
    assert "unanswered" in {each["reason"] for each in ended[0].events}


def test_one_that_stays_away_is_unknown_and_the_next_run_goes_on(cluster: Cluster) -> None:
    def say(text: str) -> None:
        if "->" in text:
            control.hold(cluster.sandbox, "kube-apiserver")

    try:
        outcome = engine.run(session(cluster, say, version=WORSE, deadline=4))
    finally:
        control.release(cluster.sandbox, "kube-apiserver")
    assert statuses(outcome) == {"release.rollout": "unknown"}
    assert record(cluster).state == ROLLING_OUT
    # Another version meanwhile: no.
    assert "record" in forbidden(release(cluster, NEVER_READY))
    assert statuses(release(cluster)) == {"release.rollout": "ok", "release.verified": "ok"}
    assert record(cluster).state == SOAKING


@pytest.mark.parametrize(
    ("phase", "then"), [("begun", "undo"), ("begun", "go on"), ("written", "undo"), ("followed", "go on")]
)
def test_a_run_that_was_killed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, phase: str, then: str) -> None:
    place, name = {"begun": (engine, "begin"), "written": (engine, "written"), "followed": (engine, "verified")}[phase]
    real = getattr(place, name)

    def killed(*args: Any, **more: Any) -> Any:
        if phase != "followed":
            real(*args, **more)
        raise Killed

    with monkeypatch.context() as patching:
        patching.setattr(place, name, killed)
        with pytest.raises(Killed):
            release(cluster)
    assert record(cluster).state == ROLLING_OUT
    outcome = release(cluster) if then == "go on" else undo(cluster)
    assert not outcome.failed
    assert not outcome.forbidden
    assert record(cluster).state == (SOAKING if then == "go on" else UNDONE)
    runs(cluster, WORSE if then == "go on" else GOOD)
    if then == "undo":
        assert owners(cluster, WORSE) == []


def test_an_undo_that_was_killed_is_gone_on_with(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    release(cluster)

    def killed(*_args: Any, **_more: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patching:
        patching.setattr(undoing, "_removed", killed)
        with pytest.raises(Killed):
            undo(cluster)
    assert not undo(cluster).failed
    assert record(cluster).state == UNDONE
    assert owners(cluster, WORSE) == []


def test_an_edit_while_pods_are_asked_is_not_taken_for_what_was_proven(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(engine, "verified")  # noqa: B009 - imported there

    def edited(*args: Any, **more: Any) -> Any:
        cluster.kubectl("-n", NAMESPACE, "set", "env", f"deployment/{NAME}", "DEBUG=1")
        return real(*args, **more)

    monkeypatch.setattr(engine, "verified", edited)
    outcome = release(cluster)
    assert statuses(outcome)["release.changed"] == "critical"
    assert record(cluster).verified_at is None


def test_an_edit_between_look_and_write_is_not_overwritten(cluster: Cluster) -> None:
    # What comes of the edit may be seen by what looks last.
    overrides: dict[str, Any] = {"overrides": ["metrics", "disruption", "quota"], "reason": "its pods are on their way"}
    work = engine._Work(session(cluster, version=WORSE, **overrides))
    cluster.kubectl("-n", NAMESPACE, "set", "env", f"deployment/{NAME}", "DEBUG=1")
    outcome = work.all(dry_run=False)
    assert statuses(outcome) == {"release.changed": "critical"}
    assert not outcome.changed
    spec = cluster.get("-n", NAMESPACE, f"deployment/{NAME}")["spec"]["template"]["spec"]["containers"][0]
    assert spec["image"] == cluster.state["images"][GOOD]
    assert {"name": "DEBUG", "value": "1"} in spec["env"]


def test_a_second_one_that_looked_at_the_same_time_is_refused(cluster: Cluster) -> None:
    overrides: dict[str, Any] = {
        "overrides": ["disruption", "quota"],
        "reason": "pods of the first one may still be on their way",
    }
    late = engine._Work(session(cluster, version=NEVER_READY, **overrides))
    assert not release(cluster).failed
    with pytest.raises(ConflictError):
        pytest.fail(f"not refused: {forbidden(late.all(dry_run=False))}")
    runs(cluster, WORSE)


def test_what_was_edited_by_hand_is_shown_and_neither_released_over_nor_undone(cluster: Cluster) -> None:
    release(cluster)
    cluster.kubectl("-n", NAMESPACE, "set", "env", f"deployment/{NAME}", "DEBUG=1")
    cluster.settled()
    assert "drift" in forbidden(release(cluster, NEVER_READY))
    refused = undo(cluster)
    assert forbidden(refused) == ["drift"]
    assert "env" in refused.forbidden[0].message
    assert not refused.changed
    assert not undo(cluster, overrides=["drift"], reason="it was me").failed
    assert owners(cluster, WORSE) == []


def test_an_undo_is_of_the_whole_and_leaves_what_others_decided(cluster: Cluster) -> None:
    release(cluster)
    ((head,),) = cluster.platform.sql("owner", "SELECT version_num FROM alembic_version")
    cluster.platform.sql("owner", "UPDATE alembic_version SET version_num = 'ffffffffffff' RETURNING 1")
    try:
        refused = undo(cluster)
    finally:
        cluster.platform.sql("owner", f"UPDATE alembic_version SET version_num = '{head}' RETURNING 1")
    assert forbidden(refused) == ["schema"]
    assert "migration_target" in refused.forbidden[0].remedy
    runs(cluster, WORSE)
    patch(cluster, "deployment", {"spec": {"replicas": 4}})
    patch(cluster, "configmap", {"data": {"TRADINGFLOW_STAGE": "elsewhere"}})
    outcome = undo(cluster)
    assert statuses(outcome)["release.drift"] == "warning"
    assert len(cluster.pods()) == 4
    assert [each.status for each in outcome.findings if each.name == "restored"] == ["warning"]
    assert cluster.get("-n", NAMESPACE, f"configmap/{NAME}")["data"]["TRADINGFLOW_STAGE"] == NAMESPACE
    # What was there meanwhile is not lost.
    copies = cluster.get("-n", NAMESPACE, "configmaps")["items"]
    assert "elsewhere" in {(each.get("data") or {}).get("TRADINGFLOW_STAGE") for each in copies}


def test_a_version_for_another_schema_is_refused(cluster: Cluster) -> None:
    assert forbidden(release(cluster, "v1.2.1")) == ["schema"]


def test_the_playbook_leaves_a_timeline_and_two_records(cluster: Cluster, play: Callable[..., Playbook]) -> None:
    said = play("release", "-e", f"release_version={NEVER_READY}", "--check")
    assert "planned" in said.output
    assert digest(cluster, NEVER_READY).removeprefix("sha256:")[:12] in said.output
    options = {
        "release_version": NEVER_READY,
        "release_ready_slack": 3,
        "release_steady": 1,
        "release_analysis": {"measures": ["memory", "restarts"]},
    }
    done = play("release", "-e", json.dumps(options))
    assert done.returncode != 0, done.output
    report = done.report("release")
    found = {check["id"]: check["status"] for check in report["checks"]}
    assert (found["release.rollout"], found["release.undone"]) == ("critical", "ok")
    (action,) = [each for each in report["actions"] if each["id"] == "release.release"]
    assert action["status"] == "failed"
    assert "Undone" in action["message"]
    assert {"progressing", "failing", "complete"} <= {each["state"] for each in action["details"]["rollout"]}
    html = (done.artifacts / "release" / report["run_id"] / "report.html").read_text(encoding="utf-8")
    assert 'class="phases rollout"' in html
    begun, ended = (each["predicate"] for each in statements(cluster.platform, 3)[:2])
    assert (begun["kind"], begun["content"]["state"]) == ("release", "begun")
    assert (ended["content"]["state"], ended["content"]["well"]) == ("ended", False)
    assert ended["content"]["digest"] == digest(cluster, NEVER_READY)
    runs(cluster, GOOD)
