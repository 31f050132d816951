"""The scenarios of molecule/ run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/converge.yml"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "molecule", "-c", "molecule/config.yml", "test", "-s", scenario],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert not (ROOT / ".cache/molecule/state/sandbox.json").exists()
