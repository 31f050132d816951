# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Invalid indexes: which of them this migration left, and dropping those."""

from __future__ import annotations

import re
import time
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

from ..database import quoted
from ..errors import DatabaseError
from .apart import apart
from .session import Session
from .tokens import Claim

Name = Tuple[str, str]

#: What REINDEX CONCURRENTLY calls the index that it makes, and the one that it replaces.
_REBUILT = re.compile(r"(.+)_cc(new|old)\d*", re.DOTALL)
#: Seconds that whoever works on a table is waited for: a killed run's session is gone a second or two later.
_PATIENCE = 5.0

_INVALID = """SELECT c.oid::bigint, n.nspname, c.relname, mn.nspname, m.relname,
c.relkind = 'i' AND NOT c.relispartition AND NOT i.indisreplident
AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid),
ARRAY(SELECT DISTINCT l.pid FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  WHERE l.locktype = 'relation' AND l.granted AND l.relation IN (t.oid, m.oid) AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
  AND a.backend_type IS DISTINCT FROM 'autovacuum worker')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = i.indrelid JOIN pg_class m ON m.oid = coalesce(
  (SELECT o.oid FROM pg_class o WHERE o.reltoastrelid = t.oid AND t.relkind = 't'), t.oid)
JOIN pg_namespace mn ON mn.oid = m.relnamespace
WHERE NOT i.indisvalid AND n.nspname !~ '^pg_temp' AND n.nspname <> 'pg_catalog' ORDER BY 2, 3"""
_TABLE = """SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = %s AND c.relkind IN ('r', 'p', 'm') AND n.nspname = ANY(%s)
ORDER BY array_position(%s, n.nspname::text) LIMIT 1"""
_OF_TABLE = """SELECT n.nspname, c.relname, tn.nspname, t.relname
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace tn ON tn.oid = t.relnamespace WHERE c.relname = %s AND n.nspname = ANY(%s)
ORDER BY array_position(%s, n.nspname::text) LIMIT 1"""


class Invalid(NamedTuple):
    """An invalid index.

    :param table: the table's that it serves, also where it is one of its TOAST table
    :param plain: it stands alone: no constraint, partitioned index or replica identity is made of it
    :param workers: processes that hold a lock on the table under which an index may be in the making
    """

    oid: int
    name: Name
    table: Name
    plain: bool
    workers: List[int]

    @property
    def shown(self) -> str:
        """Its name."""
        return ".".join(self.name)


def invalid(session: Session) -> List[Invalid]:
    """All of the database."""
    return [
        Invalid(int(oid), (schema, name), (table_schema, table), bool(plain), list(workers))
        for oid, schema, name, table_schema, table, plain, workers in session.rows(_INVALID)
    ]


def owned(
    index: Invalid, statements: Iterable[Claim], before: Optional[Iterable[int]], resolve: Callable[[Name, str], Any]
) -> bool:
    """Whether one of the statements left an index.

    :param before: numbers of the indexes that were invalid before these were carried out; None: they were not yet
    :param resolve: gives schema and name of the table that a name means, "table" or "index" says what it names
    """
    new = before is not None and index.oid not in before
    if before is not None and not new:
        return False
    for each in statements:
        if not each.concurrently:
            continue
        if each.kind == "create" and each.table and resolve(each.table, "table") == index.table:
            if each.name is None and new and not _REBUILT.fullmatch(index.name[1]):
                return True
            if each.name is not None and each.name[1] == index.name[1]:
                return True
        if each.kind == "reindex" and _rebuilt(each, index, new, resolve):
            return True
    return False


def _rebuilt(each: Claim, index: Invalid, new: bool, resolve: Callable[[Name, str], Any]) -> bool:
    match = _REBUILT.fullmatch(index.name[1])
    if match is None:
        return False
    if each.wide:
        # It names no table, so that only what came with it can be its own.
        return new
    if each.table is not None:
        return bool(resolve(each.table, "table") == index.table)
    # The server shortens a name where the ending would make it too long.
    name = each.name[1] if each.name else ""
    shortened = len(index.name[1].encode()) >= 60 and name.startswith(match[1])
    return bool(each.name and (name == match[1] or shortened) and resolve(each.name, "index") == index.table)


class Leftovers:
    """What this migration left, dropped before it is in its own way.

    :ivar dropped: index, table and when of each
    """

    def __init__(self, session: Session, options: Dict[str, Any], tick: Callable[[], None]) -> None:
        self._session = session
        self._options = options
        self._tick = tick
        self.dropped: List[Dict[str, Any]] = []

    def resolve(self, name: Name, what: str) -> Optional[Name]:
        """The table that a name means, by the search path of the project's sessions."""
        path = [name[0]] if name[0] else self._session.path
        found = self._session.rows(_TABLE if what == "table" else _OF_TABLE, (name[1], path, path))
        return tuple(found[0][-2:]) if found else None  # type: ignore[return-value]

    def present(self) -> List[int]:
        """Numbers of the indexes that are invalid now."""
        return [each.oid for each in invalid(self._session)]

    def clear(self, statements: List[Claim], before: Optional[List[int]], when: str) -> int:
        """Drops those that the statements left.

        :param before: see owned
        :param when: for the report
        :returns: how many
        :raises DatabaseError: one could not be dropped
        """
        # What the revision drops itself must be there when it does.
        taken = {each.name[1] for each in statements if each.kind == "drop" and each.name}
        count = 0
        for index in invalid(self._session):
            if not index.plain or index.name[1] in taken:
                continue
            if not owned(index, statements, before, self.resolve):
                continue
            free = self._free(index)
            if free is None:
                continue
            self._drop(free)
            self.dropped.append({"index": free.shown, "table": ".".join(free.table), "when": when})
            count += 1
        return count

    def _free(self, index: Invalid) -> Optional[Invalid]:
        """The same once nobody may be making it; None when somebody goes on, or it is gone or valid."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            found = [each for each in invalid(self._session) if each.oid == index.oid]
            if not found or not found[0].workers:
                return found[0] if found else None
            if time.monotonic() >= deadline:
                return None
            self._tick()
            time.sleep(0.2)

    def _drop(self, index: Invalid) -> None:
        name = ".".join(quoted(part) for part in index.name)
        try:
            # It waits for old transactions.
            statement = f"DROP INDEX CONCURRENTLY IF EXISTS {name}"
            apart(self._options["database"], [statement], self._options["concurrent_deadline"], self._tick)
        except DatabaseError as error:
            raise DatabaseError(
                f"The invalid index {index.shown} of this migration could not be dropped: {error.message}",
                f"Drop it (DROP INDEX CONCURRENTLY {name}), then run it again.",
            ) from None
