"""A review of many strategies against loops of empyrical and ffn, and against one statement of SQL.

BENCH_REVIEW="10 100 1000" (strategies of five years of days; 10000 takes 2 GB of disk), BENCH_ROUNDS=3. Every contender
must come to our figures, else the benchmark fails. The result goes into docs/benchmarks.md.
"""

from __future__ import annotations

import io
import json
import math
import os
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from tests.conftest import ROOT, Sandbox, sandbox

from . import common

DAYS = 1825
#: What others need, in an environment of its own.
PACKAGES = ("ffn==1.4.1", "empyrical-reloaded==0.7.1", "psycopg2-binary")
ENVIRONMENT = ROOT / ".cache/bench-review"
CHILDREN = ("ours", "empyrical", "ffn", "sql")
LABELS = {
    "ours": "**ours: books, all figures with intervals, correlations, charts, record**",
    "empyrical": "empyrical, 6 figures in a loop",
    "ffn": "ffn, 4 figures in a loop",
    "sql": "SQL, 5 figures in one statement",
}
SCHEMA = """
CREATE SCHEMA maintenance;
CREATE TABLE maintenance.equity (strategy text, day date, currency text, equity numeric, pnl numeric, fees numeric,
    as_of timestamptz, PRIMARY KEY (strategy, day));
CREATE TABLE maintenance.strategies (strategy text PRIMARY KEY, account text, calendar text, expected_state text,
    capital numeric);
GRANT USAGE ON SCHEMA maintenance TO {user};
GRANT SELECT ON ALL TABLES IN SCHEMA maintenance TO {user};
"""


@dataclass
class Size:
    """So many strategies in a database of their own.

    :param results: of each contender seconds, bytes and seconds of its own processor time, of each round
    """

    count: int
    database: dict[str, Any]
    results: dict[str, list[tuple[float, int, float]]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    def child(self, name: str) -> None:
        """A contender in a process of its own; its figures must be ours.

        :raises RuntimeError: it failed, or came to others
        """
        command = [str(ENVIRONMENT / "bin/python"), str(ROOT / "tests/bench/review_contender.py"), name]
        if name == "ours":
            command = [sys.executable, "-m", "tests.bench.review_ours"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/collections" if name == "ours" else ""},
            input=json.dumps(self.database),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{name} failed ({done.returncode}): {done.stderr[-3000:]}")
        answer = json.loads(done.stdout)
        self.compare(name, answer["figures"])
        self.results.setdefault(name, []).append((answer["seconds"], answer["peak"], answer["cpu"]))
        print(f"{self.count} strategies: {name} {answer['seconds']:.2f} s, {answer['peak'] / 1e6:.0f} MB", flush=True)

    def compare(self, name: str, figures: dict[str, Any]) -> None:
        """Raises if a contender came to other figures than ours."""
        if name == "ours":
            self.figures = figures
        if figures.keys() != self.figures.keys() or len(figures) != self.count:
            raise RuntimeError(f"{name} has other strategies than ours")
        for strategy, values in figures.items():
            for key, value in values.items():
                if not math.isclose(value, self.figures[strategy][key], rel_tol=1e-6, abs_tol=1e-9):
                    raise RuntimeError(f"{name}, {strategy}: {key} is {value}, ours {self.figures[strategy][key]}")

    def median(self, name: str, place: int) -> float:
        """Seconds (0), bytes (1), or seconds of the processor (2)."""
        return statistics.median(result[place] for result in self.results[name])


@contextmanager
def filled(running: Sandbox, count: int) -> Iterator[Size]:
    """A database with books of so many strategies, which add up."""
    name = f"review_{count}"
    for statement in (f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}"):
        _execute(running, statement)
    connection = running.connect("superuser", name)
    try:
        with connection.cursor() as cursor:
            cursor.execute(SCHEMA.format(user=running.database["user"]))
            cursor.execute(
                "INSERT INTO maintenance.strategies SELECT 's' || lpad(n::text, 5, '0'), 'A' || n %% 20, '24/7',"
                " 'running', 1000000 FROM generate_series(0, %s - 1) n",
                [count],
            )
            today = datetime.now(UTC).date()
            for first in range(0, count, 100):
                text = "".join(books(number, today) for number in range(first, min(first + 100, count)))
                cursor.copy_expert("COPY maintenance.equity FROM STDIN", io.StringIO(text))
        connection.commit()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE maintenance.equity")
    finally:
        connection.close()
    yield Size(count, {**running.database, "name": name})
    _execute(running, f"DROP DATABASE {name}")


def _execute(running: Sandbox, statement: str) -> None:
    connection = running.connect("superuser")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def books(number: int, today: Any) -> str:
    """Five years of one strategy, in ten-thousandths of a dollar."""
    random = np.random.default_rng(number)
    level, lines = 10**10, []
    returns = random.normal(0.0002, 0.01, DAYS)
    for place, value in enumerate(returns.tolist()):
        day = today - timedelta(days=DAYS - place)
        pnl = round(level * value)
        level += pnl
        numbers = "\t".join(
            f"{each // 10**4}.{each % 10**4:04d}" if each >= 0 else _negative(each) for each in (level, pnl)
        )
        lines.append(f"s{number:05d}\t{day}\tUSD\t{numbers}\t1.2500\t{day + timedelta(days=1)} 00:00:00+00\n")
    return "".join(lines)


def _negative(value: int) -> str:
    return f"-{-value // 10**4}.{-value % 10**4:04d}"


def prepare() -> None:
    """The environment of the others, once."""
    python = ENVIRONMENT / "bin/python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    check = subprocess.run([python, "-c", "import ffn, empyrical, psycopg2"], capture_output=True)
    if check.returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)


def table(sizes: list[Size]) -> str:
    """The results in Markdown."""
    head = (
        "| |"
        + "".join(f" {size.count:,} strategies: s | processor s | against ours | MB |" for size in sizes)
        + " growth |"
    )
    lines = [head, "|---|" + "--:|--:|--:|--:|" * len(sizes) + "--:|"]
    for name in CHILDREN:
        cells = ""
        for size in sizes:
            if name not in size.results:
                cells += " not measured | | | |"
                continue
            seconds, peak = size.median(name, 0), size.median(name, 1)
            used, times = size.median(name, 2), seconds / size.median("ours", 0)
            cells += f" {seconds:.2f} | {used:.2f} | {times:.1f} | {peak / 1e6:,.0f} |"
        lines.append(f"| {LABELS[name]} |{cells} {growth(sizes, name)} |")
    lines.append("")
    for size in sizes:
        spread = ", ".join(
            f"{name} {min(each[0] for each in results):.2f}-{max(each[0] for each in results):.2f}"
            for name, results in size.results.items()
        )
        lines.append(f"- {size.count:,} strategies, {size.count * DAYS:,} days; fastest and slowest in s: {spread}.")
    return "\n".join(lines)


def growth(sizes: list[Size], name: str) -> str:
    """How many times longer it took for how many times the strategies."""
    both = [size for size in sizes if name in size.results]
    if len(both) < 2:
        return ""
    times = both[-1].median(name, 0) / both[-2].median(name, 0)
    return f"{times:.1f} times for {both[-1].count / both[-2].count:.0f} times the strategies"


def main() -> None:
    """Measures and writes the page."""
    counts, rounds = os.environ.get("BENCH_REVIEW", "10 100 1000"), os.environ.get("BENCH_ROUNDS", "3")
    command = f'BENCH=review BENCH_REVIEW="{counts}" BENCH_ROUNDS={rounds} make bench'
    prepare()
    sizes: list[Size] = []
    with sandbox("empty") as running:
        for count in map(int, counts.split()):
            with filled(running, count) as size:
                # Once unmeasured: what the server has to read from disk is read.
                size.child("ours")
                size.results.clear()
                names = [name for name in CHILDREN if name in ("ours", "sql") or count <= 1000]
                for _number, name in common.interleaved(names, int(rounds)):
                    size.child(name)
                sizes.append(size)
                common.write("review", command, table(sizes))
    print(table(sizes))
