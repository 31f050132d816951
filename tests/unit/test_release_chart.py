"""Releases by chart at moments that no cluster shows at will: what a dead client, or another one, leaves behind."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm import revisions
from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm.revisions import LABEL, SUPERSEDED
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.chart_undo import ChartUndo
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.record import (
    FAILED,
    LastGood,
    Release,
    Stored,
    new,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Session

from tests.unit.release_fixtures import NAME, OLD, image, template

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


def test_an_undo_that_is_killed_while_helm_works_is_still_to_be_done() -> None:
    """The next tick goes by the phase."""
    stored = record_with(to=2)
    stored.release.phase = "undo"
    api = Api(secret(1, GOOD, SUPERSEDED), secret(2, BAD, **{LABEL: stored.release.id}))

    def killed(*_arguments: Any, **_more: Any) -> None:
        raise KeyboardInterrupt

    undo = undo_of(api, stored, SimpleNamespace(roll_back=killed))
    with pytest.raises(KeyboardInterrupt):
        undo.go()
    (kept,) = undo._session.saved  # type: ignore[attr-defined]
    assert (kept.state, kept.phase) == (FAILED, "undo")
    assert kept.previous.more["helm"]["back"] == 3
