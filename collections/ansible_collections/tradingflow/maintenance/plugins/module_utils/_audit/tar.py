# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bundle's archive: the same files give the same bytes, and a reader can tell every byte that must be in it."""

from __future__ import annotations

from typing import BinaryIO, Callable, Iterable, Tuple

CHUNK = 1 << 20


def head(name: str, size: int, mtime: int) -> bytes:
    """What stands before a file: a ustar header, before it a pax header where the name is too long for it."""
    short, prefix = name.encode("ascii"), b""
    if len(short) > 100:
        cut = short.rfind(b"/", 0, 156)
        prefix, short = (short[:cut], short[cut + 1 :]) if cut > 0 else (b"", short)
    if len(short) <= 100:
        return _header(short, prefix, size, mtime, b"0")
    record = b" path=" + name.encode("ascii") + b"\n"
    count = len(record) + len(str(len(record)))
    # The count counts its own digits.
    count = len(record) + len(str(count))
    record = str(count).encode() + record
    return (
        _header(b"././@PaxHeader", b"", len(record), mtime, b"x")
        + record
        + bytes(-len(record) % 512)
        + _header(name.encode("ascii")[:100], b"", size, mtime, b"0")
    )


def _header(name: bytes, prefix: bytes, size: int, mtime: int, kind: bytes) -> bytes:
    """Mode 0644, user and group 0."""
    number = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    parts = (name.ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", number, b"%011o\0" % mtime)
    data = b"".join(parts) + b" " * 8 + kind + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
    data = (data + prefix.ljust(155, b"\0")).ljust(512, b"\0")
    return data[:148] + b"%06o\0 " % sum(data) + data[156:]


def write(
    entries: Iterable[Tuple[str, int, Callable[[], BinaryIO]]], mtime: int, out: Callable[[bytes], object]
) -> int:
    """Writes the archive in the order of its entries.

    :param entries: name, size and how to open each
    :param mtime: of all of them
    :param out: takes bytes
    :returns: how many bytes it has
    :raises ValueError: a file has another size than was said
    """
    total = 0
    for name, size, opened in entries:
        first = head(name, size, mtime)
        out(first)
        done = 0
        with opened() as stream:
            while data := stream.read(CHUNK):
                out(data)
                done += len(data)
        if done != size:
            raise ValueError(f"{name} has {done} bytes instead of {size}")
        out(bytes(-size % 512))
        total += len(first) + size + -size % 512
    out(bytes(1024))
    return total + 1024
