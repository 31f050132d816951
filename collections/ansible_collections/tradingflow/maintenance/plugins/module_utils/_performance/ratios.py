# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of a series of returns, each with the id by which docs/review.md explains it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Optional, Sequence

from ..errors import ConfigurationError
from .returns import Undefined

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

NORMAL = NormalDist()
#: Euler and Mascheroni's constant.
GAMMA = 0.5772156649015329
#: Deviations below this share of the largest return are the dust of floats.
DUST = 1e-12


def needed() -> None:
    """:raises ConfigurationError: numpy is missing"""
    if np is None:
        raise ConfigurationError("A strategy review needs numpy.", "Install numpy for the controller's Python.")


def series(values: Sequence[float]) -> Any:
    """Returns as an array. NaN before the first and after the last is time in which there was nothing.

    :raises Undefined: one between is none, or there is nothing
    """
    array = np.asarray(values, dtype=float)
    known = np.flatnonzero(~np.isnan(array))
    array = array[known[0] : known[-1] + 1] if len(known) else array[:0]
    if not len(array):
        raise Undefined("there is no return")
    if not np.all(np.isfinite(array)):
        raise Undefined("a return between is missing or no number")
    return array


@dataclass(frozen=True)
class Moments:
    """Of a sample: deviation with n - 1; skewness, and kurtosis that is 3 for a normal one, with n."""

    count: int
    mean: float
    deviation: float
    skewness: float
    kurtosis: float

    @property
    def sharpe(self) -> float:
        """Per period, over nothing."""
        return self.mean / self.deviation


def moments(values: Sequence[float]) -> Moments:
    """:raises Undefined: fewer than 3 returns, or they do not vary"""
    array = series(values)
    if len(array) < 3:
        raise Undefined("fewer than 3 returns")
    centred = array - array.mean()
    deviation = float(np.sqrt((centred**2).sum() / (len(array) - 1)))
    if deviation <= DUST * max(float(np.abs(array).max()), DUST):
        raise Undefined("returns do not vary")
    spread = float(np.sqrt((centred**2).mean()))
    scaled = centred / spread
    return Moments(len(array), float(array.mean()), deviation, float((scaled**3).mean()), float((scaled**4).mean()))


def variance_of_sharpe(sharpe: float, skewness: float = 0.0, kurtosis: float = 3.0) -> float:
    """Of a Sharpe ratio per period, times the sample's size, for independent returns (Mertens; Lo 2002 if normal)."""
    return 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2


@dataclass(frozen=True)
class Sharpe:
    """A Sharpe ratio per period with its interval.

    :param lag: periods whose dependence counts in the error
    """

    moments: Moments
    value: float
    error: float
    low: float
    high: float
    lag: int


def sharpe(values: Sequence[float], confidence: float = 0.95) -> Sharpe:
    """[sharpe-hac] Mean by deviation, with an interval that knows of skewness, kurtosis and autocorrelation.

    The error is that of the ratio's influence function, by Newey and West with floor(4 (n / 100)^(2/9)) lags.

    :raises Undefined: as moments()
    """
    array, found = series(values), moments(values)
    scaled = (array - found.mean) / found.deviation
    influence = scaled - found.sharpe / 2 * (scaled**2 - 1)
    lag = int(4 * (found.count / 100) ** (2 / 9))
    error = math.sqrt(long_run_variance(influence, lag) / found.count)
    reach = NORMAL.inv_cdf(0.5 + confidence / 2) * error
    return Sharpe(found, found.sharpe, error, found.sharpe - reach, found.sharpe + reach, lag)


def long_run_variance(values: Any, lag: int) -> float:
    """By Newey and West: Bartlett's weights, which never give less than 0."""
    centred = values - values.mean()
    count = len(centred)
    total = float(centred @ centred) / count
    for place in range(1, min(lag, count - 1) + 1):
        total += 2 * (1 - place / (lag + 1)) * float(centred[place:] @ centred[:-place]) / count
    return max(total, 0.0)


def annualisation(per_year: int, correlations: Sequence[float]) -> float:
    """[lo-factor] What makes a period's Sharpe ratio one of a year (Lo 2002).

    :param correlations: autocorrelations of lag 1, 2, ...; what is left out is 0
    """
    held = sum((per_year - lag) * value for lag, value in enumerate(correlations[: per_year - 1], 1))
    return per_year / math.sqrt(per_year + 2 * held)


def probabilistic(
    value: float, benchmark: float, count: int, skewness: float, kurtosis: float, *, under_null: bool = False
) -> float:
    """[psr-2012] The probability that the true Sharpe ratio is above a benchmark (Bailey and Lopez de Prado 2012).

    :param under_null: the variance under the benchmark and n instead of n - 1: the revision of 2025
    """
    at = benchmark if under_null else value
    size = count if under_null else count - 1
    variance = variance_of_sharpe(at, skewness, kurtosis)
    if variance <= 0 or size < 1:
        raise Undefined("the ratio's variance is none")
    return NORMAL.cdf((value - benchmark) * math.sqrt(size / variance))


def minimum_track_record(
    value: float,
    benchmark: float,
    skewness: float,
    kurtosis: float,
    confidence: float = 0.95,
    *,
    under_null: bool = False,
) -> float:
    """[mintrl-2012] Periods after which the ratio is above the benchmark with this confidence.

    :raises Undefined: it is not above it
    """
    if value <= benchmark:
        raise Undefined("the ratio is not above the benchmark")
    at = benchmark if under_null else value
    periods = variance_of_sharpe(at, skewness, kurtosis) * (NORMAL.inv_cdf(confidence) / (value - benchmark)) ** 2
    return periods if under_null else 1 + periods


def expected_maximum(trials: int, variance: float) -> float:
    """The largest Sharpe ratio that so many trials without any skill lead one to expect."""
    if trials < 2:
        return 0.0
    # From the other side: 1 less a very small share is 1.
    first, second = -NORMAL.inv_cdf(1 / trials), -NORMAL.inv_cdf(1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - GAMMA) * first + GAMMA * second)


def deflated(value: float, count: int, skewness: float, kurtosis: float, trials: int, variance: float) -> float:
    """[dsr-2014] The probability that it is above what the best of so many trials without skill would show.

    :param variance: of the trials' Sharpe ratios per period
    """
    return probabilistic(value, expected_maximum(trials, variance), count, skewness, kurtosis)


def downside_deviation(values: Sequence[float], target: float = 0.0) -> float:
    """Root of the mean square below a target, over all periods."""
    return float(np.sqrt((np.minimum(series(values) - target, 0) ** 2).mean()))


def sortino(values: Sequence[float], target: float = 0.0) -> float:
    """[sortino] Mean above a target by the downside deviation, per period.

    :raises Undefined: nothing was below the target
    """
    downside = downside_deviation(values, target)
    if downside <= DUST:
        raise Undefined("no return was below the target")
    return (float(series(values).mean()) - target) / downside


def omega(values: Sequence[float], target: float = 0.0) -> float:
    """[omega] Sum above a target by the sum below it.

    :raises Undefined: nothing was below the target
    """
    array = series(values) - target
    below = float(-array[array < 0].sum())
    if below <= DUST:
        raise Undefined("no return was below the target")
    return float(array[array > 0].sum()) / below


def adjusted_sharpe(value: float, skewness: float, kurtosis: float) -> float:
    """[adjusted-sharpe] Less for a tail of losses (Pezier)."""
    return value * (1 + skewness / 6 * value - (kurtosis - 3) / 24 * value**2)


def wilson(hits: int, count: int, confidence: float = 0.95) -> "tuple[float, float]":
    """The interval of a share (Wilson).

    :raises Undefined: of nothing
    """
    if count < 1:
        raise Undefined("there is nothing to count")
    z = NORMAL.inv_cdf(0.5 + confidence / 2)
    share, weight = hits / count, 1 + z * z / count
    centre = (share + z * z / (2 * count)) / weight
    reach = z / weight * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def profit_factor(results: Sequence[Any]) -> Any:
    """[profit-factor] Gains by losses, in money; exact for Decimal.

    :raises Undefined: there was no loss
    """
    losses = -sum(value for value in results if value < 0)
    if not losses:
        raise Undefined("there was no loss")
    return sum(value for value in results if value > 0) / losses


def or_none(compute: Any, *arguments: Any, **more: Any) -> Optional[Any]:
    """A figure, None when it is undefined."""
    try:
        return compute(*arguments, **more)
    except Undefined:
        return None
