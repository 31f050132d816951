# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How strategies move together, on days that all of them have."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .columns import ordinals
from .ratios import DUST, NORMAL
from .returns import Series, Undefined, whole

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: Sessions of a quarter, and the fewest of one that are compared.
QUARTER, LEAST = 63, 30
#: Strategies of which independent bets are looked for: it takes the root of a matrix a few dozen times.
MOST_BETS = 300
#: The share of the book's days that are its worst, and the fewest of them that say something.
WORST, LEAST_WORST = 0.05, 10


@dataclass
class Window:
    """Returns of several strategies on the same sessions.

    :param matrix: a row per session, a column per strategy
    """

    names: List[str]
    days: List[date]
    matrix: Any


def common(
    returns: Mapping[str, Sequence[Tuple[date, float]]], sessions: Mapping[str, Sequence[date]], least: int
) -> "tuple[Window, Dict[str, str]]":
    """[common-window] The sessions that all have, with what lies between compounded; and who is left out, and why.

    Who has fewer sessions than needed would shorten everybody's window, and is left out.

    :param returns: of each strategy by day
    :param sessions: of each strategy's calendar
    """
    left_out = {}
    for name, found in returns.items():
        span = ordinals((found[0][0], found[-1][0]) if found else (date.max, date.min))
        wanted = ordinals(sessions[name])
        if int(((wanted >= span[0]) & (wanted <= span[1])).sum()) <= least:
            left_out[name] = "too few sessions"
    names = sorted(returns.keys() - left_out.keys())
    if not names:
        return Window([], [], np.zeros((0, 0))), left_out
    first = max(returns[name][0][0] for name in names)
    last = min(returns[name][-1][0] for name in names)
    # Most have the calendar of another one.
    calendars = {id(sessions[name]): sessions[name] for name in names}
    days = sorted(set.intersection(*(set(each) for each in calendars.values())))
    days = [day for day in days if first <= day <= last]
    matrix = np.zeros((max(0, len(days) - 1), len(names)))
    common_days = tuple(days)
    for column, name in enumerate(names if days[1:] else ()):
        # The first common session only begins: what came before it is not the same for all.
        given = Series.of(returns[name])
        at = given.ordinals
        inside = (at > days[0].toordinal()) & (at <= days[-1].toordinal())
        values = given.values[inside]
        places, found = whole(at[inside], values, common_days)
        matrix[places - 1, column] = found
    if len(matrix):
        still = matrix.std(axis=0) <= DUST * np.maximum(np.abs(matrix).max(axis=0), DUST)
        left_out.update({names[place]: "returns do not vary" for place in np.flatnonzero(still).tolist()})
        names = [name for name, stays in zip(names, ~still, strict=True) if stays]
        matrix = matrix[:, ~still]
    return Window(names, days[1:], matrix), left_out


@dataclass
class Correlation:
    """A correlation matrix.

    :param shrinkage: how much of it is the identity, 0 to 1
    """

    matrix: Any
    sample: Any
    shrinkage: float
    count: int

    @property
    def average(self) -> float:
        """Of all pairs."""
        size = len(self.matrix)
        return float((self.matrix.sum() - size) / (size * (size - 1)))


def correlation(matrix: Any) -> Correlation:
    """[ledoit-wolf] Of standardised returns, shrunk towards none (Ledoit and Wolf 2004).

    :raises Undefined: fewer than two strategies or three sessions, or one that does not vary
    """
    count, size = matrix.shape if matrix.ndim == 2 else (0, 0)
    if size < 2 or count < 3:
        raise Undefined("two strategies and three sessions are needed")
    centred = matrix - matrix.mean(axis=0)
    spread = np.sqrt((centred**2).mean(axis=0))
    if np.any(spread <= DUST * np.maximum(np.abs(matrix).max(axis=0), DUST)):
        raise Undefined("returns of a strategy do not vary")
    scaled = centred / spread
    sample = scaled.T @ scaled / count
    # The target is the identity: standardised, the mean variance is 1.
    distance = float(((sample - np.eye(size)) ** 2).sum()) / size
    squares = scaled**2
    noise = float((squares.T @ squares / count - sample**2).sum()) / (count * size)
    shrinkage = 1.0 if distance <= 0 else max(0.0, min(noise, distance) / distance)
    return Correlation((1 - shrinkage) * sample + shrinkage * np.eye(size), sample, shrinkage, count)


@dataclass
class Shares:
    """What a book's risk is made of.

    :param volatility: of the book per period
    :param ratio: weighted volatilities by the book's
    :param herfindahl: sum of the squared weights
    :param risk: each strategy's share of the variance
    :param bets: how many uncorrelated bets it is worth; None of too many strategies to find them in time
    """

    volatility: float
    ratio: float
    herfindahl: float
    risk: List[float]
    bets: Optional[float]


def shares(weights: Sequence[float], volatilities: Sequence[float], matrix: Any) -> Shares:
    """[risk-share] [effective-bets] Shares of the variance, and the entropy of minimum-torsion bets.

    Meucci, Santangelo and Deguest 2015: the uncorrelated bets that are closest to the strategies themselves.

    :raises Undefined: the book has no variance
    """
    share, spread = np.asarray(weights, dtype=float), np.asarray(volatilities, dtype=float)
    covariance = np.outer(spread, spread) * matrix
    variance = float(share @ covariance @ share)
    if variance <= 0 or np.any(spread <= 0):
        raise Undefined("the book does not vary")
    risk = share * (covariance @ share) / variance
    return Shares(
        math.sqrt(variance),
        float(np.abs(share) @ spread / math.sqrt(variance)),
        float((share**2).sum()),
        [float(value) for value in risk],
        _bets(share, spread, matrix, covariance, variance) if len(share) <= MOST_BETS else None,
    )


def _bets(share: Any, spread: Any, matrix: Any, covariance: Any, variance: float) -> float:
    torsion = _torsion(spread, matrix)
    bets = np.linalg.solve(torsion.T, share) * (torsion @ covariance @ share) / variance
    held = bets[bets > DUST]
    return float(np.exp(-(held * np.log(held)).sum()))


def _torsion(spread: Any, matrix: Any) -> Any:
    """What turns strategies into uncorrelated bets with the least change."""
    root = _root(matrix)
    scale = np.ones(len(spread))
    for _turn in range(1000):
        inner = np.diag(scale) @ matrix @ np.diag(scale)
        turned = np.linalg.solve(_root(inner), np.diag(scale) @ root)
        again = np.diag(turned @ root).copy()
        done = float(np.abs(again - scale).max()) < 1e-12
        scale = again
        if done:
            break
    turned = np.diag(scale) @ np.linalg.solve(_root(np.diag(scale) @ matrix @ np.diag(scale)), np.diag(scale) @ root)
    return np.diag(spread) @ turned @ np.linalg.inv(root) @ np.diag(1 / spread)


def _root(matrix: Any) -> Any:
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.sqrt(np.maximum(values, DUST))) @ vectors.T


@dataclass
class Change:
    """The pair whose correlation changed most since the quarter before.

    :param certain: whether that is beyond chance, of so many pairs
    """

    pair: Tuple[str, str]
    before: float
    now: float
    counts: Tuple[int, int]
    certain: bool
    pairs: int


def changed(window: Window, confidence: float = 0.95) -> Optional[Change]:
    """[correlation-change] The newest quarter against the one before (Fisher's z, Bonferroni over all pairs).

    None when a quarter has too few sessions.
    """
    now, before = window.matrix[-QUARTER:], window.matrix[-2 * QUARTER : -QUARTER]
    if len(before) < LEAST and len(window.matrix) >= 2 * LEAST:
        # Not yet two quarters: two halves of what there is.
        half = len(window.matrix) // 2
        now, before = window.matrix[half:], window.matrix[:half]
    if len(before) < LEAST or len(window.names) < 2:
        return None
    try:
        one, other = correlation(before).sample, correlation(now).sample
    except Undefined:
        return None
    rows, columns = np.triu_indices(len(window.names), 1)
    apart = np.arctanh(np.clip(other[rows, columns], -1 + 1e-12, 1 - 1e-12))
    apart -= np.arctanh(np.clip(one[rows, columns], -1 + 1e-12, 1 - 1e-12))
    place = int(np.abs(apart).argmax())
    error = math.sqrt(1 / (len(before) - 3) + 1 / (len(now) - 3))
    bound = NORMAL.inv_cdf(1 - (1 - confidence) / 2 / len(rows)) * error
    row, column = int(rows[place]), int(columns[place])
    return Change(
        (window.names[row], window.names[column]),
        float(one[row, column]),
        float(other[row, column]),
        (len(before), len(now)),
        bool(abs(apart[place]) > bound),
        len(rows),
    )


def stressed(window: Window, weights: Sequence[float]) -> Optional[Tuple[float, int]]:
    """[stressed] Average sample correlation on the book's worst 5 % of sessions, and how many these are.

    None when they are too few to say anything.
    """
    count = math.ceil(WORST * len(window.matrix))
    if count < LEAST_WORST or len(window.names) < 2:
        return None
    book = window.matrix @ np.asarray(weights, dtype=float)
    try:
        found = correlation(window.matrix[np.argsort(book, kind="stable")[:count]])
    except Undefined:
        return None
    size = len(found.sample)
    return float((found.sample.sum() - size) / (size * (size - 1))), count


def clusters(matrix: Any, names: Sequence[str], least: float = 0.7) -> List[List[str]]:
    """[clusters] Strategies that move as one: average linkage on sqrt((1 - rho) / 2), up to that of a correlation.

    Those that stand alone are left out.
    """
    distance = np.sqrt(np.maximum((1 - np.asarray(matrix, dtype=float)) / 2, 0))
    np.fill_diagonal(distance, np.inf)
    members: List[List[str]] = [[name] for name in names]
    while len(members) > 1:
        row, column = (int(place) for place in np.unravel_index(int(distance.argmin()), distance.shape))
        if distance[row, column] > math.sqrt((1 - least) / 2):
            break
        row, column = min(row, column), max(row, column)
        one, other = len(members[row]), len(members[column])
        joined = (one * distance[row] + other * distance[column]) / (one + other)
        distance[row], distance[:, row] = joined, joined
        distance[row, row] = np.inf
        distance = np.delete(np.delete(distance, column, axis=0), column, axis=1)
        members[row] += members.pop(column)
    return sorted(sorted(found) for found in members if len(found) > 1)


@dataclass
class Ranking:
    """Which strategies can be told apart.

    :param order: by Sharpe ratio, the best first
    :param apart: pairs (better, worse) whose difference is beyond chance
    """

    order: List[str] = field(default_factory=list)
    apart: List[Tuple[str, str]] = field(default_factory=list)
    pairs: int = 0


def ranked(window: Window, confidence: float = 0.95) -> Ranking:
    """[sharpe-difference] Pairs whose Sharpe ratios differ beyond chance: paired, Newey and West, Holm over all."""
    count, size = window.matrix.shape
    if count < 3 or size < 1:
        return Ranking()
    mean, spread = window.matrix.mean(axis=0), window.matrix.std(axis=0, ddof=1)
    scaled = (window.matrix - mean) / spread
    ratio = mean / spread
    influence = scaled - ratio / 2 * (scaled**2 - 1)
    order = np.argsort(-ratio, kind="stable")
    shared = _long_run_covariance(influence[:, order], int(4 * (count / 100) ** (2 / 9)))
    own = np.diag(shared)
    better, worse = np.triu_indices(size, 1)
    # The variance of a difference.
    error = np.sqrt(np.maximum(own[better] + own[worse] - 2 * shared[better, worse], 0) / count)
    apart = ratio[order][better] - ratio[order][worse]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(error > DUST, apart / error, 0.0)
    found = Ranking([window.names[place] for place in order], [], len(better))
    for place, pair in enumerate(np.argsort(-distance, kind="stable")):
        if 2 * (1 - NORMAL.cdf(float(distance[pair]))) > (1 - confidence) / (len(better) - place):
            break
        found.apart.append((found.order[better[pair]], found.order[worse[pair]]))
    return found


def _long_run_covariance(values: Any, lag: int) -> Any:
    """As ratios.long_run_variance, of several at once."""
    centred = values - values.mean(axis=0)
    count = len(centred)
    # One product with each session's weighted neighbours, instead of one for each lag.
    beside = centred.copy()
    for place in range(1, min(lag, count - 1) + 1):
        weight = 1 - place / (lag + 1)
        beside[place:] += weight * centred[:-place]
        beside[:-place] += weight * centred[place:]
    return centred.T @ beside / count
