# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in a dump, by its table of contents: the tablespaces it wants, and the entries that single tables need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterable, List, Set, Tuple

from .._postgres import globals as shared
from .._postgres import toc
from .._postgres.instance import failed
from .._postgres.programs import NOT_BUILT
from .._postgres.sql import NotUnderstood
from .._postgres.toc import Contents, Entry
from .._work.job import RESTORE
from .._work.programs import run_to_text
from ..errors import BackupError

#: Entries that belong to single tables after their rows are there.
_INDEXES = ("INDEX", "INDEX ATTACH", "CONSTRAINT", "CHECK CONSTRAINT")
#: What pg_restore does by itself whatever is asked for, and what makes the database.
_ALWAYS = ("ENCODING", "STDSTRINGS", "SEARCHPATH", *toc.DATABASE_KINDS)

Tables = Iterable[Tuple[str, str]]


def read(pg_restore: str, dump: Path) -> Contents:
    """A dump's table of contents.

    :raises MaintenanceError: it cannot be read, or what it lists not with this pg_restore
    """
    remedy = "Use a pg_restore of the recovery point's version or newer."
    try:
        run_to_text([pg_restore, "--list", str(dump)], {}, fatal=NOT_BUILT)
        return toc.read(dump / "toc.dat")
    except BackupError as error:
        raise failed(error.message, remedy, RESTORE) from None
    except NotUnderstood as error:
        text = f"The dump's table of contents cannot be read: {error}"
        remedy = "If its version is newer than this collection, update that; or restore by hand (docs/backup.md)."
        raise failed(text, remedy, RESTORE) from None


def roles(path: Path, made_with: str) -> shared.Read:
    """Roles and tablespaces as pg_dumpall wrote them.

    :raises MaintenanceError: something in it is not known
    """
    try:
        return shared.read(path.read_bytes(), made_with)
    except NotUnderstood as error:
        text = f"The recovery point's roles and tablespaces ({path.name}) are not understood: {error}"
        remedy = "Nothing of it was run. Choose another recovery point, and find out who wrote this one."
        raise failed(text, remedy, RESTORE) from None


def creation(contents: Contents, name: str) -> List[str]:
    """SQL that makes an empty database of another name as the dumped one was made.

    :raises MaintenanceError: something in it is not known
    """
    return _made(contents, name)[0]


def tablespaces(contents: Contents) -> Set[str]:
    """Names of the tablespaces that the dumped objects lie in, besides the default one."""
    return ({entry.tablespace for entry in contents.entries} | _made(contents, contents.database)[1]) - {""}


def _made(contents: Contents, name: str) -> Tuple[List[str], Set[str]]:
    try:
        return shared.of_database(contents, name)
    except NotUnderstood as error:
        text = f"How the dumped database was made is not understood: {error}"
        raise failed(text, "Restore it by hand with pg_restore (docs/backup.md), and report this.", RESTORE) from None


def without_rows(contents: Contents) -> List[Entry]:
    """The entries that make everything but rows: types, functions, tables, sequences, views."""
    first = [each for each in contents.entries if each.section == toc.PRE_DATA and each.kind not in _ALWAYS]
    return first + toc.of_these(contents, {each.number for each in first})


def rows_of(contents: Contents, tables: Tables) -> List[Entry]:
    """The entries that bring the rows of some tables, and then make indexes and keys of all, and set sequences."""
    wanted = set(tables)
    rows = [each for each in contents.entries if each.kind == toc.ROWS and (each.schema, each.name) in wanted]
    last = _with_needed(
        contents, [each for each in contents.entries if each.kind in _INDEXES and each.section == toc.POST_DATA]
    )
    numbers = [each for each in contents.entries if each.kind == "SEQUENCE SET"]
    return rows + numbers + last + toc.of_these(contents, {each.number for each in last})


def of_copies(contents: Contents) -> List[Entry]:
    """All entries of a dump of schemas but what makes these."""
    made = {each.number for each in contents.entries if each.kind == "SCHEMA"}
    skipped = (*_ALWAYS, "SCHEMA", "DEFAULT ACL")
    found = [each for each in contents.entries if each.kind not in skipped]
    return [each for each in found if not (each.kind in toc.OF_OTHERS and made & set(each.needs))]


def _with_needed(contents: Contents, entries: List[Entry]) -> List[Entry]:
    """Entries with what they need of the same section: a function whose body groups by a key comes after that key."""
    late = {each.number: each for each in contents.entries if each.section == toc.POST_DATA}
    found, left = set(), [each.number for each in entries]
    while left:
        number = left.pop()
        if number in late and number not in found:
            found.add(number)
            left += late[number].needs
    return [each for each in contents.entries if each.number in found]


def moved(contents: Contents, tables: Tables) -> List[Tuple[Tuple[str, str], Tuple[str, str]]]:
    """Tables whose rows are loaded through another, and that other: leaves of which may come into another leaf.

    :raises MaintenanceError: how rows are loaded is not understood
    """
    wanted, found = set(tables), []
    for entry in contents.entries:
        if entry.kind == toc.ROWS and (entry.schema, entry.name) in wanted and entry.copy:
            into = _loaded_into(entry, contents.standard)
            if into != (entry.schema, entry.name):
                found.append(((entry.schema, entry.name), into))
    return found


def _loaded_into(entry: Entry, standard: bool) -> Tuple[str, str]:
    try:
        return toc.loaded_into(entry, standard)
    except NotUnderstood as error:
        text = f"The dump's table of contents is not understood: {error}"
        raise failed(text, "Restore the whole (restore_mode: whole), and report this.", RESTORE) from None


def data_file(key: str) -> int:
    """The number of the entry whose rows an object has, -1 for other objects."""
    match = re.search(r"/database/(\d+)\.dat(?:\.[a-z0-9]+)?$", key)
    return int(match[1]) if match else -1
