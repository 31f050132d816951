"""What releases by stages plan, render and look at; what they do: tests/integration/test_release_strategies.py."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes import services
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import (
    Cluster,
    Conflict,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.workloads import with_image
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import (
    manifests,
    record,
    second,
    stages,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.options import checked
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ClusterError,
    ConfigurationError,
    ReleaseError,
)

from tests.unit.release_fixtures import NAME, NEW, OLD, deployment, image, seen, template
from tests.unit.stage_fixtures import (
    SERVICE,
    TEMPLATES,
    Api,
    Namespace,
    made,
    options,
    scaler,
    service,
    session,
    stepping,
)


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
