"""What is judged from the application's metrics: memory, pool, failed requests; and metrics that tell nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import metrics
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.unit.test_checks_application import METRICS, Server, measure, reply

THREE = ("application.memory", "application.pool_used", "application.error_rate")


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


class Runs:
    """Earlier runs, remembered as reports do."""

    def __init__(self) -> None:
        self.checks: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, id: str) -> list[dict[str, Any]]:
        return self.checks.get(id, [])

    def add(self, found: dict[str, Check], at: str = "2026-11-01T10:00:00Z") -> None:
        for check in found.values():
            if check.status != "unknown":
                self.checks.setdefault(check.id, []).append({**check.as_dict(), "observed_at": at})


def after(server: Server, runs: Runs, *texts: str, **options: Any) -> dict[str, Check]:
    """The checks of the last of several runs, each with its own metrics."""
    for text in texts:
        server.answers["/metrics"] = reply(text)
        found, _ = measure(server.url, earlier=runs, probes=1, **options)
        runs.add(found)
    return found


def with_requests(good: int, bad: int, start: float = 1.7e9) -> str:
    lines = [f'http_requests_total{{code="200"}} {good}', f'http_requests_total{{code="503"}} {bad}']
    return "\n".join([*lines, f"process_start_time_seconds {start}"])


def test_first_run_reports_and_does_not_guess(server: Server) -> None:
    found, _ = measure(server.url)
    assert [found[name].value for name in THREE] == [100_000_000, 30.0, 1.0]
    assert "Not judged yet" in found["application.error_rate"].message
    assert "0 of 3 runs" in found["application.memory"].message
    assert found["application.pool_used"].details["waiting"] is None


@pytest.mark.parametrize(
    ("good", "bad", "status", "value"),
    [
        (1990, 10, "ok", 0.0),
        (1485, 15, "warning", 1.0),
        (1085, 15, "critical", 5.0),
        (1086, 14, "ok", 4.0),  # too few to judge
        (990, 10, "ok", 0.0),  # nothing was asked of it meanwhile
    ],
)
def test_share_of_failed_requests_is_that_since_the_last_run(
    server: Server, good: int, bad: int, status: str, value: float
) -> None:
    check = after(server, Runs(), with_requests(990, 10), with_requests(good, bad))["application.error_rate"]
    assert (check.status, check.value) == (status, value)
    assert "since the last run" in check.message


@pytest.mark.parametrize(
    "text",
    [
        with_requests(90, 10, start=1.8e9),
        with_requests(90, 10),  # its start is the same or not told, and yet its counters fell
        with_requests(90, 10).rsplit("\n", 1)[0],
        with_requests(2000 - 200, 200, start=1.8e9),  # faster than the process before it
    ],
)
def test_a_process_that_was_restarted_is_judged_since_then(server: Server, text: str) -> None:
    check = after(server, Runs(), with_requests(990, 10), text)["application.error_rate"]
    assert (check.status, check.value) == ("critical", 10.0)
    assert "restarted" in check.message
    assert check.details["restarted"] is True


def test_a_run_that_measured_nothing_is_bridged(server: Server) -> None:
    runs = Runs()
    after(server, runs, with_requests(1000, 0), "broken")
    check = after(server, runs, with_requests(1090, 10))["application.error_rate"]
    assert (check.value, check.details["new_requests"]) == (10.0, 100)


def with_memory(count: float, start: float = 1.7e9) -> str:
    return f"process_resident_memory_bytes {count}\nprocess_start_time_seconds {start}"


def test_memory_against_its_own_history(server: Server) -> None:
    check = after(server, Runs(), *[with_memory(1e8)] * 3, with_memory(3e8))["application.memory"]
    assert (check.status, check.details["percent_of_median"]) == ("ok", 300.0)
    assert check.details["bytes_per_day"] > 0
    check = after(server, Runs(), *[with_memory(1e8)] * 3, with_memory(3e8, start=1.8e9))["application.memory"]
    assert "bytes_per_day" not in check.details, "another process has grown from its own beginning"
    limit = {"memory": {"warning": 2e8}}
    assert after(server, Runs(), with_memory(3e8), thresholds=limit)["application.memory"].status == "warning"


@pytest.mark.parametrize(
    ("text", "status", "value"),
    [
        ("tradingflow_db_pool_in_use 8\ntradingflow_db_pool_limit 10", "warning", 80.0),
        ("tradingflow_db_pool_in_use 10\ntradingflow_db_pool_limit 10", "critical", 100.0),
        (
            'hikaricp_connections_active{pool="a"} 1\nhikaricp_connections_active{pool="b"} 9\n'
            'hikaricp_connections_max{pool="b"} 10\nhikaricp_connections_max{pool="a"} 2',
            "warning",
            90.0,
        ),
        (
            'db_client_connection_count{pool="a",state="idle"} 9\ndb_client_connection_count{pool="a",state="used"} 1\n'
            'db_client_connection_max{pool="a"} 10',
            "ok",
            10.0,
        ),
        ("tradingflow_db_pool_in_use 1\ntradingflow_db_pool_limit 0", "unknown", None),
        ('hikaricp_connections_active{pool="a"} 1\nhikaricp_connections_max{pool="b"} 1', "unknown", None),
        ("tradingflow_db_pool_in_use -1\ntradingflow_db_pool_limit 5", "unknown", None),
        ("tradingflow_db_pool_in_use 1", "unknown", None),
    ],
)
def test_pool(server: Server, text: str, status: str, value: float | None) -> None:
    check = after(server, Runs(), text)["application.pool_used"]
    assert (check.status, check.value) == (status, value)


@pytest.mark.parametrize(
    ("body", "because"),
    [
        ("<!DOCTYPE html><html>Sign in</html>", "HTML"),
        ("", "holds no metrics"),
        ("# HELP only comments\n", "holds no metrics"),
        ('{"memory": 5}', "line 1"),
        (METRICS + "process_open_fds\n", "line 8"),
        (METRICS + "process_open_fds 1 2 3\n", "line 8"),
        (METRICS + "process_open_fds 1_000\n", "line 8"),
        (METRICS + "process_open_fds 0x10\n", "line 8"),
        (METRICS + 'x{a="b" 1\n', "line 8"),
        (METRICS + 'x{a="b}\n', "line 8"),
        (METRICS + 'x{a="b",a="c"} 1\n', "line 8"),
        (METRICS + "# EOF\nx 1\n", "line 9"),
        (METRICS.encode() + b"\xff\xfe 1\n", "UTF-8"),
        (METRICS.encode("utf-16"), "UTF-8"),
        ("x 1\n" * 3_000_000, "more than"),
    ],
)
def test_what_is_no_metrics_is_unknown_and_nothing_of_it_is_trusted(
    server: Server, body: str | bytes, because: str
) -> None:
    server.answers["/metrics"] = reply(body)
    found, _ = measure(server.url, probes=1)
    for name in THREE:
        assert found[name].status == "unknown"
        assert because in found[name].message
        assert found[name].remedy
    assert found["application.healthy"].status == "ok"


@pytest.mark.parametrize(
    ("name", "text", "because"),
    [
        ("memory", "process_resident_memory_bytes NaN", "nan"),
        ("memory", "process_resident_memory_bytes +Inf", "inf"),
        ("memory", "process_resident_memory_bytes -5", "below zero"),
        ("memory", "process_resident_memory_bytes 1\nprocess_resident_memory_bytes 2", "twice"),
        ("memory", "other 1", "process_resident_memory_bytes"),
        ("pool_used", "tradingflow_db_pool_in_use NaN\ntradingflow_db_pool_limit 5", "nan"),
        ("error_rate", "http_requests_total 5", "without their HTTP status"),
        ("error_rate", 'http_requests_total{code="error"} 5', "without their HTTP status"),
        ("error_rate", 'http_requests_total{code="200"} NaN', "nan"),
        ("error_rate", 'http_requests_total{code="200"} 5\nhttp_requests_total{code="200"} 6', "twice"),
    ],
)
def test_metric_that_tells_nothing_is_unknown(server: Server, name: str, text: str, because: str) -> None:
    check = after(server, Runs(), text)[f"application.{name}"]
    assert (check.status, check.value) == ("unknown", None)
    assert because in check.message


def test_metrics_that_are_not_there(server: Server) -> None:
    server.answers["/metrics"] = reply("gone", "404 Not Found")
    found, _ = measure(server.url)
    assert {found[name].status for name in THREE} == {"unknown"}
    assert "answers 404" in found["application.memory"].message
    found, _ = measure(server.url, metrics_path="")
    assert not found.keys() & set(THREE)
    server.answers["/metrics"] = reply(METRICS)
    found, _ = measure(server.url, metrics={"requests": [], "memory": ["process_start_time_seconds"]})
    assert "application.error_rate" not in found
    assert found["application.memory"].value == 1_700_000_000


def test_format_in_all_its_forms() -> None:
    text = (
        "# TYPE a counter\r\n"
        'a_total{x="a \\"b\\" \\\\ \\n}",y="{",} 1.5e3 1700000000000 # {trace="1"} 0.5 1\n'
        "  b   +Inf\n"
        'c {le="+Inf"} .5\n'
        "d{} NaN\n"
        "# EOF\n"
    )
    samples = metrics.parse(text.encode())
    assert samples["a_total"] == [metrics.Sample({"x": 'a "b" \\ \n}', "y": "{"}, 1500.0)]
    assert samples["c"] == [metrics.Sample({"le": "+Inf"}, 0.5)]
    assert samples.keys() == {"a_total", "b", "c", "d"}


def test_name_of_a_metric_that_is_none(server: Server) -> None:
    found, _ = measure(server.url, metrics={"memory": ["sum(process_resident_memory_bytes)"]})
    assert found["application.memory"].status == "unknown"
    assert "not the name of a metric" in found["application.memory"].message
