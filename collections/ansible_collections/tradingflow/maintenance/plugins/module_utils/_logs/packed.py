# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressed logs: by Python where it can, else by the program that made them, where the host has it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import zipfile
import zlib
from contextlib import contextmanager
from typing import Any, BinaryIO, Iterator, Optional

DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError, zipfile.BadZipFile, NotImplementedError)

_MAGIC = (
    ("gzip", b"\x1f\x8b"),
    ("compress", b"\x1f\x9d"),
    ("bzip2", b"BZh"),
    ("xz", b"\xfd7zXZ\0"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("lz4", b"\x04\x22\x4d\x18"),
    ("lz4", b"\x02\x21\x4c\x18"),
    ("lzop", b"\x89LZO"),
    ("lzip", b"LZIP"),
    ("zip", b"PK\x03\x04"),
    ("7z", b"7z\xbc\xaf"),
    ("snappy", b"\xff\x06\0\0sN"),
)
_PROGRAMS = {
    "compress": ["gzip", "-dc"],
    "zstd": ["zstd", "-dcq"],
    "lz4": ["lz4", "-dcq"],
    "lzop": ["lzop", "-dcq"],
    "lzip": ["lzip", "-dcq"],
}


def magic(file: BinaryIO) -> str:
    """How a file is compressed, by its first bytes; plain when it is not."""
    file.seek(0)
    head = file.read(6)
    file.seek(0)
    return next((kind for kind, begin in _MAGIC if head.startswith(begin)), "plain")


@contextmanager
def unpacked(kind: str, file: BinaryIO) -> Iterator[Optional[Any]]:
    """What is in a compressed file, as a stream; None when it cannot be read on this host.

    :raises OSError: or another of DAMAGED, also at its end
    """
    file.seek(0)
    if kind == "gzip":
        with gzip.GzipFile(fileobj=file) as inner:
            yield io.BufferedReader(inner)  # type: ignore[arg-type]
    elif kind == "bzip2":
        with bz2.BZ2File(file) as inner:
            yield io.BufferedReader(inner)  # type: ignore[arg-type]
    elif kind == "xz":
        with lzma.LZMAFile(file) as inner:
            yield io.BufferedReader(inner)  # type: ignore[arg-type]
    elif kind == "zip":
        with zipfile.ZipFile(file) as archive:
            members = [each for each in archive.infolist() if not each.is_dir()]
            if len(members) != 1:
                yield None
                return
            with archive.open(members[0]) as inner:
                yield inner
    else:
        command = _PROGRAMS.get(kind, [])
        if not command or not shutil.which(command[0]):
            yield None
            return
        with _running(command, file) as stream:
            yield stream


@contextmanager
def _running(command: "list[str]", file: BinaryIO) -> Iterator[Any]:
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    process = subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stream: Any = process.stdout
    try:
        yield stream
        if not stream.read(1) and process.wait():
            raise OSError(f"{command[0]} failed")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        stream.close()
