"""Review of access logs."""

from __future__ import annotations

import calendar
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping import access
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.access import (
    baseline,
    review,
    unusual,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.access_lines import (
    Reader,
    plain_path,
    shortened,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs import names
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import HousekeepingError

NOW = float(calendar.timegm((2026, 11, 30, 12, 0, 0)))
BITS = (24, 48)
UNTIMED = {"request_time": "", "request_time_unit": "s", "request_time_left_out": []}
COMBINED = (
    b'203.0.113.77 - ann [29/Nov/2026:23:59:01 +0100] "GET /orders/4711?key=s HTTP/1.1" 200 12 "-" "curl \\"x\\""'
)


def options(path: Path, **more: Any) -> dict[str, Any]:
    given = {"path": str(path), "days": 7, "format": "auto", "fields": {}, "ipv4_bits": 24, "ipv6_bits": 48, **UNTIMED}
    return {**given, "maximum_lines": 100000, **more}


def line(number: int = 0, client: str = "203.0.113.7", status: int = 200, path: str = "/health", day: int = 29) -> str:
    at = f"{day}/Nov/2026:10:{number // 60 % 60:02}:{number % 60:02} +0000"
    return f'{client} - - [{at}] "GET {path} HTTP/1.1" {status} 5\n'


READ = {
    "combined": COMBINED,
    "common": COMBINED.split(b' "-"')[0],
    "with its virtual host": b"www.example:443 " + COMBINED,
    "user with a blank": COMBINED.replace(b"- ann", b"- ann x"),
    "json": b'{"time_iso8601": "2026-11-29T23:59:01+01:00", "remote_addr": "203.0.113.77", "status": "200",'
    b' "request": "GET /orders/4711?key=s HTTP/1.1"}',
    "json by numbers": b'{"ts": 1795993141.0, "client_ip": "203.0.113.77", "status": 200, "path": "/orders/4711"}',
    "json in ms": b'{"ts": 1795993141000, "client_ip": "203.0.113.77", "status": 200, "path": "/orders/4711"}',
    "caddy": b'{"ts": 1795993141, "status": 200, "request": {"remote_ip": "203.0.113.77", "uri": "/orders/4711"}}',
}


@pytest.mark.parametrize("name", READ)
def test_lines_that_are_read(name: str) -> None:
    found = Reader("auto", {}, BITS).read(READ[name])
    assert found == (1795993141.0, "203.0.113.0/24", 200, "/orders/*", None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe\x00",
        COMBINED[:40],
        COMBINED.replace(b"29/Nov", b"32/Nov"),
        COMBINED.replace(b"Nov", b"Nev"),
        COMBINED.replace(b" 200 ", b" 20x "),
        b"{}",
        b"[1]",
        b'{"ts": true, "client_ip": "1.2.3.4", "status": 200}',
        b'{"time": "2026-11-29T23:59:01", "client": "1.2.3.4", "status": 200}',
        b'{"ts": 1795993141, "client": "1.2.3.4", "status": 20}',
        b'{"ts": 1795993141, "client": "1.2.3.4", "status": null}',
        b"{" * 3000,
    ],
)
def test_lines_that_are_none(raw: bytes) -> None:
    assert Reader("auto", {}, BITS).read(raw) is None


@pytest.mark.parametrize(
    ("client", "short"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("[2001:db8::1]", "2001:db8::/48"),
        ("anns-laptop.example", "(name)"),
    ],
)
def test_addresses_are_shortened(client: str, short: str) -> None:
    assert shortened(client, BITS) == short


def test_paths_say_nothing_of_anybody() -> None:
    assert plain_path("/orders/4711/fills?token=abc") == "/orders/*/fills"
    assert plain_path("/reset/abcdefghijklmnopqrstuvwxyz") == "/reset/*"
    assert plain_path("https://host/a#b") == "/a"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/users/ann@example.com/orders", "/users/*/orders"),
        ("/users/ann%40example.com", "/users/*"),
        ("/login;jsessionid=abc", "/*"),
        ("/set/theme=dark", "/set/*"),
        ("/urn:isbn:x/y", "/*/y"),
        ("/reset/AbcDefGhiJkl", "/reset/*"),
        ("/api/OrderBook/abcdefghijklmnop", "/api/OrderBook/abcdefghijklmnop"),
        ("203.0.113.7:443", "(other)"),
        ("ann@example.com", "(other)"),
        ("*", "(other)"),
        ("HTTPS://ann:pw@host/a", "/a"),
        ("https://ann:pw@host", "/"),
        ("", "(other)"),
        ("(no request)", "(no request)"),
    ],
)
def test_routes_name_nobody(path: str, route: str) -> None:
    assert plain_path(path) == route


def test_a_proxy_names_no_client() -> None:
    found = Reader("auto", {}, BITS).read(COMBINED.replace(b"GET /orders/4711?key=s", b"CONNECT 203.0.113.7:443"))
    assert found is not None
    assert found.path == "(other)"


def test_period_with_what_was_rotated_away(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text("".join(line(n) for n in range(10)), encoding="utf-8")
    (tmp_path / "access.log.1").write_text(line(status=503, path="/slow/1"), encoding="utf-8")
    with gzip.open(tmp_path / "access.log.2.gz", "wt", encoding="utf-8") as stream:
        stream.write(line(day=20) + line(client="198.51.100.1", day=25, status=404))
    found = review(options(log), NOW)
    assert found["requests"] == 12
    assert found["unparsed"] == 0
    assert found["days"] == 7
    assert found["classes"] == {"1xx": 0, "2xx": 10, "3xx": 0, "4xx": 1, "5xx": 1}
    assert found["clients"] == [["203.0.113.0/24", 11], ["198.51.100.0/24", 1]]
    assert found["failing"] == [["/slow/*", 1]]
    assert found["damaged"] == []
    assert "203.0.113.7" not in json.dumps(found).replace("203.0.113.0/24", "")


def test_a_log_that_begins_within_the_period(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line(), encoding="utf-8")
    assert review(options(log), NOW)["days"] == pytest.approx(26 / 24, abs=0.01)


def test_half_a_line_at_the_end_is_no_line_yet(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line() + line()[:30], encoding="utf-8")
    assert review(options(log), NOW)["unparsed"] == 0
    log.write_text(line() + "garbage\n" + "x" * 200000 + "\n" + line(), encoding="utf-8")
    found = review(options(log), NOW)
    assert (found["requests"], found["unparsed"]) == (2, 2)


def test_what_is_damaged_is_told(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line(), encoding="utf-8")
    (tmp_path / "access.log.2.gz").write_bytes(gzip.compress(line().encode() * 1000)[:60])
    found = review(options(log), NOW)
    assert len(found["damaged"]) == 1
    assert found["requests"] >= 1


def test_no_more_lines_than_may_be_read(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line() * 10, encoding="utf-8")
    assert review(options(log, maximum_lines=10**6), NOW)["cut"] is False
    assert review(options(log, maximum_lines=5), NOW)["cut"] is True


def test_a_log_that_is_not_there_or_closed(tmp_path: Path) -> None:
    with pytest.raises(HousekeepingError, match="There is no log"):
        review(options(tmp_path / "access.log"), NOW)
    os.mkfifo(tmp_path / "access.log")
    with pytest.raises(HousekeepingError, match="is no file"):
        review(options(tmp_path / "access.log"), NOW)


ROTATES = """
import os, sys
log = sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
for number in range(300):
    os.rename(log, f"{log}.{number + 1}")
    with open(log, "w") as stream:
        stream.write(sys.argv[2])
"""


def test_rotated_while_it_is_read(tmp_path: Path) -> None:
    """No line is read twice, and none is missed that was there before."""
    log = tmp_path / "access.log"
    log.write_text("".join(line(n, client="198.51.100.1") for n in range(20000)), encoding="utf-8")
    command = [sys.executable, "-S", "-c", ROTATES, str(log), line()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()
        found = review(options(log), NOW)
        process.communicate()
    assert dict(map(tuple, found["clients"]))["198.51.100.0/24"] == 20000
    assert len(os.listdir(tmp_path)) == 301


def test_rotated_between_its_name_and_its_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "access.log"
    log.write_text(line() * 5, encoding="utf-8")
    real, rounds = names.listed, 0

    def listed(pattern: str) -> Any:
        nonlocal rounds
        rounds += 1
        found = real(pattern)
        if rounds == 1:
            log.rename(tmp_path / "access.log.1")
            log.write_text(line(), encoding="utf-8")
        return found

    monkeypatch.setattr(access, "listed", listed)
    assert review(options(log), NOW)["requests"] == 6


USUAL = {"requests_per_day": 1000.0, "4xx": 1.0, "5xx": 0.1, "largest_client": 20.0, "clients": ["203.0.113.0/24"]}


def test_what_is_unusual() -> None:
    earlier = [{**USUAL, "requests_per_day": 1000.0 + 50 * n} for n in range(5)]
    assert unusual({**USUAL, "requests_per_day": 1300.0}, earlier) == []
    assert unusual({**USUAL, "requests_per_day": 5000.0}, earlier) == ["5000 requests a day, where 1100 is usual"]
    assert unusual({**USUAL, "requests_per_day": 10.0}, earlier) == ["10 requests a day, where 1100 is usual"]
    assert len(unusual({**USUAL, "requests_per_day": 1100.0, "5xx": 0.7}, earlier)) == 1
    (text,) = unusual({**USUAL, "requests_per_day": 1100.0, "clients": ["192.0.2.0/24"]}, earlier)
    assert "never among the first" in text


def test_baseline_has_no_addresses(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(line() * 3 + line(status=500), encoding="utf-8")
    made = baseline(review(options(log), NOW))
    assert made["5xx"] == 25.0
    assert made["clients"] == ["203.0.113.0/24"]
