"""Releases that run into trouble on a real cluster: pods that cannot begin, and a controlling run that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import kept, leftovers
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
    session,
    statuses,
    undo,
)

__all__ = ["cluster"]
#: What the release passes by: that it is in trouble is seen before, and here it must be seen in the rollout.
MEANT: dict[str, Any] = {
    "overrides": ["rollout", "configuration", "quota", "disruption", "metrics", "drift"],
    "reason": "to see it",
}


@pytest.fixture(scope="module", autouse=True)
def small(cluster: Cluster) -> None:
    """One pod."""
    cluster.small()


@pytest.fixture(autouse=True)
def as_before(cluster: Cluster) -> Iterator[None]:
    """Every test begins and ends with version 1.2.0."""
    yield
    assert not undo(cluster, overrides=["drift", "schema"], reason="the end of a test").failed
    # Configuration that was there when the release began comes back, the wrong port too.
    patch(cluster, "configmap", {"data": {"TRADINGFLOW_PORT": None}})
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
    outcome = release(cluster, WORSE, **MEANT)
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


def test_copies_that_no_record_needs_go_and_nothing_else(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not release(cluster, WORSE, **MEANT).failed
    needed = record(cluster).previous
    assert needed is not None
    for name, value in {"NEWEST": 0, "YOUNG": timedelta(seconds=-1)}.items():
        monkeypatch.setattr(leftovers, name, value)
    made = session(cluster, action="undo")

    def copied(kind: str, **data: Any) -> str:
        """A copy of what once was."""
        thing = {**cluster.get("-n", NAMESPACE, f"{kind.lower()}/{NAME}"), **data}
        (name,) = kept.keep(made.cluster, NAMESPACE, {f"{kind}/{NAME}": thing})
        return name.partition("/")[2]

    leftovers.removed(made)
    old = {copied("ConfigMap", data={"A": "1"}), copied("Secret", data={"A": "MQ=="})}
    # Ours only by its name, by its label, or not any more by its content.
    forged = copied("ConfigMap", data={"A": "2"})
    cluster.kubectl("-n", NAMESPACE, "annotate", "--overwrite", f"configmap/{forged}", f"{kept.HASH}={'0' * 64}")
    unlabelled = copied("ConfigMap", data={"A": "3"})
    cluster.kubectl("-n", NAMESPACE, "label", f"configmap/{unlabelled}", "app.kubernetes.io/managed-by-")
    strange = "tradingflow-other"
    cluster.kubectl("-n", NAMESPACE, "create", "configmap", strange)
    cluster.kubectl("-n", NAMESPACE, "label", f"configmap/{strange}", f"app.kubernetes.io/managed-by={kept.OWNER}")
    # A record that cannot be read may need any of them.
    place = made.store.key("another", NAMESPACE)
    made.store.s3.put_object(Bucket=made.store.bucket, Key=place, Body=b"{}")
    assert leftovers.removed(made) == []
    made.store.s3.delete_object(Bucket=made.store.bucket, Key=place)
    assert {each.partition("/")[2] for each in leftovers.removed(made)} == old
    there = {each["metadata"]["name"] for each in cluster.get("-n", NAMESPACE, "configmaps,secrets")["items"]}
    assert {forged, unlabelled, strange} <= there
    for name, content in needed.configuration.items():
        assert kept.copy_name(name.partition("/")[2], content) in there
    cluster.kubectl("-n", NAMESPACE, "delete", "configmap", forged, unlabelled, strange)


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
