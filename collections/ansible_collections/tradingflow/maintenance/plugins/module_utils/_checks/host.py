# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the checks of area system look at, and how they read it."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List


@dataclass
class Host:
    """A host. Tests give another root and other functions.

    :param statvfs: as os.statvfs
    :param run: see output_of
    :param sleep: as time.sleep
    """

    thresholds: Dict[str, Any]
    mounts: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    root: str = "/"
    statvfs: Callable[[str], Any] = os.statvfs
    run: Callable[[List[str]], str] = field(default=lambda arguments: output_of(arguments))  # pylint: disable=unnecessary-lambda
    sleep: Callable[[float], None] = time.sleep

    def path(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def read(self, path: str) -> str:
        # Names of mounts are bytes to the kernel: what is not UTF-8 must come back unharmed.
        with open(self.path(path), encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()

    def exists(self, path: str) -> bool:
        return os.path.exists(self.path(path))


def output_of(arguments: List[str]) -> str:
    """Standard output of a program, at most 10 s.

    :raises OSError: it is not there, failed or took longer
    """
    try:
        environment = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{arguments[0]} did not answer in 10 s") from None
    if done.returncode:
        raise OSError(f"{arguments[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()[:200]}")
    return done.stdout.decode("utf-8", "replace")
