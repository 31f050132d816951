"""Nothing is owed while nobody can trade: weekends, and brokers on business days; and fees taken in the coin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import Sandbox
from tests.integration.test_trading_bad_data import CASH, EXECUTIONS, FEES, POSITIONS, STALE, TEN, changing, tidy
from tests.integration.trading_worker import checked, statuses
from tests.oracle.platforms import DAY, Platform
from tests.oracle.scratch import Scratch, scratch

RISK = "risk_limits:strategy/s0"
JUDGED = ("reject_ratio", "fill_ratio", "acknowledge_latency", "execution_latency", "slippage")


@pytest.fixture(scope="module")
def database(platform: Sandbox) -> Iterator[Scratch]:
    with scratch(platform) as found:
        yield found


def shop() -> dict[str, Any]:
    """A market that is open for an hour a week, and was for the last time three days ago."""
    day = datetime.now(UTC) - timedelta(days=3)
    return {"shop": {"timezone": "UTC", "sessions": {f"{day:%a}".lower(): ["00:00", "01:00"]}}}


def last_traded(days: float, calendar: str, gap: float | None = None) -> Platform:
    found = tidy()
    for row in found["strategies"]:
        row.update(calendar=calendar, max_order_gap_seconds=gap)
    for row in found["orders"]:
        row.update(created_at=days * DAY, acknowledged_at=days * DAY)
    return found


@pytest.mark.parametrize(
    ("days", "calendar", "gap", "status"),
    [
        (4, "shop", None, "ok"),
        (4, "shop", 600, "ok"),
        # Round the clock, and nobody says how long it may pause; or it may, and has not.
        (4, "24/7", None, "unknown"),
        (4, "24/7", 7 * DAY, "ok"),
        (4, "24/7", 2 * DAY, "unknown"),
        (4, "nope", None, "unknown"),
    ],
)
def test_day_without_orders(database: Scratch, days: float, calendar: str, gap: float | None, status: str) -> None:
    database.load(last_traded(days, calendar, gap))
    found = checked(database.option, calendars=shop())
    assert {found[id].status for id in JUDGED} == {status}
    if status == "ok":
        assert {found[id].value for id in JUDGED} == {"no orders"}


def test_equity_of_trading_days_only(database: Scratch) -> None:
    platform = tidy()
    changing("equity", as_of=2.5 * DAY, day=2)(platform)
    database.load(platform)
    assert statuses(checked(database.option)) == {RISK: "unknown"}
    changing("strategies", calendar="shop")(platform)
    database.load(platform)
    assert statuses(checked(database.option, calendars=shop())) == {}
    # A whole session later it is old.
    changing("equity", as_of=12.5 * DAY, day=12)(platform)
    database.load(platform)
    assert statuses(checked(database.option, calendars=shop(), equity_age=20)) == {RISK: "unknown"}


@contextmanager
def with_column(database: Scratch, view: str, column: str, value: str) -> Iterator[None]:
    database.cursor.execute(f"ALTER TABLE maintenance.{view} ADD COLUMN {column} text DEFAULT '{value}'")
    try:
        yield
    finally:
        database.cursor.execute(f"ALTER TABLE maintenance.{view} DROP COLUMN {column}")


def of_business_days() -> Platform:
    found = tidy()
    changing("venues", statement_interval_seconds=DAY)(found)
    for row in found["venue_statements"]:
        row.update(as_of=2.5 * DAY)
    for view in ("executions", "venue_executions"):
        changing(view, executed_at=2.6 * DAY)(found)
    changing("orders", created_at=2.7 * DAY, acknowledged_at=2.7 * DAY)(found)
    changing("strategies", calendar="shop")(found)
    changing("transactions", created_at=4.0 * DAY, settled_at=4.0 * DAY)(found)
    for row in found["venue_statements"]:
        row["period_start"] = 3.0 * DAY
    return found


def test_statements_of_business_days(database: Scratch) -> None:
    platform = of_business_days()
    with with_column(database, "venues", "calendar", "shop"):
        database.load(platform)
        found = checked(database.option, calendars=shop())
        assert statuses(found) == {}
        assert found["venue_statements"].value < 1.5
        # Without knowing the calendar, the clock on the wall counts.
        assert statuses(checked(database.option)).items() >= STALE.items()
    database.load(platform)
    assert statuses(checked(database.option, calendars=shop())) == STALE


def test_time_in_which_the_venue_was_closed_is_no_gap(database: Scratch) -> None:
    platform = tidy()
    platform["venue_statements"][0].update(period_start=2000.0)
    more = {"statement_id": 7, "period_start": 9000.0, "as_of": 6900.0, "record_count": 1}
    platform["venue_statements"].append(platform["venue_statements"][0] | more)
    platform["venue_statements"][0]["record_count"] = 0
    platform["venue_executions"][0]["statement_id"] = 7
    with with_column(database, "venues", "calendar", "shop"):
        database.load(platform)
        assert statuses(checked(database.option, calendars=shop())) == {}
        changing("venues", calendar="24/7")(platform)
        database.cursor.execute("UPDATE maintenance.venues SET calendar = '24/7'")
        gap = {EXECUTIONS: "unknown", FEES: "unknown", "venue_statements": "critical"}
        assert statuses(checked(database.option)) == gap


@pytest.mark.parametrize(
    ("coin", "bad"), [("BTC", {}), ("ETH", {POSITIONS: "critical", "strategy_positions": "critical"})]
)
def test_fee_taken_in_the_coin(database: Scratch, coin: str, bad: dict[str, str]) -> None:
    platform = tidy()
    # Bought after the cut-off: 1, less the fee of 0.001.
    fill = {"execution_id": 2, "order_id": 2, "venue_execution_id": "x2", "executed_at": 60.0, "quantity": Decimal(1)}
    fill |= {"fee": Decimal("0.001"), "fee_currency": "BTC"}
    platform["executions"].append(platform["executions"][0] | fill)
    platform["orders"].append(
        platform["orders"][0] | {"order_id": 2, "filled_quantity": Decimal(1), "quantity": Decimal(1)}
    )
    changing("positions", quantity=TEN + Decimal("0.999"))(platform)
    with with_column(database, "instruments", "base_currency", coin):
        database.load(platform)
        assert {id: status for id, status in statuses(checked(database.option)).items() if id != CASH} == bad
        # Taken back again, with its fee.
        back = {"execution_id": 3, "venue_execution_id": "x3", "kind": "cancel", "reference": "x2", "executed_at": 30.0}
        platform["executions"].append(platform["executions"][1] | back)
        platform["orders"][1].update(filled_quantity=0, status="cancelled")
        changing("positions", quantity=TEN)(platform)
        database.load(platform)
        assert checked(database.option)[POSITIONS].status == "ok"


def same_id_elsewhere() -> Platform:
    """An execution of another instrument has the same id, here and at the venue; and both are taken back there."""
    platform = tidy()
    other = {"instrument": "V0:I1", "quantity": Decimal(7)}
    platform["executions"].append(platform["executions"][0] | other | {"execution_id": 2, "order_id": 2})
    platform["venue_executions"].append(platform["venue_executions"][0] | other)
    sent = {"order_id": 2, "instrument": "V0:I1", "quantity": Decimal(7), "filled_quantity": Decimal(7)}
    platform["orders"].append(platform["orders"][0] | sent)
    for view in ("positions", "venue_positions"):
        platform[view].append(platform[view][0] | other)
    platform["prices"].append(platform["prices"][0] | {"instrument": "V0:I1", "price": Decimal(1)})
    platform["instruments"].append(platform["instruments"][0] | {"instrument": "V0:I1"})
    for row in platform["venue_statements"][:2]:
        row["record_count"] = 2
    return platform


def test_ids_that_are_unique_within_an_instrument(database: Scratch) -> None:
    platform = same_id_elsewhere()
    with with_column(database, "venues", "execution_ids", "instrument"):
        database.load(platform)
        assert {id: one for id, one in statuses(checked(database.option)).items() if id != RISK} == {}
        # One of them taken back after the cut-off: the other stays.
        back = {"execution_id": 3, "venue_execution_id": "x9", "kind": "cancel", "reference": "x1", "executed_at": 60.0}
        platform["executions"].append(platform["executions"][1] | back)
        platform["orders"][1].update(filled_quantity=0, status="cancelled")
        platform["positions"][1]["quantity"] = 0
        database.load(platform)
        assert {id: one for id, one in statuses(checked(database.option)).items() if id != RISK} == {}
        # Booked twice within the instrument.
        platform["executions"].append(platform["executions"][0] | {"execution_id": 4})
        database.load(platform)
        assert checked(database.option)["duplicate_executions"].value == 1
    database.load(same_id_elsewhere())
    bad = statuses(checked(database.option))
    assert bad["duplicate_executions"] == bad[EXECUTIONS] == "critical"


def test_scope_that_nobody_knows(database: Scratch) -> None:
    with with_column(database, "venues", "execution_ids", "Symbol"):
        database.load(tidy())
        found = checked(database.option)
    assert {found[id].status for id in ("duplicate_executions", EXECUTIONS, POSITIONS)} == {"unknown"}
    assert "Symbol" in found[EXECUTIONS].message
    assert found[CASH].status in ("ok", "unknown")


def near_the_cut_off(ours: float, listed: bool) -> Platform:
    """A fill of ours and its cash, so many s ago; the cut-off was 1800 s ago."""
    platform = tidy()
    fill = {"execution_id": 2, "order_id": 2, "venue_execution_id": "x2", "executed_at": ours, "quantity": Decimal(3)}
    platform["executions"].append(platform["executions"][0] | fill)
    platform["orders"].append(platform["orders"][0] | {"order_id": 2, "quantity": 3, "filled_quantity": Decimal(3)})
    platform["transactions"].append(
        platform["transactions"][0]
        | {"transaction_id": 2, "settled_at": ours, "amount": -15, "created_at": ours, "currency": "USD"}
    )
    platform["positions"][0]["quantity"] += 3
    platform["cash"][0]["balance"] -= 15
    if listed:
        platform["venue_executions"].append({**platform["executions"][1], "statement_id": 1})
        platform["venue_statements"][0]["record_count"] += 1
        platform["venue_positions"][0]["quantity"] += 3
        platform["venue_cash"][0]["balance"] -= 15
    return platform


@pytest.mark.parametrize(
    ("ours", "listed", "bad"),
    [
        # 1 ms before the cut-off by our clock, and after it by the venue's.
        (1800.001, False, {EXECUTIONS: "warning"}),
        (1802.0, False, {EXECUTIONS: "critical", FEES: None, POSITIONS: "critical", CASH: "critical"}),
        # And the other way round.
        (1799.999, True, {}),
        (1798.0, True, {POSITIONS: "critical", CASH: "critical"}),
    ],
)
def test_clocks_that_differ_around_the_cut_off(
    database: Scratch, ours: float, listed: bool, bad: dict[str, str | None]
) -> None:
    platform = near_the_cut_off(ours, listed)
    database.load(platform)
    known = (EXECUTIONS, POSITIONS, CASH)
    found = checked(database.option)
    wanted = {id: status for id, status in bad.items() if status}
    assert {id: one for id, one in statuses(found).items() if id in known} == wanted
    exact = statuses(checked(database.option, cutoff_tolerance=0))
    assert {POSITIONS, CASH} <= exact.keys()
    if bad.get(EXECUTIONS) == "warning":
        assert "1 execution of ours" in found[EXECUTIONS].message
        assert found[EXECUTIONS].details["unmatched_until_next_statement"] == 1
        assert exact[EXECUTIONS] == "critical"
        # The next statement does not have it either.
        more = {"statement_id": 9, "period_start": 1800.0, "as_of": 600.0, "record_count": 0}
        platform["venue_statements"].append(platform["venue_statements"][0] | more)
        database.load(platform)
        assert checked(database.option)[EXECUTIONS].status == "critical"


@pytest.mark.parametrize(("price", "kind"), [("2.51", "split"), ("4.9", "quantity"), ("0.5", "quantity")])
def test_split_that_only_we_have_booked(database: Scratch, price: str, kind: str) -> None:
    platform = tidy()
    changing("positions", quantity=TEN * 2)(platform)
    platform["prices"].append(platform["prices"][0] | {"price": Decimal(price), "observed_at": 30.0})
    database.load(platform)
    check = checked(database.option)[POSITIONS]
    assert check.status == "critical"
    assert check.details["classes"] == {kind: 1}
    assert ("Book the split" in check.remedy) == (kind == "split")
