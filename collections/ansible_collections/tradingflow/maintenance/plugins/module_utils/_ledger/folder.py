# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where records lie: a folder of downloaded ones. Needs no library of a store."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Optional

from ..errors import EvidenceError

LAST = 99_999_999
_NAME = re.compile(r"(\d{8})\.json")
#: A record is about a kilobyte. What is larger is not read into memory.
LIMIT = 4 * 1024 * 1024


def number_of(name: str) -> Optional[int]:
    """The number of a record's file; None for a stranger."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match and int(match[1]) else None


@dataclass(frozen=True)
class Stored:
    """A record as it lies there.

    :param retention: mode and end of the store's lock; None when it shows none
    """

    data: bytes
    retention: Optional[tuple[str, datetime]] = None


@dataclass
class History:
    """What a versioned bucket remembers.

    :param versions: how many versions each key has
    :param deleted: keys with a delete marker
    :param note: why nothing is known; empty when it is
    :param failed: whether that is a failure to look, not a store that remembers nothing
    """

    versions: dict[str, int] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    note: str = ""
    failed: bool = False


class Folder:
    """Downloaded records. Methods raise EvidenceError when it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def key(self, number: int) -> str:
        """The file of a record."""
        return f"{number:08d}.json"

    def numbers(self) -> tuple[list[int], list[str]]:
        """All numbers in order, and the names of files that are no records."""
        try:
            names = sorted(entry.name for entry in self.path.iterdir())
        except OSError as error:
            raise EvidenceError(f"The folder {self.path} cannot be read: {error.strerror}.") from None
        return [each for name in names if (each := number_of(name))], [name for name in names if not number_of(name)]

    def read(self, number: int) -> Optional[Stored]:
        """A record; None when there is none."""
        try:
            with (self.path / self.key(number)).open("rb") as stream:
                return Stored(stream.read(LIMIT))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EvidenceError(f"Record {number} in {self.path} cannot be read: {error.strerror}.") from None

    def unlocked(self, number: int) -> bool:
        """A folder knows no locks."""
        return False

    def history(self) -> History:
        """A folder remembers nothing."""
        return History(note="a folder keeps no versions")
