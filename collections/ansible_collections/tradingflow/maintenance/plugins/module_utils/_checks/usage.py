# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the application says of itself in its metrics: memory, its pool of connections, requests that fail."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from statistics import median
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

from .._http.request import Replica
from ..checks import OK, Check, judge, limits, unknown
from ..words import size, span
from .earlier import Earlier, moment, number
from .metrics import BadMetrics, Samples, find

#: Where metrics of requests are, their histograms and labels of routes, most specific first, and routes of probes.
REQUESTS_SPEC: Dict[str, Any] = {
    "metrics_path": {"type": "str", "default": "/metrics"},
    "durations": {
        "type": "list",
        "elements": "str",
        "default": [
            "tradingflow_http_request_duration_seconds",
            "http_request_duration_seconds",
            "http_server_requests_seconds",
            "http_server_request_duration_seconds",
        ],
    },
    "route_labels": {"type": "list", "elements": "str", "default": ["route", "handler", "uri", "path", "http_route"]},
    "left_out": {"type": "list", "elements": "str", "default": ["/health", "/ready", "/metrics", "/version"]},
}
#: Names of metrics, most specific first: the sample service's, then those of the usual client libraries
#: (Prometheus's own, HikariCP by Micrometer, OpenTelemetry).
METRICS_SPEC: Dict[str, Any] = {
    name: {"type": "list", "elements": "str", "default": default}
    for name, default in {
        "memory": ["process_resident_memory_bytes", "process_memory_usage_bytes"],
        "started": ["process_start_time_seconds"],
        "pool_in_use": [
            "tradingflow_db_pool_in_use",
            "hikaricp_connections_active",
            'db_client_connection_count{state="used"}',
            'db_client_connections_usage{state="used"}',
        ],
        "pool_size": [
            "tradingflow_db_pool_limit",
            "hikaricp_connections_max",
            "db_client_connection_max",
            "db_client_connections_max",
        ],
        "pool_waiting": [
            "tradingflow_db_pool_waiting",
            "hikaricp_connections_pending",
            "db_client_connection_pending_requests",
            "db_client_connections_pending_requests",
        ],
        "requests": [
            "tradingflow_http_requests_total",
            "http_requests_total",
            "http_server_requests_seconds_count",
            "http_server_request_duration_seconds_count",
        ],
        "status_labels": ["code", "status", "status_code", "http_response_status_code"],
    }.items()
}

#: Bytes of metrics that are read.
MOST = 8 << 20
#: Earlier runs from which on memory is compared with its own history.
ENOUGH_RUNS = 3
#: Failed requests from which on their share says anything: fewer may be our own probes of a service that was down.
ENOUGH_ERRORS = 5
#: Seconds by which a process may tell its start differently from run to run.
SAME_START = 2

Judge = Callable[[Replica, Samples, Dict[str, Any], Earlier], Check]


def usage(
    target: Replica, samples: Optional[Samples], problem: str, options: Dict[str, Any], earlier: Earlier
) -> Iterator[Check]:
    """The checks made from a replica's metrics. One whose list of metrics is empty is not made.

    :param samples: its metrics; None when they could not be had
    :param problem: why, as the end of a sentence that begins with where they lie
    """
    source = target.name + options["metrics_path"]
    for name, title, needs, judged in CHECKS:
        if not options["metrics"][needs]:
            continue
        id, titled = f"application.{name}:{target.name}", f"{title} of {target.name}"
        try:
            if samples is None:
                raise BadMetrics(problem)
            yield judged(target, samples, options, earlier)
        except BadMetrics as error:
            yield unknown(
                id,
                titled,
                f"{source} {error}.",
                f"See what the application says there; name its metrics in metrics.{needs}, or leave that list empty "
                "when it has none.",
                source=source,
            )


def started(samples: Samples, options: Dict[str, Any]) -> Optional[float]:
    """When the process was started, s since the epoch; None when it does not say."""
    try:
        return max(each.value for each in find(samples, options["metrics"]["started"]))
    except BadMetrics:
        return None


def same_process(now: Optional[float], before: Dict[str, Any]) -> bool:
    """Whether an earlier check was of the same process; without its start assumed, and the counters tell then."""
    then = number(before.get("details", {}).get("started"))
    return now is None or then is None or abs(now - then) <= SAME_START


def memory(target: Replica, samples: Samples, options: Dict[str, Any], earlier: Earlier) -> Check:
    """Bytes the process has resident, against its own history."""
    id = f"application.memory:{target.name}"
    value = sum(each.value for each in find(samples, options["metrics"]["memory"]))
    start = started(samples, options)
    known = [each for each in earlier(id) if number(each["value"])]
    details: Dict[str, Any] = {"started": start, "runs": len(known)}
    text = f"{size(value)} are resident"
    if len(known) < ENOUGH_RUNS:
        text += f"; growth is not judged yet: {len(known)} of {ENOUGH_RUNS} runs."
    else:
        usual = median(each["value"] for each in known)
        details["median"], details["percent_of_median"] = usual, round(100 * value / usual, 1)
        text += f", {details['percent_of_median']:g} % of the median of the last {len(known)} runs"
        first = next((each for each in known if start is not None and same_process(start, each)), None)
        begun = moment(first) if first else None
        days = (datetime.now(timezone.utc) - begun).total_seconds() / 86400 if begun else 0
        if first and days >= 1:
            details["bytes_per_day"] = round((value - first["value"]) / days)
            text += f"; this process grew by {size(details['bytes_per_day'])} a day over {days:.0f} days"
        text += "."
    return judge(
        id,
        f"Memory of {target.name}",
        int(value),
        unit="bytes",
        **limits(options["thresholds"], "memory"),
        message=text,
        remedy="Compare with its load; when it only ever grows, restart it in a quiet hour and look for the leak.",
        source=target.name + options["metrics_path"],
        details=details,
    )


def pool(target: Replica, samples: Samples, options: Dict[str, Any], earlier: Earlier) -> Check:
    """Connections in use of those the application's pool may open, in %; of several pools the fullest."""
    names = options["metrics"]
    used, most = (
        {tuple(sorted(each.labels.items())): each.value for each in find(samples, names[name])}
        for name in ("pool_in_use", "pool_size")
    )
    if used.keys() != most.keys():
        raise BadMetrics("names other pools for connections in use than for their size")
    if not all(most.values()):
        raise BadMetrics("says that the pool's size is 0")
    fullest = max(used, key=lambda key: used[key] / most[key])
    value = round(100 * used[fullest] / most[fullest], 1)
    try:
        waiting: Optional[float] = sum(each.value for each in find(samples, names["pool_waiting"]))
    except BadMetrics:
        waiting = None
    text = f"{used[fullest]:g} of {most[fullest]:g} connections are in use"
    text += f", {waiting:g} requests wait for one." if waiting is not None else "."
    return judge(
        f"application.pool_used:{target.name}",
        f"Connection pool of {target.name}",
        value,
        unit="%",
        **limits(options["thresholds"], "pool_used"),
        message=text,
        remedy="Look for slow statements and sessions idle in transaction; then for a pool that is too small.",
        source=target.name + options["metrics_path"],
        details={"in_use": used[fullest], "size": most[fullest], "waiting": waiting, "pool": dict(fullest)},
    )


def counted(samples: Samples, options: Dict[str, Any]) -> Tuple[float, float]:
    """Requests answered, and those of them answered by 5xx, since the process started.

    :raises BadMetrics: no counter tells requests by their status
    """
    requests = errors = 0.0
    for each in find(samples, options["metrics"]["requests"]):
        labels = [each.labels[name] for name in options["metrics"]["status_labels"] if name in each.labels]
        if not labels or not re.fullmatch(r"[1-5](\d\d|[xX]{2})", labels[0]):
            raise BadMetrics("counts requests without their HTTP status, so that errors cannot be told")
        requests += each.value
        errors += each.value if labels[0].startswith("5") else 0
    return requests, errors


def error_rate(target: Replica, samples: Samples, options: Dict[str, Any], earlier: Earlier) -> Check:
    """Requests answered by 5xx since the last run, in %; after a restart, since that."""
    id, title = f"application.error_rate:{target.name}", f"Failed requests of {target.name}"
    requests, errors = counted(samples, options)
    start = started(samples, options)
    common: Dict[str, Any] = {"unit": "%", "source": target.name + options["metrics_path"]}
    details: Dict[str, Any] = {"requests": requests, "errors": errors, "started": start}
    before = next(iter(earlier(id)[-1:]), None)
    past = before["details"] if before else {}
    past_requests, past_errors = number(past.get("requests")), number(past.get("errors"))
    limit = limits(options["thresholds"], "error_rate")
    if before is None or past_requests is None or past_errors is None:
        share = round(100 * errors / requests, 3) if requests else 0.0
        text = f"Not judged yet: 0 of 1 earlier runs. {errors:g} of {requests:g} requests failed since it was started."
        return Check(id, title, OK, share, message=text, details=details, **common)
    # Counters begin again at 0 with each process.
    restarted = not same_process(start, before) or requests < past_requests or errors < past_errors
    if not restarted:
        requests, errors = requests - past_requests, errors - past_errors
    if errors > requests:
        raise BadMetrics("counts more errors than requests")
    value = round(100 * errors / requests, 3) if requests else 0.0
    since = moment(before)
    ago = f", {span(max(0, round(time.time() - since.timestamp())))} ago" if since else ""
    window = "it was restarted" if restarted else f"the last run{ago}"
    details.update(new_requests=requests, new_errors=errors, restarted=restarted)
    check = judge(
        id,
        title,
        value,
        **limit,
        message=f"{errors:g} of {requests:g} requests were answered by 5xx since {window}."
        + (" What came before that is not known." if restarted else ""),
        remedy="Read the application's log for what failed, and look at what it depends on.",
        details=details,
        **common,
    )
    if errors < ENOUGH_ERRORS and check.status != OK:
        check.status, check.remedy = OK, ""
        check.message += " Too few to judge."
    return check


CHECKS: Tuple[Tuple[str, str, str, Judge], ...] = (
    ("memory", "Memory", "memory", memory),
    ("pool_used", "Connection pool", "pool_in_use", pool),
    ("error_rate", "Failed requests", "requests", error_rate),
)
