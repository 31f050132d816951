"""When a release goes to its next stage, back, or to its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import (
    Conflict,
    Unanswered,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.workloads import Seen, with_image
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import (
    engine,
    findings,
    manifests,
    record,
    retirement,
    second,
    shown,
    soak,
    standing,
    steps,
    strategies,
    ticks,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Outcome

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


def retirable(**changed: Any) -> record.Stored:
    release = made("blue_green", retire_after=30.0)
    release.becomes(record.SWITCHED, "Switched.", phase="watching")
    past = record.text_of(datetime.now(UTC) - timedelta(minutes=31))
    release.strategy.update({"switched_at": past, **changed})
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
    stored.release.soak = {"hold": "No data."}
    assert forbids(green, stored) == ["healthy"]


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
