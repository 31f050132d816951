"""A whole strategy review of what was read, without a database."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.action.strategy_review import kept
from ansible_collections.tradingflow.maintenance.plugins.module_utils import _performance
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance import bootstrap
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.reading import Read, end_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils._review import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._review.options import SPEC, checked
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.charts import charts

from tests.conftest import ROOT

TODAY = date(2026, 6, 1)
DATABASE = {"host": "db", "name": "tradingflow", "user": "maintenance"}


def options(**given: Any) -> dict[str, Any]:
    result = ArgumentSpecValidator(SPEC).validate({"database": DATABASE, "paths": 200, **given})
    assert not result.error_messages
    return checked(result.validated_parameters)


def moment(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def track(seed: int, days: int, mean: float, *, currency: str = "USD", first: int = 0) -> list[dict[str, Any]]:
    """Equity of the last days, today's partial row among them."""
    random = np.random.default_rng(seed)
    equity, found = Decimal(1000), []
    start = TODAY - timedelta(days=days - 1)
    for place, value in enumerate(random.normal(mean, 0.01, days)):
        pnl = (equity * Decimal(float(value))).quantize(Decimal("0.0001"))
        equity += pnl
        day = start + timedelta(days=place)
        as_of = min(moment(day + timedelta(days=1)), moment(TODAY) + 3600)
        found.append(
            {"day": day, "currency": currency, "equity": equity, "pnl": pnl, "fees": Decimal("0.1"), "as_of": as_of}
        )
    return found[first:]


def book(**equity: list[dict[str, Any]]) -> Read:
    yesterday = TODAY - timedelta(days=1)
    found = Read(now=moment(TODAY) + 3600, today=TODAY, until=yesterday, equity=dict(equity))
    for name in equity:
        capital = Decimal(1000)
        found.strategies.append(
            {"strategy": name, "account": "A", "calendar": "24/7", "state": "running", "capital": capital}
        )
    return found


def reviewed(found: Read, earlier: dict[str, Any] | None = None, **given: Any) -> dict[str, Check]:
    checks = engine.reviewed(found, options(**given), earlier or {}).checks
    assert len({check.id for check in checks}) == len(checks)
    json.dumps([check.as_dict() for check in checks], allow_nan=False)
    return {check.id.removeprefix("review."): check for check in checks}


def three() -> Read:
    return book(good=track(1, 400, 0.003), bad=track(2, 400, -0.003), dull=track(3, 400, 0.0))


def test_what_is_good_bad_and_cannot_be_told() -> None:
    found = reviewed(three())
    assert {id: check.status for id, check in found.items() if id.startswith("performance")} == {
        "performance:good": "ok",
        "performance:bad": "warning",
        "performance:dull": "unknown",
    }
    assert "95 % between" in found["performance:good"].message
    assert "Too short to tell from 0" in found["performance:dull"].message
    assert found["drawdown:bad"].status == "critical"
    assert found["identity:good"].details["history"]["through"] == "2026-05-31"
    assert "2026-06-01 is not over and left out" in found["identity:good"].message
    assert {tuple(pair) for pair in found["ranking"].details["apart"]} >= {("good", "bad")}
    assert found["correlation"].status == "ok"
    # What it has grown to is most of the book, and most of its risk.
    assert found["diversification"].status == "warning"
    assert found["diversification"].value > 50
    assert sum(found["diversification"].details["risk_shares"].values()) == pytest.approx(1, abs=1e-5)
    assert found["restated"].status == "unknown"
    assert found["book"].details["figures"]["sessions"] == 399


def test_fewer_paths_than_were_asked_for_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "paths" not in reviewed(three())["strategies"].message
    monkeypatch.setattr(bootstrap, "ALL_PATHS", 450)
    monkeypatch.setattr(bootstrap, "LEAST_PATHS", 20)
    result = reviewed(three())
    assert "of 150 paths of its own returns" in result["drawdown:dull"].message
    assert "against 150 paths, of 200 that were asked for" in result["strategies"].message
    assert "intervals are of 150 instead of 400" in result["strategies"].message


def test_too_short_is_unknown_however_good() -> None:
    found = reviewed(book(one=track(1, 40, 0.02), two=track(4, 40, 0.02)))
    assert found["performance:one"].status == "unknown"
    assert "fewer than 60 sessions" in found["performance:one"].message
    for id in ("correlation", "diversification", "ranking"):
        assert found[id].status == "unknown"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_anything_to_review(count: int) -> None:
    found = reviewed(book(one=track(1, count, 0.0)))
    assert found["performance:one"].status == found["book"].status == found["drawdown:one"].status == "unknown"


def test_no_strategy_at_all_is_unknown() -> None:
    found = reviewed(book())
    assert {check.status for check in found.values()} == {"unknown"}
    lacking = engine.reviewed(Read(lacking=("there is no view maintenance.equity.", "Define it.")), options(), {})
    assert {check.status for check in lacking.checks} == {"unknown"}


def test_constant_returns_have_no_verdict() -> None:
    rows = track(1, 200, 0.0)
    for row in rows:
        row.update(equity=Decimal(1000), pnl=Decimal(0))
    found = reviewed(book(flat=rows, other=track(2, 200, 0.001)))
    assert found["performance:flat"].status == "unknown"
    assert "do not vary" in found["performance:flat"].message
    assert found["drawdown:flat"].status == "ok"
    assert "fewer than two strategies" in found["correlation"].message


def test_books_that_do_not_add_up_leave_their_figures_unknown() -> None:
    found = three()
    found.equity["good"][200]["equity"] += 1
    checks = reviewed(found)
    assert (checks["identity:good"].status, checks["identity:good"].value) == ("critical", 2)
    for id in ("performance:good", "drawdown:good", "account:A", "book", "drawdown_book"):
        assert checks[id].status == "unknown", id
    assert checks["performance:bad"].status == "warning"
    assert "good (its figures are unknown)" in checks["correlation"].message


def test_a_gap_a_stranger_and_one_that_is_there_twice() -> None:
    found = three()
    del found.equity["good"][100]
    found.equity["stranger"] = track(5, 400, 0.0)
    found.strategies.append(found.strategies[1])
    checks = reviewed(found)
    assert "no equity of" in checks["identity:good"].message
    assert "has it 0 times" in checks["identity:stranger"].message
    assert "has it 2 times" in checks["identity:bad"].message


def test_equity_that_stopped_is_unknown_unless_the_strategy_did() -> None:
    found = three()
    del found.equity["good"][-10:]
    checks = reviewed(found)
    assert checks["performance:good"].status == "unknown"
    assert "no equity of 2026-05-23" in checks["identity:good"].message
    found.strategies[0]["state"] = "stopped"
    assert reviewed(found)["performance:good"].status == "ok"


def test_one_that_ended_before_the_days_that_are_read_hides_nothing() -> None:
    found = three()
    found.strategies.append({**found.strategies[0], "strategy": "old", "state": "stopped"})
    checks = reviewed(found)
    assert checks["book"].status != "unknown"
    assert "1 (old)" in checks["strategies"].message
    assert "identity:old" not in checks
    # One that should run has no excuse.
    found.strategies[-1]["state"] = "running"
    checks = reviewed(found)
    assert checks["identity:old"].status == checks["book"].status == "unknown"


def test_a_strategy_without_an_account_leaves_all_accounts_unknown() -> None:
    found = three()
    found.strategies[2]["account"] = None
    checks = reviewed(found)
    assert "dull has no account" in checks["account:A"].message
    assert checks["account:A"].status == "unknown"
    assert checks["book"].status != "unknown"


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("findings_joint.of_exposure", "concentration"),
        ("findings.restatements", "restated"),
        ("charts.actions", "charts"),
        ("whole", "correlation"),
        ("strategies.follow", "performance:good"),
        ("findings.of_group", "book"),
    ],
)
def test_a_mistake_leaves_only_its_own_check_unknown(name: str, id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any, **_more: Any) -> None:
        raise KeyError("x")

    package = (_performance if name == "strategies.follow" else engine).__name__
    monkeypatch.setattr(f"{package}.{name}", broken)
    checks = reviewed(three())
    assert checks[id].status == "unknown"
    assert checks["strategies"].status == "ok"
    if name != "strategies.follow":
        assert checks["performance:good"].status == "ok"


def test_a_review_of_an_earlier_time() -> None:
    found = three()
    end_of(options(until="2026-05-01"), found)
    checks = reviewed(found)
    assert checks["performance:good"].details["figures"]["to"] == "2026-05-01"
    assert "left out" not in checks["identity:good"].message
    with pytest.raises(ConfigurationError, match="is not over"):
        end_of(options(until=str(TODAY)), found)


@pytest.mark.parametrize("calendar", [None, "NOPE"])
def test_without_a_calendar_there_are_no_sessions(calendar: str | None) -> None:
    found = three()
    found.strategies[0]["calendar"] = calendar
    assert reviewed(found)["performance:good"].status == "unknown"


def test_currencies() -> None:
    found = book(usd=track(1, 200, 0.001), eur=track(2, 200, 0.001, currency="EUR"))
    checks = reviewed(found)
    assert "several currencies" in checks["book"].message
    assert checks["diversification"].status == "unknown"
    # A currency without a rate is unknown, and never 1:1.
    checks = reviewed(found, currency="USD")
    assert checks["book"].status == "unknown"
    assert "no rate of EUR" in checks["book"].message
    assert checks["performance:eur"].details["figures"]["sessions"] == 199
    found.rates["EUR"] = {row["day"]: Decimal("1.1") for row in found.equity["eur"]}
    checks = reviewed(found, currency="USD")
    assert checks["book"].details["figures"]["sessions"] == 199
    assert "In USD." in checks["book"].message
    assert checks["diversification"].status != "unknown"
    found.no_rates["EUR"], found.rates = "prices of X are not in USD", {}
    assert "prices of X are not in USD" in reviewed(found, currency="USD")["book"].message


def test_flows_without_a_day_or_in_another_currency() -> None:
    found = three()
    found.flows = {"good": [{"day": TODAY - timedelta(days=9), "currency": "EUR", "amount": Decimal(0)}]}
    assert "another currency" in reviewed(found)["identity:good"].message


def test_history_is_compared_with_the_last_review() -> None:
    found = three()
    checks = reviewed(found)
    report = {"checks": [{"host": "h", **check.as_dict()} for check in engine.reviewed(found, options(), {}).checks]}
    earlier = kept([report], "h")
    assert earlier.keys() == {"good", "bad", "dull"}
    assert kept([report], "other") == {}
    assert (
        kept([{"checks": [{"host": "h", "id": "review.identity:x", "details": {"history": {"through": 1}}}]}], "h")
        == {}
    )
    again = reviewed(found, earlier)
    assert {again[f"restated:{name}"].status for name in earlier} == {"ok"}
    rows = found.equity["good"]
    rows[50]["pnl"] += 1
    rows[50]["equity"] += 1
    rows[51]["pnl"] -= 1
    again = reviewed(found, earlier)
    assert (again["restated:good"].status, again["restated:good"].value) == ("warning", 1)
    assert "as reported then" in again["restated:good"].message
    assert again["restated:bad"].status == "ok"
    del found.equity["bad"]
    found.strategies.pop(1)
    assert reviewed(found, earlier)["restated:bad"].status == "unknown"
    assert checks["restated"].status == "unknown"


def test_history_that_comes_from_nowhere() -> None:
    found = three()
    report = {"checks": [{"host": "h", **check.as_dict()} for check in engine.reviewed(found, options(), {}).checks]}
    earlier = kept([report], "h")
    found.equity["backfilled"] = track(9, 300, 0.003)
    found.strategies.append({**found.strategies[0], "strategy": "backfilled"})
    check = reviewed(found, earlier)["restated:backfilled"]
    assert check.status == "unknown"
    assert "did not know it" in check.message
    # One that began since is none.
    found.equity["backfilled"] = []
    assert "restated:backfilled" not in reviewed(found, earlier)


def test_a_drawdown_names_who_lost() -> None:
    check = reviewed(three())["drawdown_book"]
    assert "Since the peak" in check.message
    assert check.details["contributors"].keys() == {"good", "bad", "dull"}


def test_a_limit_of_its_own() -> None:
    found = book(one=track(2, 400, 0.0005), two=track(3, 400, 0.0))
    plain = reviewed(found, thresholds={"drawdown": {"warning": 90, "critical": 95}})["drawdown:one"]
    strict = reviewed(found, drawdown_limits={"one": 0.01}, thresholds={"drawdown": {"warning": 90, "critical": 95}})
    lasting = reviewed(found, thresholds={"drawdown": {"critical": 95}, "drawdown_sessions": {"critical": 1}})
    assert lasting["drawdown:one"].status == "critical"
    assert plain.status in ("ok", "warning")
    assert strict["drawdown:one"].status == "critical"


def test_declared_trials_deflate() -> None:
    found = three()
    few, many = (
        reviewed(found, trials=[{"strategy": "good", "trials": count}])["performance:good"].details["figures"]["dsr"]
        for count in (1, 5000)
    )
    assert many < few
    assert few == pytest.approx(reviewed(found)["performance:good"].details["figures"]["psr"])


def test_the_record_has_what_it_rests_on() -> None:
    one, other = (engine.reviewed(three(), options(), {}).record for _turn in range(2))
    json.dumps(one, allow_nan=False)
    assert one == other
    assert one["method"] == engine.METHOD
    assert "password" not in json.dumps(one["options"])
    assert "database" not in one["options"]
    assert one["strategies"]["good"]["sessions"] == 399
    changed = three()
    changed.equity["dull"][-2]["pnl"] += 1
    assert engine.reviewed(changed, options(), {}).record["inputs_sha256"] != one["inputs_sha256"]


def test_charts_of_the_report() -> None:
    found = book(**{"<b>x</b>": track(1, 400, 0.001), "two": track(2, 400, 0.001)})
    actions = engine.reviewed(found, options(), {}).actions
    drawn = [text for action in actions for text in charts(json.loads(json.dumps(action["details"])))]
    assert len(drawn) == 6
    assert all("<b>" not in text and "<svg" in text for text in drawn)
    assert all(len(json.dumps(action["details"])) < 16_000 for action in actions)


@pytest.mark.parametrize(
    "chart",
    [
        None,
        {"kind": "pie"},
        {"kind": ["equity"]},
        {"kind": "equity", "at": [0, 1], "growth": [1, "x"], "depth": [0, 0]},
        {"kind": "equity", "at": [0], "growth": [1], "depth": [0]},
        {"kind": "equity", "at": [0, 1], "growth": [1, 2, 3], "depth": [0, 0]},
        {"kind": "heatmap", "names": ["a", "b"], "rows": [[1, 0]]},
        {"kind": "band", "points": [[1, 2, 3]]},
        {"kind": "shares", "bars": []},
    ],
)
def test_what_is_no_chart_is_not_drawn(chart: Any) -> None:
    assert charts({"charts": [chart]}) == []
    assert charts({"charts": chart}) == []


@pytest.mark.parametrize(
    "given",
    [
        {"confidence": 1.0},
        {"days": 1},
        {"until": "yesterday"},
        {"paths": 1},
        {"minimum_sessions": 3},
        {"tolerance": "-1"},
        {"drawdown_limits": {"a": "much"}},
        {"drawdown_limits": {"a": 0}},
        {"trials": [{"strategy": "a", "trials": 0}]},
        {"trials": [{"strategy": "a", "trials": 1}, {"strategy": "a", "trials": 2}]},
    ],
)
def test_options_that_make_no_sense(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        options(**given)


def test_the_readme_shows_every_threshold_as_it_is() -> None:
    text = (ROOT / "roles/strategy_review/README.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    shown = {row[0]: (row[2], row[3]) for row in rows if len(row) == 5}
    place = {
        "sharpe": "`review.performance:",
        "drawdown": "`review.drawdown:",
        "drawdown_sessions": "the same",
        "drawdown_percentile": "the same again",
        "restated": "`review.restated:",
        "correlation": "`review.correlation`",
        "risk_share": "`review.diversification`",
        "concentration": "`review.concentration`",
        "participation": "`review.capacity:",
        "residual": "`review.bridge:",
        "drift": "`review.drift:",
    }
    assert place.keys() == SPEC["thresholds"]["options"].keys()
    for name, limit in SPEC["thresholds"]["options"].items():
        wanted = tuple(str(limit["options"][level].get("default", "–")) for level in ("warning", "critical"))
        names = [check for check in shown if check == place[name] or check.startswith(place[name] + "<")]
        names += [check for check in shown if place[name].endswith(":") and check.startswith(place[name])]
        assert shown[names[0]] == wanted
