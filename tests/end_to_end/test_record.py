"""Records of one's own in the ledger, by the playbook that docs/evidence.md and docs/backup.md name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage

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
