"""Whether a promotion comes by the chart that has soaked."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import engine, promotion, soaked_chart
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.eligibility import Verdict
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Outcome, Session
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ClusterError

from tests.unit.chart_fixtures import BAD, GOOD, Api, Work, record_with, secret
from tests.unit.soak_fixtures import defaults, live, release

FLAGS: dict[str, Any] = {"kind": "ConfigMap", "metadata": {"name": "flags"}}
HOOK: dict[str, Any] = {"kind": "Job", "metadata": {"name": "migrate", "annotations": {"helm.sh/hook": "pre-upgrade"}}}
OTHER: dict[str, Any] = {**FLAGS, "data": {"a": "b"}}


class Renderer:
    """A Helm that makes these objects, of whatever values."""

    objects: list[dict[str, Any]] | Exception = []
    asked: list[tuple[Any, ...]] = []

    def __init__(self, options: dict[str, Any], _kubernetes: Any, namespace: str) -> None:
        self.release, self.namespace = options["release"], namespace

    def rendered(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        self.asked.append((self.release, self.namespace, values))
        if isinstance(self.objects, Exception):
            raise self.objects
        return self.objects


@pytest.fixture(autouse=True)
def rendered(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(soaked_chart, "Helm", Renderer)
    monkeypatch.setattr(Renderer, "objects", [FLAGS])
    monkeypatch.setattr(Renderer, "asked", [])
    return monkeypatch


def soaking() -> Work:
    return Work(Api(secret(1, GOOD, "superseded"), secret(2, BAD), secret(3, GOOD, "failed")))


def going(chart: str = "./chart", strategy: str = "rolling", **more: Any) -> Session:
    place = {"namespace": "production", "deployment": "app", "container": "app", "from_namespace": "staging"}
    named = {"environment_name": "production", "storage": {"bucket": "b"}, "application": "app"}
    options = defaults(promotion.SPEC, **place, **named, **more)
    options["helm"].update(chart=chart, release="trading")
    nobody: Any = Api()
    return Session({**options, "strategy": strategy}, nobody, nobody, "run", "tester")


@pytest.mark.parametrize(
    ("objects", "status"),
    [
        ([FLAGS, HOOK], "ok"),
        ([OTHER], "critical"),
        ([FLAGS, {"kind": "Service", "metadata": {"name": "flags"}}], "critical"),
        ([], "critical"),
    ],
)
def test_charts_are_compared_by_what_they_make_of_what_soaked(
    objects: Any, status: str, rendered: pytest.MonkeyPatch
) -> None:
    rendered.setattr(Renderer, "objects", objects)
    (found,) = soaked_chart.findings(going(), soaking(), record_with().release)
    assert (found.name, found.status) == ("values.chart", status)
    # Where it soaks, and with what has soaked: production's own names and values are no difference.
    assert Renderer.asked == [("tradingflow", "staging", BAD["config"])]


def test_a_chart_on_one_side_only_is_told() -> None:
    by_chart, by_none = record_with().release, release()
    for where, what, statuses in (
        (going(""), by_chart, ["critical"]),
        (going("", "gradual"), by_chart, ["warning"]),
        (going(), by_none, ["critical"]),
        (going(""), by_none, []),
    ):
        assert [each.status for each in soaked_chart.findings(where, soaking(), what)] == statuses
    assert Renderer.asked == []


@pytest.mark.parametrize(
    ("objects", "chart", "more", "status"),
    [
        ([FLAGS], "./chart", {}, "ok"),
        ([OTHER], "./chart", {}, "critical"),
        ([OTHER], "./chart", {"overrides": ["values"], "reason": "A password is made at random."}, "warning"),
        ([FLAGS], "", {}, "critical"),
        ([FLAGS], "", {"overrides": ["values"], "reason": "Nothing but the image is new."}, "warning"),
        ([FLAGS], "", {"overrides": ["drift"], "reason": "Something else."}, "critical"),
        (ClusterError("The chart makes nothing.", "Correct the chart."), "./chart", {}, "unknown"),
        (KeyError("kind"), "./chart", {}, "unknown"),
    ],
)
def test_another_chart_is_not_promoted(
    objects: Any, chart: str, more: dict[str, Any], status: str, rendered: pytest.MonkeyPatch
) -> None:
    rendered.setattr(Renderer, "objects", objects)
    source, begun = soaking(), []
    rendered.setattr(source, "stored", record_with)
    rendered.setattr(promotion, "_done", lambda _target, _release: False)
    rendered.setattr(promotion, "_seen", lambda _source, _release: (live(), ""))
    rendered.setattr(promotion, "eligible", lambda *_given, **_more: Verdict(True))
    rendered.setattr(promotion, "_as_soaked", lambda options, _release: options)

    def run(*_given: Any, **_more: Any) -> Outcome:
        begun.append(1)
        return Outcome()

    rendered.setattr(engine, "run", run)
    outcome = promotion.run(going(chart, **more), source, dry_run=True)
    assert [each.status for each in outcome.findings if each.name == "values.chart"] == [status]
    assert bool(begun) == (status in ("ok", "warning"))
