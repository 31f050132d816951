"""Breaks from run to run, fees as sums, and what may be the same under another id."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import trading

from tests.conftest import Sandbox
from tests.integration.test_checks_trading_reconciliation import CASH, EXECUTIONS, FEES, ONE, POSITIONS, THEIRS
from tests.integration.trading_worker import altered, changed, measured, statuses

#: Another one like ONE.
NEXT = ONE.replace("min(e.id)", "min(e.id) FILTER (WHERE e.id > 100)")


def again(platform: Sandbox, found: dict[str, Any]) -> dict[str, Any]:
    """The checks of a run that knows what the run before found."""
    before = {f"trading.{id}": check.as_dict()["details"] for id, check in found.items() if check.status != "unknown"}
    checks = trading.measure(platform.database, {}, 10, {}, before)
    return {check.id.removeprefix("trading."): check for check in checks}


def counts(check: Any) -> tuple[int, int, int]:
    return tuple(check.details.get(name) for name in ("new", "carried", "resolved"))


def test_breaks_are_carried_on_until_they_are_gone(platform: Sandbox) -> None:
    healthy = measured(platform)
    cash = "UPDATE cash_balances SET balance = balance + 0.01"
    one, both = f"UPDATE executions SET price = price + 1 WHERE id = {ONE}", f"id IN ({ONE}, {NEXT})"
    with changed(platform, one, cash):
        first = again(platform, healthy)
        assert (counts(first[EXECUTIONS]), counts(first[CASH])) == ((1, 0, 0), (5, 0, 0))
        second = again(platform, first)
        assert (counts(second[EXECUTIONS]), counts(second[CASH])) == ((0, 1, 0), (0, 5, 0))
        assert "1 carried (the longest since " in second[EXECUTIONS].message
        seen = second[EXECUTIONS].details["first_seen"]
        assert second[EXECUTIONS].details["first"][0]["first_seen"] == seen
        # The same break under another class is still the same.
        with changed(platform, f"UPDATE executions SET price = price + 1, fee = fee + 1 WHERE {both}"):
            third = again(platform, second)
            assert counts(third[EXECUTIONS]) == (1, 1, 0)
            assert third[EXECUTIONS].details["first_seen"] == seen
    gone = again(platform, third)
    assert (counts(gone[EXECUTIONS]), counts(gone[CASH]), gone[CASH].status) == ((0, 0, 2), (0, 0, 5), "ok")
    assert "5 resolved" in gone[CASH].message


def test_break_that_cannot_be_compared_is_not_resolved(platform: Sandbox) -> None:
    break_all = "UPDATE positions SET quantity = quantity + 1000000"
    with changed(platform, break_all):
        first = measured(platform)
        incomplete = """UPDATE venue_statements SET record_count = record_count + 1
                        WHERE kind = 'positions' AND venue_code = 'COINX'"""
        with changed(platform, incomplete):
            second = again(platform, first)
    check = second[POSITIONS]
    assert check.details["resolved"] == 0
    assert check.details["not_compared"] > 0
    assert check.details["not_compared"] + check.details["carried"] == first[POSITIONS].value


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        (f"UPDATE executions SET fee = fee + 0.0001 WHERE id = {ONE}", "0.0001"),
        (f"UPDATE venue_executions SET fee = fee + 0.25 WHERE id = {THEIRS}", "-0.25"),
        (f"UPDATE executions SET fee = -fee - 1 WHERE id = {ONE}", None),
        (f"UPDATE executions SET fee = 'NaN' WHERE id = {ONE}", "NaN"),
    ],
)
def test_fees_of_a_day(platform: Sandbox, statement: str, difference: str | None) -> None:
    with changed(platform, statement):
        check = measured(platform)[FEES]
    assert (check.status, check.value) == ("critical", 1)
    (told,) = check.details["first"]
    assert told.keys() >= {"venue", "account", "currency", "day", "difference", "executions"}
    assert difference is None or str(Decimal(told["difference"])).rstrip("0") == difference
    assert check.details["classes"] == {"not_a_number" if difference == "NaN" else "amount": 1}


def test_fees_that_make_up_for_each_other_agree_in_sum(platform: Sandbox) -> None:
    # One charged too much, another of that day too little: each a break, and not one of the sums.
    pair = f"""SELECT o.id FROM executions o JOIN executions e ON o.account_code = e.account_code
               AND o.venue_code = e.venue_code AND o.executed_at::date = e.executed_at::date AND o.id <> e.id
               WHERE e.id = {ONE} AND o.kind = 'trade' ORDER BY o.id LIMIT 1"""
    with changed(
        platform,
        f"UPDATE executions SET fee = fee + 0.5 WHERE id = {ONE}",
        f"UPDATE executions SET fee = fee - 0.5 WHERE id = ({pair})",
    ):
        found = measured(platform)
    assert (found[EXECUTIONS].value, found[FEES].status) == (2, "ok")


def test_fee_within_the_tolerance_is_no_difference(platform: Sandbox) -> None:
    with changed(platform, f"UPDATE executions SET fee = fee + 0.01 WHERE id = {ONE}"):
        assert measured(platform, tolerances=[{"instrument": "*", "fee": "0.01"}])[FEES].status == "ok"
        assert measured(platform, tolerances=[{"instrument": "*", "fee": "0.009"}])[FEES].status == "critical"


def test_fee_of_what_only_the_venue_took_back(platform: Sandbox) -> None:
    # Without our cancel its trade still counts here: the sums differ by its fee, and by nothing else.
    with changed(platform, "DELETE FROM executions WHERE id = (SELECT min(id) FROM executions WHERE kind = 'cancel')"):
        found = measured(platform)
    assert (found[EXECUTIONS].value, found[FEES].value) == (1, 1)


def test_amendment_after_the_cut_off_is_not_yet_the_venues(platform: Sandbox) -> None:
    columns = "venue_code, strategy_code, account_code, instrument_code, side, quantity, price, fee, fee_currency"
    late = f"""INSERT INTO executions (order_id, kind, venue_execution_id, reference, executed_at, received_at,
               {columns})
               SELECT order_id, 'cancel', 'late', venue_execution_id, now(), now(), {columns} FROM executions
               WHERE id = {ONE}"""
    with changed(platform, late):
        found = measured(platform)
    assert found[EXECUTIONS].status == found[FEES].status == "ok"


@pytest.mark.parametrize(("seconds", "flagged"), [(0, 2), (50, 2), (-50, 2), (70, 0)])
def test_same_execution_under_another_id_is_flagged_and_stays_a_break(
    platform: Sandbox, seconds: int, flagged: int
) -> None:
    renamed = "UPDATE executions SET venue_execution_id = 'other', executed_at = executed_at "
    renamed += f"+ interval '{seconds} s' WHERE id = {ONE}"
    with changed(platform, renamed):
        check = measured(platform)[EXECUTIONS]
        assert check.status == "critical"
        assert check.details["classes"] == {"missing_here": 1, "missing_at_venue": 1}
        assert check.details.get("possible_matches", 0) == flagged
        assert sum("possible_match" in one for one in check.details["first"]) == flagged
        if flagged:
            ids = {one["id"]: one["possible_match"] for one in check.details["first"]}
            assert ids == {value: key for key, value in ids.items()}
            assert "agree with one of the other side" in check.message
        assert measured(platform, match_window=100)[EXECUTIONS].details["possible_matches"] == 2


def test_only_what_is_near_in_time_is_flagged(platform: Sandbox) -> None:
    columns = "order_id, kind, venue_code, strategy_code, account_code, instrument_code, side, quantity, price, fee"
    far = f"""INSERT INTO executions (venue_execution_id, executed_at, received_at, fee_currency, {columns})
              SELECT 'far', executed_at + interval '1 hour', now(), fee_currency, {columns} FROM executions
              WHERE venue_execution_id = 'other'"""
    near = f"""UPDATE executions SET venue_execution_id = 'other', executed_at = executed_at - interval '50 s'
               WHERE id = {ONE}"""
    with changed(platform, near, far):
        check = measured(platform)[EXECUTIONS]
    assert check.details["possible_matches"] == 2
    assert {one["id"]: one.get("possible_match") for one in check.details["first"]}["far"] is None


@pytest.mark.parametrize("change", ["quantity = quantity + 1", "price = 'NaN'", "side = 'x'", "kind = 'correct'"])
def test_what_differs_in_more_than_its_id_is_not_flagged(platform: Sandbox, change: str) -> None:
    change = change.replace("'x'", "CASE side WHEN 'buy' THEN 'sell' ELSE 'buy' END")
    with changed(platform, f"UPDATE executions SET venue_execution_id = 'other', {change} WHERE id = {ONE}"):
        assert "possible_matches" not in measured(platform)[EXECUTIONS].details


#: What our books say of themselves.
OWN = ("filled_quantities", "order_quantities", "strategy_positions")


@pytest.mark.parametrize(
    ("table", "column", "where", "bad"),
    [
        (
            "executions",
            "quantity",
            f"id = {ONE}",
            {EXECUTIONS: "quantity", **dict.fromkeys(OWN, "not_a_number")},
        ),
        ("executions", "price", f"id = {ONE}", {EXECUTIONS: "price"}),
        ("executions", "fee", f"id = {ONE}", {EXECUTIONS: "fee", FEES: "not_a_number"}),
        ("venue_executions", "fee", f"id = {THEIRS}", {EXECUTIONS: "fee", FEES: "not_a_number"}),
        (
            "positions",
            "quantity",
            "instrument_code = 'FXHUB:EUR-USD'",
            dict.fromkeys((POSITIONS, OWN[2]), "not_a_number"),
        ),
        ("cash_balances", "balance", "venue_code = 'XETR'", {CASH: "not_a_number"}),
        ("venue_cash", "balance", "true", {CASH: "not_a_number"}),
        (
            "orders",
            "filled_quantity",
            f"id = (SELECT order_id FROM executions WHERE id = {ONE})",
            {"filled_quantities": "not_a_number"},
        ),
    ],
)
def test_null_is_a_break(platform: Sandbox, table: str, column: str, where: str, bad: dict[str, str]) -> None:
    null = f"ALTER TABLE {table} ALTER {column} {{}} NOT NULL"
    with (
        altered(platform, null.format("DROP"), null.format("SET")),
        changed(platform, f"UPDATE {table} SET {column} = NULL WHERE {where}"),
    ):
        found = measured(platform)
    for id, kind in bad.items():
        assert (found[id].status, found[id].details["classes"].keys()) == ("critical", {kind})
    # A limit that needs it cannot be computed.
    others = {id for id in statuses(found) if not id.startswith("risk_limits")}
    assert others == bad.keys()


def test_nothing_of_this_is_left(platform: Sandbox) -> None:
    assert statuses(measured(platform)) == {}
