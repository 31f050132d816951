"""``make audit`` on the sandbox: one bundle that the verifier accepts alone, on the record, and made once."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Playbook, Sandbox
from tests.end_to_end.test_daily import ids, keys, s3, statements
from tests.unit.audit_fixtures import VERIFIER


def verified(platform: Sandbox, path: Path) -> subprocess.CompletedProcess[str]:
    """As an auditor, who has neither Ansible nor this collection."""
    key = platform.state["evidence"]["public_key_file"]
    return subprocess.run(
        [sys.executable, "-I", VERIFIER, "--public-key", key, "--environment", "local", path],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_bundle_is_made_once_and_verifies(platform: Sandbox, play: Callable[..., Playbook], tmp_path: Path) -> None:
    done = play("audit")
    assert done.returncode == 0, done.output
    report = done.report("audit")
    assert ids(report, "warning", "unknown", "critical") == set()
    checks = {check["id"]: check for check in report["checks"]}
    assert {
        "audit.bundle",
        "audit.stored",
        "audit.source:_platform/audit_log",
        "audit.source:localhost/versions",
    } <= checks.keys()
    made = checks["audit.bundle"]["details"]
    folder = Path(made["path"])
    proof = verified(platform, folder)
    assert (proof.returncode, proof.stderr) == (0, ""), proof.stdout
    assert proof.stdout.startswith("INTACT: bundle ")
    assert "INCOMPLETE" not in proof.stdout
    # The rows are those of the period, as the database has them.
    manifest = json.loads((folder / "manifest.json").read_text())
    period = manifest["period"]
    with gzip.open(folder / "data/_platform/tables/audit_log.csv.gz", "rt", newline="") as stream:
        rows = list(csv.DictReader(stream))
    (wanted,) = platform.sql(
        "owner",
        f"SELECT count(*) FROM maintenance.audit_log WHERE at >= '{period['from']}' AND at < '{period['to']}'",
    )
    assert len(rows) == wanted[0] > 0
    # The archive in the store is the same bundle.
    archive = tmp_path / "bundle.tar"
    s3(platform).download_file(platform.state["s3"]["bucket"], made["key"], str(archive))
    assert verified(platform, archive).returncode == 0
    assert made["digest"] in proof.stdout
    (record,) = [each["predicate"] for each in statements(platform) if each["predicate"]["kind"] == "audit"]
    assert record["content"]["digest"] == made["digest"]
    assert {each["outcome"] for each in record["content"]["sources"]} == {"complete"}
    stored = keys(platform, "audit/local/")
    # Again: it is there, proven, and nothing is written.
    again = play("audit")
    assert again.returncode == 0, again.output
    assert ids(again.report("audit"), "warning", "unknown", "critical") == set()
    assert keys(platform, "audit/local/") == stored
    secrets = [platform.state["postgres"]["maintenance_password"], platform.state["s3"]["secret_key"]]
    assert not [secret for secret in secrets if secret in done.output + (folder / "manifest.json").read_text()]
