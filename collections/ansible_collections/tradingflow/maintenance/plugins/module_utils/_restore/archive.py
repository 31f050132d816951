# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What pg_restore says is in a dump: how its database was made, the tablespaces it wants, the data of single tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Set, Tuple

from .._backup.programs import NOT_BUILT, run_to_text
from .._backup.snapshot import quoted
from .._drill.instance import failed
from ..errors import BackupError
from ..job import RESTORE

_ENTRY = re.compile(r"(\d+); \d+ \d+ (.*)")
_IDENTIFIER = r'(?:"(?:[^"]|"")*"|[^\s";,()]+)'
_ON_DATABASE = re.compile(
    rf"((?:CREATE|ALTER) DATABASE|COMMENT ON DATABASE|(?:GRANT|REVOKE) [A-Z, ]+ ON DATABASE) ({_IDENTIFIER})(?= )"
)
#: Entries that belong to single tables after their rows are there.
INDEXES = ("INDEX ", "INDEX ATTACH ", "CONSTRAINT ")
ROWS = ("TABLE DATA ",)
#: What comes after rows, or belongs to more than tables.
_NOT_FIRST = (
    *(*ROWS, *INDEXES, "FK CONSTRAINT ", "TRIGGER ", "EVENT TRIGGER ", "RULE ", "POLICY ", "ROW SECURITY "),
    *("BLOB", "LARGE OBJECT", "SEQUENCE SET ", "MATERIALIZED VIEW DATA ", "PUBLICATION", "SUBSCRIPTION"),
    "STATISTICS DATA ",
)


class Entry(NamedTuple):
    """A line of the table of contents.

    :param number: also the name of its data's file
    :param text: kind, schema, name, owner
    """

    number: int
    text: str

    @property
    def line(self) -> str:
        return f"{self.number}; 0 0 {self.text}"


def listing(pg_restore: str, dump: Path) -> List[Entry]:
    """All entries of a dump's table of contents.

    :raises MaintenanceError: it cannot be read, or not with this pg_restore what it lists
    """
    return [
        Entry(int(match[1]), match[2])
        for match in map(_ENTRY.match, _text([pg_restore, "--create", "--list", str(dump)]).splitlines())
        if match
    ]


def _text(arguments: List[str]) -> str:
    try:
        return run_to_text(arguments, {}, fatal=NOT_BUILT)
    except BackupError as error:
        remedy = "Use a pg_restore of the recovery point's version or newer."
        raise failed(error.message, remedy, RESTORE) from None


def creation(pg_restore: str, dump: Path, entries: Iterable[Entry], name: str, list_file: Path) -> str:
    """SQL that makes an empty database of another name as the dumped one was: locale, owner, settings, rights."""
    wanted = [entry for entry in entries if entry.text.startswith(("DATABASE ", "DATABASE PROPERTIES "))]
    wanted += [entry for entry in entries if entry.text.startswith(("ACL - DATABASE ", "COMMENT - DATABASE "))]
    write_list(list_file, wanted)
    text = _text([pg_restore, "--create", f"--use-list={list_file}", "--file=-", str(dump)])
    return renamed(text, name)


def write_list(path: Path, entries: Iterable[Entry]) -> None:
    """Writes what pg_restore --use-list reads."""
    path.write_text("".join(f"{entry.line}\n" for entry in entries), "utf-8", "surrogateescape")


def renamed(text: str, name: str) -> str:
    """Statements about a database, made about another; psql's own commands are left out."""
    lines = []
    for line in text.splitlines(keepends=True):
        if re.match(r"\\(connect|restrict|unrestrict)\b", line):
            continue
        lines.append(
            _ON_DATABASE.sub(lambda match: f"{match[1]} {quoted(name)}", line, count=1) if _starts(line) else line
        )
    return "".join(lines)


def _starts(line: str) -> bool:
    return _ON_DATABASE.match(line) is not None


def tablespaces(pg_restore: str, dump: Path) -> Set[str]:
    """Names of the tablespaces that the dumped objects lie in, besides the default one."""
    text = _text([pg_restore, "--create", "--schema-only", "--file=-", str(dump)])
    found = re.findall(rf"^SET default_tablespace = ({_IDENTIFIER}|'(?:[^']|'')*');$", text, re.MULTILINE)
    found += re.findall(rf"^CREATE DATABASE .* TABLESPACE = ({_IDENTIFIER})", text, re.MULTILINE)
    return {_plain(name) for name in found} - {""}


def _plain(name: str) -> str:
    if name[:1] in ("'", '"'):
        return name[1:-1].replace(name[0] * 2, name[0])
    return name


def roles(text: str) -> Dict[str, List[str]]:
    """By role, the statements of a dump of globals that make it: CREATE, ALTER, and what is granted to it."""
    found: Dict[str, List[str]] = {}
    for line in text.splitlines():
        made = re.match(rf"CREATE ROLE ({_IDENTIFIER});$", line)
        if made:
            found.setdefault(_plain(made[1]), []).append(line)
            continue
        altered = re.match(rf"ALTER ROLE ({_IDENTIFIER}) ", line)
        granted = re.match(rf"GRANT {_IDENTIFIER} TO ({_IDENTIFIER})[ ;]", line)
        name = _plain((altered or granted)[1]) if altered or granted else None  # type: ignore[index]
        if name in found:
            # Who granted it could only be the source's first superuser.
            found[name].append(re.sub(rf" GRANTED BY {_IDENTIFIER};$", ";", line))
    return found


def without_rows(entries: Iterable[Entry]) -> List[Entry]:
    """The entries that make everything but rows: types, functions, tables, sequences, views."""
    return [entry for entry in entries if not entry.text.startswith((*_NOT_FIRST, "DATABASE", "ACL - DATABASE "))]


def rows_of(entries: Iterable[Entry], tables: Iterable[Tuple[str, str]]) -> List[Entry]:
    """The entries that bring the rows of some tables, by schema and name, and then make indexes and keys of all."""
    starts = tuple(f"TABLE DATA {_one_line(schema)} {_one_line(name)} " for schema, name in tables)
    return [entry for entry in entries if entry.text.startswith((*starts, *INDEXES))]


def _one_line(name: str) -> str:
    return re.sub(r"[\r\n]", " ", name)


def data_file(key: str) -> int:
    """The number of the entry whose rows an object has, -1 for other objects."""
    match = re.search(r"/database/(\d+)\.dat(?:\.[a-z0-9]+)?$", key)
    return int(match[1]) if match else -1
