# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the service is told to do wrong, by a file of the sandbox: python -m sandbox trouble."""

from __future__ import annotations

import itertools
import json
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
