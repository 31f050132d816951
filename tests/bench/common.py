"""What all benchmarks share: programs and what they cost, rounds, and each benchmark's place in docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform as machine
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

PAGE = ROOT / "docs/benchmarks.md"


@dataclass
class Cost:
    """What one program cost.

    :param wall: s
    :param cpu: s of processor time, of the program and all that it started and waited for
    """

    wall: float
    cpu: float


def run(command: list[str], environment: dict[str, str]) -> Cost:
    """Runs a program in the checkout.

    :raises RuntimeError: it failed, with what it printed
    """
    with tempfile.TemporaryFile() as output:
        begun = time.monotonic()
        files = [(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)]
        nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        pid = os.posix_spawn(command[0], command, environment, file_actions=[nothing, *files])
        _pid, status, usage = os.wait4(pid, 0)
        wall = time.monotonic() - begun
        if status:
            output.seek(0)
            text = output.read().decode(errors="replace")
            raise RuntimeError(f"{' '.join(command[:6])} ... ended with {status}:\n{text[-5000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def playbook(
    text: str,
    folder: Path,
    environment: dict[str, str],
    variables: dict[str, Any] | None = None,
    inventory: Path = ROOT / "inventories/local",
) -> Cost:
    """Runs a playbook that is written into the folder, with Ansible's own output.

    :raises RuntimeError: it failed
    """
    (folder / "play.yml").write_text(text, encoding="utf-8")
    (folder / "vars.json").write_text(json.dumps(variables or {}), encoding="utf-8")
    arguments = ["-i", str(inventory), "-e", f"@{folder}/vars.json", str(folder / "play.yml")]
    return run(
        [sys.executable, "-m", "ansible", "playbook", *arguments],
        {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **environment, "ANSIBLE_STDOUT_CALLBACK": "default"},
    )


def interleaved(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Rounds and names. The order turns, so that nobody is always first on a cold or last on a full machine."""
    for number in range(rounds):
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            yield number, name


def about(command: str) -> str:
    """How and where it was measured, in a sentence."""
    cores = len(os.sched_getaffinity(0))
    busy = os.getloadavg()[0]
    return (
        f"Measured by `{command}` on {cores} cores ({machine.machine()}, Python {machine.python_version()}; "
        f"load at the end {busy:.1f}), medians of rounds that were interleaved."
    )


def write(name: str, command: str, text: str) -> None:
    """Puts a benchmark's result into the page, between the marks of its name."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, after = page.split(begin)[0], page.split(end)[1]
    PAGE.write_text(f"{before}{begin}\n{about(command)}\n\n{text}\n{end}{after}", encoding="utf-8")
