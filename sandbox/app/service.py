# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service: database, heartbeats, log. What it answers over HTTP is in http.py."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from .metrics import Requests
from .trouble import Defect, Orders

INSTANCE = os.environ.get("TRADINGFLOW_INSTANCE", "tradingflow-1")
HEARTBEAT_SECONDS = 2
#: Connections the pool keeps, and how many more it may open.
POOL_SIZE, POOL_OVERFLOW = 5, 5


@dataclass(frozen=True)
class Settings:
    """What the environment says."""

    database_url: str
    port: int
    data_dir: str
    log_file: str
    version: str
    image: str
    trouble_file: str = ""
    #: One of several instances gives the platform's signs of life.
    heartbeats: bool = True
    #: The address to listen on.
    host: str = "127.0.0.1"
    #: Revisions of the schema with which this version works; none for any.
    schemas: tuple[str, ...] = ()
    #: What is wrong with this version, and after how many seconds it shows.
    defect: str = ""
    defect_after: float = 60

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Reads TRADINGFLOW_DATABASE_URL, _PORT, _DATA_DIR, _LOG_FILE, _VERSION, _IMAGE.

        And, where they are set, _TROUBLE_FILE, _HEARTBEATS (no), _HOST, _SCHEMAS (with commas), _DEFECT and
        _DEFECT_AFTER (seconds). The file "-" is the standard output.
        """
        return cls(
            database_url=environment["TRADINGFLOW_DATABASE_URL"],
            port=int(environment["TRADINGFLOW_PORT"]),
            data_dir=environment["TRADINGFLOW_DATA_DIR"],
            log_file=environment["TRADINGFLOW_LOG_FILE"],
            version=environment["TRADINGFLOW_VERSION"],
            image=environment["TRADINGFLOW_IMAGE"],
            trouble_file=environment.get("TRADINGFLOW_TROUBLE_FILE", ""),
            heartbeats=environment.get("TRADINGFLOW_HEARTBEATS", "yes") != "no",
            host=environment.get("TRADINGFLOW_HOST", "127.0.0.1"),
            schemas=tuple(filter(None, environment.get("TRADINGFLOW_SCHEMAS", "").split(","))),
            defect=environment.get("TRADINGFLOW_DEFECT", ""),
            defect_after=float(environment.get("TRADINGFLOW_DEFECT_AFTER") or 60),
        )


def to_json(value: Any) -> str:
    """JSON with Decimals and times as strings: a float would lose digits."""

    def default(other: Any) -> str:
        return f"{other:f}" if isinstance(other, Decimal) else other.isoformat()

    return json.dumps(value, default=default, ensure_ascii=False)


class Log:
    """One JSON object per line. Opened anew for each line, so a rotation needs no signal."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()

    def __call__(self, level: str, event: str, **fields: Any) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = to_json({"at": at, "level": level, "event": event, "instance": INSTANCE, **fields})
        if self._path == "-":
            with self._lock:
                print(line, flush=True)
            return
        with self._lock, open(self._path, "a", encoding="utf-8", opener=_private) as file:
            file.write(line + "\n")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Service:
    """The database, and the thread that writes signs of life."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = Log(settings.log_file)
        self.requests = Requests()
        self.orders = Orders(settings.trouble_file)
        self.defect = Defect(settings.defect, settings.defect_after)
        self.started = time.time()
        self.last_beat: float | None = None
        self.complained = ""
        self.stopping = threading.Event()
        self.waiting = 0
        self._waiting = threading.Lock()
        self.engine = create_engine(
            settings.database_url,
            pool_size=POOL_SIZE,
            max_overflow=POOL_OVERFLOW,
            pool_timeout=5,
            pool_pre_ping=True,
            connect_args={"application_name": "tradingflow", "connect_timeout": 3},
        )

    @property
    def pool(self) -> QueuePool:
        """The engine's pool."""
        return cast(QueuePool, self.engine.pool)

    def _connection(self) -> Connection:
        """A connection of the pool; who waits for one is counted."""
        with self._waiting:
            self.waiting += 1
        try:
            return self.engine.connect()
        finally:
            with self._waiting:
                self.waiting -= 1

    def rows(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a query."""
        with self._connection() as connection:
            return [dict(row) for row in connection.execute(text(statement), parameters).mappings()]

    def schema_head(self) -> str | None:
        """The newest migration in the database."""
        found = self.rows("SELECT version_num FROM alembic_version")
        return found[0]["version_num"] if found else None

    def beat(self) -> None:
        """Writes one sign of life of the platform and of every strategy, in the state it should be in."""
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO heartbeat (instance, beat_at, sequence, interval_seconds)"
                    " VALUES (:instance, clock_timestamp(), 1, :seconds) ON CONFLICT (instance) DO UPDATE"
                    " SET beat_at = excluded.beat_at, sequence = heartbeat.sequence + 1,"
                    " interval_seconds = excluded.interval_seconds"
                ),
                {"instance": INSTANCE, "seconds": HEARTBEAT_SECONDS},
            )
            connection.execute(
                text(
                    "INSERT INTO strategy_heartbeats (strategy_code, state, beat_at, sequence)"
                    " SELECT code, expected_state, clock_timestamp(), 1 FROM strategies ORDER BY code"
                    " ON CONFLICT (strategy_code) DO UPDATE SET beat_at = excluded.beat_at, state = excluded.state,"
                    " sequence = strategy_heartbeats.sequence + 1"
                )
            )
        self.last_beat = time.time()

    def complain(self) -> None:
        """Logs the errors that it is told to log, once."""
        burst = self.orders.get("burst")
        if burst and burst["id"] != self.complained:
            self.complained = burst["id"]
            for number in range(burst["lines"]):
                self.log("error", burst["event"], order=number + 1, error=burst["error"])

    def run_heartbeats(self) -> None:
        """Writes signs of life until the service stops; a database that is away is logged, once per outage."""
        failing = False
        while not self.stopping.is_set():
            try:
                self.beat()
                if failing:
                    self.log("info", "heartbeat.recovered")
                failing = False
            except SQLAlchemyError as error:
                if not failing:
                    self.log("error", "heartbeat.failed", error=" ".join(str(error.__cause__ or error).split()))
                failing = True
            self.complain()
            self.stopping.wait(HEARTBEAT_SECONDS)
