# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has thresholds and is measured between two runs: one rule for each threshold."""

from __future__ import annotations

import math
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from .rule import Rule, Series, constant, selector

LEVELS = ("warning", "critical")
#: Factors of a threshold at which a test's series lie, before it and at it, where the sum is not exact.
NEARLY, BEYOND = 0.98, 1.02

#: (threshold, alert, unit, whether low is bad, expression by matchers, metrics, series by labels and value, summary,
#: remedy)
Measure = Tuple[str, str, str, bool, Callable[..., str], Sequence[str], Callable[..., List[Series]], str, str]


def percent(part: str, whole: str) -> Callable[[str], str]:
    return lambda own: f"100 * {selector(part, own)} / {selector(whole, own)}"


def used(whole: str, free: str) -> Callable[[str], str]:
    return lambda own: f"100 * ({selector(whole, own)} - {selector(free, own)}) / {selector(whole, own)}"


def series_of(*parts: Tuple[str, Callable[[float], float]]) -> Callable[[str, float], List[Series]]:
    return lambda labels, value: [constant(selector(name, labels), made(value)) for name, made in parts]


def whole(_value: float) -> float:
    return 1000


def part(value: float) -> float:
    return 10 * value


def rest(value: float) -> float:
    return 1000 - 10 * value


def same(value: float) -> float:
    return value


def _around(value: float, most: float, below: bool, tolerance: Tuple[float, float]) -> Tuple[float, Optional[float]]:
    """What a test gives: a value at the threshold, and one before it; None where nothing is before it.

    Nothing measured is below 0: a threshold of 0 is always reached, as the check has it.
    """
    if not below and value <= 0:
        return 0.0, None
    if tolerance != (1, 1):
        return min(value * tolerance[1], most), value * tolerance[0]
    # What has no end in binary may come out a little beside it.
    beside = 0.0 if value == int(value) else 1e-6
    if below:
        return max(value - beside, 0.0), value + 0.1
    return min(value + beside, most), max(value - 0.1, 0.0)


def measured(
    measure: Measure,
    limit: Dict[str, Optional[float]],
    own: str,
    labels: str,
    whose: Sequence[str] = (),
    tolerance: Tuple[float, float] = (1, 1),
    besides: str = "",
    mount: str = "",
) -> Iterator[Rule]:
    """The rules of one measure: one for each of its thresholds that is set.

    :param own: matchers of its series
    :param labels: labels of the series of a test, which the matchers take
    :param whose: hosts that must each have the series
    :param besides: what is left out of it, as PromQL
    :param mount: see Rule
    :param tolerance: factors of the threshold at which the test's series lie, before it and at it
    """
    _name, alert, unit, below, expression, metrics, series, summary, remedy = measure
    for level in LEVELS:
        value = limit.get(level)
        # No share is above 100 %: what cannot be reached is no threshold, and no test would see it fire.
        most = 100.0 if unit == "%" else math.inf
        if value is None or value > most or (below and value < 0):
            continue
        at, before = _around(value, most, below, tolerance)
        needs = [(selector(metric, own), tuple(whose)) for metric in metrics]
        yield Rule(
            alert,
            f"{expression(own)} {'<=' if below else '>='} {value:.15g}{besides}",
            level,
            summary,
            remedy,
            needs=needs,
            firing=series(labels, at),
            silent=None if before is None else series(labels, before),
            threshold=value,
            unit=unit,
            mount=mount,
            measure=expression(own) + besides,
            below=below,
        )
