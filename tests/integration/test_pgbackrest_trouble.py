"""Physical backups in trouble: damaged objects, wrong keys, the store gone, killed, two at once, a promotion."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import identity, physical_verify
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup.physical_tools import Tools
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import database as checks
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import wal
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import restore_point
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import objects, store
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.scratch import Scratch
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    BackupError,
    ConfigurationError,
    LockedError,
    MaintenanceError,
    StorageError,
)

from tests.integration import test_backup_trouble
from tests.integration.pgbackrest_fixtures import Physical, contents, recorded, set_up
from tests.integration.test_backup import CONTENTS, run_sql
from tests.integration.test_backup_trouble import processes, wait_for
from tests.integration.test_checks_on_postgresql import measure

worker = test_backup_trouble.worker


@pytest.fixture(scope="module")
def physical() -> Iterator[Physical]:
    with set_up() as made:
        yield made


@pytest.fixture(scope="module")
def points(physical: Physical) -> dict[str, dict[str, Any]]:
    """A full backup, and one that needs it."""
    first = physical.backup("full")["recovery_point"]
    physical.sql("CREATE TABLE later AS SELECT i FROM generate_series(1, 2000) i")
    return {"full": first, "incr": physical.backup("incr")["recovery_point"]}


Bucket = Callable[..., Any]


@pytest.fixture
def bucket(physical: Physical) -> Bucket:
    """bucket(key, change, further keys) changes objects, or deletes them (None), for as long as its context lasts."""
    storage = physical.sandbox.storage
    client = s3_storage.client(storage)

    @contextmanager
    def changed(key: str, how: Callable[[bytes], bytes] | None, *more: str) -> Iterator[None]:
        bodies = {each: client.get_object(Bucket=storage["bucket"], Key=each)["Body"].read() for each in (key, *more)}
        for each, body in bodies.items():
            if how is None:
                client.delete_object(Bucket=storage["bucket"], Key=each)
            else:
                client.put_object(Bucket=storage["bucket"], Key=each, Body=how(body))
        try:
            yield
        finally:
            for each, body in bodies.items():
                client.put_object(Bucket=storage["bucket"], Key=each, Body=body)

    return changed


def verified(physical: Physical, point: dict[str, Any], mode: str) -> list[str]:
    options = physical.options()
    client = s3_storage.client(options["storage"])
    scratch = Scratch(Path(options["scratch_directory"]), [])
    result = physical_verify.verify(client, options["storage"], point, Tools(options), mode, scratch, Progress())
    problems: list[str] = result["problems"]
    assert result["ok"] == (not problems)
    return problems


def shorter(body: bytes) -> bytes:
    return body[:-16]


def altered(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


#: An object of each sort; the first is of the full backup, which the incremental one needs.
SORTS: dict[str, Callable[[str, dict[str, Any]], bool]] = {
    "the full backup's data": lambda key, point: f"/{point['engine']['requires'][0]}/bundle/1" in key,
    "the full backup's manifest": lambda key, point: key.endswith(f"/{point['engine']['requires'][0]}/backup.manifest"),
    "its manifest": lambda key, point: key.endswith(f"/{point['engine']['label']}/backup.manifest"),
    "its WAL": lambda key, point: f"/{point['engine']['target_wal']}-" in key,
}


@pytest.mark.parametrize("sort", SORTS)
def test_damage_is_found(physical: Physical, points: dict[str, Any], bucket: Bucket, sort: str) -> None:
    point = points["incr"]
    (key,) = [entry["key"] for entry in objects.all_objects(point) if SORTS[sort](entry["key"], point)]
    assert verified(physical, point, "checksum") == []
    for how, words in ((None, "is missing"), (shorter, "bytes instead of"), (altered, "another ETag")):
        with bucket(key, how):
            (problem,) = verified(physical, point, "checksum")
            assert problem.startswith(key)
            assert words in problem
            # The daily check goes by the same, the needed backups included.
            newest = store.measure(physical.sandbox.storage, "local", {}, engine="pgbackrest")
            assert [check.status for check in newest] == ["ok", "critical"]
            assert key in newest[1].message
    assert verified(physical, point, "checksum") == []


def test_pgbackrest_finds_damage_by_the_contents(physical: Physical, points: dict[str, Any], bucket: Bucket) -> None:
    """Whatever the store says of the objects. Its exit status is 0, and its info calls all of these well."""
    full, point = points["full"]["engine"], points["incr"]
    places = [entry["key"] for entry in objects.all_objects(point)]
    data = next(key for key in places if f"/{full['label']}/bundle/1" in key)
    segment = next(key for key in places if f"/{point['engine']['target_wal']}-" in key)
    lost = [key for key in places if f"/{point['engine']['label']}/" in key]
    with bucket(data, altered), bucket(segment, altered), bucket(lost[0], None, *lost[1:]):
        found = verified(physical, point, "full")
    # What the listing finds is not what is asked for here.
    text = "; ".join(problem for problem in found if not problem.startswith("pgbackrest/"))
    assert f"backup {full['label']}" in text, found
    assert f"archive {point['engine']['archive_id']}" in text, found
    assert f"backup {point['engine']['label']} was not verified" in text, found
    assert verified(physical, point, "full") == []


@contextmanager
def configured(physical: Physical, **changes: str) -> Iterator[dict[str, str]]:
    """pgBackRest's configuration with other values, as the option pgbackrest's config_file."""
    path = Path(physical.pgbackrest["config_file"])
    lines = path.read_text().splitlines()
    for name, value in changes.items():
        option = name.replace("_", "-")
        if not any(line.startswith(f"{option}=") for line in lines):
            lines.append(f"{option}={value}")
        lines = [f"{option}={value}" if line.startswith(f"{option}=") else line for line in lines]
    other = path.with_name("other.conf")
    other.write_text("\n".join(lines) + "\n")
    os.chown(other, path.stat().st_uid, path.stat().st_gid)
    other.chmod(0o600)
    yield {"config_file": str(other)}
    other.unlink()


@contextmanager
def archiving(physical: Physical, **changes: str) -> Iterator[dict[str, str]]:
    """The server archives by another configuration, and catches up at the end."""
    ((command,),) = physical.sql("SHOW archive_command")

    def set_to(text: str) -> None:
        physical.sql("ALTER SYSTEM SET archive_command = '" + text.replace("'", "''") + "'")
        physical.sql("SELECT pg_reload_conf()")

    with configured(physical, **changes) as other:
        set_to(command.replace(physical.pgbackrest["config_file"], other["config_file"]))
        try:
            yield other
        finally:
            set_to(command)
    wait_for(lambda: caught_up(physical), 60)


def caught_up(physical: Physical) -> bool:
    """Whether archiving works again; if not, ends a segment: the archiver, which gave up for a minute, is called."""
    if failing(physical):
        physical.sql("SELECT pg_create_restore_point('nudge'), pg_switch_wal()")
        time.sleep(0.3)
    return not failing(physical)


def fails(physical: Physical, kind: type[MaintenanceError], *words: str, **changes: Any) -> None:
    before = store.run_ids(*where(physical))
    with pytest.raises(kind) as caught:
        physical.backup(**changes)
    text = str(caught.value)
    assert caught.value.remedy
    for word in words:
        assert word in text, text
    state = physical.sandbox.state
    for secret in (state["s3"]["secret_key"], state["postgres"]["cipher_pass"], physical.sandbox.database["password"]):
        assert secret not in text
    assert store.run_ids(*where(physical)) == before


def where(physical: Physical) -> tuple[Any, dict[str, Any], str]:
    storage = physical.sandbox.storage
    return s3_storage.client(storage), storage, store.prefix_of(storage, "local")


def test_wrong_cipher_pass_and_credentials(physical: Physical, points: dict[str, Any]) -> None:
    with configured(physical, repo1_cipher_pass="an0ther secret") as other:
        fails(physical, BackupError, "backup_pgbackrest_cipher_pass", pgbackrest=other)
    with configured(physical, repo1_s3_key_secret="wr0ng wr0ng") as other:
        fails(physical, StorageError, "SignatureDoesNotMatch", "Correct the secret key", pgbackrest=other)
    with configured(physical, repo1_s3_bucket="another-bucket") as other:
        fails(physical, ConfigurationError, "another-bucket", pgbackrest=other)


def test_not_set_up(physical: Physical, tmp_path: Path) -> None:
    fails(physical, ConfigurationError, "backup_setup", pgbackrest={"config_file": str(tmp_path / "none")})
    fails(physical, ConfigurationError, "no stanza", pgbackrest={"stanza": "other"})
    fails(physical, ConfigurationError, "was not found", pgbackrest={"program": str(tmp_path / "pgbackrest")})
    if os.geteuid() == 0:
        fails(physical, ConfigurationError, "must not run as root", pgbackrest={"run_as": "root"})


def test_set_up_without_the_store_changes_nothing_of_the_server(physical: Physical, points: dict[str, Any]) -> None:
    before = physical.sql("SHOW archive_timeout")
    physical.sandbox("stop", "s3")
    try:
        done = physical.play("backup_setup", "-e", "backup_pgbackrest_archive_timeout=123")
    finally:
        physical.sandbox("start", "s3")
    assert done.returncode
    assert "Repository 1 cannot be read" in done.output
    assert "Check that the store runs" in done.output
    assert physical.sql("SHOW archive_timeout") == before


def test_store_gone_while_archiving(physical: Physical, points: dict[str, Any]) -> None:
    with archiving(physical, archive_timeout="3", io_timeout="2") as other:
        physical.sandbox("stop", "s3")
        try:
            with pytest.raises(StorageError):
                physical.backup(storage={**physical.sandbox.storage, "max_attempts": 1}, pgbackrest=other)
            physical.sql("INSERT INTO later SELECT 0; SELECT pg_switch_wal()")
            wait_for(lambda: failing(physical))
            archive = measure(checks, physical.sandbox.database)["database.archive"]
            assert archive.status == "critical"
            assert "WAL cannot be archived" in archive.message
        finally:
            physical.sandbox("start", "s3")
    # Archiving has caught up by itself, and nothing is missing between.
    made = physical.backup("incr", verify="full")
    assert made["verification"]["ok"], made["verification"]


def failing(physical: Physical) -> bool:
    ((bad,),) = physical.sql(
        "SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) FROM pg_stat_archiver"
    )
    return bool(bad)


@pytest.fixture
def full_disk(physical: Physical) -> Iterator[Path]:
    """A file system of the server's user on which nothing can be made any more."""
    folder = Path(tempfile.mkdtemp(prefix="full-", dir="/var/tmp"))
    folder.chmod(0o755)
    owner = os.stat(physical.pgbackrest["config_file"])
    options = f"size=4k,nr_inodes=1,uid={owner.st_uid},gid={owner.st_gid},mode=0700"
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]).returncode:
        folder.rmdir()
        pytest.skip("mounting needs root and the right to mount")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_disk_of_the_spool_is_full(physical: Physical, points: dict[str, Any], full_disk: Path) -> None:
    """The server cannot archive, and the recovery point says so by the server's words."""
    with archiving(physical, spool_path=str(full_disk), archive_timeout="3") as other:
        physical.sql("INSERT INTO later SELECT 0; SELECT pg_switch_wal()")
        wait_for(lambda: failing(physical))
        fails(physical, BackupError, "WAL", pgbackrest=other)
    assert physical.backup("incr")["verification"]["ok"]


def test_wal_that_does_not_arrive_in_time(physical: Physical) -> None:
    message = r"not in the repository after 0 s: 1 segment is missing, from 00000001F+ on\. The server says: archiving"
    with pytest.raises(BackupError, match=message):
        wal.wait(
            dict,
            ["00000001" + "F" * 16],
            seconds=0,
            tick=lambda: None,
            trouble=lambda: "archiving 00000001 failed",
        )


def test_killed_in_each_phase(physical: Physical, points: dict[str, Any], worker: Any) -> None:
    config = physical.pgbackrest["config_file"]
    for phase in ("backup", "measure", "archive", "seal"):
        # Each begins by showing that the lock of the one before is free.
        chosen = physical.options(pgbackrest={"type": "incr"})
        chosen["killed_in"] = phase
        process = worker(chosen)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == -9, f"{phase}: {output}"
        # pgBackRest of ours ends itself, and the server's state of backup with it.
        wait_for(lambda: not [pid for pid in processes(config) if b"backup" in commands(pid)], 20)
    made = physical.backup("incr")
    assert made["verification"]["ok"]
    scratch = Path(physical.options()["scratch_directory"])
    assert not [path for path in scratch.glob("tradingflow-backup-*/*/*") if path.name != "lock"]


def commands(pid: int) -> bytes:
    """The command of a pgBackRest, nothing when it is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return b""
    return words[-2] if words[0].endswith(b"pgbackrest") else b""


def test_two_at_once(physical: Physical, points: dict[str, Any]) -> None:
    tool = physical.tool()
    with tool.start("backup", "--repo=1", "--type=full") as other:
        # It holds its lock before it says anything. Stopped, it holds it for as long as ours needs to find out.
        wait_for(lambda: list(Path(physical.state["postgres"]["pgbackrest_dir"], "lock").glob("*backup.lock")))
        os.kill(other._process.pid, signal.SIGSTOP)
        try:
            assert not other.finished()
            fails(physical, LockedError, "under way")
        finally:
            os.kill(other._process.pid, signal.SIGCONT)
        while not other.finished():
            time.sleep(0.05)
    assert physical.backup("incr")["verification"]["ok"]


def test_exact_while_others_write(physical: Physical, points: dict[str, Any]) -> None:
    """Transactions that commit at any moment, and some that stay open, are on the right side of the restore point."""
    physical.sql("CREATE TABLE busy (worker int, i int)")
    stop = threading.Event()

    def write(number: int) -> None:
        connection = physical.sandbox.connect("superuser")
        with connection.cursor() as cursor:
            for i in range(10**6):
                cursor.execute("INSERT INTO busy VALUES (%s, %s)", (number, i))
                time.sleep(0.002 * (number + 1))
                connection.commit()
                time.sleep(0.005)
                if stop.is_set():
                    break
        connection.close()

    threads = [threading.Thread(target=write, args=[number]) for number in range(3)]
    idle = physical.sandbox.connect("superuser")
    idle.cursor().execute("INSERT INTO busy VALUES (-1, -1)")
    for thread in threads:
        thread.start()
    try:
        point = physical.backup("incr")["recovery_point"]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        idle.commit()
        idle.close()
    assert point["engine"]["exact"]
    assert recorded(point)["public.busy"][0] > 10
    with physical.restored(point) as database:
        assert contents(database) == recorded(point)


def test_not_exact_while_a_statement_may_be_committing(physical: Physical, points: dict[str, Any]) -> None:
    """A transaction in the middle of a statement might be at its commit: nobody can tell from outside."""
    busy = physical.sandbox.connect("superuser")
    busy.autocommit = True
    statement = "WITH a AS (INSERT INTO later VALUES (-7) RETURNING 1) SELECT pg_sleep(60) FROM a"

    def run() -> None:
        with suppress(psycopg2.errors.QueryCanceled), busy.cursor() as cursor:
            cursor.execute(statement)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for(
            lambda: physical.sql(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'WITH a %' AND backend_xid IS NOT NULL"
            )
        )
        with restore_point.snapshot_at(physical.sandbox.database, "never", tries=3) as (_snapshot, _tables, named):
            assert (named.exact, named.tries, named.name) == (False, 3, "never_3")
    finally:
        busy.cancel()
        thread.join()
        busy.close()
    with restore_point.snapshot_at(physical.sandbox.database, "again") as (_snapshot, tables, named):
        assert (named.exact, named.name) == (True, "again")
        assert tables


def test_odd_names_and_unlogged_tables(physical: Physical, points: dict[str, Any]) -> None:
    name, postgres = "b a'c\"k% ü", physical.sandbox.state["postgres"]
    physical.sql(f"CREATE DATABASE {quoted(name)} TEMPLATE template0")
    database = {
        **physical.sandbox.database,
        "name": name,
        "user": postgres["superuser"],
        "password": postgres["superuser_password"],
    }
    run_sql(database, CONTENTS)
    with pytest.raises(BackupError, match="not the one that") as other:
        physical.backup("incr", database=database)
    declared = other.value.remedy.rpartition("backup_database_identity: ")[2]
    point = physical.backup("incr", database=database, database_identity=declared)["recovery_point"]
    assert point["database"]["name"] == name
    assert "public.scratch" not in recorded(point)
    assert len(point["database"]["tables"]) == 9
    with physical.restored(point) as restored:
        assert contents({**database, "port": restored["port"]}) == recorded(point)


def test_after_a_promotion(physical: Physical, points: dict[str, Any]) -> None:
    """A server that was promoted writes another timeline: backups go on, and older ones still restore."""
    before = points["incr"]
    data = Path(physical.state["postgres"]["data_dir"])
    physical.sandbox("stop", "postgres")
    signal = data / "standby.signal"
    signal.touch()
    os.chown(signal, data.stat().st_uid, data.stat().st_gid)
    physical.sandbox("start", "postgres")
    with pytest.raises(ConfigurationError, match="standby"):
        physical.backup("incr")
    physical.sql("SELECT pg_promote()")
    # The test before this one made a backup of another database.
    after = physical.backup("incr", database_identity=identity.words(before["database"]))
    point = after["recovery_point"]
    assert after["verification"]["ok"], after["verification"]
    assert point["engine"]["timeline"] == before["engine"]["timeline"] + 1
    for each in (before, point):
        with physical.restored(each) as database:
            assert contents(database) == recorded(each)
