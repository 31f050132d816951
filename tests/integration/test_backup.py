"""The daily backup against a real PostgreSQL and a real S3 store: full cycle, odd contents, damage found afterwards."""

from __future__ import annotations

import io
import json
import os
import secrets
import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import psycopg2
import pytest
import zstandard
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine, options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import measuring, snapshot
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import store, verify
from ansible_collections.tradingflow.maintenance.plugins.module_utils._storage import read
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    BackupError,
    ConfigurationError,
    DatabaseError,
    MaintenanceError,
    StorageError,
)

from tests.conftest import COLLECTION, Sandbox

THRESHOLDS = {"newest_age": {"warning": 6000, "critical": 12000}}

CONTENTS = """
CREATE SCHEMA "we ird.%s ü";
CREATE TYPE "Side" AS ENUM ('buy', 'sell');
CREATE DOMAIN "Price" AS numeric(18, 8) CHECK (VALUE > 0);
CREATE TABLE "we ird.%s ü"."Or'der ""s"" 100%" (id int PRIMARY KEY, "a b" text, side "Side", sides "Side"[],
    price "Price", document json, at timestamptz, place point, flags bit(3), "Ü%" bytea);
INSERT INTO "we ird.%s ü"."Or'der ""s"" 100%"
    SELECT i, repeat('x', i % 50),
    CASE WHEN i % 2 = 0 THEN 'buy' ELSE 'sell' END::"Side", ARRAY['buy']::"Side"[], i + 0.12345678,
    json_build_object('n', i), timestamptz '2026-11-23 12:00+00' + i * interval '1 s', point(i, -i), B'101',
    decode(md5(i::text), 'hex') FROM generate_series(1, 1000) i;
CREATE TABLE executions (id bigint GENERATED ALWAYS AS IDENTITY, at date NOT NULL, quantity numeric,
    notional numeric GENERATED ALWAYS AS (quantity * 2) STORED) PARTITION BY RANGE (at);
CREATE TABLE executions_1 PARTITION OF executions FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE executions_2 PARTITION OF executions FOR VALUES FROM ('2026-07-01') TO ('2027-01-01')
    PARTITION BY LIST (at);
CREATE TABLE executions_2a PARTITION OF executions_2 DEFAULT;
INSERT INTO executions (at, quantity) SELECT date '2026-01-01' + i % 360, i FROM generate_series(1, 2000) i;
CREATE TABLE parent (x int); CREATE TABLE child (y float8) INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 0.1), (3, 'NaN');
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE empty (id int);
CREATE UNLOGGED TABLE scratch AS SELECT 1 AS a;
CREATE TABLE twins AS SELECT 7 AS a FROM generate_series(1, 2);
CREATE VIEW a_view AS SELECT * FROM twins; CREATE MATERIALIZED VIEW a_copy AS SELECT * FROM twins;
CREATE SCHEMA maintenance; CREATE VIEW maintenance.heartbeat AS SELECT 'main' AS name, 42 AS value;
CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('abc123');
SELECT lo_from_bytea(0, 'one'), lo_from_bytea(0, 'two');
"""


def connect(database: dict[str, Any]) -> Any:
    connection = psycopg2.connect(
        host=database["host"],
        port=database["port"],
        dbname=database["name"],
        user=database["user"],
        password=database["password"],
    )
    connection.autocommit = True
    return connection


def run_sql(database: dict[str, Any], text: str) -> None:
    connection = connect(database)
    try:
        connection.cursor().execute(text)
    finally:
        connection.close()


Make = Callable[..., dict[str, Any]]


@pytest.fixture
def database(platform: Sandbox) -> Iterator[Make]:
    """database(sql) makes a database of an odd name and gives the option "database" for it."""
    postgres = platform.state["postgres"]
    admin = {
        **platform.database,
        "name": "postgres",
        "user": postgres["superuser"],
        "password": postgres["superuser_password"],
    }
    made = []

    def make(text: str = "") -> dict[str, Any]:
        name = f"b a'c\"k% ü {secrets.token_hex(3)}"
        run_sql(admin, f"CREATE DATABASE {quoted(name)} TEMPLATE template0")
        made.append(name)
        result = {**admin, "name": name}
        if text:
            run_sql(result, text)
        return result

    yield make
    for name in made:
        run_sql(admin, f"DROP DATABASE {quoted(name)} WITH (FORCE)")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch here"
    path.mkdir()
    return path


@pytest.fixture
def backup_options(platform: Sandbox, scratch: Path) -> Make:
    """backup_options(database=...) gives the options of a small backup in an environment of the test's own."""
    environment = f"test é {secrets.token_hex(4)}"

    def build(**changes: Any) -> dict[str, Any]:
        defaults = {name: spec.get("default") for name, spec in options.SPEC.items()}
        return {
            **defaults,
            "environment_name": environment,
            "database": platform.database,
            "storage": platform.storage,
            "application": {"name": "tradingflow", "version": "1.2.3", "image": None},
            "pg_bin_dir": platform.state["postgres"]["bin_dir"],
            "scratch_directory": str(scratch),
            **changes,
        }

    return build


_clients: dict[str, Any] = {}


def client(chosen: dict[str, Any]) -> Any:
    """A client of the store; making one costs more than most calls."""
    endpoint = chosen["storage"]["endpoint"]
    if endpoint not in _clients:
        _clients[endpoint] = s3_storage.client(chosen["storage"])
    return _clients[endpoint]


def fetch(chosen: dict[str, Any], key: str) -> bytes:
    body: bytes = client(chosen).get_object(Bucket=chosen["storage"]["bucket"], Key=key)["Body"].read()
    return body


def keys(chosen: dict[str, Any]) -> list[str]:
    prefix = store.prefix_of(chosen["storage"], chosen["environment_name"])
    listed = s3_storage.list_keys(client(chosen), chosen["storage"]["bucket"], prefix + "/")
    return [entry["Key"] for entry in listed]


def uploads(chosen: dict[str, Any]) -> list[str]:
    prefix = store.prefix_of(chosen["storage"], chosen["environment_name"])
    answer = client(chosen).list_multipart_uploads(Bucket=chosen["storage"]["bucket"], Prefix=prefix + "/")
    return [upload["Key"] for upload in answer.get("Uploads") or []]


def left_in(scratch: Path) -> list[Path]:
    return [path for path in scratch.rglob("*") if path.is_file() and path.name != "lock"]


def assert_nothing_left(chosen: dict[str, Any]) -> None:
    assert not uploads(chosen)
    assert not [key for key in keys(chosen) if key.endswith(store.NAME)]
    assert not left_in(Path(chosen["scratch_directory"]))


def restore(chosen: dict[str, Any], point: dict[str, Any], target: dict[str, Any], folder: Path) -> None:
    """By hand, as docs/backup.md says: fetch database/ and give it to pg_restore."""
    folder.mkdir()
    for entry in point["objects"]:
        if "/database/" in entry["key"] and not entry["key"].endswith("globals.sql"):
            (folder / entry["key"].rsplit("/", 1)[-1]).write_bytes(fetch(chosen, entry["key"]))
    subprocess.run(
        [os.path.join(chosen["pg_bin_dir"], "pg_restore"), "--exit-on-error", "-j2", "-d", "", str(folder)],
        env={
            "PGHOST": target["host"],
            "PGPORT": str(target["port"]),
            "PGUSER": target["user"],
            "PGPASSWORD": target["password"],
            "PGDATABASE": target["name"],
        },
        check=True,
        capture_output=True,
    )


def measured(database: dict[str, Any]) -> dict[tuple[str, str], tuple[int, str]]:
    with snapshot.opened(database) as taken:
        tables = taken.tables()
        results = measuring.Measuring(taken, tables, digests=True, sessions=1).results()
    return {(table["schema"], table["name"]): (table["rows"], table["digest"]) for table in results}


def test_full_cycle_and_restore_by_hand(backup_options: Make, database: Make, tmp_path: Path) -> None:
    data = tmp_path / "da ta"
    data.mkdir()
    (data / "big").write_bytes(secrets.token_bytes(12 << 20))
    (data / "empty").touch()
    name = b"n\xffot utf-8 '\"% \n"
    Path(os.fsdecode(os.path.join(os.fsencode(data), name))).write_text("odd")
    (data / ("long" * 50)).mkdir()
    (data / ("long" * 50) / ("name" * 40)).write_text("deep")
    os.link(data / "big", data / "same")
    (data / "link").symlink_to("nowhere")
    (data / "cache").mkdir()
    (data / "cache" / "x").write_text("left out")
    with socket.socket(socket.AF_UNIX) as listener:
        place = os.getcwd()
        os.chdir(data)
        listener.bind("socket")
        os.chdir(place)
        chosen = backup_options(
            database=database(CONTENTS), data_directory=str(data), data_excludes=["cache"], part_size=5 << 20
        )
        result = engine.create(chosen, Progress())

    point = json.loads(fetch(chosen, result["key"]))
    assert point == result["recovery_point"]
    jsonschema.validate(point, json.loads((COLLECTION / "schemas/recovery-point-1.json").read_text()))
    assert result["verification"] == {**result["verification"], "ok": True, "problems": [], "mode": "full"}
    assert result["notes"]["skipped_files"] == ["socket"]
    # The recovery point binds what belongs together.
    assert point["database"]["schema_head"] == ["abc123"]
    assert point["database"]["heartbeat"] == [{"name": "main", "value": 42}]
    assert point["database"]["large_objects"] == 2
    assert point["application"] == {**point["application"], "version": "1.2.3", "files": 4}
    rows = {(table["schema"], table["name"]): table["rows"] for table in point["database"]["tables"]}
    assert rows == {
        ("we ird.%s ü", 'Or\'der "s" 100%'): 1000,
        ("public", "executions_1"): 1085,
        ("public", "executions_2a"): 915,
        ("public", "parent"): 1,
        ("public", "child"): 2,
        ("public", "nothing"): 2,
        ("public", "empty"): 0,
        ("public", "scratch"): 1,
        ("public", "twins"): 2,
        ("public", "alembic_version"): 1,
    }
    # What is in the store is what is recorded, and nothing else is there.
    recorded = {entry["key"] for entry in point["objects"]} | {result["key"]}
    assert recorded == set(keys(chosen))
    assert all(read.check_head(client(chosen), chosen["storage"], entry) is None for entry in point["objects"])
    big = next(entry for entry in point["objects"] if entry["key"].endswith("data.tar.zst"))
    assert big["size"] > 12 << 20
    assert big["checksum"].endswith("-3")
    # Restored by hand into another database, every count and digest is the same.
    copy = database()
    restore(chosen, point, copy, tmp_path / "fetched")
    digests = {
        (table["schema"], table["name"]): (table["rows"], table["digest"]) for table in point["database"]["tables"]
    }
    assert measured(copy) == digests
    run_sql(copy, "UPDATE child SET y = y + 1 WHERE x = 2")
    assert measured(copy) != digests
    # The files come back with their names, whatever is in them.
    packed = fetch(chosen, big["key"])
    with zstandard.ZstdDecompressor().stream_reader(packed) as plain:
        unpacked = io.BytesIO(plain.read())
    with tarfile.open(fileobj=unpacked, errors="surrogateescape") as files:
        names = set(files.getnames())
        assert os.fsdecode(name) in names
        assert not names & {"cache", "cache/x", "socket"}
        same = files.extractfile("same")
        assert same is not None
        assert same.read() == (data / "big").read_bytes()
    assert not left_in(Path(chosen["scratch_directory"]))
    assert not uploads(chosen)


def test_empty_database_without_files(backup_options: Make, database: Make) -> None:
    chosen = backup_options(database=database())
    result = engine.create(chosen, Progress())
    assert result["recovery_point"]["database"]["tables"] == []
    assert result["verification"]["ok"]
    checks, (action,) = options.findings(result, "2026-11-23T00:00:00Z")
    assert {check.id for check in checks if check.status != "ok"} == {"backup.contents"}
    assert action["status"] == "ok"


def test_rows_written_meanwhile_are_not_in_it(backup_options: Make, database: Make) -> None:
    chosen = backup_options(database=database("CREATE TABLE t AS SELECT i FROM generate_series(1, 10) i"))
    with snapshot.opened(chosen["database"]) as taken:
        tables = taken.tables()
        run_sql(chosen["database"], "INSERT INTO t VALUES (11)")
        (table,) = measuring.Measuring(taken, tables, digests=False, sessions=1).results()
    assert table["rows"] == 10
    assert table["digest"] is None


@pytest.mark.parametrize(
    ("compression", "level", "by"), [("gzip", 2, "ISA-L"), ("gzip", 6, "pg_dump"), ("none", None, "pg_dump")]
)
def test_compression_on_request(
    backup_options: Make, database: Make, compression: str, level: int | None, by: str
) -> None:
    chosen = backup_options(
        database=database("CREATE TABLE t AS SELECT 1 AS a"),
        compression=compression,
        compression_level=level,
        digests="none",
    )
    result = engine.create(chosen, Progress())
    made = result["recovery_point"]["engine"]
    assert (made["compression"], made["level"], made["compressor"]) == (compression, level or 0, by)
    assert result["verification"]["ok"]


def damage(chosen: dict[str, Any], key: str, body: bytes | None) -> None:
    if body is None:
        client(chosen).delete_object(Bucket=chosen["storage"]["bucket"], Key=key)
    else:
        client(chosen).put_object(Bucket=chosen["storage"]["bucket"], Key=key, Body=body)


def by_role(point: dict[str, Any], role: str) -> dict[str, Any]:
    entry: dict[str, Any] = next(entry for entry in point["objects"] if entry["role"] == role)
    return entry


def verified(chosen: dict[str, Any], point: dict[str, Any], mode: str = "full") -> dict[str, Any]:
    return verify.verify(
        client(chosen),
        chosen["storage"],
        point,
        mode=mode,
        pg_restore=os.path.join(chosen["pg_bin_dir"], "pg_restore"),
        scratch=Path(chosen["scratch_directory"]),
        progress=Progress(),
    )


def test_damage_afterwards_is_seen(backup_options: Make, database: Make, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_text("a" * 1000)
    chosen = backup_options(
        database=database("CREATE TABLE t AS SELECT 1 AS a"), data_directory=str(data), verify="none"
    )
    result = engine.create(chosen, Progress())
    point = result["recovery_point"]
    assert result["verification"] is None
    for role in ("data", "table of contents", "application files", "application manifest", "globals"):
        victim = by_role(point, role)
        body = fetch(chosen, victim["key"])
        for damaged in (body[:-1], body[:-1] + bytes([body[-1] ^ 1]), None):
            damage(chosen, victim["key"], damaged)
            for mode in ("full", "checksum"):
                found = verified(chosen, point, mode)
                assert not found["ok"]
                assert victim["key"] in " ".join(found["problems"])
            age, intact = store.measure(chosen["storage"], chosen["environment_name"], THRESHOLDS)
            assert (age.id, age.status) == ("backups.newest_age", "ok")
            assert (intact.id, intact.status) == ("backups.newest_intact", "critical")
            assert victim["key"] in intact.message
        damage(chosen, victim["key"], body)
        assert verified(chosen, point)["ok"]


def test_a_table_missing_from_the_dump_is_seen(backup_options: Make, database: Make) -> None:
    chosen = backup_options(database=database("CREATE TABLE t AS SELECT 1 AS a"), verify="none")
    point = engine.create(chosen, Progress())["recovery_point"]
    point["database"]["tables"].append({**point["database"]["tables"][0], "oid": 1, "name": "lost"})
    found = verified(chosen, point)
    assert found["problems"] == ["table public.lost is not in the dump"]


@pytest.mark.parametrize("level", [1, 6])
def test_a_row_missing_from_the_dump_is_seen(backup_options: Make, database: Make, level: int) -> None:
    contents = """CREATE TABLE t AS SELECT i, E'two\\nlines\\r\\\\.' AS text FROM generate_series(1, 1000) i;
        CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; CREATE TABLE empty (a int)"""
    chosen = backup_options(
        database=database(contents), verify="none", compression="gzip", compression_level=level, digests="none"
    )
    point = engine.create(chosen, Progress())["recovery_point"]
    assert verified(chosen, point)["ok"]
    next(table for table in point["database"]["tables"] if table["name"] == "t")["rows"] += 1
    assert verified(chosen, point)["problems"] == ["the dump has 1000 rows of table public.t, its snapshot had 1001"]


def test_checks_of_the_store(backup_options: Make, database: Make, platform: Sandbox) -> None:
    chosen = backup_options(database=database())
    arguments = (chosen["storage"], chosen["environment_name"], THRESHOLDS)
    assert {check.id: check.status for check in store.measure(*arguments)} == {
        "backups.newest_age": "critical",
        "backups.newest_intact": "unknown",
    }
    first = engine.create(chosen, Progress())
    assert {check.status for check in store.measure(*arguments)} == {"ok"}
    # A later run that never finished does not count, and is named by the next one.
    prefix = store.prefix_of(chosen["storage"], chosen["environment_name"])
    damage(chosen, f"{prefix}/20991231T000000Z-abcdef/database/toc.dat", b"x")
    age, intact = store.measure(*arguments)
    assert (age.status, intact.status) == ("ok", "ok")
    assert first["recovery_point"]["id"] in age.message
    assert engine.create(chosen, Progress())["notes"]["unfinished"] == ["20991231T000000Z-abcdef"]
    damage(chosen, f"{prefix}/20991231T000000Z-abcdef/{store.NAME}", b"{")
    assert {check.status for check in store.measure(*arguments)} == {"critical"}
    with pytest.raises(StorageError):
        store.measure({**chosen["storage"], "endpoint": "https://localhost:9", "max_attempts": 1}, "x", THRESHOLDS)


def test_plan_changes_nothing(backup_options: Make, database: Make) -> None:
    chosen = backup_options(database=database(CONTENTS))
    plan = engine.plan(chosen)
    assert plan["tables"] == 10
    assert plan["table_bytes"] > 0
    assert plan["compression"] == "gzip:1 by ISA-L"
    assert not keys(chosen)
    assert not list(Path(chosen["scratch_directory"]).iterdir())


def assert_fails(chosen: dict[str, Any], kind: type[MaintenanceError], *words: str) -> MaintenanceError:
    with pytest.raises(kind) as caught:
        engine.create(chosen, Progress())
    for word in words:
        assert word in str(caught.value)
    assert caught.value.remedy
    for secret in (chosen["database"]["password"], chosen["storage"]["secret_key"]):
        assert secret not in str(caught.value)
    return caught.value


def test_wrong_password(backup_options: Make) -> None:
    chosen = backup_options()
    chosen["database"] = {**chosen["database"], "password": "wr0ng 'pass\"word% ü"}
    assert_fails(chosen, DatabaseError, "password authentication failed")
    assert_nothing_left(chosen)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bucket": "no-such-bucket"}, "NoSuchBucket"),
        ({"secret_key": "wr0ngwr0ng"}, "SignatureDoesNotMatch"),
        ({"endpoint": "https://localhost:9", "max_attempts": 1}, "cannot be reached"),
    ],
)
def test_store_refuses_before_any_work(backup_options: Make, change: dict[str, Any], words: str) -> None:
    chosen = backup_options()
    chosen["storage"] = {**chosen["storage"], **change}
    assert_fails(chosen, StorageError, words)
    assert not left_in(Path(chosen["scratch_directory"]))


def test_missing_and_failing_programs(backup_options: Make, platform: Sandbox, tmp_path: Path) -> None:
    assert_fails(backup_options(pg_bin_dir=str(tmp_path)), ConfigurationError, "pg_dump", "backup_pg_bin_dir")
    # A pg_dump that breaks off in the middle of its work, and one that is too old.
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name in ("pg_dumpall", "pg_restore"):
        (binaries / name).symlink_to(os.path.join(platform.state["postgres"]["bin_dir"], name))
    fake = binaries / "pg_dump"
    real = os.path.join(platform.state["postgres"]["bin_dir"], "pg_dump")
    fake.write_text(
        '#!/bin/sh\ncase "$*" in *--snapshot*) echo "pg_dump: error: broke off" >&2; '
        'for a in "$@"; do case "$a" in --file=*) head -c 9000000 /dev/urandom > "${a#--file=}/1.dat.gz";; esac; done; '
        f'exit 3;; esac\nexec "{real}" "$@"\n'
    )
    fake.chmod(0o755)
    chosen = backup_options(pg_bin_dir=str(binaries), part_size=5 << 20)
    assert_fails(chosen, BackupError, "exit status 3", "broke off")
    assert_nothing_left(chosen)
    fake.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) echo "pg_dump (PostgreSQL) 9.6.1";;'
        ' *) echo "connection to server" >&2; exit 1;; esac\n'
    )
    chosen = backup_options(pg_bin_dir=str(binaries))
    assert_fails(chosen, ConfigurationError, "version 9", "version 18")
    assert_nothing_left(chosen)


def test_unreadable_directory_and_missing_one(backup_options: Make, tmp_path: Path) -> None:
    assert_fails(backup_options(data_directory=str(tmp_path / "none")), ConfigurationError, "does not exist")


def test_table_locked_by_a_migration_or_forbidden(backup_options: Make, database: Make, platform: Sandbox) -> None:
    owner = database("CREATE TABLE secret (a int)")
    run_sql(owner, "GRANT CONNECT ON DATABASE " + quoted(owner["name"]) + " TO PUBLIC")
    run_sql(owner, "CREATE TABLE hidden (a int); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
    chosen = backup_options(database={**platform.database, "name": owner["name"]})
    # Rows that the user may not see must not make a smaller backup.
    assert_fails(chosen, MaintenanceError, "row-level security")
    assert_nothing_left(chosen)
