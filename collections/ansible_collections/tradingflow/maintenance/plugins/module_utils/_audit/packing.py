# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written for an audit: compressed so that any tool reads it, the same bytes each time, within a limit."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import zlib
from contextlib import suppress
from typing import Any, BinaryIO, Iterator, Tuple

from ..errors import EvidenceError
from ..words import size
from .collected import File

BLOCK = 1024 * 1024
_fast: Any = zlib
_DAMAGED: Tuple[Any, ...] = (zlib.error,)
try:
    # On the controller; several times as fast.
    from isal import isal_zlib

    _fast = isal_zlib
    _DAMAGED = (zlib.error, isal_zlib.error)
except ImportError:
    pass

#: Fast; logs become about a tenth all the same.
LEVEL = 1
#: Of a disk, this share stays free for the host itself.
FREE = 0.05


class Full(EvidenceError):
    """Nothing more may be written."""


class Scratch:
    """A folder to write to, with a limit that all who write share.

    :param limit: bytes
    """

    def __init__(self, folder: str, limit: int) -> None:
        self.folder, self._limit = folder, limit
        self._lock = threading.Lock()
        self._taken = 0
        self._looked = 0

    def take(self, count: int) -> None:
        """Counts what is about to be written.

        :raises Full: it would be too much, or too little would be left of the disk
        """
        with self._lock:
            self._taken += count
            if self._taken > self._limit:
                raise Full(
                    f"What is collected needs more than the {size(self._limit)} that are allowed for it",
                    "Raise max_bytes, or collect a shorter period.",
                )
            if self._taken - self._looked > 64 * BLOCK or not self._looked:
                self._looked = self._taken
                usage = shutil.disk_usage(self.folder)
                if usage.free < usage.total * FREE:
                    raise full(self.folder)

    def give_back(self, count: int) -> None:
        """What was counted is gone again."""
        with self._lock:
            self._taken -= count


def full(folder: str) -> Full:
    """The disk is full."""
    return Full(
        f"The disk of {folder} is nearly full: {FREE:.0%} of it stay free for the host",
        "Free some space, or name a staging folder on another disk.",
    )


class Packed:
    """A file being written; it appears complete or not at all.

    :param path: relative to the scratch folder
    """

    def __init__(self, scratch: Scratch, path: str) -> None:
        self.path, self._scratch = path, scratch
        self._final = os.path.join(scratch.folder, *path.split("/"))
        folder = scratch.folder
        for step in path.split("/")[:-1]:
            folder = os.path.join(folder, step)
            with suppress(FileExistsError):
                os.mkdir(folder, 0o700)
        self._partial = f"{self._final}.partial"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file: BinaryIO = os.fdopen(os.open(self._partial, flags, 0o600), "wb")
        # A header of gzip without name and time.
        self._deflate = _fast.compressobj(LEVEL, zlib.DEFLATED, 31)
        self._digest, self._size = hashlib.sha256(), 0
        self._waiting = bytearray()

    def __enter__(self) -> Packed:
        return self

    def __exit__(self, *_error: Any) -> None:
        """What was not closed is thrown away."""
        if not self._file.closed:
            self._file.close()
            os.unlink(self._partial)
            self._scratch.give_back(self._size)

    def write(self, data: bytes) -> None:
        """Adds data.

        :raises Full: the limit is reached, or the disk is full
        """
        self._waiting += data
        if len(self._waiting) < BLOCK:
            return
        # Always as much: what comes out may depend on it, and not on how a program's output happened to come in.
        whole = len(self._waiting) // BLOCK * BLOCK
        for place in range(0, whole, BLOCK):
            self._put(self._deflate.compress(bytes(self._waiting[place : place + BLOCK])))
        del self._waiting[:whole]

    def close(self, records: int) -> File:
        """Puts the file in place.

        :param records: how many are in it
        """
        self._put(self._deflate.compress(self._waiting) + self._deflate.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._partial, self._final)
        return File(self.path, self._size, self._digest.hexdigest(), records)

    def _put(self, data: bytes) -> None:
        if not data:
            return
        self._scratch.take(len(data))
        self._size += len(data)
        self._digest.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise full(self._scratch.folder) from None
            raise


def digest_of(path: str) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def blocks(path: str) -> Iterator[bytes]:
    """What is in a gzip file of one or more members, in bounded memory.

    :raises EvidenceError: it is damaged or ends early
    """
    try:
        with open(path, "rb") as file:
            inflate = _fast.decompressobj(31)
            data = file.read(BLOCK)
            if not data:
                raise zlib.error("it is empty")
            while data:
                out = inflate.decompress(data, BLOCK)
                if out:
                    yield out
                data = inflate.unconsumed_tail
                if inflate.eof:
                    data = inflate.unused_data or file.read(BLOCK)
                    if data:
                        inflate = _fast.decompressobj(31)
                elif not data:
                    data = file.read(BLOCK)
            if not inflate.eof:
                raise zlib.error("it ends early")
    except _DAMAGED as error:
        raise EvidenceError(f"{os.path.basename(path)} is damaged: {error}", "Collect again.") from None


def lines(path: str) -> int:
    """How many lines a gzip file has, the last one counted also without its line feed.

    :raises EvidenceError: see blocks
    """
    count, last = 0, b"\n"
    for block in blocks(path):
        count += block.count(b"\n")
        last = block[-1:]
    return count + (last != b"\n")
