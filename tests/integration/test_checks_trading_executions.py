"""Latency, slippage, filled quantities and orders that are due, seeded in a sandbox's own books."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import trading
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.facts import FACTS

from tests.conftest import Sandbox
from tests.integration.trading_worker import altered, changed, measured, statuses

LAST_DAY = "created_at > now() - interval '1 day'"
#: All executed orders of the last day bought 1 at 100, acknowledged after 10 ms and executed after 20.
SIMPLE = (
    f"DELETE FROM executions WHERE order_id IS NULL OR order_id NOT IN (SELECT id FROM orders WHERE {LAST_DAY})",
    "DELETE FROM executions a USING executions b WHERE a.order_id = b.order_id AND a.id > b.id",
    f"""UPDATE orders SET side = 'buy', arrival_price = 100, order_type = 'market', status = 'filled',
        acknowledged_at = created_at + interval '10 ms', filled_quantity = 1 WHERE {LAST_DAY}""",
    """UPDATE executions e SET quantity = 1, price = 100, kind = 'trade', reference = NULL,
       executed_at = o.created_at + interval '20 ms' FROM orders o WHERE o.id = e.order_id""",
)
FIRST = "(SELECT min(order_id) FROM executions)"


def test_healthy(platform: Sandbox) -> None:
    found = measured(platform, minimum_orders=1)
    assert statuses(found) == {}
    latency = found["acknowledge_latency"]
    assert latency.details["p50"] <= latency.details["p95"] == latency.value <= latency.details["p99"]
    assert found["execution_latency"].details["limit_orders"]["count"] > 0
    assert found["slippage"].details["p50"] < 10
    assert found["filled_quantities"].details["orders"] > 1000
    # A small platform has too few orders in a day to judge, and says so.
    assert "too few to judge" in measured(platform)["slippage"].message


def test_figures(platform: Sandbox) -> None:
    # One order of two executions, 1 at 101 and 3 at 103: on average 102.5, 250 basis points.
    more = f"""INSERT INTO executions (order_id, venue_code, venue_execution_id, reference, kind, strategy_code,
               account_code, instrument_code, side, quantity, price, fee, fee_currency, executed_at, received_at)
               SELECT order_id, venue_code, {{}}, strategy_code, account_code, instrument_code, side, 3, {{}}, 0,
               fee_currency, executed_at + interval '1 min', now() FROM executions
               WHERE order_id = {FIRST} AND reference IS NULL ORDER BY id LIMIT 1"""
    second = more.format("'second', NULL, 'trade'", 103)
    with changed(platform, *SIMPLE, f"UPDATE executions SET price = 101 WHERE order_id = {FIRST}", second):
        found = measured(platform, minimum_orders=1)
        assert (found["acknowledge_latency"].value, found["execution_latency"].value) == (10, 20)
        slippage = found["slippage"].details
        assert slippage["p50"] == 0
        assert slippage["mean"] == pytest.approx(250 / slippage["counted"], abs=0.001)
        assert found["filled_quantities"].details["classes"] == {"too_little_filled": 1}
        # For a seller a higher price is better.
        with changed(platform, f"UPDATE orders SET side = 'sell' WHERE {LAST_DAY}"):
            assert measured(platform)["slippage"].details["mean"] == -slippage["mean"]
        # Corrected to 101, then taken back: what was replaced counts no more.
        with changed(platform, more.format("'third', 'second', 'correct'", 101)):
            corrected = measured(platform)
            assert corrected["slippage"].details["mean"] == pytest.approx(100 / slippage["counted"], abs=0.001)
            assert corrected["filled_quantities"].details["first"][0]["executed"] == "4"
        with changed(platform, more.format("'third', 'second', 'cancel'", 103)):
            assert measured(platform)["filled_quantities"].status == "ok"


WAITING = {"acknowledge": "critical", "fill_ratio": "unknown"}


@pytest.mark.parametrize(
    ("statement", "bad"),
    [
        (
            f"UPDATE orders SET acknowledged_at = created_at + interval '2 s' WHERE {LAST_DAY}",
            {"acknowledge": "warning"},
        ),
        (
            f"UPDATE orders SET acknowledged_at = created_at + interval '1 min' WHERE {LAST_DAY}",
            {"acknowledge": "critical"},
        ),
        # Nobody answers, and the orders wait.
        (f"UPDATE orders SET acknowledged_at = NULL, status = 'open' WHERE {LAST_DAY}", WAITING),
        (
            f"UPDATE orders SET acknowledged_at = created_at - interval '1 ms' WHERE {LAST_DAY}",
            {"acknowledge": "unknown"},
        ),
        (f"UPDATE orders SET acknowledged_at = NULL WHERE {LAST_DAY}", {"acknowledge": "unknown"}),
        ("UPDATE executions SET executed_at = executed_at + interval '6 s'", {"execution": "critical"}),
        (
            f"UPDATE executions SET executed_at = executed_at - interval '1 s' WHERE order_id = {FIRST}",
            {"execution": "unknown"},
        ),
        ("UPDATE executions SET executed_at = 'infinity'", {"execution": "unknown"}),
        ("UPDATE executions SET price = 100.5", {"slippage": "warning"}),
        ("UPDATE executions SET price = 101", {"slippage": "critical"}),
        ("UPDATE executions SET price = 99", {}),
        (f"UPDATE orders SET arrival_price = NULL WHERE {LAST_DAY}", {"slippage": "unknown"}),
        (f"UPDATE orders SET arrival_price = NULL WHERE id = {FIRST}", {}),
        (f"UPDATE orders SET arrival_price = 0 WHERE id = {FIRST}", {"slippage": "unknown"}),
        (f"UPDATE orders SET arrival_price = 'NaN' WHERE id = {FIRST}", {"slippage": "unknown"}),
        (f"UPDATE executions SET price = 'NaN' WHERE order_id = {FIRST}", {"slippage": "unknown"}),
        (f"UPDATE executions SET price = -1 WHERE order_id = {FIRST}", {"slippage": "unknown"}),
        (f"UPDATE executions SET quantity = 0 WHERE order_id = {FIRST}", {"slippage": "unknown", "filled": "critical"}),
        (
            f"UPDATE executions SET quantity = -1 WHERE order_id = {FIRST}",
            {"slippage": "unknown", "filled": "critical"},
        ),
        (
            f"UPDATE executions SET quantity = 'NaN' WHERE order_id = {FIRST}",
            {"slippage": "unknown", "filled": "critical"},
        ),
        (
            f"UPDATE orders SET filled_quantity = 'NaN' WHERE id = {FIRST}",
            {"filled": "critical", "fill_ratio": "unknown"},
        ),
        (f"UPDATE orders SET filled_quantity = 0.9999 WHERE id = {FIRST}", {"filled": "critical"}),
    ],
)
def test_trouble(platform: Sandbox, statement: str, bad: dict[str, str]) -> None:
    names = ("acknowledge", "execution_latency", "slippage", "filled", "fill_ratio")
    with changed(platform, *SIMPLE, statement):
        found = measured(platform, minimum_orders=1)
    told = {id: check for id, check in found.items() if id.startswith(names) and check.status != "ok"}
    short = {id if id == "fill_ratio" else id.partition("_")[0]: check.status for id, check in told.items()}
    assert short == bad
    assert all(check.remedy for check in told.values())


def test_only_limit_orders_are_reported_and_not_judged(platform: Sandbox) -> None:
    with changed(platform, *SIMPLE, f"UPDATE orders SET order_type = 'limit' WHERE {LAST_DAY}"):
        check = measured(platform, minimum_orders=1)["execution_latency"]
    assert (check.status, check.value, check.critical) == ("ok", 20, None)


def test_nothing_executed_is_unknown(platform: Sandbox) -> None:
    with changed(platform, "DELETE FROM executions"):
        found = measured(platform)
    assert {found[id].status for id in ("execution_latency", "slippage", "filled_quantities")} == {"unknown"}


def test_orders_due(platform: Sandbox) -> None:
    mine = "strategy_code = 'trend-coins'"
    with changed(platform, f"DELETE FROM orders WHERE {mine} AND created_at > now() - interval '80 days'"):
        assert statuses(measured(platform))["orders_due:trend-coins"] == "critical"
    with changed(platform, f"DELETE FROM orders WHERE {mine}"):
        check = measured(platform)["orders_due:trend-coins"]
        assert check.status == "critical"
        assert "never" in check.message
        with changed(platform, "UPDATE strategies SET started_at = now()"):
            assert measured(platform)["orders_due:trend-coins"].status == "ok"
    # Nothing trades in a sandbox after its start: it must be green for as long as make daily keeps it.
    with changed(platform, "UPDATE orders SET created_at = created_at - interval '20 hours'"):
        assert not [id for id in statuses(measured(platform)) if id.startswith("orders_due")]
    with changed(platform, "UPDATE strategies SET max_order_gap_seconds = 1, calendar = 'nowhere'"):
        due = {check.status for id, check in measured(platform).items() if id.startswith("orders_due:")}
        assert due == {"unknown"}
    with changed(platform, "UPDATE strategies SET max_order_gap_seconds = 1, calendar = 'desk'"):
        desk = {"timezone": "UTC", "sessions": {"mon": ["00:00", "00:01"]}, "half_days": {}}
        found = measured(platform, calendars={"desk": desk})
        assert "desk" in found["orders_due:trend-coins"].message


def test_one_strategy_only(platform: Sandbox) -> None:
    one = "strategy_code = 'value-eu'"
    tables = ("orders", "executions", "positions", "equity")
    places = "account_code = 'HOUSE-EU'"
    with changed(
        platform,
        "DELETE FROM strategies WHERE code <> 'value-eu'",
        *(f"DELETE FROM {table} WHERE NOT {one}" for table in tables),
        *(f"DELETE FROM {table} WHERE NOT {places}" for table in ("cash_balances", "venue_statements", "transactions")),
        "DELETE FROM venue_executions WHERE statement_id NOT IN (SELECT id FROM venue_statements)",
        "DELETE FROM risk_limits WHERE subject <> 'value-eu'",
    ):
        found = measured(platform)
    assert found["strategies"].value == 1
    assert {id for id in found if id.startswith("orders_due:")} == {"orders_due:value-eu"}
    # Its account has another strategy's executions in the statements: these are breaks, and nothing is lost.
    assert found["reconcile_executions"].details["classes"].keys() == {"missing_here"}
    assert found["reconcile_cash"].status == found["risk_limits:strategy/value-eu"].status == "ok"


def test_database_in_another_zone_and_with_other_formats(platform: Sandbox) -> None:
    base = measured(platform)
    odd = {"timezone": "Pacific/Chatham", "datestyle": "German, DMY", "intervalstyle": "sql_standard"}
    database = platform.state["postgres"]["database"]
    setting = [f"ALTER DATABASE \"{database}\" SET {name} TO '{value}'" for name, value in odd.items()]
    back = [f'ALTER DATABASE "{database}" RESET {name}' for name in odd]
    with changed(platform, *setting):
        try:
            found = measured(platform)
        finally:
            with changed(platform, *back):
                pass
    assert statuses(found) == {}
    assert found.keys() == base.keys()
    for id in ("reconcile_cash", "reconcile_fees", "slippage", "risk_limits:strategy/trend-coins"):
        assert found[id].value == base[id].value


VIEWS = sorted({view for probe in trading.PROBES if not probe.optional for view in probe.views})


def needed(probe: Any) -> set[str]:
    return set(probe.views).union(*(FACTS[name].views for name in probe.facts if not FACTS[name].optional))


@pytest.mark.parametrize("view", VIEWS)
def test_view_that_is_missing_leaves_the_others_alone(platform: Sandbox, view: str) -> None:
    rename = "ALTER VIEW maintenance.{} RENAME TO {}"
    with altered(platform, rename.format(view, "gone"), rename.format("gone", view)):
        found = measured(platform)
    expected = {id.partition(".")[2] for probe in trading.PROBES if view in needed(probe) for id, _ in probe.checks}
    assert statuses(found) == dict.fromkeys(expected, "unknown")
    assert all(f"no view maintenance.{view}" in found[id].message and found[id].remedy for id in expected)


def test_every_column_of_the_contract_is_needed_and_told() -> None:
    for probe in trading.PROBES:
        whole = {
            view: {name: {"type": sorted(trading.KINDS[kind])[0], "readable": True} for name, kind in columns.items()}
            for view, columns in probe.views.items()
        }
        assert trading.lack(whole, probe.views) is None
        for view, columns in probe.views.items():
            for name in columns:
                for damaged, text in (({}, "no column"), ({name: {"type": "json", "readable": True}}, "is json")):
                    rest = {key: value for key, value in whole[view].items() if key != name}
                    lacking = trading.lack({**whole, view: {**rest, **damaged}}, probe.views)
                    assert lacking is not None
                    assert text in lacking[0]
                    assert name in lacking[0]
