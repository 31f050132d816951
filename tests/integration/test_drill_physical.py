"""The drill of physical recovery points against a real server, store and pgBackRest: good, damaged, and in trouble."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine, options, replay
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill.restored import Restored
from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation import processes as servers
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import instance, readers
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import objects
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import proven as proof
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

from tests import places
from tests.integration import test_backup_trouble, test_drill_trouble
from tests.integration.drill_fixtures import INVARIANTS, NO_HEARTBEAT, application, left_in
from tests.integration.isolation_fixtures import every
from tests.integration.pgbackrest_fixtures import PLANTED, UNPLANTED, Physical, set_up
from tests.integration.test_backup import CONTENTS, run_sql
from tests.integration.test_backup_trouble import processes, wait_for
from tests.integration.test_drill_trouble import HANGING, until
from tests.integration.workers import Start

tiny_disk, worker = test_backup_trouble.tiny_disk, test_drill_trouble.worker

#: Ids of physical drills' checks end so.
END = ":pgbackrest"
ODD = "d r'i\"l% ü"


class Drills:
    """A sandbox backed up by pgBackRest, and drills of what it made."""

    def __init__(self, physical: Physical, place: Path) -> None:
        self.physical = physical
        self.place = place
        self.storage = physical.sandbox.storage
        self.client = s3_storage.client(self.storage)
        app = physical.state["app"]
        self.about = {"name": "tradingflow", "version": app["version"], "image": None}
        self.point = physical.backup("full", data_directory=app["data_dir"], application=self.about)["recovery_point"]
        # From here on only the test's own heartbeats are there.
        physical.sandbox("stop", "app")
        physical.sql("DELETE FROM heartbeat")
        self.beats = 0

    def options(self, point: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        """Options of a drill, of the first recovery point where no other is named."""
        return self.physical.drill_options(self.point if point is None else point, self.place, **changes)

    def run(self, chosen: dict[str, Any]) -> dict[str, Check]:
        """Drills, and gives the checks by id without the engine; nothing is left of it."""
        self.result = engine.run(chosen, Progress())
        checks, (self.action,), self.summary = options.findings(self.result, chosen, "2026-11-23T00:00:00Z")
        assert all(check.id.endswith(END) for check in checks)
        assert not left_in(self.place)
        assert not processes(str(self.place))
        return {check.id.removesuffix(END): check for check in checks}

    def beat(self) -> tuple[str, str]:
        """Writes a heartbeat a second after the last, has it archived, and gives its time and its segment."""
        self.beats += 1
        ((at,),) = self.physical.sql(
            "INSERT INTO heartbeat (instance, beat_at, sequence, interval_seconds)"
            f" VALUES ('drill', date_trunc('second', now()) - interval '1 min', {self.beats}, 10)"
            " ON CONFLICT (instance) DO UPDATE SET beat_at = heartbeat.beat_at + interval '1 s' RETURNING"
            """ to_char(beat_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
        )
        ((name,),) = self.physical.sql("SELECT pg_walfile_name(pg_switch_wal())")
        folder = objects.archive(self.point["engine"])
        wait_for(lambda: replay.newest_segment(self.client, self.storage, folder) == name)
        return str(at), str(name)

    def key_of(self, segment: str) -> str:
        folder = objects.archive(self.point["engine"])
        keys = s3_storage.list_keys(self.client, self.storage["bucket"], f"{folder}/{segment[:16]}/{segment}")
        return str(next(keys)["Key"])


@pytest.fixture(scope="module")
def drills() -> Iterator[Drills]:
    folder = Path(tempfile.mkdtemp(prefix="tradingflow d'r\"i ll % ", dir=places.quick()))
    folder.chmod(0o711)
    try:
        with set_up() as physical:
            yield Drills(physical, folder)
    finally:
        shutil.rmtree(folder)


Change = Callable[[str, Callable[[bytes], bytes | None]], None]


@pytest.fixture
def change(drills: Drills) -> Iterator[Change]:
    """change(key, how) puts an altered version of an object in its place, or none; the original comes back."""
    versions: list[dict[str, str]] = []

    def alter(key: str, how: Callable[[bytes], bytes | None]) -> None:
        where = {"Bucket": drills.storage["bucket"], "Key": key}
        body = how(drills.client.get_object(**where)["Body"].read())
        call = drills.client.delete_object if body is None else drills.client.put_object
        version = call(**where, **({} if body is None else {"Body": body}))["VersionId"]
        versions.append({**where, "VersionId": version})

    yield alter
    for version in reversed(versions):
        drills.client.delete_object(**version)


def tampered(change: Change, point: dict[str, Any], how: Callable[[dict[str, Any]], Any]) -> None:
    """Changes a recovery point in the store."""

    def altered(body: bytes) -> bytes:
        content = json.loads(body)
        how(content)
        return json.dumps(content).encode()

    change(f"backups/{point['environment']}/{point['id']}/recovery-point.json", altered)


def not_ok(checks: dict[str, Check]) -> dict[str, str]:
    return {id: check.status for id, check in checks.items() if check.status != "ok"}


def gone(_: bytes) -> None:
    return None


def flipped(body: bytes) -> bytes:
    """Of the same size, and other content in its middle."""
    half = len(body) // 2
    return body[:half] + bytes([body[half] ^ 1]) + body[half + 1 :]


def test_good_drill(drills: Drills) -> None:
    at, newest = drills.beat()
    chosen = drills.options(
        recovery_point="newest",
        engine="pgbackrest",
        invariants=INVARIANTS,
        application=application(drills.physical.sandbox),
        database=drills.physical.sandbox.database,
    )
    checks = drills.run(chosen)
    assert {id: check.message for id, check in checks.items() if check.status != "ok"} == {}
    phases = ["prepare", "fetch", "replay", "files", "prove", "promote", "application", "clean up"]
    assert list(drills.result["phases"]) == phases
    assert checks["drill.rows"].value == drills.point["totals"]["rows"]
    assert checks["drill.digests"].value == len(drills.point["database"]["tables"])
    assert checks["drill.indexes"].value > 50
    assert checks["drill.application_files"].value > 10
    assert len([id for id in checks if id.startswith("drill.invariant:")]) == len(INVARIANTS)
    assert checks["drill.wal"].details["newest_segment"] == newest
    assert "of it the proof" in checks["drill.rto"].message
    # More comes back than the recovery point has: what was archived since.
    assert drills.result["heartbeat_at"] == at
    assert drills.summary == {**drills.summary, "engine": "pgbackrest", "worst_status": "ok", "objectives": "ok"}
    assert (drills.action["id"], drills.action["status"]) == (f"drill.restore{END}", "ok")
    plan = engine.plan(chosen)
    assert plan["recovery_point"]["id"] == drills.point["id"]
    assert {check.id for check in options.planned(plan, None, "")[0]} == {
        f"drill.{name}{END}" for name in ("recovery_point", "space")
    }


@pytest.fixture(scope="module")
def odd(drills: Drills) -> dict[str, Any]:
    """A recovery point of a database with odd contents and a tablespace, by an incremental backup."""
    physical, postgres = drills.physical, drills.physical.state["postgres"]
    spaces = Path(postgres["data_dir"]).parent / "space"
    spaces.mkdir(mode=0o700)
    if user := instance.account(None):
        os.chown(spaces, user.uid, user.gid)
    admin = {
        **physical.sandbox.database,
        "name": ODD,
        "user": postgres["superuser"],
        "password": postgres["superuser_password"],
    }
    physical.sql(f"CREATE DATABASE {quoted(ODD)} TEMPLATE template0")
    physical.sql(f"CREATE TABLESPACE elsewhere LOCATION '{spaces}'")
    run_sql(admin, CONTENTS)
    run_sql(admin, "CREATE TABLE far TABLESPACE elsewhere AS SELECT i FROM generate_series(1, 500) i")
    # The source's own settings: one that acts, one that waits for ever, one that no server starts with.
    file = Path(postgres["data_dir"]) / "postgresql.auto.conf"
    settings = file.read_text()
    file.write_text(
        f"{settings}recovery_end_command = 'touch ../ran'\nsynchronous_standby_names = 'nobody'\nwork_mem = '1PB'\n"
    )
    made: dict[str, Any] = physical.backup("incr", database=admin, environment_name="odd é")["recovery_point"]
    file.write_text(settings)
    return made


def test_incremental_with_odd_names_and_a_tablespace(drills: Drills, odd: dict[str, Any]) -> None:
    home = Path(drills.physical.state["postgres"]["data_dir"]).parent
    before = sorted(path.name for path in (home / "space").rglob("*"))
    assert odd["engine"]["requires"] == [drills.point["engine"]["label"]]
    checks = drills.run(drills.options(odd))
    assert not_ok(checks) == NO_HEARTBEAT
    assert checks["drill.rows"].value == 3508
    assert checks["drill.large_objects"].value == 2
    # Not where the source has it, which is on this host.
    assert sorted(path.name for path in (home / "space").rglob("*")) == before
    assert not (home / "ran").exists()


def test_functions_of_others_do_not_run_as_a_superuser(drills: Drills, monkeypatch: pytest.MonkeyPatch) -> None:
    physical, real = drills.physical, Restored.stop
    found: list[str] = []
    ended: list[bool] = []

    def stop(self: Restored, *arguments: Any) -> None:
        found.extend(path.name for path in self.data.glob("planted*"))
        ended.append(self.running())
        real(self, *arguments)

    name = quoted(physical.state["postgres"]["database"])
    physical.sql(PLANTED.format(database=name))
    try:
        at, _segment = drills.beat()
        point = physical.backup("incr")["recovery_point"]
        invariants = [{"name": "wrong", "title": "Wrong", "sql": "SELECT count(*) FROM mallory.wrong"}]
        chosen = drills.options(point, invariants=invariants)
        monkeypatch.setattr(Restored, "stop", stop)
        checks = drills.run(chosen)
        assert (found, len([each for each in ended if each])) == ([], 2)
        assert not_ok(checks) == {}
        assert drills.result["heartbeat_at"] == at
        # Where the source has no role that may read it all, what could call them is left unknown.
        monkeypatch.setattr(readers, "_READERS", readers._READERS.replace("WHERE r.rolcanlogin", "WHERE false"))
        checks = drills.run(chosen)
        assert found == []
        assert not_ok(checks) == {"drill.digests": "unknown", "drill.invariant:wrong": "unknown"}
        assert checks["drill.digests"].details["without"] == ["mallory.kept", "mallory.seen"]
        assert drills.result["heartbeat_at"] == at
    finally:
        physical.sql(UNPLANTED.format(database=name))


def test_tablespace_that_was_made_after_the_backup(drills: Drills, odd: dict[str, Any]) -> None:
    """On the database's own host: its rows are back in the copy, and its live files are as they were."""
    spaces = Path(drills.physical.state["postgres"]["data_dir"]).parent / "space"
    admin = {**drills.physical.sandbox.database, "name": ODD, "user": "postgres"}
    admin["password"] = drills.physical.state["postgres"]["superuser_password"]
    # Its own housekeeping would change the live files meanwhile.
    run_sql(admin, "ALTER TABLE far SET (autovacuum_enabled = false)")
    run_sql(admin, "INSERT INTO far SELECT i FROM generate_series(1, 30000) i")
    drills.beat()
    run_sql(admin, "DELETE FROM far WHERE i > 400")
    drills.physical.sql("CHECKPOINT")
    before = every(spaces)
    assert drills.point["id"] < odd["id"]
    checks = drills.run(drills.options())
    assert not_ok(checks) == {}
    assert every(spaces) == before


@pytest.mark.parametrize(
    ("which", "how", "said"),
    [
        ("bundle", gone, "is missing"),
        ("bundle", flipped, "another ETag"),
        ("backup.manifest", lambda body: body[:-1], "bytes instead of"),
        ("/archive/", gone, "is missing"),
        ("application/data", flipped, "another ETag"),
    ],
)
def test_damaged_object_ends_it_by_name(
    drills: Drills, change: Change, which: str, how: Callable[[bytes], bytes | None], said: str
) -> None:
    key = next(entry["key"] for entry in drills.point["objects"] if which in entry["key"])
    change(key, how)
    check = drills.run(drills.options())["drill.objects"]
    assert check.status == "critical"
    assert f"{key} " in check.message
    assert said in check.message
    assert "replay" not in drills.result["phases"]
    assert (drills.action["status"], drills.summary["worst_status"]) == ("failed", "critical")


def test_required_backup_is_damaged(drills: Drills, odd: dict[str, Any], change: Change) -> None:
    key = next(entry["key"] for entry in odd["required_objects"] if "bundle" in entry["key"])
    change(key, gone)
    check = drills.run(drills.options(odd))["drill.objects"]
    assert (check.status, f"{key} is missing" in check.message) == ("critical", True)


def same(point: dict[str, Any], key: str, drills: Drills) -> None:
    """Records an object as it lies in the store now."""
    where = {"Bucket": drills.storage["bucket"], "Key": key}
    for entry in point["objects"]:
        if entry["key"] == key:
            entry["etag"] = drills.client.head_object(**where)["ETag"].strip('"')


def test_damage_that_the_listing_does_not_show(drills: Drills, change: Change) -> None:
    """Bits that turned in the store: pgBackRest's checksums find them in files, and in the WAL what cannot be read."""
    bundle = next(entry["key"] for entry in drills.point["objects"] if "/bundle/" in entry["key"])
    change(bundle, flipped)
    tampered(change, drills.point, lambda point: same(point, bundle, drills))
    check = drills.run(drills.options())["drill.objects"]
    assert check.status == "critical"
    assert "pgBackRest's restore failed" in check.message


def test_wal_that_cannot_be_read_before_the_restore_point(drills: Drills, change: Change) -> None:
    last = drills.key_of(drills.point["engine"]["target_wal"])
    change(last, flipped)
    tampered(change, drills.point, lambda point: same(point, last, drills))
    check = drills.run(drills.options())["drill.restored"]
    assert check.status == "critical"
    assert "recovery ended before configured recovery target was reached" in check.message
    assert "pgBackRest's archive-get failed" in check.message
    assert "promote" not in drills.result["phases"]


def test_newest_wal_is_lost_and_then_a_gap(drills: Drills, change: Change) -> None:
    (first, _), (_, middle), (last, newest) = drills.beat(), drills.beat(), drills.beat()
    change(drills.key_of(middle), gone)
    checks = drills.run(drills.options())
    assert checks["drill.wal"].status == "critical"
    assert f"has WAL up to {newest}" in checks["drill.wal"].message
    assert "missing" in checks["drill.wal"].message
    assert drills.summary["worst_status"] == "critical"
    assert drills.result["heartbeat_at"] == first
    # Without the newest too there is nothing beyond the gap: less comes back, and it is said how much.
    change(drills.key_of(newest), gone)
    checks = drills.run(drills.options(rpo=60))
    assert checks["drill.wal"].status == "ok"
    assert checks["drill.rpo"].status == "critical"
    assert first in checks["drill.rpo"].message
    assert last > first


def test_wrong_key_of_the_repository_and_of_the_store(drills: Drills) -> None:
    check = drills.run(drills.options(repository={"cipher_pass": "another"}))["drill.objects"]
    assert check.status == "critical"
    assert "cannot read the repository" in check.message
    assert "cipher_pass" in check.remedy
    assert check.message.isprintable()
    # The recovery point is not to blame for this one.
    check = drills.run(drills.options(repository={"secret_key": "another"}))["drill.objects"]
    assert (check.status, drills.summary["worst_status"]) == ("unknown", "unknown")
    assert "403" in check.message


def test_changed_row_wrong_pages_and_a_broken_invariant(drills: Drills, change: Change) -> None:
    tampered(change, drills.point, lambda point: point["database"]["tables"][0].update(digest="1"))
    tampered(change, drills.point, lambda point: point["engine"].update(page_checksums_wrong=True))
    broken = [{"name": "broken", "title": "Broken", "sql": "SELECT 3"}]
    checks = drills.run(drills.options(invariants=broken))
    wrong = ("digests", "invariant:broken", "page_checksums")
    assert not_ok(checks) == {f"drill.{name}": "critical" for name in wrong}
    assert "has other rows than recorded" in checks["drill.digests"].message


def test_restore_point_elsewhere_and_another_cluster(drills: Drills, change: Change) -> None:
    tampered(change, drills.point, lambda point: point["engine"].update(restore_point_lsn="0/1"))
    check = drills.run(drills.options())["drill.restored"]
    assert (check.status, "stopped elsewhere" in check.message) == ("critical", True)
    tampered(change, drills.point, lambda point: point["database"].update(system_identifier="1"))
    check = drills.run(drills.options())["drill.objects"]
    assert (check.status, "of another cluster" in check.message) == ("critical", True)


@pytest.mark.parametrize("major", [14, 99])
def test_programs_of_another_version(drills: Drills, change: Change, major: int) -> None:
    tampered(change, drills.point, lambda point: point["database"].update(server_version_num=major * 10000))
    with pytest.raises(ConfigurationError, match=rf"are of PostgreSQL \d+, the recovery point of {major}"):
        engine.run(drills.options(), Progress())


def test_repository_that_is_not_configured(drills: Drills) -> None:
    with pytest.raises(ConfigurationError, match=r"pgbackrest/local .* is not configured"):
        engine.run(drills.options(repository={"path": "another"}), Progress())
    assert engine.plan(drills.options())["recovery_point"]["engine"] == "pgbackrest"


@pytest.mark.parametrize("phase", ["fetch", "replay", "prove"])
def test_killed_in_any_phase_leaves_nothing(drills: Drills, worker: Start, phase: str) -> None:
    process = worker(drills.options(invariants=HANGING if phase == "prove" else []))
    until(process, phase)
    if phase == "fetch":
        # Once more, when pgBackRest restores.
        until(process, phase)
        wait_for(lambda: processes("--tablespace-map-all"))
    process.kill()
    process.wait()
    place = drills.place
    wait_for(lambda: not servers.inside(place) and not processes(str(place)) and not left_in(place), 20)


def test_disk_full(drills: Drills, tiny_disk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tiny_disk("20m")
    disk.chmod(0o711)
    monkeypatch.setattr(engine, "check_space", lambda *_: None)
    checks = drills.run(drills.options(scratch_directory=str(disk)))
    assert checks["drill.objects"].status == "unknown", checks["drill.objects"]
    assert any(words in checks["drill.objects"].message for words in (*instance.FULL, "disk is full"))
    assert "restore_drill_scratch_directory" in checks["drill.objects"].remedy
    assert not left_in(disk)


def test_database_that_was_closed_or_renamed_since(drills: Drills) -> None:
    """The log goes on after the recovery point: what a restore to the latest would bring back is said, and it ends."""
    name = drills.physical.state["postgres"]["database"]

    def change(text: str, *names: str) -> None:
        drills.physical.sql(f"{text}; SELECT txid_current()".format(*names), "postgres")
        ((segment,),) = drills.physical.sql("SELECT pg_walfile_name(pg_switch_wal())", "postgres")
        folder = objects.archive(drills.point["engine"])
        wait_for(lambda: replay.newest_segment(drills.client, drills.storage, folder) == segment)

    change(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
    try:
        checks = drills.run(drills.options())
        assert not_ok(checks).get("drill.closed") == "warning"
        assert "closed to all connections" in str(checks["drill.closed"].message)
        assert drills.result["problem"] is None
        change(f'ALTER DATABASE "{name}" RENAME TO "{name} gone"')
        checks = drills.run(drills.options())
        assert f"there is no database {name}: it was dropped or renamed" in str(drills.result["problem"])
        assert "critical" in not_ok(checks).values()
    finally:
        if not drills.physical.sql(f"SELECT FROM pg_database WHERE datname = '{name}'", "postgres"):
            drills.physical.sql(f'ALTER DATABASE "{name} gone" RENAME TO "{name}"', "postgres")
        change(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')


def test_timeline_and_settings_that_changed_since(drills: Drills) -> None:
    """The server was promoted, and its max_connections raised, since the backup: both are in the WAL to be replayed."""
    physical, data = drills.physical, Path(drills.physical.state["postgres"]["data_dir"])
    physical.sql("ALTER SYSTEM SET max_connections = 150")
    physical.sql("ALTER SYSTEM SET restore_command = 'false'")
    physical.sandbox("stop", "postgres")
    (data / "recovery.signal").touch()
    if user := instance.account(None):
        os.chown(data / "recovery.signal", user.uid, user.gid)
    physical.sandbox("start", "postgres")
    physical.sandbox.state = physical.state
    at, newest = drills.beat()
    assert newest.startswith("00000002")
    checks = drills.run(drills.options())
    assert not_ok(checks) == {}
    assert checks["drill.wal"].details["timeline"] == 2
    assert drills.result["heartbeat_at"] == at
    made = physical.backup("incr", application=drills.about)["recovery_point"]
    assert (made["engine"]["timeline"], made["engine"]["type"]) == (2, "incr")


def test_role_drills_each_engine_and_keeps_secrets(drills: Drills, tmp_path: Path) -> None:
    """The newest recovery point, which was made on the new timeline."""
    physical = drills.physical
    physical.sandbox("start", "app")
    physical.sandbox.state = state = physical.state
    file = tmp_path / "variables.json"
    variables = {"restore_drill_scratch_directory": str(drills.place), "backup_engines": ["pgbackrest"]}
    file.write_text(json.dumps(variables))
    evidence = {"trusted_key_files": [state["evidence"]["public_key_file"]]}
    limit = {"warning": 8, "critical": 35}

    def proven() -> dict[str, str]:
        checks = proof.measure(drills.storage, "local", evidence, limit, engines=["pgbackrest"])
        return {check.id: check.status for check in checks}

    assert proven() == {f"backups.proven_restore{END}": "critical"}
    done = physical.play("drill", "-e", f"@{file}", "-vvv")
    report = done.report("drill")
    assert {check["id"]: check["message"] for check in report["checks"] if check["status"] != "ok"} == {}
    (action,) = [each for each in report["actions"] if each["id"].startswith("drill.restore")]
    assert action["details"]["recovery_point"] > drills.point["id"]
    for section, name in (("s3", "secret_key"), ("postgres", "cipher_pass"), ("postgres", "maintenance_password")):
        assert state[section][name] not in done.output
    assert proven() == {f"backups.proven_restore{END}": "ok"}
    assert not left_in(drills.place)
