# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far the WAL in the repository goes, and whether a restored server came to its end.

PostgreSQL takes a segment that it cannot get for the end of the archive, and is content: whether it was the end is
for us to say.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple, Optional

from .._pgbackrest import wal
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check
from ..database import connected, quoted
from ..errors import ConfigurationError, MaintenanceError, RestoreError, StorageError
from ..storage import list_keys, storage_errors

ID, TITLE = "drill.wal", "WAL replayed to its end"
_SEGMENT = re.compile(r"([0-9A-F]{24})-[0-9a-f]{40}(?:\.\w+)?")
_REMEDY = "What was committed after it cannot be restored: back up now, and find out what became of the WAL."


class End(NamedTuple):
    """Where a server left the archive.

    :param timeline: that it followed
    :param position: in the WAL, as a number
    """

    timeline: int
    position: int
    lsn: str


def newest_segment(s3: Any, storage: Dict[str, Any], folder: str) -> Optional[str]:
    """Name of the last segment on the newest timeline, None when there is none.

    :param folder: key prefix of the archive
    :raises StorageError: the store does not answer
    """
    with storage_errors(storage, "listing the archived WAL"):
        found: List[str] = []
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=storage["bucket"], Prefix=folder + "/", Delimiter="/"
        )
        for page in pages:
            found += [each["Prefix"] for each in page.get("CommonPrefixes") or []]
        # By name they are in order of timeline and number.
        for prefix in sorted(found, reverse=True):
            names = [each["Key"].rsplit("/", 1)[-1] for each in list_keys(s3, storage["bucket"], prefix)]
            segments = [match.group(1) for match in map(_SEGMENT.fullmatch, names) if match]
            if segments:
                return max(segments)
    return None


def distance(first: str, last: Optional[str], size: int) -> int:
    """Segments from one to another, whatever their timelines; 0 when it goes back.

    :param size: bytes of a segment
    """
    return max(0, wal.number(last, size) - wal.number(first, size)) if last else 0


def end_of(database: Dict[str, Any]) -> End:
    """Where a promoted server left the timeline it came from: the last line of its history.

    :raises RestoreError: it has none
    """
    with connected(database, pinned=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")
        cursor.execute("SELECT pg_read_file(%s)", (f"pg_wal/{cursor.fetchone()[0]}.history",))
        history = str(cursor.fetchone()[0])
    left = re.findall(r"^(\d+)\t([0-9A-F]+)/([0-9A-F]+)\t", history, re.MULTILINE)
    if not left:
        raise RestoreError("The promoted server does not say where its timeline began.", "Drill it again.")
    timeline, high, low = left[-1]
    return End(int(timeline), (int(high, 16) << 32) + int(low, 16), f"{high}/{low}")


def judged(end: End, newest: Optional[str], size: int, trouble: Optional[MaintenanceError]) -> Check:
    """Whether the server came to the end of what the repository has.

    :param newest: segment, looked for before it replayed
    :param trouble: what kept it from a segment, None when nothing is known
    """
    if newest is None:
        text, remedy = "No WAL is in the repository any more.", _REMEDY
        return Check(ID, TITLE, CRITICAL, end.lsn, message=text, remedy=remedy)
    reached, goal, timeline = (end.position - 1) // size, wal.number(newest, size), int(newest[:8], 16)
    details = {"lsn": end.lsn, "timeline": end.timeline, "newest_segment": newest}
    if end.timeline == timeline and reached >= goal:
        text = f"Replayed to {end.lsn} on timeline {end.timeline}, the end of what is in the repository ({newest})."
        return Check(ID, TITLE, OK, end.lsn, message=text, details=details)
    text = f"Replay ended at {end.lsn} on timeline {end.timeline}, and the repository has WAL up to {newest}."
    if trouble is None:
        text += " The WAL in between is missing or cannot be read."
        return Check(ID, TITLE, CRITICAL, end.lsn, message=text, remedy=_REMEDY, details=details)
    its_fault = not isinstance(trouble, (StorageError, ConfigurationError))
    status, remedy = (CRITICAL, _REMEDY) if its_fault else (UNKNOWN, trouble.remedy)
    return Check(ID, TITLE, status, end.lsn, message=f"{text} {trouble.message}", remedy=remedy, details=details)


def opened(home: Dict[str, Any], name: str) -> List[Check]:
    """Opens a database that was closed to connections when the log ended, so that it can be looked at.

    :param home: the option "database" for a database of the promoted server
    :raises RestoreError: there is none, or half of one
    """
    with connected(home, pinned=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datallowconn, datconnlimit FROM pg_database WHERE datname = %s", (name,))
        row = cursor.fetchone()
        if row is None or row[1] == _INVALID:
            state = "is no database" if row is None else "is half of the database"
            raise RestoreError(
                f"Where the archived WAL ends, there {state} {name}: it was dropped or renamed since the backup.",
                "If that was meant, make a new backup. If not, restore to a moment before it (docs/restore.md).",
            )
        if row[0]:
            return []
        cursor.execute("SET default_transaction_read_only = off")
        cursor.execute(f"ALTER DATABASE {quoted(name)} WITH ALLOW_CONNECTIONS true")
    text = f"Where the archived WAL ends, the database {name} is closed to all connections (ALLOW_CONNECTIONS false): a"
    text += " restore to the latest would bring it back closed. It was opened here, to be looked at."
    remedy = f"See why it was closed. To open the source's: ALTER DATABASE {quoted(name)} WITH ALLOW_CONNECTIONS true."
    return [Check("drill.closed", "Database open", WARNING, False, message=text, remedy=remedy)]


#: What PostgreSQL marks a database with that is being dropped (datconnlimit).
_INVALID = -2
