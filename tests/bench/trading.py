"""The checks of trading against the same figures by pandas, on the sandbox's history and on ten times of it.

BENCH_TRADING="default large" (sizes of the sandbox), BENCH_ROUNDS=3. The result goes into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

from tests.conftest import ROOT, Sandbox, sandbox

from . import common
from .contender import TIMEOUT

CHILDREN = ("ours", "csv", "sql")
PLAYBOOK = "playbook"
#: Fetched row by row into Python's objects, more than this takes more memory than a runner has.
SQL_ROWS = 1_000_000

OURS = """
- hosts: tradingflow_runner
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: tradingflow.maintenance.trading_check
      vars:
        maintenance_run: {directory: "{{ folder }}/run"}
        trading_check_timeout: "{{ timeout }}"
"""


@dataclass
class Result:
    """One run of one contender.

    :param seconds: wall time
    :param client: bytes, peak of its process; None for ansible-playbook, which is many
    :param server: bytes, peak of what its server processes had for themselves, without the shared buffers
    :param temporary: bytes the server put into temporary files
    """

    seconds: float
    client: int | None
    server: int
    temporary: int


@dataclass
class Size:
    """A sandbox of one size.

    :param rows: of orders
    """

    name: str
    running: Sandbox
    folder: Path
    results: dict[str, list[Result]] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        counts = self.running.state["history"]["rows"]
        self.rows = counts["orders"]
        self.executions = counts["executions"]
        self.server = Server(self.running)
        (self.bytes,) = self.server.ask("SELECT pg_database_size(current_database())")

    def child(self, name: str) -> tuple[float, int | None]:
        """A contender in a process of its own; its figures must be those of ours."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.contender", name],
            cwd=ROOT,
            env={**self.running.environment, "PYTHONPATH": f"{ROOT}:{ROOT}/collections"},
            input=json.dumps(self.running.database),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{name} failed ({done.returncode}): {done.stderr[-3000:]}")
        answer = json.loads(done.stdout)
        self.compare(name, answer["figures"])
        return answer["seconds"], answer["peak"]

    def compare(self, name: str, figures: dict[str, Any]) -> None:
        """Raises if a contender came to other figures than ours: it would not have done the same."""
        if name == "ours":
            self.figures = figures
            return
        # The last day's orders: the day went on between the two.
        about = {"reject_ratio": 1.0, "fill_ratio": 1.0}
        wrong = {
            key: (self.figures.get(key), value)
            for key, value in figures.items()
            if not close(self.figures.get(key), value, about.get(key, 0.001))
        }
        if wrong:
            raise RuntimeError(f"{name} has other figures than ours: {wrong}")

    def playbook(self) -> tuple[float, int | None]:
        """The role by ansible-playbook, with Ansible's own start."""
        variables = {"folder": str(self.folder), "timeout": TIMEOUT}
        cost = common.playbook(OURS, self.folder, self.running.environment, variables)
        return cost.wall, None

    def measure(self, rounds: int) -> None:
        """All contenders. Ours first of all once, unmeasured: what the server has to read from disk is read."""
        self.child("ours")
        names = [name for name in (*CHILDREN, PLAYBOOK) if name != "sql" or self.rows <= SQL_ROWS]
        for number, name in common.interleaved(names, rounds):
            run: Callable[[], tuple[float, int | None]] = self.playbook
            if name != PLAYBOOK:
                run = lambda name=name: self.child(name)  # type: ignore[misc]  # noqa: E731
            before = self.server.temporary()
            with self.server.watched() as peak:
                seconds, client = run()
            result = Result(seconds, client, peak.highest, self.server.temporary() - before)
            self.results.setdefault(name, []).append(result)
            print(f"{self.name}, round {number + 1}: {name} {result}", flush=True)

    def median(self, name: str, what: str) -> float | None:
        """Of a contender's runs; None when it did not run or has none."""
        values = [getattr(result, what) for result in self.results.get(name, [])]
        return statistics.median(values) if values and None not in values else None


def close(one: float | None, other: float | None, tolerance: float) -> bool:
    """Whether two figures are the same."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, abs_tol=tolerance)


class Server:
    """The sandbox's PostgreSQL from outside."""

    def __init__(self, running: Sandbox) -> None:
        self.postgres = running.state["postgres"]

    def ask(self, statement: str) -> Any:
        """The first row of a statement, as the administrator."""
        connection = psycopg2.connect(
            host=self.postgres["host"],
            port=self.postgres["port"],
            dbname=self.postgres["database"],
            user=self.postgres["superuser"],
            password=self.postgres["superuser_password"],
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchone()
        finally:
            connection.close()

    def temporary(self) -> int:
        """Bytes that went into temporary files so far."""
        (total,) = self.ask("SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()")
        return int(total)

    def watched(self) -> Peak:
        """Context manager: the memory of all server processes together."""
        return Peak(self.postgres["pid"])


class Peak:
    """The most anonymous memory that a process's children had together, beyond what they had at first."""

    def __init__(self, parent: int) -> None:
        self.parent = parent
        self.highest = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def __enter__(self) -> Peak:
        self.first = self.now()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def watch(self) -> None:
        while not self.stop.wait(0.02):
            self.highest = max(self.highest, self.now() - self.first)

    def now(self) -> int:
        """Bytes."""
        total = 0
        pids = Path(f"/proc/{self.parent}/task/{self.parent}/children").read_text(encoding="ascii").split()
        for pid in pids:
            with suppress(OSError):
                found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
                total += int(found[1]) * 1024 if found else 0
        return total


def table(sizes: list[Size]) -> str:
    """The results in Markdown."""
    rows = [
        ("**ours, in the process of the task**", "ours"),
        ("ours, whole `ansible-playbook`", PLAYBOOK),
        ("pandas, `COPY` to CSV, floats", "csv"),
        ("pandas, `read_sql`, exact decimals", "sql"),
    ]
    head = "| |" + "".join(
        f" {size.name}: s | against ours | client MB | server MB | temporary files MB |" for size in sizes
    )
    lines = [head + " growth |", "|---|" + "--:|--:|--:|--:|--:|" * len(sizes) + "--:|"]
    for label, name in rows:
        cells = [cells_of(size, name) for size in sizes]
        lines.append(f"| {label} |{''.join(cells)} {growth(sizes, name)} |")
    lines.append("")
    for size in sizes:
        spread = ", ".join(
            f"{name} {min(one.seconds for one in results):.2f}-{max(one.seconds for one in results):.2f}"
            for name, results in size.results.items()
        )
        lines.append(
            f"- {size.name}: {size.rows:,} orders, {size.executions:,} executions, a database of "
            f"{size.bytes / 1e6:,.0f} MB; fastest and slowest in s: {spread}."
        )
    return "\n".join(lines)


def cells_of(size: Size, name: str) -> str:
    """One contender on one size."""
    seconds, ours = size.median(name, "seconds"), size.median("ours", "seconds")
    if seconds is None or ours is None:
        return " not measured | | | | |"
    client = size.median(name, "client")
    memory = [client, size.median(name, "server"), size.median(name, "temporary")]
    shown = [" " if value is None else f" {value / 1e6:,.0f} " for value in memory]
    return f" {seconds:.2f} | {seconds / ours:.1f} |" + "|".join(shown) + "|"


def growth(sizes: list[Size], name: str) -> str:
    """How many times longer it took on how many times the orders."""
    first, last = sizes[0].median(name, "seconds"), sizes[-1].median(name, "seconds")
    if len(sizes) < 2 or first is None or last is None:
        return ""
    return f"{last / first:.1f} times for {sizes[-1].rows / sizes[0].rows:.0f} times the orders"


def main() -> None:
    """Measures and writes the page."""
    names, rounds = os.environ.get("BENCH_TRADING", "default large"), os.environ.get("BENCH_ROUNDS", "3")
    command = f'BENCH=trading BENCH_TRADING="{names}" BENCH_ROUNDS={rounds} make bench'
    sizes: list[Size] = []
    for name in names.split():
        with sandbox(name) as running, tempfile.TemporaryDirectory(prefix="tradingflow-bench-") as folder:
            size = Size(name, running, Path(folder))
            size.measure(int(rounds))
            sizes.append(size)
            common.write("trading", command, table(sizes))
    print(table(sizes))
