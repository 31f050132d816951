"""Records of one's own in the ledger, by the playbook that docs/evidence.md and docs/backup.md name."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import lock as locks
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils.lock_keeper import holder

from tests.conftest import ROOT, Playbook, Sandbox
from tests.unit.ledger_fixtures import download, make_key, predicate, verify


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


def test_a_changed_key_is_recorded_as_documented(
    platform: Sandbox, play: Callable[..., Playbook], tmp_path: Path
) -> None:
    """Step 3 of docs/evidence.md, with the public keys as text, as the inventories have them."""
    text = (ROOT / "docs/evidence.md").read_text(encoding="utf-8").split("## Change the key")[1]
    (command,) = re.findall(r"ansible-playbook -i inventories/production playbooks/record.yml (.*)", text)
    old, new = (make_key(tmp_path, name) for name in ("old", "new"))
    keyid = verify("--key-id", new[1]).stdout.strip()
    variables = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    (tmp_path / "rotation.yml").write_text(re.sub(r"new_keyid: \w+", f"new_keyid: {keyid}", textwrap.dedent(variables)))
    arguments = command.replace("@rotation.yml", f"@{tmp_path / 'rotation.yml'}").split()
    for private, keys in ((old[0], [old[1]]), (new[0], [new[1], old[1]])):
        evidence = {"signing_key_file": str(private), "trusted_key_files": [key.read_text() for key in keys]}
        given = {"tradingflow_environment": "rotated", "tradingflow_evidence": evidence}
        done = play("record", "-e", json.dumps(given), *arguments)
        assert done.returncode == 0, done.output
    s3, bucket = s3_storage.client(platform.storage), platform.storage["bucket"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="evidence/rotated/")["Contents"]
    bodies = {each["Key"]: s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in listed}
    assert [predicate(body)["content"]["new_keyid"] for body in bodies.values()] == [keyid, keyid]
    fixed = ("--directory", download(bodies, tmp_path / "records"), "--environment", "rotated")
    both = verify(*fixed, "--public-key", old[1], "--public-key", new[1])
    assert both.returncode == 0, both.stdout
    assert verify(*fixed, "--public-key", new[1]).returncode == 1


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
