# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""COPY's text format made in bulk: each column is a matrix of bytes, a row of it one field padded with zero bytes.

The zero bytes fall out when the columns are joined, so fields may be of any length up to their column's width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
#: Makes the field matrix of the rows in a slice.
Column = Callable[[slice], Bytes]

ROWS_AT_ONCE = 32768
_FOUR_DIGITS: Bytes = np.frombuffer("".join(f"{n:04d}" for n in range(10000)).encode(), np.uint8).reshape(10000, 4)
_DAY = 86_400_000_000


def _digits(values: Ints, width: int) -> Bytes:
    """Non-negative integers, padded with zeros to a width."""
    groups = -(-width // 4)
    out = np.empty((len(values), groups * 4), np.uint8)
    rest = values
    for group in range(groups - 1, -1, -1):
        rest, part = np.divmod(rest, 10000)
        out[:, group * 4 : group * 4 + 4] = _FOUR_DIGITS[part]
    return out[:, groups * 4 - width :]


def _width(values: Ints) -> int:
    return len(str(int(np.abs(values).max(initial=0))))


def _null(field: Bytes, missing: Bools) -> Bytes:
    field = np.pad(field, ((0, 0), (0, max(0, 2 - field.shape[1]))))
    field[missing] = 0
    field[missing, :2] = np.frombuffer(rb"\N", np.uint8)
    return field


def integer(values: Ints, prefix: str = "", width: int = 0, missing: Bools | None = None) -> Column:
    """Non-negative integers; with a prefix and a width, codes such as TF-000042."""
    width = max(width, _width(values))
    lead = np.frombuffer(prefix.encode(), np.uint8)

    def make(rows: slice) -> Bytes:
        digits = _digits(values[rows], width)
        field = np.hstack([np.broadcast_to(lead, (len(digits), len(lead))), digits])
        return field if missing is None else _null(field, missing[rows])

    return make


def decimal(values: Ints, scale: int, missing: Bools | None = None) -> Column:
    """Integers as decimals with a number of places."""
    width = max(_width(values), scale + 1)

    def make(rows: slice) -> Bytes:
        part = values[rows]
        digits = _digits(np.abs(part), width)
        field = np.empty((len(part), width + 2), np.uint8)
        field[:, 0] = np.where(part < 0, ord("-"), 0)
        field[:, 1 : width - scale + 1] = digits[:, : width - scale]
        field[:, width - scale + 1] = ord(".")
        field[:, width - scale + 2 :] = digits[:, width - scale :]
        return field if missing is None else _null(field, missing[rows])

    return make


def timestamp(values: Ints, missing: Bools | None = None) -> Column:
    """Microseconds since 1970, as UTC without an offset: the session's time zone must be UTC."""
    first = int(values.min(initial=2**62) // _DAY) if len(values) else 0
    last = int(values.max(initial=0) // _DAY) if len(values) else 0
    days = np.datetime_as_string(np.arange(first, last + 1).astype("datetime64[D]")).astype("S10")
    table = days.view(np.uint8).reshape(-1, 10)

    def make(rows: slice) -> Bytes:
        day, rest = np.divmod(values[rows], _DAY)
        second, micro = np.divmod(rest, 1_000_000)
        minute, second = np.divmod(second, 60)
        hour, minute = np.divmod(minute, 60)
        field = np.empty((len(day), 26), np.uint8)
        field[:, :10] = table[day - first]
        field[:, [10, 13, 16, 19]] = np.frombuffer(b"T::.", np.uint8)
        for start, part in ((11, hour), (14, minute), (17, second)):
            field[:, start : start + 2] = _FOUR_DIGITS[part][:, 2:]
        field[:, 20:] = _digits(micro, 6)
        return field if missing is None else _null(field, missing[rows])

    return make


def joined(columns: Sequence[Column], missing: Bools | None = None) -> Column:
    """Several fields as one."""

    def make(rows: slice) -> Bytes:
        field = np.hstack([column(rows) for column in columns])
        return field if missing is None else _null(field, missing[rows])

    return make


def escape(value: Any) -> bytes:
    """One value as a field of COPY's text format."""
    if value is None:
        return rb"\N"
    text = str(value)
    for character, code in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, code)
    return text.encode()


def choice(codes: NDArray[Any], values: Sequence[Any]) -> Column:
    """For each row one of few values, by number; None is NULL."""
    fields = [escape(value) for value in values]
    table = np.array(fields, dtype=f"S{max(map(len, fields), default=1)}")
    matrix = table.view(np.uint8).reshape(len(fields), -1)
    return lambda rows: matrix[codes[rows]]


def constant(value: Any, count: int) -> Column:
    """The same value in each row."""
    return choice(np.zeros(count, np.int8), [value])


def lines(columns: Sequence[Column], count: int) -> Iterator[bytes]:
    """The rows as COPY wants them, in chunks."""
    for start in range(0, count, ROWS_AT_ONCE):
        rows = slice(start, min(start + ROWS_AT_ONCE, count))
        pieces: list[Bytes] = []
        for column in columns:
            pieces += [column(rows), np.full((rows.stop - rows.start, 1), ord("\t"), np.uint8)]
        pieces[-1][:] = ord("\n")
        flat = np.hstack(pieces).ravel()
        yield flat[flat != 0].tobytes()


def plain(rows: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    """Few rows of any values as COPY wants them."""
    yield b"".join(b"\t".join(map(escape, row)) + b"\n" for row in rows)
