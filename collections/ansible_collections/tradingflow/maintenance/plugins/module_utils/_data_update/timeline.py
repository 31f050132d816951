# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When each transaction of a data update ran, for how long, and what it waited for: the chart in the report."""

from __future__ import annotations

import time
from typing import Any, Dict, List

#: Transactions that are kept: those that waited long or were given up, and the longest. A large update has thousands.
MOST = 200
#: What a batch holds on the table until its end.
_MODE = "RowExclusiveLock"


class Timeline:
    """The transactions of one run.

    :ivar left_out: how many are not kept
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._entries: List[Dict[str, Any]] = []
        self.left_out = 0

    def add(self, phase: str, text: str, attempt: int, began: float, waits: Dict[str, float], failed: bool) -> None:
        """One transaction that has just ended.

        :param text: what it did
        :param began: by time.monotonic(), waits before it included
        :param waits: what it waited for, and for how many s
        """
        seconds = time.monotonic() - began
        self._entries.append(
            {
                "revision": phase,
                "attempt": attempt,
                "sql": text,
                "at": round(began - self._began, 3),
                "seconds": round(seconds, 3),
                "waited": round(min(sum(waits.values()), seconds), 3),
                "waits": [{"on": name} for name in waits],
                "mode": _MODE,
                "ended": "failed" if failed else "done",
            }
        )
        if len(self._entries) >= 2 * MOST:
            self._forget()

    def _forget(self) -> None:
        self._entries.sort(key=lambda each: (each["ended"] == "done", -each["waited"], -each["seconds"]))
        self.left_out += len(self._entries[MOST:])
        del self._entries[MOST:]

    def told(self) -> List[Dict[str, Any]]:
        """Those that are kept, in the order of time."""
        if len(self._entries) > MOST:
            self._forget()
        return sorted(self._entries, key=lambda each: each["at"])
