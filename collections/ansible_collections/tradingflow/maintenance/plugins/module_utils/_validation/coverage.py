# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backtests of value at risk: how many exceptions, whether they cluster, and what the tests could have seen.

Probabilities are exact: binomials by whole numbers, and sequences counted by their runs. Each function has the id by
which docs/validation.md explains it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Dict, Iterator, Sequence, Tuple

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: Cumulative probability from which a number of exceptions is yellow, and red (Basel Committee 1996).
YELLOW, RED = 0.95, 0.9999
#: Sessions, and exception rate, for which the committee gives multipliers: of 0, 1, ... exceptions.
BASEL, BASEL_RATE = 250, Fraction(1, 100)
MULTIPLIERS = (1.5, 1.5, 1.5, 1.5, 1.5, 1.70, 1.76, 1.83, 1.88, 1.92, 2.0)
#: Ratios within this of each other are the same but for the dust of floats.
DUST = 1e-9
#: Numbers of exceptions that are less likely than this are left out of sums.
REST = 1e-13


@dataclass(frozen=True)
class Binomial:
    """Of 0, 1, ... exceptions: the probability of each, of at most and of at least so many."""

    each: Tuple[float, ...]
    most: Tuple[float, ...]
    least: Tuple[float, ...]


@lru_cache(maxsize=256)
def binomial(sessions: int, rate: Fraction) -> Binomial:
    """Exact: each is a quotient of whole numbers, rounded once.

    :param rate: above 0 and below 1
    """
    hit, miss, whole = rate.numerator, rate.denominator - rate.numerator, rate.denominator**sessions
    ways = [miss**sessions]
    for count in range(sessions):
        ways.append(ways[-1] * (sessions - count) * hit // ((count + 1) * miss))
    total, most = 0, []
    for way in ways:
        total += way
        most.append(total / whole)
    rest, least = whole, []
    for way in ways:
        least.append(rest / whole)
        rest -= way
    return Binomial(tuple(way / whole for way in ways), tuple(most), tuple(least))


def _log(count: int, share: float) -> float:
    """A term of a likelihood; 0 log 0 is 0."""
    return count * math.log(share) if count else 0.0


def kupiec(sessions: int, exceptions: int, rate: float) -> float:
    """[kupiec] Likelihood ratio of the proportion of failures, chi-square with 1 degree for large samples."""
    found = exceptions / sessions
    here = _log(sessions - exceptions, 1 - found) + _log(exceptions, found)
    expected = _log(sessions - exceptions, 1 - rate) + _log(exceptions, rate)
    return max(0.0, 2 * (here - expected))


def chi_square(ratio: float, degrees: int) -> float:
    """The probability of a larger ratio, for 1 or 2 degrees."""
    return math.erfc(math.sqrt(ratio / 2)) if degrees == 1 else math.exp(-ratio / 2)


def exact(sessions: int, exceptions: int, rate: Fraction) -> float:
    """[pof-exact] The probability of a ratio at least as large, of all numbers of exceptions."""
    bound = kupiec(sessions, exceptions, float(rate)) - DUST
    chances = binomial(sessions, rate).each
    return min(
        1.0, math.fsum(each for count, each in enumerate(chances) if kupiec(sessions, count, float(rate)) >= bound)
    )


def mid_p(sessions: int, exceptions: int, rate: Fraction) -> float:
    """[pof-mid-p] Twice the smaller tail, of which what was found counts by half."""
    found = binomial(sessions, rate)
    half = found.each[exceptions] / 2
    return min(1.0, 2 * max(0.0, min(found.most[exceptions] - half, found.least[exceptions] - half)))


@dataclass(frozen=True)
class Reach:
    """What a test can see.

    :param size: how often it rejects a right model
    :param power: how often it finds too many exceptions when there are so many more
    :param low: rejected as too few up to here, -1 for none
    :param high: rejected as too many from here on; more than there are sessions for none
    """

    size: float
    power: float
    low: int
    high: int


@lru_cache(maxsize=256)
def reach(sessions: int, rate: Fraction, ratio: Fraction, significance: float) -> Reach:
    """[pof-power] Of the mid-p test, exact.

    :param ratio: by how much more often there are exceptions than the model says
    """
    found, awaited = binomial(sessions, rate), sessions * rate
    rejected = [mid_p(sessions, count, rate) <= significance for count in range(sessions + 1)]
    high = next((count for count, bad in enumerate(rejected) if bad and count > awaited), sessions + 1)
    low = max((count for count, bad in enumerate(rejected) if bad and count < awaited), default=-1)
    size = math.fsum(each for each, bad in zip(found.each, rejected, strict=True) if bad)
    more = rate * ratio
    power = 1.0 if more >= 1 else (binomial(sessions, more).least[high] if high <= sessions else 0.0)
    return Reach(size, power, low, high)


def ratio_test_reach(sessions: int, rate: Fraction, more: Fraction, bound: float) -> Tuple[float, float]:
    """[kupiec] Size and power of the likelihood ratio's own test; to compare, not in the report.

    :param more: the true rate
    :param bound: of chi-square
    """
    bad = [count for count in range(sessions + 1) if kupiec(sessions, count, float(rate)) > bound]
    size, power = (math.fsum(binomial(sessions, each).each[count] for count in bad) for each in (rate, more))
    return size, power


def traffic_light(sessions: int, exceptions: int, rate: Fraction) -> "Tuple[str, float]":
    """[traffic-light] Zone and cumulative probability of at most so many exceptions."""
    share = binomial(sessions, rate).most[exceptions]
    return ("red" if share >= RED else "yellow" if share >= YELLOW else "green"), share


def multiplier(sessions: int, exceptions: int, rate: Fraction) -> "float | None":
    """[traffic-light] Only for what the committee gives it for: 250 sessions at 99 %."""
    if (sessions, rate) != (BASEL, BASEL_RATE):
        return None
    return MULTIPLIERS[min(exceptions, len(MULTIPLIERS) - 1)]


@dataclass(frozen=True)
class Steps:
    """From one session to the next: exceptions (1) and others (0)."""

    n00: int
    n01: int
    n10: int
    n11: int

    @property
    def clustered(self) -> bool:
        """Whether an exception makes the next one more likely."""
        return self.n11 * (self.n00 + self.n01) > self.n01 * (self.n10 + self.n11)


def steps(hits: Sequence[bool]) -> Steps:
    """Of the sessions in order."""
    found: Dict[Tuple[bool, bool], int] = {}
    for pair in itertools.pairwise(hits):
        found[pair] = found.get(pair, 0) + 1
    return Steps(*(found.get(pair, 0) for pair in ((False, False), (False, True), (True, False), (True, True))))


def independence(found: Steps) -> float:
    """[christoffersen-ind] Likelihood ratio of a first-order Markov chain against independence."""
    calm, after = found.n00 + found.n01, found.n10 + found.n11
    if not calm + after:
        return 0.0
    whole = (found.n01 + found.n11) / (calm + after)
    together = _log(found.n00 + found.n10, 1 - whole) + _log(found.n01 + found.n11, whole)
    apart = 0.0
    for hits, count in ((found.n01, calm), (found.n11, after)):
        if count:
            apart += _log(count - hits, 1 - hits / count) + _log(hits, hits / count)
    return max(0.0, 2 * (apart - together))


@dataclass(frozen=True)
class Patterns:
    """All sequences of so many sessions and exceptions, those with the same steps, first and last session as one.

    :param steps: n00, n01, n10, n11: an array each
    :param first: whether the first session is an exception
    :param chance: their share in all sequences with so many exceptions
    :param ways: the logarithm of how many there are
    :param ratio: see independence()
    :param tail: the probability of a ratio at least as large
    """

    steps: Tuple[Any, Any, Any, Any]
    first: Any
    chance: Any
    ways: Any
    ratio: Any
    tail: Any


@lru_cache(maxsize=8)
def _factorials(most: int) -> Any:
    """Logarithms of 0!, 1!, ..."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])


@lru_cache(maxsize=2048)
def patterns(sessions: int, exceptions: int) -> Patterns:
    """Counted by their runs: under independence each sequence is as likely as any other."""
    calm = sessions - exceptions
    if not exceptions or not calm:
        one, last = np.ones(1), np.array([max(sessions - 1, 0)])
        none = np.zeros(1)
        constant = (none, none, none, last) if exceptions else (last, none, none, none)
        return Patterns(constant, np.array([bool(exceptions)]), one, none, none, one)
    runs, first, last = (each.ravel() for each in np.meshgrid(np.arange(1, exceptions + 1), [0, 1], [0, 1]))
    pauses = runs + 1 - first - last
    there = (pauses >= 1) & (pauses <= calm)
    runs, first, last, pauses = runs[there], first[there], last[there], pauses[there]
    logs = _factorials(sessions)

    def choose(count: int, some: Any) -> Any:
        return logs[count] - logs[some] - logs[count - some]

    ways = choose(exceptions - 1, runs - 1) + choose(calm - 1, pauses - 1)
    chance = np.exp(ways - choose(sessions, exceptions))
    made = (calm - pauses, runs - first, runs - last, exceptions - runs)
    ratio = _ratios(*made)
    return Patterns(made, first.astype(bool), chance, ways, ratio, _tail(ratio, chance))


def _ratios(n00: Any, n01: Any, n10: Any, n11: Any) -> Any:
    """independence() of many."""

    def log(count: Any, whole: Any) -> Any:
        return np.where(count > 0, count * np.log(np.maximum(count, 1) / np.maximum(whole, 1)), 0.0)

    total = n00 + n01 + n10 + n11
    together = log(n00 + n10, total) + log(n01 + n11, total)
    apart = log(n00, n00 + n01) + log(n01, n00 + n01) + log(n10, n10 + n11) + log(n11, n10 + n11)
    return np.maximum(0.0, 2 * (apart - together))


def _tail(ratios: Any, chances: Any) -> Any:
    """The probability of each ratio or a larger one."""
    order = np.argsort(ratios)
    ordered = ratios[order]
    least = np.cumsum(chances[order][::-1])[::-1]
    return np.minimum(1.0, least[np.searchsorted(ordered, ratios - DUST)])


def independence_exact(sessions: int, exceptions: int, ratio: float) -> float:
    """[christoffersen-exact] The probability of a ratio at least as large, given how many exceptions there are."""
    found = patterns(sessions, exceptions)
    return min(1.0, float(found.chance[found.ratio >= ratio - DUST].sum()))


def _likely(sessions: int, rate: Fraction, spread: float) -> Iterator[int]:
    """Numbers of exceptions that are worth counting.

    :param spread: by how much the deviation is larger than a binomial's
    """
    middle = float(sessions * rate)
    wide = 8 * spread * math.sqrt(middle * float(1 - rate)) + 12
    yield from range(max(0, int(middle - wide)), min(sessions, int(middle + wide)) + 1)


def coverage_exact(sessions: int, rate: Fraction, ratio: float) -> float:
    """[christoffersen-cc] The probability of a ratio of conditional coverage at least as large."""
    total = 0.0
    for count in _likely(sessions, rate, 1.0):
        found, apart = patterns(sessions, count), kupiec(sessions, count, float(rate))
        share = float(found.chance[found.ratio + apart >= ratio - DUST].sum())
        total += binomial(sessions, rate).each[count] * share
    return min(1.0, total)


@lru_cache(maxsize=64)
def independence_power(sessions: int, rate: Fraction, again: float, significance: float) -> float:
    """[christoffersen-power] How often the exact test finds exceptions that cluster, exact.

    :param again: the probability of an exception after one; all in all there are as many as the model says
    """
    share = float(rate)
    calm = share * (1 - again) / (1 - share)
    logs = [math.log(each) for each in (1 - calm, calm, 1 - again, again)]
    total = 0.0
    for count in _likely(sessions, rate, math.sqrt(max(1.0, (1 + again) / (1 - again)))):
        found = patterns(sessions, count)
        n00, n01, n10, n11 = found.steps
        seen = (found.tail <= significance) & (n11 * (n00 + n01) > n01 * (n10 + n11))
        chance = found.ways + np.where(found.first, math.log(share), math.log(1 - share))
        chance = chance + sum(each * log for each, log in zip(found.steps, logs, strict=True))
        total += float(np.exp(chance[seen]).sum())
    return min(1.0, total)
