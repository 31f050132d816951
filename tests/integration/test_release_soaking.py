"""Soak, undo and promotion on a real Kubernetes: real counters, real logs, real pods that turn bad."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import Cluster as Api
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import (
    engine,
    promotion,
    record,
    shown,
    soak,
    ticks,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.options import SPEC as RELEASE_SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Session

from sandbox.cluster import cluster as control
from tests.conftest import Playbook
from tests.integration.cluster_fixtures import Cluster, cluster, until
from tests.unit.soak_fixtures import defaults

__all__ = ["cluster"]

NAME = "tradingflow-app"
#: A soak of seconds, by ticks that are seconds apart.
SHORT = {"hours": 4 / 3600, "max_gap": 30.0}


class Stage:
    """A namespace, its record, and what is done there."""

    def __init__(self, running: Cluster, namespace: str = "staging") -> None:
        self.cluster, self.namespace = running, namespace
        self.place: dict[str, Any] = {
            "environment_name": "local",
            "storage": running.platform.storage,
            "kubernetes": {"kubeconfig": running.state["kubeconfig"]},
            "application": "tradingflow",
            "namespace": namespace,
            "deployment": NAME,
            "container": NAME,
        }
        self.analysis: dict[str, Any] = {"minimum": 5}

    def session(self, spec: dict[str, Any], **options: Any) -> Session:
        given = {**self.place, "analysis": self.analysis, "steady": 1.0, "interval": 0.3, **options}
        known = defaults(spec, **{name: value for name, value in given.items() if name in spec})
        return Session(
            {**ticks.UNDO_OPTIONS, **known},
            Api(known["kubernetes"]),
            record.Store(known["storage"], known["environment_name"]),
            "test run",
            "tests",
        )

    def release(self, version: str) -> record.Release:
        # Tests change it by hand, and that is told of; here it was meant.
        options = {"version": version, "overrides": ["drift"], "reason": "a test"}
        outcome = engine.run(self.session(RELEASE_SPEC, **options))
        assert not outcome.forbidden, [each.message for each in outcome.forbidden]
        assert not outcome.failed, outcome.failed
        return self.now

    def tick(self, **options: Any) -> ticks.Ticked:
        # Within a second of the last one there is nothing to count.
        time.sleep(1.1)
        return ticks.run(self.session(ticks.SPEC, **{**SHORT, **options}))

    def soaked(self) -> ticks.Ticked:
        """Ticks until it may be promoted."""

        def ready() -> ticks.Ticked | None:
            done = self.tick()
            assert done.tick
            assert not done.tick.failed, done.tick.text
            time.sleep(0.4)
            return done if done.eligible and done.eligible.eligible else None

        found: ticks.Ticked = until(ready, 90)
        return found

    def promote(self, *, dry_run: bool = False, **options: Any) -> Any:
        target = Stage(self.cluster, "production").session(promotion.SPEC, from_namespace=self.namespace, **options)
        source = replace(target, options=promotion.source_options(target.options))
        promotion.checked(target.options)
        return promotion.run(target, source, dry_run=dry_run)

    @property
    def now(self) -> record.Release:
        stored = record.load(record.Store(self.place["storage"], "local"), "tradingflow", self.namespace)
        assert stored
        return stored.release

    def images(self) -> set[str]:
        return {pod["spec"]["containers"][0]["image"].rpartition("@")[2] for pod in self.cluster.pods(self.namespace)}

    def kubectl(self, *arguments: str) -> None:
        self.cluster.kubectl("-n", self.namespace, *arguments)


@pytest.fixture
def stage(cluster: Cluster) -> Iterator[Stage]:
    made = Stage(cluster)
    cluster.asked()
    yield made
    made.kubectl("scale", f"deployment/{NAME}", "--replicas=3")
    cluster.settled("staging")


def outcomes(done: ticks.Ticked) -> str:
    assert done.tick
    return done.tick.outcome


def test_it_soaks_and_what_is_changed_by_hand_begins_it_anew(stage: Stage) -> None:
    made = stage.release("v1.2.0")
    assert made.state == record.SOAKING
    assert made.verified_at
    assert made.baseline["error_percent"] == 0
    assert made.baseline["p95"]
    assert outcomes(stage.tick()) == soak.BEGUN
    # Too early: every reason is said.
    refused = stage.promote()
    assert {"soak.hours", "soak.healthy"} == {each.name for each in refused.forbidden}
    stage.soaked()
    # A slow machine has all that is wanted with its first interval; a line needs two.
    done = stage.tick()
    assert stage.now.samples[-1]["requests"] > 0
    charts = shown.actions(done, "staging", "2026-11-30T12:00:00Z")[0]["details"]["charts"]
    assert [each["kind"] for each in charts] == ["stay", "band", "band", "band", "band"]

    stage.kubectl("scale", f"deployment/{NAME}", "--replicas=2")
    stage.cluster.settled("staging")
    until(lambda: len(stage.cluster.pods("staging")) == 2)
    # Between two ticks it is no secret either.
    assert [each.name for each in stage.promote().forbidden] == ["soak.drift"]
    found = stage.tick()
    assert outcomes(found) == soak.RESET
    assert "scaled from 3 to 2" in found.checks[0].message
    assert stage.now.soak["counted"] == 0

    stage.kubectl("delete", "pod", stage.cluster.pods("staging")[0]["metadata"]["name"])

    def settled() -> bool:
        seen, _problem = ticks._look(stage.session(ticks.SPEC), stage.now)
        return seen is not None and not seen.unsettled

    until(settled)
    found = stage.tick()
    assert outcomes(found) == soak.RESET
    assert "replaced" in found.checks[0].message

    stage.kubectl("rollout", "restart", f"deployment/{NAME}")
    assert outcomes(stage.tick()) == soak.RESET
    assert stage.now.soak["resets"] == 3
    assert stage.now.state == record.SOAKING


def test_an_api_that_is_gone_holds_and_so_does_one_that_has_no_metrics(stage: Stage) -> None:
    stage.cluster.settled("staging")
    stage.soaked()
    assert outcomes(stage.tick()) == soak.COUNTED
    counted = stage.now.soak["counted"]
    stage.analysis["metrics_path"] = "/nobody"
    found = stage.tick()
    assert outcomes(found) == soak.HELD
    assert found.checks[0].status == "unknown"
    assert "404" in found.checks[0].message
    del stage.analysis["metrics_path"]
    control.hold(stage.cluster.sandbox, "kube-apiserver")
    try:
        found = stage.tick()
        assert outcomes(found) == soak.HELD
        refused = stage.promote()
        assert {each.name: each.status for each in refused.forbidden}["soak.live"] == "unknown"
    finally:
        control.release(stage.cluster.sandbox, "kube-apiserver")
    assert stage.now.soak["counted"] == counted
    assert stage.now.state == record.SOAKING


def test_two_ticks_at_once_count_no_second_twice(stage: Stage) -> None:
    stage.soaked()
    one = stage.session(ticks.SPEC, **SHORT)
    loaded = one.stored()
    before = stage.now.soak["counted"]
    began = time.monotonic()

    class Late(Session):
        """Reads before the other writes."""

        reads = 0

        def stored(self) -> record.Stored | None:
            self.reads += 1
            return loaded if self.reads == 1 else super().stored()

    late = Late(one.options, one.cluster, one.store, "late", "tests")
    assert outcomes(stage.tick()) == soak.COUNTED
    ticks.run(late)
    assert late.reads == 2
    assert stage.now.soak["counted"] - before <= time.monotonic() - began + 2 + 5


def test_what_has_soaked_is_promoted_by_its_digest_and_once(stage: Stage) -> None:
    stage.soaked()
    soaked = stage.now
    assert [each.name for each in stage.promote(version="v1.2.1").forbidden] == ["soak.digest"]
    assert "soak.hours" in [each.name for each in stage.promote(hours=24).forbidden]
    done = stage.promote(version="v1.2.0")
    assert not done.forbidden, [each.message for each in done.forbidden]
    assert not done.failed
    production = Stage(stage.cluster, "production")
    assert production.images() == {soaked.digest}
    assert production.now.promoted_from == soaked.id
    assert production.now.state == record.SOAKING
    assert stage.now.state == record.PROMOTED
    again = stage.promote()
    assert "already" in again.nothing
    # A run that was killed right after the rollout: what is left is the mark.
    store = record.Store(stage.place["storage"], "local")
    stored = record.load(store, "tradingflow", "staging")
    assert stored
    stored.release.state = record.SOAKING
    record.save(store, stored.release, stored.etag)
    assert "already" in stage.promote().nothing
    assert stage.now.state == record.PROMOTED
    # What is in production soaks there.
    assert outcomes(production.tick()) == soak.BEGUN


def test_one_that_turns_bad_is_undone_at_once_and_never_promoted(stage: Stage) -> None:
    patch = json.dumps({"data": {"TRADINGFLOW_DEFECT_AFTER": "12"}})
    stage.kubectl("patch", "configmap", NAME, "-p", patch)
    (good,) = stage.images()
    bad = stage.release("v1.2.3")
    assert bad.state == record.SOAKING

    def failed() -> ticks.Ticked | None:
        done = stage.tick()
        time.sleep(1)
        return done if done.tick and done.tick.failed else None

    done = until(failed, 90)
    assert {check.id: check.status for check in done.checks}["release.soak"] == "critical"
    assert stage.now.state == record.UNDONE, [check.message for check in done.checks]
    assert "requests failed" in stage.now.reason or "resident" in stage.now.reason
    assert stage.images() == {good}
    owners = stage.cluster.get("replicasets", "-n", "staging")["items"]
    assert not [each for each in owners if bad.digest in json.dumps(each["spec"])]
    assert {"began", "soaking", "failed", "undone"} <= {each.kind for each in stage.now.events}
    refused = stage.promote()
    assert [each.name for each in refused.forbidden] == ["soak.state"]
    # Nothing soaks any more, and a tick says so.
    idle = stage.tick()
    assert idle.tick is None
    assert idle.checks[0].value == "undone"


def test_a_tick_that_was_killed_before_the_undo_leaves_it_to_the_next(stage: Stage) -> None:
    patch = json.dumps({"data": {"TRADINGFLOW_DEFECT_AFTER": "3600"}})
    stage.kubectl("patch", "configmap", NAME, "-p", patch)
    bad = stage.release("v1.2.3")
    store = record.Store(stage.place["storage"], "local")
    stored = record.load(store, "tradingflow", "staging")
    assert stored
    stored.release.becomes(record.FAILED, "Too many requests failed.", phase="undo")
    record.save(store, stored.release, stored.etag)
    assert stage.images() == {bad.digest}
    done = stage.tick()
    assert done.checks[0].status == "critical"
    assert stage.now.state == record.UNDONE
    assert bad.digest not in stage.images()


def test_the_playbooks(stage: Stage, play: Callable[..., Playbook]) -> None:
    stage.release("v1.2.0")
    short = ["-e", json.dumps({"release_soak_hours": 0.001, "release_analysis": {"minimum": 5}})]
    first = play("soak", *short)
    assert first.returncode == 0, first.output
    refused = play("promote")
    assert refused.returncode != 0
    checks = {each["id"]: each for each in refused.report("promote")["checks"]}
    assert checks["release.preflight:soak.hours"]["status"] == "critical"
    time.sleep(5)
    second = play("soak", *short)
    assert second.returncode == 0, second.output
    report = second.report("soak")
    checks = {each["id"]: each for each in report["checks"]}
    assert checks["release.soak"]["status"] == "ok"
    assert checks["release.eligible"]["value"] == "eligible"
    html = next(second.artifacts.glob("soak/2*/report.html")).read_text(encoding="utf-8")
    assert 'class="stay"' in html
    done = play("promote")
    assert done.returncode == 0, done.output
    assert stage.now.state == record.PROMOTED, done.output
    assert datetime.now(UTC) - record.moment_of(stage.now.ended_at or "") < timedelta(minutes=5)
