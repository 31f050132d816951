"""A bundle as an auditor gets it: what the verifier accepts, and that it accepts nothing else."""

from __future__ import annotations

import base64
import copy
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import bundle, statement
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import Collected, Gap
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger.keys import signing_key
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger.record import digest

from tests.unit.audit_fixtures import PERIOD, VERIFIER, collect, source, verify
from tests.unit.ledger_fixtures import make_key

LONG = "a-very-long-name-of-a-log-file-" * 4


class Made:
    """A bundle as folder and archive."""

    def __init__(self, home: Path, **changes: Any) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        self.private, self.public = make_key(home)
        self.name = "audit-production-20261001T000000Z--20261101T000000Z"
        self.facts: dict[str, Any] = {
            "bundle": self.name,
            "environment": "production",
            "number": 1,
            "previous": None,
            "period": PERIOD.to_dict(),
            "retention": {"class": "trading-records", "days": 2557},
            "legal_hold": False,
            "timestamp": False,
            **changes,
        }

    def seal(self, hosts: dict[str, Collected], name: str = "bundle") -> Path:
        """:param hosts: of staging folders below home"""
        folder = self.home / name
        folder.mkdir()
        files: list[statement.Listed] = []
        for place, collected in hosts.items():
            files += bundle.take(self.home / "staging" / place, place, collected, folder)
        bundle.seal(folder, self.facts, hosts, files, signing_key(self.private))
        return folder

    def tar(self, folder: Path) -> Path:
        facts = json.loads(base64.b64decode(json.loads((folder / "statement.dsse.json").read_text())["payload"]))
        files = [
            statement.Listed(each["name"], each["annotations"]["size"], each["digest"]["sha256"])
            for each in facts["subject"]
        ]
        out = io.BytesIO()
        size = bundle.archive(folder, self.facts, files, out.write)
        assert size == len(out.getvalue())
        path = folder.with_suffix(".tar")
        path.write_bytes(out.getvalue())
        return path

    def verify(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return verify("--public-key", self.public, *arguments)


def staged(home: Path) -> dict[str, Collected]:
    """Two hosts, one with a name too long for a plain header."""
    staging = home / "staging"
    app = [source(staging / "app1", "app", b'{"a": 1}\n{"a": 2}\n'), source(staging / "app1", LONG, b"x\n")]
    return {
        "app1": collect(staging / "app1", *app),
        "_platform": collect(staging / "_platform", source(staging / "_platform", "orders", b"1\n"), host="platform"),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(tmp_path_factory.mktemp("audit"))
    made.tar(made.seal(staged(made.home)))
    return made


def test_folder_and_archive_are_intact(made: Made) -> None:
    for path in (made.home / "bundle", made.home / "bundle.tar"):
        done = made.verify("--environment", "production", path)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert done.stdout.startswith("INTACT: bundle 1 of production, 2026-10-01T00:00:00Z to 2026-11-01T00:00:00Z")
        assert "not proven: " in done.stdout


def test_others_read_the_archive(made: Made) -> None:
    with tarfile.open(made.home / "bundle.tar") as archive:
        names = [entry.name for entry in archive]
        assert {(entry.mtime, entry.uid, entry.mode) for entry in archive} == {(1793491200, 0, 0o644)}
    assert names[0] == f"{made.name}/statement.dsse.json"
    assert names[1:] == sorted(names[1:])
    assert f"{made.name}/data/app1/{LONG}/{LONG}.jsonl.gz" in names
    done = subprocess.run(["tar", "tf", made.home / "bundle.tar"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == names


def test_the_same_inputs_give_the_same_bytes(made: Made, tmp_path: Path) -> None:
    again = Made(tmp_path)
    again.private, again.public = made.private, made.public
    folder = again.seal(staged(tmp_path))
    assert again.tar(folder).read_bytes() == (made.home / "bundle.tar").read_bytes()


def test_alone(made: Made) -> None:
    """As a program, without Ansible, from the bundle's own copy too."""
    assert (made.home / "bundle/bundle_verify.py").read_bytes() == VERIFIER.read_bytes()
    done = subprocess.run(
        [sys.executable, "-I", VERIFIER, "--public-key", made.public, made.home / "bundle.tar"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_securesystemslib_verifies_the_signature(made: Made) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

    data = json.loads((made.home / "bundle/statement.dsse.json").read_text())
    envelope = Envelope.from_dict(copy.deepcopy(data))
    key = SSlibKey.from_crypto(
        load_pem_public_key(made.public.read_bytes()),  # type: ignore[arg-type]
        keyid=data["signatures"][0]["keyid"],
    )
    assert envelope.verify([key], 1)
    payload = json.loads(envelope.payload)
    assert payload["_type"] == "https://in-toto.io/Statement/v1"
    listed = {each["name"] for each in payload["subject"]}
    there = {
        str(path.relative_to(made.home / "bundle")) for path in (made.home / "bundle").rglob("*") if path.is_file()
    }
    assert listed == there - {"statement.dsse.json"}


# Mutations


def places(data: bytes) -> list[int]:
    """One place for each byte value that is there, and both ends, so that each class of bytes has one."""
    first = {byte: index for index, byte in reversed(list(enumerate(data)))}
    return sorted({*first.values(), len(data) - 1})


def test_any_flipped_bit_of_any_file_is_rejected(made: Made, tmp_path: Path) -> None:
    program = verifier()
    folder = tmp_path / "bundle"
    shutil.copytree(made.home / "bundle", folder)
    keys = program["load_keys"]([str(made.public)], [])
    count = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for place in places(data):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
            assert program["prove"](str(folder), keys, [], None).verdict == "rejected", (path, place)
            count += 1
        path.write_bytes(data)
    assert count > 300
    assert program["prove"](str(folder), keys, [], None).verdict == "intact"


def verifier() -> dict[str, Any]:
    import runpy

    return runpy.run_path(str(VERIFIER))


def test_any_flipped_bit_of_the_archive_is_rejected(made: Made, tmp_path: Path) -> None:
    """Headers and padding byte by byte, of the contents one of each class."""
    program = verifier()
    data = (made.home / "bundle.tar").read_bytes()
    keys = program["load_keys"]([str(made.public)], [])
    path = tmp_path / "bundle.tar"
    path.write_bytes(data)
    with tarfile.open(path) as archive:
        outside = set(range(len(data)))
        for entry in archive:
            outside -= set(range(entry.offset_data, entry.offset_data + entry.size))
    assert len(outside) > 5000
    chosen = sorted({*places(data), *sorted(outside)[::7]})
    open_before = len(os.listdir("/proc/self/fd"))
    with path.open("r+b") as stream:
        for place in chosen:
            os.pwrite(stream.fileno(), bytes([data[place] ^ 1 << place % 8]), place)
            assert program["prove"](str(path), keys, [], None).verdict == "rejected", place
            os.pwrite(stream.fileno(), data[place : place + 1], place)
    assert program["prove"](str(path), keys, [], None).verdict == "intact"
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_each_file_missing_extra_swapped_or_emptied_is_rejected(made: Made, tmp_path: Path) -> None:
    original = made.home / "bundle"
    names = sorted(str(path.relative_to(original)) for path in original.rglob("*") if path.is_file())
    assert len(names) == 7

    def rejected(change: Any, text: str = "") -> None:
        folder = tmp_path / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(original, folder)
        change(folder)
        done = made.verify(folder)
        assert done.returncode == 1, done.stdout
        assert text in done.stdout
        assert "INTACT" not in done.stdout

    for name in names:
        rejected(lambda folder, name=name: (folder / name).unlink(), f"{name} is missing")
        rejected(lambda folder, name=name: (folder / name).write_bytes(b""))
        rejected(lambda folder, name=name: (folder / name).open("ab").write(b"\n") and None)
    for one, other in itertools.pairwise(names):
        rejected(lambda folder, one=one, other=other: swap(folder / one, folder / other))
    rejected(lambda folder: (folder / "data/app1/more.log").write_text("x"), "more.log is not on the signed list")
    rejected(lambda folder: (folder / "timestamp.tsr").write_text("x"), "timestamp.tsr is not on the signed list")
    rejected(lambda folder: (folder / "data/empty").mkdir(), "data/empty/ is not on the signed list")
    rejected(lambda folder: os.mkfifo(folder / "pipe"), "pipe is not on the signed list")
    for name in names:
        rejected(lambda folder, name=name: link(folder / name), "is not a regular file")


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def link(path: Path) -> None:
    """The same bytes, elsewhere."""
    elsewhere = path.parent.parent.parent / "elsewhere"
    path.replace(elsewhere)
    path.symlink_to(elsewhere)


def test_archives_that_were_put_together_anew_are_rejected(made: Made, tmp_path: Path) -> None:
    """Every file as it was, in another order, with another one, or by another program."""
    with tarfile.open(made.home / "bundle.tar") as archive:
        entries = [(entry, archive.extractfile(entry).read()) for entry in archive]  # type: ignore[union-attr]

    def packed(these: list[Any], name: str) -> Path:
        path = tmp_path / name
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT if "ustar" in name else tarfile.PAX_FORMAT) as archive:
            for entry, data in these:
                archive.addfile(entry, io.BytesIO(data))
        return path

    extra = tarfile.TarInfo(f"{made.name}/more")
    for path in (
        packed(entries, "pax.tar"),
        packed([*entries[:1], *reversed(entries[1:])], "reordered.tar"),
        packed([entries[1], entries[0], *entries[2:]], "statement-second.tar"),
        packed([*entries, (extra, b"")], "extra.tar"),
        packed([*entries, entries[1]], "twice.tar"),
        packed(entries[:-1], "missing.tar"),
    ):
        assert made.verify(path).returncode == 1, path
    data = (made.home / "bundle.tar").read_bytes()
    for name, changed in {"longer": data + bytes(512), "shorter": data[:-512], "cut": data[: len(data) // 2]}.items():
        (tmp_path / name).write_bytes(changed)
        assert made.verify(tmp_path / name).returncode == 1, name


def test_a_signed_bundle_may_still_be_none(made: Made, tmp_path: Path) -> None:
    """What a trusted key signed and yet makes no sense: no evidence, or a manifest that contradicts itself."""

    def verdict(name: str, *sources: Any, **changes: Any) -> subprocess.CompletedProcess[str]:
        other = Made(tmp_path / name, **changes)
        staging = other.home / "staging/app1"
        return other.verify(other.seal({"app1": collect(staging, *(make(staging) for make in sources))}))

    assert "no file with data" in verdict("empty").stdout
    assert "no source has a record" in verdict("unfilled", lambda at: source(at, "app", b"")).stdout
    done = verdict("one", lambda at: source(at, "app", b"1\n"), number=2, previous=None)
    assert (done.returncode, "not a bundle" in done.stdout) == (1, True)
    done = verdict("two", lambda at: source(at, "app", b"1\n"), period={"from": PERIOD.end, "to": PERIOD.begin})
    assert done.returncode == 1


def test_what_is_incomplete_is_said(made: Made, tmp_path: Path) -> None:
    other = Made(tmp_path)
    staging = tmp_path / "staging/app1"
    gap = Gap("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", "journal begins late")
    app = source(staging, "app", b"1\n", outcome="partial", reason="it was rotated meanwhile", gaps=[gap])
    folder = other.seal({"app1": collect(staging, app), "app2": bundle.nothing("app2", PERIOD, "it is unreachable")})
    done = other.verify(folder)
    assert done.returncode == 0
    assert "INCOMPLETE: " in done.stdout
    assert "app of app1 is partial: it was rotated meanwhile; 2026-10-01T00:00:00Z to" in done.stdout
    assert "collection of app2 is failed: it is unreachable" in done.stdout
    assert "; INCOMPLETE in 2 respects" in done.stdout
    assert other.verify("--require-complete", folder).returncode == 1


# Keys


def test_only_a_given_key_counts(made: Made, tmp_path: Path) -> None:
    _, other = make_key(tmp_path, "other")
    done = verify("--public-key", other, made.home / "bundle")
    assert (done.returncode, "not among the given ones" in done.stdout) == (1, True)
    assert verify("--public-key", tmp_path / "none", made.home / "bundle").returncode == 3
    assert verify("--public-key", made.home / "bundle.tar", made.home / "bundle").returncode == 3
    assert verify(made.home / "bundle").returncode == 2
    assert made.verify("--environment", "staging", made.home / "bundle").returncode == 1
    assert made.verify(tmp_path / "nothing").returncode == 3


def test_an_expired_or_revoked_key_does_not_count_without_a_time_stamp(made: Made, tmp_path: Path) -> None:
    for field in ("valid_until", "revoked_at", "valid_from"):
        trust = tmp_path / "keys.json"
        trust.write_text(json.dumps({"keys": [{"public_key": made.public.read_text(), field: "2026-11-02T00:00:00Z"}]}))
        done = verify("--keys", trust, made.home / "bundle")
        assert (done.returncode, "no time stamp shows" in done.stdout) == (1, True), done.stdout
    trust.write_text(json.dumps({"keys": [{"public_key": made.public.read_text()}]}))
    assert verify("--keys", trust, made.home / "bundle").returncode == 0
    trust.write_text(json.dumps({"keys": [{"public_key": made.public.read_text(), "revoked": "2026-11-02T00:00:00Z"}]}))
    assert verify("--keys", trust, made.home / "bundle").returncode == 3


# The chain


def test_a_chain_is_proven_and_a_break_seen(made: Made, tmp_path: Path) -> None:
    first = made.home / "bundle"
    before = digest((first / "statement.dsse.json").read_bytes())

    def following(name: str, number: int, previous: str) -> Path:
        other = Made(tmp_path / name, number=number, previous=previous)
        other.private = made.private
        return other.seal(staged(other.home))

    second = following("second", 2, before)
    third = following("third", 3, digest((second / "statement.dsse.json").read_bytes()))
    assert made.verify(first, third, second).returncode == 0
    alone = made.verify(second)
    assert (alone.returncode, "not checked: " in alone.stdout) == (0, True)
    assert made.verify("--previous", first / "statement.dsse.json", second).returncode == 0
    assert made.verify("--previous", third / "statement.dsse.json", second).returncode == 1
    done = made.verify(first, third)
    assert (done.returncode, "the chain is broken: bundle 2 is missing" in done.stdout) == (1, True)
    forged = following("forged", 3, "0" * 64)
    done = made.verify(first, second, forged)
    assert (done.returncode, "is another one than it follows on" in done.stdout) == (1, True)
    done = made.verify(first, second, third, forged)
    assert (done.returncode, "two bundles with the number 3" in done.stdout) == (1, True)


def test_a_chain_that_begins_anew_or_lacks_a_month(made: Made, tmp_path: Path) -> None:
    first = made.home / "bundle"
    before = digest((first / "statement.dsse.json").read_bytes())

    def other(name: str, **changes: Any) -> Path:
        other = Made(tmp_path / name, **changes)
        other.private = made.private
        return other.seal(staged(other.home))

    # Number 1 has none before it: where one is given, it is not the chain's.
    anew = made.verify("--previous", first / "statement.dsse.json", other("anew"))
    assert (anew.returncode, "does not follow on the statement of --previous" in anew.stdout) == (1, True)
    none = made.verify(other("none", number=0))
    assert (none.returncode, "not a bundle" in none.stdout) == (1, True)
    december = {"from": "2026-12-01T00:00:00Z", "to": "2027-01-01T00:00:00Z"}
    late = other("late", number=2, previous=before, period=december)
    for given in ([first, late], ["--previous", first / "statement.dsse.json", late]):
        done = made.verify(*given)
        assert done.returncode == 0
        assert "none of the given bundles covers 2026-11-01T00:00:00Z to 2026-12-01T00:00:00Z" in done.stdout
        assert made.verify("--require-complete", *given).returncode == 1
    # Periods may lie in any order, and over each other.
    november = {"from": "2026-10-15T00:00:00Z", "to": "2026-12-01T00:00:00Z"}
    third = other("third", number=3, previous=digest((late / "statement.dsse.json").read_bytes()), period=november)
    done = made.verify("--require-complete", first, late, third)
    assert done.returncode == 0
    # That is said, as what is in it is there twice.
    assert [line.partition(": bundle ")[2] for line in done.stdout.splitlines() if line.startswith("OVERLAP: ")] == [
        "3 and bundle 1 both cover 2026-10-15T00:00:00Z to 2026-11-01T00:00:00Z"
    ]
    previous = made.verify("--previous", late / "statement.dsse.json", third)
    assert "OVERLAP" not in previous.stdout
    again = other("again", number=2, previous=before)
    for given in ([first, again], ["--previous", first / "statement.dsse.json", again]):
        done = made.verify(*given)
        assert done.returncode == 0
        assert "both cover 2026-10-01T00:00:00Z to 2026-11-01T00:00:00Z" in done.stdout


def test_memory_is_bounded(made: Made, tmp_path: Path) -> None:
    other = Made(tmp_path)
    staging = tmp_path / "staging/app1"
    collected = collect(staging, source(staging, "app", b"1\n"))
    big = staging / "app/app.jsonl.gz"
    os.truncate(big, 128 << 20)
    size, sha256 = bundle.digested(big)
    collected.sources[0].files[0] = replace(collected.sources[0].files[0], size=size, sha256=sha256)
    folder = other.seal({"app1": collected})
    peak = (
        "import re, runpy, sys; code = runpy.run_path(sys.argv[1])['main'](sys.argv[2:]);"
        "print(code, re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", peak, VERIFIER, "--public-key", other.public, folder], capture_output=True, text=True
    )
    code, kilobytes = done.stderr.split()
    assert code == "0", done.stdout
    assert int(kilobytes) < 96 << 10
