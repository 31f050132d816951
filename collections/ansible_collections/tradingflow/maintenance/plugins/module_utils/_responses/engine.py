# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look at the application: one judgement per route and replica, memory and pool over the runs, and charts."""

from __future__ import annotations

import hashlib
import http.client
import ssl
from datetime import datetime, timezone
from statistics import median
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from .._checks.application import reason
from .._checks.earlier import Earlier, moment, nothing, number
from .._checks.guard import escaped
from .._checks.histogram import Histogram, by_route, from_data
from .._checks.metrics import BadMetrics, Sample, Samples, find, parse
from .._checks.usage import MOST, same_process, started
from .._http.request import Replica, context, get, replica
from ..checks import CRITICAL, OK, STATUSES, UNKNOWN, WARNING, Check, as_action, judge, limits, unknown, utc_now
from ..errors import ConfigurationError, DatabaseError
from ..words import plural, printable, size, span
from .statements import by_route as statements_by_route

#: Routes of a replica that are judged each, the busiest; and points of a chart.
ROUTES, POINTS = 40, 30
#: Runs of one process from which on its memory has a trend, and the days that they must span.
ENOUGH_RUNS, ENOUGH_DAYS = 4, 1.0
QUANTILES = (50, 95, 99)
AREA = "application_tuning"


def measure(options: Dict[str, Any], earlier: Earlier = nothing) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Checks and charts of all replicas.

    :param earlier: what earlier runs said, also those that could not tell
    :raises ConfigurationError: no URL, or options that make no sense
    """
    for name in options["thresholds"]:
        limits(options["thresholds"], name)
    if not options["urls"]:
        raise ConfigurationError("No URL of the application is known.", "Set tradingflow_application.urls.")
    if options["minimum"] < 1:
        raise ConfigurationError("minimum must be at least 1.", "Correct it.")
    behind, checks = _statements(options)
    actions: List[Dict[str, Any]] = []
    trust = context(options["ca_file"])
    for number_, url in enumerate(options["urls"], 1):
        target = replica(url, number_)
        try:
            samples = _read(target, options, trust)
        except BadMetrics as error:
            source = target.name + options["metrics_path"]
            text, remedy = f"{source} {error}.", "Get it to answer with Prometheus's text format; correct metrics_path."
            checks.append(unknown(f"{AREA}.routes:{target.name}", f"Routes of {target.name}", text, remedy))
            continue
        for part in (_routes, _memory, _pool):
            try:
                found, charts = part(target, samples, options, earlier, behind)
            except BadMetrics as error:
                name = part.__name__.strip("_")
                text = f"{target.name}{options['metrics_path']} {error}."
                title = f"{name.capitalize()} of {target.name}"
                remedy = "Name what the application calls it in durations, route_labels or metrics."
                if part is _routes:
                    remedy += (
                        " Where it has no histogram, its access log may tell: request_time of a log of housekeeping."
                    )
                found, charts = [unknown(f"{AREA}.{name}:{target.name}", title, text, remedy)], []
            except Exception as error:
                name = part.__name__.strip("_")
                found, charts = [escaped(f"{AREA}.{name}:{target.name}", f"{name} of {target.name}", error)], []
            checks += found
            actions += charts
    return checks, actions


Found = Tuple[List[Check], List[Dict[str, Any]]]


def _statements(options: Dict[str, Any]) -> Tuple[Dict[str, List[Dict[str, Any]]], List[Check]]:
    """What the database says of routes; when it does not answer, routes are judged all the same."""
    id, title = f"{AREA}.statements", "Statements that name their route"
    try:
        found = statements_by_route(options["database"], options["timeout"])
    except DatabaseError as error:
        return {}, [unknown(id, title, error.message, error.remedy, source="pg_stat_statements")]
    text = f"Statements of {plural(len(found), 'route')} can be told by their comments."
    if not found:
        text = "No statement names its route in a comment: what is slow behind a route cannot be told."
        text += " sqlcommenter, or the framework's query tags, write one."
    return found, [Check(id, title, OK, len(found), message=text, source="pg_stat_statements")]


def _read(target: Replica, options: Dict[str, Any], trust: ssl.SSLContext) -> Samples:
    try:
        answer = get(target, options["metrics_path"], options["timeout"], trust, MOST)
    except (OSError, http.client.HTTPException) as error:
        raise BadMetrics(f"could not be read: {reason(error)}") from None
    if answer.status != 200:
        raise BadMetrics(f"answers {answer.status}")
    if answer.truncated:
        raise BadMetrics(f"has more than {size(MOST)}")
    return parse(answer.body)


def _routes(
    target: Replica, samples: Samples, options: Dict[str, Any], earlier: Earlier, behind: Dict[str, Any]
) -> Found:
    histograms = by_route(samples, options["durations"], options["route_labels"])
    start = started(samples, options)
    failed = _failures(samples, options)
    busiest = sorted(histograms, key=lambda route: -histograms[route].total)
    judged = [route for route in busiest if route not in options["left_out"]]
    checks, actions = [], []
    for route in judged[:ROUTES]:
        check = _route(target, route, histograms[route], start, failed.get(route), options, earlier)
        told = behind.get(route)
        if told:
            check.details["statements"] = told
            if check.status != OK:
                check.message += f" Its slowest statement takes {told[0]['mean_ms']:g} ms on average: {told[0]['text']}"
        checks.append(check)
        actions += _drawn(check, route, target, earlier)
    text = f"{plural(len(judged), 'route')} answered requests."
    if len(judged) > ROUTES:
        text += f" The {ROUTES} busiest are judged."
    id, title = f"{AREA}.routes:{target.name}", f"Routes of {target.name}"
    if judged:
        checks.append(Check(id, title, OK, len(judged), message=text))
    else:
        text = "No route answered requests but those that are left out: how fast it answers is not known."
        checks.append(unknown(id, title, text, "See that requests get to it; correct left_out and route_labels."))
    return checks, actions


def _failures(samples: Samples, options: Dict[str, Any]) -> Dict[str, Tuple[float, float]]:
    """Route -> (answered, of them by 5xx) since the process started; empty when nobody counts them by route."""
    result: Dict[str, Tuple[float, float]] = {}
    try:
        found: List[Sample] = find(samples, options["metrics"]["requests"])
    except BadMetrics:
        return {}
    for each in found:
        route = next((each.labels[name] for name in options["route_labels"] if name in each.labels), None)
        code = next((each.labels[name] for name in options["metrics"]["status_labels"] if name in each.labels), None)
        if route is None or code is None:
            return {}
        answered, bad = result.get(route, (0.0, 0.0))
        result[route] = answered + each.value, bad + (each.value if code.startswith("5") else 0)
    return result


def _route(
    target: Replica,
    route: str,
    now: Histogram,
    start: Optional[float],
    failed: Optional[Tuple[float, float]],
    options: Dict[str, Any],
    earlier: Earlier,
) -> Check:
    """One route since the last run; after a restart, since that."""
    shown = printable(route, 80)
    if len(shown) < len(route):
        # What was cut may be all that tells it from another.
        shown = f"{printable(route, 70)} {hashlib.sha256(route.encode()).hexdigest()[:8]}"
    id, title = f"{AREA}.response_time:{target.name} {shown}", f"Response time of {shown} at {target.name}"
    source = target.name + options["metrics_path"]
    before = next(iter(earlier(id)[-1:]), None)
    past: Dict[str, Any] = (before or {}).get("details") or {}
    details: Dict[str, Any] = {"buckets": now.as_data(), "started": start, "failed": list(failed or ())}
    came = now.since(from_data(past.get("buckets"))) if before and same_process(start, before) else None
    since = moment(before) if before and came else None
    ago = f"since the last run, {span((datetime.now(timezone.utc) - since).total_seconds())} ago" if since else ""
    window = ago or ("since it was restarted" if before else "since it was started")
    came = came or now
    details["requests"] = came.total
    common: Dict[str, Any] = {"unit": "ms", "source": source, "details": details}
    share, failing = _errors(past if ago else {}, failed), OK
    if share is not None:
        details["errors_percent"] = share
        failing = judge(id, title, share, **limits(options["thresholds"], "errors"), message="").status
    if came.total < options["minimum"]:
        text = f"{plural(int(came.total), 'request')} {window}: too few of {options['minimum']} to judge."
        if failing != OK:
            text += f" {share:g} % answered by 5xx."
        value = 0 if not came.total else _ms(came.quantile(0.95)[1])
        few = Check(id, title, UNKNOWN if failing == OK else failing, value, message=text, **common)
        few.remedy = "Lower minimum, or name the route in left_out." if failing == OK else "Read the application's log."
        return few
    verdicts, told = [], []
    for percent in QUANTILES:
        low, about, high = (_ms(value) for value in came.quantile(percent / 100))
        details[f"p{percent}"] = [low, about, None if high == float("inf") else high]
        limit = limits(options["thresholds"], f"response_time_p{percent}")
        status, why = within(low, high, limit)
        verdicts.append((status, why, limit))
        told.append(
            f"p{percent} {about:g} ms (between {low:g} and {high:g})"
            if high != float("inf")
            else f"p{percent} above {low:g} ms"
        )
    if share is not None:
        verdicts.append((failing, "", limits(options["thresholds"], "errors")))
        told.append(f"{share:g} % answered by 5xx")
    status = max((verdict[0] for verdict in verdicts), key=STATUSES.index)
    reasons = [why for _status, why, _limit in verdicts if why]
    text = f"{plural(int(came.total), 'request')} {window}: {', '.join(told)}.{' '.join(['', *reasons])}"
    remedy = "Look at what it does: its statements, what it waits for, and how much it returns."
    if status == UNKNOWN:
        remedy = "Give the histogram a bound at the threshold, or set the threshold to a bound."
    check = Check(id, title, status, details["p95"][1], message=text, **common)
    check.warning, check.critical = verdicts[1][2]["warning"], verdicts[1][2]["critical"]
    check.remedy = "" if status == OK else remedy
    return check


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)


def within(low: float, high: float, limit: Dict[str, Any]) -> Tuple[str, str]:
    """What is certain of a value that lies above low and up to high: status, and why it is not known.

    A bound at the threshold counts as below it: all of the bucket is up to there.
    """
    warning, critical = limit["warning"], limit["critical"]
    if critical is not None and low >= critical:
        return CRITICAL, ""
    if critical is not None and high > critical:
        return UNKNOWN, f"Whether it is beyond {critical:g} ms cannot be told within its bucket."
    if warning is not None and low >= warning:
        return WARNING, ""
    if warning is not None and high > warning:
        return UNKNOWN, f"Whether it is beyond {warning:g} ms cannot be told within its bucket."
    return OK, ""


def _errors(past: Dict[str, Any], now: Optional[Tuple[float, float]]) -> Optional[float]:
    """Percent of requests answered by 5xx; None when nobody counts them."""
    if now is None:
        return None
    requests, bad = now
    then = past.get("failed")
    known = isinstance(then, list) and len(then) == 2 and all(number(value) is not None for value in then)
    if known and then and requests >= then[0] and bad >= then[1]:
        requests, bad = requests - then[0], bad - then[1]
    return round(100 * bad / requests, 3) if requests else 0.0


def _drawn(check: Check, route: str, target: Replica, earlier: Earlier) -> List[Dict[str, Any]]:
    """p95 over the runs, with the bounds of its bucket."""
    points = []
    for each in [*earlier(check.id)[-POINTS + 1 :], check.as_dict()]:
        at, bounds = moment(each), (each.get("details") or {}).get("p95")
        if at and isinstance(bounds, list) and len(bounds) == 3 and all(number(value) is not None for value in bounds):
            points.append([at.timestamp(), *bounds])
    title = f"{printable(route, 60)} of {target.name}: p95 in ms, with the bounds of its bucket"
    return _chart(check.id, title, points)


def _chart(id: str, title: str, points: List[List[float]]) -> List[Dict[str, Any]]:
    if len(points) < 2:
        return []
    first, last = (datetime.fromtimestamp(points[place][0], timezone.utc).strftime("%Y-%m-%d") for place in (0, -1))
    chart = {"kind": "band", "title": title, "from": first, "to": last, "points": points}
    return [as_action(id, title, "ok", False, "", utc_now(), {"charts": [chart]})]


def _memory(
    target: Replica, samples: Samples, options: Dict[str, Any], earlier: Earlier, _behind: Dict[str, Any]
) -> Found:
    """Growth of one process over the runs, in % of what it has now per week: the median of all pairs' slopes."""
    if not options["metrics"]["memory"]:
        return [], []
    id, title = f"{AREA}.memory:{target.name}", f"Growth of the memory of {target.name}"
    value = sum(each.value for each in find(samples, options["metrics"]["memory"]))
    start = started(samples, options)
    points = _history(id, "bytes", earlier, lambda each: start is not None and same_process(start, each))
    points.append((datetime.now(timezone.utc).timestamp(), value))
    days = (points[-1][0] - points[0][0]) / 86400
    details = {"bytes": value, "started": start, "runs": len(points)}
    drawn = _chart(id, f"{target.name}: memory in MB", [[at, *[each / 1e6] * 3] for at, each in points[-POINTS:]])
    if len(points) < ENOUGH_RUNS or days < ENOUGH_DAYS:
        text = f"{size(value)} are resident. Not judged yet: {plural(len(points), 'run')} of this process"
        text += f", of {ENOUGH_RUNS} over a day or more."
        return [Check(id, title, OK, 0, unit="% a week", message=text, details=details)], drawn
    slopes = [
        (other - one) / (later - at)
        for place, (at, one) in enumerate(points)
        for later, other in points[place + 1 :]
        if later > at
    ]
    growth = round(100 * median(slopes) * 7 * 86400 / value, 1)
    check = judge(
        id,
        title,
        growth,
        unit="% a week",
        **limits(options["thresholds"], "memory_growth"),
        message=f"{size(value)} are resident, and {growth:g} % more each week over {days:.0f} days of this process.",
        remedy="Look for what it keeps (a heap profile); until it is found, restart it in a quiet hour.",
        details=details,
    )
    return [check], drawn


def _history(
    id: str, key: str, earlier: Earlier, wanted: Callable[[Dict[str, Any]], bool]
) -> List[Tuple[float, float]]:
    """(when, what) of earlier runs."""
    points = []
    for each in earlier(id):
        at, value = moment(each), number((each.get("details") or {}).get(key))
        if at is not None and value is not None and wanted(each):
            points.append((at.timestamp(), value))
    return points


def _pool(
    target: Replica, samples: Samples, options: Dict[str, Any], earlier: Earlier, _behind: Dict[str, Any]
) -> Found:
    """The fullest that any pool was at a look at this process, in %.

    A look is a moment, and between two it may have been fuller.
    """
    names = options["metrics"]
    if not names["pool_in_use"]:
        return [], []
    id, title = f"{AREA}.pool:{target.name}", f"Fullest pool of {target.name}"
    # Each pool for itself, as the check of every day has it: an empty one beside a full one is no room.
    taken, sizes = (
        {tuple(sorted(each.labels.items())): each.value for each in find(samples, names[name])}
        for name in ("pool_in_use", "pool_size")
    )
    if taken.keys() != sizes.keys():
        raise BadMetrics("names other pools for connections in use than for their size")
    if not all(sizes.values()):
        raise BadMetrics("says that the pool's size is 0")
    fullest = max(taken, key=lambda key: taken[key] / sizes[key])
    used, most, start = taken[fullest], sizes[fullest], started(samples, options)
    every = sorted(sizes.values())
    waiting = None
    if names["pool_waiting"]:
        waiting = sum(each.value for each in _maybe(samples, names["pool_waiting"]))
    now = round(100 * used / most, 1)

    def same(each: Dict[str, Any]) -> bool:
        # What was full in another process, or with another size, says nothing of this one.
        return start is not None and same_process(start, each) and (each.get("details") or {}).get("sizes") == every

    points = [*_history(id, "percent", earlier, same), (datetime.now(timezone.utc).timestamp(), now)]
    points = points[-POINTS:]
    peak = max(value for _at, value in points)
    check = judge(
        id,
        title,
        peak,
        unit="%",
        **limits(options["thresholds"], "pool_peak"),
        message=f"{used:g} of {most:g} connections are in use now; {peak:g} % at most in {plural(len(points), 'look')}"
        + (f"; {waiting:g} requests wait." if waiting is not None else "."),
        remedy="Look for slow statements first. All pools together must stay below max_connections.",
        details={
            "percent": now,
            "in_use": used,
            "size": most,
            "waiting": waiting,
            "pool": dict(fullest),
            "sizes": every,
            "started": start,
        },
    )
    drawn = _chart(id, f"{target.name}: pool in %", [[at, value, value, value] for at, value in points])
    return [check], drawn


def _maybe(samples: Samples, names: List[str]) -> Iterator[Sample]:
    try:
        yield from find(samples, names)
    except BadMetrics:
        return
