"""Physical backups by pgBackRest against a real server and store: set up by the role, made, restored and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import configuration
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import store
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import engine as retention
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import options as retention_options

from tests.conftest import COLLECTION
from tests.integration.pgbackrest_fixtures import Physical, contents, recorded, set_up

SCHEMA = json.loads((COLLECTION / "schemas/recovery-point-1.json").read_text())


@pytest.fixture(scope="module")
def physical() -> Iterator[Physical]:
    with set_up(by_role=True) as made:
        yield made


@pytest.fixture(scope="module")
def full(physical: Physical) -> dict[str, Any]:
    """The first recovery point: auto makes a full backup."""
    return physical.backup(data_directory=physical.state["app"]["data_dir"], verify="full")


def seen(physical: Physical) -> dict[str, str]:
    """What the checks of the day say of the newest recovery point."""
    found = store.measure(physical.sandbox.storage, "local", {}, engine="pgbackrest")
    return {check.id: check.status for check in found}


def test_set_up_is_idempotent_and_keeps_secrets(physical: Physical) -> None:
    state = physical.state
    secrets = [state["s3"]["secret_key"], state["postgres"]["cipher_pass"], state["postgres"]["maintenance_password"]]
    # A change is shown, and not made, by --check.
    changed = physical.play("backup_setup", "--check", "--diff", "-e", "backup_pgbackrest_process_max=7")
    assert "+process-max=7" in changed.output
    again = physical.play("backup_setup", "--diff", "-vvv")
    assert again.returncode == 0, again.output
    assert "changed=1 " in physical.setup
    assert "changed=0 " in again.output
    for output in (physical.setup, again.output):
        assert not [secret for secret in secrets if secret in output]


def test_full_and_incremental_restore_exactly(physical: Physical, full: dict[str, Any]) -> None:
    first = full["recovery_point"]
    assert full["verification"] == {**full["verification"], "ok": True, "problems": []}
    physical.sql("CREATE TABLE after_the_full AS SELECT i FROM generate_series(1, 1000) i")
    second = physical.backup(verify="full")
    point = second["recovery_point"]
    physical.sql("INSERT INTO after_the_full SELECT 0")
    for each in (first, point):
        jsonschema.validate(each, SCHEMA)
        assert each["engine"]["exact"]
    assert first["engine"]["type"] == "full"
    assert point["engine"]["type"] == "incr"
    assert point["engine"]["requires"] == [first["engine"]["label"]]
    assert second["verification"]["ok"], second["verification"]
    for each in (first, point):
        with physical.restored(each) as database:
            assert contents(database) == recorded(each)
    assert recorded(point)["public.after_the_full"][0] == 1000
    # What the store holds is what the recovery point says, and the checks of the day see it.
    storage = physical.sandbox.storage
    assert seen(physical) == {"backups.newest_age:pgbackrest": "ok", "backups.newest_intact:pgbackrest": "ok"}
    last = next(entry for entry in point["objects"] if entry["role"] == "wal")
    client = s3_storage.client(storage)
    body = client.get_object(Bucket=storage["bucket"], Key=last["key"])["Body"].read()
    client.put_object(Bucket=storage["bucket"], Key=last["key"], Body=body[:-16])
    try:
        assert list(seen(physical).values()) == [
            "ok",
            "critical",
        ]
    finally:
        client.put_object(Bucket=storage["bucket"], Key=last["key"], Body=body)
    assert list(seen(physical).values()) == ["ok", "ok"]


def test_incremental_holds_what_changed(physical: Physical) -> None:
    """A few rows of a table of 40 MB: its blocks, where pgBackRest can do that, else the table's whole file."""

    def stored(point: dict[str, Any]) -> int:
        label = f"/{point['engine']['label']}/"
        return sum(int(entry["size"]) for entry in point["objects"] if label in entry["key"])

    physical.sql(
        "CREATE TABLE large AS SELECT i, (SELECT string_agg(sha512((i * 100 + j)::text::bytea), '')"
        " FROM generate_series(1, 30) j) b FROM generate_series(1, 20000) i"
    )
    # Else the first who reads the rows writes to every page what it found out about them.
    physical.sql("VACUUM (FREEZE) large")
    whole = physical.backup("incr")["recovery_point"]
    physical.sql("UPDATE large SET b = '' WHERE i % 2000 = 0")
    point = physical.backup("incr", verify="full")["recovery_point"]
    physical.sql("DROP TABLE large")
    assert stored(whole) > 35 << 20
    if physical.tool().version >= configuration.BLOCKS_SINCE:
        assert stored(point) < 12 << 20
    with physical.restored(point) as database:
        assert contents(database) == recorded(point)


def test_daily_makes_both_and_records_both(physical: Physical) -> None:
    state = physical.state
    done = physical.play("daily", "--tags", "backup", "-vvv")
    report = done.report()
    assert done.returncode == 0, done.output
    found = {check["id"]: check["status"] for check in report["checks"]}
    for engine in ("", ":pgbackrest"):
        for name in ("backup.completed", "backup.verified", "backups.newest_age", "backups.newest_intact"):
            assert found[name + engine] == "ok"
    assert "Record the backup in the ledger" in done.output
    for secret in (state["s3"]["secret_key"], state["postgres"]["cipher_pass"], state["postgres"]["owner_password"]):
        assert secret not in done.output
    planned = physical.play("daily", "--tags", "backup", "--check")
    text = " ".join(planned.output.split())
    assert "Would dump" in text
    assert "Would make a backup of type incr" in text


def test_retention_keeps_physical_ones(physical: Physical, full: dict[str, Any]) -> None:
    """Whatever the rules say: their objects are shared, and pgBackRest's."""
    chosen = {
        **{name: spec.get("default") for name, spec in retention_options.SPEC.items()},
        "storage": physical.sandbox.storage,
        "environment_name": "local",
        "rules": {"keep_last": 1},
    }
    decided = retention.decide(chosen)
    fates = {fate.point.id: fate for fate in decided.plan.fates}
    fate = fates[full["recovery_point"]["id"]]
    assert fate.kept
    assert f"held by {retention.PHYSICAL}" in fate.reasons
    assert not fate.point.damaged
