# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the rows in a dump's data without a database: in COPY's text format every row is one line."""

from __future__ import annotations

import gzip
import re
import zlib
from typing import Any, Optional, Tuple, Type

try:
    from isal import igzip, isal_zlib
except ImportError:
    igzip = isal_zlib = None  # type: ignore[assignment]

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

_BROKEN: Tuple[Type[Exception], ...] = (EOFError, zlib.error, gzip.BadGzipFile)
if isal_zlib is not None:
    _BROKEN = (*_BROKEN, isal_zlib.error)  # type: ignore[arg-type]
if zstandard is not None:
    _BROKEN = (*_BROKEN, zstandard.ZstdError)

#: What pg_dump writes after the last row.
END = b"\\.\n\n\n"
_DATA = re.compile(r"(\d+\.dat)(?:\.(gz|zst))?")
_CHUNK = 1 << 20


def table_data(name: str) -> Optional[str]:
    """Name without its compression's suffix, of a file with a table's rows that can be read here; else None."""
    match = _DATA.fullmatch(name)
    if not match or (match[2] == "zst" and zstandard is None):
        return None
    return match[1]


def count(name: str, body: Any) -> int:
    """Rows in a table's data; the body is read to its end.

    :param name: of the file, as table_data knows it
    :param body: has read(size)
    :raises ValueError: it does not decompress, or ends early
    """
    source: Any = body
    if name.endswith(".gz"):
        source = (igzip or gzip).open(body, "rb")
    elif name.endswith(".zst"):
        source = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True)
    lines, end = 0, b""
    try:
        while True:
            data = source.read(_CHUNK)
            if not data:
                break
            lines += data.count(b"\n")
            end = (end + data)[-len(END) :]
    except _BROKEN as error:
        raise ValueError(f"it does not decompress ({error})") from None
    if end != END:
        raise ValueError("its rows end early")
    return lines - END.count(b"\n")
