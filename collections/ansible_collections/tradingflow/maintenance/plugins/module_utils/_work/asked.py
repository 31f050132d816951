# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that are asked something: run to their end, with nothing to read. What a failure means is the caller's."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any, Dict, List, NamedTuple


class Answer(NamedTuple):
    """What a program said, and how it ended."""

    status: int
    output: bytes
    messages: bytes

    @property
    def text(self) -> str:
        return self.output.decode("utf-8", "replace")


def asked(arguments: List[str], environment: Dict[str, str], timeout: float, **more: Any) -> Answer:
    """Runs a program.

    :param more: of subprocess.run, such as cwd; by default it works in the root folder
    :raises TimeoutError: it did not end in time, and was killed
    :raises OSError: it is not there, or cannot be run
    """
    how = {"cwd": "/", "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    try:
        done = subprocess.run(arguments, env=environment, stdin=subprocess.DEVNULL, timeout=timeout, check=False, **how)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"it did not end within {timeout:g} s") from None
    except subprocess.SubprocessError as error:
        raise OSError(str(error)) from error
    return Answer(done.returncode, done.stdout or b"", done.stderr or b"")


def asked_with_all(arguments: List[str], environment: Dict[str, str], timeout: float, **more: Any) -> Answer:
    """As asked(), of a program that may be a wrapper: what it has started is killed with it.

    :param more: with what makes it the first of a group of its own, such as child_setup()
    """
    how = {"cwd": "/", "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    try:
        process = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, **how)
    except subprocess.SubprocessError as error:
        raise OSError(str(error)) from error
    with process:
        try:
            output, messages = process.communicate(timeout=timeout)
        except BaseException as error:
            with suppress(ProcessLookupError):
                # Only while it is there to be waited for is the number its own.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise TimeoutError(f"it did not end within {timeout:g} s") from None
            raise
    return Answer(process.returncode, output or b"", messages or b"")
