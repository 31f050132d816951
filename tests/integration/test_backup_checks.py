"""The checks of the backups against a real store and a real ledger."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import backups as checks
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import store
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import StorageError

from tests.conftest import Sandbox
from tests.unit.test_backup_judgement import point


def measured(storage: dict[str, Any], environment: str, public: str) -> dict[str, tuple[str, Any]]:
    """Status and value of each check."""
    options = {"storage": storage, "environment_name": environment, "evidence": {"trusted_key_files": [public]}}
    result = ArgumentSpecValidator(checks.CHECKS_SPEC).validate(options)
    assert not result.error_messages
    return {check.id: (check.status, check.value) for check in checks.measure(result.validated_parameters)}


def test_checks_of_the_backups(platform: Sandbox) -> None:
    storage, environment = platform.storage, f"tést {secrets.token_hex(4)}"
    keys = platform.state["evidence"]
    public = str(Path(keys["public_key_file"]))
    found = measured(storage, environment, public)
    assert found.pop("backups.clock:store")[0] == "ok"
    assert found.pop("backups.store_certificate") == ("ok", 365.0)
    assert {id: status for id, (status, _) in found.items()} == {
        "backups.newest_age": "critical",
        "backups.newest_intact": "unknown",
        "backups.size_anomaly": "unknown",
        "backups.files_anomaly": "unknown",
        "backups.duration_anomaly": "unknown",
        "backups.proven_restore": "critical",
        "backups.kept_intact": "unknown",
        "backups.kept_read": "unknown",
    }
    s3, bucket = s3_storage.client(storage), storage["bucket"]
    prefix = store.prefix_of(storage, environment)
    for hours, size in ((72, 1000), (48, 1000), (24, 1000), (0, 100)):
        begun = datetime.now(UTC) - timedelta(hours=hours)
        made = point(f"{begun:%Y%m%dT%H%M%SZ}-aaaaaa", begun)
        key = f"{prefix}/{made['id']}/database/toc.dat"
        etag = s3.put_object(Bucket=bucket, Key=key, Body=b"a" * size)["ETag"].strip('"')
        made["objects"] = [{**made["objects"][0], "key": key, "size": size, "checksum": "", "etag": etag}]
        s3.put_object(Bucket=bucket, Key=f"{prefix}/{made['id']}/{store.NAME}", Body=json.dumps(made).encode())
    ledger.append(
        *(storage, environment, "drill"),
        actor="ada",
        run_id="r1",
        subjects=[],
        content={"recovery_point": made["id"], "engine": "logical", "worst_status": "ok"},
        signing_key=keys["signing_key_file"],
    )
    found = measured(storage, environment, public)
    # Three of them, made by hand, are in no record; none is due to be read back.
    assert found.pop("backups.kept_intact")[0] == "warning"
    assert found.pop("backups.kept_read")[0] == "ok"
    for id in ("backups.newest_age", "backups.clock:store", "backups.store_certificate"):
        assert found.pop(id)[0] == "ok"
    assert found == {
        "backups.newest_intact": ("ok", True),
        "backups.size_anomaly": ("critical", 100),
        "backups.files_anomaly": ("ok", 5),
        "backups.duration_anomaly": ("ok", 0),
        "backups.proven_restore": ("ok", 0.0),
    }
    with pytest.raises(StorageError):
        measured({**storage, "endpoint": "https://localhost:9", "max_attempts": 1}, environment, public)
