"""Verdicts on indexes that no real server needs to be asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.bloat import Measured, reindex
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.catalogue import Index, support
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.findings import of_indexes
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.indexes import (
    Advice,
    duplicates,
    has_to_stay,
    invalid,
    unused,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.plans import Missing, reads
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.statements import (
    OF_ROWS,
    Recorded,
    _since,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.usage import Use, Uses, Watched, uncounted

DAY = 86400.0
THRESHOLDS = {
    name: {"warning": 1, "critical": None} for name in ("unused_indexes", "duplicate_indexes", "invalid_indexes")
}
SHORT = Index(
    1, "s", "short", 9, "s.t", "btree", keys=(1,), opclasses=(7,), collations=(0,), options=(0,), definition="d"
)
LONG = replace(SHORT, oid=2, name="long", keys=(1, 2), opclasses=(7, 7), collations=(0, 0), options=(0, 0))
TWIN = replace(SHORT, oid=3, name="twin")


def uses(**scans: int) -> Uses:
    oids = {"short": 1, "long": 2, "twin": 3}
    counts = {oids[name]: scans.get(name, 0) for name in oids}
    return Uses([Use("primary", 1e9, 1e9 - 100 * DAY, 1e9 - 100 * DAY, counts)])


@pytest.mark.parametrize(
    ("indexes", "read", "gone"),
    [
        # Were the older one kept, it would go as the one that nobody reads, and the one that is read with it.
        ([SHORT, TWIN], {"twin": 5}, "short"),
        ([SHORT, TWIN], {"short": 5}, "twin"),
        ([SHORT, LONG], {"long": 5}, "short"),
    ],
)
def test_what_is_read_is_kept(indexes: list[Index], read: dict[str, int], gone: str) -> None:
    (one,) = duplicates(indexes, uses(**read))
    assert one.index == f"s.{gone}"
    unread = {each.index for each in unused(indexes, uses(**read), 92, Watched("", {1: 1.0, 2: 1.0, 3: 1.0}))}
    assert unread | {one.index} < {each.full for each in indexes}


def test_a_short_one_that_is_read_does_not_go_for_a_long_one_that_is_not() -> None:
    assert duplicates([SHORT, LONG], uses(short=5)) == []


def test_read_on_a_replica_only() -> None:
    primary, replica = uses().servers[0], uses(short=1).servers[0]
    both = Uses([primary, replica])
    found = unused([SHORT, LONG], both, 92, Watched("", {1: 1.0, 2: 1.0}))
    assert [one.index for one in found] == ["s.long"]
    lacking = Uses([primary, replace(replica, scans={2: 0})])
    found = unused([SHORT], lacking, 92, Watched("", {1: 1.0}))
    assert [one.verdict for one in found] == ["unknown"]


@pytest.mark.parametrize(
    ("index", "others"),
    [
        (replace(TWIN, parameters=("",), targets=(-1,)), 1),
        (replace(TWIN, parameters=("{siglen=100}",), targets=(-1,)), 0),
        (replace(TWIN, parameters=("",), targets=(1000,)), 0),
        (replace(LONG, parameters=("", "{siglen=100}")), 1),
        (replace(LONG, parameters=("{siglen=100}", "")), 0),
    ],
)
def test_parameters_of_operator_classes_and_statistics_are_compared(index: Index, others: int) -> None:
    assert len(duplicates([replace(SHORT, parameters=("",), targets=(-1,)), index], uses())) == others


@pytest.mark.parametrize(
    ("indexes", "stays"),
    [
        # Of a foreign key (tenant, order) = (1, 2), nothing else narrows down the row that refers to a deleted one.
        ([replace(SHORT, keys=(2,))], {"short"}),
        ([replace(SHORT, keys=(2, 3)), replace(LONG, keys=(3, 1))], {"short"}),
        ([replace(SHORT, keys=(1,)), replace(LONG, keys=(2, 1))], {"long"}),
        ([replace(SHORT, keys=(1,)), replace(LONG, keys=(2, 1), valid=False)], {"short", "long"}),
        ([replace(SHORT, keys=(1,)), replace(LONG, keys=(2, 1), predicate="x")], {"short", "long"}),
        ([replace(SHORT, keys=(1,)), replace(LONG, keys=(2, 1), method="brin")], {"short", "long"}),
        ([replace(SHORT, keys=(1,)), replace(LONG, keys=(2, 1), table_oid=8)], {"short"}),
        ([replace(SHORT, keys=(0,)), replace(TWIN, keys=(3,))], set()),
    ],
)
def test_an_index_that_alone_helps_a_foreign_key_stays(indexes: list[Index], stays: set[str]) -> None:
    known = [replace(one) for one in indexes]
    support(known, {9: [{"name": "key", "columns": [1, 2]}]})
    assert {one.name for one in known if one.supports} == stays
    assert {one.name for one in known if has_to_stay(one)} == stays


PRIMARY = Use("primary", 1e9, None, None, {}, system="1", standbys=1, instance="a")
STANDBY = replace(PRIMARY, server="standby", in_recovery=True, standbys=0, instance="b")
OTHER = replace(STANDBY, server="other", instance="c")


@pytest.mark.parametrize(
    ("servers", "away", "problem"),
    [
        ([PRIMARY, STANDBY], 0, ""),
        ([replace(PRIMARY, standbys=0), replace(STANDBY, fed=False)], 0, ""),
        ([PRIMARY], 1, ""),
        ([PRIMARY], 0, "1 standby is connected"),
        ([PRIMARY, replace(STANDBY, standbys=1)], 0, "2 standbys are connected"),
        ([PRIMARY, replace(STANDBY, standbys=1), OTHER], 0, ""),
        # One that is fed from the archive does not stand in for the one that is connected.
        ([PRIMARY, replace(STANDBY, fed=False)], 0, "1 standby is connected"),
        ([replace(PRIMARY, standbys=2), STANDBY, replace(STANDBY, server="again")], 0, "are the same server"),
        ([PRIMARY, replace(STANDBY, system="2")], 0, "is no physical replica"),
        ([PRIMARY, replace(STANDBY, counted=False)], 0, "track_counts is off"),
    ],
)
def test_who_may_read_uncounted(servers: list[Use], away: int, problem: str) -> None:
    found = uncounted(servers, away)
    assert found.startswith(problem) or problem in found
    assert bool(found) is bool(problem)


@pytest.mark.parametrize(("unseen", "since"), [(False, {"1": 5}), (True, {})])
def test_days_on_which_another_may_have_read_it_do_not_count(unseen: bool, since: dict[str, int]) -> None:
    counted = replace(uses(), problem="something", unseen=unseen)
    never = of_indexes([SHORT], counted, Watched("", {1: 5.0}), 92, THRESHOLDS, 1e9)[0]
    assert never.status == "unknown"
    assert never.details["watched"]["since"] == since


@pytest.mark.parametrize(
    ("past", "evicted", "calls", "fresh"),
    [
        ([3, 30.0, "then"], 0, 7, False),
        ([3, 30.0, "before"], 1, 10, True),
        ([30, 300.0, "then"], 0, 10, True),
        ("nonsense", 0, 10, True),
        (None, 0, 10, True),
    ],
)
def test_counts_are_never_negative(past: object, evicted: int, calls: int, fresh: bool) -> None:
    row = {"queryid": "1", "query": "select", "calls": 10, "total": 100.0, "longest": 9.0, "rows": 1, "blocks": 1}
    found = _since({**row, "since": "then"}, past, evicted)
    assert (found.calls, found.fresh) == (calls, fresh)


@pytest.mark.parametrize(("evicted", "calls"), [(0, 7), (1, 10)])
def test_before_17_nobody_knows_what_was_evicted(evicted: int, calls: int) -> None:
    row = {"queryid": "1", "query": "select", "calls": 10, "total": 100.0, "longest": 9.0, "rows": 1, "blocks": 1}
    assert _since({**row, "since": None}, [3, 30.0, None], evicted).calls == calls


@pytest.mark.parametrize(
    ("measured", "version", "verdict"),
    [
        (Measured("s", "i", 1, 60.0, "btree"), 160000, "safe"),
        (Measured("s", "i", 1, 60.0, "gist", exclusion=True), 160000, "review"),
        (Measured("s", "i", 1, 60.0, "btree"), 140003, "review"),
        (Measured("s", "i", 1, 60.0, "btree"), 140004, "safe"),
    ],
)
def test_what_cannot_be_rebuilt_without_a_lock_is_for_review(measured: Measured, version: int, verdict: str) -> None:
    one = reindex(measured, version)
    assert (one.verdict, bool(one.target), bool(one.statement)) == (verdict, verdict == "safe", verdict == "safe")
    assert "exclusion" not in measured.as_data()


def test_an_invalid_one_of_an_exclusion_constraint_is_not_rebuilt_by_a_statement() -> None:
    (one,) = invalid([replace(SHORT, valid=False, exclusion=True)])
    assert (one.verdict, one.statement) == ("review", "")
    assert invalid([replace(SHORT, valid=False)])[0].statement


@pytest.mark.parametrize(
    ("text", "read", "of_rows"),
    [
        ("SELECT 1", True, True),
        ("/* app: desk */ SELECT 1", True, True),
        ("-- app\n ( /* a * b */ /**/ select 1)", True, True),
        ("/*+ hint */ UPDATE t SET n = 1", False, True),
        ("/* SELECT */ VACUUM", False, False),
        ("-- SELECT 1", False, False),
        ("/* */" * 20_000 + "VACUUM", False, False),
    ],
)
def test_statements_may_begin_with_comments(text: str, read: bool, of_rows: bool) -> None:
    assert reads(text) is read
    assert bool(OF_ROWS.match(text)) is of_rows


def test_what_is_critical_stays_so_beside_what_nobody_knows() -> None:
    class Nothing:
        def execute(self, *_: object) -> None: ...

        def fetchone(self) -> None: ...

    missing = Missing(Nothing(), [], {}, ValueError)
    missing.found = {
        ("known",): Advice("", "s.t", "review", "a reason", "CREATE INDEX"),
        ("open",): Advice("", "s.u", "unknown", "another", "CREATE INDEX"),
    }
    recorded = Recorded([], 170000, 0, True, {})
    for critical, status in ((1, "critical"), (None, "unknown")):
        check = missing.judged(recorded, 0, 0, {"missing_indexes": {"warning": 1, "critical": critical}})
        assert check.status == status
        assert "s.u" in check.message
