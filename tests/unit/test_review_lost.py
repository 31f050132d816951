"""What a drawdown is made of, and how much of its markets a strategy takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.instruments import Span
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.reading import Read
from ansible_collections.tradingflow.maintenance.plugins.module_utils._review import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.unit.test_review_engine import TODAY, book, options, three, track

LAST = TODAY - timedelta(days=1)


def falling(**given: Any) -> Read:
    """One that lost 7, 2 and 4 on its last days, and paid 0.1 on each."""
    rows = track(1, 100, 0.01, **given)
    equity = rows[-5]["equity"]
    for row, pnl in zip(rows[-4:], (-7, -2, -4, -1), strict=True):
        equity += pnl
        row.update(pnl=Decimal(pnl), equity=equity)
    # Its highest point is the day before.
    high = max(row["equity"] for row in rows[:-5])
    rows[-5].update(pnl=high + 1 - rows[-6]["equity"], equity=high + 1)
    for row in rows[-4:]:
        row["equity"] += high + 1 - (equity + 14)
    return book(one=rows)


def moved(instrument: str, **given: Any) -> dict[str, Any]:
    row = dict.fromkeys(("held", "later", "during", "paid"), Decimal(0))
    row |= {"multiplier": Decimal(1), "begin_price": Decimal(10), "end_price": Decimal(9)}
    return {**row, "span": "one", "strategy": "one", "instrument": instrument, "currency": "USD", **given}


def reviewed(found: Read, rows: Sequence[dict[str, Any]], why: str = "", **given: Any) -> tuple[Check, list[Span]]:
    asked: list[Span] = []

    def ask(spans: Sequence[Span]) -> tuple[list[Any], str]:
        asked.extend(spans)
        return list(rows), why

    result = engine.reviewed(found, options(**given), {}, ask)
    (check,) = [check for check in result.checks if check.id == "review.drawdown:one"]
    if "contributors" in check.details:
        assert result.record["strategies"]["one"]["drawdown_contributors"] == check.details["contributors"]
    return check, asked


def test_a_drawdown_is_told_by_instrument_to_the_last_digit() -> None:
    # 8 of X fell by 1 each; Y was bought and sold again, for 4 less.
    rows = [moved("X", held=Decimal(8)), moved("Y", paid=Decimal(4))]
    check, asked = reviewed(falling(), rows)
    begin = datetime(LAST.year, LAST.month, LAST.day, tzinfo=UTC) - timedelta(days=2)
    assert asked == [("one", "one", begin, begin + timedelta(days=3))]
    told = check.details["contributors"]
    assert told["instruments"] == {"X": "-8", "Y": "-4"}
    assert (told["money"], told["fees"], told["unexplained"]) == ("-13", "0.3", "-0.7")
    parts = [*told["instruments"].values(), told["unexplained"]]
    assert sum(map(Decimal, parts)) - Decimal(told["fees"]) == Decimal(told["money"])
    when = LAST - timedelta(days=3)
    assert f"Since the peak of {when} it made -13.00 USD: X -8.00, Y -4.00, fees -0.30, not explained -0.70." in (
        check.message
    )


@pytest.mark.parametrize(
    ("rows", "why", "said"),
    [
        ([], "there is no view maintenance.positions", "there is no view maintenance.positions"),
        ([moved("X", held=Decimal(8), end_price=None)], "", "X: it has no recent price at the end of the drawdown"),
        ([moved("X", held=Decimal("NaN"))], "", "X: a quantity"),
        ([moved("X", held=Decimal(8), currency="EUR")], "", "X: there is no rate of EUR"),
    ],
)
def test_what_instruments_brought_may_not_be_known(rows: list[dict[str, Any]], why: str, said: str) -> None:
    check, _asked = reviewed(falling(), rows, why)
    assert f"it made -13.00 USD; by instrument it is not known: {said}" in check.message
    assert "instruments" not in check.details["contributors"]


def test_without_fees_they_are_in_the_rest() -> None:
    found = falling()
    for row in found.equity["one"]:
        row["fees"] = None
    check, _asked = reviewed(found, [moved("X", held=Decimal(8))])
    assert (check.details["contributors"]["fees"], check.details["contributors"]["unexplained"]) == (None, "-5")
    assert "fees and what is not explained -5.00" in check.message


def test_an_instrument_of_another_currency_is_converted() -> None:
    found = falling()
    found.rates = {"EUR": {LAST: Decimal("1.5")}}
    check, _asked = reviewed(found, [moved("X", held=Decimal(8), currency="EUR")], currency="USD")
    assert check.details["contributors"]["instruments"] == {"X": "-12.0"}


def test_who_is_at_the_peak_is_asked_nothing() -> None:
    found = falling()
    found.equity["one"][-2].update(pnl=Decimal(50), equity=found.equity["one"][-3]["equity"] + 50)
    found.equity["one"][-1].update(equity=found.equity["one"][-2]["equity"] - 1)
    check, asked = reviewed(found, [])
    assert asked == []
    assert "contributors" not in check.details


def volume(**given: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"strategy": "good", "traded": 20, "known": 20, "most": 0.09, "usual": 0.04}
    return {**row, "instrument": "X", "day": LAST, "unknown": None, "unknown_day": None, **given}


def capacity(rows: list[dict[str, Any]], reason: str = "", **given: Any) -> Check:
    found = three()
    found.volumes, found.reasons["volumes"] = rows, reason
    (check,) = [
        check for check in engine.reviewed(found, options(**given), {}).checks if check.id.startswith("review.capacity")
    ]
    return check


def test_capacity() -> None:
    well = capacity([volume()])
    assert (well.id, well.status, well.value) == ("review.capacity:good", "ok", 4)
    assert "at most 9.00 % (X on 2026-05-31)" in well.message
    assert "At 10 % it would trade about 2.5 times as much." in well.message
    assert capacity([volume(usual=0.1, most=0.3)]).status == "warning"
    limits = {"participation": {"critical": 5}}
    assert capacity([volume(usual=0.06)], thresholds=limits).status == "critical"


def test_capacity_that_is_not_known() -> None:
    missing = capacity([volume(known=19, unknown="Y", unknown_day=LAST)])
    assert (missing.status, missing.value) == ("unknown", None)
    assert "Of 1 of 20 instruments and days there is no volume" in missing.message
    assert "times as much" not in missing.message
    # What is bad already stays so.
    assert capacity([volume(known=19, usual=0.2, unknown="Y", unknown_day=LAST)]).status == "warning"
    assert capacity([volume(known=0, usual=None, most=None, unknown="Y", unknown_day=LAST)]).status == "unknown"
    nobody = capacity([], "there is no view maintenance.market_volume")
    assert (nobody.id, nobody.status) == ("review.capacity", "unknown")
    assert "there is no view maintenance.market_volume" in nobody.message
    assert capacity([]).status == "unknown"


def test_the_first_days_of_a_strategy_can_be_its_drawdown() -> None:
    rows = track(1, 4, 0.0)
    equity = Decimal(1000)
    for row in rows:
        equity -= 5
        row.update(pnl=Decimal(-5), equity=equity)
    check, asked = reviewed(book(one=rows), [moved("X", held=Decimal(8))])
    assert asked[0][2].date() == TODAY - timedelta(days=3)
    assert "Since the beginning it made -15.00 USD: X -8.00" in check.message
    assert isinstance(asked[0][3].date(), date)
