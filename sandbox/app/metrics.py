# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics in Prometheus's text format."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

#: Upper bounds of the duration histogram, in seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Requests:
    """Counts requests by route and code, and their durations by route."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._codes: Counter[tuple[str, int]] = Counter()
        self._durations: dict[str, list[int]] = {}
        self._sums: Counter[str] = Counter()

    def add(self, route: str, code: int, seconds: float) -> None:
        """Counts a request."""
        with self._lock:
            self._codes[route, code] += 1
            counts = self._durations.setdefault(route, [0] * (len(BUCKETS) + 1))
            counts[next((index for index, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))] += 1
            self._sums[route] += seconds  # type: ignore[assignment]

    def lines(self) -> Iterable[str]:
        """The metrics as text."""
        with self._lock:
            yield "# HELP tradingflow_http_requests_total Requests answered."
            yield "# TYPE tradingflow_http_requests_total counter"
            for (route, code), count in sorted(self._codes.items()):
                yield f'tradingflow_http_requests_total{{route="{route}",code="{code}"}} {count}'
            yield "# HELP tradingflow_http_request_duration_seconds Time to answer."
            yield "# TYPE tradingflow_http_request_duration_seconds histogram"
            name = "tradingflow_http_request_duration_seconds"
            for route, counts in sorted(self._durations.items()):
                total = 0
                for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
                    total += count
                    yield f'{name}_bucket{{route="{route}",le="{bound}"}} {total}'
                yield f'{name}_sum{{route="{route}"}} {self._sums[route]:.6f}'
                yield f'{name}_count{{route="{route}"}} {total}'


def gauge(name: str, help_text: str, value: float | None, labels: str = "") -> Iterable[str]:
    """One gauge as text; nothing if its value is not known."""
    if value is not None:
        yield f"# HELP {name} {help_text}"
        yield f"# TYPE {name} gauge"
        yield f"{name}{labels} {value}"


def resident_memory() -> int:
    """Bytes of memory this process has resident."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096
