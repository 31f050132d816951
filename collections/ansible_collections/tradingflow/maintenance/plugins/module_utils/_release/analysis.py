# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an interval of a soak was healthy, has failed, or says neither, against what the previous version did.

Three-valued for good: what is not known is inconclusive, however often it is asked. Each measure is judged for
itself; one failed is a failure, and only when all that are wanted are healthy is the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .._checks.histogram import Histogram, from_data
from ..refusal import Refusal
from ..words import plural, size
from .samples import MEASURES, Pod, Summary, quantile

HEALTHY, FAILED, INCONCLUSIVE = "healthy", "failed", "inconclusive"
#: Failed requests from which on their share proves anything: one of three may be chance.
ENOUGH_ERRORS = 5


@dataclass
class Judgement:
    """One measure's.

    :param verdict: healthy, failed or inconclusive
    :param text: why, one sentence
    """

    measure: str
    verdict: str
    text: str


@dataclass
class Verdict:
    """An interval's.

    :param verdict: healthy, failed or inconclusive
    """

    verdict: str
    judgements: List[Judgement]

    @property
    def reasons(self) -> List[str]:
        """What kept it from being healthy, failures first."""
        bad = [each for each in self.judgements if each.verdict != HEALTHY]
        return [each.text for each in sorted(bad, key=lambda each: each.verdict != FAILED)]


def judge(
    summary: Summary,
    baseline: Mapping[str, Any],
    options: Mapping[str, Any],
    earlier: Sequence[Mapping[str, Any]] = (),
    kinds: Optional[Mapping[str, Mapping[str, Any]]] = None,
) -> Verdict:
    """Judges an interval.

    :param baseline: of the previous version, see baseline_of; empty when there was none
    :param options: measures.SPEC
    :param earlier: samples of this stay, oldest first
    :param kinds: new kinds of errors of the whole stay; by default those of the interval
    """
    options = {**options, "open": summary.kinds if kinds is None else kinds}
    found = [_guarded(measure, summary, baseline, options, earlier) for measure in options["measures"]]
    return Verdict(together([each.verdict for each in found]), found)


def together(verdicts: Sequence[str]) -> str:
    """Of several one. Of none: nothing was measured, so nothing is known."""
    if FAILED in verdicts:
        return FAILED
    return HEALTHY if verdicts and all(each == HEALTHY for each in verdicts) else INCONCLUSIVE


def _guarded(
    measure: str,
    summary: Summary,
    baseline: Mapping[str, Any],
    options: Mapping[str, Any],
    earlier: Sequence[Mapping[str, Any]],
) -> Judgement:
    """One measure; what goes wrong with it leaves only it inconclusive."""
    try:
        found = _JUDGES[measure](summary, baseline, options, earlier)
        # What is there may prove that it is bad, not that it is good.
        if measure in summary.missing and found.verdict != FAILED:
            return Judgement(measure, INCONCLUSIVE, f"No data of {measure}: {summary.missing[measure]}.")
        return found
    except Exception as error:
        return Judgement(measure, INCONCLUSIVE, f"{measure} could not be judged: {type(error).__name__}.")


def limit_of(limit: Mapping[str, Optional[float]], before: Optional[float]) -> float:
    """What a measure may be at most.

    :param before: the previous version's; None when it is not known, and then the floor is all that is allowed
    """
    factor, floor, ceiling = limit["factor"] or 0.0, limit["floor"] or 0.0, limit["ceiling"]
    allowed = floor if before is None else max(floor, factor * before)
    return allowed if ceiling is None else min(allowed, ceiling)


def _errors(
    summary: Summary,
    baseline: Mapping[str, Any],
    options: Mapping[str, Any],
    earlier: Sequence[Mapping[str, Any]],
) -> Judgement:
    requests, errors = summary.requests, summary.errors
    if requests is None or errors is None:
        return Judgement("errors", INCONCLUSIVE, "No data of errors.")
    limit = limit_of(options["limits"]["errors"], baseline.get("error_percent"))
    # Few at a time may be too few each time: as long as each is above the limit, they count together.
    for sample in reversed(earlier):
        past, failed = sample.get("requests"), sample.get("errors")
        if sample["verdict"] == HEALTHY or not past or failed is None or 100 * failed / past <= limit:
            break
        requests, errors = requests + past, errors + failed
    share = 100 * errors / requests if requests else 0.0
    told = f"{share:.3g} % of {plural(int(requests), 'request')} failed, of at most {limit:.3g} %"
    if errors > requests:
        return Judgement("errors", INCONCLUSIVE, "More errors than requests were counted.")
    if share > limit:
        if errors >= ENOUGH_ERRORS:
            return Judgement("errors", FAILED, f"{told}.")
        return Judgement("errors", INCONCLUSIVE, f"{told}: {plural(int(errors), 'error')} are too few to judge.")
    if (few := _few(summary, options)) is not None:
        return Judgement("errors", INCONCLUSIVE, few)
    return Judgement("errors", HEALTHY, f"{told}.")


def _latency(
    summary: Summary,
    baseline: Mapping[str, Any],
    options: Mapping[str, Any],
    _earlier: Sequence[Mapping[str, Any]],
) -> Judgement:
    if (few := _few(summary, options)) is not None:
        return Judgement("latency", INCONCLUSIVE, few)
    if summary.p95 is None:
        return Judgement("latency", INCONCLUSIVE, "No request was timed: how fast it answers is not known.")
    low, about, high = summary.p95
    if low is None or about is None:
        return Judgement("latency", INCONCLUSIVE, "How fast it answers is not known.")
    before = baseline.get("p95")
    limit = limit_of(options["limits"]["latency"], before[1] if before else None)
    told = f"p95 is {about:.4g} ms{'' if high is not None else ' or more'}, of at most {limit:.4g} ms"
    if about <= limit:
        if high is None:
            return Judgement("latency", INCONCLUSIVE, f"{told}: it lies beyond the histogram's last bound.")
        return Judgement("latency", HEALTHY, f"{told}.")
    # All that is certain is the bucket. In that of the previous version nothing is proven but its width.
    if low >= limit or not before or (before[2] is not None and low >= before[2]):
        return Judgement("latency", FAILED, f"{told}.")
    return Judgement("latency", INCONCLUSIVE, f"{told}, in the same bucket as before: the histogram is too coarse.")


def _few(summary: Summary, options: Mapping[str, Any]) -> Optional[str]:
    """Why there is too little traffic to judge by; None when there is enough."""
    if summary.requests is None:
        return "How many requests came is not known."
    if summary.requests < max(1, options["minimum"]):
        return f"{plural(int(summary.requests), 'request', none='No')} came, of {options['minimum']} to judge by."
    return None


def _memory(
    summary: Summary,
    baseline: Mapping[str, Any],
    options: Mapping[str, Any],
    _earlier: Sequence[Mapping[str, Any]],
) -> Judgement:
    if summary.memory is None:
        return Judgement("memory", INCONCLUSIVE, "No data of memory.")
    limit = limit_of(options["limits"]["memory"], baseline.get("memory"))
    told = f"A pod has {size(summary.memory)} resident"
    told += f", of at most {size(limit)}" if limit != float("inf") else ""
    return Judgement("memory", FAILED if summary.memory > limit else HEALTHY, f"{told}.")


def _restarts(
    summary: Summary,
    _baseline: Mapping[str, Any],
    options: Mapping[str, Any],
    earlier: Sequence[Mapping[str, Any]],
) -> Judgement:
    count = summary.restarts + sum(int(sample.get("restarts") or 0) for sample in earlier)
    if not summary.pods:
        return Judgement("restarts", INCONCLUSIVE, "No pod runs.")
    told = f"{plural(count, 'restart')} of containers in this stay, of at most {options['restarts']}"
    told += f": {' '.join(summary.notes)}" if summary.restarts and summary.notes else "."
    return Judgement("restarts", FAILED if count > options["restarts"] else HEALTHY, told)


def _logs(
    summary: Summary,
    _baseline: Mapping[str, Any],
    options: Mapping[str, Any],
    _earlier: Sequence[Mapping[str, Any]],
) -> Judgement:
    new = {name: kind for name, kind in options["open"].items() if name not in options["known_errors"]}
    if not new:
        return Judgement("logs", HEALTHY, "No error of a kind that the previous version did not log.")
    lines = sum(int(kind["count"]) for kind in new.values())
    first = max(new.items(), key=lambda item: item[1]["count"])
    told = f"{plural(lines, 'line')} of {plural(len(new), 'new kind')} of errors, most of {first[0]}: "
    told += str(first[1].get("sample", ""))
    if lines >= options["new_error_lines"]:
        return Judgement("logs", FAILED, told)
    # Not enough to undo it, and nothing that may pass by itself: somebody has to look.
    return Judgement("logs", INCONCLUSIVE, f"{told} Accept it by its fingerprint (known_errors), or undo the release.")


_JUDGES = {"errors": _errors, "latency": _latency, "memory": _memory, "restarts": _restarts, "logs": _logs}


def baseline_of(pods: Sequence[Pod], options: Mapping[str, Any], at: str) -> Dict[str, Any]:
    """What the previous version did, over the life of its processes: JSON data for judge().

    :returns: at, pods, requests, error_percent, p95, memory, kinds; None where there was too little to go by
    """
    counters = [pod.counters for pod in pods if pod.counters]
    requests = sum(each.requests or 0.0 for each in counters)
    errors = sum(each.errors or 0.0 for each in counters)
    enough = requests >= max(1, options["minimum"])
    histograms = [found for each in counters if (found := from_data(each.buckets)) is not None]
    p95 = None
    if enough and histograms and all(each.bounds == histograms[0].bounds for each in histograms):
        added = [sum(counts) for counts in zip(*(each.counts for each in histograms), strict=True)]
        p95 = quantile(Histogram(histograms[0].bounds, added))
    kinds: Dict[str, Dict[str, Any]] = {}
    for pod in pods:
        kinds.update(pod.kinds)
    return {
        "at": at,
        "pods": len(pods),
        "requests": requests,
        "error_percent": round(100 * errors / requests, 4) if enough else None,
        "p95": p95 if p95 and p95[1] is not None else None,
        "memory": max((each.memory for each in counters if each.memory is not None), default=None),
        "kinds": dict(list(kinds.items())[:500]),
    }


def preflight(pods: Sequence[Pod], options: Mapping[str, Any]) -> List[Refusal]:
    """Why a soak by these measures could never end: each must have data now, of every pod that runs.

    A query that never had any is a name that nobody exports, and would hold for ever.
    """
    found: List[Refusal] = []
    strange = [name for name in options["measures"] if name not in MEASURES]
    if strange or not options["measures"]:
        text = f"There is no measure {', '.join(strange)}." if strange else "A soak without any measure proves nothing."
        found.append(Refusal("measures", text, f"Use {', '.join(MEASURES)} (release_soak_measures)."))
    if not pods:
        found.append(Refusal("metrics", "No pod runs that could be measured.", "Get the rollout of now healthy first."))
    for measure in options["measures"]:
        why = _no_data(measure, pods)
        if why:
            found.append(
                Refusal(
                    f"metrics.{measure}",
                    f"{measure} has no data now: {why}.",
                    "Name what the application calls it (release_soak_metrics and its like), see that requests get to"
                    " it, or leave the measure out of release_soak_measures.",
                )
            )
    return found


def _no_data(measure: str, pods: Sequence[Pod]) -> str:
    """Why a measure has no data; empty when it has."""
    for pod in pods:
        if measure == "logs":
            if pod.logs_problem:
                return f"{pod.name}: {pod.logs_problem}"
        elif measure in ("errors", "latency", "memory"):
            if pod.counters is None:
                return f"{pod.name}: {pod.problem or 'its metrics were not read'}"
            if measure in pod.counters.missing:
                return f"{pod.name} {pod.counters.missing[measure]}"
    return ""
