# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A steady client of the service: python -m sandbox.app.client ADDRESS PER_SECOND. It logs failures, and sums."""

from __future__ import annotations

import json
import signal
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

PATHS = ("/api/strategies", "/api/orders?limit=10", "/api/positions")
#: Seconds between two lines with sums.
EACH = 10


def say(level: str, event: str, **fields: Any) -> None:
    """A line of the log, as the service writes them."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"at": at, "level": level, "event": event, **fields}), flush=True)


def ask(address: str, path: str) -> str | None:
    """Why a request failed, None if it did not. Each has a connection of its own, so that all instances are asked."""
    try:
        with urllib.request.urlopen(address + path, timeout=5) as answer:  # noqa: S310 - http
            answer.read()
            return None
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except OSError as error:
        return str(error)


def main(address: str, per_second: float) -> None:
    """Asks until it is told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    asked = failed = 0
    # It may be there before the service.
    while ask(address, PATHS[0]) is not None:
        time.sleep(0.2)
    say("info", "client.began")
    told = due = time.monotonic()
    while True:
        path = PATHS[asked % len(PATHS)]
        asked += 1
        if (why := ask(address, path)) is not None:
            failed += 1
            say("error", "client.failed", path=path, error=why)
        if time.monotonic() - told > EACH:
            say("info", "client.sums", asked=asked, failed=failed)
            told = time.monotonic()
        due = max(due + 1 / per_second, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
