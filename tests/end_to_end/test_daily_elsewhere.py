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
    trading = {check["id"]: check["status"] for check in report["checks"] if check["area"] == "trading"}
    assert done.returncode != 0
    # The application runs, only there is nothing in it.
    assert {trading.pop(f"trading.{id}") for id in ("platform_heartbeat", "duplicates:heartbeat")} == {"ok"}
    assert set(trading.values()) == {"unknown"}
    assert {check["status"] for check in report["checks"] if check["area"] in ("backup", "backups")} == {"ok"}


@pytest.fixture(scope="module")
def shifted_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library to preload: this process and its children see the time CLOCK_OFFSET seconds off."""
    compiler = shutil.which("cc")
    if compiler is None:
        left_out("a wrong clock needs a C compiler (on Debian: apt-get install gcc libc6-dev)")
        raise AssertionError
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


@pytest.mark.parametrize("offset", [-7200, 7200])
def test_clock_of_the_runner_is_wrong(play: Play, shifted_clock: Path, offset: int) -> None:
    """The runner's clock, not the platform's: what depends on it must not be judged as if it were right."""
    done = play(
        "daily", "--tags", "database", environment={"LD_PRELOAD": str(shifted_clock), "CLOCK_OFFSET": str(offset)}
    )
    report = done.report()
    statuses = {check["id"]: check["status"] for check in report["checks"]}
    assert done.returncode != 0
    assert statuses["database.clock_skew"] == "critical"
    assert "clock" in done.output
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
