"""The scenarios of molecule/ run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from sandbox.hosts.machine import missing
from tests import forked, times, warm
from tests.conftest import ROOT, left_out

SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/converge.yml"))
#: The one that boots hosts.
HOSTS = "patching"


def test_scenarios(tmp_path: Path) -> None:
    """All in one run: they share the sandbox, which the scenario "default" makes and removes."""
    why = missing()
    chosen = [scenario for scenario in SCENARIOS if not why or scenario != HOSTS]
    warm.shim(tmp_path / "bin", forked.python(forked.MODULES))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "molecule", "-c", "molecule/config.yml", "test"),
            *(word for scenario in chosen for word in ("-s", scenario)),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{tmp_path}/bin:{ROOT}/.venv/bin:{os.environ['PATH']}",
            "NO_COLOR": "1",
            # Not where molecule keeps what a run that was killed left, of any checkout of the same name.
            "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    times.add(forked.spent())
    assert done.returncode == 0, done.stdout[-5000:]
    for scenario in chosen:
        # Converged and verified.
        assert re.search(rf"^{scenario} +: actions=2 +successful=2 ", done.stdout, re.MULTILINE), done.stdout[-5000:]
    assert not (ROOT / ".cache/molecule/state/sandbox.json").exists()
    if why:
        left_out(f"molecule's scenario {HOSTS}: {why}")
