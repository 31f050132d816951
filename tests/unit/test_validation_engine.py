"""Stress scenarios, limits against their use, the inventory, and a whole validation."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.reading import Read
from ansible_collections.tradingflow.maintenance.plugins.module_utils._validation import engine, scenarios
from ansible_collections.tradingflow.maintenance.plugins.module_utils._validation.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.charts import charts

from tests.conftest import ROOT
from tests.unit.test_review_engine import TODAY
from tests.unit.validation_fixtures import books, day, forecasts, options, pattern, risk, spread, validated

ODD = Decimal("0.1000000000000000000000000000000001")


def held(**change: Any) -> dict[str, Any]:
    """Two instruments of two classes, held long and short."""
    rows: dict[str, Any] = {
        "positions": [
            {"strategy": "one", "instrument": "BTC", "quantity": ODD},
            {"strategy": "one", "instrument": "NWND", "quantity": Decimal(-100)},
        ],
        "instruments": [
            {"instrument": "BTC", "asset_class": "crypto", "multiplier": Decimal(1)},
            {"instrument": "NWND", "asset_class": "equity", "multiplier": Decimal(10)},
            {"instrument": "NONE", "asset_class": "fx", "multiplier": Decimal(1)},
        ],
        "prices": [
            {"instrument": "BTC", "price": Decimal(60000), "currency": "USD"},
            {"instrument": "NWND", "price": Decimal("2.5"), "currency": "USD"},
        ],
    }
    return {**rows, **change}


def stress(shocks: list[dict[str, Any]], rows: dict[str, Any] | None = None, **given: Any) -> Check:
    scenario = {"name": "bad day", "shocks": shocks, "limits": given.pop("limits", {"book": "5000"})}
    found = validated(books(*pattern("0" * 70)), [], rows or held(), scenarios=[scenario], **given)
    return found["stress:bad day"]


def test_losses_are_exact() -> None:
    check = stress([{"instrument": "BTC", "percent": "-50"}, {"asset_class": "equity", "percent": "12.5"}])
    # 0.1... x 60000 x 50 %, and 100 x 10 x 2.5 x 12.5 %.
    expected = Decimal("3312.500000000000000000000000000003")
    assert {key: Decimal(loss) for key, loss in check.details["losses"].items()} == dict.fromkeys(
        ("account/A", "book", "strategy/one"), expected
    )
    assert (check.status, check.value) == ("ok", Decimal("66.2"))
    assert "book uses 66.2 % of its limit of 5,000" in check.message


@pytest.mark.parametrize(("limit", "status"), [("4000", "warning"), ("3312.5", "critical"), ("9000", "ok")])
def test_against_limits(limit: str, status: str) -> None:
    shocks = [{"instrument": "BTC", "percent": "-50"}, {"asset_class": "equity", "percent": "12.5"}]
    assert stress(shocks, limits={"strategy/one": limit, "book": "99999"}).status == status


def test_an_instrument_comes_before_its_class_and_that_before_all() -> None:
    rows = held()
    rows["positions"][0]["quantity"] = Decimal(1)
    shocks: list[dict[str, Any]] = [
        {"everything": True, "percent": "-100"},
        {"asset_class": "crypto", "percent": "-10"},
    ]
    loss = stress(shocks, rows).details["losses"]["book"]
    assert Decimal(loss) == 6000 - 2500
    shocks.append({"instrument": "BTC", "percent": "-1"})
    assert Decimal(stress(shocks, rows).details["losses"]["book"]) == 600 - 2500


def test_a_gain_is_no_use_of_a_limit() -> None:
    check = stress([{"instrument": "NWND", "percent": "-50"}])
    assert (check.status, check.value) == ("ok", 0)
    assert "would gain 1,250" in check.message


def test_a_shock_by_deviations() -> None:
    prices = [Decimal(100) * (Decimal("1.01") if place % 2 else Decimal(1)) for place in range(41)]
    closes = [
        {"instrument": name, "day": day(41 - place), "price": price}
        for name in ("BTC", "NWND")
        for place, price in enumerate(prices)
    ]
    check = stress([{"instrument": "NWND", "deviations": "3"}], held(closes=closes))
    moves = [Decimal("0.01"), Decimal(1) / Decimal("1.01") - 1] * 20
    mean = sum(moves, Decimal(0)) / 40
    deviation = (sum(((move - mean) ** 2 for move in moves), Decimal(0)) / 39).sqrt()
    assert float(check.details["losses"]["book"]) == pytest.approx(float(2500 * 3 * deviation), rel=1e-12)
    few = stress([{"instrument": "NWND", "deviations": "3"}], held(closes=closes[-10:]))
    assert (few.status, "10 days with a price" in few.message) == ("unknown", True)
    # No price falls below 0.
    found = scenarios.holdings(held(closes=closes), None, {})
    size = {"target": "instrument", "of": "BTC", "by": "deviations", "size": Decimal(-(10**6))}
    assert scenarios.losses({"shocks": [size]}, found)["one"] == Decimal("6000.000000000000000000000000000006")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (held(prices=held()["prices"][:1]), "no recent price above 0 of NWND"),
        (held(instruments=held()["instruments"][1:]), "no instrument BTC, of which something is held"),
        (held(positions=[{"strategy": "one", "instrument": "BTC", "quantity": Decimal("NaN")}]), "is no number"),
        (held(positions=[{"strategy": None, "instrument": "BTC", "quantity": Decimal(1)}]), "has no strategy"),
        (held(positions=[{"strategy": "gone", "instrument": "BTC", "quantity": Decimal(1)}]), "and is no strategy"),
        (held(prices=[{**row, "price": Decimal(0)} for row in held()["prices"]]), "no recent price above 0 of BTC"),
        (held(instruments=[{**row, "multiplier": None} for row in held()["instruments"]]), "multiplier of BTC"),
        (held(instruments=[*held()["instruments"], {**held()["instruments"][0], "asset_class": "x"}]), "there twice"),
        (held(prices=[*held()["prices"][:1], {**held()["prices"][1], "currency": "EUR"}]), "no currency is set"),
    ],
)
def test_what_is_not_known_is_no_loss_of_zero(rows: dict[str, Any], why: str) -> None:
    check = stress([{"asset_class": "crypto", "percent": "-50"}], rows)
    assert (check.status, why in check.message) == ("unknown", True), check.message


@pytest.mark.parametrize(
    ("shock", "why"),
    [
        ({"instrument": "BTCC", "percent": "-5"}, "there is no instrument BTCC"),
        ({"asset_class": "cryptos", "percent": "-5"}, "there is no asset class cryptos"),
        ({"currency": "EUR", "percent": "-5"}, "there is no currency EUR"),
    ],
)
def test_a_shock_of_nothing_is_no_scenario(shock: dict[str, Any], why: str) -> None:
    assert why in stress([shock]).message
    assert stress([shock]).status == "unknown"


def test_without_limits_or_scenarios_nothing_is_well() -> None:
    check = stress([{"instrument": "BTC", "percent": "-5"}], limits={})
    assert (check.status, "No limit is declared" in check.message) == ("unknown", True)
    assert (
        "of nothing that there is" in stress([{"everything": True, "percent": "1"}], limits={"strategy/x": 1}).message
    )
    assert validated(books(*pattern("0" * 70)), [])["stress"].status == "unknown"


def test_a_currency_moves_what_is_in_it() -> None:
    rows = held()
    rows["prices"][1]["currency"] = "EUR"
    rate = {"instrument": "EUR-USD", "price": Decimal("1.1"), "currency": "USD"}
    rates = {"EUR": "EUR-USD"}
    found = scenarios.holdings({**rows, "prices": [*rows["prices"], rate]}, "USD", rates)
    shocks = [
        {"target": "currency", "of": "EUR", "by": "percent", "size": Decimal(-10)},
        {"target": "instrument", "of": "NWND", "by": "percent", "size": Decimal(20)},
    ]
    # Short 2500 EUR: worth 20 % more, of which the currency takes a tenth.
    assert scenarios.losses({"shocks": shocks}, found)["one"] == Decimal(-2750) + Decimal(2750) * Decimal("1.08")
    assert "there is no rate of EUR" in scenarios.holdings(rows, "USD", {}).doubt
    for wrong in ({}, {"price": Decimal(0)}, {"price": None}, {"currency": "GBP"}, {"price": Decimal("NaN")}):
        prices = [*rows["prices"], *([{**rate, **wrong}] if wrong else [])]
        assert "there is no rate of EUR" in scenarios.holdings({**rows, "prices": prices}, "USD", rates).doubt


@pytest.mark.parametrize(
    "given",
    [
        {"levels": []},
        {"levels": ["0.99", "0.990"]},
        {"levels": ["99"]},
        {"levels": ["x"]},
        {"significance": 0.0},
        {"alternative": 1.0},
        {"minimum_sessions": 5},
        {"until": "yesterday"},
        {"inventory": [{"model": "a", "version": "1", "owner": "b", "validated_on": "2026-13-01"}]},
        {"scenarios": [{"name": "x", "shocks": []}]},
        {"scenarios": [{"name": "x", "shocks": [{"instrument": "a", "everything": True, "percent": "1"}]}]},
        {"scenarios": [{"name": "x", "shocks": [{"percent": "1"}]}]},
        {"scenarios": [{"name": "x", "shocks": [{"instrument": "a", "percent": "1", "deviations": "1"}]}]},
        {"scenarios": [{"name": "x", "shocks": [{"instrument": "a", "percent": "-101"}]}]},
        {"scenarios": [{"name": "x", "shocks": [{"instrument": "a", "percent": "NaN"}]}]},
        {"scenarios": [{"name": "x", "shocks": [{"currency": "EUR", "deviations": "1"}]}]},
        {"scenarios": [{"name": "x", "shocks": [{"instrument": "a", "percent": "1"}] * 2}]},
        {"scenarios": [{"name": "x", "shocks": [{"instrument": "a", "percent": "1"}], "limits": {"book": "-5"}}]},
        {"scenarios": [{"name": "x", "shocks": [{"instrument": "a", "percent": "1"}], "limits": {"desk": "5"}}]},
    ],
)
def test_options_that_make_no_sense(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        options(**given)


def limit(metric: str, value: str, **given: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "scope": "strategy",
        "subject": "one",
        "metric": metric,
        "currency": "USD",
        "limit_value": Decimal(value),
        "warning_ratio": Decimal("0.8"),
        "updated": None,
    }
    return {**row, **given}


def use(metric: str, values: list[str], **given: Any) -> list[dict[str, Any]]:
    """Of the last days, yesterday's last."""
    return [
        {
            "scope": "strategy",
            "subject": "one",
            "metric": metric,
            "day": day(len(values) - n),
            "used": Decimal(value),
            **given,
        }
        for n, value in enumerate(values)
    ]


def limits_of(limits: list[dict[str, Any]], rows: list[dict[str, Any]], *results: int) -> Check:
    found = validated(books(*(results or pattern("0" * 70))), [], {"limits": limits, "use": rows})
    return found["limits:strategy/one"]


def test_limits_that_are_broken_near_unused_and_well() -> None:
    check = limits_of([limit("leverage", "2")], use("leverage", ["1"] * 31))
    assert (check.status, check.value) == ("ok", 0)
    broken = limits_of([limit("leverage", "2")], use("leverage", ["1"] * 29 + ["2.0001", "2"]))
    assert (broken.status, broken.value) == ("warning", 1)
    assert f"leverage broken on 1 day ({day(2)})" in broken.message
    near = limits_of([limit("leverage", "2")], use("leverage", ["1.6"] * 16 + ["1"] * 15))
    assert (near.status, "80 % or more on 16 of 31 days" in near.message) == ("warning", True)


def test_limits_that_nobody_needs_are_one_line() -> None:
    rows = [*use("leverage", ["0.1"] * 31), *use("order_rate", ["0"] * 31), *use("concentration", ["1"] * 31)]
    rows += [{**row, "scope": "account", "subject": "A"} for row in use("leverage", ["0.19"] * 31)]
    limits = [limit(metric, "2") for metric in ("leverage", "order_rate", "concentration", "gross_exposure")]
    limits.append(limit("leverage", "2", scope="account", subject="A"))
    found = validated(books(*pattern("0" * 70)), [], {"limits": limits, "use": rows})
    unused = found["limits_unused"]
    assert (unused.status, unused.value) == ("warning", 3)
    assert "3 of 4 limits with known use were never used to 10 %" in unused.message
    assert "strategy one: order_rate 0.0 %, leverage 5.0 %; account A: leverage 9.5 %." in unused.message
    assert unused.details["limits"][0] == {
        "scope": "strategy", "subject": "one", "metric": "order_rate", "usage": 0.0, "status": "warning",
    }  # fmt: skip
    # It is no fault of theirs; what is not known of them stays unknown.
    assert found["limits:account/A"].status == "ok"
    assert "none broken or always near" in found["limits:account/A"].message
    assert (found["limits:strategy/one"].status, "never" in found["limits:strategy/one"].message) == ("unknown", False)
    needed = validated(books(*pattern("0" * 70)), [], {"limits": limits[2:3], "use": rows})["limits_unused"]
    assert (needed.status, needed.value) == ("ok", 0)
    nobody = validated(books(*pattern("0" * 70)), [], {"limits": limits[3:4], "use": []})["limits_unused"]
    assert nobody.status == "unknown"


def test_a_days_loss_comes_from_the_books() -> None:
    check = limits_of([limit("daily_loss", "20")], [], *pattern(spread(70, 3)))
    assert check.details["limits"][0]["highest"] in ("14", "15", "16")
    assert check.status == "ok"
    broken = limits_of([limit("daily_loss", "10")], [], *pattern("0" * 60 + "0000010000"))
    assert (broken.status, broken.value, broken.details["limits"][0]["breaches"]) == ("warning", 1, [str(day(5))])
    other = limits_of([limit("daily_loss", "10", currency="EUR")], [])
    assert (other.status, "limit is in EUR, and results in USD" in other.message) == ("unknown", True)


@pytest.mark.parametrize(
    ("row", "rows", "why"),
    [
        (limit("leverage", "2"), [], "nobody tells its use"),
        (limit("leverage", "0"), use("leverage", ["1"] * 31), "not a number above 0"),
        (limit("leverage", "NaN"), use("leverage", ["1"] * 31), "not a number above 0"),
        (limit("leverage", "2"), use("leverage", ["1"] * 9), "only 9 days"),
        (limit("leverage", "2"), use("leverage", ["NaN"] * 31), "not a number of 0 or more"),
        (limit("leverage", "2"), use("leverage", ["-1"] * 31), "not a number of 0 or more"),
        (limit("leverage", "2"), use("leverage", ["1"] * 31) * 2, "twice"),
        (limit("leverage", "2"), use("leverage", ["1"] * 31, day=None), "has no day"),
        (limit("leverage", "2", updated=day(1)), use("leverage", ["1"] * 31), "since it was changed"),
        (limit("leverage", "2", subject="other"), use("leverage", ["1"] * 31), "nobody tells"),
    ],
)
def test_use_that_is_not_known_is_no_use_of_zero(row: dict[str, Any], rows: list[dict[str, Any]], why: str) -> None:
    found = validated(books(*pattern("0" * 70)), [], {"limits": [row], "use": rows})
    check = next(check for id, check in found.items() if id.startswith("limits:"))
    assert (check.status, check.value, why in check.message) == ("unknown", None, True), check.message


def test_days_before_a_limit_was_changed_do_not_count() -> None:
    rows = use("leverage", ["9"] * 11 + ["1"] * 20)
    check = limits_of([limit("leverage", "2", updated=day(21))], rows)
    assert (check.status, check.details["limits"][0]["days"]) == ("ok", 20)


def model(**given: Any) -> dict[str, Any]:
    row = {"model": "ewma", "version": "1", "owner": "J. Weber", "validated_on": day(100), "next_due_on": None}
    return {**row, **given}


@pytest.mark.parametrize(
    ("rows", "status", "why"),
    [
        ([model()], "ok", "due again on 2027-02-21"),
        ([model(next_due_on=TODAY)], "ok", "due again on 2026-06-01"),
        ([model(next_due_on=day(1))], "warning", "Overdue by 1 day"),
        ([model(validated_on=day(500))], "critical", "Overdue by 135 days"),
        ([model(validated_on=None)], "critical", "never been validated"),
        ([model(owner="")], "unknown", "no owner"),
        ([model(validated_on=TODAY + timedelta(days=1))], "unknown", "to come"),
        ([model(next_due_on=day(200))], "unknown", "before it was validated"),
        ([model(), model()], "unknown", "2 times"),
    ],
)
def test_when_a_model_was_validated(rows: list[dict[str, Any]], status: str, why: str) -> None:
    found = validated(books(*pattern("0" * 70)), forecasts(70), {"models": rows})
    assert (found["model:ewma 1"].status, why in found["model:ewma 1"].message) == (status, True)
    assert found["inventory"].status == "ok"


def test_a_model_in_use_that_nobody_listed() -> None:
    found = validated(books(*pattern("0" * 70)), forecasts(70, version="2"), {"models": [model()]})
    assert (found["inventory"].status, found["inventory"].value) == ("critical", 1)
    assert "ewma 2" in found["inventory"].message
    # In use, whatever is wrong with its forecasts.
    odd = validated(books(*pattern("0" * 70)), forecasts(70, version="2", var=Decimal(-1)), {"models": [model()]})
    assert odd["inventory"].status == "critical"
    given = {"model": "ewma", "version": "1", "owner": "J. Weber", "validated_on": "2026-05-01"}
    listed = validated(books(*pattern("0" * 70)), forecasts(70), inventory=[given])
    assert (listed["inventory"].status, listed["model:ewma 1"].status) == ("ok", "ok")
    assert validated(books(*pattern("0" * 70)), forecasts(70))["inventory"].status == "unknown"


def test_without_books_nothing_is_known() -> None:
    found = engine.validated(Read(lacking=("there is no view maintenance.equity.", "Define it.")), risk([]), options())
    assert {check.status for check in found.checks} == {"unknown"}
    assert len(found.checks) == 4
    assert found.actions == []


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("findings.of_series", "exceptions:strategy/one"),
        ("scenarios.judged", "stress:x"),
        ("limit_use.told", "limits"),
        ("inventory.inventory", "inventory"),
        ("charts.actions", "charts"),
    ],
)
def test_a_mistake_leaves_only_its_own_check_unknown(name: str, id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any, **_more: Any) -> None:
        raise KeyError("x")

    monkeypatch.setattr(f"{engine.__name__}.{name}", broken)
    scenario = {"name": "x", "shocks": [{"everything": True, "percent": "-1"}], "limits": {"book": 10000}}
    others = held(limits=[limit("daily_loss", "20")], models=[model()])
    found = validated(books(*pattern(spread(300, 15))), forecasts(300), others, scenarios=[scenario])
    assert found[id].status == "unknown"
    known = {"exceptions:strategy/one", "stress:x", "inventory", "model:ewma 1", "limits:strategy/one"}
    assert {other for other in known if other in found and found[other].status == "ok"} >= known - {
        id,
        *(["model:ewma 1"] if id == "inventory" else []),
        *(["limits:strategy/one"] if id == "limits" else []),
    }


def test_charts_mark_exceptions() -> None:
    results = pattern(spread(300, 15))
    found = engine.validated(books(*results), risk(forecasts(300)), options())
    (action,) = found.actions
    chart = action["details"]["charts"][0]
    assert (len(chart["results"]), len(chart["hits"])) == (300, 15)
    assert all(chart["results"][place] < chart["bounds"][place] for place in chart["hits"])
    (drawn,) = charts(action["details"])
    assert drawn.count('class="hit"') == 15
    assert "15 below value at risk" in drawn
    for damage in ({"hits": [300]}, {"bounds": chart["bounds"][1:]}, {"results": ["NaN"] * 300}):
        assert charts({"charts": [{**chart, **damage}]}) == []


def test_the_record_says_what_was_validated_and_how() -> None:
    given = {"scenarios": [{"name": "x", "shocks": [{"everything": True, "percent": "-1"}], "limits": {"book": 10}}]}
    found = engine.validated(books(*pattern(spread(300, 15))), risk(forecasts(300), models=[model()]), options(**given))
    record = found.record
    assert (record["method"], record["title"], len(record["inputs_sha256"])) == (engine.METHOD, engine.TITLE, 64)
    assert record["models"] == [["ewma", "1", "J. Weber"]]
    mine = record["checks"]["validation.exceptions:strategy/one/ewma/0.95"]
    assert (mine["status"], mine["exceptions"]) == ("ok", 15)
    assert "password" not in str(record)
    assert isinstance(TODAY, date)


def test_each_threshold_and_option_is_in_the_readme() -> None:
    text = (ROOT / "roles/model_validation/README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in SPEC["thresholds"]["options"])
