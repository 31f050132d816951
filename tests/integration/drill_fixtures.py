"""What the tests of the restore drill share: backups to drill, options, and a place for the scratch server."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine as backup
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options as backup_spec
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted

from tests.conftest import ROOT, Sandbox
from tests.integration.test_backup import CONTENTS, Make, client, fetch, run_sql

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


@pytest.fixture(scope="session")
def odd(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A backup of odd contents and a file: its options, with what it made."""
    data, name = tmp_path_factory.mktemp("data"), "d r'i\"l% ü"
    (data / "a file").write_text("content")
    (data / "link").symlink_to("a file")
    postgres = platform.state["postgres"]
    admin = {
        **platform.database,
        "name": "postgres",
        "user": postgres["superuser"],
        "password": postgres["superuser_password"],
    }
    run_sql(admin, f"CREATE DATABASE {quoted(name)} TEMPLATE template0")
    chosen = {
        **{name: spec.get("default") for name, spec in backup_spec.SPEC.items()},
        "environment_name": "odd é",
        "database": {**admin, "name": name},
        "storage": platform.storage,
        "pg_bin_dir": postgres["bin_dir"],
        "data_directory": str(data),
        "verify": "none",
        "scratch_directory": str(tmp_path_factory.mktemp("scratch")),
    }
    try:
        run_sql(chosen["database"], CONTENTS)
        return {**chosen, "made": backup.create(chosen, Progress())}
    finally:
        # The drill has nothing but the store.
        run_sql(admin, f"DROP DATABASE {quoted(name)} WITH (FORCE)")


@pytest.fixture
def small(odd: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same backup; what a test changes in the store is put back."""
    original: dict[str, bytes] = {}
    yield {**odd, "original": original}
    for key, body in original.items():
        client(odd).put_object(Bucket=odd["storage"]["bucket"], Key=key, Body=body)


def put(made: dict[str, Any], key: str, body: bytes | None) -> None:
    """Replaces an object in the store, or deletes it."""
    made["original"].setdefault(key, fetch(made, key))
    where = {"Bucket": made["storage"]["bucket"], "Key": key}
    if body is None:
        client(made).delete_object(**where)
    else:
        client(made).put_object(**where, Body=body)


def tampered(made: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the recovery point in the store."""
    point = json.loads(fetch(made, made["made"]["key"]))
    change(point)
    put(made, made["made"]["key"], json.dumps(point).encode())


def statuses(result: dict[str, Any], chosen: dict[str, Any]) -> dict[str, str]:
    return {id: check.status for id, check in judged(result, chosen)[0].items() if check.status != "ok"}


#: The odd database has a heartbeat without a time: nobody knows what would be lost.
NO_HEARTBEAT = {"drill.rpo": "unknown"}
