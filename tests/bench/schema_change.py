"""What a schema change does to a steady load: plainly by alembic, and through the role, as its review asks for it.

BENCH_ROWS=2000000 rows of the table, BENCH_ROUNDS=1, BENCH_REPORT=20 s that somebody's report goes on in the way. The
load is pgbench's; the result goes into docs/benchmarks.md.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import filled, placeholders, quoted

from tests.conftest import sandbox
from tests.integration.migration_fixtures import POINT, Project

from . import common

#: Transactions per second and connections of the load, and the seconds of it before and after a change.
RATE, CLIENTS, CALM = 200, 8, 3
#: Seconds: a statement that takes longer was held up.
HELD_UP = 0.1
LOAD = r"""\set id random(1, :rows)
\set customer random(1, 1000)
UPDATE accounts SET balance = balance + 1, customer_id = :customer WHERE id = :id;
SELECT balance FROM accounts WHERE id = :id;
"""
TABLES = """
CREATE TABLE customers (id int PRIMARY KEY);
INSERT INTO customers SELECT generate_series(1, 1000);
CREATE TABLE accounts (id int PRIMARY KEY, customer_id int, balance numeric, note text) WITH (fillfactor = 80);
INSERT INTO accounts SELECT i, 1 + i % 1000, i, repeat(md5(i::text), 3) FROM generate_series(1, {rows}) i;
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('start');
"""


def outside(*statements: str) -> str:
    """A revision's lines: statements outside a transaction."""
    return "with op.get_context().autocommit_block():\n" + "\n".join(f"    op.execute({sql!r})" for sql in statements)


def inside(*statements: str) -> str:
    """A revision's lines: statements in its transaction."""
    return "\n".join(f"op.execute({sql!r})" for sql in statements)


def batches(assignment: str) -> str:
    """A revision's lines: an UPDATE of all rows, 5,000 keys at a time."""
    return f"""
with op.get_context().autocommit_block():
    bind = op.get_bind()
    last = bind.execute(sa.text("SELECT max(id) FROM accounts")).scalar_one()
    for low in range(0, last + 1, 5000):
        update = sa.text("UPDATE accounts SET {assignment} WHERE id > :low AND id <= :high")
        bind.execute(update, {{"low": low, "high": low + 5000}})
"""


NOT_NULL = (
    inside("ALTER TABLE accounts ADD CONSTRAINT filled CHECK ({0} IS NOT NULL) NOT VALID"),
    inside("ALTER TABLE accounts VALIDATE CONSTRAINT filled"),
    inside("ALTER TABLE accounts ALTER {0} SET NOT NULL", "ALTER TABLE accounts DROP CONSTRAINT filled"),
)
KEEP_IN_STEP = """CREATE FUNCTION in_step() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN NEW.wide := NEW.customer_id; RETURN NEW; END'"""


@dataclass(frozen=True)
class Change:
    """One change, as revisions.

    :param plain: the lines of the one that comes to mind first
    :param safe: the lines of those that the review's rules lead to
    :param report: whether somebody's long transaction has read the table when it begins
    """

    title: str
    plain: str
    safe: tuple[str, ...]
    report: bool = False


CHANGES = {
    "column": Change(
        "a column, while somebody's report goes on",
        inside("ALTER TABLE accounts ADD COLUMN flag boolean"),
        (inside("ALTER TABLE accounts ADD COLUMN flag boolean"),),
        report=True,
    ),
    "index": Change(
        "an index",
        inside("CREATE INDEX by_note ON accounts (note, customer_id)"),
        (outside("CREATE INDEX CONCURRENTLY by_note ON accounts (note, customer_id)"),),
    ),
    "reference": Change(
        "a foreign key",
        inside("ALTER TABLE accounts ADD CONSTRAINT of FOREIGN KEY (customer_id) REFERENCES customers"),
        (
            inside("ALTER TABLE accounts ADD CONSTRAINT of FOREIGN KEY (customer_id) REFERENCES customers NOT VALID"),
            inside("ALTER TABLE accounts VALIDATE CONSTRAINT of"),
        ),
    ),
    "not null": Change(
        "NOT NULL",
        inside("ALTER TABLE accounts ALTER note SET NOT NULL"),
        tuple(step.format("note") for step in NOT_NULL),
    ),
    "default": Change(
        "a column with another value in each row",
        inside("ALTER TABLE accounts ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid()"),
        (
            inside(
                "ALTER TABLE accounts ADD COLUMN token uuid",
                "ALTER TABLE accounts ALTER token SET DEFAULT gen_random_uuid()",
            ),
            batches("token = DEFAULT"),
            *(step.format("token") for step in NOT_NULL),
        ),
    ),
    "type": Change(
        "a wider type",
        inside("ALTER TABLE accounts ALTER customer_id TYPE bigint"),
        (
            inside(
                "ALTER TABLE accounts ADD COLUMN wide bigint",
                KEEP_IN_STEP,
                "CREATE TRIGGER in_step BEFORE INSERT OR UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION in_step()",
            ),
            batches("wide = customer_id"),
            inside(
                "DROP TRIGGER in_step ON accounts",
                "ALTER TABLE accounts DROP COLUMN customer_id",
                "ALTER TABLE accounts RENAME wide TO customer_id",
            ),
        ),
    ),
}


@dataclass
class Impact:
    """What the load saw of one change.

    :param seconds: s that the change took
    :param held_up: s in which somebody waited for longer than HELD_UP
    :param slowest: s of the slowest 1 % of the transactions, from when they were due
    :param failed: transactions that did not end well
    """

    seconds: float
    held_up: float
    slowest: float
    failed: int


def union(spans: list[tuple[float, float]]) -> float:
    """The length of what spans cover, in s."""
    covered, end = 0.0, float("-inf")
    for begin, until in sorted(spans):
        covered += max(0.0, until - max(begin, end))
        end = max(end, until)
    return covered


def read(logs: list[Path], begun: float, ended: float) -> Impact:
    """pgbench's logs: client, number, latency in us, script, s and us of its end, us that it began late."""
    latencies, spans, failed = [], [], 0
    for line in "\n".join(log.read_text() for log in logs).splitlines():
        fields = line.split()
        if fields[2] == "failed":
            failed += 1
            continue
        took, until, late = int(fields[2]) / 1e6, int(fields[4]) + int(fields[5]) / 1e6, int(fields[6]) / 1e6
        if until < begun or until - took > ended:
            continue
        latencies.append(took)
        if took - late > HELD_UP:
            spans.append((until - took + late, until))
    return Impact(ended - begun, union(spans), statistics.quantiles(latencies, n=100)[98], failed)


@dataclass
class Bench:
    """A server, and a database that all contenders start from."""

    running: Any
    rows: int
    report: float
    folder: Path
    results: dict[tuple[str, str], list[Impact]] = field(default_factory=dict)

    def admin(self, *statements: str, name: str = "postgres") -> list[Any]:
        """Carries statements out as superuser, gives the rows of the last."""
        connection = self.running.connect("superuser", name)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def prepare(self) -> None:
        """The database that is copied."""
        self.admin('CREATE DATABASE "bench_template"')
        self.admin(TABLES.format(rows=self.rows), name="bench_template")
        self.admin("VACUUM (ANALYZE)", "CHECKPOINT", name="bench_template")

    def one(self, name: str, way: str, number: int) -> Impact:
        """One change by one way, under load."""
        change = CHANGES[name]
        folder = self.folder / f"{name} {way} {number}"
        project = Project(self.running, folder)
        # As on a host: what a start of it takes is a part of ours, too.
        project.python = sys.executable
        self.admin(f"CREATE DATABASE {quoted(project.name)} TEMPLATE bench_template")
        project.revision("start", "pass", None)
        before = "start"
        for step, lines in enumerate(change.safe if way == "role" else [change.plain]):
            project.revision(f"step{step}", lines, before)
            before = f"step{step}"
        try:
            with self.load(project, folder) as logs:
                time.sleep(CALM)
                with self.somebody(project) if change.report else tempfile.TemporaryDirectory():
                    begun = time.time()
                    (self.by_role if way == "role" else self.by_alembic)(project)
                    ended = time.time()
                time.sleep(CALM)
            return read(logs(), begun, ended)
        finally:
            self.admin(f"DROP DATABASE {quoted(project.name)} WITH (FORCE)")
            shutil.rmtree(project.scratch)

    @contextmanager
    def load(self, project: Project, folder: Path) -> Iterator[Callable[[], list[Path]]]:
        """pgbench, until its connections are ended; gives its logs."""
        (folder / "load.sql").write_text(LOAD)
        database = project.database
        command = [
            *(
                f"{self.running.state['postgres']['bin_dir']}/pgbench",
                "-n",
                "-f",
                "load.sql",
                "-D",
                f"rows={self.rows}",
            ),
            *("-c", str(CLIENTS), "-j", "1", "-R", str(RATE), "-T", "3600", "-l", "--log-prefix=load"),
            *("-h", database["host"], "-p", str(database["port"]), "-U", database["user"], project.name),
        ]
        environment = {**os.environ, "PGPASSWORD": database["password"], "PGAPPNAME": "load"}
        with open(folder / "pgbench.txt", "w") as output:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        try:
            yield lambda: list(folder.glob("load.*[0-9]"))
        finally:
            # So it ends well, and writes all of its log.
            self.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'load'")
            process.wait(timeout=60)

    @contextmanager
    def somebody(self, project: Project) -> Iterator[None]:
        """A report that has read the table and goes on for a while."""
        begun, stop = threading.Event(), threading.Event()

        def report() -> None:
            with project.session() as cursor:
                cursor.execute("SELECT count(*) FROM accounts WHERE id < 10")
                begun.set()
                stop.wait(self.report)

        thread = threading.Thread(target=report)
        thread.start()
        begun.wait()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def by_alembic(self, project: Project) -> None:
        """alembic upgrade head."""
        address = filled("postgresql+psycopg2://{database_address}", placeholders(project.database))
        config = str(project.folder / "alembic.ini")
        common.run(
            [sys.executable, "-m", "alembic", "-c", config, "upgrade", "head"],
            {**os.environ, "URL": address},
        )

    def by_role(self, project: Project) -> None:
        """As the role does it, with its defaults."""
        defaults = {name: spec["default"] for name, spec in options.SPEC.items() if "default" in spec}
        chosen = project.options(**{name: defaults[name] for name in defaults if name in project.options()})
        result = engine.run({**chosen, "attempts": defaults["attempts"]}, Progress())
        if result["problem"] or result["current_after"] != result["target"]:
            raise RuntimeError(f"{result['problem']}")


def table(bench: Bench) -> str:
    """The results in Markdown."""
    lines = [
        "| | alembic: held up s | slowest 1 % s | failed | took s | role: held up s | slowest 1 % s | failed | took s"
        " | held up against alembic |",
        "|---|" + "--:|" * 9,
    ]
    for name, change in CHANGES.items():
        cells, held = [], {}
        for way in ("alembic", "role"):
            found = bench.results[name, way]
            held[way] = statistics.median(each.held_up for each in found)
            slowest = statistics.median(each.slowest for each in found)
            took = statistics.median(each.seconds for each in found)
            cells += [f"{held[way]:.1f}", f"{slowest:.2f}", str(sum(each.failed for each in found)), f"{took:.1f}"]
        ratio = f"{held['role'] / held['alembic']:.2f}" if held["alembic"] else ""
        lines.append(f"| {change.title} | " + " | ".join(cells) + f" | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, and writes the table."""
    rows = int(os.environ.get("BENCH_ROWS", "2000000"))
    rounds = int(os.environ.get("BENCH_ROUNDS", "1"))
    report = float(os.environ.get("BENCH_REPORT", "20"))
    engine.recovery_point = lambda options, database: dict(POINT)  # type: ignore[assignment]
    with sandbox("empty") as running, tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        bench = Bench(running, rows, report, Path(folder))
        bench.prepare()
        for number, name in common.interleaved(list(CHANGES), rounds):
            for _, way in common.interleaved(["alembic", "role"], 1):
                impact = bench.one(name, way, number)
                bench.results.setdefault((name, way), []).append(impact)
                print(
                    f"{name}, {way}: held up {impact.held_up:.2f} s, slowest 1 % {impact.slowest:.2f} s,"
                    f" {impact.failed} failed, took {impact.seconds:.1f} s",
                    flush=True,
                )
        text = table(bench)
        text += f"\n\n{rows:,} rows, {RATE} transactions a second by {CLIENTS} connections, a report of {report:.0f} s."
        print(text)
        common.write("schema change", f"BENCH=change BENCH_ROWS={rows} BENCH_ROUNDS={rounds} make bench", text)
