"""The process that starts and stops a sandbox's services for tests: it says what the command says, to everybody."""

from __future__ import annotations

import os
import select
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


def test_who_does_not_fetch_an_answer_stops_nobody(control: Control, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "status")
    (tmp_path / "control/asked").write_text(f"{tmp_path} start postgres\n")
    done = subprocess.run([control.program, "start", "postgres"], capture_output=True, text=True)
    assert (done.returncode, "There is no sandbox" in done.stderr) == (1, True)
    # It is still there to be fetched, and was not given up before the next was answered.
    reading = os.open(tmp_path / "status", os.O_RDONLY | os.O_NONBLOCK)
    select.select([reading], [], [], 60)
    assert os.read(reading, 10) == b"1\n"
    os.close(reading)
