# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs whose output is collected: by argument lists, with a deadline."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import Any, Iterator, List

from ..errors import EvidenceError
from ..masking import masked

_CHUNK = 256 * 1024
#: So much a program may be ahead of what is made of it, by Linux's F_SETPIPE_SZ; more is not allowed to everyone.
_AHEAD, _SET_SIZE = 1024 * 1024, 1031
_ENVIRONMENT = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "TZ": "UTC"}


class Late(EvidenceError):
    """A program did not end in time."""


class Running:
    """A program whose output is read piece by piece; it is ended when the context ends.

    :param arguments: never a shell
    :param timeout: seconds
    :param merged: whether what it says on stderr is part of the output
    """

    def __init__(self, arguments: List[str], timeout: float, merged: bool = False) -> None:
        self.arguments, self._timeout = arguments, timeout
        self._end = time.monotonic() + timeout
        self._merged = merged
        self.stderr, self.status = "", -1

    def chunks(self) -> Iterator[bytes]:
        """What it says. Its exit status is known after that; it is the caller's to judge.

        :raises Late: it took too long
        :raises EvidenceError: it cannot be started
        """
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    self.arguments,
                    env={**os.environ, **_ENVIRONMENT},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT if self._merged else said,
                )
            except OSError as error:
                raise EvidenceError(f"{self.arguments[0]} cannot be started: {error.strerror}") from None
            try:
                yield from self._read(process)
                process.wait(max(1.0, self._end - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise self._late() from None
            finally:
                if process.poll() is None:
                    process.kill()
                self.status = process.wait()
                if process.stdout:
                    process.stdout.close()
                said.seek(0)
                self.stderr = masked(" ".join(said.read(2000).decode("utf-8", "replace").split()))[:300]

    def _read(self, process: Any) -> Iterator[bytes]:
        descriptor = process.stdout.fileno()
        with suppress(OSError):
            fcntl.fcntl(descriptor, _SET_SIZE, _AHEAD)
        while True:
            left = self._end - time.monotonic()
            # A program that never stops talking is late as well.
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise self._late()
            chunk = os.read(descriptor, _CHUNK)
            if not chunk:
                return
            yield chunk

    def _late(self) -> Late:
        return Late(f"{self.arguments[0]} did not end in {self._timeout:.0f} s", "Raise timeout.")


def lines(running: Running) -> Iterator[bytes]:
    """The lines of a program's output, without their ends."""
    rest = b""
    for chunk in running.chunks():
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def said(arguments: List[str], timeout: float = 60) -> str:
    """All that a program says; empty when it is not there, fails, or says nothing."""
    if not shutil.which(arguments[0]):
        return ""
    running = Running(arguments, timeout)
    try:
        text = b"".join(running.chunks()).decode("utf-8", "replace").strip()
    except EvidenceError:
        return ""
    return "" if running.status else text


def version(program: str) -> str:
    """The first line of what a program says of its version."""
    return (said([program, "--version"]).splitlines() or [""])[0][:200]
