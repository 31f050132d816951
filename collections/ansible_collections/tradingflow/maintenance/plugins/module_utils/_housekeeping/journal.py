# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal: archived files go when their last entry is older than is to be kept.

journalctl --vacuum-time goes by the first entry of a file and takes what is newer in it along, --vacuum-size by nothing
but size, and both take what was archived since one looked. So files go as they were listed.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
from typing import Any, Collection, Dict, List, NamedTuple, Optional, Tuple

from ..errors import ConfigurationError, HousekeepingError
from ..words import printable
from .concluded import concluded

#: Whose@sequence-number-microseconds.journal, or whose@microseconds-number.journal~ of what was not closed.
_ARCHIVED = re.compile(r".+@(?:[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{16}\.journal|[0-9a-f]{16}-[0-9a-f]{16}\.journal~)")
#: Of the header (journal-def.h): the signature, and the time of the last entry in microseconds.
_SIGNATURE, _TAIL, _HEADER = b"LPKSHHRH", 192, 200
_DAY = 86400.0


class File(NamedTuple):
    """An archived file.

    :param end: not before its last entry: that, or when it was last written to; in s since 1970. None: it has no header
    """

    path: str
    end: Optional[float]
    bytes: int
    identity: Tuple[int, int, int]

    @property
    def token(self) -> str:
        parts = repr((self.path, self.identity, self.end))
        return hashlib.sha256(parts.encode("utf-8", "surrogateescape")).hexdigest()[:32]


class Journal:
    """The journal of a host.

    :param options: days, retention_days and folders, see options.JOURNAL
    :param now: in s since 1970
    :raises ConfigurationError: less would be kept than has to be
    """

    def __init__(self, options: Dict[str, Any], now: float) -> None:
        self.days, self.now = float(options["days"]), now
        self.folders = [str(each) for each in options["folders"]]
        if self.days < float(options["retention_days"]):
            raise ConfigurationError(
                f"The journal is to be kept for {options['retention_days']:g} days, and would go after {self.days:g}.",
                "Raise days of housekeeping_journal.",
            )

    def plan(self) -> Dict[str, Any]:
        """What would go, and how much there is. Nothing is changed.

        :raises HousekeepingError: it cannot be looked at
        """
        found, total = self._files()
        rows = [
            {"name": printable(each.path, 300), "bytes": each.bytes, "token": each.token} for each in self._old(found)
        ]
        strange = [printable(each.path, 300) for each in found if each.end is None]
        return {"items": rows, "bytes": total, "strange": strange}

    def apply(self, tokens: Collection[str]) -> Dict[str, Any]:
        """Removes what was planned and is still the same."""
        found, before = self._files()
        done: Dict[str, Any] = {"removed": [], "failed": [], "freed": 0}
        for each in self._old(found):
            if each.token not in tokens:
                continue
            row = {"name": printable(each.path, 300), "bytes": each.bytes}
            try:
                os.unlink(each.path)
                done["removed"].append(row)
            except OSError as error:
                done["failed"].append({**row, "why": error.strerror})
        after = concluded(self.plan, done)
        known = "bytes" in after
        done["freed"] = max(0, before - after["bytes"]) if known else sum(row["bytes"] for row in done["removed"])
        return after

    def _old(self, found: List[File]) -> List[File]:
        limit = self.now - self.days * _DAY
        return [each for each in found if each.end is not None and each.end < limit]

    def _files(self) -> Tuple[List[File], int]:
        """The archived files, and the bytes of all."""
        found, total = [], 0
        for folder in self.folders:
            for machine in _names(folder):
                place = os.path.join(folder, machine)
                if os.path.islink(place) or not os.path.isdir(place):
                    continue
                for name in _names(place):
                    path = os.path.join(place, name)
                    try:
                        status = os.lstat(path)
                        size = status.st_blocks * 512
                        total += size
                        if stat.S_ISREG(status.st_mode) and _ARCHIVED.fullmatch(name):
                            identity = (status.st_dev, status.st_ino, status.st_ctime_ns)
                            found.append(File(path, _end(path, status.st_mtime), size, identity))
                    except FileNotFoundError:
                        continue
                    except OSError as error:
                        raise _closed(path, error) from None
        return found, total


def _end(path: str, written: float) -> Optional[float]:
    with open(path, "rb") as stream:
        header = stream.read(_HEADER)
    if len(header) < _HEADER or not header.startswith(_SIGNATURE):
        return None
    tail: int = struct.unpack_from("<Q", header, _TAIL)[0]
    return max(written, tail / 1e6)


def _names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _closed(folder, error) from None


def _closed(path: str, error: OSError) -> HousekeepingError:
    return HousekeepingError(f"{printable(path)} cannot be read: {error.strerror}.", "Run it as root (become: true).")
