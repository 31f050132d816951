# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records of the write-ahead log that tell times, and databases that were dropped, read from whole segments.

By PostgreSQL's own layout (xlog_internal.h, xlogrecord.h, xact.h, pg_control.h), which is the same from 13 to 18: what
pg_waldump prints carries names that users chose, with line breaks, and is not installed everywhere.
"""

from __future__ import annotations

import struct
from datetime import datetime, timedelta, timezone
from typing import Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ..errors import RestoreError

#: Number of a page's format -> major version.
_VERSIONS = {0xD106: 13, 0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18}
_PAGE = struct.Struct("<HHIQI")
_LONG = struct.Struct("<QII")
_RECORD = struct.Struct("<IIQBBxxI")
_CONTINUES, _LONG_HEADER = 0x0001, 0x0002
_XLOG, _TRANSACTION, _DATABASE, _HEAP = 0, 1, 4, 10
_IN_PLACE = 0x70
_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)

#: What a record is.
COMMIT, ABORT, BEGINNING, DROPPED = "commit", "abort", "beginning", "dropped database"
_ENDS = {0x00: COMMIT, 0x20: ABORT, 0x30: COMMIT, 0x40: ABORT}
_SHUTDOWN_CHECKPOINT, _END_OF_RECOVERY = 0x00, 0x90


class Record(NamedTuple):
    """One record.

    :param place: where it begins, in bytes
    :param kind: COMMIT or ABORT of a transaction, BEGINNING of a timeline, or DROPPED database
    :param at: when, by the server's clock; of a checkpoint to the second, rounded up. None of a dropped database
    :param database: number of the one that was dropped
    """

    place: int
    kind: str
    at: Optional[datetime]
    database: int = 0


def segment_size(body: bytes) -> int:
    """Bytes of a segment, as its first page says."""
    return int(_header(body)[1])


def read(body: bytes, start: int = 0) -> Iterator[Record]:
    """The records of a segment that are of interest, in order; one that goes on in the next segment is left out.

    :param start: what begins before is left out, in bytes of the log
    :raises RestoreError: this is no segment that we know
    """
    version = _header(body)[0]
    for place, _xid, manager, info, record in _all(body):
        if manager in (_XLOG, _TRANSACTION, _DATABASE) and place >= start:
            found = _known(version, manager, info, place, record)
            if found:
                yield found


def drop_began(segments: Iterable[bytes], database: int, end: int) -> Optional[Tuple[int, int]]:
    """Where to stop so that a database is still whole that was being dropped.

    DROP DATABASE marks it, waits for a checkpoint, removes its files, and only then commits: a recovery that stops
    before the commit stops after the files are gone.

    :param segments: of one timeline, newest first
    :param end: where the recovery stopped, in bytes; what begins later is left out
    :returns: the place of the last record before that transaction, and how many others ended between it and the end;
        None when nothing of it is found
    """
    found: List[Tuple[int, int, bool, bool]] = []
    dropping: Optional[int] = None
    for body in segments:
        version, more = _header(body)[0], []
        for place, xid, manager, info, record in _all(body):
            if place >= end:
                break
            known = _known(version, manager, info, place, record) if manager in (_TRANSACTION, _DATABASE) else None
            if known and known.kind == DROPPED and known.database == database:
                dropping = xid
            marks = manager == _HEAP and info & 0x70 == _IN_PLACE
            more.append((place, xid, marks, bool(known and known.kind != DROPPED)))
        found = more + found
        first = next((at for at, each in enumerate(found) if each[1] == dropping), 0)
        if dropping is not None and first:
            marked = [at for at in range(first) if found[at][2]][-1:]
            # That it is marked may stand before its first record; nobody may have ended in between.
            if marked and not any(each[3] for each in found[marked[0] : first]):
                first = marked[0]
            if first:
                return found[first - 1][0], sum(each[3] for each in found[first:])
    return None


def _all(body: bytes) -> Iterator[Tuple[int, int, int, int, bytes]]:
    """Place, transaction, resource manager, kind and bytes of all whole records of a segment."""
    _version, size, page, first = _header(body)
    stream, at = _stripped(body, page, first, size)
    before: Optional[int] = None
    while at + _RECORD.size <= len(stream):
        length, xid, previous, info, manager, _checksum = _RECORD.unpack_from(stream, at)
        place = first + _unstripped(at, page)
        if length < _RECORD.size or at + length > len(stream) or previous != (previous if before is None else before):
            # The end of what was written, or a record that the next segment ends.
            return
        yield place, xid, manager, info, stream[at : at + length]
        before, at = place, at + ((length + 7) & ~7)


def _header(body: bytes) -> Tuple[int, int, int, int]:
    """Version, bytes of a segment and of a page, and the first page's place in the log."""
    if len(body) < 40:
        raise _unknown("it is too short")
    magic, info, _timeline, place, _rest = _PAGE.unpack_from(body, 0)
    _system, size, page = _LONG.unpack_from(body, 24)
    if magic not in _VERSIONS or not info & _LONG_HEADER or size != len(body) or page < 512 or size % page:
        raise _unknown(f"its first page has the format {magic:04X}")
    return _VERSIONS[magic], size, page, place


def _unknown(why: str) -> RestoreError:
    return RestoreError(
        f"A segment of the archived WAL cannot be read: {why}.",
        "Name the timeline yourself (restore_target_timeline): which one the target is on is not known from the WAL.",
    )


def _stripped(body: bytes, page: int, first: int, size: int) -> Tuple[bytes, int]:
    """The segment without its pages' headers, up to its first unused page, and where its first record begins in it."""
    parts: List[bytes] = [body[40:page]]
    _magic, info, _line, _place, rest = _PAGE.unpack_from(body, 0)
    # What the segment before began comes first.
    begins = (rest + 7) & ~7 if info & _CONTINUES else 0
    for at in range(page, size, page):
        magic, _info, _line, place, _rest = _PAGE.unpack_from(body, at)
        # A segment that is used again has pages of an older place behind its end.
        if magic not in _VERSIONS or place != first + at:
            break
        parts.append(body[at + 24 : at + page])
    return b"".join(parts), begins


def _unstripped(at: int, page: int) -> int:
    """Offset in the segment of an offset in what was stripped."""
    if at < page - 40:
        return at + 40
    pages, within = divmod(at - (page - 40), page - 24)
    return (pages + 1) * page + 24 + within


def _known(version: int, manager: int, info: int, place: int, record: bytes) -> Optional[Record]:
    if manager == _TRANSACTION:
        kind = _ENDS.get(info & 0x70)
        data = _data(record) if kind else b""
        return Record(place, str(kind), _time(data)) if len(data) >= 8 else None
    what = info & 0xF0
    if manager == _DATABASE:
        data = _data(record) if what == (0x20 if version >= 15 else 0x10) else b""
        return Record(place, DROPPED, None, struct.unpack_from("<I", data)[0]) if len(data) >= 4 else None
    data = _data(record) if what in (_SHUTDOWN_CHECKPOINT, _END_OF_RECOVERY) else b""
    if what == _END_OF_RECOVERY and len(data) >= 8:
        return Record(place, BEGINNING, _time(data))
    if what == _SHUTDOWN_CHECKPOINT and len(data) >= 72:
        # The one that begins a timeline names the timeline before it.
        this, before = struct.unpack_from("<II", data, 8)
        if this != before:
            (seconds,) = struct.unpack_from("<q", data, 64)
            return Record(place, BEGINNING, datetime.fromtimestamp(seconds + 1, timezone.utc))
    return None


def _time(data: bytes) -> datetime:
    return _EPOCH + timedelta(microseconds=struct.unpack_from("<q", data)[0])


def _data(record: bytes) -> bytes:
    """A record's own data; none where blocks come with it, which what we read never has."""
    at = _RECORD.size
    while at < len(record):
        mark = record[at]
        if mark == 253:
            at += 3
        elif mark == 252:
            at += 5
        elif mark == 255 and at + 2 <= len(record):
            return record[at + 2 : at + 2 + record[at + 1]]
        elif mark == 254 and at + 5 <= len(record):
            return record[at + 5 : at + 5 + struct.unpack_from("<I", record, at + 1)[0]]
        else:
            return b""
    return b""
