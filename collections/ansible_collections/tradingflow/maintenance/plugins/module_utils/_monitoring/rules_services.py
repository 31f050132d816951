# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of the application and the database, against the thresholds of their checks."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Dict, Iterator, List

from ..checks import limits
from .measures import BEYOND, NEARLY, Measure, measured, part, same, series_of, whole
from .rule import Rule, Series, constant, growing, selector, text

#: Names of labels in the matchers of a metric.
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")


def application(options: Dict[str, Any]) -> Iterator[Rule]:
    """What the application says of itself, against the thresholds of its checks."""
    thresholds, names, own = options["application"], options["metrics"], options["selectors"]["application"]
    if not thresholds:
        return
    labels = ",".join(filter(None, (own, 'instance="app:8080"')))
    up = selector("up", own)
    yield Rule(
        "TradingFlowApplicationDown",
        f"{up} == 0 or absent({up})",
        "critical",
        "The application's metrics are not answered at {{ $labels.instance }}.",
        "Check that it runs and that Prometheus reaches it.",
        hold="2m",
        firing=[constant(selector("up", labels), 0)],
        silent=[constant(selector("up", labels), 1)],
    )
    requests, code = names["requests"], names["status_label"]
    labelled = selector(requests, f"{code}!={text('')}") if code else ""
    error_rate: Measure = (
        *("error_rate", "TradingFlowErrorRate", "%", False),
        lambda own: (
            f"100 * sum by (instance) (rate({selector(requests, own, code + '=~' + text('5..'))}[5m])) "
            f"/ sum by (instance) (rate({selector(requests, own)}[5m]))"
        ),
        (labelled,),
        lambda labels, value: [
            growing(selector(requests, labels, f'{code}="500"'), value),
            growing(selector(requests, labels, f'{code}="200"'), 100 - value),
        ],
        '{{ $value | printf "%.2f" }} % of the requests to {{ $labels.instance }} are answered by 5xx.',
        "Read the application's log for what failed, and look at what it depends on.",
    )
    # What the application has no name for is not measured, and has no rule.
    if requests and code:
        yield from measured(error_rate, limits(thresholds, "error_rate"), own, labels, tolerance=(NEARLY, BEYOND))
    for quantile in (50, 95, 99) if names["duration"] else ():
        for rule in measured(
            _response_time(names["duration"], quantile),
            limits(thresholds, f"response_time_p{quantile}"),
            own,
            labels,
            tolerance=(NEARLY, BEYOND),
        ):
            # What lies beyond the last finite bound is told to be that.
            rule.bucket = (selector(f"{names['duration']}_bucket", own), (rule.threshold or 0) / 1000)
            yield rule
    pool: Measure = (
        *("pool_used", "TradingFlowPoolUsed", "%", False),
        partial(_pool, names["pool_in_use"], names["pool_size"]),
        (names["pool_in_use"], names["pool_size"]),
        series_of((names["pool_in_use"], part), (names["pool_size"], whole)),
        '{{ $value | printf "%.0f" }} % of the connections of the pool of {{ $labels.instance }} are in use.',
        "Look for slow statements and sessions idle in transaction; then for a pool that is too small.",
    )
    if names["pool_in_use"] and names["pool_size"]:
        yield from measured(pool, limits(thresholds, "pool_used"), own, labels)


def _pool(used: str, size: str, own: str) -> str:
    """Each pool for itself, as the check has it; labels that only tell which connections are meant are summed over."""
    told = ", ".join(sorted(set(_LABEL.findall(used) + _LABEL.findall(size))))
    parts = (f"sum without ({told}) ({selector(metric, own)})" for metric in (used, size))
    return f"100 * {' / '.join(parts)}"


def _response_time(duration: str, quantile: int) -> Measure:
    """Of a histogram in seconds. Its buckets bound what can be told: see docs/application-tuning.md."""
    buckets = f"{duration}_bucket"

    def series(labels: str, value: float) -> List[Series]:
        # All requests in one narrow bucket around the value; any is above a threshold of 0.
        value = value or 1
        bounds = ((f"{value / 1000 * 0.999:.12g}", 0.0), (f"{value / 1000 * 1.001:.12g}", 10.0), ("+Inf", 10.0))
        return [growing(selector(buckets, labels, f'le="{bound}"'), step) for bound, step in bounds]

    return (
        *(f"response_time_p{quantile}", f"TradingFlowResponseTimeP{quantile}", "ms", False),
        lambda own: (
            f"1000 * histogram_quantile({quantile / 100:g}, sum by (instance, le) (rate({selector(buckets, own)}[5m])))"
        ),
        (buckets,),
        series,
        f'{quantile} % of the answers of {{{{ $labels.instance }}}} take {{{{ $value | printf "%.0f" }}}} ms or less.',
        "See which route is slow: playbooks/weekly.yml --tags application_tuning.",
    )


DATABASE: List[Measure] = [
    (
        *("connections", "TradingFlowConnections", "%", False),
        lambda own: (
            f"100 * sum by (instance) ({selector('pg_stat_activity_count', own)}) "
            f"/ sum by (instance) ({selector('pg_settings_max_connections', own)})"
        ),
        ("pg_stat_activity_count", "pg_settings_max_connections"),
        series_of(("pg_stat_activity_count", part), ("pg_settings_max_connections", whole)),
        '{{ $value | printf "%.0f" }} % of the connections of {{ $labels.instance }} are taken.',
        "See who holds them (pg_stat_activity), and the sizes of pools.",
    ),
    (
        *("longest_transaction", "TradingFlowLongestTransaction", "s", False),
        lambda own: f"max by (instance) ({selector('pg_stat_activity_max_tx_duration', own)})",
        ("pg_stat_activity_max_tx_duration",),
        series_of(("pg_stat_activity_max_tx_duration", same)),
        'A transaction on {{ $labels.instance }} has been open for {{ $value | printf "%.0f" }} s.',
        "Find it in pg_stat_activity and end it: it keeps vacuum from cleaning up.",
    ),
    (
        *("replication_lag", "TradingFlowReplicationLag", "s", False),
        lambda own: f"max by (instance) ({selector('pg_replication_lag_seconds', own)})",
        ("pg_replication_lag_seconds",),
        series_of(("pg_replication_lag_seconds", same)),
        '{{ $labels.instance }} is {{ $value | printf "%.0f" }} s behind.',
        "Look at its network, its disks, and long queries there.",
    ),
]


def database(options: Dict[str, Any]) -> Iterator[Rule]:
    """What postgres_exporter says, against the thresholds of the checks."""
    if not options["database"]:
        return
    own = options["selectors"]["postgres"]
    labels = ",".join(filter(None, (own, 'instance="db:9187"')))
    up, answers = selector("up", own), selector("pg_up", own)
    yield Rule(
        "TradingFlowDatabaseDown",
        f"{answers} == 0 or {up} == 0 or absent({answers})",
        "critical",
        "The database of {{ $labels.instance }} does not answer, or its postgres_exporter is not heard.",
        "Check that PostgreSQL runs and takes connections, then postgres_exporter and that Prometheus reaches it.",
        hold="2m",
        firing=[constant(selector("pg_up", labels), 0)],
        silent=[constant(selector("pg_up", labels), 1)],
    )
    for measure in DATABASE:
        yield from measured(measure, limits(options["database"], measure[0]), own, labels)
