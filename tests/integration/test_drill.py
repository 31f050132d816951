"""The restore drill against a real PostgreSQL and a real S3 store: good, damaged, tampered with, and odd contents."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine as backup
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options as backup_spec
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import ROOT, Sandbox
from tests.integration import test_backup
from tests.integration.test_backup import Make

backup_options, database, scratch = test_backup.backup_options, test_backup.database, test_backup.scratch

INVARIANTS = yaml.safe_load((ROOT / "roles/restore_drill/vars/main.yml").read_text())["__restore_drill_invariants"]


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A scratch directory that the server's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="tradingflow drill ", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def left_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name != "lock" and not path.is_dir()]


def application(platform: Sandbox) -> dict[str, Any]:
    app = platform.state["app"]
    return {
        "command": [sys.executable, "-m", "sandbox.app"],
        "environment": {
            "PYTHONPATH": str(ROOT),
            "TRADINGFLOW_DATABASE_URL": "postgresql+psycopg2://{database_address}",
            "TRADINGFLOW_PORT": "{port}",
            "TRADINGFLOW_DATA_DIR": "{data_directory}",
            "TRADINGFLOW_LOG_FILE": "{scratch_directory}/app.log",
            "TRADINGFLOW_VERSION": app["version"],
            "TRADINGFLOW_IMAGE": app["image"],
        },
        "user": platform.state["postgres"]["owner"],
        "url": "http://127.0.0.1:{port}",
        "health_path": "/health",
        "ready_path": "/ready",
        "version_path": "/version",
        "version": None,
        "timeout": 60,
    }


@pytest.fixture(scope="session")
def drill_options(platform: Sandbox, place: Path) -> Make:
    """drill_options(of the backup) gives the options of a drill of what that backup made."""

    def build(made: dict[str, Any], **changes: Any) -> dict[str, Any]:
        defaults = {name: spec.get("default") for name, spec in options.SPEC.items()}
        return {
            **defaults,
            "environment_name": made["environment_name"],
            "storage": made["storage"],
            "pg_bin_dir": platform.state["postgres"]["bin_dir"],
            "scratch_directory": str(place),
            **changes,
        }

    return build


@pytest.fixture(scope="session")
def backed_up(platform: Sandbox) -> dict[str, Any]:
    """A backup of the platform: its options."""
    defaults = {name: spec.get("default") for name, spec in backup_spec.SPEC.items()}
    chosen = {
        **defaults,
        "environment_name": "drilled é",
        "database": platform.database,
        "storage": platform.storage,
        "application": {"name": "tradingflow", "version": platform.state["app"]["version"], "image": None},
        "data_directory": platform.state["app"]["data_dir"],
        "pg_bin_dir": platform.state["postgres"]["bin_dir"],
        "verify": "none",
    }
    folder = tempfile.mkdtemp(prefix="tradingflow-test-", dir="/var/tmp")
    chosen["scratch_directory"] = folder
    made = backup.create(chosen, Progress())
    shutil.rmtree(folder)
    return {**chosen, "made": made}


def judged(result: dict[str, Any], chosen: dict[str, Any]) -> tuple[dict[str, Check], dict[str, Any], dict[str, Any]]:
    checks, (action,), summary = options.findings(result, chosen, "2026-11-23T00:00:00Z")
    return {check.id: check for check in checks}, action, summary


def test_good_drill(backed_up: dict[str, Any], drill_options: Make, platform: Sandbox, place: Path) -> None:
    chosen = drill_options(
        backed_up, invariants=INVARIANTS, application=application(platform), database=platform.database
    )
    result = engine.run(chosen, Progress())
    checks, action, summary = judged(result, chosen)
    assert {id: check.message for id, check in checks.items() if check.status != "ok"} == {}
    assert checks["drill.rows"].value == backed_up["made"]["recovery_point"]["totals"]["rows"]
    assert checks["drill.digests"].value == len(backed_up["made"]["recovery_point"]["database"]["tables"])
    assert checks["drill.indexes"].value > 50
    assert checks["drill.application_files"].value > 10
    assert checks["drill.application_version"].value == platform.state["app"]["version"]
    assert len([id for id in checks if id.startswith("drill.invariant:")]) == len(INVARIANTS)
    assert 0 < checks["drill.rto"].value < sum(result["phases"].values()) + 1
    assert checks["drill.rto_forecast"].value > 0
    assert 0 <= checks["drill.rpo"].value < 3600
    assert list(result["phases"]) == [
        *("prepare", "fetch", "start", "restore", "files", "prove", "application", "clean up")
    ]
    assert action["status"] == "ok"
    assert summary == {**summary, "engine": "logical", "worst_status": "ok", "objectives": "ok"}
    assert summary["recovery_point"] == backed_up["made"]["recovery_point"]["id"]
    assert not left_in(place)
