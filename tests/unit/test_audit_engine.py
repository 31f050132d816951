"""The way of a bundle: chained, stored, recorded, and whatever may go wrong on it."""

from __future__ import annotations

import base64
import errno
import fcntl
import gzip
import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import (
    bundle,
    engine,
    fetch,
    findings,
    locks,
    redact,
    scan,
    staged,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import (
    NAME,
    Gap,
    Period,
    encoded,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.options import PLATFORM
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.period import period
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger import places
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    EvidenceError,
    LockedError,
    StorageError,
)

from tests.unit.audit_fixtures import PERIOD, collect, source, verify
from tests.unit.ledger_fixtures import STORAGE, MemoryStore, error, lost, make_key, predicate

NOW = datetime(2026, 11, 5, tzinfo=UTC)
NOVEMBER = Period("2026-11-01T00:00:00Z", "2026-11-04T00:00:00Z")
NAME_OF = "audit-production-20261001T000000Z--20261101T000000Z"


class BundleStore(MemoryStore):
    """With what uploads need besides."""

    def head_object(self, *, Bucket: str, Key: str, **_options: Any) -> dict[str, Any]:
        if Key not in self.objects:
            raise error("404", 404)
        data = self.objects[Key]
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        return self.answer(ContentLength=len(data), ChecksumSHA256=checksum)

    def get_paginator(self, _name: str) -> Any:
        store = self

        class Pages:
            def paginate(self, **options: Any) -> Any:
                yield store.list_objects_v2(**options)

        return Pages()

    def bundles(self) -> list[str]:
        return [key.removeprefix("here/audit/production/") for key in self.keys() if "/audit/" in key]

    def records(self) -> list[dict[str, Any]]:
        found = [predicate(self.objects[key]) for key in self.keys() if "/evidence/" in key]
        return [each["content"] for each in found if each["kind"] == "audit"]


class Auditor:
    def __init__(self, home: Path, store: BundleStore) -> None:
        self.home, self.store = home, store
        self.private, self.public = make_key(home)
        self.directory = home / "bundles"

    def options(self, **changes: Any) -> dict[str, Any]:
        keys = {"signing_key": None, "signing_key_file": self.private, "trusted_key_files": [self.public]}
        return {
            "storage": STORAGE,
            "environment_name": "production",
            "directory": str(self.directory),
            "hosts": ["app1"],
            "plans": {},
            "begin": PERIOD.begin,
            "end": PERIOD.end,
            "month": "",
            "timezone": "UTC",
            "again": False,
            "scratch_limit": 0,
            "redaction": [],
            "pseudonym_key": None,
            "evidence": {**keys, "lock_mode": "governance", "lock_days": 30},
            "retention": {"class": "trading-records", "days": 2557},
            "legal_hold": False,
            "timestamp": None,
            "witness": str(self.home / "witness.jsonl"),
            **changes,
        }

    def staged(self, of: Period = PERIOD, **changes: Any) -> Path:
        """What is collected, as the modules leave it."""
        prepared = engine.prepare(self.options(begin=of.begin, end=of.end), engine.Context("r1", "ada", NOW))
        staging = Path(prepared["staging"])
        for place, name in (("app1", "app"), (PLATFORM, "orders")):
            found = source(staging / place, name, b"1\n2\n", **(changes if place == "app1" else {}))
            collect(staging / place, found, period=of)
        return staging

    def make(self, **changes: Any) -> dict[str, Any]:
        return engine.make(self.options(**changes), engine.Context("r1", "ada", NOW))

    def checks(self, result: dict[str, Any]) -> dict[str, str]:
        return {check.id: check.status for check in findings.findings(result, "2026-11-05T00:00:00Z")[0]}


@pytest.fixture
def auditor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Auditor:
    store = BundleStore()
    monkeypatch.setattr(places, "client", lambda storage, pool=10: store)
    return Auditor(tmp_path, store)


def test_made_once_and_then_only_proven(auditor: Auditor) -> None:
    staging = auditor.staged()
    result = auditor.make()
    assert result["changed"]
    assert not staging.exists()
    statement, archive = auditor.store.bundles()
    assert statement == "00000001.json"
    assert archive == f"{NAME_OF}.{result['digest'][:16]}.tar"
    (record,) = auditor.store.records()
    assert (record["number"], record["digest"]) == (1, result["digest"])
    (auditor.home / "bundle.tar").write_bytes(auditor.store.objects[result["key"]])
    for path in (auditor.home / "bundle.tar", auditor.directory / f"production/{NAME_OF}"):
        assert verify("--public-key", auditor.public, path).returncode == 0
    assert set(auditor.checks(result).values()) == {"ok"}
    before = dict(auditor.store.objects)
    again = auditor.make()
    assert (again["changed"], auditor.store.objects) == (False, before)
    assert set(auditor.checks(again).values()) == {"ok"}
    # On another controller the ledger says what its sources were.
    elsewhere = auditor.make(directory=str(auditor.home / "elsewhere"))
    assert (elsewhere["path"], auditor.checks(elsewhere)["audit.bundle"]) == (None, "ok")
    (check, *_), _actions = findings.findings(elsewhere, "2026-11-05T00:00:00Z")
    assert "not proven here" in check.message
    del auditor.store.objects[result["key"]]
    assert auditor.checks(auditor.make())["audit.stored"] == "critical"


def test_the_record_is_of_the_archive_and_the_store_is_compared_with_it(auditor: Auditor) -> None:
    auditor.staged()
    result = auditor.make()
    data = auditor.store.objects[result["key"]]
    (key,) = [key for key in auditor.store.objects if "/evidence/" in key]
    record = json.loads(base64.b64decode(json.loads(auditor.store.objects[key])["payload"]))
    assert record["subject"] == [
        {"name": result["key"], "digest": {"sha256": hashlib.sha256(data).hexdigest()}},
        {"name": "here/audit/production/00000001.json", "digest": {"sha256": result["digest"]}},
    ]
    # As many bytes, another content; and fewer.
    for changed in (data[:-1] + b"x", data[:-1]):
        auditor.store.objects[result["key"]] = changed
        for directory in (auditor.directory, auditor.home / "elsewhere"):
            assert auditor.checks(auditor.make(directory=str(directory)))["audit.stored"] == "critical"


def test_what_a_dead_run_uploaded_is_not_vouched_for(auditor: Auditor) -> None:
    """An object of the same size under the archive's key is no reason not to upload."""
    auditor.staged()
    auditor.store.before_put = [lambda: None, *[lost] * 100]
    with pytest.raises(StorageError):
        auditor.make()
    auditor.store.before_put = []
    (key,) = [f"here/audit/production/{each}" for each in auditor.store.bundles()]
    data = auditor.store.objects[key]
    auditor.store.objects[key] = bytes(len(data))
    auditor.make()
    assert auditor.store.objects[key] == data


def test_locked_as_its_retention_says(auditor: Auditor) -> None:
    auditor.staged()
    auditor.make(legal_hold=True)
    archive, statement, _record = auditor.store.puts
    assert archive["ObjectLockLegalHoldStatus"] == "ON"
    assert archive["ObjectLockMode"] == statement["ObjectLockMode"] == "GOVERNANCE"
    assert archive["ObjectLockRetainUntilDate"].year == statement["ObjectLockRetainUntilDate"].year == NOW.year + 7
    auditor.store.object_lock = False
    auditor.staged(NOVEMBER)
    result = auditor.make(begin=NOVEMBER.begin, end=NOVEMBER.end)
    assert auditor.checks(result)["audit.notes"] == "warning"


def test_collected_again_is_a_bundle_of_its_own(auditor: Auditor) -> None:
    auditor.staged()
    auditor.make()
    for number in (2, 3):
        auditor.staged()
        result = auditor.make(again=True)
        assert (result["number"], result["bundle"]) == (number, f"{NAME_OF}-{number}")
    paths = [auditor.directory / "production" / name for name in (NAME_OF, f"{NAME_OF}-2", f"{NAME_OF}-3")]
    assert verify("--public-key", auditor.public, *paths).returncode == 0


@pytest.mark.parametrize("puts", [0, 1, 2])
def test_a_run_that_was_killed_is_continued(auditor: Auditor, puts: int) -> None:
    """Before each thing that is written, and with the answer lost after it; the bytes are the same throughout."""
    auditor.staged()

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    auditor.store.before_put = [lambda: None] * puts + [kill]
    with pytest.raises(Killed):
        auditor.make()
    auditor.store.before_put = []
    before = auditor.store.bundles()
    result = auditor.make()
    assert result["changed"]
    assert len(auditor.store.bundles()) == 2
    assert set(before) <= set(auditor.store.bundles())
    assert [each["digest"] for each in auditor.store.records()] == [result["digest"]]
    assert set(auditor.checks(result).values()) == {"ok"}


def test_another_collector_was_first(auditor: Auditor) -> None:
    """Its bundle takes the number while ours is uploaded: ours follows on it."""
    auditor.staged()
    auditor.staged(NOVEMBER)

    def other() -> None:
        auditor.store.before_put = []
        home = auditor.directory / "production/.lock"
        home.rename(home.with_name(".taken"))
        auditor.make(begin=NOVEMBER.begin, end=NOVEMBER.end)

    auditor.store.before_put = [other]
    result = auditor.make()
    assert result["number"] == 2
    assert [key for key in auditor.store.bundles() if key.endswith("json")] == ["00000001.json", "00000002.json"]
    paths = sorted((auditor.directory / "production").glob("audit-*Z"))
    assert verify("--public-key", auditor.public, *paths).returncode == 0
    assert [each["number"] for each in auditor.store.records()] == [1, 2]


def test_another_collector_was_first_with_the_same_period(auditor: Auditor) -> None:
    """On another controller. A period has one bundle, and ours is put aside."""
    staging = auditor.staged(outcome="partial", reason="it was rotated")
    ours, theirs = auditor.directory, auditor.home / "elsewhere"
    auditor.directory = theirs
    auditor.staged()
    auditor.directory = ours

    def other() -> None:
        auditor.store.before_put = []
        auditor.make(directory=str(theirs))

    auditor.store.before_put = [other]
    result = auditor.make()
    assert (result["number"], result["changed"], result["path"]) == (1, False, None)
    assert [key for key in auditor.store.bundles() if key.endswith("json")] == ["00000001.json"]
    assert [each["number"] for each in auditor.store.records()] == [1]
    assert not (ours / "production" / NAME_OF).exists()
    assert not staging.exists()


def test_one_at_a_time_on_a_machine(auditor: Auditor) -> None:
    auditor.staged()
    with (auditor.directory / "production/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LockedError, match="Another bundle"):
            auditor.make()
    assert auditor.make()["changed"]


def test_a_store_that_goes_away_costs_nothing(auditor: Auditor) -> None:
    staging = auditor.staged()
    auditor.store.before_put = [lost] * 100
    with pytest.raises(StorageError) as raised:
        auditor.make()
    (check,), (action,) = findings.failure(raised.value, "2026-11-05T00:00:00Z")
    assert (check.status, action["status"]) == ("unknown", "failed")
    assert "What was collected is kept" in check.remedy
    assert (staging / "app1" / NAME).is_file()
    auditor.store.before_put = []
    assert auditor.make()["changed"]


def test_a_full_disk_leaves_what_was_collected(auditor: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = auditor.staged()

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(bundle, "put", full)
        with pytest.raises(EvidenceError, match="Free space there"):
            auditor.make()
    (check,), _action = findings.failure(EvidenceError("The bundle does not verify"), "2026-11-05T00:00:00Z")
    assert check.status == "critical"
    assert auditor.store.bundles() == []
    assert (staging / PLATFORM / NAME).is_file()
    assert auditor.make()["changed"]


def test_what_is_in_the_way_is_put_aside(auditor: Auditor) -> None:
    """A bundle of another store, such as that of a sandbox that was thrown away, is not ours to delete."""
    auditor.staged()
    old = auditor.make()
    auditor.store.objects.clear()
    (auditor.home / "witness.jsonl").unlink()
    auditor.staged(outcome="partial", reason="it was rotated")
    auditor.make()
    (aside,) = (auditor.directory / "production").glob("*.superseded-*")
    assert aside.name.endswith(old["digest"][:8])
    assert verify("--public-key", auditor.public, aside).returncode == 0


def test_a_limit_of_bytes(auditor: Auditor) -> None:
    auditor.staged()
    with pytest.raises(EvidenceError, match="audit_collection_scratch_limit"):
        auditor.make(scratch_limit=10)
    assert auditor.store.bundles() == []


# What is incomplete is never ok


def test_a_partial_source_is_a_warning(auditor: Auditor) -> None:
    gap = Gap("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", "journal begins late")
    auditor.staged(outcome="partial", reason="a part is missing", gaps=[gap])
    checks = auditor.checks(auditor.make())
    assert (checks["audit.bundle"], checks["audit.source:app1/app"]) == ("warning", "warning")
    assert checks[f"audit.source:{PLATFORM}/orders"] == "ok"
    # Also when nothing is made any more.
    assert auditor.checks(auditor.make())["audit.bundle"] == "warning"


@pytest.mark.parametrize("trouble", ["absent", "altered", "gone", "link", "strange", "other period"])
def test_a_host_or_file_that_is_not_as_collected_has_failed(auditor: Auditor, trouble: str) -> None:
    staging = auditor.staged()
    path = staging / "app1/app/app.jsonl.gz"
    if trouble == "absent":
        (staging / "app1" / NAME).unlink()
    elif trouble == "altered":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif trouble == "gone":
        path.unlink()
    elif trouble == "link":
        path.rename(auditor.home / "elsewhere")
        path.symlink_to(auditor.home / "elsewhere")
    elif trouble == "strange":
        (staging / "app1" / NAME).write_text('{"version": 2}')
    else:
        collect(staging / "app1", source(staging / "app1", "app", b"1\n"), period=NOVEMBER)
    result = auditor.make()
    checks = auditor.checks(result)
    name = "app" if trouble in ("altered", "gone", "link") else "collection"
    assert (checks["audit.bundle"], checks[f"audit.source:app1/{name}"]) == ("unknown", "unknown")
    assert checks[f"audit.source:{PLATFORM}/orders"] == "ok"
    folder = Path(result["path"])
    assert not [each for each in folder.glob("data/app1/**/*") if each.is_file()]
    assert "INCOMPLETE" in verify("--public-key", auditor.public, folder).stdout


def test_no_data_at_all_is_no_bundle(auditor: Auditor) -> None:
    staging = auditor.staged()
    for place in ("app1", PLATFORM):
        (staging / place / NAME).unlink()
    with pytest.raises(EvidenceError, match="Nothing was collected"):
        auditor.make()
    assert auditor.store.bundles() == []


def test_secrets_do_not_get_into_the_bundle(auditor: Auditor) -> None:
    """Redacted before they are packed, under a key that follows from the signing key."""
    staging = auditor.staged()
    line = b'{"message": "login", "password": "hunter2-is-no-secret", "client": "CUST-1234567"}\n'
    collect(staging / "app1", source(staging / "app1", "app", line * 3))
    result = auditor.make(redaction=[{"name": "client", "fields": ["client"], "pattern": None, "action": "pseudonym"}])
    assert auditor.checks(result)["audit.bundle"] == "ok"
    text = gzip.decompress((Path(result["path"]) / "data/app1/app/app.jsonl.gz").read_bytes())
    assert (text.count(b"\n"), b"hunter2" in text, b"CUST-" in text) == (3, False, False)
    (counted,) = [each["redactions"] for each in result["sources"] if each["name"] == "app"]
    assert counted["client"] == 3
    assert not list((auditor.directory / "production").glob(".*.clean"))


def test_what_the_second_look_finds_fails_its_source(auditor: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = auditor.staged()
    with monkeypatch.context() as patched:
        patched.setattr(scan, "files", lambda _target, found: ["app: token"] * (found.name == "app"))
        result = auditor.make()
    checks = auditor.checks(result)
    assert (checks["audit.source:app1/app"], checks[f"audit.source:{PLATFORM}/orders"]) == ("unknown", "ok")
    # The only copy of it stays, also when the bundle is looked at again, until it is in a bundle.
    assert str(staging) in result["notes"][0]
    assert str(staging) in auditor.make()["notes"][0]
    assert staged.complete(staging / "app1", PERIOD)
    assert set(auditor.checks(auditor.make(again=True)).values()) == {"ok"}
    assert not staging.exists()


def test_the_ledger_does_not_fail_by_the_second_look(auditor: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not redacted, so that no rule could help."""
    auditor.staged(kind="ledger")
    monkeypatch.setattr(scan, "files", lambda _target, found: ["app: token"] * (found.name == "app"))
    checks = auditor.checks(auditor.make())
    assert (checks["audit.source:app1/app"], checks["audit.notes"]) == ("ok", "warning")


def test_a_defect_in_redaction_fails_its_source_alone(auditor: Auditor, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = auditor.staged()
    whole = redact.source

    def deep(folder: Path, given: Any, scratch: Any, rules: Any) -> Any:
        if given.name == "app":
            raise RecursionError
        return whole(folder, given, scratch, rules)

    monkeypatch.setattr(redact, "source", deep)
    checks = auditor.checks(auditor.make())
    assert (checks["audit.source:app1/app"], checks[f"audit.source:{PLATFORM}/orders"]) == ("unknown", "ok")
    assert (staging / "app1" / NAME).is_file()


# What an earlier run left


def test_what_was_collected_by_other_options_does_not_count(auditor: Auditor) -> None:
    staging = auditor.staged()
    staged.put(staging / "app1", "old", encoded(staged.read(staging / "app1")))
    prepared = engine.prepare(auditor.options(), engine.Context("r2", "ada", NOW))
    assert prepared["collected"] == {"app1": "old", PLATFORM: ""}
    result = auditor.make(plans={"app1": "new"})
    assert auditor.checks(result)["audit.source:app1/collection"] == "unknown"


def test_a_host_with_an_incomplete_source_is_collected_again(auditor: Auditor) -> None:
    auditor.staged(outcome="partial", reason="it was rotated")
    prepared = engine.prepare(auditor.options(), engine.Context("r2", "ada", NOW))
    assert prepared["collected"] == {PLATFORM: ""}


def test_a_source_that_was_complete_stays(tmp_path: Path) -> None:
    """What the journal has thrown away since an earlier run is still on the controller, by the same options."""
    theirs, ours = tmp_path / "host", tmp_path / "app1"
    first = collect(theirs, source(theirs, "app", b"1\n2\n"), source(theirs, "web", b"1\n"), host="app1").to_dict()
    assert fetch.fetched(first, "app1", ours, copier(theirs), 0, "plan") == 2
    app = source(theirs, "app", b"2\n", outcome="partial", reason="it begins late")
    second = collect(theirs, app, source(theirs, "web", b"1\n2\n"), host="app1").to_dict()
    assert fetch.fetched(second, "app1", ours, copier(theirs), 0, "plan") == 1
    assert [(each.outcome, each.records) for each in staged.read(ours).sources] == [("complete", 2), ("complete", 2)]
    assert staged.complete(ours, PERIOD)
    fetch.fetched(second, "app1", ours, copier(theirs), 0, "another")
    assert [each.outcome for each in staged.read(ours).sources] == ["partial", "complete"]


@pytest.mark.parametrize(
    "changes",
    [
        {"redaction": [{"name": "slow", "pattern": r"(a+)+\1$", "fields": None, "action": "mask"}]},
        {"pseudonym_key": "too short"},
    ],
)
def test_rules_that_make_no_sense_are_refused_before_anything_is_collected(
    auditor: Auditor, changes: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError):
        engine.prepare(auditor.options(**changes), engine.Context("r1", "ada", NOW))


def test_hosts_are_told_which_days_runs_measured_their_clocks(auditor: Auditor) -> None:
    evidence = auditor.options()["evidence"]
    ledger.append(
        *(STORAGE, "production", "run"),
        actor="ada",
        run_id="r0",
        subjects=[{"name": "report", "digest": {"sha256": "0" * 64}}],
        content={"clocks": {"app1": {"synchronised": True, "error": 0.001}}},
        signing_key=evidence["signing_key_file"],
        trusted_keys=evidence["trusted_key_files"],
        lock_mode="none",
        lock_days=1,
    )
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    of = {"begin": f"{today - timedelta(days=1):%Y-%m-%d}", "end": f"{today + timedelta(days=1):%Y-%m-%d}"}
    context = engine.Context("r1", "ada", today + timedelta(days=2))
    prepared = engine.prepare(auditor.options(**of), context)
    assert prepared["clocks"] == {"app1": [f"{today:%Y-%m-%d}"]}


# The chain


def test_a_gap_between_periods_is_a_warning(auditor: Auditor) -> None:
    auditor.staged()
    auditor.make()
    later = Period("2026-11-02T00:00:00Z", "2026-11-04T00:00:00Z")
    auditor.staged(later)
    result = auditor.make(begin=later.begin, end=later.end)
    assert auditor.checks(result)["audit.chain"] == "warning"


@pytest.mark.parametrize("trouble", ["gone", "altered", "another's"])
def test_nothing_is_chained_onto_a_broken_chain(auditor: Auditor, trouble: str, tmp_path: Path) -> None:
    auditor.staged()
    auditor.make()
    key = "here/audit/production/00000001.json"
    if trouble == "gone":
        del auditor.store.objects[key]
    elif trouble == "altered":
        auditor.store.objects[key] = auditor.store.objects[key].replace(b"a", b"b", 1)
    else:
        private, public = make_key(tmp_path, "other")
        auditor.private, auditor.public = private, public
    with pytest.raises(EvidenceError, match=r"docs/audit.md|not trusted|verify"):
        auditor.staged(NOVEMBER)
    with pytest.raises(EvidenceError):
        auditor.make(begin=NOVEMBER.begin, end=NOVEMBER.end)
    assert len([key for key in auditor.store.bundles() if key.endswith(".tar")]) == 1


@pytest.mark.parametrize(
    ("trouble", "status", "says"),
    [
        ("none", "ok", "2 bundles"),
        ("unlocked", "critical", "has no lock, instead of until 2033-11-01"),
        ("shortened", "critical", "is locked only until 2026-12-01, instead of until 2033-11-01"),
        ("statement", "critical", "00000001.json has no lock"),
        ("gone", "critical", ".tar is gone"),
        ("lifted", "warning", "A legal hold was lifted"),
        ("hidden", "unknown", "is not known"),
        ("no locks", "unknown", "no object lock"),
    ],
)
def test_the_store_still_keeps_earlier_bundles(auditor: Auditor, trouble: str, status: str, says: str) -> None:
    auditor.staged()
    first = auditor.make(legal_hold=True)
    auditor.staged(NOVEMBER)
    of = {"begin": NOVEMBER.begin, "end": NOVEMBER.end}
    auditor.make(**of)
    store, archive = auditor.store, first["key"]
    if trouble == "unlocked":
        del store.retention[archive]
    elif trouble == "shortened":
        store.retention[archive]["RetainUntilDate"] = datetime(2026, 12, 1, tzinfo=UTC)
    elif trouble == "statement":
        del store.retention["here/audit/production/00000001.json"]
    elif trouble == "gone":
        del store.objects[archive]
    elif trouble == "lifted":
        store.holds[archive] = "OFF"
    elif trouble == "hidden":
        store.get_object_retention = denied  # type: ignore[method-assign]
    elif trouble == "no locks":
        store.object_lock = False
    (check,) = [each for each in findings.findings(auditor.make(**of), "")[0] if each.id == "audit.locks"]
    assert (check.status, says in check.message) == (status, True), check.message
    assert bool(check.remedy) is (status != "ok")


def test_beyond_its_retention_a_bundle_may_go(auditor: Auditor) -> None:
    auditor.staged()
    first = auditor.make(retention={"class": "short", "days": 3})
    auditor.staged(NOVEMBER)
    of = {"begin": NOVEMBER.begin, "end": NOVEMBER.end}
    del auditor.store.objects[first["key"]]
    assert auditor.checks(auditor.make(**of))["audit.locks"] == "ok"
    chain, newest = chain_of(auditor)
    assert locks.kept(chain, newest, NOW)["lost"] == []
    assert locks.kept(chain, newest, datetime(2026, 11, 3, tzinfo=UTC))["lost"] == [f"{first['key']} is gone"]


def chain_of(auditor: Auditor) -> Any:
    made = engine._Maker(auditor.options(), engine.Context("r1", "ada", NOW), engine.work_of(auditor.options(), NOW))
    return made.chain, made.chain.newest(auditor.options()["evidence"])


def denied(**_given: Any) -> dict[str, Any]:
    raise error("AccessDenied", 403)


# Fetching


def copier(folder: Path) -> Callable[[str, str], object]:
    return lambda path, target: Path(target).write_bytes((folder / path).read_bytes())


def test_what_is_fetched_is_what_the_host_collected(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "host", tmp_path / "app1"
    data = collect(theirs, source(theirs, "app", b"1\n"), source(theirs, "web", b"2\n"), host="app1").to_dict()
    assert fetch.fetched(data, "app1", ours, copier(theirs), 0) == 2
    assert fetch.fetched(data, "app1", ours, copier(theirs), 0) == 0
    assert json.loads((ours / NAME).read_text()) == data
    (ours / "web/web.jsonl.gz").write_bytes(b"torn")
    (theirs / "web/web.jsonl.gz").write_bytes(b"other")
    with pytest.raises(EvidenceError, match="changed on its way"):
        fetch.fetched(data, "app1", ours, copier(theirs), 0)
    assert not (ours / NAME).exists()
    with pytest.raises(EvidenceError, match="of app1"):
        fetch.fetched(data, "app2", ours, copier(theirs), 0)
    with pytest.raises(EvidenceError, match="bytes"):
        fetch.fetched(data, "app1", ours, copier(theirs), 10)
    data["sources"][0]["files"][0]["path"] = "../../etc/passwd"
    with pytest.raises(EvidenceError, match="path"):
        fetch.fetched(data, "app1", ours, copier(theirs), 0)


# Periods


@pytest.mark.parametrize(
    ("given", "zone", "wanted"),
    [
        (("", "", ""), "UTC", ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")),
        (("", "", "2024-02"), "UTC", ("2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z")),
        (("", "", "2025-12"), "UTC", ("2025-12-01T00:00:00Z", "2026-01-01T00:00:00Z")),
        # Clocks change within it: 31 days and an hour.
        (("", "", "2026-10"), "Europe/Berlin", ("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z")),
        (("2026-10-25", "2026-10-26", ""), "Europe/Berlin", ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z")),
        # A day whose midnight does not exist.
        (("2018-11-04", "2018-11-05", ""), "America/Sao_Paulo", ("2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z")),
        (("2026-10-01T02:00:00+02:00", "2026-10-02", ""), "UTC", ("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z")),
    ],
)
def test_periods(given: tuple[str, str, str], zone: str, wanted: tuple[str, str]) -> None:
    found = period(*given, zone, NOW)
    assert (found.begin, found.end) == wanted


def test_the_last_month_is_that_of_the_zone() -> None:
    late = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)
    assert period("", "", "", "UTC", late).end == "2026-10-01T00:00:00Z"
    assert period("", "", "", "Europe/Berlin", late).end == "2026-10-31T23:00:00Z"


@pytest.mark.parametrize(
    "given",
    [
        ("2026-11-01", "2026-11-06", "", "UTC"),
        ("", "", "2026-11", "UTC"),
        ("2026-10-02", "2026-10-01", "", "UTC"),
        ("2026-10-01", "2026-10-01", "", "UTC"),
        ("2026-10-01", "", "", "UTC"),
        ("2026-10-01", "2026-10-02", "2026-10", "UTC"),
        ("", "", "2026-13", "UTC"),
        ("", "", "october", "UTC"),
        ("2026-10-01T00:00:00", "2026-10-02", "", "UTC"),
        ("2026-02-29", "2026-03-01", "", "UTC"),
        ("", "", "", "Mars/Olympus"),
        ("", "", "", "../../etc/passwd"),
    ],
)
def test_periods_that_are_none_or_not_over(given: tuple[str, str, str, str]) -> None:
    with pytest.raises(ConfigurationError):
        period(*given, NOW)
