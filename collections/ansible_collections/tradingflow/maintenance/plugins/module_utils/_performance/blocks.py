# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths of returns by their blocks: what a block of a few weeks does is looked up, instead of drawn day by day.

Stationary bootstrap (Politis and Romano 1994): blocks begin anywhere, last a geometric number of periods, and go around
at the end. The draws are the same in every run, and for every series of as many returns.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Iterator, Tuple

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: A block lasts at most so many times as long as on average: one in three thousand would be longer.
LONGEST = 8
#: Paths that are in memory at once.
AT_ONCE = 500
SEED = 20260301


def block(count: int) -> int:
    """Periods of a block on average, of so many returns."""
    return max(1, math.ceil(math.pow(count, 1 / 3) - 0.5))


@lru_cache(maxsize=8)
def _uniform(rows: int, paths: int) -> "Tuple[Any, Any]":
    """What decides where blocks begin and how long they are: a row per block, of all paths."""
    random = np.random.Generator(np.random.PCG64(SEED))
    drawn = random.random((rows, 2, paths))
    return drawn[:, 0], drawn[:, 1]


@lru_cache(maxsize=32)
def _lengths(mean: int, longest: int, periods: int, paths: int) -> "Tuple[Any, Any, Any]":
    """Blocks of each path until it has its periods: uniform draws of where they begin, lengths, and periods before."""
    rows = math.ceil(periods / mean + 6 * math.sqrt(periods / mean) + 8)
    while True:
        begins, lasts = _uniform(rows, paths)
        if mean == 1:
            lengths = np.ones(lasts.shape, dtype=np.int64)
        else:
            # Geometric: how often a draw goes on with a chance of 1 - 1 / mean.
            lengths = np.minimum(1 + (np.log1p(-lasts) / math.log1p(-1 / mean)).astype(np.int64), longest)
        after = lengths.cumsum(axis=0)
        if int(after[-1].min()) >= periods:
            break
        rows *= 2
    before = after - lengths
    # The last one ends with the path; of what comes after it there is nothing.
    lengths = np.clip(periods - before, 0, lengths)
    used = int((lengths.max(axis=1) > 0).sum())
    return begins[:used], lengths[:used], before[:used]


class Blocks:
    """Blocks of some paths over a series.

    :ivar starts: place where each block begins, in the series; a row per block, a column per path
    :ivar lengths: periods, 0 once the path is over
    :ivar before: periods of the path before it
    """

    def __init__(self, count: int, periods: int, paths: int) -> None:
        mean = block(count)
        self.count, self.periods, self.paths = count, periods, paths
        self.longest = min(max(count, 1), LONGEST * mean)
        begins, self.lengths, self.before = _lengths(mean, self.longest, periods, paths)
        self.starts = (begins * count).astype(np.int64)

    def parts(self) -> "Iterator[Blocks]":
        """The same, some paths at a time."""
        for first in range(0, self.paths, AT_ONCE):
            part = object.__new__(Blocks)
            which = slice(first, first + AT_ONCE)
            part.count, part.periods, part.longest = self.count, self.periods, self.longest
            part.starts, part.lengths = self.starts[:, which], self.lengths[:, which]
            part.before, part.paths = self.before[:, which], self.starts[:, which].shape[1]
            yield part

    def around(self, values: Any) -> Any:
        """A series, and again from its beginning as far as a block may reach."""
        return np.concatenate((values, values[: self.longest]))

    def sums(self, values: Any) -> Any:
        """What each block adds up to."""
        total = np.concatenate(([0.0], self.around(values).cumsum()))
        return total.take(self.starts + self.lengths, mode="clip") - total.take(self.starts, mode="clip")

    def counts(self) -> Any:
        """How often each period of the series is in each path: a row per path."""
        width = self.count + self.longest + 1
        row = np.arange(self.paths) * width
        size = self.paths * width
        found = np.bincount((self.starts + row).ravel(), minlength=size).astype(np.int64)
        found -= np.bincount((self.starts + self.lengths + row).ravel(), minlength=size)
        found = found.reshape(self.paths, width).cumsum(axis=1)
        result = found[:, : self.count].copy()
        result[:, : self.longest] += found[:, self.count : self.count + self.longest]
        return result.astype(float)

    def places(self) -> Any:
        """Every period of every path, as places in the series: a row per path. What the rest is a short way for."""
        found = np.zeros((self.paths, self.periods), dtype=np.int64)
        for path in range(self.paths):
            drawn = [
                (start + np.arange(length)) % self.count
                for start, length in zip(self.starts[:, path].tolist(), self.lengths[:, path].tolist(), strict=True)
            ]
            found[path] = np.concatenate(drawn)
        return found


@lru_cache(maxsize=2)
def blocks_of(count: int, periods: int, paths: int) -> "Blocks":
    """The blocks of all series of as many returns."""
    return Blocks(count, periods, paths)


@lru_cache(maxsize=2)
def counts_of(count: int, periods: int, paths: int) -> Any:
    """How often each period is in each path, for all series of as many returns."""
    return blocks_of(count, periods, paths).counts()


def deepest(growth: Any, blocks: Blocks) -> Any:
    """The deepest drawdown of each path, 0 or less.

    :param growth: logarithms of 1 and the return of each period
    """
    highest, lowest, inner = _table(growth, blocks)
    found = []
    for part in blocks.parts():
        place = part.lengths * blocks.count + part.starts
        begin, peak = _begin(part.sums(growth), highest.take(place, mode="clip"))
        depth = np.minimum(begin + lowest.take(place, mode="clip") - peak, inner.take(place, mode="clip"))
        found.append(np.minimum(depth.min(axis=0), 0))
    return np.expm1(np.concatenate(found))


def _table(growth: Any, blocks: Blocks) -> "Tuple[Any, Any, Any]":
    """Of a block from each place and of each length: highest and lowest level in it, and deepest fall within it."""
    count, rows = blocks.count, int(blocks.lengths.max()) + 1
    total = np.concatenate(([0.0], blocks.around(growth).cumsum()))
    begin = total[:count]
    highest = np.full((rows, count), -np.inf)
    lowest, inner = np.full((rows, count), np.inf), np.zeros((rows, count))
    for length in range(1, rows):
        level = total[length : length + count] - begin
        np.maximum(highest[length - 1], level, out=highest[length])
        np.minimum(lowest[length - 1], level, out=lowest[length])
        np.minimum(inner[length - 1], level - highest[length], out=inner[length])
    return highest, lowest, inner


def _begin(sums: Any, highest: Any) -> "Tuple[Any, Any]":
    """Level at the beginning of each block, and the highest one before it; a path begins at 1, whose logarithm is 0."""
    begin, peak = np.zeros(sums.shape), np.zeros(sums.shape)
    np.cumsum(sums[:-1], axis=0, out=begin[1:])
    np.maximum.accumulate(begin[:-1] + highest[:-1], axis=0, out=peak[1:])
    return begin, np.maximum(peak, 0.0, out=peak)


def last_drawdown(growth: Any, blocks: Blocks) -> "Tuple[Any, Any]":
    """How far below its peak each path ends, and how many periods ago that was: all of them where it never was at one.

    :param growth: logarithms of 1 and the return of each period
    """
    highest, last = _highest(growth, blocks)
    depths, ago = [], []
    for part in blocks.parts():
        place = part.lengths * blocks.count + part.starts
        sums, top = part.sums(growth), highest.take(place, mode="clip")
        begin, peak = _begin(sums, top)
        reached = (begin + top >= peak) & (part.lengths > 0)
        # The last block that is at a peak, and where in it.
        row = len(reached) - 1 - reached[::-1].argmax(axis=0)
        path = np.arange(part.paths)
        at = part.before[row, path] + last.take(place[row, path])
        ago.append(np.where(reached.any(axis=0), part.periods - at, part.periods))
        depths.append((begin[-1] + sums[-1]) - np.maximum(np.maximum((begin + top).max(axis=0), 0.0), 0.0))
    return np.expm1(np.minimum(np.concatenate(depths), 0)), np.concatenate(ago)


def _highest(growth: Any, blocks: Blocks) -> "Tuple[Any, Any]":
    """Of a block from each place and of each length: its highest level, and the last period that has it (from 1 on)."""
    count, rows = blocks.count, int(blocks.lengths.max()) + 1
    total = np.concatenate(([0.0], blocks.around(growth).cumsum()))
    begin = total[:count]
    highest, last = np.full((rows, count), -np.inf), np.zeros((rows, count), dtype=np.int32)
    for length in range(1, rows):
        level = total[length : length + count] - begin
        np.copyto(last[length], np.where(level >= highest[length - 1], length, last[length - 1]))
        np.maximum(highest[length - 1], level, out=highest[length])
    return highest, last
