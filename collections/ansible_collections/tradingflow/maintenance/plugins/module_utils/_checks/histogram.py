# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Histograms of durations: cumulative buckets as Prometheus has them, what came between two looks, and quantiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .earlier import number
from .metrics import BadMetrics, Sample, Samples


@dataclass
class Histogram:
    """Observations up to each bound.

    :param bounds: upper ones in s, ascending; the last is infinite
    :param counts: cumulative, of the same places
    """

    bounds: List[float]
    counts: List[float]

    @property
    def total(self) -> float:
        return self.counts[-1]

    def since(self, before: Optional[Histogram]) -> Optional[Histogram]:
        """What came since an earlier look at the same counters; None when they cannot be compared (begun again)."""
        if before is None or before.bounds != self.bounds:
            return None
        counts = [now - before.counts[place] for place, now in enumerate(self.counts)]
        if any(count < 0 for count in counts) or counts != sorted(counts):
            return None
        return Histogram(self.bounds, counts)

    def quantile(self, share: float) -> Tuple[float, float, float]:
        """(lower bound, estimate, upper bound) of a quantile, in s: all that is certain are the bounds of its bucket.

        The estimate is linear within it, as Prometheus's histogram_quantile; beyond the last bound it is that.

        :raises ValueError: there are no observations
        """
        if self.total <= 0:
            raise ValueError("no observations")
        rank = share * self.total
        place = next(place for place, count in enumerate(self.counts) if count >= rank and count > 0)
        low = self.bounds[place - 1] if place else 0.0
        high = self.bounds[place]
        below = self.counts[place - 1] if place else 0.0
        if math.isinf(high):
            return low, low, high
        inside = self.counts[place] - below
        return low, low + (high - low) * max(0.0, rank - below) / inside, high

    def as_data(self) -> List[List[Any]]:
        """For the report: [[bound, count], ...], the last bound as text."""
        bounds = [str(bound) if math.isinf(bound) else bound for bound in self.bounds]
        return [[bound, self.counts[place]] for place, bound in enumerate(bounds)]


def from_data(data: Any) -> Optional[Histogram]:
    """What an earlier report has of one; None when that is none."""
    try:
        pairs = [(math.inf if bound == "inf" else number(bound), number(count)) for bound, count in data]
    except (TypeError, ValueError):
        return None
    bounds = [bound for bound, _count in pairs if bound is not None]
    counts = [count for _bound, count in pairs if count is not None]
    if not pairs or len(bounds) != len(pairs) or len(counts) != len(pairs):
        return None
    return Histogram(bounds, counts)


def by_route(samples: Samples, names: Sequence[str], labels: Sequence[str]) -> Dict[str, Histogram]:
    """Route -> its histogram, methods and the like added up.

    :param names: of metrics, without _bucket; the first that is there counts
    :param labels: names of the label that has the route, likewise
    :raises BadMetrics: there is none, or one that makes no sense
    """
    found = next(((name, samples[f"{name}_bucket"]) for name in names if f"{name}_bucket" in samples), None)
    if found is None:
        raise BadMetrics(f"has no histogram {' nor '.join(names) or '(none is named)'}")
    name, buckets = found
    series: Dict[str, Dict[Tuple[Tuple[str, str], ...], Dict[float, float]]] = {}
    for sample in buckets:
        route = _route(sample, labels, name)
        rest = tuple(sorted((key, value) for key, value in sample.labels.items() if key != "le"))
        try:
            bound = float(sample.labels["le"])
        except (KeyError, ValueError):
            raise BadMetrics(f"has a bucket of {name} without a bound") from None
        of_one = series.setdefault(route, {}).setdefault(rest, {})
        if bound in of_one or math.isnan(sample.value) or sample.value < 0:
            raise BadMetrics(f"has a bucket of {name} twice, or one that is no count")
        of_one[bound] = sample.value
    return {route: _added(list(each.values()), name) for route, each in series.items()}


def _route(sample: Sample, labels: Sequence[str], name: str) -> str:
    for label in labels:
        if label in sample.labels:
            return sample.labels[label]
    raise BadMetrics(f"does not tell {name} by route")


def _added(parts: List[Dict[float, float]], name: str) -> Histogram:
    bounds = sorted(parts[0])
    if any(sorted(part) != bounds for part in parts) or not bounds or not math.isinf(bounds[-1]):
        raise BadMetrics(f"has other bounds of {name} from series to series, or no last one")
    counts = [sum(part[bound] for part in parts) for bound in bounds]
    if counts != sorted(counts):
        raise BadMetrics(f"counts fewer in a larger bucket of {name}")
    return Histogram(bounds, counts)
