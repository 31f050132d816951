"""Which recovery points stay: rules and guards, on random series and on chosen ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import options, rules
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention.rules import Plan, Point
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ONE, OTHER = "logical/1/tf", "logical/2/tf"

ages = st.one_of(st.integers(0, 10 * 24), st.integers(0, 4 * 365 * 24))
Rules = dict[str, int | None]


def made(number: int, hours: float, **facts: Any) -> Point:
    created = NOW - timedelta(hours=hours)
    return Point(f"{created:%Y%m%dT%H%M%SZ}-{number:06x}", created, **{"series": ONE, "verified": True, **facts})


@st.composite
def series(draw: st.DrawFn) -> list[Point]:
    """Recovery points in no order, some of them good, some held or locked."""
    count = draw(st.integers(0, 12))
    often = st.sampled_from([True, True, False])
    seldom = st.sampled_from([False, False, False, True])
    return [
        made(
            number,
            draw(ages),
            series=draw(st.sampled_from([ONE, ONE, OTHER])),
            proven=draw(often),
            verified=draw(often),
            damaged="it is" if draw(seldom) else "",
            held="me" if draw(seldom) else "",
            locked_until=NOW + timedelta(hours=draw(st.integers(-5, 5))) if draw(seldom) else None,
        )
        for number in range(count)
    ]


number = st.one_of(st.none(), st.integers(0, 6))
rule_sets = st.fixed_dictionaries(dict.fromkeys(rules.RULES, number))
required = st.sampled_from([rules.PROVEN, rules.VERIFIED])


def ids(points: list[Point]) -> set[str]:
    return {point.id for point in points}


def of(points: list[Point], name: str) -> list[Point]:
    """One series, newest first."""
    return sorted((point for point in points if point.series == name), key=lambda point: point.order, reverse=True)


@settings(max_examples=150, deadline=None)
@given(series(), rule_sets, required)
def test_what_always_stays(points: list[Point], given_rules: Rules, require: str) -> None:
    plan = rules.plan(points, given_rules, NOW, require=require)
    kept = ids(plan.kept)
    assert ids(plan.kept) | ids(plan.deleted) == ids(points)
    assert not kept & ids(plan.deleted)
    assert all(fate.reasons for fate in plan.fates)
    for name in (ONE, OTHER):
        members = of(points, name)
        for good in (
            lambda point: True,
            lambda point: point.proven,
            lambda point: point.proven and not point.damaged,
            lambda point: point.verified and not point.damaged,
        ):
            assert ids(list(filter(good, members))[:1]) <= kept
        assert len(kept & ids(members)) >= min(given_rules["keep_last"] or 0, len(members))
        assert ids(members[: given_rules["keep_last"] or 0]) <= kept
    for point in points:
        if point.held or (point.locked_until and point.locked_until > NOW):
            assert point.id in kept
        if given_rules["keep_days"] and NOW - point.created_at < timedelta(days=given_rules["keep_days"]):
            assert point.id in kept
    for point in plan.deleted:
        # Something newer of its own series stays, is good, and is looked at before anything goes.
        newer = [each for each in plan.relied_on if each.series == point.series and each.order > point.order]
        assert any(
            each.id in kept and not each.damaged and (each.proven or (require == rules.VERIFIED and each.verified))
            for each in newer
        )
    if not any(given_rules.values()):
        assert not plan.deleted
    newest = max(points, key=lambda point: point.order, default=None)
    if newest and (newest.damaged or not (newest.proven or newest.verified)):
        assert not plan.deleted


@settings(max_examples=80, deadline=None)
@given(series(), rule_sets, st.dictionaries(st.sampled_from(rules.RULES), st.integers(1, 5)), required)
def test_more_is_kept_when_rules_grow(
    points: list[Point], given_rules: Rules, more: dict[str, int], require: str
) -> None:
    grown = {**given_rules, **{name: (given_rules[name] or 0) + by for name, by in more.items()}}
    if not rules.effective(given_rules):
        return  # no rule keeps everything
    less = rules.plan(points, given_rules, NOW, require=require)
    assert ids(rules.plan(points, grown, NOW, require=require).deleted) <= ids(less.deleted)


@settings(max_examples=80, deadline=None)
@given(series(), rule_sets, required)
def test_again_after_the_deletion_nothing_goes(points: list[Point], given_rules: Rules, require: str) -> None:
    first = rules.plan(points, given_rules, NOW, require=require)
    assert not rules.plan(first.kept, given_rules, NOW, require=require).deleted


def daily(days: int, **facts: Any) -> list[Point]:
    return [made(day, 24 * day + 10, **facts) for day in range(days)]


def plan(points: list[Point], require: str = rules.PROVEN, **given_rules: int) -> Plan:
    return rules.plan(points, given_rules, NOW, require=require)


def test_two_years_of_days_by_generation() -> None:
    found = plan(daily(730, proven=True), keep_last=3, keep_daily=7, keep_weekly=4, keep_monthly=12, keep_yearly=5)
    assert len(found.kept) == 7 + 2 + 11 + 1
    kept = [f"{point.created_at:%Y-%m-%d}" for point in found.kept]
    assert kept[:10] == [
        *("2026-11-24", "2026-11-23", "2026-11-22", "2026-11-21", "2026-11-20", "2026-11-19", "2026-11-18"),
        *("2026-11-15", "2026-11-08", "2026-10-31"),
    ]
    assert kept[-3:] == ["2026-01-31", "2025-12-31", "2024-12-31"]
    by_id = {fate.point.id[:8]: fate.reasons for fate in found.fates}
    assert by_id["20251231"] == ["keep_monthly 2025-12", "keep_yearly 2025"]
    assert by_id["20250601"] == ["no rule keeps it; 20261124T020000Z-000000 is newer and proven"]


def test_months_without_backups_let_nothing_expire() -> None:
    """30 days of failures: age alone would have deleted every one."""
    old = [made(day, 24 * (day + 60), proven=True) for day in range(10)]
    assert len(plan(old, keep_days=30).kept) == 1
    assert len(plan(old, keep_daily=7).kept) == 7


def test_nothing_goes_for_one_that_is_not_proven() -> None:
    points = daily(10)
    points[4] = made(4, 24 * 4 + 10, proven=True)
    found = plan(points, keep_last=2)
    # Those newer than the proven one wait for the next drill, those older go.
    assert [point.id[-1] for point in found.kept] == ["0", "1", "2", "3", "4"]
    assert not any(fate.refused for fate in found.fates)
    assert [point.id[-1] for point in plan(points, require=rules.VERIFIED, keep_last=2).kept] == ["0", "1", "4"]
    nobody = plan(daily(10), keep_last=2)
    assert not nobody.deleted
    assert sum(fate.refused for fate in nobody.fates) == 8


@pytest.mark.parametrize(
    ("newest", "why"),
    [
        ({"damaged": "toc.dat is missing"}, "is damaged: toc.dat is missing"),
        ({"verified": False}, "was verified"),
        ({"hours": -1}, "is from the future: a clock is wrong"),
    ],
)
def test_what_is_wrong_with_the_newest_stops_everything(newest: dict[str, Any], why: str) -> None:
    points = [made(99, newest.pop("hours", 1), **newest), *daily(10, proven=True)]
    found = plan(points, keep_last=1)
    assert why in found.stopped
    assert not found.deleted
    assert found.due


def test_another_cluster_is_a_series_of_its_own() -> None:
    """A new cluster after a restore or an upgrade: none of its backups stands in for the old ones."""
    old = [made(day, 24 * (day + 100), series=OTHER, proven=day == 3) for day in range(8)]
    found = plan([*daily(10, proven=True), *old], keep_days=5)
    kept = [point.id[-1] for point in found.kept if point.series == OTHER]
    assert kept == ["0", "1", "2", "3"]


def test_a_damaged_proof_is_none() -> None:
    points = daily(6)
    points[2] = made(2, 58, proven=True, damaged="it is")
    points[4] = made(4, 106, proven=True)
    found = plan(points, keep_last=1)
    assert [point.id[-1] for point in found.deleted] == ["5"]


@pytest.mark.parametrize(
    "changes",
    [{"rules": {"keep_last": -1}}, {"rules": {"keep_days": 10**6}}, {"rules": {}, "unfinished_days": 0}],
)
def test_options_that_make_no_sense(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="retention"):
        options.check({"unfinished_days": 7, "rules_by_engine": {}, **changes})


def test_physical_ones_go_by_their_own_rules_and_chains() -> None:
    def physical(number: int, days: float, requires: tuple[str, ...] = (), system: str = "1", **facts: Any) -> Point:
        values = {"series": f"pgbackrest/{system}/tf", "label": f"r/{number}", "requires": frozenset(requires), **facts}
        return made(number, days * 24, **values)

    # After a major upgrade the old cluster is another series: its last proven one stays.
    old = [physical(1, 90, proven=True, system="0"), physical(2, 80, ("r/1",), system="0")]
    full, incremental = physical(3, 40), physical(4, 30, ("r/3",))
    newer, newest = physical(5, 20, proven=True), physical(6, 1, proven=True)
    dumps = [made(7, 24, proven=True), made(8, 48, proven=True), made(9, 72)]
    everything = [*old, full, incremental, newer, newest, *dumps]
    own = {"pgbackrest": {"keep_last": 2}}
    plan = rules.plan(everything, {"keep_last": 1}, NOW, by_engine=own)
    assert ids(plan.deleted) == {full.id, incremental.id, dumps[1].id, dumps[2].id}
    # The newest of the old cluster is needed by nobody, and keeps what it was made from.
    assert {old[0].id, old[1].id} <= ids(plan.kept)
    held = rules.plan([*everything[:3], replace(incremental, held="me"), *everything[4:]], {}, NOW, by_engine=own)
    (fate,) = [each for each in held.fates if each.point.id == full.id]
    assert (fate.kept, fate.reasons, held.deleted) == (True, [f"needed by {incremental.id}"], [])
    # What is wrong with the newest of an engine stops that engine alone.
    damaged = rules.plan(
        [*everything[:5], replace(newest, damaged="it is", verified=False, proven=False), *dumps],
        {"keep_last": 1},
        NOW,
        by_engine=own,
    )
    assert ids(damaged.deleted) <= ids(dumps)
