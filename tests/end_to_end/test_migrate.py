"""``playbooks/migrate.yml`` on a real sandbox: planned, carried out, and nothing left to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox.application import SEEDED, VERSION
from tests.conftest import Playbook, Sandbox
from tests.end_to_end.test_daily import ids, statements

HEAD = "2d7e91b3c6f0"


@pytest.fixture
def seeded(platform: Sandbox) -> Iterator[Sandbox]:
    """The sandbox where `make migrate` finds it; put back at the end."""
    assert platform.sql("owner", "SELECT version_num FROM alembic_version") == [(SEEDED,)]
    yield platform
    platform.sql("owner", "DROP INDEX IF EXISTS executions_instrument")
    platform.sql("owner", f"UPDATE alembic_version SET version_num = '{SEEDED}'")


def migrations(platform: Sandbox) -> list[dict[str, Any]]:
    """Predicates of the ledger's records of migrations, oldest first."""
    found = [each["predicate"] for each in statements(platform)]
    return [predicate for predicate in found if predicate["kind"] == "migration"]


def test_the_sandbox_is_migrated(seeded: Sandbox, play: Callable[..., Playbook]) -> None:
    password = seeded.state["postgres"]["owner_password"]
    planned = play("migrate", "--check", "-vvv")
    assert planned.returncode == 0, planned.output
    assert password not in planned.output
    (action,) = [each for each in planned.report("migrate")["actions"] if each["id"] == "migration.migrate"]
    assert action["status"] == "planned"
    assert "CREATE INDEX CONCURRENTLY executions_instrument" in action["details"]["pending"][0]["sql"]
    assert seeded.sql("owner", "SELECT version_num FROM alembic_version") == [(SEEDED,)]
    assert migrations(seeded) == []

    frozen = {"name": "year end", "from": "2026-01-01", "until": "2100-01-01", "reason": "books"}
    held = play("migrate", "-e", json.dumps({"maintenance_window_freezes": [frozen]}))
    assert held.returncode == 2, held.output
    assert "gate.answer" in ids(held.report("migrate"), "critical")
    assert seeded.sql("owner", "SELECT version_num FROM alembic_version") == [(SEEDED,)]
    # Nothing was begun, not even the backup for it.
    assert migrations(seeded) == []
    assert "backup" not in {check["id"].partition(".")[0] for check in held.report("migrate")["checks"]}

    digest = action["details"]["digest"]
    wanted = {"migration_expected_digest": digest, "migration_contract_versions": [VERSION]}
    done = play("migrate", "-e", json.dumps(wanted))
    assert done.returncode == 0, done.output
    report = done.report("migrate")
    assert ids(report, "warning", "unknown", "critical") == set()
    assert {"migration.revision", "migration.untouched_tables", "application.healthy"} <= {
        check["id"].partition(":")[0] for check in report["checks"]
    }
    assert seeded.sql("owner", "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert seeded.sql(
        "owner", "SELECT indisvalid FROM pg_index WHERE indexrelid = 'executions_instrument'::regclass"
    ) == [(True,)]
    begun, ended = migrations(seeded)
    assert (begun["content"]["state"], ended["content"]["state"]) == ("begun", "ended")
    assert begun["content"]["digest"] == ended["content"]["digest"] == digest
    assert ended["content"]["reached"] == [HEAD]
    point = next(check for check in report["checks"] if check["id"] == "migration.recovery_point")
    assert ended["content"]["recovery_point"] == point["value"]
    (phases,) = [check for check in report["checks"] if check["id"] == "migration.phases"]
    assert phases["message"] == f"{HEAD} (expand). The application runs {VERSION}."
    (compared,) = [check for check in report["checks"] if check["id"] == "migration.catalogue"]
    assert compared["message"].startswith("All is as the revisions make it.")
    assert begun["run_id"] == ended["run_id"] == report["run_id"]

    again = play("migrate")
    assert again.returncode == 0, again.output
    assert f"Nothing to do: the database is at {HEAD}." in again.output
    assert len(migrations(seeded)) == 2
