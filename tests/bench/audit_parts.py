"""What each part of an audit collection costs by itself, in MB a second of the processor.

    python -m tests.bench.audit_parts

The first look at anything is in it, at which the engine of patterns builds its tables. FOLDER=/path/of/another/checkout
measures the parts of that one, for a pair of figures from one machine.
"""

from __future__ import annotations

import gzip
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BYTES = 10_000_000
PACKAGE = "ansible_collections.tradingflow.maintenance.plugins.module_utils._audit"


def blocks(data: bytes) -> list[bytes]:
    return [data[place : place + (1 << 20)] for place in range(0, len(data), 1 << 20)]


def nothing(_data: bytes) -> None:
    """Where it is written to."""


def main() -> None:
    """Prints a line for each part."""
    sys.path.insert(0, str(Path(os.environ.get("FOLDER", ".")) / "collections"))
    redact, scan, selection, packing, rules = (
        importlib.import_module(f"{PACKAGE}.{name}") for name in ("redact", "scan", "selection", "packing", "rules")
    )
    from .audit import lines

    log = "".join(lines(BYTES, 1_791_000_000)).encode()
    each = log.splitlines()
    row = b"%d,%d,2026-10-01 00:00:00+00,XNYS,%d.000,101.25\n"
    table = b"id,order,at,venue,qty,price\n" + b"".join(row % (at, at * 7, at % 100) for at in range(BYTES // 60))
    entry = b"__CURSOR=s=00;i=%x;b=00;m=0;t=%x;x=0\n__REALTIME_TIMESTAMP=%d\nPRIORITY=6\n_UID=0\nMESSAGE=%s\n\n"
    journal = b"".join(entry % (at, 10**15 + at, 10**15 + at, line) for at, line in enumerate(each))
    busy = b"\n".join(
        line.replace(b"order", b"password=x%d order" % at) if at % 20 == 0 else line
        for at, line in enumerate(each[: len(each) // 5])
    )
    known = rules.load(None, b"k" * 32)

    def redacted(form: str, data: bytes) -> Callable[[], Any]:
        return lambda: getattr(redact.Redaction(known, {}), form)(iter(blocks(data)), nothing)

    def chosen() -> None:
        source = {"time_zone": "UTC", "time_pattern": "", "format": "auto", "time_format": ""}
        one = selection.Selection(source, 1_790_000_000, 1_800_000_000, 1_800_000_000, nothing)
        for block in blocks(log):
            one.add(block)
        one.end()

    with tempfile.NamedTemporaryFile(suffix=".gz") as packed:
        packed.write(gzip.compress(log, 1))
        packed.flush()
        parts: dict[str, tuple[Callable[[], Any], bytes]] = {
            "lines of the period": (chosen, log),
            "redaction of a log": (redacted("text", log), log),
            "of one with a secret in 5 % of its lines": (redacted("text", busy), busy),
            "of a table": (redacted("csv", table), table),
            "of the journal": (redacted("export", journal), journal),
            "second look at a log": (lambda: scan.stream(iter(blocks(log))), log),
            "at a table": (lambda: scan.stream(iter(blocks(table))), table),
            "at the journal": (lambda: scan.stream(iter(blocks(journal))), journal),
            "unpacking": (lambda: list(packing.blocks(packed.name)), log),
        }
        for name, (part, data) in parts.items():
            begun = time.process_time()
            part()
            print(f"{name:42} {len(data) / 1e6 / (time.process_time() - begun):8.1f} MB/s", flush=True)


if __name__ == "__main__":
    main()
