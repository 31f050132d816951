# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a physical recovery point is in the store as it was made, and what the server says of its archiving."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional

from .._pgbackrest import info, messages
from .._recovery_points import objects
from .._recovery_points.verify import verify as read_back
from .._work.progress import Progress
from .._work.scratch import Scratch
from ..checks import utc_now
from ..database import connected
from ..errors import MaintenanceError
from .physical_tools import Tools


def archiver(database: Dict[str, Any]) -> Optional[str]:
    """What the server says of archiving that fails, None when the last attempt went well or nothing is known."""
    with suppress(MaintenanceError), connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT last_failed_wal, date_trunc('second', last_failed_time)::text, failed_count, last_archived_wal"
            " FROM pg_stat_archiver WHERE last_failed_time > coalesce(last_archived_time, '-infinity')"
        )
        row = cursor.fetchone()
        if row:
            return f"archiving {row[0]} failed at {row[1]}, {row[2]} failures in all, the last archived is {row[3]}"
    return None


def verify(
    s3: Any,
    storage: Dict[str, Any],
    point: Dict[str, Any],
    tools: Tools,
    mode: str,
    scratch: Scratch,
    progress: Progress,
    files_of: Callable[[], List[str]] = list,
) -> Dict[str, Any]:
    """Verifies a recovery point as it lies in the store.

    :param mode: full has pgBackRest read its repository, and reads the application's files; checksum goes by listings
    :param files_of: says what is wrong with application files that are no objects of the recovery point
    :returns: see verify.verify
    """
    progress.phase("verify")
    problems = objects.compare(s3, storage, point)
    engine, read = point["engine"], 0
    if engine["page_checksums_wrong"]:
        problems.append(f"pages of the database had wrong checksums when {engine['label']} was made")
    ours = [entry for entry in point["objects"] if entry["sha256"]]
    problems += files_of()
    if mode == "full":
        said = tools.pgbackrest.followed(
            "verify",
            f"--repo={tools.repository.number}",
            "--output=text",
            "--verbose",
            "--log-level-stderr=off",
            "--log-level-console=warn",
            tick=progress.tick,
        )
        found = info.parse_verify(said.out, [*engine["requires"], engine["label"]], engine["archive_id"])
        problems += found.problems
        if said.code:
            problems.append(str(messages.failure("verify", said.code, said.err or said.out)))
        read = sum(entry["size"] for entry in objects.all_objects(point))
        if ours:
            problems += read_back(
                s3,
                storage,
                {**point, "objects": ours},
                mode=mode,
                pg_restore="",
                scratch=scratch.path,
                progress=progress,
            )["problems"]
    return {
        "mode": mode,
        "ok": not problems,
        "problems": problems,
        "bytes": read,
        "objects": len(objects.all_objects(point)),
        "verified_at": utc_now(),
    }
