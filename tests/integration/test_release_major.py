"""Major updates in a real cluster: flags read back from pods, and the platform's own tests as Jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import tests_job
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.record import (
    ROLLING_OUT,
    SOAKING,
    UNDONE,
)

from tests.integration.cluster_fixtures import Cluster, cluster
from tests.integration.test_release_rollout import (
    GOOD,
    NAME,
    NAMESPACE,
    WORSE,
    Killed,
    owners,
    patch,
    record,
    release,
    runs,
    statuses,
    undo,
)

__all__ = ["cluster"]
ADDRESS = "http://$(TRADINGFLOW_APP_SERVICE_HOST):$(TRADINGFLOW_APP_SERVICE_PORT)"
E2E, INTEGRATION = (
    {"name": name, "command": ["/usr/bin/python3", "-m", "sandbox.app.tests", name, ADDRESS], "deadline": 120}
    for name in ("e2e", "integration")
)
FLAGS = {"newFeature": True}


@pytest.fixture(autouse=True)
def as_before(cluster: Cluster) -> Iterator[None]:
    """Every test begins and ends with version 1.2.0; pods that begin have a feature flag, and no defect for now."""
    patch(cluster, "configmap", {"data": {"FEATURE_FLAGS": json.dumps(FLAGS), "TRADINGFLOW_DEFECT_AFTER": "3600"}})
    yield
    assert not undo(cluster, overrides=["drift", "schema"], reason="the end of a test").failed
    cluster.settled()
    runs(cluster, GOOD)
    assert not jobs(cluster)


def jobs(cluster: Cluster) -> list[dict[str, Any]]:
    """Those of tests that are not about to go."""
    items: list[dict[str, Any]] = cluster.get("-n", NAMESPACE, "jobs")["items"]
    return [each for each in items if "deletionTimestamp" not in each["metadata"]]


def test_flags_and_tests_prove_it_and_a_run_that_was_killed_goes_on_with_its_job(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_args: Any, **_more: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patching:
        patching.setattr(tests_job, "follow", killed)
        with pytest.raises(Killed):
            release(cluster, flags=FLAGS, tests=[E2E, INTEGRATION])
    assert record(cluster).state == ROLLING_OUT
    (begun,) = jobs(cluster)
    followed: list[str] = []
    real = getattr(tests_job, "follow")  # noqa: B009 - imported there

    def follow(*args: Any, **more: Any) -> Any:
        followed.append(args[2]["metadata"]["uid"])
        return real(*args, **more)

    monkeypatch.setattr(tests_job, "follow", follow)
    outcome = release(cluster, flags=FLAGS, tests=[E2E, INTEGRATION])
    assert statuses(outcome) == dict.fromkeys(
        ("release.rollout", "release.verified", "release.flags", "release.tests:e2e", "release.tests:integration"), "ok"
    )
    assert followed[0] == begun["metadata"]["uid"]
    found = {check.id: check for check in outcome.checks}
    assert (found["release.tests:e2e"].value, found["release.tests:integration"].value) == (5, 2)
    kept = record(cluster)
    assert kept.state == SOAKING
    assert [each.text.partition(":")[0] for each in kept.events if each.kind == "tested"] == ["e2e", "integration"]
    # Its pods serve nobody: no Service finds them.
    labels = begun["spec"]["template"]["metadata"]["labels"]
    selector = cluster.get("-n", NAMESPACE, f"service/{NAME}")["spec"]["selector"]
    assert not selector.items() <= labels.items()
    assert not jobs(cluster)


def test_a_flag_that_is_not_as_wanted_and_a_test_that_fails_undo_it(cluster: Cluster) -> None:
    outcome = release(cluster, flags={"newFeature": False}, tests=[E2E])
    assert statuses(outcome)["release.flags"] == "critical"
    assert statuses(outcome)["release.undone"] == "ok"
    assert "release.tests:e2e" not in statuses(outcome)
    runs(cluster, GOOD)
    wrong = {**E2E, "env": {"RELEASE_VERSION": "v9.9.9"}}
    outcome = release(cluster, tests=[wrong, INTEGRATION])
    found = {check.id: check for check in outcome.checks}
    assert found["release.tests:e2e"].status == "critical"
    assert "Every instance is the version" in found["release.tests:e2e"].message
    assert "1 further suite was not run" in found["release.tests:e2e"].message
    assert found["release.undone"].status == "ok"
    assert record(cluster).state == UNDONE
    runs(cluster, GOOD)
    assert owners(cluster, WORSE) == []


def test_tests_that_say_nothing_or_cannot_begin_are_unknown_and_the_next_run_goes_on(cluster: Cluster) -> None:
    silent = {**E2E, "command": ["/bin/true"]}
    outcome = release(cluster, tests=[silent])
    assert statuses(outcome)["release.tests:e2e"] == "unknown"
    assert record(cluster).state == ROLLING_OUT
    outcome = release(cluster, tests=[{**E2E, "image": "127.0.0.1:1/tradingflow/tests:1"}])
    assert statuses(outcome)["release.tests:e2e"] == "unknown"
    assert "ImagePull" in outcome.failed
    runs(cluster, WORSE)
    assert statuses(release(cluster, tests=[INTEGRATION]))["release.tests:integration"] == "ok"
    assert record(cluster).state == SOAKING
