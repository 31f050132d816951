# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the service is told to do wrong by a file of the sandbox (python -m sandbox trouble), or does as a version."""

from __future__ import annotations

import itertools
import json
import threading
import time
from typing import Any


class Orders:
    """The file's content, read anew each time; without a file there are none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._requests = itertools.count(1)

    def get(self, name: str) -> Any:
        """What the order of a name says, None if there is none."""
        try:
            with open(self._path, encoding="utf-8") as file:
                return json.load(file).get(name)
        except FileNotFoundError:
            return None

    def delay(self, path: str) -> None:
        """Waits, if this is one of the requests that are to be slow."""
        slow = self.get("slow")
        if slow and slow["path"] == path and next(self._requests) % slow["every"] == 0:
            time.sleep(slow["seconds"])


class Broken(Exception):
    """What a bad version says when it fails."""


class Defect:
    """What is wrong with a version of the service.

    :param name: never_ready; or degrades: a third of what it is asked fails, and its memory grows
    :param after: seconds of its life in which it degrades in nothing
    """

    LEAK, MOST = 1 << 20, 96 << 20

    def __init__(self, name: str, after: float) -> None:
        self.name = name
        self._begins = time.monotonic() + after
        self._requests = itertools.count(1)
        self._kept: list[bytes] = []
        self._lock = threading.Lock()

    def strike(self, path: str) -> None:
        """Does what it does to a request of this path.

        :raises Broken: it is one of those that fail
        """
        if self.name == "never_ready" and path == "/ready":
            raise Broken("the prices of the day are not loaded")
        late = time.monotonic() - self._begins
        if self.name != "degrades" or late < 0:
            return
        with self._lock:
            while len(self._kept) * self.LEAK < min(late * self.LEAK, self.MOST):
                # Written to, or the system would not give it.
                self._kept.append(b"\x01" * self.LEAK)
        if path.startswith("/api/") and next(self._requests) % 3 == 0:
            raise Broken("the cache of quotes has no entry of this generation")
