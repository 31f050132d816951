"""pgBackRest without one: its configuration, what it says, its errors, WAL by name, schedules."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options as backup_options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import physical
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import (
    configuration,
    info,
    messages,
    program,
    schedule,
    setup,
    wal,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import restore_point
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import objects, store
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    BackupError,
    ConfigurationError,
    LockedError,
    StorageError,
)
from hypothesis import given
from hypothesis import strategies as st

SECRET = "s3cret% 'x"
REPOSITORY = {
    **{name: spec.get("default") for name, spec in configuration.REPOSITORY_SPEC.items()},
    "bucket": "b",
    "path": "/pgbackrest/x/",
    "access_key": "A",
    "secret_key": SECRET,
    "cipher_pass": SECRET,
}
OPTIONS = {
    **{name: spec.get("default") for name, spec in setup.SPEC.items()},
    "stanza": "main",
    "data_directory": "/data",
    "repositories": [REPOSITORY],
}


def rendered(**changes: Any) -> dict[str, str]:
    sections = configuration.render({**OPTIONS, "repositories": [{**REPOSITORY, **changes}]})
    return {**sections["global"], **sections["main"]}


def test_configuration_expires_nothing_and_hides_secrets() -> None:
    sections = configuration.render(OPTIONS)
    values = sections["global"]
    assert values["repo1-retention-full"] == "9999999"
    assert values["expire-auto"] == "n"
    assert values["repo1-path"] == "/pgbackrest/x"
    assert not [name for name in values if name.endswith("-block")]
    assert values["repo1-cipher-pass"] == SECRET
    text = configuration.text(sections)
    assert configuration.parsed(text) == sections
    assert SECRET not in configuration.text(sections, hide=True)
    two = configuration.render({**OPTIONS, "repositories": [REPOSITORY, {**REPOSITORY, "bucket": "c"}]})
    assert two["global"]["repo2-s3-bucket"] == "c"


def test_blocks_from_the_version_on_that_restores_them() -> None:
    def block(version: tuple[int, ...], **changes: Any) -> str | None:
        made = configuration.render({**OPTIONS, "repositories": [{**REPOSITORY, **changes}]}, version)
        return made["global"].get("repo1-block")

    assert [block(version) for version in ((2, 45), (2, 54), (2, 55), (2, 57))] == [None, None, "y", "y"]
    assert block((2, 55), block=False) is block((2, 55), bundle=False) is None
    assert block((2, 55), block=True) == "y"
    for version, changes in (((2, 54), {"block": True}), ((2, 55), {"block": True, "bundle": False})):
        with pytest.raises(ConfigurationError, match=r"2\.55 or newer"):
            block(version, **changes)


def test_repository_of_aws_and_of_others() -> None:
    aws = rendered(region="eu-central-1")
    assert (aws["repo1-s3-endpoint"], aws["repo1-storage-port"]) == ("s3.eu-central-1.amazonaws.com", "443")
    assert aws["repo1-s3-uri-style"] == "host"
    other = rendered(endpoint="https://s3.example.com:9000")
    assert (other["repo1-s3-endpoint"], other["repo1-storage-port"]) == ("s3.example.com", "9000")
    assert other["repo1-s3-uri-style"] == "path"
    role = rendered(access_key=None, secret_key=None)
    assert role["repo1-s3-key-type"] == "auto"
    assert "repo1-s3-key" not in role
    assert "repo1-cipher-pass" not in rendered(encryption="none", cipher_pass=None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"endpoint": "http://s3.example.com"}, "TLS only"),
        ({"endpoint": "https://s3.example.com/path"}, "cannot use"),
        ({"cipher_pass": None}, "no cipher_pass"),
        ({"secret_key": None}, "no secret key"),
        ({"path": "/"}, "no path"),
        ({"cipher_pass": "two\nlines"}, "cipher-pass"),
    ],
)
def test_repository_that_makes_no_sense(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        rendered(**changes)
    assert SECRET not in str(caught.value)


def test_stanza_that_makes_no_sense() -> None:
    for name in ("", "a b", "global", "../x", "x]\n[y"):
        with pytest.raises(ConfigurationError, match="stanza"):
            configuration.render({**OPTIONS, "stanza": name})


def test_repository_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "c.conf"
    path.write_text(configuration.text(configuration.render(OPTIONS)))
    assert configuration.repository(str(path), "main", 1) == (1, "b", "pgbackrest/x", "aes-256-cbc")
    for stanza, number, words in (("other", 1, "no stanza"), ("main", 2, "no repository 2")):
        with pytest.raises(ConfigurationError, match=words):
            configuration.repository(str(path), stanza, number)


def backup(label: str, prior: str | None, *reference: str, repository: int = 1) -> dict[str, Any]:
    return {
        "archive": {"start": "0" * 24, "stop": "0" * 24},
        "backrest": {"format": 5, "version": "2.45"},
        "database": {"id": 1, "repo-key": repository},
        "error": False,
        "info": {"delta": 1, "repository": {"delta": 2, "size": 3}, "size": 4},
        "label": label,
        "lsn": {"start": "0/1", "stop": "0/2"},
        "prior": prior,
        "reference": list(reference) or None,
        "timestamp": {"start": 1_795_543_943, "stop": 1_795_543_948},
        "type": {"F": "full", "D": "diff", "I": "incr"}[label[-1]],
    }


FULL, DIFF, INCR = "20261124-181223F", "20261124-181223F_20261124-181229D", "20261124-181223F_20261124-181300I"


def said(*backups: dict[str, Any], code: int = 0, message: str = "ok") -> str:
    return json.dumps(
        [
            {
                "archive": [{"database": {"id": 1, "repo-key": 1}, "id": "15-1", "max": "B", "min": "A"}],
                "backup": list(backups),
                "cipher": "none",
                "db": [{"id": 1, "repo-key": 1, "system-id": 77, "version": "15"}],
                "name": "main",
                "repo": [{"cipher": "none", "key": 1, "status": {"code": code, "message": message}}],
                "status": {"code": code, "lock": {"backup": {"held": False}}, "message": message},
            }
        ]
    )


def test_info_and_chains() -> None:
    stanza = info.parse(said(backup(FULL, None), backup(DIFF, FULL, FULL), backup(INCR, DIFF, FULL)), "main", 1)
    assert [each.requires for each in stanza.backups] == [[], [FULL], [FULL, DIFF]]
    assert (stanza.problem, stanza.system_identifier, stanza.newest_wal) == (None, "77", {"15-1": "B"})
    assert stanza.of(INCR) is not None
    # Backups of another repository are another's.
    assert info.parse(said(backup(FULL, None, repository=2)), "main", 1).backups == []


def test_two_clusters_in_a_stanza() -> None:
    (given,) = json.loads(said(backup(FULL, None)))
    given["db"].append({"id": 2, "repo-key": 1, "system-id": 78, "version": "18"})
    given["archive"].append({"database": {"id": 2, "repo-key": 1}, "id": "18-2", "max": None, "min": None})
    stanza = info.parse(json.dumps([given]), "main", 1)
    assert (stanza.system_identifier, stanza.version) == ("78", "18")
    assert [(each.archive_id, each.system_identifier) for each in stanza.backups] == [("15-1", "77")]
    # Each has WAL of its own, the newer one none yet.
    assert stanza.newest_wal == {"15-1": "B"}


@pytest.mark.parametrize(
    ("code", "exists", "problem"), [(1, False, "m"), (2, True, None), (3, False, "m"), (99, True, "m")]
)
def test_info_of_a_stanza_that_is_not_well(code: int, exists: bool, problem: str | None) -> None:
    stanza = info.parse(said(code=code, message="m"), "main", 1)
    assert (stanza.exists, stanza.problem) == (exists, problem)


def test_info_that_is_none() -> None:
    for text in ("", "[{}]", "null", '[{"name": "main"}]'):
        with pytest.raises(BackupError, match="not understood"):
            info.parse(text, "main", 1)
    assert not info.parse("[]", "main", 1).exists
    # What a store answered comes with its line breaks.
    assert info.parse(said(code=99, message="one").replace("one", "one\ntwo"), "main", 1).problem == "one\ntwo"


def test_type_of_the_next_backup() -> None:
    stanza = info.parse(said(backup(FULL, None)), "main", 1)
    at = stanza.backups[0].stopped_at
    assert info.chosen_type("diff", stanza, at) == "diff"
    assert info.chosen_type("auto", stanza, at + timedelta(days=7)) == "incr"
    assert info.chosen_type("auto", stanza, at + timedelta(days=7, seconds=1)) == "full"
    assert info.chosen_type("auto", info.parse(said(), "main", 1), at) == "full"
    # A full backup of the cluster before a major upgrade is none to build on.
    stanza.system_identifier = "78"
    assert info.chosen_type("auto", stanza, at) == "full"


VERIFIED = f"""stanza: main
status: ok
  archiveId: 15-1, total WAL checked: 5, total valid WAL: 5
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: {FULL}, status: valid, total files checked: 1354, total valid files: 1354
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
"""


def test_verify_that_is_well() -> None:
    assert info.parse_verify(VERIFIED, [FULL], "15-1").problems == []


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("status: ok", "status: error", "verify says error"),
        ("status: valid", "status: invalid", "is invalid"),
        ("valid files: 1354", "valid files: 1353", "1353 of 1354 files"),
        ("valid WAL: 5", "valid WAL: 4", "4 of 5 segments"),
        ("missing: 0", "missing: 2", "2 missing"),
        ("checksum invalid: 0", "checksum invalid: 1", "1 with a wrong checksum"),
        ("size invalid: 0", "size invalid: 1", "1 of a wrong size"),
        ("other: 0", "other: 3", "3 otherwise wrong"),
        (f"backup: {FULL}", f"backup: {DIFF}", f"backup {FULL} was not verified"),
        ("checked: 1354", "checked: 0", f"backup {FULL} was not verified"),
        ("archiveId: 15-1", "archiveId: 14-1", "no WAL of 15-1"),
        ("stanza: main\n", "P00   ERROR: [055]: lost\n", "ERROR: [055]: lost"),
        (VERIFIED, "", "verify says nothing"),
    ],
)
def test_verify_that_is_not_well(before: str, after: str, words: str) -> None:
    assert words in "; ".join(info.parse_verify(VERIFIED.replace(before, after, 1), [FULL], "15-1").problems)


@pytest.mark.parametrize(
    ("text", "code", "kind", "words"),
    [
        ("P00  ERROR: [050]: unable to acquire lock on file", 50, LockedError, "[050]: unable to acquire"),
        ("ERROR: [082]: WAL segment was not archived", 82, BackupError, "pg_stat_archiver"),
        ("ERROR: [039]: <Code>InvalidAccessKeyId</Code>", 39, StorageError, "access key"),
        ("ERROR: [095]: unable to verify certificate", 95, StorageError, "CA"),
        ("ERROR: [031]: option 'x' invalid", 31, ConfigurationError, "backup_setup"),
        ("", -9, BackupError, "ended by a signal"),
        ("", 77, BackupError, "said nothing"),
    ],
)
def test_errors_say_what_to_do(text: str, code: int, kind: type[Exception], words: str) -> None:
    error = messages.failure("backup", code, text)
    assert type(error) is kind
    assert words in str(error)
    assert error.remedy


def test_what_the_store_answered_is_cut_to_what_it_means() -> None:
    text = "HTTP request failed with 403:\n*** Path/Query ***:\nGET /\n<Code>AccessDenied</Code><Message>No.</Message>x"
    error = messages.explained("It failed", text, BackupError, "")
    assert error.message == "It failed: HTTP request failed with 403: AccessDenied: No."
    assert isinstance(error, StorageError)


def test_versions_and_servers() -> None:
    assert [program.newest_server(version) for version in ((2, 45), (2, 48), (2, 54), (2, 55), (3, 0))] == [
        *(15, 16, 17, 18, 18)
    ]
    with pytest.raises(ConfigurationError, match="up to 15, the server is of version 17"):
        program.check_server((2, 45), 17)


def test_program_that_is_none(tmp_path: Path) -> None:
    fake = tmp_path / "pgbackrest"
    for text, words in (("echo pgBackRest 2.44", "2.45 or newer"), ("echo hello", "its version"), ("exit 3", "run")):
        fake.write_text(f"#!/bin/sh\n{text}\n")
        fake.chmod(0o755)
        with pytest.raises(ConfigurationError, match=words):
            program.find(str(fake))


SIZES = st.sampled_from([1 << power for power in range(20, 31)])


@given(SIZES, st.integers(0, 10**6), st.integers(0, 300))
def test_wal_segments_follow_each_other(size: int, first: int, count: int) -> None:
    per_file = 0x100000000 // size

    def name(number: int) -> str:
        return f"0000000A{number // per_file:08X}{number % per_file:08X}"

    names = wal.between(name(first), name(first + count), size)
    assert names == [name(first + each) for each in range(count + 1)]
    assert [wal.number(each, size) for each in names] == list(range(first, first + count + 1))


def test_wal_of_two_timelines_is_refused() -> None:
    with pytest.raises(BackupError, match="timeline"):
        wal.between("00000001" + "0" * 16, "00000002" + "0" * 16, 1 << 24)


@pytest.mark.parametrize(
    ("snapshot", "sessions", "nothing"),
    [
        ("10:10:", [], True),
        ("10:12:10", [], False),
        ("10:12:10", [(10, True)], True),
        ("10:12:10", [(10, False)], False),
        ("10:12:10,11", [(10, True)], False),
        # One that began after the last that ended is in no snapshot.
        ("10:10:", [(10, False)], False),
        ("10:10:", [(10, True), (11, False)], False),
        (f"{(1 << 32) + 5}:{(1 << 32) + 7}:{(1 << 32) + 5}", [(5, True)], True),
    ],
)
def test_transactions_that_may_be_committing(snapshot: str, sessions: list[tuple[int, bool]], nothing: bool) -> None:
    assert restore_point.nothing_commits(snapshot, sessions) is nothing


def scheduled(scheduler: str, **when: str) -> dict[str, str]:
    tool = SimpleNamespace(
        stanza="main",
        user=SimpleNamespace(name="postgres"),
        arguments=lambda command, *options: ["/usr/bin/pgbackrest", "--config=/a b%", *options, command],
    )
    found = schedule.files({"scheduler": scheduler, "schedule": when}, tool)  # type: ignore[arg-type]
    return {path.name: text for path, text in found.items()}


def test_schedules() -> None:
    timers = scheduled("timer", full="Sun 01:00")
    assert "OnCalendar=Sun 01:00" in timers["tradingflow-pgbackrest-main-full.timer"]
    assert (
        'ExecStart=/usr/bin/pgbackrest "--config=/a b%%" --type=full backup'
        in (timers["tradingflow-pgbackrest-main-full.service"])
    )
    assert [name for name, text in timers.items() if text] == [
        *("tradingflow-pgbackrest-main-full.service", "tradingflow-pgbackrest-main-full.timer")
    ]
    cron = scheduled("cron", incr="0 * * * *")["tradingflow-pgbackrest-main"]
    assert "0 * * * * postgres /usr/bin/pgbackrest '--config=/a b\\%' --type=incr backup\n" in cron
    assert not any(scheduled("none", full="Sun").values())
    for kind, when in (("full", "Sun 01:00"), ("ful", "0 0 * * *"), ("full", "0 0 * * *\n* * * * * root x")):
        with pytest.raises(ConfigurationError):
            scheduled("cron", **{kind: when})


def point(**changes: Any) -> bytes:
    id = "20261124T182047Z-903985"
    engine = {"name": "pgbackrest", "repository_path": "pgbackrest/x", "label": FULL, "requires": []}
    entry = {"key": f"pgbackrest/x/backup/main/{FULL}/backup.manifest", "size": 1, "sha256": None}
    whole = {
        "schema_version": 1,
        "id": id,
        "created_at": "2026-11-24T18:20:47Z",
        "engine": engine,
        "objects": [entry],
        "required_objects": [],
    }
    return json.dumps({**whole, **changes}).encode()


def test_objects_of_a_physical_recovery_point_are_the_repositorys() -> None:
    id = "20261124T182047Z-903985"
    assert store.parse(point(), "backups/x", id)["id"] == id
    strange = [{"key": "pgbackrest/xy/backup/main/1", "size": 1, "sha256": None}]
    for changes in ({"objects": strange}, {"required_objects": strange}):
        with pytest.raises(ValueError, match="elsewhere"):
            store.parse(point(**changes), "backups/x", id)


def test_who_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigurationError, match="Only root"):
        program.account("nobody")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert program.account("nobody").name == "nobody"
    for name, words in (("root", "must not run as root"), ("no such user", "no user")):
        with pytest.raises(ConfigurationError, match=words):
            program.account(name)


def test_schedule_is_written_once_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "tradingflow-pgbackrest-main"
    wanted = {written: "0 1 * * 0 postgres x\n"}
    monkeypatch.setattr(schedule, "files", lambda *_: wanted)

    def run(check: bool = False) -> list[str]:
        made = object.__new__(setup.Setup)
        made.options, made.tool, made.check = {}, None, check  # type: ignore[assignment]
        made.steps, made.diff = [], []
        made._schedule()
        return made.steps

    assert run(check=True) == [f"write {written}"]
    assert not written.exists()
    assert run() == [f"write {written}"]
    assert run() == []
    wanted[written] = ""
    assert run() == [f"remove {written}"]
    assert not written.exists()
    assert run() == []


class Bucket:
    """A store with two objects of a backup."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def get_paginator(self, _name: str) -> Any:
        return self

    def paginate(self, **arguments: Any) -> list[dict[str, Any]]:
        return [{"Contents": [{"Key": arguments["Prefix"] + n, "Size": 5, "ETag": '"e"'} for n in self.names]}]


def test_objects_of_a_backup_are_all_there() -> None:
    engine = {"repository_path": "p", "stanza": "s"}
    bucket = {"bucket": "b"}
    found = objects.of_backup(Bucket("backup.manifest", "bundle/1"), bucket, engine, FULL, 5)
    assert [entry["key"] for entry in found] == [f"p/backup/s/{FULL}/backup.manifest", f"p/backup/s/{FULL}/bundle/1"]
    for names, words in ((("bundle/1",), "backup.manifest"), (("backup.manifest",), "0 bytes instead of 5")):
        with pytest.raises(BackupError, match=words):
            objects.of_backup(Bucket(*names), bucket, engine, FULL, 5)


@pytest.mark.parametrize("exact", [True, False])
def test_recovery_point_that_is_not_exact_is_a_warning(exact: bool) -> None:
    made = {
        "id": "x",
        "environment": "e",
        "created_at": "",
        "finished_at": "",
        "engine": {"name": "pgbackrest", "label": FULL, "type": "full", "exact": exact},
        "database": {"name": "d", "tables": [], "server_version": "15", "schema_head": None},
        "application": {"files": 0, "version": None},
        "totals": {"bytes": 1, "objects": 1, "rows": 0},
    }
    result = {
        "recovery_point": made,
        "key": "k",
        "sha256": "0",
        "phases": {"backup": 1.0},
        "notes": {"restore_point_tries": 200},
        "verification": {"mode": "full", "ok": True, "objects": 1, "problems": []},
    }
    checks, (action,) = backup_options.findings(result, "2026-11-24T00:00:00Z")
    found = {check.id: check.status for check in checks}
    assert found["backup.completed:pgbackrest"] == found["backup.verified:pgbackrest"] == "ok"
    assert found.get("backup.exact:pgbackrest") == (None if exact else "warning")
    assert action["id"] == "backup.recovery_point:pgbackrest"


def test_the_backup_made_now_is_none_that_was_there_before() -> None:
    """What pgBackRest says has names of files in it."""
    old: Any = SimpleNamespace(label="20261128-010000F")
    new: Any = SimpleNamespace(label="20261129-010000F")
    before, after = (info.Stanza(True, "none", None, backups) for backups in ([old], [old, new]))
    file = f"P01 DETAIL: backup file host:/pg/x new backup label = {old.label} (8KB, 1%)\n"
    said = f"{file}P00   INFO: new backup label = {new.label}\n"
    assert physical.made_now(said, before, after) is new
    assert physical.made_now(file, before, after) is None
    assert physical.made_now(said, before, before) is None
    assert physical.made_now("", before, after) is None


def test_a_backup_that_was_expired_while_it_was_read_says_nothing_bad_of_itself() -> None:
    """Only where the repository says that it is gone, and knows the others."""
    error = BackupError("restore failed", "Read it.")

    def meant(label: str, answer: str | Exception) -> Any:
        def checked(*_: str) -> str:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return info.expired(SimpleNamespace(checked=checked, stanza="main"), 1, label, error)

    there = said(backup(FULL, None))
    assert meant(FULL, there) is error
    for answer in (BackupError("no store", "Wait."), "[]", said(code=99, message="m")):
        assert meant(DIFF, answer) is error
    found = meant(DIFF, there)
    assert isinstance(found, ConfigurationError)
    assert "expired while it was read" in found.message
    assert "restore failed" in found.message
