"""A period's evidence: ours, with redaction, a second look, signature and proof, against the manual's script.

BENCH_SIZES="0.1" (GB of logs: half of it journal, half a log file), BENCH_ROUNDS=1. Needs journalctl, psql and
systemd-journal-remote. The result goes into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, Sandbox, sandbox
from tests.journals import journal

from . import common

BEGIN, END = "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"
TABLE = "maintenance.executions"
LABELS = {
    "manual": "the manual's script: `journalctl`, `COPY`, the log, `tar czf`",
    "ours": "**ours: collected, counted twice, redacted, looked at again, signed, proven, stored**",
}
#: As the manual has it, with the exact period; `docker logs` gives out what is in a file.
MANUAL = """set -eu
mkdir -p "$OUT"
journalctl --directory="$JOURNAL" --since "@$BEGIN" --until "@$END" >"$OUT/system_logs.log"
psql -qX -c "COPY (SELECT * FROM {table}) TO STDOUT CSV HEADER" >"$OUT/executions.csv"
cat "$LOG" >"$OUT/app_logs.log"
tar czf "$OUT.tar.gz" -C "$OUT" .
"""
OURS = """
import json, sys, time
from datetime import UTC, datetime
from pathlib import Path
sys.path.insert(0, "collections")
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import engine, host, platform
given = json.load(open(sys.argv[1]))
phases, at = {}, time.monotonic()

def phase(name):
    global at
    phases[name], at = round(time.monotonic() - at, 2), time.monotonic()

context = engine.Context("bench", "bench", datetime.now(UTC))
prepared = engine.prepare(given["bundle"], context)
staging = Path(prepared["staging"])
defaults = {name: spec.get("default") for name, spec in host.SPEC.items()}
host.collect({**defaults, **given["host"], "staging": str(staging / "app1")})
(staging / "app1/.tradingflow-audit").unlink()
phase("host")
platform.collect({**given["platform"], "staging": str(staging / "_platform")})
phase("table")
made = engine.make(given["bundle"], context)
phase("bundle")
assert {each["outcome"] for each in made["sources"]} == {"complete"}, made["sources"]
print(json.dumps({"phases": phases, "path": made["path"]}))
"""


def lines(size: int, begin: int) -> Iterator[str]:
    """Lines of an application's log, up to so many bytes."""
    done = number = 0
    while done < size:
        at = datetime.fromtimestamp(begin + number // 10, UTC)
        line = json.dumps(
            {
                "time": f"{at:%Y-%m-%dT%H:%M:%S}.{number % 10}00Z",
                "level": "info",
                "message": f"order {number * 7919 % 1000003} of account {number % 500} filled",
                "venue": "XNYS",
                "price": f"{100 + number % 977 / 100:.2f}",
                "request": f"{number * 2654435761 % 2**64:016x}",
            }
        )
        yield line + "\n"
        done, number = done + len(line) + 1, number + 1


class Peak(threading.Thread):
    """The most memory that a process and all below it have at a time, in bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.bytes, self.ended = pid, 0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.05):
            self.bytes = max(self.bytes, sum(map(_resident, _below(self.pid))))


def _below(pid: int) -> list[int]:
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _below(int(child))
    except OSError:
        return found
    return found


def _resident(pid: int) -> int:
    """What a process has for itself: libraries and page cache are shared."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("RssAnon"))
    except (OSError, StopIteration, ValueError):
        return 0


class Bench:
    def __init__(self, platform: Sandbox, folder: Path, size: float) -> None:
        self.platform, self.folder, self.size = platform, folder, size
        self.begin, self.end = (int(datetime.fromisoformat(text).timestamp()) for text in (BEGIN, END))
        self.log = folder / "app.log"
        with self.log.open("w") as stream:
            stream.writelines(lines(int(size * 5e8), self.begin))
        os.utime(self.log, (self.end, self.end))
        entries: Iterator[dict[str, str | bytes | int]] = (
            {"at": self.begin + number // 10, "MESSAGE": text.strip(), "PRIORITY": "6", "_UID": "0", "_PID": "1"}
            for number, text in enumerate(lines(int(size * 5e8), self.begin))
        )
        journal(folder / "journal/machine/system.journal", entries)
        self.rounds = 0

    def manual(self) -> dict[str, Any]:
        """The manual's script."""
        database = self.platform.database
        names = {"host": "PGHOST", "port": "PGPORT", "name": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD"}
        out = self.folder / f"manual-{self.rounds}"
        environment = {
            **os.environ,
            **{variable: str(database[name]) for name, variable in names.items()},
            "OUT": str(out),
            "JOURNAL": str(self.folder / "journal/machine"),
            "LOG": str(self.log),
            "BEGIN": str(self.begin),
            "END": str(self.end),
        }
        found = self.timed(["bash", "-c", MANUAL.format(table=TABLE)], environment)
        return {**found, "stored": Path(f"{out}.tar.gz").stat().st_size}

    def ours(self) -> dict[str, Any]:
        """Everything of ours but Ansible."""
        evidence = self.platform.state["evidence"]
        keys = {"signing_key": None, "signing_key_file": evidence["signing_key_file"]}
        environment = f"bench{self.size:g}r{self.rounds}".replace(".", "-")
        bundle = {
            "storage": self.platform.storage,
            "environment_name": environment,
            "hosts": ["app1"],
            "plans": {},
            "month": "",
            "directory": str(self.folder / "bundles"),
            "begin": BEGIN,
            "end": END,
            "timezone": "UTC",
            "again": False,
            "scratch_limit": 0,
            "redaction": [],
            "pseudonym_key": None,
            "legal_hold": False,
            "retention": {"class": "bench", "days": 1},
            "timestamp": None,
            "witness": None,
            "evidence": {**keys, "trusted_key_files": [], "lock_mode": "none", "lock_days": 1},
        }
        given: dict[str, Any] = {
            "bundle": bundle,
            "host": {
                "host": "app1",
                "period": {"from": BEGIN, "to": END},
                "versions": False,
                "clock": False,
                "journal_folders": [str(self.folder / "journal")],
                "logs": [{"name": "app", "kind": "file", "path": str(self.log), "exclude": [], "fresh_ok": True}],
            },
            "platform": {
                "environment_name": environment,
                "begin": BEGIN,
                "end": END,
                "version": "",
                "storage": None,
                "database": self.platform.database,
                "evidence": None,
                "ledger_empty_ok": True,
                "tables": [{"name": "executions", "relation": TABLE, "time": "", "order": [], "empty_ok": False}],
            },
        }
        for name in ("container", "time_pattern", "time_format"):
            given["host"]["logs"][0][name] = ""
        given["host"]["logs"][0] |= {"runtime": "docker", "time_zone": "UTC", "empty_ok": False}
        path = self.folder / "given.json"
        path.write_text(json.dumps(given))
        found = self.timed([sys.executable, "-c", OURS, str(path)], dict(os.environ))
        said = json.loads(found.pop("said").splitlines()[-1])
        folder = Path(said["path"])
        files = [path for path in folder.rglob("*") if path.is_file()]
        stored = sum(path.stat().st_size for path in files)
        return {**found, **said, "stored": stored, **self.verified(folder, files, stored)}

    def verified(self, folder: Path, files: list[Path], stored: int) -> dict[str, float]:
        """Bytes a second that the verifier proves, and that the disk reads, each from the disk."""
        speeds = {}
        for name in ("verify", "read"):
            for path in files:
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            verifier = "collections/ansible_collections/tradingflow/maintenance/scripts/bundle_verify.py"
            key = self.platform.state["evidence"]["public_key_file"]
            command = [sys.executable, verifier, "--public-key", key, str(folder)]
            begun = time.monotonic()
            subprocess.run(
                command if name == "verify" else ["cat", *files],
                check=True,
                capture_output=name == "verify",
                stdout=None if name == "verify" else subprocess.DEVNULL,
                cwd=ROOT,
            )
            speeds[name] = stored / (time.monotonic() - begun)
        return speeds

    def timed(self, command: list[str], environment: dict[str, str]) -> dict[str, Any]:
        """Runs a contender."""
        before = os.times()
        begun = time.monotonic()
        with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            peak = Peak(process.pid)
            peak.start()
            said, _ = process.communicate()
            wall = time.monotonic() - begun
            peak.ended.set()
        if process.returncode:
            raise RuntimeError(f"{command[:2]} ended with {process.returncode}")
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        return {"wall": wall, "cpu": spent, "peak": peak.bytes, "said": said}


def table(results: dict[float, dict[str, list[dict[str, Any]]]]) -> str:
    """The results in Markdown."""
    head = "".join(f" {size:g} GB of logs: s | CPU s | peak MB | stored MB | against the manual |" for size in results)
    rows = [f"| |{head}", "|---|" + "--:|--:|--:|--:|--:|" * len(results)]
    notes = []

    def median(found: list[dict[str, Any]], name: str) -> float:
        return float(statistics.median(each[name] for each in found))

    for name, label in LABELS.items():
        cells = ""
        for found in results.values():
            mine = found[name]
            faster = median(found["manual"], "wall") / median(mine, "wall")
            cells += f" {median(mine, 'wall'):.1f} | {median(mine, 'cpu'):.1f} | {median(mine, 'peak') / 1e6:.0f} |"
            cells += f" {median(mine, 'stored') / 1e6:.0f} | {faster:.2f} times as fast |"
        rows.append(f"| {label} |{cells}")
    for size, found in results.items():
        last = found["ours"][-1]
        phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in last["phases"].items())
        notes.append(
            f"- {size:g} GB: ours by phase in s: {phases}. The verifier proves {last['verify'] / 1e6:.0f} MB/s, its "
            f"start included; `cat` reads the same files at {last['read'] / 1e6:.0f} MB/s."
        )
    return "\n".join([*rows, "", *notes])


def main() -> None:
    """Measures and writes the page."""
    sizes, rounds = os.environ.get("BENCH_SIZES", "0.1"), int(os.environ.get("BENCH_ROUNDS", "1"))
    results: dict[float, dict[str, list[dict[str, Any]]]] = {}
    with (
        sandbox("default") as platform,
        tempfile.TemporaryDirectory(prefix="tradingflow-bench-", dir="/var/tmp") as name,
    ):
        for size in map(float, sizes.split()):
            folder = Path(name) / f"{size:g}"
            folder.mkdir()
            bench = Bench(platform, folder, size)
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in LABELS}
            for bench.rounds, contender in common.interleaved(list(LABELS), rounds):
                found[contender].append(getattr(bench, contender)())
                print(f"{size:g} GB: {contender} {found[contender][-1]}", flush=True)
            results[size] = found
    text = table(results)
    common.write("audit", f'BENCH=audit BENCH_SIZES="{sizes}" BENCH_ROUNDS={rounds} make bench', text)
    print(text)
