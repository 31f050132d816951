"""A strategy review of a sandbox: what its views say, damaged views, and the playbook."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance import reading
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.bridge import TERMS
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.columns import Rows
from ansible_collections.tradingflow.maintenance.plugins.module_utils._review import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import Sandbox
from tests.integration.trading_worker import altered, changed

RATES = {"currency": "USD", "rates": {"EUR": "FXHUB:EUR-USD"}, "paths": 100}


def last_day(platform: Sandbox) -> date:
    """The last whole day of the sandbox's history, whatever day it is by now."""
    return datetime.fromisoformat(platform.state["history"]["anchor"]).date() - timedelta(days=1)


def reviewed(platform: Sandbox, **given: Any) -> dict[str, Check]:
    given = {"database": platform.database, "until": str(last_day(platform)), **RATES, **given}
    result = ArgumentSpecValidator(options.SPEC).validate(given)
    assert not result.error_messages
    checks = engine.review(result.validated_parameters, {}).checks
    return {check.id.removeprefix("review."): check for check in checks}


def test_books_of_the_sandbox_add_up(platform: Sandbox) -> None:
    found = reviewed(platform)
    codes = {row[0] for row in platform.sql("superuser", "SELECT code FROM strategies")}
    assert {id.partition(":")[2] for id in found if id.startswith("identity:")} == codes
    assert {check.status for id, check in found.items() if id.startswith("identity:")} == {"ok"}
    figures = found["book"].details["figures"]
    assert figures["sessions"] >= 88
    assert found["concentration"].status == "ok"
    assert sum(found["concentration"].details["venue"].values()) == pytest.approx(1, abs=1e-4)
    assert {found[id].status for id in ("correlation", "ranking")} <= {"ok", "warning", "unknown"}
    assert found["diversification"].status != "unknown"
    one = platform.sql(
        "superuser",
        "SELECT (max(equity) FILTER (WHERE day = (SELECT max(day) - 1 FROM equity)))::float8 "
        "/ (SELECT capital FROM strategies WHERE code = 'trend-coins')::float8 - 1 "
        "FROM equity WHERE strategy_code = 'trend-coins'",
    )
    # By hand: what was bought and sold, by the average of what each day began with.
    traded = platform.sql(
        "superuser",
        "SELECT (sum(quantity * price) FILTER (WHERE kind <> 'cancel'))::float8 FROM executions e "
        f"WHERE strategy_code = 'trend-coins' AND executed_at < '{last_day(platform)}'::date + 1 AND NOT EXISTS "
        "(SELECT FROM executions r WHERE r.venue_code = e.venue_code AND r.reference = e.venue_execution_id)",
    )
    base = platform.sql(
        "superuser",
        "SELECT avg(equity - pnl)::float8 FROM equity WHERE strategy_code = 'trend-coins' "
        f"AND day <= '{last_day(platform)}'",
    )
    days = found["performance:trend-coins"].details["figures"]["sessions"]
    turnover = found["performance:trend-coins"].details["figures"]["turnover"]
    assert turnover == pytest.approx(traded[0][0] / base[0][0] * 365 / days, rel=1e-6)
    assert found["performance:trend-coins"].details["figures"]["twr"] == pytest.approx(one[0][0], rel=1e-9)


def test_what_a_drawdown_is_made_of(platform: Sandbox) -> None:
    found = reviewed(platform)
    told = {id.partition(":")[2]: check for id, check in found.items() if id.startswith("drawdown:")}
    below = {name: check.details["contributors"] for name, check in told.items() if "contributors" in check.details}
    assert below
    for name, parts in below.items():
        assert "unknown" not in parts, (name, parts)
        with localcontext(prec=100):
            made = sum(map(Decimal, parts["instruments"].values()), Decimal(parts["unexplained"]))
            assert made - Decimal(parts["fees"]) == Decimal(parts["money"]), name
            # The sandbox's books have no funding: instruments and fees explain all of it.
            assert Decimal(parts["unexplained"]) == 0, (name, parts)


def test_how_much_of_its_markets_a_strategy_takes(platform: Sandbox) -> None:
    assert reviewed(platform)["capacity"].status == "unknown"
    # Of each instrument and day ten times what the largest of all fills of trend-coins was: at least that much.
    view = (
        "CREATE VIEW maintenance.market_volume AS SELECT instrument, (executed_at AT TIME ZONE 'UTC')::date AS day, "
        "10 * sum(quantity) AS volume FROM maintenance.executions e WHERE kind <> 'cancel' AND NOT EXISTS (SELECT FROM "
        "maintenance.executions r WHERE r.venue = e.venue AND r.reference = e.venue_execution_id) GROUP BY 1, 2; "
        "GRANT SELECT ON maintenance.market_volume TO maintenance"
    )
    with altered(platform, view, "DROP VIEW maintenance.market_volume"):
        found = reviewed(platform)
    capacity = {id: check for id, check in found.items() if id.startswith("capacity")}
    assert "capacity" not in capacity
    check = capacity["capacity:trend-coins"]
    assert check.status in ("ok", "warning"), check.message
    assert 0 < check.value <= 10
    assert check.details["days_known"] == check.details["days_traded"] > 10


@pytest.mark.parametrize(
    ("statement", "id", "status", "why"),
    [
        (
            "UPDATE equity SET equity = equity + 0.01 WHERE strategy_code = 'pairs-us' AND day = current_date - 9",
            *("identity:pairs-us", "critical", "2 days break the identity"),
        ),
        ("UPDATE equity SET pnl = 'NaN' WHERE strategy_code = 'pairs-us'", "performance:pairs-us", "unknown", "none"),
        ("DELETE FROM equity WHERE day = current_date - 3", "performance:trend-coins", "unknown", "no equity of"),
        ("DELETE FROM equity", "book", "unknown", "its books are not right"),
        (
            "UPDATE prices SET price = 0 WHERE instrument_code = 'FXHUB:EUR-USD'",
            "book",
            "unknown",
            "not a number above",
        ),
        ("DELETE FROM prices WHERE instrument_code = 'FXHUB:EUR-USD'", "book", "unknown", "no rate of EUR"),
        ("UPDATE strategies SET calendar = 'NOPE' WHERE code = 'pairs-us'", "identity:pairs-us", "unknown", "NOPE"),
        ("UPDATE strategies SET capital = capital + 1 WHERE code = 'pairs-us'", "identity:pairs-us", "critical", "-1"),
    ],
)
def test_what_is_wrong_is_told(platform: Sandbox, statement: str, id: str, status: str, why: str) -> None:
    with changed(platform, statement):
        check = reviewed(platform)[id]
    assert (check.status, why in check.message) == (status, True), check.message


def test_flows_are_declared(platform: Sandbox) -> None:
    deposit = "UPDATE equity SET equity = equity + 5000 WHERE strategy_code = 'pairs-us' AND day >= current_date - 9"
    flows = (
        "CREATE VIEW maintenance.strategy_flows AS SELECT 'pairs-us'::text AS strategy, current_date - 9 AS day, "
        "'USD'::text AS currency, 5000::numeric AS amount; GRANT SELECT ON maintenance.strategy_flows TO maintenance"
    )
    with changed(platform, deposit):
        assert reviewed(platform)["identity:pairs-us"].status == "critical"
        with altered(platform, flows, "DROP VIEW maintenance.strategy_flows"):
            found = reviewed(platform)
    assert found["identity:pairs-us"].status == "ok"
    assert found["performance:pairs-us"].details["figures"]["flows"] == "5000"


def test_a_view_that_is_missing_or_has_another_type(platform: Sandbox) -> None:
    rename = "ALTER VIEW maintenance.equity RENAME {} TO {}"
    with altered(platform, rename.format("COLUMN pnl", "result"), rename.format("COLUMN result", "pnl")):
        found = reviewed(platform)
    assert {check.status for check in found.values()} == {"unknown"}
    assert "has no column pnl" in found["book"].message


def test_live_is_bridged_to_the_backtest(platform: Sandbox) -> None:
    found = reviewed(platform)
    for name in ("trend-coins", "grid-o'brien", "value-eu"):
        check = found[f"bridge:{name}"]
        assert check.status == "ok", check.message
        told = check.details["bridge"]
        with localcontext(prec=100):
            terms = [Decimal(told[key]) for key in (*TERMS, "expected", "residual")]
            assert sum(terms) == Decimal(told["live"])
        # By hand: what the books and the expectations say.
        rows = platform.sql(
            "superuser",
            "SELECT sum(e.pnl), sum(b.pnl), sum(b.fees - e.fees) FROM equity e JOIN backtest_expectations b "
            f"USING (strategy_code, day) WHERE strategy_code = '{name.replace(chr(39), chr(39) * 2)}' "
            f"AND day <= '{last_day(platform)}'",
        )
        assert [Decimal(told[key]) for key in ("live", "expected", "fees")] == list(rows[0])
    assert Decimal(found["bridge:trend-coins"].details["bridge"]["missed"]) != 0
    assert "Without a backtest to compare with" in found["strategies"].message


@pytest.mark.parametrize(
    ("statement", "id", "status", "why"),
    [
        # A result that no fill explains.
        (
            "UPDATE backtest_expectations SET pnl = pnl + 5000 WHERE strategy_code = 'trend-coins'",
            *("bridge:trend-coins", "warning", "Unexplained"),
        ),
        (
            "UPDATE backtest_fills SET price = 'NaN' WHERE strategy_code = 'trend-coins' AND id % 50 = 0",
            *("bridge:trend-coins", "unknown", "no side, price"),
        ),
        (
            "DELETE FROM backtest_expectations WHERE day = current_date - 30",
            *("bridge:value-eu", "unknown", "no expectation of"),
        ),
    ],
)
def test_a_bridge_that_does_not_hold(platform: Sandbox, statement: str, id: str, status: str, why: str) -> None:
    with changed(platform, statement):
        check = reviewed(platform)[id]
    assert (check.status, why in check.message) == (status, True), check.message


def test_columns_are_the_rows_of_the_view(platform: Sandbox) -> None:
    """What is read a strategy a row is what the view says row by row."""
    given = {"database": platform.database, "until": str(last_day(platform)), **RATES}
    read = reading.read(options.checked(ArgumentSpecValidator(options.SPEC).validate(given).validated_parameters))
    assert {type(rows) for rows in read.equity.values()} == {Rows}
    rows = platform.sql(
        "superuser",
        "SELECT strategy_code, day, currency, equity, pnl, fees, extract(epoch FROM as_of)::float8 FROM equity "
        f"WHERE day <= '{last_day(platform)}' ORDER BY 1, 2",
    )
    names = ("day", "currency", "equity", "pnl", "fees", "as_of")
    told = [(name, *(row[each] for each in names)) for name in sorted(read.equity) for row in read.equity[name]]
    assert sorted(told) == sorted(tuple(row) for row in rows)
    # Of one about which something is odd they are looked at one by one, and of no other.
    with changed(platform, "UPDATE equity SET pnl = 'NaN' WHERE strategy_code = 'pairs-us' AND day = current_date - 9"):
        read = reading.read(options.checked(ArgumentSpecValidator(options.SPEC).validate(given).validated_parameters))
    assert [name for name, rows in read.equity.items() if not isinstance(rows, Rows)] == ["pairs-us"]
    assert len(read.equity["pairs-us"]) == len(read.equity["trend-coins"])


def test_the_digest_proves_what_was_read(platform: Sandbox) -> None:
    def inputs() -> dict[str, str]:
        given = {"database": platform.database, "until": str(last_day(platform)), **RATES}
        found = engine.review(ArgumentSpecValidator(options.SPEC).validate(given).validated_parameters, {})
        told: dict[str, str] = found.record["inputs"]
        return told

    before = inputs()
    assert inputs() == before
    for statement, part in (
        ("UPDATE equity SET fees = fees + 1 WHERE strategy_code = 'pairs-us' AND day = current_date - 9", "equity"),
        ("UPDATE backtest_fills SET price = price * 2 WHERE id % 50 = 0", "expectations"),
        ("UPDATE executions SET quantity = quantity * 2 WHERE id = 7", "executions"),
    ):
        with changed(platform, statement):
            after = inputs()
        assert part in {name for name, value in before.items() if after[name] != value}, part
