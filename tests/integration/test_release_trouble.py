"""Releases that run into trouble on a real cluster: pods that cannot begin, and a controlling run that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.record import ROLLING_OUT, UNDONE

from tests.conftest import ROOT
from tests.integration.cluster_fixtures import Cluster, cluster, until
from tests.integration.test_release_rollout import (
    GOOD,
    NAME,
    NAMESPACE,
    WORSE,
    digest,
    owners,
    patch,
    record,
    release,
    runs,
    statuses,
    undo,
)

__all__ = ["cluster"]
#: What the release passes by: that it is in trouble is seen before, and here it must be seen in the rollout.
MEANT: dict[str, Any] = {
    "overrides": ["rollout", "configuration", "quota", "disruption", "metrics", "drift"],
    "reason": "to see it",
}


@pytest.fixture(autouse=True)
def as_before(cluster: Cluster) -> Iterator[None]:
    """Every test begins and ends with version 1.2.0 on three pods."""
    yield
    assert not undo(cluster, overrides=["drift", "schema"], reason="the end of a test").failed
    cluster.settled()
    runs(cluster, GOOD)


def test_a_pod_that_no_node_takes(cluster: Cluster) -> None:
    (node,) = cluster.get("nodes")["items"]
    name = node["metadata"]["name"]
    cluster.kubectl("cordon", name)
    try:
        outcome = release(cluster, WORSE, undo_on_failure=False, **MEANT)
    finally:
        cluster.kubectl("uncordon", name)
    assert statuses(outcome)["release.rollout"] == "critical"
    assert "No node takes" in outcome.failed
    assert outcome.record["noticed"] < 60
    assert not undo(cluster).failed
    assert owners(cluster, WORSE) == []


def test_a_pod_that_ends_again_and_again(cluster: Cluster) -> None:
    # Only pods that begin from now on read it.
    patch(cluster, "configmap", {"data": {"TRADINGFLOW_PORT": "no number"}})
    try:
        outcome = release(cluster, WORSE, **MEANT)
    finally:
        patch(cluster, "configmap", {"data": {"TRADINGFLOW_PORT": None}})
    assert statuses(outcome)["release.rollout"] == "critical"
    assert outcome.record["noticed"] < 60
    assert any(word in outcome.failed for word in ("CrashLoopBackOff", "has ended with", "was restarted"))


def test_a_pod_whose_configuration_is_not_there(cluster: Cluster, tmp_path: Path) -> None:
    held = cluster.get("-n", NAMESPACE, f"secret/{NAME}")
    cluster.kubectl("-n", NAMESPACE, "delete", f"secret/{NAME}")
    try:
        outcome = release(cluster, WORSE, undo_on_failure=False, **MEANT)
    finally:
        metadata = {"name": NAME, "namespace": NAMESPACE, "labels": held["metadata"]["labels"]}
        file = tmp_path / "secret.json"
        file.write_text(json.dumps({**held, "metadata": metadata}), encoding="utf-8")
        cluster.kubectl("create", "-f", str(file))
    assert "CreateContainerConfigError" in outcome.failed
    assert outcome.record["noticed"] < 60


KILLED = """
import sys
sys.path.insert(0, {root!r})
import tests.conftest
from pathlib import Path
from tests.conftest import Sandbox
from tests.integration.cluster_fixtures import Cluster
from tests.integration.test_release_rollout import engine, session
import json
file = Path({file!r})
running = Cluster(Sandbox(json.loads(file.read_text()), {{}}, file))
engine.run(session(running, lambda text: print(text, flush=True), version={version!r}))
"""


def test_a_controlling_process_that_is_really_killed(cluster: Cluster) -> None:
    code = KILLED.format(root=str(ROOT), file=str(cluster.platform.file), version=WORSE)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as work:
        assert work.stdout
        for line in work.stdout:
            if "->" in line:
                os.kill(work.pid, signal.SIGKILL)
                break
    assert record(cluster).state == ROLLING_OUT
    until(lambda: digest(cluster, WORSE) in str(cluster.get("-n", NAMESPACE, f"deployment/{NAME}")["spec"]))
    time.sleep(1)
    assert not undo(cluster).failed
    assert record(cluster).state == UNDONE
    runs(cluster, GOOD)
    assert owners(cluster, WORSE) == []
