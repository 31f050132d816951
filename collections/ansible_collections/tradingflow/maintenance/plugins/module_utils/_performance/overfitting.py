# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the best of many trials is so by chance."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Sequence

from .ratios import DUST
from .returns import Undefined

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: Blocks of time, of which half are the sample; fewer trials say nothing.
BLOCKS, FEWEST = 16, 10
#: Splits that are in memory at once.
_AT_ONCE = 1024


def backtest_overfitting(returns: Sequence[Sequence[float]], blocks: int = BLOCKS) -> float:
    """[pbo-cscv] How often the best trial of one half of the time is below the median in the other half.

    Combinatorially symmetric cross-validation (Bailey, Borwein, Lopez de Prado, Zhu 2015), by Sharpe ratio, of all
    ways to choose half of the blocks (12,870 of 16). What is left over by blocks of the same length is the oldest.

    :param returns: a row for each trial, of the same periods
    :raises Undefined: too few trials or periods, or returns that do not vary and are not 0
    """
    table = np.asarray(returns, dtype=float)
    if table.ndim != 2 or len(table) < FEWEST:
        raise Undefined(f"fewer than {FEWEST} trials")
    if not np.all(np.isfinite(table)):
        raise Undefined("a return is missing or no number")
    length = table.shape[1] // blocks
    if length < 2:
        raise Undefined(f"fewer than {2 * blocks} periods")
    table = table[:, table.shape[1] - length * blocks :]
    parts = table.reshape(len(table), blocks, length)
    sums, squares = parts.sum(axis=2), (parts**2).sum(axis=2)
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    worse = 0.0
    for start in range(0, len(chosen), _AT_ONCE):
        inside = np.zeros((len(chosen[start : start + _AT_ONCE]), blocks))
        np.put_along_axis(inside, chosen[start : start + _AT_ONCE], 1.0, axis=1)
        count = length * (blocks // 2)
        best = _ratios(sums @ inside.T, squares @ inside.T, count).argmax(axis=0)
        outside = _ratios(sums @ (1 - inside.T), squares @ (1 - inside.T), count)
        mine = np.take_along_axis(outside, best[None, :], axis=0)
        # Its relative rank, of ties the middle one; below the median or at it is no better than chance.
        rank = (outside < mine).sum(axis=0) + ((outside == mine).sum(axis=0) + 1) / 2
        worse += float((rank / (len(table) + 1) <= 0.5).sum())
    return worse / len(chosen)


def _ratios(sums: Any, squares: Any, count: int) -> Any:
    mean = sums / count
    variance = np.maximum(squares / count - mean**2, 0) * count / (count - 1)
    still = variance <= (DUST * np.maximum(np.abs(mean), DUST)) ** 2
    if np.any(still & (np.abs(mean) > DUST)):
        raise Undefined("returns of a trial do not vary")
    # One that held nothing in all that time earned nothing, without risk.
    return np.where(still, 0.0, mean / np.sqrt(np.where(still, 1.0, variance)))
