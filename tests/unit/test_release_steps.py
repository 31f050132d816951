"""When a release goes to its next stage, back, or to its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import (
    Conflict,
    Missing,
    Unanswered,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.workloads import (
    Seen,
    template_hash,
    with_image,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import (
    engine,
    findings,
    last_good,
    manifests,
    record,
    retirement,
    second,
    shown,
    soak,
    standing,
    steps,
    strategies,
    target,
    ticks,
    undo,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.preflight import Finding
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Outcome, Session

from tests.conftest import ROOT
from tests.unit import soak_fixtures
from tests.unit.release_fixtures import NAME, NEW, OLD, deployment, image, seen, template
from tests.unit.soak_fixtures import START, Soak, live
from tests.unit.stage_fixtures import (
    Api,
    Namespace,
    made,
    service,
    session,
    stepping,
)


def counted(release: record.Release, seconds: float) -> soak.Tick:
    release.soak = {"counted": seconds, "wanted": {"hours": 1}}
    return soak.Tick(soak.COUNTED, "well")


def test_a_step_is_due_when_it_was_healthy_for_its_minutes_and_not_before() -> None:
    release = stepping(steps=[{"share": 10, "minutes": 10}, {"share": 50, "minutes": 5}])
    assert not steps.due(release, counted(release, 599))
    assert steps.due(release, counted(release, 600))
    for outcome in (soak.HELD, soak.RESET, soak.GAP, soak.CLOCK, soak.BEGUN, soak.FAILURE):
        counted(release, 6000)
        assert not steps.due(release, soak.Tick(outcome, "no"))
    # One that was begun is gone on with, whatever was measured; what has failed is not.
    release.phase = "scaling"
    assert steps.due(release, soak.Tick(soak.HELD, "no data"))
    assert not steps.due(release, soak.Tick(soak.FAILURE, "bad"))


def test_what_waits_for_a_gate_is_taken_only_while_it_is_fresh() -> None:
    release = stepping(steps=[{"share": 10, "minutes": 10}])
    assert not steps.still_due(release, START, 900)
    assert steps.marked(release, counted(release, 600), START)
    assert steps.still_due(release, START + timedelta(seconds=900), 900)
    assert not steps.still_due(release, START + timedelta(seconds=901), 900)
    assert not steps.still_due(release, START - timedelta(seconds=1), 900)
    assert not steps.marked(release, soak.Tick(soak.HELD, "no data"), START)
    assert not steps.still_due(release, START, 900)
    soaking = soak_fixtures.release()
    assert not steps.marked(soaking, soak.Tick(soak.COUNTED, "well"), START)
    assert soaking.strategy == {}


def test_a_step_asks_for_its_minutes_and_a_soak_for_its_hours() -> None:
    given = {"hours": 24.0, "requests": 5, "market_minutes": 3.0, "max_gap": 900.0}
    release = stepping(steps=[{"share": 10, "minutes": 30}])
    assert steps.wanted(release, given) == {"hours": 0.5, "requests": 0, "market_minutes": 0.0, "max_gap": 900.0}
    assert steps.wanted(soak_fixtures.release(), given) == given


def test_what_the_version_of_before_does_at_the_same_time_is_what_counts() -> None:
    # 3 % of errors fail against what was measured before, and not when the version of before has 2.5 % now.
    alone = Soak()
    alone.tick()
    assert alone.tick(requests=1000, errors=30).failed
    beside = Soak()
    beside.tick(baseline={**soak_fixtures.BASELINE, "error_percent": 2.5})
    found = beside.tick(requests=1000, errors=30, baseline={**soak_fixtures.BASELINE, "error_percent": 2.5})
    assert found.outcome == soak.COUNTED, found.text


def test_what_hinders_holds_and_what_failed_fails_all_the_same() -> None:
    held = Soak()
    held.tick()
    found = held.tick(hindered=["It was scaled."])
    assert found.outcome == soak.HELD
    assert "It was scaled." in found.text
    assert held.counted == 0
    assert held.tick(requests=1000, errors=500, hindered=["It was scaled."]).failed


def test_a_version_of_before_that_was_changed_meanwhile_is_told() -> None:
    release = stepping()
    assert steps._changed(release, live()) == []
    assert "scaled from 3 to 5" in steps._changed(release, replace(live(), replicas=5))[0]
    previous = record.LastGood(digest=OLD, image="x", template={}, configuration={}, replicas=3)
    changed = steps._changed(replace(release, previous=previous), replace(live(), digest=NEW))
    assert "another image" in changed[0]


def test_a_release_that_is_on_its_way_is_neither_begun_again_nor_promoted() -> None:
    outcome = Outcome()
    assert strategies.on_its_way(stepping(), "app:v2", NEW, outcome)
    assert outcome.record["pending"] == record.STEPPING
    assert not strategies.on_its_way(stepping(), "app:v2", OLD, Outcome())
    assert not strategies.on_its_way(soak_fixtures.release(), "app:v2", soak_fixtures.NEW, Outcome())


def test_what_a_tick_says_of_a_stage() -> None:
    release = stepping(steps=[{"share": 20, "minutes": 10}, {"share": 50, "minutes": 10}])
    done = counted(release, 30)
    found = ticks.Ticked(release, done)
    assert "Step 1 of 2: 1 pod of 4 of v2." in ticks.told(found)
    (action,) = shown.actions(found, "staging/app", "2026-11-30T12:00:00Z")
    assert action["status"] == "ok"
    taken = ticks.Ticked(release, None, stage=Outcome(failed="It did not come up."))
    (action,) = shown.actions(taken, "staging/app", "2026-11-30T12:00:00Z")
    assert action["status"] == "failed"


def test_a_deployment_that_is_not_of_this_release_stays() -> None:
    strange = deployment(NEW)
    assert manifests.release_of(strange) == ""
    strange["metadata"]["annotations"][manifests.RELEASE_OF] = "another"
    api = Api()
    api.service = strange
    with pytest.raises(Conflict, match="not of this release"):
        second.made(
            session(api), made(), Seen(deployment(OLD)), with_image(template(OLD), NAME, image(NEW)), image(NEW)
        )
    with pytest.raises(Conflict, match="not of this release"):
        second.scaled(session(api), made())


def test_nothing_is_released_over_a_second_deployment_that_may_still_get_requests() -> None:
    release = stepping()
    release.becomes(record.FAILED, "It is bad.")
    found = standing.finding(record.Stored(release, "tag"), seen(OLD), NAME, going_on=False)
    assert (found.name, found.status) == ("record", "critical")
    assert release.strategy["helper"] in found.message
    release.strategy["retired"] = "2026-11-30T12:00:00Z"
    assert standing.finding(record.Stored(release, "tag"), seen(OLD), NAME, going_on=False).status == "ok"


def test_what_is_in_its_first_stage_is_not_told_as_if_it_were_through() -> None:
    outcome = Outcome(before={"image": "a"}, after={"image": "b"}, record={"pending": record.STEPPING})
    (action,) = findings.actions("promote", "production/app", outcome, "2026-11-30T12:00:00Z")
    assert action["message"].endswith("It is stepping, and not through yet.")


def test_a_change_whose_answer_was_lost_is_made_once() -> None:
    state = {"done": False, "tries": 0}

    def change() -> None:
        state.update(done=True, tries=state["tries"] + 1)
        raise Unanswered("The connection was lost.", "")

    patient = session(Api(), interval=0.0)
    assert second.insisted(patient, lambda: bool(state["done"]), change)
    assert state["tries"] == 1
    assert not second.insisted(patient, lambda: True, change)
    stopped = replace(patient, stop=lambda: "The run that started it is gone.")
    with pytest.raises(Unanswered):
        second.insisted(stopped, lambda: False, change)


@pytest.mark.parametrize("state", [record.ROLLING_OUT, record.SOAKING, record.UNDONE])
def test_what_is_not_switched_is_neither_switched_back_nor_retired(state: str) -> None:
    release = made("blue_green")
    release.state = state
    for outcome in (
        retirement.switch_back(session(Api()), record.Stored(release, "tag"), "why"),
        retirement.retire(session(Api()), record.Stored(release, "tag")),
        retirement.switch_back(session(Api()), None, "why"),
        retirement.retire(session(Api()), None),
    ):
        assert [each.status for each in outcome.forbidden] == ["critical"]
        assert not outcome.changed


def ago(minutes: float) -> str:
    return record.text_of(datetime.now(UTC) - timedelta(minutes=minutes))


def watched(**changed: Any) -> dict[str, Any]:
    """A soak that was found healthy a minute ago."""
    stay = {"stay": {"digest": NEW}, "since": ago(30), "last": {"at": ago(1)}, "counted": 600.0, "hold": ""}
    return {**stay, "wanted": soak_fixtures.wanted(), **changed}


def retirable(**changed: Any) -> record.Stored:
    release = made("blue_green", retire_after=30.0)
    release.becomes(record.SWITCHED, "Switched.", phase="watching")
    release.previous = record.LastGood(
        digest=OLD, image=image(OLD), template=template(OLD), configuration={}, replicas=3
    )
    release.strategy.update({"switched_at": ago(31), **changed})
    release.soak = watched()
    return record.Stored(release, "tag")


def test_when_the_version_of_before_may_be_retired() -> None:
    stored = retirable()
    green = Namespace(service(selector=stored.release.strategy["helper_selector"]))

    def forbids(api: Api, of: record.Stored) -> list[str]:
        return [each.name for each in retirement.retire(session(api), of, dry_run=True).forbidden]

    assert forbids(green, stored) == []
    just_now = record.text_of(datetime.now(UTC) - timedelta(minutes=29))
    assert forbids(green, retirable(switched_at=just_now)) == ["delay"]
    # Never while the Service sends its requests to it.
    assert forbids(Namespace(service()), stored) == ["service"]
    assert forbids(Namespace(service(selector={"app": "by hand"})), stored) == ["service"]
    # Nor when nobody knows whether what replaces it is healthy: it holds, nobody has looked, or not lately.
    for soaked in (
        watched(hold="No data."), {}, watched(stay=None), watched(counted=0.0), watched(last={"at": ago(16)}),
        watched(last={"at": ago(-2)}),
    ):  # fmt: skip
        stored.release.soak = soaked
        assert forbids(green, stored) == ["healthy"], soaked


def test_a_clock_that_is_ahead_shortens_no_delay() -> None:
    stored = retirable()
    stored.read_at = datetime.now(UTC)
    stored.clock = stored.read_at - timedelta(minutes=5)
    stored.release.soak = watched(last={"at": ago(6)})
    green = session(Namespace(service(selector=stored.release.strategy["helper_selector"])))
    assert [each.name for each in retirement.retire(green, stored, dry_run=True).forbidden] == ["delay"]


def test_a_retirement_that_was_killed_at_its_end_goes_on_whatever_a_tick_found_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The second colour is gone, so that a tick has nothing to look at.
    stored = retirable()
    stored.release.phase, stored.release.soak = "retiring", watched(hold="Nothing could be seen.")
    there = seen(NEW)
    there.deployment["spec"]["template"] = last_good.released_template(stored.release)
    monkeypatch.setattr(Session, "look", lambda _self: there)
    main = session(Namespace(service(selector=stored.release.strategy["main_selector"])))
    assert retirement.retire(main, stored, dry_run=True).forbidden == []


@pytest.mark.parametrize("ready", [3, 2, None])
def test_what_breaks_at_the_end_of_a_retirement_is_put_back_only_when_others_have_its_requests(
    monkeypatch: pytest.MonkeyPatch, ready: int | None
) -> None:
    # Killed after the last switch, the first Deployment has all requests; then its pods break.
    stored = retirable()
    stored.release.phase = "retiring"
    main, green = seen(NEW), seen(NEW)
    main.deployment["spec"]["template"] = last_good.released_template(stored.release)
    for each in green.pods[ready or 0 :]:
        each["status"]["conditions"] = []
    calls: list[str] = []

    def look(self: Session) -> Seen:
        if self.options["deployment"] == NAME:
            return main
        if ready is None:
            raise Missing("It is gone", "")
        return green

    monkeypatch.setattr(Session, "look", look)
    monkeypatch.setattr(Session, "save", lambda _self, kept, _phase="": kept)
    monkeypatch.setattr(Session, "followed", lambda *_args: SimpleNamespace(events=[]))
    came = strategies.Came(stored, strategies.BROKEN, "It crashes.")
    monkeypatch.setattr(retirement, "ended", lambda *_args: came)
    monkeypatch.setattr(second, "switched", lambda *_args, back: calls.append(f"switched back={back}"))
    monkeypatch.setattr(retirement, "written", lambda *_args: calls.append("written"))
    outcome = retirement.retire(session(Namespace(service(selector=stored.release.strategy["main_selector"]))), stored)
    (check,) = [each for each in outcome.checks if each.id == "release.retired"]
    assert check.status == "critical"
    assert calls == (["switched back=False", "written"] if ready == 3 else [])
    assert ("as before" in check.message) == (ready == 3)


def test_a_version_of_before_that_is_gone_can_take_nothing_over() -> None:
    release = retirable().release
    gone = session(Namespace(service()))
    assert second.ready(gone, release) == f"{NAME} is gone."
    release.strategy["promise"] = True
    check = retirement.back_check(gone, release)
    assert (check.status, check.value) == ("warning", "no")
    assert release.strategy["promise"] is False
    assert [each.kind for each in release.events].count("withdrawn") == 1
    retirement.back_check(gone, release)
    assert [each.kind for each in release.events].count("withdrawn") == 1
    refused = retirement.switch_back(gone, record.Stored(release, "tag"), "why")
    assert "undo" in refused.forbidden[0].remedy


def test_a_first_deployment_that_has_the_version_already_is_not_the_end_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Killed while the first Deployment came to the version: promotion must not write that it is through.
    release = stepping()
    release.phase = "converging"
    found = target.Target("registry/app", "v2", NEW, (NEW,))
    there = seen(NEW)
    there.deployment["spec"]["template"] = with_image(template(OLD), NAME, found.image)
    monkeypatch.setattr(Session, "look", lambda _self: there)
    monkeypatch.setattr(Session, "objects", lambda _self, _template: {})
    monkeypatch.setattr(Session, "stored", lambda _self: record.Stored(release, "tag"))
    monkeypatch.setattr(standing, "named", lambda *_args: (found, findings_of("image")))
    outcome = engine.run(session(Api()))
    assert outcome.record["pending"] == record.STEPPING
    assert "is stepping" in outcome.nothing


def findings_of(name: str) -> Finding:
    return Finding(name, name, "ok", name, "There it is.")


def test_what_the_version_of_before_does_not_say_now_is_as_before_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    # Against nothing, 100 MB would be more than is allowed, and the new version would be undone for what the old lacks.
    release = stepping()
    release.baseline = dict(soak_fixtures.BASELINE)
    mute = live()
    for each in mute.pods:
        each.counters, each.problem = None, "its metrics could not be read"
    monkeypatch.setattr(steps, "read_live", lambda *_args, **_more: mute)
    for at in (START, START + timedelta(minutes=5)):
        found = steps.Beside()
        steps._measured(session(Api()), release, at, found)
        assert found.baseline
        assert found.baseline["memory"] == soak_fixtures.BASELINE["memory"]
        assert found.baseline["p95"] == soak_fixtures.BASELINE["p95"]
    assert "No data of memory of the version of before" in " ".join(found.hindered)


def test_a_promise_that_nobody_can_look_at_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_self: Session) -> Seen:
        raise Unanswered("The API does not answer", "Check it.")

    monkeypatch.setattr(Session, "look", away)
    release = retirable(promise=True).release
    found = steps.beside(session(Api()), release, START)
    (check,) = found.checks
    assert (check.id, check.status, check.value) == ("release.switch_back", "unknown", None)
    assert release.strategy["promise"] is False
    assert release.events[-1].kind == "withdrawn"


def test_only_the_second_deployment_is_deleted_whoever_has_copied_it() -> None:
    release = made("blue_green")
    helper, copied, strange = deployment(NEW), deployment(NEW), deployment(NEW)
    for each, name in ((helper, release.strategy["helper"]), (copied, "by-hand"), (strange, "strange")):
        each["metadata"].update(name=name, uid=name, annotations={manifests.RELEASE_OF: release.id})
    strange["metadata"]["annotations"] = {}
    there = [helper, copied, strange]

    class Cluster(Api):
        def items(self, path: str, **_query: str) -> list[dict[str, Any]]:
            return list(there) if "deployments" in path else []

        def delete(self, path: str, *, uid: str) -> None:
            there[:] = [each for each in there if each["metadata"]["uid"] != uid]

    assert second.removed(session(Cluster()), release)
    assert there == [copied, strange]


@pytest.mark.parametrize(("main", "green"), [(1, 3), (3, 5), (3, 3)])
def test_nothing_is_retired_into_fewer_pods_than_have_the_requests(
    monkeypatch: pytest.MonkeyPatch, main: int, green: int
) -> None:
    # Somebody has scaled the version of before down, as nobody asks it any more; or the new one up.
    stored = retirable()
    calls: list[str] = []

    def look(self: Session) -> Seen:
        found = seen(OLD)
        found.deployment["spec"]["replicas"] = main if self.options["deployment"] == NAME else green
        return found

    def written(*_args: Any) -> Any:
        calls.append("written")
        raise Conflict("enough", "")

    monkeypatch.setattr(Session, "look", look)
    monkeypatch.setattr(strategies, "written", written)
    came = strategies.ended(session(Api()), stored, Outcome())
    assert came.state == strategies.DRIFTED
    assert calls == (["written"] if main == green else [])
    assert ("scale" in came.text) == (main != green)


@pytest.mark.parametrize("pods", [3, 2])
def test_a_second_colour_that_was_scaled_down_meanwhile_gets_no_requests(
    monkeypatch: pytest.MonkeyPatch, pods: int
) -> None:
    stored, calls = retirable(), []
    stored.release.state = record.ROLLING_OUT

    def look(self: Session) -> Seen:
        found = seen(OLD)
        if self.options["deployment"] != NAME:
            del found.pods[pods:]
        return found

    monkeypatch.setattr(Session, "look", look)
    monkeypatch.setattr(Session, "save", lambda _self, kept, _phase="": kept)
    monkeypatch.setattr(second, "switched", lambda *_args, back: calls.append(f"switched back={back}"))
    came = strategies._taken_over(session(Api()), stored)
    assert came.state == (strategies.COMPLETE if pods == 3 else strategies.NOT_KNOWN), came.text
    assert calls == (["switched back=False"] if pods == 3 else [])


def test_a_version_of_before_whose_template_was_edited_is_nothing_to_compare_with() -> None:
    release = stepping()
    was = "registry/app:v1"
    release.previous = record.LastGood(OLD, image(OLD), template(OLD), {}, 3, more={"was": was})
    untouched = replace(live(), digest=OLD, template_hash=template_hash(template(OLD)))
    assert steps._changed(release, untouched) == []
    by_tag = with_image(template(OLD), NAME, was)
    assert steps._changed(release, replace(untouched, digest=None, template_hash=template_hash(by_tag))) == []
    edited = with_image(template(OLD), NAME, "registry/app:latest")
    (text,) = steps._changed(release, replace(untouched, digest=None, template_hash=template_hash(edited)))
    assert "template" in text


@pytest.mark.parametrize(("there", "back"), [("helper_selector", 0), ("helper_selector", 3), ("main_selector", 1)])
def test_a_version_of_before_that_was_scaled_down_gets_its_pods_again_before_its_requests(
    monkeypatch: pytest.MonkeyPatch, there: str, back: int
) -> None:
    stored = retirable()
    first = seen(OLD)
    first.deployment["spec"]["replicas"] = back
    del first.pods[back:]
    calls: list[str] = []

    class Cluster(Namespace):
        def patch(self, path: str, operations: list[dict[str, Any]]) -> dict[str, Any]:
            assert path.endswith(f"deployments/{NAME}")
            assert {"op": "test", "path": "/spec/replicas", "value": back} in operations
            first.deployment["spec"]["replicas"] = operations[-1]["value"]
            calls.append(f"scaled to {operations[-1]['value']}")
            return {}

    def followed(_self: Session, _template: Any, before: Seen, *_more: Any) -> Any:
        calls.append(f"followed {before.replicas}")
        return SimpleNamespace(state="unknown", events=[], seconds=1.0, noticed=None, message="It is enough.")

    monkeypatch.setattr(Session, "look", lambda _self: first)
    monkeypatch.setattr(Session, "objects", lambda _self, _template: {})
    monkeypatch.setattr(Session, "followed", followed)
    monkeypatch.setattr(Session, "save", lambda _self, kept, _phase="": kept)
    monkeypatch.setattr(second, "taken_back", lambda *_args, **_more: False)
    api = Cluster(service(selector=stored.release.strategy[there]), helper=first.deployment)
    undo.undo(session(api), stored, "It is bad.")
    wanted = {"helper_selector": ["scaled to 3", "followed 3"], "main_selector": ["followed 1"]}[there]
    assert calls == (wanted if back != 3 else ["followed 3"])


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"flags": {"a": True}, "tests": [{"name": "e2e"}]}, "ok"),
        # A suite may be repaired, or be another.
        ({"flags": {"a": True}, "tests": [{"name": "smoke"}]}, "ok"),
        ({"flags": {"a": True}, "tests": []}, "critical"),
        ({"flags": {}, "tests": [{"name": "e2e"}]}, "critical"),
        ({"flags": {"a": 1}, "tests": [{"name": "e2e"}]}, "critical"),
        ({"flags": {"a": True, "b": True}, "tests": [{"name": "e2e"}]}, "critical"),
    ],
)
def test_a_release_is_gone_on_with_as_it_was_begun(given: dict[str, Any], status: str) -> None:
    """Its record says with which flags it is promoted; and what was to be tested is not left out on the way."""
    release = stepping()
    release.state, release.strategy = record.ROLLING_OUT, {}
    release.previous = record.LastGood(OLD, image(OLD), template(OLD), {}, 3)
    release.previous.more.update(wanted={"kind": "minor", "flags": {"a": True}}, tests=["e2e"])
    stored = record.Stored(release, "tag")
    assert standing.finding(stored, seen(OLD), NAME, going_on=True, options=given).status == status
    release.previous.more.clear()  # of a record of before
    assert standing.finding(stored, seen(OLD), NAME, going_on=True, options=given).status == "ok"


def test_last_good_of_a_release_that_failed_is_not_changed_in_its_own_record() -> None:
    """That is archived when the next one begins."""
    release = stepping()
    release.becomes(record.FAILED, "It is bad.")
    release.previous = record.LastGood(OLD, image(OLD), template(OLD), {}, 3)
    release.previous.more.update(released={"a": 1}, wanted={"flags": {"a": True}})
    before = release.as_data()
    work = object.__new__(engine._Work)
    work._earlier, work._image = record.Stored(release, "tag"), f"any@{release.digest}"
    found = work._last_good()
    assert found == release.previous
    found.more.pop("released")
    found.more["wanted"]["flags"]["a"] = False
    assert release.as_data() == before


def test_what_takes_a_step_can_undo_it_as_what_counts_can() -> None:
    tasks = yaml.safe_load((ROOT / "roles/release_soak/tasks/main.yml").read_text(encoding="utf-8"))
    given = [each["tradingflow.maintenance.release_soak"] for each in tasks if len(each.keys() & {"register"})]
    assert [each.pop("advance") for each in given] == ["wait", "only"]
    assert given[0] == given[1]
