# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of the entries of a plan."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .aside import shown
from .tree import Stays


class Done:
    """What became of the entries of a plan: names with bytes or reasons.

    :ivar restored: what an earlier run had left in quarantine and has its place again
    """

    def __init__(self) -> None:
        self.removed: List[Tuple[bytes, int]] = []
        self.quarantined: List[Tuple[bytes, int]] = []
        self.kept: List[Tuple[bytes, str]] = []
        self.failed: List[Tuple[bytes, str]] = []
        self.restored: List[Tuple[bytes, str]] = []

    def told(self, name: bytes) -> "_Told":
        return _Told(self, name)

    def data(self) -> Dict[str, Any]:
        """As JSON data."""
        return {
            "removed": [{"name": shown(name), "bytes": size} for name, size in self.removed],
            "quarantined": [{"name": shown(name), "bytes": size} for name, size in self.quarantined],
            "kept": [{"name": shown(name), "why": why} for name, why in self.kept],
            "failed": [{"name": shown(name), "why": why} for name, why in self.failed],
            "restored": [{"name": shown(name), "why": why} for name, why in self.restored],
            "freed": sum(size for _name, size in self.removed),
        }


class _Told:
    """What goes wrong with one entry is told, and the others go on."""

    def __init__(self, done: Done, name: bytes) -> None:
        self.done, self.name = done, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if isinstance(error, Stays):
            self.done.kept.append((self.name, str(error)))
        elif isinstance(error, FileNotFoundError):
            self.done.kept.append((self.name, "gone meanwhile"))
        elif isinstance(error, OSError):
            self.done.failed.append((self.name, error.strerror or str(error)))
        else:
            return False
        return True
