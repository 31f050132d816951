"""What the tests of the ledger share: keys, a store in memory that misbehaves on request, the verifier."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.conftest import COLLECTION

VERIFIER = COLLECTION / "scripts/ledger_verify.py"
STORAGE = {"bucket": "ledger", "prefix": "here", "endpoint": "http://store.invalid"}


def make_key(folder: Path, name: str = "evidence") -> tuple[Path, Path]:
    """A private and a public key, made as docs/evidence.md says."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    old = os.umask(0o077)
    try:
        subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519", "-out", private], check=True)
    finally:
        os.umask(old)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def run_script(script: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs one of the collection's scripts in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = runpy.run_path(str(script))["main"]([str(each) for each in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())


def verify(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the verifier in this process."""
    return run_script(VERIFIER, *arguments)


def verify_alone(
    *arguments: str | Path, without: tuple[str, ...] = (), environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the verifier as a program where there is no Ansible, nor the other modules named."""
    blocked = {"ansible": None, "ansible_collections": None, **dict.fromkeys(without)}
    start = f"import runpy, sys; sys.modules.update({blocked}); runpy.run_path({str(VERIFIER)!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-I", "-c", start, *map(str, arguments)],
        env={"PATH": os.environ["PATH"], **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )


_CLIENTS: dict[str, Any] = {}


def shared_client(store: dict[str, Any], *, pool: int = 10) -> Any:
    """storage.client, made once: making one takes longer than most requests."""
    identity = json.dumps({name: value for name, value in store.items() if name not in ("bucket", "prefix")})
    if identity not in _CLIENTS:
        _CLIENTS[identity] = storage.client(store, pool=20)
    return _CLIENTS[identity]


class MemoryStore:
    """As much of an S3 client as the ledger uses. ``faults`` are called before and after each put."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.retention: dict[str, dict[str, Any]] = {}
        self.holds: dict[str, str] = {}
        self.now = datetime.now(UTC)
        self.calls: list[str] = []
        self.puts: list[dict[str, Any]] = []
        self.before_put: list[Callable[[], None]] = []
        self.after_put: list[Callable[[], None]] = []
        self.honours_conditions = True
        self.object_lock = True

    def answer(self, **values: Any) -> dict[str, Any]:
        headers = {"date": format_datetime(self.now, usegmt=True)}
        return {"ResponseMetadata": {"HTTPHeaders": headers}, **values}

    def list_objects_v2(self, *, Bucket: str, Prefix: str, MaxKeys: int = 1000, **options: str) -> dict[str, Any]:
        self.calls.append("list")
        after = options.get("ContinuationToken") or options.get("StartAfter") or ""
        keys = [key for key in self.keys() if key.startswith(Prefix) and key > after]
        more: dict[str, Any] = {"IsTruncated": len(keys) > MaxKeys}
        if more["IsTruncated"]:
            more["NextContinuationToken"] = keys[MaxKeys - 1]
        return self.answer(Contents=[{"Key": key} for key in keys[:MaxKeys]], **more)

    def keys(self) -> list[str]:
        return sorted(self.objects)

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self.calls.append("get")
        if Key not in self.objects:
            raise error("NoSuchKey", 404)
        return self.answer(Body=io.BytesIO(self.objects[Key]))

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **options: Any) -> dict[str, Any]:
        self.calls.append("put")
        self.puts.append(options)
        if self.before_put:
            self.before_put.pop(0)()
        if self.honours_conditions and options.get("IfNoneMatch") == "*" and Key in self.objects:
            raise error("PreconditionFailed", 412)
        self.objects[Key] = Body
        if "ObjectLockMode" in options:
            self.retention[Key] = {
                "Mode": options["ObjectLockMode"],
                "RetainUntilDate": options["ObjectLockRetainUntilDate"],
            }
        self.holds[Key] = options.get("ObjectLockLegalHoldStatus", "OFF")
        if self.after_put:
            self.after_put.pop(0)()
        return self.answer()

    def get_object_lock_configuration(self, *, Bucket: str) -> dict[str, Any]:
        if not self.object_lock:
            raise error("ObjectLockConfigurationNotFoundError", 404)
        return self.answer(ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})

    def get_object_retention(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        if Key not in self.retention:
            raise error("NoSuchObjectLockConfiguration", 404)
        return self.answer(Retention=self.retention[Key])

    def get_object_legal_hold(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        return self.answer(LegalHold={"Status": self.holds[Key]})


def error(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject"
    )


def lost() -> None:
    """The request went on its way and no answer came back."""
    raise ReadTimeoutError(endpoint_url="http://store.invalid")


def download(records: dict[str, bytes], folder: Path) -> Path:
    """Records as an auditor downloads them."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, data in records.items():
        (folder / key.rsplit("/", 1)[-1]).write_bytes(data)
    return folder


def predicate(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(data)["payload"]))["predicate"]
    return found


def reviews(options: dict[str, Any], run_id: str) -> list[dict[str, Any]]:
    """Contents of a run's records of kind review, in the ledger of "local".

    :param options: the option "storage"
    """
    s3, bucket = storage.client(options), options["bucket"]
    below = f"{options['prefix']}/" if options.get("prefix") else ""
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{below}evidence/local/")["Contents"]
    records = [predicate(s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()) for each in listed]
    return [each["content"] for each in records if each["run_id"] == run_id and each["kind"] == "review"]
