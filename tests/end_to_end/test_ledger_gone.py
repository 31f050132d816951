"""The store, and with it the ledger, gone in the middle of a change of the database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.required import carried_out

from tests.conftest import Playbook, Sandbox
from tests.end_to_end import test_migrate, test_update_data
from tests.end_to_end.test_daily import ids, storage
from tests.end_to_end.test_migrate import HEAD, of_kind
from tests.end_to_end.test_update_data import ROWS
from tests.store_proxy import Fault, Proxy, proxy_of

Play = Callable[..., Playbook]
seeded, untouched = test_migrate.seeded, test_update_data.untouched


@pytest.fixture
def proxy(platform: Sandbox) -> Iterator[Proxy]:
    with proxy_of(platform.storage["endpoint"], platform.storage["ca_file"]) as running:
        yield running


@pytest.fixture
def behind(proxy: Proxy) -> tuple[str, str]:
    """Has the store behind the proxy, and does not wait for it; the backup before is of the database only."""
    away = storage(endpoint=proxy.endpoint, ca_file=None, max_attempts=1)
    return "-e", json.dumps({**away, "backup_data_directory": ""})


def gone_once(platform: Sandbox, begun: str) -> Callable[[str, str], Fault]:
    """A store that answers nobody any more once the database says so."""
    gone: list[bool] = []

    def fault(_method: str, _path: str) -> Fault:
        if not gone and platform.sql("superuser", begun) == [(True,)]:
            gone.append(True)
        return "reset" if gone else None

    return fault


def test_a_data_update_ends_without_the_ledger_and_says_so(
    untouched: Sandbox, play: Play, proxy: Proxy, behind: tuple[str, str]
) -> None:
    before, earlier = untouched.sql("owner", ROWS), len(of_kind(untouched, "data_update"))
    proxy.fault = gone_once(untouched, "SELECT to_regclass('tradingflow_data_update.updates') IS NOT NULL")
    done = play("data_update", *behind)
    assert done.returncode == 2, done.output
    report = done.report("data_update")
    # What was done is in the report, and that the ledger does not know of it.
    assert "data_update.verified" in ids(report, "ok")
    assert "data_update.finished" in ids(report, "critical")
    assert "evidence.recorded" in ids(report, "critical", "unknown")
    after = untouched.sql("owner", ROWS)
    assert after != before
    states = [each["content"]["state"] for each in of_kind(untouched, "data_update")[earlier:]]
    assert states == ["begun"]

    # Nothing is left to do, and the ledger gets the end that nobody could write.
    again = play("data_update")
    assert again.returncode == 0, again.output
    assert "Nothing to do" in again.output
    assert "data_update.found" in ids(again.report("data_update"), "ok")
    begun, late = of_kind(untouched, "data_update")[earlier:]
    assert late["content"]["late"] is True
    assert late["run_id"] == again.report("data_update")["run_id"]
    assert late["content"]["run_id"] == begun["run_id"] == report["run_id"]
    assert {name: late["content"][name] for name in ("state", "digest", "changed", "problem")} == {
        "state": "ended",
        "digest": begun["content"]["digest"],
        "changed": True,
        "problem": None,
    }
    rows = sum(one != other for one, other in zip(before, after, strict=True))
    assert (late["content"]["update"]["state"], late["content"]["update"]["rows"]) == ("done", rows)
    assert untouched.sql("owner", ROWS) == after


def test_a_migration_ends_without_the_ledger_and_says_so(
    seeded: Sandbox, play: Play, proxy: Proxy, behind: tuple[str, str]
) -> None:
    earlier = len(of_kind(seeded, "migration"))
    proxy.fault = gone_once(seeded, "SELECT to_regclass('executions_instrument') IS NOT NULL")
    done = play("migrate", *behind)
    assert done.returncode == 2, done.output
    report = done.report("migrate")
    assert "migration.revision" in ids(report, "ok")
    assert "migration.finished" in ids(report, "critical")
    assert "evidence.recorded" in ids(report, "critical", "unknown")
    assert seeded.sql("owner", "SELECT version_num FROM alembic_version") == [(HEAD,)]
    (begun,) = of_kind(seeded, "migration")[earlier:]
    assert begun["content"]["state"] == "begun"

    again = play("migrate")
    assert again.returncode == 0, again.output
    assert f"Nothing to do: the database is at {HEAD}." in again.output
    begun, late = of_kind(seeded, "migration")[earlier:]
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
