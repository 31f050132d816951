# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a finished backup, and of which database: the checks of both."""

from __future__ import annotations

from typing import Any, Dict, List

from ..checks import CRITICAL, OK, WARNING, Check, unknown

#: Rows from which on a share means something; shares of the rows before that are too few.
FEW, LESS, NEXT_TO_NOTHING = 100, 0.5, 0.1


def identity(note: Dict[str, Any], source: str, end: str) -> Check:
    """The check of a backup that was made.

    :param note: of identity.check
    """
    id, title, value = f"backup.identity{end}", "Database backed up", note["identity"]
    if note["unknown"]:
        return unknown(
            id,
            title,
            f"{value}: whether it is the database of {note['earlier']} cannot be told, as {note['unknown']}.",
            "Grant the backup's user EXECUTE on pg_control_system() (docs/backup.md).",
            source=source,
        )
    if note["another"]:
        text = f"{value} is another database than that of {note['earlier']}, as backup_database_identity declares:"
        remedy = "See that it was meant so; the next backup is compared with this one."
        return Check(id, title, WARNING, value, message=f"{text} {note['another']}.", remedy=remedy, source=source)
    text = f"{value}, as in {note['earlier']}." if note["earlier"] else f"{value}; there is no earlier recovery point."
    return Check(id, title, OK, value, message=text, source=source)


def held(point: Dict[str, Any], earlier: Dict[str, Any], source: str, end: str) -> List[Check]:
    """Whether database and files hold anything, and not much less than the recovery point before.

    :param earlier: note of identity.check
    """
    checks = [_rows(point, source, end)]
    count, before = point["totals"]["rows"], earlier.get("rows") or 0
    uncounted = any(table["rows"] is None for table in point["database"]["tables"])
    if checks[0].status != CRITICAL and not uncounted and before >= FEW and count < before * LESS:
        status = CRITICAL if count < before * NEXT_TO_NOTHING else WARNING
        text = f"The database has {count} rows, {100 * count / before:.0f} % of the {before} in {earlier['held_by']}."
        remedy = "Find out what is gone before anything is restored or deleted; keep the earlier recovery points."
        checks[0] = Check(checks[0].id, checks[0].title, status, count, message=text, remedy=remedy, source=source)
    if earlier.get("files") and not point["application"]["files"]:
        text = f"There are no application files in it; {earlier['held_by']} has {earlier['files']}."
        remedy = "Check backup_data_directory, and whether its file system is mounted."
        title = "Application files in the backup"
        checks.append(Check(f"backup.files{end}", title, CRITICAL, 0, message=text, remedy=remedy, source=source))
    return checks


def _rows(point: Dict[str, Any], source: str, end: str) -> Check:
    """Whether the database holds anything, and all of it could be counted."""
    id, title = f"backup.contents{end}", "Contents of the backup"
    tables = point["database"]["tables"]
    uncounted = [table for table in tables if table["rows"] is None]
    unmeasured = [f"{table['schema']}.{table['name']}" for table in tables if table.get("unmeasured")]
    count, name = point["totals"]["rows"], point["database"]["name"]
    if not count and not uncounted:
        holds = f"has {len(tables)} tables without a single row" if tables else "has no tables"
        return Check(
            id,
            title,
            CRITICAL,
            count,
            message=f"The database {name} {holds}: this backup holds no data.",
            remedy="Check tradingflow_database. If it is the right one, its data are gone: restore an earlier backup.",
            source=source,
        )
    if not unmeasured:
        return Check(id, title, OK, count, message=f"{len(tables)} tables with {count} rows.", source=source)
    why = next(table["unmeasured"] for table in tables if table.get("unmeasured"))
    more = f" and {len(unmeasured) - 3} more" if len(unmeasured) > 3 else ""
    what = "counted" if uncounted else "compared by content, only by the number of their rows"
    text = f"These tables are in the backup, but could not be {what}: {', '.join(unmeasured[:3])}{more}. {why}"
    return unknown(
        id,
        title,
        text,
        "Read the message: a function that does not find another needs a search_path (ALTER FUNCTION ... SET), a table"
        " that may not be read a grant (docs/backup.md).",
        source=source,
        details={"tables": unmeasured[:50]},
    )
