# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where each file was read up to: what is written late is new whatever its time, and what is gone is missed.

A file is known again by its inode and its first bytes, under whatever name; a copy by its first bytes.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Dict, List, Optional, Tuple

#: First bytes by which a file is known again.
HEAD = 256
#: Fewer first bytes than this say nothing about a copy.
ENOUGH = 40
#: Files whose place is remembered, those that changed last first.
MOST = 40

_KEYS = ("inode", "length", "head", "offset")


def record(inode: int, head: bytes, offset: int, name: str, direct: bool) -> Dict[str, Any]:
    """A file's place for the next run.

    :param head: its first bytes, at most HEAD
    :param direct: whether the pattern itself names it: what is written next is written there
    """
    digest = hashlib.sha256(head).hexdigest()[:16]
    return {
        "inode": inode,
        "length": len(head),
        "head": digest,
        "offset": offset,
        "name": name[-60:],
        "direct": direct,
    }


class Positions:
    """What the last run left.

    :param last: {"until": RFC 3339, "files": list of records}; None or broken when there is none
    """

    def __init__(self, last: Optional[Dict[str, Any]]) -> None:
        self.until = 0.0
        self.known = False
        self._records: List[Dict[str, Any]] = []
        try:
            self.until = datetime.fromisoformat(str((last or {})["until"]).replace("Z", "+00:00")).timestamp()
            files = (last or {})["files"]
            if isinstance(files, list):
                self._records = [dict(each) for each in files if all(key in each for key in _KEYS)]
                self.known = bool(self._records)
        except (KeyError, ValueError, TypeError):
            pass
        self._left = list(self._records)

    def restart(self) -> None:
        """Nothing was found yet."""
        self._left = list(self._records)

    def of(self, inode: int, head: bytes, size: int, copies: bool) -> Optional[int]:
        """Up to where a file was read, None when it is not known.

        :param head: its first bytes, HEAD if it has as many
        :param copies: whether a file of another inode may be the same
        """
        for each in self._left:
            digest = hashlib.sha256(head[: each["length"]]).hexdigest()[:16]
            same = len(head) >= each["length"] and digest == each["head"] and each["offset"] <= size
            if same and (each["inode"] == inode or (copies and each["length"] >= ENOUGH)):
                self._left.remove(each)
                return int(each["offset"])
        return None

    def has(self, inode: int) -> bool:
        """Whether a file of this inode was read by the last run."""
        return any(each["inode"] == inode for each in self._records)

    def missing(self) -> Tuple[str, ...]:
        """Names of the files that were written to at the last run, and are nowhere now."""
        return tuple(str(each.get("name", "?")) for each in self._left if each.get("direct"))
