# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the archive has the log up to a target, and what the old server can add to it before it is stopped.

PostgreSQL knows that a time was reached by the first transaction that was committed after it. The last minutes of a
quiet server are in no archive yet, and what its data directory has of them is put aside with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, List, Optional

from .._pgbackrest import timelines, wal
from .._postgres import server
from .._postgres.replay import number
from ..checks import OK, UNKNOWN, WARNING, Check
from ..errors import MaintenanceError, RestoreError
from ..refusal import Refusal
from ..words import plural
from .loss import iso
from .source import Source, host_clock
from .target import Target
from .timeline import Choice, windows_text

ID, TITLE = "restore.reach", "Target in the archive"
#: Seconds without a new segment in the archive after which none will come.
PATIENCE = 180.0
_MILLISECOND = timedelta(milliseconds=1)


@dataclass
class Reach:
    """How far it goes now.

    :param archived: whether the target is in the archive; None when that cannot be told
    :param newest: the time of the newest archived transaction of the timeline that is followed
    :param end: where its archived log ends
    :param why: why it cannot be told
    :param source: the old server, when it can add to that timeline
    :param silent: why it cannot, in words
    :param elsewhere: whether the source may run all the same
    """

    target: Target
    choice: Choice
    archived: Optional[bool] = None
    newest: Optional[datetime] = None
    end: str = ""
    why: str = ""
    source: Optional[Source] = None
    silent: str = ""
    elsewhere: bool = False

    @property
    def adds(self) -> bool:
        """Whether the old server is to archive the rest first."""
        return self.source is not None and self.archived is not True

    @property
    def words(self) -> str:
        """How far the archive reaches."""
        far = f"to {iso(self.newest)}" if self.newest else f"to {self.end}" if self.end else "nowhere yet"
        return f"On timeline {self.choice.number} the archive reaches {far} now"

    def refusals(self) -> List[Refusal]:
        """What forbids it: the target is not there, and nobody can archive it."""
        if self.archived is not False or self.source or self.target.type == "latest":
            return []
        text = f"{self.target.words} cannot be reached. {self.words}, and {self.silent}."
        if self.target.at and self.target.at > host_clock():
            text += " By this host's clock it is in the future."
        if self.newest:
            remedy = f"The newest moment that can be reached is restore_target={iso(self.newest - _MILLISECOND)};"
        elif self.target.type == "lsn" and self.end:
            remedy = f"Choose a place before {self.end};"
        else:
            remedy = f"{windows_text(self.choice.tree)} Choose another target;"
        remedy += " restore_target_type=latest gives all that was archived."
        if self.elsewhere:
            remedy += " If the source runs, SELECT txid_current(), pg_switch_wal() there archives the rest."
        else:
            remedy += " If the old data directory is whole, start the server on it first: it archives the rest."
        return [Refusal("reach", text, remedy)]

    def checks(self) -> List[Check]:
        """For the plan."""
        if self.refusals():
            return []
        skew = self.source.skew if self.source else ""
        if self.archived:
            return [Check(ID, TITLE, OK, True, message=f"{self.words}; the target is in it.{skew}")]
        if self.source:
            text = f"{self.words}. The database runs: the restore has it archive the rest, up to its present, before"
            text += f" anything is stopped.{skew}"
            if not self.source.failing:
                return [Check(ID, TITLE, OK, False, message=text)]
            text = f"{self.words}. The database runs, but its last attempt to archive a segment failed"
            text += f" ({self.source.failing}): what is not archived cannot be restored.{skew}"
            remedy = "Put archiving right first: PostgreSQL's log says why it fails. A restore ends before it stops"
            remedy += " anything while that lasts."
            return [Check(ID, TITLE, WARNING, False, message=text, remedy=remedy)]
        if self.target.type == "latest":
            text = f"{self.words}; {self.silent}, so that nothing is added to it."
            return [Check(ID, TITLE, OK, False, message=text)]
        text = f"Whether {self.target.words} is in the archive cannot be told: {self.why} And {self.silent}."
        remedy = "The replay will show it, before anything is stopped."
        return [Check(ID, TITLE, UNKNOWN, None, message=text, remedy=remedy)]


def of(
    target: Target,
    choice: Choice,
    backup: Any,
    source: Optional[Source],
    error: str,
    *,
    own: bool,
    elsewhere: bool = False,
) -> Reach:
    """How far it goes.

    :param source: the server that answers, if one does
    :param error: why none does
    :param own: whether the target is the recovery point's restore point, whose WAL was archived with the backup
    """
    found = Reach(target, choice, elsewhere=elsewhere)
    found.silent = f"the old server does not answer ({error.rstrip('.')})"
    line, tree = choice.tree.lines.get(choice.number) or timelines.Timeline(choice.number), choice.tree
    try:
        end = timelines.end_of(line, tree.size())
        found.end = timelines.place(end)
        if target.type == "lsn":
            wanted = number(target.value)
            found.archived = tree.on(choice.number, wanted) != choice.number or wanted < end
        elif target.at:
            tree.timed([choice.number])
            found.newest, found.why = line.ends, line.why
            if not line.why:
                # What is of before its beginning is on the way to it.
                before = bool(line.parent and line.begins and target.at < line.begins)
                found.archived = before or bool(line.ends and target.at < line.ends)
        elif target.type == "latest":
            found.archived = False
        else:
            found.archived, found.why = own or None, "a point's name is not in the names of segments."
    except MaintenanceError as failed:
        found.why = failed.message
    if source is None:
        return found
    if source.facts["recovering"] or source.facts["system_identifier"] != backup.system_identifier:
        found.silent = "the server that answers is a standby" if source.facts["recovering"] else ""
        found.silent = found.silent or "the server that answers is another cluster"
    elif source.timeline != choice.number:
        found.silent = f"the database is on timeline {source.timeline}"
    elif not source.archives:
        found.silent = "the server that answers does not archive (archive_mode is off)"
    elif target.type == "lsn" and number(target.value) > number(source.lsn):
        found.silent = f"the server's own log ends at {source.lsn}"
    else:
        found.source = source
    return found


def end_segment(connection: Any) -> str:
    """Writes a transaction, whose time shows that what was before it is reached, and ends the segment that has it.

    :returns: the segment
    """
    # A standby that is gone would be waited for.
    server.run(connection, "SET synchronous_commit = local")
    server.run(connection, "SELECT txid_current()")
    return str(server.value(connection, "SELECT pg_walfile_name(pg_switch_wal())"))


def archive_rest(database: Dict[str, Any], reach: Reach, tick: Callable[[], None]) -> Check:
    """Has the old server archive all that it wrote, and waits until it is there.

    :raises RestoreError: it does not come
    """
    with server.elsewhere(database) as connection:
        last = end_segment(connection)
        wanted, archive = _missing(reach, last), reach.choice.tree.archive
        deadline = time.monotonic() + PATIENCE
        while True:
            tick()
            archive.again()
            there = set(archive.segments(reach.choice.number))
            left = [each for each in wanted if each not in there]
            if not left:
                text = f"The database archived its log up to {last}, before anything was stopped."
                return Check(ID, TITLE, OK, last, message=text)
            if len(left) < len(wanted):
                wanted, deadline = left, time.monotonic() + PATIENCE
            if time.monotonic() > deadline:
                failing = server.value(connection, _FAILED)
                raise RestoreError(
                    f"The rest of the log does not get into the archive: {plural(len(left), 'segment')} up to {last}"
                    f" did not come within {PATIENCE:.0f} s." + (f" {failing}" if failing else ""),
                    "Nothing was stopped. Put archiving right (PostgreSQL's log, pgbackrest check), then run the"
                    " restore again. To restore only what is archived, stop the database first.",
                )
            time.sleep(0.5)


_FAILED = """
SELECT 'The server failed ' || failed_count || ' times, last with ' || last_failed_wal || '.' FROM pg_stat_archiver
WHERE last_failed_time IS NOT NULL AND (last_archived_time IS NULL OR last_failed_time > last_archived_time)"""


def _missing(reach: Reach, last: str) -> List[str]:
    """Segments from the first that the archive has not yet up to the last.

    :raises RestoreError: the server is on another timeline now
    """
    if int(last[:8], 16) != reach.choice.number:
        raise RestoreError(
            f"The database went on to timeline {int(last[:8], 16)} meanwhile.", "Look at it with --check first."
        )
    newest = reach.choice.tree.lines[reach.choice.number].newest
    return wal.between(newest, last, reach.choice.tree.size())[1:] if newest and newest < last else [last]
