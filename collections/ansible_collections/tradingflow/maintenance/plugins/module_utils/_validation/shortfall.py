# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backtests of expected shortfall (Acerbi and Szekely 2014), against tails that are drawn, the same in every run.

Both statistics depend on days with an exception only, each divided by that day's expected shortfall. So one set of
draws serves all series with as many sessions, the same level and the same tail.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, List, Optional, Sequence, Tuple

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: Degrees of freedom of Student's t that a tail is told by; None is the normal distribution.
TAILS: Tuple[Optional[int], ...] = (None, 30, 10, 6, 5, 4, 3)
#: Paths that are drawn: fewer when each has many exceptions.
PATHS, LEAST_PATHS, DRAWS = 20_000, 5_000, 1_000_000
#: Places at which quantiles are computed; between them they are interpolated, along logarithms.
PLACES, FAR = 400, 1e-9
NORMAL = NormalDist()


@dataclass(frozen=True)
class Tail:
    """The lower tail of a distribution around 0.

    :param degrees: of Student's t, None for the normal one
    :param quantile: value at risk at the level, of the distribution that has no scale
    :param shortfall: expected shortfall likewise
    """

    degrees: Optional[int]
    quantile: float
    shortfall: float


def beyond(value: float, degrees: Optional[int]) -> float:
    """The probability of less than -value (Student's t with a whole number of degrees: Abramowitz and Stegun 26.7)."""
    if degrees is None:
        return math.erfc(value / math.sqrt(2)) / 2
    angle = math.atan(value / math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    if degrees % 2:
        term, total = cosine, cosine if degrees > 1 else 0.0
        for number in range(3, degrees - 1, 2):
            term *= cosine**2 * (number - 1) / number
            total += term
        inside = 2 / math.pi * (angle + sine * total)
    else:
        term = total = 1.0
        for number in range(2, degrees - 1, 2):
            term *= cosine**2 * (number - 1) / number
            total += term
        inside = sine * total
    return (1 - inside) / 2


def quantile(share: float, degrees: Optional[int]) -> float:
    """What is lost with this probability at least: above 0 for a share below a half."""
    if degrees is None:
        return -NORMAL.inv_cdf(share)
    low, high = 0.0, 2.0
    while beyond(high, degrees) > share:
        high *= 2
    for _turn in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle, degrees) > share else (low, middle)
    return (low + high) / 2


def tail(share: float, degrees: Optional[int]) -> Tail:
    """Value at risk and expected shortfall of a distribution without scale."""
    value = quantile(share, degrees)
    if degrees is None:
        return Tail(None, value, NORMAL.pdf(value) / share)
    constant = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2) / math.sqrt(degrees * math.pi)
    density = constant * (1 + value**2 / degrees) ** (-(degrees + 1) / 2)
    return Tail(degrees, value, density * (degrees + value**2) / ((degrees - 1) * share))


def like(ratio: float, share: float) -> Tail:
    """The tail whose expected shortfall by value at risk is nearest to that of the forecasts.

    :param ratio: of the forecasts, on average
    """
    known = [tail(share, degrees) for degrees in TAILS]
    return min(known, key=lambda one: abs(one.shortfall / one.quantile - ratio))


@lru_cache(maxsize=32)
def _table(degrees: Optional[int], most: float) -> "Tuple[Any, Any]":
    """Logarithms of probabilities up to one, and of their quantiles."""
    shares = np.exp(np.linspace(math.log(FAR), math.log(most), PLACES))
    values = [math.log(quantile(float(share), degrees)) for share in shares]
    return np.log(shares), np.array(values)


def statistics(losses: Sequence[float], shortfalls: Sequence[float], sessions: int, share: float) -> List[Any]:
    """[z1], [z2] Of the days with an exception; below 0 when losses are larger than was forecast.

    :param losses: of these days, above 0
    :param shortfalls: forecast for them, above 0
    :return: Z1, None without an exception, and Z2
    """
    total = math.fsum(loss / shortfall for loss, shortfall in zip(losses, shortfalls, strict=True))
    return [1 - total / len(losses) if losses else None, 1 - total / (sessions * share)]


@dataclass(frozen=True)
class Drawn:
    """What a right model shows, and one of whose losses are larger.

    :param z1: of right models, in order, those without an exception left out
    :param z2: likewise
    :param critical: at and below which Z1 and Z2 are rejected
    :param power: how often Z1 and Z2 are rejected when losses are as much larger that there are so many more exceptions
    """

    z1: Any
    z2: Any
    critical: Tuple[float, float]
    power: Tuple[float, float]

    def chance(self, z1: Optional[float], z2: float) -> "Tuple[Optional[float], float]":
        """How often a right model shows as little, or less."""
        found: List[Optional[float]] = []
        for values, value in ((self.z1, z1), (self.z2, z2)):
            if value is None or not len(values):
                found.append(None)
            else:
                found.append(float((np.searchsorted(values, value, side="right") + 1) / (len(values) + 1)))
        return found[0], float(found[1] or 0.0)


@lru_cache(maxsize=64)
def drawn(sessions: int, share: float, degrees: Optional[int], ratio: float, significance: float) -> Drawn:
    """[as-critical] Draws exceptions and losses beyond value at risk.

    :param share: 1 less the level
    :param ratio: by how much more often there are exceptions when losses are larger
    """
    seed = hashlib.sha256(f"{sessions} {share} {degrees} {ratio}".encode()).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(seed[:8], "big")))
    paths = max(LEAST_PATHS, min(PATHS, int(DRAWS / (sessions * share))))
    right = _paths(random, sessions, share, share, degrees, paths)
    more = min(share * ratio, 0.4)
    wrong = _paths(random, sessions, share, more, degrees, paths)
    critical, power = [], []
    for first, second in zip(right, wrong, strict=True):
        bound = float(first[int(significance * len(first))]) if len(first) else -math.inf
        critical.append(bound)
        power.append(float((second <= bound).mean()) if len(second) else 0.0)
    return Drawn(right[0], right[1], (critical[0], critical[1]), (power[0], power[1]))


def _paths(
    random: Any, sessions: int, share: float, more: float, degrees: Optional[int], paths: int
) -> "Tuple[Any, Any]":
    """Z1 and Z2 of paths, in order.

    :param more: the true share of exceptions; where it is larger than the level's, all losses are so by one factor
    """
    logs, values = _table(degrees, 0.4)
    known = tail(share, degrees)
    scale = known.quantile / quantile(more, degrees)
    counts = random.binomial(sessions, more, paths)
    lost = np.exp(np.interp(np.log(more * (1 - random.random(int(counts.sum())))), logs, values)) * scale
    sums = np.zeros(paths)
    np.add.at(sums, np.repeat(np.arange(paths), counts), lost / known.shortfall)
    some = counts > 0
    return np.sort(1 - sums[some] / counts[some]), np.sort(1 - sums / (sessions * share))
