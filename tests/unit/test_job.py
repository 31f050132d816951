"""Whose work it is: a job ends with the run that started it, and is not even begun for one that has ended."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work import progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import BackupError
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils import runner
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.job import JobAction

from tests.conftest import ROOT


def _orphaned(place: Path, parent: int) -> None:
    """A worker whose parent has died notices it, however late it looks."""
    deadline = time.monotonic() + 60
    while os.getppid() == parent and time.monotonic() < deadline:
        time.sleep(0.01)
    place.write_text(f"{runner.runner() == parent} {runner.is_gone()}")


def _parent(place: Path) -> None:
    multiprocessing.get_context("fork").Process(target=_orphaned, args=(place, os.getpid())).start()
    os._exit(0)


def test_a_worker_knows_the_run_also_after_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "seen"
    # In a Python of its own: this one may have threads, and a fork of those may wait for ever.
    script = "import sys; from pathlib import Path; from tests.unit.test_job import _parent; _parent(Path(sys.argv[1]))"
    path = os.pathsep.join([str(ROOT), str(ROOT / "collections")])
    command = [sys.executable, "-c", script, str(place)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True, timeout=120)
    deadline = time.monotonic() + 60
    while not (place.exists() and place.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert place.read_text() == "True True"
    assert (runner.runner(), runner.is_gone()) == (os.getppid(), False)
    # Work is not even started for a run that has ended, and not followed: it would be watched over by nobody.
    monkeypatch.setattr(runner, "is_gone", lambda: True)
    action = object.__new__(JobAction)
    with pytest.raises(BackupError, match="that started the backup is gone"):
        action.worked({}, {})
    with pytest.raises(BackupError, match="that started the backup is gone"):
        action._follow("/nowhere", 1, "localhost")


def test_a_process_that_nobody_reaped_or_whose_id_is_another_s_is_gone(tmp_path: Path) -> None:
    (tmp_path / "alive").touch()
    ended = subprocess.Popen(["sleep", "600"])
    shown = progress.Progress(tmp_path, [os.getpid(), ended.pid])
    shown.phase("backup")
    ended.kill()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    # Its entry is still there.
    assert Path(f"/proc/{ended.pid}").exists()
    with pytest.raises(BackupError, match="is gone"):
        shown.phase("verify")
    ended.wait()
    later = progress.Progress(tmp_path, [os.getpid()])
    later._watched = {os.getpid(): "1"}
    with pytest.raises(BackupError, match="is gone"):
        later.phase("backup")
