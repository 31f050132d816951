"""The daily backup against what a user would run instead: same data, same store, rounds interleaved, medians.

BENCH_SIZES="0.1 1 5" (GB of database), BENCH_ROUNDS=3. The result goes into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg2
import zstandard
from boto3.s3.transfer import TransferConfig

from tests.conftest import Sandbox, sandbox

from . import common

JOBS = 2
#: Application files, as a share of the database's size: half of it incompressible, half of it logs.
FILES_SHARE = 0.1

# Values are random, strings repeat as they do in trading data: gzip:1 makes it about half.
TABLES = """
CREATE TABLE executions AS SELECT i AS id, i / 3 AS order_id,
    (ARRAY['BTC-USD','ETH-USD','SOL-USD','EURUSD','AAPL','MSFT','ES','CL'])[1 + i % 8] AS symbol,
    (random() * 100000)::numeric(18, 8) AS price, (random() * 10)::numeric(18, 8) AS quantity,
    timestamptz '2026-08-01' + i * interval '1 s' + random() * interval '1 s' AS executed_at, md5(i::text) AS venue_ref,
    random() < 0.5 AS buy, (random() * 5)::numeric(10, 4) AS fee FROM generate_series(1, {rows}) i;
CREATE TABLE orders AS SELECT i AS id, 1 + i % 12 AS strategy_id,
    (ARRAY['filled','cancelled','rejected','partial'])[1 + (random() * 3)::int] AS status,
    (random() * 100000)::numeric(18, 8) AS limit_price, (random() * 10)::numeric(18, 8) AS quantity,
    timestamptz '2026-08-01' + i * interval '3 s' AS created_at, gen_random_uuid() AS client_ref
    FROM generate_series(1, {rows} / 3) i;
CREATE TABLE prices AS SELECT (i % 8)::int AS instrument_id, timestamptz '2026-08-01' + i * interval '1 s' AS at,
    random() * 100 AS bid, random() * 100 AS ask, random() * 1000 AS volume FROM generate_series(1, {rows} / 2) i;
CREATE TABLE audit_log AS SELECT i AS id, timestamptz '2026-08-01' + i * interval '9 s' AS at,
    'user' || i % 40 AS actor, jsonb_build_object('action', 'order.create', 'order', i, 'ip',
    '10.0.' || i % 256 || '.' || (random() * 255)::int, 'trace', md5(random()::text)) AS entry
    FROM generate_series(1, {rows} / 8) i;
"""
INDEXES = """
ALTER TABLE executions ADD PRIMARY KEY (id); CREATE INDEX ON executions (executed_at);
ALTER TABLE orders ADD PRIMARY KEY (id); CREATE INDEX ON prices (instrument_id, at); ANALYZE;
"""
#: Rows of executions that, with all that comes with them, make 0.1 GB.
ROWS = 430_000

ROLE = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: tradingflow.maintenance.backup
"""
MODULES = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/amazon.aws.aws: &aws
      endpoint_url: "{{ storage.endpoint }}"
      access_key: "{{ storage.access_key }}"
      secret_key: "{{ storage.secret_key }}"
      aws_ca_bundle: "{{ storage.ca_file }}"
      region: "{{ storage.region }}"
  tasks:
    - community.postgresql.postgresql_db:
        name: "{{ database.name }}"
        login_host: "{{ database.host }}"
        login_port: "{{ database.port }}"
        login_user: "{{ database.user }}"
        login_password: "{{ database.password }}"
        state: dump
        target: "{{ folder }}/db.sql.gz"
    - community.general.archive:
        path: "{{ data }}"
        dest: "{{ folder }}/app.tar.gz"
        format: gz
    - amazon.aws.s3_object:
        bucket: "{{ storage.bucket }}"
        object: "{{ prefix }}/{{ item }}"
        src: "{{ folder }}/{{ item }}"
        mode: put
        encrypt: false
      loop: [db.sql.gz, app.tar.gz]
"""


class Bench:
    """One database with its files in a running sandbox.

    :param size: of the database, in GB
    """

    def __init__(self, running: Sandbox, folder: Path, size: float) -> None:
        self.running = running
        self.folder = folder
        self.size = size
        postgres = running.state["postgres"]
        self.database = {
            **running.database,
            "name": f"bench_{str(size).replace('.', '_')}",
            "user": postgres["superuser"],
            "password": postgres["superuser_password"],
        }
        self.environment = {
            **running.environment,
            "PATH": f"{postgres['bin_dir']}:{os.environ['PATH']}",
            "PGHOST": postgres["host"],
            "PGPORT": str(postgres["port"]),
            "PGUSER": self.database["user"],
            "PGPASSWORD": self.database["password"],
            "PGDATABASE": self.database["name"],
        }
        from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage

        self.s3 = storage.client(running.storage, pool=20)
        self.data = folder / f"data-{size}"
        self.phases: dict[str, float] = {}

    def fill(self) -> None:
        """Makes the data."""
        connection = psycopg2.connect(
            host=self.database["host"],
            port=self.database["port"],
            user=self.database["user"],
            password=self.database["password"],
            dbname="postgres",
        )
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {self.database['name']} TEMPLATE template0")
        connection.close()
        rows = int(ROWS * 10 * self.size)
        sql = "SET synchronous_commit = off;" + TABLES.format(rows=rows) + INDEXES
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-c", sql], env=self.environment, check=True)
        self.data.mkdir()
        rng = random.Random(1)
        count = max(1, int(self.size * FILES_SHARE * 1000 / 2))
        for number in range(count):
            (self.data / f"model-{number}.bin").write_bytes(rng.randbytes(1_000_000))
            line = "2026-11-23T12:00:00Z INFO order id={} strategy={} latency_ms={} accepted by venue\n"
            text = "".join(line.format(rng.randrange(10**9), rng.randrange(12), rng.random()) for _ in range(9000))
            (self.data / f"app-{number}.log").write_text(text[:1_000_000])

    def bytes(self) -> int:
        """Size of the database on disk."""
        done = subprocess.run(
            ["psql", "-qXAtc", "SELECT pg_database_size(current_database())"],
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return int(done.stdout)

    def scratch(self) -> Path:
        """An empty folder for one run."""
        folder = self.folder / "scratch"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def upload(self, path: Path, key: str) -> None:
        """As the AWS CLI does it: in parts, ten at a time."""
        self.s3.upload_file(str(path), self.running.storage["bucket"], key, Config=TransferConfig(max_concurrency=10))

    def playbook(self, text: str, variables: dict[str, Any]) -> None:
        folder = self.scratch()
        common.playbook(text, folder, self.environment, {"folder": str(folder), **variables})

    def ours(self, prefix: str, **options: Any) -> None:
        """The role, by ansible-playbook."""
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        chosen = {
            "environment": "bench",
            "database": self.database,
            "storage": {**self.running.storage, "prefix": prefix},
            "data_directory": str(self.data),
            "scratch_directory": str(self.folder),
            "jobs": JOBS,
            "application": {},
            "evidence": {},
            **options,
        }
        variables = {f"backup_{name}": value for name, value in chosen.items()}
        self.playbook(ROLE, {**variables, "maintenance_run": {"directory": str(run)}})
        (spool,) = (run / "spool").glob("backup@*.json")
        (action,) = json.loads(spool.read_text())["actions"]
        if action["status"] != "ok":
            raise RuntimeError(action["message"])
        self.phases = action["details"]["phases"]

    def ours_unverified(self, prefix: str) -> None:
        self.ours(prefix, verify="none")

    def ours_counts_only(self, prefix: str) -> None:
        self.ours(prefix, verify="none", digests="none")

    def bare(self, prefix: str) -> None:
        """The engine and nothing else: parallel dump and packed files at the same time, then a parallel upload."""
        folder = self.scratch()
        dump = subprocess.Popen(
            ["pg_dump", "-Fd", f"-j{JOBS}", "--compress=gzip:1", "--no-sync", "-f", str(folder / "db")],
            env=self.environment,
        )
        with (
            open(folder / "data.tar.zst", "wb") as target,
            zstandard.ZstdCompressor(level=3).stream_writer(target) as packed,
            tarfile.open(mode="w|", fileobj=packed, bufsize=1 << 20) as tar,
        ):
            tar.add(self.data, arcname=".")
        if dump.wait():
            raise RuntimeError("pg_dump failed")
        files = [*(folder / "db").iterdir(), folder / "data.tar.zst"]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda path: self.upload(path, f"{prefix}/{path.name}"), files))

    def manual(self, prefix: str) -> None:
        """The manual's script: plain pg_dump, tar -czf, and one upload after the other."""
        folder = self.scratch()
        with open(folder / "db.sql", "wb") as target:
            subprocess.run(["pg_dump"], env=self.environment, check=True, stdout=target)
        subprocess.run(["tar", "-czf", str(folder / "app.tar.gz"), "-C", str(self.data), "."], check=True)
        self.upload(folder / "db.sql", f"{prefix}/db.sql")
        self.upload(folder / "app.tar.gz", f"{prefix}/app.tar.gz")

    def modules(self, prefix: str) -> None:
        """community.postgresql.postgresql_db, community.general.archive and amazon.aws.s3_object."""
        self.playbook(
            MODULES,
            {"prefix": prefix, "data": str(self.data), "database": self.database, "storage": self.running.storage},
        )

    def stored(self, prefix: str) -> int:
        """Bytes a contender put into the store; and away with them."""
        bucket, total = self.running.storage["bucket"], 0
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/"):
            for entry in page.get("Contents") or []:
                total += entry["Size"]
                self.s3.delete_object(Bucket=bucket, Key=entry["Key"])
        return total


CONTENDERS: dict[str, Callable[[Bench, str], None]] = {
    "bare": Bench.bare,
    "ours": Bench.ours,
    "unverified": Bench.ours_unverified,
    "counts": Bench.ours_counts_only,
    "manual": Bench.manual,
    "modules": Bench.modules,
}


def measure(bench: Bench, rounds: int) -> dict[str, Any]:
    """Medians of all contenders: seconds (whole), backup (s of our phases before verification), stored (bytes)."""
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    work: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    stored: dict[str, int] = {}
    for number, name in common.interleaved(list(CONTENDERS), rounds):
        prefix = f"bench/{bench.size}/{number}/{name}"
        bench.phases = {}
        begun = time.monotonic()
        CONTENDERS[name](bench, prefix)
        seconds[name].append(time.monotonic() - begun)
        phases = bench.phases
        work[name].append(sum(phases[key] for key in ("prepare", "backup", "seal")) if phases else seconds[name][-1])
        stored[name] = bench.stored(prefix)
        if stored[name] < 1000:
            raise RuntimeError(f"{name} stored nothing")
        print(f"{bench.size} GB, round {number + 1}: {name} {seconds[name][-1]:.1f} s {phases or ''}", flush=True)
    return {
        "size": bench.size,
        "bytes": bench.bytes(),
        "rounds": rounds,
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "spread": {name: (min(values), max(values)) for name, values in seconds.items()},
        "work": {name: statistics.median(values) for name, values in work.items()},
        "stored": stored,
    }


def table(results: list[dict[str, Any]]) -> str:
    """The results in Markdown."""
    rows = [
        ("bare engine: `pg_dump -Fd -j`, then parallel upload", "bare", "seconds"),
        ("ours, backup phase, row counts only", "counts", "work"),
        ("ours, backup phase, counts and digests", "unverified", "work"),
        ("ours, whole `ansible-playbook`, not verified", "unverified", "seconds"),
        ("**ours, whole `ansible-playbook`, verified in full**", "ours", "seconds"),
        ("`postgresql_db` + `archive` + `s3_object`", "modules", "seconds"),
        ("the manual's script", "manual", "seconds"),
    ]
    head = "| |" + "".join(f" {result['size']:g} GB: s | against bare | manual is slower |" for result in results)
    lines = [head, "|---|" + "--:|--:|--:|" * len(results)]
    for label, name, kind in rows:
        cells = []
        for result in results:
            value, bare, manual = result[kind][name], result["seconds"]["bare"], result["seconds"]["manual"]
            cells.append(f" {value:.1f} | {value / bare:.2f} | {manual / value:.1f} times |")
        lines.append(f"| {label} |" + "".join(cells))
    lines.append("")
    for result in results:
        stored = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in result["stored"].items())
        spread = ", ".join(f"{name} {low:.1f}-{high:.1f}" for name, (low, high) in result["spread"].items())
        lines.append(
            f"- {result['size']:g} GB: database of {result['bytes'] / 1e6:.0f} MB on disk, {result['rounds']} rounds; "
            f"stored: {stored}; fastest and slowest in s: {spread}."
        )
    return "\n".join(lines)


def main() -> None:
    """Measures and writes the page."""
    sizes, rounds = os.environ.get("BENCH_SIZES", "0.1 1"), os.environ.get("BENCH_ROUNDS", "3")
    command = f'BENCH=backup BENCH_SIZES="{sizes}" BENCH_ROUNDS={rounds} make bench'
    results = []
    folder = Path(tempfile.mkdtemp(prefix="tradingflow-bench-", dir="/var/tmp"))
    try:
        with sandbox("small") as running:
            for size in sizes.split():
                bench = Bench(running, folder, float(size))
                bench.fill()
                # Large ones are measured once: their noise is small against their length.
                results.append(measure(bench, 1 if float(size) >= 3 else int(rounds)))
                common.write("backup", command, table(results))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(results))
