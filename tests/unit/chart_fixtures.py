"""A release by chart without a cluster: its Secrets, its Deployment, and a Helm that does as it is told."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm import revisions
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.chart import (
    Chart,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.chart_undo import ChartUndo
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.record import (
    FAILED,
    LastGood,
    Release,
    Stored,
    new,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Session
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.target import Target

from tests.unit.release_fixtures import NAME, NEW, OLD, image, seen, template

GOOD: dict[str, Any] = {
    "name": "tradingflow",
    "version": 1,
    "info": {"status": "deployed"},
    "chart": {"metadata": {"name": "tradingflow", "version": "1.2.0"}},
    "config": {"replicas": 3},
    "manifest": "kind: ConfigMap\nmetadata: {name: flags}\n",
}
BAD: dict[str, Any] = {**GOOD, "config": {"replicas": 3, "newFeature": True}}
SHA256 = revisions.identity(GOOD)


def secret(number: int, content: dict[str, Any], status: str = "deployed", **labels: str) -> dict[str, Any]:
    """A revision as the API gives it."""
    return {
        "metadata": {
            "name": f"sh.helm.release.v1.tradingflow.v{number}",
            "creationTimestamp": "2026-11-30T12:00:00Z",
            "labels": {"owner": "helm", "name": "tradingflow", "version": str(number), "status": status, **labels},
        },
        "type": "helm.sh/release.v1",
        "data": {"release": revisions.packed({**content, "version": number})},
    }


class Api:
    """Helm's Secrets; and what is made of them."""

    context = ""

    def __init__(self, *secrets: dict[str, Any]) -> None:
        self.secrets, self.made = list(secrets), []  # type: ignore[var-annotated]

    def items(self, *_path: str, **_query: str) -> list[dict[str, Any]]:
        return self.secrets

    def create(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.made.append(body)
        return body


class Work(Session):
    """A session whose store and screen are lists."""

    def __init__(self, api: Api, **options: Any) -> None:
        place = {"namespace": "staging", "deployment": NAME, "container": NAME, "kubernetes": {}, "helm": {}}
        cluster: Any = api
        store: Any = None
        super().__init__({**place, **options}, cluster, store, "run", "tester")
        self.saved: list[Release] = []

    def save(self, stored: Stored, phase: str = "") -> Stored:
        if phase:
            stored.release.phase = phase
        self.saved.append(deepcopy(stored.release))
        return Stored(deepcopy(stored.release), "etag")


def record_with(state: str = FAILED, **helm: Any) -> Stored:
    """Of a release by chart, whose last-good is revision 1."""
    part = {"release": "tradingflow", "revision": 1, "sha256": SHA256, **helm}
    good = LastGood(OLD, image(OLD), template(OLD), {}, 3, more={"helm": part})
    where = ("local", "tradingflow", "staging", NAME, NAME)
    release = new(*where, tag="v1", image="r/app", digest="sha256:1", previous=good, actor="", run_id="")
    release.state = state
    return Stored(release, "etag")


def undo_of(api: Api, stored: Stored, helm: Any = None) -> ChartUndo:
    """With a program that does what the test says."""
    previous = stored.release.previous
    assert previous is not None
    undo = ChartUndo(Work(api), stored, previous.more["helm"])
    if helm is not None:
        undo._helm = helm
    return undo


class Program:
    """Helm, for a cluster of one Deployment and its Secrets.

    :param api: its Secrets
    :param fails: what it ends with once it has written
    """

    def __init__(self, api: Api, work: Any, fails: Exception | None = None, status: str = "deployed") -> None:
        self.release, self.api, self.work, self.fails, self.status = "tradingflow", api, work, fails, status
        self.done: list[str] = []

    def upgrade(self, given: dict[str, Any], labels: dict[str, str], _why: str, **_more: Any) -> None:
        self._made("upgrade", {**GOOD, "config": given}, NEW, labels)

    def roll_back(self, number: int, **_more: Any) -> None:
        self._made(f"rollback {number}", GOOD, OLD, {})

    def _made(self, what: str, content: dict[str, Any], digest: str, labels: dict[str, str]) -> None:
        self.done.append(what)
        number = 1 + max(int(each["metadata"]["labels"]["version"]) for each in self.api.secrets)
        self.api.secrets.append(secret(number, content, self.status, **labels))
        if self.work.there.template != template(digest):
            generation = self.work.there.deployment["metadata"]["generation"] + 1
            self.work.there = seen(digest)
            self.work.there.deployment["metadata"]["generation"] = generation
        if self.fails is not None:
            raise self.fails


def chart_of(api: Api, stored: Stored, values: dict[str, Any], digest: str = OLD, **more: Any) -> Chart:
    """One that has looked, and is to write.

    :param digest: that the Deployment has
    """
    chart, work = object.__new__(Chart), Work(api, deadline=1, interval=0.01)
    work.there = seen(digest)  # type: ignore[attr-defined]
    work.look = lambda: work.there  # type: ignore[attr-defined,method-assign]
    chart._session, chart._seen, chart._earlier = work, work.look(), stored
    chart._options, chart._target = {"timeout": 120}, Target("127.0.0.1:5000/tradingflow/app", "", NEW, (NEW,))
    chart.values, chart.rendered, chart._force, chart.stored = values, revisions.objects(GOOD), False, None
    chart.found = revisions.revisions(work.cluster, "staging", "tradingflow")
    program: Any = Program(api, work, **more)
    chart.helm = program
    return chart
