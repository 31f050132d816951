"""The daily backup in trouble: killed, disk full, store gone, two at once, its caller gone; and through Ansible."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    BackupError,
    LockedError,
    MaintenanceError,
)

from tests.conftest import ROOT, Sandbox
from tests.integration import test_backup
from tests.integration.test_backup import Make, assert_nothing_left, keys, left_in, uploads
from tests.integration.workers import Start, started_by

backup_options, database, scratch = test_backup.backup_options, test_backup.database, test_backup.scratch

#: About 40 MB that gzip cannot make smaller: twice what waits in memory to be uploaded.
BULK = """CREATE TABLE bulk AS SELECT i, (SELECT string_agg(sha512((i * 100 + j)::text::bytea), '')
    FROM generate_series(1, 64) j) AS b FROM generate_series(1, 10000) i"""
SLOW = 1 << 20


def wait_for(what: Callable[[], Any], seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("did not happen in time")


def processes(needle: str) -> list[int]:
    """Processes whose command line names something."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if needle.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Start]:
    """Starts a backup in a process and session of its own."""
    with started_by("backup_worker.py", tmp_path) as start:
        yield start


def test_killed_in_the_middle_then_run_again(backup_options: Make, database: Make, worker: Any) -> None:
    # So much that the dump goes on when the first part is on its way, however late the brake is.
    bulk = database(BULK + ";" + 2 * "INSERT INTO bulk SELECT * FROM bulk;")
    slow = backup_options(database=bulk, bandwidth_limit=SLOW, part_size=5 << 20, scratch_limit=1 << 20)
    folder = Path(slow["scratch_directory"])
    first = worker(slow)
    wait_for(lambda: (uploads(slow) and processes(f"--file={folder}")) or first.poll() is not None)
    assert first.poll() is None, first.communicate()[0]
    first.kill()
    first.wait()
    # Neither pg_dump nor its workers, which the brake may have stopped, outlive it.
    wait_for(lambda: not processes(f"--file={folder}"), 10)
    assert left_in(folder)
    assert uploads(slow)
    assert not [key for key in keys(slow) if key.endswith("recovery-point.json")]
    again = {**slow, "bandwidth_limit": 0}
    result = engine.create(again, Progress())
    assert result["verification"]["ok"]
    assert result["notes"]["aborted_uploads"] >= 1
    assert len(result["notes"]["unfinished"]) <= 1
    assert not left_in(folder)
    assert not uploads(slow)


def test_two_at_once(backup_options: Make, database: Make, worker: Any) -> None:
    slow = backup_options(database=database(BULK), bandwidth_limit=SLOW)
    first = worker(slow)
    wait_for(lambda: processes(f"--file={slow['scratch_directory']}"))
    with pytest.raises(LockedError, match=f"process {first.pid}, recovery point 2.*, started 2"):
        engine.create(slow, Progress())
    # Another environment is another matter, and the first one is not disturbed.
    other = {**slow, "environment_name": slow["environment_name"] + "-2", "bandwidth_limit": 0}
    assert engine.create(other, Progress())["verification"]["ok"]
    assert first.poll() is None


def test_bandwidth_limit_and_brake_bound_the_scratch_space(backup_options: Make, database: Make) -> None:
    """64 MB at 16 MB/s, of which 20 MB fit into memory: the rest waits in the database, not on the disk."""
    filled = database("CREATE TABLE t AS SELECT repeat('x', 8000) AS a FROM generate_series(1, 8000)")
    chosen = backup_options(
        database=filled, compression="none", bandwidth_limit=16 << 20, part_size=5 << 20, scratch_limit=1 << 20, jobs=1
    )
    result = engine.create(chosen, Progress())
    assert result["verification"]["ok"]
    assert result["recovery_point"]["totals"]["bytes"] > 64_000_000
    assert result["phases"]["backup"] > 3
    # What pg_dump writes between two looks comes on top of the limit: more the busier the machine, never all of it.
    assert result["notes"]["scratch_peak_bytes"] < 48 << 20


def test_store_goes_down_during_the_upload(
    backup_options: Make, database: Make, platform: Sandbox, worker: Any
) -> None:
    slow = backup_options(database=database(BULK), bandwidth_limit=SLOW, part_size=5 << 20)
    slow["storage"] = {**slow["storage"], "max_attempts": 1, "connect_timeout": 2, "read_timeout": 3}
    first = worker(slow)
    wait_for(lambda: uploads(slow) or first.poll() is not None)
    assert first.poll() is None, first.communicate()[0]
    platform("stop", "s3")
    try:
        output, _ = first.communicate(timeout=300)
    finally:
        platform("start", "s3")
    assert first.returncode == 1
    assert output.startswith("StorageError: "), output
    assert "tradingflow_storage" in output
    assert slow["storage"]["secret_key"] not in output
    assert not processes(f"--file={slow['scratch_directory']}")
    assert not left_in(Path(slow["scratch_directory"]))
    assert not [key for key in keys(slow) if key.endswith("recovery-point.json")]


def test_key_is_withdrawn_during_the_upload(
    backup_options: Make, database: Make, platform: Sandbox, worker: Any
) -> None:
    slow = backup_options(database=database(BULK), bandwidth_limit=SLOW, part_size=5 << 20)
    slow["storage"] = {**slow["storage"], "max_attempts": 10, "connect_timeout": 2}
    identities = Path(platform.state["s3"]["log_file"]).parents[1] / "s3/identities.json"
    known = identities.read_text()
    first = worker(slow)
    # Whether pg_dump still runs by then, too, is the machine's matter.
    wait_for(lambda: uploads(slow) or first.poll() is not None)
    assert first.poll() is None, first.communicate()[0]
    platform("stop", "s3")
    identities.write_text(known.replace(slow["storage"]["access_key"], "somebody-else"))
    try:
        platform("start", "s3")
        output, _ = first.communicate(timeout=300)
    finally:
        platform("stop", "s3")
        identities.write_text(known)
        platform("start", "s3")
    assert first.returncode == 1
    assert output.startswith("StorageError: "), output
    assert re.search("(?i)access ?key|credentials", output), output
    assert slow["storage"]["secret_key"] not in output
    assert not processes(f"--file={slow['scratch_directory']}")
    assert not left_in(Path(slow["scratch_directory"]))
    assert not [key for key in keys(slow) if key.endswith("recovery-point.json")]
    # What it was not allowed to abort goes when it is a week old: somebody else's run may still be at it.
    assert engine.create({**slow, "bandwidth_limit": 0}, Progress())["verification"]["ok"]


def test_caller_gone(backup_options: Make, database: Make, tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "alive").touch()
    chosen = backup_options(database=database(BULK), bandwidth_limit=SLOW, part_size=5 << 20)
    gone = subprocess.Popen(["sleep", "60"])
    progress = Progress(job, [gone.pid])
    phases = []

    class Stopping(Progress):
        def tick(self) -> None:
            super().tick()
            if uploads(chosen):
                gone.kill()
                gone.wait()
                phases.append(json.loads((job / "state.json").read_text()))

    progress.__class__ = Stopping
    with pytest.raises(BackupError, match="gone"):
        engine.create(chosen, progress)
    assert phases[0]["phase"] == "backup"
    assert phases[0]["bytes_total"] > 40_000_000
    assert_nothing_left(chosen)


@pytest.fixture
def tiny_disk() -> Iterator[Callable[[str], Path]]:
    """tiny_disk(size) mounts a file system of that size."""
    mounted = []

    def mount(size: str) -> Path:
        folder = tempfile.mkdtemp(prefix="tiny-")
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", folder]
        if os.getuid() or subprocess.run(command, capture_output=True).returncode:
            os.rmdir(folder)
            pytest.skip("mounting needs root and the right to mount")
        mounted.append(folder)
        return Path(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)
        os.rmdir(folder)


def test_disk_full(backup_options: Make, database: Make, tiny_disk: Any) -> None:
    disk = tiny_disk("64k")
    chosen = backup_options(database=database(BULK), scratch_directory=str(disk), bandwidth_limit=SLOW)
    with pytest.raises(MaintenanceError, match=r"(?i)no space left.*backup_scratch_directory") as caught:
        engine.create(chosen, Progress())
    assert caught.value.remedy
    assert_nothing_left(chosen)


def test_small_disk_is_enough(backup_options: Make, database: Make, tiny_disk: Any) -> None:
    """40 MB through 6 MB: what is read is given back while the file still grows."""
    disk = tiny_disk("6m")
    # Slow compression: on a busy machine we see late what pg_dump has written.
    slow = {"compression": "gzip", "compression_level": 9}
    chosen = backup_options(database=database(BULK), scratch_directory=str(disk), bandwidth_limit=16 << 20, **slow)
    result = engine.create(chosen, Progress())
    assert result["verification"]["ok"]
    assert result["recovery_point"]["totals"]["bytes"] > 40_000_000


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """inventories/local, with a role of secrets in variables that a test may read back."""
    playbook = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.import_role": {"name": "tradingflow.maintenance.backup"}}],
        }
    ]
    path = tmp_path / "backup.yml"
    path.write_text(yaml.safe_dump(playbook))
    return path


def role(platform: Sandbox, playbook: Path, variables: dict[str, Any], *arguments: str) -> subprocess.Popen[str]:
    file = playbook.with_name("variables.json")
    file.write_text(json.dumps({f"backup_{name}": value for name, value in variables.items()}))
    file.chmod(0o600)
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", "inventories/local", str(playbook)),
            *("-e", f"@{file}", *arguments),
        ],
        cwd=ROOT,
        env={**platform.environment, "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def of_role(chosen: dict[str, Any], **changes: Any) -> dict[str, Any]:
    names = ("database", "storage", "scratch_directory", "part_size")
    return {
        "environment": chosen["environment_name"],
        "evidence": {},
        **{name: chosen[name] for name in names},
        **changes,
    }


def test_role_shows_progress_and_no_secret(
    backup_options: Make,
    database: Make,
    platform: Sandbox,
    inventory: Path,
) -> None:
    chosen = backup_options(database=database(BULK))
    process = role(platform, inventory, of_role(chosen, bandwidth_limit=4 << 20), "-vvv")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    lines = [line for line in output.splitlines() if line.startswith("PROGRESS backup localhost ")]
    assert any(" of ~" in line and "%" in line and " ETA " in line for line in lines), lines
    for secret in (chosen["database"]["password"], chosen["storage"]["secret_key"]):
        assert secret not in output
    assert [key for key in keys(chosen) if key.endswith("recovery-point.json")]
    assert not left_in(Path(chosen["scratch_directory"]))


def test_role_in_check_mode_only_plans(
    backup_options: Make,
    database: Make,
    platform: Sandbox,
    inventory: Path,
) -> None:
    chosen = backup_options(database=database(BULK))
    process = role(platform, inventory, of_role(chosen), "--check", "-v")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert '"status": "planned"' in output
    assert not keys(chosen)
    assert not list(Path(chosen["scratch_directory"]).iterdir())


def test_role_alone_fails_the_task(
    backup_options: Make,
    platform: Sandbox,
    inventory: Path,
) -> None:
    chosen = backup_options(database={**platform.database, "password": "wr0ng-passw0rd"})
    process = role(platform, inventory, of_role(chosen), "-vvv")
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "password authentication failed" in output
    assert "wr0ng-passw0rd" not in output
    assert_nothing_left(chosen)


def test_work_ends_when_ansible_is_killed(
    backup_options: Make,
    database: Make,
    platform: Sandbox,
    inventory: Path,
) -> None:
    chosen = backup_options(database=database(BULK), part_size=5 << 20)
    folder = chosen["scratch_directory"]
    process = role(platform, inventory, of_role(chosen, bandwidth_limit=SLOW))
    wait_for(lambda: uploads(chosen) and processes(f"--file={folder}"))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # Run again at once: the one that is dying is waited for, or already gone.
    again = role(platform, inventory, of_role(chosen))
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    wait_for(lambda: not processes(f"--file={folder}"), 10)
    assert len([key for key in keys(chosen) if key.endswith("recovery-point.json")]) == 1
    assert not uploads(chosen)


def test_worker_killed_under_ansible_is_said(
    backup_options: Make,
    database: Make,
    platform: Sandbox,
    inventory: Path,
) -> None:
    chosen = backup_options(database=database(BULK))
    folder = Path(chosen["scratch_directory"])
    process = role(platform, inventory, of_role(chosen, bandwidth_limit=SLOW))
    wait_for(lambda: processes(f"--file={folder}"))
    (lock,) = folder.glob("tradingflow-backup-*/*/lock")
    os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "was killed" in output
    wait_for(lambda: not processes(f"--file={folder}"), 10)
