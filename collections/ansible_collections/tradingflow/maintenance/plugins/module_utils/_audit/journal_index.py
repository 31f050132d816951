# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A second count of a journal file's entries, by its own index and without journalctl: its chain of entry arrays.

See systemd's JOURNAL_FILE_FORMAT. What is read is not mapped into memory: a file may be truncated meanwhile.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from array import array
from typing import Any, Iterator, Optional, Tuple

from ..errors import EvidenceError
from .journal_files import HEADER

_FLAGS, _STATE, _ENTRIES, _TAIL_NUMBER, _ARRAYS = 2, 3, 16, 17, 19
#: Of a file that is written, or was when its machine stopped.
_ONLINE = 1
#: So often the header is read again while an entry may be written; and s between.
_TRIES, _WAIT = 5, 0.05
#: Compression by XZ, LZ4 and ZSTD, keyed hashes, and the compact form.
_KNOWN, _COMPACT = 0b11111, 0b10000
_ENTRY, _ENTRY_ARRAY = 3, 6
#: Of an object: type and size; of an array also where the next one is, of an entry also its number and time.
_ARRAY = struct.Struct("<B7xQQ")
_OBJECT = struct.Struct("<B7xQQQ")
#: Without what it consists of.
_SMALLEST = 64
#: Items of an array that are read together, and bytes of the file.
_ITEMS, _WINDOW = 32 * 1024, 256 * 1024


def counted(path: str, inode: Tuple[int, int], begin: int, end: int, timeout: float) -> Optional[Tuple[int, int]]:
    """How many entries of a file are of a time, and how many fields they have together.

    journalctl leaves out a field that it cannot read, or that is compressed in a way that it does not know, and ends
    with 0 all the same.

    :param begin: in us since 1970
    :param end: belongs to it no more
    :param timeout: seconds
    :returns: None for a file of a form that is not known here
    :raises EvidenceError: its index is damaged, it is another file by now, or it takes too long
    """
    late = time.monotonic() + timeout
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise EvidenceError(f"its index cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != inode:
            raise EvidenceError("it was rotated while it was read")
        header = _header(descriptor)
        if header[_FLAGS] & ~_KNOWN:
            return None
        compact = bool(header[_FLAGS] & _COMPACT)
        count = last = base = together = 0
        window = b""
        for items in _arrays(descriptor, header[_ARRAYS], header[_ENTRIES], compact):
            if time.monotonic() > late:
                raise EvidenceError(f"its index could not be read in {timeout:.0f} s", "Raise timeout.")
            for offset in items:
                place = offset - base
                if not 0 <= place <= len(window) - _OBJECT.size:
                    window, base, place = os.pread(descriptor, _WINDOW, offset), offset, 0
                    if len(window) < _OBJECT.size:
                        raise _damaged("it names an entry behind the file's end")
                kind, size, number, at = _OBJECT.unpack_from(window, place)
                if kind != _ENTRY or size < _SMALLEST or number <= last:
                    raise _damaged("what it names is no entry, or not the next one")
                last = number
                if begin <= at < end:
                    count += 1
                    together += size - _SMALLEST
        _last_as_by(descriptor, header, last)
        return count, together // (4 if compact else 16)
    except OverflowError:
        raise _damaged("it names a place that no file has") from None
    except OSError as error:
        raise EvidenceError(f"its index cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _arrays(descriptor: int, offset: int, entries: int, compact: bool) -> Iterator[array[int]]:
    """Where the entries are, in order.

    :param offset: of the first array, 0 for none
    :param entries: how many there are by the header
    """
    width = 4 if compact else 8
    left, before = entries, 0
    place = rest = 0
    while left:
        if offset <= before:
            raise _damaged(f"{left} of {entries} entries are in no list")
        head = os.pread(descriptor, _ARRAY.size, offset)
        kind, size, following = _ARRAY.unpack(head) if len(head) == _ARRAY.size else (0, 0, 0)
        room = (size - _ARRAY.size) // width
        if kind != _ENTRY_ARRAY or room < 1:
            raise _damaged("a list of entries is none")
        place, rest, room = offset + _ARRAY.size, room - min(room, left), min(room, left)
        left -= room
        while room:
            wanted = min(room, _ITEMS)
            yield _items(descriptor, place, wanted, compact)
            room, place = room - wanted, place + wanted * width
        before, offset = offset, following
    more, all_of_it = 0, rest
    while rest:
        wanted = min(rest, _ITEMS)
        items = _items(descriptor, place, wanted, compact)
        more += wanted - items.count(0)
        rest, place = rest - wanted, place + wanted * width
    if more or offset:
        _more(descriptor, entries, max(more, all_of_it + 1 if offset else 0))


def _items(descriptor: int, place: int, count: int, compact: bool) -> array[int]:
    items = array("I" if compact else "Q")
    data = os.pread(descriptor, count * items.itemsize, place)
    if len(data) < count * items.itemsize:
        raise _damaged("a list of entries goes beyond the file's end")
    items.frombytes(data)
    if sys.byteorder == "big":
        items.byteswap()
    return items


def _header(descriptor: int) -> Tuple[Any, ...]:
    data = os.pread(descriptor, HEADER.size, 0)
    if len(data) < HEADER.size:
        raise EvidenceError("its header is gone")
    return HEADER.unpack(data)


def _more(descriptor: int, entries: int, more: int) -> None:
    """Entries that the header did not count: they may have been written meanwhile, and then it counts them by now.

    :raises EvidenceError: it does not, and journalctl shows them as little
    """
    for attempt in range(_TRIES):
        header = _header(descriptor)
        if header[_ENTRIES] - entries >= more:
            return
        # An entry is in its list right before it is counted.
        if header[_STATE] != _ONLINE or attempt == _TRIES - 1:
            raise _damaged(f"there are entries beyond the {entries} of its header")
        time.sleep(_WAIT)


def _last_as_by(descriptor: int, header: Tuple[Any, ...], last: int) -> None:
    """Whether the last entry is the one that the header says.

    While a file is written, a number is given before its entry is in the list; and a new file has that of the file
    before it until it has an entry.

    :raises EvidenceError: it is another
    """
    tail = header[_TAIL_NUMBER]
    if not last or last == tail or (last < tail and header[_STATE] == _ONLINE):
        return
    now = _header(descriptor)
    if last < tail and (now[_STATE] == _ONLINE or now[_ENTRIES] != header[_ENTRIES]):
        return
    raise _damaged(f"its last entry is {last}, and {tail} by its header")


def _damaged(text: str) -> EvidenceError:
    return EvidenceError(f"its index of entries is damaged: {text}")
