# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of contents of pg_dump's directory format (toc.dat), read as pg_restore reads it.

pg_restore --list shows the same as lines of words, in which a table "orders" of a schema "DATA" looks like the rows
of a table, and a name with a space like two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterable, List, NamedTuple, Optional, Set, Tuple

from .sql import NotUnderstood, encoding_of, statements

#: Versions of the format: of PostgreSQL 12 to 15, 16, and 17 to 18.
VERSIONS = ((1, 14), (1, 15), (1, 16))
#: It is written as that of a tar is.
_DIRECTORY = 3
#: When an entry is restored: before the rows, with them, after them; of no time of their own are comments and rights.
NONE, PRE_DATA, DATA, POST_DATA = 1, 2, 3, 4
#: What makes the database itself, and what is said of another entry.
DATABASE_KINDS = ("DATABASE", "DATABASE PROPERTIES")
OF_OTHERS = ("COMMENT", "ACL", "SECURITY LABEL")
ROWS = "TABLE DATA"
#: Longest text that is believed; a function's source may be long.
_LONGEST = 1 << 28


class Entry(NamedTuple):
    """One object, or one thing of an object.

    :param number: of the entry; its data's file is called by it
    :param kind: such as TABLE, TABLE DATA, COMMENT
    :param name: of the object, or of a comment or right what it is of
    :param oid: in the source's catalogue, 0 for none
    :param needs: numbers of the entries that come before it
    """

    number: int
    kind: str
    schema: str
    name: str
    owner: str
    section: int = NONE
    oid: int = 0
    tablespace: str = ""
    definition: str = ""
    copy: str = ""
    needs: Tuple[int, ...] = ()
    file: str = ""


class Contents(NamedTuple):
    """A table of contents.

    :param database: name of the dumped database
    :param server: its server's version
    :param made_with: pg_dump's version
    :param standard: whether its strings take backslashes for what they are
    """

    database: str
    server: str
    made_with: str
    standard: bool
    entries: List[Entry]


def read(path: Path) -> Contents:
    """Reads a toc.dat.

    :raises NotUnderstood: it is none, or of a version that is not known
    """
    return _File(path.read_bytes()).contents()


def write_list(path: Path, entries: Iterable[Entry]) -> None:
    """Writes what pg_restore --use-list reads: by number, as no name can be taken for another."""
    path.write_text("".join(f"{entry.number};\n" for entry in entries), "ascii")


def of_these(contents: Contents, numbers: Set[int]) -> List[Entry]:
    """Comments and rights of entries that are restored; of what is not, they would fail."""
    found: List[Entry] = []
    left = [each for each in contents.entries if each.kind in OF_OTHERS and each.needs]
    there = set(numbers)
    while True:
        # Rights on a column come after those on its table.
        ready = [each for each in left if there.issuperset(each.needs)]
        if not ready:
            return found
        found += ready
        there |= {each.number for each in ready}
        left = [each for each in left if each.number not in there]


def loaded_into(entry: Entry, standard: bool) -> Tuple[str, str]:
    """Schema and name of the table through which rows are loaded.

    :raises NotUnderstood: it does not say
    """
    try:
        ((copy, schema, dot, name, *_rest),) = statements(entry.copy, standard=standard)
    except ValueError:
        raise NotUnderstood(f"how the rows of {entry.schema}.{entry.name} are loaded") from None
    if copy.value != "COPY" or dot.value != ".":
        raise NotUnderstood(f"how the rows of {entry.schema}.{entry.name} are loaded")
    return schema.value, name.value


class _File:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._encoding = "utf-8"

    def contents(self) -> Contents:
        if self._bytes(5) != b"PGDMP":
            raise NotUnderstood("it is not an archive of pg_dump")
        major, minor, _revision = self._bytes(3)
        if (major, minor) not in VERSIONS:
            raise NotUnderstood(f"its format is of version {major}.{minor}, which is not known here")
        self._size = self._bytes(1)[0]
        offset, form = self._bytes(2)
        if self._size not in (4, 8) or offset not in (4, 8) or form != _DIRECTORY:
            raise NotUnderstood("it is not a table of contents of a dump in the directory format")
        if (major, minor) >= (1, 15):
            self._bytes(1)
        else:
            self._integer()
        for _part in ("s", "min", "h", "day", "month", "year", "summer time"):
            self._integer()
        database, server, made_with = (self._text() or b"" for _each in range(3))
        raw = [self._entry((major, minor)) for _each in range(self._count())]
        if self._at != len(self._data):
            raise NotUnderstood("there is more in it than its entries")
        standard = True
        for each in raw:
            if each.kind == b"ENCODING":
                self._encoding = encoding_of(each.definition)
            elif each.kind == b"STDSTRINGS":
                (tokens,) = statements(each.definition.decode("latin-1"))
                standard = tokens[-1].value.lower() != "off"
        entries = [self._plain(each) for each in raw]
        for entry in entries:
            if entry.kind == ROWS:
                _check_rows(entry, standard)
        texts = [self._decoded(each) for each in (database, server, made_with)]
        return Contents(texts[0], texts[1], texts[2], standard, entries)

    def _entry(self, version: Tuple[int, int]) -> _Raw:
        number, _dumper = self._integer(), self._integer()
        _table, oid, name, kind = (self._text() or b"" for _each in range(4))
        section = self._integer()
        definition, _drop, copy, schema, tablespace, _access = (self._text() or b"" for _each in range(6))
        if version >= (1, 16):
            self._integer()
        owner, _with_oids = self._text() or b"", self._text()
        needs = []
        while True:
            need = self._text()
            if need is None:
                break
            needs.append(self._decimal(need))
        file = self._text() or b""
        if number <= 0 or section not in (NONE, PRE_DATA, DATA, POST_DATA):
            raise NotUnderstood("an entry has no number or no section")
        oid_number = self._decimal(oid or b"0")
        return _Raw(
            number, kind, schema, name, owner, section, oid_number, tablespace, definition, copy, tuple(needs), file
        )

    def _plain(self, raw: _Raw) -> Entry:
        return Entry(*(self._decoded(part) if isinstance(part, bytes) else part for part in raw))  # type: ignore[arg-type]

    def _decoded(self, text: bytes) -> str:
        try:
            return text.decode(self._encoding)
        except UnicodeDecodeError:
            raise NotUnderstood(f"a name is not encoded in {self._encoding}, as it says") from None

    def _bytes(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise NotUnderstood("it ends early")
        self._at += count
        return taken

    def _integer(self) -> int:
        sign, *digits = self._bytes(1 + self._size)
        value = int.from_bytes(bytes(digits), "little")
        return -value if sign else value

    def _count(self) -> int:
        count = self._integer()
        if not 0 <= count <= len(self._data):
            raise NotUnderstood("its number of entries makes no sense")
        return count

    def _text(self) -> Optional[bytes]:
        length = self._integer()
        if length > _LONGEST:
            raise NotUnderstood("a text in it has no sensible length")
        return None if length < 0 else self._bytes(length)

    def _decimal(self, text: bytes) -> int:
        if not text.isdigit():
            raise NotUnderstood("a number in it is none")
        return int(text)


def _check_rows(entry: Entry, standard: bool) -> None:
    """Raises NotUnderstood when more would be run for rows than one COPY.

    A pg_dump without the fix of CVE-2025-8715 writes a table's name into a comment as it is, with a line feed in it.
    """
    if statements(entry.definition, standard=standard):
        raise NotUnderstood(f"entry {entry.number} runs more than it says: a name in a comment has a line feed")
    found = statements(entry.copy, standard=standard)
    if len(found) > 1 or (found and found[0][0].value != "COPY"):
        raise NotUnderstood(f"entry {entry.number} does not copy rows")


class _Raw(NamedTuple):
    """An entry as it is in the file."""

    number: int
    kind: bytes
    schema: bytes
    name: bytes
    owner: bytes
    section: int
    oid: int
    tablespace: bytes
    definition: bytes
    copy: bytes
    needs: Tuple[int, ...]
    file: bytes
