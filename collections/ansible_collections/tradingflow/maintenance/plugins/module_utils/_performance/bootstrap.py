# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths drawn from a series' own returns: stationary bootstrap (Politis and Romano 1994), the same in every run."""

from __future__ import annotations

import hashlib
import math
from typing import Any, Dict, Iterator, List, Optional, Sequence

from .ratios import series

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: Paths of an interval, and those that are in memory at once.
PATHS, AT_ONCE = 400, 200


def block(count: int) -> int:
    """Periods of a block on average, of so many returns."""
    return max(1, math.ceil(math.pow(count, 1 / 3) - 0.5))


def paths_of(pool: Any, periods: int, paths: int, name: str) -> Iterator[Any]:
    """Paths of returns, some at a time: a row each. The same for the same name and pool."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    random = np.random.Generator(np.random.PCG64(seed))
    count = len(pool)
    steps = np.arange(periods)
    for first in range(0, paths, AT_ONCE):
        shape = (min(AT_ONCE, paths - first), periods)
        starts = random.integers(count, size=shape)
        anew = random.random(shape) < 1 / block(count)
        anew[:, 0] = True
        # Where the block of each period began; from there it goes on, and around at the end.
        began = np.maximum.accumulate(np.where(anew, steps, 0), axis=1)
        yield pool[(np.take_along_axis(starts, began, axis=1) + steps - began) % count]


def depths_of(drawn: Any) -> Any:
    """How far below its peak each path is after each period; it begins at one."""
    level = np.cumprod(1 + drawn, axis=1)
    return level / np.maximum(np.maximum.accumulate(level, axis=1), 1.0) - 1


#: Lower and upper end; None where it has none.
Interval = List[Optional[float]]


def intervals(
    values: Sequence[float], name: str, target: float, confidence: float, per_year: Optional[int] = None
) -> Dict[str, Interval]:
    """[block-interval] Of Sortino, Omega, the deviation and the deepest drawdown: what so many of the paths have.

    :param per_year: periods of a year; with as many values, and not fewer, also of Calmar
    """
    array = series(values)
    parts: Dict[str, List[Any]] = {"sortino": [], "omega": [], "volatility": [], "maximum_drawdown": []}
    if per_year and len(array) >= per_year:
        parts["calmar"] = []
    for drawn in paths_of(array, len(array), PATHS, name):
        apart = drawn - target
        gains, losses = np.maximum(apart, 0), np.maximum(-apart, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts["sortino"].append(apart.mean(axis=1) / np.sqrt((losses**2).mean(axis=1)))
            parts["omega"].append(gains.sum(axis=1) / losses.sum(axis=1))
        parts["volatility"].append(drawn.std(axis=1, ddof=1))
        deepest = np.minimum(depths_of(drawn).min(axis=1), 0)
        parts["maximum_drawdown"].append(deepest)
        if per_year and "calmar" in parts:
            # A path that lost all has lost all of a year.
            grown = np.maximum((1 + drawn).prod(axis=1), 0) ** (per_year / len(array))
            with np.errstate(divide="ignore", invalid="ignore"):
                parts["calmar"].append((grown - 1) / -deepest)
    found = {key: np.concatenate(each) for key, each in parts.items()}
    edges = (0.5 - confidence / 2, 0.5 + confidence / 2)
    return {key: [_quantile(drawn, edge) for edge in edges] for key, drawn in found.items()}


def _quantile(drawn: Any, share: float) -> Optional[float]:
    """One of the values as they are, None for one that has no end, such as of a path without a loss."""
    # What is 0 by 0 is nothing to go by: as far out as can be, on either side.
    ordered = np.sort(np.where(np.isnan(drawn), np.inf if share > 0.5 else -np.inf, drawn))
    value = float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])
    return value if np.isfinite(value) else None
