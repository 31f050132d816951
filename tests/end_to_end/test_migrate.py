"""``playbooks/rehearse.yml`` and ``migrate.yml`` on a real sandbox: rehearsed, planned, carried out, nothing left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine as backup
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options as backup_spec
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.required import carried_out
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress

from sandbox.application import SEEDED, VERSION
from tests.conftest import Playbook, Sandbox
from tests.end_to_end import store_gone
from tests.end_to_end.store_gone import behind, gone_once
from tests.end_to_end.test_daily import ids, keys, s3, statements
from tests.store_proxy import Proxy

proxy = store_gone.proxy

HEAD = "2d7e91b3c6f0"


@pytest.fixture
def seeded(platform: Sandbox) -> Iterator[Sandbox]:
    """The sandbox where `make migrate` finds it; put back at the end."""
    assert platform.sql("owner", "SELECT version_num FROM alembic_version") == [(SEEDED,)]
    yield platform
    platform.sql("owner", "DROP INDEX IF EXISTS executions_instrument")
    platform.sql("owner", f"UPDATE alembic_version SET version_num = '{SEEDED}'")


@pytest.fixture
def staging(platform: Sandbox) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Puts a migration into the ledger of an environment that goes first, which is gone at the end."""
    evidence = platform.state["evidence"]

    def record(content: dict[str, Any]) -> None:
        ledger.append(
            platform.storage,
            "staging",
            "migration",
            actor="somebody",
            run_id="20261129T100000Z-migrate-000000",
            subjects=[],
            content=content,
            signing_key=evidence["signing_key_file"],
            trusted_keys=[evidence["public_key_file"]],
        )

    yield record
    for key in keys(platform, "evidence/staging/"):
        s3(platform).delete_object(Bucket=platform.state["s3"]["bucket"], Key=key)


def of_kind(platform: Sandbox, kind: str) -> list[dict[str, Any]]:
    """Predicates of the ledger's records of a kind, oldest first."""
    found = [each["predicate"] for each in statements(platform)]
    return [predicate for predicate in found if predicate["kind"] == kind]


def migrations(platform: Sandbox) -> list[dict[str, Any]]:
    return of_kind(platform, "migration")


def rehearsed(platform: Sandbox, play: Callable[..., Playbook]) -> None:
    """A rehearsal on a copy: measured, on record, and nothing of it in the database itself."""
    before = len(of_kind(platform, "rehearsal"))
    postgres = platform.state["postgres"]
    chosen = {
        **{name: spec.get("default") for name, spec in backup_spec.SPEC.items()},
        "environment_name": "local",
        "database": platform.database,
        "storage": platform.storage,
        "pg_bin_dir": postgres["bin_dir"],
        "data_directory": platform.state["app"]["data_dir"],
        "scratch_directory": f"{platform.state['data_root']}/scratch",
    }
    backup.create(chosen, Progress())
    done = play("rehearse")
    assert done.returncode == 0, done.output
    report = done.report("rehearse")
    assert ids(report, "warning", "unknown", "critical") == set()
    assert {"drill.rows", "migration.downgrade", "migration.load_blocked", f"migration.rehearsed:{HEAD}"} <= {
        check["id"] for check in report["checks"]
    }
    (action,) = [each for each in report["actions"] if each["id"] == "migration.rehearse"]
    assert [each["ended"] for each in action["details"]["timeline"] if "CONCURRENTLY" in each["sql"]] == ["done"]
    page = (done.artifacts / "rehearse" / report["run_id"] / "report.html").read_text(encoding="utf-8")
    assert '<table class="timeline">' in page
    *earlier, kept = of_kind(platform, "rehearsal")
    assert len(earlier) == before
    assert kept["run_id"] == report["run_id"]
    (revision,) = kept["content"]["revisions"]
    assert (revision["revision"], revision["done"], kept["content"]["undone"]) == (HEAD, True, True)
    assert revision["rewritten_bytes"] > 0
    assert platform.sql("owner", "SELECT version_num FROM alembic_version") == [(SEEDED,)]


def test_the_sandbox_is_migrated(
    seeded: Sandbox, play: Callable[..., Playbook], staging: Callable[[dict[str, Any]], None]
) -> None:
    rehearsed(seeded, play)
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
    requires = {"migration_requires": {"rehearsal": True, "environment": {"name": "staging"}}}
    passed_by = {"migration_overrides": ["environment"], "migration_reason": "venue moves"}
    held = play("migrate", "-e", json.dumps({"maintenance_window_freezes": [frozen], **requires, **passed_by}))
    assert held.returncode == 2, held.output
    assert "BREAK-GLASS" in held.output
    assert "venue moves" in held.output
    assert "gate.overridden:required_environment" in ids(held.report("migrate"), "warning")
    assert "migration.required:rehearsal" in ids(held.report("migrate"), "ok")
    assert "gate.answer" in ids(held.report("migrate"), "critical")
    assert seeded.sql("owner", "SELECT version_num FROM alembic_version") == [(SEEDED,)]
    # Nothing was begun, not even the backup for it.
    assert migrations(seeded) == []
    assert "backup" not in {check["id"].partition(".")[0] for check in held.report("migrate")["checks"]}

    digest, pending = action["details"]["digest"], action["details"]["pending"]
    well = {"state": "ended", "problem": None, "refused": [], "worst_status": "ok", "done": pending}
    staging({**well, "from": [SEEDED], "revisions": pending})
    wanted = {"migration_expected_digest": digest, "migration_contract_versions": [VERSION], **requires}
    done = play("migrate", "-e", json.dumps(wanted))
    assert done.returncode == 0, done.output
    report = done.report("migrate")
    assert ids(report, "warning", "unknown", "critical") == set()
    assert {
        *("migration.revision", "migration.untouched_tables", "application.healthy", "migration.required"),
    } <= {check["id"].partition(":")[0] for check in report["checks"]}
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


def test_a_migration_ends_without_the_ledger_and_says_so(
    seeded: Sandbox, play: Callable[..., Playbook], proxy: Proxy
) -> None:
    earlier = len(migrations(seeded))
    proxy.fault = gone_once(seeded, "SELECT to_regclass('executions_instrument') IS NOT NULL")
    done = play("migrate", *behind(proxy))
    assert done.returncode == 2, done.output
    report = done.report("migrate")
    assert "migration.revision" in ids(report, "ok")
    assert "migration.finished" in ids(report, "critical")
    assert "evidence.recorded" in ids(report, "critical", "unknown")
    assert seeded.sql("owner", "SELECT version_num FROM alembic_version") == [(HEAD,)]
    (begun,) = migrations(seeded)[earlier:]
    assert begun["content"]["state"] == "begun"

    again = play("migrate")
    assert again.returncode == 0, again.output
    assert f"Nothing to do: the database is at {HEAD}." in again.output
    begun, late = migrations(seeded)[earlier:]
    content = late["content"]
    assert (content["state"], content["late"], content["reached"], content["run_id"]) == (
        "ended",
        True,
        [HEAD],
        report["run_id"],
    )
    # By that record a later environment knows that this one has it.
    (pending,) = content["revisions"]
    wanted = {(pending["revision"], pending["digest"], pending["digest_of"])}
    assert carried_out([late, begun], wanted) == (wanted, (late["recorded_at"], True))
