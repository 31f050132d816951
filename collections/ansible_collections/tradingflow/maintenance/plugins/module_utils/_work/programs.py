# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs: started so that they end with us, and what they say."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional

from ..errors import BackupError

_PR_SET_PDEATHSIG = 1


#: Bytes of a program's messages that are kept.
_SAID = 8192


try:
    _libc: Any = ctypes.CDLL(None, use_errno=True)
except OSError:  # no dynamic libc
    _libc = None


def child_setup(nice: int, farewell: int = signal.SIGKILL) -> Callable[[], None]:
    """What a child does before exec: die with us, be a group of its own, be nice.

    :param farewell: the signal it gets when we die
    """
    parent = os.getpid()

    def setup() -> None:
        os.setpgid(0, 0)
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, farewell, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        if nice:
            os.nice(nice)

    return setup


class Program:
    """A running client program; leaving the context kills what still runs of it."""

    def __init__(self, arguments: List[str], environment: Dict[str, str], nice: int = 0) -> None:
        self.name = os.path.basename(arguments[0])
        self._stopped = False
        self._said = b""
        self.process = subprocess.Popen(
            arguments,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=child_setup(nice),
        )
        # Kept in memory: the disk may be what is full.
        self._listener = threading.Thread(target=self._listen, name="messages", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        if self.process.stderr is not None:
            with self.process.stderr as messages:
                for line in messages:
                    self._said = (self._said + line)[-_SAID:]

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self._signal(signal.SIGKILL)
        self.process.wait()

    def finished(self) -> bool:
        """Whether it ended.

        :raises BackupError: it ended badly; the message has its last words
        """
        code = self.process.poll()
        if code is None:
            return False
        if code:
            self._listener.join(5)
            said = last_words(self._said)
            remedy = "Read the message; docs/backup.md lists the rights the database user needs."
            if "No space left" in said:
                remedy = "Free space in backup_scratch_directory, or choose another."
            raise BackupError(f"{self.name} failed with exit status {code}: {said}", remedy)
        return True

    def pause(self, on: bool) -> None:
        """Stops or continues the whole group: the only brake pg_dump has.

        The group is in our session, so that the kernel continues and hangs it up should we die meanwhile.
        """
        if on != self._stopped and self.process.poll() is None:
            self._signal(signal.SIGSTOP if on else signal.SIGCONT)
            self._stopped = on

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def last_words(said: bytes, limit: int = 600) -> str:
    """The end of a program's messages, on one line."""
    text = " ".join(said.decode("utf-8", "replace").split())
    if len(text) > limit:
        text = "... " + text[-limit:].partition(" ")[2]
    return text or "(it said nothing)"


def run_to_text(
    arguments: List[str], environment: Dict[str, str], timeout: float = 300, *, fatal: Optional[str] = None
) -> str:
    """Standard output of a program.

    :param fatal: words that make its warning a failure
    :raises BackupError: it failed
    """
    try:
        done = subprocess.run(
            arguments,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            preexec_fn=child_setup(0),
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BackupError(
            f"{os.path.basename(arguments[0])} did not run: {error}", "Check backup_pg_bin_dir."
        ) from None
    if done.returncode or (fatal and fatal.encode() in done.stderr):
        what = f"failed with exit status {done.returncode}" if done.returncode else "warned"
        raise BackupError(
            f"{os.path.basename(arguments[0])} {what}: {last_words(done.stderr)}",
            "Read the message; docs/backup.md lists the rights the database user needs.",
        )
    return done.stdout.decode("utf-8", "surrogateescape")
