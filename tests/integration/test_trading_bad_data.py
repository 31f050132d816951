"""What no database of a platform should allow, but a view may well contain: never a false ok.

On tables in place of the views, for what the sandbox's own tables would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from tests.conftest import Sandbox
from tests.integration.trading_worker import checked, statuses
from tests.oracle.platforms import DAY, Platform
from tests.oracle.scratch import Scratch, scratch

EXECUTIONS, POSITIONS, CASH = "reconcile_executions", "reconcile_positions", "reconcile_cash"
FEES = "reconcile_fees"
#: What is not known when no statement can be relied on.
STALE = {**dict.fromkeys((EXECUTIONS, FEES, POSITIONS, CASH), "unknown"), "venue_statements": "critical"}
RISK = "risk_limits:strategy/s0"
TEN = Decimal(10)


@pytest.fixture(scope="module")
def database(platform: Sandbox) -> Iterator[Scratch]:
    with scratch(platform) as found:
        yield found


def tidy() -> Platform:
    """One strategy that bought 10 pieces before the venue's last statement."""
    platform = Platform(Random(0))
    place = {"venue": "V0", "account": "A0"}
    platform.add("venues", venue="V0", statement_interval_seconds=3600)
    state: dict[str, Any] = {"calendar": "24/7", "started_at": 9e5, "max_order_gap_seconds": 86400}
    state |= {"expected_state": "running", "observed_state": "running", "heartbeat_interval_seconds": 60}
    platform.add("strategies", strategy="s0", account="A0", last_heartbeat_at=1.0, **state)
    platform.add("heartbeat", instance="i0", beat_at=1.0, interval_seconds=60)
    platform.add("instruments", instrument="V0:I0", multiplier=1)
    platform.add("prices", instrument="V0:I0", currency="USD", price=5, observed_at=60.0)
    platform.add("equity", strategy="s0", currency="USD", day=0, equity=1000, pnl=-1, as_of=60.0)
    order = {"order_id": 1, "strategy": "s0"}
    sent: dict[str, Any] = {"time_in_force": "ioc", "quantity": TEN}
    sent |= {"side": "buy", "order_type": "market", "arrival_price": 5, "created_at": 7200.0, "acknowledged_at": 7199.9}
    platform.add("orders", instrument="V0:I0", status="filled", filled_quantity=TEN, **sent, **order, **place)
    fill = {"kind": "trade", "side": "buy", "quantity": TEN, "price": 5, "fee": 0, "fee_currency": "USD"}
    fill |= {"venue_execution_id": "x1", "instrument": "V0:I0", "executed_at": 7000.0, **place}
    platform.add("executions", execution_id=1, **order, **fill)
    platform.add("venue_executions", statement_id=1, **fill)
    platform.add("positions", strategy="s0", instrument="V0:I0", quantity=TEN, **place)
    platform.add("venue_positions", statement_id=2, instrument="V0:I0", quantity=TEN)
    platform.add("cash", currency="USD", balance=100, **place)
    platform.add("venue_cash", statement_id=3, currency="USD", balance=100)
    platform.add(
        "transactions", transaction_id=1, status="settled", amount=100, created_at=9e3, settled_at=9e3, **place
    )
    for number, kind in enumerate(("executions", "positions", "cash"), 1):
        dates = {"period_start": 8000.0, "as_of": 1800.0}
        platform.add("venue_statements", statement_id=number, kind=kind, record_count=1, **dates, **place)
    for number, metric in enumerate(("gross_exposure", "daily_loss", "leverage")):
        limit = {"limit_id": number, "scope": "strategy", "subject": "s0", "metric": metric, "limit_value": 70}
        platform.add("risk_limits", currency=None if metric == "leverage" else "USD", active=True, **limit)
    return platform


def changing(view: str, **values: Any) -> Callable[[Platform], None]:
    return lambda platform: platform[view][0].update(values)


def copying(view: str, **values: Any) -> Callable[[Platform], None]:
    return lambda platform: platform[view].append(platform[view][0] | values)


def removing(view: str) -> Callable[[Platform], None]:
    return lambda platform: platform[view].clear()


def test_tidy(database: Scratch) -> None:
    database.load(tidy())
    assert statuses(checked(database.option)) == {}


@pytest.mark.parametrize(
    ("changes", "bad"),
    [
        # Before or after the cut-off: nobody knows.
        (
            [changing("executions", executed_at=None)],
            {POSITIONS: "critical", "execution_latency": "unknown", "strategy_positions": "critical",
             "execution_times": "unknown"},
        ),
        # A cancel after the cut-off of one that is there twice, and differs.
        (
            [
                copying("executions", execution_id=2, quantity=Decimal(4)),
                copying("executions", execution_id=3, kind="cancel", reference="x1", venue_execution_id="x2",
                        executed_at=60.0),
                changing("positions", quantity=Decimal(0)),
            ],
            {POSITIONS: "critical", EXECUTIONS: "critical", "duplicate_executions": "critical",
             "filled_quantities": "critical", "order_quantities": "critical", "slippage": "unknown"},
        ),
        # Taken back on both sides, and the order goes on saying that it is filled.
        (
            [
                copying("executions", execution_id=3, kind="cancel", reference="x1", venue_execution_id="x2"),
                copying("venue_executions", kind="cancel", reference="x1", venue_execution_id="x2"),
                changing("venue_statements", record_count=2),
                changing("positions", quantity=0),
                changing("venue_positions", quantity=0),
            ],
            {"filled_quantities": "critical", "order_quantities": "critical", "slippage": "unknown"},
        ),
        # A statement without a time covers no period.
        (
            [
                changing("venue_statements", period_start=5000.0, record_count=0),
                copying("venue_statements", statement_id=9, period_start=9000.0, as_of=None),
                removing("venue_executions"),
            ],
            {EXECUTIONS: "unknown", FEES: "unknown", "venue_statements": "critical", "execution_times": "unknown"},
        ),
        # A stale statement with lines missing is no flat account.
        (
            [removing("venue_positions"), changing("venues", statement_interval_seconds=1)],
            STALE,
        ),
        # Long at one venue and short at another is no small exposure.
        (
            [copying("positions", venue="V1", quantity=-TEN)],
            {RISK: "critical", "strategy_positions": "critical", **STALE},
        ),
        ([changing("instruments", multiplier=0)], {RISK: "unknown"}),
        ([changing("instruments", multiplier=-1)], {RISK: "unknown"}),
        ([copying("instruments", multiplier=50)], {RISK: "unknown", "duplicates:instruments": "critical"}),
        ([changing("equity", day=None)], {RISK: "unknown", "duplicates:equity": "unknown"}),
        ([changing("equity", currency="")], {RISK: "unknown"}),
        ([changing("prices", currency=None)], {RISK: "unknown"}),
        (
            [changing("positions", instrument=None)],
            {RISK: "unknown", POSITIONS: "critical", "strategy_positions": "critical", "old_prices": "unknown",
             "price_jumps": "unknown", "duplicates:positions": "unknown"},
        ),
        (
            [copying("cash", venue=None), copying("cash", account=None), copying("cash", account="", venue=None)],
            {**STALE, "duplicates:cash": "unknown"},
        ),
        # A day to come, with nothing lost in it; a day long gone, written anew a minute ago.
        ([copying("equity", day=-400, pnl=0)], {RISK: "unknown"}),
        ([changing("equity", day=9)], {RISK: "unknown"}),
        # What a strategy holds that is gone, or at rest, no limit holds.
        (
            [changing("positions", strategy="s1"), changing("executions", strategy="s1")],
            {"unlimited_strategies": "critical"},
        ),
        (
            [
                copying("strategies", strategy="s1", expected_state="retired", observed_state="retired"),
                changing("positions", strategy="s1"),
                changing("executions", strategy="s1"),
            ],
            {"unlimited_strategies": "critical"},
        ),
        ([copying("strategies", strategy="s1", expected_state="retired", observed_state="retired")], {}),
        # Money of no currency on both sides.
        (
            [
                changing("executions", fee=Decimal(1), fee_currency=None),
                changing("venue_executions", fee=Decimal(1), fee_currency=None),
            ],
            {EXECUTIONS: "critical"},
        ),
        (
            [changing("executions", fee_currency=None), changing("venue_executions", fee_currency=None)],
            {},
        ),
        # Nobody has dealt with what had not failed yet.
        (
            [copying("transactions", transaction_id=2, status="failed", created_at=60.0, resolved_at=9e5)],
            {"failed_transactions": "warning"},
        ),
        (
            [copying("transactions", transaction_id=2, status="pending", created_at=-2.0 * DAY)],
            {"stuck_transactions": "unknown"},
        ),
        (
            [copying("transactions", transaction_id=2, status="failed", created_at=-2.0 * DAY)],
            {"failed_transactions": "warning", "failed_age": "unknown"},
        ),
    ],
)  # fmt: skip
def test_bad_data(database: Scratch, changes: list[Callable[[Platform], None]], bad: dict[str, str]) -> None:
    damaged = tidy()
    for change in changes:
        change(damaged)
    database.load(damaged)
    found = checked(database.option)
    assert statuses(found) == bad
    assert all(found[id].remedy for id in bad)


def test_breaks_that_are_allowed_do_not_vouch_for_a_stale_statement(database: Scratch) -> None:
    damaged = tidy()
    changing("cash", balance=101)(damaged)
    allowed = {"reconcile_cash": {"warning": 1, "critical": 5}}
    database.load(damaged)
    assert statuses(checked(database.option, thresholds=allowed)) == {CASH: "warning"}
    changing("venues", statement_interval_seconds=1)(damaged)
    database.load(damaged)
    assert checked(database.option, thresholds=allowed)[CASH].status == "unknown"
    assert checked(database.option)[CASH].status == "critical"
