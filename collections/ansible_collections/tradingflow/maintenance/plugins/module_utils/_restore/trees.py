# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees of partitions and of inheritance: what was attached, detached or moved since, when rows of tables are replaced.

A row that was moved to a table that is not replaced would be there twice, and one that comes into a table that was
taken out would be missing.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Sequence, Set, Tuple

from .._postgres import server
from .._postgres.toc import Contents, Entry
from ..errors import RestoreError
from ..refusal import Refusal
from ..words import printable
from . import guards

Name = Tuple[str, str]

_THERE = """
SELECT c.oid::bigint, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f')"""
_TREES = "SELECT inhrelid::bigint, inhparent::bigint FROM pg_inherits"
# A size calls no function of a table, and it is there before a transaction that adds rows has ended.
_FILLED = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname, c.relname) IN %s AND (c.relkind = 'f' OR c.relkind = 'r' AND pg_relation_size(c.oid) > 0)
ORDER BY 1, 2"""
#: How a table says what is over it, where no entry of its own does.
_BELOW = ("INHERITS (", "PARTITION OF ", "ATTACH PARTITION ")


class Trees:
    """Those of the named tables.

    :param tables: schema.table; with all that are below them in the recovery point
    :param schemas: all tables of these
    """

    def __init__(self, contents: Contents, tables: Iterable[str], schemas: Iterable[str]) -> None:
        wanted, whole = set(tables), set(schemas)
        self._over = _dumped(contents)
        every = {(each.schema, each.name) for each in contents.entries if each.kind == "TABLE"}
        named = {name for name in every if ".".join(name) in wanted or name[0] in whole}
        self.names = _with_below(named, self._over)

    def refusals(self, connection: Any, *, planning: bool) -> List[Refusal]:
        """What forbids that rows are replaced.

        :param planning: whether nothing looks at new partitions later
        """
        oids = {oid: (schema, name) for oid, schema, name in server.rows(connection, _THERE)}
        there = set(oids.values())
        over: Dict[Name, Set[Name]] = {}
        for child, parent in server.rows(connection, _TREES):
            if child in oids and parent in oids:
                over.setdefault(oids[child], set()).add(oids[parent])
        found = self._taken_out(there, over)
        if planning:
            found += self._added(connection, over)
        return found + self._siblings(connection, over)

    def check(self, connection: Any, overrides: Sequence[str]) -> None:
        """Raises RestoreError when one was taken out meanwhile, or others may hold rows that were moved there.

        :param overrides: what the operator insists on
        """
        for refusal in self.refusals(connection, planning=False):
            if refusal.word not in overrides:
                raise RestoreError(f"{refusal.message} Nothing was replaced.", refusal.remedy)

    def _taken_out(self, there: Set[Name], over: Dict[Name, Set[Name]]) -> List[Refusal]:
        out = [
            f"{_shown(child)} of {_shown(parent)}"
            for child, parents in sorted(self._over.items())
            for parent in sorted(parents)
            if {child, parent} <= self.names and child in there and parent not in _above({child}, over)
        ]
        if not out:
            return []
        text = f"These partitions or children were taken out since (DETACH PARTITION, NO INHERIT): {_words(out)}."
        text += " Their rows would come back into them, and not into the tables that they were part of."
        remedy = "Attach them again; or leave restore_replace out, and copy the rows from beside by hand."
        return [Refusal("detached", text, remedy)]

    def _added(self, connection: Any, over: Dict[Name, Set[Name]]) -> List[Refusal]:
        found = _filled(connection, _with_below(self.names, over) - self.names)
        if not found:
            return []
        text = f"These partitions or children may hold rows, and are not in the recovery point: {_words(found)}."
        text += " A row that was moved there would be in the tables over them twice."
        remedy = "Empty them (TRUNCATE) or take them out (DETACH PARTITION, NO INHERIT) once their rows are safe; or"
        return [Refusal("partitions", text, f"{remedy} leave restore_replace out, and copy the rows from beside.")]

    def _siblings(self, connection: Any, over: Dict[Name, Set[Name]]) -> List[Refusal]:
        above = _above(self.names, over) - self.names
        below = _with_below(self.names, over)
        found = _filled(connection, _with_below(above, over) - below)
        if not found:
            return []
        text = f"Only a part of {_words(sorted(map(_shown, above)))} would be replaced, not {_words(found)}."
        text += " A row that was moved there since would be in it twice."
        return [Refusal("siblings", text, f"Name the table over them, {guards.insist('siblings')}.", "siblings")]


def _dumped(contents: Contents) -> Dict[Name, Set[Name]]:
    """By table, those right over it in the dump."""
    tables = {each.number: each for each in contents.entries if each.kind == "TABLE"}
    over: Dict[Name, Set[Name]] = {}
    for entry in contents.entries:
        if entry.kind != "TABLE ATTACH" and not (entry.kind == "TABLE" and _says(entry, "")):
            continue
        child = entry.schema, entry.name
        for need in entry.needs:
            parent = tables.get(need)
            # A table may also need another as the type of a column.
            if parent and (parent.schema, parent.name) != child and _says(entry, parent.name):
                over.setdefault(child, set()).add((parent.schema, parent.name))
    return over


def _says(entry: Entry, name: str) -> bool:
    if entry.kind == "TABLE ATTACH":
        return True
    found = [entry.definition.rfind(words) for words in _BELOW]
    at = max(found)
    # ALTER TABLE ONLY parent ATTACH PARTITION has it before.
    whole = found[2] >= 0 or at < 0
    return at >= 0 and name.replace('"', '""') in (entry.definition if whole else entry.definition[at:])


def _above(names: Set[Name], over: Dict[Name, Set[Name]]) -> Set[Name]:
    found: Set[Name] = set()
    left = list(names)
    while left:
        more = over.get(left.pop(), set()) - found
        found |= more
        left += more
    return found


def _with_below(names: Set[Name], over: Dict[Name, Set[Name]]) -> Set[Name]:
    below: Dict[Name, Set[Name]] = {}
    for child, parents in over.items():
        for parent in parents:
            below.setdefault(parent, set()).add(child)
    return set(names) | _above(names, below)


def _filled(connection: Any, names: Set[Name]) -> List[str]:
    return [_shown(row) for row in server.rows(connection, _FILLED, (tuple(names),))] if names else []


def _shown(name: Name) -> str:
    return ".".join(name)


def _words(names: List[str]) -> str:
    return printable(", ".join(names), 600)
