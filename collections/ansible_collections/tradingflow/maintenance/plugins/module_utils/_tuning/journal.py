# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What apply began and ended, line by line in a file: what says, after a kill, which leftovers are ours."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List

from ..checks import utc_now
from ..errors import ConfigurationError


class Journal:
    """Lines of JSON, each on the disk before anything is done."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def lines(self) -> List[Dict[str, Any]]:
        """All lines. The last one may be cut off by a kill: what it said had not been begun.

        :raises ConfigurationError: another one cannot be read
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except (OSError, ValueError):
            raise ConfigurationError(f"The journal {self.path} cannot be read.", "Restore it.") from None
        found: List[Dict[str, Any]] = []
        whole = text.split("\n")
        for number, line in enumerate(whole):
            try:
                if line:
                    found.append(json.loads(line))
            except ValueError:
                if number + 1 == len(whole):
                    break
                raise ConfigurationError(
                    f"Line {number + 1} of the journal {self.path} is damaged.", "Restore it, or correct the line."
                ) from None
        return found

    def add(self, event: str, **what: Any) -> None:
        """One line more, on the disk when this returns."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = json.dumps({"at": utc_now(), "event": event, **what}, sort_keys=True) + "\n"
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            end = os.lseek(descriptor, 0, os.SEEK_END)
            # A line that a kill cut off is no line.
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
                text = self.path.read_bytes()
                os.ftruncate(descriptor, text.rfind(b"\n") + 1)
            left = memoryview(line.encode("utf-8"))
            # A disk that fills up takes a part, and says so only at the next one.
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def begun(self, system: str, database: str) -> List[Dict[str, Any]]:
        """Rebuilds of this database that were begun and never ended."""
        open_ones: Dict[Any, Dict[str, Any]] = {}
        for line in self.lines():
            if line.get("system") != system or line.get("database") != database:
                continue
            key = line.get("schema"), line.get("name")
            if line["event"] == "reindex begun":
                open_ones[key] = line
            elif line["event"] in ("reindex ended", "leftover removed"):
                open_ones.pop(key, None)
        return list(open_ones.values())

    def dropped(self, system: str, database: str, digest: str = "") -> List[Dict[str, Any]]:
        """Indexes of this database that were dropped and not brought back.

        :param digest: of the plan that dropped them; empty for all plans, of one name the last
        """
        gone: Dict[Any, Dict[str, Any]] = {}
        for line in self.lines():
            if line.get("system") != system or line.get("database") != database:
                continue
            if digest and line.get("digest") != digest:
                continue
            key = line.get("schema"), line.get("name")
            if line["event"] == "drop begun":
                gone[key] = line
            elif line["event"] in ("undone", "drop failed"):
                gone.pop(key, None)
        return [gone[key] for key in sorted(gone)]
