"""Time stamps: from an authority that is proven, bound to the bundle, and what they are for: keys that expire."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.statement import (
    STAMP,
    STAMP_STATEMENT,
    STATEMENT,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger import places
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import EvidenceError

from tests.unit.audit_authority import Authority
from tests.unit.audit_fixtures import VERIFIER, verify
from tests.unit.test_audit_bundle import places as bytes_of_each_class
from tests.unit.test_audit_engine import NOVEMBER, Auditor, BundleStore


@pytest.fixture(scope="module", params=["EC", "RSA"])
def authority(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    made = Authority(tmp_path_factory.mktemp("authority") / "tsa", request.param)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def stamped(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Auditor, Path]]:
    """A bundle with a time stamp."""
    with pytest.MonkeyPatch.context() as patched:
        store = BundleStore()
        patched.setattr(places, "client", lambda storage, pool=10: store)
        auditor = Auditor(tmp_path_factory.mktemp("stamped"), store)
        auditor.staged()
        result = auditor.make(timestamp=authority.options())
        assert result["stamped_at"]
        yield auditor, Path(result["path"])


def test_the_stamp_counts_under_a_given_root_only(
    stamped: tuple[Auditor, Path], authority: Authority, tmp_path: Path
) -> None:
    auditor, folder = stamped
    done = verify("--public-key", auditor.public, "--timestamp-ca", authority.root, folder)
    assert (done.returncode, "stamped at 20" in done.stdout) == (0, True), done.stdout
    without = verify("--public-key", auditor.public, folder)
    assert (without.returncode, "not checked: " in without.stdout) == (0, True)
    other = Authority(tmp_path / "other")
    other.server.server_close()
    done = verify("--public-key", auditor.public, "--timestamp-ca", other.root, folder)
    assert (done.returncode, "no given authority vouches" in done.stdout) == (1, True)
    (key,) = [key for key in auditor.store.objects if key.endswith(".tar")]
    (tmp_path / "bundle.tar").write_bytes(auditor.store.objects[key])
    given = ("--public-key", auditor.public, "--timestamp-ca", authority.root)
    assert verify(*given, tmp_path / "bundle.tar").returncode == 0


def test_any_flipped_bit_and_any_missing_part_of_the_stamp_is_rejected(
    stamped: tuple[Auditor, Path], authority: Authority, tmp_path: Path
) -> None:
    auditor, original = stamped
    program = runpy.run_path(str(VERIFIER))
    keys = program["load_keys"]([str(auditor.public)], [])
    roots = program["certificates_of"](authority.root.read_bytes())
    folder = tmp_path / "bundle"
    shutil.copytree(original, folder)
    # Also without the root: the stamp's own binding is signed by the bundle's key.
    for given, step in ((roots, 16), ([], 2)):
        assert program["prove"](str(folder), keys, given, None).verdict == "intact"
        for name in (STAMP, STAMP_STATEMENT):
            data = (folder / name).read_bytes()
            for place in bytes_of_each_class(data)[::step]:
                (folder / name).write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
                assert program["prove"](str(folder), keys, given, None).verdict == "rejected", (name, place)
            (folder / name).unlink()
            assert program["prove"](str(folder), keys, given, None).verdict == "rejected", name
            (folder / name).write_bytes(data)
    for name in (STAMP, STAMP_STATEMENT):
        (folder / name).unlink()
    assert program["prove"](str(folder), keys, roots, None).verdict == "rejected"


def test_the_authority_s_own_signature_is_what_counts(
    stamped: tuple[Auditor, Path], authority: Authority, tmp_path: Path
) -> None:
    """Whoever has the bundle's key can bind anything: the token itself must be whole and of this statement."""
    _, folder = stamped
    program = runpy.run_path(str(VERIFIER))
    roots = program["certificates_of"](authority.root.read_bytes())
    token, message = (folder / STAMP).read_bytes(), (folder / STATEMENT).read_bytes()
    assert program["stamped_at"](token, message, roots) > datetime.now(UTC) - timedelta(hours=1)
    rejected = program["Rejected"]
    with pytest.raises(rejected, match="another statement"):
        program["stamped_at"](token, message + b" ", roots)
    accepted = []
    for place in range(0, len(token), 3):
        altered = token[:place] + bytes([token[place] ^ 1]) + token[place + 1 :]
        try:
            at = program["stamped_at"](altered, message, roots)
        except rejected:
            continue
        # What nobody signs says nothing: versions, algorithms that are named twice.
        accepted.append(place)
        assert at == program["stamped_at"](token, message, roots)
    assert len(accepted) < len(token) // 3 // 4
    for cut in (0, 1, 10, len(token) // 2, len(token) - 1):
        with pytest.raises(rejected):
            program["stamped_at"](token[:cut], message, roots)


def test_a_key_that_ended_counts_for_what_was_stamped_before(
    stamped: tuple[Auditor, Path], authority: Authority, tmp_path: Path
) -> None:
    auditor, folder = stamped
    now = datetime.now(UTC)

    def done(*arguments: str | Path, **limits: datetime) -> Any:
        trust = tmp_path / "keys.json"
        given = {name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in limits.items()}
        trust.write_text(json.dumps({"keys": [{"public_key": auditor.public.read_text(), **given}]}))
        return verify("--keys", trust, *arguments, folder)

    root = ("--timestamp-ca", authority.root)
    assert done(*root, revoked_at=now + timedelta(hours=1)).returncode == 0
    assert done(*root, valid_until=now + timedelta(hours=1), valid_from=now - timedelta(days=1)).returncode == 0
    for limits in (
        {"revoked_at": now - timedelta(days=1)},
        {"valid_until": now - timedelta(days=1)},
        {"valid_from": now + timedelta(days=1)},
        {"valid_until": now + timedelta(days=1), "revoked_at": now - timedelta(days=1)},
    ):
        found = done(*root, **limits)
        assert (found.returncode, "did not count at" in found.stdout) == (1, True)
    found = done(revoked_at=now + timedelta(hours=1))
    assert (found.returncode, "no time stamp shows" in found.stdout) == (1, True)


@pytest.mark.parametrize("broken", ["status", "garbage", "altered", "root", "away"])
def test_an_authority_that_cannot_be_believed_stops_the_bundle(
    authority: Authority, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BundleStore()
    monkeypatch.setattr(places, "client", lambda storage, pool=10: store)
    auditor = Auditor(tmp_path, store)
    staging = auditor.staged()
    options = authority.options()
    if broken == "root":
        options["ca_files"] = [str(authority.folder / "tsa.pem")]
    elif broken == "away":
        options["url"] = "http://127.0.0.1:1/"
    authority.broken = broken
    try:
        with pytest.raises(EvidenceError, match="authority"):
            auditor.make(timestamp=options)
    finally:
        authority.broken = None
    assert store.bundles() == []
    assert (staging / "app1/collected.json").is_file()


def test_a_killed_run_is_continued_with_its_stamp(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = BundleStore()
    monkeypatch.setattr(places, "client", lambda storage, pool=10: store)
    auditor = Auditor(tmp_path, store)
    auditor.staged(NOVEMBER)

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    store.before_put = [lambda: None, kill]
    asked = authority.asked
    with pytest.raises(Killed):
        auditor.make(begin=NOVEMBER.begin, end=NOVEMBER.end, timestamp=authority.options())
    store.before_put = []
    assert auditor.make(begin=NOVEMBER.begin, end=NOVEMBER.end, timestamp=authority.options())["changed"]
    assert authority.asked == asked + 1
    assert len(store.bundles()) == 2
