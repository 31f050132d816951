"""The watchdog against a real server that archives into a real store: each silent stop is seeded once.

The tests change one server one after another: what loses WAL for good comes last.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import backups as checks
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import wal
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import anomaly
from ansible_collections.tradingflow.maintenance.plugins.module_utils._wal import names
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import OK

from sandbox.postgres import _environment, _identity
from tests.integration.wal_fixtures import Archiving, source

_ = source


@pytest.fixture(scope="module")
def made(source: Archiving) -> list[dict[str, Any]]:
    """A full backup, three segments that belong to no recovery point, and an incremental one. Oldest first."""
    first = source.backup("full")["recovery_point"]
    between = [source.switched() for _each in range(3)]
    second = source.backup("incr")["recovery_point"]
    assert second["engine"]["requires"] == [first["engine"]["label"]]
    return [first, {"between": between}, second]


def test_all_is_well(source: Archiving, made: list[dict[str, Any]]) -> None:
    found = source.watched()
    assert {id: check.status for id, check in found.items()} == dict.fromkeys(
        ("clock:database", "wal_archived", "wal_gaps", "wal_of_backups"), OK
    ), [check.message for check in found.values() if check.status != OK]
    assert (found["wal_gaps"].value, found["wal_of_backups"].value) == (0, 2)
    # Where the server writes nothing, nothing is late: archive_timeout bounds what may be lost.
    with source.setting("archive_timeout", "1"):
        source.switched()
        source.until(lambda: source.watched()["wal_archived"].value <= 1)
    measured = {check.id: check for check in checks.measure(source.check_options())}
    # There is no ledger that could say what was proven, or that a recovery point is missing.
    kept = measured.pop("backups.kept_intact")
    assert kept.message.startswith("What is in the store is whole, but"), kept.message
    assert kept.details["points"] == 2
    everything = {id: check.status for id, check in measured.items()}
    assert everything.pop("backups.proven_restore:pgbackrest") == "unknown"
    assert set(everything.values()) == {OK}
    assert {f"{anomaly.SIZE}:pgbackrest", "backups.clock:store", "backups.store_certificate"} <= set(everything)


def test_names_are_postgresqls_own(source: Archiving) -> None:
    numbers = random.Random(7)
    # A position at the very end of a segment belongs to it; since PostgreSQL 17 to the next.
    belongs = int(source.sql("SHOW server_version_num")[0][0]) < 170000
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        home = Path(folder)
        home.chmod(0o777)
        binaries, data = Path(source.sandbox.state["postgres"]["bin_dir"]), str(home / "data")
        how: dict[str, Any] = {"env": _environment(), "cwd": "/", "capture_output": True, "text": True, **_identity()}
        initdb = ("-U", "postgres", "--no-sync", "--wal-segsize=1")
        subprocess.run([binaries / "initdb", "-D", data, *initdb], check=True, **how)
        for size in (1 << 20, 1 << 24):
            places = [*(numbers.getrandbits(40) for _each in range(200)), 1 << 32, (1 << 32) - 1, size, size + 1]
            query = (
                "SELECT string_agg(pg_walfile_name('0/0'::pg_lsn + lsn), ' ' ORDER BY i)"
                f" FROM unnest(ARRAY{places}::bigint[]) WITH ORDINALITY AS p(lsn, i)"
            )
            if size == 1 << 24:
                answer = source.sql(query)[0][0].split()
            else:
                single = [str(binaries / "postgres"), "--single", "-D", data, "postgres"]
                said = subprocess.run(single, input=query + "\n", check=True, **how).stdout
                answer = said.split('"')[1].split()
            expected = [(place - belongs) // size for place in places]
            assert answer == [names.name(1, number, size) for number in expected]
            assert [wal.number(each, size) for each in answer] == expected


def test_a_gap_is_named(source: Archiving, made: list[dict[str, Any]]) -> None:
    first, between, second = made[0], made[1]["between"], made[2]
    with source.replaced(source.segment(between[1]), lambda body: None):
        found = source.watched()
        gaps = found["wal_gaps"]
        assert (gaps.status, gaps.value, gaps.details["missing"]) == ("warning", 1, [between[1]])
        # The older one can be brought up to it, the newer one to any time.
        assert gaps.details["not_beyond"] == {first["id"]: between[0]}
        assert found["wal_of_backups"].status == OK
    # A segment without contents is none.
    with source.replaced(source.segment(between[1]), lambda body: b""):
        assert source.watched()["wal_gaps"].value == 1
    with source.replaced(source.segment(second["engine"]["wal_stop"]), lambda body: None):
        found = source.watched()
        assert (found["wal_gaps"].status, found["wal_of_backups"].status) == ("critical", "critical")
        assert list(found["wal_of_backups"].details["problems"]) == [second["id"]]


def test_what_a_recovery_point_needs(source: Archiving, made: list[dict[str, Any]]) -> None:
    first, second = made[0], made[2]
    truncated = source.segment(first["engine"]["target_wal"])
    with source.replaced(truncated, lambda body: body[:-16]):
        needs = source.watched()["wal_of_backups"]
        assert (needs.status, list(needs.details["problems"])) == ("critical", [first["id"]])
        assert f"{truncated} has" in needs.message
    bundle = next(key for key in source.keys(f"backup/local/{first['engine']['label']}/") if "/bundle/" in key)
    with source.replaced(bundle, lambda body: None):
        needs = source.watched()["wal_of_backups"]
        assert (needs.status, needs.value) == ("critical", 0)
        # The incremental one needs it, too.
        assert set(needs.details["problems"]) == {first["id"], second["id"]}
    for key in ("backup/local/backup.info", "archive/local/archive.info.copy"):
        with source.replaced(f"pgbackrest/local/{key}", lambda body: None):
            assert source.watched()["wal_of_backups"].details["files"] == [f"pgbackrest/local/{key} is missing"]
    # Of the same size: only the other copy tells.
    manifest = f"pgbackrest/local/backup/local/{second['engine']['label']}/backup.manifest.copy"
    with source.replaced(manifest, lambda body: body[:-1] + bytes([body[-1] ^ 1])):
        assert "its copy differ" in source.watched()["wal_of_backups"].message
    assert source.watched()["wal_of_backups"].status == OK


def test_another_stanza(source: Archiving, made: list[dict[str, Any]]) -> None:
    found = source.watched(pgbackrest={"stanza": "lokal", "repository_path": "pgbackrest/local"})
    assert found["wal_archived"].status == "critical"
    assert "no stanza lokal; it has local" in found["wal_archived"].message
    assert (found["wal_gaps"].status, found["wal_of_backups"].status) == ("unknown", "critical")


def test_archiving_fails(source: Archiving, made: list[dict[str, Any]]) -> None:
    late = {"wal_age": {"warning": 0.0, "critical": 0.5}}
    with source.setting("archive_command", "/bin/false"):
        source.switched(wait=False)
        source.until(lambda: source.sql("SELECT last_failed_time > last_archived_time FROM pg_stat_archiver")[0][0])
        found = source.watched()["wal_archived"]
        assert found.status == "warning"
        assert "fails, last at" in found.message
        source.until(lambda: source.watched(late)["wal_archived"].status == "critical")
    source.switched()
    assert source.watched()["wal_archived"].status == OK
    with source.setting("archive_timeout", "0"):
        assert source.watched()["wal_archived"].status == "warning"
    with source.setting("archive_timeout", "7200"):
        assert "more than the 60 min that may be lost" in source.watched()["wal_archived"].message


def test_the_store_stops(source: Archiving, made: list[dict[str, Any]]) -> None:
    late = {"wal_age": {"warning": 0.0, "critical": 0.5}}
    source.sandbox("stop", "s3")
    try:
        source.switched(wait=False)
        found = {check.id.removeprefix("backups."): check for check in checks.measure(source.check_options())}
        assert {found[id].status for id in ("measured", "wal_archived", "wal_gaps", "wal_of_backups")} == {"unknown"}
        assert found["clock:database"].status == OK
        # That nothing arrives any more the server says by itself.
        source.until(lambda: source.watched(late)["wal_archived"].status == "critical")
    finally:
        source.sandbox("start", "s3")
    source.switched()
    assert source.watched()["wal_archived"].status == OK


def test_a_new_timeline(source: Archiving, made: list[dict[str, Any]]) -> None:
    source.sandbox("stop", "postgres")
    signal = Path(source.sandbox.state["postgres"]["data_dir"]) / "recovery.signal"
    signal.touch()
    signal.chmod(0o644)
    auto = signal.parent / "postgresql.auto.conf"
    auto.write_text(auto.read_text() + "restore_command = '/bin/false'\n")
    source.sandbox("start", "postgres")
    source.sandbox.state = source.state
    source.until(lambda: source.sql("SELECT NOT pg_is_in_recovery()")[0][0])
    begins = source.switched()
    assert begins.startswith("00000002")
    source.switched()
    found = source.watched()
    assert {found[id].status for id in ("wal_archived", "wal_gaps", "wal_of_backups")} == {OK}, found["wal_gaps"]
    with source.replaced(source.segment(begins), lambda body: None):
        assert source.watched()["wal_gaps"].details["missing"] == [begins]
    (key,) = [each for each in source.keys("archive/") if each.endswith("/00000002.history")]
    with source.replaced(key, lambda body: None):
        gaps = source.watched()["wal_gaps"]
        assert gaps.status == "critical"
        assert "00000002.history" in gaps.message


def test_archived_to_nowhere(source: Archiving, made: list[dict[str, Any]]) -> None:
    with source.setting("archive_command", "/bin/true"):
        lost = source.switched()
        found = source.watched()["wal_archived"]
        assert found.status == "critical"
        assert f"says that it archived {lost}" in found.message
    # Once it archives again there is a gap that nothing fills.
    source.switched()
    after = source.watched()
    assert after["wal_archived"].status == OK
    assert after["wal_gaps"].status == "critical"
    assert after["wal_gaps"].details["missing"] == [lost]
