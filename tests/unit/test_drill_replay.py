"""The drill of physical recovery points: its judgement, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import (
    engines,
    options,
    physical,
    replay,
    restored,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import messages
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import instance, proof
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import programs as postgres_programs
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import fetch
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    BackupError,
    ConfigurationError,
    MaintenanceError,
    RestoreError,
    StorageError,
)

from tests.unit.test_drill_judgement import AT, OPTIONS, result

SIZE = 16 << 20
STORAGE = {"bucket": "b", "endpoint": "https://s3", "region": "r", "access_key": "a", "secret_key": "s"}
POINT: dict[str, Any] = {"id": "i", "engine": {"repository_path": "pgbackrest/x", "cipher": "aes-256-cbc"}}
KNOWN = {"bucket": "b", "path": "/pgbackrest/x/", "cipher_pass": "c"}


@pytest.mark.parametrize(
    ("place", "newest", "status"),
    [
        # At the end of segment 5, inside of it, and at its very first byte, which is the end of segment 4.
        (6 * SIZE, "000000010000000000000005", "ok"),
        (5 * SIZE + 100, "000000010000000000000005", "ok"),
        (5 * SIZE, "000000010000000000000005", "critical"),
        (5 * SIZE, "000000010000000000000004", "ok"),
        # More than was there when it was looked for.
        (9 * SIZE, "000000010000000000000005", "ok"),
        ((1 << 32) + SIZE, "000000010000000100000001", "critical"),
        ((1 << 32) + 2 * SIZE, "000000010000000100000001", "ok"),
        # As far, but not where the present is.
        (6 * SIZE, "000000020000000000000003", "critical"),
        (6 * SIZE, None, "critical"),
    ],
)
def test_end_of_the_wal(place: int, newest: str | None, status: str) -> None:
    check = replay.judged(replay.End(1, place, "0/0"), newest, SIZE, None)
    assert (check.status, bool(check.remedy)) == (status, status != "ok")


def test_what_kept_it_from_a_segment_decides_whose_fault_it_is() -> None:
    end = replay.End(1, SIZE, "0/0")
    for trouble, status in (
        (StorageError("The store is away.", "Wait."), "unknown"),
        (ConfigurationError("No space.", "Make some."), "unknown"),
        (RestoreError("It is damaged.", "Alas."), "critical"),
    ):
        check = replay.judged(end, "000000010000000000000005", SIZE, trouble)
        assert (check.status, trouble.message in check.message) == (status, True)
    # It came to the end all the same: some attempt went well.
    assert replay.judged(end, "000000010000000000000000", SIZE, StorageError("Away.")).status == "ok"


def test_distance_between_segments() -> None:
    assert replay.distance("0000000100000000000000FE", "000000020000000100000001", SIZE) == 3
    assert replay.distance("000000010000000000000009", "000000010000000000000003", SIZE) == 0
    assert replay.distance("000000010000000000000009", None, SIZE) == 0


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (49, "ERROR: [049]: unable to connect to 'h:1': [111] Connection refused", StorageError),
        (39, "ERROR: [039]: HTTP request failed with 503 (Service Unavailable)", StorageError),
        (39, "ERROR: [039]: HTTP request failed with 403 (Forbidden): <Code>AccessDenied</Code>", StorageError),
        (64, "ERROR: [064]: unable to write '/x': [28] No space left on device", ConfigurationError),
        (41, "ERROR: [041]: unable to open '/x': [13] Permission denied", ConfigurationError),
        (95, "ERROR: [095]: unable to set user-defined CA certificate location: [2147483661] no", StorageError),
        (55, "ERROR: [055]: unable to open missing file '/r/backup.manifest' for read", RestoreError),
        (
            26,
            "ERROR: [026]: error restoring 'x': actual checksum 'a' does not match expected checksum 'b'",
            RestoreError,
        ),
        (29, "ERROR: [029]: zst error: [-1] Data corruption detected", RestoreError),
        (1, "It fell over.", RestoreError),
    ],
)
def test_what_a_failure_of_pgbackrest_says_of_the_recovery_point(
    code: int, said: str, kind: type[MaintenanceError]
) -> None:
    error = physical.meaning(messages.failure("restore", code, said))
    assert type(error) is kind, error
    assert error.remedy
    assert type(physical.meaning(error, full=True)) is ConfigurationError
    assert physical.meaning(BackupError("a\x00\x1bb")).message.isprintable()


def test_repository_is_the_one_that_the_recovery_point_names() -> None:
    other = {**KNOWN, "path": "pgbackrest/y"}
    elsewhere = {**KNOWN, "bucket": "c"}
    given = {"storage": STORAGE, "pgbackrest": {"repositories": [other, elsewhere, KNOWN]}}
    assert physical.repository_of(given, POINT) is KNOWN
    for repositories in ([other, elsewhere], []):
        with pytest.raises(ConfigurationError, match="pgbackrest/x of the bucket b"):
            physical.repository_of({**given, "pgbackrest": {"repositories": repositories}}, POINT)
    plain = {**POINT, "engine": {**POINT["engine"], "cipher": "none"}}
    made = physical.repository_of({"storage": STORAGE, "pgbackrest": None}, plain)
    assert (made["bucket"], made["path"], made["encryption"]) == ("b", "pgbackrest/x", "none")
    with pytest.raises(ConfigurationError):
        physical.repository_of(given | {"pgbackrest": {"repositories": [other]}}, plain)


def test_counts_of_another_moment_are_never_ok() -> None:
    checks = proof.compare({}, {"engine": {"name": "pgbackrest", "exact": False}, "database": {}}, 1, lambda: None)
    assert {check.id for check in checks} == {f"drill.{name}" for name in proof.COMPARED}
    assert {check.status for check in checks} == {"unknown"}


def physical_result(**changes: Any) -> dict[str, Any]:
    made = result(**changes)
    return {**made, "recovery_point": {**made["recovery_point"], "engine": "pgbackrest"}}


def test_checks_of_two_drills_in_one_run_stand_beside_each_other() -> None:
    found = {}
    for made in (result(), physical_result()):
        checks, (action,), _ = options.findings(made, OPTIONS, AT)
        found[action["id"]] = {check.id for check in checks}
    logical, other = found["drill.restore"], found["drill.restore:pgbackrest"]
    assert not logical & other
    assert {id.removesuffix(":pgbackrest") for id in other} == logical
    for engine, id in (("any", "drill.restored"), ("pgbackrest", "drill.restored:pgbackrest")):
        (check,), _actions = options.failure("No.", "Do.", "StorageError", AT, engine)
        assert check.id == id


def test_loss_of_data_is_judged_from_an_older_backup_too() -> None:
    chosen = {**OPTIONS, "recovery_point": "random"}
    checks, _, summary = options.findings(physical_result(rpo_seconds=10.0**7), chosen, AT)
    (check,) = [check for check in checks if check.id == "drill.rpo:pgbackrest"]
    assert (check.status, summary["rpo_seconds"]) == ("critical", 10.0**7)
    assert "archive_timeout" in check.remedy


@pytest.mark.parametrize("phase", ["replay", "promote"])
def test_replay_that_fails_after_the_proof_is_no_proof(phase: str) -> None:
    problem = {"phase": phase, "kind": "RestoreError", "message": "It ended.", "remedy": "Mend it."}
    checks, (action,), summary = options.findings(physical_result(problem=problem, rto_seconds=None), OPTIONS, AT)
    assert {check.status for check in checks if check.id == "drill.restored:pgbackrest"} == {"critical"}
    assert (summary["worst_status"], action["status"]) == ("critical", "failed")


def test_objects_of_pgbackrest_lie_elsewhere() -> None:
    point = {
        "objects": [{"key": "p/ID/application/data", "role": "application files"}, {"key": "r/x", "role": "backup"}]
    }
    assert [each["key"] for each in fetch.ours(point)] == ["p/ID/application/data"]


def server(folder: Path, major: int) -> str:
    """Programs that say that they are of a version."""
    folder.mkdir(parents=True)
    for name in physical.Physical.programs:
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {major}.1'\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("major", [14, 17])
def test_only_the_same_version_replays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, major: int) -> None:
    monkeypatch.setattr(postgres_programs, "INSTALLED", (str(tmp_path / "*/bin"),))
    given = {"pg_bin_dir": server(tmp_path / "named", major)}
    server(tmp_path / "18/bin", 18)
    with pytest.raises(ConfigurationError, match=f"of PostgreSQL {major}, the recovery point of 15"):
        engines.tools(given, physical.Physical, {"database": {"server_version_num": 150014}})
    assert engines.tools(given, physical.Physical, {"database": {"server_version_num": major * 10000}})
    # After a major upgrade the other version's are found where the distribution has them.
    own = server(tmp_path / "15/bin", 15)
    found = engines.tools(given, physical.Physical, {"database": {"server_version_num": 150014}})
    assert {str(Path(path).parent) for path in found.values()} == {own}


def test_nobody_else_is_let_in_on_loopback(tmp_path: Path) -> None:
    server = restored.Restored(tmp_path, {}, None, {"max_logical_replication_workers": 4})
    assert server._settings["max_logical_replication_workers"] == "0", "or it would speak to the source's publishers"
    with server:
        rules = tmp_path / "server/pg_hba.conf"
        assert rules.read_text() == "local all all trust\n"
        assert (tmp_path / "server").stat().st_mode & 0o777 == 0o700
        server._let_in += ["own", 'all "x"']
        server._write("pg_hba.conf", server._rules())
        assert rules.read_text().splitlines()[1] == 'host all "own","all ""x""" 127.0.0.1/32 scram-sha-256'
        assert rules.stat().st_mode & 0o777 == 0o600
    assert instance.FORCED["archive_mode"] == "off"
