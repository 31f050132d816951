"""Trouble with transactions, orders and executions in a sandbox's own books, each seen by its own check."""

from __future__ import annotations

import pytest

from tests.conftest import Sandbox
from tests.integration.trading_worker import changed, measured, statuses

PENDING = """INSERT INTO transactions (kind, status, account_code, venue_code, currency, amount, reference, created_at)
             VALUES ('withdrawal', 'pending', 'HOUSE-US', 'XNYS', 'USD', {amount}, 'x', now() - interval '{age}')"""
FAILED = PENDING.replace("'pending'", "'failed'")
NO_ORDER = "UPDATE executions SET order_id = NULL WHERE id = (SELECT max(id) FROM executions WHERE kind = 'trade')"
LAST_DAY = "created_at > now() - interval '1 day'"


def test_healthy(platform: Sandbox) -> None:
    found = measured(platform)
    assert statuses(found) == {}
    assert found["failed_transactions"].value == 0
    # A small platform has too few orders in a day to judge, and says so.
    assert "too few to judge" in found["reject_ratio"].message
    assert found["fill_ratio"].details["judged"] is False


@pytest.mark.parametrize(
    ("statement", "bad"),
    [
        (FAILED.format(amount="-100", age="1 hour"), {"failed_transactions": "warning"}),
        (
            FAILED.format(amount="-100", age="2 days"),
            {"failed_transactions": "warning", "failed_age": "critical"},
        ),
        (
            FAILED.format(amount="-5000000", age="1 hour"),
            {"failed_transactions": "warning", "failed_amount": "critical"},
        ),
        (
            FAILED.format(amount="'NaN'", age="1 hour"),
            {"failed_transactions": "warning", "failed_amount": "unknown"},
        ),
        ("UPDATE transactions SET resolved_at = NULL", {"failed_transactions": "warning", "failed_age": "critical"}),
        (PENDING.format(amount="-5000000", age="1 minute"), {}),
        (PENDING.format(amount="-100", age="2 hours"), {"stuck_transactions": "warning"}),
        (PENDING.format(amount="-100", age="3 days"), {"stuck_transactions": "critical"}),
        (
            PENDING.format(amount="-5000000", age="3 hours"),
            {"stuck_transactions": "warning", "stuck_amount": "critical"},
        ),
        # Then another execution is missing in what its order was filled with.
        (
            NO_ORDER,
            {"executions_without_orders": "critical", "filled_quantities": "critical", "order_quantities": "critical"},
        ),
        (
            "UPDATE executions SET order_id = (SELECT min(order_id) + 1 FROM executions) "
            "WHERE order_id = (SELECT min(order_id) FROM executions)",
            {"orders_without_executions": "critical", "filled_quantities": "critical", "order_quantities": "critical"},
        ),
        (
            "UPDATE orders SET status = 'filled', filled_quantity = 1 "
            "WHERE id = (SELECT max(id) FROM orders WHERE status = 'rejected')",
            {"orders_without_executions": "critical"},
        ),
    ],
)
def test_trouble(platform: Sandbox, statement: str, bad: dict[str, str]) -> None:
    with changed(platform, statement):
        found = measured(platform)
    own = {id: status for id, status in statuses(found).items() if id != "failed_amount" or id in bad}
    assert own == bad
    for id in bad:
        assert found[id].remedy


def test_ratios_with_enough_orders(platform: Sandbox) -> None:
    with changed(platform, f"UPDATE orders SET status = 'rejected', filled_quantity = 0 WHERE {LAST_DAY}"):
        found = measured(platform, minimum_orders=1)
        assert (found["reject_ratio"].status, found["reject_ratio"].value) == ("critical", 100)
        assert found["fill_ratio"].status == "unknown"
        # What there is too little of is told, and not judged.
        assert measured(platform, minimum_orders=10_000)["reject_ratio"].status == "ok"
    with changed(platform, f"UPDATE orders SET status = 'cancelled', filled_quantity = 0 WHERE {LAST_DAY}"):
        found = measured(platform, minimum_orders=1)
        assert (found["fill_ratio"].status, found["fill_ratio"].value) == ("critical", 0)
        assert found["reject_ratio"].status == "ok"


def test_nothing_measured_is_unknown(platform: Sandbox) -> None:
    with changed(platform, "DELETE FROM orders"):
        found = measured(platform)
        assert {found[id].status for id in ("reject_ratio", "fill_ratio", "orders_without_executions")} == {"unknown"}
    with changed(platform, "DELETE FROM transactions"):
        found = measured(platform)
        assert {check.status for id, check in found.items() if id.startswith(("failed", "stuck"))} == {"unknown"}
    with changed(platform, "DELETE FROM executions"):
        assert measured(platform)["executions_without_orders"].status == "unknown"
    with changed(platform, f"UPDATE orders SET filled_quantity = 'NaN' WHERE {LAST_DAY}"):
        assert measured(platform, minimum_orders=1)["fill_ratio"].status == "unknown"
