# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What apply may still use up: the window, disk, WAL and the replicas' patience, asked again before each object."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, Mapping, Optional, Tuple

from ..errors import ConfigurationError
from ..words import size, span

#: Seconds before the window's end from which on nothing is begun.
MARGIN = 60
CLOSES = "the window closes"
DISK = "on the disk of the database"

#: Up to where WAL was made; what is on the disk lags behind it without synchronous_commit.
STATE = """
SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal, current_setting('data_directory', true) AS folder,
       (SELECT max(pg_current_wal_insert_lsn() - coalesce(replay_lsn, '0/0')) FROM pg_stat_replication
        WHERE application_name NOT IN ('pg_basebackup', 'pg_receivewal')) AS lag
"""


@dataclass
class Needs:
    """What an operation writes.

    :param data: bytes beside what is there
    :param wal: bytes of WAL
    :param tablespace: where the data go, empty for the database's disk
    """

    data: int = 0
    wal: int = 0
    tablespace: str = ""


@dataclass
class Budget:
    """What was agreed.

    :param ends: s since the epoch at which the window closes; None for no window
    :param free_bytes: bytes that must be left free on the database's disk
    :param disk_bytes: bytes that are free there, as an operator knows; 0 when only the disk itself can say
    :param wal_disk_bytes: likewise on the disk of pg_wal; -1 when that is the database's
    :param tablespace_bytes: likewise of each tablespace of its own, by name
    :param local: whether the server is on this machine for certain: by a Unix socket, as loopback may be a tunnel
    :param wal_bytes: bytes of WAL that all of it may write
    :param lag_bytes: bytes that a replica may be behind
    :param lag_wait: seconds for which it is waited for
    """

    ends: Optional[float]
    free_bytes: int
    disk_bytes: int
    wal_bytes: int
    lag_bytes: int
    lag_wait: int
    local: bool = False
    wal_disk_bytes: int = 0
    tablespace_bytes: Mapping[str, int] = field(default_factory=dict)
    wal_begun: Optional[int] = None
    #: Tablespace, empty for the database's disk -> bytes that were built there.
    built: Dict[str, int] = field(default_factory=dict)

    def refuses(self, cursor: Any, needs: Needs) -> str:
        """Why an operation must not begin now; empty when it may."""
        state = _state(cursor)
        if self.wal_begun is None:
            self.wal_begun = int(state["wal"])
        refused = self._no_room(state, needs)
        if refused:
            return refused
        waited, state = self._lag(cursor, state)
        # Time and room may have gone while a replica was waited for.
        return waited or self._no_room(state, needs)

    def _no_room(self, state: Dict[str, Any], needs: Needs) -> str:
        if self.closing():
            return CLOSES
        written = int(state["wal"]) - (self.wal_begun or 0)
        refused = self._no_disk(state["folder"], needs, written) if needs.data or needs.wal else ""
        if not refused and written + needs.wal > self.wal_bytes:
            parts = f"{size(written)} of WAL were written, it takes {size(needs.wal)}"
            return f"{parts}, and {size(self.wal_bytes)} are agreed"
        return refused

    def _no_disk(self, folder: Optional[str], needs: Needs, written: int) -> str:
        wal_left, shared = self.wal_left(folder, written)
        data, wal = needs.data, needs.wal
        if shared and not needs.tablespace:
            # On one disk they come together.
            data, wal = data + wal, 0
        elif shared:
            wal_left = self._disk_left(folder, written)
        checks = []
        if data and needs.tablespace:
            known = self.tablespace_bytes.get(needs.tablespace)
            left = None if known is None else known - self.built.get(needs.tablespace, 0)
            checks.append((left, data, f"in tablespace {needs.tablespace}", "tablespace_bytes"))
        elif data:
            checks.append((self._disk_left(folder, written if shared else 0), data, DISK, "disk_bytes"))
        if wal:
            where = (DISK, "disk_bytes") if shared else ("on the disk of pg_wal", "wal_disk_bytes")
            checks.append((wal_left, wal, *where))
        for left, takes, place, option in checks:
            if left is None:
                return f"nobody knows how much is free {place} ({option})"
            if left - takes < self.free_bytes:
                parts = f"{size(left)} are free {place}, it takes {size(takes)}"
                return f"{parts}, and {size(self.free_bytes)} must stay"
        return ""

    def wal_left(self, folder: Optional[str], written: int) -> Tuple[Optional[int], bool]:
        """Bytes that are free for WAL, None when nobody knows, and whether they are those of the database's disk.

        :param written: bytes of WAL since it began
        """
        if self.wal_disk_bytes < 0:
            return None, True
        found = [self.wal_disk_bytes - written] if self.wal_disk_bytes else []
        if self.local and folder:
            with suppress(OSError):
                place = os.path.join(folder, "pg_wal")
                if not found and os.stat(place).st_dev == os.stat(folder).st_dev:
                    return None, True
                found.append(shutil.disk_usage(place).free)
        return (min(found) if found else None), False

    def _disk_left(self, folder: Optional[str], written: int) -> Optional[int]:
        found = []
        if self.local and folder:
            with suppress(OSError):
                found.append(shutil.disk_usage(folder).free)
        if self.disk_bytes:
            found.append(self.disk_bytes - self.built.get("", 0) - written)
        return min(found) if found else None

    def has_built(self, needs: Needs) -> None:
        """Counts what was written."""
        self.built[needs.tablespace] = self.built.get(needs.tablespace, 0) + needs.data

    def _lag(self, cursor: Any, state: Dict[str, Any]) -> Tuple[str, Dict[str, Any]]:
        """What is still behind after the wait, empty for nothing, and the state then."""
        until = time.monotonic() + self.lag_wait
        while int(state["lag"] or 0) > self.lag_bytes and not self.closing():
            if time.monotonic() >= until:
                return f"a replica is {size(int(state['lag']))} behind, after {span(self.lag_wait)} of waiting", state
            time.sleep(min(1.0, max(0.1, self.lag_wait / 10)))
            state = _state(cursor)
        return "", state

    def closing(self) -> bool:
        """Whether nothing may begin any more."""
        return self.ends is not None and time.time() + MARGIN >= self.ends

    def seconds_left(self) -> int:
        """Until the window closes; 0 for no window. Not to be asked once it is closing."""
        return 0 if self.ends is None else max(1, int(self.ends - time.time()))


def _state(cursor: Any) -> Dict[str, Any]:
    cursor.execute(STATE)
    found: Dict[str, Any] = cursor.fetchone()
    return found


def moment(text: str) -> Optional[float]:
    """A time of the maintenance window, s since the epoch; None for none.

    :raises ConfigurationError: it is no time
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ConfigurationError(f"window_ends is no time: {text}.", "Give it as 2026-12-05T06:00:00Z.") from None
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
