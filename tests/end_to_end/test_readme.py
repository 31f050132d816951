"""What the README shows runs as it is printed: its commands and its Python."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Sandbox

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
COMMANDS = [shlex.split(line, comments=True) for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout as it is, with a folder of runs of its own."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if path.name not in ("artifacts", ".git", ".sandbox"):
            (folder / path.name).symlink_to(path)
    return folder


def run(platform: Sandbox, checkout: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command as after ``source .venv/bin/activate``.

    Of the areas only one, where the command does not choose: what all of them do is tested elsewhere.
    """
    return subprocess.run(
        command,
        cwd=checkout,
        env={
            **platform.environment,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_RUN_TAGS": "trading",
        },
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_the_readme_has_no_block_of_another_kind() -> None:
    assert sorted({kind for kind, _text in BLOCKS}) == ["python", "sh"]


def test_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    shown = [command[1] for command in COMMANDS if command[0] == "make"]
    assert len(shown) >= 3
    assert set(shown) <= set(targets)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command[0] != "make"], ids=" ".join)
def test_commands_run(platform: Sandbox, checkout: Path, command: list[str]) -> None:
    done = run(platform, checkout, command)
    # What other tests left in the logs is a warning, which passes.
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Report: " in done.stdout


def test_python_runs(platform: Sandbox, checkout: Path) -> None:
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    done = run(platform, checkout, [sys.executable, "-c", code])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'worst_status': " in done.stdout.splitlines()[-1]
    # Neither a fixed name that others can prepare, nor anything left behind.
    assert "/tmp/" not in code
