"""Major updates in a real cluster: flags read back from pods, and the platform's own tests as Jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import tests_job
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.record import (
    PROMOTED,
    ROLLING_OUT,
    SOAKING,
    UNDONE,
)

from sandbox import application
from sandbox.layout import CHECKOUT
from tests.conftest import Playbook
from tests.end_to_end.test_daily import statements
from tests.integration.cluster_fixtures import Cluster, cluster
from tests.integration.test_release_rollout import (
    GOOD,
    NAME,
    NAMESPACE,
    WORSE,
    Killed,
    digest,
    owners,
    patch,
    record,
    release,
    runs,
    session,
    statuses,
    undo,
)
from tests.integration.test_release_soaking import Stage

__all__ = ["cluster"]
#: It works with the schema after the last migration only.
MIGRATED = "v1.2.1"
ADDRESS = "http://$(TRADINGFLOW_APP_SERVICE_HOST):$(TRADINGFLOW_APP_SERVICE_PORT)"
E2E, INTEGRATION = (
    {"name": name, "command": ["/usr/bin/python3", "-m", "sandbox.app.tests", name, ADDRESS], "deadline": 120}
    for name in ("e2e", "integration")
)
FLAGS = {"newFeature": True}


@pytest.fixture(scope="module", autouse=True)
def small(cluster: Cluster) -> None:
    """One pod in both namespaces."""
    for namespace in (NAMESPACE, "production"):
        cluster.small(namespace)


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
    now = record(cluster)
    assert now.state == SOAKING
    # What a run that was killed left goes with the release, when that is undone.
    made = session(cluster, version=WORSE)
    tests_job._job(made, tests_job.manifest(made, now, made.look().template, "any", completed(E2E)))
    assert jobs(cluster)
    assert not undo(cluster).failed
    assert not jobs(cluster)


def completed(test: dict[str, Any]) -> dict[str, Any]:
    """As the argument spec completes it."""
    return {"image": None, "env": {}, **test}


def test_a_version_whose_migration_came_first_is_promoted(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADINGFLOW_DATABASE_URL", application.environment(cluster.sandbox)["TRADINGFLOW_DATABASE_URL"])
    alembic, stage = Config(CHECKOUT / "sandbox/app/alembic.conf"), Stage(cluster)
    refused = release(cluster, MIGRATED)
    assert [each.name for each in refused.forbidden] == ["schema"]
    command.upgrade(alembic, "head")
    try:
        assert not release(cluster, MIGRATED, tests=[INTEGRATION]).failed
        cluster.asked()
        stage.soaked()
        done = stage.promote()
        assert not done.forbidden, [each.message for each in done.forbidden]
        assert not done.failed, done.failed
        assert record(cluster).state == PROMOTED
        for pod in cluster.pods("production"):
            assert digest(cluster, MIGRATED) in pod["status"]["containerStatuses"][0]["imageID"]
        # With the schema of now the version of before works too; and then the schema may go back.
        assert not undo(cluster, namespace="production").failed
        assert not undo(cluster).failed
    finally:
        command.downgrade(alembic, "-1")


def test_the_playbook_makes_a_recovery_point_and_proves_it_first(
    cluster: Cluster, play: Callable[..., Playbook]
) -> None:
    assert [each.name for each in release(cluster, kind="major").forbidden] == ["recovery_point"]
    options = {
        "release_version": WORSE,
        "release_flags": FLAGS,
        "release_tests": [INTEGRATION],
        "release_steady": 1,
        "release_analysis": {"measures": ["memory", "restarts"]},
    }
    done = play("major", "-e", json.dumps(options))
    assert done.returncode == 0, done.output
    report = done.report("major")
    found = {check["id"]: check["status"] for check in report["checks"]}
    for id in ("release.preflight:recovery_point", "release.flags", "release.tests:integration"):
        assert found[id] == "ok"
    kept = record(cluster)
    assert kept.previous is not None
    point = kept.previous.more["recovery_point"]
    assert point["id"] in [each["content"].get("recovery_point") for each in drills(cluster)]
    assert kept.previous.more["wanted"] == {"kind": "major", "flags": FLAGS, "chart": ""}


def drills(cluster: Cluster) -> list[dict[str, Any]]:
    """What the ledger says of drills."""
    found = [each["predicate"] for each in statements(cluster.platform, 10)]
    return [each for each in found if each["kind"] == "drill"]
