"""The ledger on its own: records, keys, and appending to a store that misbehaves."""

from __future__ import annotations

import json
import stat
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger import keys, places, record
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import EvidenceError, StorageError
from jsonschema import Draft202012Validator, FormatChecker

from tests.conftest import COLLECTION
from tests.unit.ledger_fixtures import STORAGE, MemoryStore, error, lost, make_key, predicate

SCHEMA = json.loads((COLLECTION / "schemas/evidence-1.json").read_text())
SUBJECT = {"name": "report.json", "digest": {"sha256": "ab" * 32}}


class Writer:
    def __init__(self, pair: tuple[Path, Path], witness: Path) -> None:
        self.pair, self.witness = pair, witness

    def __call__(self, environment: str = "production", **changes: Any) -> dict[str, Any]:
        options: dict[str, Any] = {
            "actor": "ada",
            "run_id": "r1",
            "subjects": [SUBJECT],
            "content": {"worst_status": "ok"},
            "signing_key": self.pair[0],
            "trusted_keys": [self.pair[1]],
            "witness": self.witness,
            **changes,
        }
        return ledger.append(STORAGE, environment, options.pop("kind", "run"), **options)


@pytest.fixture
def write(store: MemoryStore, pair: tuple[Path, Path], tmp_path: Path) -> Writer:
    return Writer(pair, tmp_path / "ledger.jsonl")


def chain(store: MemoryStore) -> list[bytes]:
    """All records, each proven to follow on the one before."""
    found = [store.objects[key] for key in sorted(store.objects)]
    assert [predicate(data)["number"] for data in found] == list(range(1, len(found) + 1))
    previous = [None, *(record.digest(data) for data in found[:-1])]
    assert [predicate(data)["previous"] for data in found] == previous
    return found


def test_record_is_what_the_schema_says(store: MemoryStore, write: Writer) -> None:
    first = write(lock_mode="governance", lock_days=2)
    assert (first["number"], first["key"], first["notes"]) == (1, "here/evidence/production/00000001.json", [])
    second = write(kind="incident", subjects=[], content={"title": "Störung 100%", "loss": 1.5})
    assert second["number"] == 2
    found = chain(store)
    assert first["digest"] == record.digest(found[0])
    statement = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
    envelope = Draft202012Validator({"$ref": "#/$defs/envelope", "$defs": SCHEMA["$defs"]})
    for data in found:
        envelope.validate(json.loads(data))
        opened = record.open_record(
            data, keys.public_keys([write.pair[1]]), number=predicate(data)["number"], environment="production"
        )
        statement.validate(opened.statement)
    assert predicate(found[1])["content"] == {"title": "Störung 100%", "loss": 1.5}
    until = store.now.replace(microsecond=0) + timedelta(days=2)
    assert store.puts[0]["ObjectLockRetainUntilDate"] == until
    assert predicate(found[0])["retention"] == {"mode": "governance", "until": f"{until:%Y-%m-%dT%H:%M:%SZ}"}
    assert "ObjectLockMode" not in store.puts[1]
    lines = [json.loads(line) for line in write.witness.read_text().splitlines()]
    assert [(line["number"], line["digest"]) for line in lines] == [(1, first["digest"]), (2, second["digest"])]
    assert stat.S_IMODE(write.witness.stat().st_mode) == 0o600


def test_pae_is_dsse() -> None:
    assert record.pae(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"


def test_a_change_to_any_byte_shows(store: MemoryStore, write: Writer) -> None:
    write()
    (data,) = chain(store)
    trusted = keys.public_keys([write.pair[1]])

    def opens(changed: bytes) -> bool:
        try:
            record.open_record(changed, trusted, number=1, environment="production")
        except record.BadRecord:
            return False
        return True

    assert opens(data)
    for place in range(len(data)):
        for byte in {data[place] ^ 1, data[place] ^ 0x20, data[place] ^ 0x80}:
            assert not opens(data[:place] + bytes([byte]) + data[place + 1 :]), place
        assert not opens(data[:place] + data[place + 1 :]), place
        assert not opens(data[:place] + b" " + data[place:]), place
    for end in (b" ", b"\n", b"\0", b"{}"):
        assert not opens(data + end)
    assert not opens(data.replace(b'"signatures":[', b'"signatures":[' + data.split(b'"signatures":[')[1][:-2] + b","))


def test_a_record_stands_for_its_own_place_only(store: MemoryStore, write: Writer, tmp_path: Path) -> None:
    write()
    (data,) = chain(store)
    trusted = keys.public_keys([write.pair[1]])
    for wrong, why in (
        ({"number": 2, "environment": "production"}, "another's place"),
        ({"number": 1, "environment": "staging"}, "'production'"),
    ):
        with pytest.raises(record.BadRecord, match=why):
            record.open_record(data, trusted, **wrong)  # type: ignore[arg-type]
    other = keys.public_keys([make_key(tmp_path)[1]])
    with pytest.raises(record.BadRecord, match="not trusted"):
        record.open_record(data, other, number=1, environment="production")


@pytest.mark.parametrize(
    "payload", [b"[]", b"{}", b"no", b'{"predicate": 1}', b'{"_type":"https://in-toto.io/Statement/v1"}']
)
def test_a_trusted_key_may_sign_other_things(pair: tuple[Path, Path], payload: bytes) -> None:
    import base64

    key = keys.signing_key(pair[0])
    data = record.encoded(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": record.PAYLOAD_TYPE,
            "signatures": [{"keyid": key.keyid, "sig": base64.b64encode(key.sign(record.pae(payload))).decode()}],
        }
    )
    with pytest.raises(record.BadRecord, match=r"not a record of this ledger|not JSON"):
        record.open_record(data, keys.PublicKeys([key.public]), number=1, environment="production")


# Finding the end of a long ledger


class Many(MemoryStore):
    """A ledger of so many records, none of which is kept."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.gaps = count, set[int]()

    def list_objects_v2(self, *, Bucket: str, Prefix: str, MaxKeys: int = 1000, **options: str) -> dict[str, Any]:
        self.calls.append("list")
        name = (options.get("ContinuationToken") or options.get("StartAfter") or f"{Prefix}00000000.json").rsplit("/")[
            -1
        ]
        numbers = range(int(name[:8]) + 1, self.count + 1)
        page = [number for number in numbers[: MaxKeys + len(self.gaps)] if number not in self.gaps][:MaxKeys]
        return self.answer(Contents=[{"Key": f"{Prefix}{number:08d}.json"} for number in page], IsTruncated=False)


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000, 1001, 1999, 123456, 99_999_999])
@pytest.mark.parametrize("hint", ["none", "exact", "old", "too high"])
def test_the_end_is_found_in_few_requests(monkeypatch: pytest.MonkeyPatch, count: int, hint: str) -> None:
    store = Many(count)
    monkeypatch.setattr(places, "client", lambda storage, pool=10: store)
    where = {"none": 0, "exact": count, "old": count // 2, "too high": count + 1000}[hint]
    assert places.Store(STORAGE, "production").head(where) == count
    assert len(store.calls) <= 60
    if hint == "exact":
        assert len(store.calls) == 1


def test_gaps_do_not_hide_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Many(5000)
    store.gaps = {4096, 2000, 2001, 3000}
    monkeypatch.setattr(places, "client", lambda storage, pool=10: store)
    assert places.Store(STORAGE, "production").head() == 5000


def test_strangers_in_the_folder_are_no_records(store: MemoryStore, write: Writer) -> None:
    prefix = "here/evidence/production/"
    strangers = ["notes.txt", "00000001.json.bak", "00000000.json", "0000001.json", "sub/00000009.json", "zz.json"]
    for name in strangers:
        store.objects[prefix + name] = b"x"
    assert [write()["number"], write()["number"]] == [1, 2]


# A store that misbehaves


def test_a_lost_answer_leaves_one_record(store: MemoryStore, write: Writer) -> None:
    write()
    store.after_put = [lost]
    assert write()["number"] == 2
    assert len(chain(store)) == 2


def test_an_answer_lost_in_the_sdk_leaves_one_record(store: MemoryStore, write: Writer) -> None:
    """The SDK tries again by itself, and finds the record that it had put."""

    def conflict() -> None:
        raise error("PreconditionFailed", 412)

    store.after_put = [conflict]
    assert write()["number"] == 1
    assert len(chain(store)) == 1


def test_a_request_that_never_arrived_is_an_error(store: MemoryStore, write: Writer) -> None:
    store.before_put = [lost]
    with pytest.raises(StorageError, match="appending record 1"):
        write()
    assert not store.objects
    assert not write.witness.exists()


def test_not_knowing_is_said(store: MemoryStore, write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    def down() -> None:
        monkeypatch.setattr(store, "get_object", lambda **_: lost())
        lost()

    store.after_put = [down]
    with pytest.raises(EvidenceError, match="not known whether record 1 was taken"):
        write()


def test_a_conflict_is_tried_again(store: MemoryStore, write: Writer) -> None:
    def conflict() -> None:
        raise error("ConditionalRequestConflict", 409)

    store.before_put = [conflict]
    assert write()["number"] == 1


def test_another_writer_in_between_is_followed(store: MemoryStore, write: Writer) -> None:
    write()

    def other() -> None:
        write(run_id="other", witness=None)

    store.before_put = [other]
    assert write()["number"] == 3
    assert [predicate(data)["run_id"] for data in chain(store)] == ["r1", "other", "r1"]


def test_another_writer_with_garbage_is_not_followed(store: MemoryStore, write: Writer) -> None:
    def other() -> None:
        store.objects["here/evidence/production/00000001.json"] = b"{}"

    store.before_put = [other]
    with pytest.raises(EvidenceError, match=r"Record 1, the newest.*does not verify"):
        write()
    assert len(store.objects) == 1


def test_a_fork_by_another_writer_is_not_followed(store: MemoryStore, write: Writer) -> None:
    """Signed by a trusted key, but on top of something else."""
    write()
    forked = dict(store.objects)
    write(content={"branch": 1})
    branch = store.objects["here/evidence/production/00000002.json"]
    store.objects = {}
    write(witness=None, content={"branch": 2})
    assert forked != store.objects

    def other() -> None:
        store.objects["here/evidence/production/00000002.json"] = branch

    store.before_put = [other]
    with pytest.raises(EvidenceError, match="it does not follow on record 1"):
        write(witness=None)


def test_a_store_without_conditions_is_refused(store: MemoryStore, write: Writer) -> None:
    store.honours_conditions = False
    other = dict.fromkeys(["here/evidence/production/00000001.json"], b"x")
    store.after_put = [lambda: store.objects.update(other)]
    with pytest.raises(EvidenceError, match="does not honour"):
        write()


def test_a_bucket_without_object_lock_is_said(store: MemoryStore, write: Writer) -> None:
    store.object_lock = False
    done = write(lock_mode="compliance", lock_days=1)
    assert "no object lock" in done["notes"][0]
    assert predicate(chain(store)[0])["retention"] is None


# What must not be appended to


def test_damaged_end(store: MemoryStore, write: Writer) -> None:
    key = write(witness=None)["key"]
    good = store.objects[key]
    for bad in (b"", b"no", good[:-1], good.replace(b'"sig":"', b'"sig":"A')):
        store.objects[key] = bad
        with pytest.raises(EvidenceError, match="Record 1, the newest") as caught:
            write(witness=None)
        assert "ledger_verify.py" in caught.value.remedy
        assert len(store.objects) == 1


def test_wrong_environment(store: MemoryStore, write: Writer) -> None:
    write("staging", witness=None)
    store.objects = {key.replace("staging", "production"): data for key, data in store.objects.items()}
    with pytest.raises(EvidenceError, match="belongs to the environment 'staging'"):
        write(witness=None)


@pytest.mark.parametrize("name", ["", "a/b", "..", "."])
def test_environment_that_is_no_name(write: Writer, name: str) -> None:
    with pytest.raises(Exception, match="cannot be an environment's name"):
        write(name)


def test_removed_end_is_noticed(store: MemoryStore, write: Writer) -> None:
    write()
    last = write()["key"]
    kept = store.objects.pop(last)
    with pytest.raises(EvidenceError, match=r"wrote record 2 .* the newest records are gone"):
        write()
    store.objects[last] = kept
    assert write()["number"] == 3


def test_replaced_end_is_noticed(store: MemoryStore, write: Writer) -> None:
    write()
    store.objects.clear()
    write(witness=None)
    with pytest.raises(EvidenceError, match=r"Record 1 of the ledger .* is not the one this controller wrote"):
        write()


def test_another_ledger_of_the_same_name_begins_anew(store: MemoryStore, write: Writer, tmp_path: Path) -> None:
    """A sandbox that was thrown away: another key, another store, the same folder of runs."""
    write()
    write()
    store.objects.clear()
    private, public = make_key(tmp_path)
    assert write(signing_key=private, trusted_keys=[public])["number"] == 1
    assert write(signing_key=private, trusted_keys=[public])["number"] == 2


def test_a_torn_witness_does_not_swallow_the_next_line(write: Writer) -> None:
    write()
    with write.witness.open("a") as stream:
        stream.write('{"number": 2, "dig')
    write()
    lines = write.witness.read_text().splitlines()
    assert json.loads(lines[-1])["number"] == 2


def test_a_witness_that_cannot_be_written_is_a_note(write: Writer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = write(witness=tmp_path / "file" / "ledger.jsonl")
    assert done["number"] == 1
    assert any("cannot be written" in note for note in done["notes"])


def test_clock_behind_is_said(store: MemoryStore, write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    monkeypatch.setattr(ledger, "utc_now", lambda: "2020-01-01T00:00:00Z")
    notes = write()["notes"]
    assert "The controller's clock says 2020-01-01T00:00:00Z" in notes[0]
    assert "a clock is wrong" in notes[1]
    assert len(chain(store)) == 2


def test_check_mode_proves_and_writes_nothing(store: MemoryStore, write: Writer) -> None:
    write()
    seen = write.witness.read_text()
    done = write(check_mode=True)
    assert (done["number"], done["digest"]) == (2, None)
    assert len(store.objects) == 1
    assert write.witness.read_text() == seen
    store.objects.clear()
    with pytest.raises(EvidenceError):
        write(check_mode=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "party"}, "no kind"),
        ({"subjects": [{"name": "x", "digest": {"sha256": "12"}}]}, "SHA-256"),
        ({"subjects": [{"digest": {"sha256": "ab" * 32}}]}, "SHA-256"),
        ({"content": {"blob": "x" * 1_000_000}}, "bytes"),
        ({"content": "text"}, "would not verify"),
        ({"actor": None}, "would not verify"),
        ({"lock_mode": "governance", "lock_days": 0}, "makes no sense"),
        ({"lock_mode": "governance", "lock_days": None}, "makes no sense"),
        ({"lock_mode": "often", "lock_days": 3}, "makes no sense"),
    ],
)
def test_what_cannot_be_recorded(store: MemoryStore, write: Writer, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EvidenceError, match=message):
        write(**changes)
    assert not store.objects


# Keys


def test_keyid_is_what_openssl_says(pair: tuple[Path, Path]) -> None:
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", pair[1], "-outform", "DER"], check=True, capture_output=True
    )
    assert keys.signing_key(pair[0]).keyid == record.digest(der.stdout)
    assert keys.keyid_of(keys.public_key(pair[1])) == record.digest(der.stdout)


def test_key_as_text(pair: tuple[Path, Path]) -> None:
    text = pair[0].read_text()
    expected = keys.signing_key(pair[0]).keyid
    assert keys.signing_key(text).keyid == expected
    # Vault and YAML block scalars trim or add white space around.
    assert keys.signing_key(f"\n {text.strip()}").keyid == expected
    assert expected in repr(keys.signing_key(text))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_key_open_to_others_is_refused(pair: tuple[Path, Path], tmp_path: Path, mode: int) -> None:
    path = tmp_path / "open.key"
    path.write_bytes(pair[0].read_bytes())
    path.chmod(mode)
    with pytest.raises(EvidenceError, match=f"open to others .mode {mode:04o}") as caught:
        keys.signing_key(path)
    assert f"chmod 600 {path}" in caught.value.remedy


@pytest.mark.parametrize("given", [None, "", "  "])
def test_no_key(given: str | None) -> None:
    with pytest.raises(EvidenceError, match="No key"):
        keys.signing_key(given)


def test_key_of_another_kind(tmp_path: Path) -> None:
    for name, options in (
        ("rsa", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("encrypted", ["-algorithm", "ED25519", "-aes-256-cbc", "-pass", "pass:secret"]),
    ):
        path = tmp_path / name
        subprocess.run(["openssl", "genpkey", *options, "-out", path], check=True, stderr=subprocess.DEVNULL)
        path.chmod(0o600)
        with pytest.raises(EvidenceError, match="not an unencrypted Ed25519 private key"):
            keys.signing_key(path)


def test_key_in_the_wrong_form_is_not_shown(pair: tuple[Path, Path]) -> None:
    """A key without its BEGIN line looks like a path."""
    lines = pair[0].read_text().splitlines()
    body = lines[1]
    for secret in (body, "/" + body, "/a" * 20 + body, f"{lines[0]}\n{body[:-4]}", body * 200, body + "\0"):
        with pytest.raises(EvidenceError) as caught:
            keys.signing_key(secret)
        assert body[:20] not in str(caught.value)
        assert caught.value.__cause__ is None


def test_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=str(tmp_path / "gone.key")):
        keys.signing_key(tmp_path / "gone.key")


def test_signing_key_must_be_trusted(store: MemoryStore, write: Writer, tmp_path: Path) -> None:
    _, other = make_key(tmp_path)
    with pytest.raises(EvidenceError, match="not among the trusted keys"):
        write(trusted_keys=[other])
    assert not store.objects


def test_rotation_keeps_the_old_key(store: MemoryStore, write: Writer, tmp_path: Path) -> None:
    write()
    private, public = make_key(tmp_path)
    with pytest.raises(EvidenceError, match="which is not trusted"):
        write(signing_key=private, trusted_keys=[public], witness=None)
    assert write(signing_key=private, trusted_keys=[public, write.pair[1]])["number"] == 2


def test_public_keys_that_are_none(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    with pytest.raises(EvidenceError, match="cannot be read"):
        keys.public_keys([tmp_path / "gone.pub"])
    (tmp_path / "bad.pub").write_text("nothing")
    with pytest.raises(EvidenceError, match="not an Ed25519 public key"):
        keys.public_keys([tmp_path / "bad.pub"])
