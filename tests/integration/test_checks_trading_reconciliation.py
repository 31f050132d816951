"""Every kind of break, seeded in the books of a sandbox, is seen by its own check, and by no other."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import unique

from tests.conftest import Sandbox
from tests.integration.trading_worker import altered, changed, measured, statuses

#: An execution within a statement that nobody took back or replaced.
ONE = """(SELECT min(e.id) FROM executions e JOIN venue_executions v USING (venue_code, venue_execution_id)
          WHERE e.kind = 'trade' AND NOT EXISTS (SELECT FROM executions r
              WHERE r.venue_code = e.venue_code AND r.reference = e.venue_execution_id))"""
THEIRS = f"""(SELECT v.id FROM venue_executions v JOIN executions e USING (venue_code, venue_execution_id)
             WHERE e.id = {ONE})"""
FEWER_LINES = f"""UPDATE venue_statements SET record_count = record_count - 1
                  WHERE id = (SELECT statement_id FROM venue_executions WHERE id = {THEIRS})"""
NEWEST = "(SELECT max(as_of) FROM venue_statements)"
COLUMNS = """order_id, venue_code, venue_execution_id, kind, reference, strategy_code, account_code, instrument_code,
             side, quantity, price, fee, fee_currency, liquidity, executed_at, received_at"""
EXECUTIONS, FEES, POSITIONS, CASH = (f"reconcile_{kind}" for kind in ("executions", "fees", "positions", "cash"))
#: What is missing on one side is missing in the sums of its fees.
BOTH = f"{EXECUTIONS} {FEES}"


def test_healthy(platform: Sandbox) -> None:
    found = measured(platform)
    assert statuses(found) == {}
    assert found[EXECUTIONS].details["lines"] > 1000


@pytest.mark.parametrize(
    ("statement", "check", "classes"),
    [
        (f"DELETE FROM executions WHERE id = {ONE}", BOTH, {"missing_here": 1}),
        (f"{FEWER_LINES}; DELETE FROM venue_executions WHERE id = {THEIRS}", BOTH, {"missing_at_venue": 1}),
        (f"UPDATE executions SET price = price + 0.00001 WHERE id = {ONE}", EXECUTIONS, {"price": 1}),
        (f"UPDATE venue_executions SET quantity = quantity * 2 WHERE id = {THEIRS}", EXECUTIONS, {"quantity": 1}),
        (f"UPDATE executions SET fee = fee + 0.0001 WHERE id = {ONE}", BOTH, {"fee": 1}),
        (f"UPDATE executions SET fee = 'NaN', price = 'NaN' WHERE id = {ONE}", BOTH, {"fee": 1, "price": 1}),
        (f"UPDATE executions SET fee_currency = 'JPY' WHERE id = {ONE}", BOTH, {"attributes": 1}),
        ("DELETE FROM executions WHERE kind = 'cancel'", BOTH, {"missing_here"}),
        ("UPDATE positions SET quantity = quantity + 0.0001 WHERE quantity > 0", POSITIONS, {"quantity"}),
        ("UPDATE positions SET quantity = 'NaN'", POSITIONS, {"not_a_number"}),
        ("DELETE FROM positions", POSITIONS, {"missing_here"}),
        ("UPDATE venue_positions SET quantity = -quantity", POSITIONS, {"quantity"}),
        ("UPDATE cash_balances SET balance = balance + 0.01", CASH, {"amount": 5}),
        ("UPDATE cash_balances SET currency = 'JPY' WHERE venue_code = 'XETR'", CASH, None),
        ("UPDATE venue_cash SET balance = 'NaN'", CASH, {"not_a_number": 5}),
    ],
)
def test_break(platform: Sandbox, statement: str, check: str, classes: dict[str, int] | set[str] | None) -> None:
    with changed(platform, *statement.split("; ")):
        found = measured(platform)
    bad = statuses(found)
    # A cancel of ours that is gone also changes what we held at the cut-off, if it was the last word.
    assert {id for id in bad if id.startswith(("reconcile", "venue", "duplicate_"))} == set(check.split()), statement
    check = check.split()[0]
    assert bad[check] == "critical"
    told = found[check].details
    assert told["count"] == found[check].value > 0
    assert len(told["first"]) == min(10, told["count"])
    assert "Nothing was booked" in found[check].message
    if isinstance(classes, dict):
        assert told["classes"] == classes
    elif classes:
        # What was executed since the cut-off may be there in another class.
        assert told["classes"].keys() >= classes


def test_both_sides_took_back_what_differs(platform: Sandbox) -> None:
    amended = "(SELECT venue_code || reference FROM executions WHERE reference IS NOT NULL)"
    with changed(
        platform,
        f"UPDATE executions SET price = price * 2, fee = fee + 1 WHERE venue_code || venue_execution_id IN {amended}",
    ):
        assert statuses(measured(platform)) == {}


def test_after_the_cut_off_only_our_books_know(platform: Sandbox) -> None:
    # An execution, its correction and a transaction of a moment ago: the venue's next statement will have them.
    row = "order_id, venue_code, 'later', 'trade', NULL, strategy_code, account_code, instrument_code, 'buy'"
    fill = f"INSERT INTO executions ({COLUMNS}) SELECT {row}, 5, 1, 0, fee_currency, liquidity, now(), now()"
    fill += " FROM executions"
    correct = fill.replace("'later', 'trade', NULL", "'last', 'correct', 'later'").replace("5, 1, 0", "2, 1, 0")
    place = "(strategy_code, instrument_code) = (SELECT strategy_code, instrument_code FROM executions WHERE id = 1)"
    with changed(platform, f"{fill} WHERE id = 1", f"{correct} WHERE id = 1"):
        assert statuses(measured(platform))[POSITIONS] == "critical"
    with changed(
        platform,
        f"{fill} WHERE id = 1",
        f"{correct} WHERE id = 1",
        f"UPDATE positions SET quantity = quantity + 2 WHERE {place}",
    ):
        found = measured(platform)
        assert found[POSITIONS].status == found[EXECUTIONS].status == "ok"


def test_cash_settled_after_the_cut_off(platform: Sandbox) -> None:
    moved = """INSERT INTO transactions (kind, status, account_code, venue_code, currency, amount, reference,
                   created_at, settled_at)
               SELECT 'deposit', 'settled', account_code, venue_code, currency, 0.1, 'x', now(), now()
               FROM cash_balances"""
    with changed(platform, moved):
        assert statuses(measured(platform)) == {CASH: "critical"}
    with changed(platform, moved, "UPDATE cash_balances SET balance = balance + 0.1"):
        assert statuses(measured(platform)) == {}


def test_duplicate(platform: Sandbox) -> None:
    twice = f"INSERT INTO executions ({COLUMNS}) SELECT {COLUMNS} FROM executions WHERE id = {ONE}"
    with changed(platform, twice):
        found = measured(platform)
    assert found["duplicate_executions"].status == "critical"
    assert found["duplicate_executions"].details["first"][0]["times"] == 2
    assert found[EXECUTIONS].status == "ok"


def test_stale_statements_are_unknown_and_never_agreement(platform: Sandbox) -> None:
    later = "UPDATE venue_statements SET as_of = as_of + interval '9 days'"
    kinds = {
        EXECUTIONS: "unknown",
        FEES: "unknown",
        POSITIONS: "unknown",
        CASH: "unknown",
        "venue_statements": "critical",
    }
    with changed(platform, f"DELETE FROM venue_statements WHERE as_of > {NEWEST} - interval '3 days'"):
        found = measured(platform)
        assert found["venue_statements"].status == "critical"
        assert {found[id].status for id in (POSITIONS, CASH)} == {"unknown"}
        assert "stale" in found[CASH].message
        # With no threshold nothing is stale.
        lenient = {"venue_statements": {"warning": float("inf"), "critical": float("inf")}}
        assert measured(platform, thresholds=lenient)[CASH].status == "ok"
    with changed(platform, "DELETE FROM venue_statements"):
        found = measured(platform)
        assert {id: found[id].status for id in kinds} == kinds
        assert "there is none" in found[POSITIONS].message
    with changed(platform, later):
        found = measured(platform)
        assert {id: found[id].status for id in kinds} == kinds
        assert "future" in found["venue_statements"].message


def test_incomplete_statement_is_unknown(platform: Sandbox) -> None:
    with changed(platform, "DELETE FROM venue_positions"):
        found = measured(platform)
        assert statuses(found) == {POSITIONS: "unknown", "venue_statements": "critical"}
    with changed(platform, f"DELETE FROM venue_executions WHERE id = {THEIRS}"):
        assert statuses(measured(platform)) == {EXECUTIONS: "unknown", FEES: "unknown", "venue_statements": "critical"}


def test_period_that_no_statement_covers_is_unknown(platform: Sandbox) -> None:
    gone = """SELECT id FROM venue_statements WHERE kind = 'executions' AND venue_code = 'COINX'
              AND as_of < (SELECT max(as_of) FROM venue_statements) - interval '9 days' ORDER BY as_of DESC LIMIT 1"""
    with changed(
        platform,
        f"DELETE FROM venue_executions WHERE statement_id = ({gone})",
        f"DELETE FROM venue_statements WHERE id = ({gone})",
    ):
        found = measured(platform)
    # What was executed in that time is not missing at the venue: nobody knows.
    assert statuses(found) == {EXECUTIONS: "unknown", FEES: "unknown", "venue_statements": "critical"}
    assert "not covered" in found[EXECUTIONS].message


def test_account_without_a_statement_is_unknown(platform: Sandbox) -> None:
    with changed(
        platform,
        "INSERT INTO positions SELECT strategy_code, 'new', venue_code, instrument_code, 0, 0, now() "
        "FROM (SELECT * FROM positions LIMIT 1) p",
    ):
        found = measured(platform)
    assert {found[id].status for id in (EXECUTIONS, POSITIONS, CASH)} == {"unknown"}
    assert "new at" in found[CASH].message


EMPTIED = ("executions", "orders", "transactions")


def test_empty_platform_is_unknown(platform: Sandbox) -> None:
    tables = ("venue_statements", "venue_executions", "venue_positions", "venue_cash", "positions", "cash_balances")
    with changed(platform, *(f"DELETE FROM {table}" for table in (*tables, *EMPTIED))):
        found = measured(platform)
    owed = ("strateg", "platform", "risk_limits", "orders_due", "unlimited", "disabled")
    alive = owed + tuple(f"duplicates:{view}" for view in unique.KEYS.keys() - set(tables) - {"cash", *EMPTIED})
    assert {check.status for id, check in found.items() if not id.startswith(alive) or id == "strategy_positions"} == {
        "unknown"
    }
    # Those that seldom trade may only be late.
    due = {check.status for id, check in found.items() if id.startswith("orders_due")}
    assert "critical" in due
    assert due <= {"warning", "critical"}


def test_tolerance_of_an_instrument(platform: Sandbox) -> None:
    with changed(platform, f"UPDATE executions SET price = price + 0.00002 WHERE id = {ONE}"):
        name = measured(platform)[EXECUTIONS].details["first"][0]["instrument"]
        for tolerance, status in (("0.00002", "ok"), ("0.00001", "critical")):
            one = {"instrument": name, "price": tolerance}
            assert measured(platform, tolerances=[one])[EXECUTIONS].status == status
            assert measured(platform, tolerances=[{**one, "instrument": "*"}])[EXECUTIONS].status == status
            # What is said of one counts more than what is said of all.
            both = [{"instrument": "*", "price": "1"}, one]
            assert measured(platform, tolerances=both)[EXECUTIONS].status == status
    with changed(platform, "UPDATE cash_balances SET balance = balance + 0.01"):
        assert measured(platform, cash_tolerance="0.01")[CASH].status == "ok"
        assert measured(platform, cash_tolerance="0.00999")[CASH].status == "critical"


def test_thousands_of_breaks_stay_readable(platform: Sandbox) -> None:
    with changed(platform, "UPDATE executions SET fee = fee + 1"):
        check = measured(platform)[EXECUTIONS]
    assert check.value == check.details["count"] > 3000
    assert len(check.details["first"]) == 10
    assert len(json.dumps(check.as_dict()["details"])) < 10_000


def test_ten_thousand_executions_alike_missing_on_both_sides(platform: Sandbox) -> None:
    # All the same but for their ids: looking for the one among all the others must not take their square.
    row = (
        "account_code, instrument_code, side, 7, 7, 0, fee_currency, {at} FROM executions, generate_series(1, 10000) n"
    )
    row += f" WHERE id = {ONE}"
    ours = (
        "INSERT INTO executions (venue_code, venue_execution_id, kind, strategy_code, account_code, instrument_code, "
    )
    ours += "side, quantity, price, fee, fee_currency, executed_at, received_at) SELECT venue_code, 'a' || n, 'trade', "
    ours += f"strategy_code, {row.format(at='executed_at, now()')}"
    theirs = "INSERT INTO venue_executions (statement_id, venue_code, venue_execution_id, kind, account_code, "
    theirs += (
        "instrument_code, side, quantity, price, fee, fee_currency, executed_at) SELECT (SELECT statement_id FROM "
    )
    theirs += f"venue_executions WHERE id = {THEIRS}), venue_code, 'b' || n, 'trade', {row.format(at='executed_at')}"
    more = FEWER_LINES.replace("record_count - 1", "record_count + 10000")
    with changed(platform, more, ours, theirs):
        found = measured(platform, timeout=5)
    check = found[EXECUTIONS]
    assert check.details["classes"] == {"missing_here": 10000, "missing_at_venue": 10000}
    assert check.details["possible_matches"] == 20000
    assert found[FEES].status == "ok"
    assert len(json.dumps(check.as_dict()["details"])) < 10_000


@pytest.mark.parametrize(
    ("do", "undo", "unknown"),
    [
        (
            "ALTER VIEW maintenance.venue_cash RENAME TO gone",
            "ALTER VIEW maintenance.gone RENAME TO venue_cash",
            {CASH, "venue_statements"},
        ),
        (
            "ALTER VIEW maintenance.venue_executions RENAME COLUMN fee TO gone",
            "ALTER VIEW maintenance.venue_executions RENAME COLUMN gone TO fee",
            {EXECUTIONS, FEES},
        ),
    ],
)
def test_missing_in_the_contract(platform: Sandbox, do: str, undo: str, unknown: set[str]) -> None:
    with altered(platform, do, undo):
        found = measured(platform)
    assert statuses(found) == dict.fromkeys(unknown, "unknown")
    assert statuses(measured(platform)) == {}


def test_timeout_is_unknown_for_that_check_alone(platform: Sandbox) -> None:
    view = "CREATE OR REPLACE VIEW maintenance.venue_cash AS SELECT l.statement_id, s.venue_code AS venue, "
    view += "s.account_code AS account, l.currency, l.balance, s.as_of FROM venue_cash l JOIN venue_statements s "
    view += "ON s.id = l.statement_id"
    with altered(platform, f"{view} WHERE pg_sleep(0.2) IS NOT NULL", view):
        found = measured(platform, timeout=1)
    assert statuses(found) == {CASH: "unknown", "venue_statements": "unknown"}
    assert "timeout" in found[CASH].message
