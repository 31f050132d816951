"""What releases by stages plan, render and ask for; what they do: tests/integration/test_release_strategies.py."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes import services
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import (
    Cluster,
    Conflict,
    Missing,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.workloads import Seen, with_image
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import (
    findings,
    manifests,
    record,
    second,
    shown,
    soak,
    stages,
    standing,
    steps,
    strategies,
    ticks,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.options import SPEC, checked
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Outcome, Session
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ClusterError,
    ConfigurationError,
    ReleaseError,
)

from tests.conftest import ROOT
from tests.unit import soak_fixtures
from tests.unit.release_fixtures import NAME, NEW, OLD, deployment, image, seen, template
from tests.unit.soak_fixtures import START, Soak, defaults, live

TEMPLATES = {
    "gradual": str(ROOT / "roles" / "release" / "templates" / "production-rollout.yaml.j2"),
    "blue_green": str(ROOT / "roles" / "release" / "templates" / "blue-green-deployment.yaml.j2"),
}
SERVICE = {"metadata": {"name": NAME, "uid": "service"}, "spec": {"selector": {"app": NAME}}}
PLACE: dict[str, Any] = {
    "environment_name": "local",
    "storage": {"bucket": "b"},
    "application": "app",
    "namespace": "staging",
    "deployment": NAME,
    "container": NAME,
    "version": "v2",
}


class Api:
    """A cluster of a few objects."""

    def __init__(self, *budgets: dict[str, Any]) -> None:
        self.budgets = list(budgets)
        self.service: dict[str, Any] = deepcopy(SERVICE)
        self.slices: list[dict[str, Any]] = []
        self.patches: list[Any] = []

    def items(self, path: str, **_query: str) -> list[dict[str, Any]]:
        return self.budgets if "poddisruptionbudgets" in path else self.slices

    def get(self, _path: str) -> dict[str, Any]:
        return deepcopy(self.service)

    def patch(self, _path: str, operations: list[dict[str, Any]]) -> dict[str, Any]:
        self.patches.append(operations)
        return {}


def options(strategy: str = "gradual", **given: Any) -> dict[str, Any]:
    manifest = TEMPLATES.get(strategy)
    return defaults(SPEC, **{**PLACE, "strategy": strategy, **({"manifest": manifest} if manifest else {}), **given})


def session(api: Api, **given: Any) -> Session:
    return Session(options(**given), cast(Cluster, api), cast(record.Store, None), "run", "ops")


def made(strategy: str = "gradual", **given: Any) -> record.Release:
    """A release of which nothing is done yet."""
    release = record.new(
        "local", "app", "staging", NAME, NAME, tag="v2", image="registry/app", digest=NEW, previous=None,
        actor="ops", run_id="run", now=START,
    )  # fmt: skip
    release.strategy = stages.planned(options(strategy, **given), seen(OLD), SERVICE)
    return release


def stepping(**given: Any) -> record.Release:
    release = made(**given)
    release.becomes(record.STEPPING, "Step 1.", phase="watching")
    return release


@pytest.mark.parametrize(
    ("share", "replicas", "pods"),
    [(10, 3, 1), (25, 3, 1), (50, 3, 3), (1, 1, 1), (10, 20, 3), (33.4, 2, 2), (50, 1, 1)],
)
def test_a_share_is_never_less_than_was_asked_for(share: float, replicas: int, pods: int) -> None:
    found = stages.pods_of_share(share, replicas)
    assert found == pods
    assert 100 * found / (found + replicas) >= share


def test_the_second_deployment_gets_requests_beside_the_first() -> None:
    plan = made().strategy
    assert plan["helper"] == f"{NAME}-gradual"
    assert plan["main_selector"] == plan["helper_selector"] == {"app": NAME}
    assert services.selects(plan["main_selector"], plan["labels"])
    assert [each["pods"] for each in plan["steps"]] == [1, 1, 3]
    assert stages.more_pods(options(), 3) == 3
    assert stages.share_of(plan) == 25.0


def test_the_second_colour_gets_none_until_the_service_is_switched() -> None:
    plan = made("blue_green").strategy
    assert plan["helper"] == f"{NAME}-green"
    assert not services.selects(plan["main_selector"], plan["labels"])
    assert services.selects(plan["helper_selector"], plan["labels"])
    assert not services.selects(plan["helper_selector"], template()["metadata"]["labels"])
    assert stages.pods_wanted(plan) == stages.more_pods(options("blue_green"), 3) == 3
    other = stages.planned(options("blue_green", deployment="app-green"), seen(OLD), SERVICE)
    assert other["helper"] == "app-blue"
    assert stages.more_pods(options("rolling"), 3) == 0


def test_a_name_that_becomes_too_long_is_refused() -> None:
    service = {"metadata": {"name": NAME}, "spec": {"selector": {"app": "a" * 60}}}
    with pytest.raises(ConfigurationError, match="too long"):
        stages.planned(options("blue_green"), seen(OLD), service)


def test_a_service_that_selects_nothing_is_somebody_elses() -> None:
    with pytest.raises(ClusterError, match="no selector"):
        stages.planned(options(), seen(OLD), {"metadata": {"name": NAME}, "spec": {}})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"manifest": None}, "no manifest"),
        ({"steps": []}, "none"),
        ({"steps": [{"share": 60, "minutes": 1}]}, "60"),
        ({"steps": [{"share": 0, "minutes": 1}]}, "0"),
        ({"steps": [{"share": 20, "minutes": 1}, {"share": 10, "minutes": 1}]}, "20, 10"),
        ({"steps": [{"share": 20, "minutes": 1}, {"share": 20, "minutes": 1}]}, "20, 20"),
        ({"steps": [{"share": float("nan"), "minutes": 1}]}, "nan"),
        ({"steps": [{"share": 10, "minutes": 0}]}, "no time"),
        ({"steps": [{"share": 10, "minutes": float("inf")}]}, "no time"),
        ({"retire_after": -1.0}, "retire_after"),
    ],
)
def test_stages_that_make_no_sense_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        checked({**options(), **given})


def test_what_makes_sense_is_not_and_nobody_needs_a_manifest_to_go_back() -> None:
    checked(options())
    checked(options("blue_green", retire_after=0))
    checked({**options(manifest=None), "action": "undo"})


def rendered(strategy: str, api: Api | None = None, **changed: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    release = made(strategy)
    wanted = with_image(template(OLD), NAME, image(NEW))
    values = second.values_of(session(api or Api(), strategy=strategy), release, seen(OLD), wanted, image(NEW))
    values.update(changed)
    return manifests.rendered(TEMPLATES[strategy], values), values


@pytest.mark.parametrize("strategy", ["gradual", "blue_green"])
def test_the_manifests_are_the_first_deployment_with_another_image_and_labels_of_its_own(strategy: str) -> None:
    objects, values = rendered(strategy)
    found = manifests.checked("a manifest", objects, values, NAME)
    pod = found["spec"]["template"]
    expected = with_image(template(OLD), NAME, image(NEW))
    assert pod["spec"] == expected["spec"]
    assert pod["metadata"]["labels"] == values["labels"]
    assert found["metadata"]["annotations"][manifests.RELEASE_OF] == values["release"]
    assert found["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert not services.selects(found["spec"]["selector"]["matchLabels"], template()["metadata"]["labels"])


def test_a_second_colour_is_disrupted_no_more_than_the_first() -> None:
    mine = {"metadata": {"name": "mine"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": NAME}}}}
    others = {"metadata": {"name": "others"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "x"}}}}
    objects, values = rendered("blue_green", Api(mine, others))
    assert manifests.checked("a manifest", objects, values, NAME)["kind"] == "Deployment"
    (budget,) = [each for each in objects if each["kind"] == "PodDisruptionBudget"]
    assert budget["metadata"]["name"] == "mine-green"
    assert budget["spec"]["minAvailable"] == 2
    assert services.selects(budget["spec"]["selector"]["matchLabels"], values["labels"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.append({"kind": "Secret", "metadata": {"name": "s"}}), "it has a Secret"),
        (lambda found: found.append(deepcopy(found[0])), "2 Deployments"),
        (lambda found: found[0]["metadata"].update(name="another"), "not named"),
        (lambda found: found[0]["metadata"].update(namespace="production"), "another namespace"),
        (lambda found: found[0]["spec"].update(replicas=9), "9 pods"),
        (lambda found: found[0]["spec"].update(selector={"matchLabels": {"app": NAME}}), "selects the pods of"),
        (lambda found: found[0]["spec"].update(selector={"matchLabels": {"app": "x"}}), "its own pods"),
        (lambda found: found[0]["spec"]["template"]["metadata"].update(labels={}), "labels"),
        (lambda found: found[0]["spec"]["template"]["spec"]["containers"][0].update(image=image(OLD)), "does not run"),
        (lambda found: found[0]["spec"]["template"]["spec"].update(containers=[]), "does not run"),
    ],
)
def test_a_manifest_that_is_something_else_is_refused(change: Any, said: str) -> None:
    objects, values = rendered("gradual")
    change(objects)
    with pytest.raises(ConfigurationError, match=said):
        manifests.checked("a manifest", objects, values, NAME)


@pytest.mark.parametrize(
    "text",
    [
        "{{ nobody }}",
        "{% if %}",
        "a: [",
        "- 1",
        "{{ pod_template.spec.containers[0].nobody.more }}",
        "{{ cycler.__init__.__globals__ }}",
    ],
)
def test_a_template_that_is_none_says_so_and_nothing_of_what_is_secret(tmp_path: Path, text: str) -> None:
    file = tmp_path / "manifest.yaml.j2"
    file.write_text("{{ pod_template.spec | string }}: [" + text, encoding="utf-8")
    secret = {"spec": {"containers": [{"name": "x", "env": [{"name": "TOKEN", "value": "hunter2"}]}]}}
    with pytest.raises(ConfigurationError, match="cannot be used") as error:
        manifests.rendered(str(file), {"pod_template": secret})
    assert "hunter2" not in error.value.message
    with pytest.raises(ConfigurationError, match="cannot be read"):
        manifests.rendered(str(tmp_path / "none"), {})


def test_a_service_is_switched_when_it_selects_what_was_looked_at() -> None:
    api, other = Api(), {"app": "green"}
    assert services.switch(cast(Cluster, api), "staging", NAME, {"app": NAME}, other)
    assert {"op": "test", "path": "/spec/selector", "value": {"app": NAME}} in api.patches[0]
    api.service["spec"]["selector"] = other
    assert not services.switch(cast(Cluster, api), "staging", NAME, {"app": NAME}, other)
    api.service["spec"]["selector"] = {"app": "by hand"}
    with pytest.raises(Conflict, match="by hand"):
        services.switch(cast(Cluster, api), "staging", NAME, {"app": NAME}, other)
    assert len(api.patches) == 1


def test_an_endpoint_gets_requests_unless_it_says_otherwise() -> None:
    api = Api()
    api.slices = [
        {
            "endpoints": [
                {"targetRef": {"uid": "one"}, "conditions": {"ready": True}},
                {"targetRef": {"uid": "two"}, "conditions": {"ready": False}},
                {"targetRef": {"uid": "three"}, "conditions": {}},
                {"addresses": ["10.0.0.9"], "conditions": {"ready": True}},
            ]
        },
        {"endpoints": None},
    ]
    found = services.behind(cast(Cluster, api), "staging", NAME)
    assert found == {"one": True, "two": False, "three": True, "10.0.0.9": True}


def test_states_follow_on_each_other_as_they_must() -> None:
    release = stepping()
    for state in (record.SWITCHED, record.ROLLING_OUT, record.PROMOTED):
        with pytest.raises(ReleaseError):
            release.becomes(state, "no")
    release.becomes(record.FAILED, "It is bad.", phase="undo")
    with pytest.raises(ReleaseError):
        release.becomes(record.STEPPING, "no")
    data = {**stepping().as_data(), "strategy": None}
    with pytest.raises(ReleaseError, match="strategy"):
        record.parsed(json.dumps(data).encode())
    # Those of before have none.
    del data["strategy"]
    assert record.parsed(json.dumps(data).encode()).strategy == {}


def counted(release: record.Release, seconds: float) -> soak.Tick:
    release.soak = {"counted": seconds, "wanted": {"hours": 1}}
    return soak.Tick(soak.COUNTED, "well")


def test_a_step_is_due_when_it_was_healthy_for_its_minutes_and_not_before() -> None:
    release = stepping(steps=[{"share": 10, "minutes": 10}, {"share": 50, "minutes": 5}])
    assert not steps.due(release, counted(release, 599))
    assert steps.due(release, counted(release, 600))
    for outcome in (soak.HELD, soak.RESET, soak.GAP, soak.CLOCK, soak.BEGUN, soak.FAILURE):
        counted(release, 6000)
        assert not steps.due(release, soak.Tick(outcome, "no"))
    # One that was begun is gone on with, whatever was measured; what has failed is not.
    release.phase = "scaling"
    assert steps.due(release, soak.Tick(soak.HELD, "no data"))
    assert not steps.due(release, soak.Tick(soak.FAILURE, "bad"))


def test_what_waits_for_a_gate_is_taken_only_while_it_is_fresh() -> None:
    release = stepping(steps=[{"share": 10, "minutes": 10}])
    assert not steps.still_due(release, START, 900)
    assert steps.marked(release, counted(release, 600), START)
    assert steps.still_due(release, START + timedelta(seconds=900), 900)
    assert not steps.still_due(release, START + timedelta(seconds=901), 900)
    assert not steps.still_due(release, START - timedelta(seconds=1), 900)
    assert not steps.marked(release, soak.Tick(soak.HELD, "no data"), START)
    assert not steps.still_due(release, START, 900)
    soaking = soak_fixtures.release()
    assert not steps.marked(soaking, soak.Tick(soak.COUNTED, "well"), START)
    assert soaking.strategy == {}


def test_a_step_asks_for_its_minutes_and_a_soak_for_its_hours() -> None:
    given = {"hours": 24.0, "requests": 5, "market_minutes": 3.0, "max_gap": 900.0}
    release = stepping(steps=[{"share": 10, "minutes": 30}])
    assert steps.wanted(release, given) == {"hours": 0.5, "requests": 0, "market_minutes": 0.0, "max_gap": 900.0}
    assert steps.wanted(soak_fixtures.release(), given) == given


def test_what_the_version_of_before_does_at_the_same_time_is_what_counts() -> None:
    # 3 % of errors fail against what was measured before, and not when the version of before has 2.5 % now.
    alone = Soak()
    alone.tick()
    assert alone.tick(requests=1000, errors=30).failed
    beside = Soak()
    beside.tick(baseline={**soak_fixtures.BASELINE, "error_percent": 2.5})
    found = beside.tick(requests=1000, errors=30, baseline={**soak_fixtures.BASELINE, "error_percent": 2.5})
    assert found.outcome == soak.COUNTED, found.text


def test_what_hinders_holds_and_what_failed_fails_all_the_same() -> None:
    held = Soak()
    held.tick()
    found = held.tick(hindered=["It was scaled."])
    assert found.outcome == soak.HELD
    assert "It was scaled." in found.text
    assert held.counted == 0
    assert held.tick(requests=1000, errors=500, hindered=["It was scaled."]).failed


def test_a_version_of_before_that_was_changed_meanwhile_is_told() -> None:
    release = stepping()
    assert steps._changed(release, live()) == []
    assert "scaled from 3 to 5" in steps._changed(release, replace(live(), replicas=5))[0]
    previous = record.LastGood(digest=OLD, image="x", template={}, configuration={}, replicas=3)
    changed = steps._changed(replace(release, previous=previous), replace(live(), digest=NEW))
    assert "another image" in changed[0]


def test_a_release_that_is_on_its_way_is_neither_begun_again_nor_promoted() -> None:
    outcome = Outcome()
    assert strategies.on_its_way(stepping(), "app:v2", NEW, outcome)
    assert outcome.record["pending"] == record.STEPPING
    assert not strategies.on_its_way(stepping(), "app:v2", OLD, Outcome())
    assert not strategies.on_its_way(soak_fixtures.release(), "app:v2", soak_fixtures.NEW, Outcome())


def test_what_a_tick_says_of_a_stage() -> None:
    release = stepping(steps=[{"share": 20, "minutes": 10}, {"share": 50, "minutes": 10}])
    done = counted(release, 30)
    found = ticks.Ticked(release, done)
    assert "Step 1 of 2: 1 pod of 4 of v2." in ticks.told(found)
    (action,) = shown.actions(found, "staging/app", "2026-11-30T12:00:00Z")
    assert action["status"] == "ok"
    taken = ticks.Ticked(release, None, stage=Outcome(failed="It did not come up."))
    (action,) = shown.actions(taken, "staging/app", "2026-11-30T12:00:00Z")
    assert action["status"] == "failed"


def test_a_deployment_that_is_not_of_this_release_stays() -> None:
    strange = deployment(NEW)
    assert manifests.release_of(strange) == ""
    strange["metadata"]["annotations"][manifests.RELEASE_OF] = "another"
    api = Api()
    api.service = strange
    with pytest.raises(Conflict, match="not of this release"):
        second.made(
            session(api), made(), Seen(deployment(OLD)), with_image(template(OLD), NAME, image(NEW)), image(NEW)
        )
    with pytest.raises(Conflict, match="not of this release"):
        second.scaled(session(api), made())


def test_nothing_is_released_over_a_second_deployment_that_may_still_get_requests() -> None:
    release = stepping()
    release.becomes(record.FAILED, "It is bad.")
    found = standing.finding(record.Stored(release, "tag"), seen(OLD), NAME, going_on=False)
    assert (found.name, found.status) == ("record", "critical")
    assert release.strategy["helper"] in found.message
    release.strategy["retired"] = "2026-11-30T12:00:00Z"
    assert standing.finding(record.Stored(release, "tag"), seen(OLD), NAME, going_on=False).status == "ok"


def test_what_is_in_its_first_stage_is_not_told_as_if_it_were_through() -> None:
    outcome = Outcome(before={"image": "a"}, after={"image": "b"}, record={"pending": record.STEPPING})
    (action,) = findings.actions("promote", "production/app", outcome, "2026-11-30T12:00:00Z")
    assert action["message"].endswith("It is stepping, and not through yet.")


class Namespace(Api):
    """One with the Service and whatever else is given, by kind."""

    def __init__(
        self, service: dict[str, Any] | None, *scalers: dict[str, Any], helper: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.found = {"services": service, "deployments": helper}
        self.scalers = list(scalers)

    def get(self, path: str) -> dict[str, Any]:
        thing = self.found[path.split("/")[-2]]
        if thing is None:
            raise Missing(f"There is no {path}", "")
        return deepcopy(thing)

    def items(self, path: str, **_query: str) -> list[dict[str, Any]]:
        return self.scalers if "autoscalers" in path else []


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": NAME}, "spec": {"selector": {"app": NAME}, **spec}}


def scaler(name: str) -> dict[str, Any]:
    return {"metadata": {"name": "scaler"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": name}}}


def statuses(
    api: Api, release: record.Release | None = None, strategy: str = "gradual", **given: Any
) -> dict[str, str]:
    found = stages.looked(session(api, strategy=strategy, **given), seen(OLD), release)
    return {each.name: each.status for each in found}


def test_what_is_looked_at_before_a_release_by_stages() -> None:
    good = {"service": "ok", "helper": "ok", "autoscaler": "ok"}
    assert statuses(Namespace(service(), scaler("another"))) == good
    assert statuses(Namespace(None)) == {"service": "critical"}
    assert statuses(Namespace(service(selector={"app": "another"})))["service"] == "critical"
    assert statuses(Namespace(service(), scaler(NAME)))["autoscaler"] == "critical"
    assert statuses(Namespace(service(), helper=deployment(NEW)))["helper"] == "critical"
    for spec in ({"sessionAffinity": "ClientIP"}, {"clusterIP": "None"}):
        assert statuses(Namespace(service(**spec))) == {**good, "affinity": "warning"}


def test_one_that_was_begun_goes_on_as_it_was_begun() -> None:
    release = made("blue_green")
    mine = deployment(NEW)
    mine["metadata"]["annotations"][manifests.RELEASE_OF] = release.id
    # It may have been killed right after the switch.
    switched = Namespace(service(selector=release.strategy["helper_selector"]), helper=mine)
    assert set(statuses(switched, release, "blue_green").values()) == {"ok"}
    assert statuses(switched, strategy="blue_green")["service"] == "critical"
    assert statuses(Namespace(service()), release) == {"begun": "critical"}
    assert statuses(Namespace(service()), replace(release, strategy={})) == {"begun": "critical"}
