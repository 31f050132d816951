"""``python -m sandbox start|stop|restart SERVICE`` by a process that has it imported, for those who ask often.

A start of Python and its imports cost five times what the command itself does, and a restore in place takes two.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("start", "stop", "restart")
#: Seconds that who asked has to fetch the answer: one that was killed never does.
_PATIENCE = 300

# Asks in one line, which is one write; prints what the command printed, and ends with its exit status.
_CLIENT = """\
#!/bin/sh
mine=$(mktemp -d {folder}/XXXXXX) && mkfifo "$mine/status" || exit 1
echo "$mine $1 $2" >{folder}/asked
read -r status <"$mine/status"
cat "$mine/output" >&2
rm -r "$mine"
exit "$status"
"""


class Control:
    """The process, and a program that asks it.

    :param environment: names the sandbox
    :ivar program: a path; its arguments are a command and a service
    """

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self.program = str(folder / "control")
        Path(self.program).write_text(_CLIENT.format(folder=folder), encoding="utf-8")
        os.chmod(self.program, 0o700)
        os.mkfifo(folder / "asked", 0o600)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.control", str(folder / "asked")],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
        )

    def end(self) -> None:
        """Ends it, when nobody asks any more."""
        self._process.communicate()


def serve(pipe: str) -> None:
    """Carries out one line of a named pipe after the other, until whoever started it is gone."""
    import psycopg2  # noqa: F401 - a start asks the server by it

    from sandbox import __main__  # noqa: F401 - what is forked has it

    # For writing too: it does not end with the first who asked.
    asked, kept = os.open(pipe, os.O_RDWR), b""
    while True:
        ready, _, _ = select.select([asked, 0], [], [])
        if asked not in ready:
            return
        *lines, kept = (kept + os.read(asked, 4096)).split(b"\n")
        for line in lines:
            folder, *arguments = line.decode().split()
            pid = os.fork()
            if not pid:
                _carry_out(Path(folder), arguments)
            os.waitpid(pid, 0)


def _carry_out(folder: Path, arguments: list[str]) -> NoReturn:
    """Does what was asked in a process of its own, which what it starts outlives, and ends that."""
    from sandbox import __main__

    status = 1
    try:
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = __main__.main(arguments)
        sys.stdout.flush()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        # Who asked may be gone, and the next one is not to wait for that.
        if not os.fork():
            _tell(folder / "status", status)
        os._exit(0)


def _tell(pipe: Path, status: int) -> NoReturn:
    deadline, pause = time.monotonic() + _PATIENCE, 0.005
    while time.monotonic() < deadline:
        # Until it is open at the other end.
        with suppress(OSError):
            os.write(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), b"%d\n" % status)
            break
        time.sleep(pause)
        pause = min(pause * 1.3, 1)
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
