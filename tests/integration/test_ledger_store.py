"""The ledger in a real S3 store: versions, locks, several writers, and the module that appends to it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger, storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger import places
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import EvidenceError, StorageError
from botocore.exceptions import ClientError, HTTPClientError
from botocore.httpsession import URLLib3Session

from tests import ready
from tests.conftest import ROOT, Sandbox
from tests.unit.ledger_fixtures import make_key, predicate, shared_client, verify, verify_alone


class Ledger:
    """A ledger of a test's own."""

    def __init__(self, store: dict[str, Any], folder: Path) -> None:
        self.store = {**store, "prefix": f"tést {secrets.token_hex(4)}"}
        self.private, self.public = make_key(folder)
        self.witness = folder / "ledger-production.jsonl"
        self.s3 = storage.client(self.store)

    def append(self, **changes: Any) -> dict[str, Any]:
        options: dict[str, Any] = {
            "actor": "ada",
            "run_id": "r1",
            "subjects": [],
            "content": {},
            "signing_key": self.private,
            "trusted_keys": [self.public],
            "witness": self.witness,
            **changes,
        }
        return ledger.append(options.pop("store", self.store), "production", "run", **options)

    def key(self, number: int) -> str:
        return f"{self.store['prefix']}/evidence/production/{number:08d}.json"

    def read(self, number: int) -> bytes:
        data: bytes = self.s3.get_object(Bucket=self.store["bucket"], Key=self.key(number))["Body"].read()
        return data

    def put(self, number: int, data: bytes) -> None:
        self.s3.put_object(Bucket=self.store["bucket"], Key=self.key(number), Body=data)

    def delete(self, number: int) -> None:
        self.s3.delete_object(Bucket=self.store["bucket"], Key=self.key(number))

    def arguments(self) -> list[str | Path]:
        fixed = ["--s3", "--environment", "production", "--public-key", str(self.public), "--addressing-style", "path"]
        for name in ("bucket", "prefix", "endpoint", "ca_file"):
            fixed += [f"--{name.replace('_', '-')}", self.store[name]]
        return [*fixed]

    def verify(
        self, *arguments: str | Path, run: Callable[..., subprocess.CompletedProcess[str]] = verify
    ) -> subprocess.CompletedProcess[str]:
        return run(*self.arguments(), *arguments)

    def assert_tampered(self, *messages: str) -> None:
        done = self.verify("--witness", self.witness)
        assert (done.returncode, done.stderr) == (1, ""), done.stdout
        for message in messages:
            assert f"TAMPERED: {message}" in done.stdout, done.stdout

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.store["access_key"], "AWS_SECRET_ACCESS_KEY": self.store["secret_key"]}


@pytest.fixture
def mine(platform: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(places, "client", shared_client)
    made = Ledger(platform.storage, tmp_path)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def plain_bucket(mine: Ledger) -> Iterator[Ledger]:
    """A ledger in a bucket without versions and object lock."""
    mine.store["bucket"] = name = f"plain-{secrets.token_hex(4)}"
    mine.s3.create_bucket(Bucket=name)
    yield mine
    for entry in mine.s3.list_objects_v2(Bucket=name).get("Contents", []):
        mine.s3.delete_object(Bucket=name, Key=entry["Key"])
    mine.s3.delete_bucket(Bucket=name)


def test_locked_records_as_an_auditor_sees_them(mine: Ledger) -> None:
    for mode in ("governance", "compliance"):
        done = mine.append(lock_mode=mode, lock_days=1)
        assert done["notes"] == []
        head = mine.s3.head_object(Bucket=mine.store["bucket"], Key=done["key"])
        assert head["ObjectLockMode"] == mode.upper()
        assert timedelta(hours=23) < head["ObjectLockRetainUntilDate"] - datetime.now(UTC) < timedelta(hours=25)
        with pytest.raises(ClientError, match="AccessDenied"):
            mine.s3.delete_object(Bucket=mine.store["bucket"], Key=done["key"], VersionId=head["VersionId"])
    found = verify_alone(*mine.arguments(), "--witness", mine.witness, environment=mine.environment)
    assert (found.returncode, found.stderr) == (0, ""), found.stdout
    assert found.stdout.startswith("OK: 2 records of production, 1 to 2")
    assert len(found.stdout.splitlines()) == 1


def test_replaced_and_put_back(mine: Ledger) -> None:
    for _ in range(3):
        mine.append()
    good = mine.read(2)
    mine.put(2, good.replace(b"a", b"b"))
    mine.assert_tampered("record 2: it was written 2 times", "record 2: it is not the record that")
    mine.put(2, good)
    mine.assert_tampered("record 2: it was written 3 times")


def test_deleted_and_put_back(mine: Ledger) -> None:
    for _ in range(3):
        mine.append()
    good = mine.read(2)
    mine.delete(2)
    mine.assert_tampered("record 2: it was deleted", "record 2: it is missing")
    mine.put(2, good)
    mine.assert_tampered("record 2: it was deleted", "record 2: it was written 2 times")


def test_end_deleted(mine: Ledger) -> None:
    for _ in range(3):
        mine.append()
    mine.delete(3)
    with pytest.raises(EvidenceError, match="the newest records are gone"):
        mine.append()
    mine.assert_tampered("record 3: it is missing, the newest ones", "record 3: it was deleted")
    # A controller without a witness goes on; the bucket remembers.
    mine.append(witness=None)
    mine.assert_tampered("record 3: it was written 2 times", "record 3: it is not the record that")


def test_all_deleted(mine: Ledger) -> None:
    mine.append()
    mine.append()
    mine.delete(1)
    mine.delete(2)
    mine.assert_tampered("record 1: records 1 to 2 are missing", "record 2: it was deleted")


def test_lock_taken_off(mine: Ledger) -> None:
    done = mine.append(lock_mode="governance", lock_days=2)
    place = {"Bucket": mine.store["bucket"], "Key": done["key"]}
    weaker = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(hours=1)}
    mine.s3.put_object_retention(**place, Retention=weaker, BypassGovernanceRetention=True)
    found = mine.verify()
    assert found.returncode == 0
    assert "WARNING: record 1: the store's lock on it is weaker than signed: GOVERNANCE until" in found.stdout


def test_bucket_without_lock_and_versions(plain_bucket: Ledger) -> None:
    done = plain_bucket.append(lock_mode="compliance", lock_days=3)
    assert "no object lock" in done["notes"][0]
    plain_bucket.append()
    found = plain_bucket.verify("--witness", plain_bucket.witness)
    assert (found.returncode, found.stderr) == (0, "")
    assert "not checked: versions (the bucket keeps no versions)" in found.stdout
    plain_bucket.delete(2)
    plain_bucket.assert_tampered("record 2: it is missing")


def chain(mine: Ledger, count: int) -> list[dict[str, Any]]:
    done = mine.verify("--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["records"], found["problems"]) == (0, count, [])
    return [predicate(mine.read(number)) for number in range(1, count + 1)]


def test_ten_writers_at_once(mine: Ledger) -> None:
    start = threading.Barrier(10)
    results: list[dict[str, Any]] = []

    def run(name: str) -> None:
        start.wait()
        for index in range(2):
            results.append(mine.append(run_id=f"{name} {index}"))

    threads = [threading.Thread(target=run, args=(f"w{number}",)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = chain(mine, 20)
    assert {each["run_id"] for each in found} == {f"w{number} {index}" for number in range(10) for index in range(2)}
    assert sorted(each["number"] for each in results) == list(range(1, 21))
    assert mine.verify("--witness", mine.witness).returncode == 0


def test_two_machines_at_once(mine: Ledger, tmp_path: Path) -> None:
    """Processes of their own with witnesses of their own."""
    program = (
        "import json, sys; sys.path[:0] = sys.argv[1:3]; from pathlib import Path\n"
        "from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger\n"
        "store, options = json.loads(sys.stdin.readline())\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "options['witness'] = Path(options['witness'])\n"
        "for _ in range(5): ledger.append(store, 'production', 'run', **options)\n"
    )
    running = []
    for name in ("a", "b"):
        options: dict[str, Any] = {
            "actor": name,
            "run_id": name,
            "subjects": [],
            "content": {},
            "signing_key": str(mine.private),
            "trusted_keys": [str(mine.public)],
            "witness": str(tmp_path / name / "witness.jsonl"),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", program, ROOT, ROOT / "collections"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin
        process.stdin.write(json.dumps([mine.store, options]) + "\n")
        process.stdin.flush()
        running.append(process)
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    assert [(process.communicate(timeout=300), process.returncode)[1] for process in running] == [0, 0]
    found = chain(mine, 10)
    assert sorted(each["run_id"] for each in found) == ["a"] * 5 + ["b"] * 5
    for name in ("a", "b"):
        assert mine.verify("--witness", tmp_path / name / "witness.jsonl").returncode == 0


def test_answer_lost_on_the_way(mine: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store takes the record, its answer never arrives, and the SDK tries again."""
    send, lost = URLLib3Session.send, list[int]()

    def losing(self: Any, request: Any) -> Any:
        answer = send(self, request)
        if request.method == "PUT" and not lost:
            lost.append(answer.status_code)
            raise HTTPClientError(error=OSError("connection reset"))
        return answer

    monkeypatch.setattr(URLLib3Session, "send", losing)
    done = mine.append()
    assert lost == [200]
    assert done["number"] == 1
    chain(mine, 1)


@pytest.mark.parametrize("trouble", ["down", "secret key", "access key", "bucket", "ca"])
def test_store_in_trouble(mine: Ledger, tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mine.append()
    (tmp_path / "ca.pem").write_bytes(make_ca(tmp_path))
    changes: dict[str, dict[str, Any]] = {
        "down": {"endpoint": "https://localhost:1", "max_attempts": 1},
        "secret key": {"secret_key": "wrong-secret-of-mine"},
        "access key": {"access_key": "AKWRONG"},
        "bucket": {"bucket": "there-is-none"},
        "ca": {"ca_file": str(tmp_path / "ca.pem"), "max_attempts": 1},
    }
    secret = mine.store["secret_key"]
    mine.store.update(changes[trouble])
    with pytest.raises(StorageError) as caught:
        mine.append()
    assert caught.value.remedy
    for name, value in mine.environment.items():
        monkeypatch.setenv(name, value)
    done = mine.verify()
    assert (done.returncode, done.stderr) == (3, ""), done.stdout
    assert done.stdout.splitlines()[-1] == "UNKNOWN: the ledger could not be verified"
    for text in (str(caught.value), done.stdout):
        assert secret not in text
        assert "wrong-secret-of-mine" not in text


def make_ca(folder: Path) -> bytes:
    """A CA that signed nothing."""
    command = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "ca.key", "-out", "other.pem"]
    subprocess.run([*command, "-subj", "/CN=other"], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    return (folder / "other.pem").read_bytes()


# The module


@pytest.fixture
def module(mine: Ledger, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs one task of evidence_record: module("--check", kind="review")."""

    def run(*arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        options = {
            "storage": mine.store,
            "environment_name": "production",
            "kind": "incident",
            "run_id": "r1",
            "actor": "ada",
            "content": {"title": "Störung"},
            "signing_key": mine.private.read_text(),
            "trusted_key_files": [str(mine.public)],
            "lock_mode": "governance",
            "lock_days": 1,
            "witness": str(mine.witness),
            **changes,
        }
        task = {
            "name": "Record",
            "tradingflow.maintenance.evidence_record": {name: value for name, value in options.items() if value},
            "register": "done",
        }
        show = {"name": "Show", "ansible.builtin.debug": {"msg": "{{ 'DONE ' ~ (done | to_json) }}"}}
        play = [{"name": "Play", "hosts": "localhost", "gather_facts": False, "tasks": [task, show]}]
        path = tmp_path / "play.yml"
        path.write_text(yaml.safe_dump(play), encoding="utf-8")
        return ready.run(
            "playbook",
            ["-i", "localhost,", "-c", "local", str(path), *arguments],
            {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default", "ANSIBLE_NOCOLOR": "1"},
            timeout=600,
        )

    return run


def test_module(module: Callable[..., subprocess.CompletedProcess[str]], mine: Ledger) -> None:
    checked = module("--check", "--diff")
    assert checked.returncode == 0, checked.stdout
    assert "changed=1" in checked.stdout
    assert "Störung" in checked.stdout
    assert not mine.s3.list_objects_v2(Bucket=mine.store["bucket"], Prefix=mine.store["prefix"]).get("Contents")
    assert not mine.witness.exists()
    done = module("-vvv")
    assert done.returncode == 0, done.stdout
    (found,) = chain(mine, 1)
    assert (found["kind"], found["content"]) == ("incident", {"title": "Störung"})
    assert mine.verify("--witness", mine.witness).returncode == 0
    body = mine.private.read_text().splitlines()[1]
    for output in (checked.stdout, done.stdout):
        assert body not in output
        assert mine.store["secret_key"] not in output


def test_module_fails_clearly(module: Callable[..., subprocess.CompletedProcess[str]], mine: Ledger) -> None:
    mine.append()
    mine.delete(1)
    done = module("-vvv")
    assert done.returncode == 2
    assert "the newest records are gone" in done.stdout
    assert "docs/evidence.md" in done.stdout
    assert "Traceback" not in done.stdout
    assert mine.private.read_text().splitlines()[1] not in done.stdout
    mine.private.chmod(0o644)
    done = module(signing_key=None, signing_key_file=str(mine.private))
    assert done.returncode == 2
    assert "is open to others (mode 0644)" in done.stdout
