"""A server that replays the source's WAL cannot write what is the source's: on its host, on another, as anybody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import apart as walled
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill.restored import Restored
from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation import walls
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import program
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import (
    cluster,
    copies,
    instance,
    replay,
    tablespaces,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, RestoreError

from tests.conftest import ROOT, left_out
from tests.integration import isolation_fixtures
from tests.integration.isolation_fixtures import BEFORE, LATE, Source
from tests.integration.tracing import strace, written

source = isolation_fixtures.source

#: What a kernel before 5.12 does not have, and what a container does not allow.
OLD_KERNEL = ("_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442,", "_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 100442,")
NO_NAMESPACES = ("_libc.unshare(_CLONE_NEWNS | more | (_CLONE_NEWUSER if uid else 0))", "_libc.unshare(-1)")


def without(monkeypatch: pytest.MonkeyPatch, change: tuple[str, str]) -> None:
    assert change[0] in walls.SOURCE
    monkeypatch.setattr(walls, "SOURCE", walls.SOURCE.replace(*change))


def value(server: Restored, query: str) -> int:
    asked = server.database("postgres")
    connection = psycopg2.connect(
        host=asked["host"], port=asked["port"], dbname="postgres", user=asked["user"], password=asked["password"]
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        (found,) = cursor.fetchone() or (-1,)
    connection.close()
    return int(found)


def drilled(source: Source, server: Restored) -> None:
    """Replays to the restore point and on to the end, as a drill does, and writes, too."""
    server.replay_to(source.target(), ["postgres"], lambda: None)
    assert value(server, "SELECT count(*) FROM new") == LATE
    assert value(server, "SELECT count(*) FROM old") == BEFORE
    server.replay_on(source.target(), lambda: None)
    server.open(lambda: None)
    assert value(server, "SELECT count(*) FROM old") == BEFORE + 7
    assert value(server, "WITH gone AS (DELETE FROM new RETURNING 1) SELECT count(*) FROM gone") == LATE


@pytest.mark.parametrize("change", [None, OLD_KERNEL])
def test_tablespace_that_was_made_after_the_backup(
    source: Source, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str] | None
) -> None:
    """On the source's host: all rows come back, and no path of the source has changed."""
    if change:
        without(monkeypatch, change)
    before = source.every()
    with source.copy() as server:
        drilled(source, server)
    assert source.every() == before


def test_on_another_host_where_its_location_does_not_exist(source: Source) -> None:
    moved = source.home.rename(source.root / "moved")
    try:
        with source.copy() as server:
            drilled(source, server)
        assert not source.home.exists()
    finally:
        moved.rename(source.home)


def test_traced(source: Source, tmp_path: Path) -> None:
    """Each call of each process of a replay: none changes anything by a path of the source.

    The location of the tablespace that is made on the way is a name of another folder there. That what it names outside
    was not changed show the times of its files, which no call can set.
    """
    if not shutil.which("strace"):
        left_out("no strace: apt-get install strace")
    known = {"root": str(source.root), "programs": str(source.programs), "lsn": source.lsn}
    (tmp_path / "source.json").write_text(json.dumps(known))
    before, worker = source.every(), ROOT / "tests/integration/isolation_worker.py"
    (tmp_path / "traces").mkdir()
    paths = strace(
        tmp_path / "traces",
        [sys.executable, str(worker), str(ROOT / "collections"), str(tmp_path / "source.json")],
    )
    assert source.every() == before
    assert str(source.root / "traced") in paths
    # The server's own work was seen, also in the tablespace.
    for ours in ("/data/base/", "/data/pg_wal/"):
        assert [path for path in paths if path.startswith("/var/tmp/tradingflow-apart-") and ours in path]
    assert [path for path in paths if path.startswith(f"{source.late}/PG_")]
    # Relative ones are of the server's data directory, and its socket's beside that.
    climbing = [path for path in paths if not os.path.isabs(path) and ".." in Path(path).parts]
    assert not [path for path in climbing if not path.startswith("../server/.s.PGSQL.")]
    theirs = [path for path in paths if Path(path).is_relative_to(source.root)]
    assert {path for path in theirs if not Path(path).is_relative_to(source.late)} == {str(source.root / "traced")}


def test_trace_is_read() -> None:
    """By strace's own writing: what failed or only read changed nothing."""
    lines = [
        'openat(AT_FDCWD</a b>, "c", O_RDONLY) = 3</a b/c>',
        'openat(AT_FDCWD</a>, "c", O_RDWR) = -1 EROFS (Read-only file system)',
        'openat(AT_FDCWD</a>, "c\\"", O_RDWR|O_CREAT, 0600) = 3</a/c">',
        'unlinkat(5</x>, "y", 0) = 0',
        'rename("/one", "two") = 0',
        'symlink("/anywhere", "/there") = 0',
        "--- SIGCHLD {si_signo=SIGCHLD} ---",
    ]
    assert written(lines) == ['/a/c"', "/x/y", "/one", "two", "/there"]
    with pytest.raises(AssertionError):
        written(["what is this"])


#: Tries to write whatever it is told, in all ways that a server has, and prints what it could.
INTRUDER = """
import os, sys
for path in sys.argv[1:]:
    ways = [lambda: os.chmod(path, 0o700), lambda: os.utime(path), lambda: os.rename(path, path + "2")]
    if os.path.isdir(path):
        ways.append(lambda: os.mkdir(path + "/new"))
    else:
        ways += [lambda: os.truncate(path, 0), lambda: os.open(path, os.O_WRONLY), lambda: os.unlink(path)]
    for way in ways:
        try:
            way()
        except OSError as error:
            if error.errno == 30:
                continue
            print(error, flush=True)
        print("could write", path, flush=True)
"""


def test_intruder_as_the_servers_own_user(source: Source, tmp_path: Path) -> None:
    """Nothing at all of the source can be written, by no call; a folder of ours can."""
    before = source.every()
    with source.copy() as server, open(tmp_path / "said", "wb") as said:
        user = instance.account(None)
        assert user, "run as root"
        apart = walled.apart(server.folder, user, [str(source.data)], None)
        for paths in ([str(source.home / path) for path in before], [str(server.data / "PG_VERSION")]):
            said.seek(0)
            said.truncate()
            process = apart.start(["/usr/bin/python3", "-c", INTRUDER, *paths], str(server.data), said, {}, 9)
            assert process.wait(120) == 0
            assert ("could write" in (tmp_path / "said").read_text()) == (len(paths) == 1)
    assert source.every() == before


@pytest.mark.parametrize("where", ["source", "moved"])
def test_without_namespaces_not_on_the_source_s_host(
    source: Source, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Also not where its data lie elsewhere than they did; it says why, and nothing was started."""
    without(monkeypatch, NO_NAMESPACES)
    before = source.every()
    home = source.home.rename(source.root / "moved") if where == "moved" else source.home
    try:
        with source.copy() as server, pytest.raises(ConfigurationError, match="not replayed here") as refused:
            drilled(source, server)
    finally:
        home.rename(source.home)
    assert "no mount namespace" in refused.value.message
    assert "another host" in refused.value.remedy
    after = source.every()
    after["."] = before["."]  # it was renamed
    assert after == before


def test_without_namespaces_as_a_user_who_owns_nothing(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """It replays, and ends where the tablespace would be made: with what is to be done."""
    without(monkeypatch, NO_NAMESPACES)
    before = source.every()
    # Not nobody: servers of others may be his.
    with (
        source.copy(instance.account("games")) as server,
        pytest.raises(RestoreError, match="made after the backup") as ended,
    ):
        drilled(source, server)
    assert str(source.late) in ended.value.message
    assert "new physical backup" in ended.value.remedy
    assert source.every() == before


def test_location_that_would_hide_our_own_folder(source: Source) -> None:
    with source.copy() as server:
        apart = walled.apart(server.folder, instance.account(None), [], None)
        apart.maps["/var"] = str(server.tablespaces)
        with pytest.raises(RestoreError, match="cannot be mounted at"):
            apart.check(str(server.data))
        apart.maps = {"/etc/passwd/space": str(server.tablespaces)}
        with pytest.raises(RestoreError, match="is not a directory"):
            apart.check(str(server.data))


def test_ordinary_user_has_a_namespace_of_his_own(source: Source) -> None:
    """By a user namespace: an existing location and one that does not exist are his own folders, all else read-only."""
    nobody = instance.account("nobody")
    assert nobody
    with source.copy(nobody) as server:
        script = (
            'for place in /usr/games /nowhere/at/all ../tablespaces; do touch "$place/mine" || exit 2; done;'
            # A name nobody has: an existing file would be refused for its owner, not for its mount.
            f' touch "/tmp/{uuid.uuid4()}" 2>&1 | grep -q Read-only || exit 3; id -u'
        )
        for name in ("one", "two"):
            (server.tablespaces / name).mkdir(mode=0o700)
            os.chown(server.tablespaces / name, nobody.uid, nobody.gid)
        os.chown(server.folder, nobody.uid, nobody.gid)
        request = {
            "way": "namespace",
            "arguments": ["/bin/sh", "-c", script],
            "cwd": str(server.data),
            "user": None,
            "folders": [str(server.folder)],
            "maps": [["/usr/games", f"{server.tablespaces}/one"], ["/nowhere/at/all", f"{server.tablespaces}/two"]],
            "root": str(server.folder / "root"),
            "guarded": [str(source.late), "/usr/games"],
            "system_identifier": None,
            "parent": os.getpid(),
            "farewell": 9,
            "report": 2,
        }
        done = subprocess.run(
            ["/usr/bin/python3", "-I", "-S", "-c", walls.SOURCE, json.dumps(request)],
            capture_output=True,
            text=True,
            cwd="/",
            user=nobody.uid,
            group=nobody.gid,
            extra_groups=[],
            check=False,
        )
        assert (done.returncode, done.stdout.split()) == (0, [str(nobody.uid)]), done.stderr
        assert [(server.tablespaces / name / "mine").exists() for name in ("one", "two")] == [True, True]
        assert not Path("/usr/games/mine").exists()


def test_restored_beside_promoted_and_started_for_real(source: Source) -> None:
    """As restore_cluster.elsewhere does: promoted apart, then started outside, with tablespaces of its own."""
    before = source.every()
    user = program.account("postgres")
    folder = Path(tempfile.mkdtemp(prefix="tradingflow-beside-", dir="/var/tmp"))
    folder.chmod(0o711)
    made = tablespaces.Spaces(str(folder / "copy"), "20261129T120000Z-abcdef", user, [])
    try:
        early = made.make("1")
        data = source.unpacked(folder / "copy", Path(early), user)
        (data / "recovery.signal").touch()
        major = int((data / "PG_VERSION").read_text())
        assert copies.own_settings(data, str(data), source.setting, major) == []
        apart = replay.Apart(made, [str(source.late)], None, major)
        settings = {
            "restore_command": source.target().fetch,
            "recovery_target_name": "here",
            "recovery_target_timeline": "current",
        }
        with replay.Replay(data, str(source.programs / "postgres"), user, settings, apart) as running:
            running.start()
            running.until_paused("postgres", lambda: None)
            running.promote("postgres", lambda: None)
            running.stop()
        cluster.check_state(source.said("pg_controldata", "-D", str(data)))
        made.settle(data, running.maps)
        assert list(running.maps) == [str(source.late)]
        with source.running(data) as port:
            assert source.sql("SELECT count(*) FROM new", port=port) == LATE
            assert (
                source.sql("DELETE FROM new", "VACUUM new", "CHECKPOINT", "SELECT count(*) FROM old", port=port) == 1000
            )
            names = "archive_mode", "external_pid_file", "log_directory", "recovery_end_command"
            assert [source.sql(f"SHOW {name}", port=port) for name in names] == ["off", "", "log", ""]
            assert (
                source.sql(
                    "SELECT count(*) FROM pg_tablespace WHERE pg_tablespace_location(oid) LIKE '%_tablespaces_%'",
                    port=port,
                )
                == 2
            )
        assert source.every() == before
    finally:
        shutil.rmtree(folder)


def test_recovery_in_place_without_namespaces_where_a_tablespace_could_be_written(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a refusal, which --check shows; a data directory alone is no reason: it is what is replaced."""
    without(monkeypatch, NO_NAMESPACES)
    user = program.account("games")
    made = tablespaces.Spaces(str(source.root / "data"), "20261129T120000Z-abcdef", user, [])
    assert replay.Apart(made, [str(source.early)], None, 18).refusals(user) == []
    (refusal,) = replay.Apart(made, [], None, 18).refusals(program.account("postgres"))
    assert refusal.name == "isolation"
    assert "is a tablespace of some server, and could be written" in refusal.message
    assert "mount namespace" in refusal.remedy
