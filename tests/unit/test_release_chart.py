"""Releases by chart at moments that no cluster shows at will: what a dead client, or another one, leaves behind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm import revisions
from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm.revisions import LABEL, SUPERSEDED
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import Conflict
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import (
    engine,
    owner,
    recovery_point,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.chart import (
    RELEASED,
    Changed,
    NotWritten,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.clients import (
    HELM,
    at_work,
    begins,
    handed_on,
    whose,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.record import (
    FAILED,
    ROLLING_OUT,
    LastGood,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Outcome
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.target import Target
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, ReleaseError

from tests.unit.chart_fixtures import BAD, GOOD, SHA256, Api, Work, chart_of, record_with, secret, undo_of
from tests.unit.release_fixtures import NAME, NEW, OLD, image, seen, template


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


def test_a_run_that_goes_on_with_other_values_writes_them() -> None:
    stored = record_with(ROLLING_OUT, to=2)
    for values, done in (({"replicas": 3, "newFeature": True}, []), ({"replicas": 4}, ["upgrade"])):
        api = Api(secret(1, GOOD, SUPERSEDED), secret(2, BAD, **{LABEL: stored.release.id}))
        chart = chart_of(api, stored, values, NEW)
        chart.written(stored, "why")
        assert chart.helm.done == done  # type: ignore[attr-defined]
        assert revisions.revisions(chart._session.cluster, "", "")[-1].content()["config"] == values


def test_what_another_client_released_since_it_was_looked_at_is_not_overwritten() -> None:
    stored = record_with(ROLLING_OUT)
    api = Api(secret(1, GOOD))
    chart = chart_of(api, stored, {"replicas": 4})
    api.secrets = [secret(1, GOOD, SUPERSEDED), secret(2, {**GOOD, "config": {"replicas": 9}})]
    with pytest.raises(Conflict, match="revision 2"):
        chart.written(stored, "why")
    assert chart.helm.done == []  # type: ignore[attr-defined]


#: Of another boot of the machine: whether it has ended is nothing that can be seen from here.
ELSEWHERE = {"boot": "another", "space": "pid:[1]", "pid": "1", "began": "1"}


def test_a_run_that_is_killed_while_it_takes_back_what_a_killed_one_left_is_known_as_ours() -> None:
    stored = record_with(ROLLING_OUT, to=2, client=owner.mine())
    api = Api(secret(1, GOOD), secret(2, BAD, "pending-upgrade", **{LABEL: stored.release.id}))
    chart = chart_of(api, stored, {}, fails=KeyboardInterrupt(), status="pending-rollback")
    with pytest.raises(KeyboardInterrupt):
        chart.written(stored, "why")
    (kept,) = chart._session.saved  # type: ignore[attr-defined]
    newest = revisions.last(revisions.revisions(chart._session.cluster, "", ""))
    assert newest is not None
    assert newest.status == "pending-rollback"
    assert whose(kept, newest, 120) == ""


def test_what_cannot_be_taken_back_is_not_called_unwritten() -> None:
    """Helm 4 says "conflict" of a field, when it has written others."""
    stored = record_with(ROLLING_OUT, to=2, client=owner.mine())
    api = Api(secret(1, GOOD), secret(2, BAD, "pending-upgrade", **{LABEL: stored.release.id}))
    chart = chart_of(api, stored, {}, fails=Conflict("conflict occurred while applying", ""), status="failed")
    with pytest.raises(NotWritten):
        chart.written(stored, "why")


def test_what_was_written_beside_another_client_is_not_called_unwritten() -> None:
    stored = record_with(ROLLING_OUT)
    api = Api(secret(1, GOOD))
    chart = chart_of(api, stored, {"replicas": 4})
    upgrade = chart.helm.upgrade

    def beside(*given: Any, **more: Any) -> None:
        api.secrets.append(secret(2, {**GOOD, "config": {"replicas": 9}}, SUPERSEDED))
        upgrade(*given, **more)

    chart.helm.upgrade = beside  # type: ignore[method-assign]
    with pytest.raises(Changed):
        chart.written(stored, "why")


def test_what_helm_left_of_others_is_known_to_the_undo_of_a_release_that_failed() -> None:
    """Helm 3 leaves the annotation of kubectl rollout restart."""
    stored = record_with(ROLLING_OUT)
    for more, known in (({}, True), ({"generation": 9}, False)):
        chart = chart_of(Api(secret(1, GOOD)), stored, {"replicas": 4}, status="failed")
        upgrade = chart.helm.upgrade

        def merged(*given: Any, wrote: Any = upgrade, into: Any = chart, add: Any = more, **options: Any) -> None:
            wrote(*given, **options)
            there = into._session.there.deployment
            there["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "now"}
            there["metadata"].update(add)

        chart.helm.upgrade = merged  # type: ignore[method-assign]
        with pytest.raises(NotWritten):
            chart.written(stored, "why")
        assert chart.stored is not None
        assert chart.stored.release.previous is not None
        kept = chart.stored.release.previous.more.get(RELEASED) or {"metadata": {}}
        assert ("annotations" in kept["metadata"]) is known


def test_a_client_that_may_yet_begin_is_waited_for() -> None:
    """Between the record and Helm's own first write a chart is fetched: an undo would find nothing to be undone."""
    stored = record_with(ROLLING_OUT)
    begins(stored.release, "to", 2, 600)
    part = stored.release.previous.more[HELM]  # type: ignore[union-attr]
    api = Api(secret(1, GOOD))
    chart = chart_of(api, stored, {})
    newest = revisions.last(chart.found)
    assert chart._state().status == "ok"  # this process has waited for it
    part.update(client=ELSEWHERE)
    assert "revision 2" in at_work(stored.release, newest, 120)
    assert chart._state().forbids
    assert [each.name for each in undo_of(api, stored).findings()] == ["helm.client"]
    # Ended by its own limit, which may be longer than ours.
    for ago, waits in (("2020-01-01T00:00:00Z", False), (aged(400), True), (aged(1300), False)):
        part["at"] = ago
        assert bool(at_work(stored.release, newest, 120)) is waits
        pending = revisions.last(revisions.revisions(Api(secret(2, BAD, "pending-upgrade")), "", ""))  # type: ignore[arg-type]
        assert pending is not None
        pending.secret["metadata"].update(creationTimestamp=ago, labels={LABEL: stored.release.id})
        assert bool(whose(stored.release, pending, 120)) is waits
    part["at"] = aged(0)
    assert at_work(stored.release, revisions.last(revisions.revisions(Api(secret(2, GOOD)), "", "")), 120) == ""  # type: ignore[arg-type]
    del part["making"]  # of a record of before
    assert at_work(stored.release, newest, 120) == ""


def aged(seconds: float) -> str:
    return f"{datetime.now(UTC) - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def test_what_a_killed_undo_left_pending_is_known_to_the_next_release() -> None:
    earlier = record_with(FAILED, to=2, back=3, by="earlier", client=owner.mine())
    api = Api(secret(1, GOOD), secret(3, GOOD, "pending-rollback"))
    chart = chart_of(api, earlier, {})
    good = LastGood(OLD, image(OLD), template(OLD), {}, 3)
    chart.keep(good)
    assert good.more[HELM]["found"] == 3
    following = record_with(ROLLING_OUT)
    following.release.previous = good
    newest = revisions.last(chart.found)
    assert newest is not None
    assert whose(following.release, newest, 120) == ""
    assert handed_on(earlier.release, "another") == {}


def test_last_good_of_before_keeps_its_own_revision() -> None:
    """No copy is made of what is bad: copies of what is good would be the first to go."""
    earlier = record_with(FAILED, to=2)
    api = Api(secret(1, GOOD, SUPERSEDED), secret(2, BAD))
    chart = chart_of(api, earlier, {}, NEW)
    good = earlier.release.previous
    assert good is not None
    chart.keep(good)
    assert (good.more[HELM]["sha256"], good.more[HELM]["revision"], api.made) == (SHA256, 1, [])
    plain = LastGood(OLD, image(OLD), template(OLD), {}, 3, more={HELM: {}})
    chart.keep(plain)
    assert plain.more[HELM]["revision"] == 2
    assert len(api.made) == 1


def test_an_undo_does_not_quietly_take_away_what_another_client_released_since() -> None:
    stored = record_with(FAILED, to=2, found=1)
    later = {**GOOD, "config": {"replicas": 9}}
    for added, named in ((), []), ((secret(3, later),), ["drift.helm"]), ((secret(3, GOOD),), []):
        api = Api(secret(1, GOOD, SUPERSEDED), secret(2, BAD, **{LABEL: stored.release.id}), *added)
        found = undo_of(api, stored, SimpleNamespace(version="v4.3.1")).findings()
        assert [each.name for each in found if each.forbids] == named
    # What was there when the release began was looked at then.
    failed = Api(secret(1, GOOD), secret(2, later, "failed"))
    found = undo_of(failed, record_with(FAILED, found=2), SimpleNamespace(version="v4.3.1")).findings()
    assert [each.name for each in found if each.forbids] == []


def test_an_undo_does_not_write_beside_a_client_that_began_meanwhile() -> None:
    stored = record_with(FAILED, to=2)
    api = Api(secret(1, GOOD, SUPERSEDED), secret(2, BAD, **{LABEL: stored.release.id}))
    program = SimpleNamespace(roll_back=lambda *_given, **_more: api.secrets.append(secret(4, GOOD)))
    undo = undo_of(api, stored, program)
    api.secrets.append(secret(3, BAD, "pending-upgrade"))
    with pytest.raises(ReleaseError, match="revision 3"):
        undo.go()
    assert len(api.secrets) == 3
    del api.secrets[2]
    assert undo_of(api, stored, program).go().release.previous is not None


class Applying(Api):
    """An API where somebody manages an object each: by name, who."""

    def __init__(self, managers: dict[str, str]) -> None:
        super().__init__(secret(1, {**GOOD, "apply_method": "ssa"}))
        self.managers, self.forced = managers, []  # type: ignore[var-annotated]

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/apis/networking.k8s.io/v1"
        status = {"name": "ingresses/status", "kind": "Ingress", "namespaced": True}
        return {"resources": [status, {"name": "ingresses", "kind": "Ingress", "namespaced": True}]}

    def applied(self, path: str, body: dict[str, Any], *, manager: str, force: bool) -> dict[str, Any]:
        assert manager == "helm"
        who = self.managers.get(body["kind"])
        if who and not force:
            conflict = Conflict("conflicts", "")
            conflict.causes = [f'conflict with "{who}" using v1']
            raise conflict
        self.forced += [path] if force else []
        return body


@pytest.mark.parametrize(
    ("managers", "allowed"),
    [
        ({}, True),
        ({"Deployment": "tradingflow-maintenance"}, True),
        ({"Deployment": "tradingflow-maintenance", "Ingress": "kubectl-edit"}, False),
        ({"Deployment": "tradingflow-maintenance", "Ingress": "tradingflow-maintenance"}, True),
    ],
)
def test_helm_is_told_to_force_only_when_all_that_it_would_force_was_looked_at(
    managers: dict[str, str], allowed: bool
) -> None:
    api = Applying(managers)
    chart = chart_of(api, record_with(), {})
    metadata = {"name": NAME, "namespace": "staging"}
    made: list[dict[str, Any]] = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template(NEW)}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "app"}},
    ]
    chart._options = {"force_conflicts": False}
    program: Any = chart.helm
    program.version, program.major, program.rendered = "v4.3.1", 4, lambda _values: made
    program.named = lambda: "tradingflow 1.2.0"
    if allowed:
        assert chart.template() == template(NEW)
        assert chart.tried["spec"]["template"] == template(NEW)
        assert chart._force is bool(managers)
        ingress = "/apis/networking.k8s.io/v1/namespaces/staging/ingresses/app"
        assert (ingress in api.forced) is ("Ingress" in managers)
    else:
        with pytest.raises(Conflict):
            chart.template()


def test_what_a_major_update_was_begun_with_to_go_back_to_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    wrong: list[str] = []

    def choose(_s3: Any, _storage: Any, _environment: str, id: str, **_more: Any) -> Any:
        asked.append(id)
        if id == "gone":
            raise ConfigurationError("There is no recovery point gone.", "")
        return SimpleNamespace(point={"id": id})

    monkeypatch.setattr(recovery_point, "client", lambda _storage: None)
    monkeypatch.setattr(recovery_point, "choose", choose)
    monkeypatch.setattr(recovery_point, "_damage", lambda *_given: wrong)
    options = {"storage": {}, "environment_name": "local"}
    found = recovery_point.finding(options, {"id": "there"})
    assert (found.status, found.value, asked) == ("ok", "there", ["there"])
    wrong.append("a part is missing")
    assert recovery_point.finding(options, {"id": "there"}).status == "critical"
    with pytest.raises(ConfigurationError):  # and so unknown, as of any look
        recovery_point.finding(options, {"id": "gone"})


@pytest.mark.parametrize(("kind", "status"), [("Recreate", "critical"), ("RollingUpdate", "ok")])
def test_how_pods_are_replaced_is_the_charts_to_say(kind: str, status: str) -> None:
    """Not the Deployment's of now."""
    after = seen(NEW).deployment
    after["spec"]["strategy"]["type"] = kind
    target, work = Target("r/app", "v1", NEW, (NEW,)), object.__new__(engine._Work)
    work._session, work._seen, work._earlier = Work(Api()), seen(OLD), None
    work._options = {"kind": "minor", "strategy": "rolling", "schemas_label": "x", "schemas": [], "database": None}
    chart: Any = SimpleNamespace(tried=after, rendered=[], findings=lambda _wanted: [])
    work._chart, work._heads, work._outcome = chart, None, Outcome()
    found = {each.name: each for each in work._looked(target, template(NEW), going_on=True)}
    assert found["strategy"].status == status
