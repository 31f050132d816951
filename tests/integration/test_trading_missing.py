"""Orders that wait, executions that no order allows, positions of another strategy, prices, and missing limits."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import Sandbox
from tests.integration.test_trading_bad_data import EXECUTIONS, POSITIONS, TEN, changing, copying, removing, tidy
from tests.integration.test_trading_closed import shop, with_column
from tests.integration.test_trading_unrecognised import Change, every
from tests.integration.trading_worker import checked, statuses
from tests.oracle.platforms import DAY, Platform
from tests.oracle.scratch import Scratch, scratch

RISK = "risk_limits:strategy/s0"
NONE = Decimal(0)


@pytest.fixture(scope="module")
def database(platform: Sandbox) -> Iterator[Scratch]:
    with scratch(platform) as found:
        yield found


def open_for(seconds: float, time_in_force: str | None, silent: bool = False, status: str = "open") -> Change:
    times = {"created_at": seconds, "acknowledged_at": None if silent else seconds}
    order = {"order_id": 2, "filled_quantity": NONE, "order_type": "limit", "time_in_force": time_in_force}
    return copying("orders", status=status, **order, **times)


def two_strategies(ours: int, theirs: int) -> Change:
    """Two strategies of one account hold the same instrument, and what each bought is another matter."""

    def change(platform: Platform) -> None:
        copying("strategies", strategy="s1")(platform)
        copying("positions", strategy="s1", quantity=Decimal(theirs))(platform)
        changing("positions", quantity=Decimal(ours))(platform)

    return change


@pytest.mark.parametrize(
    ("changes", "bad"),
    [
        # Orders that wait.
        ([open_for(59, "gtc", silent=True)], {}),
        ([open_for(70, "gtc", silent=True)], {"unacknowledged_orders": "warning"}),
        ([open_for(700, "gtc", silent=True)], {"unacknowledged_orders": "critical", "acknowledge_latency": "critical"}),
        ([open_for(7 * DAY, "gtc", silent=True)], {"unacknowledged_orders": "critical"}),
        ([open_for(50, "ioc")], {}),
        ([open_for(70, "ioc")], {"open_orders": "warning"}),
        ([open_for(23 * 3600, "day")], {}),
        ([open_for(25 * 3600, "day")], {"open_orders": "warning"}),
        ([open_for(29 * DAY, "gtc")], {}),
        ([open_for(31 * DAY, "gtc")], {"open_orders": "warning"}),
        ([open_for(70, "ioc")] * 10, {"open_orders": "critical"}),
        ([open_for(50, "GTC")], {"open_orders": "unknown"}),
        ([open_for(50, None)], {"open_orders": "unknown"}),
        # Of a moment that nobody knows, or in a word that nobody knows, however long ago.
        ([open_for(7 * DAY, "gtc", status="Open")], {"open_orders": "unknown", "unacknowledged_orders": "unknown"}),
        # What was ordered.
        ([every("orders", quantity=Decimal(9))], {"order_quantities": "critical"}),
        ([every("orders", quantity=Decimal(20))], {"order_quantities": "critical"}),
        ([every("orders", quantity=Decimal(20), status="cancelled")], {}),
        ([every("orders", quantity=None)], {"order_quantities": "critical"}),
        ([every("orders", status="rejected")], {"order_quantities": "critical"}),
        # Whose position it is: the account's sum is right.
        ([two_strategies(510, -500)], {"strategy_positions": "critical", "unlimited_strategies": "critical"}),
        # A phantom at a place without a statement since: nobody else would see it.
        (
            [changing("positions", strategy="s1")],
            {"strategy_positions": "critical", "unlimited_strategies": "critical"},
        ),
        # Prices of what is held.
        ([changing("prices", observed_at=1.5 * DAY)], {"old_prices": "warning"}),
        ([changing("prices", observed_at=4.0 * DAY)], {"old_prices": "critical"}),
        ([changing("prices", observed_at=-4.0 * DAY)], {"old_prices": "unknown", "price_jumps": "unknown"}),
        ([removing("prices")], {"old_prices": "unknown", "price_jumps": "unknown"}),
        ([copying("prices", price=Decimal("5.9"), observed_at=30.0)], {}),
        ([copying("prices", price=Decimal("6.3"), observed_at=30.0)], {"price_jumps": "warning"}),
        ([copying("prices", price=Decimal("3.9"), observed_at=30.0)], {"price_jumps": "warning"}),
        ([copying("prices", price=Decimal("0.0000001"), observed_at=30.0)], {"price_jumps": "critical"}),
        ([copying("prices", price=Decimal(50000), observed_at=3600.0)], {"price_jumps": "critical"}),
        # From the last price before the day to the first within it.
        ([copying("prices", price=Decimal(50), observed_at=3.0 * DAY)], {"price_jumps": "critical"}),
        ([copying("prices", price=NONE, observed_at=3600.0)], {"price_jumps": "unknown"}),
        ([copying("prices", instrument="V0:I9", observed_at=9.0 * DAY)], {}),
        # Limits.
        ([changing("risk_limits", active=False)], {"disabled_limits": "warning"}),
        ([every("risk_limits", active=False)], {"disabled_limits": "warning", "unlimited_strategies": "critical"}),
        ([removing("risk_limits")], {"disabled_limits": "unknown", "unlimited_strategies": "critical"}),
        ([copying("strategies", strategy="s1")], {"unlimited_strategies": "critical"}),
        ([copying("strategies", strategy="s1", expected_state="stopped", observed_state="stopped")], {}),
        (
            [copying("strategies", strategy="s1"), copying("risk_limits", limit_id=9, scope="account", subject="A0")],
            {"unlimited_strategies": "warning"},
        ),
    ],
)
def test_found(database: Scratch, changes: list[Change], bad: dict[str, str]) -> None:
    damaged = tidy()
    for change in changes:
        change(damaged)
    database.load(damaged)
    found = checked(database.option, minimum_orders=1)
    names = {*NEW, *bad}
    assert {id: status for id, status in statuses(found).items() if id in names} == bad
    assert all(found[id].remedy for id in bad)


NEW: tuple[str, ...] = (
    "unacknowledged_orders",
    "open_orders",
    "order_quantities",
    "strategy_positions",
    "old_prices",
    "price_jumps",
)
NEW += ("unlimited_strategies", "disabled_limits")


def test_classes(database: Scratch) -> None:
    for changes, check, classes in (
        ([every("orders", quantity=Decimal(9))], "order_quantities", {"beyond_quantity": 1}),
        ([every("orders", quantity=Decimal(20))], "order_quantities", {"half_filled": 1}),
        ([two_strategies(510, -500)], "strategy_positions", {"between_strategies": 2}),
        ([changing("positions", quantity=Decimal(11))], "strategy_positions", {"quantity": 1}),
    ):
        damaged = tidy()
        for change in changes:
            change(damaged)
        database.load(damaged)
        found = checked(database.option)
        assert found[check].details["classes"] == classes
        assert found[EXECUTIONS].status == "ok"
        if "quantity" not in classes:
            assert found[POSITIONS].status == "ok"


def test_orders_of_a_day_count_days_on_which_their_market_is_open(database: Scratch) -> None:
    damaged = tidy()
    open_for(2.5 * DAY, "day")(damaged)
    with with_column(database, "venues", "calendar", "shop"):
        database.load(damaged)
        assert checked(database.option, calendars=shop())["open_orders"].status == "ok"
        assert checked(database.option)["open_orders"].status == "warning"
        # So do prices.
        changing("prices", observed_at=2.5 * DAY)(damaged)
        database.load(damaged)
        assert checked(database.option, calendars=shop())["old_prices"].status == "ok"
        assert checked(database.option)["old_prices"].status == "critical"


TRANSFERS = "CREATE TABLE maintenance.position_transfers (strategy text, account text, venue text, instrument text, "
TRANSFERS += "quantity numeric, at timestamptz); GRANT SELECT ON maintenance.position_transfers TO maintenance"


def test_what_moved_without_an_execution(database: Scratch) -> None:
    damaged = tidy()
    two_strategies(510, -500)(damaged)
    database.load(damaged)
    database.cursor.execute(TRANSFERS)
    try:
        assert checked(database.option)["strategy_positions"].details["count"] == 2
        move = "INSERT INTO maintenance.position_transfers VALUES ('s0', 'A0', 'V0', 'V0:I0', 500, {0}), "
        move += "('s1', 'A0', 'V0', 'V0:I0', -500, {0})"
        database.cursor.execute(move.format("now() - interval '1 year'"))
        assert checked(database.option)["strategy_positions"].status == "ok"
        database.cursor.execute("UPDATE maintenance.position_transfers SET at = now() + interval '1 year'")
        assert checked(database.option)["strategy_positions"].details["classes"] == {"not_a_number": 2}
        # Half a view is none.
        database.cursor.execute("ALTER TABLE maintenance.position_transfers DROP COLUMN at")
        check = checked(database.option)["strategy_positions"]
        assert check.status == "unknown"
        assert "has no column at" in check.message
    finally:
        database.cursor.execute("DROP TABLE maintenance.position_transfers")


def test_breaks_of_strategies_are_carried_on(database: Scratch) -> None:
    damaged = tidy()
    two_strategies(510, -500)(damaged)
    changing("orders", quantity=TEN - 1)(damaged)
    database.load(damaged)
    first = checked(database.option)
    earlier: dict[str, Any] = {check.id: check.as_dict()["details"] for check in first.values()}
    second = checked(database.option, earlier)
    for name, count in (("strategy_positions", 2), ("order_quantities", 1)):
        assert second[name].details["carried"] == count
        assert second[name].details["new"] == 0


def test_fewer_instances_than_declared_are_critical(database: Scratch) -> None:
    damaged = tidy()
    copying("heartbeat", instance="i1", beat_at=70.0)(damaged)
    copying("heartbeat", instance="i2", beat_at=86400.0)(damaged)
    database.load(damaged)
    for declared, status in ((-1, "ok"), (2, "ok"), (3, "critical")):
        check = checked(database.option, instances=declared)["platform_heartbeat"]
        assert check.status == status
    assert check.message == "2 of 3 declared instances are alive."
    assert check.remedy
