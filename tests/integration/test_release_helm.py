"""Releases by a Helm chart, with both versions of Helm: written by Helm, followed, proven and undone as any other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm import revisions
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import Cluster as Api
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import chart as charts
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import engine, findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.record import (
    PROMOTED,
    ROLLING_OUT,
    SOAKING,
    UNDONE,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Outcome

from sandbox.cluster import helm as programs
from tests.conftest import ROOT
from tests.integration.cluster_fixtures import Cluster, cluster, until
from tests.integration.test_release_rollout import (
    GOOD,
    NAME,
    NAMESPACE,
    NEVER_READY,
    WORSE,
    Killed,
    forbidden,
    owners,
    patch,
    record,
    runs,
    session,
    statuses,
)
from tests.integration.test_release_soaking import Stage

__all__ = ["cluster"]
#: What does not go by Helm's version.
helm_4 = pytest.mark.parametrize("installed", [4], indirect=True, scope="module")
RELEASE = "tradingflow"
FLAGS = f"configmap/{NAME}-flags"
#: What Helm waits for before it writes: time enough to kill it.
SLOW = """
apiVersion: batch/v1
kind: Job
metadata:
  name: slow
  annotations: {helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: before-hook-creation}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      containers: [{name: slow, image: none}]
"""


@dataclass
class Installed:
    """The application as a Helm release."""

    cluster: Cluster
    major: int
    program: str

    def helm(self, chart: Path = programs.CHART, **more: Any) -> dict[str, Any]:
        return {"chart": str(chart), "program": self.program, "timeout": 120, "history": 4, **more}

    def take_over(self, folder: Path, namespace: str = NAMESPACE) -> None:
        """What runs there becomes Helm's, as it is."""
        repository, _, sha = self.cluster.state["images"][GOOD].partition("@")
        values = folder / "values.json"
        image = {"repository": repository, "tag": GOOD, "digest": sha}
        values.write_text(json.dumps({"image": image}), encoding="utf-8")
        command = [self.program, "-n", namespace, "upgrade", "--install", RELEASE, programs.CHART, "-f", values]
        command += ["--take-ownership", *(["--force-conflicts"] if self.major == 4 else [])]
        environment = {**os.environ, "KUBECONFIG": self.cluster.state["admin_kubeconfig"]}
        subprocess.run([*map(str, command)], env=environment, check=True, capture_output=True)

    def release(self, version: str = WORSE, *, dry_run: bool = False, say: Any = None, **more: Any) -> Outcome:
        given = {"helm": self.helm(), "version": version, **more}
        return engine.run(session(self.cluster, *([say] if say else []), **given), dry_run=dry_run)

    def undo(self, **more: Any) -> Outcome:
        return engine.run(session(self.cluster, action="undo", helm=self.helm(chart=Path()), **more))

    def revisions(self) -> list[revisions.Revision]:
        api = Api({"kubeconfig": self.cluster.state["kubeconfig"]})
        return revisions.revisions(api, NAMESPACE, RELEASE)

    def pending(self) -> bool:
        newest = revisions.last(self.revisions())
        return newest is not None and newest.status == "pending-upgrade"

    def deployed(self) -> str:
        """The version that Helm believes to run."""
        newest = revisions.last(self.revisions())
        assert newest is not None
        assert newest.status == "deployed"
        return str(newest.content()["config"]["image"]["tag"])

    def prune(self) -> None:
        """Helm's history keeps nothing but the newest."""
        for each in self.revisions()[:-1]:
            self.cluster.kubectl("-n", NAMESPACE, "delete", f"secret/{each.secret['metadata']['name']}")


@pytest.fixture(scope="module", params=[4, 3])
def installed(
    cluster: Cluster, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    """The application of the cluster, taken over by Helm; in the end Helm knows nothing of it any more."""
    found = Installed(cluster, request.param, str(programs.program(request.param, lambda line: None)))
    found.take_over(tmp_path_factory.mktemp("helm"))
    # Who made the objects does not manage them any more.
    for kind in ("deployment", "service", "pdb"):
        metadata = cluster.get("-n", NAMESPACE, f"{kind}/{NAME}", "--show-managed-fields")["metadata"]
        left = [each for each in metadata["managedFields"] if each["manager"] in ("helm", "kube-controller-manager")]
        patching = json.dumps([{"op": "replace", "path": "/metadata/managedFields", "value": left}])
        cluster.kubectl("-n", NAMESPACE, "patch", kind, NAME, "--type=json", "-p", patching)
    cluster.settled()
    until(lambda: len(cluster.pods()) == 3)
    yield found
    cluster.kubectl("-n", NAMESPACE, "delete", "secret", "-l", "owner=helm")


@pytest.fixture(autouse=True)
def as_before(installed: Installed) -> Iterator[None]:
    yield
    outcome = installed.undo(overrides=["drift", "schema"], reason="the end of a test")
    assert not outcome.failed
    assert not outcome.forbidden
    installed.cluster.settled()
    runs(installed.cluster, GOOD)
    assert installed.deployed() == GOOD


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """The chart, with something that takes for ever before it writes."""
    folder = shutil.copytree(programs.CHART, tmp_path / "chart")
    (folder / "templates/slow.yaml").write_text(SLOW, encoding="utf-8")
    return Path(folder)


def killed_when(condition: Callable[[], bool], pid: Callable[[], int]) -> threading.Thread:
    """Kills a process, for real, as soon as something is so."""

    def work() -> None:
        until(condition, 200)
        os.kill(pid(), signal.SIGKILL)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def client() -> int:
    """The process of helm that this one has started."""
    done = subprocess.run(["pgrep", "-P", str(os.getpid()), "-x", "helm"], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def test_it_is_shown_released_with_flags_and_undone_though_its_history_is_pruned(installed: Installed) -> None:
    cluster, flags = installed.cluster, {"newFeature": True}
    planned = installed.release(flags=flags, dry_run=True)
    assert not planned.forbidden
    assert not planned.changed
    shown = findings.diff(planned, NAME)
    assert "newFeature" in shown["after"]
    assert "newFeature" not in shown["before"]
    assert installed.deployed() == GOOD
    outcome = installed.release(flags=flags)
    assert not outcome.failed
    assert set(statuses(outcome).values()) == {"ok"}
    assert "release.verified" in statuses(outcome)
    assert installed.deployed() == WORSE
    runs(cluster, WORSE)
    assert json.loads(cluster.get("-n", NAMESPACE, FLAGS)["data"]["FEATURE_FLAGS"]) == flags
    kept = record(cluster)
    assert (kept.state, kept.tag) == (SOAKING, WORSE)
    assert "newFeature" not in json.dumps(kept.previous and kept.previous.more["helm"])
    assert installed.release(flags=flags).nothing
    installed.prune()
    first = installed.undo()
    assert not first.failed
    assert statuses(first) == dict.fromkeys(("release.undone", "release.undone:flags", "release.removed"), "ok")
    assert installed.deployed() == GOOD
    runs(cluster, GOOD)
    assert owners(cluster, WORSE) == []
    assert json.loads(cluster.get("-n", NAMESPACE, FLAGS)["data"]["FEATURE_FLAGS"]) == {}
    for _time in range(2):
        more = installed.undo()
        assert more.nothing
        assert not more.changed
    assert record(cluster).state == UNDONE


@helm_4
def test_one_that_never_becomes_ready_is_back_within_seconds(installed: Installed) -> None:
    outcome = installed.release(NEVER_READY)
    assert statuses(outcome) == {"release.rollout": "critical", "release.undone": "ok", "release.removed": "ok"}
    assert outcome.record["noticed"] < 60
    assert record(installed.cluster).state == UNDONE
    assert installed.deployed() == GOOD
    assert owners(installed.cluster, NEVER_READY) == []


def test_a_client_that_is_killed_leaves_a_pending_release_that_is_taken_back(installed: Installed, slow: Path) -> None:
    killing = killed_when(installed.pending, client)
    outcome = installed.release(helm=installed.helm(slow))
    killing.join()
    assert "signal 9" in outcome.failed
    assert statuses(outcome)["release.undone"] == "ok"
    assert installed.deployed() == GOOD
    assert record(installed.cluster).state == UNDONE


@helm_4
@pytest.mark.parametrize("then", ["go on", "undo"])
def test_a_run_that_is_killed_while_helm_works_is_gone_on_with_or_undone(
    installed: Installed, slow: Path, then: str
) -> None:
    cluster = installed.cluster
    options = dict(session(cluster, helm=installed.helm(slow), version=WORSE).options)
    code = f"""
import json, sys
sys.path[:0] = {sys.path!r}
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.record import Store
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Session
options = json.load(sys.stdin)
engine.run(Session(options, Cluster(options["kubernetes"]), Store(options["storage"], "local"), "dead", "tester"))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True, cwd=ROOT) as run:
        assert run.stdin is not None
        killing = killed_when(installed.pending, lambda: run.pid)
        run.stdin.write(json.dumps(options))
        run.stdin.close()
        run.wait(240)
        killing.join()
    assert run.returncode == -signal.SIGKILL
    assert installed.pending()
    assert record(cluster).state == ROLLING_OUT
    outcome = installed.release() if then == "go on" else installed.undo()
    assert not outcome.failed
    assert not outcome.forbidden
    assert installed.deployed() == (WORSE if then == "go on" else GOOD)
    assert record(cluster).state == (SOAKING if then == "go on" else UNDONE)


@helm_4
def test_a_client_of_somebody_else_is_waited_for_and_never_taken_away(installed: Installed, slow: Path) -> None:
    cluster = installed.cluster
    environment = {**os.environ, "KUBECONFIG": cluster.state["kubeconfig"]}
    command = [installed.program, "-n", NAMESPACE, "upgrade", RELEASE, str(slow), "--reuse-values"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other:
        until(installed.pending)
        outcome = installed.release()
        other.kill()
    assert forbidden(outcome) == ["helm"]
    assert not outcome.changed
    number = installed.revisions()[-1].number
    assert "helm" in forbidden(installed.release())
    assert installed.revisions()[-1].number == number
    subprocess.run(
        [installed.program, "-n", NAMESPACE, "rollback", RELEASE, str(number - 1)],
        env=environment,
        check=True,
        capture_output=True,
    )


@helm_4
def test_what_others_changed_is_not_overwritten(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = installed.cluster
    patch(cluster, "deployment", {"spec": {"replicas": 4}})
    cluster.settled()
    try:
        assert forbidden(installed.release()) == ["drift"]
    finally:
        patch(cluster, "deployment", {"spec": {"replicas": 3}})
        until(lambda: len(cluster.pods()) == 3)
    # Right before Helm writes.
    real = charts.Chart._freed

    def edited(*args: Any) -> Any:
        cluster.kubectl("-n", NAMESPACE, "set", "env", f"deployment/{NAME}", "DEBUG=1")
        return real(*args)

    with monkeypatch.context() as patching:
        patching.setattr(charts.Chart, "_freed", edited)
        before = installed.revisions()[-1].number
        outcome = installed.release()
    assert statuses(outcome)["release.changed"] == "critical"
    assert installed.revisions()[-1].number == before
    assert "DEBUG" in json.dumps(cluster.get("-n", NAMESPACE, f"deployment/{NAME}")["spec"])


@helm_4
def test_what_a_release_of_an_image_left_is_taken_over_and_what_others_manage_is_not(installed: Installed) -> None:
    cluster = installed.cluster
    # By our own client, so that the API has it that we manage the image.
    assert not installed.release(helm={}).failed
    assert not installed.undo().failed
    assert not (outcome := installed.release()).failed
    assert outcome.changed
    assert not installed.undo().failed
    body = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": f"{NAME}-flags"},
        "data": {"FEATURE_FLAGS": "1"},
    }
    command = [cluster.state["kubectl"], "--kubeconfig", cluster.state["admin_kubeconfig"], "-n", NAMESPACE, "apply"]
    mine = ["--server-side", "--force-conflicts", "--field-manager=somebody", "-f", "-"]
    subprocess.run([*command, *mine], input=json.dumps(body), text=True, check=True, capture_output=True)
    number = installed.revisions()[-1].number
    refused = installed.release()
    assert forbidden(refused) == ["chart"]
    assert "somebody" in refused.forbidden[0].message
    assert installed.revisions()[-1].number == number
    body["data"] = {}  # nobody's again
    subprocess.run([*command, *mine], input=json.dumps(body), text=True, check=True, capture_output=True)
    patch_of = json.dumps({"data": {"FEATURE_FLAGS": "{}"}})
    cluster.kubectl(
        "-n", NAMESPACE, "patch", FLAGS, "--type=merge", "--field-manager=tradingflow-maintenance", "-p", patch_of
    )


@helm_4
def test_a_chart_that_cannot_be_released_is_refused(installed: Installed, tmp_path: Path) -> None:
    assert forbidden(installed.release(helm=installed.helm(tmp_path / "none"))) == ["chart"]
    assert forbidden(installed.release(helm=installed.helm(release="another"))) == ["helm"]
    unpinned = shutil.copytree(programs.CHART, tmp_path / "chart")
    place = unpinned / "templates/application.yaml"
    place.write_text(place.read_text().replace("%s:%s@%s", "%s:%s-%s"), encoding="utf-8")
    assert "helm" in forbidden(installed.release(helm=installed.helm(unpinned)))
    assert installed.deployed() == GOOD


@helm_4
def test_values_that_nobody_gives_any_more_are_not_quietly_reset(installed: Installed) -> None:
    first = installed.release(helm=installed.helm(values={"progressDeadlineSeconds": 300}))
    assert first.changed
    assert not first.failed
    assert forbidden(installed.release(GOOD)) == ["values"]


@helm_4
def test_a_run_that_died_right_after_helm_goes_on_and_releases_no_second_time(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_args: Any, **_more: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patching:
        patching.setattr(charts.Chart, "_afterwards", killed)
        with pytest.raises(Killed):
            installed.release()
    number = installed.revisions()[-1].number
    outcome = installed.release()
    assert not outcome.failed
    assert record(installed.cluster).state == SOAKING
    assert installed.revisions()[-1].number == number


@helm_4
def test_what_has_soaked_goes_to_production_by_its_chart_and_by_no_other(installed: Installed, slow: Path) -> None:
    cluster, flags = installed.cluster, {"newFeature": True}
    staging, production = Stage(cluster), Stage(cluster, "production")
    installed.take_over(slow, "production")
    cluster.settled("production")
    # The image stays: it is the chart's values that are new.
    assert not installed.release(GOOD, flags=flags).failed
    cluster.asked()
    staging.soaked()
    for chart, status in (({}, "critical"), (installed.helm(slow), "ok"), (installed.helm(changed(slow)), "critical")):
        outcome = staging.promote(helm={"program": installed.program, **chart}, dry_run=True)
        found = {each.name: each for each in outcome.findings}["values.chart"]
        assert found.status == status, found.message
    assert "Service/" in found.message
    # A busy machine may have taken longer than a soak may go without a look.
    staging.soaked()
    # What runs before an upgrade is no object that stays; the values of production are its own.
    done = staging.promote(helm=installed.helm(values={"replicas": 3}))
    assert not done.forbidden, [each.message for each in done.forbidden]
    assert not done.failed
    assert statuses(done)["release.flags"] == "ok"
    assert staging.now.state == PROMOTED
    assert production.now.promoted_from == staging.now.id
    there = json.loads(cluster.get("-n", "production", FLAGS)["data"]["FEATURE_FLAGS"])
    assert there == flags


def changed(chart: Path) -> Path:
    """The chart with another Service."""
    folder = shutil.copytree(chart, chart.parent / "changed")
    (folder / "templates/slow.yaml").write_text(
        "{apiVersion: v1, kind: Service, metadata: {name: other}, spec: {ports: [{port: 80}]}}", encoding="utf-8"
    )
    return Path(folder)
