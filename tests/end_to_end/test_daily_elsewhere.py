"""``playbooks/daily.yml`` on platforms and machines that are not as they should be."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Playbook, Sandbox, left_out, sandbox

Play = Callable[..., Playbook]


@pytest.fixture(scope="module")
def empty_platform() -> Iterator[Sandbox]:
    with sandbox("empty") as running:
        yield running


def test_empty_platform_is_backed_up_but_never_ok(empty_platform: Sandbox, play: Play) -> None:
    done = play("daily", environment=empty_platform.environment)
    report = done.report()
    trading = {check["status"] for check in report["checks"] if check["area"] == "trading"}
    assert done.returncode != 0
    assert "ok" not in trading
    assert trading & {"unknown", "critical"}
    assert {check["status"] for check in report["checks"] if check["area"] in ("backup", "backups")} == {"ok"}


@pytest.mark.parametrize("offset", ["-2h", "+2h"])
def test_clock_of_the_runner_is_wrong(play: Play, tmp_path: Path, offset: str) -> None:
    """The runner's clock, not the platform's: what depends on it must not be judged as if it were right."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        left_out("libfaketime is not installed (on Debian: apt-get install faketime)")
    environment = {"LD_PRELOAD": str(library), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    done = play("daily", environment=environment)
    report = done.report()
    statuses = {check["id"]: check["status"] for check in report["checks"]}
    assert done.returncode != 0
    assert statuses["database.clock_skew"] == "critical"
    assert report["passed"] is False


def test_nowhere_to_write(play: Play, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where the folder should be")
    done = play("daily")
    assert done.returncode != 0
    assert "tradingflow_artifacts_dir" in done.output
    assert "Traceback" not in done.output


def test_run_folder_on_a_full_disk(play: Play, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if os.getuid() or not shutil.which("mount"):
        left_out("a small file system needs root")
    folder = tmp_path / "artifacts"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        left_out(f"cannot mount a small file system: {done.stderr.strip()}")
    try:
        (folder / "ballast").write_bytes(b"x" * 40000)
        finished = play("daily", "--tags", "health")
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert finished.returncode != 0
    assert "No space left" in finished.output
    assert "Traceback" not in finished.output
