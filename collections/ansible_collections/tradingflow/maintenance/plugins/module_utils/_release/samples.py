# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the pods of a release say of themselves at one moment, and what came between two such moments.

Counters are of one process: they begin again at 0 with each, and what came after the last look at a process that is
gone is not known. Requests of probes are left out by their route, as otherwise every quiet service has traffic.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .._checks.histogram import Histogram, by_route, from_data
from .._checks.metrics import BadMetrics, Samples, find, parse
from .._checks.usage import counted

#: Samples kept in a record; then neighbours are added up, so that a long soak stays a small object.
MOST_SAMPLES = 300
#: Kinds of log lines that one summary names.
MOST_KINDS = 20
MEASURES = ("errors", "latency", "memory", "restarts", "logs")


@dataclass
class Counters:
    """What one process counts since it was started. None: it does not say, or it could not be read.

    :param requests: answered, routes of probes left out
    :param errors: of them answered by 5xx
    :param buckets: durations as Histogram.as_data
    :param memory: bytes resident now
    :param missing: measure -> why it has no data, as the end of a sentence
    """

    requests: Optional[float] = None
    errors: Optional[float] = None
    buckets: Optional[List[List[Any]]] = None
    memory: Optional[float] = None
    missing: Dict[str, str] = field(default_factory=dict)


@dataclass
class Pod:
    """One pod at one moment.

    :param uid: tells it from another of the same name
    :param digest: that its container runs; None when it does not say
    :param ready: by its condition
    :param restarts: of its container since the pod was made
    :param others: restarts of the containers beside it, sidecars among them
    :param started_at: when its container's process was started, as the API says it
    :param ended: why the process before ended, e.g. OOMKilled; empty when none did
    :param counters: from its metrics; None when they could not be read
    :param problem: then: why
    :param kinds: fingerprint -> {"level", "count", "sample"} of log lines of errors since the last look
    :param logs_problem: why its log could not be read; empty when it was
    :param log_at: time of the last line of its log that was read, by the node's clock, in s; None when none was
    """

    name: str
    uid: str
    digest: Optional[str]
    ready: bool
    restarts: int
    started_at: str = ""
    ended: str = ""
    counters: Optional[Counters] = None
    problem: str = ""
    kinds: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    logs_problem: str = ""
    log_at: Optional[float] = None
    others: int = 0

    def kept(self) -> Dict[str, Any]:
        """What the next look needs of this one, as JSON data."""
        counters = asdict(self.counters) if self.counters else None
        if counters:
            counters.pop("missing")
        return {
            "name": self.name,
            "restarts": self.restarts,
            "others": self.others,
            "started_at": self.started_at,
            "counters": counters,
            "log_at": self.log_at,
        }


def counters_of(body: bytes, options: Mapping[str, Any]) -> Counters:
    """The counters of a process from its metrics; what they do not have is None, and missing says why.

    :param options: metrics (see usage.METRICS_SPEC), durations, route_labels, left_out, all lists of names
    :raises BadMetrics: it is none of the format; then nothing of it is trusted
    """
    samples = without(parse(body), options["route_labels"], options["left_out"])
    result = Counters()
    try:
        result.requests, result.errors = counted(samples, {"metrics": options["metrics"]})
    except BadMetrics as error:
        result.missing["errors"] = str(error)
    try:
        result.buckets = _added(list(_histograms(samples, options).values())).as_data()
    except BadMetrics as error:
        result.missing["latency"] = str(error)
    try:
        result.memory = sum(each.value for each in find(samples, options["metrics"]["memory"]))
    except BadMetrics as error:
        result.missing["memory"] = str(error)
    return result


def without(samples: Samples, labels: Sequence[str], routes: Sequence[str]) -> Samples:
    """The samples that are not of these routes."""
    left_out = set(routes)

    def probe(of: Mapping[str, str]) -> bool:
        return any(of.get(label) in left_out for label in labels)

    return {name: kept for name, each in samples.items() if (kept := [one for one in each if not probe(one.labels)])}


def _histograms(samples: Samples, options: Mapping[str, Any]) -> Dict[str, Histogram]:
    """By route where the application tells them apart, else one."""
    for name in options["durations"]:
        buckets = samples.get(f"{name}_bucket")
        if buckets and not any(label in buckets[0].labels for label in options["route_labels"]):
            # Then all is one route: every bucket has the same label, "le".
            marked = {f"{name}_bucket": [type(each)({**each.labels, "route": ""}, each.value) for each in buckets]}
            return by_route(marked, [name], ["route"])
    return by_route(samples, options["durations"], options["route_labels"])


def _added(parts: List[Histogram]) -> Histogram:
    """:raises BadMetrics: their bounds differ"""
    if any(part.bounds != parts[0].bounds for part in parts):
        raise BadMetrics("has other bounds of durations from route to route")
    return Histogram(parts[0].bounds, [sum(counts) for counts in zip(*(part.counts for part in parts), strict=True)])


@dataclass
class Summary:
    """What came between two looks, over all pods. None: not known.

    :param seconds: of the interval
    :param requests: answered in it
    :param p95: [lower bound, estimate, upper bound or None for infinity] in ms
    :param memory: bytes, of the pod with the most
    :param restarts: of containers in it
    :param kinds: new kinds of errors in logs, see Pod.kinds
    :param kinds_unknown: why logs could not be read; empty when they were
    :param missing: measure -> why it has no data
    :param notes: what happened to the counters, for people
    """

    since: str
    until: str
    seconds: float
    pods: int
    requests: Optional[float] = None
    errors: Optional[float] = None
    p95: Optional[List[Optional[float]]] = None
    memory: Optional[float] = None
    restarts: int = 0
    kinds: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    missing: Dict[str, str] = field(default_factory=dict)
    notes: List[str] = field(default_factory=list)
    verdict: str = ""
    reasons: List[str] = field(default_factory=list)
    counted: float = 0.0

    @property
    def error_percent(self) -> Optional[float]:
        """Share of requests answered by 5xx; None without requests."""
        return None if self.errors is None or not self.requests else round(100 * self.errors / self.requests, 3)

    def as_data(self) -> Dict[str, Any]:
        """As JSON data."""
        return {**asdict(self), "error_percent": self.error_percent}


def between(
    before: Mapping[str, Any], pods: Sequence[Pod], since: str, until: str, seconds: float, known: Mapping[str, Any]
) -> Summary:
    """What came since an earlier look.

    :param before: uid -> Pod.kept() of the earlier look
    :param pods: now
    :param known: fingerprints of log lines that are not new
    """
    result = Summary(since, until, seconds, len(pods))
    requests = errors = 0.0
    counts: Optional[Histogram] = None
    for pod in pods:
        past = before.get(pod.uid)
        own, beside = pod.restarts, pod.others
        if past:
            # A record from before restarts beside it were counted has no others.
            own, beside = max(0, own - int(past["restarts"])), max(0, beside - int(past.get("others", beside)))
        result.restarts += own + beside
        if own:
            result.notes.append(f"{pod.name} was restarted{f' ({pod.ended})' if pod.ended else ''}.")
        if beside:
            result.notes.append(f"Containers beside it in {pod.name} were restarted.")
        if pod.counters is None:
            for measure in ("errors", "latency", "memory"):
                result.missing[measure] = f"{pod.name}: {pod.problem or 'its metrics were not read'}"
            continue
        for measure, why in pod.counters.missing.items():
            result.missing[measure] = f"{pod.name} {why}"
        if pod.counters.memory is not None:
            result.memory = max(result.memory or 0.0, pod.counters.memory)
        same = past is not None and _same_process(past, pod)
        earlier = Counters(**past["counters"]) if same and past and past["counters"] else Counters()
        # All since its start would hide what came now, and count what came before.
        unread = _unread(earlier, pod.counters) if same else []
        result.missing.update(dict.fromkeys(unread, f"{pod.name}: there was none at the last look"))
        came, failed = _since(earlier, pod.counters)
        if came is not None and failed is not None and "errors" not in unread:
            requests, errors = requests + came, errors + failed
        now = from_data(pod.counters.buckets)
        if now is not None and "latency" not in unread:
            new = now.since(from_data(earlier.buckets)) or now
            counts = new if counts is None else _merged(counts, new, result)
    if not pods:
        result.missing.update(dict.fromkeys(("errors", "latency", "memory", "logs"), "no pod runs"))
    if any(pod.counters and pod.counters.requests is not None for pod in pods):
        result.requests, result.errors = requests, errors
    if counts is not None:
        result.p95 = quantile(counts)
    _kinds(result, pods, known)
    return result


def quantile(histogram: Histogram, share: float = 0.95) -> Optional[List[Optional[float]]]:
    """[lower bound, estimate, upper bound] in ms, None for an infinite one; None without observations."""
    if histogram.total <= 0:
        return None
    low, about, high = histogram.quantile(share)
    return [round(1000 * low, 3), round(1000 * about, 3), None if high == float("inf") else round(1000 * high, 3)]


def _same_process(past: Mapping[str, Any], pod: Pod) -> bool:
    return bool(past["restarts"] == pod.restarts and past["started_at"] == pod.started_at)


def _unread(earlier: Counters, now: Counters) -> List[str]:
    """Measures that a process has now, and had not when it was looked at before."""
    found = ["errors"] if earlier.requests is None and now.requests is not None else []
    return [*found, "latency"] if earlier.buckets is None and now.buckets is not None else found


def looked_at(pods: Sequence[Pod], before: Mapping[str, Any]) -> Dict[str, Any]:
    """What the next look needs: uid -> Pod.kept(). Of a process that does not say something now, what it said at an
    earlier look stays: what came meanwhile comes with the next answer.

    :param before: this, of the earlier look
    """
    found = {pod.uid: pod.kept() for pod in pods}
    for pod in pods:
        past = before.get(pod.uid)
        if past and pod.log_at is None:
            found[pod.uid]["log_at"] = past.get("log_at")
        if past and past["counters"] and _same_process(past, pod):
            said = {name: value for name, value in (found[pod.uid]["counters"] or {}).items() if value is not None}
            found[pod.uid]["counters"] = {**past["counters"], **said}
    return found


def _since(earlier: Counters, now: Counters) -> Tuple[Optional[float], Optional[float]]:
    """Requests and errors since an earlier look at the same process, or since it was started."""
    if now.requests is None or now.errors is None:
        return None, None
    if earlier.requests is None or earlier.errors is None:
        return now.requests, now.errors
    if now.requests < earlier.requests or now.errors < earlier.errors:
        # Begun again though nobody says so: a worker that was replaced within its container.
        return now.requests, now.errors
    return now.requests - earlier.requests, now.errors - earlier.errors


def _merged(one: Histogram, other: Histogram, result: Summary) -> Histogram:
    if one.bounds != other.bounds:
        result.missing["latency"] = "its pods tell durations by other bounds from pod to pod"
        return one
    return Histogram(one.bounds, [first + second for first, second in zip(one.counts, other.counts, strict=True)])


def _kinds(result: Summary, pods: Sequence[Pod], known: Mapping[str, Any]) -> None:
    for pod in pods:
        if pod.logs_problem:
            result.missing["logs"] = f"{pod.name}: {pod.logs_problem}"
        for fingerprint, kind in pod.kinds.items():
            if fingerprint in known:
                continue
            found = result.kinds.setdefault(fingerprint, {**kind, "count": 0})
            found["count"] += kind["count"]
    if len(result.kinds) > MOST_KINDS:
        result.notes.append(f"{len(result.kinds)} new kinds of errors; {MOST_KINDS} are kept.")
        commonest = sorted(result.kinds.items(), key=lambda item: -item[1]["count"])
        result.kinds = dict(commonest[:MOST_KINDS])


def kept(samples: List[Dict[str, Any]], summary: Summary) -> List[Dict[str, Any]]:
    """The record's samples with one more, bounded: when there are too many, healthy neighbours are added up."""
    found = [*samples, summary.as_data()]
    if len(found) <= MOST_SAMPLES:
        return found
    result: List[Dict[str, Any]] = []
    # What is not healthy stays as it was, and so do the newest.
    recent = found[-MOST_SAMPLES // 3 :]
    for each in found[: -len(recent)]:
        last = result[-1] if result else None
        mergeable = last is not None and last["verdict"] == each["verdict"] == "healthy" and last["of"] < 2 * _of(each)
        if mergeable and last is not None:
            result[-1] = _together(last, each)
        else:
            result.append({**each, "of": _of(each)})
    result += recent
    # Where nothing could be added up (a soak that only ever held), the oldest go.
    return result[-MOST_SAMPLES:]


def _of(sample: Mapping[str, Any]) -> int:
    return int(sample.get("of", 1))


def _together(one: Mapping[str, Any], other: Mapping[str, Any]) -> Dict[str, Any]:
    """Two neighbours as one: sums, and of what cannot be added the worse."""
    result = {**other, "since": one["since"], "of": _of(one) + _of(other)}
    for name in ("seconds", "requests", "errors", "restarts", "counted"):
        result[name] = None if one[name] is None or other[name] is None else one[name] + other[name]
    result["memory"] = max((each for each in (one["memory"], other["memory"]) if each is not None), default=None)
    result["p95"] = max((each for each in (one["p95"], other["p95"]) if each), key=lambda found: found[1], default=None)
    requests = result["requests"]
    result["error_percent"] = round(100 * result["errors"] / requests, 3) if requests else None
    result["kinds"] = dict(list({**one["kinds"], **other["kinds"]}.items())[:MOST_KINDS])
    result["notes"] = [*one["notes"], *other["notes"]][-5:]
    return result
