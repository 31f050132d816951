"""Role database_tuning with a physical replica: what is read there only is not unused, and its lag stops a plan."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.sql import reading
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import instance
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning import apply, engine, usage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.budget import MARGIN
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.indexes import unused
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.plan import digest, write
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.usage import Watched

from sandbox.postgres import _environment, _identity
from sandbox.processes import free_ports
from tests.integration.tuning_fixtures import Tuned, aged
from tests.integration.tuning_fixtures import tuned as tuned


class Replica:
    """A standby of the sandbox's server."""

    def __init__(self, tuned: Tuned, folder: Path) -> None:
        self.tuned, self.folder = tuned, folder
        self.postgres = tuned.platform.state["postgres"]
        self.programs = Path(self.postgres["bin_dir"])
        self.port = free_ports(["port"], {})["port"]
        self.address = {**tuned.address, "port": self.port}
        done = subprocess.run(
            [
                *(
                    str(self.programs / "pg_basebackup"),
                    "-D",
                    str(folder / "data"),
                    "-R",
                    "--checkpoint=fast",
                    "--no-sync",
                ),
                *("-h", self.postgres["host"], "-p", str(self.postgres["port"]), "-U", self.postgres["superuser"]),
            ],
            env={**_environment(), "PGPASSWORD": self.postgres["superuser_password"]},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **_identity(),
        )
        assert done.returncode == 0, done.stderr
        self.process = subprocess.Popen(
            [
                *(str(self.programs / "postgres"), "-D", str(folder / "data"), "-p", str(self.port)),
                *("-c", "unix_socket_directories=", "-c", "shared_buffers=16MB"),
            ],
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_identity(),
        )

    def __call__(self, *statements: str) -> list[Any]:
        """As the superuser, on the replica; waits until it takes connections."""
        while True:
            assert self.process.poll() is None
            try:
                connection = psycopg2.connect(
                    host=self.postgres["host"],
                    port=self.port,
                    dbname=self.tuned.address["name"],
                    user=self.postgres["superuser"],
                    password=self.postgres["superuser_password"],
                )
                break
            except psycopg2.OperationalError:
                time.sleep(0.1)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def paused(self) -> None:
        """Stops replaying; that is asked for, and not done at once."""
        self("SELECT pg_wal_replay_pause()")
        while self("SELECT pg_get_wal_replay_pause_state()") != [("paused",)]:
            time.sleep(0.1)

    def caught_up(self) -> None:
        """Waits until it has replayed all that the primary has written."""
        ((lsn,),) = self.tuned("SELECT pg_current_wal_lsn()")
        while not self(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'")[0][0]:
            time.sleep(0.1)


@pytest.fixture(scope="module")
def replica(tuned: Tuned) -> Iterator[Replica]:
    folder = Path(tempfile.mkdtemp(prefix="tradingflow-replica-", dir="/var/tmp"))
    if user := instance.account(None):
        shutil.chown(folder, user.uid, user.gid)
    made = Replica(tuned, folder)
    try:
        made.caught_up()
        yield made
    finally:
        made.process.terminate()
        made.process.wait(60)
        shutil.rmtree(folder)


def names(tuned: Tuned, replicas: list[dict[str, Any]]) -> tuple[dict[str, str], str]:
    """Unread index -> verdict after a whole cycle, and what forbids any."""
    known, _ = tuned.read()
    with reading(tuned.address, 60) as cursor:
        counted = usage.uses(cursor, tuned.address, replicas, 60)
    watched = Watched(counted.servers[0].system, dict.fromkeys((one.oid for one in known), 1.0))
    found = unused(known, aged(counted, 100), 92, watched)
    return {one.index.removeprefix("public."): one.verdict for one in found}, counted.problem


def test_read_on_the_replica_only(tuned: Tuned, replica: Replica) -> None:
    found, problem = names(tuned, [])
    assert problem == "1 standby is connected or expected by a slot, and 0 could be asked"
    assert found["accounts_opened"] == "unknown"
    assert "safe" not in found.values()
    found, problem = names(tuned, [replica.address])
    assert problem == ""
    assert (found["accounts_opened"], found["trades_span"]) == ("safe", "safe")
    replica(
        "SET enable_seqscan TO off; SELECT count(*) FROM accounts WHERE opened = '2021-01-01'",
        "SELECT pg_stat_force_next_flush()",
    )
    found, _ = names(tuned, [replica.address])
    assert "accounts_opened" not in found
    assert found["trades_span"] == "safe"
    # It is a replica of this server, and no server of its own.
    reversed_roles = names(Tuned(tuned.platform), [tuned.address])[1]
    assert "is no physical replica of this server" in reversed_roles


def test_a_standby_that_is_not_named_is_noticed(tuned: Tuned, replica: Replica) -> None:
    assert "are the same server" in names(tuned, [replica.address, {**replica.address, "host": "localhost"}])[1]
    drop = "SELECT pg_drop_replication_slot('away')"
    make = "SELECT pg_create_physical_replication_slot('away')"
    # One that is away, of the primary; and one that the replica feeds.
    for server in (tuned, replica):
        server(make)
        try:
            found, problem = names(tuned, [replica.address])
        finally:
            server(drop)
        assert problem == "2 standbys are connected or expected by a slot, and 1 could be asked"
        assert "safe" not in found.values()
    assert names(tuned, [replica.address])[1] == ""


def test_a_standby_is_not_the_primary(tuned: Tuned, replica: Replica) -> None:
    check = tuned.analyse(database=replica.address)["tuning.unused_indexes"]
    assert "this server is a standby: ask the primary" in check.message


def test_its_lag_stops_a_plan(tuned: Tuned, replica: Replica, tmp_path: Path) -> None:
    tuned(
        "CREATE TABLE lagging (n int) WITH (autovacuum_enabled = off)",
        "INSERT INTO lagging SELECT generate_series(1, 5000)",
        "ALTER TABLE lagging OWNER TO tradingflow",
    )
    postgres = tuned.platform.state["postgres"]
    paths = {"plans": str(tmp_path / "plans"), "journal": str(tmp_path / "journal.jsonl")}
    owner = {**tuned.address, "user": postgres["owner"], "password": postgres["owner_password"]}
    plan = engine.analyse(tuned.options(**paths), lambda id: {}).plan
    replica.caught_up()
    replica.paused()
    tuned("INSERT INTO lagging SELECT generate_series(1, 5000)")
    how = {**paths, "action": "apply", "apply_database": owner, "expected_digest": plan["digest"], "lag_wait": 0}
    outcome = apply.carry_out(tuned.options(**how, lag_bytes=1000))
    assert [one["state"] for one in outcome.results] == ["stopped"] * len(plan["operations"])
    assert "a replica is" in outcome.results[0]["reason"]
    replica("SELECT pg_wal_replay_resume()")
    replica.caught_up()
    outcome = apply.carry_out(tuned.options(**{**how, "lag_wait": 60}, lag_bytes=1000))
    assert {one["state"] for one in outcome.results if one["object"] == "public.lagging"} == {"done"}
    tuned("DROP TABLE lagging")


def test_what_changes_while_a_replica_is_waited_for(tuned: Tuned, replica: Replica, tmp_path: Path) -> None:
    tuned(
        "CREATE TABLE waiting (n int) WITH (autovacuum_enabled = off)",
        "CREATE INDEX waiting_one ON waiting (n)",
        "CREATE INDEX waiting_two ON waiting (n)",
        "ALTER TABLE waiting OWNER TO tradingflow",
        "ANALYZE waiting",
    )
    postgres = tuned.platform.state["postgres"]
    paths = {"plans": str(tmp_path / "plans"), "journal": str(tmp_path / "journal.jsonl")}
    owner = {**tuned.address, "user": postgres["owner"], "password": postgres["owner_password"]}
    plan = engine.analyse(tuned.options(**paths, drop_indexes=["public.waiting_two"]), lambda id: {}).plan
    only = [one for one in plan["operations"] if one["kind"] == "drop"]
    plan = {**plan, "operations": only, "digest": digest(only, plan["database"], plan["made_at"])}
    write(plan, paths["plans"])
    options = tuned.options(
        **{**paths, "action": "apply", "apply_database": owner, "expected_digest": plan["digest"], "lag_wait": 60},
        lag_bytes=1000,
    )
    replica.caught_up()
    replica.paused()
    tuned("INSERT INTO waiting SELECT generate_series(1, 5000)")
    # The window closes while it waits: no operation begins in its last minute.
    closing = datetime.fromtimestamp(time.time() + MARGIN + 2, UTC).isoformat()
    outcome = apply.carry_out({**options, "window_ends": closing})
    assert [(one["state"], one["reason"]) for one in outcome.results] == [("stopped", "the window closes")]
    results: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: results.extend(apply.carry_out(options).results))
    thread.start()
    asked = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_stat_replication%' AND pid <> pg_backend_pid()"
    while not tuned(asked):
        assert thread.is_alive()
    tuned("DROP INDEX waiting_one")
    replica("SELECT pg_wal_replay_resume()")
    thread.join()
    assert "waiting_one, which is to take its place, is gone" in results[0]["reason"]
    assert tuned("SELECT 1 FROM pg_class WHERE relname = 'waiting_two'")
    tuned("DROP TABLE waiting")
