"""The process that starts and stops a sandbox's services for tests: it says what the command says, to everybody."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control import Control


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    """Of a sandbox that is not there."""
    state = {"TRADINGFLOW_SANDBOX_STATE": str(tmp_path / "state"), "TRADINGFLOW_SANDBOX_ROOT": str(tmp_path / "root")}
    made = Control({**os.environ, **state}, tmp_path / "control")
    yield made
    made.end()


def test_status_and_output_are_those_of_the_command(control: Control) -> None:
    for arguments, status, said in ((("start", "postgres"), 1, "There is no sandbox"), (("stop", "x"), 2, "choice")):
        done = subprocess.run([control.program, *arguments], capture_output=True, text=True)
        assert (done.returncode, said in done.stderr) == (status, True), done.stderr


def test_who_asked_and_is_gone_stops_nobody(control: Control) -> None:
    asking = subprocess.Popen([control.program, "start", "postgres"], stderr=subprocess.DEVNULL)
    asking.kill()
    asking.wait()
    done = subprocess.run([control.program, "start", "postgres"], capture_output=True, text=True)
    assert (done.returncode, "There is no sandbox" in done.stderr) == (1, True)
