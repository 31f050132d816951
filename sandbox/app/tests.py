# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application's own tests, against the running service: python -m sandbox.app.tests e2e|integration ADDRESS.

They say by TAP what they found (https://testanything.org), and end with 1 when a test failed. What is expected comes
from the environment: RELEASE_VERSION, and RELEASE_FLAGS as a JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

#: So many new connections meet every instance behind the address, most likely.
EACH = 12


def main(suite: str, address: str) -> int:
    """Runs a suite; its exit code."""
    service = Service(address.rstrip("/"))
    found = SUITES[suite]
    print("TAP version 14")
    print(f"1..{len(found)}", flush=True)
    failed = 0
    for number, test in enumerate(found, 1):
        title = " ".join((test.__doc__ or test.__name__).split()).rstrip(".")
        try:
            test(service)
        except Exception as error:
            failed += 1
            print(f"not ok {number} - {title}")
            print(f"# {type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        else:
            print(f"ok {number} - {title}", flush=True)
    return 1 if failed else 0


class Service:
    """The service as its clients see it."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str) -> tuple[int, Any]:
        """Status and content of an answer."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=10) as answer:  # noqa: S310 - http
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None

    def good(self, path: str) -> Any:
        """Content of an answer that must be 200."""
        code, content = self.ask(path)
        expect(code == 200, f"{path} answers {code}")
        return content


def expect(truth: bool, text: str) -> None:
    """Fails a test, in words."""
    if not truth:
        raise AssertionError(text)


def healthy(service: Service) -> None:
    """Every instance is alive and ready."""
    for _again in range(EACH):
        expect(service.good("/health")["status"] == "ok", "it is not healthy")
        expect(service.good("/ready")["status"] == "ready", "it is not ready")


def versions(service: Service) -> None:
    """Every instance is the version that was released."""
    wanted = os.environ.get("RELEASE_VERSION", "").removeprefix("v")
    for _again in range(EACH):
        said = service.good("/version")["version"]
        expect(not wanted or said == wanted, f"one is {said}, not {wanted}")


def flags(service: Service) -> None:
    """Every instance has the feature flags that were released."""
    wanted = json.loads(os.environ.get("RELEASE_FLAGS") or "{}")
    for _again in range(EACH):
        said = service.good("/flags")["flags"]
        for name, value in wanted.items():
            expect(name in said and said[name]["value"] == value, f"{name} is {said.get(name)}, not {value!r}")


def trading(service: Service) -> None:
    """Strategies, orders and positions are answered."""
    expect(bool(service.good("/api/strategies")), "there is no strategy")
    expect(len(service.good("/api/orders?limit=10")) <= 10, "more orders than asked for")
    expect(isinstance(service.good("/api/positions"), list), "positions are no list")


def refusals(service: Service) -> None:
    """Nonsense is refused, and is no error of the server."""
    expect(service.ask("/api/orders?limit=0")[0] == 400, "a limit of 0 is not refused")
    expect(service.ask("/api/nothing")[0] == 404, "an unknown path is not refused")


def schema(service: Service) -> None:
    """The database is at a revision of the schema."""
    expect(bool(service.good("/version")["schema"]), "it does not say at which")


def references(service: Service) -> None:
    """Orders and positions belong to strategies that there are."""
    known = {each["code"] for each in service.good("/api/strategies")}
    for path in ("/api/orders?limit=200", "/api/positions"):
        strange = {each["strategy_code"] for each in service.good(path)} - known
        expect(not strange, f"{path}: of unknown strategies {sorted(strange)[:3]}")


SUITES: dict[str, list[Callable[[Service], None]]] = {
    "e2e": [healthy, versions, flags, trading, refusals],
    "integration": [schema, references],
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
