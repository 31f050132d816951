"""What pods say of themselves, and the three-valued verdict over an interval."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.metrics import BadMetrics
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import analysis
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.analysis import (
    FAILED,
    HEALTHY,
    INCONCLUSIVE,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.live import _pod as read_pod
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.samples import (
    Summary,
    between,
    counters_of,
)

from tests.unit.soak_fixtures import BASELINE, buckets, options, pod

METRICS = b"""# TYPE tradingflow_http_requests_total counter
tradingflow_http_requests_total{route="/orders",code="200"} 90
tradingflow_http_requests_total{route="/orders",code="503"} 10
tradingflow_http_requests_total{route="/ready",code="200"} 5000
tradingflow_http_requests_total{route="/metrics",code="500"} 7
# TYPE tradingflow_http_request_duration_seconds histogram
tradingflow_http_request_duration_seconds_bucket{route="/orders",le="0.1"} 90
tradingflow_http_request_duration_seconds_bucket{route="/orders",le="1.0"} 100
tradingflow_http_request_duration_seconds_bucket{route="/orders",le="+Inf"} 100
tradingflow_http_request_duration_seconds_bucket{route="/ready",le="0.1"} 5000
tradingflow_http_request_duration_seconds_bucket{route="/ready",le="1.0"} 5000
tradingflow_http_request_duration_seconds_bucket{route="/ready",le="+Inf"} 5000
process_resident_memory_bytes 1e+08
"""


def summary(**changed: Any) -> Summary:
    fields: dict[str, Any] = {"requests": 300.0, "errors": 0.0, "p95": [0.0, 80.0, 100.0], "memory": 100e6, **changed}
    return Summary("2026-11-30T12:00:00Z", "2026-11-30T12:05:00Z", 300.0, 3, **fields)


def verdict_of(measure: str, made: Summary, baseline: dict[str, Any] | None = None, **given: Any) -> str:
    wanted = options(measures=[measure], **given)
    return analysis.judge(made, BASELINE if baseline is None else baseline, wanted).verdict


def test_probes_are_no_traffic() -> None:
    found = counters_of(METRICS, options())
    assert (found.requests, found.errors, found.memory) == (100, 10, 1e8)
    assert found.buckets == [[0.1, 90], [1.0, 100], ["inf", 100]]
    assert found.missing == {}


def test_a_service_that_only_its_probes_ask_has_no_data() -> None:
    lines = [line for line in METRICS.splitlines() if b"/orders" not in line]
    found = counters_of(b"\n".join(lines) + b"\n", options())
    assert (found.requests, found.errors, found.buckets) == (None, None, None)
    assert set(found.missing) == {"errors", "latency"}


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"tradingflow{", b"a 1 2 3", b"\xff\xfe"])
def test_what_is_none_of_the_format_is_not_trusted(body: bytes) -> None:
    with pytest.raises(BadMetrics):
        counters_of(body, options())


def test_a_counter_without_status_tells_no_errors() -> None:
    found = counters_of(b'http_requests_total{route="/orders"} 5\nprocess_resident_memory_bytes 5\n', options())
    assert found.errors is None
    assert "HTTP status" in found.missing["errors"]


def test_durations_without_routes_are_read_as_one() -> None:
    body = b'http_request_duration_seconds_bucket{le="0.1"} 5\nhttp_request_duration_seconds_bucket{le="+Inf"} 6\n'
    assert counters_of(body, options()).buckets == [[0.1, 5], ["inf", 6]]


@pytest.mark.parametrize(
    ("measure", "made", "verdict"),
    [
        ("errors", summary(errors=1.0), HEALTHY),
        ("errors", summary(errors=1.5), HEALTHY),  # 0.5 %, the floor
        ("errors", summary(errors=5.0), FAILED),
        ("errors", summary(errors=4.0), INCONCLUSIVE),  # above the limit, too few to judge
        ("errors", summary(requests=19.0), INCONCLUSIVE),
        ("errors", summary(requests=0.0), INCONCLUSIVE),
        ("errors", summary(requests=None, errors=None), INCONCLUSIVE),
        ("errors", summary(requests=10.0, errors=9.0), FAILED),  # few, and nearly all of them
        ("errors", summary(requests=10.0, errors=11.0), INCONCLUSIVE),
        ("latency", summary(), HEALTHY),
        ("latency", summary(p95=[100.0, 200.0, 250.0]), HEALTHY),
        ("latency", summary(p95=[250.0, 300.0, 500.0]), FAILED),
        ("latency", summary(p95=[500.0, 500.0, None]), FAILED),
        ("latency", summary(p95=[200.0, 200.0, None]), INCONCLUSIVE),
        ("latency", summary(p95=None), INCONCLUSIVE),
        ("latency", summary(requests=5.0), INCONCLUSIVE),
        ("memory", summary(memory=150e6), HEALTHY),
        ("memory", summary(memory=150.1e6), FAILED),
        ("memory", summary(memory=None), INCONCLUSIVE),
        ("restarts", summary(), HEALTHY),
        ("restarts", summary(restarts=1), FAILED),
        ("logs", summary(), HEALTHY),
        ("logs", summary(kinds={"a": {"count": 9, "sample": "x"}}), INCONCLUSIVE),
        ("logs", summary(kinds={"a": {"count": 10, "sample": "x"}}), FAILED),
        ("logs", summary(missing={"logs": "its log could not be read"}), INCONCLUSIVE),
        ("memory", summary(missing={"memory": "app-0: gone"}), INCONCLUSIVE),
        ("memory", summary(memory=200e6, missing={"memory": "app-0: gone"}), FAILED),
        ("errors", summary(missing={"errors": "app-0: gone"}), INCONCLUSIVE),
        ("errors", summary(errors=100.0, missing={"errors": "app-0: gone"}), FAILED),
    ],
)
def test_each_measure_by_its_table(measure: str, made: Summary, verdict: str) -> None:
    assert verdict_of(measure, made) == verdict


def test_a_version_that_was_bad_before_is_no_reason_to_undo_the_next_up_to_the_ceiling() -> None:
    bad = {**BASELINE, "error_percent": 2.0}
    assert verdict_of("errors", summary(errors=9.0), bad) == HEALTHY
    assert verdict_of("errors", summary(errors=9.0)) == FAILED
    terrible = {**BASELINE, "error_percent": 40.0}
    assert verdict_of("errors", summary(errors=16.0), terrible) == FAILED


def test_without_a_version_before_the_floor_is_the_limit() -> None:
    assert verdict_of("latency", summary(p95=[100.0, 240.0, 250.0]), {}) == HEALTHY
    assert verdict_of("latency", summary(p95=[250.0, 260.0, 500.0]), {}) == FAILED
    assert verdict_of("memory", summary(memory=65e6), {}) == FAILED


def test_a_bucket_that_is_too_wide_proves_nothing() -> None:
    before = {**BASELINE, "p95": [100.0, 200.0, 1000.0]}
    assert verdict_of("latency", summary(p95=[100.0, 900.0, 1000.0]), before) == INCONCLUSIVE
    assert verdict_of("latency", summary(p95=[1000.0, 1100.0, 2500.0]), before) == FAILED


@pytest.mark.parametrize(
    ("verdicts", "one"),
    [
        ([], INCONCLUSIVE),
        ([HEALTHY], HEALTHY),
        ([HEALTHY, INCONCLUSIVE], INCONCLUSIVE),
        ([INCONCLUSIVE, FAILED, HEALTHY], FAILED),
        ([HEALTHY, "good"], INCONCLUSIVE),
    ],
)
def test_only_when_all_are_healthy_is_it(verdicts: list[str], one: str) -> None:
    assert analysis.together(verdicts) == one


def test_one_that_cannot_be_judged_takes_no_other_with_it() -> None:
    made = summary(p95=["a", "b", "c"], memory=1e12)
    found = {each.measure: each.verdict for each in analysis.judge(made, BASELINE, options()).judgements}
    assert found["latency"] == INCONCLUSIVE
    assert found["memory"] == FAILED
    assert found["errors"] == HEALTHY


def test_a_process_that_was_started_anew_counts_from_its_start() -> None:
    before = {pod(0).uid: pod(0, 1000, 50).kept()}
    after = pod(0, 40, 1, restarts=1, started_at="2026-11-30T12:03:00Z")
    found = between(before, [after], "a", "b", 300, {})
    assert (found.requests, found.errors, found.restarts) == (40, 1, 1)


def test_a_pod_that_cannot_be_read_is_missing_and_the_others_are_not() -> None:
    mute = pod(1, counters=None, problem="its metrics could not be read")
    found = between({}, [pod(0, 100), mute], "a", "b", 300, {})
    assert found.requests == 100
    assert found.missing["errors"] == "app-1: its metrics could not be read"
    assert analysis.judge(found, BASELINE, options()).verdict == INCONCLUSIVE


def test_restarts_of_what_runs_beside_the_application_count() -> None:
    status = {
        "containerStatuses": [{"name": "app", "restartCount": 1}, {"name": "proxy", "restartCount": 2}],
        "initContainerStatuses": [{"name": "wait", "restartCount": 9}, {"name": "mesh", "restartCount": 4}],
    }
    spec = {"initContainers": [{"name": "wait"}, {"name": "mesh", "restartPolicy": "Always"}]}
    one = read_pod({"metadata": {"name": "a", "uid": "u"}, "spec": spec, "status": status}, "app")
    assert (one.restarts, one.others) == (1, 6)
    before, earlier = pod(0, 100, others=1).kept(), pod(0, 100).kept()
    del earlier["others"]  # of a record that was made when they were not counted
    for past, now, restarts in ((before, 3, 2), (before, 1, 0), (earlier, 3, 0), (None, 3, 3)):
        found = between({"uid-0": past} if past else {}, [pod(0, 100, others=now)], "a", "b", 300, {})
        assert found.restarts == restarts
        assert found.notes == (["Containers beside it in app-0 were restarted."] if restarts else [])


def test_no_pod_is_no_data() -> None:
    found = between({}, [], "a", "b", 300, {})
    assert analysis.judge(found, BASELINE, options()).verdict == INCONCLUSIVE


def test_the_p95_of_pods_is_that_of_all_their_requests() -> None:
    slow = pod(1, 100)
    assert slow.counters
    slow.counters.buckets = buckets(0, 0, 100, 0)
    found = between({}, [pod(0, 100), slow], "a", "b", 300, {})
    assert found.p95
    assert found.p95[0] == 250
    assert found.p95[2] == 1000


def test_the_baseline_is_what_the_previous_version_did() -> None:
    found = analysis.baseline_of([pod(0, 1000, 10), pod(1, 1000, 0)], options(), "now")
    assert found["error_percent"] == 0.5
    assert found["p95"][2] == 100
    assert found["memory"] == 100e6
    few = analysis.baseline_of([pod(0, 5, 5)], options(), "now")
    assert (few["error_percent"], few["p95"]) == (None, None)


@pytest.mark.parametrize("measure", ["errors", "latency", "memory"])
def test_a_measure_that_never_had_data_is_refused_before_anything_begins(measure: str) -> None:
    names: dict[str, Any] = {
        "errors": {"metrics": {"requests": ["nobody_exports_this"]}},
        "latency": {"durations": ["nobody_exports_this"]},
        "memory": {"metrics": {"memory": ["nobody_exports_this"]}},
    }
    asked = options(**names[measure])
    one = pod(0, counters=counters_of(METRICS, asked))
    assert [each.name for each in analysis.preflight([one], asked)] == [f"metrics.{measure}"]
    assert analysis.preflight([one], options(**names[measure], measures=["restarts"])) == []
    assert analysis.preflight([pod(0, counters=counters_of(METRICS, options()))], options()) == []


def test_other_reasons_why_a_soak_could_never_end() -> None:
    assert [each.name for each in analysis.preflight([], options())] == ["metrics"]
    assert [each.name for each in analysis.preflight([pod(0)], options(measures=[]))] == ["measures"]
    mute = pod(0, counters=None, problem="its metrics could not be read", logs_problem="its log could not be read")
    found = [each.name for each in analysis.preflight([mute], options())]
    assert found == ["metrics.errors", "metrics.latency", "metrics.memory", "metrics.logs"]
