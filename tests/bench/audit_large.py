"""A large log collected, redacted and looked at again: seconds of a processor, and the most memory it took.

    GB=5 python -m tests.bench.audit_large

Each thousandth line has a password. It takes the log's size and a fifth of it twice of the disk below TMPDIR.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = "ansible_collections.tradingflow.maintenance.plugins.module_utils._audit"
BEGIN, DAYS = 1_790_812_800, 31


def write(path: Path, size: int) -> int:
    """A log of October 2026 of about so many bytes, and how many lines it has."""
    count = size // 150
    with path.open("w") as stream:
        for number in range(count):
            at = time.gmtime(BEGIN + number * DAYS * 86400 // count)
            secret = f" password=hunter2-{number}" if number % 1000 == 0 else ""
            stream.write(
                f'{{"time": "{time.strftime("%Y-%m-%dT%H:%M:%S", at)}.000Z", "level": "info", "message": "order'
                f' {number * 7919 % 1000003} of account {number % 500} filled{secret}", "venue": "XNYS",'
                f' "request": "{number * 2654435761 % 2**64:016x}"}}\n'
            )
    return count


def memory() -> int:
    """The most that the process had at a time, in MB."""
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM")) // 1024


def main() -> None:
    """Prints a line for each step."""
    sys.path.insert(0, "collections")
    log_files, redact, scan, packing, rules, collected = (
        importlib.import_module(f"{PACKAGE}.{name}")
        for name in ("log_files", "redact", "scan", "packing", "rules", "collected")
    )
    with tempfile.TemporaryDirectory(prefix="tradingflow-bench-") as name:
        folder = Path(name)
        for each in "ab":
            (folder / each).mkdir()
        count = write(folder / "app.log", int(float(os.environ.get("GB", "1")) * 1e9))
        given = {"name": "app", "path": str(folder / "app.log"), "exclude": [], "time_zone": "UTC", "fresh_ok": True}
        period = collected.Period("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
        print(f"{(folder / 'app.log').stat().st_size / 1e9:.2f} GB, {count} lines, {memory()} MB", flush=True)

        def step(what: str, work: Callable[[], Any]) -> Any:
            begun = time.process_time()
            result = work()
            print(f"{what:12} {time.process_time() - begun:6.1f} s of a processor, {memory()} MB", flush=True)
            return result

        source = step(
            "collected", lambda: log_files.collect(packing.Scratch(str(folder / "a"), 1 << 40), period, given)
        )
        known = rules.load(None, b"k" * 32)
        scratch = packing.Scratch(str(folder / "b"), 1 << 40)
        done = step("redacted", lambda: redact.source(folder / "a", source, scratch, known))
        left = step("looked at", lambda: scan.files(folder / "b", done))
        print(source.outcome, source.reason, source.records == count, done.redactions, left)


if __name__ == "__main__":
    main()
