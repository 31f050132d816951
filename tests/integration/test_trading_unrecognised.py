"""What is not recognised is never good: times, numbers, words, types and settings that hide what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import Sandbox
from tests.integration.test_trading_bad_data import CASH, EXECUTIONS, FEES, POSITIONS, TEN, changing, copying, tidy
from tests.integration.trading_worker import checked, statuses
from tests.oracle.platforms import DAY, Platform
from tests.oracle.scratch import Scratch, administrator, scratch

RISK = "risk_limits:strategy/s0"
YEAR = 365.0 * DAY
INFINITE = Decimal("Infinity")
Change = Callable[[Platform], None]


@pytest.fixture(scope="module")
def database(platform: Sandbox) -> Iterator[Scratch]:
    with scratch(platform) as found:
        yield found


def every(view: str, **values: Any) -> Change:
    def change(platform: Platform) -> None:
        for row in platform[view]:
            row.update(values)

    return change


def many_orders(status: str, count: int = 150) -> Change:
    """As many orders again as were rejected, in another word."""

    def change(platform: Platform) -> None:
        row = platform["orders"][0]
        for number in range(2, 2 + count):
            more = {"order_id": number, "filled_quantity": Decimal(0), "acknowledged_at": None}
            platform["orders"].append(row | more | {"status": status})

    return change


PHANTOM = [
    copying("executions", execution_id=2, order_id=2, venue_execution_id="x2", executed_at=-YEAR),
    copying("orders", order_id=2),
    changing("positions", quantity=TEN * 2),
]
DEPOSIT = [
    copying("transactions", transaction_id=2, amount=5000000, settled_at=-YEAR),
    changing("cash", balance=5000100),
]


@pytest.mark.parametrize(
    ("changes", "bad"),
    [
        # Of the future: position, order and cash raised to match.
        (PHANTOM, {EXECUTIONS: "critical", FEES: None, POSITIONS: "critical", RISK: None}),
        ([*PHANTOM, every("executions", executed_at=float("-inf"))], {EXECUTIONS: "critical", POSITIONS: "critical"}),
        (DEPOSIT, {CASH: "critical"}),
        (
            [copying("transactions", transaction_id=2, status="failed", settled_at=None, resolved_at=-YEAR)],
            {"failed_transactions": "warning"},
        ),
        # Infinite on both sides is no agreement.
        ([every("executions", fee=INFINITE), every("venue_executions", fee=INFINITE)], {EXECUTIONS: "critical"}),
        ([every("cash", balance=INFINITE), every("venue_cash", balance=INFINITE)], {CASH: "critical"}),
        ([every("positions", quantity=INFINITE), every("venue_positions", quantity=INFINITE)], {POSITIONS: "critical"}),
        ([every(view, quantity=-INFINITE) for view in ("positions", "venue_positions")], {POSITIONS: "critical"}),
        (
            [
                every("executions", quantity=INFINITE),
                every("venue_executions", quantity=INFINITE),
                every("orders", filled_quantity=INFINITE, created_at=30.0 * DAY, acknowledged_at=30.0 * DAY),
            ],
            {EXECUTIONS: "critical", "filled_quantities": "critical"},
        ),
        ([every("transactions", status="pending", amount=INFINITE)], {"stuck_amount": "unknown"}),
        # An account that views of books and statements leave out, and those of trading do not.
        (
            [
                copying("executions", execution_id=2, order_id=2, venue_execution_id="x9", account="A1"),
                copying("venue_executions", venue_execution_id="x9", account="A1", statement_id=1),
                changing("venue_statements", record_count=2),
                copying("orders", order_id=2, account="A1"),
            ],
            {POSITIONS: "unknown", CASH: "unknown", "venue_statements": "critical"},
        ),
        (
            [copying("orders", order_id=2, account="A1", status="open", filled_quantity=Decimal(0))],
            {POSITIONS: "unknown", CASH: "unknown", "venue_statements": "critical"},
        ),
        # Words.
        ([many_orders("REJECTED")], {"reject_ratio": "unknown", "fill_ratio": "unknown"}),
        ([many_orders("rejected")], {"reject_ratio": "critical"}),
        ([every("orders", status="Filled")], {"reject_ratio": "unknown", "acknowledge_latency": "unknown"}),
        ([every("orders", order_type="MARKET")], {"execution_latency": "unknown"}),
        ([every("orders", order_type=None)], {"execution_latency": "unknown"}),
        (
            [every("executions", kind="Trade"), every("venue_executions", kind="Trade")],
            {"execution_latency": "unknown", "slippage": "unknown"},
        ),
        (
            [copying("transactions", transaction_id=2, status="SETTLED", created_at=60.0)],
            {"stuck_transactions": "unknown", "stuck_amount": "unknown"},
        ),
        ([every("strategies", expected_state="Runing", observed_state="Runing")], {"strategy_state:s0": "unknown"}),
        ([copying("venue_statements", statement_id=9, kind="Positions")], {"venue_statements": "critical"}),
    ],
)  # fmt: skip
def test_never_ok(database: Scratch, changes: list[Change], bad: dict[str, str | None]) -> None:
    damaged = tidy()
    for change in changes:
        change(damaged)
    database.load(damaged)
    found = statuses(checked(database.option, minimum_orders=1))
    wanted = {id: status for id, status in bad.items() if status}
    assert {id: found.get(id) for id in wanted} == wanted


def test_the_word_is_named(database: Scratch) -> None:
    damaged = tidy()
    many_orders("REJECTED")(damaged)
    database.load(damaged)
    check = checked(database.option)["reject_ratio"]
    assert "150 orders" in check.message
    assert "REJECTED" in check.message
    assert "rejected" in check.remedy


HUGE = Decimal(10) ** 27


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ([every("positions", quantity=HUGE), every("venue_positions", quantity=HUGE)], HUGE * 5 / 70),
        ([every("prices", price=Decimal(10) ** 40)], TEN * 10**40 / 70),
        ([every("risk_limits", limit_value=Decimal("1e-25"))], TEN * 5 / Decimal("1e-25")),
        ([every("equity", equity=Decimal("1e-30"))], 50 / Decimal("1e-30") / 70),
        ([every("prices", price=Decimal(10) ** 900)], TEN * Decimal(10) ** 900 / 70),
    ],
)
def test_numbers_that_decimal_does_not_keep_by_itself(database: Scratch, changes: list[Change], value: Decimal) -> None:
    damaged = tidy()
    for change in changes:
        change(damaged)
    database.load(damaged)
    found = checked(database.option)
    assert {id: status for id, status in statuses(found).items() if id.startswith("risk")} == {RISK: "critical"}
    assert abs(found[RISK].value / value - 1) < Decimal("1e-20")
    assert len(found[RISK].message) < 1000


@contextmanager
def undone(cursor: Any, do: str, undo: str) -> Iterator[None]:
    cursor.execute(do)
    try:
        yield
    finally:
        cursor.execute(undo)


@pytest.mark.parametrize("type", ["real", "double precision"])
def test_money_and_quantities_are_no_floats(database: Scratch, type: str) -> None:
    damaged = tidy()
    damaged["cash"][0]["balance"], damaged["venue_cash"][0]["balance"] = 123456789, 123456790
    change = "; ".join(f"ALTER TABLE maintenance.{view} ALTER balance TYPE {{0}}" for view in ("cash", "venue_cash"))
    with undone(database.cursor, change.format(type), change.format("numeric")):
        database.load(damaged)
        found = checked(database.option)
    assert statuses(found) == {CASH: "unknown"}
    assert f"is {type}" in found[CASH].message
    assert "numeric" in found[CASH].remedy


@pytest.mark.parametrize("type", ["bigint", "maintenance.amount"])
def test_whole_numbers_and_domains_are_exact(database: Scratch, type: str) -> None:
    columns = {"executions": ("quantity", "price", "fee"), "venue_executions": ("quantity", "price", "fee"),
               "positions": ("quantity",), "orders": ("filled_quantity", "arrival_price"), "cash": ("balance",),
               "transactions": ("amount",), "prices": ("price",), "risk_limits": ("limit_value",)}  # fmt: skip

    def change(to: str) -> str:
        return ";".join(
            f"ALTER TABLE maintenance.{view} ALTER {name} TYPE {to}"
            for view, names in columns.items()
            for name in names
        )

    database.cursor.execute("CREATE DOMAIN maintenance.amount AS numeric CHECK (value IS NOT NULL)")
    with undone(database.cursor, f"TRUNCATE maintenance.risk_limits; {change(type)}", change("numeric")):
        database.load(tidy())
        assert statuses(checked(database.option)) == {}
    database.cursor.execute("DROP DOMAIN maintenance.amount")


def test_ids_may_be_text(database: Scratch) -> None:
    change = ";".join(
        f"ALTER TABLE maintenance.{view} ALTER {name} TYPE {{0}} USING {name}::{{0}}"
        for view, name in (("orders", "order_id"), ("executions", "order_id"), ("transactions", "transaction_id"))
    )
    with undone(database.cursor, change.format("text"), change.format("bigint")):
        database.load(tidy())
        assert statuses(checked(database.option)) == {}


def test_settings_of_the_database_do_not_change_what_statements_mean(database: Scratch, platform: Sandbox) -> None:
    name = database.option["name"]
    damaged = tidy()
    changing("cash", balance=101)(damaged)
    database.load(damaged)
    lie = "CREATE FUNCTION public.abs(numeric) RETURNS numeric LANGUAGE sql AS 'SELECT 0::numeric'"
    with undone(database.cursor, lie, "DROP FUNCTION public.abs(numeric)"):
        for setting in ("search_path = public, pg_catalog", "quote_all_identifiers = on", "datestyle = 'SQL, DMY'"):
            with administrator(platform, "postgres") as server:
                server.execute(f"ALTER DATABASE {name} SET {setting}")
                try:
                    assert statuses(checked(database.option, cash_tolerance="0.5")) == {CASH: "critical"}
                finally:
                    server.execute(f"ALTER DATABASE {name} RESET ALL")


def test_rows_that_row_security_leaves_out_are_not_absent(database: Scratch) -> None:
    database.load(tidy())
    hide = "ALTER TABLE maintenance.cash ENABLE ROW LEVEL SECURITY; CREATE POLICY hide ON maintenance.cash "
    hide += "USING (account <> 'A0')"
    show = "DROP POLICY hide ON maintenance.cash; ALTER TABLE maintenance.cash DISABLE ROW LEVEL SECURITY"
    with undone(database.cursor, hide, show):
        found = checked(database.option)
    assert {found[id].status for id in (CASH, POSITIONS, EXECUTIONS, "venue_statements")} == {"unknown"}
    assert "row-level security" in found[CASH].message
    assert "BYPASSRLS" in found[CASH].remedy
