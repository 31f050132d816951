"""Who reads a copy of a server that has no role which reads everything (PostgreSQL 13 and older)."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import restored
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill.restored import Restored


class Server:
    """Answers what is asked about event triggers and schemas, and remembers what it ran."""

    def __init__(self, version: int, always: list[str]) -> None:
        self.server_version = version
        self.always = always
        self.ran: list[str] = []
        self.connection = self

    def cursor(self) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, query: str, *_: Any) -> None:
        self.ran.append(query)

    def fetchall(self) -> list[tuple[str]]:
        names = self.always if "pg_event_trigger" in self.ran[-1] else ['a "b" c']
        return [(name,) for name in names]


@pytest.mark.parametrize(
    ("version", "always", "who", "granted"),
    [(130012, [], "reads", 3), (130012, ["spy"], None, 0), (150000, ["spy"], "reads", 0)],
)
def test_a_promoted_copy_is_read_by_a_role_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, always: list[str], who: str | None, granted: int
) -> None:
    server = Server(version, always)

    @contextmanager
    def connected(*_: Any, **__: Any) -> Any:
        yield server

    monkeypatch.setattr(restored, "connected", connected)
    monkeypatch.setattr(Restored, "database", lambda _self, name: {"name": name, "user": "postgres"})
    copy: Any = Restored(tmp_path, {}, None, {})
    copy._by_socket, copy._reader = False, "reads"
    found = copy.reader("books", 2)
    assert (found and found["user"]) == who
    rights = [each for each in server.ran if 'SCHEMA "a ""b"" c" TO "reads"' in each]
    assert len(rights) == granted
    assert "SET session_replication_role = replica" in server.ran
