"""The verifier, as an auditor runs it on downloaded records."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger import places, record

from tests.ci import verifier
from tests.unit.ledger_fixtures import (
    STORAGE,
    MemoryStore,
    download,
    make_key,
    predicate,
    verify,
    verify_alone,
)


class Ledger:
    """Five records, as a folder, with witness and public key."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.private, self.public = make_key(folder)
        self.witness = folder / "ledger-production.jsonl"
        self.memory = MemoryStore()
        monkeypatch.setattr(places, "client", lambda storage, pool=10: self.memory)
        for _ in range(5):
            self.append()
        self.records = self.save("records")

    def append(self, environment: str = "production", **changes: Any) -> dict[str, Any]:
        options = {
            "actor": "ada",
            "run_id": "r1",
            "subjects": [],
            "content": {"n": 1},
            "signing_key": self.private,
            "trusted_keys": [self.public],
            "witness": self.witness,
            **changes,
        }
        return ledger.append(STORAGE, environment, "run", **options)

    def save(self, name: str) -> Path:
        return download(self.memory.objects, self.folder / name)

    def file(self, number: int) -> Path:
        return self.records / f"{number:08d}.json"

    def verify(self, *arguments: str | Path, environment: str = "production") -> subprocess.CompletedProcess[str]:
        fixed = ("--directory", self.records, "--environment", environment, "--public-key", self.public)
        return verify(*fixed, *arguments)

    def witnessed(self) -> subprocess.CompletedProcess[str]:
        return self.verify("--witness", self.witness)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    return Ledger(tmp_path, monkeypatch)


def assert_found(done: subprocess.CompletedProcess[str], *messages: str) -> None:
    """Tampered, each message on a line of its own, the verdict on the last, and nothing went wrong."""
    assert done.stderr == ""
    assert done.returncode == 1, done.stdout
    lines = done.stdout.splitlines()
    for message in messages:
        assert any(line.startswith(f"TAMPERED: {message}") for line in lines), done.stdout
    assert len([line for line in lines[:-1] if line.startswith("TAMPERED")]) == len(messages), done.stdout
    assert lines[-1].startswith("TAMPERED: ")


def test_a_good_ledger(written: Ledger) -> None:
    done = written.witnessed()
    assert (done.returncode, done.stderr) == (0, "")
    newest = record.digest(written.file(5).read_bytes())
    assert done.stdout.splitlines()[-1].startswith("OK: 5 records of production, 1 to 5, newest ")
    assert newest in done.stdout
    found = json.loads(written.verify("--json").stdout)
    assert (found["verdict"], found["records"], found["problems"]) == ("ok", 5, [])
    assert found["head"]["digest"] == newest
    assert any("versions" in each for each in found["unchecked"])


def test_one_bit(written: Ledger) -> None:
    """In the middle and at both ends of the first, a middle and the last record."""
    for number in (1, 3, 5):
        data = written.file(number).read_bytes()
        for place in (0, len(data) // 2, len(data) - 1):
            written.file(number).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            assert_found(written.verify(), f"record {number}: ")
        written.file(number).write_bytes(data)
    assert written.verify().returncode == 0


def test_swapped(written: Ledger) -> None:
    two, three = written.file(2).read_bytes(), written.file(3).read_bytes()
    written.file(2).write_bytes(three)
    written.file(3).write_bytes(two)
    assert_found(
        written.verify(), "record 2: it is record 3, put in another's place", "record 3: it is record 2, put in"
    )


def test_removed_from_the_middle(written: Ledger) -> None:
    written.file(3).unlink()
    assert_found(written.verify(), "record 3: it is missing")
    written.file(2).unlink()
    assert_found(written.verify(), "record 2: records 2 to 3 are missing")
    written.file(1).unlink()
    assert_found(written.verify(), "record 1: records 1 to 3 are missing")


def test_removed_from_the_end(written: Ledger) -> None:
    written.file(5).unlink()
    written.file(4).unlink()
    # No chain can show this. That is what the witness is for.
    assert written.verify().returncode == 0
    assert_found(written.witnessed(), f"record 4: records 4 to 5 are missing, the newest ones: {written.witness} saw")


def test_all_removed(written: Ledger) -> None:
    for number in range(1, 6):
        written.file(number).unlink()
    assert_found(written.witnessed(), "record 1: records 1 to 5 are missing")
    assert written.verify().returncode == 3


def test_rewritten_by_another_key(written: Ledger, tmp_path: Path) -> None:
    private, public = make_key(tmp_path, "other")
    written.memory.objects.clear()
    for _ in range(5):
        written.append(signing_key=private, trusted_keys=[public], witness=None)
    written.records = written.save("forged")
    assert_found(written.verify(), *(f"record {number}: it is signed by key " for number in range(1, 6)))
    assert verify("--directory", written.records, "--environment", "production", "--public-key", public).returncode == 0


def test_rewritten_by_the_same_key(written: Ledger) -> None:
    """By whoever stole the key, or an insider who has it. The witness remembers what there was."""
    written.memory.objects.clear()
    for _ in range(5):
        written.append(witness=None, content={"n": 2})
    written.records = written.save("forged")
    assert written.verify().returncode == 0
    assert_found(written.witnessed(), *(f"record {number}: it is not the record that" for number in range(1, 6)))


def test_tail_rewritten_by_the_same_key(written: Ledger) -> None:
    for number in (3, 4, 5):
        del written.memory.objects[f"here/evidence/production/{number:08d}.json"]
    written.append(witness=None)
    written.file(3).write_bytes(written.memory.objects["here/evidence/production/00000003.json"])
    assert_found(written.verify(), "record 4: it does not follow on record 3")


def test_record_of_another_environment(written: Ledger) -> None:
    written.append("staging", witness=None)
    written.file(1).write_bytes(written.memory.objects["here/evidence/staging/00000001.json"])
    assert_found(written.verify(), "record 1: it belongs to the environment 'staging', not 'production'")
    assert written.verify(environment="staging").returncode == 1


def test_clock_that_went_back_is_a_warning(written: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "utc_now", lambda: "2020-01-01T00:00:00Z")
    written.append()
    written.records = written.save("records")
    done = written.witnessed()
    assert done.returncode == 0
    assert "WARNING: record 6: it is of 2020-01-01T00:00:00Z, the one before of " in done.stdout
    assert "WARNING: record 6: its writer's clock said 2020-01-01T00:00:00Z, the store's" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(", 2 warnings")


def test_rotation(written: Ledger, tmp_path: Path) -> None:
    private, public = make_key(tmp_path, "new")
    written.append(signing_key=private, trusted_keys=[written.public, public])
    written.records = written.save("records")
    assert written.verify("--public-key", public, "--witness", written.witness).returncode == 0
    assert_found(written.verify(), "record 6: it is signed by key ")


def test_strangers_are_a_warning(written: Ledger) -> None:
    (written.records / "notes.txt").write_text("x")
    done = written.verify()
    assert done.returncode == 0
    assert "WARNING: ledger: notes.txt is in the ledger's place and is not a record" in done.stdout


def test_number_from_nowhere(written: Ledger) -> None:
    """Must not count up to it."""
    (written.records / "99999999.json").write_bytes(written.file(5).read_bytes())
    assert_found(
        written.verify(),
        "record 6: records 6 to 99999998 are missing",
        "record 99999999: it is record 5, put in another's place",
    )


# Witnesses and reports


def test_damaged_witness_line_is_a_warning(written: Ledger) -> None:
    with written.witness.open("a") as stream:
        stream.write('{"number": 6, "dig')
    done = written.witnessed()
    assert done.returncode == 0
    assert "WARNING: ledger: line 6 of" in done.stdout


def report(written: Ledger, text: str) -> Path:
    """A run's report, recorded, with the evidence.json beside it."""
    path = written.folder / "run" / "report.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    subject = {"name": "report.json", "digest": {"sha256": record.digest(path.read_bytes())}}
    path.with_name("evidence.json").write_text(json.dumps(written.append(subjects=[subject], witness=None)))
    written.records = written.save("records")
    return path


def test_report(written: Ledger) -> None:
    path = report(written, '{"worst_status": "critical"}')
    assert written.verify("--report", path).returncode == 0
    assert written.verify("--witness", path.with_name("evidence.json")).returncode == 0
    path.write_text('{"worst_status": "ok"}')
    assert_found(written.verify("--report", path), f"record 6: {path} is not what it was when it was recorded")
    written.file(6).unlink()
    assert_found(written.verify("--report", path), "record 6: it is missing, the newest ones")
    assert_found(written.verify("--witness", path.with_name("evidence.json")), "record 6: it is missing")


# What cannot be verified


@pytest.mark.parametrize("case", ["folder", "public key", "witness", "report", "empty"])
def test_unreadable_is_unknown(written: Ledger, tmp_path: Path, case: str) -> None:
    gone = tmp_path / "gone"
    (tmp_path / "empty").mkdir()
    options: dict[str, list[str | Path]] = {
        "--directory": [written.records],
        "--environment": ["production"],
        "--public-key": [written.public],
    }
    name = {"folder": "--directory", "public key": "--public-key", "witness": "--witness", "report": "--report"}
    options[name.get(case, "--directory")] = [tmp_path / "empty" if case == "empty" else gone]
    done = verify(*(part for option, values in options.items() for part in (option, *values)))
    assert (done.returncode, done.stderr) == (3, "")
    assert "UNKNOWN: the ledger could not be verified" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout
    if case != "empty":
        assert "gone" in done.stdout


def test_empty_witness_is_unknown(written: Ledger) -> None:
    """Nothing was compared: that is no agreement."""
    written.witness.write_text("")
    assert written.witnessed().returncode == 3


def test_command_line_mistakes(written: Ledger) -> None:
    for arguments in ((), ("--directory", written.records), ("--s3", "--environment", "x", "--public-key", "y")):
        done = verify(*arguments)
        assert done.returncode == 2
        assert "usage:" in done.stderr


def test_the_parts_are_those_of_the_collection() -> None:
    text = verifier.VERIFIER.read_text(encoding="utf-8")
    assert verifier.bundled(text) == text, "run .venv/bin/python -m tests.ci.verifier"


def test_copied_alone(written: Ledger, tmp_path: Path) -> None:
    """To an auditor: one file, elsewhere, without the collection."""
    place = tmp_path / "auditor"
    place.mkdir()
    alone = shutil.copy(verifier.VERIFIER, place / "v.py")
    fixed = ("--directory", written.records, "--environment", "production", "--public-key", written.public)

    def run(*more: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", alone, *fixed, *more]
        return subprocess.run(list(map(str, command)), cwd=place, env={}, capture_output=True, text=True)

    done = run("--witness", written.witness)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no witness" not in done.stdout
    written.file(3).unlink()
    assert run().returncode == 1
    # Whatever else goes wrong is not said as if it had been altered.
    code = f"import runpy, sys; sys.modules['cryptography'] = None; sys.argv = {list(map(str, (alone, *fixed)))!r}; "
    code += f"runpy.run_path({str(alone)!r}, run_name='__main__')"
    lacking = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert lacking.returncode == 3, lacking.stderr
    assert "cryptography" in lacking.stdout


def test_a_failure_of_its_own_is_no_alteration(written: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "iterdir", lambda _self: 1 / 0)
    done = written.verify()
    assert done.returncode == 3
    assert "This verifier failed, ZeroDivisionError" in done.stdout


def test_says_what_no_witness_speaks_for(written: Ledger) -> None:
    done = written.verify()
    assert "not checked: whether the newest records are there: no witness was given (--witness)" in done.stdout
    done = written.witnessed()
    assert "newest records" not in done.stdout
    lines = written.witness.read_text().splitlines(keepends=True)
    written.witness.write_text("".join(lines[:2]))
    assert "the witness saw none after 2, the ledger goes on to 5" in written.witnessed().stdout


def test_key_id(written: Ledger) -> None:
    expected = written.append(check_mode=True)["keyid"]
    for key in (written.public, written.private):
        assert verify("--key-id", key).stdout.strip() == expected


def test_runs_as_a_program_without_ansible_or_boto3(written: Ledger) -> None:
    arguments = ("--directory", written.records, "--environment", "production", "--public-key", written.public)
    done = verify_alone(*arguments, without=("boto3", "botocore", "module_utils.storage"))
    assert (done.returncode, done.stderr) == (0, "")
    written.file(3).unlink()
    assert verify_alone(*arguments).returncode == 1


def test_one_record_by_hand_with_openssl(written: Ledger, tmp_path: Path) -> None:
    """The commands of docs/evidence.md."""
    text = (Path(__file__).parents[2] / "docs/evidence.md").read_text(encoding="utf-8")
    section = text.split("## One record by hand")[1]
    script = section.split("```sh\n")[1].split("```")[0]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )

    (tmp_path / "evidence.pub").write_bytes(written.public.read_bytes())
    data = written.file(2).read_bytes()
    (tmp_path / "00000002.json").write_bytes(data)
    (tmp_path / "00000001.json").write_bytes(written.file(1).read_bytes())
    done = run()
    assert done.returncode == 0, done.stderr
    assert "Signature Verified Successfully" in done.stdout
    assert predicate(data)["previous"] in done.stdout
    assert done.stdout.count(predicate(data)["previous"]) == 2
    envelope = json.loads(data)
    other = json.loads(written.file(3).read_bytes())
    (tmp_path / "00000002.json").write_bytes(record.encoded({**envelope, "payload": other["payload"]}))
    assert run().returncode != 0


def test_records_of_a_ledger_that_was_replaced_are_one_line(written: Ledger) -> None:
    """A sandbox that was taken down and up has new keys, and its witness goes on in the same file."""
    old = [{"number": number, "digest": "0" * 64, "keyid": "gone"} for number in range(3, 45)]
    text = "".join(json.dumps(line) + "\n" for line in old)
    ours = written.witness.read_text()
    written.witness.write_text(text + ours)
    done = written.witnessed()
    warnings = [line for line in done.stdout.splitlines() if "not trusted" in line]
    assert len(warnings) == 1, done.stdout
    assert "42 records (3 to 44) signed by a key that is not trusted" in warnings[0]
    written.witness.write_text(json.dumps(old[0]) + "\n" + ours)
    assert "record 3 signed by a key" in written.witnessed().stdout
