"""A month of some books: what is told of it, and what is not."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.reading import Read
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.instruments import Asked
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.month import (
    Month,
    month,
    rates_at_end,
)

from tests.unit.test_review_engine import book, track
from tests.unit.test_review_engine import options as of_review

FIRST, LAST = date(2026, 5, 1), date(2026, 5, 31)


def told(found: Read, more: Asked | None = None, **change: Any) -> Month:
    given = {**of_review(currency="USD"), "first": FIRST, "last": LAST, "until": LAST, "paths": 100, **change}
    return month(found, more or Asked(), given)


def of_instruments(strategy: str, **change: Any) -> dict[str, Any]:
    row = {"strategy": strategy, "instrument": "X", "multiplier": Decimal(1), "currency": "USD"}
    row |= {"begin_price": Decimal(1), "end_price": Decimal(1)}
    return {**row, **dict.fromkeys(("held", "later", "during", "paid"), Decimal(0)), **change}


def test_a_strategy_that_begins_after_the_month_is_no_part_of_it() -> None:
    found = book(good=track(1, 100, 0.001), late=[])
    assert told(found).book.doubt
    found.after = {"late"}
    made = told(found)
    assert made.book.doubt == ""
    assert [line.name for line in made.strategies] == ["good"]


def test_a_strategy_that_stopped_since_has_to_have_all_of_the_month() -> None:
    found = book(good=track(1, 100, 0.001))
    found.equity["good"] = [row for row in found.equity["good"] if row["day"] < date(2026, 5, 28)]
    found.strategies[0]["state"] = "stopped"
    assert told(found).book.doubt == ""
    # It went on after the month: the last days are missing, and were not its end.
    found.after = {"good"}
    (line,) = told(found).strategies
    assert "no equity of 2026-05-28" in line.doubt
    assert told(found).book.doubt


def test_what_instruments_do_not_explain_is_held_against_capital_in_one_currency() -> None:
    found = book(yen=track(1, 100, 0.02, currency="JPY"))
    days = [FIRST + timedelta(days=place) for place in range(-100, 40)]
    found.rates = {"JPY": dict.fromkeys(days, Decimal("0.006"))}
    made = told(found)
    # Nothing explains its result: all of it is unexplained.
    result = made.attribution.results["yen"] + sum(day.fees or 0 for day in made.book.days)
    assert made.attribution.unexplained["yen"] == result
    check = engine._instruments(made)
    assert check.status == "warning"
    assert abs(check.value - float(result / made.book.days[-1].equity) * 100) < 0.01


def test_executions_without_a_day_of_equity_in_the_month_are_not_overlooked() -> None:
    early = [row for row in track(1, 100, 0.001) if row["day"] < date(2026, 4, 1)]
    found = book(good=track(2, 100, 0.001), gone=early)
    found.strategies[1]["state"] = "stopped"
    more = Asked([of_instruments("gone", paid=Decimal(-50))])
    made = told(found, more)
    assert "no equity in the month" in made.attribution.instruments.doubts["gone"]
    assert engine._instruments(made).status == "unknown"


def test_a_book_that_lost_all_has_no_contributions_and_a_report_all_the_same() -> None:
    rows = track(1, 100, 0.001)
    place = next(place for place, row in enumerate(rows) if row["day"] == date(2026, 5, 20))
    lost = rows[place - 1]["equity"]
    rows[place] |= {"equity": Decimal(0), "pnl": -lost}
    for row in rows[place + 1 :]:
        row |= {"equity": Decimal(0), "pnl": Decimal(0)}
    made = told(book(good=rows))
    assert made.attribution.contributions == {}
    assert engine._instruments(made).status == "unknown"


def test_rates_at_the_end_of_a_month_on_a_weekend() -> None:
    found = book()
    found.rates = {"EUR": {date(2026, 5, 29): Decimal("1.1"), date(2026, 6, 2): Decimal(9)}}
    given = {"last": LAST, "rate_age": 96}
    assert rates_at_end(found, "USD", given) == {"USD": 1, "EUR": Decimal("1.1")}
    assert rates_at_end(found, "USD", {**given, "rate_age": 24})["EUR"] is None
