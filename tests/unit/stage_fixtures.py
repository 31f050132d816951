"""A release that comes in stages, and what a cluster says of it, as plain data."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import (
    Cluster,
    Missing,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import (
    record,
    stages,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Session

from tests.conftest import ROOT
from tests.unit.release_fixtures import NAME, NEW, OLD, seen
from tests.unit.soak_fixtures import START, defaults

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
