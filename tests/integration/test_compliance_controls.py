"""Controls of compliance on a platform, each with a fault of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance.controls import CONTROLS
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import Sandbox
from tests.integration.trading_worker import altered, changed

CALENDAR = [
    {"report": "transactions", "every": "day", "since": "2026-01-01", "due_days": 1, "working_days": True},
    {"report": "positions", "every": "month", "since": "2026-01-01", "due_days": 5, "working_days": True},
]
#: What the sandbox's papers honestly lack; clients pay in elsewhere, and nobody ran a daily.
GAPS = {
    "clock_synchronisation": "unknown",
    "kyc_documents": "critical",
    "kyc_screening": "critical",
    "large_transactions": "unknown",
    "structured_transactions": "unknown",
    "risk_assessments": "critical",
    "regulatory_reports:transactions": "warning",
    "personal_data": "warning",
}


HOLDER: dict[str, Any] = {"column": "public.accounts.holder", "purpose": "identification"}
INVENTORY: dict[str, list[dict[str, Any]]] = {"personal_data": [HOLDER]}


def measured(database: dict[str, Any], heads: dict[str, Any] | None = None, **options: Any) -> dict[str, Check]:
    """All controls, by id without the area."""
    given = {"database": database, "environment_name": "local", "calendar": CALENDAR, **INVENTORY, **options}
    result = ArgumentSpecValidator(SPEC).validate(given)
    assert not result.error_messages
    found = engine.measure(result.validated_parameters, [], [], heads or {}, [("newest", datetime.now(UTC))])
    for check in found:
        check.as_dict()
    return {check.id.removeprefix("compliance."): check for check in found}


def statuses(found: dict[str, Check]) -> dict[str, str]:
    """What is not ok."""
    return {id: check.status for id, check in found.items() if check.status != "ok"}


def test_the_sandbox_has_its_honest_gaps_and_no_others(platform: Sandbox) -> None:
    found = measured(platform.database)
    assert statuses(found) == GAPS
    assert {f"compliance.{id.partition(':')[0]}" for id in found} == CONTROLS.keys()
    signs = found["personal_data"].details["first"]
    assert "public.users.email (name:email, shape:email)" in signs
    assert "public.audit_log.actor (shape:email)" in signs
    # No value of theirs leaves the database.
    everything = str([check.as_dict() for check in found.values()])
    assert "@tradingflow.example" not in everything
    (holder,) = platform.sql("owner", "SELECT holder FROM accounts WHERE code = 'CLIENT-00001'")
    assert holder[0] not in everything


CLIENT = "(SELECT account_code FROM kyc_screenings WHERE id = 1)"
MOVED = (
    "INSERT INTO transactions (kind, status, account_code, venue_code, currency, amount, reference, created_at)"
    f" SELECT 'deposit', 'settled', {CLIENT}, 'COINX', {{currency}}, {{amount}}, 'x',"
    " now() - interval '1 day' * {days} FROM generate_series(1, {times})"
)

#: Statement, the control it is for, the status and a word of its message.
FAULTS: dict[str, tuple[str, str, str, str]] = {
    "an entry was changed": (
        "UPDATE trading_audit SET actor = 'nobody' WHERE id = 700",
        *("audit_trail_chain", "critical", "1 link does not hold, the first at entry 700"),
    ),
    "an entry was taken out": (
        "DELETE FROM trading_audit WHERE id = 700 AND event = 'order'",
        *("audit_trail_chain", "critical", "the first at entry 701"),
    ),
    "its order has none": (
        "DELETE FROM trading_audit WHERE id = (SELECT max(id) FROM trading_audit WHERE event = 'order')",
        *("audit_trail_orders", "critical", "1 order has no entry"),
    ),
    "an order is gone": (
        "DELETE FROM orders WHERE id = 55",
        *("audit_trail_orders", "critical", "1 entry is of no order that is there"),
    ),
    "an order has another time": (
        "UPDATE orders SET created_at = created_at - interval '2 s' WHERE id = 55",
        *("audit_trail_orders", "warning", "1 entry is of another time"),
    ),
    "an order without a time": (
        "UPDATE orders SET created_at = 'infinity' WHERE id = 55",
        *("audit_trail_orders", "warning", "1 entry is of another time"),
    ),
    "a cancel without an entry": (
        "UPDATE orders SET status = 'cancelled' WHERE id = (SELECT min(id) FROM orders WHERE status = 'filled')",
        *("audit_trail_cancels", "critical", "1 cancel has no entry"),
    ),
    "a status that nobody knows": (
        "UPDATE orders SET status = 'canceled' WHERE id = 55",
        *("audit_trail_cancels", "unknown", "not known"),
    ),
    "a limit was changed past the trail": (
        "UPDATE risk_limits SET limit_value = 2 * limit_value, updated_at = now() WHERE id = 3",
        *("audit_trail_limits", "critical", "has no entry of its time"),
    ),
    "a line feed moves the ends of fields": (
        "UPDATE trading_audit SET actor = actor || chr(10) || 'x' WHERE id = (SELECT max(id) FROM trading_audit)",
        *("audit_trail_chain", "critical", "link does not hold"),
    ),
    "an empty log": ("DELETE FROM audit_log", "audit_log_chain", "unknown", "no entry"),
    "a client's review is overdue": (
        "UPDATE accounts SET kyc_review_due_at = now() - interval '1 day' WHERE code = 'CLIENT-00001'",
        *("kyc_reviews", "critical", "1 review is overdue"),
    ),
    "a client without a next review": (
        "UPDATE accounts SET kyc_review_due_at = 'infinity' WHERE code = 'CLIENT-00001'",
        *("kyc_reviews", "critical", "no date of a next review"),
    ),
    "a client is served though not verified": (
        "UPDATE accounts SET kyc_status = 'pending' WHERE code = 'CLIENT-00001'",
        *("kyc_reviews", "critical", "though not verified"),
    ),
    "a review is due soon": (
        "UPDATE accounts SET kyc_review_due_at = now() + interval '9 days' WHERE code = 'CLIENT-00001'",
        *("kyc_reviews", "warning", "1 review is due within 30 days"),
    ),
    "an account's status that nobody knows": (
        "UPDATE accounts SET status = 'frozen' WHERE code = 'CLIENT-00001'",
        *("kyc_reviews", "unknown", "not known"),
    ),
    "a hit that nobody decided": (
        "UPDATE kyc_screenings SET result = 'hit' WHERE id = 1",
        *("kyc_screening", "critical", "1 with a hit"),
    ),
    "a hit that a later clear hides": (
        "INSERT INTO kyc_screenings SELECT 1000000 + n, account_code, now() - interval '2 s' * n,"
        " CASE n WHEN 1 THEN 'clear' ELSE 'hit' END FROM kyc_screenings, generate_series(1, 2) n WHERE id = 1",
        *("kyc_screening", "critical", "1 with a hit"),
    ),
    "a limit was deleted past the trail": (
        "DELETE FROM risk_limits WHERE id = 3",
        *("audit_trail_limits", "warning", "1 limit of the audit trail"),
    ),
    "a limit was set back to an older time": (
        "INSERT INTO trading_audit SELECT id + 1, now(), actor, 'limit', '3', details, hash FROM trading_audit"
        " ORDER BY id DESC LIMIT 1",
        *("audit_trail_limits", "critical", "has a later one"),
    ),
    "a result that nobody knows": (
        "UPDATE kyc_screenings SET result = 'fine' WHERE id = 1",
        *("kyc_screening", "unknown", "not known"),
    ),
    "a screening of the future": (
        "UPDATE kyc_screenings SET screened_at = now() + interval '1 day' WHERE id = 1",
        *("kyc_screening", "unknown", "no screened_at that can be"),
    ),
    "a document that nobody verified": (
        "UPDATE kyc_documents SET verified_at = NULL WHERE id = 1",
        *("kyc_documents", "critical", "1 without a verified document"),
    ),
    "a large movement": (
        MOVED.format(currency="'EUR'", amount=10000, days=2, times=1),
        *("large_transactions", "warning", "1 large movement"),
    ),
    "a large movement that waits for long": (
        MOVED.format(currency="'EUR'", amount=-10000, days=9, times=1),
        *("large_transactions", "critical", "1 of them for more than 5 days"),
    ),
    "smaller ones": (
        MOVED.format(currency="'EUR'", amount=3000, days=2, times=3),
        *("structured_transactions", "ok", "No structured movement"),
    ),
    "many of them": (
        MOVED.format(currency="'EUR'", amount=3000, days=2, times=4),
        *("structured_transactions", "warning", "not reviewed"),
    ),
    "a large movement that nobody reviewed for a year": (
        MOVED.format(currency="'EUR'", amount=10000, days=365, times=1),
        *("large_transactions", "critical", "1 of them for more than 5 days"),
    ),
    "two of them": (
        MOVED.format(currency="'EUR'", amount=9900, days=2, times=2),
        *("structured_transactions", "warning", "not reviewed"),
    ),
    "a currency without a limit": (
        MOVED.format(currency="'CHF'", amount=3000, days=2, times=1),
        *("large_transactions", "unknown", "No limit is set for CHF"),
    ),
    "an amount that is none": (
        MOVED.format(currency="'EUR'", amount="'NaN'", days=2, times=1),
        *("large_transactions", "unknown", "time or account that can be"),
    ),
    "a movement of an account that nobody knows": (
        MOVED.format(currency="'EUR'", amount=3000, days=2, times=1).replace(CLIENT, "'NOBODY'"),
        *("structured_transactions", "unknown", "time or account that can be"),
    ),
    "a request that is late": (
        "UPDATE data_requests SET received_at = now() - interval '40 days' WHERE code = 'DR-0003'",
        *("data_requests", "critical", "1 late"),
    ),
    "a request of no time": (
        "UPDATE data_requests SET received_at = 'infinity' WHERE code = 'DR-0003'",
        *("data_requests", "unknown", ""),
    ),
    "an erasure that left something": (
        "UPDATE kyc_screenings SET account_code = 'CLIENT-99001' WHERE id = 1",
        *("erasure_proven", "critical", "left rows in live data"),
    ),
    "a report was rejected": (
        "UPDATE regulatory_reports SET status = 'rejected' WHERE report = 'transactions'",
        *("regulatory_reports:transactions", "critical", "rejected"),
    ),
    "a report that the calendar does not have": (
        "UPDATE regulatory_reports SET report = 'emir' WHERE report = 'positions'",
        *("regulatory_reports:others", "warning", "emir"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found(platform: Sandbox, name: str) -> None:
    statement, id, status, word = FAULTS[name]
    with changed(platform, statement):
        check = measured(platform.database)[id]
    assert (check.status, word in check.message) == (status, True), check.message


def test_an_erasure_reaches_all_of_the_inventory(platform: Sandbox) -> None:
    assert measured(platform.database)["erasure_proven"].status == "ok"
    wide = [*INVENTORY["personal_data"], {"column": "public.users.email", "purpose": "sign in"}]
    check = measured(platform.database, personal_data=wide)["erasure_proven"]
    assert (check.status, "lacks public.users" in check.message) == ("unknown", True), check.message
    wide[1]["erasure"] = False
    assert measured(platform.database, personal_data=wide)["erasure_proven"].status == "ok"


def test_what_was_reviewed_is_done(platform: Sandbox) -> None:
    reviewed = "INSERT INTO aml_reviews (transaction_id, outcome, reviewed_at) SELECT id, '{}', now() FROM transactions"
    moved = MOVED.format(currency="'EUR'", amount=20000, days=9, times=2)
    for outcome, status in (("cleared", "ok"), ("open", "critical"), ("approved", "unknown")):
        with changed(platform, moved, f"{reviewed.format(outcome)} WHERE reference = 'x'"):
            assert measured(platform.database)["large_transactions"].status == status


def test_an_end_that_was_cut_off_is_seen_by_the_next_report(platform: Sandbox) -> None:
    details = measured(platform.database)["audit_trail_chain"].details
    heads = {"trading_audit": details["head"]}
    assert "next report" not in measured(platform.database, heads)["audit_trail_chain"].message
    cut = f"DELETE FROM trading_audit WHERE id = {details['head']['entry_id']}"
    with changed(platform, cut):
        assert measured(platform.database)["audit_trail_chain"].status == "ok"
        gone = measured(platform.database, heads)["audit_trail_chain"]
    assert (gone.status, "is gone" in gone.message) == ("critical", True)


@pytest.mark.parametrize(
    ("do", "undo", "lost", "message"),
    [
        (
            "ALTER VIEW maintenance.trading_audit RENAME TO kept",
            "ALTER VIEW maintenance.kept RENAME TO trading_audit",
            {f"audit_trail_{name}" for name in ("chain", "orders", "cancels", "limits")},
            "there is no view maintenance.trading_audit",
        ),
        (
            "ALTER VIEW maintenance.data_requests RENAME COLUMN regime TO law",
            "ALTER VIEW maintenance.data_requests RENAME COLUMN law TO regime",
            {"data_requests"},
            "has no column regime",
        ),
        (
            "REVOKE SELECT ON maintenance.risk_assessments FROM maintenance; REVOKE pg_read_all_data FROM maintenance",
            "GRANT SELECT ON maintenance.risk_assessments TO maintenance; GRANT pg_read_all_data TO maintenance",
            {"risk_assessments"},
            "may not read column",
        ),
    ],
)
def test_what_is_missing_is_unknown_with_what_to_define(
    platform: Sandbox, do: str, undo: str, lost: set[str], message: str
) -> None:
    with altered(platform, do, undo):
        found = measured(platform.database)
    assert {id for id in lost if found[id].status == "unknown"} == lost
    for id in lost:
        assert message in found[id].message
    if "no view" in message:
        assert "docs/compliance.md" in found["audit_trail_chain"].remedy
    expected = {**GAPS, **dict.fromkeys(lost, "unknown")}
    # Whoever may read less sees fewer tables as well.
    assert {**statuses(found), "personal_data": ""} == {**expected, "personal_data": ""}


def test_a_table_that_cannot_be_read_is_named(platform: Sandbox) -> None:
    everything = [f"public.{name}" for name in ("users.email", "users.name", "accounts.holder", "audit_log.actor")]
    options: dict[str, Any] = {"not_personal": everything}
    assert measured(platform.database, **options)["personal_data"].status == "ok"
    do = 'CREATE TABLE public."se\'cret %" ("e mail" text); ALTER TABLE public."se\'cret %" ENABLE ROW LEVEL SECURITY'
    with altered(platform, do, 'DROP TABLE public."se\'cret %"'):
        check = measured(platform.database, **options)["personal_data"]
    assert (check.status, "se'cret %" in check.message) == ("unknown", True)


def test_a_database_that_is_down_leaves_all_of_it_unknown(platform: Sandbox) -> None:
    found = measured({**platform.database, "port": 1, "connect_timeout": 1})
    assert {f"compliance.{id.partition(':')[0]}" for id in found} == CONTROLS.keys()
    assert {check.status for check in found.values()} == {"unknown"}
