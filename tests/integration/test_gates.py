"""What the gates read of a database that trades."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._gates import engine, options, trading

from tests.conftest import Sandbox
from tests.integration.trading_worker import altered, changed


def live(platform: Sandbox, **more: Any) -> trading.Live:
    given = options.settled({"procedure": "migrate", "gates": [], "environment_name": "local", **more})
    return trading.ask(platform.database, given, time.time, True)


def status(found: trading.Live, name: str) -> str:
    return next(check.status for check in found.checks if check.id == f"gate.trading_state:{name}")


AT_REST = "UPDATE orders SET status = 'cancelled' WHERE status = 'open'"
OPENED = (
    "UPDATE orders SET status = 'open', time_in_force = '{force}', filled_quantity = {filled}, "
    "acknowledged_at = {acknowledged} WHERE id = (SELECT max(id) FROM orders)"
)


def opened(force: str = "gtc", filled: str = "0", acknowledged: str = "created_at") -> str:
    return OPENED.format(force=force, filled=filled, acknowledged=acknowledged)


def test_a_platform_at_rest_and_its_venues(platform: Sandbox) -> None:
    with changed(platform, AT_REST):
        found = live(platform)
        assert (status(found, "orders"), status(found, "transactions")) == ("ok", "ok")
        assert dict(found.venues or []) == {
            "COINX": "24/7",
            "BITNORD": "24/7",
            "FXHUB": "24/5",
            "XNYS": "XNYS",
            "XETR": "XETR",
        }
        assert found.now is not None
        assert abs(found.now - time.time()) < 3600


@pytest.mark.parametrize(
    ("statement", "resting", "expected"),
    [
        (opened("day"), ["gtc"], "critical"),
        (opened("gtc"), [], "critical"),
        (opened("gtc"), ["gtc"], "ok"),
        # Half filled, or without the venue's word, it is on its way whatever it is.
        (opened("gtc", filled="0.1"), ["gtc"], "critical"),
        (opened("gtc", acknowledged="NULL"), ["gtc"], "critical"),
        (opened("gtc", acknowledged="now() + interval '1 day'"), ["gtc"], "critical"),
    ],
)
def test_orders_on_their_way(platform: Sandbox, statement: str, resting: list[str], expected: str) -> None:
    with changed(platform, AT_REST, statement):
        assert status(live(platform, resting_orders=resting), "orders") == expected


def test_transactions_on_their_way(platform: Sandbox) -> None:
    pending = "UPDATE transactions SET status = 'pending' WHERE id = (SELECT max(id) FROM transactions)"
    with changed(platform, pending):
        assert status(live(platform), "transactions") == "critical"
        assert status(live(platform, pending_transactions=True), "transactions") == "ok"


VIEW = "ALTER VIEW maintenance.{view} RENAME TO {to}"


@pytest.mark.parametrize(("view", "name"), [("orders", "orders"), ("transactions", "transactions")])
def test_a_view_that_is_missing_leaves_its_gate_unknown(platform: Sandbox, view: str, name: str) -> None:
    away = VIEW.format(view=view, to="gone"), VIEW.format(view="gone", to=view)
    with altered(platform, *away):
        assert status(live(platform), name) == "unknown"


def test_without_the_view_of_venues_no_market_is_known(platform: Sandbox) -> None:
    with altered(platform, VIEW.format(view="venues", to="gone"), VIEW.format(view="gone", to="venues")):
        found = live(platform)
        assert found.venues is None
        assert "maintenance.venues" in found.why[0]


def test_a_venue_that_is_traded_at_and_not_declared_is_named(platform: Sandbox) -> None:
    elsewhere = "UPDATE positions SET venue_code = 'DARK' WHERE ctid = (SELECT max(ctid) FROM positions)"
    with changed(platform, elsewhere):
        found = live(platform)
        assert ("DARK", None) in (found.venues or [])


def test_a_database_that_is_down_is_unknown(platform: Sandbox) -> None:
    given = {
        "procedure": "migrate",
        "gates": ["market", "trading_state"],
        "environment_name": "local",
        "database": {**platform.database, "port": 1},
    }
    found = engine.ask(given)
    assert found.word == "refuse"
    assert {check.status for check in found.checks if check.id.startswith("gate.trading_state")} == {"unknown"}
