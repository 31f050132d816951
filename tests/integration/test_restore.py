"""Restoring from the logical format: whole, files, single tables; what is kept aside, and what is refused."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import directories, engine, replace
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted as as_identifier
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, DatabaseError

from tests.integration import restore_fixtures
from tests.integration.restore_fixtures import World, bad, restored
from tests.integration.test_backup import connect, fetch, run_sql

place, world = restore_fixtures.place, restore_fixtures.world


def test_whole_into_a_damaged_database(world: World) -> None:
    run_sql(world.database, f"ALTER DATABASE {as_identifier(world.name)} SET work_mem = '5MB'")
    world.spoil()
    (world.data / "new").write_text("made since")
    checks, result, summary = restored(world.options())
    assert bad(checks) == {}
    world.whole()
    assert checks["restore.rows"].value == world.point["totals"]["rows"]
    assert checks["restore.digests"].value == len(world.point["database"]["tables"])
    # The old database and the old directory are there, as they were.
    (database, directory) = summary["kept"]
    assert world.value("SELECT name FROM accounts LIMIT 1", database.partition(" ")[2]) == "wrong"
    assert Path(directory.partition(" ")[2]).joinpath("new").read_text() == "made since"
    assert len(world.databases()) == 2
    assert (world.data / "sub").stat().st_mode & 0o777 == 0o750
    assert result["loss"]["back_to"] == result["loss"]["until"] == "2026-11-23T12:00:00.000Z"
    # What lies aside goes by name only, all names first.
    names = [each["name"] for each in result["kept"]]
    with pytest.raises(ConfigurationError, match="neither a database nor a schema"):
        engine.run(world.options(mode="remove_old", remove_old=[*names, world.name]), Progress())
    assert len(world.databases()) == 2
    removed = engine.run(world.options(mode="remove_old", remove_old=names), Progress())
    assert [each["kind"] for each in removed["removed"]] == ["database", "directory"]
    assert removed["kept"] == []
    assert world.databases() == [world.name]
    assert world.beside() == ["the data"]
    world.whole()


def test_twice_is_well_and_settings_come_back(world: World) -> None:
    for _time in range(2):
        checks, _, _ = restored(world.options())
        assert bad(checks) == {}
        world.whole()
    assert len(world.databases()) == 3


def test_into_a_new_name_and_directory_wants_no_word(world: World, tmp_path: Path) -> None:
    other = f"{world.mark} copy"
    world.spoil()
    checks, _, _ = restored(world.options(target_database=f"{other} 2", confirm=None, parts=["database"]))
    assert list(bad(checks)) == ["restore.data_loss"]
    chosen = world.options(target_database=other, confirm=None, data_directory=str(tmp_path / "copy"))
    checks, _, summary = restored(chosen)
    assert list(bad(checks)) == ["restore.data_loss"]
    assert summary["kept"] == []
    assert world.value("SELECT count(*) FROM orders", other) == 500
    assert (tmp_path / "copy" / "a file").read_text() == "content"
    assert world.value("SELECT count(*) FROM orders") == 0


def test_destroyed_database(world: World) -> None:
    run_sql(world.admin, f"DROP DATABASE {as_identifier(world.name)} WITH (FORCE)")
    (world.data / "a file").unlink()
    checks, result, _ = restored(world.options())
    assert list(bad(checks)) == ["restore.data_loss"]
    assert result["loss"]["measured_until"] == "now"
    world.whole()


def test_a_role_that_is_missing_is_made(world: World) -> None:
    role = f'{world.mark} "owner"'
    quoted = as_identifier(role)
    run_sql(world.admin, f"CREATE ROLE {quoted} LOGIN CONNECTION LIMIT 7; GRANT pg_monitor TO {quoted}")
    run_sql(world.database, f"ALTER TABLE orders OWNER TO {quoted}")
    world.back_up()
    run_sql(world.database, f"REASSIGN OWNED BY {quoted} TO postgres")
    run_sql(world.admin, f"DROP ROLE {quoted}")
    checks, _, _ = restored(world.options())
    assert list(bad(checks)) == ["restore.roles"]
    assert role in checks["restore.roles"].message
    assert (
        world.value(
            "SELECT rolconnlimit FROM pg_roles JOIN pg_class ON relowner = pg_roles.oid WHERE relname = 'orders'"
        )
        == 7
    )
    run_sql(world.database, f"REASSIGN OWNED BY {quoted} TO postgres")
    run_sql(world.admin, f"DROP ROLE {quoted}")


def test_single_tables_beside(world: World) -> None:
    world.spoil()
    chosen = world.options(
        mode="tables", tables=["public.orders", "public.executions", 'we ird.%s ü.Or\'der "s" 100%'], confirm=None
    )
    checks, _, summary = restored(chosen)
    assert bad(checks) == {}
    assert checks["restore.rows"].value == 500 + 2000 + 1000
    assert "view public.large_orders" in checks["restore.dependents"].message
    assert "foreign key orders_account_fkey of public.orders to public.accounts" in checks["restore.dependents"].message
    assert world.value("SELECT count(*) FROM orders") == 0
    schema = f"restored_{world.point['id'].lower().replace('-', '_')}"
    assert world.value(f"SELECT count(*) FROM {schema}_1.orders") == 500
    assert world.value(f"SELECT count(*) FROM {schema}_1.executions") == 2000
    assert world.value(f"SELECT count(*) FROM pg_indexes WHERE schemaname = '{schema}_1'") > 0
    assert summary["kept"] == []
    assert world.databases() == [world.name]
    # Again: refused, until what is there was removed.
    checks, _, _ = restored(chosen)
    assert "exists already" in checks["restore.refused:schema"].message
    engine.run(world.options(mode="remove_old", remove_old=[f"{schema}_1", f"{schema}_2"]), Progress())
    checks, _, _ = restored(chosen)
    assert bad(checks) == {}


def test_part_of_a_tree_beside_is_no_part_of_the_tree_that_is_there(world: World) -> None:
    """A partition or a child alone: its rows are beside, and not in the live table over it."""
    run_sql(
        world.database,
        "CREATE TABLE trades (k int, v text) PARTITION BY RANGE (k); CREATE INDEX ON trades (v);"
        "CREATE TABLE trades_1 PARTITION OF trades FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE trades_2 PARTITION OF trades FOR VALUES FROM (10) TO (100);"
        "INSERT INTO trades SELECT i, i FROM generate_series(1, 50) i;"
        "CREATE TABLE base (i int CHECK (i > 0)); CREATE TABLE heir (j int) INHERITS (base);"
        "INSERT INTO heir VALUES (1, 2)",
    )
    world.back_up()
    run_sql(world.database, "DROP TABLE trades_2")
    schema = f"restored_{world.point['id'].lower().replace('-', '_')}"
    for dropped in (True, False):
        chosen = world.options(mode="tables", tables=["public.trades_2", "public.heir"], confirm=None)
        checks, _, _ = restored(chosen)
        assert bad(checks) == {}
        assert world.value("SELECT count(*) FROM trades") == (9 if dropped else 50)
        assert world.value("SELECT count(*) FROM base") == 1
        assert [world.value(f"SELECT count(*) FROM {schema}.{name}") for name in ("trades_2", "heir")] == [41, 1]
        engine.run(world.options(mode="remove_old", remove_old=[schema]), Progress())
        if dropped:
            run_sql(
                world.database,
                "CREATE TABLE trades_2 PARTITION OF trades FOR VALUES FROM (10) TO (100);"
                "INSERT INTO trades SELECT i, 'x' FROM generate_series(10, 50) i",
            )
    chosen.update(replace=True, confirm=world.options()["confirm"])
    (refusal,) = engine.plan(chosen)["refusals"]
    assert (refusal["name"], refusal["word"]) == ("siblings", "siblings")
    assert "public.trades would be replaced, not public.trades_1." in refusal["message"]
    checks, _, _ = restored({**chosen, "overrides": ["siblings"], "reason": "no row was moved"})
    assert list(bad(checks)) == ["restore.overridden:siblings"]
    assert world.value("SELECT count(*) FROM trades WHERE v = k::text") == 50
    # A partition and a child that the recovery point does not have: rows that were moved there would be there twice.
    run_sql(
        world.database,
        "CREATE TABLE trades_3 PARTITION OF trades FOR VALUES FROM (100) TO (200);"
        "CREATE TABLE second () INHERITS (base); CREATE TABLE unused () INHERITS (base);"
        "UPDATE trades SET k = k + 100 WHERE k = 1; INSERT INTO second VALUES (1)",
    )
    chosen.update(tables=["public.trades", "public.base"], replace=True, confirm=world.options()["confirm"])
    (refusal,) = engine.plan({**chosen, "tables": ["public.trades", "public.base"]})["refusals"]
    assert (refusal["name"], refusal["word"]) == ("partitions", "")
    assert "public.second, public.trades_3." in refusal["message"]
    for emptied, named in (("", "public.second, public.trades_3"), ("TRUNCATE trades_3", "public.second")):
        run_sql(world.database, emptied or "SELECT 1")
        _, result, _ = restored(chosen)
        assert f"the tables over them: {named}. A row" in result["problem"]["message"]
        assert (result["changed"], result["unfinished"], world.databases()) == (False, False, [world.name])
    assert world.value("SELECT count(*) FROM trades") == 49
    run_sql(
        world.database,
        "TRUNCATE second; ALTER TABLE trades DETACH PARTITION trades_2; ALTER TABLE heir NO INHERIT base",
    )
    (refusal,) = engine.plan(chosen)["refusals"]
    assert "public.heir of public.base, public.trades_2 of public.trades." in refusal["message"]
    _, result, _ = restored(chosen)
    assert [each["name"] for each in result["refusals"]] == ["detached"]
    run_sql(
        world.database,
        "ALTER TABLE trades ATTACH PARTITION trades_2 FOR VALUES FROM (10) TO (100); ALTER TABLE heir INHERIT base",
    )
    checks, _, _ = restored(chosen)
    assert bad(checks) == {}
    assert [world.value(f"SELECT count(*) FROM {name}") for name in ("trades", "base")] == [50, 1]


def test_only_what_is_wanted_is_fetched(world: World) -> None:
    """Another table's rows may be damaged."""
    entries = [entry for entry in world.point["objects"] if entry["role"] == "data"]
    largest = sorted(entries, key=lambda entry: int(entry["size"]))[-3:]
    for entry in largest:
        world.put(entry["key"], b"x")
    checks, _, _ = restored(world.options(mode="tables", tables=["public.accounts"]))
    assert bad(checks) == {}
    assert world.value(f"SELECT count(*) FROM restored_{world.point['id'].lower().replace('-', '_')}.accounts") == 10
    checks, _, _ = restored(world.options())
    assert any(entry["key"] in str(bad(checks)) for entry in largest)


def test_tables_replaced(world: World) -> None:
    """The books go back together; what hangs on them stays, numbers once given are not given again."""
    run_sql(world.database, "INSERT INTO orders (account, quantity) SELECT 1, 1 FROM generate_series(1, 7)")
    run_sql(world.database, "DELETE FROM orders WHERE id <= 100; UPDATE accounts SET name = 'wrong'")
    chosen = world.options(
        mode="tables", tables=["public.orders", "public.accounts", "public.executions"], replace=True
    )
    checks, result, _ = restored(chosen)
    assert bad(checks) == {}
    assert world.value("SELECT count(*) FROM orders") == 500
    assert world.value("SELECT count(*) FROM large_orders") == 100
    assert world.value("SELECT name FROM accounts WHERE id = 1") == "account 1"
    assert world.value("SELECT nextval('orders_id_seq')") == 508
    (kept,) = [each["name"] for each in result["kept"]]
    assert world.value(f"SELECT count(*) FROM {kept}.orders") == 407
    assert world.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'restored%'") == 0
    # By the name in the report, or by that in the list of what lies aside.
    removing = world.options(mode="remove_old")
    (listed,) = [each["name"] for each in engine.plan(removing)["kept"] if kept in each["name"]]
    for name in (kept, listed):
        planned = engine.plan({**removing, "remove_old": [name]})
        assert [each["kind"] for each in planned["removed"]] == ["schema"]
        assert listed not in [each["name"] for each in planned["kept"]]
    removed = engine.run({**removing, "remove_old": [listed]}, Progress())
    assert listed not in [each["name"] for each in removed["kept"]]
    assert world.value(f"SELECT count(*) FROM pg_namespace WHERE nspname = '{kept}'") == 0


def test_replacing_breaks_no_foreign_key(world: World) -> None:
    run_sql(world.database, "INSERT INTO accounts VALUES (11, 'new'); INSERT INTO orders (account) VALUES (11)")
    checks, result, _ = restored(world.options(mode="tables", tables=["public.accounts"], replace=True))
    assert not result["unfinished"]
    assert (
        "orders_account_fkey: 1 rows of public.orders would have no partner in public.accounts"
        in checks["restore.failed:swap"].message
    )
    assert world.value("SELECT count(*) FROM accounts") == 11
    assert checks["restore.rows"].status == "ok"


def test_rows_that_a_lost_commit_put_aside_are_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has committed, and nobody heard of it: the old rows are all that there is of them, if any."""
    run_sql(world.database, "CREATE SCHEMA emptied; CREATE TABLE emptied.t AS SELECT 1 AS i")
    world.back_up()
    run_sql(world.database, "UPDATE accounts SET name = 'newer'; TRUNCATE emptied.t")
    everything = replace._all

    def lost(*arguments: Any) -> None:
        everything(*arguments)
        raise DatabaseError("The connection was lost.", "Look at the network.")

    monkeypatch.setattr(replace, "_all", lost)
    tables = ["public.accounts", "emptied.t"]
    checks, result, _ = restored(world.options(mode="tables", tables=tables, replace=True))
    assert bad(checks) == {}
    assert [world.value(query) for query in ("SELECT name FROM accounts WHERE id = 1", "SELECT i FROM emptied.t")] == [
        "account 1",
        1,
    ]
    emptied, kept = sorted(each["name"] for each in result["kept"])
    assert world.value(f"SELECT count(*) FROM {kept}.accounts WHERE name = 'newer'") == 10
    assert world.value(f"SELECT json_agg(relname) FROM pg_class WHERE relnamespace = '{emptied}'::regnamespace") == [
        "t"
    ]
    # Where only an emptied table was replaced, nothing else tells of it.
    run_sql(world.database, "TRUNCATE emptied.t")
    checks, result, _ = restored(world.options(mode="tables", tables=["emptied.t"], replace=True))
    assert (bad(checks), len(result["kept"])) == ({}, 1)


def test_replacing_other_columns_is_left_to_people(world: World) -> None:
    run_sql(world.database, "ALTER TABLE orders ADD COLUMN note text")
    checks, _, _ = restored(world.options(mode="tables", schemas=["public"], replace=True))
    assert "public.orders has other columns today" in checks["restore.failed:swap"].message
    assert world.value("SELECT count(*) FROM orders") == 500


def test_files_only_want_a_reason(world: World) -> None:
    world.spoil()
    checks, _, _ = restored(world.options(parts=["files"]))
    assert "other half would be of another time" in checks["restore.refused:parts"].message
    with pytest.raises(ConfigurationError, match="needs a reason"):
        engine.run(world.options(parts=["files"], overrides=["parts_apart"]), Progress())
    checks, _, summary = restored(world.options(parts=["files"], overrides=["parts_apart"], reason="files were lost"))
    assert list(bad(checks)) == ["restore.overridden:parts"]
    assert (summary["overrides"], summary["reason"]) == (["parts_apart"], "files were lost")
    assert (world.data / "a file").read_text() == "content"
    assert world.value("SELECT count(*) FROM orders") == 0


def test_directories_without_an_exchange_in_one_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "_swapped", lambda *_: False)
    world.spoil()
    checks, _, _ = restored(world.options())
    assert bad(checks) == {}
    world.whole()
    assert len(world.beside()) == 2


Change = Callable[[World], dict[str, Any]]


def session(world: World) -> dict[str, Any]:
    world.open.append(connect(world.database))
    return {}


def listening(world: World) -> dict[str, Any]:
    server = socket.create_server(("127.0.0.1", 0))
    world.open.append(server)
    port = server.getsockname()[1]

    def answer() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                peer.recv(1000)
                peer.sendall(b"HTTP/1.0 503 no\r\n\r\n")

    threading.Thread(target=answer, daemon=True).start()
    return {"application": {"urls": [f"http://127.0.0.1:{port}"]}}


REFUSED: list[tuple[str, str, Change]] = [
    ("confirmation", "exists and has", lambda world: {"confirm": None}),
    ("confirmation", "exists and has", lambda world: {"confirm": f"other/{world.name}"}),
    ("sessions", "Others are connected", session),
    ("application", "it is running", listening),
    ("server", "it is another cluster", lambda world: {"system_identifier": "1"}),
    ("rights", "not a superuser", lambda world: {"database": {**world.platform.database, "name": world.name}}),
    ("parts", "where they belong is not set", lambda world: {"data_directory": None}),
    ("directory", "mount point", lambda world: {"data_directory": "/proc"}),
    ("directory", "symbolic link", lambda world: {"data_directory": str(world.data / "link")}),
    (
        "environment",
        "would be restored into elsewhere",
        lambda world: {
            "environment_name": "elsewhere",
            "source_environment": world.environment,
            "confirm": f"elsewhere/{world.name}",
        },
    ),
]


@pytest.mark.parametrize(("name", "said", "change"), REFUSED)
def test_refused(world: World, name: str, said: str, change: Change) -> None:
    if name == "rights":
        run_sql(world.admin, f"GRANT CONNECT ON DATABASE {as_identifier(world.name)} TO PUBLIC")
    world.spoil()
    chosen = world.options(**change(world))
    plan = engine.plan(chosen)
    (refusal,) = [each for each in plan["refusals"] if each["name"] == name]
    assert said in refusal["message"]
    assert refusal["remedy"]
    checks, _, summary = restored(chosen)
    assert said in checks[f"restore.refused:{name}"].message
    assert (summary["worst_status"], summary["changed"]) == ("critical", False)
    assert world.databases() == [world.name]
    assert world.beside() == ["the data"]
    assert world.value("SELECT count(*) FROM orders") == 0


def tampered(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    key = (
        world.point["objects"][0]["key"].split(f"{world.point['id']}/")[0] + f"{world.point['id']}/recovery-point.json"
    )
    point = json.loads(fetch(world.backup, key))
    change(point)
    world.put(key, json.dumps(point).encode())


@pytest.mark.parametrize(
    ("name", "said", "change"),
    [
        ("server", "system identifier is", lambda point: point["database"].update(system_identifier="7")),
        ("server", "not recorded", lambda point: point["database"].update(system_identifier=None)),
        ("version", "an older one cannot take it", lambda point: point["database"].update(server_version_num=990000)),
        ("space", "are needed on the disk", lambda point: point["database"].update(size=1 << 60)),
        ("environment", "says that it is of other", lambda point: point.update(environment="other")),
    ],
)
def test_refused_by_what_is_recorded(world: World, name: str, said: str, change: Any) -> None:
    tampered(world, change)
    checks, _, _ = restored(world.options())
    assert said in checks[f"restore.refused:{name}"].message
    assert world.databases() == [world.name]


def test_tablespace_that_is_missing(world: World, tmp_path: Path) -> None:
    space = f"{world.mark} space"
    quoted = as_identifier(space)
    connection = connect(world.admin)
    connection.cursor().execute("SET allow_in_place_tablespaces = on")
    connection.cursor().execute(f"CREATE TABLESPACE {quoted} LOCATION ''")
    connection.close()
    run_sql(world.database, f"CREATE TABLE apart (a int) TABLESPACE {quoted}")
    world.back_up()
    run_sql(world.database, "DROP TABLE apart")
    run_sql(world.admin, f"DROP TABLESPACE {quoted}")
    checks, _, _ = restored(world.options())
    assert space in checks["restore.refused:tablespaces"].message


def test_other_environment_with_a_reason(world: World) -> None:
    world.spoil()
    chosen = world.options(
        environment_name="elsewhere",
        source_environment=world.environment,
        confirm=f"elsewhere/{world.name}",
        overrides=["other_environment"],
        reason="refresh of staging",
    )
    checks, _, summary = restored(chosen)
    assert list(bad(checks)) == ["restore.overridden:environment"]
    assert summary["overrides"] == ["other_environment"]
    world.whole()


def test_plan_changes_nothing(world: World) -> None:
    before = sorted(os.listdir(world.place))
    plan = engine.plan(world.options())
    assert plan["refusals"] == []
    assert [disk["needed_bytes"] > 0 for disk in plan["disks"]] == [True] * len(plan["disks"])
    assert plan["kept"][0].startswith(f"database {world.name}_before_")
    assert plan["loss"]["seconds"] == 0
    assert sorted(set(os.listdir(world.place)) - {f"tradingflow-restore-{os.geteuid()}"}) == [
        name for name in before if not name.startswith("tradingflow-restore-")
    ]
    assert world.databases() == [world.name]


@pytest.mark.parametrize("role", ["data", "globals", "table of contents", "application files", "application manifest"])
@pytest.mark.parametrize("body", [None, b"altered"])
def test_damaged_object(world: World, role: str, body: bytes | None) -> None:
    world.spoil()
    entry = next(each for each in world.point["objects"] if each["role"] == role)
    world.put(entry["key"], body)
    _, result, summary = restored(world.options())
    assert entry["key"] in result["problem"]["message"]
    assert summary["worst_status"] == "critical"
    assert not result["changed"]
    assert world.databases() == [world.name]
    assert world.beside() == ["the data"]
