"""A major update has something to go back to: a recovery point in a real store, with its drills in a real ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import store
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import recovery_point
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.preflight import Finding
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import CRITICAL, OK, UNKNOWN
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

from tests.conftest import Sandbox
from tests.integration.retention_fixtures import Points
from tests.unit.test_backup_judgement import point


@pytest.fixture
def points(platform: Sandbox) -> Points:
    return Points(platform.storage, platform.state["evidence"])


@pytest.fixture
def look(platform: Sandbox, points: Points) -> Callable[..., Finding]:
    def looked(kept: dict[str, Any] | None = None, **changes: Any) -> Finding:
        options = {
            "storage": points.storage,
            "environment_name": points.environment,
            "database": platform.database,
            "evidence": {"signing_key_file": points.keys["signing_key_file"]},
            "recovery_point_age": 3600,
            "recovery_point_proven_days": 0,
            **changes,
        }
        return recovery_point.finding(options, kept)

    return looked


def make(platform: Sandbox, points: Points, hours: float = 0.1, **database: Any) -> str:
    """A recovery point of the sandbox's database."""
    run_id = points.id(hours / 24)
    entries = [points.put(run_id, f"database/{name}") for name in ("toc.dat", "3456.dat.gz")]
    content = point(run_id, datetime.now(UTC) - timedelta(hours=hours))
    content["database"].update({"extensions": [], **recovery_point.identity(platform.database), **database})
    content["objects"] = entries
    points.seal(run_id, content)
    return run_id


def drilled(points: Points, run_id: str, status: str = "ok") -> None:
    points.record("drill", run_id, {"recovery_point": run_id, "engine": "logical", "worst_status": status})


def test_only_one_that_is_fresh_whole_and_restored_by_a_drill_will_do(
    platform: Sandbox, points: Points, look: Callable[..., Finding]
) -> None:
    none = look()
    assert (none.status, none.value) == (CRITICAL, "none")
    assert "Make a backup" in none.remedy
    old = make(platform, points, hours=2)
    drilled(points, old)
    assert "2.0 h old" in look().message
    assert look(recovery_point_age=9000).value == old
    made = make(platform, points)
    unproven = look()
    assert (unproven.status, unproven.value) == (CRITICAL, "unproven")
    assert made in unproven.message
    assert "playbooks/drill.yml" in unproven.remedy
    # A drill of another one proves nothing of it, unless that is what is asked for.
    assert look(recovery_point_proven_days=7).status == OK
    drilled(points, made)
    good = look()
    assert (good.status, good.value) == (OK, made)
    assert (
        recovery_point.point_of({"storage": points.storage, "environment_name": points.environment}, made)["id"] == made
    )
    # The newest decides.
    drilled(points, made, "critical")
    assert (look().status, look().value) == (CRITICAL, "unproven")
    assert look(recovery_point_proven_days=7).status == CRITICAL


def test_one_that_is_damaged_or_of_another_database_will_not(
    platform: Sandbox, points: Points, look: Callable[..., Finding]
) -> None:
    made = make(platform, points)
    drilled(points, made)
    assert look().status == OK
    points.s3.put_object(Bucket=points.bucket, Key=f"{points.prefix}/{made}/database/toc.dat", Body=b"xyz")
    assert (look().status, look().value) == (CRITICAL, "damaged")
    points.s3.delete_object(Bucket=points.bucket, Key=f"{points.prefix}/{made}/database/toc.dat")
    assert "is missing" in look().message
    drilled(points, make(platform, points, hours=0.05, system_identifier="7"))
    assert "another database" in look().message


def test_nobody_knows_without_a_ledger_or_with_one_that_is_damaged(
    platform: Sandbox, points: Points, look: Callable[..., Finding]
) -> None:
    made = make(platform, points)
    drilled(points, made)
    assert look(evidence=None).status == UNKNOWN
    assert look(database=None).status == CRITICAL
    points.append([{"name": "x", "digest": {"sha256": "0" * 64}}], {}, kind="drill")
    listing = points.s3.list_objects_v2(Bucket=points.bucket, Prefix=f"evidence/{points.environment}/")["Contents"]
    newest = max(entry["Key"] for entry in listing)
    points.s3.put_object(Bucket=points.bucket, Key=newest, Body=b"{}")
    found = look()
    assert found.status == UNKNOWN
    assert "ledger" in found.message


def test_what_goes_on_keeps_the_one_that_it_began_with_while_that_is_there(
    platform: Sandbox, points: Points, look: Callable[..., Finding]
) -> None:
    old, none = make(platform, points, hours=48), "20261130T120000Z-abcdef"
    assert (look({"id": old}).status, look({"id": old}).value) == (OK, old)
    points.s3.delete_object(Bucket=points.bucket, Key=f"{points.prefix}/{old}/database/toc.dat")
    assert (look({"id": old}).status, look({"id": old}).value) == (CRITICAL, "damaged")
    assert store.ID.fullmatch(none)
    with pytest.raises(ConfigurationError):
        look({"id": none})
