"""A validation of risk models on a sandbox: what its views say, damaged rows, and the playbook."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._validation import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import Playbook, Sandbox
from tests.integration.test_strategy_review import last_day
from tests.integration.trading_worker import altered, changed
from tests.unit.ledger_fixtures import reviews

PAIRS = "strategy/pairs-us/ewma-normal/0.95"
WHERE = "WHERE subject = 'pairs-us'"
FALL = [{"everything": True, "percent": "-10"}]
GIVEN: dict[str, Any] = {
    "currency": "USD",
    "rates": {"EUR": "FXHUB:EUR-USD"},
    "levels": ["0.95"],
    "scenarios": [
        {"name": "all fall", "shocks": FALL, "limits": {"book": "90000000"}},
        {"name": "deviations", "shocks": [{"everything": True, "deviations": "-5"}], "limits": {"book": "90000000"}},
    ],
}


def validated(platform: Sandbox, **given: Any) -> dict[str, Check]:
    given = {"database": platform.database, "until": str(last_day(platform)), **GIVEN, **given}
    result = ArgumentSpecValidator(options.SPEC).validate(given)
    assert not result.error_messages
    checks = engine.validate(result.validated_parameters).checks
    return {check.id.removeprefix("validation."): check for check in checks}


def test_what_the_sandbox_forecast(platform: Sandbox) -> None:
    found = validated(platform)
    codes = {row[0] for row in platform.sql("superuser", "SELECT code FROM strategies")}
    series = {f"strategy/{code}/ewma-normal/0.95" for code in codes} | {"book/ewma-book/0.95"}
    assert {id.partition(":")[2] for id in found if id.startswith("forecasts:")} == series
    assert {found[f"forecasts:{name}"].status for name in series} == {"ok"}
    # By hand: days of a strategy that trades round the clock that lost more than was forecast.
    hits = platform.sql(
        "superuser",
        "SELECT count(*) FROM equity e JOIN risk_forecasts f ON f.subject = e.strategy_code AND f.day = e.day "
        f"WHERE e.strategy_code = 'trend-coins' AND -e.pnl > f.value_at_risk AND e.day <= '{last_day(platform)}'",
    )
    figures = found["exceptions:strategy/trend-coins/ewma-normal/0.95"].details["figures"]
    assert (figures["exceptions"], figures["sessions"]) == (hits[0][0], 90)
    assert found[f"exceptions:{PAIRS}"].details["figures"]["sessions"] < 66
    # By hand: a tenth of all that is held, in dollars.
    held = platform.sql(
        "superuser",
        "SELECT sum(p.quantity * x.price * CASE WHEN x.currency = 'EUR' THEN (SELECT price FROM prices WHERE "
        "instrument_code = 'FXHUB:EUR-USD' ORDER BY observed_at DESC LIMIT 1) ELSE 1 END) / 10 FROM positions p "
        "CROSS JOIN LATERAL (SELECT price, currency FROM maintenance.prices WHERE instrument = p.instrument_code "
        "ORDER BY observed_at DESC LIMIT 1) x",
    )
    stress = found["stress:all fall"]
    assert stress.status == "ok"
    assert float(stress.details["losses"]["book"]) == pytest.approx(float(held[0][0]), rel=1e-9)
    assert found["stress:deviations"].status == "ok"
    assert (found["inventory"].status, found["model:historical-coins 0.9"].status) == ("ok", "warning")
    limits = [check for id, check in found.items() if id.startswith("limits:")]
    assert len(limits) == 16
    assert {check.status for check in limits} <= {"ok", "warning"}
    assert all("usage" in limit for check in limits for limit in check.details["limits"])
    # One line says which of them nobody needs, and not one for each of them.
    assert not [check for check in limits if "never used" in check.message]
    assert found["limits_unused"].status in ("ok", "warning")
    assert sum(check.status == "warning" for check in limits) < 5


@pytest.mark.parametrize(
    ("statement", "id", "status", "why"),
    [
        (
            f"UPDATE risk_forecasts SET made_at = day + interval '1 hour' {WHERE}",
            *(f"forecasts:{PAIRS}", "critical", "no forecast"),
        ),
        (
            f"UPDATE risk_forecasts SET value_at_risk = -value_at_risk {WHERE}",
            f"exceptions:{PAIRS}",
            "unknown",
            "below 0",
        ),
        (f"UPDATE risk_forecasts SET expected_shortfall = 'NaN' {WHERE}", f"shortfall:{PAIRS}", "unknown", "no number"),
        (f"UPDATE risk_forecasts SET currency = 'EUR' {WHERE}", f"exceptions:{PAIRS}", "unknown", "is in EUR"),
        (
            f"UPDATE risk_forecasts SET value_at_risk = 1, expected_shortfall = 2 {WHERE}",
            *(f"exceptions:{PAIRS}", "critical", "Far too many"),
        ),
        ("DELETE FROM risk_forecasts", "forecasts", "unknown", "has no row"),
        ("DELETE FROM risk_models WHERE model = 'ewma-normal'", "inventory", "critical", "ewma-normal 1.4"),
        (
            "DELETE FROM limit_use WHERE metric = 'leverage'",
            "limits:strategy/pairs-us",
            "unknown",
            "leverage: nobody tells",
        ),
        (
            "DELETE FROM prices WHERE instrument_code = 'XNYS:NWND'",
            *("stress:all fall", "unknown", "no recent price above 0 of XNYS:NWND"),
        ),
        (
            "UPDATE equity SET pnl = pnl + 1 WHERE strategy_code = 'pairs-us'",
            f"exceptions:{PAIRS}",
            "unknown",
            "identity",
        ),
    ],
)
def test_what_is_wrong_is_told(platform: Sandbox, statement: str, id: str, status: str, why: str) -> None:
    with changed(platform, statement):
        check = validated(platform)[id]
    assert (check.status, why in check.message) == (status, True), check.message


def test_a_view_that_is_not_there(platform: Sandbox) -> None:
    rename = "ALTER VIEW maintenance.{} RENAME TO {}"
    with altered(platform, rename.format("risk_forecasts", "was"), rename.format("was", "risk_forecasts")):
        found = validated(platform)
    assert found["forecasts"].status == "unknown"
    assert "there is no view maintenance.risk_forecasts" in found["forecasts"].message
    assert "A plain historical model (reference)" in found["forecasts"].message
    assert found["stress:all fall"].status == "ok"
    column = "ALTER VIEW maintenance.equity RENAME COLUMN {} TO {}"
    with altered(platform, column.format("pnl", "result"), column.format("result", "pnl")):
        assert {check.status for check in validated(platform).values()} == {"unknown"}


def test_the_monthly_playbook_validates_and_records(platform: Sandbox, play: Callable[..., Playbook]) -> None:
    done = play("monthly", "--tags", "validation")
    assert done.returncode == 0, done.output
    report = done.report("monthly")
    assert {check["area"] for check in report["checks"]} == {"validation"}
    assert report["expected_missing"] == []
    # Whether a model was unlucky in ninety made-up days differs from sandbox to sandbox; nothing else is bad.
    statistical = ("validation.exceptions:", "validation.clusters:", "validation.shortfall:", "validation.coverage:")
    bad = [check["id"] for check in report["checks"] if check["status"] == "critical"]
    assert [id for id in bad if not id.startswith(statistical)] == []
    page = (done.artifacts / "monthly" / report["run_id"] / "report.html").read_text(encoding="utf-8")
    assert page.count('<figure class="chart">') == 13
    (record,) = reviews(platform.storage, report["run_id"])
    assert (record["method"], record["title"]) == (engine.METHOD, engine.TITLE)
    assert ["ewma-normal", "1.4", "J. Weber"] in record["models"]
    assert "sessions" in record["checks"][f"validation.exceptions:{PAIRS}"]
    assert platform.database["password"] not in json.dumps(record)
