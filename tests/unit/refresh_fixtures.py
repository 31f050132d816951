"""Prices of the tests' own, and refreshes of strategies on them, without a database."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation import cells
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh import engine, options, snapshot
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import ROOT, left_out

LAST = date(2026, 3, 31)
FIRST = LAST - timedelta(days=69)
NAMES = ("X:AAA", "X:BBB")
DATABASE = {"host": "db", "name": "tradingflow", "user": "maintenance"}
SAMPLES = ROOT / "sandbox/strategies"


def walls() -> None:
    """Leaves a test out where nothing can be shut off."""
    folder = Path("/var/tmp") / f"tradingflow-cells-{os.getpid()}"
    (folder / "out").mkdir(parents=True)
    try:
        cells.run(["/bin/true"], binds=[], environment={}, limits=cells.Limits(), outputs=[], target=folder / "out")
    except cells.NoCells as error:
        left_out(f"backtests: {error}")
    finally:
        shutil.rmtree(folder)


def prices(name: str, first: date, last: date) -> list[tuple[date, str]]:
    """Up and down, never the same way twice, and the same in every test."""
    found, value, state = [], 100.0, 7 + 13 * NAMES.index(name)
    day = date(2025, 10, 1)
    while day <= last:
        state = (state * 1103515245 + 12345) % 2**31
        value *= 1 + 0.03 * (state / 2**31 - 0.49)
        if day >= first:
            found.append((day, f"{value:.4f}"))
        day += timedelta(days=1)
    return found


class Prices:
    """A reader of snapshots.

    :param changes: (instrument, day) -> another price
    """

    def __init__(
        self, changes: dict[tuple[str, date], str] | None = None, *, last: date = LAST, first: date | None = None
    ) -> None:
        self.changes = changes or {}
        self.last = last
        self.first = first
        self.gone: set[str] = set()

    def __call__(self, _database: Any, _timeout: int, until: date | None, wanted: Sequence[Any], folder: Path) -> Any:
        found = snapshot.Snapshot("2026-04-01T00:00:00.000000Z", until or self.last)
        first = self.first or min(snapshot.begin(one) for one in wanted)
        for name in sorted({each.name for one in wanted for each in one.instruments} - self.gone):
            lines = [
                f"{day}T23:00:00.000000Z,{self.changes.get((name, day), price)}\n"
                for day, price in prices(name, first, found.until)
            ]
            path = folder / ".new"
            path.write_bytes(snapshot.HEADER + "".join(lines).encode())
            digest = snapshot.sha256(path)
            path.replace(folder / digest)
            found.prices[name] = snapshot.Prices(name, "USD", len(lines), digest)
        for name in self.gone:
            found.odd[name] = "there is no price of it"
        return found


def strategy(name: str = "one", **given: Any) -> dict[str, Any]:
    """A strategy as an inventory has it, of the sandbox's samples."""
    return {
        "strategy": name,
        "code": str(SAMPLES),
        "command": ["{python}", "-B", "{code}/honest.py"],
        # Without the hundreds of distributions of the tests' environment, which are listed for each engine.
        "engine": {"python": os.path.realpath(sys.executable)},
        "parameters": {"days": 5},
        "instruments": [{"instrument": each, "from": "2020-01-01"} for each in NAMES],
        "from": str(FIRST),
        "warm_up_days": 10,
        "capital": "100000",
        "currency": "USD",
        "calendar": "24/7",
        "costs": {"fee_bps": "5"},
        **given,
    }


def written(folder: Path, text: str, name: str = "strategy.py") -> dict[str, Any]:
    """A strategy of a test's own: its code, and how it is run."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return strategy(code=str(folder), command=["{python}", "-B", f"{{code}}/{name}"])


#: What leaves the three files; EQUITY may be replaced by a test.
LEAVES = """
import json, os
request = json.load(open(os.environ["BACKTEST_REQUEST"]))
from datetime import date, timedelta
day, last = (date.fromisoformat(request["window"][key]) for key in ("from", "to"))
rows = ["day,equity,flow,fees"]
while day <= last:
    rows.append(f"{day},100000,0,0")
    day += timedelta(days=1)
open("equity.csv", "w").write("\\n".join(rows) + "\\n")
open("fills.csv", "w").write("time,instrument,side,quantity,price,fee\\n")
open("trials.json", "w").write('{"schema": 1, "trials": 1}')
"""


def given(directory: Path, strategies: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Options as the module has them."""
    asked = {
        "database": DATABASE,
        "directory": str(directory / "store"),
        "strategies": list(strategies),
        "cuts": 1,
        "retries": 0,
        "seconds": 60,
        "memory_mb": 256,
        "scratch_mb": 8,
        "processes": 8,
        **more,
    }
    result = ArgumentSpecValidator(options.SPEC).validate(asked)
    assert not result.error_messages
    return dict(result.validated_parameters)


def refreshed(
    directory: Path, *strategies: dict[str, Any], reader: Callable[..., Any] | None = None, **more: Any
) -> dict[str, Check]:
    """Checks of a refresh, without the area."""
    found = engine.refresh(given(directory, strategies, **more), sys.executable, reader or Prices())
    assert len({check.id for check in found.checks}) == len(found.checks)
    return {check.id.removeprefix("backtest."): check for check in found.checks}
