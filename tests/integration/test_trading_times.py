"""Our times against the venues', and rows that a view has twice: nothing else sees either."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.conftest import Sandbox
from tests.integration.test_trading_bad_data import changing, copying, removing, tidy
from tests.integration.test_trading_unrecognised import Change
from tests.integration.trading_worker import checked, statuses
from tests.oracle.platforms import Platform
from tests.oracle.scratch import Scratch, scratch

TIMES = "execution_times"


@pytest.fixture(scope="module")
def database(platform: Sandbox) -> Iterator[Scratch]:
    with scratch(platform) as found:
        yield found


def many(count: int, *shifts: float) -> Platform:
    """As many executions as told, on both sides; ours are later by the shifts, one after the other."""
    found = tidy()
    for number in range(2, count + 1):
        more = {"venue_execution_id": f"x{number}", "quantity": Decimal(0), "executed_at": 7000.0 - number}
        found["executions"].append(found["executions"][0] | more | {"execution_id": number})
        found["venue_executions"].append(found["venue_executions"][0] | more)
    for number, row in enumerate(found["executions"]):
        row["executed_at"] -= shifts[number % len(shifts)]
    found["venue_statements"][0]["record_count"] = count
    return found


@pytest.mark.parametrize(
    ("shifts", "status", "words"),
    [
        ((0,), "ok", "The times of 30 executions are those of the venues' statements, to 0 s."),
        ((0, 0.4), "ok", "to 0.4 s"),
        (
            (3600,),
            "critical",
            "All 30 executions at V0 are 3,600 s later here than in the venue's statements (time zone",
        ),
        ((-3600.2, -3599.9), "critical", "All 30 executions at V0 are 3,600 s earlier here"),
        ((19800, 19800.5), "critical", "19,800 s later here than in the venue's statements (time zone or daylight"),
        # Only the hour of the night that is there twice.
        ((0, 0, 0, 0, 0, 0, 0, 0, 0, 3600), "critical", "3 of 30 executions at V0 are 3,600 s later"),
        # A clock.
        ((37,), "warning", "All 30 executions at V0 are 37 s later here than in the venue's statements (a clock"),
        ((0, 5, 9), "warning", "20 of 30 executions at V0 are up to 9 s later"),
        ((0, 100), "critical", "15 of 30 executions at V0 are up to 100 s later"),
        ((3600, -3600, 0), "critical", "; 10 of 30 executions at V0 are 3,600 s later"),
    ],
)
def test_times(database: Scratch, shifts: tuple[float, ...], status: str, words: str) -> None:
    database.load(many(30, *shifts))
    check = checked(database.option)[TIMES]
    assert (check.status, words in check.message) == (status, True), check.message
    assert check.value == pytest.approx(max(map(abs, shifts)), abs=0.001)
    if status != "ok":
        assert check.remedy
        assert check.details["count"] == 30 * sum(abs(shift) >= 2 for shift in shifts) / len(shifts)
        assert len(check.details["first"]) == min(10, check.details["count"])


def test_declared_tolerance(database: Scratch) -> None:
    database.load(many(3, 90))
    lenient = {"execution_times": {"warning": 120, "critical": float("inf")}}
    assert checked(database.option, thresholds=lenient)[TIMES].status == "ok"
    none = {"execution_times": {"warning": float("inf"), "critical": float("inf")}}
    assert checked(database.option, thresholds=none)[TIMES].value == 90


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (changing("executions", executed_at=None), "unknown"),
        (changing("venue_executions", executed_at=None), "unknown"),
        (changing("venue_executions", executed_at=float("-inf")), "unknown"),
        (changing("executions", venue_execution_id="else"), "unknown"),
        (removing("executions"), "unknown"),
        (changing("executions", executed_at=7000.0 + 86400), "critical"),
    ],
)
def test_times_that_cannot_be_compared(database: Scratch, change: Change, status: str) -> None:
    damaged = tidy()
    change(damaged)
    database.load(damaged)
    check = checked(database.option)[TIMES]
    assert (check.status, bool(check.remedy)) == (status, True)


def test_what_both_sides_took_back_may_differ(database: Scratch) -> None:
    damaged = many(2, 0)
    for view in ("executions", "venue_executions"):
        cancel = damaged[view][0] | {"venue_execution_id": "x3", "kind": "cancel", "reference": "x2"}
        damaged[view].append(cancel | ({"execution_id": 3} if view == "executions" else {}))
    damaged["venue_statements"][0]["record_count"] = 3
    damaged["executions"][1]["executed_at"] = 3000.0
    database.load(damaged)
    assert checked(database.option)[TIMES].status == "ok"
    damaged["venue_executions"][2]["reference"] = "x1"
    database.load(damaged)
    assert checked(database.option)[TIMES].status == "critical"


@pytest.mark.parametrize(
    ("view", "named"),
    [
        ("orders", {"order_id": 7}),
        ("executions", {"execution_id": 7}),
        ("transactions", {"transaction_id": 7}),
        ("positions", {"instrument": "V0:I9"}),
        ("cash", {"currency": "CHF"}),
        ("equity", {"day": 1}),
        ("strategies", {"strategy": "s9"}),
        ("instruments", {"instrument": "V0:I9"}),
        ("venues", {"venue": "V9"}),
        ("venue_statements", {"statement_id": 7}),
        ("risk_limits", {"limit_id": 7}),
        ("heartbeat", {"instance": "i9"}),
    ],
)
def test_twice(database: Scratch, view: str, named: dict[str, object]) -> None:
    for changes, status in (
        # Another of its kind is none that is there twice; what differs besides its name may well be the same.
        ([copying(view, **named)], "ok"),
        ([copying(view)], "critical"),
        ([copying(view, **dict.fromkeys(named))], "unknown"),
    ):
        damaged = tidy()
        for change in changes:
            change(damaged)
        database.load(damaged)
        check = checked(database.option)[f"duplicates:{view}"]
        assert (check.status, bool(check.remedy)) == (status, status != "ok"), check.message
        if status == "critical":
            assert (check.value, check.details["first"][0]["times"]) == (1, 2)


def test_accounts_need_not_be_there(database: Scratch) -> None:
    database.load(tidy())
    assert not [id for id in checked(database.option) if id == "duplicates:accounts"]
    database.cursor.execute(
        "CREATE TABLE maintenance.accounts AS SELECT 'A0'::text AS account FROM generate_series(1, 2)"
    )
    try:
        assert statuses(checked(database.option)) == {"duplicates:accounts": "critical"}
    finally:
        database.cursor.execute("DROP TABLE maintenance.accounts")


def test_statement_before_all_times_has_no_time(database: Scratch) -> None:
    damaged = tidy()
    changing("venue_statements", as_of=float("inf"))(damaged)
    database.load(damaged)
    check = checked(database.option)["venue_statements"]
    assert (check.status, check.details["first"][0]["reason"]) == ("critical", "time")
    assert "it has no time" in check.message
    assert "inf" not in check.message
