"""Days as columns are what they are one by one, to the last digit, and figures what decimals gave."""

from __future__ import annotations

import itertools
from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance import history, identity, returns
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.book import convert, together
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.columns import (
    Days,
    Rows,
    made_rows,
    plain,
    read_column,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.figures import figures
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.identity import follow
from ansible_collections.tradingflow.maintenance.plugins.module_utils._review.record import inputs

from tests.unit.test_review_books import moment
from tests.unit.test_review_engine import TODAY, book, options, three, track

NOW = moment(TODAY) + 3600


def aggregated(rows: list[dict[str, Any]], **change: Any) -> dict[str, Any]:
    """Rows as the database gives them in one."""
    found = {
        "strategy": "s",
        "currency": min(row["currency"] for row in rows),
        "other": max(row["currency"] for row in rows),
        "rows": len(rows),
        "told": len(rows),
        "paid": sum(1 for row in rows if row["fees"] is not None),
        "days": ",".join(str(row["day"].toordinal()) for row in rows),
        "as_of": ",".join(repr(row["as_of"]) for row in rows),
    }
    for name in ("equity", "pnl", "fees"):
        found[name] = ",".join(f"{row[name]:f}" for row in rows if row[name] is not None) or None
    return {**found, **change}


def rows_of(rows: list[dict[str, Any]]) -> Rows:
    later = [row for row in rows if row["day"] >= TODAY]
    made = made_rows(aggregated([row for row in rows if row["day"] < TODAY]), later)  # type: ignore[arg-type]
    assert made is not None
    return made


def equal(one: identity.Track, other: identity.Track) -> None:
    assert (one.days, one.breaks, one.doubts) == (other.days, other.breaks, other.doubts)
    assert (one.partial, one.inside, one.currency) == (other.partial, other.inside, other.currency)
    if one.days:
        assert history.kept(one) == history.kept(other)


CHANGES: dict[str, Any] = {
    "as they are": lambda rows: None,
    "a break": lambda rows: rows[50].update(equity=rows[50]["equity"] + Decimal("0.0001")),
    "more digits": lambda rows: rows[50].update(fees=Decimal("0.123456789012")),
    "no fees": lambda rows: [row.update(fees=None) for row in rows],
    "large": lambda rows: [row.update({name: row[name] * 10**30 for name in ("equity", "pnl")}) for row in rows],
    "gap": lambda rows: rows.pop(20),
    "without a day that is not over": lambda rows: rows.pop(),
    "an early row": lambda rows: rows[20].update(as_of=rows[20]["as_of"] - 4000),
    "of the future": lambda rows: rows[20].update(as_of=NOW + 100),
    "a last row that is odd": lambda rows: rows[-1].update(equity=Decimal("NaN")),
    "a last row in another currency": lambda rows: rows[-1].update(currency="EUR"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("cut", [True, False])
def test_columns_and_rows_give_the_same(change: str, cut: bool) -> None:
    rows = track(1, 120, 0.001)
    CHANGES[change](rows)
    capital = None if change == "no fees" else Decimal(1000) * (10**30 if change == "large" else 1)
    flows = {rows[30]["day"]: Decimal("2.5"), rows[31]["day"] - timedelta(days=1): Decimal(-1)}
    for given in ({}, flows, {TODAY: Decimal(1)}, {rows[0]["day"]: Decimal("NaN")}):
        how = {"now": NOW, "capital": capital, "cut": cut}
        equal(follow("s", rows_of(rows), given, **how), follow("s", rows, given, **how))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": None},
        {"currency": None},
        {"other": "XXX"},
        {"told": 1},
        {"equity": "1,2"},
        {"pnl": None},
        {"paid": 3},
        {"as_of": "1,2"},
    ],
)
def test_what_is_odd_is_looked_at_row_by_row(change: dict[str, Any]) -> None:
    rows = track(1, 20, 0.001)[:-1]
    assert made_rows(aggregated(rows), []) is not None
    assert made_rows(aggregated(rows, **change), []) is None


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity")])
def test_numbers_that_are_none_are_looked_at_row_by_row(value: Decimal) -> None:
    rows = track(1, 20, 0.001)[:-1]
    rows[4]["pnl"] = value
    assert made_rows(aggregated(rows), []) is None
    rows = track(1, 20, 0.001)[:-1]
    rows[4]["day"] = rows[3]["day"]
    assert made_rows(aggregated(rows), []) is None
    rows = track(1, 20, 0.001)[:-1]
    rows[4]["as_of"] = float("inf")
    assert made_rows(aggregated(rows), []) is None


@pytest.mark.parametrize(
    ("text", "scale", "values"),
    [
        ("1.50,-2.25,0.00", 2, [150, -225, 0]),
        ("1,-2,3", 0, [1, -2, 3]),
        ("1.5,2.25,3", 2, [150, 225, 300]),
        ("1234567890123456789012.5,-0.1,7.0", 1, [12345678901234567890125, -1, 70]),
        ("9007199254740993.0,1.0,1.0", 1, [90071992547409930, 10, 10]),
    ],
)
def test_numbers_are_read_exactly(text: str, scale: int, values: list[int]) -> None:
    found = read_column(text, 3)
    assert found is not None
    assert found[0] == scale
    assert found[1].tolist() == values


@pytest.mark.parametrize("text", ["", "1,2", "1,2,3,4", "1,x,3", "1,1e5,3", "1,NaN,3", "1,2/3,3"])
def test_what_is_no_column_of_numbers(text: str) -> None:
    assert read_column(text, 3) is None


@pytest.mark.parametrize(("value", "scale", "text"), [(0, 4, "0"), (-5, 0, "-5"), (1200, 2, "12"), (-7, 3, "-0.007")])
def test_numbers_are_written_in_one_form(value: int, scale: int, text: str) -> None:
    assert plain(value, scale) == text


def one_by_one(members: dict[str, Any]) -> list[tuple[str, ...]]:
    """A group's days as sums of decimals, day by day."""
    ends = {name: days[-1].day for name, days in members.items()}
    held: dict[str, Decimal] = {}
    found = []
    for at in sorted({day.day for days in members.values() for day in days}):
        flow = -sum((held.pop(name) for name in [name for name in held if ends[name] < at]), Decimal(0))
        begin, pnl = sum(held.values(), Decimal(0)), Decimal(0)
        for name, days in members.items():
            for day in days:
                if day.day == at:
                    flow += day.base - held.get(name, Decimal(0))
                    begin += day.base - held.get(name, Decimal(0))
                    pnl += day.pnl
                    held[name] = day.equity
        found.append(
            tuple(map(str, (at, float(sum(held.values(), Decimal(0))), float(pnl), float(flow), float(begin))))
        )
    return found


def test_groups_are_sums_of_days() -> None:
    members = {}
    for number, (first, last) in enumerate(((0, 60), (10, 40), (30, 60), (5, 59))):
        rows = track(number, 60, 0.001)[first:last]
        members[f"s{number}"] = follow(
            "s", rows[:: number % 2 + 1], now=NOW, capital=None, tolerance=Decimal(10**9)
        ).days
    # One of a currency whose numbers need more than 64 bits.
    days = members["s1"]
    rates = {day.day: Decimal("1.123456789012345678") ** (place % 3) for place, day in enumerate(days)}
    members["s1"] = convert(days, rates)[0]
    group = together("", members)
    found = [(day.day, float(day.equity), float(day.pnl), float(day.flow), float(day.base)) for day in group.days]
    assert [tuple(map(str, each)) for each in found] == one_by_one(members)


def test_figures_are_those_of_decimals() -> None:
    rows = track(3, 400, 0.0004)
    flows = {rows[100]["day"]: Decimal("50.5")}
    for row in rows[100:]:
        row["equity"] += Decimal("50.5")
    days = follow("s", rows_of(rows), flows, now=NOW, capital=Decimal(1000)).days
    assert isinstance(days, Days)
    sessions = tuple(day.day for day in days if day.day.weekday() < 5)
    found = figures("s", days, sessions, 260, options())
    by_hand = [float(day.pnl / day.base) for day in days]
    assert [value for _day, value in found.daily] == pytest.approx(by_hand, rel=1e-12)
    net: dict[date, float] = {}
    for day, value in zip(days, by_hand, strict=True):
        later = next((each for each in sessions if each >= day.day), None)
        if later:
            net[later] = (1 + net.get(later, 0.0)) * (1 + value) - 1
    assert found.net == pytest.approx(net, rel=1e-12)
    product = Decimal(1)
    with localcontext(prec=60):
        for day in days:
            product *= 1 + day.pnl / day.base
    assert found.data["twr"] == pytest.approx(float(product - 1), rel=1e-12)
    gains = sum(day.pnl for day in days if day.pnl > 0)
    assert found.data["profit_factor"] == pytest.approx(
        float(gains / -sum(d.pnl for d in days if d.pnl < 0)), rel=1e-12
    )
    assert found.data["pnl"] == str(sum((day.pnl for day in days), Decimal(0)).normalize())
    assert found.data["flows"] == "50.5"
    assert found.data["hit_rate"] == sum(day.pnl > 0 for day in days) / sum(day.pnl != 0 for day in days)


def test_money_weighted_is_the_same_with_and_without_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    days = follow("s", track(4, 300, 0.001), now=NOW, capital=Decimal(1000)).days
    short = returns.money_weighted_of(days)
    first, last = days[0], days[-1]
    flows = [(first.day - timedelta(days=1), -float(first.base)), (last.day, float(last.equity))]
    span = (last.day - first.day).days + 1
    assert short == pytest.approx((1 + returns.money_weighted(flows)) ** (span / 365) - 1, rel=1e-10)


def test_the_digest_of_columns_is_of_what_was_read() -> None:
    found, other = three(), three()
    for name in found.equity:
        found.equity[name] = rows_of(found.equity[name])  # type: ignore[arg-type]
        other.equity[name] = rows_of(other.equity[name])  # type: ignore[arg-type]
    before = inputs(found, {}, options())
    assert inputs(other, {}, options()) == before
    rows = track(1, 400, 0.003)
    rows[7]["fees"] += 1
    other.equity["good"] = rows_of(rows)
    assert inputs(other, {}, options())["equity"] != before["equity"]


def test_rows_can_be_read_one_by_one() -> None:
    rows = track(1, 30, 0.001)
    made = rows_of(rows)
    assert len(made) == 30
    for one, other in itertools.zip_longest(made, rows):
        assert {**one} == {**other}
    assert made[-1]["day"] == TODAY
    assert [row["day"] for row in made[2:4]] == [row["day"] for row in rows[2:4]]
    assert book(one=rows).equity["one"][0]["equity"] == made[0]["equity"]
    assert np.array([day.day for day in follow("s", made, now=NOW, capital=Decimal(1000)).days]).size == 29
