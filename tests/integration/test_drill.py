"""The restore drill against a real PostgreSQL and a real S3 store: good, damaged, tampered with, and odd contents."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine as backup
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options as backup_spec
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import instance, proof, server
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    RestoreError,
    StorageError,
)

from tests.conftest import Sandbox, left_out
from tests.integration import drill_fixtures, test_backup
from tests.integration.drill_fixtures import (
    INVARIANTS,
    NO_HEARTBEAT,
    application,
    judged,
    left_in,
    put,
    statuses,
    tampered,
)
from tests.integration.test_backup import CONTENTS, Make, connect, fetch, run_sql
from tests.integration.test_backup_snapshot import UNFINDABLE
from tests.integration.watched import Watched

backup_options, database, scratch = test_backup.backup_options, test_backup.database, test_backup.scratch
backed_up, drill_options, odd = drill_fixtures.backed_up, drill_fixtures.drill_options, drill_fixtures.odd
place, small = drill_fixtures.place, drill_fixtures.small


def test_good_drill(backed_up: dict[str, Any], drill_options: Make, platform: Sandbox, place: Path) -> None:
    chosen = drill_options(
        backed_up, invariants=INVARIANTS, application=application(platform), database=platform.database
    )
    result = engine.run(chosen, Watched())
    checks, action, summary = judged(result, chosen)
    assert {id: check.message for id, check in checks.items() if check.status != "ok"} == {}
    assert checks["drill.rows"].value == backed_up["made"]["recovery_point"]["totals"]["rows"]
    assert checks["drill.digests"].value == len(backed_up["made"]["recovery_point"]["database"]["tables"])
    assert checks["drill.indexes"].value > 50
    assert checks["drill.application_files"].value > 10
    assert checks["drill.application_version"].value == platform.state["app"]["version"]
    assert len([id for id in checks if id.startswith("drill.invariant:")]) == len(INVARIANTS)
    assert 0 < checks["drill.rto"].value < sum(result["phases"].values()) + 1
    assert checks["drill.rto_forecast"].value > 0
    assert 0 <= checks["drill.rpo"].value < 3600
    assert list(result["phases"]) == [
        *("prepare", "fetch", "start", "restore", "files", "prove", "application", "clean up")
    ]
    assert action["status"] == "ok"
    assert summary == {**summary, "engine": "logical", "worst_status": "ok", "objectives": "ok"}
    assert summary["recovery_point"] == backed_up["made"]["recovery_point"]["id"]
    assert not left_in(place)


def test_odd_names_types_and_partitions_come_back(small: dict[str, Any], drill_options: Make, place: Path) -> None:
    chosen = drill_options(small)
    result = engine.run(chosen, Progress())
    checks, _, summary = judged(result, chosen)
    assert statuses(result, chosen) == NO_HEARTBEAT
    assert checks["drill.rows"].value == small["made"]["recovery_point"]["totals"]["rows"] == 3009
    assert checks["drill.schema_head"].value == "abc123"
    assert checks["drill.large_objects"].value == 2
    assert "no application" in checks["drill.rto"].message
    assert "no source is named" in checks["drill.rto_forecast"].message
    assert (summary["worst_status"], summary["objectives"]) == ("ok", "unknown")
    assert not left_in(place)


def test_empty_database_without_files(backup_options: Make, database: Make, drill_options: Make) -> None:
    made = backup_options(database=database(), verify="none")
    backup.create(made, Progress())
    chosen = drill_options(made, recovery_point="random")
    result = engine.run(chosen, Progress())
    # It restores, and proves nothing.
    assert statuses(result, chosen) == {**NO_HEARTBEAT, "drill.contents": "critical"}


def test_tables_in_other_tablespaces_come_back(backup_options: Make, database: Make, drill_options: Make) -> None:
    """Their places are another machine's: in the scratch instance they lie in its own folder."""
    made = backup_options(database=database(), verify="none")
    connection = connect(made["database"])
    cursor = connection.cursor()
    cursor.execute("SET allow_in_place_tablespaces = on")
    cursor.execute("""CREATE TABLESPACE "fa'st % disk" LOCATION ''""")
    try:
        cursor.execute("""CREATE TABLE t (a int PRIMARY KEY USING INDEX TABLESPACE "fa'st % disk")""")
        cursor.execute("""INSERT INTO t SELECT generate_series(1, 9); ALTER TABLE t SET TABLESPACE "fa'st % disk" """)
        backup.create(made, Progress())
        chosen = drill_options(made)
        result = engine.run(chosen, Progress())
        assert statuses(result, chosen) == NO_HEARTBEAT
        assert judged(result, chosen)[0]["drill.rows"].value == 9
    finally:
        cursor.execute("DROP TABLE IF EXISTS t")
        cursor.execute("""DROP TABLESPACE "fa'st % disk" """)
        connection.close()


@pytest.mark.parametrize(
    ("role", "change", "said"),
    [
        ("data", lambda _: None, "is missing"),
        ("data", lambda body: body[:-1], "bytes instead of"),
        ("table of contents", lambda body: body[:100] + bytes([body[100] ^ 1]) + body[101:], "another SHA-256"),
        ("globals", lambda _: None, "is missing"),
        ("application files", lambda body: bytes(len(body)), "another SHA-256"),
        ("application manifest", lambda _: b"{}", "bytes instead of"),
    ],
)
def test_damaged_object_ends_it_by_name(
    small: dict[str, Any],
    drill_options: Make,
    place: Path,
    role: str,
    change: Callable[[bytes], bytes | None],
    said: str,
) -> None:
    entry = next(each for each in small["made"]["recovery_point"]["objects"] if each["role"] == role)
    put(small, entry["key"], change(fetch(small, entry["key"])))
    chosen = drill_options(small)
    result = engine.run(chosen, Progress())
    checks, action, summary = judged(result, chosen)
    assert checks["drill.objects"].status == "critical"
    assert f"{entry['key']} " in checks["drill.objects"].message
    assert said in checks["drill.objects"].message
    assert "start" not in result["phases"]
    assert "drill.restored" not in checks
    assert action["status"] == "failed"
    assert (summary["worst_status"], summary["rto_seconds"]) == ("critical", None)
    assert not left_in(place)


def test_difference_of_any_kind_is_named(small: dict[str, Any], drill_options: Make) -> None:
    def change(point: dict[str, Any]) -> None:
        tables = {table["name"]: table for table in point["database"]["tables"]}
        tables["twins"]["digest"] = "1"
        tables["child"]["rows"] = 3
        tables["empty"]["name"] = "gone"
        point["database"]["schema_head"] = ["def456"]
        point["database"]["extensions"] = {"plpgsql": "0.9", "postgis": "3.5"}
        point["database"]["large_objects"] = 3

    tampered(small, change)
    chosen = drill_options(small)
    result = engine.run(chosen, Progress())
    checks, _, summary = judged(result, chosen)
    assert checks["drill.digests"].message == "Contents of the rows: public.twins has other rows than recorded."
    assert "public.child has 2 rows instead of 3" in checks["drill.rows"].message
    assert "public.gone is missing" in checks["drill.rows"].message
    assert "public.empty is not in the recovery point" in checks["drill.rows"].message
    assert "['abc123'] instead of ['def456']" in checks["drill.schema_head"].message
    assert "postgis is missing" in checks["drill.extensions"].message
    assert "2 instead of 3" in checks["drill.large_objects"].message
    assert set(statuses(result, chosen)) == {*NO_HEARTBEAT} | {
        f"drill.{name}" for name in ("digests", "rows", "schema_head", "extensions", "large_objects")
    }
    assert summary["worst_status"] == "critical"


def test_pg_restore_fails_with_its_message(
    backup_options: Make, database: Make, drill_options: Make, place: Path
) -> None:
    """A function that runs elsewhere than here: its table's data do not come in."""
    made = backup_options(database=database("CREATE TABLE t (a int); INSERT INTO t VALUES (1)"), verify="none")
    run_sql(
        made["database"],
        "CREATE FUNCTION elsewhere(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN"
        " current_setting('port') = '" + str(made["database"]["port"]) + "'; END $$;"
        "ALTER TABLE t ADD CHECK (elsewhere(a))",
    )
    backup.create(made, Progress())
    chosen = drill_options(made)
    result = engine.run(chosen, Progress())
    checks, _, summary = judged(result, chosen)
    assert checks["drill.restored"].status == "critical"
    assert "pg_restore failed with exit status 1" in checks["drill.restored"].message
    assert "violates check constraint" in checks["drill.restored"].message
    assert checks["drill.rto"].status == checks["drill.rto_forecast"].status == "unknown"
    assert summary["worst_status"] == "critical"
    assert not left_in(place)


def test_application_that_is_not_well(small: dict[str, Any], drill_options: Make, place: Path) -> None:
    script = "import os, sys; print('sees', sorted(os.environ), os.environ['URL']); sys.exit(3)"
    broken = {
        "command": [sys.executable, "-c", script],
        "environment": {"URL": "{database_url}"},
        "user": None,
        "url": "http://127.0.0.1:{port}",
        "health_path": "/health",
        "ready_path": "",
        "version_path": "",
        "version": None,
        "timeout": 20,
    }
    os.environ["VENUE_API_KEY"] = "must not reach it"
    try:
        chosen = drill_options(small, application=broken)
        result = engine.run(chosen, Progress())
    finally:
        del os.environ["VENUE_API_KEY"]
    checks, _, _ = judged(result, chosen)
    check = checks["drill.application"]
    assert check.status == "critical"
    assert "exit status 3" in check.message
    assert "sees ['LANG', " in check.message
    assert "VENUE" not in check.message
    assert "postgresql://" not in check.message
    assert checks["drill.rto"].status == "unknown"
    assert not left_in(place)


def test_which_recovery_point(backup_options: Make, database: Make, drill_options: Make) -> None:
    options_of_backup = backup_options(database=database("CREATE TABLE t (a int)"), verify="none")
    small = {**options_of_backup, "made": backup.create(options_of_backup, Progress()), "original": {}}
    with pytest.raises(ConfigurationError, match="no recovery point 20200101T000000Z-abcdef in s3://"):
        engine.run(drill_options(small, recovery_point="20200101T000000Z-abcdef"), Progress())
    with pytest.raises(ConfigurationError, match="no recovery point's id"):
        engine.run(drill_options(small, recovery_point="../etc"), Progress())
    with pytest.raises(ConfigurationError, match="no recovery point of nowhere"):
        engine.run({**drill_options(small), "environment_name": "nowhere"}, Progress())
    with pytest.raises(ConfigurationError, match=r"no recovery point of .* by pgbackrest in s3://"):
        engine.run(drill_options(small, engine="pgbackrest"), Progress())
    first = small["made"]["recovery_point"]["id"]
    second = backup.create(options_of_backup, Progress())
    newest = second["recovery_point"]["id"]

    def planned(wanted: str) -> str:
        return str(engine.plan(drill_options(small, recovery_point=wanted))["recovery_point"]["id"])

    by_seed = engine.plan(drill_options(small, recovery_point="random", seed="monthly"))["recovery_point"]
    assert (by_seed["id"], by_seed["drawn"]) == (first, {"seed": "monthly", "among": 1})
    assert engine.plan(drill_options(small, recovery_point="random"))["recovery_point"]["drawn"]["seed"]
    assert planned("newest") == newest
    assert planned("random") == planned(first) == first
    assert engine.plan(drill_options(small, engine="logical"))["recovery_point"]["id"] == newest
    # The newest cannot be read: an older one is proven, and it is said what is wrong.
    put(small, second["key"], b"{}")
    chosen = drill_options(small)
    result = engine.run(chosen, Progress())
    check = judged(result, chosen)[0]["drill.recovery_point"]
    assert (check.status, check.value) == ("critical", first)
    assert f"{newest} cannot be read" in check.message
    with pytest.raises(RestoreError, match="cannot be read"):
        engine.run(drill_options(small, recovery_point=newest), Progress())
    put(small, small["made"]["key"], b"{")
    with pytest.raises(RestoreError, match="No recovery point in s3://"):
        engine.run(drill_options(small), Progress())


def test_plan_changes_nothing(small: dict[str, Any], drill_options: Make, tmp_path: Path) -> None:
    free = Path(tempfile.mkdtemp(prefix="tradingflow-drill-", dir="/var/tmp"))
    free.chmod(0o711)
    try:
        plan = engine.plan(drill_options(small, scratch_directory=str(free)))
        assert not list(free.iterdir())
    finally:
        free.rmdir()
    assert plan["scratch_needed_bytes"] > plan["recovery_point"]["database_bytes"]
    checks, (action,) = options.planned(plan, 42.5, "2026-11-23T00:00:00Z")
    assert [(check.id, check.status) for check in checks] == [("drill.recovery_point", "ok"), ("drill.space", "ok")]
    assert "The last drill took 42.5 s" in action["message"]
    checks, (action,) = options.planned({**plan, "scratch_free_bytes": 1}, None, "2026-11-23T00:00:00Z")
    assert "No drill has been made" in action["message"]
    assert checks[1].status == "critical"


def test_places_and_programs_that_will_not_do(small: dict[str, Any], drill_options: Make, platform: Sandbox) -> None:
    data = platform.state["postgres"]["data_dir"]
    for folder in (data, f"{data}/base"):
        with pytest.raises(ConfigurationError, match="PostgreSQL data directory"):
            engine.run(drill_options(small, scratch_directory=folder), Progress())
    assert not [name for name in os.listdir(data) if name.startswith("tradingflow")]
    with pytest.raises(ConfigurationError, match="initdb was not found") as caught:
        engine.run(drill_options(small, pg_bin_dir="/nowhere"), Progress())
    assert "server" in caught.value.remedy
    tampered(small, lambda point: point["database"].update(server_version_num=990000))
    with pytest.raises(ConfigurationError, match="the recovery point of 99"):
        engine.run(drill_options(small), Progress())
    tampered(small, lambda point: point.update(engine={"name": "barman"}))
    with pytest.raises(ConfigurationError, match="engine barman"):
        engine.run(drill_options(small), Progress())


def test_store_that_does_not_answer(small: dict[str, Any], drill_options: Make) -> None:
    away = {**small["storage"], "endpoint": "https://127.0.0.1:9", "max_attempts": 1}
    with pytest.raises(StorageError, match="cannot be reached"):
        engine.run({**drill_options(small), "storage": away}, Progress())


def test_disk_too_small(small: dict[str, Any], drill_options: Make, place: Path) -> None:
    tampered(small, lambda point: point["database"].update(size=1 << 60))
    with pytest.raises(ConfigurationError, match=r"needs about 1\d+\.?\d* TB .* are free"):
        engine.run(drill_options(small), Progress())
    assert not left_in(place)


def test_recovery_point_of_an_older_server(platform: Sandbox, drill_options: Make, place: Path) -> None:
    """Debian's own PostgreSQL, drilled by itself and by the newer one of the sandbox."""
    programs = sorted(Path("/usr/lib/postgresql").glob("1[0-7]/bin/postgres"))
    if not programs:
        left_out("no server of PostgreSQL below 18 in /usr/lib/postgresql: apt-get install postgresql")
    older = str(programs[-1].parent)
    folder = place / "older"
    folder.mkdir()
    folder.chmod(0o711)
    user = instance.account(None)
    with instance.Instance(folder, {name: f"{older}/{name}" for name in ("initdb", "postgres")}, user, {}) as server:
        server.start(lambda: None)
        admin = server.database("postgres")
        for statement in (
            'CREATE ROLE "the owner" LOGIN',
            'GRANT pg_monitor TO "the owner"',
            "ALTER ROLE \"the owner\" SET work_mem = '5MB'",
            'CREATE DATABASE "ol d" TEMPLATE template0 OWNER "the owner"',
        ):
            run_sql(admin, statement)
        source = server.database("ol d")
        run_sql(source, CONTENTS)
        run_sql(admin, 'ALTER DATABASE "ol d" SET default_transaction_read_only = on')
        made = {
            **{name: spec.get("default") for name, spec in backup_spec.SPEC.items()},
            "environment_name": "older",
            "database": source,
            "storage": platform.storage,
            "pg_bin_dir": older,
            "scratch_directory": str(folder),
            "verify": "none",
        }
        backup.create(made, Progress())
    shutil.rmtree(folder)
    for programs_of in (older, platform.state["postgres"]["bin_dir"]):
        chosen = drill_options(made, pg_bin_dir=programs_of)
        result = engine.run(chosen, Progress())
        assert statuses(result, chosen) == NO_HEARTBEAT, programs_of
    assert not left_in(place)


def test_an_index_that_lacks_rows(database: Make) -> None:
    """Its order is well, so that only the look at the whole table finds it."""
    lacking = database("CREATE TABLE t AS SELECT generate_series(1, 1000) i; CREATE INDEX of_t ON t (i)")
    ready = "UPDATE pg_index SET indisready = {} WHERE indexrelid = 'of_t'::regclass"
    for statement in (ready.format(False), "INSERT INTO t VALUES (-1), (500), (2000)", ready.format(True)):
        run_sql(lacking, statement)
    found = proof.indexes(lacking, 2, lambda: None)
    assert (found.status, "public.of_t" in str(found.message)) == ("critical", True), found
    run_sql(lacking, "DROP SCHEMA tradingflow_restore_drill CASCADE")
    found = proof.indexes(lacking, 2, lambda: None, full=False)
    assert found.status == "ok"
    assert "not looked at" in str(found.message)


def test_functions_of_the_owner_are_not_run(database: Make) -> None:
    """The owner of a database may set its search_path, and a superuser looks at the restored one."""
    place = database(
        "CREATE TABLE t AS SELECT generate_series(1, 1000) i; CREATE INDEX ON t (i); CREATE SCHEMA evil;"
        "CREATE FUNCTION evil.pg_relation_size(oid) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RAISE 'run'; END$$;"
        "CREATE FUNCTION evil.differs(name, text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'run'; END$$;"
        "CREATE OPERATOR evil.!~ (LEFTARG = name, RIGHTARG = text, FUNCTION = evil.differs)"
    )
    run_sql(place, f"ALTER DATABASE {quoted(place['name'])} SET search_path = evil, pg_catalog")
    assert proof.indexes(place, 1, lambda: None).status == "ok"
    assert server.tables_in(place) == 1


def test_an_index_that_cannot_be_checked_is_unknown(database: Make) -> None:
    place = database(UNFINDABLE)
    check = proof.indexes(place, 1, lambda: None)
    assert check.status == "unknown"
    assert "inner_of" in check.message
