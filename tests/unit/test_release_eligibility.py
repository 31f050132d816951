"""Whether a soak allows a promotion: one case for each thing that forbids it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import record
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.eligibility import Verdict, eligible
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.live import Live

from tests.unit.soak_fixtures import NEW, OLD, Soak, live, pod, release


def soaked(**needs: Any) -> Soak:
    """One that has soaked the hour that it needs."""
    run = Soak(hours=needs.pop("hours", 1), **needs)
    run.tick()
    for _ in range(12):
        run.tick(market_seconds=150)
    return run


def asked(run: Soak, seen: Live | None, later: float = 10, **how: Any) -> Verdict:
    return eligible(run.release, run.now + timedelta(seconds=later), seen, **how)


def test_a_soak_that_has_all_it_needs_allows_it() -> None:
    run = soaked(requests=3600, market_minutes=30)
    found = asked(run, live(run.requests), digest=NEW)
    assert found.reasons == []
    assert found.eligible
    assert found.as_data() == {"eligible": True, "reasons": []}


def other_pod(seen: Live) -> Live:
    return replace(seen, pods=[*seen.pods[:2], pod(9)])


Change = Callable[[Soak], None]


def state(name: str) -> Change:
    return lambda run: run.release.becomes(name, f"It is {name}.")


def changed(**fields: Any) -> Change:
    return lambda run: run.release.soak.update(fields)


def unverified(run: Soak) -> None:
    run.release.verified_at = None


def quiet(run: Soak) -> None:
    run.tick(requests=0)


def blind(run: Soak) -> None:
    run.tick(live=None, problem="The API does not answer")


def unhealthy(run: Soak) -> None:
    run.release.samples[-1]["verdict"] = "inconclusive"


def forgotten(run: Soak) -> None:
    run.release.samples.clear()


def nothing(_run: Soak) -> None:
    """Leaves it."""


CASES: list[tuple[str, Change, dict[str, Any], str]] = [
    ("failed", state(record.FAILED), {}, "state"),
    ("undone", state(record.UNDONE), {}, "state"),
    ("promoted already", state(record.PROMOTED), {}, "state"),
    ("never verified", unverified, {}, "verified"),
    ("too early", changed(counted=3599.0), {}, "hours"),
    ("not a number of seconds", changed(counted=float("nan")), {}, "hours"),
    ("never begun", changed(stay=None), {}, "begun"),
    ("nothing is known of what it needs", changed(wanted={}), {}, "begun"),
    ("no traffic in the last interval", quiet, {}, "hold"),
    ("unseen in the last interval", blind, {}, "hold"),
    ("last interval not healthy", unhealthy, {}, "hold"),
    ("no interval at all", forgotten, {}, "healthy"),
    ("another digest is asked for", nothing, {"digest": OLD}, "digest"),
    ("whoever promotes wants more hours", nothing, {"at_least": {"hours": 2}}, "hours"),
    ("whoever promotes wants more traffic", nothing, {"at_least": {"requests": 3601}}, "requests"),
    ("whoever promotes wants the market open", nothing, {"at_least": {"market_minutes": 31}}, "market_minutes"),
    ("nobody looked since", nothing, {"later": 901}, "age"),
    ("the last tick is in the future", nothing, {"later": -120}, "clock"),
    ("more is counted than has passed", changed(counted=7200.0), {}, "clock"),
]


@pytest.mark.parametrize(("change", "how", "reason"), [each[1:] for each in CASES], ids=[each[0] for each in CASES])
def test_each_thing_that_forbids_it_is_a_reason(change: Change, how: dict[str, Any], reason: str) -> None:
    run = soaked()
    change(run)
    found = asked(run, live(run.requests), **how)
    assert not found.eligible
    assert reason in [each.name for each in found.reasons]
    assert all(each.message and each.remedy for each in found.reasons)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (lambda: None, "live"),
        (lambda: live(digest=OLD), "drift"),
        (lambda: live(digest=None), "drift"),
        (lambda: live(template_hash="other"), "drift"),
        (lambda: live(configuration={"ConfigMap/app": "2"}), "drift"),
        (lambda: live(replicas=5), "drift"),
        (lambda: other_pod(live()), "drift"),
        (lambda: live(unsettled="2 of 3 pods ready, 3 there."), "unsettled"),
    ],
)
def test_what_runs_now_must_be_what_soaked(seen: Callable[[], Live | None], reason: str) -> None:
    found = asked(soaked(), seen())
    assert [each.name for each in found.reasons] == [reason]


def test_without_a_record_nothing_is_eligible() -> None:
    run = soaked()
    assert [each.name for each in eligible(None, run.now, live()).reasons] == ["record"]


def test_one_that_is_rolling_out_is_not() -> None:
    run = Soak(replace(release(), state=record.ROLLING_OUT))
    assert [each.name for each in asked(run, live()).reasons] == ["state"]


def test_holding_for_a_year_never_makes_it_eligible() -> None:
    run = Soak(hours=1)
    run.tick()
    run.tick()
    for _ in range(400):
        run.tick(after=800, requests=0)
    names = [each.name for each in asked(run, live(run.requests)).reasons]
    assert {"hours", "hold"} <= set(names)


def test_a_reset_takes_all_of_it_away() -> None:
    run = soaked()
    run.tick(seen=live(run.requests + 100, replicas=4))
    names = [each.name for each in asked(run, live(run.requests, replicas=4)).reasons]
    assert "hours" in names
    assert "healthy" in names


def test_a_soak_of_no_hours_still_needs_one_healthy_interval() -> None:
    run = Soak(hours=0)
    run.tick()
    assert not asked(run, live(run.requests)).eligible
    run.tick()
    assert asked(run, live(run.requests)).eligible
