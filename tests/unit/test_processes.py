"""Which processes and folders are ours: never by a number, a name or a path alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation import processes
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import directories, remove
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.state import State
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, LockedError

Run = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def run() -> Iterator[Run]:
    """run(cwd) starts a process that waits in a directory; all are gone afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start(cwd: Path, *command: str, **more: Any) -> subprocess.Popen[bytes]:
        # SIGQUIT is ignored by what a shell starts in the background, and inherited.
        ours = ("env", "--default-signal=QUIT", *(command or ("sleep", "600")))
        process = subprocess.Popen(ours, cwd=cwd, start_new_session=True, **more)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def server(folder: Path, pid: int, since: float) -> Path:
    """A data directory whose postmaster.pid names a process."""
    data = folder / "instance/data"
    data.mkdir(parents=True)
    (data / "postmaster.pid").write_text(f"{pid}\n{data}\n{int(since)}\n5432\n\n*\n")
    return data


def test_server_of_a_dead_run_is_ended(tmp_path: Path, run: Run) -> None:
    data = server(tmp_path, 0, 0)
    process = run(data)
    (data / "postmaster.pid").write_text(f"{process.pid}\n{data}\n{int(time.time())}\n")
    assert processes.server_of(data) == process.pid
    assert processes.inside(tmp_path) == [process.pid]
    processes.end_inside(tmp_path)
    assert process.wait(60) == -signal.SIGQUIT


def test_number_of_a_dead_server_is_another_s_by_now(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere, or even in this very directory, when it began at another time."""
    other = tmp_path / "other"
    other.mkdir()
    process = run(other)
    data = server(tmp_path / "ours", process.pid, time.time())
    assert processes.server_of(data) is None
    processes.end_inside(tmp_path / "ours")
    assert process.poll() is None
    later = run(data)
    (data / "postmaster.pid").write_text(f"{later.pid}\n{data}\n{int(time.time()) - 3600}\n")
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    with pytest.raises(LockedError, match=str(later.pid)):
        processes.end_inside(tmp_path / "ours")
    assert later.poll() is None


def test_bystander_is_named_and_spared(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who looks into what a dead run left."""
    process = run(tmp_path)
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    with pytest.raises(LockedError, match=f"left: {process.pid}"):
        processes.end_inside(tmp_path)
    assert process.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a mount namespace")
def test_same_path_in_a_container_is_another_directory(tmp_path: Path, run: Run) -> None:
    script = f"mount -t tmpfs tmpfs '{tmp_path}' && cd '{tmp_path}' && touch ready && exec sleep 600"
    process = run(Path("/"), "unshare", "--mount", "sh", "-c", script)
    while not Path(f"/proc/{process.pid}/cwd/ready").exists():
        assert process.poll() is None
        time.sleep(0.05)
    # In a chroot, the path of what is mounted elsewhere begins at the system's own root.
    assert os.readlink(f"/proc/{process.pid}/cwd").endswith(str(tmp_path))
    assert processes.inside(tmp_path) == []
    processes.end_inside(tmp_path)
    assert process.poll() is None


def test_group_that_was_written_down_is_ended_also_without_its_leader(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "application"
    folder.mkdir()
    script = "import os, time\nif os.fork(): time.sleep(600)\ntime.sleep(600)"
    leader = run(folder, sys.executable, "-c", script)
    processes.write_group(folder, leader.pid)
    while len(processes.inside(tmp_path)) < 2:
        time.sleep(0.05)
    leader.kill()
    leader.wait()
    (child,) = processes.inside(tmp_path)
    processes.end_inside(tmp_path)
    assert processes.began(child) is None


def test_directory_that_took_the_place_of_ours_stays(tmp_path: Path) -> None:
    ours, other = tmp_path / ".data.restoring_x", tmp_path / "other"
    ours.mkdir()
    note = {"making": str(ours), "making_mark": processes.mark(ours)}
    ours.rmdir()
    other.mkdir()
    (other / "file").touch()
    other.rename(ours)
    directories.remove_made(note)
    directories.remove_made({"making": str(ours)})
    assert (ours / "file").exists()
    directories.remove_made({"making": str(ours), "making_mark": processes.mark(ours)})
    assert not ours.exists()


def test_only_what_was_put_aside_is_removed(tmp_path: Path) -> None:
    kept = tmp_path / "data_before_20261129t120000z_abcdef"
    kept.mkdir()
    state = State(tmp_path / "state.json")

    def removed() -> None:
        remove._find({"database": {"name": "d"}}, str(kept), state)[2]()

    with pytest.raises(ConfigurationError, match="not a directory that a restore on this host put aside"):
        removed()
    state.keep("directory", str(kept), "point", "now")
    kept.rename(tmp_path / "moved")
    kept.mkdir()
    with pytest.raises(ConfigurationError, match="not a directory that a restore on this host put aside"):
        removed()
    kept.rmdir()
    (tmp_path / "moved").rename(kept)
    removed()
    assert not kept.exists()
