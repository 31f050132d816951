"""Response times of access logs: where the format has them, and what is said of them by route."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.access import review
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.access_lines import Reader
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.access_times import Times, times
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.unit.test_housekeeping_access import NOW

#: nginx's combined, and what the log_format has behind it.
LINE = '203.0.113.7 - - [29/Nov/2026:10:00:00 +0000] "GET /{route} HTTP/1.1" 200 5 "-" "{agent}"{behind}'
CADDY = '{"ts": 1795993141, "status": 200, "duration": 0.412, "request": {"remote_ip": "::1", "uri": "/x"}}'
TIMED = {
    "nginx": (LINE.format(route="x", agent="curl", behind=" 0.412"), "last", "s", 412.0),
    "behind others": (LINE.format(route="x", agent="curl", behind=' "-" rt=0.412 uct="-"'), "rt", "s", 412.0),
    "apache": (LINE.format(route="x", agent="curl", behind=" 412000"), "last", "us", 412.0),
    "at once": (LINE.format(route="x", agent="curl", behind=" 0.000"), "last", "s", 0.0),
    "caddy": (CADDY, "duration", "s", 412.0),
    "as text": ('{"ts": 1795993141, "status": 200, "took": "412", "ip": "::1", "path": "/x"}', "took", "ms", 412.0),
    # What nobody measured, and what a client would have us believe.
    "none": (LINE.format(route="x", agent="curl", behind=" -"), "last", "s", None),
    "no such": (LINE.format(route="x", agent="curl", behind=" 0.412"), "rt", "s", None),
    "of a client": (LINE.format(route="x", agent="x rt=0.001 y", behind=" 200"), "rt", "s", None),
    "of a client, last": (LINE.format(route="x", agent="x 0.001", behind=""), "last", "s", None),
    "of a client, before": (LINE.format(route="x", agent=r"\" rt=0.001 \"", behind=" rt=0.412"), "rt", "s", 412.0),
    "negative": ('{"ts": 1795993141, "status": 200, "took": -1, "ip": "::1", "path": "/x"}', "took", "ms", None),
    "nobody asked": (LINE.format(route="x", agent="curl", behind=" 0.412"), "", "s", None),
}


@pytest.mark.parametrize("name", TIMED)
def test_where_a_line_has_its_time(name: str) -> None:
    line, where, unit, took = TIMED[name]
    found = Reader("auto", {}, (24, 48), (where, unit)).read(line.encode())
    assert found is not None
    assert found.took == (took if took is None else pytest.approx(took))


def counted(**routes: list[float | None]) -> dict[str, Any]:
    made = Times(["/stream*"])
    for route, values in routes.items():
        for value in values:
            made.add(f"/{route}", value)
    return made.data()


def check(found: dict[str, Any]) -> Check:
    limits = ArgumentSpecValidator({"thresholds": SPEC["thresholds"]}).validate({"thresholds": {}})
    return times("/var/log/access.log", found, limits.validated_parameters["thresholds"])


def test_quantiles_are_those_of_the_requests() -> None:
    found = counted(orders=[*range(1, 201)], slow=[12_344.2] * 3)
    # The 100th, 190th and 198th of 200; three digits, and never less than it was.
    assert found["routes"] == [["/orders", 200, 100, 190, 198], ["/slow", 3, 12400, 12400, 12400]]


@pytest.mark.parametrize(
    ("values", "status", "word"),
    [
        ([*[10.0] * 200], "ok", "/a: p50 10 ms"),
        ([*[10.0] * 189, *[500.0] * 11], "warning", "p95 500 ms"),
        # One in a hundred, which neither the mean nor p95 would show.
        ([*[10.0] * 190, *[6000.0] * 10], "critical", "p99 6000 ms"),
        ([*[10.0] * 99], "unknown", "too few"),
        ([*[10.0] * 200, *[None] * 3], "unknown", "3 requests of 203 have no time"),
        ([None] * 200, "unknown", "have no time"),
        ([], "unknown", "have no time"),
    ],
)
def test_what_is_said_of_a_route(values: list[float | None], status: str, word: str) -> None:
    found = check(counted(a=values))
    assert found.status == status, found.message
    assert word in found.message
    assert (found.value is None) == (status == "unknown")


def test_the_worst_route_counts_and_those_that_stream_do_not() -> None:
    found = check(counted(a=[10] * 1000, b=[700] * 100, rare=[9000] * 5, stream=[60_000] * 500))
    assert (found.status, found.value) == ("warning", 700)
    assert found.message.startswith("/b: ")
    assert "1 route is slow of 2" in found.message
    assert "1 other has too few" in found.message


def test_times_of_a_log_get_into_its_review(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    lines = [LINE.format(route=f"orders/{number}", agent="x", behind=f" 0.{number:03}") for number in range(1, 201)]
    log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    spec = SPEC["access_logs"]["options"]
    for where in ("last", ""):
        given = ArgumentSpecValidator(spec).validate({"path": str(log), "request_time": where})
        found = review(given.validated_parameters, NOW)
        assert found["requests"] == 200
        assert found.get("times", {}).get("routes") == ([["/orders/*", 200, 100, 190, 198]] if where else None)
        json.dumps(found)
