# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far below its peak: now, at worst, and against what its own returns lead one to expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence

from . import bootstrap
from .ratios import series
from .returns import Undefined

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: Fewer sessions than this before a drawdown say nothing of what to expect.
MINIMUM_BEFORE = 60


def levels(returns: Sequence[float]) -> Any:
    """What 1 became, with the 1 that it began with: a loss of the first period counts."""
    return np.concatenate(([1.0], np.cumprod(1 + series(returns))))


def depths(values: Sequence[float]) -> Any:
    """[drawdown] How far each value is below the highest one so far, as a share of it; never above 0."""
    array = series(values)
    peaks = np.maximum.accumulate(array)
    if array[0] <= 0:
        raise Undefined("it begins at 0 or less")
    return array / peaks - 1


@dataclass(frozen=True)
class Drawdown:
    """Of a series of returns.

    :param now: the last depth, 0 or less
    :param periods: since the last peak, 0 at one
    :param worst: the deepest
    :param longest: periods of the longest one, over or not
    :param recovery: periods from the deepest point until the peak was reached again, None while it is not
    :param peak: place of the last peak among the levels
    """

    now: float
    periods: int
    worst: float
    longest: int
    recovery: Optional[int]
    pain: float
    ulcer: float
    peak: int
    depths: Any


def drawdown(returns: Sequence[float]) -> Drawdown:
    """:raises Undefined: there is nothing, or a return is no number"""
    found = depths(levels(returns))
    at_peak = np.flatnonzero(found >= 0)
    peak = int(at_peak[-1])
    bounds: List[int] = [*at_peak.tolist(), len(found)]
    # One that is not over lasts until the last period.
    gone = np.diff(bounds) - 1
    longest = gone.max() if len(gone) else 0
    inner = found[1:]
    return Drawdown(
        float(found[-1]),
        len(found) - 1 - peak,
        float(found.min()),
        int(longest),
        _recovery(found),
        float(-inner.mean()),
        float(np.sqrt((inner**2).mean())),
        peak,
        found,
    )


def _recovery(found: Any) -> Optional[int]:
    deepest = int(found.argmin())
    after = np.flatnonzero(found[deepest:] >= 0)
    return int(after[0]) if len(after) else None


@dataclass(frozen=True)
class Expected:
    """A drawdown against paths made of the returns before it.

    :param share: paths whose last depth is less than the one that there is
    :param longer: paths whose last drawdown is shorter
    :param of: returns that paths are made of
    :param quantile: the depth that 95 % of paths do not reach
    """

    share: float
    longer: float
    paths: int
    of: int
    block: int
    quantile: float


def expected(returns: Sequence[float], name: str, paths: int = 1000) -> Optional[Expected]:
    """[drawdown-bootstrap] The last depth against paths of as many periods, drawn in blocks from before the last peak.

    Stationary bootstrap (Politis and Romano 1994), blocks of n^(1/3) periods on average, the same draws in every run.
    None when there are too few returns before the peak to draw from.
    """
    array = series(returns)
    found = drawdown(array)
    pool = array[: found.peak]
    if len(pool) < MINIMUM_BEFORE:
        return None
    depth, periods = bootstrap.lasting(pool, len(array), paths)
    return Expected(
        float((depth > found.now).mean()),
        float((periods < found.periods).mean()),
        paths,
        len(pool),
        bootstrap.block(len(pool)),
        float(np.quantile(depth, 0.05, method="lower")),
    )
