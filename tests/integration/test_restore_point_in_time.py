"""A cluster brought back to a chosen second by pgBackRest: destroyed, alive, killed half-way, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation.processes import inside
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import instance, readers, replay, server
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.live import COPIES
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.scratch import destination
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from ansible_collections.tradingflow.maintenance.plugins.module_utils.storage import client, list_keys

from tests.conftest import ROOT
from tests.integration import restore_fixtures
from tests.integration.isolation_fixtures import every
from tests.integration.pgbackrest_fixtures import PLANTED, UNPLANTED, Physical, set_up
from tests.integration.restore_fixtures import bad, remove_cluster, restored, until
from tests.integration.rewinding import Baseline
from tests.integration.workers import Start

place, worker = restore_fixtures.place, restore_fixtures.worker


class Lived:
    """A platform that lives: its heartbeats are the tests' own, so that each is known."""

    def __init__(self, physical: Physical, place: Path) -> None:
        self.physical = physical
        self.place = place
        physical.sandbox("stop", "app")
        # Only the tests' own transactions tell when a timeline ends.
        physical.sql("ALTER SYSTEM SET autovacuum = off")
        physical.sql("SELECT pg_reload_conf()")
        files = physical.state["app"]["data_dir"]
        self.point = physical.backup("full", data_directory=files)["recovery_point"]
        self.baseline = Baseline(physical, physical.artifacts.parent / "baseline")
        self._first = self.timeline()

    def again(self) -> None:
        """As it was when it was made, where something was restored in place since; the server runs."""
        try:
            changed = self.timeline() != self._first
        except psycopg2.OperationalError:
            changed = True
        if changed:
            self.baseline.rewind()

    def timeline(self) -> int:
        """That of the server."""
        return int(self.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[:8], 16)

    @property
    def postgres(self) -> dict[str, Any]:
        found: dict[str, Any] = self.physical.state["postgres"]
        return found

    @property
    def data(self) -> Path:
        return Path(self.postgres["data_dir"])

    def options(self, moment: datetime | None = None, **changes: Any) -> dict[str, Any]:
        """Options of a recovery that is wanted."""
        command = [self.physical.sandbox.control]
        postgres, cluster = self.postgres, changes.pop("cluster", {})
        database = {"port": postgres["port"], "user": postgres["superuser"], "password": postgres["superuser_password"]}
        theirs = {
            key: value
            for key, value in self.physical.pgbackrest.items()
            if key in options.SPEC["pgbackrest"]["options"]
        }
        return {
            **{name: spec.get("default") for name, spec in options.SPEC.items()},
            "environment_name": "local",
            "database": {**self.physical.sandbox.database, **database},
            "storage": self.physical.sandbox.storage,
            "pg_bin_dir": postgres["bin_dir"],
            "scratch_directory": str(self.place),
            "mode": "point_in_time",
            "target": moment.isoformat() if moment else None,
            "confirm": f"local/{postgres['database']}",
            "pgbackrest": theirs,
            "cluster": {
                **{name: spec.get("default") for name, spec in options.SPEC["cluster"]["options"].items()},
                "data_directory": str(self.data),
                "stop_command": [*command, "stop", "postgres"],
                "start_command": [*command, "start", "postgres"],
                "command_directory": str(ROOT),
                "start_timeout": 60,
                **cluster,
            },
            **changes,
        }

    def sql(self, text: str) -> Any:
        """The first value of a statement."""
        self.physical.sandbox.state = self.physical.state
        found = self.physical.sql(text)
        return found[0][0] if found else None

    def beat(self) -> datetime:
        """A sign of life; between two of them lies a time that is in none."""
        at: datetime = self.sql(
            "UPDATE heartbeat SET beat_at = clock_timestamp(), sequence = sequence + 1 RETURNING beat_at"
        )
        time.sleep(0.05)
        return at

    def now(self) -> datetime:
        """A moment after whatever was committed, however long that took."""
        found: datetime = self.sql("SELECT clock_timestamp()")
        time.sleep(0.05)
        return found

    def newest(self) -> datetime:
        """The newest sign of life."""
        found: datetime = self.sql("SELECT max(beat_at) FROM maintenance.heartbeat")
        return found

    def archive(self) -> None:
        """Waits until everything up to now is in the repository."""
        segment = self.sql("SELECT pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + 300
        while (self.sql("SELECT last_archived_wal FROM pg_stat_archiver") or "") < segment:
            assert time.monotonic() < deadline, "it was not archived"
            time.sleep(0.1)

    def three(self) -> tuple[datetime, datetime, datetime]:
        """Two signs of life, a moment, and another one; all of it archived. Gives the second, the moment, the third."""
        self.beat()
        second = self.beat()
        moment = self.now()
        third = self.beat()
        self.sql("DELETE FROM executions WHERE id IN (SELECT id FROM executions LIMIT 10)")
        self.archive()
        return second, moment, third

    def destroy(self) -> None:
        """Kills the server and deletes its data directory."""
        os.kill(self.postgres["pid"], signal.SIGKILL)
        while inside(self.data):
            time.sleep(0.05)
        shutil.rmtree(self.data)

    def kept(self) -> list[str]:
        """What lies beside the data directory."""
        return sorted(path.name for path in self.data.parent.iterdir() if path.name not in ("data",) and path.is_dir())

    def clean(self) -> None:
        for name in self.kept():
            if "_before_" in name:
                shutil.rmtree(self.data.parent / name)


@pytest.fixture(scope="module")
def whole(place: Path) -> Iterator[Lived]:
    """A platform of the module's own, backed up once."""
    with set_up() as physical:
        yield Lived(physical, place)


@pytest.fixture
def lived(whole: Lived) -> Iterator[Lived]:
    """The platform, running."""
    whole.again()
    yield whole
    whole.clean()


def test_playbook_brings_a_destroyed_database_back_to_a_second(lived: Lived) -> None:
    """The data directory is deleted, the server dead: the newest heartbeat is of before that second, none is later."""
    before = lived.sql("SELECT count(*) FROM executions")
    second, moment, third = lived.three()
    lived.destroy()
    asked: tuple[str, ...] = ("-e", "restore_mode=point_in_time", "-e", f"restore_target={moment.isoformat()}")
    asked += ("-e", f"restore_scratch_directory='{lived.place}'")
    planned = lived.physical.play("restore", *asked, "--check")
    assert planned.returncode == 0, planned.output
    assert "Would restore the backup" in planned.output
    assert not lived.data.exists()
    # The application would write the next heartbeat before anybody could look.
    done = lived.physical.play("restore", *asked, "-e", "restore_application_way=none", "-vvv")
    assert done.returncode == 0, done.output
    assert lived.newest() == second <= moment < third
    assert lived.sql("SELECT count(*) FROM executions") == before
    assert not lived.sql("SELECT pg_is_in_recovery()")
    for secret in (
        lived.postgres["superuser_password"],
        lived.postgres["cipher_pass"],
        lived.physical.sandbox.storage["secret_key"],
    ):
        assert secret not in done.output
    report = done.report("restore")
    checks = {check["id"]: check for check in report["checks"]}
    assert checks["restore.heartbeat"]["status"] == "ok"
    assert datetime.fromisoformat(checks["restore.heartbeat"]["value"]) <= moment
    (action,) = [each for each in report["actions"] if each["id"] == "restore.restore"]
    assert [name for name in action["details"]["phases"] if name in ("restore", "replay", "swap", "start")] == [
        *("restore", "replay", "swap", "start")
    ]
    assert "Record the restore in the ledger" in done.output
    # The new timeline is archived: what happens from now on can be recovered, too.
    lived.beat()
    lived.archive()


def test_playbook_restores_the_newest_logical_recovery_point(lived: Lived) -> None:
    """All of the manual's Recovery Procedures: stop, database, files, start, health; what lies aside is removed."""
    where = ("-e", f"restore_scratch_directory='{lived.place}'")
    lived.physical.sandbox("start", "app")
    files = Path(lived.physical.state["app"]["data_dir"])
    backed_up = lived.physical.play("daily", "--tags", "backup", "-e", '{"backup_engines": ["logical"]}')
    assert backed_up.returncode == 0, backed_up.output
    before = lived.sql("SELECT count(*) FROM executions")
    lived.sql("DELETE FROM executions")
    next(path for path in files.rglob("*") if path.is_file()).unlink()
    refused = lived.physical.play("restore", *where, "-e", "restore_confirm=local/other", "--check")
    assert refused.returncode != 0
    assert "restore_confirm=local/tradingflow" in refused.output
    lock = lived.physical.artifacts / "locks" / "local@restore.json"
    done = lived.physical.play("restore", *where, "-vvv")
    assert done.returncode == 0, done.output
    assert not lock.exists()
    assert lived.postgres["superuser_password"] not in done.output
    report = done.report("restore")
    checks = {check["id"]: check["status"] for check in report["checks"]}
    assert checks["restore.digests"] == checks["restore.application_files"] == "ok"
    assert [status for id, status in checks.items() if id.startswith("application.health")] == ["ok"]
    assert lived.sql("SELECT count(*) FROM executions") == before
    lived.physical.sandbox("stop", "app")
    names = [name for name in report["actions"][0]["details"]["kept"] if name]
    assert [name.split(" ")[0] for name in names] == ["database", "directory"]
    asked = json.dumps({"restore_remove_old": [name.split(" ", 1)[1] for name in names]})
    removed = lived.physical.play("restore", *where, "-e", "restore_mode=remove_old", "-e", asked)
    assert removed.returncode == 0, removed.output
    assert lived.sql("SELECT count(*) FROM pg_database WHERE datname LIKE '%before%'") == 0


def test_alive_and_back_again(lived: Lived) -> None:
    """While it runs: the old directory is kept aside, whole; the application is asked at the end."""
    second, moment, third = lived.three()
    lived.physical.sandbox("start", "app")
    done = lived.physical.play(
        *("restore", "-e", "restore_mode=point_in_time", "-e", f"restore_target={moment.isoformat()}"),
        *("-e", f"restore_scratch_directory='{lived.place}'"),
    )
    lived.physical.sandbox("stop", "app")
    assert done.returncode == 0, done.output
    checks = {check["id"]: check for check in done.report("restore")["checks"]}
    assert checks["restore.heartbeat"]["value"][:19] == second.isoformat()[:19]
    assert [check["status"] for id, check in checks.items() if id.startswith("application.health")] == ["ok"]
    (kept,) = lived.kept()
    assert (lived.data.parent / kept / "PG_VERSION").exists()
    # The application lives on from there.
    assert lived.newest() > third
    name = str(lived.data.parent / kept)
    removed = engine.run(lived.options(mode="remove_old", remove_old=[name]), Progress())
    assert removed["removed"] == [{"kind": "directory", "name": name}]
    assert lived.kept() == []


def test_latest_with_the_files_of_the_recovery_point(lived: Lived, tmp_path: Path) -> None:
    _second, _moment, third = lived.three()
    lived.destroy()
    chosen = lived.options(target_type="latest", parts=["database", "files"], data_directory=str(tmp_path / "files"))
    chosen["recovery_point"] = lived.point["id"]
    plan = engine.plan(chosen)
    assert (plan["refusals"], plan["loss"]["seconds"]) == ([], None)
    checks, result, _ = restored(chosen)
    assert bad(checks) == {}
    assert checks["restore.application_files"].value == lived.point["application"]["files"] > 10
    assert len([path for path in (tmp_path / "files").rglob("*") if path.is_file()]) >= 10
    assert lived.newest() == third
    assert result["loss"]["seconds"] >= 0


def test_restore_point_with_all_its_digests(lived: Lived) -> None:
    lived.physical.sandbox("start", "postgres")
    chosen = lived.options(target_type="name")
    mine = destination(chosen["environment_name"], chosen["storage"])
    made = f"{server.prefix(mine)}x"
    # A restore of single tables is under way, and is not at the end of it all.
    lived.sql(f"CREATE ROLE {made}")
    lived.sql(f"CREATE SCHEMA half; CREATE TABLE half.copies (); GRANT SELECT ON half.copies TO {made};")
    lived.sql(f"COMMENT ON SCHEMA half IS '{COPIES}{mine[-12:]}'")
    point = lived.physical.backup("incr")["recovery_point"]
    assert point["engine"]["exact"]
    lived.sql("DELETE FROM executions; DROP SCHEMA half CASCADE")
    lived.archive()
    checks, result, _ = restored({**chosen, "target": point["engine"]["restore_point"]})
    assert bad(checks) == {}
    assert result["found"] == ["A restore was under way at the target. What it had half made was removed: half."]
    assert lived.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'half'") == 0
    assert lived.sql(f"SELECT count(*) FROM pg_roles WHERE rolname = '{made}'") == 0
    assert checks["restore.digests"].value == len(point["database"]["tables"])
    assert lived.sql("SELECT count(*) FROM executions") > 0


@pytest.mark.parametrize("role", [True, False])
def test_functions_of_others_do_not_run_as_a_superuser(
    lived: Lived, role: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither while it replays, nor once it is promoted, nor when it is in place."""
    name = quoted(lived.postgres["database"])
    lived.sql(PLANTED.format(database=name))
    try:
        lived.sql("UPDATE heartbeat SET beat_at = clock_timestamp()")
        point = lived.physical.backup("incr")["recovery_point"]
        lived.sql("DELETE FROM mallory.kept")
        lived.archive()
        reader = {name: lived.physical.sandbox.database[name] for name in ("user", "password")}
        if not role:
            # Nobody in the source may read everything, nor is whom the operator names let in.
            monkeypatch.setattr(readers, "_READERS", readers._READERS.replace("WHERE r.rolcanlogin", "WHERE false"))
            reader["password"] = "another"
        for path in lived.data.glob("planted*"):
            path.unlink()
        chosen = lived.options(target_type="name", target=point["engine"]["restore_point"], reader=reader)
        checks, _, _ = restored(chosen)
        assert [path.name for path in lived.data.glob("planted*")] == []
        assert bad(checks) == {}
        assert checks["restore.digests"].value == len(point["database"]["tables"])
        assert checks["restore.heartbeat"].status == "ok"
        assert lived.sql("SELECT count(*) FROM mallory.kept AS k WHERE NOT k IS NULL") == 20
        assert lived.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tradingflow_restoring%'") == 0
    finally:
        lived.sql(UNPLANTED.format(database=name))
        for path in lived.data.glob("planted*"):
            path.unlink()


@pytest.mark.parametrize("running", [True, False])
def test_delta_fetches_what_differs_from_the_old_cluster(lived: Lived, running: bool) -> None:
    """Files changed since, lost, or altered in silence are as in the backup; the others are not fetched."""
    point = lived.physical.backup("incr")["recovery_point"]
    lived.sql("DELETE FROM executions")
    lived.archive()
    altered, lost = (
        lived.data / lived.sql(f"SELECT pg_relation_filepath('{name}')") for name in ("orders", "instruments")
    )
    if not running:
        lived.physical.sandbox("stop", "postgres")
        before = altered.stat()
        with open(altered, "r+b") as file:
            file.seek(before.st_size // 2)
            file.write(b"tradingflow" * 9)
        os.utime(altered, ns=(before.st_atime_ns, before.st_mtime_ns))
        lost.unlink()
    chosen = lived.options(
        target_type="name", target=point["engine"]["restore_point"], cluster={"delta": True, "start_timeout": 60}
    )
    checks, _, _ = restored(chosen)
    assert bad(checks) == {}
    assert checks["restore.digests"].value == len(point["database"]["tables"])
    # Of a backup of some thousand files only few were written since.
    assert int(str(checks["restore.delta"].value)) > 500
    (kept,) = lived.kept()
    assert (lived.data.parent / kept / lost.relative_to(lived.data)).exists() == running


def test_delta_without_an_old_cluster(lived: Lived) -> None:
    second, moment, _third = lived.three()
    lived.destroy()
    checks, _, _ = restored(lived.options(moment, cluster={"delta": True}))
    assert bad(checks) == {}
    assert (checks["restore.delta"].value, lived.newest()) == (0, second)


@pytest.mark.parametrize("phase", ["restore", "prove", "before rename to data", "start"])
def test_killed_in_any_phase_and_run_again(lived: Lived, worker: Start, phase: str) -> None:
    second, moment, third = lived.three()
    process = worker({**lived.options(moment), "hang": phase})
    until(process, phase)
    process.kill()
    process.wait()
    # The old data are there, one way or the other.
    versions = list(lived.data.parent.glob("*/PG_VERSION"))
    assert versions
    if phase in ("restore", "prove"):
        assert lived.newest() == third
    homes = [json.loads(path.read_text())["run"].get("home") for path in lived.place.rglob("state.json")]
    assert any(homes) == (phase != "restore")
    checks, result, _ = restored(lived.options(moment))
    assert bad(checks) == {}
    assert lived.newest() == second
    assert not [home for home in homes if home and Path(home).exists()]
    (found,) = result["found"]
    if phase == "prove":
        # All was there but for what the replay had changed.
        assert "begins with what that one had fetched" in found
        assert int(str(checks["restore.delta"].value)) > 500
    assert ("resumes after that" in found) == (phase in ("before rename to data", "start")), found
    (kept,) = lived.kept()
    assert "_before_" in kept
    assert (lived.data.parent / kept / "PG_VERSION").exists()


def test_server_that_does_not_start_is_gone_on_with(lived: Lived) -> None:
    second, moment, _third = lived.three()
    checks, result, summary = restored(lived.options(moment, cluster={"start_command": ["false"]}))
    assert "exit status 1" in checks["restore.failed:start"].message
    assert checks["restore.unfinished"].status == "critical"
    assert (summary["changed"], result["unfinished"]) == (True, True)
    with pytest.raises(ConfigurationError, match="did not finish"):
        engine.run(lived.options(mode="remove_old", remove_old=[str(lived.data.parent / lived.kept()[0])]), Progress())
    checks, _, _ = restored(lived.options(moment))
    assert bad(checks) == {}
    assert lived.newest() == second


def test_wal_that_is_missing_ends_it(lived: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap before the target: nothing is put in place, and the server that runs goes on."""
    lived.beat()
    segment = lived.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    lived.archive()
    _second, moment, third = lived.three()
    storage = lived.physical.sandbox.storage
    s3 = client(storage)
    (key,) = [
        each["Key"] for each in list_keys(s3, storage["bucket"], "pgbackrest/local/archive/") if segment in each["Key"]
    ]
    body = s3.get_object(Bucket=storage["bucket"], Key=key)["Body"].read()
    s3.delete_object(Bucket=storage["bucket"], Key=key)
    monkeypatch.setattr(replay, "STUCK", 3.0)
    try:
        for chosen in (lived.options(moment), lived.options(target_type="latest")):
            checks, _, summary = restored(chosen)
            assert checks["restore.failed:replay"].status == "critical", checks
            assert not summary["changed"]
            assert lived.newest() == third
            assert lived.kept() == []
    finally:
        s3.put_object(Bucket=storage["bucket"], Key=key, Body=body)


def test_what_makes_no_sense(lived: Lived) -> None:
    for changes, said in (
        ({"target": "2026-11-24 18:30:00"}, "not a time with a zone"),
        ({"target": "2126-11-24T18:30:00Z"}, "in the future"),
        ({"target": "2026-01-01T00:00:00Z"}, "ended before 2026-01-01"),
        ({"target_type": "latest", "target": "2026-01-01T00:00:00Z"}, "says where to stop"),
        ({"target_type": "lsn", "target": "0/x"}, "not a place in the write-ahead log"),
        ({"target": None}, "No target time is set"),
        ({"mode": "whole", "recovery_point": lived.point["id"]}, "is of pgbackrest"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            engine.plan(lived.options(**{"target": None, **changes}))


Change = Callable[[Lived], dict[str, Any]]


@pytest.mark.parametrize(
    ("name", "said", "change"),
    [
        ("confirmation", "is not empty", lambda lived: {"confirm": None}),
        ("host", "stanza local on this host is of", lambda lived: {"cluster": {"data_directory": f"{lived.data}2"}}),
        (
            "application",
            "it is running",
            lambda lived: {"application": {"urls": [lived.physical.sandbox.storage["endpoint"]]}},
        ),
        (
            "parts",
            "where they belong is not set",
            # The newest one may be of another test, and without files.
            lambda lived: {"parts": ["database", "files"], "recovery_point": lived.point["id"]},
        ),
        (
            "mode",
            "nothing that could go to a point",
            lambda lived: {"parts": ["files"], "data_directory": "/nowhere/x"},
        ),
        (
            "environment",
            "would be restored into other",
            lambda lived: {"environment_name": "other", "source_environment": "local"},
        ),
    ],
)
def test_refused(lived: Lived, name: str, said: str, change: Change) -> None:
    time.sleep(1.1)
    moment = lived.beat()
    checks, _, summary = restored(lived.options(moment + timedelta(milliseconds=1), **change(lived)))
    assert f"restore.refused:{name}" in checks, [check.message for check in checks.values()]
    assert said in checks[f"restore.refused:{name}"].message
    assert not summary["changed"]
    assert lived.newest() == moment


def test_elsewhere_beside_the_server_that_runs(lived: Lived) -> None:
    """Into another directory and another port, for somebody who wants to look at an hour ago; it archives nothing."""
    second = lived.beat()
    # The insert position: the sandbox commits before its WAL is flushed.
    lsn = lived.sql("SELECT pg_current_wal_insert_lsn()::text")
    third = lived.beat()
    lived.archive()
    folder, port = lived.data.parent / "elsewhere", lived.postgres["port"] + 1
    chosen = lived.options(
        target_type="lsn",
        target=lsn,
        confirm=None,
        cluster={"data_directory": str(folder), "elsewhere": True, "stop_command": [], "start_command": []},
    )
    chosen["database"]["port"] = port
    try:
        checks, _, _ = restored(chosen)
        assert bad(checks) == {}
        assert lived.newest() == third
        lived.physical.sandbox.state["postgres"]["port"] = port
        assert lived.physical.sql("SELECT max(beat_at) FROM maintenance.heartbeat")[0][0] == second
        assert lived.physical.sql("SHOW archive_mode")[0][0] == "off"
    finally:
        remove_cluster(folder)


def test_tablespaces_of_before_and_after_the_backup(lived: Lived) -> None:
    """Beside and in place they come into new directories; what the source has in its own stays as it was."""
    home, user = lived.data.parent, instance.account(None)
    spaces = home / "spaces"
    for path in (spaces, spaces / "early", spaces / "la te"):
        path.mkdir(mode=0o700)
        if user:
            os.chown(path, user.uid, user.gid)
    lived.sql(f"CREATE TABLESPACE early LOCATION '{spaces}/early'")
    lived.sql(
        "CREATE TABLE old WITH (autovacuum_enabled = off) TABLESPACE early AS SELECT i FROM generate_series(1, 1000) i"
    )
    lived.physical.backup("incr")
    lived.sql(f"CREATE TABLESPACE late LOCATION '{spaces}/la te'")
    lived.sql(
        "CREATE TABLE new WITH (autovacuum_enabled = off) TABLESPACE late AS SELECT i FROM generate_series(1, 20000) i"
    )
    lived.sql("DELETE FROM new WHERE i > 15000")
    lsn = lived.sql("SELECT pg_current_wal_insert_lsn()::text")
    lived.sql("INSERT INTO new SELECT i FROM generate_series(1, 20000) i")
    lived.sql("UPDATE old SET i = 0")
    lived.beat()
    lived.archive()
    lived.sql("CHECKPOINT")
    before = every(spaces)
    folder, port = home / "elsewhere", lived.postgres["port"]
    beside = {"data_directory": str(folder), "elsewhere": True, "stop_command": [], "start_command": []}
    chosen = lived.options(target_type="lsn", target=lsn, confirm=None, cluster=beside)
    chosen["database"]["port"] = port + 1
    counts = "SELECT (SELECT count(*) FROM new) * 10000 + (SELECT sum(sign(i)) FROM old)"
    where = "SELECT string_agg(pg_tablespace_location(oid), ' ') FROM pg_tablespace WHERE spcname IN ('early', 'late')"
    try:
        assert engine.plan(chosen)["refusals"] == []
        checks, _, _ = restored(chosen)
        assert bad(checks) == {}
        lived.physical.sandbox.state["postgres"]["port"] = port + 1
        assert lived.physical.sql(counts)[0][0] == 150001000
        for place in lived.physical.sql(where)[0][0].split(f" {home}"):
            assert "/elsewhere_tablespaces_" in place
        lived.physical.sql("TRUNCATE old, new")
        lived.physical.sql("CHECKPOINT")
    finally:
        remove_cluster(folder)
        for path in home.glob("elsewhere_tablespaces_*"):
            shutil.rmtree(path)
    assert every(spaces) == before
    chosen = lived.options(target_type="lsn", target=lsn)
    assert any("early" in step for step in engine.plan(chosen)["steps"])
    checks, result, _ = restored(chosen)
    assert bad(checks) == {}
    assert lived.sql(counts) == 150001000
    assert lived.sql(where).count("/data_tablespaces_") == 2
    lived.sql("INSERT INTO new VALUES (1)")
    assert every(spaces) == before
    # The new timeline is archived from its beginning: the next recovery goes along it, and over the same tablespaces.
    second, moment, _third = lived.three()
    checks, _, _ = restored(lived.options(moment))
    assert bad(checks) == {}
    assert (lived.newest(), lived.sql(counts)) == (second, 150011000)
    assert every(spaces) == before
    names = [str(home / name) for name in lived.kept() if "_before_" in name]
    assert len(list(home.glob("data_tablespaces_*"))) == len(names) == 2
    assert str(spaces / "early") in result["kept"][0]["tablespaces"][0]
    removed = engine.run(lived.options(mode="remove_old", remove_old=names), Progress())["removed"]
    assert [each["kind"] for each in removed] == [*("directory", "tablespace", "tablespace") * 2]
    (left,) = home.glob("data_tablespaces_*")
    # Those of the cluster that was put aside went with it, and nothing else of where they were.
    assert sorted(every(spaces)) == [".", "early", "la te"]
    assert lived.sql(counts) == 150011000
    lived.sql("DROP TABLE old, new")
    for name in ("early", "late"):
        lived.sql(f"DROP TABLESPACE {name}")
    shutil.rmtree(left)
    shutil.rmtree(spaces)
