"""Work in processes of its own, for tests that kill it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

Start = Callable[[dict[str, Any]], "subprocess.Popen[str]"]


@contextmanager
def started_by(script: str, folder: Path) -> Iterator[Start]:
    """Gives what starts a script of this folder with options, each in a session of its own; ends those that are left.

    :param folder: for the options
    """
    started: list[subprocess.Popen[str]] = []

    def start(chosen: dict[str, Any]) -> subprocess.Popen[str]:
        file = folder / f"options-{len(started)}.json"
        file.write_text(json.dumps(chosen))
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/integration" / script), str(ROOT / "collections"), str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
