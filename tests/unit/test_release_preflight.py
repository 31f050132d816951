"""What forbids a release before anything is touched, and what a template refers to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.configuration import (
    hashed,
    lacking,
    referred,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.quantities import quantity
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.workloads import (
    differences,
    matches,
    running_digests,
    same_template,
    template_hash,
    with_image,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import kept, last_good, preflight
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.target import repository_of, tag_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import CRITICAL, OK, UNKNOWN, WARNING
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ClusterError, ReleaseError

from tests.unit.release_fixtures import NAME, NEW, OLD, deployment, pod, replicaset, seen, template


@pytest.mark.parametrize(
    ("text", "number"),
    [("100m", "0.1"), ("2", "2"), ("64Mi", 64 << 20), ("1e3", "1000"), ("1.5G", "1500000000"), ("1E", 10**18)],
)
def test_quantities(text: str, number: Any) -> None:
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "many", "1 Mi", "1Zi", "0x10", "1e", "--1"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ClusterError):
        quantity(text)


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "small"},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": used or {}},
    }


@pytest.mark.parametrize(
    ("hard", "used", "status"),
    [
        ({"pods": "4"}, {"pods": "3"}, OK),
        ({"pods": "3"}, {"pods": "3"}, CRITICAL),
        ({"count/pods": "3"}, {"count/pods": "3"}, CRITICAL),
        ({"requests.cpu": "1"}, {"requests.cpu": "950m"}, OK),
        ({"cpu": "1"}, {"cpu": "951m"}, CRITICAL),
        ({"limits.memory": "256Mi"}, {"limits.memory": "129Mi"}, CRITICAL),
        # The container says nothing of it, and a quota of it wants everybody to.
        ({"limits.cpu": "10"}, {}, CRITICAL),
        ({"count/replicasets.apps": "2"}, {"count/replicasets.apps": "2"}, CRITICAL),
        ({"services": "1", "secrets": "1"}, {"services": "1", "secrets": "1"}, OK),
    ],
)
def test_room_in_a_quota(hard: dict[str, str], used: dict[str, str], status: str) -> None:
    (found,) = preflight.quotas([quota(hard, used)], [], template(), 1)
    assert found.status == status


def test_a_limit_range_says_what_a_container_does_not() -> None:
    ranges = [{"spec": {"limits": [{"type": "Container", "default": {"cpu": "500m"}}]}}]
    (found,) = preflight.quotas([quota({"limits.cpu": "1"})], ranges, template(), 2)
    assert found.status == OK
    (found,) = preflight.quotas([quota({"limits.cpu": "1"})], ranges, template(), 3)
    assert found.status == CRITICAL


def test_a_quota_that_was_not_counted_or_is_not_understood_is_unknown() -> None:
    uncounted = quota({"pods": "9"})
    uncounted["status"] = {}
    strange = quota({"pods": "9"}, scopes=["Sideways"])
    selected = quota({"pods": "9"}, scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass"}]})
    found = list(preflight.quotas([uncounted, strange, selected], [], template(), 1))
    assert [each.status for each in found] == [UNKNOWN] * 3
    # One for other pods than these says nothing.
    assert list(preflight.quotas([quota({"pods": "0"}, scopes=["BestEffort"])], [], template(), 1)) == []


def budget(allowed: Any, observed: int = 1, name: str = "budget") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": NAME}}},
        "status": {"disruptionsAllowed": allowed, "observedGeneration": observed},
    }


def test_disruption_budgets() -> None:
    assert preflight.disruption([budget(1)], template()).status == OK
    assert preflight.disruption([budget(0)], template()).status == CRITICAL
    assert preflight.disruption([budget(None)], template()).status == UNKNOWN
    assert preflight.disruption([budget(1, observed=0)], template()).status == UNKNOWN
    assert preflight.disruption([budget(1), budget(1, name="other")], template()).status == CRITICAL
    assert preflight.disruption([], template()).status == WARNING


def test_strategy_probes_and_drain() -> None:
    found = deployment()
    assert preflight.strategy(found).status == OK
    assert preflight.surge(found) == 1
    found["spec"]["strategy"]["rollingUpdate"] = {"maxSurge": "50%", "maxUnavailable": "34%"}
    assert preflight.strategy(found).status == WARNING
    assert preflight.surge(found) == 2
    found["spec"]["strategy"] = {"type": "Recreate"}
    assert preflight.strategy(found).status == CRITICAL
    bare = template()
    del bare["spec"]["containers"][0]["readinessProbe"], bare["spec"]["containers"][0]["lifecycle"]
    assert [each.status for each in preflight.probes(bare, NAME)] == [CRITICAL, CRITICAL]


@pytest.mark.parametrize(
    ("heads", "works", "asked", "status"),
    [
        (["a"], ("a", "b"), True, OK),
        (["c"], ("a", "b"), True, CRITICAL),
        (["a", "c"], ("a", "b"), True, CRITICAL),
        (["a"], (), True, UNKNOWN),
        (None, ("a",), True, UNKNOWN),
        ([], ("a",), True, UNKNOWN),
        (None, (), False, WARNING),
    ],
)
def test_the_schema(heads: list[str] | None, works: tuple[str, ...], asked: bool, status: str) -> None:
    assert preflight.schema(heads, works, "app:v2", asked=asked).status == status


def test_only_what_was_named_is_passed_by_and_the_reason_stays() -> None:
    found = [
        preflight.Finding("quota.small", "", CRITICAL, 1, "No room."),
        preflight.Finding("schema", "", UNKNOWN, None, "Nobody knows."),
    ]
    passed = preflight.passed_by(found, ["quota"], "we know")
    assert [each.status for each in passed] == [WARNING, UNKNOWN]
    assert "we know" in passed[0].message


def test_configuration() -> None:
    wanted = template()
    spec = wanted["spec"]["containers"][0]
    spec["env"] = [{"valueFrom": {"secretKeyRef": {"name": "keys", "key": "one"}}}, {"name": "plain", "value": "x"}]
    wanted["spec"]["volumes"] = [
        {"configMap": {"name": "files", "items": [{"key": "a"}]}},
        {"secret": {"secretName": "tls", "optional": True}},
        {"projected": {"sources": [{"configMap": {"name": "projected"}}]}},
    ]
    wanted["spec"]["imagePullSecrets"] = [{"name": "login"}]
    names = {str(each) for each in referred(wanted)}
    assert names == {
        *("ConfigMap/tradingflow", "Secret/tradingflow", "Secret/keys", "ConfigMap/files", "Secret/tls"),
        *("ConfigMap/projected", "Secret/login"),
    }
    there: dict[str, Any] = {name: {"data": {}} for name in names if name != "Secret/tls"}
    assert lacking(wanted, there) == ["ConfigMap/files has no key a", "Secret/keys has no key one"]
    there["Secret/keys"]["data"]["one"] = "eA=="
    there["ConfigMap/files"]["binaryData"] = {"a": "eA=="}
    assert preflight.configuration(wanted, there).status == OK
    del there["Secret/login"]
    assert preflight.configuration(wanted, there).status == CRITICAL


def test_a_hash_of_a_secret_cannot_be_found_by_trying() -> None:
    one = {"kind": "Secret", "metadata": {"uid": "1"}, "data": {"password": "MTIzNA=="}}
    assert hashed(one) != hashed({**one, "metadata": {"uid": "2"}})
    assert hashed(one) == hashed({**one, "metadata": {"uid": "1", "resourceVersion": "7"}})
    assert hashed({**one, "kind": "ConfigMap"}) == hashed({"kind": "ConfigMap", "data": {"password": "MTIzNA=="}})


def test_templates() -> None:
    assert same_template(replicaset(NEW)["spec"]["template"], template(NEW))
    assert template_hash(replicaset(NEW)["spec"]["template"]) == template_hash(template(NEW))
    assert not same_template(template(OLD), template(NEW))
    assert with_image(template(OLD), NAME, template(NEW)["spec"]["containers"][0]["image"]) == template(NEW)
    assert differences(template(OLD), template(NEW)) == ["spec.containers[0].image"]
    with pytest.raises(ClusterError):
        with_image(template(OLD), "other", "x")
    assert running_digests(pod(NEW), NAME) == NEW
    assert running_digests({}, NAME) is None


def test_selectors() -> None:
    wanted = {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "In", "values": ["2"]}]}
    assert matches(wanted, {"a": "1", "b": "2"})
    assert not matches(wanted, {"a": "1"})
    assert matches({}, {"a": "1"})
    assert not matches(None, {"a": "1"})
    with pytest.raises(ClusterError):
        matches({"matchExpressions": [{"key": "b", "operator": "Near"}]}, {})


def test_names_of_images() -> None:
    assert repository_of("127.0.0.1:5000/tradingflow/app:v1@sha256:aa") == "127.0.0.1:5000/tradingflow/app"
    assert repository_of("tradingflow/app") == "tradingflow/app"
    assert tag_of("127.0.0.1:5000/tradingflow/app") == ""
    assert tag_of("127.0.0.1:5000/tradingflow/app:v1@sha256:aa") == "v1"


def test_last_good_is_pinned_by_what_pods_run() -> None:
    found = seen(NEW)
    found.deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "127.0.0.1:5000/tradingflow/app:v1"
    found.replicasets[0]["spec"]["template"]["spec"]["containers"][0]["image"] = "127.0.0.1:5000/tradingflow/app:v1"
    kept = last_good.of(found, NAME, {}, ["a", "b"], ["a"])
    assert (kept.digest, kept.schema_head) == (NEW, "a,b")
    assert kept.image == f"127.0.0.1:5000/tradingflow/app:v1@{NEW}"
    assert last_good.is_back(found, kept, NAME)
    found.pods[0]["status"]["containerStatuses"][0]["imageID"] = f"x@{OLD}"
    assert not last_good.is_back(found, kept, NAME)
    with pytest.raises(ReleaseError):
        last_good.of(found, NAME, {}, None, [])


def test_configuration_that_the_chart_makes_is_there() -> None:
    wanted = template(NEW)
    wanted["spec"]["containers"][0]["envFrom"] += [{"configMapRef": {"name": "new"}}]
    key = {"secretKeyRef": {"name": "made", "key": "password"}}
    wanted["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "valueFrom": key}]
    there: dict[str, Any] = {
        "ConfigMap/tradingflow": {},
        "Secret/tradingflow": {},
        "ConfigMap/new": None,
        "Secret/made": None,
    }
    assert preflight.configuration(wanted, there).value == 2
    flags = {"kind": "ConfigMap", "metadata": {"name": "new"}, "data": {"A": "1"}}
    login = {"kind": "Secret", "metadata": {"name": "made"}, "stringData": {"password": "x"}}
    assert preflight.configuration(wanted, kept.with_made(there, [flags, login], "staging")).status == OK
    elsewhere = [{**flags, "metadata": {"name": "new", "namespace": "production"}}, {**login, "stringData": {"a": "b"}}]
    found = preflight.configuration(wanted, kept.with_made(there, elsewhere, "staging"))
    assert found.value == 2
    assert "no key password" in found.message


def test_a_release_of_an_image_beside_helm_is_told() -> None:
    metadata: dict[str, Any] = {"name": "app", "annotations": {"meta.helm.sh/release-name": "trading"}}
    (found,) = preflight.helm({"metadata": metadata})
    assert (found.name, found.status, found.forbids) == ("helm", "warning", False)
    assert "trading" in found.message
    for other in ({}, None, {"meta.helm.sh/release-name": ""}):
        assert preflight.helm({"metadata": {"annotations": other}}) == []
