"""What a health endpoint says of its parts while it calls itself well."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.application import verdict
from ansible_collections.tradingflow.maintenance.plugins.module_utils._http.request import Answer


def said(body: Any) -> tuple[str, str]:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return verdict(Answer(200, raw, False, 0.1, ""))


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"status": "ok", "checks": {"db": {"healthy": False}}}, "db"),
        ({"status": "ok", "checks": [{"name": "db", "status": "fail"}]}, "db"),
        ({"status": "ok", "db": "down"}, "db"),
        ({"status": "ok", "db": {"status": "down"}}, "db"),
        (
            {"status": "UP", "components": {"db": {"status": "UP", "components": {"second": {"status": "DOWN"}}}}},
            "second",
        ),
        ({"status": "UP", "components": {"db": {"status": "DEGRADED"}}}, "db"),
        ({"status": "ok", "checks": {"db": "disconnected"}}, "db"),
        ({"status": "ok", "checks": {"db": False}}, "db"),
        ({"status": "ok", "dependencies": {"venue": "timed out"}}, "venue"),
        ({"status": "ok", "error": "no connection to the database"}, "error"),
        ({"status": "ok", "errors": ["no connection to the database"]}, "errors"),
        ({"status": "ok", "healthy": False}, "healthy"),
        ({"status": "ok", "state": "down"}, "state"),
        ({"status": "Healthy", "results": {"db": {"status": "Unhealthy"}}}, "db"),
        ({"status": "success", "data": {"db": "unreachable"}}, "db"),
        ({"status": "ok", "checks": {"db": {"state": "down", "status": "ok"}}}, "db"),
    ],
)
def test_a_part_that_is_bad_is_a_warning(body: dict[str, Any], name: str) -> None:
    status, text = said(body)
    assert status == "warning"
    assert f"but {name} is not" in text


@pytest.mark.parametrize(
    "body",
    [
        {"status": "UP", "components": {"db": {"status": "UNKNOWN"}}},
        {"status": "ok", "checks": {"db": "perhaps"}},
        {"status": "ok", "services": [{"name": "db", "state": "limbo"}]},
    ],
)
def test_a_part_that_says_nothing_known_is_unknown(body: dict[str, Any]) -> None:
    status, text = said(body)
    assert status == "unknown"
    assert text.endswith("of db")


def test_a_state_that_is_there_twice_is_none() -> None:
    assert said('{"status": "down", "status": "ok"}')[0] == "unknown"


@pytest.mark.parametrize(
    "body",
    [
        {"status": "ok", "version": "1.2.0", "debug": False, "maintenance": False, "log_level": "error"},
        {
            "status": "UP",
            "components": {
                "diskSpace": {"status": "UP", "details": {"total": 5, "path": "/app/.", "exists": True}},
                "db": {"status": "UP", "details": {"database": "PostgreSQL", "validationQuery": "isValid()"}},
                "breakers": {"status": "UP", "details": {"venue": {"status": "UP", "details": {"state": "CLOSED"}}}},
            },
            "groups": ["liveness", "readiness"],
        },
        {"status": "ok", "info": {"db": {"status": "up"}}, "error": {}, "details": {"db": {"status": "up"}}},
        {"status": "UP", "checks": [{"name": "db", "status": "UP", "data": {"note": "nothing"}}]},
        {
            "status": "pass",
            "checks": {"db:time": [{"componentType": "datastore", "observedUnit": "ms", "status": "pass"}]},
        },
        {"status": "ok", "dependencies": {"cache": "7.2.1", "app": "v1.2", "site": "https://example.com"}},
        {"status": "Healthy", "entries": {"db": {"description": "all right", "status": "Healthy", "tags": ["ready"]}}},
        {"status": "ok", "checks": {"db": True, "cache": "disabled", "venue": "connected"}, "error": None},
        {"status": "ok", "checks": ["db", "venue"]},
    ],
)
def test_what_is_well_stays_well(body: dict[str, Any]) -> None:
    assert said(body)[0] == "ok"


def test_nesting_without_end_is_no_crash() -> None:
    assert said('{"status": "ok", "checks": ' + '{"a": ' * 400 + '{"status": "down"}' + "}" * 401)[0] == "warning"
    assert said('{"status": "ok", "checks": ' + '{"a": ' * 50000 + "1" + "}" * 50001)[0] == "unknown"
