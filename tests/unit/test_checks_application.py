"""Area application against a server that misbehaves on purpose."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import application
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.earlier import Earlier, nothing
from ansible_collections.tradingflow.maintenance.plugins.module_utils._http import request as http
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

Answer = Callable[[socket.socket, str], None]


def reply(body: str | bytes, status: str = "200 OK", *headers: str) -> Answer:
    """An answer as it should be."""
    data = body.encode() if isinstance(body, str) else body
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", *headers])
    return lambda connection, path: connection.sendall(head.encode() + b"\r\n\r\n" + data)


METRICS = """\
# TYPE http_requests_total counter
http_requests_total{code="200",route="/a"} 990
http_requests_total{code="503",route="/a"} 10
tradingflow_db_pool_in_use 3
tradingflow_db_pool_limit 10
process_resident_memory_bytes 1e8
process_start_time_seconds 1.7e9
"""


class Server:
    """A server on loopback; ``answers`` maps paths to what is done to whoever asks."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer] = {
            "/health": reply('{"status": "ok"}'),
            "/ready": reply('{"status": "ready"}'),
            "/version": reply('{"version": "1.2.0"}'),
            "/metrics": reply(METRICS),
        }
        self.asked: list[str] = []
        self.tls = tls
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.stopped = threading.Event()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.handle, args=(connection,), daemon=True).start()

    def handle(self, connection: socket.socket) -> None:
        try:
            connection = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(4096) or b"\r\n\r\n"
                path = request.split(b" ")[1].decode()
                self.asked.append(path)
                self.answers.get(path, reply("", "404 Not Found"))(connection, path)
        except (OSError, IndexError, ValueError):
            pass

    def close(self) -> None:
        if self.stopped.is_set():
            return
        self.stopped.set()
        # shutdown wakes the thread in accept; close alone would not.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def measure(*urls: str, earlier: Earlier = nothing, **options: Any) -> tuple[dict[str, Check], str | None]:
    """The checks by id without the replica, for one replica."""
    result = ArgumentSpecValidator(application.APPLICATION_SPEC).validate(
        {"urls": list(urls), "probes": 3, "timeout": 5, **options}
    )
    assert not result.error_messages
    checks, version = application.measure(result.validated_parameters, earlier)
    found = {check.id if len(urls) > 1 else check.id.partition(":")[0]: check for check in checks}
    assert len(found) == len(checks)
    return found, version


NAMES = {
    "application.answers",
    "application.healthy",
    "application.ready",
    "application.response_time_p50",
    "application.response_time_p95",
    "application.response_time_p99",
    "application.memory",
    "application.pool_used",
    "application.error_rate",
    "application.version",
}
REST = NAMES - {"application.answers"}


def test_healthy_application_is_green(server: Server) -> None:
    found, version = measure(server.url)
    assert found.keys() == NAMES
    assert {check.status for check in found.values()} == {"ok"}
    assert version == "1.2.0"
    assert server.asked.count("/health") == 3


def assert_silent(found: dict[str, Check], because: str) -> None:
    """It does not answer: that is critical, and nothing else is known."""
    assert found.keys() == NAMES
    assert found["application.answers"].status == "critical"
    assert because in found["application.answers"].message
    assert found["application.answers"].remedy
    assert {found[name].status for name in REST} == {"unknown"}


def test_nothing_listens(server: Server) -> None:
    server.close()
    found, version = measure(server.url)
    assert_silent(found, "refused")
    assert version is None


def test_no_answer_comes(server: Server) -> None:
    def wait(connection: socket.socket, path: str) -> None:
        server.stopped.wait(5)

    server.answers["/health"] = wait
    assert_silent(measure(server.url, timeout=0.15)[0], "no complete answer in time")


@pytest.mark.parametrize("prefix", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"])
def test_answer_drips(server: Server, prefix: bytes) -> None:
    def drip(connection: socket.socket, path: str) -> None:
        connection.sendall(prefix)
        while not server.stopped.wait(0.05):
            connection.sendall(b"x")

    server.answers["/health"] = drip
    assert_silent(measure(server.url, timeout=0.15)[0], "no complete answer in time")


@pytest.mark.parametrize(
    ("data", "because"),
    [
        (b"\x00\xff garbage\r\n\r\n", "not HTTP"),
        (b"", "RemoteDisconnected"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort", "IncompleteRead"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
    ],
)
def test_what_comes_is_not_http(server: Server, data: bytes, because: str) -> None:
    server.answers["/health"] = lambda connection, path: connection.sendall(data)
    assert_silent(measure(server.url)[0], because)


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"])
def test_answer_in_pieces_that_ends_with_the_connection(server: Server, head: bytes) -> None:
    def slowly(connection: socket.socket, path: str) -> None:
        for piece in (head, b'{"status": ', b'"ok"}'):
            connection.sendall(piece)
            time.sleep(0.05)

    server.answers["/health"] = slowly
    found, _ = measure(server.url, probes=1)
    assert found["application.answers"].status == "ok", found["application.answers"].message


def test_name_that_is_not_known() -> None:
    assert_silent(measure("http://no-such-host.invalid:1234", timeout=3)[0], "not known")


def test_it_is_not_asked_again_and_again_when_silent(server: Server) -> None:
    server.answers["/health"] = lambda connection, path: None
    found, _ = measure(server.url, probes=50)
    assert len(server.asked) == application.GIVE_UP_AFTER
    assert found["application.answers"].value == 0


def test_some_requests_fail(server: Server) -> None:
    good = reply('{"status": "ok"}')
    server.answers["/health"] = lambda connection, path: good(connection, path) if len(server.asked) % 4 else None
    found, _ = measure(server.url, probes=8)
    assert (found["application.answers"].status, found["application.answers"].value) == ("warning", 75.0)
    assert found["application.healthy"].status == "ok"
    assert found["application.response_time_p50"].details["probes"] == 6


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (reply("OK"), "ok"),
        (reply('"UP"'), "ok"),
        (reply(""), "unknown"),
        (reply(" \n"), "unknown"),
        (reply("", "204 No Content"), "ok"),
        (reply('{"status": "degraded"}'), "warning"),
        (reply('{"status": "DOWN"}'), "critical"),
        (reply('{"status": "UP", "components": {"db": {"status": "DOWN"}, "disk": {"status": "UP"}}}'), "warning"),
        (reply('{"status": "pass", "checks": {"venue": [{"status": "fail"}]}}'), "warning"),
        (reply('{"status": "ok", "checks": {"db": "ok", "cache": true}}'), "ok"),
        (reply('{"status": false}'), "critical"),
        (reply('{"status": "ok"}', "503 Service Unavailable"), "critical"),
        (reply("", "500 Internal Server Error"), "critical"),
        (reply('{"status": "no idea"}'), "unknown"),
        (reply('{"healthy": "ok"}'), "unknown"),
        (reply('{"status": ["ok"]}'), "unknown"),
        (reply('{"status": null}'), "unknown"),
        (reply('{"status": "ok"'), "unknown"),
        (reply("[" * 100_000), "unknown"),
        (reply("<html>Welcome to nginx, everything is ok</html>"), "unknown"),
        (reply(b"\xff\xfe\x00\x01"), "unknown"),
        (reply("ok" * 1_000_000), "unknown"),
        (reply("ok", "404 Not Found"), "unknown"),
        (reply("ok", "401 Unauthorized"), "unknown"),
        (reply("ok", "302 Found", "Location: https://elsewhere.example/health?token=hush"), "unknown"),
        (reply("ok", "302 Found", "Location: https://bob:hush@elsewhere.example/health"), "unknown"),
    ],
)
def test_what_health_and_readiness_say(server: Server, answer: Answer, status: str) -> None:
    server.answers |= {"/health": answer, "/ready": answer}
    found, _ = measure(server.url)
    assert found["application.healthy"].status == found["application.ready"].status == status
    assert found["application.answers"].status == "ok"
    assert bool(found["application.healthy"].remedy) == (status != "ok")
    assert "hush" not in str(found)


def test_one_bad_answer_among_good_ones_counts(server: Server) -> None:
    good, bad = reply("ok"), reply("down", "503 Service Unavailable")
    server.answers["/health"] = lambda connection, path: (bad if len(server.asked) == 2 else good)(connection, path)
    found, _ = measure(server.url)
    assert found["application.healthy"].status == "critical"
    assert "1 of 3 times" in found["application.healthy"].message


def test_healthy_but_not_ready(server: Server) -> None:
    server.answers["/ready"] = reply('{"status": "starting"}', "503 Service Unavailable")
    found, _ = measure(server.url)
    assert (found["application.healthy"].status, found["application.ready"].status) == ("ok", "critical")


def test_huge_body_is_cut_off(server: Server) -> None:
    sent = []

    def flood(connection: socket.socket, path: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent.append(connection.send(b"x" * 65536))

    server.answers["/health"] = flood
    found, _ = measure(server.url, probes=1, timeout=5)
    assert found["application.healthy"].status == "unknown"
    assert sum(sent) < 50_000_000


@pytest.mark.parametrize("body", ["<html>1.2.0</html>", "", '{"v": "1"}', '{"version": 1}', "1\n2", "x" * 200, "ü"])
def test_version_that_is_none(server: Server, body: str) -> None:
    server.answers["/version"] = reply(body)
    found, version = measure(server.url)
    assert found["application.version"].status == "unknown"
    assert version is None


@pytest.mark.parametrize("body", ["v2.0.0-rc.1+build5\n", '"v2.0.0-rc.1+build5"', '{"version": "v2.0.0-rc.1+build5"}'])
def test_version_plain_or_in_json(server: Server, body: str) -> None:
    server.answers["/version"] = reply(body)
    assert measure(server.url)[1] == "v2.0.0-rc.1+build5"


def test_expected_version(server: Server) -> None:
    assert measure(server.url, expected_version="1.2.0")[0]["application.version"].status == "ok"
    found, version = measure(server.url, expected_version="1.3.0")
    assert found["application.version"].status == "warning"
    assert "1.3.0" in found["application.version"].message
    assert version == "1.2.0"


@pytest.fixture
def second() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def test_replicas_of_different_versions(server: Server, second: Server) -> None:
    second.answers["/version"] = reply("1.3.0")
    found, version = measure(server.url, second.url)
    assert found["application.version"].status == "warning"
    assert found["application.version"].value == "1.2.0, 1.3.0"
    assert version is None


def test_replica_that_is_down_leaves_the_version_unknown_and_the_other_green(server: Server, second: Server) -> None:
    second.close()
    found, version = measure(server.url, second.url)
    assert version is None
    assert found["application.version"].status == "unknown"
    assert found[f"application.answers:{second.url}"].status == "critical"
    assert found[f"application.healthy:{server.url}"].status == "ok"


def test_one_url_twice_is_one_replica(server: Server) -> None:
    checks, _ = measure(server.url, server.url + "/")
    assert len(checks) == len(NAMES)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "host:80",
        "http://",
        "http://user:hush@host",
        "http://host?key=hush",
        "http://host:99999",
        "http://[",
        "",
    ],
)
def test_urls_that_make_no_sense_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL 1") as caught:
        measure(url)
    assert "hush" not in str(caught.value)


def test_no_url_at_all() -> None:
    with pytest.raises(ConfigurationError, match="No URL"):
        application.measure({"urls": [], "thresholds": {}})


@pytest.mark.parametrize(
    "options", [{"probes": 0}, {"timeout": 0}, {"timeout": float("nan")}, {"ca_file": "/nowhere.pem"}]
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        measure("http://127.0.0.1:1", **options)


def test_base_path_and_other_paths(server: Server) -> None:
    server.answers["/my%20app/live"] = reply("ok")
    found, _ = measure(server.url + "/my app/", health_path="live")
    assert found["application.healthy"].status == "ok"


def test_proxy_of_the_environment_is_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert measure(server.url)[0]["application.answers"].status == "ok"


@pytest.mark.parametrize(("percent", "value"), [(50, 10), (95, 19), (99, 20)])
def test_percentiles_are_nearest_rank(percent: int, value: float) -> None:
    assert application.percentile([float(number) for number in range(20, 0, -1)], percent) == value


def test_response_times_are_judged() -> None:
    target = http.replica("http://127.0.0.1:1", 1)
    answers = [http.Answer(200, b"", False, seconds, "") for seconds in [0.05] * 18 + [0.6, 3.5]]
    thresholds = ArgumentSpecValidator(application.APPLICATION_SPEC).validate({"urls": []}).validated_parameters
    probing = application.Probing(answers, 20)
    found = {
        check.id.split(":")[0][-3:]: check.status
        for check in application.response_times(target, probing, thresholds["thresholds"])
    }
    assert found == {"p50": "ok", "p95": "warning", "p99": "critical"}


def test_plain_server_asked_by_tls(server: Server) -> None:
    found, _ = measure(server.url.replace("http:", "https:"), timeout=0.15)
    assert found["application.answers"].status == "critical"


def test_findings_are_json(server: Server) -> None:
    server.answers["/health"] = reply('{"status": "ok \\ud83d\\u0000"}')
    found, _ = measure(server.url)
    assert json.dumps([check.as_dict() for check in found.values()])


def test_fewer_replicas_than_declared_are_critical(server: Server) -> None:
    other = Server()
    try:
        for urls, declared, status in (
            ([server.url, other.url], 2, "ok"),
            ([server.url, other.url], 1, "ok"),
            ([server.url, other.url], 3, "critical"),
            # Twice the same is one.
            ([server.url, f"{server.url}/"], 2, "critical"),
            ([server.url], 0, "ok"),
        ):
            found, _ = measure(*urls, replicas=declared)
            assert found["application.replicas"].status == status, (urls, declared)
        assert "application.replicas" not in measure(server.url)[0]
        # One that answers and calls itself down is none.
        other.answers["/health"] = reply('{"status": "down"}')
        check = measure(server.url, other.url, replicas=2)[0]["application.replicas"]
        assert (check.status, check.value, len(check.details["not_well"])) == ("critical", 1, 1)
        assert check.message == "1 of 2 declared replicas is well."
        other.close()
        assert measure(server.url, other.url, replicas=2)[0]["application.replicas"].status == "critical"
    finally:
        other.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"status": "Nominal"}', "ok"),
        ("catching-up", "warning"),
        ('{"status": "panic"}', "critical"),
        ('{"status": "nominal-ish"}', "unknown"),
        ('{"status": "down"}', "critical"),
        # Of a part.
        ('{"status": "ok", "checks": {"db": "nominal"}}', "ok"),
        ('{"status": "ok", "checks": {"db": "panic"}}', "warning"),
        ('{"status": "nominal", "checks": {"db": "disconnected"}}', "warning"),
    ],
)
def test_words_of_its_own(server: Server, body: str, status: str) -> None:
    server.answers["/health"] = reply(body)
    words = {"healthy": ["nominal"], "degraded": ["Catching-Up "], "unhealthy": ["panic"]}
    assert measure(server.url, words=words)[0]["application.healthy"].status == status


@pytest.mark.parametrize("words", [{"healthy": ["down"]}, {"unhealthy": ["x"], "degraded": ["X"]}, {"healthy": [" "]}])
def test_words_that_would_mean_two_things_are_refused(server: Server, words: dict[str, list[str]]) -> None:
    with pytest.raises(ConfigurationError, match=r"means|empty"):
        measure(server.url, words=words)
