"""What a strategy leaves is read by its grammar, and two runs are compared exactly."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh import outputs

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 5)
EQUITY = "day,equity,flow,fees\n2026-03-02,100,0,0\n2026-03-03,101.5,0,0.1\n2026-03-05,99,0,0\n"
FILLS = (
    "time,instrument,side,quantity,price,fee\n2026-03-03T10:00:00Z,X:A,buy,1,50.25,0.1\n"
    "2026-03-03T10:00:00.5Z,X:A,sell,0.5,51,0\n"
)
TRIALS = '{"schema": 1, "trials": 3}'


def parsed(folder: Path, equity: str = EQUITY, fills: str = FILLS, trials: str = TRIALS) -> outputs.Outputs:
    for name, text in (("equity.csv", equity), ("fills.csv", fills), ("trials.json", trials)):
        (folder / name).write_text(text, encoding="utf-8")
    return outputs.parse(folder, FIRST, LAST, {"X:A"})


def test_what_is_as_it_must_be(tmp_path: Path) -> None:
    found = parsed(tmp_path)
    assert [row.equity for row in found.days] == [Decimal(100), Decimal("101.5"), Decimal(99)]
    assert [fill.quantity for fill in found.fills] == [Decimal(1), Decimal("-0.5")]
    assert (found.trials, found.returns, len(found.digests)) == (3, [], 3)
    assert [row.day.day for row in found.until(date(2026, 3, 3)).days] == [2, 3]
    returns = json.dumps(
        {"schema": 1, "trials": 2, "days": ["2026-03-02", "2026-03-03", "2026-03-05"], "returns": [[0, 1, 2]]}
    )
    assert parsed(tmp_path, trials=returns).returns == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    ("equity", "why"),
    [
        ("", "does not begin with"),
        ("day,equity,flow,fees\n", "has no day"),
        (EQUITY.replace("fees", "fees,more"), "does not begin with"),
        (EQUITY.replace("101.5", "NaN"), "equity in line 3 of equity.csv is no number: NaN"),
        (EQUITY.replace("101.5", "1e5"), "no number"),
        (EQUITY.replace("101.5", "inf"), "no number"),
        (EQUITY.replace("101.5", ""), "no number"),
        (EQUITY.replace("101.5", "1" * 30), "no number"),
        (EQUITY.replace("2026-03-03", "2026-03-02"), "is there twice"),
        (EQUITY.replace("2026-03-05", "2026-03-01"), "is not in order"),
        (EQUITY.replace("2026-03-05", "2026-03-06"), "is not in the window"),
        (EQUITY.replace("2026-03-05", "2026-3-5"), "has no day"),
        (EQUITY.replace("2026-03-05", "2026-02-30"), "has no day"),
        (EQUITY.replace("99,0,0", "99,0"), "has 3 fields instead of 4"),
        (EQUITY + '"', "is no CSV"),
        (EQUITY + "\x00", "equity.csv"),
    ],
)
def test_equity_that_is_none(tmp_path: Path, equity: str, why: str) -> None:
    with pytest.raises(outputs.BadOutput, match=why.replace(".", r"\.")):
        parsed(tmp_path, equity=equity)


@pytest.mark.parametrize(
    ("fills", "why"),
    [
        (FILLS.replace("X:A,buy", "X:B,buy"), "none of its instruments"),
        (FILLS.replace("buy", "long"), "neither buy nor sell"),
        (FILLS.replace("buy,1,", "buy,0,"), "is not above 0"),
        (FILLS.replace("buy,1,", "buy,-1,"), "is not above 0"),
        (FILLS.replace("00.5Z", "00.5"), "no time in UTC"),
        (FILLS.replace("10:00:00.5Z", "09:59:59Z"), "is not in order"),
        (FILLS.replace("2026-03-03T10:00:00.5Z", "2026-04-03T10:00:00Z"), "is not in the window"),
        (FILLS.replace("50.25", "nan"), "no number"),
    ],
)
def test_fills_that_are_none(tmp_path: Path, fills: str, why: str) -> None:
    with pytest.raises(outputs.BadOutput, match=why):
        parsed(tmp_path, fills=fills)


@pytest.mark.parametrize(
    ("trials", "why"),
    [
        ("", "is no JSON"),
        ("[]", "no schema 1"),
        ('{"schema": 1, "trials": true}', "no number from 1"),
        ('{"schema": 1, "trials": 1.5}', "no number from 1"),
        ('{"schema": 1, "trials": 1, "sharpe": 9}', "nobody knows"),
        ('{"schema": 1, "trials": 1, "returns": [[NaN]]}', "is no JSON"),
        ('{"schema": 1, "trials": 1, "returns": [[0.1]], "days": []}', "are not those"),
        (
            '{"schema": 1, "trials": 1, "days": DAYS, "returns": [[0, 0]]}',
            "each day",
        ),
        (
            '{"schema": 1, "trials": 1, "days": DAYS, "returns": [[0,0,0],[0,0,0]]}',
            "more trials than it counts",
        ),
        ('{"schema": 1, "trials": 1, "days": DAYS, "returns": [[0, 0, 1' + "0" * 400 + "]]}", "each day"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_trials_that_are_none(tmp_path: Path, trials: str, why: str) -> None:
    with pytest.raises(outputs.BadOutput, match=why):
        parsed(tmp_path, trials=trials.replace("DAYS", '["2026-03-02", "2026-03-03", "2026-03-05"]'))


@pytest.mark.parametrize(
    ("equity", "fills", "why"),
    [
        (EQUITY.replace("101.5", "101.50000000001"), FILLS, None),
        (EQUITY, FILLS.replace("00.5Z", "00.500000Z"), None),
        (EQUITY.replace("101.5", "101.500001"), FILLS, "equity of 2026-03-03 is 101.5 and 101.500001"),
        (EQUITY.replace("2026-03-05", "2026-03-04"), FILLS, "equity of 2026-03-04 is in one of them only"),
        (EQUITY.replace("0.1", "0.2"), FILLS, "fees of 2026-03-03"),
        (EQUITY, FILLS.replace("50.25", "50.26"), "fills differ from 2026-03-03 on"),
        (EQUITY, "".join(FILLS.splitlines(True)[:2]), "2 and 1 fills"),
    ],
)
def test_how_two_runs_differ(tmp_path: Path, equity: str, fills: str, why: str | None) -> None:
    told = outputs.difference(parsed(tmp_path), parsed(tmp_path, equity, fills))
    assert (told is None) == (why is None)
    assert why is None or why in str(told)
