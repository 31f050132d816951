"""What a data update waits for between its batches: replicas, locks, VACUUM, and how much WAL it writes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update import throttle

from sandbox.postgres import _identity
from sandbox.processes import free_ports
from tests.conftest import Sandbox
from tests.integration import data_update_fixtures
from tests.integration.data_update_fixtures import LAST_LOGIN, USERS, Place
from tests.integration.migration_fixtures import until
from tests.integration.restore_fixtures import bad
from tests.integration.test_data_update import CHANGED

place = data_update_fixtures.place


def throttled(**limits: Any) -> dict[str, Any]:
    return {**LAST_LOGIN, "throttle": {"patience": 0.6, **limits}}


@contextmanager
def replica(platform: Sandbox) -> Iterator[Any]:
    """A cursor of a streaming replica of the platform's server; it replays until it is paused."""
    postgres = platform.state["postgres"]
    programs = Path(postgres["bin_dir"])
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PGPASSWORD": postgres["superuser_password"]}
    folder = Path(tempfile.mkdtemp(prefix="tradingflow-test-replica-", dir="/var/tmp"))
    identity = _identity()
    if identity:
        os.chown(folder, identity["user"], identity["group"])
    port = free_ports(["replica"], {})["replica"]
    server = None
    try:
        address = ["-h", postgres["host"], "-p", str(postgres["port"]), "-U", postgres["superuser"]]
        subprocess.run(
            [
                programs / "pg_basebackup",
                *address,
                "-D",
                folder / "data",
                "-R",
                "-c",
                "fast",
                "-X",
                "stream",
                "--no-sync",
            ],
            check=True,
            env=environment,
            cwd="/",
            **identity,
        )
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", folder / "data", "-p", str(port), "-c", "shared_buffers=16MB"],
                env=environment,
                cwd="/",
                stdout=log,
                stderr=log,
                **identity,
            )

        def connected() -> Any:
            try:
                return psycopg2.connect(
                    host=postgres["host"],
                    port=port,
                    dbname="postgres",
                    user=postgres["superuser"],
                    password=postgres["superuser_password"],
                )
            except psycopg2.OperationalError:
                assert server.poll() is None, (folder / "log").read_text()
                return None

        found: list[Any] = []

        def answers() -> bool:
            connection = connected()
            found.extend([connection] if connection else [])
            return bool(found)

        until(answers)
        found[0].autocommit = True
        streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        until(lambda: platform.sql("superuser", streaming) == [(1,)])
        with found[0].cursor() as cursor:
            yield cursor
        found[0].close()
    finally:
        if server is not None:
            server.send_signal(signal.SIGQUIT)
            server.wait()
        shutil.rmtree(folder)
        until(lambda: platform.sql("superuser", "SELECT count(*) FROM pg_stat_replication") == [(0,)])


def test_a_replica_that_lags(place: Place, platform: Sandbox) -> None:
    place.sql(USERS)
    with replica(platform) as cursor:
        # Whoever may not see how far it is, does not begin.
        assert set(place.refused(LAST_LOGIN)) == {"replication_lag"}
        assert place.refused(throttled(replication_lag=0.0)) == {}
        platform.sql("superuser", f"GRANT pg_monitor TO {place.owner}")
        try:
            cursor.execute("SELECT pg_wal_replay_pause()")
            # Longer between two batches than it may lag.
            checks, result = place.run(throttled(replication_lag=0.1, pause=0.2))
            assert set(bad(checks)) == {"data_update.failed"}
            assert "for replica walreceiver, which is" in checks["data_update.failed"].message
            assert result["update_after"]["state"] == "running"
            assert result["update_after"]["rows"] < 50
            assert result["waits"]["replication lag"] > 0
            cursor.execute("SELECT pg_wal_replay_resume()")
            checks, result = place.run(throttled(replication_lag=0.1, patience=120.0))
            assert bad(checks) == {}
            assert result["verified"]["rows"] == 50
        finally:
            platform.sql("superuser", f"REVOKE pg_monitor FROM {place.owner}")


def test_others_wait_for_the_table_or_clean_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.sql(USERS)
    locks = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
    real = throttle.Throttle.wait
    with place.session() as reader, place.session() as writer:
        waiting = threading.Thread(target=writer.execute, args=("LOCK TABLE users IN ACCESS EXCLUSIVE MODE",))

        def wait(self: throttle.Throttle) -> None:
            if place.sql("SELECT count(*) FROM tradingflow_data_update.batches") == [(2,)]:
                reader.execute("SELECT count(*) FROM users")
                waiting.start()
                until(lambda: place.sql(locks) == [(1,)])
            real(self)

        monkeypatch.setattr(throttle.Throttle, "wait", wait)
        # It does not stand in line behind whoever waits, and before all others.
        checks, result = place.run(throttled())
        reader.connection.rollback()
        waiting.join()
        writer.connection.rollback()
    monkeypatch.setattr(throttle.Throttle, "wait", real)
    assert set(bad(checks)) == {"data_update.failed"}
    assert "1 session in line for a lock of the table" in checks["data_update.failed"].message
    assert (result["attempts"], place.sql(CHANGED)) == (0, [(20,)])
    with place.session() as cleaner:
        cleaner.execute("LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE")
        checks, result = place.run(throttled())
        assert "a VACUUM or its like" in checks["data_update.failed"].message
        assert result["waits"]["vacuum"] > 0
        (waited,) = [each for each in result["timeline"] if {"on": "vacuum"} in each["waits"]]
        assert waited["waited"] > 0
        assert (waited["ended"], waited["sql"].partition(":")[0]) == ("failed", "the next batch")
        assert place.sql(CHANGED) == [(20,)]
        checks, _result = place.run(throttled(autovacuum=False))
    assert bad(checks) == {}


def test_no_more_wal_a_second_than_allowed(place: Place) -> None:
    place.sql(USERS)
    checks, result = place.run(throttled(wal_rate=20_000, pause=0.01))
    assert bad(checks) == {}
    assert result["waits"]["WAL rate"] > 0
    assert {"WAL rate", "pause"} == {wait["on"] for each in result["timeline"] for wait in each["waits"]}
    assert result["waits"]["pause"] > 0
