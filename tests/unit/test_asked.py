"""Programs that are asked something, real ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.asked import asked


def test_what_it_says_and_how_it_ends_are_the_callers_to_judge() -> None:
    code = "import os, sys; print(os.getcwd(), sys.stdin.read()); print('no', file=sys.stderr); sys.exit(3)"
    said = asked([sys.executable, "-c", code], {"A": "1"}, 60)
    assert (said.status, said.text, said.messages) == (3, "/ \n", b"no\n")
    together = asked([sys.executable, "-c", code], {}, 60, stderr=subprocess.STDOUT)
    assert (sorted(together.text.split()), together.messages) == (["/", "no"], b"")


def test_one_that_does_not_run_or_not_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asked([str(tmp_path / "none")], {}, 60)
    with pytest.raises(TimeoutError, match="did not end within 0"):
        asked(["sleep", "600"], {"PATH": "/bin:/usr/bin"}, 0.05)
