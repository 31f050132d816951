"""The restore in trouble: killed in any phase, two at once, disk full, store away, its caller gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import instance, proof, server
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import directories, engine, guards
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.job import RESTORE
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    BackupError,
    ConfigurationError,
    LockedError,
    RestoreError,
    StorageError,
)
from botocore.exceptions import BotoCoreError

from tests.integration import restore_fixtures, test_backup_trouble
from tests.integration.restore_fixtures import World, bad, restored, until
from tests.integration.test_backup import connect, run_sql
from tests.integration.workers import Start

place, world, worker = restore_fixtures.place, restore_fixtures.world, restore_fixtures.worker
tiny_disk = test_backup_trouble.tiny_disk

BEFORE = ("fetch", "restore", "prove", "files", "swap")
AFTER = ("database swapped", "before rename to the data")


@pytest.mark.parametrize("phase", [*BEFORE, *AFTER])
def test_killed_in_any_phase_and_run_again(world: World, worker: Start, phase: str) -> None:
    world.spoil()
    process = worker({**world.options(), "hang": phase})
    until(process, phase)
    process.kill()
    process.wait()
    # Nobody lost anything: what was there is there, or what was asked for is.
    assert world.value("SELECT count(*) FROM orders") == (0 if phase in BEFORE else 500)
    assert world.data.is_dir()
    checks, result, _ = restored(world.options())
    assert bad(checks) == {}
    world.whole()
    (found,) = result["found"]
    assert ("resumes after that" in found) == (phase in AFTER), found
    # The old database and the old directory, once each, and nothing of the dead run.
    assert len(world.databases()) == 2
    (aside,) = [name for name in world.beside() if name != "the data"]
    assert (world.data.parent / aside / "a file").read_text() == "damaged"
    (old,) = [name for name in world.databases() if name != world.name]
    assert world.value("SELECT name FROM accounts LIMIT 1", old) == "wrong"
    assert {each["name"] for each in result["kept"]} == {old, str(world.data.parent / aside)}


def test_killed_while_tables_are_restored(world: World, worker: Start) -> None:
    """Of a dead run nothing is left but old rows, and those are never lost."""
    role = quoted(f"{world.mark} owner")
    run_sql(world.admin, f"CREATE ROLE {role}")
    run_sql(world.database, f"ALTER TABLE orders OWNER TO {role}")
    world.back_up()
    run_sql(world.database, "DELETE FROM orders WHERE id > 7")
    chosen = world.options(mode="tables", tables=["public.orders"], replace=True)
    for phase in ("restore", "put beside", "prove beside", "swap", "rows replaced"):
        process = worker({**chosen, "hang": phase})
        until(process, phase)
        process.kill()
        process.wait()
        assert world.value("SELECT count(*) FROM orders") == (500 if phase == "rows replaced" else 7)
        if phase == "swap":
            engine.run(world.options(mode="remove_old", remove_old=[_beside(world)]), Progress())
    checks, result, _ = restored(chosen)
    assert bad(checks) == {}
    assert len(world.databases()) == 1
    assert world.value("SELECT count(*) FROM orders") == 500
    assert world.value("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tradingflow_restoring%'") == 0
    schemas = world.value("SELECT json_agg(nspname ORDER BY nspname) FROM pg_namespace WHERE nspname LIKE '%_before_%'")
    assert [each["name"] for each in result["kept"]] == schemas
    assert f"the old ones are in {schemas[0]}" in result["found"][0]
    # Of the run that died after it had put the rows in place.
    assert [world.value(f"SELECT count(*) FROM {name}.orders") for name in schemas] == [7, 500]
    assert world.value(f"SELECT count(*) FROM pg_namespace WHERE nspname = '{_beside(world)}'") == 0
    run_sql(world.database, f"REASSIGN OWNED BY {role} TO CURRENT_USER")
    run_sql(world.admin, f"DROP ROLE {role}")


def test_killed_while_roles_without_rights_are_there(world: World, worker: Start) -> None:
    """At every step of theirs the database is the old one, and the next run removes what is left of them."""
    role = quoted(f"{world.mark} owner")
    run_sql(world.admin, f"CREATE ROLE {role}")
    run_sql(world.database, f"ALTER TABLE orders OWNER TO {role}")
    world.back_up()
    world.spoil()
    roles = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tradingflow_restoring%'"
    left = []
    for step in ("role r made", "role 1 made", "roles go", "roles gone"):
        process = worker({**world.options(), "hang": step})
        until(process, step)
        process.kill()
        process.wait()
        assert world.value("SELECT count(*) FROM orders") == 0
        left.append(world.value(roles))
    assert left == [1, 3, 3, 0]
    checks, _, _ = restored(world.options())
    assert bad(checks) == {}
    world.whole()
    assert world.value(roles) == 0
    for name in world.databases():
        run_sql({**world.admin, "name": name}, f"REASSIGN OWNED BY {role} TO CURRENT_USER")
    run_sql(world.admin, f"DROP ROLE {role}")


@pytest.mark.parametrize("phase", ["restore", *AFTER])
def test_killed_and_abandoned(world: World, worker: Start, phase: str) -> None:
    """What was there is there again, under its name; what was restored lies aside, and nothing is half made."""
    world.spoil()
    process = worker({**world.options(), "hang": phase})
    until(process, phase)
    process.kill()
    process.wait()
    chosen = world.options(abandon=True)
    planned = engine.plan(chosen)
    assert planned["refusals"] == []
    result = engine.run(chosen, Progress())
    assert world.value("SELECT count(*) FROM orders") == 0
    assert (world.data / "a file").read_text() == "damaged"
    names = [name for name in world.databases() if name != world.name]
    assert len(names) == (phase != "restore")
    assert [each["name"] for each in result["kept"] if each["kind"] == "database"] == names
    assert not [name for name in names if world.value("SELECT count(*) FROM orders", name) != 500]
    assert not [name for name in world.beside() if "restoring" in name]
    with pytest.raises(ConfigurationError, match="nothing to abandon"):
        engine.plan(chosen)
    checks, _, _ = restored(world.options())
    assert bad(checks) == {}
    world.whole()


def _beside(world: World) -> str:
    return f"restored_{world.point['id'].lower().replace('-', '_')}"


def test_a_run_of_another_kind_that_did_not_end_comes_first(world: World, worker: Start) -> None:
    world.spoil()
    process = worker({**world.options(), "hang": "database swapped"})
    until(process, "database swapped")
    process.kill()
    process.wait()
    _, result, _ = restored(world.options(mode="tables", tables=["public.orders"]))
    assert "was interrupted while it put things in place" in result["problem"]["message"]
    with pytest.raises(ConfigurationError, match="did not finish"):
        engine.run(world.options(mode="remove_old", remove_old=["x_before_20260101t000000z_abcdef"]), Progress())
    checks, _, _ = restored(world.options())
    assert bad(checks) == {}
    world.whole()


def test_two_at_once(world: World, worker: Start) -> None:
    process = worker({**world.options(), "hang": "restore"})
    until(process, "restore")
    with pytest.raises(LockedError, match=f"Another restore .* process {process.pid}, .* started 2"):
        engine.run(world.options(), Progress())
    assert process.poll() is None


@pytest.mark.parametrize("mode", ["whole", "tables"])
def test_two_controllers_at_once(world: World, worker: Start, tmp_path: Path, mode: str) -> None:
    # The second has a scratch directory of its own, as on another host: it sees neither lock nor state of the first.
    chosen: dict[str, Any] = {"mode": mode, "tables": ["public.orders"] if mode == "tables" else []}
    process = worker({**world.options(scratch_directory=str(tmp_path)), "hang": "prove"})
    until(process, "prove")
    (making,) = [name for name in world.databases() if name.startswith(server.TEMPORARY)]
    _, result, _ = restored(world.options(**chosen))
    assert result["problem"]["kind"] == "LockedError"
    assert "the server's process " in result["problem"]["message"]
    assert making in world.databases()
    process.kill()
    process.wait()
    # What a dead run of another controller left goes, and is in nobody's way.
    checks, _, _ = restored(world.options(**chosen))
    assert bad(checks) == {}
    assert making not in world.databases()


def test_caller_gone(world: World, tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "alive").touch()

    class Left(Progress):
        def tick(self) -> None:
            if self.name == "prove":
                (job / "alive").unlink(missing_ok=True)
            super().tick()

    world.spoil()
    with pytest.raises(BackupError, match="The restore was told to stop"):
        engine.run(world.options(), Left(job, [], RESTORE))
    assert world.databases() == [world.name]
    assert world.beside() == ["the data"]
    assert world.value("SELECT count(*) FROM orders") == 0


def test_store_goes_down_while_it_fetches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = s3_storage.client

    def unsteady(*arguments: Any, **options: Any) -> Any:
        s3 = real(*arguments, **options)
        get = s3.get_object

        def cut(**where: Any) -> Any:
            answer = get(**where)
            if ".dat" in where["Key"] and "toc" not in where["Key"]:
                raise BotoCoreError
            return answer

        s3.get_object = cut
        return s3

    monkeypatch.setattr(engine, "client", unsteady)
    checks, result, summary = restored(world.options(storage={**world.platform.storage, "max_attempts": 1}))
    assert checks["restore.failed:fetch"].status == "unknown"
    assert "cannot be reached while reading" in checks["restore.failed:fetch"].message
    assert (summary["worst_status"], result["unfinished"]) == ("unknown", False)
    assert world.databases() == [world.name]


def test_store_away(world: World) -> None:
    storage = {**world.platform.storage, "endpoint": "https://127.0.0.1:9", "max_attempts": 1}
    with pytest.raises(StorageError):
        engine.run(world.options(storage=storage), Progress())


def test_disk_full(world: World, tiny_disk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The space is there when it is looked for, and gone later."""
    run_sql(world.database, "CREATE TABLE big AS SELECT i, md5(i::text) AS a FROM generate_series(1, 300000) i")
    world.back_up()
    disk = tiny_disk("4m")
    monkeypatch.setattr(guards.Space, "refusals", lambda _: [])
    checks, _, summary = restored(world.options(scratch_directory=str(disk)))
    (check,) = [check for id, check in checks.items() if id.startswith("restore.failed")]
    assert check.status == "unknown"
    assert any(words in check.message for words in instance.FULL)
    assert "restore_scratch_directory" in check.remedy
    assert not summary["changed"]
    assert world.databases() == [world.name]


def test_space_is_looked_for_first(world: World, tiny_disk: Any) -> None:
    run_sql(world.database, "CREATE TABLE big AS SELECT i, md5(i::text) AS a FROM generate_series(1, 300000) i")
    world.back_up()
    disk = tiny_disk("4m")
    checks, _, _ = restored(world.options(scratch_directory=str(disk)))
    assert f"needed on the disk of {disk}" in checks["restore.refused:space"].message
    assert "restore_remove_old" in checks["restore.refused:space"].remedy


def test_others_come_back_before_the_swap(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody connects after it was looked: the rename is refused by the server, and nothing is lost."""
    monkeypatch.setattr(server, "_PATIENCE", 0)
    real = server.swap

    def late(connection: Any, *names: Any) -> None:
        world.open.append(connect(world.database))
        real(connection, *names)

    monkeypatch.setattr(server, "swap", late)
    world.spoil()
    checks, result, _ = restored(world.options())
    assert "others are connected to it" in checks["restore.failed:swap"].message
    assert not result["changed"]
    assert world.databases() == [world.name]
    assert world.beside() == ["the data"]
    assert world.value("SELECT count(*) FROM orders") == 0


@pytest.mark.parametrize("parts", [["files"], ["database", "files"]])
def test_the_old_directory_cannot_be_renamed(world: World, monkeypatch: pytest.MonkeyPatch, parts: list[str]) -> None:
    """The last step fails: the old files lie under another name, are not cleaned away, and the next run ends it."""
    world.spoil()
    insisting = {"parts": parts, "overrides": ["parts_apart"], "reason": "a test"}

    def refused(*_: object) -> None:
        raise PermissionError(13, "no")

    with monkeypatch.context() as patch:
        patch.setattr(directories.os, "rename", refused)  # type: ignore[attr-defined]
        checks, result, _ = restored(world.options(**insisting))
    assert "could not be renamed" in checks["restore.failed:swap"].message
    assert (result["changed"], result["unfinished"]) == (True, True)
    assert (world.data / "a file").read_text() == "content"
    checks, result, _ = restored(world.options(**insisting))
    assert "resumes after that" in result["found"][0]
    (aside,) = [name for name in world.beside() if name != "the data"]
    assert (world.data.parent / aside / "a file").read_text() == "damaged"
    assert world.value("SELECT count(*) FROM orders") == (500 if "database" in parts else 0)


def test_a_copy_that_differs_is_not_put_in_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever made it differ: the old database stays."""
    real = proof.compare

    def spoiled(database: dict[str, Any], *rest: Any, **more: Any) -> Any:
        run_sql(database, "DELETE FROM orders WHERE id = 7")
        return real(database, *rest, **more)

    monkeypatch.setattr(proof, "compare", spoiled)
    world.spoil()
    checks, result, summary = restored(world.options())
    assert checks["restore.rows"].status == "critical"
    assert "was not put in place" in checks["restore.failed:prove"].message
    assert (summary["worst_status"], result["changed"]) == ("critical", False)
    assert world.databases() == [world.name]
    assert world.value("SELECT count(*) FROM orders") == 0


def test_state_that_cannot_be_read(world: World) -> None:
    restored(world.options())
    (state,) = [path for path in world.place.rglob("state.json") if world.environment[-6:] in str(path)]
    text = state.read_text()
    state.write_text("{")
    try:
        with pytest.raises((ConfigurationError, RestoreError), match="cannot be read"):
            engine.run(world.options(), Progress())
    finally:
        state.write_text(text)
