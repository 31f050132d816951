"""The restore drill in trouble: killed, two at once, store gone, disk full, its caller gone; and through Ansible."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation import processes as servers
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import instance
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import proven as proof
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.job import DRILL
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import BackupError, LockedError
from botocore.exceptions import BotoCoreError

from tests.conftest import Playbook, Sandbox
from tests.integration import drill_fixtures, test_backup_trouble
from tests.integration.drill_fixtures import judged, left_in
from tests.integration.test_backup import Make
from tests.integration.test_backup_trouble import processes, wait_for
from tests.integration.workers import Start, started_by

backed_up, drill_options, odd = drill_fixtures.backed_up, drill_fixtures.drill_options, drill_fixtures.odd
place, small = drill_fixtures.place, drill_fixtures.small
tiny_disk = test_backup_trouble.tiny_disk

#: An invariant that keeps the drill in its proof for as long as a test needs.
HANGING = [{"name": "hanging", "title": "Hanging", "sql": "SELECT count(*) FROM pg_sleep(600)"}]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Start]:
    """Starts a drill in a process and session of its own, which prints its phases."""
    with started_by("drill_worker.py", tmp_path) as start:
        yield start


def until(process: subprocess.Popen[str], phase: str) -> None:
    assert process.stdout
    for line in process.stdout:
        if line.strip() == phase:
            return
    raise AssertionError(f"it ended before {phase}")


@pytest.mark.parametrize("phase", ["fetch", "start", "restore", "prove", "application"])
def test_killed_in_any_phase_leaves_nothing(
    backed_up: dict[str, Any], drill_options: Make, worker: Start, platform: Sandbox, place: Path, phase: str
) -> None:
    application = {**drill_fixtures.application(platform), "ready_path": "/never"}
    hanging = HANGING if phase == "prove" else []
    process = worker(drill_options(backed_up, application=application, invariants=hanging))
    until(process, phase)
    process.kill()
    process.wait()
    # Server and application die with it, and the copy of the data does not wait for the next drill.
    wait_for(lambda: not servers.inside(place) and not processes(str(place)) and not left_in(place), 20)


def test_runs_again_after_what_a_crash_left(small: dict[str, Any], drill_options: Make, place: Path) -> None:
    """The machine itself fell: nobody was there to clean up. Something still runs in what is left."""
    chosen = drill_options(small)
    engine.run(chosen, Progress())
    (home,) = [path.parent for path in place.rglob("lock") if path.parent.name.startswith("odd")]
    left = home / "20260101T000000Z-abcdef" / "instance" / "data"
    left.mkdir(parents=True)
    (left / "PG_VERSION").write_text("18")
    stray = subprocess.Popen(["sleep", "600"], cwd=left)
    # As a server says of itself: others who work there are not ended, see test_processes.
    (left / "postmaster.pid").write_text(f"{stray.pid}\n{left}\n{int(time.time())}\n")
    try:
        result = engine.run(chosen, Progress())
        assert stray.wait(10) < 0
    finally:
        stray.kill()
        stray.wait()
    assert result["problem"] is None
    assert not left_in(place)
    assert not left.exists()


def test_two_at_once(small: dict[str, Any], drill_options: Make, worker: Start) -> None:
    first = worker(drill_options(small, invariants=HANGING))
    until(first, "prove")
    with pytest.raises(LockedError, match=f"Another drill .* process {first.pid}, .* started 2"):
        engine.run(drill_options(small), Progress())
    assert first.poll() is None


def test_caller_gone(small: dict[str, Any], drill_options: Make, place: Path, tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "alive").touch()

    class Left(Progress):
        def tick(self) -> None:
            if self.name == "restore":
                (job / "alive").unlink(missing_ok=True)
            super().tick()

    with pytest.raises(BackupError, match="The drill was told to stop"):
        engine.run(drill_options(small), Left(job, [], DRILL))
    assert not left_in(place)
    assert not servers.inside(place)


def test_store_goes_down_while_it_fetches(
    small: dict[str, Any], drill_options: Make, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    """What the store gave is cut off in the middle: that is no damage, and not the recovery point's fault."""
    real = s3_storage.client

    def unsteady(*arguments: Any, **options: Any) -> Any:
        s3 = real(*arguments, **options)
        get = s3.get_object

        def cut(**where: Any) -> Any:
            answer = get(**where)
            if "/database/" in where["Key"]:
                raise BotoCoreError
            return answer

        s3.get_object = cut
        return s3

    monkeypatch.setattr(engine, "client", unsteady)
    chosen = {**drill_options(small), "storage": {**small["storage"], "max_attempts": 1}}
    result = engine.run(chosen, Progress())
    checks, _, summary = judged(result, chosen)
    assert checks["drill.objects"].status == "unknown"
    assert "cannot be reached while reading" in checks["drill.objects"].message
    assert summary["worst_status"] == "unknown"
    assert not left_in(place)


@pytest.mark.parametrize("size", ["62m", "67m"])
def test_disk_full(
    backed_up: dict[str, Any], drill_options: Make, tiny_disk: Any, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    """The space is there when it is looked for, and gone later: for WAL, which ends the server, or for tables."""
    disk = tiny_disk(size)
    disk.chmod(0o711)
    monkeypatch.setattr(engine.Prepared, "check_space", lambda _: None)
    chosen = drill_options(backed_up, scratch_directory=str(disk))
    result = engine.run(chosen, Progress())
    checks, _, summary = judged(result, chosen)
    check = next(check for check in checks.values() if check.status == "unknown")
    assert summary["worst_status"] == "unknown"
    assert any(words in check.message for words in instance.FULL)
    assert "restore_drill_scratch_directory" in check.remedy
    assert not left_in(disk)


def test_role_proves_and_records(
    backed_up: dict[str, Any], place: Path, platform: Sandbox, play: Callable[..., Playbook], tmp_path: Path
) -> None:
    """The whole playbook, with the application of inventories/local; then the daily check finds its record."""
    file = tmp_path / "variables.json"
    environment = backed_up["environment_name"]
    variables = {"restore_drill_environment": environment, "restore_drill_scratch_directory": str(place)}
    file.write_text(json.dumps(variables))
    planned = play("drill", "-e", f"@{file}", "--check")
    assert planned.returncode == 0, planned.output
    assert "Would restore" in planned.output
    assert not left_in(place)
    evidence = {"trusted_key_files": [platform.state["evidence"]["public_key_file"]]}
    limit = {"warning": 8, "critical": 35}
    assert [check.status for check in proof.measure(platform.storage, environment, evidence, limit)] == ["critical"]
    done = play("drill", "-e", f"@{file}", "-vvv")
    assert done.returncode == 0, done.output
    for secret in (backed_up["storage"]["secret_key"], backed_up["database"]["password"]):
        assert secret not in done.output
    report = done.report("drill")
    (action,) = [action for action in report["actions"] if action["id"] == "drill.restore"]
    assert list(action["details"]["phases"])[:4] == ["prepare", "fetch", "start", "restore"]
    assert {check["id"]: check["status"] for check in report["checks"] if check["status"] != "ok"} == {}
    page = (done.artifacts / "drill/latest/report.html").read_text()
    assert "Against the objectives" in page
    assert "of 4" in page
    # The daily check finds it in the ledger.
    (check,) = proof.measure(platform.storage, environment, evidence, limit)
    assert check.status == "ok", check
    made = backed_up["made"]["recovery_point"]["id"]
    assert {key: check.details[key] for key in ("recovery_point", "engine")} == {
        "recovery_point": made,
        "engine": "logical",
    }
    assert check.details["rto_seconds"] > 0
    assert check.details["rpo_seconds"] >= 0
    assert not left_in(place)
