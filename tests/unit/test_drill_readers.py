"""Who reads a copy of a server that has no role which reads everything (PostgreSQL 13 and older)."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import physical, replay, restored
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill.restored import Restored
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import info
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import copies
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import objects
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError


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


@pytest.mark.parametrize(("version", "said"), [("17", "off"), ("16", None)])
def test_event_triggers_of_logins_do_not_fire_in_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, said: str | None
) -> None:
    """They would run as the superuser of the drill."""
    copy: Any = Restored(tmp_path, {}, None, {})
    copy.data.mkdir()
    (copy.data / "PG_VERSION").write_text(version + "\n")
    spawned: list[dict[str, Any]] = []
    monkeypatch.setattr(Restored, "_spawn", lambda _self, settings: spawned.append(settings))
    copy._begin({"hot_standby": "on"})
    assert spawned[0].get("event_triggers") == said
    assert copies.still(int(version)).get("event_triggers") == said


@pytest.mark.parametrize("gone", [True, False])
def test_a_point_that_was_expired_meanwhile_is_not_good(monkeypatch: pytest.MonkeyPatch, gone: bool) -> None:
    """Though all of it came back."""
    well = Check("drill.wal", "WAL replayed", "ok", "0/1")
    stubs: dict[str, Any] = {
        "newest_segment": lambda *_: None,
        "distance": lambda *_: 0,
        "end_of": lambda *_: None,
        "judged": lambda *_: well,
        "opened": lambda *_: [],
    }
    for name, does in stubs.items():
        monkeypatch.setattr(replay, name, does)
    monkeypatch.setattr(objects, "archive", lambda _: "archive")
    monkeypatch.setattr(info, "expired", lambda *given: ConfigurationError("It was expired.") if gone else given[-1])
    server = SimpleNamespace(control={"Bytes per WAL segment": "1"}, replayed=0, home="x", log=str)
    for name in ("replay_on", "open", "database"):
        setattr(server, name, lambda *_: {})
    drill: Any = object.__new__(physical.Physical)
    drill.instance, drill.s3, drill.options, drill._target, drill._pgbackrest = (
        server,
        None,
        {"storage": {}},
        None,
        None,
    )
    drill.point = {"engine": {"target_wal": "", "label": "F", "page_checksums_wrong": False}, "database": {"name": "x"}}
    (found,) = drill.finish(SimpleNamespace(phase=lambda *_: None, tick=lambda: None))
    assert found.status == ("unknown" if gone else "ok")
