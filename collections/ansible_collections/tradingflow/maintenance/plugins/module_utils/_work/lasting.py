# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that change a host: half of their work is worse than all of it, so they live on if we are killed."""

from __future__ import annotations

import subprocess
import tempfile
from typing import Dict, List, Tuple


def lasting(arguments: List[str], environment: Dict[str, str]) -> Tuple[int, str]:
    """Runs a program to its end, however long it takes: in a session of its own, with nothing to read.

    :returns: its exit code, and what it said on both outputs
    :raises OSError: it is not there, or cannot be run
    """
    # Into a file: a pipe that nobody reads any more would end it.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            arguments,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code = ended(process)
        output.seek(0)
        return code, output.read().decode("utf-8", "replace")


def ended(process: "subprocess.Popen[bytes]") -> int:
    """A program's exit code. Ctrl-C waits for it, too: subprocess.run would kill it, and we would take its files away.

    :raises KeyboardInterrupt: once it has ended
    """
    interrupt = None
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
    return code
