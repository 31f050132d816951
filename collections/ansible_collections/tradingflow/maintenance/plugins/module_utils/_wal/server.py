# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server says of its archiving."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, Optional

from ..database import connected

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

SETTINGS = ("archive_mode", "archive_command", "archive_library", "archive_timeout")


@dataclass
class Server:
    """A server at a moment.

    :param settings: by name; what the user may not see is not there
    :param segment: bytes of a WAL segment
    :param current: name of the segment that is being written; empty on a standby
    :param archived: last_archived_wal of pg_stat_archiver, likewise failed; None for never since the last reset
    :param written: segments in pg_wal -> when they were last written; empty when the user may not see them
    :param took: s that asking for the time took
    """

    now: datetime
    asked_at: datetime
    took: float
    standby: bool
    settings: Dict[str, str]
    segment: int
    version: int
    identifier: Optional[str]
    archived: Optional[str]
    archived_at: Optional[datetime]
    failed: Optional[str]
    failed_at: Optional[datetime]
    failed_count: int
    reset_at: Optional[datetime]
    current: str = ""
    written: Dict[str, datetime] = field(default_factory=dict)

    @property
    def failing(self) -> bool:
        """Whether the last attempt to archive failed."""
        return self.failed_at is not None and (self.archived_at is None or self.failed_at > self.archived_at)

    @property
    def timeout(self) -> Optional[int]:
        """archive_timeout in s; None when it cannot be seen."""
        text = self.settings.get("archive_timeout", "")
        return int(text) if text.isdigit() else None


def ask(database: Dict[str, Any]) -> Server:
    """Asks a server.

    :raises MaintenanceError: it does not answer or refuses
    """
    with connected(database, pinned=True) as connection, connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
        begun = datetime.now().astimezone()
        cursor.execute("SELECT clock_timestamp(), pg_is_in_recovery()")
        ended = datetime.now().astimezone()
        now, standby = cursor.fetchone()
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(SETTINGS),))
        settings = dict(cursor.fetchall())
        cursor.execute(
            "SELECT pg_size_bytes(current_setting('wal_segment_size')), last_archived_wal, last_archived_time,"
            " last_failed_wal, last_failed_time, failed_count, stats_reset FROM pg_stat_archiver"
        )
        segment, archived, archived_at, failed, failed_at, count, reset = cursor.fetchone()
        result = Server(
            now=now,
            asked_at=begun,
            took=(ended - begun).total_seconds(),
            standby=standby,
            settings=settings,
            segment=int(segment),
            version=connection.server_version // 10000,
            identifier=None,
            archived=archived,
            archived_at=archived_at,
            failed=failed,
            failed_at=failed_at,
            failed_count=int(count),
            reset_at=reset,
        )
        # Without these rights it can still be told whether anything arrives.
        try:
            cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
            result.identifier = cursor.fetchone()[0]
        except psycopg2.errors.InsufficientPrivilege:
            pass
        if standby:
            return result
        cursor.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
        result.current = cursor.fetchone()[0]
        try:
            cursor.execute("SELECT name, modification FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'")
            result.written = dict(cursor.fetchall())
        except psycopg2.errors.InsufficientPrivilege:
            pass
        return result
