# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths drawn from a series' own returns, the same in every run: intervals, and how deep they end."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from .blocks import Blocks, block, blocks_of, counts_of, deepest, last_drawdown
from .ratios import series

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: Paths of an interval.
PATHS = 400
#: Paths of drawdowns of all strategies of a review together, and the fewest of one: a thousand strategies must not take
#: a thousand times as long.
ALL_PATHS, LEAST_PATHS = 200_000, 200

__all__ = ["PATHS", "block", "bounded", "depths_of", "intervals", "lasting", "paths_of"]


def bounded(paths: int, strategies: int) -> "Tuple[int, int]":
    """Paths of the drawdown and of the intervals of each of so many strategies, see ALL_PATHS.

    :param paths: those that were asked for
    """
    each = max(LEAST_PATHS, ALL_PATHS // max(strategies, 1))
    return min(paths, each), min(PATHS, each)


def paths_of(pool: Any, periods: int, paths: int, name: str = "") -> Iterator[Any]:
    """Paths of returns, some at a time: a row each. The same for all pools of as many returns.

    :param name: of the series; the draws do not depend on it
    """
    for part in Blocks(len(pool), periods, paths).parts():
        yield pool[part.places()]


def depths_of(drawn: Any) -> Any:
    """How far below its peak each path is after each period; it begins at one."""
    level = np.cumprod(1 + drawn, axis=1)
    return level / np.maximum(np.maximum.accumulate(level, axis=1), 1.0) - 1


#: Lower and upper end; None where it has none.
Interval = List[Optional[float]]


def intervals(
    values: Sequence[float],
    name: str,
    target: float,
    confidence: float,
    per_year: Optional[int] = None,
    paths: int = PATHS,
) -> Dict[str, Interval]:
    """[block-interval] Of Sortino, Omega, the deviation and the deepest drawdown: what so many of the paths have.

    :param name: of the series; the draws do not depend on it
    :param per_year: periods of a year; with as many values, and not fewer, also of Calmar
    """
    array = series(values)
    count = len(array)
    apart, centred = array - target, array - array.mean()
    # How often each return is in a path tells all that does not depend on their order.
    content = np.stack([apart, np.minimum(apart, 0) ** 2, np.maximum(apart, 0), np.maximum(-apart, 0)], axis=1)
    # What loses all has no logarithm.
    growth = np.log1p(array) if array.min() > -1 else None
    content = np.column_stack([content, centred, centred**2, centred if growth is None else growth])
    mean, below, gains, losses, moved, squares, grew = (counts_of(count, count, paths) @ content).T
    found: Dict[str, Any] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        found["sortino"] = mean / count / np.sqrt(below / count)
        found["omega"] = gains / losses
        found["volatility"] = np.sqrt(np.maximum(squares - moved**2 / count, 0) / (count - 1))
    if growth is not None:
        found["maximum_drawdown"], grown = deepest(growth, blocks_of(count, count, paths)), np.exp(grew)
    else:
        found["maximum_drawdown"], grown = _day_by_day(array, paths)
    if per_year and count >= per_year:
        # A path that lost all has lost all of a year.
        with np.errstate(divide="ignore", invalid="ignore"):
            found["calmar"] = (np.maximum(grown, 0) ** (per_year / count) - 1) / -found["maximum_drawdown"]
    edges = (0.5 - confidence / 2, 0.5 + confidence / 2)
    return {key: [_quantile(drawn, edge) for edge in edges] for key, drawn in found.items()}


def _day_by_day(array: Any, paths: int) -> "Tuple[Any, Any]":
    """The deepest drawdown of each path, and what 1 became."""
    drawn = list(paths_of(array, len(array), paths))
    depths = [np.minimum(depths_of(part).min(axis=1), 0) for part in drawn]
    return np.concatenate(depths), np.concatenate([(1 + part).prod(axis=1) for part in drawn])


def lasting(pool: Any, periods: int, paths: int) -> "Tuple[Any, Any]":
    """How far below its peak each path ends, and how many periods after it."""
    if pool.min() > -1:
        return last_drawdown(np.log1p(pool), Blocks(len(pool), periods, paths))
    last, lasted = [], []
    for drawn in paths_of(pool, periods, paths):
        below = depths_of(drawn)
        last.append(below[:, -1])
        # Periods since the last peak: all of them for a path that never was at one.
        back = below[:, ::-1] >= 0
        lasted.append(np.where(back.any(axis=1), back.argmax(axis=1), below.shape[1]))
    return np.concatenate(last), np.concatenate(lasted)


def _quantile(drawn: Any, share: float) -> Optional[float]:
    """One of the values as they are, None for one that has no end, such as of a path without a loss."""
    # What is 0 by 0 is nothing to go by: as far out as can be, on either side.
    ordered = np.sort(np.where(np.isnan(drawn), np.inf if share > 0.5 else -np.inf, drawn))
    value = float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])
    return value if np.isfinite(value) else None
