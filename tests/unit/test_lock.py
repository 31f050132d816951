"""The lock of a run on one controller, without a store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import lock as locks
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import LockedError

from tests.conftest import ROOT


def acquire(root: Path, run_id: str = "r1", pid: int | None = None, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"environment": "production", "procedure": "daily", "ttl_s": 3600, **changes}
    return locks.acquire(
        root,
        options["environment"],
        options["procedure"],
        run_id=run_id,
        owner_pid=pid or os.getpid(),
        storage=None,
        ttl_s=options["ttl_s"],
    )


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Something that lives until it is killed."""
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield running
    running.kill()
    running.wait()


def edit(lock: dict[str, Any], **changes: Any) -> None:
    path = Path(lock["file"])
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_one_at_a_time(tmp_path: Path) -> None:
    first = acquire(tmp_path / "runs of today")
    assert first["notes"] == []
    with pytest.raises(LockedError) as caught:
        acquire(tmp_path / "runs of today", "r2")
    for part in ("daily of production", "run r1", first["host"], f"process {os.getpid()}", first["started_at"]):
        assert part in caught.value.message
    assert first["file"] in caught.value.remedy
    assert locks.release(first, storage=None) == []
    assert acquire(tmp_path / "runs of today", "r2")["notes"] == []


def test_others_are_not_locked_out(tmp_path: Path) -> None:
    acquire(tmp_path)
    acquire(tmp_path, environment="staging")
    acquire(tmp_path, procedure="weekly")
    # Names must not run into one another, nor out of the folder.
    names = ["a/b", "a@b", "ä 100%", "..", "a%2Fb"]
    for name in names:
        acquire(tmp_path, environment=name, procedure=name)
    files = {path.name for path in (tmp_path / "locks").iterdir()} - {"guard"}
    assert len(files) == 3 + len(names)
    assert all((tmp_path / "locks" / name).is_file() for name in files)


def test_a_lock_is_private_json(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    assert os.stat(lock["file"]).st_mode & 0o777 == 0o600
    assert json.loads(json.dumps(lock)) == lock


def test_killed_owner(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    acquire(tmp_path, pid=process.pid)
    with pytest.raises(LockedError):
        acquire(tmp_path, "r2")
    process.kill()
    # Dead, though nobody has reaped it yet.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    (note,) = acquire(tmp_path, "r2")["notes"]
    assert "Took over" in note
    assert "run r1" in note
    with pytest.raises(LockedError, match="run r2"):
        acquire(tmp_path, "r3")


def test_process_id_in_use_again(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    edit(lock, start_ticks=lock["start_ticks"] - 1)
    assert "its process is gone" in acquire(tmp_path, "r2")["notes"][0]


def test_odd_process_names(tmp_path: Path) -> None:
    program = tmp_path / "a ) b (c 7"
    program.symlink_to("/bin/sleep")
    running = subprocess.Popen([program, "60"])
    try:
        assert acquire(tmp_path, pid=running.pid)["start_ticks"] > 1000
        with pytest.raises(LockedError):
            acquire(tmp_path, "r2")
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize(
    "change", [{"host": "elsewhere"}, {"pid_namespace": "pid:[1]"}, {"machine": None, "boot_id": "x"}]
)
def test_who_cannot_be_seen_is_left_alone_for_a_time(tmp_path: Path, change: dict[str, Any]) -> None:
    """Another machine or container: that there is no such process here says nothing."""
    lock = acquire(tmp_path)
    edit(lock, pid=2**22 + 1, **change)
    with pytest.raises(LockedError, match=r"its lock ends at \d{4}-"):
        acquire(tmp_path, "r2")
    old = os.stat(lock["file"]).st_mtime - 3601
    os.utime(lock["file"], (old, old))
    assert "its time is over" in acquire(tmp_path, "r2")["notes"][0]


def test_before_a_restart_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {**locks._machine(), "machine": "m"}
    monkeypatch.setattr(locks, "_machine", lambda: here)
    edit(acquire(tmp_path), boot_id="before")
    assert "its process is gone" in acquire(tmp_path, "r2")["notes"][0]


@pytest.mark.parametrize("text", ["", "no", "[]", "{"])
def test_damaged_lock(tmp_path: Path, text: str) -> None:
    lock = acquire(tmp_path)
    Path(lock["file"]).write_text(text)
    assert "was damaged" in acquire(tmp_path, "r2")["notes"][0]


def test_a_long_run_is_not_overtaken_where_it_is_seen(tmp_path: Path) -> None:
    acquire(tmp_path, ttl_s=0)
    with pytest.raises(LockedError, match="its lock ends with that process"):
        acquire(tmp_path, "r2", ttl_s=0)


def test_only_ones_own_lock_is_given_back(tmp_path: Path) -> None:
    first = acquire(tmp_path)
    edit(first, run_id="r2")
    locks.release(first, storage=None)
    with pytest.raises(LockedError, match="run r2"):
        acquire(tmp_path, "r3")
    Path(first["file"]).unlink()
    assert locks.release(first, storage=None) == []


def test_release_never_raises(tmp_path: Path) -> None:
    lock = acquire(tmp_path)
    (note,) = locks.release({**lock, "file": "/dev/null/locks/x.json"}, storage=None)
    assert "cannot be removed" in note


def contest(tmp_path: Path, count: int) -> tuple[list[dict[str, Any]], list[LockedError]]:
    won: list[dict[str, Any]] = []
    lost: list[LockedError] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        try:
            won.append(acquire(tmp_path, f"r{number}"))
        except LockedError as error:
            lost.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won, lost


def test_ten_at_once(tmp_path: Path) -> None:
    won, lost = contest(tmp_path, 10)
    assert (len(won), len(lost)) == (1, 9)


def test_ten_at_once_take_over(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    acquire(tmp_path, "dead", process.pid)
    process.kill()
    process.wait()
    won, lost = contest(tmp_path, 10)
    assert (len(won), len(lost)) == (1, 9)
    assert "run dead" in won[0]["notes"][0]
    assert all(won[0]["run_id"] in error.message for error in lost)


def test_two_processes_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from tests.unit.test_lock import acquire, LockedError, Path\n"
        "print('ready', flush=True); input()\n"
        "try: acquire(Path(sys.argv[3]), sys.argv[4]); print('won', flush=True)\n"
        "except LockedError: print('lost', flush=True)\n"
        "input()"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, ROOT, ROOT / "collections", tmp_path, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    try:
        for each in running:
            assert each.stdout
            assert each.stdout.readline() == "ready\n"
        for each in running:
            assert each.stdin
            each.stdin.write("\n")
            each.stdin.flush()
        assert sorted(each.stdout.readline() for each in running if each.stdout) == ["lost\n", "won\n"]
    finally:
        for each in running:
            each.kill()
            each.communicate()
