"""The backup of an ordinary night: of a database that grew by a hundredth since the last one.

BENCH_SIZES="1 10" (GB of database). Needs what the benchmark of protection needs. The result goes into
docs/benchmarks.md.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

from . import common
from .protection import Protection, cpu, everything, protected

#: A hundredth more of what is written all day, with the keys that follow.
DAY = """
INSERT INTO executions SELECT top + row_number() OVER (), order_id, symbol, price, quantity, executed_at, venue_ref,
    buy, fee FROM executions, (SELECT max(id) AS top FROM executions) newest WHERE id <= top / 100;
INSERT INTO orders SELECT top + row_number() OVER (), strategy_id, status, limit_price, quantity, created_at,
    client_ref FROM orders, (SELECT max(id) AS top FROM orders) newest WHERE id <= top / 100;
INSERT INTO prices SELECT instrument_id, at + interval '1 year', bid, ask, volume
    FROM prices TABLESAMPLE SYSTEM (1);
CHECKPOINT;
"""
LABELS = {
    "manual": "the manual's script: `pg_dump`, upload",
    "pgbackrest": "pgBackRest alone, incremental, encrypted",
    "ours": "**ours, incremental: `ansible-playbook`, counts and digests of all rows**",
}


class Night(Protection):
    """A database with a full backup."""

    def day(self) -> None:
        """What a day writes."""
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-c", DAY], env=self.environment, check=True)

    def incremental(self, _prefix: str) -> None:
        """pgBackRest alone."""
        self.pgbackrest("backup", "--type=incr", "--log-level-console=warn")

    def role_incremental(self, prefix: str) -> None:
        """Ours, as the daily run makes it, its objects compared with the store's listing."""
        self.role(prefix, "pgbackrest", pgbackrest_type="incr", verify="checksum")


CONTENDERS: dict[str, Callable[[Night, str], None]] = {
    "manual": Night.dump_plain,
    "pgbackrest": Night.incremental,
    "ours": Night.role_incremental,
}


def measure(bench: Night) -> dict[str, tuple[float, float, int]]:
    """Wall and processor time in s and bytes stored of each contender, each after a day of its own."""
    # Else the first who reads the rows writes to every page what it found out about them.
    subprocess.run(["psql", "-qX", "-c", "VACUUM (FREEZE, ANALYZE)"], env=bench.environment, check=True)
    bench.physical("")
    found = {}
    for name, contender in CONTENDERS.items():
        bench.day()
        before, bench.phases = everything(bench), {}
        begun, spent = time.monotonic(), cpu()
        contender(bench, f"bench/night/{bench.size:g}/{name}")
        found[name] = (time.monotonic() - begun, cpu() - spent, everything(bench) - before)
        print(f"{bench.size:g} GB, a night: {name} {found[name][0]:.1f} s {bench.phases or ''}", flush=True)
    return found


def table(results: dict[float, dict[str, tuple[float, float, int]]]) -> str:
    """The results in Markdown."""
    head = "".join(f" {size:g} GB: s | CPU s | against the manual | stored MB |" for size in results)
    lines = [f"| backup of a night |{head}", "|---|" + "--:|--:|--:|--:|" * len(results)]
    for name, label in LABELS.items():
        cells = ""
        for found in results.values():
            wall, spent, stored = found[name]
            cells += f" {wall:.1f} | {spent:.1f} | {found['manual'][0] / wall:.1f} times as fast | {stored / 1e6:.0f} |"
        lines.append(f"| {label} |{cells}")
    return "\n".join(lines)


def main() -> None:
    """Measures and writes the page."""
    sizes = os.environ.get("BENCH_SIZES", "1 10")
    results: dict[float, dict[str, tuple[float, float, int]]] = {}
    with protected() as (running, folder):
        for size in sizes.split():
            bench = Night(running, folder, float(size))
            bench.fill()
            results[bench.size] = measure(bench)
            common.write("night", f'BENCH=night BENCH_SIZES="{sizes}" make bench', table(results))
            bench.drop()
    print(table(results))
