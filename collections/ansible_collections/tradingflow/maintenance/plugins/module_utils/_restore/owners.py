# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose functions tables call: what belongs to different owners is not touched with one set of rights.

Owners of one tree of partitions or of inheritance count as one: whoever inserts into it runs the functions of them all.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, Iterable, List, NamedTuple, Set, Tuple

from .._postgres import server
from .._postgres.toc import DATA, NONE, POST_DATA, PRE_DATA, Entry

_TABLES = """
SELECT c.oid::bigint, n.nspname, c.relname, c.oid::regclass::text, r.rolname, c.relrowsecurity, c.relforcerowsecurity
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
WHERE c.relkind IN ('r', 'p', 'f')"""
_TREES = "SELECT inhrelid::bigint, inhparent::bigint FROM pg_inherits"

#: Of all tables of a tree.
Owners = FrozenSet[str]


class Table(NamedTuple):
    """A table, by whom it is.

    :param shown: as the server writes it
    :param ruled: whether row-level security holds for others than the owner
    :param forced: whether for the owner, too
    """

    schema: str
    name: str
    shown: str
    owner: str
    ruled: bool
    forced: bool
    owners: Owners


def tables_of(connection: Any) -> List[Table]:
    """All tables of a database."""
    found = server.rows(connection, _TABLES)
    trees = _trees([row[0] for row in found], server.rows(connection, _TREES))
    owners: Dict[int, Set[str]] = {}
    for oid, _schema, _name, _shown, owner, _ruled, _forced in found:
        owners.setdefault(trees[oid], set()).add(owner)
    return [
        Table(schema, name, shown, owner, ruled, forced, frozenset(owners[trees[oid]]))
        for oid, schema, name, shown, owner, ruled, forced in found
    ]


def _trees(tables: Iterable[int], edges: Iterable[Tuple[int, int]]) -> Dict[int, int]:
    """By table, one that all of its tree have in common."""
    over = {oid: oid for oid in tables}

    def top(oid: int) -> int:
        while over[oid] != oid:
            over[oid] = over[over[oid]]
            oid = over[oid]
        return oid

    for child, parent in edges:
        # The others are indexes.
        if child in over and parent in over:
            over[top(child)] = top(parent)
    return {oid: top(oid) for oid in over}


def by_owners(entries: List[Entry], whose: Dict[Tuple[str, str], Owners]) -> List[Tuple[Owners, List[Entry]]]:
    """Entries of a dump in parts to be restored one after the other, each with whose it is.

    What an entry needs is in the same part or an earlier one; rows come before indexes.
    """
    numbers = {each.number: each for each in entries}
    parts: List[Tuple[Owners, List[Entry]]] = []
    place: Dict[int, int] = {}
    phases: Dict[int, List[Entry]] = {PRE_DATA: [], DATA: [], POST_DATA: [], NONE: []}
    for each in entries:
        phases[each.section].append(each)
    for phase in phases.values():
        begin = len(parts)
        for each in phase:
            owners = _owners(each, numbers, whose)
            first = max([begin, *(place[need] for need in each.needs if need in place)])
            at = next((n for n in range(first, len(parts)) if parts[n][0] == owners), len(parts))
            if at == len(parts):
                parts.append((owners, []))
            parts[at][1].append(each)
            place[each.number] = at
    return parts


def _owners(entry: Entry, numbers: Dict[int, Entry], whose: Dict[Tuple[str, str], Owners]) -> Owners:
    """Whose the table is that an entry is about."""
    level, seen = [entry], {entry.number}
    while level:
        found = [whose[each.schema, each.name] for each in level if each.kind == "TABLE" and _known(each, whose)]
        if found:
            # A row's type may be another table.
            return next((each for each in found if entry.owner in each), found[0])
        needs = {need for each in level for need in each.needs if need in numbers} - seen
        seen |= needs
        level = [numbers[need] for need in sorted(needs)]
    return frozenset([entry.owner])


def _known(entry: Entry, whose: Dict[Tuple[str, str], Owners]) -> bool:
    return (entry.schema, entry.name) in whose
