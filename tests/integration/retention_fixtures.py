"""Small recovery points in a real store, with their records in a real ledger, and retention on them."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger import places
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import store
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import decided as retention
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import engine, findings, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import Sandbox
from tests.unit.ledger_fixtures import predicate, shared_client
from tests.unit.test_backup_judgement import point


class Points:
    """The recovery points of an environment of the test's own."""

    def __init__(self, storage: dict[str, Any], keys: dict[str, str]) -> None:
        self.storage, self.keys = storage, keys
        self.environment = f"tést {secrets.token_hex(4)}"
        self.prefix = store.prefix_of(storage, self.environment)
        self.s3 = shared_client(storage)
        self.bucket = storage["bucket"]

    def put(self, run_id: str, name: str, body: bytes = b"abc", **lock: Any) -> dict[str, Any]:
        """An object of a run, as its recovery point names it."""
        key = f"{self.prefix}/{run_id}/{name}"
        etag = self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **lock)["ETag"].strip('"')
        digest = hashlib.sha256(body).hexdigest()
        return {"key": key, "size": len(body), "sha256": digest, "role": "data", "checksum": "", "etag": etag}

    def id(self, days: float) -> str:
        return f"{datetime.now(UTC) - timedelta(days=days):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"

    def make(
        self,
        days: float,
        *,
        verified: bool | None = True,
        proven: bool = False,
        system: str = "7",
        also: tuple[dict[str, Any], ...] = (),
        **lock: Any,
    ) -> str:
        """A recovery point of some days ago, with the records that its backup and its drill left.

        :param verified: None for no record
        :param also: entries of objects of others that it refers to
        """
        run_id = self.id(days)
        entries = [self.put(run_id, f"database/{name}", **lock) for name in ("toc.dat", "3456.dat.gz")]
        content = point(run_id, datetime.now(UTC) - timedelta(days=days))
        content["database"]["system_identifier"] = system
        content["objects"] = [*entries, *also]
        self.seal(run_id, content, **lock)
        if verified is not None:
            self.record("backup", run_id, {"id": run_id, "verified": verified})
        if proven:
            self.record("drill", run_id, {"recovery_point": run_id, "worst_status": "ok"})
        return run_id

    def seal(self, run_id: str, content: dict[str, Any], **lock: Any) -> None:
        self.put(run_id, store.NAME, json.dumps(content).encode(), **lock)

    def record(self, kind: str, run_id: str, content: dict[str, Any]) -> None:
        key = f"{self.prefix}/{run_id}/{store.NAME}"
        digest = hashlib.sha256(self.read(key)).hexdigest()
        self.append([{"name": key, "digest": {"sha256": digest}}], content, kind=kind)

    def append(
        self, subjects: list[dict[str, Any]], content: dict[str, Any], *, kind: str = "deletion", **changes: Any
    ) -> int:
        record = ledger.append(
            *(self.storage, self.environment, kind),
            actor="ada",
            run_id="r1",
            subjects=subjects,
            content=content,
            **{"signing_key": self.keys["signing_key_file"], **changes},
        )
        return int(record["number"])

    def read(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body

    def records(self) -> list[dict[str, Any]]:
        """What the ledger says of deletions, oldest first."""
        prefix = f"evidence/{self.environment}/"
        listing = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        found = [predicate(self.read(entry["Key"])) for entry in listing]
        return [each for each in found if each["kind"] == "deletion"]

    def listed(self) -> dict[str, int]:
        """Run -> number of current objects."""
        found: dict[str, int] = {}
        for entry in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + "/").get("Contents", []):
            name = entry["Key"][len(self.prefix) + 1 :].split("/")[0]
            found[name] = found.get(name, 0) + 1
        return found

    def versions(self, run_id: str) -> list[dict[str, Any]]:
        """Versions and delete markers of a run."""
        page = self.s3.list_object_versions(Bucket=self.bucket, Prefix=f"{self.prefix}/{run_id}/")
        return [*page.get("Versions", []), *page.get("DeleteMarkers", [])]

    def options(self, **changes: Any) -> dict[str, Any]:
        given = {
            "storage": self.storage,
            "environment_name": self.environment,
            "evidence": {"signing_key_file": self.keys["signing_key_file"]},
            "rules": {"keep_last": 2},
            **changes,
        }
        result = ArgumentSpecValidator(options.SPEC).validate(given)
        assert not result.error_messages
        validated: dict[str, Any] = result.validated_parameters
        return validated

    def retain(
        self, *, append: Callable[..., int] | None = None, **changes: Any
    ) -> tuple[dict[str, Any], retention.Done, Check]:
        """Decides and deletes: the plan, what was done, and the check."""
        chosen = self.options(**changes)
        decided = engine.decide(chosen)
        done = engine.carry_out(chosen, decided, append or self.append)
        ((check,), (self.action,)) = findings.findings(decided, chosen, done, "2026-11-24T00:00:00Z")
        return findings.described(decided, chosen), done, check


@pytest.fixture
def points(platform: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Points:
    monkeypatch.setattr(places, "client", shared_client)
    monkeypatch.setattr(engine, "client", shared_client)
    evidence: dict[str, str] = platform.state["evidence"]
    return Points(platform.storage, evidence)


@pytest.fixture
def unversioned(points: Points) -> Points:
    """The same in a bucket that keeps no versions and cannot lock."""
    bucket = f"plain-{secrets.token_hex(4)}"
    points.s3.create_bucket(Bucket=bucket)
    return Points({**points.storage, "bucket": bucket}, points.keys)


def locked(days: float = 1) -> dict[str, Any]:
    until = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
    return {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}


def why(plan: dict[str, Any], run_id: str) -> str:
    """The reasons of a recovery point's fate."""
    (found,) = [each for each in plan["recovery_points"] if each["id"] == run_id]
    return ", ".join(found["reasons"])


__all__ = ["Points", "locked", "points", "unversioned", "why"]
