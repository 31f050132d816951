# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the service answers over HTTP."""

from __future__ import annotations

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sqlalchemy.exc import SQLAlchemyError

from .flags import flags
from .metrics import gauge, resident_memory
from .service import INSTANCE, POOL_OVERFLOW, POOL_SIZE, Service, to_json

MOST_ROWS = 1000


class BadRequest(Exception):
    """The request makes no sense; answered with 400."""


class NotReady(Exception):
    """It cannot work with this database; answered with 503."""


class Server(ThreadingHTTPServer):
    """The HTTP server of a service."""

    daemon_threads = True

    def __init__(self, service: Service) -> None:
        self.service = service
        self.under_way = 0
        self.lock = threading.Lock()
        super().__init__((service.settings.host, service.settings.port), Handler)

    def drain(self, seconds: float) -> None:
        """Waits for the answers that are under way: connections that wait for a request do not count."""
        deadline = time.monotonic() + seconds
        while self.under_way and time.monotonic() < deadline:
            time.sleep(0.02)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server
    timeout = 30

    def do_GET(self) -> None:
        """Answers, counts and logs."""
        with self.server.lock:
            self.server.under_way += 1
        try:
            self.answer()
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def answer(self) -> None:
        """The same, whatever becomes of it."""
        began = time.monotonic()
        address = urlsplit(self.path)
        self.server.service.orders.delay(address.path)
        route = ROUTES.get(address.path)
        content_type, code = "application/json", 200
        error: str | None = None
        try:
            if route is None:
                code, body = 404, to_json({"error": "not found"})
            else:
                self.server.service.defect.strike(address.path)
                answer = route(self.server.service, parse_qs(address.query))
                if isinstance(answer, str):
                    content_type, body = "text/plain; version=0.0.4; charset=utf-8", answer
                else:
                    body = to_json(answer)
        except BadRequest as problem:
            code, error = 400, str(problem)
        except NotReady as problem:
            code, error = 503, str(problem)
        except SQLAlchemyError as problem:
            code, error = 503, " ".join(str(problem.__cause__ or problem).split())
        except Exception as problem:
            # A defect of this service: without this the log would say nothing of it.
            code, error = 500, f"{type(problem).__name__}: {problem}"
        if error is not None:
            # What the database said goes into the log, not to the client.
            body = to_json({"error": {400: error, 500: "internal error"}.get(code, "database unavailable")})
        data = body.encode()
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        seconds = time.monotonic() - began
        service = self.server.service
        service.requests.add(address.path if route else "other", code, seconds)
        service.log(
            "error" if code >= 500 else "warning" if code >= 400 else "info",
            "http.request",
            method="GET",
            path=address.path,
            code=code,
            ms=round(seconds * 1000, 3),
            **({"error": error} if error else {}),
        )

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on stderr: do_GET logs."""


Query = dict[str, list[str]]


def health(service: Service, _: Query) -> dict[str, Any]:
    """Alive; says nothing of the database."""
    status = "ok" if service.orders.get("unhealthy") is None else "unhealthy"
    return {"status": status, "instance": INSTANCE, "uptime_seconds": round(time.time() - service.started, 3)}


def ready(service: Service, _: Query) -> dict[str, Any]:
    """Able to work: the database answers, with a schema of this version's."""
    began = time.monotonic()
    service.rows("SELECT 1")
    wanted = service.settings.schemas
    if wanted and (found := service.schema_head()) not in wanted:
        raise NotReady(f"the schema is at {found}, this version works with {' or '.join(wanted)}")
    return {"status": "ready", "database_ms": round((time.monotonic() - began) * 1000, 3)}


def version(service: Service, _: Query) -> dict[str, Any]:
    """What runs here."""
    settings = service.settings
    return {"version": settings.version, "image": settings.image, "schema": service.schema_head(), "instance": INSTANCE}


def feature_flags(service: Service, _: Query) -> dict[str, Any]:
    """How every flag was decided, and by what."""
    return {"flags": flags(), "instance": INSTANCE}


def metrics(service: Service, _: Query) -> str:
    """For Prometheus."""
    settings, pool = service.settings, service.pool
    age = None if service.last_beat is None else round(time.time() - service.last_beat, 3)
    labels = f'{{version="{settings.version}",image="{settings.image}"}}'
    lines = [
        *service.requests.lines(),
        *gauge("tradingflow_build_info", "What runs here.", 1, labels),
        *gauge("tradingflow_db_pool_size", "Connections the pool may keep.", pool.size()),
        *gauge("tradingflow_db_pool_limit", "Connections the pool may open.", POOL_SIZE + POOL_OVERFLOW),
        *gauge("tradingflow_db_pool_in_use", "Connections in use.", pool.checkedout()),
        *gauge("tradingflow_db_pool_waiting", "Requests waiting for a connection.", service.waiting),
        *gauge("tradingflow_heartbeat_age_seconds", "Since the last heartbeat was written.", age),
        *gauge("process_resident_memory_bytes", "Memory resident.", resident_memory()),
        *gauge("process_start_time_seconds", "When the process started, in Unix time.", round(service.started, 3)),
        *gauge("process_open_fds", "Open files.", len(os.listdir("/proc/self/fd"))),
    ]
    return "\n".join(lines) + "\n"


def _limit(query: Query) -> int:
    text = query.get("limit", ["100"])[0]
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_ROWS:
        raise BadRequest(f"limit must be a number from 1 to {MOST_ROWS}")
    return int(text)


def strategies(service: Service, _: Query) -> list[dict[str, Any]]:
    """All strategies and their last sign of life."""
    return service.rows(
        "SELECT s.code, s.name, s.account_code, s.expected_state, h.state, h.beat_at"
        " FROM strategies s LEFT JOIN strategy_heartbeats h ON h.strategy_code = s.code ORDER BY s.code"
    )


def positions(service: Service, _: Query) -> list[dict[str, Any]]:
    """What is held."""
    return service.rows(
        "SELECT strategy_code, account_code, instrument_code, quantity, net_cost, updated_at FROM positions"
        " WHERE quantity <> 0 ORDER BY strategy_code, instrument_code"
    )


def orders(service: Service, query: Query) -> list[dict[str, Any]]:
    """The newest orders; limit=1..1000."""
    return service.rows(
        "SELECT id, client_order_id, strategy_code, instrument_code, side, quantity, filled_quantity, status,"
        " created_at FROM orders ORDER BY id DESC LIMIT :count",
        count=_limit(query),
    )


ROUTES: dict[str, Any] = {
    "/health": health,
    "/ready": ready,
    "/version": version,
    "/flags": feature_flags,
    "/metrics": metrics,
    "/api/strategies": strategies,
    "/api/positions": positions,
    "/api/orders": orders,
}
