"""What incidents and changes cost while they lasted, and what of it is not known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders import costs
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.costs import Lasted
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.past import Event, Operations, _run

RATES = {"USD": Decimal(1), "EUR": Decimal("1.5"), "GBP": None}


def row(**given: Any) -> dict[str, Any]:
    """Of 10 that were held and fell from 5 to 4."""
    numbers: dict[str, Any] = {"held": 10, "later": 0, "during": 0, "paid": 0, "begin_price": 5, "end_price": 4}
    found: dict[str, Any] = {name: Decimal(value) for name, value in numbers.items()}
    found |= {"span": "0", "strategy": "s", "instrument": "X", "multiplier": Decimal(1), "currency": "USD"}
    return {**found, "end_inside": True, **given}


def missed(**given: Any) -> dict[str, Any]:
    """A backtest bought 3 at 2, which are worth 4 each at the end."""
    found: dict[str, Any] = {"span": "0", "instrument": "X", "fills": 1, "quantity": Decimal(3), "amount": Decimal(6)}
    return {**found, "multiplier": Decimal(1), "price": Decimal(4), "currency": "USD", "end_inside": True, **given}


def cost(rows: list[dict[str, Any]], fills: list[dict[str, Any]], **given: Any) -> tuple[dict[str, Any], str]:
    event = Event("2026-10-02T12:00:00Z", "incident", "Feed lost", "", "me")
    operations = Operations(incidents=[event])
    costs.tell(operations, Lasted({"0": event}, rows, missed=fills, **given), RATES)
    return event.cost, costs.shown(event, "USD")


def test_what_the_book_made_and_missed() -> None:
    found, text = cost([row(), row(instrument="Y", currency="EUR"), row(span="1")], [missed(), missed(span="1")])
    assert (found["result"], found["missed_fills"], found["missed_result"]) == (Decimal(-25), 1, Decimal(6))
    assert text == (
        "The book made -25.00 USD before fees while it lasted. 1 fill of backtests missed, which would have made +6.00"
        " USD by its end."
    )
    nothing, text = cost([], [])
    assert (nothing["result"], nothing["missed_fills"]) == (0, 0)
    assert text.endswith("0 fills of backtests missed.")


@pytest.mark.parametrize(
    ("rows", "given", "said"),
    [
        # What was seen last before it began would say that nothing happened.
        ([row(end_inside=False)], {}, "X has no price from while it lasted"),
        ([row(end_inside=None, end_price=None)], {}, "X has no price from while it lasted"),
        ([row(begin_price=None)], {}, "no recent price at the beginning of the time that it lasted"),
        ([row(currency="GBP")], {}, "there is no rate of GBP"),
        ([], {"lacking": "there is no view maintenance.positions."}, "there is no view maintenance.positions"),
    ],
)
def test_a_result_that_is_not_known(rows: list[dict[str, Any]], given: dict[str, Any], said: str) -> None:
    found, text = cost(rows, [], **given)
    assert found["result"] is None
    assert "What the book made is not known: " in text
    assert said in text


@pytest.mark.parametrize(
    ("fills", "given", "said"),
    [
        ([missed(price=None)], {}, "1 fill of backtests missed; what they would have made is not known: X has no"),
        ([missed(price=Decimal(0))], {}, "is not known: X has no recent price"),
        ([missed(price=Decimal(-4))], {}, "is not known: X has no recent price"),
        ([missed(end_inside=False)], {}, "is not known: X has no price from while it lasted"),
        ([missed(currency="GBP")], {}, "is not known: X has no recent price"),
        ([missed(quantity=Decimal("NaN"))], {}, "is not known: X: a quantity"),
        ([], {"no_missed": "there is no view maintenance.backtest_fills."}, "Missed fills are not known: there is no"),
    ],
)
def test_missed_fills_that_are_not_known(fills: list[dict[str, Any]], given: dict[str, Any], said: str) -> None:
    found, text = cost([], fills, **given)
    assert found["missed_result"] is None
    assert said in text


@pytest.mark.parametrize(
    ("began", "ended"), [("", ""), ("2026-10-02T12:00:00Z", ""), ("2026-10-02T12:00:00Z", "2026-10-02T11:00:00Z")]
)
def test_an_event_without_a_begin_and_an_end(began: str, ended: str) -> None:
    event = Event("2026-10-02T12:00:00Z", "incident", "Feed lost", "", "me", began, ended)
    operations = Operations(incidents=[event])
    read = costs.ask(operations, 96, None, {})
    costs.tell(operations, read, RATES)
    assert costs.shown(event, "USD") == ("Cost not known: its record does not tell when it began and when it ended.")


def test_a_run_whose_times_cannot_be_read_is_no_run_of_no_time() -> None:
    told = Operations()
    times = {"started_at": "2026-10-02T12:00:00Z", "finished_at": "2026-10-02T12:01:00Z"}
    for change in ({}, {"finished_at": None}, {"finished_at": "2026-10-02T11:00:00Z"}):
        _run(told, {"playbook": "daily", "worst_status": "ok", **times, **change}, "2026-10-02")
    assert told.runs["daily"] == {"runs": 3, "seconds": 60, "not_ok": 0, "untimed": 2}
