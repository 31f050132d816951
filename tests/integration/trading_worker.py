"""For tests of the area trading: its checks on a sandbox, and changes of rows that are put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import trading
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import Sandbox

TABLES = (
    *("orders", "executions", "positions", "transactions", "cash_balances", "prices", "equity", "risk_limits"),
    *("strategies", "instruments", "venues", "venue_statements", "venue_executions", "venue_positions", "venue_cash"),
    *("accounts", "audit_log", "trading_audit", "kyc_documents", "kyc_screenings", "aml_reviews", "data_requests"),
    *("risk_assessments", "regulatory_reports", "risk_forecasts", "risk_models", "limit_use"),
    *("backtest_expectations", "backtest_fills"),
)


def measured(platform: Sandbox, **options: Any) -> dict[str, Check]:
    """All checks of trading of a sandbox, by id without the area."""
    return checked(platform.database, **options)


def checked(
    database: dict[str, Any], earlier: dict[str, dict[str, Any]] | None = None, **options: Any
) -> dict[str, Check]:
    """The same of any database.

    :param earlier: id -> details of the last run that measured it
    """
    result = ArgumentSpecValidator(trading.TRADING_SPEC).validate({"database": database, **options})
    assert not result.error_messages
    given = result.validated_parameters
    checks = trading.measure(given["database"], given["thresholds"], given["timeout"], given, earlier)
    return {check.id.removeprefix("trading."): check for check in checks}


def statuses(found: dict[str, Check]) -> dict[str, str]:
    """What is not ok."""
    return {id: check.status for id, check in found.items() if check.status != "ok"}


@contextmanager
def changed(platform: Sandbox, *statements: str) -> Iterator[None]:
    """Runs statements as the server's administrator; afterwards every table of the platform is as before.

    Heartbeats are left alone: the application goes on writing them.
    """
    connection = platform.connect("superuser")
    connection.autocommit = True
    tables = [table for table in TABLES if any(table in statement for statement in statements)]
    with connection.cursor() as cursor:
        # Foreign keys must not stop what a damaged platform may well contain.
        cursor.execute("SET session_replication_role = replica")
        for table in tables:
            cursor.execute(f"CREATE TEMP TABLE kept_{table} AS TABLE {table}")
        try:
            for statement in statements:
                cursor.execute(statement)
            yield
        finally:
            for table in tables:
                cursor.execute(f"BEGIN; DELETE FROM {table}")
                cursor.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE kept_{table}; COMMIT")
            # Nothing of this may look like an autovacuum that is behind: count the dead rows, then remove them.
            cursor.execute("SELECT pg_stat_force_next_flush()")
            for table in tables:
                cursor.execute(f"VACUUM {table}")
            connection.close()


@contextmanager
def altered(platform: Sandbox, do: str, undo: str) -> Iterator[None]:
    """Changes the views of the schema, and back."""
    with changed(platform, do):
        try:
            yield
        finally:
            with changed(platform, undo):
                pass
