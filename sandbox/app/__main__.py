# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the service until SIGTERM: python -m sandbox.app."""

from __future__ import annotations

import signal
import threading
from typing import Any

from .http import Server
from .service import Service, Settings


def main() -> None:
    """Serves until told to stop."""
    service = Service(Settings.from_environment())
    server = Server(service)

    def stop(*_: Any) -> None:
        service.stopping.set()
        # shutdown() waits for serve_forever(), which runs in this very thread.
        threading.Thread(target=server.shutdown).start()

    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, stop)
    heartbeats = threading.Thread(target=service.run_heartbeats, name="heartbeats", daemon=True)
    if service.settings.heartbeats:
        heartbeats.start()
    service.log("info", "service.started", version=service.settings.version, port=service.settings.port)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    server.drain(5)
    if service.settings.heartbeats:
        heartbeats.join(timeout=3)
    service.engine.dispose()
    service.log("info", "service.stopped")


main()
