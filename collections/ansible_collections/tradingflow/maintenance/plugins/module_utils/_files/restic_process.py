# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restic that runs: its output as a stream, its messages, and its end when nobody wants it any more."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from .._work.programs import child_setup, last_words
from ..errors import ConfigurationError, MaintenanceError

#: Seconds of silence after which the store is asked whether it is still there: restic itself tries for 15 minutes.
SILENCE = 5.0
_CHUNK = 1 << 20
_F_SETPIPE_SZ = 1031


class Running:
    """A restic that runs. Iterating gives its standard output in pieces."""

    def __init__(
        self,
        command: List[str],
        environment: Dict[str, str],
        cwd: Optional[Path],
        nice: int,
        tick: Callable[[], None],
        ask: Callable[[], None],
    ) -> None:
        self._tick = tick
        self._ask = ask
        self._errors: List[bytes] = []
        try:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=child_setup(nice),
            )
        except OSError as error:
            raise ConfigurationError(f"restic does not run: {error}", "Reinstall restic.") from None
        self._handle = self.process.stdout.fileno() if self.process.stdout else -1
        with suppress(OSError):
            fcntl.fcntl(self._handle, _F_SETPIPE_SZ, _CHUNK)
        self._listener = threading.Thread(target=self._listen, name="restic", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        if self.process.stderr is not None:
            for line in self.process.stderr:
                # A disk full of errors is no reason to fill the memory.
                if len(self._errors) < 10000:
                    self._errors.append(line[:4096])

    def read(self, size: int = -1) -> bytes:
        """The next bytes, none at the end.

        :raises StorageError: restic is silent, and the store does not answer us either
        """
        last = time.monotonic()
        while not select.select([self._handle], [], [], 0.2)[0]:
            self._tick()
            if time.monotonic() - last > SILENCE:
                self._ask()
                last = time.monotonic()
        self._tick()
        return os.read(self._handle, _CHUNK if size < 0 else min(size, _CHUNK))

    def __iter__(self) -> Iterator[bytes]:
        while True:
            data = self.read()
            if not data:
                return
            yield data

    def lines(self) -> Iterator[bytes]:
        """Its standard output by lines. One that never ends is cut."""
        rest = b""
        for data in self:
            *whole, rest = (rest + data).split(b"\n")
            yield from whole
            rest = rest[-_CHUNK:]
        if rest:
            yield rest

    def wait(self) -> int:
        """Its exit status, when it has ended."""
        while True:
            try:
                code = self.process.wait(0.1)
                break
            except subprocess.TimeoutExpired:
                self._tick()
        self._listener.join(5)
        return code

    def check(self, failed: Callable[[int, str], MaintenanceError], fine: Sequence[int] = (0,)) -> int:
        """Waits for its end.

        :raises MaintenanceError: it ended with a status that is not fine
        """
        code = self.wait()
        if code not in fine:
            raise failed(code, self.said())
        return code

    def messages(self) -> List[str]:
        """What it wrote to standard error, by lines."""
        return [line.decode("utf-8", "replace").rstrip("\n") for line in self._errors]

    def said(self) -> str:
        """The end of it, on one line."""
        return last_words(b"".join(self._errors[-20:]))

    def end(self) -> None:
        """Kills it if it still runs."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def error_of(line: str) -> Optional[Dict[str, Any]]:
    """A message of kind error of restic backup --json, None when the line is something else."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    if not isinstance(message, dict) or message.get("message_type") != "error":
        return None
    error = message.get("error")
    text = json.dumps(error) if not isinstance(error, dict) else str(error.get("message") or error.get("Err") or error)
    gone = "no such file or directory" in text or (isinstance(error, dict) and error.get("Err") == 2)
    return {"item": str(message.get("item") or ""), "text": text, "gone": gone}
