"""Tuning and housekeeping against what is there for it: check_postgres, PgHero's queries, pg_repack, systemd-tmpfiles.

BENCH_INDEXES="100 10000", BENCH_REBUILD=5000000 rows of which one in four stays, BENCH_FILES=100000 (1000000 for the
large one), BENCH_ROUNDS=1. BENCH_TUNING="analysis rebuild files" chooses. Needs root, and of Debian: postgresql-15,
check-postgres, postgresql-15-repack. The result goes into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2

from tests.conftest import ROOT, Sandbox, sandbox

from . import common
from .data_change import cpu

ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/collections"}
SERVER = Path("/usr/lib/postgresql/15/bin")
CHECKS = (
    *("bloat", "index_size -w 1GB", "table_size -w 1GB", "last_vacuum", "last_analyze", "sequence", "txn_wraparound"),
    *("autovac_freeze", "backends"),
)
#: Ten indexes of a table, of several kinds, two of them superfluous.
INDEXES = (
    "(a)",
    "(a)",
    "(a, b)",
    "(b)",
    "(b DESC)",
    "(c text_pattern_ops)",
    "(lower(c))",
    "(d) WHERE a > 0",
    "USING brin (d)",
)
TABLE = """
DO $$ BEGIN FOR number IN {begin}..{end} LOOP
EXECUTE format('CREATE TABLE t%s (id bigserial PRIMARY KEY, a int, b int, c text, d timestamptz)', number);
EXECUTE format('INSERT INTO t%s (a, b, c, d) SELECT n, n %% 7, n, now() FROM generate_series(1, 50) n', number);
{indexes}
END LOOP; END $$
"""
HEAP = """
CREATE EXTENSION pg_repack; CREATE EXTENSION pgstattuple; CREATE EXTENSION pg_stat_statements;
CREATE TABLE heap (n int NOT NULL, m int NOT NULL, note text) WITH (autovacuum_enabled = off);
INSERT INTO heap SELECT n, 0, repeat('x', 40) FROM generate_series(1, {rows}) n;
CREATE UNIQUE INDEX heap_n ON heap (n, m);
DELETE FROM heap WHERE n % 4 <> 0
"""
#: A row is read and written by the index that is rebuilt, and the index is written with it.
LOAD = "\\set n 4 * random(1, {count})\nUPDATE heap SET m = m + 1 WHERE n = :n;\nSELECT m FROM heap WHERE n = :n;\n"
#: Transactions in a second, of all clients.
RATE, CLIENTS = 100, 4

ANALYSES = {
    "ours": "**ours: all checks of the role, with a verdict for each index**",
    "pghero": "PgHero's queries, fetched and not judged",
    "check_postgres": f"check_postgres, {len(CHECKS)} actions",
}
REBUILDS = {
    "nothing": "nothing, for as long as a rebuild takes",
    "ours": "**ours: by plan, within the budget, journal**",
    "concurrently": "`REINDEX INDEX CONCURRENTLY`",
    "repack": "`pg_repack --index`",
    "plain": "`REINDEX INDEX`",
}
CLEANINGS = {
    "ours": "**ours: listed, then each looked at twice with all processes, moved, removed**",
    "ours_plan": "ours, the list alone (`--check`)",
    "find": "`find -mtime +10 -delete`",
    "tmpfiles": "`systemd-tmpfiles --clean`, by age of change",
}


class Bench:
    """A sandbox on Debian's PostgreSQL 15."""

    def __init__(self, platform: Sandbox, folder: Path) -> None:
        self.platform, self.folder = platform, folder
        directory = platform.sql("superuser", "SHOW data_directory")[0][0]
        self.server = int((Path(directory) / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        section = platform.state["postgres"]
        self.environment = {
            **ENVIRONMENT,
            "PGHOST": section["host"],
            "PGPORT": str(section["port"]),
            "PGUSER": section["superuser"],
            "PGPASSWORD": section["superuser_password"],
            "PATH": f"{SERVER}:{os.environ['PATH']}",
        }

    def sql(self, statement: str, database: str = "postgres") -> list[Any]:
        """Carries it out as the superuser."""
        return self.platform.sql("superuser", statement, database)

    def fresh(self, name: str, template: str = "template0") -> None:
        """An empty database, or a copy of one."""
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")

    def options(self, database: str, **more: Any) -> dict[str, Any]:
        """Of the tuning, for a process of its own."""
        section = self.platform.state["postgres"]
        user = {"user": section["superuser"], "password": section["superuser_password"]}
        return {"database": {**self.platform.database, "name": database, **user}, "timeout": 600, **more}

    def ours(self, what: str, options: dict[str, Any]) -> list[str]:
        """The command that does it."""
        path = self.folder / "options.json"
        path.write_text(json.dumps(options), encoding="utf-8")
        path.chmod(0o600)
        return [sys.executable, "-m", "tests.bench.tuning_contender", what, str(path)]

    @contextmanager
    def serving(self) -> Iterator[list[float]]:
        """Gives, at the end, seconds of a processor that the server took meanwhile."""
        took: list[float] = []
        before = cpu(self.server)
        own = time.process_time()
        yield took
        # Until a server process that has ended is counted with its parent.
        time.sleep(1)
        took.append(cpu(self.server) - before - (time.process_time() - own))


# Analysis


def _schema(bench: Bench, name: str, count: int) -> None:
    bench.fresh(name)
    for statement in ("CREATE EXTENSION pg_stat_statements", "CREATE EXTENSION pgstattuple"):
        bench.sql(statement, name)
    each = len(INDEXES) + 1
    indexes = "\n".join(f"EXECUTE format('CREATE INDEX ON t%s {index}', number);" for index in INDEXES)
    # In pieces: a transaction may hold so many locks.
    for begin in range(1, count // each + 1, 50):
        bench.sql(TABLE.format(begin=begin, end=min(begin + 49, count // each), indexes=indexes), name)
    bench.sql("VACUUM ANALYZE", name)
    ((found,),) = bench.sql("SELECT count(*) FROM pg_stat_user_indexes", name)
    if found != count:
        raise RuntimeError(f"There are {found} indexes, not {count}.")


def _looked(bench: Bench, name: str, contender: str) -> tuple[float, ...]:
    environment = {**bench.environment, "PGDATABASE": name}
    if contender == "check_postgres":
        # Whatever it finds is well; that it could not ask is not.
        one = f"check_postgres --dbname={name} --dbuser=$PGUSER --host=$PGHOST --port=$PGPORT --action="
        asked = " ".join(f'"{each}"' for each in CHECKS)
        script = f"for each in {asked}; do {one}$each | tee /dev/stderr | grep -q '^POSTGRES_.* DB ' || exit 1; done"
        command = ["/bin/sh", "-c", script]
    else:
        command = bench.ours("analyse", bench.options(name))
        if contender == "pghero":
            command = [sys.executable, "-m", "tests.bench.tuning_pghero", command[-1]]
    with bench.serving() as took:
        cost = common.run(command, environment)
    return cost.wall, cost.cpu, took[0]


def analysis(bench: Bench, rounds: int) -> list[str]:
    """Lines of the table."""
    sizes = [int(count) for count in os.environ.get("BENCH_INDEXES", "100 10000").split()]
    found: dict[tuple[int, str], list[tuple[float, ...]]] = {}
    for count in sizes:
        name = f"indexes_{count}"
        _schema(bench, name, count)
        for _number, contender in common.interleaved(list(ANALYSES), rounds):
            took = _looked(bench, name, contender)
            found.setdefault((count, contender), []).append(took)
            print(f"{count} indexes, {contender}: {', '.join(f'{each:.2f}' for each in took)} s", flush=True)
        bench.sql(f"DROP DATABASE {name} WITH (FORCE)")
    middle = {key: [statistics.median(column) for column in zip(*each, strict=True)] for key, each in found.items()}
    heads = [f"{count:,} indexes: s | client CPU s | server CPU s | CPU against ours" for count in sizes]
    lines = [f"| looking | {' | '.join(heads)} |", "|---|" + "--:|--:|--:|--:|" * len(sizes)]
    for contender, label in ANALYSES.items():
        cells = []
        for count in sizes:
            wall, client, server = middle[count, contender]
            own = sum(middle[count, "ours"][1:])
            cells.append(f"{wall:.2f} | {client:.2f} | {server:.2f} | {(client + server) / own:.2f}")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


# A rebuild under load


class Load:
    """pgbench at a steady rate, with the latency of each transaction, and a look at who waits for a lock on a table."""

    def __init__(self, bench: Bench, count: int) -> None:
        self.bench = bench
        self.script = bench.folder / "load.sql"
        self.script.write_text(LOAD.format(count=count), encoding="utf-8")
        self.blocked = 0.0
        self.ended = threading.Event()

    def __enter__(self) -> Load:
        for old in self.bench.folder.glob("latency.*"):
            old.unlink()
        arguments = ["-n", "-M", "prepared", f"-c{CLIENTS}", "-j1", f"-R{RATE}", "-T3600", "-f", str(self.script)]
        log = ["-l", f"--log-prefix={self.bench.folder}/latency", "heap"]
        self.process = subprocess.Popen(
            [SERVER / "pgbench", *arguments, *log],
            env={**self.bench.environment, "PGAPPNAME": "load"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.bench.folder,
        )
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        connection = self.bench.platform.connect("superuser", "postgres")
        connection.autocommit = True
        asked = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'load' AND wait_event_type = 'Lock' "
            "AND wait_event = 'relation'"
        )
        last = time.monotonic()
        with suppress(psycopg2.Error), connection.cursor() as cursor:
            while not self.ended.wait(0.02):
                cursor.execute(asked)
                waiting = cursor.fetchone()[0]
                now = time.monotonic()
                self.blocked += (now - last) if waiting else 0.0
                last = now
        connection.close()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        self.process.terminate()
        self.process.wait()

    def latencies(self, begun: float, ended: float) -> list[float]:
        """ms of the transactions that ended in that time, with what they waited for their turn."""
        found = []
        for path in self.bench.folder.glob("latency.*"):
            for line in path.read_text(encoding="utf-8").splitlines():
                fields = line.split()
                if len(fields) >= 6 and begun <= float(fields[4]) + float(fields[5]) / 1e6 <= ended:
                    found.append(float(fields[2]) / 1000)
        return sorted(found)


def _rebuilt(bench: Bench, contender: str, count: int, quiet: float) -> tuple[float, ...]:
    bench.fresh("heap", "heap_bloated")
    paths = {"plans": str(bench.folder / "plans"), "journal": str(bench.folder / f"journal-{time.time_ns()}")}
    options = bench.options("heap", disk_bytes=10**12, wal_disk_bytes=-1, free_bytes=0, lock_timeout=30, **paths)
    ours = bench.ours("rebuild", {**options, "apply_database": options["database"]})
    if contender == "ours":
        # Its plan was approved before.
        common.run(bench.ours("plan", options), bench.environment)
        digest = (Path(paths["plans"]) / "newest").read_text(encoding="utf-8")
        ours = bench.ours("rebuild", {**options, "apply_database": options["database"], "expected_digest": digest})
    psql = [str(SERVER / "psql"), "-qXd", "heap", "-v", "ON_ERROR_STOP=1", "-c"]
    command = {
        "nothing": ["/bin/sleep", f"{quiet:.1f}"],
        "ours": ours,
        "concurrently": [*psql, "REINDEX INDEX CONCURRENTLY heap_n"],
        "repack": [str(SERVER / "pg_repack"), "-d", "heap", "--index=public.heap_n"],
        "plain": [*psql, "REINDEX INDEX heap_n"],
    }[contender]
    size = "SELECT pg_relation_size('heap_n')"
    before = bench.sql(size, "heap")[0][0]
    with bench.serving() as took, Load(bench, count) as load:
        time.sleep(3)
        load.blocked = 0.0
        begun = time.time()
        cost = common.run(command, bench.environment)
        ended = time.time()
        blocked = load.blocked
        # What began meanwhile ends, too.
        time.sleep(2)
    after = bench.sql(size, "heap")[0][0]
    if (after < before / 2) == (contender == "nothing"):
        raise RuntimeError(f"{contender}: the index had {before} bytes and has {after}.")
    latencies = load.latencies(begun, ended + 2)
    if len(latencies) < 20:
        raise RuntimeError(f"{contender}: pgbench ended {len(latencies)} transactions only.")
    p99 = latencies[int(0.99 * (len(latencies) - 1))]
    return cost.wall, cost.cpu, took[0], latencies[len(latencies) // 2], p99, latencies[-1], blocked


def rebuild(bench: Bench, rounds: int) -> list[str]:
    """Lines of the table."""
    rows = int(os.environ.get("BENCH_REBUILD", "5000000"))
    bench.fresh("heap_bloated")
    bench.sql(HEAP.format(rows=rows), "heap_bloated")
    bench.sql("VACUUM (FREEZE, ANALYZE) heap", "heap_bloated")
    size = bench.sql("SELECT pg_relation_size('heap_n')", "heap_bloated")[0][0]
    found: dict[str, list[tuple[float, ...]]] = {}
    quiet = 10.0
    for _number, contender in common.interleaved(list(REBUILDS), rounds):
        took = _rebuilt(bench, contender, rows // 4, quiet)
        found.setdefault(contender, []).append(took)
        print(f"{contender}: {', '.join(f'{each:.2f}' for each in took)}", flush=True)
    bench.sql("DROP DATABASE heap WITH (FORCE)")
    bench.sql("DROP DATABASE heap_bloated WITH (FORCE)")
    middle = {name: [statistics.median(column) for column in zip(*each, strict=True)] for name, each in found.items()}
    idle = middle["nothing"]
    lines = [
        "| rebuilding | s | client CPU s | server CPU s, without the load's | CPU against CONCURRENTLY | p50 ms "
        "| p99 ms | longest ms | readers and writers blocked, s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]

    def net(name: str) -> float:
        # pgbench ran 5 s longer than each of them.
        wall, client, server = middle[name][:3]
        return float(client + server - idle[2] * (wall + 5) / (idle[0] + 5))

    for name, label in REBUILDS.items():
        wall, client, _server, p50, p99, longest, blocked = middle[name]
        if name == "nothing":
            cells = f"{wall:.1f} | | | | {p50:.1f} | {p99:.1f} | {longest:.0f} | {blocked:.2f}"
        else:
            against = net(name) / net("concurrently")
            cells = f"{wall:.1f} | {client:.2f} | {net(name) - client:.1f} | {against:.2f} | {p50:.1f} | {p99:.1f}"
            cells += f" | {longest:.0f} | {blocked:.2f}"
        lines.append(f"| {label} | {cells} |")
    lines += [
        "",
        f"- A unique index of {size / 1e6:.0f} MB over {rows // 4:,} rows that are left of {rows:,}; "
        f"pgbench reads and writes by it, {RATE} times a second, {CLIENTS} clients.",
    ]
    return lines


# Files


def _files(folder: Path, files: int) -> None:
    """1,000 folders with files that were last changed a month ago."""
    then = time.time() - 30 * 86400
    for number in range(1000):
        inner = folder / f"job-{number}"
        inner.mkdir()
        for each in range(files // 1000):
            path = f"{inner}/{each}"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            os.utime(path, (then, then))
        os.utime(inner, (then, then))


def files(place: Path, rounds: int) -> list[str]:
    """Lines of the table."""
    count = int(os.environ.get("BENCH_FILES", "100000"))
    found: dict[str, list[tuple[float, ...]]] = {}
    for _number, contender in common.interleaved(list(CLEANINGS), rounds):
        folder = place / "temporary"
        folder.mkdir()
        _files(folder, count)
        # Nobody pays for what the others have left to be written.
        subprocess.run(["sync", "-f", str(place)], check=True)
        (place / "tmpfiles.conf").write_text(f"e {folder} - - - mM:10d\n", encoding="utf-8")
        contenders = {
            "find": f"find {folder} -mindepth 1 ( -type f -mtime +10 -o -type d -empty ) -delete",
            "tmpfiles": f"systemd-tmpfiles --clean {place}/tmpfiles.conf",
            "ours": f"{sys.executable} -m tests.bench.tuning_contender clean {folder}",
            "ours_plan": f"{sys.executable} -m tests.bench.tuning_contender list {folder}",
        }
        # Of all processes of this machine even root may not know what they hold; of those in here it does.
        own = ["/usr/bin/unshare", "--mount", "--pid", "--fork", "--mount-proc"]
        cost = common.run([*own, *shlex.split(contenders[contender])], ENVIRONMENT)
        left = sum(len(names) for _path, _folders, names in os.walk(folder))
        if left != (count // 1000 * 1000 if contender == "ours_plan" else 0):
            raise RuntimeError(f"{contender} left {left} files.")
        shutil.rmtree(folder)
        found.setdefault(contender, []).append((cost.wall, cost.cpu))
        print(f"{count} files, {contender}: {cost.wall:.2f} s, CPU {cost.cpu:.2f} s", flush=True)
    middle = {name: [statistics.median(column) for column in zip(*each, strict=True)] for name, each in found.items()}
    one = middle["find"]
    lines = [f"| {count:,} files in 1,000 folders | s | against find | CPU s | against find |", "|---|--:|--:|--:|--:|"]
    for name, label in CLEANINGS.items():
        wall, used = middle[name]
        lines.append(f"| {label} | {wall:.2f} | {wall / one[0]:.2f} | {used:.2f} | {used / one[1]:.2f} |")
    return lines


def main() -> None:
    """Measures, and writes the page."""
    rounds = int(os.environ.get("BENCH_ROUNDS", "1"))
    wanted = os.environ.get("BENCH_TUNING", "analysis rebuild files").split()
    parts: list[list[str]] = []
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
        folder = Path(scratch)
        if {"analysis", "rebuild"} & set(wanted):
            with sandbox("empty", {"TRADINGFLOW_SANDBOX_POSTGRES": str(SERVER)}) as platform:
                # As servers have it; the sandbox leaves it out. Nobody archives what is measured here.
                for name, value in (("full_page_writes", "on"), ("archive_command", "/bin/true")):
                    platform.sql("superuser", f"ALTER SYSTEM SET {name} = '{value}'", "postgres")
                platform.sql("superuser", "SELECT pg_reload_conf()", "postgres")
                bench = Bench(platform, folder)
                parts += [analysis(bench, rounds)] if "analysis" in wanted else []
                parts += [rebuild(bench, rounds)] if "rebuild" in wanted else []
        parts += [files(folder, rounds)] if "files" in wanted else []
    given = " ".join(f'{name}="{os.environ[name]}"' for name in sorted(os.environ) if name.startswith("BENCH_"))
    text = "\n\n".join("\n".join(lines) for lines in parts)
    common.write("tuning", " ".join(filter(None, ("BENCH=tuning", given, "make bench"))), text)
