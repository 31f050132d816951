"""A cluster beside its source: settings and tablespaces of its own, before anything starts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import info, program
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import (
    cluster,
    copies,
    replay,
    tablespaces,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    BackupError,
    ConfigurationError,
    DatabaseError,
    RestoreError,
)

ME = program.Account("me", os.geteuid(), os.getegid())
SPACES = [info.Space(16999, "fast", "/mnt/fast/pg")]
RUN = "20261129T120000Z-abcdef"


def settings(folder: Path, **more: str) -> str:
    """What is written for a copy whose configuration says this."""
    (folder / "postgresql.auto.conf").write_text("work_mem = '1MB'\n")
    said = {"data_directory": str(folder), "shared_preload_libraries": "", "log_directory": "log", **more}
    checks = copies.own_settings(folder, "/srv/copy", lambda _, name: said[name], 15)
    return (folder / "postgresql.auto.conf").read_text() + "".join(str(check.message) for check in checks)


def test_settings_of_the_copy_s_own_come_last(tmp_path: Path) -> None:
    text = settings(
        tmp_path,
        shared_preload_libraries='pg_cron, pg_stat_statements, "$libdir/auto_explain",unknown',
        log_directory="/var/log/postgresql",
        data_directory="/srv/copy/",
    )
    assert text.startswith("work_mem = '1MB'\n")
    for line in (
        *("archive_mode = 'off'", "archive_command = ''", "archive_library = ''", "recovery_end_command = ''"),
        *("archive_cleanup_command = ''", "primary_conninfo = ''", "max_logical_replication_workers = '0'"),
        *("external_pid_file = ''", "log_directory = 'log'"),
        "shared_preload_libraries = 'pg_stat_statements,$libdir/auto_explain'",
    ):
        assert f"\n{line}\n" in text
    assert text.endswith("The copy does not load pg_cron, unknown: they may act by themselves.")
    assert "log_directory" not in settings(tmp_path)
    assert "archive_library" not in copies.quiet(14)
    assert copies.harmless("pg_cron, timescaledb", ["timescaledb"]) == "timescaledb"


def test_configuration_that_would_start_the_source(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="would start on /var/lib/postgresql/15/main, not on /srv/copy"):
        settings(tmp_path, data_directory="/var/lib/postgresql/15/main")
    (tmp_path / "postgresql.auto.conf").unlink()
    (tmp_path / "postgresql.auto.conf").symlink_to("/nowhere")
    said = {"data_directory": str(tmp_path), "shared_preload_libraries": "", "log_directory": "log"}
    with pytest.raises(OSError, match="symbolic"):
        copies.own_settings(tmp_path, str(tmp_path), lambda _, name: said[name], 15)


def test_what_a_backup_has_outside() -> None:
    found: dict[str, Any] = {"label": "L", "tablespace": None, "link": None}
    text = json.dumps([{"backup": [found]}])
    assert info.outside(text, "L") == ([], [])
    found["tablespace"] = [{"oid": 16999, "name": "fast", "destination": "/mnt/fast/pg"}]
    found["link"] = [{"name": "pg_wal", "destination": "/wal"}]
    assert info.outside(json.dumps([{"backup": [found]}]), "L") == (SPACES, ["/wal"])
    for wrong in ("[]", "{", text.replace("L", "M"), '[{"backup": [{"label": "L", "tablespace": [{"name": "a"}]}]}]'):
        with pytest.raises(BackupError, match="not understood"):
            info.outside(wrong, "L")


def test_tablespaces_in_new_directories(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for chosen, base in ({}, tmp_path), ({"fast": str(tmp_path / "other")}, tmp_path / "other"):
        spaces = tablespaces.Spaces(str(tmp_path / "data"), RUN, ME, SPACES, chosen)
        assert spaces.refusals() == []
        path = base / "data_tablespaces_20261129t120000z_abcdef/16999"
        assert str(path) in spaces.planned()[0]
        assert f"--tablespace-map=16999={path}" in spaces.arguments()
        assert spaces.folders == [str(path)]
        tablespaces.remove([[str(path), [0, 0, 0]]])
        assert path.is_dir()
        tablespaces.remove(spaces.made)
        assert not path.parent.exists()
    wrong = tablespaces.Spaces(str(tmp_path / "data"), RUN, ME, SPACES, {"slow": "/nowhere"})
    assert [each.name for each in wrong.refusals()] == ["tablespaces", "tablespaces"]


def test_link_to_the_source_is_never_started_with(tmp_path: Path) -> None:
    spaces = tablespaces.Spaces(str(tmp_path / "data"), RUN, ME, [])
    links = tmp_path / "data/pg_tblspc"
    links.mkdir(parents=True)
    own, dropped = spaces.make("replayed-1"), spaces.make("replayed-2")
    (links / "1").symlink_to("/mnt/late")
    (links / "2").mkdir()
    spaces.settle(tmp_path / "data", {"/mnt/late": own})
    assert os.readlink(links / "1") == own
    assert (spaces.folders, os.path.exists(dropped)) == ([own], False)
    (links / "3").symlink_to("/mnt/fast/pg")
    with pytest.raises(RestoreError, match="would be in /mnt/fast/pg, which is the source's"):
        spaces.settle(tmp_path / "data", {})


@pytest.mark.parametrize("state", ["in archive recovery", "shut down in recovery", "in production", "shutting down"])
def test_server_that_would_replay_is_not_put_in_place(state: str) -> None:
    cluster.check_state("Database cluster state:               shut down\n")
    with pytest.raises(RestoreError, match=f"in order: {state}"):
        cluster.check_state(f"pg_control version number: 1\nDatabase cluster state:               {state}\nx: y\n")
    with pytest.raises(RestoreError, match="in order: unknown"):
        cluster.check_state("")


class Server:
    """A replaying server with these databases and roles."""

    def __init__(self, databases: tuple[str, ...], roles: tuple[str, ...]) -> None:
        self.databases, self.roles = databases, roles

    @contextmanager
    def connected(self, database: dict[str, Any], *, pinned: bool = False) -> Iterator[str]:
        if database["user"] not in self.roles:
            raise DatabaseError(f'FATAL: role "{database["user"]}" does not exist')
        if database["name"] not in self.databases:
            raise DatabaseError(f'FATAL: database "{database["name"]}" is not currently accepting connections')
        yield database["name"]


@pytest.mark.parametrize(
    ("databases", "roles", "log", "found"),
    [
        (("postgres", "template1"), ("me",), "", "postgres"),
        (("template1",), ("me",), "recovery stopping", "template1"),
        ((), ("me",), "recovery stopping", "neither of the databases postgres and template1"),
        (("postgres",), ("you",), "LOG: recovery stopping before commit", "no role me that may log in"),
        # It may still be made.
        (("postgres",), ("you",), "LOG: restored log file", "postgres"),
    ],
)
def test_where_a_replay_is_asked(
    monkeypatch: pytest.MonkeyPatch, databases: tuple[str, ...], roles: tuple[str, ...], log: str, found: str
) -> None:
    """In another database where one is gone at the target; what will not come is not waited for."""
    monkeypatch.setattr(replay, "connected", Server(databases, roles).connected)
    monkeypatch.setattr(replay.Replay, "_log", lambda _self: log)
    server = replay.Replay(Path("/nowhere"), "postgres", None, {}, None)  # type: ignore[arg-type]
    if " " in found:
        with pytest.raises(RestoreError, match=found):
            server.home_of("me")
    else:
        assert server.home_of("me")["name"] == found


@pytest.mark.parametrize(
    "said",
    [
        'FATAL: password authentication failed for user "a"',
        "FATAL: no pg_hba.conf entry for host",
        'role "a" does not exist',
    ],
)
def test_server_that_will_not_let_us_in_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """While one that is still starting is."""
    words = iter(["the database system is starting up", *[said] * 1000])

    @contextmanager
    def connected(_database: dict[str, Any], *, pinned: bool = False) -> Iterator[None]:
        raise DatabaseError(next(words))
        yield

    monkeypatch.setattr(cluster, "connected", connected)
    monkeypatch.setattr(cluster, "_BELIEVED", 0.5)
    with pytest.raises(RestoreError, match="does not take changes: ") as ended:
        cluster.until_primary({}, 3600, lambda: True, lambda: None)
    assert said in ended.value.message


def test_what_the_archive_does_not_have_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standby that is not consistent yet lets nobody in, and waits without end."""
    asked = []

    @contextmanager
    def connected(_database: dict[str, Any], *, pinned: bool = False) -> Iterator[None]:
        asked.append(1)
        raise DatabaseError("the database system is not yet accepting connections")
        yield

    titles = iter(["", "A", *["B"] * 1000])
    monkeypatch.setattr(replay, "connected", connected)
    monkeypatch.setattr(replay, "titled", lambda *_: next(titles))
    monkeypatch.setattr(replay, "STUCK", 0.2)
    monkeypatch.setattr(replay.Replay, "_log", lambda _self: "LOG: restored log file")
    monkeypatch.setattr(replay.Replay, "_check", lambda _self: None)
    monkeypatch.setattr(replay.Replay, "last_words", lambda _self: "it waits")
    server = replay.Replay(Path("/nowhere"), "postgres", None, {}, None)  # type: ignore[arg-type]
    with pytest.raises(RestoreError, match="waits for B, which the archive does not give: it waits"):
        server.until_end("me", 1 << 40, lambda: None)
    assert len(asked) > 2
