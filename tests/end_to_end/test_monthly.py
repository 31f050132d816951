"""``make monthly`` on the sandbox, once: evidence, a proven restore, backtests, risk models, compliance, the report."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine as backup
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options as backup_spec
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance.assessment import stable
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress

from tests.conftest import Playbook, Sandbox, left_out
from tests.end_to_end.test_daily import assert_no_secret, assert_no_secret_in_files, ids
from tests.unit.ledger_fixtures import predicate
from tests.unit.oscal import problems

KYC = stable("local", "gap", "compliance.kyc_documents", "")


def backed_up(platform: Sandbox, storage: dict[str, Any], scratch: Path) -> str:
    """Makes a recovery point, and gives its id."""
    options = {
        **{name: spec.get("default") for name, spec in backup_spec.SPEC.items()},
        "environment_name": "local",
        "database": platform.database,
        "storage": storage,
        "application": {"name": "tradingflow", "version": platform.state["app"]["version"], "image": None},
        "data_directory": platform.state["app"]["data_dir"],
        "pg_bin_dir": platform.state["postgres"]["bin_dir"],
        "verify": "none",
        "scratch_directory": str(scratch),
    }
    return str(backup.create(options, Progress())["recovery_point"]["id"])


def earlier(artifacts: Path, at: datetime, playbook: str = "monthly") -> str:
    """The report of an earlier run, a monthly that saw the gap of clients' documents; gives its id."""
    run_id, moment = f"{at:%Y%m%dT%H%M%SZ}-{playbook}-0a1b2c", f"{at:%Y-%m-%dT%H:%M:%SZ}"
    check = {
        "id": "compliance.requirements",
        "title": "Requirements are supported by what is measured",
        "status": "warning",
        "value": 3,
        "details": {"first_seen": {KYC: f"{at:%Y-%m-%d}"}},
        "area": "compliance",
        "host": "localhost",
        **dict.fromkeys(("unit", "message", "remedy", "source"), ""),
        **dict.fromkeys(("warning", "critical")),
        "observed_at": moment,
    }
    report = {
        "schema": "urn:tradingflow:maintenance:report:1",
        "run_id": run_id,
        "environment": "local",
        "playbook": playbook,
        "check_mode": False,
        "started_at": moment,
        "finished_at": moment,
        "worst_status": "warning",
        "counts": {"ok": 0, "warning": 1, "unknown": 0, "critical": 0},
        "checks": [check],
        "actions": [],
        "expected_missing": [],
    }
    path = artifacts / playbook / run_id / "report.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(report))
    return run_id


def test_a_month_is_closed(platform: Sandbox, play: Callable[..., Playbook], tmp_path: Path) -> None:
    # A part of the store of its own: what other tests left there, and will, is none of this.
    storage = {**platform.storage, "prefix": f"monthly-{secrets.token_hex(3)}", "retry_seconds": 20}
    older, _newest = (backed_up(platform, storage, tmp_path) for _ in range(2))
    before = earlier(tmp_path / "artifacts", datetime.now(UTC) - timedelta(days=40))
    given: dict[str, Any] = {"tradingflow_storage": storage, "tradingflow_monthly_interval": 2764800}
    given["tradingflow_monthly_fail_on"] = "critical"
    done = play("monthly", "-e", json.dumps(given), timeout=900)

    # Compliance has its honest gaps, and the run says so by its end.
    assert done.returncode == 2, done.output
    report = done.report("monthly")
    run_id, folder = report["run_id"], done.artifacts / "monthly" / report["run_id"]
    checks = {check["id"]: check for check in report["checks"]}
    assert not report["expected_missing"]
    assert report["previous_run_id"] == before
    # The month that was missed is a finding.
    assert checks["schedule.previous_run"]["status"] == "warning"
    # Whether made-up days were lucky differs from sandbox to sandbox.
    statistical = ("backtest.overfitting:", "backtest.performance:", "validation.")
    bad = [id for id in ids(report, "critical") if not id.startswith(statistical)]
    assert {id.partition(".")[0] for id in bad} == {"compliance"}

    # An older recovery point, drawn by a seed that is on record, restores.
    drawn = checks["drill.recovery_point"]
    assert (drawn["status"], drawn["value"]) == ("ok", older)
    assert drawn["details"]["drawn"] == {"seed": run_id, "among": 1}
    assert checks["drill.digests"]["status"] == "ok"
    assert checks["audit.bundle"]["status"] == "ok"

    # Each left its record, the run's own last.
    s3 = s3_storage.client(storage)
    listed = s3.list_objects_v2(Bucket=storage["bucket"], Prefix=f"{storage['prefix']}/evidence/local/")["Contents"]
    bodies = [s3.get_object(Bucket=storage["bucket"], Key=each["Key"])["Body"].read() for each in listed]
    records = [predicate(body) for body in bodies]
    assert [record["kind"] for record in records] == ["audit", "drill", *["review"] * 4, "run"]
    assert records[1]["content"]["drawn"] == {"seed": run_id, "among": 1}
    files = {name: folder / f"compliance.{name}" for name in ("html", "pdf", "json", "oscal.json")}
    pdf = files["pdf"].exists()
    if pdf:
        assert files["pdf"].read_bytes().startswith(b"%PDF-")
    else:
        del files["pdf"]
    assert records[2]["content"]["method"] == "backtest-refresh-1"
    assert checks["backtest.lookahead:honest"]["status"] == "ok"
    assert records[3]["content"]["title"] == "Risk models validated"
    assert records[4]["content"]["gaps"] > 0
    assert records[5]["content"]["title"] == "Performance report drafted"
    assert checks["stakeholders.figures"]["status"] == "ok"
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    for path in files.values():
        assert hashlib.sha256(path.read_bytes()).hexdigest() in statement_of(bodies[4])

    # What this run did is evidence: drill and bundle support requirements.
    assessed = json.loads(files["json"].read_text())
    (dora,) = [row for row in assessed["requirements"] if row["id"] == "eu-dora-resilience"]
    supports = {check["name"]: check["status"] for check in dora["evidence"]}
    assert supports["drill.restored"] == supports["ledger:drill"] == "ok"
    # Backups were made by hand, and no daily looked at them.
    assert (supports["ledger:backup"], supports["backups.newest_intact"]) == ("warning", "unknown")
    assert {row["jurisdiction"] for row in assessed["requirements"]} == {"any", "EU", "UK"}
    # A gap goes on from the day on which it was first seen, and is overdue by now.
    (gap,) = [gap for gap in assessed["gaps"] if gap["id"] == KYC]
    assert gap["overdue"]
    assert gap["owner_name"] == "M. Ruiz"
    assert checks["compliance.requirements"]["status"] == "critical"
    assert checks["compliance.requirements"]["details"]["first_seen"][KYC] == gap["first_seen"]
    html = files["html"].read_text()
    assert html.index("Close by") < html.index("Requirements in force")
    assert f"{gap['due']}, overdue" in html
    assert "no legal advice" in html
    # Both chains go on in the next report.
    assert checks["compliance.audit_trail_chain"]["details"]["head"]["entry_id"] > 3000

    document = json.loads(files["oscal.json"].read_text())
    assert problems(document) == []
    assert_no_secret(platform, done.output)
    assert_no_secret_in_files(platform, folder)
    if not pdf:
        left_out("the monthly's PDF: install Pango (libpango-1.0-0, libpangoft2-1.0-0, libharfbuzz-subset0)")


def statement_of(body: bytes) -> str:
    """The text of a record's statement."""
    return base64.b64decode(json.loads(body)["payload"]).decode()
