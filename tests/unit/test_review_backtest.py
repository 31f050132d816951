"""Live against backtest: a bridge that adds up to the last digit, and drift with what it does not know."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance import bridge
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.reading import Read
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.returns import Undefined

from tests.unit.test_review_books import FIRST, followed, moment, row
from tests.unit.test_review_engine import TODAY, reviewed, three

DAYS = [FIRST + timedelta(days=place) for place in range(5)]


def told(day: date, pnl: str, fees: str = "0.5", funding: str = "0", currency: str = "USD") -> dict[str, Any]:
    numbers = {"pnl": Decimal(pnl), "fees": Decimal(fees), "funding": Decimal(funding)}
    return {"strategy": "good", "day": day, "currency": currency, **numbers}


def filled(day: date, instrument: str = "A", currency: str = "USD", **numbers: str) -> dict[str, Any]:
    names = (*("data", "timing", "price"), *(f"{one}_{two}" for one in ("missed", "size") for two in KINDS))
    given = {name: Decimal(numbers.pop(name, "0")) for name in names}
    assert not numbers
    counts = {"matched": 1, "missed": 0, "unplanned": 0, "unpriced": 0}
    return {"strategy": "good", "instrument": instrument, "day": day, "currency": currency, **given, **counts}


KINDS = ("quantity", "amount")


def live(count: int = 5) -> Any:
    rows = [row(place, str(100 + 2 * (place + 1)), "2") for place in range(count)]
    return followed(rows, now=moment(date(2026, 7, 1))).days


def expected(pnl: str = "1", **more: str) -> Any:
    return bridge.expected_days(live(), "USD", [told(day, pnl, **more) for day in DAYS])


def test_terms_and_residual_add_up_exactly() -> None:
    third = str(Decimal(1) / Decimal(3))
    rows = [filled(DAYS[0], data="0.1", timing=third, price="-0.7"), filled(DAYS[4], price="0.000000000000000001")]
    found = bridge.bridge(expected(fees="0.3", funding="-0.1"), "USD", rows, {}, [])
    assert found.live == 10
    assert found.expected == 5
    assert found.terms["fees"] == Decimal("-1.0")
    assert found.terms["funding"] == Decimal("0.5")
    assert found.terms["timing"] == Decimal(third)
    with localcontext(prec=100):
        assert sum(found.terms.values()) + found.residual + found.expected == found.live
        assert sum(found.daily) == found.residual
    assert len(found.daily) == 5


def test_what_only_the_backtest_filled_is_marked_by_each_day() -> None:
    # It would have bought 2 at 10 on the second day, and the price went to 11, 13 and 12.
    rows = [filled(DAYS[1], missed_quantity="-2", missed_amount="-20")]
    marks = {"A": dict(zip(DAYS[1:], map(Decimal, ("10.5", "11", "13", "12")), strict=True))}
    found = bridge.bridge(expected(), "USD", rows, marks, [])
    assert found.terms["missed"] == Decimal(-4)
    assert found.terms["size"] == 0
    # By day: -1, -1, -4, +2; without them one of 1 a day is left.
    assert [str(value) for value in found.daily] == ["1.0", "2.0", "2.0", "5.0", "-1.0"]
    # One that was closed needs no more prices.
    rows.append(filled(DAYS[2], missed_quantity="2", missed_amount="22"))
    assert bridge.bridge(expected(), "USD", rows, {"A": dict(list(marks["A"].items())[:2])}, []).terms["missed"] == -2
    with pytest.raises(Undefined, match="no price of A for 2026-03-05"):
        bridge.bridge(expected(), "USD", rows[:1], {"A": dict(list(marks["A"].items())[:2])}, [])


def test_more_than_the_backtest_had_is_size() -> None:
    rows = [filled(DAYS[4], size_quantity="3", size_amount="30")]
    found = bridge.bridge(expected(), "USD", rows, {"A": {DAYS[4]: Decimal(9)}}, [])
    assert found.terms["size"] == -3
    assert bridge.wanted_marks([*rows, filled(DAYS[0], "B")]) == ["A"]


def test_funding_counts_on_both_sides_or_is_not_measured() -> None:
    paid = [{"day": DAYS[2], "currency": "USD", "amount": Decimal("-0.4")}]
    found = bridge.bridge(expected(funding="-0.1"), "USD", [], {}, paid)
    assert found.terms["funding"] == Decimal("0.1")
    found = bridge.bridge(expected(funding="-0.1"), "USD", [], {}, None)
    assert found.terms["funding"] == 0
    assert found.unmeasured == ["funding"]


@pytest.mark.parametrize(
    ("rows", "funded", "why"),
    [
        ([filled(DAYS[0], currency="EUR")], [], "not priced in USD"),
        ([filled(DAYS[0], data="NaN")], [], "no side, price, multiplier or number"),
        ([filled(DAYS[0], missed_amount="NaN")], [], "no side, price, multiplier or number"),
        ([], [{"day": DAYS[0], "currency": "EUR", "amount": Decimal(1)}], "funding has another currency"),
        ([], [{"day": DAYS[0], "currency": "USD", "amount": Decimal("NaN")}], "funding has another currency"),
    ],
)
def test_a_bridge_that_nobody_can_tell(rows: Any, funded: Any, why: str) -> None:
    with pytest.raises(Undefined, match=why):
        bridge.bridge(expected(), "USD", rows, {}, funded)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rows: rows.clear(), "no day that both have"),
        (lambda rows: rows.pop(2), "no expectation of 2026-03-04"),
        (lambda rows: rows.append(rows[0]), "two expectations"),
        (lambda rows: rows[1].update(currency="EUR"), "another currency"),
        (lambda rows: rows[1].update(day=None), "no day"),
        (lambda rows: rows[1].update(pnl=Decimal("NaN")), "none"),
        (lambda rows: rows[1].update(fees=None), "none"),
    ],
)
def test_expectations_that_do_not_fit(change: Any, why: str) -> None:
    rows = [told(day, "1") for day in DAYS]
    change(rows)
    with pytest.raises(Undefined, match=why):
        bridge.expected_days(live(), "USD", rows)


def test_days_that_only_one_has_at_either_end_are_left_out() -> None:
    rows = [told(day, "1") for day in [*DAYS[1:], DAYS[4] + timedelta(days=1)]]
    assert [day.day for day, _row in bridge.expected_days(live(), "USD", rows)] == DAYS[1:]
    assert bridge.drifted(bridge.expected_days(live(), "USD", rows))[0] == pytest.approx(1 / 102)


def test_a_mean_has_an_interval_that_knows_of_dependence() -> None:
    random = np.random.default_rng(3)
    noise = random.normal(0, 1, 2000)
    slow = np.convolve(noise, np.ones(5) / 5, mode="same")
    width = [
        bridge.mean(values.tolist(), 0.95).high - bridge.mean(values.tolist(), 0.95).low for values in (noise, slow)
    ]
    assert width[0] == pytest.approx(2 * 1.96 / 2000**0.5, rel=0.1)
    # The mean of what is smoothed varies as much as before, although its values vary less.
    assert width[1] == pytest.approx(width[0], rel=0.25)
    with pytest.raises(Undefined):
        bridge.mean([1.0, 2.0], 0.95)


def compared(noise: float, offset: float = 0.0, days: int = 398, **given: Any) -> Read:
    """A strategy that should have earned as much, less an offset, but for noise."""
    found = three()
    random = np.random.default_rng(5)
    found.expected = []
    for one in found.equity["good"]:
        if TODAY - timedelta(days=days) <= one["day"] < TODAY:
            apart = Decimal(round(random.normal(offset, noise), 4)) if noise or offset else Decimal(0)
            found.expected.append(told(one["day"], str(one["pnl"] - apart), "0.1"))
    for name, value in given.items():
        setattr(found, name, value)
    return found


def test_live_as_expected_is_well() -> None:
    checks = reviewed(compared(0.01))
    assert (checks["bridge:good"].status, checks["drift:good"].status) == ("ok", "ok")
    figures = checks["bridge:good"].details["bridge"]
    terms = [Decimal(figures[name]) for name in (*bridge.TERMS, "expected", "residual")]
    with localcontext(prec=100):
        assert sum(terms) == Decimal(figures["live"])
    assert "bridge:bad" not in checks
    assert "Without a backtest to compare with: bad, dull." in checks["strategies"].message


def test_money_that_nobody_can_explain_alarms() -> None:
    checks = reviewed(compared(0.01, 0.5))
    assert checks["bridge:good"].status == "warning"
    assert "Unexplained" in checks["bridge:good"].message
    assert checks["drift:good"].status == "warning"


def test_little_that_comes_every_day_alarms_too() -> None:
    checks = reviewed(compared(0.001, 0.005))
    assert checks["bridge:good"].value < 0.5
    assert checks["bridge:good"].status == "warning"
    assert "Beyond chance" in checks["bridge:good"].message


def test_too_few_days_or_too_much_noise_tell_nothing() -> None:
    checks = reviewed(compared(0.01, days=30))
    assert (checks["bridge:good"].status, checks["drift:good"].status) == ("unknown", "unknown")
    assert reviewed(compared(20.0))["drift:good"].status == "unknown"


def test_what_is_expected_must_be_there() -> None:
    checks = reviewed(three())
    assert not [id for id in checks if id.startswith(("bridge", "drift"))]
    assert "no view maintenance.backtest_expectations" in checks["strategies"].message
    checks = reviewed(three(), expectations=["good"])
    assert checks["bridge:good"].status == checks["drift:good"].status == "unknown"
    assert "Define maintenance.backtest_expectations" in checks["bridge:good"].remedy
    found = compared(0.01)
    assert reviewed(found, expectations=["bad"])["bridge:bad"].status == "unknown"
    assert reviewed(found, expectations=["god"])["options:god"].status == "unknown"


def test_views_that_cannot_be_read_are_unknown() -> None:
    found = compared(0.01, expected=[], reasons={"expected": "view X has no column pnl"})
    assert reviewed(found)["backtests"].status == "unknown"
    assert reviewed(found, expectations=["good"])["bridge:good"].status == "unknown"
    found = compared(0.01, reasons={"bridged": "there is no view maintenance.backtest_fills"})
    checks = reviewed(found)
    assert (checks["bridge:good"].status, checks["drift:good"].status) == ("unknown", "ok")
    checks = reviewed(compared(0.01, reasons={"funded": "there is no view maintenance.transactions"}))
    assert checks["bridge:good"].status == "unknown"
    assert "funding cannot be told" in checks["bridge:good"].message


def test_books_that_do_not_add_up_cannot_be_compared() -> None:
    found = compared(0.01)
    found.equity["good"][200]["equity"] += 1
    checks = reviewed(found)
    assert checks["bridge:good"].status == checks["drift:good"].status == "unknown"
