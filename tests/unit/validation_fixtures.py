"""Books and forecasts for tests of the validation of risk models."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Context, Decimal
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.reading import Read
from ansible_collections.tradingflow.maintenance.plugins.module_utils._validation import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._validation.options import SPEC, checked
from ansible_collections.tradingflow.maintenance.plugins.module_utils._validation.reading import Risk
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.unit.test_review_engine import DATABASE, TODAY, book, moment

FIRST = TODAY - timedelta(days=400)


def options(**given: Any) -> dict[str, Any]:
    """Checked options; one level of 95 %."""
    given = {"database": DATABASE, "levels": ["0.95"], **given}
    result = ArgumentSpecValidator(SPEC).validate(given)
    assert not result.error_messages, result.error_messages
    return checked(result.validated_parameters)


def books(*results: str | int, name: str = "one", currency: str = "USD") -> Read:
    """A strategy that earned this on the last days, yesterday's last, from a capital of 1000."""
    equity, rows, sums = Decimal(1000), [], Context(prec=60)
    for place, text in enumerate(results):
        day = TODAY - timedelta(days=len(results) - place)
        equity = sums.add(equity, Decimal(text))
        as_of = moment(day + timedelta(days=1))
        rows.append(
            {"day": day, "currency": currency, "equity": equity, "pnl": Decimal(text), "fees": None, "as_of": as_of}
        )
    return book(**{name: rows})


def forecast(ago: int, var: str = "10", es: str | None = "15", **given: Any) -> dict[str, Any]:
    """Of a day, made ten minutes before it."""
    day = TODAY - timedelta(days=ago)
    row = {
        "scope": "strategy",
        "subject": "one",
        "day": day,
        "currency": "USD",
        "confidence": Decimal("0.95"),
        "var": Decimal(var),
        "es": None if es is None else Decimal(es),
        "model": "ewma",
        "version": "1",
        "made_at": moment(day) - 600,
    }
    return {**row, **given}


def forecasts(count: int, **given: Any) -> list[dict[str, Any]]:
    """Of the last days, tomorrow's and today's too."""
    return [forecast(ago, **given) for ago in range(-1, count + 1)]


def risk(rows: list[dict[str, Any]], **others: Any) -> Risk:
    return Risk({"forecasts": rows, **others})


def validated(found: Read, rows: list[dict[str, Any]], others: Any = None, **given: Any) -> dict[str, Check]:
    """All checks, by what stands behind the area and before the model."""
    checks = engine.validated(found, risk(rows, **(others or {})), options(**given)).checks
    assert len({check.id for check in checks}) == len(checks)
    json.dumps([check.as_dict() for check in checks], allow_nan=False)
    return {check.id.removeprefix("validation.").replace("/ewma/0.95", ""): check for check in checks}


def pattern(hits: str) -> list[int]:
    """Results of days: 1 loses more than value at risk, the others earn a little, no two the same."""
    return [-14 - place % 3 if hit == "1" else 1 + place % 5 for place, hit in enumerate(hits)]


def spread(count: int, hits: int) -> str:
    """So many exceptions in so many sessions, each as far from the next as can be."""
    found = ["0"] * count
    for number in range(hits):
        found[(2 * number + 1) * count // (2 * hits)] = "1"
    return "".join(found)


def day(ago: int) -> date:
    return TODAY - timedelta(days=ago)
