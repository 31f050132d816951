"""Ansible by a process that has it imported: each run is forked from there, and costs a quarter less of a processor.

What Ansible reads while it is imported, its configuration and the environment, is the same for all runs of such a
process: each environment has its own, and beyond a few of them a run is started as usual. Whoever wants a whole start
(a fresh checkout, an installed collection) does not use this.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests import forked, warm

ROOT = Path(__file__).resolve().parent.parent
#: What is imported before a run: Ansible's programs, and what every run of ours needs.
MODULES = (
    *("ansible.cli.playbook", "ansible.cli.adhoc", "ansible.executor.playbook_executor"),
    *("ansible.executor.task_queue_manager", "ansible.plugins.strategy.linear", "ansible.plugins.action.normal"),
    *("boto3", "botocore.session", "botocore.handlers", "s3transfer.manager", "psycopg2", "yaml"),
    *("cryptography.x509", "cryptography.hazmat.primitives.asymmetric.ed25519"),
)
#: Variables that nothing reads before a run.
_OWN = ("TRADINGFLOW_", "PYTEST_")
#: Environments with a process of their own.
_MOST = 4


def run(
    program: str, arguments: list[str], environment: dict[str, str], timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m ansible PROGRAM ARGUMENTS`` from the checkout's root.

    :param program: playbook or adhoc
    :returns: its exit status, and stdout and stderr together
    :raises subprocess.TimeoutExpired: it did not end, and was ended
    """
    command = [sys.executable, "-m", "ansible", program, *arguments]
    ready = _ready(environment)
    if not ready:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
    with tempfile.NamedTemporaryFile() as output:
        status = ready.run([program, *arguments], environment, output.name, timeout)
        said = Path(output.name).read_text(encoding="utf-8", errors="replace")
    if status is None:
        raise subprocess.TimeoutExpired(command, timeout, said)
    return subprocess.CompletedProcess(command, status, said)


_found: list[Ready] = []


def _ready(environment: dict[str, str]) -> Ready | None:
    """The process for runs of this environment; None where there are too many."""
    wanted = _read(environment)
    for each in _found:
        if each.environment == wanted:
            return each
    if len(_found) < _MOST:
        _found.append(Ready(environment))
        return _found[-1]
    return None


def _read(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(_OWN)}


class Ready:
    """The process, seen by who asks it. It ends with that one."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = _read(environment)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ready"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        atexit.register(self._process.stdin.close)  # type: ignore[union-attr]

    def run(self, arguments: list[str], environment: dict[str, str], output: str, timeout: float) -> int | None:
        """The exit status; None when the time was up."""
        # A plugin of pytest's, which imports it itself.
        from tests import times

        assert self._process.stdin
        asked = {"arguments": arguments, "environment": environment, "output": output}
        asked["interpreter"] = forked.python(forked.MODULES)
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        begun = self._answer(timeout + 60)
        assert begun, "the process that runs Ansible does not answer"
        answer = self._answer(timeout)
        if answer is None:
            os.kill(begun["pid"], signal.SIGKILL)
        ended = answer or self._answer(60)
        assert ended, "the run does not end"
        times.add(ended["spent"] + forked.spent())
        return int(ended["status"]) if answer else None

    def _answer(self, timeout: float) -> Any:
        """The next line, as JSON; None when the time was up."""
        assert self._process.stdout
        deadline, line = time.monotonic() + timeout, b""
        while not line.endswith(b"\n"):
            there, _, _ = select.select([self._process.stdout], [], [], max(0, deadline - time.monotonic()))
            if not there:
                return None
            more = os.read(self._process.stdout.fileno(), 65536)
            assert more, "the process that runs Ansible is gone"
            line += more
        return json.loads(line)


def serve() -> None:
    """Forks a run for each line of standard input, one at a time; ends the interpreter in the forked ones, too."""
    answers = os.dup(1)
    os.dup2(2, 1)
    for name in MODULES:
        importlib.import_module(name)
    payloads = warm.everything()
    if payloads:
        warm.imported()
    # Interrupted are the runs; this one ends when nobody is left to ask.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    # A run ends before its garbage matters, and looking for it is a twentieth of what it costs.
    gc.disable()
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        pid = os.fork()
        if not pid:
            os.close(answers)
            sys.exit(_run(asked, payloads))
        os.write(answers, json.dumps({"pid": pid}).encode() + b"\n")
        _, status, used = os.wait4(pid, 0)
        spent = used.ru_utime + used.ru_stime
        answer = {"status": os.waitstatus_to_exitcode(status), "spent": spent}
        os.write(answers, json.dumps(answer).encode() + b"\n")


def _run(asked: dict[str, Any], payloads: warm.Payloads | None) -> Any:
    """What ``python -m ansible`` does, in a process of its own."""
    from ansible import __main__, constants
    from ansible.utils.path import cleanup_tmp_file

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(asked["environment"])
    for path, mode, number in ((os.devnull, os.O_RDONLY, 0), (asked["output"], os.O_WRONLY | os.O_APPEND, 1)):
        opened = os.open(path, mode)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    # The folder for its temporary files, which it makes while it is imported and removes at its end.
    atexit.unregister(cleanup_tmp_file)
    constants.DEFAULT_LOCAL_TMP = tempfile.mkdtemp(
        prefix=f"ansible-local-{os.getpid()}", dir=Path(constants.DEFAULT_LOCAL_TMP).parent
    )
    atexit.register(cleanup_tmp_file, constants.DEFAULT_LOCAL_TMP, warn=True)
    program = asked["arguments"][0]
    sys.argv = [str(__main__.__file__), *asked["arguments"]]
    if not payloads:
        return importlib.import_module(f"ansible.cli.{program}").main(asked["arguments"])
    payloads.give(constants.DEFAULT_LOCAL_TMP)
    warm.interpreter(asked["interpreter"])
    own = os.getpid()
    try:
        return importlib.import_module(f"ansible.cli.{program}").main(asked["arguments"])
    finally:
        if os.getpid() == own:
            payloads.take(constants.DEFAULT_LOCAL_TMP)


if __name__ == "__main__":
    serve()
