"""Faults that a review must not overlook: open periods, restated fees, moved windows, rates, and its own mistakes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.action.strategy_review import kept
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance import history, returns, strategies
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.bootstrap import intervals
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.reading import Read
from ansible_collections.tradingflow.maintenance.plugins.module_utils._review import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._review.record import inputs, together
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders import document
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.costs import Lasted
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.instruments import Asked
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

from tests.unit.test_review_books import FIRST, followed, moment, row
from tests.unit.test_review_engine import TODAY, book, options, reviewed, three, track

SUNDAY = TODAY - timedelta(days=1)


def lose(found: Read, name: str, share: str) -> None:
    """Books a loss on Sunday."""
    rows = {each["day"]: each for each in found.equity[name]}
    loss = (rows[SUNDAY]["equity"] * Decimal(share)).quantize(Decimal("0.0001"))
    for day in (SUNDAY, TODAY):
        rows[day]["equity"] -= loss
    rows[SUNDAY]["pnl"] -= loss


def weekdays(found: Read) -> Read:
    for each in found.strategies:
        each["calendar"] = "24/5"
    return found


def test_a_loss_of_the_weekend_counts_before_the_next_session_has_ended() -> None:
    found = weekdays(book(one=track(1, 400, 0.003), two=track(4, 400, 0.003)))
    before = reviewed(found)
    assert before["drawdown:one"].status == "ok"
    lose(found, "one", "0.4")
    after = reviewed(found)
    for id in ("drawdown:one", "drawdown_book", "drawdown_account:A"):
        assert after[id].status in ("critical", "warning"), id
        assert "The days since 2026-05-29, of which no session has ended yet, count:" in after[id].message
    assert after["drawdown:one"].value > 39
    assert after["drawdown:one"].details["figures"]["maximum_drawdown"] < -0.39
    # Ratios are of sessions, and know nothing of it yet.
    assert (
        after["performance:one"].details["figures"]["sharpe"] == before["performance:one"].details["figures"]["sharpe"]
    )
    assert after["performance:one"].details["figures"]["open_return"] < -0.38
    assert "Since 2026-05-29 -" in after["performance:one"].message


def test_the_open_period_is_what_no_session_has() -> None:
    days = [FIRST + timedelta(days=place) for place in range(9)]
    sessions = [day for day in days if day.weekday() < 5]
    values = [(day, 0.01) for day in days]
    assert returns.open_period(values, sessions) is None
    found: Any = returns.open_period(values[:7], sessions)
    assert found == (days[4], pytest.approx(1.01**2 - 1))
    found = returns.open_period(values[5:7], sessions)
    assert found == (None, pytest.approx(1.01**2 - 1))
    found = returns.open_period(values, [])
    assert found == (None, pytest.approx(1.01**9 - 1))
    assert returns.open_period([], sessions) is None


def test_one_that_ended_on_a_weekend_does_not_lose_its_last_days() -> None:
    found = weekdays(book(one=track(1, 400, 0.0), two=track(4, 400, 0.0)))
    found.strategies[0]["state"] = "stopped"
    # To Sunday of the week before.
    found.equity["one"] = found.equity["one"][:-8]
    last = found.equity["one"][-1]
    assert last["day"].weekday() == 6
    last["pnl"] -= 500
    last["equity"] -= 500
    assert reviewed(found)["drawdown:one"].status == "critical"


def kept_of(found: Read, **given: Any) -> dict[str, Any]:
    report = {
        "checks": [{"host": "h", **check.as_dict()} for check in engine.reviewed(found, options(**given), {}).checks]
    }
    return kept([report], "h")


@pytest.mark.parametrize("what", ["fees", "currency", "flows"])
def test_history_restated_in_fees_or_currency_only(what: str) -> None:
    found = three()
    earlier = kept_of(found)
    assert reviewed(found, earlier)["restated:good"].status == "ok"
    rows = found.equity["good"]
    if what == "fees":
        rows[50]["fees"] += 1
    elif what == "flows":
        found.flows = {"good": [{"day": rows[50]["day"], "currency": "USD", "amount": Decimal(1)}]}
        rows[50]["pnl"] -= 1
    else:
        for each in rows:
            each["currency"] = "EUR"
    check = reviewed(found, earlier)["restated:good"]
    assert check.status == "warning"
    assert {"fees": "fees", "currency": "currency was USD as reported then, EUR", "flows": "result"}[
        what
    ] in check.message


def test_fees_that_nobody_tells_any_more_are_restated() -> None:
    found = three()
    earlier = kept_of(found)
    found.equity["good"][50]["fees"] = None
    assert reviewed(found, earlier)["restated:good"].status == "warning"


def test_the_edge_of_a_window_is_no_restatement() -> None:
    # Earlier days are not read, and the first one that is only begins.
    def part(first: date) -> Any:
        given = [row(place, str(100 + place), "1" if place else "0") for place in range(90)]
        return followed([each for each in given if each["day"] >= first], capital=None, now=moment(date(2026, 7, 1)))

    whole = part(FIRST)
    before = history.kept(whole, cut=True)
    # Read on April 1: that day only begins, and the month lacks it.
    for first in (date(2026, 4, 1), date(2026, 3, 31), date(2026, 4, 10)):
        later = part(first)
        assert history.restated(before, later, first) == []
        assert history.compared(before, later, first)[-1:] == ["2026-05"]
        assert "2026-03" not in history.compared(before, later, first)
        # Of a month only the first day of which begins nobody knows that day's result.
        assert ("2026-04" in history.compared(before, later, first)) == (first == date(2026, 3, 31))
        # A window that has grown: what was not read then is no news.
        assert history.restated(history.kept(later, cut=True), whole, FIRST) == []
        # A history that has grown backwards is.
        assert history.restated(history.kept(later, cut=False), whole, FIRST) != []
    gone = part(date(2026, 4, 10))
    assert [each["month"] for each in history.restated(before, gone)] == ["2026-03", "2026-04"]


def test_a_history_of_which_no_month_can_be_compared_is_unknown() -> None:
    found = three()
    earlier = kept_of(found)
    found.cut = {"good"}
    found.equity["good"] = found.equity["good"][-20:]
    check = reviewed(found, earlier)["restated:good"]
    assert check.status == "unknown"
    assert "no month" in check.message


def test_what_an_older_version_kept_is_still_compared() -> None:
    track = followed([row(place, str(101 + place), "1") for place in range(40)], now=moment(date(2026, 7, 1)))
    text = "\n".join(f"{d.day} {d.equity} {d.pnl} 0" for d in track.days if d.day.month == 3)
    months = {"2026-03": [hashlib.sha256(text.encode()).hexdigest()[:16], "30", "130"]}
    before = {"through": "2026-03-31", "months": months}
    assert history.restated(before, track) == []
    months["2026-03"][0] = "0" * 16
    assert [each["month"] for each in history.restated(before, track)] == ["2026-03"]


def swinging() -> Read:
    """Two that do not move together, but for the rate: EUR loses and gains 5 % in turn."""
    found = book(
        usd=track(1, 200, 0.0), eur=track(2, 200, 0.0, currency="EUR"), euro=track(3, 200, 0.0, currency="EUR")
    )
    days = [each["day"] for each in found.equity["eur"]]
    found.rates["EUR"] = {day: Decimal("1.1") if place % 2 else Decimal("1.0") for place, day in enumerate(days)}
    return found


def test_correlations_and_shares_of_risk_know_of_rates() -> None:
    found = swinging()
    check = reviewed(found, currency="USD")["correlation"]
    # In their own currency they have nothing in common; in dollars the rate is nearly all there is.
    assert check.value > 0.9
    assert "in USD" in check.message
    shares = reviewed(found, currency="USD")["diversification"].details["risk_shares"]
    assert shares["usd"] < 0.1


@pytest.mark.parametrize("currency", [None, "USD"])
def test_without_rates_nothing_is_said_of_strategies_together(currency: str | None) -> None:
    found = swinging()
    found.rates["EUR"].pop(TODAY - timedelta(days=50))
    checks = reviewed(found, currency=currency)
    for id in ("correlation", "diversification", "ranking"):
        assert checks[id].status == "unknown", id
    assert ("no rate of EUR" if currency else "several currencies") in checks["correlation"].message


@pytest.mark.parametrize("name", ["_record", "_concentration", "_inputs", "together", "convert", "_joint"])
def test_no_mistake_takes_the_rest_with_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any, **_more: Any) -> None:
        raise KeyError("x")

    monkeypatch.setattr(strategies if name in ("together", "convert", "_joint") else engine, name, broken)
    result = engine.reviewed(three(), options(), {})
    checks = {check.id.removeprefix("review."): check for check in result.checks}
    assert checks["performance:good"].status == "ok"
    assert checks["identity:good"].status == "ok"
    wrong = {"_record": "record", "_inputs": "record", "_concentration": "concentration"}.get(name, "book")
    assert checks[wrong].status == "unknown"
    assert result.record["method"] == engine.METHOD
    if name == "_inputs":
        assert result.record["strategies"]["good"]["sessions"] == 399
        assert result.record["inputs_sha256"] is None


@pytest.mark.parametrize("trials", [10**15 + 1, 10**17, 10**400])
def test_more_trials_than_anyone_makes_are_refused(trials: int) -> None:
    with pytest.raises(ConfigurationError, match="trials"):
        options(trials=[{"strategy": "good", "trials": trials}])


@pytest.mark.parametrize("trials", [10**9, 10**15])
def test_very_many_trials(trials: int) -> None:
    assert reviewed(three(), trials=[{"strategy": "good", "trials": trials}])["performance:good"].status == "unknown"


@pytest.mark.parametrize("target", [math.nan, math.inf])
def test_a_target_that_is_no_number_is_refused(target: float) -> None:
    with pytest.raises(ConfigurationError, match="target"):
        options(target=target)


def test_intervals_are_of_the_confidence_that_was_asked_for() -> None:
    def width(confidence: float) -> float:
        low, high = reviewed(three(), confidence=confidence)["performance:good"].details["figures"]["hit_rate_interval"]
        return float(high - low)

    assert width(0.5) < width(0.95) < width(0.999)


def test_calmar_has_an_interval() -> None:
    figures = reviewed(three())["performance:good"].details["figures"]
    low, high = figures["calmar_interval"]
    assert low < figures["calmar"] < high
    assert f"Calmar {figures['calmar']:.2f} ({low:.2f} to {high:.2f})" in reviewed(three())["performance:good"].message
    # By hand: of a path that always gains there is no upper end.
    assert intervals([0.01] * 50 + [0.02] * 50, "x", 0.0, 0.9, per_year=50)["calmar"][1] is None
    assert "calmar" not in intervals([0.01, -0.01] * 50, "x", 0.0, 0.9)
    assert "calmar_interval" not in reviewed(book(one=track(1, 200, 0.0)))["performance:one"].details["figures"]


def parts(found: Read, **given: Any) -> dict[str, str]:
    """Digests of the inputs, without all that a review computes of them."""
    found.reasons.setdefault("lost", "nobody asked for it")
    wanted = options(**given)
    markets = strategies.Markets(found, wanted)
    strategies.followed(found, wanted, markets, compute=False)
    return inputs(found, markets.made, wanted)


def brought(instrument: str, **given: Any) -> dict[str, Any]:
    return {
        "span": "good",
        "instrument": instrument,
        **dict.fromkeys(("held", "later", "during", "paid"), Decimal(0)),
        **given,
    }


def changes() -> dict[str, Any]:
    def held(found: Read) -> None:
        found.held = [{"venue": "V", "instrument": "A", "currency": "USD", "worth": Decimal(1)}]

    def traded(found: Read) -> None:
        found.traded = [{"strategy": "good", "currency": "USD", "other": "USD", "traded": Decimal(1)}]

    def volumes(found: Read) -> None:
        found.volumes = [{"strategy": "good", "traded": 1, "known": 1, "most": 0.1, "usual": 0.1}]

    def contributors(found: Read) -> None:
        found.lost = [brought("A", held=Decimal(2), later=Decimal(1), paid=Decimal(1))]

    def fees(found: Read) -> None:
        found.equity["good"][5]["fees"] += 1

    def late(found: Read) -> None:
        found.equity["good"][5]["as_of"] += 1

    def flows(found: Read) -> None:
        found.flows = {"good": [{"strategy": "good", "day": TODAY, "currency": "USD", "amount": Decimal(0)}]}

    def rates(found: Read) -> None:
        found.rates = {"EUR": {SUNDAY: Decimal("1.1")}}

    def strategies(found: Read) -> None:
        found.strategies[0]["account"] = "B"

    def calendars(found: Read) -> None:
        found.strategies[0]["calendar"] = "24/5"

    def cut(found: Read) -> None:
        found.cut = {"good"}

    return {
        "positions": held,
        "executions": traded,
        "volumes": volumes,
        "contributors": contributors,
        "equity": (fees, late, cut),
        "flows": flows,
        "rates": rates,
        "strategies": strategies,
        "calendars": calendars,
    }


def test_the_digest_has_every_input() -> None:
    before = parts(three())
    assert parts(three()) == before
    record = engine.reviewed(three(), options(), {}).record
    assert (record["inputs"], record["inputs_sha256"]) == (before, together(before))
    for part, change in changes().items():
        for one in change if isinstance(change, tuple) else (change,):
            found = three()
            one(found)
            after = parts(found)
            assert part in {name for name in before if before[name] != after[name]}, part
            assert together(after) != together(before)
    assert {name for name, value in parts(three(), confidence=0.9).items() if before[name] != value} == {"options"}


def test_what_is_not_of_the_review_does_not_change_the_digest() -> None:
    # Today's row, which is not over, is read and left out.
    found = three()
    found.equity["good"][-1]["equity"] += 1
    found.equity["good"].reverse()
    found.strategies.reverse()
    found.now += 60
    assert parts(found) == parts(three())


def later(more: str) -> list[dict[str, Any]]:
    """Of one that was held in the days reviewed: more of it since, and another for the first time."""
    held = Decimal("12345678901234567890.12")
    with localcontext(prec=100):
        first = brought("A", held=held + Decimal(more), later=Decimal(more), paid=Decimal(1))
    return [first, brought("B", held=Decimal(more), later=Decimal(more))]


def of_lost(rows: list[dict[str, Any]]) -> str:
    found = three()
    found.lost = rows
    return parts(found)["contributors"]


def of_report(rows: list[dict[str, Any]]) -> str:
    return document.inputs(three(), Asked(rows))


def of_events(rows: list[dict[str, Any]]) -> str:
    return document.inputs(three(), Asked(lasted=Lasted(rows=rows)))


@pytest.mark.parametrize("digest", [of_lost, of_report, of_events])
def test_what_is_traded_later_does_not_change_the_digest(digest: Callable[[list[dict[str, Any]]], str]) -> None:
    before = digest(later("0")[:1])
    for more in ("0", "1", "0.0000000000000001"):
        assert digest(later(more)) == before
    for change in ("held", "later", "during", "paid"):
        for value in ("1", "NaN"):
            assert digest([*later("0"), brought("C", **{change: Decimal(value)})]) != before
