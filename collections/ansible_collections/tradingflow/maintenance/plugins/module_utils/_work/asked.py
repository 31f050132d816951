# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that are asked something: run to their end, with nothing to read. What a failure means is the caller's."""

from __future__ import annotations

import subprocess
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
