"""Probes and comparisons of a refresh, on prices of the test's own: each fault is told from the others."""

from __future__ import annotations

import shutil
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh.outputs import Equity, Fill, Outputs
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh.probes import cuts

from tests.unit.refresh_fixtures import FIRST, LAST, NAMES, SAMPLES, Prices, given, refreshed, strategy, walls

SETTLED = LAST - timedelta(days=3)


@pytest.fixture(scope="module", autouse=True)
def _walls() -> None:
    walls()


def copied(folder: Path, *changes: tuple[str, str]) -> str:
    """The samples, with other words in their engine."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SAMPLES, folder)
    text = (folder / "market.py").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "market.py").write_text(text, encoding="utf-8")
    return str(folder)


def statuses(found: dict[str, Any]) -> dict[str, str]:
    return {id.removesuffix(":one"): check.status for id, check in found.items() if id.endswith(":one")}


def test_an_honest_one_passes_and_is_not_run_again(tmp_path: Path) -> None:
    options = given(tmp_path, [strategy(parameters={"days": 5, "tried": [{"days": days} for days in range(3, 14)]})])
    found = engine.refresh(options, sys.executable, Prices())
    checks = {check.id.removeprefix("backtest."): check for check in found.checks}
    sure = ("run", "determinism", "lookahead", "warm_up", "costs", "delay", "universe", "books", "fill_prices")
    assert {name: statuses(checks)[name] for name in sure} == dict.fromkeys(sure, "ok"), [
        check.message for check in checks.values()
    ]
    # Seventy days cannot tell it from nothing.
    assert statuses(checks)["performance"] == "unknown"
    assert checks["performance:one"].details["figures"]["sessions"] == 70
    assert "11 trials; deflated Sharpe ratio" in checks["overfitting:one"].message
    assert "probability of overfitting" in checks["overfitting:one"].message
    assert statuses(checks)["change"] == "unknown"
    assert len(found.actions) == 1
    again = engine.refresh(options, sys.executable, Prices())
    checks = {check.id.removeprefix("backtest."): check for check in again.checks}
    assert checks["run:one"].details["reused"] == checks["run:one"].details["runs"] == 9
    assert checks["change:one"].status == "ok"
    assert "the same as then" in checks["change:one"].message
    assert again.record is not None
    assert found.record is not None
    assert again.record["strategies"]["one"]["outputs"] == found.record["strategies"]["one"]["outputs"]
    assert set(again.actions[0]["details"]["charts"][0]) >= {"now", "then"}
    # What was kept and is not what it was counts as not done.
    for path in (tmp_path / "store/runs").glob("*/equity.csv"):
        path.chmod(0o600)
        path.write_text(path.read_text(encoding="utf-8").replace("100000", "100001"), encoding="utf-8")
    checks = {check.id: check for check in engine.refresh(options, sys.executable, Prices()).checks}
    assert checks["backtest.run:one"].details["reused"] < 9
    assert checks["backtest.change:one"].status == "ok"


def test_restated_prices_and_changed_code_are_told_apart(tmp_path: Path) -> None:
    code = copied(tmp_path / "code")
    early = Prices(last=SETTLED)
    refreshed(tmp_path, strategy(code=code), reader=early)
    # New days alone change nothing of the old ones.
    found = refreshed(tmp_path, strategy(code=code))
    assert (found["change:one"].status, found["change:one"].value) == ("ok", 0.0), found["change:one"].message
    # A price of the past is restated.
    restated = Prices({(NAMES[0], FIRST + timedelta(days=30)): "250.0000"})
    found = refreshed(tmp_path, strategy(code=code), reader=restated)
    change = found["change:one"]
    assert "data" in change.message
    assert f"restated: {NAMES[0]}" in change.message
    assert change.details["changed"] == ["prices"]
    assert change.details["steps"]["engine"] == change.details["steps"]["code"] == "0"
    assert Decimal(change.details["steps"]["data"]) != 0
    # Only the code: fees that are charged twice.
    copied(tmp_path / "code", ("cash -= change * price + fee", "cash -= change * price + fee + fee"))
    found = refreshed(tmp_path, strategy(code=code), reader=restated)
    change = found["change:one"]
    assert change.details["changed"] == ["code"]
    assert change.details["steps"]["engine"] == change.details["steps"]["data"] == "0"
    assert Decimal(change.details["steps"]["code"]) < 0
    # Its equity no longer follows from its fills.
    assert found["books:one"].status in ("warning", "critical")
    # Both at once, and another parameter: each has its own step.
    copied(tmp_path / "code")
    found = refreshed(tmp_path, strategy(code=code, parameters={"days": 6}))
    change = found["change:one"]
    assert change.details["changed"] == ["prices", "code", "parameters"]
    assert all(Decimal(change.details["steps"][step]) for step in ("data", "code"))
    # Another day to begin with cannot be compared.
    found = refreshed(tmp_path, strategy(code=code, **{"from": str(FIRST + timedelta(days=1))}))
    assert found["change:one"].status == "unknown"
    assert "begins on another day" in found["change:one"].message


def test_a_changed_engine_and_what_was_lost(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "release.py").write_text("TURN = 1\n")
    code = copied(
        tmp_path / "code",
        (
            "return 1 if known[-1]",
            f"import sys; sys.path.append({str(library)!r}); import release\n    return release.TURN if known[-1]",
        ),
    )
    one = strategy(code=code)
    one["engine"] = {**one["engine"], "paths": [str(library)]}
    refreshed(tmp_path, one)
    (library / "release.py").write_text("TURN = -1\n")
    change = refreshed(tmp_path, one)["change:one"]
    assert change.details["changed"] == ["engine"]
    assert change.details["steps"]["code"] == change.details["steps"]["data"] == "0"
    assert Decimal(change.details["steps"]["engine"]) != 0
    assert change.status in ("warning", "critical")
    for name in ("code", "runs"):
        shutil.rmtree(tmp_path / "store" / name)
    copied(tmp_path / "code")
    change = refreshed(tmp_path, one)["change:one"]
    assert change.status == "unknown"
    assert "nothing is left of" in change.message


BETTER = (
    "                if change:\n",
    "                if change:\n"
    "                    early = closes[bars[name][max(0, here - 1)]]\n"
    "                    price = min(early, price) if change > 0 else max(early, price)\n",
)


@pytest.mark.parametrize(
    ("changes", "given", "id", "status", "why"),
    [
        # A look at the whole window, however far away the cut is.
        (
            [("known = [", "known = [max(closes.values())] and [")],
            {},
            "lookahead",
            "ok",
            "nothing before differs",
        ),
        (
            [
                (
                    "return 1 if known[-1] * span > sum(known) else 0",
                    "return 1 if known[-1] * 2 > max(closes.values()) + min(closes.values()) else 0",
                )
            ],
            {},
            "lookahead",
            "critical",
            "what has not happened yet",
        ),
        (
            [
                (
                    'rate = Decimal(str(request["costs"].get("fee_bps", 0)))',
                    'rate = -Decimal(str(request["costs"].get("fee_bps", 0)))',
                )
            ],
            {},
            "costs",
            "critical",
            "by paying more",
        ),
        (
            [('rate = Decimal(str(request["costs"].get("fee_bps", 0)))', "rate = Decimal(5)")],
            {},
            "costs",
            "unknown",
            "does not go by its costs",
        ),
        ([], {"costs": {}}, "costs", "unknown", "no costs"),
        ([(', request["execution"]["delay_bars"]', ", 0")], {}, "delay", "unknown", "does not go by the delay"),
        # It begins with a position that its warm-up makes.
        (
            [("if place + 1 < span:\n        return 0", "if True:\n        return int(place % 3 == 0)")],
            {},
            "warm_up",
            "warning",
            "change equity by up to",
        ),
        ([], {"warm_up_days": 2, "parameters": {"days": 5}}, "warm_up", "warning", "4 days instead of 2"),
        (
            [],
            {"instruments": [{"instrument": NAMES[0], "from": str(FIRST + timedelta(days=20))}]},
            "universe",
            "critical",
            "not in its universe then",
        ),
        (
            [],
            {"instruments": [{"instrument": name} for name in NAMES]},
            "universe",
            "unknown",
            "since when nobody tells",
        ),
        ([], {"calendar": "NOPE"}, "performance", "unknown", "NOPE"),
        (
            [("equity.append((day, ", 'day.endswith("3") or equity.append((day, ')],
            {},
            "performance",
            "unknown",
            "no equity of",
        ),
        ([], {"currency": "EUR"}, "books", "unknown", "is not in EUR"),
        # The better one of two prices: shorter runs, books and a bar's delay find nothing wrong.
        ([BETTER], {}, "fill_prices", "warning", "better than the market: X:"),
        ([BETTER], {}, "performance", "unknown", "its fills are better than its market was"),
    ],
)
def test_each_fault_is_told(
    tmp_path: Path, changes: list[tuple[str, str]], given: dict[str, Any], id: str, status: str, why: str
) -> None:
    found = refreshed(tmp_path, strategy(code=copied(tmp_path / "code", *changes), **given))
    check = found[f"{id}:one"]
    assert (check.status, why in check.message) == (status, True), check.message


def test_the_other_samples_are_caught(tmp_path: Path) -> None:
    found = refreshed(
        tmp_path,
        strategy(command=["{python}", "-B", "{code}/peeking.py"]),
        strategy("two", command=["{python}", "-B", "{code}/restless.py"]),
    )
    assert found["lookahead:one"].status == "critical"
    assert found["determinism:two"].status == "critical"
    assert found["lookahead:two"].status == "unknown"
    for id in ("performance:one", "overfitting:one", "costs:one", "performance:two", "warm_up:two", "change:two"):
        assert found[id].status == "unknown", id


def test_history_too_short_for_the_longer_warm_up(tmp_path: Path) -> None:
    found = refreshed(tmp_path, strategy(), reader=Prices(first=FIRST - timedelta(days=10)))
    assert found["run:one"].status == "ok"
    assert found["warm_up:one"].status == "unknown"
    assert "there are no prices of" in found["warm_up:one"].message


def test_cuts_fall_on_bars_that_were_traded() -> None:
    days = [FIRST + timedelta(days=place) for place in range(20)]
    rows = [Equity(day, Decimal(1), Decimal(0), Decimal(0)) for day in days]
    fills = [Fill("", days[place], "A", Decimal(1), Decimal(1), Decimal(0)) for place in (2, 11, 19)]
    assert cuts(Outputs(rows, fills), 2) == [days[2], days[11], days[18]]
    assert cuts(Outputs(rows, []), 1) == [days[10], days[18]]
    assert cuts(Outputs(rows[:1], []), 3) == []
