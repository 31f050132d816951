# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the database is there where a recovery stopped: it may not be made yet, be gone, or be half dropped."""

from __future__ import annotations

from itertools import islice
from typing import Any, Dict, NamedTuple

from .._pgbackrest import records, timelines
from .._postgres import server
from .._postgres.replay import number
from ..database import connected
from ..errors import MaintenanceError, RestoreError
from ..words import plural
from .timeline import Choice

#: Segments that are looked through for the beginning of a DROP DATABASE; it waits for a checkpoint in its middle.
_DEPTH = 64
#: What PostgreSQL marks a database with that is being dropped (datconnlimit).
_INVALID = -2

_STATE = """
SELECT oid::bigint, datconnlimit = %s OR (dattablespace = 1663 AND (pg_stat_file('base/' || oid, true)).size IS NULL),
       NOT datallowconn, datconnlimit
FROM pg_database WHERE datname = %s"""


class Closed(NamedTuple):
    """Whom a database lets in.

    :param to_all: whether nobody can connect, not even a superuser
    :param limit: connections of others than superusers, -1 for any number
    """

    to_all: bool
    limit: int

    def __bool__(self) -> bool:
        return self.to_all or self.limit == 0


def check_there(home: Dict[str, Any], name: str, choice: Choice, lsn: str) -> Closed:
    """Raises RestoreError when the database cannot be used where the recovery stopped, with where to stop instead.

    :param home: the option "database" for another database of the replaying server
    :returns: whom it lets in
    """
    with connected(home, pinned=True) as connection:
        found = server.rows(connection, _STATE, (_INVALID, name))
    if not found:
        raise RestoreError(
            f"At {lsn} there is no database {name}: it was made later, or dropped before.",
            "Choose an earlier or a later target.",
        )
    oid, half, to_all, limit = found[0]
    if half:
        text = f"The recovery stopped at {lsn}, in the middle of DROP DATABASE: the files of {name} are gone already."
        raise RestoreError(text, _instead(choice, int(oid), lsn))
    return Closed(bool(to_all), int(limit))


def _instead(choice: Choice, oid: int, lsn: str) -> str:
    general = "Choose a target some minutes earlier: before DROP DATABASE began, not before it ended."
    archive, end = choice.tree.archive, number(lsn)
    try:
        on = choice.tree.on(choice.number, end)
        size = choice.tree.size()
        names = (name for name in archive.segments(on, newest_first=True) if timelines.begin_of(name, size) < end)
        found = records.drop_began((archive.segment(name) for name in islice(names, _DEPTH)), oid, end)
    except MaintenanceError:
        return general
    if found is None:
        return general
    text = f"Stop before it began: restore_target_type=lsn, restore_target={timelines.place(found[0])},"
    text += f" restore_target_timeline={choice.number}."
    if found[1]:
        ended = plural(found[1], "transaction")
        text += f" {ended} of others ended while the database was being dropped, and would not come back."
    return text
