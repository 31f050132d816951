# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server that is about to be replaced, while it still answers: its clock, its log, and what is prepared on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, List, NamedTuple, Optional

from .._postgres import server
from ..checks import WARNING, Check
from ..errors import ConfigurationError
from ..words import plural, printable, span
from .login import digests
from .loss import iso
from .target import Target

#: Seconds from which on two clocks are said to differ.
_APART = 2.0
#: Prepared transactions that are named.
_NAMED = 5

_CLOCK = "SELECT clock_timestamp()"
_LOG = """
SELECT pg_current_wal_insert_lsn()::text, pg_walfile_name(pg_current_wal_insert_lsn()),
       current_setting('archive_mode') <> 'off'"""
_FAILING = """
SELECT last_failed_wal FROM pg_stat_archiver
WHERE last_failed_time IS NOT NULL AND (last_archived_time IS NULL OR last_failed_time > last_archived_time)"""
_PREPARED = """
SELECT gid, format('%L', gid), prepared, owner::text, database::text FROM pg_prepared_xacts ORDER BY prepared, gid"""


class Prepared(NamedTuple):
    """A transaction that was prepared, and neither committed nor rolled back.

    :param literal: its name as SQL writes it
    """

    gid: str
    literal: str
    at: datetime
    owner: str
    database: str


@dataclass
class Source:
    """What the server says.

    :param facts: see server.describe
    :param clock: its clock
    :param ahead: seconds by which that is ahead of this host's, 0 where it cannot be told
    :param lsn, timeline: where its log ends; nothing and 0 while it recovers
    :param archives: whether it archives at all
    :param passwords: see login.digests
    :param failing: the segment that its last attempt to archive failed with
    """

    facts: Dict[str, Any]
    clock: datetime
    ahead: float = 0.0
    lsn: str = ""
    timeline: int = 0
    archives: bool = False
    failing: Optional[str] = None
    prepared: List[Prepared] = field(default_factory=list)
    passwords: Dict[str, str] = field(default_factory=dict)

    @property
    def skew(self) -> str:
        """How its clock differs from this host's, in words; nothing when it does not."""
        if not self.ahead:
            return ""
        direction = "ahead of" if self.ahead > 0 else "behind"
        return f" Its clock is {span(abs(self.ahead))} {direction} this host's, and is the one that counts."


def host_clock() -> datetime:
    """This host's clock."""
    return datetime.now(timezone.utc)


def look(connection: Any) -> Source:
    """Asks it."""
    before = host_clock()
    clock = server.value(connection, _CLOCK)
    low, high = (clock - host_clock()).total_seconds(), (clock - before).total_seconds()
    ahead = low if low > _APART else high if high < -_APART else 0.0
    found = Source(server.describe(connection), clock, ahead)
    if found.facts["recovering"]:
        return found
    found.lsn, segment, found.archives = server.rows(connection, _LOG)[0]
    found.timeline = int(segment[:8], 16)
    found.failing = server.value(connection, _FAILING)
    found.prepared = prepared(connection)
    if found.facts["superuser"]:
        found.passwords = digests(connection)
    return found


def prepared(connection: Any) -> List[Prepared]:
    """Transactions that are prepared on a server."""
    return [Prepared(*row) for row in server.rows(connection, _PREPARED)]


def check_now(target: Target, source: Optional[Source]) -> None:
    """Raises ConfigurationError when a target is in the future, by the clock of the server that wrote the log."""
    if not source or not target.at or target.at <= source.clock:
        return
    raise ConfigurationError(
        f"{iso(target.at)} is in the future: the database server's clock says {iso(source.clock)}.{source.skew}",
        "Set restore_target_type: latest for all there is.",
    )


def will_return(target: Target, source: Optional[Source], timeline: int) -> List[Check]:
    """For the plan: what is prepared now on the timeline that is followed, and was at the target already."""
    found = source.prepared if source and source.timeline == timeline else []
    found = [each for each in found if not target.at or each.at <= target.at]
    if not found:
        return []
    text = f"{plural(len(found), 'transaction')} prepared (two-phase) before the target would come back as prepared,"
    text += f" neither committed nor rolled back, and would hold locks: {_named(found)}."
    remedy = "Ask the transaction manager now what is to become of them; commit or roll them back after the restore."
    return [_check(len(found), text, remedy)]


def returned(found: List[Prepared]) -> List[Check]:
    """For the report: what is prepared in what was restored."""
    if not found:
        return []
    text = f"{plural(len(found), 'transaction')} came back as prepared (two-phase), neither committed nor rolled back:"
    text += f" {_named(found)}. Until that is done they hold their locks, and keep VACUUM from its work."
    names = found[:_NAMED]
    remedy = "Ask the transaction manager which were committed, then in the database of each: "
    remedy += "; ".join(f"COMMIT PREPARED or ROLLBACK PREPARED {printable(each.literal)}" for each in names) + "."
    if len(found) > len(names):
        remedy += " All of them: SELECT * FROM pg_prepared_xacts."
    return [_check(len(found), text, remedy)]


def _check(count: int, text: str, remedy: str) -> Check:
    return Check("restore.prepared", "Prepared transactions", WARNING, count, message=text, remedy=remedy)


def _named(found: List[Prepared]) -> str:
    names = [
        f"{printable(each.gid)} of {printable(each.owner)} in {printable(each.database)}, since {iso(each.at)}"
        for each in found[:_NAMED]
    ]
    more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return "; ".join(names) + more
