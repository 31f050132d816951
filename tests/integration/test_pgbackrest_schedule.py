"""Timers of the physical backups, as systemd itself reads them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import schedule

from tests.conftest import left_out


@pytest.mark.parametrize(
    ("when", "good"), [("Sun 01:00", True), ("Mon..Sat *-*-* 01:30:00 UTC", True), ("hourly", True), ("hurly", False)]
)
def test_timers(tmp_path: Path, when: str, good: bool) -> None:
    if not shutil.which("systemd-analyze"):
        left_out("no systemd-analyze: apt-get install systemd")
    # A program that is there, and characters that systemd reads as its own.
    tool = SimpleNamespace(
        stanza="main",
        user=SimpleNamespace(name="root"),
        arguments=lambda command, *options: [sys.executable, "--config=/a b%n$c\"d'e", *options, command],
    )
    units = []
    for path, text in schedule.files({"scheduler": "timer", "schedule": {"full": when}}, tool).items():  # type: ignore[arg-type]
        if text:
            (tmp_path / path.name).write_text(text)
            units.append(tmp_path / path.name)
    assert {unit.suffix for unit in units} == {".service", ".timer"}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    # It ignores much that it does not understand, and says so.
    assert (done.returncode == 0 and not done.stderr) == good, done.stderr
