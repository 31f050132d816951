"""A refresh of backtests: what it costs over the bare strategies, run as often by a plain pool of processes.

BENCH_BACKTEST="50 0.5" (strategies, seconds of a processor that one run takes), BENCH_ROUNDS=1. The result goes into
docs/benchmarks.md.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation import cells
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh import engine, options, outputs, snapshot
from ansible_collections.tradingflow.maintenance.plugins.module_utils._refresh.runs import request_of

from tests.unit.refresh_fixtures import SAMPLES, Prices, given, strategy

from . import common

LABELS = {
    "bare": "the bare strategies, a plain pool of processes",
    "ours": "**ours: shut off, probed, read, judged, kept**",
}
#: Work that takes a second of a processor, about: it is measured, see calibrated.
SPIN = """
value = 1.0
for _ in range({rounds}):
    value = value * 1.0000001 + 1e-9
"""


def strategies(folder: Path, count: int, rounds: int) -> list[dict[str, Any]]:
    """The sandbox's honest sample, as many times, each with other parameters, so that nothing is the same."""
    code = folder / "code"
    shutil.copytree(SAMPLES, code)
    text = (code / "honest.py").read_text(encoding="utf-8")
    (code / "honest.py").write_text(text + SPIN.format(rounds=rounds), encoding="utf-8")
    return [strategy(f"s{number}", code=str(code), parameters={"days": 5, "number": number}) for number in range(count)]


def calibrated(seconds: float) -> int:
    """Rounds that take so many seconds of a processor here."""
    before, count = time.process_time(), 2_000_000
    exec(SPIN.format(rounds=count), {})
    return int(count * seconds / (time.process_time() - before))


def used() -> float:
    """Seconds of processors so far, of this process and all that ended."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in found)


def ours(folder: Path, listed: list[dict[str, Any]]) -> int:
    """A whole refresh on an empty folder; gives the number of runs."""
    options_given = given(folder, listed, cuts=3, seconds=600)
    found = engine.refresh(options_given, sys.executable, Prices())
    runs = [check for check in found.checks if check.id.startswith("backtest.run:")]
    assert {check.status for check in runs} == {"ok"}, [check.message for check in runs]
    assert not any(check.details["reused"] for check in runs)
    return sum(check.details["runs"] for check in runs)


def bare(folder: Path, listed: list[dict[str, Any]], runs: int) -> None:
    """As many runs of them, on the whole window, each with its outputs; nothing else is done."""
    settings = options.checked(given(folder, listed), sys.executable)
    kept = folder / "prices"
    kept.mkdir(parents=True)
    found = Prices()(None, 0, None, settings.strategies, kept)
    prepared = []
    for number, one in enumerate(settings.strategies):
        place = folder / f"in-{number}"
        data = snapshot.cut(found, kept, one, snapshot.begin(one), found.until, one.instruments, place)
        request = request_of(one, data, found.until)
        (place / "request.json").write_text(__import__("json").dumps(request), encoding="utf-8")
        prepared.append((one, place))

    def once(number: int) -> None:
        one, place = prepared[number % len(prepared)]
        out = folder / f"out-{number}"
        out.mkdir()
        environment = {**cells.THREADS, "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        command = [one.python, "-B", f"{one.code}/honest.py"]
        environment["BACKTEST_REQUEST"] = str(place / "request.json")
        subprocess.run(command, cwd=out, env=environment, check=True, capture_output=True)
        assert {path.name for path in out.iterdir()} == set(outputs.NAMES)

    with ThreadPoolExecutor(settings.workers) as pool:
        list(pool.map(once, range(runs)))


def main() -> None:
    """Measures, and writes the table."""
    count, seconds = os.environ.get("BENCH_BACKTEST", "50 0.5").split()
    rounds = int(os.environ.get("BENCH_ROUNDS", "1"))
    spin = calibrated(float(seconds))
    costs: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
    runs = 0
    for _number in range(rounds):
        with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="tradingflow-bench-") as name:
            folder = Path(name)
            listed = strategies(folder, int(count), spin)
            for who in ("ours", "bare"):
                wall, cpu = time.monotonic(), used()
                if who == "ours":
                    runs = ours(folder / who, listed)
                else:
                    bare(folder / who, listed, runs)
                costs[who].append((time.monotonic() - wall, used() - cpu))
                print(f"{who}: {costs[who][-1][0]:.0f} s, {costs[who][-1][1]:.0f} s of processors, {runs} runs")
    middle = {
        who: [statistics.median(each[place] for each in found) for place in (0, 1)] for who, found in costs.items()
    }
    lines = [f"| | {count} strategies, {runs} runs: s | CPU s | CPU over the bare ones |", "|---|--:|--:|--:|"]
    over = middle["ours"][1] / middle["bare"][1] - 1
    for who in ("bare", "ours"):
        shown = f"{100 * over:+.1f} %" if who == "ours" else ""
        lines.append(f"| {LABELS[who]} | {middle[who][0]:.0f} | {middle[who][1]:.0f} | {shown} |")
    each = 1000 * (middle["ours"][1] - middle["bare"][1]) / runs
    alone = 1000 * middle["bare"][1] / runs
    lines += ["", f"- A bare run took {alone:.0f} ms of a processor here, ours {each:+.0f} ms on top."]
    command = f'BENCH=backtest BENCH_BACKTEST="{count} {seconds}" BENCH_ROUNDS={rounds} make bench'
    common.write("backtest", command, "\n".join(lines))
