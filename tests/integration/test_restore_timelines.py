"""Restores to several points in time in a row: each ends at the right rows, on the timeline that has them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation.processes import inside
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import (
    engine,
    findings,
    heartbeats,
    reach,
    source,
    start,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, RestoreError

from sandbox.postgres import backed_up_physically, install, major, wheel
from tests.integration import restore_fixtures
from tests.integration.pgbackrest_fixtures import server, set_up
from tests.integration.restore_fixtures import bad, restored, until
from tests.integration.test_restore_point_in_time import Lived
from tests.integration.workers import Start

place, worker = restore_fixtures.place, restore_fixtures.worker


class Counted(Lived):
    """A platform with a table whose rows are counted at known moments."""

    def count(self) -> int | None:
        """The rows of the table, None when it is gone."""
        if self.sql("SELECT to_regclass('public.counted')") is None:
            return None
        return int(self.sql("SELECT count(*) FROM counted"))

    def add(self, rows: int) -> tuple[datetime, datetime]:
        """Rows and a sign of life; gives that, and a moment after it in which nothing happens."""
        self.sql(f"INSERT INTO counted SELECT FROM generate_series(1, {rows})")
        beat = self.beat()
        return beat, self.now()

    def back(self, moment: datetime, **changes: Any) -> dict[str, Check]:
        """Restores to a moment; gives the checks."""
        checks, result, _summary = restored(self.options(moment, **changes))
        assert bad(checks) == {}, result["problem"]
        assert not result["unfinished"]
        return checks

    def stands(self, beat: datetime, rows: int) -> None:
        """Asserts what is in it, by sign of life and by rows."""
        assert (self.newest(), self.count()) == (beat, rows)
        assert not self.sql("SELECT pg_is_in_recovery()")


def servers() -> list[str]:
    """The installed server, and the wheel's where pgBackRest here backs it up."""
    return ["installed", "wheel"] if backed_up_physically(major(wheel() / "pginstall/bin")) else ["installed"]


@pytest.fixture(scope="module", params=servers())
def whole(request: pytest.FixtureRequest, place: Path) -> Iterator[Counted]:
    """A platform of the module's own, with the servers that the installed pgBackRest backs up."""
    bin_dir, folder = Path(server()), Path(tempfile.mkdtemp(prefix="tradingflow-server-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        if request.param == "wheel":
            bin_dir = install(folder)
        with set_up(str(bin_dir)) as physical:
            yield Counted(physical, place)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def lived(whole: Counted) -> Iterator[Counted]:
    """The platform, running, with an empty table."""
    whole.again()
    whole.sql("DROP TABLE IF EXISTS counted; CREATE TABLE counted ()")
    yield whole
    whole.clean()


def test_five_restores_in_a_row(lived: Counted) -> None:
    """To the same second twice, on to a later one of the old timeline, to one of the new, and back again."""
    first = lived.timeline()
    beat_1, moment_1 = lived.add(100)
    beat_2, moment_2 = lived.add(50)
    lived.sql("DROP TABLE counted")
    lived.beat()
    lived.archive()

    lived.back(moment_1)
    lived.stands(beat_1, 100)
    assert lived.timeline() == first + 1
    # Everybody guesses the second wrong first: at once again, before anybody wrote anything.
    lived.back(moment_1)
    lived.stands(beat_1, 100)
    # On the old timeline, after the place where the newer ones left it.
    planned = engine.plan(lived.options(moment_2))
    said, _actions = findings.planned(planned, lived.options(moment_2), None, "2026-11-24T00:00:00Z")
    (timelines,) = [check for check in said if check.id == "restore.timelines"]
    assert f"follow the log to timeline {first}." in timelines.message
    assert [each["timeline"] for each in planned["timelines"] if each["current"]] == [first + 2]
    assert [each["parent"] for each in planned["timelines"]][-2:] == [first, first]
    assert f"timeline {first + 1} (left {first} at " in timelines.message
    checks = lived.back(moment_2)
    lived.stands(beat_2, 150)
    assert checks["restore.target"].details["timeline"] == first
    assert checks["restore.server"].details["parent"] == first

    beat_4, moment_4 = lived.add(7)
    lived.add(1)
    lived.archive()
    lived.back(moment_4)
    lived.stands(beat_4, 157)
    assert lived.timeline() == first + 4
    # Across two switches: the backup's timeline, the one that left it, and the one that left that.
    beat_5, moment_5 = lived.add(3)
    lived.add(1)
    lived.archive()
    assert lived.back(moment_5)["restore.target"].details["timeline"] == first + 4
    lived.stands(beat_5, 160)
    lived.back(moment_1)
    lived.stands(beat_1, 100)
    lived.back(moment_4)
    lived.stands(beat_4, 157)


def test_a_time_on_no_timeline_or_on_another_is_refused(lived: Counted) -> None:
    first = lived.timeline()
    beat_1, moment_1 = lived.add(10)
    _beat_2, moment_2 = lived.add(5)
    last, _moment = lived.add(1)
    lived.archive()
    lived.back(moment_1)
    began = lived.sql("SELECT checkpoint_time FROM pg_control_checkpoint()")
    assert began > last
    # The new timeline cannot have what came after it left the old one, whatever its first transaction is.
    checks, _, summary = restored(lived.options(moment_2, target_timeline=str(first + 1)))
    problem = checks["restore.failed:prove"]
    assert f"is not on timeline {first + 1}" in problem.message
    assert f"restore_target_timeline={first}," in problem.remedy
    assert not summary["changed"]
    lived.stands(beat_1, 10)
    with pytest.raises(ConfigurationError, match="is on no timeline") as refused:
        engine.plan(lived.options(last + (began - last) / 4))
    assert f"timeline {first + 1} (left {first} at" in refused.value.remedy
    with pytest.raises(ConfigurationError, match="no history file of timeline 99"):
        engine.plan(lived.options(moment_2, target_timeline="99"))
    # All of the old one, by name.
    checks, _, _ = restored(lived.options(target_type="latest", target_timeline=str(first)))
    assert bad(checks) == {}
    lived.stands(last, 16)


@pytest.mark.parametrize("phase", ["restore", "prove", "before rename to data", "start"])
def test_killed_and_abandoned(lived: Counted, worker: Start, phase: str) -> None:
    """The old cluster is in place again and runs; what was put in place lies aside, and nothing is half made."""
    _beat, moment = lived.add(10)
    last, _moment = lived.add(5)
    lived.archive()
    process = worker({**lived.options(moment), "hang": phase})
    until(process, phase)
    process.kill()
    process.wait()
    chosen = lived.options(abandon=True)
    assert engine.plan(chosen)["refusals"] == []
    engine.run(chosen, Progress())
    lived.stands(last, 15)
    assert len(lived.kept()) == (phase in ("before rename to data", "start"))
    assert not [name for name in lived.kept() if "_before_" not in name]
    with pytest.raises(ConfigurationError, match="nothing to abandon"):
        engine.run(chosen, Progress())
    assert not any(json.loads(path.read_text())["run"] for path in lived.place.rglob("state.json"))
    # What follows is not disturbed by it.
    lived.back(moment)
    lived.stands(_beat, 10)


def test_stuck_in_the_start_and_on_to_another_target(lived: Counted) -> None:
    """The server is down: the same command goes on, another target starts over, and giving up needs a confirmation."""
    beat_1, moment_1 = lived.add(10)
    beat_2, moment_2 = lived.add(5)
    lived.add(1)
    lived.archive()
    broken = {"start_command": ["false"]}
    checks, result, _ = restored(lived.options(moment_1, cluster=broken))
    assert (checks["restore.unfinished"].status, result["unfinished"]) == ("critical", True)
    assert not inside(lived.data)
    (refusal,) = engine.plan(lived.options(abandon=True, confirm=None))["refusals"]
    assert refusal["name"] == "confirmation"
    # Guessed wrong: another second, while nothing runs.
    checks, result, _ = restored(lived.options(moment_2))
    assert bad(checks) == {}
    assert "starts over" in result["found"][0]
    lived.stands(beat_2, 15)
    # And the same again, which goes on after what was put in place, and knows what was lost.
    same: tuple[dict[str, Any], ...] = ({"target": moment_1.isoformat()}, {"target_type": "latest"})
    for target in same:
        restored(lived.options(cluster=broken, **target))
        checks, result, _ = restored(lived.options(**target))
        assert bad(checks) == {}
        assert "resumes after that" in result["found"][0]
        lived.stands(beat_1, 10)


def test_stuck_and_nothing_to_go_back_to(lived: Counted) -> None:
    beat, moment = lived.add(10)
    lived.add(1)
    lived.archive()
    lived.destroy()
    restored(lived.options(moment, cluster={"start_command": ["false"]}))
    result = engine.run(lived.options(abandon=True), Progress())
    assert [each["name"] for each in result["refusals"]] == ["nothing"]
    assert not result["changed"]
    lived.back(moment)
    lived.stands(beat, 10)


def test_time_on_two_timelines(lived: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore that was given up after its server took rows: the old cluster lives on, and both have that time."""
    first = lived.timeline()
    _beat, moment_1 = lived.add(10)
    beat_2, _moment = lived.add(5)
    lived.archive()

    def stuck(*_arguments: Any) -> Any:
        raise RestoreError("It does not go on.")

    monkeypatch.setattr(start, "_archived", stuck)
    _checks, result, _summary = restored(lived.options(moment_1))
    assert result["unfinished"]
    monkeypatch.undo()
    beat_3, moment_3 = lived.add(100)
    lived.add(1)
    lived.archive()
    engine.run(lived.options(abandon=True), Progress())
    lived.stands(beat_2, 15)
    assert lived.timeline() == first
    lived.add(1000)
    lived.archive()
    plan = engine.plan(lived.options(moment_3))
    assert plan["timeline"] == first
    assert f"restore_target_timeline={first + 1}" in plan["steps"][0]
    lived.back(moment_3)
    lived.stands(beat_2, 15)
    lived.back(moment_3, target_timeline=str(first + 1))
    lived.stands(beat_3, 110)


def test_playbook_gives_a_stuck_restore_up(lived: Counted) -> None:
    """With the same command, and one option more."""
    _beat, moment = lived.add(10)
    last, _moment = lived.add(5)
    lived.archive()
    restored(lived.options(moment, cluster={"start_command": ["false"]}))
    asked: tuple[str, ...] = ("-e", "restore_mode=point_in_time", "-e", f"restore_target={moment.isoformat()}")
    asked += ("-e", f"restore_scratch_directory='{lived.place}'", "-e", "restore_application_way=none")
    asked += ("-e", "restore_abandon=true")
    planned = lived.physical.play("restore", *asked, "--check")
    assert planned.returncode == 0, planned.output
    assert "Would put back what was in" in planned.output
    assert not inside(lived.data)
    done = lived.physical.play("restore", *asked)
    assert done.returncode == 0, done.output
    lived.stands(last, 15)
    checks = {check["id"]: check for check in done.report("restore")["checks"]}
    assert "was abandoned" in checks["restore.abandoned"]["message"]
    assert "Record the restore in the ledger" in done.output
    assert lived.kept()[0] in checks["restore.kept"]["message"]
    listed = engine.plan(lived.options(mode="remove_old"))
    assert [each["name"] for each in listed["kept"]] == [str(lived.data.parent / name) for name in lived.kept()]


def planned(lived: Counted, moment: datetime, **changes: Any) -> dict[str, Check]:
    """What --check says."""
    chosen = lived.options(moment, **changes)
    found, _actions = findings.planned(engine.plan(chosen), chosen, None, "2026-11-24T00:00:00Z")
    return {check.id: check for check in found}


def test_now_while_the_server_runs(lived: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing since the last segment is archived: it is, before anything is stopped. This host's clock is behind."""
    lived.add(10)
    lived.archive()
    beat, _moment = lived.add(5)
    now = lived.sql("SELECT clock_timestamp()")
    monkeypatch.setattr(source, "host_clock", lambda: datetime.now(UTC) - timedelta(hours=1))
    said = planned(lived, now)
    assert "archive the rest" in str(said["restore.reach"].message)
    assert "60 min ahead of this host's" in str(said["restore.reach"].message)
    with pytest.raises(ConfigurationError, match="in the future: the database server's clock"):
        engine.plan(lived.options(now + timedelta(hours=1)))
    # By what lies there the server learns what of its log is archived, while it still runs.
    spool = Path(lived.postgres["pgbackrest_dir"], "spool/archive/local")
    (spool / "kept").touch()
    checks = lived.back(now)
    assert (spool / "kept").exists()
    assert "before anything was stopped" in str(checks["restore.reach"].message)
    lived.stands(beat, 15)
    # All there is, too.
    beat, _moment = lived.add(1)
    monkeypatch.undo()
    checks, _, _ = restored(lived.options(target_type="latest"))
    assert bad(checks) == {}
    lived.stands(beat, 16)


def test_now_while_nothing_can_be_archived(lived: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive is broken: --check says so, the run ends before it stops anything. Then the server dies, too."""
    lived.add(10)
    lived.archive()
    command = lived.sql("SHOW archive_command")
    lived.sql("ALTER SYSTEM SET archive_command = 'false'")
    try:
        lived.sql("SELECT pg_reload_conf()")
        beat, _moment = lived.add(5)
        lived.sql("SELECT pg_switch_wal()")
        while not lived.sql("SELECT last_failed_time > last_archived_time FROM pg_stat_archiver"):
            time.sleep(0.1)
        now = lived.sql("SELECT clock_timestamp()")
        check = planned(lived, now)["restore.reach"]
        assert (check.status, "attempt to archive a segment failed" in str(check.message)) == ("warning", True)
        monkeypatch.setattr(reach, "PATIENCE", 3.0)
        checks, result, _ = restored(lived.options(now))
        assert "did not come within" in str(checks["restore.failed:archive"].message)
        assert (result["changed"], result["unfinished"], lived.kept()) == (False, False, [])
        lived.stands(beat, 15)
    except BaseException:
        lived.sql(f"ALTER SYSTEM SET archive_command = $q${command}$q$")
        lived.sql("SELECT pg_reload_conf()")
        raise
    os.kill(lived.postgres["pid"], signal.SIGKILL)
    while inside(lived.data):
        time.sleep(0.05)
    refused = planned(lived, now)["restore.refused:reach"]
    assert "cannot be reached" in str(refused.message)
    moment = str(refused.remedy).split("restore_target=")[1].split(";")[0]
    lived.back(datetime.fromisoformat(moment))
    assert lived.count() == 10


def test_closed_database(lived: Counted) -> None:
    """At the target nobody could connect: it is proven all the same, and the report says what became of it."""
    name = lived.postgres["database"]
    beat, _moment = lived.add(10)
    # As after a restore onto a host with another C library.
    version = lived.sql(f"SELECT datcollversion FROM pg_database WHERE datname = '{name}'")
    lived.sql(f"UPDATE pg_database SET datcollversion = '0.1' WHERE datname = '{name}'")
    for change in ("ALLOW_CONNECTIONS false", "CONNECTION LIMIT 0"):
        lived.physical.sql(f'ALTER DATABASE "{name}" WITH {change}', "postgres")
    moment = lived.physical.sql("SELECT clock_timestamp()", "postgres")[0][0]
    for change in ("ALLOW_CONNECTIONS true", "CONNECTION LIMIT -1"):
        lived.physical.sql(f'ALTER DATABASE "{name}" WITH {change}', "postgres")
    lived.add(5)
    checks, result, _ = restored(lived.options(moment))
    assert result["problem"] is None
    assert sorted(bad(checks)) == ["restore.closed", "restore.collations"]
    assert f'ALTER DATABASE "{name}" REFRESH COLLATION VERSION' in checks["restore.collations"].remedy
    assert "ALLOW_CONNECTIONS false" in checks["restore.closed"].message
    assert f'ALTER DATABASE "{name}" WITH CONNECTION LIMIT -1' in checks["restore.closed"].remedy
    lived.stands(beat, 10)
    lived.sql(f'ALTER DATABASE "{name}" WITH CONNECTION LIMIT -1')
    version = f"'{version}'" if version else "NULL"
    lived.sql(f"UPDATE pg_database SET datcollversion = {version} WHERE datname = '{name}'")


def test_roles_of_then(lived: Counted) -> None:
    """At the target passwords were others, and a superuser of today was not made."""
    own, app = lived.postgres["superuser"], lived.postgres["maintenance_user"]
    beat, _moment = lived.add(10)
    connection = lived.physical.sandbox.connect("superuser")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolname IN (%s, %s)", (own, app))
        kept = dict(cursor.fetchall())
        for role in (own, app):
            cursor.execute(f"ALTER ROLE \"{role}\" PASSWORD 'of then'")
        cursor.execute("SELECT clock_timestamp()")
        (moment,) = cursor.fetchone()
        for role in (own, app):
            cursor.execute(f'ALTER ROLE "{role}" PASSWORD %s', (kept[role],))
        cursor.execute("CREATE ROLE late SUPERUSER LOGIN PASSWORD 'late'")
    connection.close()
    chosen = lived.options(moment)
    chosen["database"] = {**chosen["database"], "user": "late", "password": "late"}
    checks, result, _ = restored(chosen)
    assert "there is no role late" in checks["restore.failed:replay"].message
    assert not result["changed"]
    checks, result, _ = restored(lived.options(moment))
    assert result["problem"] is None, result["problem"]
    assert sorted(bad(checks)) == ["restore.login", "restore.passwords"]
    assert f"not of today: late (not there), {app}." in checks["restore.passwords"].message
    lived.stands(beat, 10)
    lived.sql(f"ALTER ROLE \"{app}\" PASSWORD '{kept[app]}'")


def test_back_to_before_drop_database(lived: Counted) -> None:
    """A time before the commit of DROP DATABASE is after its files are gone: the message says where to stop instead."""
    beat, moment = lived.add(10)
    name = lived.postgres["database"]
    lived.physical.sql(f'DROP DATABASE "{name}" WITH (FORCE)', "postgres")
    lived.physical.sql("SELECT txid_current()", "postgres")
    segment = lived.physical.sql("SELECT pg_walfile_name(pg_switch_wal())", "postgres")[0][0]
    while (lived.physical.sql("SELECT last_archived_wal FROM pg_stat_archiver", "postgres")[0][0] or "") < segment:
        time.sleep(0.1)
    checks, _, summary = restored(lived.options(moment))
    problem = checks["restore.failed:prove"]
    assert "in the middle of DROP DATABASE" in problem.message
    assert not summary["changed"]
    place = re.search(r"restore_target=([0-9A-F]+/[0-9A-F]+), restore_target_timeline=(\d+)", problem.remedy)
    assert place
    asked = lived.options(target_type="lsn", target=place[1], target_timeline=place[2])
    checks, _, _ = restored(asked)
    assert bad(checks) == {}
    lived.stands(beat, 10)


def test_prepared_transactions(lived: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that locks the heartbeats: the plan names it, the restore ends, and what is to be done stands in it.

    The last one: whatever is restored after it has to replay the setting.
    """
    lived.sql("ALTER SYSTEM SET max_prepared_transactions = 3")
    for what in ("stop", "start"):
        lived.physical.sandbox(what, "postgres")
    lived.add(10)
    connection = lived.physical.sandbox.connect("superuser")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO counted SELECT FROM generate_series(1, 7)")
        cursor.execute("LOCK TABLE heartbeat IN ACCESS EXCLUSIVE MODE")
        cursor.execute("PREPARE TRANSACTION 'odd '' one'")
    connection.close()
    moment = lived.sql("SELECT clock_timestamp()")
    assert "odd ' one of" in str(planned(lived, moment)["restore.prepared"].message)
    # Nobody gives the lock up.
    monkeypatch.setattr(heartbeats, "PATIENCE", 3)
    checks, result, _ = restored(lived.options(moment))
    assert result["problem"] is None, result["problem"]
    assert sorted(bad(checks)) == ["restore.heartbeat", "restore.prepared", "restore.settings"]
    # The backup is older than the setting without which nothing could be prepared.
    assert "max_prepared_transactions = 3" in checks["restore.settings"].message
    assert "COMMIT PREPARED or ROLLBACK PREPARED 'odd '' one'" in checks["restore.prepared"].remedy
    assert "prepared" in checks["restore.heartbeat"].message
    assert lived.count() == 10
    lived.sql("COMMIT PREPARED 'odd '' one'")
    assert lived.count() == 17
