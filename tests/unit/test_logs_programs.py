"""Journals and logs of containers, by programs that answer as the real ones do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.reading import read

from tests.unit.logs_fixtures import HOUR, NOON, counted, source, stamp

Install = Callable[..., Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A program on PATH: program("journalctl", output, stderr=..., code=..., script=...). Notes its arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def install(name: str, output: str | bytes = "", *, stderr: str = "", code: int = 0, script: str = "") -> Path:
        data = output if isinstance(output, bytes) else output.encode()
        (folder / f"{name}.out").write_bytes(data)
        (folder / f"{name}.err").write_text(stderr)
        noted = folder / f"{name}.args"
        (folder / name).write_text(
            f'#!/bin/sh\nfor a in "$@"; do printf "%s\\n" "$a"; done >>{noted}; echo --- >>{noted}\n'
            + (script or f"cat {folder}/{name}.out; cat {folder}/{name}.err >&2; exit {code}\n")
        )
        (folder / name).chmod(0o755)
        return noted

    return install


def record(at: float, message: Any, priority: int | None = 6, **fields: Any) -> str:
    """A line of journalctl --output=json."""
    entry = {
        "__CURSOR": "s=1;i=1",
        "__REALTIME_TIMESTAMP": str(int(at * 1e6)),
        "__MONOTONIC_TIMESTAMP": "1",
        "_BOOT_ID": "b",
        "MESSAGE": message,
        **({} if priority is None else {"PRIORITY": str(priority)}),
        **fields,
    }
    return json.dumps(entry) + "\n"


def journal(since: float = 24 * HOUR, **given: Any) -> dict[str, Any]:
    return read(source(kind="journal", unit="app.service", **given), str(since), NOON)


def container(**given: Any) -> dict[str, Any]:
    return read(source(kind="container", container="app", **given), str(24 * HOUR), NOON)


def test_journal(program: Install) -> None:
    noted = program(
        "journalctl",
        "-- No entries --\n"
        + record(NOON - 25 * HOUR, "too old", 3)
        + record(NOON - 90, "started")
        + record(NOON - 80, '{"level": "error", "event": "order 7 failed"}')
        + record(NOON - 70, "disk gone", 2)
        + record(NOON - 60, "ERROR said at info")
        + record(NOON - 50, list(b"B\xf6rse password=hush\x00"), 3)
        + record(NOON - 40, None, 4)
        + record(NOON - 30, ["one", "two"], 7)
        + record(NOON - 20, None, 3)
        # More than journalctl gives out, and cut.
        + record(NOON - 20, "x" * 300_000, 3)
        + record(NOON + 30, "next time", 3)
        + "no json\n",
    )
    found = journal()
    assert counted(found) == {"debug": 1, "info": 1, "warning": 1, "error": 5, "critical": 1}
    samples = {kind["sample"] for kind in found["kinds"]}
    assert {"order 7 failed", "disk gone", "said at info", "Börse password=***"} <= samples
    arguments = noted.read_text().split("---")[0].split()
    assert "--unit=app.service" in arguments
    assert f"--since=@{int(NOON - 24 * HOUR)}" in arguments


def test_journal_that_was_quiet_or_never_was(program: Install) -> None:
    program("journalctl", script='case "$*" in *--lines=1*) echo "{}";; *) echo "-- No entries --";; esac\n')
    found = journal()
    assert (counted(found), found["seconds"]) == ({}, 24 * HOUR)
    program("journalctl", "-- No entries --\n")
    assert "there is no such unit" in journal()["problem"]


HINT = """Hint: You are currently not seeing messages from other users and the system.
      Users in groups 'adm', 'systemd-journal' can see all messages.
      Pass -q to turn off this notice.
"""


def test_journal_that_may_not_be_read(program: Install) -> None:
    program("journalctl", "", stderr=HINT)
    assert "cannot be read" in journal()["problem"]
    program("journalctl", record(NOON - 5, "mine"), stderr=HINT)
    assert "cannot be read" in journal()["doubts"][0]
    program("journalctl", stderr="No journal files were found.\n")
    assert "no journal" in journal()["problem"]


@pytest.mark.parametrize("kind", ["journal", "container"])
def test_program_that_is_not_there_fails_or_hangs(program: Install, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    name = {"journal": "journalctl", "container": "docker"}[kind]
    look = {"journal": journal, "container": container}[kind]
    program(name, "", stderr="cannot open: password=hush", code=1)
    problem = look()["problem"]
    assert f"{name} failed" in problem
    assert "hush" not in problem
    program(name, script="exec sleep 60\n")
    assert "did not end in 1 s" in look(timeout=1)["problem"]
    program(name, script="exec yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n")
    assert any("more than" in doubt for doubt in look(max_bytes=1_000_000)["doubts"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert "No such file" in look()["problem"]


def test_breaking_off_in_the_middle_is_in_doubt(program: Install) -> None:
    program("journalctl", record(NOON - 50, "one"), code=1, stderr="bad message")
    found = journal()
    assert counted(found) == {"info": 1}
    assert "reading stopped early" in found["doubts"][0]


@pytest.mark.parametrize("runtime", ["docker", "podman"])
def test_container(program: Install, runtime: str) -> None:
    noted = program(
        runtime,
        f"{stamp(NOON - 100)} INFO started\n"
        f"{stamp(NOON - 90)} ERROR request failed\n"
        f"{stamp(NOON - 90)} Traceback (most recent call last):\n"
        f'{stamp(NOON - 90)}   File "x.py", line 1, in f\n'
        f"{stamp(NOON - 90)} ValueError: no price\n"
        f'{stamp(NOON - 80)} {{"level": "warning", "event": "slow"}}\n'
        f"{stamp(NOON - 70)} 2026-11-24 11:58:50 [error] from nginx\n",
    )
    found = container(runtime=runtime)
    assert counted(found) == {"info": 1, "warning": 1, "error": 2}
    assert "request failed: ValueError: no price" in {kind["sample"] for kind in found["kinds"]}
    assert noted.read_text().split()[0] == "logs"


def test_container_of_kubernetes_that_was_restarted(program: Install) -> None:
    program(
        "crictl",
        script=f"""case "$1$4" in
ps*) echo aaa1; echo bbb2;;
logs*aaa1) echo '{stamp(NOON - 100)} stderr F FATAL out of memory';;
logs*bbb2) echo '{stamp(NOON - 50)} stdout F INFO started';;
esac
""",
    )
    assert counted(container(runtime="crictl")) == {"critical": 1, "info": 1}
    program("crictl", "")
    assert "knows no container" in container(runtime="crictl")["problem"]


@pytest.mark.parametrize("name", ["--help", "-v", "a b", "a;b", "$(id)"])
def test_names_are_no_options(program: Install, name: str) -> None:
    noted = program("docker")
    found = read(source(kind="container", container=name), "60", NOON)
    assert "is not a container" in found["problem"]
    assert not noted.exists()
