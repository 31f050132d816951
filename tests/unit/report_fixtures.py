"""A good and a bad day with a month of history before each, for the report's tests and pictures.

``python -m tests.unit.report_fixtures DIRECTORY`` writes both with all their forms.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import (
    Check,
    as_dicts,
    judge,
    plain,
    unknown,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils.run import write_spool
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils import report as reports

LAST = datetime(2026, 11, 23, 20, 40, 30, tzinfo=UTC)
STRATEGIES = ("mean-reversion-eu", "momentum-us", "pairs-energy", "carry-fx", "stat-arb-asia", "vol-target")
PLAN = [
    *({"area": "system", "host": host} for host in ("app1", "db1", "db2")),
    *({"area": area, "host": "runner"} for area in ("application", "database", "trading", "backups")),
    {"area": "backup", "host": "db1"},
]


def stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def run_of(at: datetime, **given: Any) -> dict[str, Any]:
    """What maintenance_run hands to the report."""
    return {
        "run_id": f"{at:%Y%m%dT%H%M%SZ}-daily-{random.Random(at.timestamp()).randbytes(3).hex()}",
        "environment": "production",
        "playbook": "daily",
        "started_at": stamp(at),
        "actor": "mkoch (AWX job 4711)",
        "check_mode": False,
        "plan": PLAN,
        "notes": [],
        **given,
    }


def system(host: str, day: int, rng: random.Random, at: datetime, bad: bool) -> Iterator[Check]:
    memory = 38 + rng.uniform(-4, 4)
    yield judge(
        "system.memory_available",
        "Memory available",
        round(memory, 1),
        warning=10,
        critical=5,
        below=True,
        unit="%",
        message=f"{memory:.0f}% of 32 GB is available.",
        source="/proc/meminfo",
        observed_at=stamp(at),
    )
    load = 0.4 + rng.random()
    yield judge(
        "system.load",
        "Load per core",
        round(load, 2),
        warning=4,
        critical=8,
        source="/proc/loadavg",
        message=f"{load:.2f} per core over 5 minutes.",
        observed_at=stamp(at),
    )
    for mount, base, daily in (("/", 31.0, 0.02), ("/var/lib/postgresql", 58.0, 0.61 if host == "db1" else 0.2)):
        if mount != "/" and not host.startswith("db"):
            continue
        used = base + daily * day + rng.uniform(-0.3, 0.3) + (19 if bad and host == "db1" and mount != "/" else 0)
        yield judge(
            f"system.disk_space:{mount}",
            f"Disk space of {mount}",
            round(used, 1),
            warning=80,
            critical=95,
            unit="%",
            message=f"{mount} is {used:.0f}% full: {5 * (100 - used):.0f} GB of 500 GB left; "
            "full in about 11 hours at the rate of the last day."
            if used > 80
            else f"{mount} is {used:.0f}% full.",
            remedy="Find what grew with du -xh --max-depth=2, or enlarge the volume. If it is pg_wal, look for a "
            "replication slot that holds it back first; never delete files in it.",
            source=f"statvfs {mount}",
            observed_at=stamp(at),
            details={"size_bytes": 500_000_000_000, "free_bytes": int(5e9 * (100 - used)), "filesystem": "xfs"},
        )
    yield judge(
        "system.clock_skew",
        "Clock against the runner",
        round(rng.uniform(0.001, 0.02), 4),
        warning=1,
        critical=5,
        unit="s",
        message="The clock agrees with the runner's.",
        source="time of the host and of the runner",
        observed_at=stamp(at),
    )


def application(rng: random.Random, at: datetime, bad: bool) -> Iterator[Check]:
    yield Check(
        "application.answers:app",
        "Application answers",
        "ok",
        True,
        message="/health answers 200.",
        source="https://app1:8443/health",
        observed_at=stamp(at),
    )
    for route, typical in (("orders", 41), ("positions", 28)):
        time = typical * rng.uniform(0.85, 1.3) * (9.5 if bad and route == "orders" else 1)
        yield judge(
            f"application.response_time:{route}",
            f"Response time of /api/{route}",
            round(time, 1),
            warning=250,
            critical=1000,
            unit="ms",
            message=f"The 95th percentile of 20 requests is {time:.0f} ms; last month {typical * 1.1:.0f} ms.",
            remedy="Look at the database's longest transaction and at the pool first; then at last night's release.",
            source=f"https://app1:8443/api/{route}",
            observed_at=stamp(at),
        )
    yield Check(
        "application.version",
        "Version",
        "ok",
        "1.8.3",
        message="All instances run 1.8.3.",
        source="https://app1:8443/version",
        observed_at=stamp(at),
    )


def database(day: int, rng: random.Random, at: datetime, bad: bool) -> Iterator[Check]:
    yield Check(
        "database.answers",
        "Database answers",
        "ok",
        True,
        message="Database tradingflow on db1 answers.",
        source="postgresql://db1:5432/tradingflow",
        observed_at=stamp(at),
    )
    used = 34 + rng.uniform(-6, 6) + (31 if day in (11, 12) else 0) + (24 if day == 12 else 0)
    yield judge(
        "database.connections",
        "Connections used",
        round(used),
        warning=60,
        critical=85,
        unit="%",
        source="pg_stat_activity",
        message=f"{used:.0f}% of 200 connections are in use.",
        observed_at=stamp(at),
        remedy="Find who holds them.",
    )
    longest = rng.uniform(2, 40) if not bad else 4021.0
    yield judge(
        "database.longest_transaction",
        "Longest transaction",
        round(longest, 1),
        warning=300,
        critical=3600,
        unit="s",
        message="A transaction of tradingflow_app has been idle in transaction for 1 h 7 min (pid 48213)."
        if bad
        else "The longest open transaction is young.",
        remedy="Ask its owner; then SELECT pg_terminate_backend(48213). Until it ends, vacuum removes no dead rows.",
        source="pg_stat_activity",
        observed_at=stamp(at),
        details={"pid": 48213, "state": "idle in transaction", "application_name": "risk-engine"} if bad else {},
    )
    size = 84_200_000_000 + 310_000_000 * day + rng.randrange(90_000_000)
    yield judge(
        "database.size",
        "Size of the database",
        size,
        warning=None,
        critical=None,
        unit="bytes",
        message="Grows by about 310 MB a day.",
        source="pg_database_size",
        observed_at=stamp(at),
    )
    yield judge(
        "database.replication_lag",
        "Replication lag",
        round(rng.uniform(0.02, 0.4), 2),
        warning=30,
        critical=300,
        unit="s",
        message="db2 is up to date.",
        source="pg_stat_replication",
        observed_at=stamp(at),
    )
    yield judge(
        "database.xid_age",
        "Age of the oldest transaction id",
        41_000_000 + day * 2_900_000,
        warning=1_000_000_000,
        critical=1_600_000_000,
        message="Far from wraparound.",
        source="pg_database",
        observed_at=stamp(at),
    )


def trading(day: int, rng: random.Random, at: datetime, bad: bool) -> Iterator[Check]:
    for name in STRATEGIES:
        if bad and name == "carry-fx":
            yield unknown(
                f"trading.strategy_heartbeat:{name}",
                f"Heartbeat of {name}",
                "carry-fx is live and the view maintenance.strategy_heartbeats has no row of it.",
                "Ask the strategy's owner whether it runs; if it was retired, set its state so.",
                source="view maintenance.strategy_heartbeats",
                observed_at=stamp(at),
                unit="s",
                warning=60,
                critical=300,
            )
            continue
        age = rng.uniform(1, 14) + (88 if day == 20 and name == "pairs-energy" else 0)
        yield judge(
            f"trading.strategy_heartbeat:{name}",
            f"Heartbeat of {name}",
            round(age, 1),
            warning=60,
            critical=300,
            unit="s",
            message=f"{name} was last heard of {age:.0f} s ago.",
            remedy="Ask its owner.",
            observed_at=stamp(at),
            source="view maintenance.strategy_heartbeats",
        )
    yield Check(
        "trading.net_position",
        "Net position of the book",
        "ok",
        Decimal("1204417.25000000"),
        "EUR",
        message="Within the limit of the desk.",
        source="view maintenance.positions",
        observed_at=stamp(at),
        warning=Decimal(5_000_000),
        critical=Decimal(8_000_000),
    )


def backup(day: int, rng: random.Random, at: datetime, failed: bool) -> tuple[list[Check], list[dict[str, Any]]]:
    """As the backup's action plugin hands it in."""
    size = int(19_800_000_000 + 74_000_000 * day + rng.randrange(60_000_000))
    took = round(size / 188e6 + rng.uniform(-3, 3), 1)
    began = at + timedelta(seconds=9)
    point = f"{at:%Y%m%dT%H%M%SZ}-5f0c2e"
    done = f"{point}: 34 tables, 61204117 rows, 1204 files, {size / 1e9:.1f} GB in {took:.0f} s."
    refused = (
        "The store refused part 211 of 640: 503 SlowDown after 5 attempts. There is no recovery point of this run."
    )
    remedy = "Look at the store's load and limits, or lower backup_bandwidth; then run again."
    action = {
        "id": "backup.recovery_point",
        "title": "Daily backup",
        "status": "failed" if failed else "ok",
        "changed": not failed,
        "message": f"{refused} {remedy}" if failed else done,
        "started_at": stamp(began),
        "finished_at": stamp(began + timedelta(seconds=took)),
        "details": {}
        if failed
        else {
            "recovery_point": {
                "id": point,
                "key": f"production/recovery-points/{point}/recovery-point.json",
                "sha256": rng.randbytes(32).hex(),
                "environment": "production",
                "created_at": stamp(began),
                "finished_at": stamp(began + timedelta(seconds=took)),
                "size": size,
                "objects": 1872,
                "tables": 34,
                "rows": 61_204_117,
                "files": 1204,
                "compression": "zstd:3",
                "server_version": "18.1",
                "schema_head": "0042_fees",
                "application_version": "1.8.3",
            },
            "phases": {"prepare": 1.4, "backup": round(took * 0.87, 1), "seal": 0.8, "verify": round(took * 0.12, 1)},
            "notes": {},
        },
    }
    time = stamp(began + timedelta(seconds=took))
    if failed:
        check = Check("backup.completed", "Backup completed", "critical", False, message=refused, remedy=remedy)
        check.observed_at = time
        return [check], [action]
    how = "All 1872 objects read and compared; contents agree with catalogue and manifest."
    checks = [
        Check("backup.completed", "Backup completed", "ok", size, "bytes", message=done, observed_at=time),
        Check("backup.verified", "Backup verified", "ok", True, message=how, observed_at=time),
    ]
    return checks, [action]


def backups(day: int, rng: random.Random, at: datetime, failed: bool) -> Iterator[Check]:
    age = 24.1 * 3600 + rng.random() * 60 if failed else 140 + rng.random() * 30
    yield judge(
        "backups.newest",
        "Age of the newest recovery point",
        round(age),
        warning=90_000,
        critical=172_800,
        unit="s",
        message="The newest finished recovery point is of yesterday."
        if failed
        else "The newest recovery point is of this run.",
        source="s3://tf-backup/production/",
        observed_at=stamp(at),
        remedy="Run the backup again.",
    )
    yield judge(
        "backups.damaged",
        "Damaged objects",
        0,
        warning=1,
        critical=1,
        message="All 1,872 objects are whole.",
        source="s3://tf-backup/production/",
        observed_at=stamp(at),
    )


def fill(directory: Path, day: int, at: datetime, *, bad: bool = False) -> None:
    """Hands in a day's findings. Bad: disk, transaction and backup critical; one strategy and all of db2 silent."""
    rng = random.Random(day)
    for host in ("app1", "db1", "db2"):
        measured = as_dicts(system(host, day, rng, at, bad))
        if not (bad and host == "db2"):
            write_spool(directory, "system", host, measured, [])
    write_spool(directory, "application", "runner", as_dicts(application(rng, at, bad)), [])
    write_spool(directory, "database", "runner", as_dicts(database(day, rng, at, bad)), [])
    write_spool(directory, "trading", "runner", as_dicts(trading(day, rng, at, bad)), [])
    checks, actions = backup(day, rng, at, bad)
    write_spool(directory, "backup", "db1", as_dicts(checks), plain(actions))
    write_spool(directory, "backups", "runner", as_dicts(backups(day, rng, at, bad)), [])


def month(root: Path, *, bad: bool, runs: int = 30) -> tuple[dict[str, Any], Path, list[dict[str, Any]]]:
    """A month of daily runs under root: the report of its last day, which is good or bad, its folder, its history."""
    history: list[dict[str, Any]] = []
    for day in range(runs):
        last = day == runs - 1
        at = LAST - timedelta(days=runs - 1 - day)
        run = run_of(at)
        directory = root / "daily" / run["run_id"]
        fill(directory, day, at, bad=bad and last)
        finished = stamp(at + timedelta(seconds=141 + day % 7))
        report = reports.build(directory, run, finished_at=finished, fail_on="critical", history=history)
        if last:
            return report, directory, history
        (directory / "report.json").write_text(json.dumps(report), encoding="utf-8")
        history.append(report)
    raise ValueError("a month has a last day")


def main() -> None:
    target = Path(sys.argv[1])
    for name in ("good", "bad"):
        root = target / name
        shutil.rmtree(root, ignore_errors=True)
        report, directory, history = month(root, bad=name == "bad")
        reports.write(report, directory, history)
        reports.point_latest(directory)
        print(*reports.table(report), sep="\n")
        print(root / "daily" / "latest" / "report.html")


if __name__ == "__main__":
    main()
