# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RPM's database where it is SQLite: the headers of what is installed. Of other kinds nothing is known."""

from __future__ import annotations

import re
import sqlite3
import struct
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Set, Tuple

from ..errors import ImageError
from ..words import printable

PATH = re.compile(r"(?:var/lib/rpm|usr/lib/sysimage/rpm|usr/share/rpm)/(?:rpmdb\.sqlite(?:-wal)?|Packages(?:\.db)?)")
_NAME, _VERSION, _RELEASE, _EPOCH, _SOURCE = 1000, 1001, 1002, 1003, 1044
_DIRINDEXES, _BASENAMES, _DIRNAMES, _OLDFILES = 1116, 1117, 1118, 1027
#: Types of data in a header.
_INT32, _STRING, _ARRAY, _TEXT = 4, 6, 8, 9
_MOST_SECONDS = 60
_REMEDY = "Scan the image where it is built, by a scanner that reads this database."


def packages(files: Dict[str, bytes], owned: Set[str], scratch: Path) -> Iterator[Tuple[str, str, str]]:
    """("rpm", name, version) of what is installed, by its own name and by that of its source.

    :param owned: paths of the files are added
    :raises ImageError: it is of a kind that is not read, or not understood
    """
    for path in sorted(path for path in files if PATH.fullmatch(path)):
        if path.endswith("-wal"):
            continue
        if not path.endswith(".sqlite"):
            raise ImageError(f"{path} is a database of a kind that is not read", _REMEDY)
        for blob in _blobs(path, files, scratch):
            try:
                yield from _package(_header(blob), owned)
            except (struct.error, ValueError, KeyError, IndexError, TypeError) as error:
                text = f"{path} has a header that is not understood ({type(error).__name__})"
                raise ImageError(text, _REMEDY) from None


def _blobs(path: str, files: Dict[str, bytes], scratch: Path) -> List[bytes]:
    """The rows of a database that somebody made whom we do not trust: nothing of it is run but reading one table."""
    place = scratch / "rpmdb.sqlite"
    place.write_bytes(files[path])
    log = place.with_name("rpmdb.sqlite-wal")
    log.unlink(missing_ok=True)
    if files.get(f"{path}-wal"):
        log.write_bytes(files[f"{path}-wal"])
    deadline = time.monotonic() + _MOST_SECONDS
    allowed = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_TRANSACTION)
    try:
        opened = sqlite3.connect(place)
        try:
            opened.set_progress_handler(lambda: time.monotonic() > deadline, 10000)
            opened.execute("PRAGMA trusted_schema=OFF")
            opened.execute("PRAGMA cell_size_check=ON")
            # A view of that name could be anything.
            kinds = opened.execute("SELECT type FROM sqlite_master WHERE name = 'Packages'").fetchall()
            if kinds != [("table",)]:
                raise ImageError(f"{path} has no table of packages", _REMEDY)
            opened.set_authorizer(lambda what, *_rest: sqlite3.SQLITE_OK if what in allowed else sqlite3.SQLITE_DENY)
            return [bytes(row[0]) for row in opened.execute("SELECT blob FROM Packages")]
        finally:
            opened.close()
    except (sqlite3.Error, TypeError) as error:
        raise ImageError(f"{path} cannot be read: {printable(error, 200)}", _REMEDY) from None
    finally:
        for each in scratch.glob("rpmdb.sqlite*"):
            each.unlink()


def _header(blob: bytes) -> Dict[int, Any]:
    """Tag -> value, of the tags that are wanted.

    :raises ValueError: it is none
    """
    entries, size = struct.unpack_from(">II", blob)
    begin = 8 + entries * 16
    if entries > 1 << 16 or begin + size > len(blob):
        raise ValueError("it is longer than it is")
    store = blob[begin : begin + size]
    wanted = (_NAME, _VERSION, _RELEASE, _EPOCH, _SOURCE, _DIRINDEXES, _BASENAMES, _DIRNAMES, _OLDFILES)
    found: Dict[int, Any] = {}
    for number in range(entries):
        tag, kind, offset, count = struct.unpack_from(">iIiI", blob, 8 + number * 16)
        if tag not in wanted:
            continue
        if not 0 <= offset <= size:
            raise ValueError("it points out of itself")
        if kind == _INT32:
            found[tag] = struct.unpack_from(f">{count}i", store, offset)
        elif kind in (_STRING, _TEXT, _ARRAY):
            texts = store[offset:].split(b"\0", count) if count < size else []
            if len(texts) <= count:
                raise ValueError("a text has no end")
            found[tag] = [text.decode("utf-8", "surrogateescape") for text in texts[:count]]
        else:
            raise ValueError("a type is not understood")
    return found


def _package(header: Dict[int, Any], owned: Set[str]) -> Iterator[Tuple[str, str, str]]:
    name = header[_NAME][0]
    if name == "gpg-pubkey":  # a key of the keyring, and no package
        return
    epoch = f"{header[_EPOCH][0]}:" if header.get(_EPOCH) and header[_EPOCH][0] else ""
    version = f"{epoch}{header[_VERSION][0]}-{header[_RELEASE][0]}"
    yield "rpm", name, version
    source = re.fullmatch(r"(.+)-[^-]+-[^-]+\.(?:no)?src\.rpm", (header.get(_SOURCE) or [""])[0])
    if source and source[1] != name:
        # Publishers name either; the source's version differs where it was built with another epoch only.
        yield "rpm", source[1], version
    folders = header.get(_DIRNAMES, [])
    for index, base in zip(header.get(_DIRINDEXES, ()), header.get(_BASENAMES, []), strict=True):
        owned.add(f"{folders[index]}{base}".strip("/"))
    owned |= {path.strip("/") for path in header.get(_OLDFILES, [])}
