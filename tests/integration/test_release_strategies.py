"""Releases that come in stages on a real Kubernetes: beside the version of before, or in its place, which is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import (
    engine,
    record,
    second,
    strategies,
    ticks,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.options import SPEC, checked
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Outcome, Session

from tests.conftest import ROOT
from tests.integration.cluster_fixtures import Cluster, cluster, until
from tests.integration.test_release_rollout import Killed
from tests.integration.test_release_soaking import NAME, Stage

__all__ = ["cluster"]
TEMPLATES = ROOT / "roles" / "release" / "templates"
MANIFESTS = {
    "gradual": TEMPLATES / "production-rollout.yaml.j2",
    "blue_green": TEMPLATES / "blue-green-deployment.yaml.j2",
}
GOOD, NEXT, NEVER_READY = "v1.2.0", "v1.2.3", "v1.2.2"
#: Healthy seconds of the client's traffic, not minutes.
STEPS = [{"share": 20, "minutes": 0.04}, {"share": 50, "minutes": 0.04}]


class Staged(Stage):
    """A namespace to which a release comes in stages."""

    def work(self, **options: Any) -> Session:
        found = self.session(SPEC, ready_slack=6, overrides=["drift"], reason="a test", **options)
        checked(found.options)
        return found

    def come(self, strategy: str, version: str = NEXT, **options: Any) -> Outcome:
        given = {"strategy": strategy, "manifest": str(MANIFESTS[strategy]), "steps": STEPS, **options}
        return engine.run(self.work(version=version, **given))

    def act(self, action: str) -> Outcome:
        return engine.run(self.work(action=action))

    def tick(self, **options: Any) -> ticks.Ticked:
        return super().tick(ready_slack=6, **options)

    def through(self) -> ticks.Ticked:
        """Ticks until the release has left its stages."""

        def done() -> ticks.Ticked | None:
            found = self.tick()
            return found if self.now.state not in record.STAGED else None

        found: ticks.Ticked = until(done, 120)
        return found

    def digest(self, version: str) -> str:
        return str(self.cluster.state["images"][version].partition("@")[2])

    def deployments(self) -> dict[str, tuple[str, int]]:
        """Name -> version's digest and pods wanted, of the application."""
        found = {}
        for each in self.cluster.get("-n", self.namespace, "deployments")["items"]:
            spec = each["spec"]
            if each["metadata"]["name"].startswith(NAME):
                image = spec["template"]["spec"]["containers"][0]["image"]
                found[each["metadata"]["name"]] = (image.rpartition("@")[2], spec["replicas"])
        return found

    def selected(self) -> dict[str, str]:
        selector: dict[str, str] = self.cluster.get("-n", self.namespace, f"service/{NAME}")["spec"]["selector"]
        return selector

    def owners(self, version: str) -> list[str]:
        """What would start pods of a version."""
        items = self.cluster.get("-n", self.namespace, "replicasets,deployments")["items"]
        return [
            each["metadata"]["name"] for each in items if self.digest(version) in json.dumps(each["spec"]["template"])
        ]

    def failed_requests(self) -> list[str]:
        """Of the steady client, since it was started."""
        lines = self.cluster.kubectl("-n", self.namespace, "logs", "deployment/tradingflow-client").stdout.splitlines()
        return [line for line in lines if "client.failed" in line]

    def turns_bad_after(self, seconds: int) -> None:
        self.kubectl("patch", "configmap", NAME, "-p", json.dumps({"data": {"TRADINGFLOW_DEFECT_AFTER": str(seconds)}}))


@pytest.fixture
def stage(cluster: Cluster) -> Iterator[Staged]:
    made = Staged(cluster)
    made.turns_bad_after(3600)
    cluster.asked()
    yield made
    made.turns_bad_after(3600)
    made.kubectl("scale", f"deployment/{NAME}", "--replicas=3")
    stored = made.work(action="undo").stored()
    if stored is not None:
        outcome = engine.run(
            made.session(SPEC, action="undo", overrides=["drift", "schema"], reason="the end of a test")
        )
        assert not outcome.failed, outcome.failed
    cluster.settled("staging")
    assert made.deployments() == {NAME: (made.digest(GOOD), 3)}


def messages(outcome: Outcome) -> list[str]:
    return [each.message for each in outcome.forbidden] + [each.message for each in outcome.checks]


def test_it_gets_its_share_step_by_step_whoever_is_killed_and_no_request_is_lost(
    stage: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = len(stage.failed_requests())
    outcome = stage.come("gradual")
    assert not outcome.failed, outcome.failed
    assert stage.now.state == record.STEPPING, messages(outcome)
    helper = f"{NAME}-gradual"
    assert stage.deployments() == {NAME: (stage.digest(GOOD), 3), helper: (stage.digest(NEXT), 1)}
    again = stage.come("gradual")
    assert "stepping" in again.nothing
    # Another version does not get in between.
    assert "record" in [each.name for each in stage.come("gradual", "v1.2.1").forbidden]

    def killed(*_args: Any, **_more: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(strategies, "arrived", killed)
        with pytest.raises(Killed):
            stage.through()
    assert (stage.now.phase, stage.now.strategy["step"]) == ("scaling", 1)
    assert stage.deployments()[helper][1] == 3
    with monkeypatch.context() as patched:
        patched.setattr(second, "removed", killed)
        with pytest.raises(Killed):
            stage.through()
    assert stage.now.phase == "converging"
    done = stage.through()
    assert stage.now.state == record.SOAKING, [each.message for each in done.checks]
    assert stage.deployments() == {NAME: (stage.digest(NEXT), 3)}
    assert stage.images() == {stage.digest(NEXT)}
    assert stage.failed_requests()[lost:] == []
    assert [each.kind for each in stage.now.events].count("stepping") == 2
    # From then on it soaks as after any other release, and what it is undone to is the same.
    assert stage.tick().checks[0].message == "The soak begins."
    back = stage.act("undo")
    assert not back.failed, back.failed
    assert stage.deployments() == {NAME: (stage.digest(GOOD), 3)}
    assert stage.owners(NEXT) == []


def test_what_holds_a_step_and_what_takes_it_back(stage: Staged) -> None:
    # Pods that run have read it already.
    stage.turns_bad_after(20)
    outcome = stage.come("gradual", steps=[{"share": 20, "minutes": 60}])
    assert stage.now.state == record.STEPPING, messages(outcome)
    stage.tick()
    # Scaled by hand: shares are others. Nothing is overwritten, and nothing counts.
    stage.kubectl("scale", f"deployment/{NAME}", "--replicas=2")
    stage.cluster.settled()
    held = stage.tick()
    assert held.checks[0].status == "unknown"
    assert "scaled from 3 to 2" in held.checks[0].message
    stage.kubectl("scale", f"deployment/{NAME}", "--replicas=3")
    stage.cluster.settled()

    def failed() -> ticks.Ticked | None:
        done = stage.tick()
        return done if done.tick and done.tick.failed else None

    done = until(failed, 90)
    assert stage.now.state == record.UNDONE, [check.message for check in done.checks]
    assert stage.deployments() == {NAME: (stage.digest(GOOD), 3)}
    assert stage.owners(NEXT) == []
    assert stage.tick().checks[0].value == "undone"


def test_all_requests_go_to_the_second_colour_and_back_at_once(stage: Staged) -> None:
    lost = len(stage.failed_requests())
    outcome = stage.come("blue_green")
    assert not outcome.failed, outcome.failed
    assert stage.now.state == record.SWITCHED, messages(outcome)
    green = f"{NAME}-green"
    assert stage.deployments() == {NAME: (stage.digest(GOOD), 3), green: (stage.digest(NEXT), 3)}
    assert stage.selected() == {"app": green}
    budgets = stage.cluster.get("-n", "staging", "poddisruptionbudgets")["items"]
    assert {each["metadata"]["name"] for each in budgets} == {NAME, f"{NAME}-green"}
    # Not before its delay, and not while nobody has looked whether it is healthy.
    assert [each.name for each in stage.act("retire").forbidden] == ["delay", "healthy"]
    ticked = stage.tick()
    assert {each.id: each.value for each in ticked.checks}["release.switch_back"] == "at once"
    # What was promised is withdrawn as soon as it cannot be kept.
    stage.kubectl("scale", f"deployment/{NAME}", "--replicas=1")
    until(
        lambda: (
            len(stage.cluster.get("-n", "staging", f"deployment/{NAME}")["status"].get("conditions", []))
            and second.ready(stage.work(action="undo"), stage.now)
        )
    )
    ticked = stage.tick()
    assert {each.id: each.status for each in ticked.checks}["release.switch_back"] == "warning"
    assert "withdrawn" in [each.kind for each in stage.now.events]
    assert [each.name for each in stage.act("switch_back").forbidden] == ["switch_back"]
    assert stage.selected() == {"app": green}
    stage.kubectl("scale", f"deployment/{NAME}", "--replicas=3")
    stage.cluster.settled()
    back = stage.act("switch_back")
    assert not back.failed, back.failed
    assert not back.forbidden, messages(back)
    assert stage.now.state == record.UNDONE
    assert stage.selected() == {"app": NAME}
    assert stage.deployments() == {NAME: (stage.digest(GOOD), 3)}
    assert stage.owners(NEXT) == []
    assert stage.failed_requests()[lost:] == []
    assert "switch_back" in [each.name for each in stage.act("switch_back").forbidden]


def test_the_version_of_before_is_retired_by_a_step_of_its_own(stage: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = len(stage.failed_requests())

    # Killed right after the switch: the record does not know of it yet, and the next run goes on.
    def killed(*_args: Any, **_more: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(second, "served", killed)
        with pytest.raises(Killed):
            stage.come("blue_green", retire_after=0)
    assert (stage.now.state, stage.now.phase) == (record.ROLLING_OUT, "switching")
    outcome = stage.come("blue_green", retire_after=0)
    assert stage.now.state == record.SWITCHED, messages(outcome)
    # Nobody has looked whether it is healthy: nothing is retired until a tick has found it so.
    assert [each.name for each in stage.act("retire").forbidden] == ["healthy"]
    until(lambda: stage.tick(max_gap=300.0) and stage.now.soak.get("counted"))
    # Somebody switches it by hand: nothing is retired, and the soak holds.
    stage.kubectl("patch", f"service/{NAME}", "--type=merge", "-p", json.dumps({"spec": {"selector": {"app": NAME}}}))
    assert "service" in [each.name for each in stage.act("retire").forbidden]
    stage.kubectl(
        "patch",
        f"service/{NAME}",
        "--type=merge",
        "-p",
        json.dumps({"spec": {"selector": stage.now.strategy["helper_selector"]}}),
    )
    with monkeypatch.context() as patched:
        patched.setattr(second, "removed", killed)
        with pytest.raises(Killed):
            stage.act("retire")
    done = stage.act("retire")
    assert not done.failed, done.failed
    assert not done.forbidden, messages(done)
    assert stage.now.state == record.SOAKING
    assert stage.deployments() == {NAME: (stage.digest(NEXT), 3)}
    assert stage.selected() == {"app": NAME}
    assert len(stage.cluster.get("-n", "staging", "poddisruptionbudgets")["items"]) == 1
    assert stage.failed_requests()[lost:] == []
    assert stage.act("retire").nothing


def test_what_has_no_room_is_refused_and_what_never_becomes_ready_never_gets_a_request(
    stage: Staged, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yaml.j2"
    broken.write_text(
        MANIFESTS["blue_green"].read_text(encoding="utf-8").replace("{{ replicas }}", "7"), encoding="utf-8"
    )
    stage.kubectl("autoscale", f"deployment/{NAME}", "--min=3", "--max=9", "--cpu=80%")
    stage.kubectl("patch", f"resourcequota/{NAME}", "--type=merge", "-p", json.dumps({"spec": {"hard": {"pods": "7"}}}))

    def refused() -> set[str] | None:
        names = {each.name for each in stage.come("blue_green", NEVER_READY).forbidden}
        return names if f"quota.{NAME}" in names else None

    try:
        assert until(refused) == {"autoscaler", f"quota.{NAME}"}
    finally:
        stage.kubectl("delete", f"horizontalpodautoscaler/{NAME}")
        stage.kubectl(
            "patch", f"resourcequota/{NAME}", "--type=merge", "-p", json.dumps({"spec": {"hard": {"pods": "20"}}})
        )
    assert "manifest" in [each.name for each in stage.come("blue_green", manifest=str(broken)).forbidden]
    outcome = until(lambda: (found := stage.come("blue_green", NEVER_READY)).forbidden == [] and found)
    assert "ready" in outcome.failed
    assert stage.now.state == record.UNDONE, messages(outcome)
    assert stage.selected() == {"app": NAME}
    assert stage.deployments() == {NAME: (stage.digest(GOOD), 3)}
