"""Response times by route: what came between two looks, the bounds of a quantile, and what nobody can tell."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from math import inf
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.histogram import (
    Histogram,
    by_route,
    from_data,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.metrics import BadMetrics, parse
from ansible_collections.tradingflow.maintenance.plugins.module_utils._responses import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._responses.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils._responses.statements import route_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import DatabaseError

NAME = "http_request_duration_seconds"
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5)


def text(routes: Mapping[str, Sequence[float]], *, start: float = 1000, memory: float = 100e6, bad: int = 0) -> str:
    """Metrics of a replica: route -> requests in each bucket, the last beyond the largest bound."""
    lines = [f"process_start_time_seconds {start}", f"process_resident_memory_bytes {memory}"]
    lines += ["tradingflow_db_pool_in_use 4", "tradingflow_db_pool_limit 10"]
    for route, counts in routes.items():
        total = 0.0
        for bound, count in zip((*BOUNDS, "+Inf"), counts, strict=True):
            total += count
            lines.append(f'{NAME}_bucket{{route="{route}",le="{bound}"}} {total}')
        lines.append(f'http_requests_total{{route="{route}",code="200"}} {total - bad}')
        lines.append(f'http_requests_total{{route="{route}",code="503"}} {bad}')
    return "\n".join(lines)


@contextmanager
def replica(*answers: str) -> Iterator[str]:
    """A replica that answers with these metrics, one after the other."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = left.pop(0).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def without_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> Any:
        raise DatabaseError("It is down.", "Start it.")

    monkeypatch.setattr(engine, "statements_by_route", refused)


def looks(*answers: str, days: float = 7, **more: Any) -> list[dict[str, Check]]:
    """A run for each answer, so many days apart; each knows what the earlier ones said."""
    told: list[dict[str, Any]] = []
    results = []
    with replica(*answers) as url:
        given = {"urls": [url], "database": {"name": "x", "user": "x"}, **more}
        options = ArgumentSpecValidator(SPEC).validate(given)
        assert not options.error_messages
        for _ in answers:
            checks, _charts = engine.measure(
                options.validated_parameters, lambda id: [check for check in told if check["id"] == id]
            )
            results.append({check.id.removeprefix("application_tuning.").replace(url, "it"): check for check in checks})
            for earlier in told:
                at = datetime.strptime(earlier["observed_at"], "%Y-%m-%dT%H:%M:%SZ") - timedelta(days=days)
                earlier["observed_at"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
            for check in checks:
                data = check.as_dict()
                moved = datetime.now(UTC) - timedelta(days=days)
                told.append({**data, "observed_at": moved.strftime("%Y-%m-%dT%H:%M:%SZ")})
    return results


def test_quantiles_lie_between_the_bounds_of_their_bucket() -> None:
    histogram = Histogram([0.1, 0.25, 0.5, inf], [50, 90, 100, 100])
    assert histogram.quantile(0.5) == (0.0, 0.1, 0.1)
    low, about, high = histogram.quantile(0.95)
    assert (low, high) == (0.25, 0.5)
    # By hand: half-way through the ten of that bucket.
    assert about == pytest.approx(0.375)
    assert Histogram([0.1, inf], [1, 100]).quantile(0.99) == (0.1, 0.1, inf)
    with pytest.raises(ValueError, match="no observations"):
        Histogram([0.1, inf], [0, 0]).quantile(0.5)


@pytest.mark.parametrize(
    ("low", "high", "status"),
    [
        *((100, 250, "ok"), (250, 500, "ok"), (500, 1000, "warning"), (1000, 2500, "warning"), (2500, inf, "critical")),
        *((1000, 5000, "unknown"), (250, 1000, "unknown"), (1000, inf, "unknown")),
    ],
)
def test_only_what_is_certain_is_judged(low: float, high: float, status: str) -> None:
    assert engine.within(low, high, {"warning": 500, "critical": 2500})[0] == status


def test_a_run_judges_what_came_since_the_last_one() -> None:
    slow_once = (0, 0, 0, 500, 0, 0)
    then_fast = (1000, 0, 0, 500, 0, 0)
    first, second = looks(text({"/orders": slow_once}), text({"/orders": then_fast}))
    assert first["response_time:it /orders"].status == "warning"
    assert "since it was started" in first["response_time:it /orders"].message
    check = second["response_time:it /orders"]
    assert check.status == "ok"
    assert check.details["requests"] == 1000
    assert "since the last run" in check.message
    assert check.details["p95"][2] == 100


@pytest.mark.parametrize("start", [1000, 5000])
def test_counters_that_began_again_are_seen(start: float) -> None:
    """By the process's start, and where that is not told rightly by counts that fell."""
    before, after = (5000, 0, 0, 0, 0, 0), (0, 0, 0, 200, 0, 0)
    _first, second = looks(text({"/orders": before}), text({"/orders": after}, start=start))
    check = second["response_time:it /orders"]
    assert check.details["requests"] == 200
    assert check.status == "warning"
    assert "since it was restarted" in check.message


def test_a_process_that_has_counted_more_since_its_restart_is_not_taken_for_the_old_one() -> None:
    _first, second = looks(text({"/o": (150, 0, 0, 0, 0, 0)}), text({"/o": (150, 0, 0, 0, 150, 0)}, start=5000))
    assert second["response_time:it /o"].details["requests"] == 300


def test_errors_count_as_much_as_time() -> None:
    many = {"/orders": (1000, 0, 0, 0, 0, 0)}
    (found,) = looks(text(many, bad=70))
    assert found["response_time:it /orders"].status == "critical"
    assert "7 % answered by 5xx" in found["response_time:it /orders"].message
    first, second = looks(text(many, bad=70), text({"/orders": (3000, 0, 0, 0, 0, 0)}, bad=70))
    assert second["response_time:it /orders"].status == "ok"
    assert first["response_time:it /orders"].status == "critical"


def test_few_requests_and_left_out_routes_are_not_judged() -> None:
    (found,) = looks(text({"/orders": (0, 0, 0, 0, 0, 99), "/health": (0, 0, 0, 0, 0, 9999)}))
    check = found["response_time:it /orders"]
    assert check.status == "unknown"
    assert "too few" in check.message
    assert "response_time:it /health" not in found
    assert found["routes:it"].value == 1


def test_few_requests_that_fail_are_told_all_the_same() -> None:
    (found,) = looks(text({"/orders": (20, 0, 0, 0, 0, 0)}, bad=20))
    check = found["response_time:it /orders"]
    assert check.status == "critical"
    assert "100 % answered by 5xx" in check.message


def test_where_no_route_is_judged_nothing_is_well() -> None:
    (found,) = looks(text({"/health": (1000, 0, 0, 0, 0, 0)}))
    assert found["routes:it"].status == "unknown"


def test_long_routes_are_told_from_each_other() -> None:
    long = "/" + "o" * 120
    (found,) = looks(text({f"{long}/a": (1000, 0, 0, 0, 0, 0), f"{long}/b": (0, 0, 0, 0, 0, 1000)}))
    told = sorted(check.status for id, check in found.items() if id.startswith("response_time:"))
    assert told == ["critical", "ok"]
    assert all(len(id) < 140 for id in found)


def test_each_pool_counts_for_itself_and_earlier_looks_only_at_the_same() -> None:
    def pools(first: int, second: int, size: int = 10, start: float = 1000) -> str:
        body = (
            text({}, start=start)
            .replace("tradingflow_db_pool_in_use 4", "")
            .replace("tradingflow_db_pool_limit 10", "")
        )
        lines = [f'tradingflow_db_pool_in_use{{pool="{name}"}} {used}' for name, used in (("a", first), ("b", second))]
        return "\n".join([body, *lines, *(f'tradingflow_db_pool_limit{{pool="{name}"}} {size}' for name in "ab")])

    (found,) = looks(pools(9, 0))
    assert (found["pool:it"].value, found["pool:it"].status) == (90, "warning")
    # Another process, and another size: what was full then is no measure of now.
    for after in (pools(1, 0, start=5000), pools(1, 0, size=20)):
        _first, second = looks(pools(9, 0), after)
        assert second["pool:it"].status == "ok"
    (found,) = looks(pools(9, 0).replace('in_use{pool="b"}', 'in_use{pool="c"}'))
    assert found["pool:it"].status == "unknown"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("up 1", "has no histogram"),
        (f'{NAME}_bucket{{le="1"}} 1\n{NAME}_bucket{{le="+Inf"}} 1', "by route"),
        (f'{NAME}_bucket{{route="/",le="1"}} 5\n{NAME}_bucket{{route="/",le="+Inf"}} 1', "fewer in a larger"),
        (f'{NAME}_bucket{{route="/",le="1"}} 5', "no last one"),
        (f'{NAME}_bucket{{route="/",le="x"}} 5', "without a bound"),
        (f'{NAME}_bucket{{route="/",le="+Inf"}} NaN', "no count"),
        ("<html>", "HTML"),
    ],
)
def test_metrics_that_make_no_sense_are_unknown(body: str, why: str) -> None:
    (found,) = looks(body)
    assert found["routes:it"].status == "unknown"
    assert why in found["routes:it"].message
    # Routes take nothing else with them, and the database says for itself that it is down.
    assert found["statements"].status == "unknown"


def test_methods_of_a_route_are_added_up() -> None:
    body = "\n".join(
        f'{NAME}_bucket{{route="/",method="{method}",le="{bound}"}} {count}'
        for method in ("GET", "POST")
        for bound, count in (("1", 2), ("+Inf", 3))
    )
    assert by_route(parse(body.encode()), [NAME], ["route"])["/"].counts == [4, 6]
    other = body.replace('POST",le="1"', 'POST",le="2"')
    with pytest.raises(BadMetrics, match="other bounds"):
        by_route(parse(other.encode()), [NAME], ["route"])


@pytest.mark.parametrize("data", [None, [], "x", [[1]], [["inf", "x"]], [[0.1, None]], {"a": 1}])
def test_what_an_earlier_report_has_is_not_trusted(data: Any) -> None:
    assert from_data(data) is None
    known = Histogram([0.1, inf], [1, 2])
    assert from_data(known.as_data()) == known
    assert known.since(from_data(data)) is None


def test_memory_has_a_trend_only_within_one_process() -> None:
    routes = {"/": (0, 0, 0, 0, 0, 0)}
    grown = [text(routes, memory=memory) for memory in (100e6, 120e6, 900e6, 160e6, 180e6)]
    *_early, last = looks(*grown, days=7)
    check = last["memory:it"]
    # By hand: 20 MB a week by the median of all pairs, one of which is an outlier, of 180 MB now.
    assert check.value == pytest.approx(11.1, abs=0.2)
    assert check.status == "warning"
    restarted = [*grown[:-1], text(routes, memory=180e6, start=9000)]
    assert "Not judged yet: 1 run" in looks(*restarted, days=7)[-1]["memory:it"].message
    assert "Not judged yet" in looks(*grown, days=0.1)[-1]["memory:it"].message


def test_the_pool_is_told_by_its_fullest_look() -> None:
    full = text({}).replace("in_use 4", "in_use 9")
    _first, second = looks(full, text({}))
    assert (second["pool:it"].value, second["pool:it"].status) == (90, "warning")
    assert second["pool:it"].details["percent"] == 40


@pytest.mark.parametrize(
    ("query", "route"),
    [
        ("SELECT 1 /*route='%2Forders',framework='flask'*/", "/orders"),
        ("/* controller='Orders' */ SELECT 1", "Orders"),
        ("SELECT 1 /*route='/a'*/ /*route='/b'*/", None),
        ("SELECT 'route=''/x'''", None),
        ("SELECT 1", None),
    ],
)
def test_a_statement_names_its_route_in_a_comment(query: str, route: str | None) -> None:
    assert route_of(query) == route


def test_a_slow_route_is_tied_to_its_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    statement = {"queryid": "1", "calls": 9, "mean_ms": 800.5, "text": "SELECT * FROM orders"}
    monkeypatch.setattr(engine, "statements_by_route", lambda *_: {"/orders": [statement]})
    (found,) = looks(text({"/orders": (0, 0, 0, 0, 500, 0)}))
    assert found["response_time:it /orders"].details["statements"] == [statement]
    assert "SELECT * FROM orders" in found["response_time:it /orders"].message
