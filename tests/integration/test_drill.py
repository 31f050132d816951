"""The restore drill against a real PostgreSQL and a real S3 store: good, damaged, tampered with, and odd contents."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine as backup
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options as backup_spec
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import snapshot
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine, instance, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    RestoreError,
    StorageError,
)

from sandbox.postgres import cursor
from tests.conftest import ROOT, Sandbox, left_out
from tests.integration import test_backup
from tests.integration.test_backup import CONTENTS, Make, client, fetch, run_sql

backup_options, database, scratch = test_backup.backup_options, test_backup.database, test_backup.scratch

INVARIANTS = yaml.safe_load((ROOT / "roles/restore_drill/vars/main.yml").read_text())["__restore_drill_invariants"]


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A scratch directory that the server's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="tradingflow drill ", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def left_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name != "lock" and not path.is_dir()]


def application(platform: Sandbox) -> dict[str, Any]:
    app = platform.state["app"]
    return {
        "command": [sys.executable, "-m", "sandbox.app"],
        "environment": {
            "PYTHONPATH": str(ROOT),
            "TRADINGFLOW_DATABASE_URL": "postgresql+psycopg2://{database_address}",
            "TRADINGFLOW_PORT": "{port}",
            "TRADINGFLOW_DATA_DIR": "{data_directory}",
            "TRADINGFLOW_LOG_FILE": "{scratch_directory}/app.log",
            "TRADINGFLOW_VERSION": app["version"],
            "TRADINGFLOW_IMAGE": app["image"],
        },
        "user": platform.state["postgres"]["owner"],
        "url": "http://127.0.0.1:{port}",
        "health_path": "/health",
        "ready_path": "/ready",
        "version_path": "/version",
        "version": None,
        "timeout": 60,
    }


@pytest.fixture(scope="session")
def drill_options(platform: Sandbox, place: Path) -> Make:
    """drill_options(of the backup) gives the options of a drill of what that backup made."""

    def build(made: dict[str, Any], **changes: Any) -> dict[str, Any]:
        defaults = {name: spec.get("default") for name, spec in options.SPEC.items()}
        return {
            **defaults,
            "environment_name": made["environment_name"],
            "storage": made["storage"],
            "pg_bin_dir": platform.state["postgres"]["bin_dir"],
            "scratch_directory": str(place),
            **changes,
        }

    return build


@pytest.fixture(scope="session")
def backed_up(platform: Sandbox) -> dict[str, Any]:
    """A backup of the platform: its options."""
    defaults = {name: spec.get("default") for name, spec in backup_spec.SPEC.items()}
    chosen = {
        **defaults,
        "environment_name": "drilled é",
        "database": platform.database,
        "storage": platform.storage,
        "application": {"name": "tradingflow", "version": platform.state["app"]["version"], "image": None},
        "data_directory": platform.state["app"]["data_dir"],
        "pg_bin_dir": platform.state["postgres"]["bin_dir"],
        "verify": "none",
    }
    folder = tempfile.mkdtemp(prefix="tradingflow-test-", dir="/var/tmp")
    chosen["scratch_directory"] = folder
    made = backup.create(chosen, Progress())
    shutil.rmtree(folder)
    return {**chosen, "made": made}


def judged(result: dict[str, Any], chosen: dict[str, Any]) -> tuple[dict[str, Check], dict[str, Any], dict[str, Any]]:
    checks, (action,), summary = options.findings(result, chosen, "2026-11-23T00:00:00Z")
    return {check.id: check for check in checks}, action, summary


def test_good_drill(backed_up: dict[str, Any], drill_options: Make, platform: Sandbox, place: Path) -> None:
    chosen = drill_options(
        backed_up, invariants=INVARIANTS, application=application(platform), database=platform.database
    )
    result = engine.run(chosen, Progress())
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


@pytest.fixture(scope="session")
def odd(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A backup of odd contents and a file: its options, with what it made."""
    data, name = tmp_path_factory.mktemp("data"), "d r'i\"l% ü"
    (data / "a file").write_text("content")
    (data / "link").symlink_to("a file")
    postgres = platform.state["postgres"]
    admin = {
        **platform.database,
        "name": "postgres",
        "user": postgres["superuser"],
        "password": postgres["superuser_password"],
    }
    run_sql(admin, f"CREATE DATABASE {snapshot.quoted(name)} TEMPLATE template0")
    chosen = {
        **{name: spec.get("default") for name, spec in backup_spec.SPEC.items()},
        "environment_name": "odd é",
        "database": {**admin, "name": name},
        "storage": platform.storage,
        "pg_bin_dir": postgres["bin_dir"],
        "data_directory": str(data),
        "verify": "none",
        "scratch_directory": str(tmp_path_factory.mktemp("scratch")),
    }
    try:
        run_sql(chosen["database"], CONTENTS)
        return {**chosen, "made": backup.create(chosen, Progress())}
    finally:
        # The drill has nothing but the store.
        run_sql(admin, f"DROP DATABASE {snapshot.quoted(name)} WITH (FORCE)")


@pytest.fixture
def small(odd: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same backup; what a test changes in the store is put back."""
    original: dict[str, bytes] = {}
    yield {**odd, "original": original}
    for key, body in original.items():
        client(odd).put_object(Bucket=odd["storage"]["bucket"], Key=key, Body=body)


def put(made: dict[str, Any], key: str, body: bytes | None) -> None:
    """Replaces an object in the store, or deletes it."""
    made["original"].setdefault(key, fetch(made, key))
    where = {"Bucket": made["storage"]["bucket"], "Key": key}
    if body is None:
        client(made).delete_object(**where)
    else:
        client(made).put_object(**where, Body=body)


def tampered(made: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the recovery point in the store."""
    point = json.loads(fetch(made, made["made"]["key"]))
    change(point)
    put(made, made["made"]["key"], json.dumps(point).encode())


def statuses(result: dict[str, Any], chosen: dict[str, Any]) -> dict[str, str]:
    return {id: check.status for id, check in judged(result, chosen)[0].items() if check.status != "ok"}


#: The odd database has a heartbeat without a time: nobody knows what would be lost.
NO_HEARTBEAT = {"drill.rpo": "unknown"}


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
    assert statuses(result, chosen) == NO_HEARTBEAT


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


def test_invariants(small: dict[str, Any], drill_options: Make) -> None:
    """One that is broken fails the drill; one that cannot be asked is unknown; none can write."""
    asked = {
        "holds": "SELECT count(*) FROM twins WHERE a <> 7",
        "broken": "SELECT count(*) FROM twins WHERE a = 7",
        "failing": "SELECT count(*) FROM nowhere_to_be_found",
        "slow": "SELECT count(*) FROM pg_sleep(10)",
        "no number": "SELECT 'none'",
        "no row": "SELECT 1 WHERE false",
        "null": "SELECT sum(a) FROM twins WHERE a > 7",
        "negative": "SELECT -1",
        "truth": "SELECT true",
        "two": "SELECT a FROM twins",
        "writing": "WITH gone AS (DELETE FROM twins RETURNING 1) SELECT count(*) FROM gone",
        "100%": "SELECT count(*) FROM twins WHERE a % 7 <> 0",
    }
    chosen = drill_options(
        small, invariants=[{"name": n, "title": n, "sql": sql} for n, sql in asked.items()], invariant_timeout=1
    )
    result = engine.run(chosen, Progress())
    found = {id.partition(":")[2]: check for id, check in judged(result, chosen)[0].items() if ":" in id}
    good = {name for name, check in found.items() if check.status == "ok"}
    assert good == {"holds", "100%"}
    assert (found["broken"].status, found["broken"].value) == ("critical", 2)
    assert {check.status for name, check in found.items() if name not in good | {"broken"}} == {"unknown"}
    assert "nowhere_to_be_found" in found["failing"].message
    assert "read-only" in found["writing"].message
    assert judged(result, chosen)[2]["worst_status"] == "critical"


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
    first = small["made"]["recovery_point"]["id"]
    second = backup.create(options_of_backup, Progress())
    newest = second["recovery_point"]["id"]

    def planned(wanted: str) -> str:
        return str(engine.plan(drill_options(small, recovery_point=wanted))["recovery_point"]["id"])

    assert planned("newest") == newest
    assert planned("random") == planned(first) == first
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
    tampered(small, lambda point: point.update(engine={"name": "pgbackrest"}))
    with pytest.raises(ConfigurationError, match="engine pgbackrest"):
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
            "ALTER DATABASE \"ol d\" SET statement_timeout = '1ms'",
        ):
            run_sql(admin, statement)
        source = server.database("ol d")
        run_sql(source, f"SET statement_timeout = 0; {CONTENTS}")
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


@pytest.mark.parametrize(
    ("name", "breaking"),
    [
        ("positions_follow_from_executions", "UPDATE positions SET quantity = quantity + 0.00000001"),
        ("positions_follow_from_executions", "DELETE FROM positions WHERE quantity <> 0"),
        ("positions_follow_from_executions", "UPDATE positions SET quantity = 'NaN'"),
        ("cash_follows_from_transactions", "UPDATE cash_balances SET balance = balance - 0.01"),
        ("cash_follows_from_transactions", "UPDATE transactions SET status = 'failed' WHERE kind = 'deposit'"),
        ("no_orphan_executions", "UPDATE executions SET order_id = NULL WHERE id = (SELECT min(id) FROM executions)"),
        ("audit_chain", "UPDATE audit_log SET details = details || 'x' WHERE id = 2"),
        ("audit_chain", "DELETE FROM audit_log WHERE id = 2"),
        ("audit_chain", "DELETE FROM audit_log WHERE id = 1"),
        ("recency", "UPDATE heartbeat SET beat_at = beat_at - interval '1 hour'"),
        ("recency", "DELETE FROM heartbeat"),
    ],
)
def test_each_invariant_can_be_broken(platform: Sandbox, name: str, breaking: str) -> None:
    (sql,) = [each["sql"] for each in INVARIANTS if each["name"] == name]
    with cursor(platform.state["postgres"]) as database:
        database.execute("BEGIN")
        try:
            database.execute("SELECT set_config('drill.snapshot_at', now()::text, true)")
            database.execute(sql)
            assert database.fetchone() == (0,)
            database.execute(breaking)
            assert database.rowcount
            database.execute(sql)
            assert database.fetchone()[0] > 0
        finally:
            database.execute("ROLLBACK")
