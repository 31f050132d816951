"""What the tests of audit bundles share: something collected, a bundle of it, the verifier."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import (
    NAME,
    Collected,
    Count,
    File,
    Period,
    Source,
    Tool,
    encoded,
)

from tests.conftest import COLLECTION
from tests.unit.ledger_fixtures import run_script

VERIFIER = COLLECTION / "scripts/bundle_verify.py"
PERIOD = Period("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")


def source(staging: Path, name: str, text: bytes, **changes: Any) -> Source:
    """A source with one compressed file."""
    path = staging / f"{name}/{name}.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text, mtime=0))
    records = text.count(b"\n")
    data = path.read_bytes()
    values: dict[str, Any] = {
        "name": name,
        "kind": "log_file",
        "outcome": "complete",
        "files": [File(f"{name}/{path.name}", len(data), hashlib.sha256(data).hexdigest(), records)],
        "command": ["cat", name],
        "tool": Tool("cat", "9.1"),
        "exit_status": 0,
        "records": records,
        "counts": [Count("lines read", records), Count("lines written", records)],
    }
    return Source(**{**values, **changes})


def collect(staging: Path, *sources: Source, host: str = "", period: Period = PERIOD) -> Collected:
    """Writes collected.json."""
    staging.mkdir(parents=True, exist_ok=True)
    found = Collected(host or staging.name, period, Tool("tradingflow.maintenance", "0.1.0"), list(sources))
    (staging / NAME).write_bytes(encoded(found))
    return found


def verify(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the verifier in this process."""
    return run_script(VERIFIER, *arguments)
