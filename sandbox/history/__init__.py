# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ninety days of a trading platform, the same for the same seed, size and anchor."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

#: Orders, clients, users and audit entries of each size.
SIZES = {
    "empty": (0, 0, 0, 0),
    "small": (3_000, 40, 12, 300),
    "default": (205_000, 400, 60, 6_000),
    "large": (2_050_000, 2_000, 200, 60_000),
}
DAYS = 90


class History:
    """All rows and files; made at once, turned into text while they are loaded.

    :param anchor: the moment up to which there is a history
    :param size: a key of SIZES; "empty" has no row
    """

    def __init__(self, *, seed: int, anchor: datetime, size: str) -> None:
        self.seed, self.size = seed, size
        self._digests: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self.tables: list[Any] = []
        if size != "empty":
            from .tables import make_tables

            self.tables = make_tables(seed, anchor, DAYS, *SIZES[size])

    def chunks(self, table: Any) -> Iterator[bytes]:
        """A table's rows as COPY wants them; afterwards its digest is known."""
        digest = hashlib.sha256()
        for chunk in table.lines():
            digest.update(chunk)
            yield chunk
        self._digests[table.name] = digest.hexdigest()
        self._counts[table.name] = table.count

    @property
    def digest(self) -> str:
        """SHA-256 over all rows that were made into text so far."""
        lines = "".join(f"{name} {digest}\n" for name, digest in sorted(self._digests.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def load(self, section: dict[str, Any]) -> dict[str, int]:
        """Loads all tables by COPY, over two connections.

        :param section: "postgres" of the state
        :returns: rows by table
        """
        if self.tables:
            work: queue.SimpleQueue[Any] = queue.SimpleQueue()
            for table in sorted(self.tables, key=lambda each: -each.count):
                work.put(table)
            stop = threading.Event()
            with ThreadPoolExecutor(2) as pool:
                for done in [pool.submit(self._load_some, section, work, stop) for _ in range(2)]:
                    done.result()
        return dict(sorted(self._counts.items()))

    def _load_some(self, section: dict[str, Any], work: queue.SimpleQueue[Any], stop: threading.Event) -> None:
        from ..postgres import cursor

        try:
            with cursor(section) as server:
                # The rows hold together by the way they are made; checking every reference would double the time.
                server.execute("SET session_replication_role = replica; SET timezone = 'UTC'")
                while not stop.is_set():
                    try:
                        table = work.get_nowait()
                    except queue.Empty:
                        return
                    self._load_table(server, table)
        except BaseException:
            stop.set()
            raise

    def _load_table(self, server: Any, table: Any) -> None:
        server.execute("BEGIN")
        server.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass"
            " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)",
            [table.name],
        )
        indexes = server.fetchall()
        for name, _ in indexes:
            server.execute(f"DROP INDEX {name}")
        # CLUSTER gives the empty table a new file, as TRUNCATE would if nothing referred to it. Then, with wal_level
        # minimal, its rows need no WAL, and they can be frozen at once.
        server.execute(f"CLUSTER {table.name} USING {table.name}_pkey")
        server.execute(f"ALTER TABLE {table.name} SET WITHOUT CLUSTER")
        columns = ", ".join(table.columns)
        server.copy_expert(f"COPY {table.name} ({columns}) FROM STDIN (FREEZE)", Stream(self.chunks(table)), 1 << 20)
        for _, definition in indexes:
            server.execute(definition)
        if table.has_sequence:
            server.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [table.name, max(table.count, 1)])
        server.execute(f"ANALYZE {table.name}")
        server.execute("COMMIT")

    def write_files(self, folder: Path) -> None:
        """Writes the application's files."""
        if self.size != "empty":
            import numpy as np

            from .records import write_files

            write_files(np.random.default_rng([self.seed, 99]), folder)


class Stream:
    """Chunks of bytes as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        """At most size bytes; empty at the end."""
        if not self._rest:
            self._rest = next(self._chunks, b"")
        part, self._rest = self._rest[:size], self._rest[size:]
        return part
