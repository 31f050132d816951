"""A change of many rows: by one UPDATE, by a loop as people write it, and through the role, with before-images.

BENCH_ROWS=1000000 rows that change, BENCH_ROUNDS=1, BENCH_BATCH=10000 rows of a batch, as by default. The result goes
into docs/benchmarks.md.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.options import CHANGE_SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress

from tests.conftest import sandbox
from tests.integration.data_update_fixtures import POINT, Place

from . import common

#: Four rows of five change.
TABLE = """
DROP SCHEMA IF EXISTS tradingflow_data_update CASCADE;
DROP TABLE IF EXISTS users;
CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, last_login timestamptz, note text);
INSERT INTO users SELECT i, 'user' || i || '@tradingflow.example', CASE WHEN i % 5 = 0 THEN now()
    ELSE now() - interval '100 days' END, md5(i::text) FROM generate_series(1, {rows} * 5 / 4) i;
"""
OLD = "last_login < CURRENT_TIMESTAMP - INTERVAL '90 days'"
WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
LABELS = {
    "update": "one `UPDATE`, all rows locked until it ends, nothing kept",
    "ctid": "a loop: `WHERE ctid IN (SELECT ctid ... LIMIT n)`, nothing kept",
    "offset": "a loop over the key by `OFFSET`, nothing kept",
    "ours": "**the role's engine: plan, before-images, verified**",
}


class BenchPlace(Place):
    """The sandbox's own database, which is empty."""

    def __init__(self, platform: Any) -> None:
        super().__init__(platform)
        self.platform = platform
        self.name = platform.database["name"]
        self.database["name"] = self.name

    def sql_as_superuser(self, statement: str) -> None:
        """Carries a statement out that the owner may not."""
        self.platform.sql("superuser", statement)


class Change:
    """A table of old logins.

    :ivar locked: s, the longest that a row was locked by one transaction
    """

    def __init__(self, place: BenchPlace, rows: int, batch: int) -> None:
        self.place, self.rows, self.size = place, rows, batch
        self.locked = 0.0

    def fresh(self) -> None:
        """The table as it is before."""
        self.place.sql(TABLE.format(rows=self.rows))
        with self.place.session() as cursor:
            cursor.connection.autocommit = True
            cursor.execute("VACUUM (FREEZE, ANALYZE) users")

    def _loop(self, statements: Callable[[], Any]) -> None:
        with self.place.session() as cursor:
            cursor.connection.autocommit = True
            for sql in statements():
                begun = time.monotonic()
                cursor.execute(sql)
                self.locked = max(self.locked, time.monotonic() - begun)
                if not cursor.rowcount:
                    break

    def update(self) -> None:
        """All at once."""
        self._loop(lambda: [f"UPDATE users SET last_login = CURRENT_TIMESTAMP WHERE {OLD}"])

    def ctid(self) -> None:
        """Until nothing is left."""
        some = f"SELECT ctid FROM users WHERE {OLD} LIMIT {self.size}"
        sql = f"UPDATE users SET last_login = CURRENT_TIMESTAMP WHERE ctid = ANY(ARRAY({some}))"
        self._loop(lambda: iter(lambda: sql, None))

    def offset(self) -> None:
        """Page by page; by ids that were looked up once, as those of the rows left would move."""
        self.place.sql(f"CREATE TABLE ids AS SELECT id FROM users WHERE {OLD}; ALTER TABLE ids ADD PRIMARY KEY (id)")
        page = f"SELECT id FROM ids ORDER BY id LIMIT {self.size} OFFSET "
        sql = "UPDATE users SET last_login = CURRENT_TIMESTAMP WHERE id IN ({})"
        self._loop(lambda: (sql.format(page + str(number * self.size)) for number in range(self.rows)))
        self.place.sql("DROP TABLE ids")

    def ours(self) -> None:
        """Planned, carried out, verified."""
        change = {
            "id": "bench",
            "reason": "a benchmark",
            "table": "users",
            "predicate": OLD,
            "set": {"last_login": "CURRENT_TIMESTAMP"},
            "expected": {"min": self.rows, "max": self.rows},
            "check": "last_login = CURRENT_TIMESTAMP",
            "batch_rows": self.size,
        }
        plan = engine.plan(self.place.options(change, statement_timeout=3600.0))
        options = self.place.options(change, statement_timeout=3600.0, expected_digest=plan["digest"])
        result = engine.run(options, Progress())
        if result["problem"] or result["verified"]["rows"] != self.rows:
            raise RuntimeError(f"The update did not end well: {result['problem']}")
        longest = "SELECT max(seconds) FROM tradingflow_data_update.batches"
        self.locked = float(self.place.sql(longest)[0][0])

    def left(self) -> int:
        """Rows that were not changed."""
        return int(self.place.sql(f"SELECT count(*) FROM users WHERE {OLD}")[0][0])


CONTENDERS: dict[str, Callable[[Change], None]] = {name: getattr(Change, name) for name in LABELS}


def cpu(server: int) -> float:
    """Seconds of processor time that the server and its processes, living and ended, have used, and this process."""
    ticks = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(folder.name) == server:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == server:
                ticks += sum(map(int, fields[11:13]))
    ours = resource.getrusage(resource.RUSAGE_SELF)
    return ticks / os.sysconf("SC_CLK_TCK") + ours.ru_utime + ours.ru_stime


def measured(change: Change, name: str) -> tuple[float, float, float, float]:
    """Seconds, of the processor too, bytes of WAL, and the longest that a row was locked."""
    change.fresh()
    change.place.sql_as_superuser("CHECKPOINT")
    change.locked = 0.0
    directory = change.place.platform.sql("superuser", "SHOW data_directory")[0][0]
    server = int((Path(directory) / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
    begun, used, wal = time.monotonic(), cpu(server), change.place.sql(WAL)[0][0]
    CONTENDERS[name](change)
    seconds, written = time.monotonic() - begun, float(change.place.sql(WAL)[0][0] - wal)
    # Until a server process that has ended is counted with its parent.
    time.sleep(1)
    found = (seconds, cpu(server) - used, written, change.locked)
    if change.left():
        raise RuntimeError(f"{name} left {change.left()} rows")
    print(
        f"{name}: {seconds:.1f} s, CPU {found[1]:.1f} s, {written / 1e6:.0f} MB of WAL, locked {found[3]:.2f} s",
        flush=True,
    )
    return found


def main() -> None:
    """Measures, and writes the page."""
    rows = int(os.environ.get("BENCH_ROWS", "1000000"))
    rounds = int(os.environ.get("BENCH_ROUNDS", "1"))
    batch = int(os.environ.get("BENCH_BATCH", CHANGE_SPEC["batch_rows"]["default"]))
    found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in LABELS}
    setattr(engine, "recent", lambda options, database, kind: dict(POINT))  # noqa: B010
    with sandbox("empty") as platform:
        # The sandbox's own users are in the way.
        platform.sql("owner", "ALTER TABLE IF EXISTS users RENAME TO own_users")
        # As servers have it; the sandbox leaves it out.
        platform.sql("superuser", "ALTER SYSTEM SET full_page_writes = on")
        platform.sql("superuser", "SELECT pg_reload_conf()")
        place = BenchPlace(platform)
        change = Change(place, rows, batch)
        for _number, name in common.interleaved(list(LABELS), rounds):
            found[name].append(measured(change, name))
    middle = {name: [statistics.median(column) for column in zip(*each, strict=True)] for name, each in found.items()}
    one = middle["update"]
    lines = [
        "| | s | against one UPDATE | CPU s | against one | WAL MB | against one | a row locked at most, s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, label in LABELS.items():
        seconds, used, wal, locked = middle[name]
        cells = f"{seconds:.1f} | {seconds / one[0]:.2f} | {used:.1f} | {used / one[1]:.2f}"
        cells += f" | {wal / 1e6:.0f} | {wal / one[2]:.2f} | {locked:.2f}"
        lines.append(f"| {label} | {cells} |")
    lines += [
        "",
        f"{rows:,} of {rows * 5 // 4:,} rows change, {batch:,} in a batch; `full_page_writes` is on, `fsync` off.",
    ]
    common.write("data change", f"BENCH=rows BENCH_ROWS={rows} BENCH_ROUNDS={rounds} make bench", "\n".join(lines))
