"""The sample application's feature flags, and its own tests' way to say what they found."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sandbox.app import flags as module
from sandbox.app import tests as suites
from sandbox.app.flags import flags


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, object]]]:
    said: dict[str, object] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None: ...

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}", said
    listening.shutdown()
    thread.join()
    listening.server_close()


def test_flags_of_the_environment_say_where_they_are_from() -> None:
    assert flags({})["newFeature"] == {"value": False, "reason": "DEFAULT"}
    found = flags({"FEATURE_FLAGS": '{"newFeature": true}', "FEATURE_riskModel": "v2", "FEATURE_depth": "3"})
    assert found["newFeature"] == {"value": True, "reason": "STATIC"}
    assert found["riskModel"] == {"value": "v2", "reason": "STATIC"}
    assert found["depth"]["value"] == 3


@pytest.mark.parametrize("text", ["[1]", "{", "true"])
def test_flags_that_are_not_understood_are_an_error(text: str) -> None:
    assert {each["reason"] for each in flags({"FEATURE_FLAGS": text}).values()} == {"ERROR"}


def test_a_flag_server_decides_and_one_that_is_away_is_told_of(server: tuple[str, dict[str, object]]) -> None:
    address, said = server
    said["flags"] = [{"key": "newFeature", "value": True, "reason": "TARGETING_MATCH"}]
    found = flags({"FEATURE_FLAG_SERVER": address})
    assert found["newFeature"] == {"value": True, "reason": "TARGETING_MATCH"}
    assert found["riskModel"]["errorCode"] == "FLAG_NOT_FOUND"
    away = flags({"FEATURE_FLAG_SERVER": "http://127.0.0.1:1", "FEATURE_FLAGS": '{"newFeature": true}'})
    assert away["newFeature"] == {"value": True, "reason": "ERROR", "errorCode": "PROVIDER_NOT_READY"}


def test_the_tests_say_by_tap_what_they_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version: dict[str, str | None] = {"version": "1.2.0", "schema": None}
    answers = {"/version": version, "/api/strategies": [], "/api/positions": [], "/api/orders?limit=200": []}
    monkeypatch.setattr(suites.Service, "ask", lambda _self, path: (200, answers[path]))
    assert suites.main("integration", "http://anywhere") == 1
    assert capsys.readouterr().out.splitlines()[:4] == [
        "TAP version 14",
        "1..2",
        "not ok 1 - The database is at a revision of the schema",
        "# AssertionError: it does not say at which",
    ]
    version["schema"] = "f00"
    assert suites.main("integration", "http://anywhere") == 0
    monkeypatch.setenv("RELEASE_VERSION", "v1.2.1")
    with pytest.raises(AssertionError, match=r"one is 1\.2\.0"):
        suites.versions(suites.Service("http://anywhere"))


def test_a_flag_without_a_default_is_there_when_it_is_given() -> None:
    assert "depth" not in module.DEFAULTS
