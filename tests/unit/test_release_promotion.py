"""What a tick and a promotion ask for, say and show; what they do is in tests/integration/test_release_soaking.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm.client import Helm
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import (
    promotion,
    record,
    shown,
    ticks,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.eligibility import eligible
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import (
    Outcome,
    Session,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    StorageError,
)
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.charts import charts

from tests.unit.soak_fixtures import NEW, OLD, START, Soak, defaults, live, release

PLACE: dict[str, Any] = {
    "environment_name": "production",
    "storage": {"bucket": "b"},
    "application": "app",
    "namespace": "production",
    "deployment": "app",
    "container": "app",
}


def soak_options(**given: Any) -> dict[str, Any]:
    return defaults(ticks.SPEC, **PLACE, **given)


def promote_options(**given: Any) -> dict[str, Any]:
    return defaults(promotion.SPEC, **{**PLACE, "from_namespace": "staging", **given})


@pytest.mark.parametrize(
    "given",
    [
        {"hours": -1.0},
        {"hours": float("nan")},
        {"requests": -1},
        {"max_gap": 0.0},
        {"max_gap": float("inf")},
        {"market_minutes": 10.0},
        {"market_calendars": ["nobody's"]},
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_counted(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ticks.checked(soak_options(**given))


def test_what_makes_sense_is_not() -> None:
    ticks.checked(soak_options(market_minutes=10.0, market_calendars=["24/7"]))
    promotion.checked(promote_options())
    promotion.checked(promote_options(from_namespace="production", from_environment_name="staging"))


def test_minutes_of_an_open_market_are_those_that_overlap() -> None:
    calendars = {
        "OWN": {"timezone": "UTC", "sessions": {"mon": ["12:10", "12:20"]}},
        "LATER": {"timezone": "UTC", "sessions": {"mon": ["12:15", "12:25"]}},
    }
    until = START + timedelta(minutes=30)
    ask = soak_options(calendars=calendars, market_calendars=["OWN"])
    assert ticks.open_seconds(ask, START, until) == 600
    assert ticks.open_seconds(ask, START, START + timedelta(minutes=15)) == 300
    assert ticks.open_seconds(ask, until, until + timedelta(hours=1)) == 0
    # Of two that are open at the same time no minute counts twice.
    both = soak_options(calendars=calendars, market_calendars=["OWN", "LATER"])
    assert ticks.open_seconds(both, START, until) == 900
    always = soak_options(market_calendars=["24/7"])
    assert ticks.open_seconds(always, START, until) == 1800
    # A clock that was set back.
    assert ticks.open_seconds(always, until, START) == 0


def test_nothing_is_promoted_to_where_it_soaks() -> None:
    with pytest.raises(ConfigurationError, match="from production to production"):
        promotion.checked(promote_options(from_namespace="production"))


def test_what_is_released_is_what_has_soaked_and_nobody_says_otherwise() -> None:
    made = promotion.engine_options(promote_options(), tag="v2", image="registry/app", digest=NEW, soaked="id")
    assert (made["action"], made["version"], made["digest"], made["promoted_from"]) == ("release", "v2", NEW, "id")
    for name in ("digest", "image", "promoted_from", "action"):
        assert name not in promotion.SPEC


def test_where_it_soaks_may_be_another_store_and_cluster() -> None:
    found = promotion.source_options(
        promote_options(
            from_environment_name="staging", from_storage={"bucket": "s"}, from_kubernetes={"context": "staging"}
        )
    )
    assert found["environment_name"] == "staging"
    assert found["storage"]["bucket"] == "s"
    assert found["kubernetes"]["context"] == "staging"
    same = promotion.source_options(promote_options(kubernetes={"context": "one"}))
    assert same["kubernetes"]["context"] == "one"
    assert same["storage"]["bucket"] == "b"


def test_each_reason_forbids_and_what_nobody_knows_is_unknown() -> None:
    made = release()
    verdict = eligible(made, START, None)
    found = promotion.findings(verdict, made, "v3", "The API does not answer.")
    assert {each.name: each.status for each in found} == {
        "soak.digest": "critical",
        "soak.begun": "critical",
        "soak.live": "unknown",
    }
    assert all(each.forbids for each in found)
    assert "The API does not answer." in found[-1].message


def test_nobody_passes_a_reason_of_the_soak_by() -> None:
    from_spec = promotion.SPEC["overrides"]["choices"]
    assert not {"soak", "hours", "state", "digest"} & set(from_spec)


def soaked() -> Soak:
    run = Soak(hours=1)
    run.tick()
    run.tick()
    run.tick(requests=0)
    run.tick(errors=50)
    return run


def test_the_report_draws_the_stay_and_its_samples() -> None:
    run = soaked()
    details = shown.stay(run.release)
    drawn = [str(each) for each in charts(details)]
    assert len(drawn) == len(details["charts"]) == 5
    assert 'class="work"' in drawn[0]
    assert 'class="wait"' in drawn[0]
    assert 'class="gone"' in drawn[0]
    assert "The soak begins." in drawn[0]
    assert "of 300 requests failed" in drawn[0]


def test_a_stay_without_samples_has_its_events() -> None:
    (drawn,) = charts(shown.stay(release()))
    assert "It is verified." in drawn
    assert "<rect" not in drawn


@pytest.mark.parametrize(
    "chart",
    [
        {"kind": "stay"},
        {"kind": "stay", "intervals": [{"since": "yesterday", "until": "now", "verdict": "healthy"}], "events": []},
        {"kind": "stay", "intervals": 5, "events": 7},
    ],
)
def test_what_is_no_stay_is_left_out(chart: dict[str, Any]) -> None:
    assert charts({"charts": [chart]}) == []


def test_texts_of_a_stay_are_escaped() -> None:
    made = release()
    made.happened("hold", "<script>alert(1)</script>")
    (drawn,) = charts(shown.stay(made))
    assert "<script>" not in drawn


def test_a_tick_is_an_action_and_so_is_its_undo() -> None:
    idle = [Check("release.soak", "Soak", "ok", "undone", message="It is undone: nothing soaks.")]
    (action,) = shown.actions(ticks.Ticked(soaked().release, checks=idle), "staging/app", "2026-11-30T12:00:00Z")
    assert (action["status"], action["changed"]) == ("skipped", False)
    assert "nothing soaks" in action["message"]
    done = Soak()
    first = ticks.Ticked(done.release, done.tick(), changed=True)
    (action,) = shown.actions(first, "staging/app", "2026-11-30T12:00:00Z")
    assert (action["id"], action["status"], action["changed"]) == ("release.soak", "ok", True)
    failing = ticks.Ticked(done.release, done.tick(errors=90))
    (action,) = shown.actions(failing, "staging/app", "2026-11-30T12:00:00Z")
    assert action["status"] == "failed"


def test_the_record_says_when_it_was_promoted() -> None:
    run = Soak()
    run.tick(seen=live(1000))
    run.release.becomes(record.PROMOTED, "Promoted to production.")
    assert run.release.ended_at
    assert record.moment_of(run.release.ended_at) <= datetime.now(UTC)


class Unreachable:
    """A cluster that nobody may ask."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the cluster was asked to {name}")


def session_of(options: dict[str, Any]) -> Session:
    return Session(
        {**options, **ticks.UNDO_OPTIONS},
        cast(Cluster, Unreachable()),
        record.Store(options["storage"], options["environment_name"]),
        "run",
        "ops",
    )


AWAY = {
    "bucket": "b",
    "endpoint": "http://127.0.0.1:9",
    "access_key": "k",
    "secret_key": "s",
    "max_attempts": 1,
    "connect_timeout": 1,
}


def test_without_the_store_nothing_is_looked_at_counted_or_undone() -> None:
    with pytest.raises(StorageError):
        ticks.run(session_of(soak_options() | {"storage": AWAY}))


def test_a_failure_that_cannot_be_recorded_is_told_and_not_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Soak()
    run.tick()
    stored = record.Stored(run.release, "etag")
    monkeypatch.setattr(Session, "stored", lambda _self: stored)
    monkeypatch.setattr(ticks, "_look", lambda _session, _release: (live(1200, 90), ""))
    done = ticks.run(session_of(soak_options() | {"storage": AWAY}), run.now + timedelta(seconds=60))
    assert done.undone is None
    (check,) = done.checks
    assert check.status == "critical"
    assert "of 300 requests failed" in check.message
    assert "not undone" in check.message
    # What was only counted is lost with it, and the tick says so as a whole.
    run = Soak()
    run.tick()
    stored = record.Stored(run.release, "etag")
    monkeypatch.setattr(ticks, "_look", lambda _session, _release: (live(1200), ""))
    with pytest.raises(StorageError):
        ticks.run(session_of(soak_options() | {"storage": AWAY}), run.now + timedelta(seconds=60))


def test_a_dry_run_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Soak()
    run.tick()
    before = run.release.as_data()
    monkeypatch.setattr(Session, "stored", lambda _self: record.Stored(run.release, "etag"))
    monkeypatch.setattr(ticks, "_look", lambda _session, _release: (live(1200, 90), ""))
    done = ticks.run(session_of(soak_options() | {"storage": AWAY}), run.now + timedelta(seconds=60), dry_run=True)
    assert done.tick
    assert done.tick.failed
    assert done.undone is None
    assert run.release.as_data() == before


def test_what_pods_log_while_they_are_looked_at_is_read_by_the_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Soak()
    run.tick()
    clock = [run.now + timedelta(seconds=60)]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return clock[0]

    def look(_session: Session, _release: record.Release) -> Any:
        clock[0] += timedelta(seconds=10)
        return live(1200), ""

    monkeypatch.setattr(ticks, "datetime", Clock)
    monkeypatch.setattr(ticks, "_look", look)
    monkeypatch.setattr(Session, "stored", lambda _self: record.Stored(run.release, "etag"))
    monkeypatch.setattr(Session, "save", lambda _self, stored, _phase="": stored)
    done = ticks.run(session_of(soak_options() | {"storage": AWAY}))
    assert done.release
    assert done.release.soak["last"]["at"] == record.text_of(run.now + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("state", "statuses"), [(record.FAILED, ["critical"]), (record.UNDONE, ["critical"]), (record.PROMOTED, [])]
)
def test_a_soak_that_failed_while_it_was_promoted_is_told(
    monkeypatch: pytest.MonkeyPatch, state: str, statuses: list[str]
) -> None:
    soaking = release()
    soaking.becomes(state, "12 % of requests failed.")
    monkeypatch.setattr(Session, "stored", lambda _self: record.Stored(soaking, "etag"))
    where = session_of(soak_options() | {"storage": AWAY})
    found = promotion._marked(where, where, soaking.id)
    assert [each.status for each in found] == statuses
    assert all("12 % of requests failed." in each.message for each in found)
    # What is undone there later was promoted all the same.
    soaking.happened(record.PROMOTED, "Promoted to production.")
    assert promotion._marked(where, where, soaking.id) == []


def test_a_rollout_that_nobody_goes_on_with_is_no_good_news(monkeypatch: pytest.MonkeyPatch) -> None:
    rolling = record.new(
        "local", "app", "staging", "app", "app", tag="v2", image="registry/app", digest=NEW, previous=None,
        actor="ops", run_id="run", now=START,
    )  # fmt: skip
    monkeypatch.setattr(Session, "stored", lambda _self: record.Stored(rolling, "etag"))
    where = session_of(soak_options() | {"storage": AWAY})
    for after, status in ((timedelta(minutes=59), "ok"), (timedelta(minutes=61), "warning")):
        (check,) = ticks.run(where, START + after).checks
        assert (check.status, bool(check.remedy)) == (status, status == "warning"), check.message


def test_that_a_failure_could_not_be_undone_is_told_before_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    good = record.LastGood(OLD, "registry/app", {}, {}, 3, more={"helm": {"release": "app", "revision": 1}})
    run = Soak()
    run.tick()
    run.release.previous = good
    monkeypatch.setattr(Session, "stored", lambda _self: record.Stored(run.release, "etag"))
    monkeypatch.setattr(Session, "save", lambda _self, stored, _phase="": stored)
    monkeypatch.setattr(ticks, "_look", lambda _session, _release: (live(1200), ""))
    for program, statuses in (("/nowhere/helm", ["warning"]), (__file__, [])):
        options = soak_options(helm={"program": program})
        if not statuses:
            monkeypatch.setattr(Helm, "version", "v4.3.1")
        where = replace(session_of(options), cluster=cast(Cluster, SimpleNamespace(context="")))
        done = ticks.run(where, run.now + timedelta(seconds=60))
        assert [each.status for each in done.checks if each.id == "release.helm"] == statuses
        assert done.checks[0].id == "release.soak"


def test_what_a_tick_has_undone_is_not_told_as_still_to_be_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = release()
    failed.becomes(record.FAILED, "12 % of requests failed.", phase="undo")
    after = replace(failed, state=record.UNDONE)
    for state, said in ((after, "is undone now"), (failed, "is not undone")):
        kept = [record.Stored(failed, "etag"), record.Stored(state, "etag")]
        monkeypatch.setattr(Session, "stored", lambda _self, kept=kept: kept.pop(0))
        monkeypatch.setattr(ticks, "undone_at_once", lambda *_given: (Outcome(), []))
        check = ticks.run(session_of(soak_options() | {"storage": AWAY})).checks[0]
        assert check.status == "critical"
        assert said in check.message
        assert ("release_action=undo" in check.remedy) == (state is failed)


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, ""), ({"a": True}, ""), ({"a": 1}, "a:"), ({"a": False, "b": True}, "a, b:")],
)
def test_a_flag_that_has_not_soaked_is_told(given: dict[str, Any], told: str) -> None:
    good = record.LastGood(OLD, "registry/app", {}, {}, 3, more={"wanted": {"kind": "minor", "flags": {"a": True}}})
    found = promotion._flags(session_of(promote_options(flags=given)), release(previous=good))
    assert [each.message[: len(told)] for each in found] == ([told] if told else [])
    assert all(each.status == "warning" for each in found)
    # It was begun before that was recorded.
    assert promotion._flags(session_of(promote_options(flags=given)), release()) == []
