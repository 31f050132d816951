"""Records of one's own in the ledger, by the playbook that docs/evidence.md and docs/backup.md name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import lock as locks
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils.lock_keeper import holder

from tests.conftest import Playbook, Sandbox
from tests.unit.ledger_fixtures import predicate


def test_a_record_of_ones_own(platform: Sandbox, play: Callable[..., Playbook], tmp_path: Path) -> None:
    content = {"reason": "disk of the old store broke", "recovery_points": [{"id": "20261114T020002Z-07aa31"}]}
    given = tmp_path / "record.yml"
    given.write_text(json.dumps({"record_kind": "deletion", "record_content": content}))
    done = play("record", "-e", f"@{given}")
    assert done.returncode == 0, done.output
    (key,) = re.findall(r"evidence/local/\d{8}\.json", done.output)
    s3 = s3_storage.client(platform.storage)
    record = predicate(s3.get_object(Bucket=platform.storage["bucket"], Key=key)["Body"].read())
    assert (record["kind"], record["content"]) == ("deletion", content)
    assert record["actor"]
    assert re.fullmatch(r"\d{8}T\d{6}Z-record-[0-9a-f]{6}", record["run_id"])
    assert (done.artifacts / "ledger-local.jsonl").read_text(encoding="utf-8").count("\n") == 1


def test_the_lock_of_a_dead_run_is_released_and_recorded(
    platform: Sandbox, play: Callable[..., Playbook], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = locks._machine()
    monkeypatch.setattr(locks, "_machine", lambda: {**here, "host": "node 7", "machine": "lost"})
    given: dict[str, Any] = {"run_id": "r7", "owner_pid": 2**22 + 1, "storage": platform.storage, "ttl_s": 3600}
    locks.acquire(tmp_path / "elsewhere", "local", "weekly", **given)
    monkeypatch.undo()
    chosen = ("-e", "unlock_procedure=weekly", "-e", '{"unlock_reason": "node 7 was lost"}')
    looked = play("unlock", "--check", *chosen)
    assert "run r7 on node 7" in looked.output
    assert holder(looked.artifacts, "local", "weekly", storage=platform.storage)
    done = play("unlock", *chosen)
    assert done.returncode == 0, done.output
    (key,) = re.findall(r"evidence/local/\d{8}\.json", done.output)
    s3 = s3_storage.client(platform.storage)
    record = predicate(s3.get_object(Bucket=platform.storage["bucket"], Key=key)["Body"].read())
    assert (record["kind"], record["content"]["reason"]) == ("review", "node 7 was lost")
    assert [each["run_id"] for each in record["content"]["holders"]] == ["r7"]
    assert holder(done.artifacts, "local", "weekly", storage=platform.storage) == []
    # Nor is one taken from a run that lives.
    lock = locks.acquire(done.artifacts, "local", "weekly", **{**given, "owner_pid": os.getpid()})
    refused = play("unlock", *chosen)
    assert refused.returncode != 0
    assert "still runs here" in refused.output
    assert locks.release(lock, storage=platform.storage) == []
