"""Area database against its own past, its statements and its sequences, judged without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import sql, statements, trend
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.earlier import Earlier, nothing
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.unit.test_checks_database import judged, thresholds

NOW = datetime.now(UTC).replace(microsecond=0)
RESET = datetime(2026, 11, 1, tzinfo=UTC)


def row(**given: Any) -> dict[str, Any]:
    return {"size": 10**9, "deadlocks": 50, "temp_bytes": 10**6, "stats_reset": RESET, **given}


def found(given: dict[str, Any], earlier: Earlier = nothing, **limits: Any) -> dict[str, Check]:
    return {check.id.partition(".")[2]: check for check in trend.statistics([given], thresholds(**limits), earlier)}


def past(*checks: dict[str, Check], days: float = 1) -> Earlier:
    """Earlier runs, the last of them `days` ago, the others a day before each other."""
    reports = []
    for back, run in enumerate(reversed(checks)):
        at = (datetime.now(UTC) - timedelta(days=days + back)).strftime("%Y-%m-%dT%H:%M:%SZ")
        reports.append({check.id: {**check.as_dict(), "observed_at": at} for check in run.values()})
    return lambda id: [report[id] for report in reversed(reports)]


def test_first_run_only_begins_to_count() -> None:
    checks = found(row(), size={"warning": 1})
    assert {name: check.status for name, check in checks.items() if check.status != "ok"} == {"size": "warning"}
    assert (checks["deadlocks"].value, checks["growth"].value) == (50, "not known yet")
    for name in ("growth", "deadlocks", "temporary_files"):
        assert "Not judged yet: 0 of" in checks[name].message


@pytest.mark.parametrize(
    ("given", "value", "status"),
    [
        ({}, 0, "ok"),
        ({"deadlocks": 51}, 1, "warning"),
        # The statistics were reset, by hand or by a crash.
        ({"deadlocks": 2, "stats_reset": NOW}, 2, "warning"),
        ({"deadlocks": 70, "stats_reset": NOW}, 70, "warning"),
        ({"deadlocks": 0, "stats_reset": None}, 0, "ok"),
        ({"deadlocks": 3}, 3, "warning"),
    ],
)
def test_deadlocks_are_those_since_the_last_run(given: dict[str, Any], value: int, status: str) -> None:
    check = found(row(**given), past(found(row(deadlocks=7)), found(row())))["deadlocks"]
    assert (check.value, check.status) == (value, status)


def test_temporary_files_are_those_since_the_last_run() -> None:
    before = past(found(row()))
    check = found(row(temp_bytes=10**6 + 500), before, temporary_files={"warning": 500})["temporary_files"]
    assert (check.value, check.status) == (500, "warning")
    assert "the last run, 24.0 h ago" in check.message


def test_growth_is_over_all_earlier_runs() -> None:
    sizes = [10**9, 10**9 + 9 * 10**8, 10**9 + 2 * 10**6]
    before = past(*[found(row(size=each)) for each in sizes])
    check = found(row(size=10**9 + 3 * 10**6), before)["growth"]
    assert (check.value, check.unit, check.status) == (pytest.approx(1.0, abs=0.01), "MB/day", "ok")
    assert found(row(size=4 * 10**9), before, growth={"critical": 900})["growth"].status == "critical"
    assert found(row(size=1), before, growth={"critical": 900})["growth"].value < 0


def test_growth_needs_runs_and_days() -> None:
    few = past(found(row()), found(row()))
    assert "2 of 3" in found(row(size=10**12), few)["growth"].message
    close = past(*[found(row())] * 3, days=-1.9)
    assert "over 0.1 of 1 days" in found(row(size=10**12), close)["growth"].message


@pytest.mark.parametrize(
    ("size", "capacity", "value", "status"),
    [
        (10**9 + 3 * 10**8, 10**11, 987, "ok"),
        (10**9 + 3 * 10**8, 4 * 10**9, 27, "warning"),
        (10**9 + 3 * 10**8, 14 * 10**8, 1, "critical"),
        (10**9 + 3 * 10**8, 10**9, 0, "critical"),
        (10**9, 10**11, "does not grow", "ok"),
    ],
)
def test_days_left_where_the_capacity_is_known(size: int, capacity: float, value: Any, status: str) -> None:
    checks = found(row(size=size), past(*[found(row())] * 3))
    check = trend.days_left(list(checks.values()), capacity, thresholds())
    assert (check.value, check.status) == (value if isinstance(value, str) else pytest.approx(value, abs=1), status)


def test_days_left_is_not_guessed() -> None:
    check = trend.days_left(list(found(row()).values()), 10**12, thresholds())
    assert (check.value, check.status) == ("not known yet", "ok")
    assert trend.days_left(list(found(row(size=10**12)).values()), 10**12, thresholds()).status == "critical"


SLOW = {
    "hidden": 0,
    "track": "top",
    "queryid": "-7",
    "query": "SELECT * FROM orders WHERE id = $1",
    "calls": 12,
    "mean": 1500.0,
    "longest": 9000.0,
}


def test_slow_statements() -> None:
    check = judged(statements.slow, SLOW, {**SLOW, "mean": 3.0})
    assert (check.status, check.value) == ("warning", 1500.0)
    assert [each["queryid"] for each in check.details["statements"]] == ["-7", "-7"]
    assert "SELECT * FROM orders WHERE id = $1" in check.message
    nothing_ran = {**dict.fromkeys(SLOW), "hidden": 0, "track": "top"}
    assert (judged(statements.slow, nothing_ran).status, judged(statements.slow, nothing_ran).value) == ("ok", 0)


@pytest.mark.parametrize("change", [{"hidden": 3}, {"track": "none"}])
def test_statements_that_are_hidden_or_not_recorded_are_unknown(change: dict[str, Any]) -> None:
    with pytest.raises(sql.NotMeasured):
        judged(statements.slow, {**SLOW, **change, "mean": 1.0})


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("select\n  a,  $1::text from t", "select a, $1::text from t"),
        ("ALTER ROLE trader PASSWORD 'hush'", "ALTER ROLE …"),
        ("CREATE USER MAPPING FOR x SERVER y OPTIONS (password 'hush')", "CREATE USER …"),
        ("SELECT dblink('password=hush', $1)", "SELECT dblink('…', $1)"),
        ("SELECT E'it\\'s hush', 'it''s hush'", "SELECT E'…', '…'"),
        ("SELECT $body$ hush 'hush $body$, $1", "SELECT '…', $1"),
        ("SELECT /* hush */ 1 -- hush", "SELECT 1"),
        ("SELECT 'hush that is cut of", "SELECT '…'"),
        ("/* hush */ SELECT 1", "SELECT 1"),
        ("COPY t TO PROGRAM 'curl -u x:hush'", "COPY t …"),
        ("", "…"),
    ],
)
def test_text_of_a_statement_shows_no_constant(query: str, shown: str) -> None:
    text = statements.normalised(query)
    assert "hush" not in text
    assert text.strip() == shown
    assert len(statements.normalised(f"SELECT {'x' * 9000}")) == 200


SEQUENCE = {"nspname": "public", "relname": "orders_id_seq", "hidden": False, "used": 10.0}


@pytest.mark.parametrize(
    ("used", "status"), [(None, "ok"), (69.9, "ok"), (70.0, "warning"), (90.0, "critical"), (100.0, "critical")]
)
def test_sequences(used: float | None, status: str) -> None:
    check = judged(statements.sequences, SEQUENCE, {**SEQUENCE, "relname": "x", "used": used})
    assert check.status == status
    assert judged(statements.sequences).value == 0


def test_sequences_that_are_hidden_are_unknown_unless_one_seen_is_critical() -> None:
    secret = {**SEQUENCE, "hidden": True, "used": None}
    with pytest.raises(sql.NotMeasured, match="hidden"):
        judged(statements.sequences, SEQUENCE, secret)
    assert judged(statements.sequences, {**SEQUENCE, "used": 95.0}, secret).status == "critical"


class Refusing:
    """A cursor whose statement is refused."""

    closed = False

    def __init__(self, error: type[psycopg2.Error], code: str) -> None:
        self.connection = self
        self.error = type("Refused", (error,), {"pgcode": code})("it is not there")

    def execute(self, statement: str, parameters: object = None) -> None:
        # The savepoint around it is none of what is refused.
        if "SAVEPOINT" not in statement:
            raise self.error


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (psycopg2.errors.UndefinedTable, "42P01", "not installed"),
        (psycopg2.errors.ObjectNotInPrerequisiteState, "55000", "not loaded"),
        (psycopg2.errors.InsufficientPrivilege, "42501", "it is not there"),
    ],
)
def test_statistics_of_statements_that_cannot_be_had(error: type[psycopg2.Error], code: str, text: str) -> None:
    (probe,) = (each for each in statements.STATEMENTS if each.source == "pg_stat_statements")
    (check,) = sql.ask(Refusing(error, code), probe, {}, "Grant it.")
    assert (check.status, bool(check.remedy)) == ("unknown", True)
    assert text in check.message
