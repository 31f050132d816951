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
from typing import Iterator, Optional, Tuple

from ..errors import EvidenceError
from .journal_files import HEADER

_FLAGS, _ENTRIES, _ARRAYS = 2, 16, 19
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
        data = os.pread(descriptor, HEADER.size, 0)
        if len(data) < HEADER.size:
            raise EvidenceError("its header is gone")
        header = HEADER.unpack(data)
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
    while left:
        if offset <= before:
            raise _damaged(f"{left} of {entries} entries are in no list")
        head = os.pread(descriptor, _ARRAY.size, offset)
        kind, size, following = _ARRAY.unpack(head) if len(head) == _ARRAY.size else (0, 0, 0)
        room = (size - _ARRAY.size) // width
        if kind != _ENTRY_ARRAY or room < 1:
            raise _damaged("a list of entries is none")
        place, room = offset + _ARRAY.size, min(room, left)
        left -= room
        while room:
            items = array("I" if compact else "Q")
            wanted = min(room, _ITEMS)
            data = os.pread(descriptor, wanted * width, place)
            if len(data) < wanted * width:
                raise _damaged("a list of entries goes beyond the file's end")
            items.frombytes(data)
            if sys.byteorder == "big":
                items.byteswap()
            yield items
            room, place = room - wanted, place + wanted * width
        before, offset = offset, following


def _damaged(text: str) -> EvidenceError:
    return EvidenceError(f"its index of entries is damaged: {text}")
